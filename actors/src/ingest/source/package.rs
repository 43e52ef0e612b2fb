//! Published packages, whatever their language: what they say about themselves, and where their code begins.
//!
//! [`Package::read_all`] looks for `Cargo.toml`, `package.json` and Python's metadata at the root of a folder or an
//! archive. A source can be a package of several languages at once (a Rust library with bindings), then each is given.

use std::path::Path;

use super::cargo_manifest::PackageManifest;
use super::npm_manifest::NpmManifest;
use super::python_metadata::PythonMetadata;
use super::root_file;

/// Who numbers the versions of a package, and what its library is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Rust packages: `/crates/name`.
    Crates,
    /// npm packages: `/npm/name`, `/npm/@scope/name`.
    Npm,
    /// Python distributions: `/pypi/name`, the name normalised (PEP 503).
    Pypi,
}

/// What one package says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Where it is published.
    pub ecosystem: Ecosystem,
    /// As published; for npm with the scope.
    pub name: String,
    /// One sentence or a few; empty when it says nothing.
    pub description: String,
    /// Other names it goes by, such as the one it is called by in code.
    pub aliases: Vec<String>,
    /// Its repository, or else its documentation or its site.
    pub source_url: Option<String>,
    /// The name and the text of a readme that is part of the metadata.
    pub readme: Option<(&'static str, String)>,
    /// Where its code begins.
    pub code: CodeRoot,
}

/// What a reader of the package's code has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeRoot {
    /// A Rust library: its name in code, and the file of its root.
    Rust {
        /// E.g. `serde_json`.
        crate_name: String,
        /// E.g. `src/lib.rs`.
        library_path: String,
    },
    /// TypeScript: what stands behind the package's name to import an entry point, and its file.
    TypeScript {
        /// E.g. `("/fp", "fp.d.ts")`.
        entries: Vec<(String, String)>,
    },
    /// Python: modules are named by their paths.
    Python,
}

impl Ecosystem {
    /// The first part of the ids of its libraries.
    pub fn owner(self) -> &'static str {
        match self {
            Self::Crates => "crates",
            Self::Npm => "npm",
            Self::Pypi => "pypi",
        }
    }

    /// The id of the library of a package. Each name gives another id, and ids of no other library look like it.
    pub fn library_id(self, name: &str) -> String {
        match self {
            Self::Crates | Self::Npm => format!("/{}/{name}", self.owner()),
            Self::Pypi => format!("/{}/{}", self.owner(), normalized(name)),
        }
    }
}

impl Package {
    /// Every package at the root of a folder or an archive. What cannot be read is none.
    pub fn read_all(source: &Path) -> Vec<Self> {
        let rust = PackageManifest::read(source).ok().map(Self::from);
        let npm = NpmManifest::read(&|name, bytes_max| root_file(source, name, bytes_max)).map(Self::from);
        let python =
            PythonMetadata::read(&|name, bytes_max| root_file(source, name, bytes_max)).map(Self::from);
        rust.into_iter().chain(npm).chain(python).collect()
    }
}

impl From<PackageManifest> for Package {
    fn from(manifest: PackageManifest) -> Self {
        let aliases = Some(manifest.crate_name.clone()).filter(|name| *name != manifest.name);
        let sources = [manifest.repository, manifest.documentation, manifest.homepage];
        Self {
            ecosystem: Ecosystem::Crates,
            name: manifest.name,
            description: manifest.description.unwrap_or_default().trim().to_owned(),
            aliases: aliases.into_iter().collect(),
            source_url: sources.into_iter().flatten().next(),
            readme: None,
            code: CodeRoot::Rust { crate_name: manifest.crate_name, library_path: manifest.library_path },
        }
    }
}

/// The name of a distribution as PEP 503 compares names: lower case, runs of `-_.` as one `-`.
pub fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// One line without the line breaks of the file; `None` when nothing is left.
pub(super) fn one_line(text: &str) -> Option<String> {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ids_and_only_spellings_of_one_name_share_one() {
        for (ecosystem, name, id) in [
            (Ecosystem::Crates, "serde_json", "/crates/serde_json"),
            (Ecosystem::Npm, "@tanstack/query-core", "/npm/@tanstack/query-core"),
            (Ecosystem::Npm, "lodash.merge", "/npm/lodash.merge"),
            (Ecosystem::Pypi, "Ruamel.YAML", "/pypi/ruamel-yaml"),
            (Ecosystem::Pypi, "ruamel_yaml", "/pypi/ruamel-yaml"),
            (Ecosystem::Pypi, "typing__extensions", "/pypi/typing-extensions"),
        ] {
            assert_eq!(ecosystem.library_id(name), id);
            assert!(id.parse::<twinmcp_storage::ids::LibraryId>().is_ok(), "{id}");
        }
    }

    #[test]
    fn a_source_can_be_a_package_of_several_languages() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(Package::read_all(folder.path()), []);
        write("Cargo.toml", "[package]\nname = \"both-ways\"\n");
        write("pyproject.toml", "[project]\nname = \"Both.Ways\"\n");
        write("package.json", "{ broken");
        let found: Vec<(Ecosystem, String)> = Package::read_all(folder.path())
            .into_iter()
            .map(|package| (package.ecosystem, package.name))
            .collect();
        let expected = [(Ecosystem::Crates, "both-ways"), (Ecosystem::Pypi, "Both.Ways")];
        assert_eq!(found, expected.map(|(ecosystem, name)| (ecosystem, name.to_owned())));
    }
}
