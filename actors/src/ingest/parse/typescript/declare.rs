//! Declarations as symbols: functions, classes, interfaces, types, enums, constants, namespaces.

use std::collections::HashSet;

use tree_sitter::Node;

use super::jsdoc::Said;
use super::members::{self, Members};
use crate::ingest::parse::code::{Docs, Module, Source, Symbol, block};

/// A longer value of a constant says nothing about how to use it.
const VALUE_BYTES_MAX: usize = 160;

/// A symbol of a declaration.
pub(super) struct Found {
    pub(super) symbol: Symbol,
    /// A function with a body: where signatures stand before it, they are what callers see.
    pub(super) is_implementation: bool,
}

/// The symbols that one statement declares: one, or one for each constant.
pub(super) fn declare(source: &Source<'_>, node: Node<'_>, said: Said) -> Vec<Found> {
    let named = || node.child_by_field_name("name").map(|name| source.text(name).to_owned());
    let Said { docs, .. } = said;
    match node.kind() {
        "function_declaration" | "function_signature" | "generator_function_declaration" => {
            let body = node.child_by_field_name("body");
            let name = named().unwrap_or_else(|| "default".to_owned());
            let signature = head(source, node, body);
            let symbol = Symbol { name, is_callable: true, signature, docs, members: Vec::new() };
            vec![Found { symbol, is_implementation: body.is_some() }]
        }
        "class_declaration" | "abstract_class_declaration" | "interface_declaration" => {
            let Some(name) = named() else { return Vec::new() };
            one(whole(source, node, name, docs))
        }
        "enum_declaration" => {
            let Some(name) = named() else { return Vec::new() };
            let signature = source.cut(node, node.byte_range());
            let members = node.child_by_field_name("body").map(|body| members::variants(source, body));
            one(Symbol { name, is_callable: false, signature, docs, members: members.unwrap_or_default() })
        }
        "type_alias_declaration" => {
            let Some(name) = named() else { return Vec::new() };
            let value = node.child_by_field_name("value").filter(|value| value.kind() == "object_type");
            let members = value.map(|value| members::members(source, value).documented).unwrap_or_default();
            let signature = source.cut(node, node.byte_range());
            one(Symbol { name, is_callable: false, signature, docs, members })
        }
        "lexical_declaration" | "variable_declaration" => variables(source, node, &docs),
        _ => Vec::new(),
    }
}

/// A namespace: what it exports, as members.
pub(super) fn namespace(name: &str, module: Module) -> Symbol {
    let (docs, exported) = (module.docs.clone(), module.exports.clone());
    let symbols: Vec<Symbol> = module.into_symbols();
    let exported: HashSet<String> = exported.into_iter().map(|export| export.local).collect();
    let is_exported = |symbol: &Symbol| exported.contains(&symbol.name);
    let members = symbols.into_iter().filter(is_exported).collect();
    Symbol {
        name: name.to_owned(),
        is_callable: false,
        signature: format!("namespace {name}"),
        docs,
        members,
    }
}

fn one(symbol: Symbol) -> Vec<Found> {
    vec![Found { symbol, is_implementation: false }]
}

/// Everything up to a body.
pub(super) fn head(source: &Source<'_>, node: Node<'_>, body: Option<Node<'_>>) -> String {
    let end = body.map_or(node.end_byte(), |body| body.start_byte());
    source.cut(node, node.start_byte()..end)
}

/// A class or an interface with its members.
fn whole(source: &Source<'_>, node: Node<'_>, name: String, docs: Docs) -> Symbol {
    let body = node.child_by_field_name("body");
    let Members { shown, documented } = body.map(|body| members::members(source, body)).unwrap_or_default();
    let head = head(source, node, body);
    let signature = if shown.is_empty() {
        format!("{head} {{}}")
    } else {
        block(&format!("{head} {{"), &shown, "//", "}")
    };
    Symbol { name, is_callable: false, signature, docs, members: documented }
}

/// `const a: T, b = 1`: each a symbol; those that hold functions are called.
fn variables(source: &Source<'_>, node: Node<'_>, docs: &Docs) -> Vec<Found> {
    let keyword = node.child(0).map_or("const", |keyword| source.text(keyword));
    let declarators =
        Source::children(node).into_iter().filter(|child| child.kind() == "variable_declarator");
    let symbols = declarators.filter_map(|declarator| {
        let name = declarator.child_by_field_name("name").filter(|name| name.kind() == "identifier")?;
        let kind = declarator.child_by_field_name("type");
        let value = declarator.child_by_field_name("value");
        let function = value.filter(|value| matches!(value.kind(), "arrow_function" | "function_expression"));
        let start = declarator.start_byte();
        let text = match (kind, function, value) {
            (Some(kind), _, _) => source.cut(declarator, start..kind.end_byte()),
            (None, Some(function), _) => {
                let body = function
                    .child_by_field_name("body")
                    .map_or(function.end_byte(), |body| body.start_byte());
                source.cut(declarator, start..body) + " …"
            }
            (None, None, Some(value)) if value.end_byte() - value.start_byte() <= VALUE_BYTES_MAX => {
                source.cut(declarator, declarator.byte_range())
            }
            _ => source.text(name).to_owned(),
        };
        let calls = kind.is_some_and(|kind| {
            Source::children(kind).first().is_some_and(|inner| inner.kind() == "function_type")
        });
        let name = source.text(name).to_owned();
        let is_callable = calls || function.is_some();
        let signature = format!("{keyword} {text}");
        let symbol = Symbol { name, is_callable, signature, docs: docs.clone(), members: Vec::new() };
        Some(Found { symbol, is_implementation: false })
    });
    symbols.collect()
}
