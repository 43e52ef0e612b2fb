//! From reached symbols to documents: a page for each root, a section for each symbol and member.

use std::collections::{BTreeMap, HashSet};

use super::model::{Docs, Module, Symbol};
use super::reach::{Reached, Root};
use crate::ingest::parse::{Document, ParseLimits, Section};

/// Members inside members that have sections; a class in a namespace in a namespace has three.
const DEPTH_MAX: usize = 8;

/// The documents of a package: roots in their order, symbols in the order of their source.
///
/// `language` is the tag of code, `anchor` makes the id of a symbol out of its module and its path there.
pub(in crate::ingest::parse) fn documents(
    modules: &BTreeMap<String, Module>,
    roots: &[Root],
    reached: &Reached,
    language: &str,
    anchor: &dyn Fn(&str, &str) -> String,
    limits: &ParseLimits,
) -> Vec<Document> {
    let mut shown: BTreeMap<usize, Vec<(&str, usize, &str)>> = BTreeMap::new();
    for ((file, index), place) in &reached.places {
        shown.entry(place.root).or_default().push((file, *index, &place.name));
    }
    let mut documents = Vec::new();
    let mut told = HashSet::new();
    for (number, root) in roots.iter().enumerate() {
        let mut symbols = shown.remove(&number).unwrap_or_default();
        symbols.sort_unstable();
        // Two roots may name one file; it says what it is once.
        let docs = modules.get(&root.key).filter(|_| told.insert(&root.key)).map(|module| &module.docs);
        if symbols.is_empty() && docs.is_none_or(Docs::is_empty) {
            continue;
        }
        let mut page = Page { language, module: &root.name, anchor, limits, sections: Vec::new() };
        page.top(docs);
        for (file, index, name) in symbols {
            if let Some(symbol) = modules.get(file).and_then(|module| module.symbols().get(index)) {
                page.symbol(symbol, name, name, 2, 0);
            }
        }
        let path = root.key.replace("::", "/");
        documents.push(Document {
            path,
            title: root.name.clone(),
            sections: page.sections,
            repairs: Vec::new(),
        });
    }
    documents
}

struct Page<'a> {
    language: &'a str,
    module: &'a str,
    anchor: &'a dyn Fn(&str, &str) -> String,
    limits: &'a ParseLimits,
    sections: Vec<Section>,
}

impl Page<'_> {
    fn top(&mut self, docs: Option<&Docs>) {
        let mut section = Section::new(1, self.module, Vec::new());
        let headings = docs.map(|docs| docs.write(&mut section, self.limits)).unwrap_or_default();
        self.sections.push(section);
        self.sections.extend(headings);
    }

    /// `name` is what the heading shows, `path` the names below the module.
    fn symbol(&mut self, symbol: &Symbol, name: &str, path: &str, level: u8, depth: usize) {
        if self.sections.len() >= self.limits.sections || depth >= DEPTH_MAX {
            return;
        }
        let anchors = vec![(self.anchor)(self.module, path)];
        let mut section = Section::new(level, symbol.shown(name), anchors);
        section.push_code(self.language, symbol.signature.clone());
        let headings = symbol.docs.write(&mut section, self.limits);
        self.sections.push(section);
        self.sections.extend(headings);
        for member in &symbol.members {
            let owner = name.rsplit('.').next().unwrap_or(name);
            let shown = format!("{owner}.{}", member.name);
            self.symbol(
                member,
                &shown,
                &format!("{path}.{}", member.name),
                level.saturating_add(1),
                depth + 1,
            );
        }
    }
}
