//! Why a source as a whole could not be read.

use std::{io, path::PathBuf};

/// A fault of the source itself; a fault of one file is a [`super::Skip`].
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing to read there.
    #[error("cannot open `{}`", path.display())]
    Open {
        /// What was asked for.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A URL that is neither http nor https.
    #[error("`{url}` cannot be fetched: web sites and git repositories are named by their https:// URL")]
    Remote {
        /// What was asked for.
        url: String,
    },
    /// A file that is neither an archive nor a document.
    #[error("`{}` is {found}; a source is a folder, a document, a lockfile (Cargo.lock, package-lock.json, requirements.txt, uv.lock, poetry.lock), or an archive (zip, whl, crate, tar, tar.gz, tar.zst, tar.xz)", path.display())]
    Unsupported {
        /// What was asked for.
        path: PathBuf,
        /// What it looks like.
        found: &'static str,
    },
    /// The archive is larger than allowed.
    #[error(
        "`{}` has {bytes} bytes, more than the limit of {limit} bytes; leave out what is no documentation, or split it",
        path.display()
    )]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit it broke.
        limit: u64,
    },
    /// The archive unpacks to more than its size allows: a decompression bomb, or not documentation.
    #[error(
        "`{}` unpacks to more than {limit} bytes, the most that an archive of its size may; leave out what is no documentation, \
         or split it",
        path.display()
    )]
    UnpacksTooFar {
        /// The archive.
        path: PathBuf,
        /// The limit it broke, from its own size and from the configuration.
        limit: u64,
    },
    /// More files and folders than allowed.
    #[error(
        "the source has more than {limit} files and folders; leave out what is no documentation, or split it"
    )]
    TooManyEntries {
        /// The limit it broke.
        limit: usize,
    },
    /// The list of entries of a zip archive is longer than anybody's names are.
    #[error(
        "the directory of `{}` has {bytes} bytes, more than the limit of {limit} bytes; leave out what is no documentation, \
         or split it",
        path.display()
    )]
    DirectoryTooLarge {
        /// The archive.
        path: PathBuf,
        /// The directory's size.
        bytes: u64,
        /// The limit it broke.
        limit: u64,
    },
    /// The archive ends early or contradicts itself.
    #[error("`{}` is damaged; make the archive again, and send that", path.display())]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
    /// The archive is not the one that was looked at a moment ago.
    #[error("`{}` changed while it was read; index it again when nobody writes to it", path.display())]
    Changed {
        /// The archive.
        path: PathBuf,
    },
}

impl SourceError {
    /// A stable name for programs, from a closed list.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "unreadable",
            Self::Remote { .. } => "remote",
            Self::Unsupported { .. } => "unsupported",
            Self::TooLarge { .. } => "too_large",
            Self::UnpacksTooFar { .. } => "unpacks_too_far",
            Self::TooManyEntries { .. } => "too_many_entries",
            Self::DirectoryTooLarge { .. } => "directory_too_large",
            Self::Damaged { .. } => "damaged",
            Self::Changed { .. } => "changed",
        }
    }
}
