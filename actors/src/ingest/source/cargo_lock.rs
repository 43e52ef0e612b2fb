//! `Cargo.lock`: the exact packages a Rust project is built from.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    folder::read_bounded,
    locked::{LockedPackage, Origin},
};

/// A larger lockfile is refused; the largest public projects have about 1 MiB.
const LOCKFILE_BYTES_MAX: u64 = 16 << 20;

/// A lockfile with more packages is refused.
const PACKAGES_MAX: usize = 20_000;

/// Formats up to this one are read; packages have looked the same since the first.
const VERSION_MAX: u32 = 4;

/// A lockfile, reduced to names and exact versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoLock {
    /// Sorted by name and version, each once.
    pub packages: Vec<LockedPackage>,
}

/// Why a lockfile could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CargoLockError {
    /// Not there, or not readable.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The lockfile.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Larger than a lockfile is.
    #[error("`{}` is larger than a lockfile may be ({LOCKFILE_BYTES_MAX} bytes)", path.display())]
    TooLarge {
        /// The lockfile.
        path: PathBuf,
    },
    /// Not TOML, or not the shape of a lockfile.
    #[error("the file is not a Cargo.lock")]
    Syntax(#[source] Box<toml::de::Error>),
    /// Not UTF-8.
    #[error("the file is not UTF-8 text")]
    Encoding,
    /// Written by a newer Cargo.
    #[error("Cargo.lock version {version} is newer than the newest this program reads ({VERSION_MAX})")]
    TooNew {
        /// The version it names.
        version: u32,
    },
    /// More packages than allowed.
    #[error("the lockfile has more than {PACKAGES_MAX} packages")]
    TooManyPackages,
    /// A name or version that no registry would accept.
    #[error("`{name}` version `{version}` is not a package")]
    Package {
        /// As in the file, cut short.
        name: String,
        /// As in the file, cut short.
        version: String,
    },
}

impl CargoLock {
    /// Reads a lockfile from disk.
    pub fn read(path: &Path) -> Result<Self, CargoLockError> {
        let bytes = File::open(path)
            .and_then(|file| read_bounded(file, LOCKFILE_BYTES_MAX))
            .map_err(|source| CargoLockError::Read { path: path.to_owned(), source })?
            .ok_or_else(|| CargoLockError::TooLarge { path: path.to_owned() })?;
        Self::parse(std::str::from_utf8(&bytes).map_err(|_| CargoLockError::Encoding)?)
    }

    /// Reads the text of a lockfile of any version up to 4.
    pub fn parse(text: &str) -> Result<Self, CargoLockError> {
        let file: LockFile = toml::from_str(text).map_err(|error| CargoLockError::Syntax(Box::new(error)))?;
        if let Some(version) = file.version.filter(|version| *version > VERSION_MAX) {
            return Err(CargoLockError::TooNew { version });
        }
        if file.package.len() > PACKAGES_MAX {
            return Err(CargoLockError::TooManyPackages);
        }
        let mut packages = Vec::with_capacity(file.package.len());
        for Package { name, version, source } in file.package {
            if !is_name(&name) || !is_version(&version) {
                let cut = |text: String| text.chars().take(80).collect();
                return Err(CargoLockError::Package { name: cut(name), version: cut(version) });
            }
            let origin = match source.as_deref() {
                None => Origin::Path,
                Some(source) if source.starts_with("git+") => Origin::Git,
                Some(_) => Origin::Registry,
            };
            packages.push(LockedPackage { name, version, origin });
        }
        packages.sort();
        packages.dedup();
        Ok(Self { packages })
    }
}

#[derive(Deserialize)]
struct LockFile {
    version: Option<u32>,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
}

/// Names become parts of paths, so they are held to what registries accept.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The characters of a semantic version, starting with a digit: neither `/` nor a leading dot.
pub(super) fn is_version(version: &str) -> bool {
    (1..=128).contains(&version.len())
        && version.starts_with(|first: char| first.is_ascii_digit())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOCK: &str = include_str!("fixtures/Cargo.lock");

    #[test]
    fn a_lockfile_names_each_exact_version_once_and_where_it_comes_from() {
        let lock = CargoLock::parse(LOCK).unwrap();
        let seen: Vec<(String, Origin)> =
            lock.packages.iter().map(|package| (package.to_string(), package.origin)).collect();
        let expected = [
            ("bitflags 1.3.2", Origin::Registry),
            ("bitflags 2.9.4", Origin::Registry),
            ("internal-tools 0.3.0", Origin::Registry),
            ("my-app 0.1.0", Origin::Path),
            ("patched 0.5.0-alpha.1+build.7", Origin::Git),
            ("serde 1.0.228", Origin::Registry),
        ];
        assert_eq!(seen, expected.map(|(package, origin)| (package.to_owned(), origin)));
    }

    #[test]
    fn older_lockfiles_are_read_and_newer_ones_refused() {
        let package = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n";
        for version in ["", "version = 3\n", "version = 4\n"] {
            assert_eq!(
                CargoLock::parse(&format!("{version}{package}")).unwrap().packages.len(),
                1,
                "{version}"
            );
        }
        assert!(matches!(CargoLock::parse("version = 5\n"), Err(CargoLockError::TooNew { version: 5 })));
    }

    #[test]
    fn a_name_or_version_that_could_leave_its_folder_is_refused() {
        for (name, version) in
            [("../a", "1.0.0"), ("a/b", "1.0.0"), ("", "1.0.0"), ("a", "../1"), ("a", "1.0/../.."), ("a", "")]
        {
            let text = format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
            assert!(
                matches!(CargoLock::parse(&text), Err(CargoLockError::Package { .. })),
                "{name} {version}"
            );
        }
    }

    #[test]
    fn what_is_no_lockfile_is_an_error_with_a_cause() {
        for text in ["not toml [", "package = 3", "[[package]]\nname = 1\nversion = \"1\""] {
            let error = CargoLock::parse(text).unwrap_err();
            assert!(std::error::Error::source(&error).is_some(), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            CargoLock::read(&folder.path().join("Cargo.lock")),
            Err(CargoLockError::Read { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[\\[\\]a-z0-9=\"\\.\n #{}]{0,200}") {
            let _ = CargoLock::parse(&text);
        }
    }
}
