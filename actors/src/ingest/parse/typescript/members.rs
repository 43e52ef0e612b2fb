//! Members of classes, interfaces, object types and enums.

use tree_sitter::Node;

use super::declare::head;
use super::jsdoc::{self, Said};
use crate::ingest::parse::code::{Source, Symbol};

/// What a type shows of its members.
#[derive(Default)]
pub(super) struct Members {
    /// One signature each, as they stand in the signature of the type.
    pub(super) shown: Vec<String>,
    /// Those with something to say, as sections.
    pub(super) documented: Vec<Symbol>,
}

/// The public members of a class, an interface or an object type.
pub(super) fn members(source: &Source<'_>, body: Node<'_>) -> Members {
    let mut members = Members::default();
    let mut owner = Symbol::default();
    let mut signatures = std::collections::HashSet::new();
    for (node, said) in documented(source, body) {
        let Some(name) = member_name(source, node) else { continue };
        let is_silent = said.docs.is_empty();
        if said.is_hidden || is_private(source, node, &name) || (is_silent && name.starts_with('_')) {
            continue;
        }
        // The body of an overloaded method repeats what its signatures said.
        if node.kind() == "method_signature" {
            signatures.insert(name.clone());
        } else if node.kind() == "method_definition" && signatures.contains(&name) {
            continue;
        }
        let signature = signature(source, node);
        members.shown.push(format!("{signature};"));
        if is_silent {
            continue;
        }
        let is_callable = node.child_by_field_name("parameters").is_some();
        let docs = said.docs;
        owner.member(Symbol { name, is_callable, signature, docs, members: Vec::new() });
    }
    members.documented = owner.members;
    members
}

/// The variants of an enum that have something to say; the enum's own signature shows all of them.
pub(super) fn variants(source: &Source<'_>, body: Node<'_>) -> Vec<Symbol> {
    let told =
        documented(source, body).into_iter().filter(|(_, said)| !said.docs.is_empty() && !said.is_hidden);
    told.map(|(node, said)| {
        let name = node.child_by_field_name("name").unwrap_or(node);
        Symbol { name: source.text(name).to_owned(), docs: said.docs, ..Symbol::default() }
    })
    .collect()
}

/// The children of a body, each with the comment before it.
fn documented<'tree>(source: &Source<'_>, body: Node<'tree>) -> Vec<(Node<'tree>, Said)> {
    let mut comment = None;
    let mut found = Vec::new();
    for node in Source::children(body) {
        match node.kind() {
            "comment" => {
                let text = source.text(node);
                comment =
                    text.starts_with("/**").then_some(text).or(comment.filter(|_| text.starts_with("//")));
            }
            "decorator" => {}
            _ => found.push((node, comment.take().map(jsdoc::read).unwrap_or_default())),
        }
    }
    found
}

fn member_name(source: &Source<'_>, node: Node<'_>) -> Option<String> {
    Some(match node.kind() {
        "call_signature" => "(call)".to_owned(),
        "construct_signature" => "new".to_owned(),
        "index_signature" => "[index]".to_owned(),
        _ => source.text(node.child_by_field_name("name")?).trim_matches(['"', '\'']).to_owned(),
    })
}

fn is_private(source: &Source<'_>, node: Node<'_>, name: &str) -> bool {
    let access = Source::children(node).into_iter().find(|child| child.kind() == "accessibility_modifier");
    name.starts_with('#') || access.is_some_and(|access| source.text(access) == "private")
}

/// A member without its body and, where its type says enough, without its value.
fn signature(source: &Source<'_>, node: Node<'_>) -> String {
    let value = node.child_by_field_name("value").filter(|_| node.child_by_field_name("type").is_some());
    let text = head(source, node, node.child_by_field_name("body").or(value));
    text.trim_end_matches(['=', ' ', ';', ',']).to_owned()
}
