//! One file: what it defines, imports and exports.

use std::collections::BTreeMap;

use tree_sitter::Node;

use super::declare::{self, Found};
use super::jsdoc::{self, Said};
use crate::ingest::parse::code::{Export, Module, Source, Symbol, Use, Used};

/// Namespaces inside namespaces that are opened.
const NESTING_MAX: usize = 8;

/// A file as modules.
pub(super) struct File {
    pub(super) module: Module,
    /// What `declare module "name"` holds.
    pub(super) declared: BTreeMap<String, Module>,
}

/// Reads a file; in a declaration file without imports and exports everything is global, and so public.
pub(super) fn file(source: &Source<'_>, is_declaration: bool) -> File {
    let mut reader = Reader { source, declared: BTreeMap::new() };
    let nodes = Source::children(source.root());
    let is_script = !nodes.iter().any(|node| matches!(node.kind(), "export_statement" | "import_statement"));
    let mut module = reader.body(&nodes, is_script && is_declaration, 0);
    for reference in references(source, &nodes) {
        module.stars.push(reference);
    }
    if let Some(Said { docs, .. }) = nodes.iter().find_map(|node| file_comment(source, *node)) {
        module.docs = docs;
    }
    File { module, declared: reader.declared }
}

/// The files that `/// <reference path="…" />` names: their globals belong to this one.
fn references(source: &Source<'_>, nodes: &[Node<'_>]) -> Vec<String> {
    let comments = nodes.iter().take_while(|node| node.kind() == "comment").map(|node| source.text(*node));
    comments
        .filter_map(|text| {
            let (_, path) = text.strip_prefix("///")?.split_once("path=")?;
            let quote = path.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
            let path = path.get(1..)?.split(quote).next()?;
            Some(if path.starts_with('.') { path.to_owned() } else { format!("./{path}") })
        })
        .collect()
}

/// A comment about the file: `@packageDocumentation`, `@module` or `@fileoverview`.
fn file_comment(source: &Source<'_>, node: Node<'_>) -> Option<Said> {
    let text = Some(source.text(node)).filter(|text| node.kind() == "comment" && text.starts_with("/**"))?;
    let marked = ["@packageDocumentation", "@module", "@fileoverview"].iter().any(|tag| text.contains(tag));
    marked.then(|| jsdoc::read(text))
}

struct Reader<'a, 'text> {
    source: &'a Source<'text>,
    declared: BTreeMap<String, Module>,
}

impl Reader<'_, '_> {
    /// Statements of a file, a module or a namespace. `is_ambient`: what is declared is exported without saying so.
    fn body(&mut self, nodes: &[Node<'_>], is_ambient: bool, depth: usize) -> Module {
        let mut module = Module::default();
        let mut comment = None;
        // `export {}` and `export =` in an ambient module say that the rest is not exported.
        let lists = |node: &Node<'_>| {
            node.kind() == "export_statement" && node.child_by_field_name("declaration").is_none()
        };
        let is_ambient = is_ambient && !nodes.iter().any(lists);
        for node in nodes {
            if node.kind() == "comment" {
                let text = self.source.text(*node);
                comment =
                    text.starts_with("/**").then_some(text).or(comment.filter(|_| text.starts_with("//")));
                continue;
            }
            let said = comment.take().map(jsdoc::read).unwrap_or_default();
            match node.kind() {
                "import_statement" => self.import(*node, &mut module),
                "export_statement" => self.export(*node, said, &mut module, depth),
                _ => drop(self.declaration(*node, said, &mut module, is_ambient, depth)),
            }
        }
        module
    }

    /// Adds what a statement declares; returns the names.
    fn declaration(
        &mut self,
        node: Node<'_>,
        said: Said,
        module: &mut Module,
        is_exported: bool,
        depth: usize,
    ) -> Vec<String> {
        let source = self.source;
        let node = match node.kind() {
            "ambient_declaration" | "expression_statement" => {
                let inner = Source::children(node).into_iter().find(|child| child.kind() != "comment");
                let Some(inner) = inner else { return Vec::new() };
                // `declare global { … }`: known everywhere once the module is loaded.
                if inner.kind() == "statement_block" {
                    let nodes = Source::children(inner);
                    for symbol in self.global(&nodes, depth) {
                        module.export(&symbol.name);
                        module.add(symbol);
                    }
                    return Vec::new();
                }
                inner
            }
            _ => node,
        };
        if said.is_hidden {
            return Vec::new();
        }
        if node.kind() == "import_alias" {
            return Vec::new();
        }
        if matches!(node.kind(), "module" | "internal_module") {
            return self.namespace(node, said, module, is_exported, depth);
        }
        let mut names = Vec::new();
        for Found { symbol, is_implementation } in declare::declare(source, node, said) {
            // The signatures before it are the interface.
            let shown = module.position(&symbol.name).is_some() && is_implementation;
            names.push(symbol.name.clone());
            if is_exported {
                module.export(&symbol.name);
            }
            if !shown {
                module.add(symbol);
            }
        }
        names
    }

    fn global(&mut self, nodes: &[Node<'_>], depth: usize) -> Vec<Symbol> {
        if depth >= NESTING_MAX { Vec::new() } else { self.body(nodes, true, depth + 1).into_symbols() }
    }

    /// `namespace N { … }` is a symbol with members, `declare module "m" { … }` a module of its own.
    fn namespace(
        &mut self,
        node: Node<'_>,
        said: Said,
        module: &mut Module,
        is_exported: bool,
        depth: usize,
    ) -> Vec<String> {
        let source = self.source;
        let Some(name) = node.child_by_field_name("name") else { return Vec::new() };
        let nodes = node.child_by_field_name("body").map(Source::children).unwrap_or_default();
        if depth >= NESTING_MAX {
            return Vec::new();
        }
        let mut inner = self.body(&nodes, true, depth + 1);
        inner.docs = said.docs;
        if name.kind() == "string" {
            let name = source.text(name).trim_matches(['"', '\'', '`']).to_owned();
            let known = self.declared.entry(name).or_default();
            known.docs.append(inner.docs.clone());
            known.uses.append(&mut inner.uses);
            known.exports.append(&mut inner.exports);
            known.stars.append(&mut inner.stars);
            inner.into_symbols().into_iter().for_each(|symbol| known.add(symbol));
            return Vec::new();
        }
        let name = source.text(name).to_owned();
        let symbol = declare::namespace(&name, inner);
        if is_exported {
            module.export(&name);
        }
        module.add(symbol);
        vec![name]
    }

    fn import(&self, node: Node<'_>, module: &mut Module) {
        let source = self.source;
        let from = node.child_by_field_name("source").map(|from| unquoted(source.text(from)));
        for clause in Source::children(node) {
            // `import a = require("a")`
            if clause.kind() == "import_require_clause" {
                let local = Source::children(clause).into_iter().find(|child| child.kind() == "identifier");
                let from = clause.child_by_field_name("source").map(|from| unquoted(source.text(from)));
                if let (Some(local), Some(from)) = (local, from) {
                    let what = Used::Name("default".to_owned());
                    module.uses.push(Use { from, what, local: source.text(local).to_owned() });
                }
                continue;
            }
            let Some(from) = from.clone().filter(|_| clause.kind() == "import_clause") else { continue };
            for part in Source::children(clause) {
                match part.kind() {
                    "identifier" => {
                        let what = Used::Name("default".to_owned());
                        let local = source.text(part).to_owned();
                        module.uses.push(Use { from: from.clone(), what, local });
                    }
                    "namespace_import" => {
                        if let Some(local) = Source::children(part).first() {
                            let local = source.text(*local).to_owned();
                            module.uses.push(Use { from: from.clone(), what: Used::Module, local });
                        }
                    }
                    _ => {
                        for (name, local) in specifiers(source, part) {
                            module.uses.push(Use { from: from.clone(), what: Used::Name(name), local });
                        }
                    }
                }
            }
        }
    }

    fn export(&mut self, node: Node<'_>, said: Said, module: &mut Module, depth: usize) {
        let source = self.source;
        let is_default = Source::has_word(node, "default");
        if let Some(declaration) = node.child_by_field_name("declaration") {
            let names = self.declaration(declaration, said, module, !is_default, depth);
            if let Some(local) = names.into_iter().next().filter(|_| is_default) {
                module.exports.push(Export { local, shown: "default".to_owned() });
            }
            return;
        }
        let children = Source::children(node);
        if let Some(from) = node.child_by_field_name("source").map(|from| unquoted(source.text(from))) {
            let inner = |kind: &str| children.iter().find(|child| child.kind() == kind);
            if let Some(clause) = inner("export_clause") {
                for (name, shown) in specifiers(source, *clause) {
                    // A name of its own, so that it meets none of this module.
                    let local = format!("{from} {name}");
                    let what = Used::Name(name);
                    module.uses.push(Use { from: from.clone(), what, local: local.clone() });
                    module.exports.push(Export { local, shown });
                }
            } else if let Some(namespace) = inner("namespace_export") {
                if let Some(shown) = Source::children(*namespace).first() {
                    let local = format!("{from} *");
                    module.uses.push(Use { from, what: Used::Module, local: local.clone() });
                    module.exports.push(Export { local, shown: source.text(*shown).to_owned() });
                }
            } else {
                module.stars.push(from);
            }
            return;
        }
        for child in children {
            match child.kind() {
                "export_clause" => {
                    for (local, shown) in specifiers(source, child) {
                        module.exports.push(Export { local, shown });
                    }
                }
                // `export default x`, `export = x`
                "identifier" => {
                    let local = source.text(child).to_owned();
                    module.exports.push(Export { local, shown: "default".to_owned() });
                }
                _ => {}
            }
        }
    }
}

/// `{ a, b as c }` as pairs of what comes first and what it is called.
fn specifiers(source: &Source<'_>, clause: Node<'_>) -> Vec<(String, String)> {
    let specifiers = Source::children(clause).into_iter();
    specifiers
        .filter_map(|specifier| {
            let name = source.text(specifier.child_by_field_name("name")?).to_owned();
            let alias = specifier.child_by_field_name("alias").map(|alias| source.text(alias).to_owned());
            Some((name.clone(), alias.unwrap_or(name)))
        })
        .collect()
}

fn unquoted(text: &str) -> String {
    text.trim_matches(['"', '\'', '`']).to_owned()
}
