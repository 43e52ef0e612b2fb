//! Rust sources: the doc comments of the public items of one package, as the pages rustdoc makes of them.
//!
//! [`RustCrate`] takes every library source of a package, because only the whole module tree says
//! what is public and under which path: `pub use` lifts items out of private modules. There is one
//! document for each type, trait, documented function and macro, and one for each module, which also holds its
//! small items (constants, aliases, what has no documentation). A document's path is the one
//! rustdoc gives the page (`tokio/sync/mpsc/struct.Sender.html`), and anchors are rustdoc's
//! (`method.send`), so that a link leads to the very method.
//!
//! Signatures are cut out of the source, so they look as their author wrote them. Doc comments go
//! through the Markdown parser; hidden lines of examples are removed.
//!
//! Not seen: items that macros make (though the body of a call such as `cfg_io! { … }` is read when
//! it is plain Rust), documentation included from other files, implementations of traits, and the
//! documentation of other crates' items that are re-exported; these are listed by name.
//!
//! Invariant: bodies are dropped before the syntax is parsed, and what is left has a bounded
//! nesting, so no source can exhaust the stack.

mod comment;
mod declare;
mod example;
mod item;
mod pages;
mod reach;
mod read;
mod signature;
mod tokens;
mod tree;

use std::collections::BTreeMap;

pub use example::example;

use self::read::SourceModule;
use super::{Document, ParseError, ParseLimits};

/// The sources of one package, collected file by file.
pub struct RustCrate {
    name: String,
    library_path: String,
    limits: ParseLimits,
    files: BTreeMap<String, SourceModule>,
}

impl RustCrate {
    /// `name` is the name in code (`serde_json`), `library_path` the file of the crate's root (`src/lib.rs`).
    pub fn new(name: &str, library_path: &str, limits: ParseLimits) -> Self {
        Self { name: name.to_owned(), library_path: library_path.to_owned(), limits, files: BTreeMap::new() }
    }

    /// Adds one source file; a file that does not parse is an error and the others still count.
    ///
    /// `path` is relative to the package's root, with `/` between parts.
    pub fn add(&mut self, path: &str, source: &str) -> Result<(), ParseError> {
        if source.len() > self.limits.page_bytes {
            return Err(ParseError::TooLarge { bytes: source.len(), limit: self.limits.page_bytes });
        }
        let module = read::read(source)?;
        self.files.insert(path.to_owned(), module);
        Ok(())
    }

    /// The documents of everything public, sorted by path.
    ///
    /// Besides the package's own root, every `…/src/lib.rs` is the root of a crate named after its
    /// folder, so that the sources of a whole workspace can be given at once. Without any root
    /// each file stands for itself.
    pub fn finish(self) -> Vec<Document> {
        let mut documents: BTreeMap<String, Document> = BTreeMap::new();
        for tree in tree::trees(&self.name, &self.library_path, self.files) {
            for document in pages::documents(tree, &self.limits) {
                // An item written once for each platform: the one that says most stands for all.
                let known = documents.get(&document.path).map_or(0, |known| known.sections.len());
                if document.sections.len() > known {
                    documents.insert(document.path.clone(), document);
                }
            }
        }
        documents.into_values().collect()
    }
}

/// Reads one source file by itself: its public items, under a path told by the file's.
///
/// The first document is the module's; a file without anything public gives none.
pub fn parse(path: &str, source: &str, limits: &ParseLimits) -> Result<Vec<Document>, ParseError> {
    let mut single = RustCrate::new("crate", path, limits.clone());
    single.add(path, source)?;
    Ok(single.finish())
}

#[cfg(test)]
mod tests;
