//! From a crate's public items to documents: a page for each item, and one for each module.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    comment::Docs,
    item::{Entry, Item},
    reach::{Place, Reach, Target, reach, resolve},
    tree::Tree,
};
use crate::ingest::parse::{Document, ParseLimits, Section};

/// The documents of one crate.
pub(super) fn documents(mut tree: Tree, limits: &ParseLimits) -> Vec<Document> {
    attach_methods(&mut tree);
    let Reach { modules, items, foreign } = reach(&tree);
    let mut pages: BTreeMap<Vec<String>, ModulePage> = BTreeMap::new();
    for (index, path) in modules {
        if let Some(module) = tree.modules.get_mut(index) {
            pages.entry(path).or_default().docs.append(std::mem::take(&mut module.docs));
        }
    }
    for (path, names) in foreign {
        pages.entry(path).or_default().foreign = names;
    }
    let mut documents = Vec::new();
    for ((module, place), Place { module: path, name, aliases }) in items {
        let Some(item) = tree.modules.get(module).and_then(|module| module.items.get(place)) else {
            continue;
        };
        let mut item = Item { name, ..item.clone() };
        if !aliases.is_empty() {
            let aliases: Vec<String> = aliases.iter().map(|alias| format!("`{alias}`")).collect();
            item.docs.notes.push(format!("Also known as {}.", aliases.join(", ")));
        }
        if item.is_small() {
            let page = pages.entry(path).or_default();
            // Written once for each platform, shown once.
            if page.known.insert((item.kind.tag(), item.name.clone())) {
                page.small.push(item);
            }
        } else {
            documents.push(item_page(&path, &item, limits));
        }
    }
    for (path, page) in pages {
        documents.extend(page.document(&path, limits));
    }
    documents
}

/// Moves methods to the types they belong to, wherever their `impl` stands.
fn attach_methods(tree: &mut Tree) {
    let mut by_name: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
    for (index, module) in tree.modules.iter().enumerate() {
        for (place, item) in module.items.iter().enumerate() {
            by_name.entry(item.name.clone()).or_default().push((index, place));
        }
    }
    for index in 0..tree.modules.len() {
        let impls =
            tree.modules.get_mut(index).map(|module| std::mem::take(&mut module.impls)).unwrap_or_default();
        for implementation in impls {
            let named = resolve(tree, index, std::slice::from_ref(&implementation.type_name));
            let found = named.into_iter().find_map(|target| match target {
                Target::Item(id) => Some(id),
                Target::Module(_) => None,
            });
            // A type that macros brought in scope: its name tells, when the crate has one of that name.
            let alone =
                || by_name.get(&implementation.type_name).filter(|ids| ids.len() == 1)?.first().copied();
            let Some((module, place)) = found.or_else(alone) else {
                continue;
            };
            if let Some(item) = tree.modules.get_mut(module).and_then(|module| module.items.get_mut(place)) {
                item.entries.extend(implementation.entries);
            }
        }
    }
}

fn item_page(path: &[String], item: &Item, limits: &ParseLimits) -> Document {
    let title = format!("{}::{}", path.join("::"), item.shown_name());
    let mut page = Page::new(limits);
    page.section(1, &title, Vec::new(), &item.signature, &item.docs);
    for entry in &item.entries {
        page.entry(&item.name, entry);
    }
    let place = format!("{}/{}.{}.html", folder(path), item.kind.tag(), item.name);
    page.document(place, title)
}

/// What a module's own page holds.
#[derive(Default)]
struct ModulePage {
    docs: Docs,
    foreign: Vec<String>,
    small: Vec<Item>,
    /// Kinds and names of the small items.
    known: HashSet<(&'static str, String)>,
}

impl ModulePage {
    /// `None` when the module has nothing to say by itself.
    fn document(self, path: &[String], limits: &ParseLimits) -> Option<Document> {
        if self.docs.is_empty() && self.foreign.is_empty() && self.small.is_empty() {
            return None;
        }
        let title = path.join("::");
        let mut page = Page::new(limits);
        page.section(1, &title, Vec::new(), "", &self.docs);
        if !self.foreign.is_empty() {
            let list: Vec<String> = self.foreign.iter().map(|name| format!("- `{name}`")).collect();
            let mut section = Section::new(2, "Re-exports", vec!["reexports".to_owned()]);
            section.push_prose(list.join("\n"), 0);
            page.push(section);
        }
        for item in &self.small {
            let heading = format!("{title}::{}", item.shown_name());
            let anchor = format!("{}.{}", item.kind.tag(), item.name);
            page.section(2, &heading, vec![anchor], &item.signature, &item.docs);
            for entry in &item.entries {
                page.entry(&item.name, entry);
            }
        }
        Some(page.document(format!("{}/index.html", folder(path)), title))
    }
}

/// Sections of one page with anchors that are unique on it.
struct Page<'limits> {
    limits: &'limits ParseLimits,
    sections: Vec<Section>,
    anchors: HashMap<String, usize>,
}

impl<'limits> Page<'limits> {
    fn new(limits: &'limits ParseLimits) -> Self {
        Self { limits, sections: Vec::new(), anchors: HashMap::new() }
    }

    fn entry(&mut self, owner: &str, entry: &Entry) {
        let heading = format!("{owner}::{}", entry.name);
        self.section(2, &heading, vec![entry.anchor.clone()], &entry.signature, &entry.docs);
    }

    fn section(&mut self, level: u8, heading: &str, anchors: Vec<String>, signature: &str, docs: &Docs) {
        let mut section = Section::new(level, heading, anchors);
        section.push_code("rust", signature);
        let headings = docs.write(&mut section, self.limits);
        self.push(section);
        headings.into_iter().for_each(|section| self.push(section));
    }

    /// Adds a section; the second `examples` of a page is `examples-1`, as in rustdoc.
    fn push(&mut self, mut section: Section) {
        if self.sections.len() >= self.limits.sections {
            return;
        }
        for anchor in &mut section.anchors {
            let seen = self.anchors.entry(anchor.clone()).or_default();
            let count = *seen;
            *seen += 1;
            if count > 0 {
                *anchor = format!("{anchor}-{count}");
            }
        }
        self.sections.push(section);
    }

    fn document(self, path: String, title: String) -> Document {
        Document { path, title, sections: self.sections, repairs: Vec::new() }
    }
}

/// The folder of a module's pages. A file that stands for itself has `::` in its first part.
fn folder(path: &[String]) -> String {
    path.join("/").replace("::", "/")
}
