//! Lockfiles: the exact packages a project uses, and where their files lie on this machine.
//!
//! [`Lockfile::of_name`] tells a lockfile by its name, [`Lockfile::sources`] reads it and looks for each package where
//! its tool keeps them: Cargo's local sources, `node_modules` beside the lockfile, the site-packages of the project's
//! Python. Nothing is fetched, and nothing of the project is executed.

use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::{
    Source, SourceError, SourceLimits,
    cargo_home::CargoHome,
    cargo_lock::{CargoLock, CargoLockError},
    folder::read_bounded,
    npm_lock,
    package::Ecosystem,
    python_lock,
    site_packages::SitePackages,
};

/// A larger lockfile is refused; the largest public projects have a few MiB.
pub(super) const LOCKFILE_BYTES_MAX: u64 = 32 << 20;
/// A lockfile with more packages is refused.
pub(super) const PACKAGES_MAX: usize = 20_000;

/// Kinds of lockfiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lockfile {
    /// `Cargo.lock`
    Cargo,
    /// `package-lock.json` or `npm-shrinkwrap.json`
    Npm,
    /// `requirements.txt` and the like
    Requirements,
    /// `uv.lock`
    Uv,
    /// `poetry.lock`
    Poetry,
}

/// One package of a lockfile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedPackage {
    /// As the registry knows it.
    pub name: String,
    /// Exact version, without path separators; empty where a requirement names none.
    pub version: String,
    /// Where its tool takes it from.
    pub origin: Origin,
}

/// Where a locked package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A registry: name and version tell its contents.
    Registry,
    /// A git repository.
    Git,
    /// A folder or an address: the project itself, a neighbour, a single archive.
    Path,
    /// A registry, for other platforms or on a condition: it need not be there.
    Optional,
}

/// A package found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSource {
    /// Where it is published.
    pub ecosystem: Ecosystem,
    /// As the registry knows it.
    pub name: String,
    /// Exact version.
    pub version: String,
    /// The unpacked folder, the packed file, or the folder it shares with others.
    pub path: PathBuf,
    /// Which files of a shared folder belong to it; `None` when all below `path` do.
    pub listed: Option<Listed>,
}

/// A package among others in one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The file that describes it, below the folder.
    pub metadata: String,
    /// Its files, below the folder, the metadata among them.
    pub files: Vec<String>,
}

/// What became of the packages of a lockfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedSources {
    /// Found, in the order of the lockfile.
    pub found: Vec<PackageSource>,
    /// From a registry, but not on this machine.
    pub missing: Vec<LockedPackage>,
    /// No registry package, or not needed here: nothing that a library could be named after.
    pub skipped: Vec<LockedPackage>,
    /// The command that brings what is missing.
    pub(super) remedy: String,
}

/// Why a lockfile could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A `Cargo.lock` that could not be read.
    #[error("cannot use the Cargo.lock")]
    Cargo(#[from] CargoLockError),
    /// Not there, or not readable.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Larger than a lockfile is.
    #[error("`{}` is larger than a lockfile may be ({LOCKFILE_BYTES_MAX} bytes)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not the format that its name says.
    #[error("the file is not a {expected}")]
    Syntax {
        /// What it should be.
        expected: &'static str,
        /// Where it went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Written by a newer tool.
    #[error("version {version} of {file} is newer than the newest this program reads ({newest})")]
    TooNew {
        /// The name of the file.
        file: &'static str,
        /// The version it names.
        version: u64,
        /// The newest one read.
        newest: u64,
    },
    /// More packages than allowed.
    #[error("the lockfile has more than {PACKAGES_MAX} packages")]
    TooManyPackages,
    /// Requirements that include too many files.
    #[error("the requirements include more than {limit} files, or deeper than {depth} files in each other")]
    TooManyIncludes {
        /// Files that may be read.
        limit: usize,
        /// Files that may include each other.
        depth: usize,
    },
    /// Where packages lie could not be found out.
    #[error("{reason}")]
    NoPlace {
        /// What was looked for, and what to do.
        reason: String,
    },
}

impl Lockfile {
    /// The kind of lockfile that a file's name says.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "Cargo.lock" => Self::Cargo,
            "package-lock.json" | "npm-shrinkwrap.json" | ".package-lock.json" => Self::Npm,
            "uv.lock" => Self::Uv,
            "poetry.lock" => Self::Poetry,
            _ => {
                let stem = name.strip_suffix(".txt")?;
                let is_one = stem.starts_with("requirements") || stem.ends_with("requirements");
                return is_one.then_some(Self::Requirements);
            }
        })
    }

    /// Finds every package of the lockfile at `path`, and says which are missing.
    pub fn sources(self, path: &Path) -> Result<LockedSources, LockError> {
        // A relative name has its folder too.
        let absolute =
            std::path::absolute(path).map_err(|source| LockError::Read { path: path.to_owned(), source })?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        match self {
            Self::Cargo => {
                let lock = CargoLock::read(path)?;
                let no_home =
                    || LockError::NoPlace { reason: "neither CARGO_HOME nor HOME is set".to_owned() };
                let home = CargoHome::from_environment().ok_or_else(no_home)?;
                let home = home.map_err(|source| LockError::Read { path: path.to_owned(), source })?;
                Ok(home.find_all(&lock))
            }
            Self::Npm => Ok(npm_lock::NpmLock::parse(&read(path)?)?.find_all(folder)),
            Self::Requirements => {
                let wanted = python_lock::requirements(path)?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                Ok(SitePackages::of_project(folder)?.find_all(&wanted, &format!("pip install -r {name}")))
            }
            Self::Uv => {
                let wanted = python_lock::uv(&read(path)?)?;
                Ok(SitePackages::of_project(folder)?.find_all(&wanted, "uv sync"))
            }
            Self::Poetry => {
                let wanted = python_lock::poetry(&read(path)?)?;
                Ok(SitePackages::of_project(folder)?.find_all(&wanted, "poetry install"))
            }
        }
    }
}

/// A lockfile as text.
pub(super) fn read(path: &Path) -> Result<String, LockError> {
    let failed = |source| LockError::Read { path: path.to_owned(), source };
    let bytes = File::open(path).and_then(|file| read_bounded(file, LOCKFILE_BYTES_MAX)).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| LockError::TooLarge { path: path.to_owned() })?;
    String::from_utf8(bytes).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
}

impl fmt::Display for LockedPackage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.version)
    }
}

impl PackageSource {
    /// The id of the library, e.g. `/crates/<name>`.
    pub fn library_id(&self) -> String {
        self.ecosystem.library_id(&self.name)
    }

    /// The package's documents.
    pub fn open(&self, limits: SourceLimits) -> Result<Source, SourceError> {
        match &self.listed {
            Some(listed) => Source::open_listed(&self.path, &listed.files, limits),
            None => Source::open_package(&self.path, limits),
        }
    }
}

impl LockedSources {
    /// What to do about the missing packages, as one sentence; `None` when none is missing.
    pub fn way_out(&self) -> Option<String> {
        let shown = 10;
        let names: Vec<String> = self
            .missing
            .iter()
            .take(shown)
            .map(|package| package.to_string().trim_end().to_owned())
            .collect();
        let more = self.missing.len().saturating_sub(shown);
        (!names.is_empty()).then(|| {
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let missing = match self.missing.len() {
                1 => "1 package is".to_owned(),
                count => format!("{count} packages are"),
            };
            let (names, remedy) = (names.join(", "), &self.remedy);
            format!(
                "{missing} not on this machine ({names}{more}): run `{remedy}` in the project's folder and index again"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockfiles_are_told_by_their_names() {
        for (name, kind) in [
            ("Cargo.lock", Some(Lockfile::Cargo)),
            ("package-lock.json", Some(Lockfile::Npm)),
            ("npm-shrinkwrap.json", Some(Lockfile::Npm)),
            ("requirements.txt", Some(Lockfile::Requirements)),
            ("requirements-dev.txt", Some(Lockfile::Requirements)),
            ("dev-requirements.txt", Some(Lockfile::Requirements)),
            ("uv.lock", Some(Lockfile::Uv)),
            ("poetry.lock", Some(Lockfile::Poetry)),
            ("package.json", None),
            ("notes.txt", None),
            ("requirements", None),
        ] {
            assert_eq!(Lockfile::of_name(name), kind, "{name}");
        }
    }

    #[test]
    fn a_lockfile_that_cannot_be_read_says_which_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("package-lock.json");
        assert!(matches!(Lockfile::Npm.sources(&path), Err(LockError::Read { .. })));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(Lockfile::Npm.sources(&path), Err(LockError::Read { .. })));
        std::fs::write(&path, "{").unwrap();
        let error = Lockfile::Npm.sources(&path).unwrap_err();
        assert_eq!(error.to_string(), "the file is not a package-lock.json");
        assert!(std::error::Error::source(&error).is_some());
    }
}
