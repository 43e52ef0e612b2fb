//! What became of the files of a source that were not taken.

use std::{collections::BTreeMap, fmt};

/// Why a file was left out. A source goes on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// Neither its name nor its place is one of documentation.
    NotDocumentation,
    /// It, or a folder above it, has a name that starts with a dot.
    Hidden,
    /// A licence or notice.
    Licence,
    /// What changed between releases, not how to use one of them.
    Changelog,
    /// About the project and its people: contributing, code of conduct, security policy.
    Project,
    /// Tests, benchmarks and their data.
    Tests,
    /// Build output and copies of other projects.
    Vendored,
    /// Written by a minifier.
    Minified,
    /// Larger than a file may be.
    TooLarge,
    /// In more folders than allowed.
    TooDeep,
    /// The source already gave as many documents as it may.
    TooManyFiles,
    /// The source would give more bytes than it may.
    TooManyBytes,
    /// A path that leaves the source, is absolute, is not plain UTF-8, or has characters nobody sees.
    UnsafePath,
    /// A symbolic or hard link; links are never followed.
    Link,
    /// A device, pipe, socket or sparse file.
    Special,
    /// A second file with the same path.
    Duplicate,
    /// Encrypted, or compressed in a way this program does not read.
    Unsupported,
    /// The operating system refused to read it.
    Unreadable,
}

impl Skip {
    /// A stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotDocumentation => "not_documentation",
            Self::Hidden => "hidden",
            Self::Licence => "licence",
            Self::Changelog => "changelog",
            Self::Project => "project",
            Self::Tests => "tests",
            Self::Vendored => "vendored",
            Self::Minified => "minified",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::TooManyFiles => "too_many_files",
            Self::TooManyBytes => "too_many_bytes",
            Self::UnsafePath => "unsafe_path",
            Self::Link => "link",
            Self::Special => "special",
            Self::Duplicate => "duplicate",
            Self::Unsupported => "unsupported",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether an operator may want to know the path: not for files that are simply something else.
    fn is_notable(self) -> bool {
        use Skip::{Hidden, NotDocumentation, Tests, Vendored};
        !matches!(self, NotDocumentation | Hidden | Tests | Vendored)
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotDocumentation => "is not documentation",
            Self::Hidden => "is hidden",
            Self::Licence => "is a licence",
            Self::Changelog => "is a change log",
            Self::Project => "is about the project, not its use",
            Self::Tests => "belongs to tests",
            Self::Vendored => "is build output or a copy of another project",
            Self::Minified => "is minified",
            Self::TooLarge => "is larger than a file may be",
            Self::TooDeep => "lies deeper than allowed",
            Self::TooManyFiles => "comes after the largest number of documents",
            Self::TooManyBytes => "would exceed the largest size of all documents",
            Self::UnsafePath => "has a path that is not plain and inside the source",
            Self::Link => "is a link",
            Self::Special => "is not a regular file",
            Self::Duplicate => "comes a second time",
            Self::Unsupported => "is encrypted or compressed in an unknown way",
            Self::Unreadable => "could not be read",
        })
    }
}

/// Counts of what was left out, and the first paths worth showing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SkipReport {
    counts: BTreeMap<Skip, usize>,
    paths: Vec<(String, Skip)>,
}

impl SkipReport {
    /// Paths kept to be shown; the counts go on.
    pub const PATHS_MAX: usize = 200;

    /// How many files were left out, by reason.
    pub fn counts(&self) -> &BTreeMap<Skip, usize> {
        &self.counts
    }

    /// The first [`Self::PATHS_MAX`] paths that look like documentation and were left out all the same.
    pub fn paths(&self) -> &[(String, Skip)] {
        &self.paths
    }

    pub(super) fn add(&mut self, path: &str, skip: Skip) {
        *self.counts.entry(skip).or_default() += 1;
        if skip.is_notable() && self.paths.len() < Self::PATHS_MAX {
            self.paths.push((path.to_owned(), skip));
        }
    }
}
