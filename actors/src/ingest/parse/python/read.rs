//! One file: what it defines, imports and offers.

use tree_sitter::Node;

use super::docstring;
use crate::ingest::parse::code::{Docs, Export, Module, Source, Symbol, Use, Used, block};

/// Classes inside classes, and `if` inside `try`, that are opened.
const NESTING_MAX: usize = 8;
/// A longer value of a constant says nothing about how to use it.
const VALUE_BYTES_MAX: usize = 120;

/// Reads a module. `is_package`: it is an `__init__`, whose own imports are meant for users.
pub(super) fn module(source: &Source<'_>, is_package: bool) -> Module {
    let mut reader = Reader { source, module: Module::default(), all: None, imported: Vec::new() };
    let nodes = Source::children(source.root());
    reader.module.docs = Docs { markdown: docstring_of(source, &nodes), notes: Vec::new() };
    reader.statements(&nodes, 0);
    let Reader { mut module, all, imported, .. } = reader;
    match all {
        Some(names) => {
            module.exports.extend(names.into_iter().map(|name| Export { local: name.clone(), shown: name }));
        }
        None => {
            module.stars.clone_from(&module.wholes);
            let own: Vec<String> = module.symbols().iter().map(|symbol| symbol.name.clone()).collect();
            for name in own.iter().filter(|name| !name.starts_with('_')) {
                module.export(name);
            }
            for (name, is_explicit) in imported {
                if !name.starts_with('_') && (is_package || is_explicit) {
                    module.export(&name);
                }
            }
        }
    }
    module
}

/// Adds the docstrings of a source to the symbols of its stub, and what only the source has.
pub(super) fn document(stub: &mut Module, code: &mut Module) {
    stub.docs.append(std::mem::take(&mut code.docs));
    for symbol in std::mem::take(code).into_symbols() {
        if let Some(known) = stub.symbol_mut(&symbol.name) {
            known.docs.append(symbol.docs);
            // The stub's signatures stand, those of the source would only repeat them.
            for mut member in symbol.members {
                if known.members.iter().any(|known| known.name == member.name) {
                    member.signature.clear();
                }
                known.member(member);
            }
        }
    }
}

struct Reader<'a, 'text> {
    source: &'a Source<'text>,
    module: Module,
    /// What `__all__` lists, when it is a plain list.
    all: Option<Vec<String>>,
    /// Imported names, and whether `import x as x` says they are meant for users.
    imported: Vec<(String, bool)>,
}

impl Reader<'_, '_> {
    fn statements(&mut self, nodes: &[Node<'_>], depth: usize) {
        if depth > NESTING_MAX {
            return;
        }
        for (number, node) in nodes.iter().enumerate() {
            match node.kind() {
                "function_definition" | "class_definition" | "decorated_definition" => {
                    if let Some(symbol) = definition(self.source, *node, 0) {
                        self.module.add(symbol);
                    }
                }
                "import_from_statement" => self.import_from(*node),
                "import_statement" => self.import(*node),
                "expression_statement" | "type_alias_statement" => {
                    let next = nodes.get(number + 1).copied();
                    self.expression(*node, next);
                }
                // `if TYPE_CHECKING:`, `try: … except ImportError: …`: whichever runs, these names are there.
                "if_statement" | "try_statement" | "else_clause" | "elif_clause" | "except_clause"
                | "block" | "with_statement" | "finally_clause" => {
                    self.statements(&Source::children(*node), depth + 1);
                }
                _ => {}
            }
        }
    }

    fn import_from(&mut self, node: Node<'_>) {
        let source = self.source;
        let Some(from) = node.child_by_field_name("module_name").map(|from| source.text(from).to_owned())
        else {
            return;
        };
        for child in Source::children(node) {
            match child.kind() {
                "wildcard_import" => self.module.wholes.push(from.clone()),
                "dotted_name" | "aliased_import"
                    if Some(child) != node.child_by_field_name("module_name") =>
                {
                    let name = child.child_by_field_name("name").unwrap_or(child);
                    let name = source.text(name).to_owned();
                    let alias = child.child_by_field_name("alias").map(|alias| source.text(alias).to_owned());
                    let is_explicit = alias.as_ref() == Some(&name);
                    let local = alias.unwrap_or_else(|| name.clone());
                    // Those of other packages lead nowhere and fall away.
                    self.imported.push((local.clone(), is_explicit));
                    self.module.uses.push(Use { from: from.clone(), what: Used::Name(name), local });
                }
                _ => {}
            }
        }
    }

    /// `import a.b as c`
    fn import(&mut self, node: Node<'_>) {
        let source = self.source;
        for child in Source::children(node).into_iter().filter(|child| child.kind() == "aliased_import") {
            let name = child.child_by_field_name("name").map(|name| source.text(name).to_owned());
            let alias = child.child_by_field_name("alias").map(|alias| source.text(alias).to_owned());
            if let (Some(from), Some(local)) = (name, alias) {
                self.module.uses.push(Use { from, what: Used::Module, local });
            }
        }
    }

    fn expression(&mut self, node: Node<'_>, next: Option<Node<'_>>) {
        let source = self.source;
        let inner = Source::children(node).into_iter().next();
        if let Some(inner) =
            inner.filter(|inner| matches!(inner.kind(), "assignment" | "augmented_assignment"))
        {
            let target = inner.child_by_field_name("left").map(|left| source.text(left));
            if target == Some("__all__") {
                let names = inner.child_by_field_name("right").and_then(|right| strings(source, right));
                match (inner.kind(), &mut self.all, names) {
                    ("augmented_assignment", Some(all), Some(names)) => all.extend(names),
                    (_, _, names) => self.all = names,
                }
                return;
            }
            if let Some(symbol) = constant(source, inner, next) {
                self.module.add(symbol);
            }
        } else if node.kind() == "type_alias_statement" {
            let name = node.child_by_field_name("left").map(|left| source.text(left));
            let name = name.and_then(|name| name.split('[').next()).unwrap_or_default().trim().to_owned();
            if !name.is_empty() {
                let signature = source.cut(node, node.byte_range());
                self.module.add(Symbol { name, signature, ..Symbol::default() });
            }
        }
    }
}

/// The strings of a plain list or tuple of strings.
fn strings(source: &Source<'_>, node: Node<'_>) -> Option<Vec<String>> {
    if !matches!(node.kind(), "list" | "tuple") {
        return None;
    }
    let items = Source::children(node).into_iter().filter(|item| item.kind() != "comment");
    items.map(|item| (item.kind() == "string").then(|| content(source, item).to_owned())).collect()
}

/// `NAME: T = value`, with the docstring that may follow it.
fn constant(source: &Source<'_>, node: Node<'_>, next: Option<Node<'_>>) -> Option<Symbol> {
    let left = node.child_by_field_name("left").filter(|left| left.kind() == "identifier")?;
    let name = source.text(left).to_owned();
    let kind = node.child_by_field_name("type");
    let value = node.child_by_field_name("right");
    let docs = next.and_then(|next| string_of(source, next)).map(docstring::markdown).unwrap_or_default();
    let is_short = value.is_some_and(|value| value.end_byte() - value.start_byte() <= VALUE_BYTES_MAX);
    let signature = match (kind, is_short) {
        (_, true) => source.cut(node, node.byte_range()),
        (Some(kind), false) => source.cut(node, node.start_byte()..kind.end_byte()),
        (None, false) => format!("{name} = ..."),
    };
    Some(Symbol { name, signature, docs: Docs { markdown: docs, notes: Vec::new() }, ..Symbol::default() })
}

/// A function or a class, with its decorators.
fn definition(source: &Source<'_>, node: Node<'_>, depth: usize) -> Option<Symbol> {
    let decorators: Vec<&str> = Source::children(node)
        .into_iter()
        .filter(|child| child.kind() == "decorator")
        .map(|child| source.text(child).trim_start_matches('@').trim())
        .collect();
    let inner =
        if node.kind() == "decorated_definition" { node.child_by_field_name("definition")? } else { node };
    match inner.kind() {
        "function_definition" => function(source, inner, &decorators),
        "class_definition" => class(source, inner, &decorators, depth),
        _ => None,
    }
}

/// A decorator's name without its arguments: `functools.cached_property`.
fn name_of(decorator: &str) -> &str {
    decorator.split(['(', '\n', '#']).next().unwrap_or_default().trim()
}

fn is_property(decorators: &[&str]) -> bool {
    decorators.iter().any(|decorator| {
        let last = name_of(decorator).rsplit('.').next().unwrap_or_default();
        last == "property" || last == "cached_property" || last == "abstractproperty"
    })
}

fn function(source: &Source<'_>, node: Node<'_>, decorators: &[&str]) -> Option<Symbol> {
    let name = source.text(node.child_by_field_name("name")?).to_owned();
    // The setter and the deleter of a property add nothing to its getter.
    let accessor = |decorator: &&str| {
        name_of(decorator).ends_with(".setter") || name_of(decorator).ends_with(".deleter")
    };
    if decorators.iter().any(accessor) {
        return None;
    }
    let body = node.child_by_field_name("body")?;
    let statements = Source::children(body);
    let mut signature = String::new();
    for decorator in decorators {
        let last = name_of(decorator).rsplit('.').next().unwrap_or_default();
        if matches!(
            last,
            "property"
                | "cached_property"
                | "classmethod"
                | "staticmethod"
                | "overload"
                | "contextmanager"
                | "asynccontextmanager"
                | "abstractmethod"
        ) {
            signature.push_str(&format!("@{last}\n"));
        }
    }
    let end = body.start_byte();
    let head = source.cut(node, node.start_byte()..end);
    // A one-line body stands behind the colon, a comment between them was cut.
    signature.push_str(head.trim_end().trim_end_matches(':').trim_end());
    let mut notes = Vec::new();
    notes.extend(decorators.iter().find_map(|decorator| deprecation(decorator)));
    let docs = Docs { markdown: docstring_of(source, &statements), notes };
    Some(Symbol { name, is_callable: !is_property(decorators), signature, docs, members: Vec::new() })
}

/// `@deprecated("use b")` of PEP 702 and its forerunners.
fn deprecation(decorator: &str) -> Option<String> {
    let name = name_of(decorator).rsplit('.').next().unwrap_or_default();
    if !name.starts_with("deprecate") {
        return None;
    }
    let said = decorator.split(['"', '\'']).nth(1).filter(|said| !said.is_empty());
    Some(said.map_or_else(|| "Deprecated.".to_owned(), |said| format!("Deprecated: {said}")))
}

/// A class: its head with what is not documented by itself, and a member for the rest.
fn class(source: &Source<'_>, node: Node<'_>, decorators: &[&str], depth: usize) -> Option<Symbol> {
    let name = source.text(node.child_by_field_name("name")?).to_owned();
    let body = node.child_by_field_name("body")?;
    let statements = Source::children(body);
    let mut docs = Docs { markdown: docstring_of(source, &statements), notes: Vec::new() };
    docs.notes.extend(decorators.iter().find_map(|decorator| deprecation(decorator)));
    let (mut shown, mut class) = (Vec::new(), Symbol::default());
    for (number, statement) in statements.iter().enumerate() {
        let symbol = match statement.kind() {
            "function_definition" | "decorated_definition" | "class_definition" if depth < NESTING_MAX => {
                definition(source, *statement, depth + 1)
            }
            "expression_statement" => Source::children(*statement)
                .into_iter()
                .next()
                .filter(|inner| inner.kind() == "assignment")
                .and_then(|inner| constant(source, inner, statements.get(number + 1).copied())),
            _ => None,
        };
        let Some(mut symbol) = symbol else { continue };
        if symbol.name == "__init__" || symbol.name == "__new__" {
            docs.append(std::mem::take(&mut symbol.docs));
            shown.push(symbol.signature);
            continue;
        }
        let is_silent = symbol.docs.is_empty() && symbol.members.is_empty();
        match (symbol.name.starts_with('_'), is_silent) {
            (false, true) => shown.push(symbol.signature),
            (false, false) => class.member(symbol),
            // `__enter__` and its kin, where somebody wrote what they do.
            (true, false) if symbol.name.starts_with("__") => class.member(symbol),
            (true, _) => {}
        }
    }
    let mut head = String::new();
    for decorator in decorators.iter().filter(|decorator| name_of(decorator).ends_with("dataclass")) {
        head.push_str(&format!("@{decorator}\n"));
    }
    head.push_str(&source.cut(node, node.start_byte()..body.start_byte()));
    let head = head.trim_end().trim_end_matches(':').trim_end().to_owned();
    let signature = if shown.is_empty() { head } else { block(&format!("{head}:"), &shown, "#", "") };
    Some(Symbol { name, is_callable: false, signature, docs, members: class.members })
}

/// The docstring that a body begins with, as Markdown.
fn docstring_of(source: &Source<'_>, statements: &[Node<'_>]) -> String {
    let first = statements.iter().find(|statement| statement.kind() != "comment");
    first.and_then(|first| string_of(source, *first)).map(docstring::markdown).unwrap_or_default()
}

/// The text of a statement that is a string and nothing else.
fn string_of<'text>(source: &Source<'text>, statement: Node<'_>) -> Option<&'text str> {
    let inner = if statement.kind() == "string" {
        statement
    } else {
        let only = Source::children(statement);
        *only.first().filter(|_| statement.kind() == "expression_statement" && only.len() == 1)?
    };
    (inner.kind() == "string").then(|| content(source, inner))
}

/// What stands between the quotes.
fn content<'text>(source: &Source<'text>, string: Node<'_>) -> &'text str {
    let text = source.text(string).trim_start_matches(|first: char| first.is_ascii_alphabetic());
    for quote in ["\"\"\"", "'''", "\"", "'"] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.strip_suffix(quote).unwrap_or(inner);
        }
    }
    text
}
