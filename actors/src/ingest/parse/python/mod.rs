//! Python: what a package's modules offer, with their docstrings, out of sources (`.py`) and stubs (`.pyi`).
//!
//! [`PythonPackage`] takes every file of a distribution, because only imports between its modules say what a user can
//! name and from where: `httpx.Client` is defined in `httpx/_client.py`. There is one document for each public module,
//! with a section for each class, function and documented constant, and for each documented method. Something that
//! several modules give stands in the one with the shortest name.
//!
//! Public is what `__all__` lists; without it what is defined in the module under a name without a leading underscore,
//! and in an `__init__` also what it imports from its own package. Modules whose name starts with an underscore are
//! not shown, but what is imported from them is. A stub's signatures win over the source's; docstrings of both count.
//!
//! Not seen: what is made when the module runs (`setattr`, decorators that change signatures), and an `__all__`
//! that is computed.
//!
//! Invariant: nothing is executed or imported; a file is text.

mod docstring;
mod fields;
mod read;
mod rest;

use std::collections::BTreeMap;

use super::code::{self, Module, Root, Source};
use super::{Document, ParseError, ParseLimits};

/// The files of one distribution, collected one by one.
pub struct PythonPackage {
    limits: ParseLimits,
    modules: BTreeMap<String, Module>,
}

impl PythonPackage {
    /// An empty package.
    pub fn new(limits: ParseLimits) -> Self {
        Self { limits, modules: BTreeMap::new() }
    }

    /// Adds one file; one that is too large or no Python is an error and the others still count.
    ///
    /// `path` is relative to the distribution's root, with `/` between parts; a leading `src/` is left out of names.
    pub fn add(&mut self, path: &str, source: &str) -> Result<(), ParseError> {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let source = Source::parse(&tree_sitter_python::LANGUAGE.into(), source, &self.limits)?;
        let is_package = is_package(path);
        self.modules.insert(path.to_owned(), read::module(&source, is_package));
        Ok(())
    }

    /// The names of the top-level packages and modules: what a program imports.
    pub fn import_names(&self) -> Vec<String> {
        let tops = self.modules.keys().map(|path| module_name(path)).filter(|name| !name.contains('.'));
        let mut names: Vec<String> = tops.filter(|name| !name.is_empty() && !name.starts_with('_')).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The documents of every public module, those with short names first.
    pub fn finish(mut self) -> Vec<Document> {
        self.join_stubs();
        let names: BTreeMap<String, String> =
            self.modules.keys().map(|path| (module_name(path), path.clone())).collect();
        let is_public = |name: &str| {
            !name.is_empty()
                && name.split('.').all(|part| !part.starts_with('_') && part != "tests" && part != "test")
        };
        let public = names.iter().filter(|(name, _)| is_public(name));
        let mut roots: Vec<Root> =
            public.map(|(name, path)| Root { name: name.clone(), key: path.clone() }).collect();
        roots.sort_by_key(|root| (root.name.matches('.').count(), root.name.clone()));
        let find = |from: &str, wanted: &str| names.get(&absolute(from, wanted)?).cloned();
        let reached = code::reach(&self.modules, &roots, &find);
        let anchor = |module: &str, path: &str| format!("{module}.{path}");
        code::documents(&self.modules, &roots, &reached, "python", &anchor, &self.limits)
    }

    /// Puts what sources say about the symbols of a stub into the stub, which then stands for both.
    fn join_stubs(&mut self) {
        let stubs: Vec<String> = self.modules.keys().filter(|path| path.ends_with(".pyi")).cloned().collect();
        for stub in stubs {
            let source = stub.trim_end_matches('i').to_owned();
            let (Some(mut code), Some(stub)) = (self.modules.remove(&source), self.modules.get_mut(&stub))
            else {
                continue;
            };
            read::document(stub, &mut code);
        }
    }
}

/// Reads one file by itself: everything public in it.
pub fn parse(path: &str, source: &str, limits: &ParseLimits) -> Result<Vec<Document>, ParseError> {
    let mut single = PythonPackage::new(limits.clone());
    single.add(path, source)?;
    Ok(single.finish())
}

fn is_package(path: &str) -> bool {
    path.ends_with("__init__.py") || path.ends_with("__init__.pyi")
}

/// `src/httpx/_client.py` is `httpx._client`, `httpx/__init__.py` is `httpx`.
fn module_name(path: &str) -> String {
    let path = path.strip_suffix(".pyi").or_else(|| path.strip_suffix(".py")).unwrap_or(path);
    let path = path.strip_prefix("src/").unwrap_or(path);
    let path = path.strip_suffix("/__init__").unwrap_or(path);
    // A package of stubs alone is named after the package it describes.
    let path = path.replacen("-stubs/", "/", 1);
    path.strip_suffix("-stubs").unwrap_or(&path).replace('/', ".")
}

/// The module that `wanted` (`.core`, `..`, `httpx._api`) means in the file `from`.
fn absolute(from: &str, wanted: &str) -> Option<String> {
    let relative = wanted.trim_start_matches('.');
    let dots = wanted.len() - relative.len();
    if dots == 0 {
        return Some(relative.to_owned());
    }
    let name = module_name(from);
    let mut parts: Vec<&str> = name.split('.').collect();
    let up = if is_package(from) { dots - 1 } else { dots };
    let kept = parts.len().checked_sub(up)?;
    parts.truncate(kept);
    parts.extend(relative.split('.').filter(|part| !part.is_empty()));
    Some(parts.join("."))
}

#[cfg(test)]
mod tests;
