//! What Sphinx domains describe: functions, classes, C types, options, with the anchors Sphinx gives.

/// Names around an object: they become part of its own.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) domain: String,
    pub(super) module: String,
    pub(super) class: String,
    pub(super) program: String,
}

/// One described object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// A short name, with `()` for what is called.
    pub(super) heading: String,
    pub(super) anchors: Vec<String>,
    /// Language of the signature; `None` when the heading says it all.
    pub(super) language: Option<&'static str>,
    /// The class that what is described inside belongs to.
    pub(super) class: Option<String>,
}

/// Whether a directive describes an object; the domain is the default one where none is named.
pub(super) fn is_object(name: &str) -> bool {
    let kind = name.rsplit(':').next().unwrap_or(name);
    CALLED.contains(&kind) || NAMED.contains(&kind) || kind.starts_with("auto") && AUTO.contains(&kind)
}

const CALLED: &[&str] = &[
    "function",
    "method",
    "classmethod",
    "staticmethod",
    "abstractmethod",
    "coroutinefunction",
    "coroutinemethod",
    "awaitablefunction",
    "awaitablemethod",
    "decorator",
    "decoratormethod",
    "macro",
    "cfunction",
    "cmacro",
];
const NAMED: &[&str] = &[
    "class",
    "exception",
    "data",
    "attribute",
    "property",
    "type",
    "member",
    "var",
    "struct",
    "union",
    "enum",
    "enumerator",
    "ctype",
    "cvar",
    "cmember",
    "namespace-push",
    "concept",
    "alias",
    "option",
    "cmdoption",
    "envvar",
    "confval",
    "describe",
    "object",
    "opcode",
    "pdbcommand",
    "directive",
    "role",
    "setting",
    "django-admin",
];
const AUTO: &[&str] =
    &["autofunction", "autoclass", "automethod", "autoexception", "autodata", "autoattribute"];

/// What `.. name:: signature` describes.
pub(super) fn object(name: &str, signature: &str, scope: &Scope) -> Object {
    let (domain, kind) = match name.rsplit_once(':') {
        Some((domain, kind)) => (domain, kind),
        None => (scope.domain.as_str(), name),
    };
    let (domain, kind) = match kind {
        "cfunction" | "cmacro" | "ctype" | "cvar" | "cmember" => ("c", &kind[1..]),
        other => (domain, other),
    };
    let call = if CALLED.contains(&kind) { "()" } else { "" };
    match (domain, kind) {
        (_, "option" | "cmdoption") => option(signature, &scope.program),
        (_, "envvar" | "confval" | "opcode" | "pdbcommand") => {
            // `q(uit)` is a command with a short form.
            let plain = signature.split(' ').next().unwrap_or(signature).replace(['(', ')'], "");
            named(signature, vec![format!("{kind}-{}", sphinx_id(&plain))])
        }
        ("rst", "directive" | "role") => named(signature, vec![format!("{kind}-{}", sphinx_id(signature))]),
        (_, "describe" | "object" | "setting" | "django-admin" | "directive" | "role") => {
            named(signature, Vec::new())
        }
        ("c", _) => declared(signature, scope, kind, call),
        // Sphinx mangles names of C++ into anchors that only a compiler could tell.
        ("cpp", _) => {
            let name = last_name(signature.split('(').next().unwrap_or(signature));
            Object {
                heading: format!("{name}{call}"),
                anchors: Vec::new(),
                language: Some("cpp"),
                class: None,
            }
        }
        ("js", _) => dotted(signature, scope, kind, call, "javascript"),
        _ => dotted(signature, scope, kind, call, "python"),
    }
}

/// An object of Python or JavaScript: its module and class stand before its name.
fn dotted(signature: &str, scope: &Scope, kind: &str, call: &str, language: &'static str) -> Object {
    let before = signature.split(['(', '[']).next().unwrap_or(signature);
    let before = before.split(" -> ").next().unwrap_or(before);
    let before = before.split([':', '=']).next().unwrap_or(before);
    let name = before.split_whitespace().next_back().unwrap_or_default().trim_start_matches('@');
    let mut full = String::new();
    let class = &scope.class;
    let inside = name == class || name.strip_prefix(class.as_str()).is_some_and(|rest| rest.starts_with('.'));
    if !class.is_empty() && !inside {
        full.push_str(class);
        full.push('.');
    }
    full.push_str(name);
    let owner = full.clone();
    if !scope.module.is_empty() {
        full.insert(0, '.');
        full.insert_str(0, &scope.module);
    }
    let holds = matches!(kind, "class" | "exception" | "enum");
    // An id begins with a letter: `__file__` is at `file__`.
    let anchor = full.trim_start_matches(|first: char| !first.is_ascii_alphabetic() && !matches!(first, '$'));
    let anchors = if name.is_empty() { Vec::new() } else { vec![anchor.to_owned()] };
    Object {
        heading: format!("{full}{call}"),
        anchors,
        language: Some(language),
        class: holds.then_some(owner),
    }
}

/// A declaration of C; what is declared inside a type has the type before its name.
fn declared(signature: &str, scope: &Scope, kind: &str, call: &str) -> Object {
    // `int (*name)(void *)` declares `name`.
    let pointer = signature.split_once("(*").and_then(|(_, rest)| rest.split_once(')'));
    let before = pointer.map_or_else(|| signature.split('(').next().unwrap_or(signature), |(name, _)| name);
    let name = last_name(before);
    let full = if scope.class.is_empty() { name.to_owned() } else { format!("{}.{name}", scope.class) };
    let holds = matches!(kind, "type" | "struct" | "union" | "enum");
    let anchors = if name.is_empty() { Vec::new() } else { vec![format!("c.{full}")] };
    Object { heading: format!("{full}{call}"), anchors, language: Some("c"), class: holds.then_some(full) }
}

fn named(signature: &str, anchors: Vec<String>) -> Object {
    Object { heading: signature.to_owned(), anchors, language: None, class: None }
}

/// An option of a program: one anchor a spelling (`std.OptionDirective` of Sphinx).
fn option(signature: &str, program: &str) -> Object {
    let mut anchors = Vec::new();
    for spelling in signature.split(", ").take(8) {
        let name = spelling.trim().split([' ', '=', '[']).next().unwrap_or_default();
        if name.is_empty() {
            continue;
        }
        let mut prefix = "cmdoption".to_owned();
        if !program.is_empty() {
            prefix.push('-');
            prefix.push_str(program);
        }
        if !name.starts_with(['-', '/']) {
            prefix.push_str("-arg");
        }
        anchors.push(sphinx_id(&format!("{prefix}-{name}")));
    }
    named(signature, anchors)
}

/// An id as `sphinx.util.nodes.make_id` makes it: letters, digits, dots and underscores stay as they are.
fn sphinx_id(text: &str) -> String {
    let mut id = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '.' | '_') {
            id.push(character);
        } else if !id.ends_with('-') {
            id.push('-');
        }
    }
    id.trim_matches('-').to_owned()
}

/// The last name in a declaration of C.
fn last_name(declaration: &str) -> &str {
    let declaration = declaration.split(['=', '[', ';']).next().unwrap_or(declaration);
    declaration
        .split(|sign: char| !sign.is_alphanumeric() && !matches!(sign, '_' | '.' | ':'))
        .rfind(|word| !word.is_empty())
        .unwrap_or_default()
}

/// Anchors of `.. module:: name`.
pub(super) fn module_anchor(name: &str) -> String {
    format!("module-{name}")
}

/// A field of an object's description as a line; `None` for those that only tools read.
pub(super) fn field(name: &str, text: &str) -> Option<String> {
    let (kind, rest) = name.split_once(' ').unwrap_or((name, ""));
    let line = match kind {
        "param" | "parameter" | "arg" | "argument" | "key" | "keyword" | "kwarg" | "var" | "ivar"
        | "cvar" => {
            // `:param int count: how many`
            let (type_name, name) = rest.rsplit_once(' ').unwrap_or(("", rest));
            let name = name.trim_matches('*').trim_start_matches('\\').trim_start_matches('*');
            match type_name {
                "" => format!("``{name}``: {text}"),
                _ => format!("``{name}`` ({type_name}): {text}"),
            }
        }
        "type" | "vartype" if !rest.is_empty() => format!("``{rest}`` has the type {text}"),
        "returns" | "return" => format!("Returns: {text}"),
        "rtype" => format!("Return type: {text}"),
        "raises" | "raise" | "except" | "exception" if !rest.is_empty() => {
            format!("Raises ``{rest}``: {text}")
        }
        "noindex" | "no-index" | "nocontentsentry" | "canonical" | "module" | "orphan" | "meta" => {
            return None;
        }
        _ if text.is_empty() => return None,
        _ => format!("{name}: {text}"),
    };
    Some(line)
}
