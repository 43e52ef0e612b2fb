//! What a published Rust package says about itself in its `Cargo.toml`.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{SourceError, SourceLimits, archive, folder::read_bounded};

/// A larger manifest is refused.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// The parts of a manifest a library's entry is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageManifest {
    /// The package's name, with hyphens.
    pub name: String,
    /// The name its library is called by in code, e.g. `serde_json`.
    pub crate_name: String,
    /// Where the root of its library lies, e.g. `src/lib.rs`.
    pub library_path: String,
    /// One sentence or a few, as published.
    pub description: Option<String>,
    /// URL of the source repository.
    pub repository: Option<String>,
    /// URL of the documentation, where it is not generated.
    pub documentation: Option<String>,
    /// URL of the project's own site.
    pub homepage: Option<String>,
    /// SPDX expression.
    pub license: Option<String>,
}

/// Why a manifest could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not readable, or too large.
    #[error("cannot read the manifest of `{}`", path.display())]
    Read {
        /// The package's folder or archive.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
    /// The packed package could not be read.
    #[error("cannot read the packed package")]
    Archive(#[from] SourceError),
    /// Not the shape of a manifest.
    #[error("the manifest of `{}` is not a Cargo.toml", path.display())]
    Syntax {
        /// The package's folder or archive.
        path: PathBuf,
        /// Where it went wrong.
        source: Box<toml::de::Error>,
    },
}

impl PackageManifest {
    /// Reads the manifest of an unpacked package (a folder) or a packed one (a `.crate` file).
    pub(in crate::ingest) fn read(package: &Path) -> Result<Self, ManifestError> {
        let failed = |source| ManifestError::Read { path: package.to_owned(), source };
        let bytes = if package.is_dir() {
            File::open(package.join("Cargo.toml"))
                .and_then(|file| read_bounded(file, MANIFEST_BYTES_MAX))
                .map_err(failed)?
        } else {
            archive::root_file(package, "Cargo.toml", MANIFEST_BYTES_MAX, &SourceLimits::default())?
        };
        let missing = || io::Error::new(io::ErrorKind::NotFound, "it has none, or one of more than 1 MiB");
        let bytes = bytes.ok_or_else(|| failed(missing()))?;
        let text = String::from_utf8(bytes)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        Self::parse(&text)
            .map_err(|source| ManifestError::Syntax { path: package.to_owned(), source: Box::new(source) })
    }

    /// Reads the text of a manifest.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let manifest: Manifest = toml::from_str(text)?;
        let library = manifest.lib.unwrap_or_default();
        let package = manifest.package;
        Ok(Self {
            crate_name: library.name.unwrap_or_else(|| package.name.replace('-', "_")),
            library_path: library.path.unwrap_or_else(|| "src/lib.rs".to_owned()),
            name: package.name,
            description: package.description.and_then(Text::own),
            repository: package.repository.and_then(Text::own),
            documentation: package.documentation.and_then(Text::own),
            homepage: package.homepage.and_then(Text::own),
            license: package.license.and_then(Text::own),
        })
    }
}

#[derive(Deserialize)]
struct Manifest {
    package: Package,
    lib: Option<Library>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    description: Option<Text>,
    repository: Option<Text>,
    documentation: Option<Text>,
    homepage: Option<Text>,
    license: Option<Text>,
}

#[derive(Deserialize, Default)]
struct Library {
    name: Option<String>,
    path: Option<String>,
}

/// A text, or something else in its place: `{ workspace = true }` in packages that were never published.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Own(String),
    Inherited(serde::de::IgnoredAny),
}

impl Text {
    /// One line without the line breaks of the file.
    fn own(self) -> Option<String> {
        match self {
            Self::Own(text) => {
                let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                (!line.is_empty()).then_some(line)
            }
            Self::Inherited(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_the_package_is() {
        let manifest = PackageManifest::parse(
            "[package]\nname = \"serde-like\"\nversion = \"1.0.0\"\ndescription = \"\"\"\nA framework\n  for data.\n\"\"\"\n\
             repository = \"https://git.example/s\"\ndocumentation = \"https://docs.example\"\nlicense = \"MIT OR Apache-2.0\"\n\
             homepage = { workspace = true }\n",
        )
        .unwrap();
        assert_eq!(manifest.crate_name, "serde_like");
        assert_eq!(manifest.library_path, "src/lib.rs");
        assert_eq!(manifest.description.as_deref(), Some("A framework for data."));
        assert_eq!(manifest.repository.as_deref(), Some("https://git.example/s"));
        assert_eq!(manifest.documentation.as_deref(), Some("https://docs.example"));
        assert_eq!(manifest.license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(manifest.homepage, None);
    }

    #[test]
    fn the_library_may_have_a_name_and_a_place_of_its_own() {
        let manifest = PackageManifest::parse(
            "[package]\nname = \"a-b\"\n[lib]\nname = \"ab\"\npath = \"lib/root.rs\"\n",
        )
        .unwrap();
        assert_eq!((manifest.crate_name.as_str(), manifest.library_path.as_str()), ("ab", "lib/root.rs"));
    }

    #[test]
    fn a_folder_or_file_without_a_manifest_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(PackageManifest::read(folder.path()), Err(ManifestError::Read { .. })));
        std::fs::write(folder.path().join("Cargo.toml"), "[workspace]\n").unwrap();
        assert!(matches!(PackageManifest::read(folder.path()), Err(ManifestError::Syntax { .. })));
        let file = folder.path().join("a.crate");
        std::fs::write(&file, "no archive").unwrap();
        assert!(matches!(PackageManifest::read(&file), Err(ManifestError::Archive(_))));
    }
}
