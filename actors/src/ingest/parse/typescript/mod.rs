//! TypeScript: what a package exports, with its JSDoc, out of its declarations or its sources.
//!
//! [`TypeScriptPackage`] takes every file of a package, because only its entry points and the re-exports between
//! files say what a user can import and from where. There is one document for each entry point (`date-fns`,
//! `date-fns/fp`) and each module a file declares (`declare module "fs"`), with a section for each symbol and each
//! documented member. A symbol that several entry points export stands at the shortest of them.
//!
//! Declarations (`.d.ts`) are what a published package means to show; sources (`.ts`) are read only where its entry
//! points have no declarations, as in a repository that was not built.
//!
//! Not seen: types of other packages that are re-exported, what a compiler would infer, and JavaScript.
//!
//! Invariant: what is `private`, `#private`, `@internal`, `@hidden` or `@ignore` is left out.

mod declare;
mod jsdoc;
mod members;
mod read;
mod resolve;

use std::collections::BTreeMap;

use self::resolve::Files;
use super::code::{self, Module, Source};
use super::{Document, ParseError, ParseLimits};

/// The files of one package, collected one by one.
pub struct TypeScriptPackage {
    name: String,
    entries: Vec<(String, String)>,
    limits: ParseLimits,
    modules: BTreeMap<String, Module>,
    /// Whether a declared entry point was there: then sources say nothing new.
    has_entry: bool,
}

impl TypeScriptPackage {
    /// `name` is the package's name, `entries` its entry points: what is put behind the name to import one (`""`,
    /// `/fp`) and the file, with one `*` in both for a pattern.
    pub fn new(name: &str, entries: &[(String, String)], limits: ParseLimits) -> Self {
        let (name, entries) = (name.to_owned(), entries.to_vec());
        Self { name, entries, limits, modules: BTreeMap::new(), has_entry: false }
    }

    /// Adds one file; one that is too large or no TypeScript is an error and the others still count.
    ///
    /// `path` is relative to the package's root, with `/` between parts.
    pub fn add(&mut self, path: &str, source: &str) -> Result<(), ParseError> {
        if !resolve::is_declaration(path) && self.has_entry {
            return Ok(());
        }
        self.has_entry |= resolve::is_declaration(path) && self.entries.iter().any(|(_, file)| file == path);
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let language = tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into();
        let source = Source::parse(&language, source, &self.limits)?;
        let read::File { module, declared } = read::file(&source, resolve::is_declaration(path));
        for (name, module) in declared {
            self.modules.insert(format!("{path}::{name}"), module);
        }
        self.modules.insert(path.to_owned(), module);
        Ok(())
    }

    /// The documents of everything exported, in the order of the entry points.
    pub fn finish(mut self) -> Vec<Document> {
        let files = Files::new(&mut self.modules);
        let mut roots = files.roots(&self.name, &self.entries);
        // The main entry first, then by length, so that the shortest path is preferred.
        roots.sort_by_key(|root| (root.name.len(), root.name.clone()));
        roots.dedup();
        let reached = code::reach(&self.modules, &roots, &|from, name| files.find(from, name));
        code::documents(
            &self.modules,
            &roots,
            &reached,
            "typescript",
            &|_, path| path.to_owned(),
            &self.limits,
        )
    }
}

/// Reads one file by itself: everything it exports.
pub fn parse(path: &str, source: &str, limits: &ParseLimits) -> Result<Vec<Document>, ParseError> {
    let entries = [(String::new(), path.to_owned())];
    let mut single = TypeScriptPackage::new(path, &entries, limits.clone());
    single.add(path, source)?;
    Ok(single.finish())
}

#[cfg(test)]
mod tests;
