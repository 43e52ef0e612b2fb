//! What can go wrong with a bundle: while it is built, opened or read.

use std::io;
use std::path::{Path, PathBuf};

use super::hash::BundleHash;
use super::layout::{FORMAT, Section};

/// Why a bundle could not be built, opened or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The operating system refused; says what was being done.
    #[error("failed to {doing} `{}`", path.display())]
    Io {
        /// What was being done, e.g. `open`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not start like a bundle.
    #[error("`{}` is not an index bundle", path.display())]
    NotABundle {
        /// The file.
        path: PathBuf,
    },
    /// A later version of TwinMCP wrote the file.
    #[error(
        "`{}` has bundle format {found}, and this version reads formats up to {FORMAT}: \
         upgrade this node, or index the library again",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it names.
        found: u32,
    },
    /// The bytes are not the ones that were written.
    #[error("`{}` is damaged in its {section}: fetch or build it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The part whose bytes are wrong.
        section: Section,
    },
    /// A fetched file is whole but not the one that was asked for.
    #[error("expected bundle {expected}, received {found}")]
    WrongHash {
        /// What was asked for.
        expected: BundleHash,
        /// What came.
        found: BundleHash,
    },
    /// There is no such bundle on this node.
    #[error("no bundle {hash} on this node")]
    Missing {
        /// What was asked for.
        hash: BundleHash,
    },
    /// Something given to the builder, or received from a peer, is larger than a bundle may hold.
    #[error("{what} of {found} exceeds the limit of {limit}")]
    Limit {
        /// What is too large, with its unit.
        what: &'static str,
        /// The largest value allowed.
        limit: u64,
        /// The value given.
        found: u64,
    },
    /// A snippet names a page that was not added before it.
    #[error("snippet names page {page}, but only {pages} pages were added")]
    NoSuchPage {
        /// The page's index.
        page: u32,
        /// Pages there are.
        pages: u32,
    },
    /// An index beyond the end of the bundle.
    #[error("no {what} {index} in this bundle, which has {count}")]
    NoSuchRecord {
        /// `page` or `snippet`.
        what: &'static str,
        /// The index asked for.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// A vector has another length than the bundle's embedder makes.
    #[error("expected a vector of {expected} dimensions, received {found}")]
    Dimensions {
        /// What the bundle's embedder makes; 0 when it has none.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// A vector holds a number that is not finite.
    #[error("a vector holds a number that is not finite")]
    NotFinite,
    /// A record could not be encoded.
    #[error("failed to encode the {section}")]
    Encode {
        /// The part being written.
        section: Section,
        /// The cause.
        source: postcard::Error,
    },
    /// The word index could not be built, opened or searched.
    #[error("failed to {doing} the word index")]
    Words {
        /// `build`, `open` or `search`.
        doing: &'static str,
        /// The cause.
        source: Box<tantivy::TantivyError>,
    },
    /// The threads that build a graph could not be started.
    #[error("failed to start the threads that build a vector graph")]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// Bytes that are no vector graph of this format.
    #[error("failed to read a vector graph")]
    Graph(#[source] postcard::Error),
    /// The operating system has no random bytes, which temporary file names need.
    #[error("failed to read random bytes")]
    Random(#[source] getrandom::Error),
}

/// What a disk answers that cannot read (EIO), or whose file system is damaged (EBADMSG, EUCLEAN).
const UNREADABLE: [i32; 3] = [5, 74, 117];

impl BundleError {
    /// Whether the bundle has to be fetched or built again: it is missing, or its bytes are not the ones that were
    /// written. Not so when the system was only short of something, or a newer build wrote it.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::NotABundle { .. } | Self::Damaged { .. } => true,
            Self::Io { source, .. } => {
                source.kind() == io::ErrorKind::UnexpectedEof
                    || source.raw_os_error().is_some_and(|code| UNREADABLE.contains(&code))
            }
            _ => false,
        }
    }

    /// For `map_err` on file operations.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }

    /// For `map_err` on operations of the word index.
    pub(super) fn words(doing: &'static str) -> impl Fn(tantivy::TantivyError) -> Self {
        move |source| Self::Words { doing, source: Box::new(source) }
    }

    pub(super) fn damaged(path: &Path, section: Section) -> Self {
        Self::Damaged { path: path.to_path_buf(), section }
    }

    /// Refuses `found` above `limit`.
    pub(super) fn check_limit(what: &'static str, found: usize, limit: usize) -> Result<(), Self> {
        if found > limit {
            return Err(Self::Limit { what, limit: limit as u64, found: found as u64 });
        }
        Ok(())
    }
}
