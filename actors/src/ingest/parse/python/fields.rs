//! Sections and fields of docstrings: parameters, results, exceptions, examples.

use std::collections::HashMap;
use std::fmt::Write;

use super::docstring::{dedented, deeper, indent_of};
use super::rest;

/// What a section's title means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Items with a name: `name (type): text`, `name : type`.
    Items,
    /// Text, perhaps with a type before it.
    Text,
    /// Code, perhaps with text.
    Example,
}

fn kind_of(title: &str) -> Option<Kind> {
    Some(match title.to_ascii_lowercase().as_str() {
        "args" | "arguments" | "parameters" | "params" | "keyword args" | "keyword arguments"
        | "other parameters" | "raises" | "raise" | "exceptions" | "except" | "attributes" | "methods"
        | "warns" | "receives" => Kind::Items,
        "returns" | "return" | "yields" | "yield" | "note" | "notes" | "warning" | "warnings"
        | "see also" | "todo" | "references" | "important" | "tip" | "hint" | "caution" => Kind::Text,
        "example" | "examples" | "usage" => Kind::Example,
        _ => return None,
    })
}

/// `Args:` and an indented block: the section as Markdown, and the lines it takes.
pub(super) fn google(lines: &[&str]) -> Option<(String, usize)> {
    let first = lines.first()?;
    let title = first.strip_suffix(':').filter(|title| !title.starts_with(' '))?;
    let kind = kind_of(title)?;
    let taken = deeper(lines.get(1..)?, 0);
    if taken == 0 {
        return None;
    }
    let body = dedented(lines.get(1..=taken)?);
    Some((section(title, kind, &body, false), taken + 1))
}

/// A title underlined with dashes, up to the next one.
pub(super) fn numpy(lines: &[&str]) -> Option<(String, usize)> {
    let title = underlined(lines)?;
    let kind = kind_of(title)?;
    let body = lines.get(2..)?;
    let end = (0..body.len()).find(|at| underlined(&body[*at..]).is_some()).unwrap_or(body.len());
    Some((section(title, kind, &dedented(&body[..end]), true), end + 2))
}

fn underlined<'text>(lines: &[&'text str]) -> Option<&'text str> {
    let (title, line) = (lines.first()?, lines.get(1)?);
    let is_line = line.len() >= 3 && line.bytes().all(|byte| byte == b'-') && !title.trim().is_empty();
    (is_line && !title.starts_with(' ')).then(|| title.trim_end())
}

/// `:param name: text` and its kin, as many as follow each other.
pub(super) fn sphinx(lines: &[&str]) -> Option<(String, usize)> {
    field(lines.first()?)?;
    let (mut parameters, mut others) = (Vec::new(), Vec::new());
    let mut types: HashMap<&str, &str> = HashMap::new();
    let mut at = 0;
    while let Some((name, argument, text)) = lines.get(at).and_then(|line| field(line)) {
        let more = deeper(lines.get(at + 1..).unwrap_or_default(), 0);
        let rest: Vec<&str> = dedented(lines.get(at + 1..at + 1 + more).unwrap_or_default());
        at += 1 + more;
        // A blank line between fields.
        while lines.get(at).is_some_and(|line| line.trim().is_empty())
            && lines.get(at + 1).is_some_and(|line| field(line).is_some())
        {
            at += 1;
        }
        let said = joined(text, &rest);
        match name {
            "param" | "parameter" | "arg" | "argument" | "key" | "keyword" | "kwarg" | "var" | "ivar"
            | "cvar" => {
                let name = argument.rsplit(' ').next().unwrap_or(argument);
                parameters.push((name, said));
            }
            "type" => drop(types.insert(argument, text)),
            "return" | "returns" => others.push(format!("Returns: {said}")),
            "yield" | "yields" => others.push(format!("Yields: {said}")),
            "raise" | "raises" | "except" | "exception" => {
                others.push(format!("Raises `{argument}`: {said}"))
            }
            "rtype" => others.push(format!("Return type: {said}")),
            _ => {}
        }
    }
    let mut out = String::new();
    if !parameters.is_empty() {
        out.push_str("Parameters:\n\n");
        for (name, said) in parameters {
            let kind = types.get(name).map(|kind| format!(" ({})", rest::inline(kind))).unwrap_or_default();
            let _ = writeln!(out, "- `{}`{kind}: {said}", plain(name));
        }
    }
    for line in others {
        let _ = write!(out, "\n{line}\n");
    }
    Some((out, at))
}

/// `:name argument: text`
fn field(line: &str) -> Option<(&str, &str, &str)> {
    let (head, text) = line.strip_prefix(':')?.split_once(':')?;
    let (name, argument) = head.split_once(' ').unwrap_or((head, ""));
    let known = [
        "param",
        "parameter",
        "arg",
        "argument",
        "key",
        "keyword",
        "kwarg",
        "type",
        "return",
        "returns",
        "rtype",
        "raise",
        "raises",
        "except",
        "exception",
        "yield",
        "yields",
        "var",
        "ivar",
        "cvar",
        "vartype",
        "meta",
    ];
    // `:class:`Name`` is a role, not a field.
    (known.contains(&name) && !text.starts_with('`')).then(|| (name, argument.trim(), text.trim()))
}

fn section(title: &str, kind: Kind, body: &[&str], is_numpy: bool) -> String {
    let title = title.trim();
    match kind {
        Kind::Items => format!("{title}:\n\n{}", items(body, is_numpy)),
        // NumPy's results look like its parameters: a type or `name : type`, the text indented below.
        Kind::Text if is_numpy && matches!(title, "Returns" | "Yields") => {
            format!("{title}:\n\n{}", items(body, true))
        }
        Kind::Text => {
            let text = rest::markdown(body);
            let joint = if text.starts_with(['-', '`', '#', '|', '>']) || text.contains("\n\n") {
                "\n\n"
            } else {
                " "
            };
            format!("{title}:{joint}{text}")
        }
        Kind::Example => format!("{title}:\n\n{}", rest::example(body)),
    }
}

/// Items as a list. Each starts at the indent of the first line; what is deeper belongs to it.
fn items(body: &[&str], is_numpy: bool) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(line) = body.get(at) {
        let more = deeper(body.get(at + 1..).unwrap_or_default(), indent_of(line));
        let rest = dedented(body.get(at + 1..at + 1 + more).unwrap_or_default());
        at += 1 + more;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (name, kind, text) = if is_numpy { numpy_item(line) } else { google_item(line) };
        let kind = if kind.is_empty() { String::new() } else { format!(" ({})", rest::inline(kind)) };
        let said = joined(text, &rest);
        let _ = match (name.is_empty(), said.is_empty()) {
            (true, _) => writeln!(out, "- {said}"),
            (false, true) => writeln!(out, "- `{}`{kind}", plain(name)),
            (false, false) => writeln!(out, "- `{}`{kind}: {said}", plain(name)),
        };
    }
    out
}

/// A name without the backslashes that keep stars from being markup.
fn plain(name: &str) -> String {
    name.replace('\\', "")
}

/// `name (type): text`; a line without a name is text.
fn google_item(line: &str) -> (&str, &str, &str) {
    let Some((head, text)) = line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, ""))) else {
        return ("", "", line);
    };
    let (name, kind) = match head.split_once(" (") {
        Some((name, kind)) => (name, kind.strip_suffix(')').unwrap_or(kind)),
        None => (head, ""),
    };
    if name.contains(' ') || name.contains('`') { ("", "", line) } else { (name, kind, text.trim()) }
}

/// `name : type`, or a type alone.
fn numpy_item(line: &str) -> (&str, &str, &str) {
    let (name, kind) = line.split_once(" : ").or_else(|| line.split_once(": ")).unwrap_or((line, ""));
    (name.trim_end_matches(" :"), kind.trim(), "")
}

/// A field's text with the lines below it: one line of prose, or that and blocks indented into the list.
fn joined(first: &str, rest: &[&str]) -> String {
    let lines: Vec<&str> =
        std::iter::once(first).filter(|line| !line.is_empty()).chain(rest.iter().copied()).collect();
    let is_prose = |line: &&str| {
        !line.trim().is_empty() && indent_of(line) == 0 && !line.starts_with(['>', '-', '*', '.', '`'])
    };
    if lines.iter().skip(1).all(is_prose) {
        return rest::inline(&lines.join(" "));
    }
    rest::markdown(&lines).replace('\n', "\n  ").trim_end().to_owned()
}
