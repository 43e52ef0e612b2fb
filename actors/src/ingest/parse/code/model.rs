//! What is kept of a source file once its syntax is forgotten.

use std::collections::HashMap;

use crate::ingest::parse::{ParseLimits, Section, markdown};

/// Members of one symbol that have sections; later ones are left out.
const MEMBERS_MAX: usize = 2_000;
/// Bytes of what is said about one symbol at several places; later places are left out.
const TOLD_BYTES_MAX: usize = 64 << 10;
const NOTES_MAX: usize = 16;

/// One file, or one module that a file declares.
#[derive(Debug, Default)]
pub(in crate::ingest::parse) struct Module {
    pub(in crate::ingest::parse) docs: Docs,
    /// Everything defined here, exported or not, in the order of the file; each name once.
    symbols: Vec<Symbol>,
    by_name: HashMap<String, usize>,
    /// Names that come from other modules.
    pub(in crate::ingest::parse) uses: Vec<Use>,
    /// Names this module gives to others.
    pub(in crate::ingest::parse) exports: Vec<Export>,
    /// Modules whose exports are names here, exported or not.
    pub(in crate::ingest::parse) wholes: Vec<String>,
    /// Modules whose exports are all exported here too.
    pub(in crate::ingest::parse) stars: Vec<String>,
}

/// Something with a name, a signature and documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ingest::parse) struct Symbol {
    pub(in crate::ingest::parse) name: String,
    /// Whether it is shown with `()`.
    pub(in crate::ingest::parse) is_callable: bool,
    /// As its author wrote it, without comments and bodies; empty when that of its owner shows it.
    pub(in crate::ingest::parse) signature: String,
    pub(in crate::ingest::parse) docs: Docs,
    /// Members that have a section of their own.
    pub(in crate::ingest::parse) members: Vec<Symbol>,
}

/// What is said about a symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ingest::parse) struct Docs {
    pub(in crate::ingest::parse) markdown: String,
    /// Sentences that stand before the text: deprecated, what kind of method.
    pub(in crate::ingest::parse) notes: Vec<String>,
}

/// A name that another module defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ingest::parse) struct Use {
    /// The module as the source names it.
    pub(in crate::ingest::parse) from: String,
    pub(in crate::ingest::parse) what: Used,
    /// The name in this module.
    pub(in crate::ingest::parse) local: String,
}

/// What of another module a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ingest::parse) enum Used {
    /// One of its exports.
    Name(String),
    /// The module itself.
    Module,
}

/// A name of this module, and how others call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ingest::parse) struct Export {
    pub(in crate::ingest::parse) local: String,
    pub(in crate::ingest::parse) shown: String,
}

impl Module {
    pub(in crate::ingest::parse) fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    pub(in crate::ingest::parse) fn into_symbols(self) -> Vec<Symbol> {
        self.symbols
    }

    /// Adds a definition; one of a known name is an overload or another side of the same thing.
    pub(in crate::ingest::parse) fn add(&mut self, symbol: Symbol) {
        match self.by_name.get(&symbol.name).and_then(|index| self.symbols.get_mut(*index)) {
            Some(known) => known.merge(symbol),
            None => {
                self.by_name.insert(symbol.name.clone(), self.symbols.len());
                self.symbols.push(symbol);
            }
        }
    }

    pub(in crate::ingest::parse) fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(in crate::ingest::parse) fn symbol_mut(&mut self, name: &str) -> Option<&mut Symbol> {
        self.by_name.get(name).and_then(|index| self.symbols.get_mut(*index))
    }

    /// Exports a name under itself.
    pub(in crate::ingest::parse) fn export(&mut self, name: &str) {
        self.exports.push(Export { local: name.to_owned(), shown: name.to_owned() });
    }
}

impl Symbol {
    /// As it is written in code: `get()`, `Client`.
    pub(in crate::ingest::parse) fn shown(&self, name: &str) -> String {
        if self.is_callable { format!("{name}()") } else { name.to_owned() }
    }

    /// Adds a member; one of a known name is an overload.
    pub(in crate::ingest::parse) fn member(&mut self, member: Self) {
        let fits = self.members.len() < MEMBERS_MAX;
        match self.members.iter_mut().find(|known| known.name == member.name) {
            Some(known) => known.merge(member),
            None if fits => self.members.push(member),
            None => {}
        }
    }

    fn merge(&mut self, other: Self) {
        if !other.signature.is_empty() && !self.signature.contains(&other.signature) {
            if !self.signature.is_empty() {
                self.signature.push('\n');
            }
            self.signature = super::bounded(std::mem::take(&mut self.signature) + &other.signature);
        }
        self.is_callable &= other.is_callable;
        self.docs.append(other.docs);
        other.members.into_iter().for_each(|member| self.member(member));
    }
}

impl Docs {
    pub(in crate::ingest::parse) fn is_empty(&self) -> bool {
        self.markdown.trim().is_empty() && self.notes.is_empty()
    }

    /// Adds what is said at another place about the same symbol.
    pub(in crate::ingest::parse) fn append(&mut self, other: Self) {
        let fits = self.markdown.len() + other.markdown.len() <= TOLD_BYTES_MAX || self.markdown.is_empty();
        if fits && !self.markdown.contains(&other.markdown) {
            if !self.markdown.is_empty() {
                self.markdown.push_str("\n\n");
            }
            self.markdown.push_str(&other.markdown);
        }
        for note in other.notes {
            if self.notes.len() < NOTES_MAX && !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// Adds the text to `section`; returns the sections of its own headings.
    pub(super) fn write(&self, section: &mut Section, limits: &ParseLimits) -> Vec<Section> {
        for note in &self.notes {
            section.push_prose(note.clone(), 0);
        }
        let mut sections = markdown::sections(&self.markdown, section.level, limits);
        if sections.first().is_some_and(|first| first.heading.is_empty()) {
            section.pieces.append(&mut sections.remove(0).pieces);
        }
        sections
    }
}
