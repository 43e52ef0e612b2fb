//! The data directory of a node: its format, the databases, the bundles, and where the keys are.
//!
//! A directory that is something else, of a newer build, damaged or refused by the disk is never written to: the error
//! is a sentence that names the file and the way out.

use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinmcp_cluster::CLUSTER_KEY_BYTES;
use twinmcp_storage::bundle::{BundleError, BundleStore};
use twinmcp_storage::engine::{Engine, EngineKind, FjallOptions, Keyspace, StorageError};

use crate::config::StorageConfig;
use crate::key_folder::KeyFolder;

/// Format of the data directory that this build reads and writes.
const DATA_FORMAT: u32 = 1;
const VERSION_FILE: &str = "VERSION";
/// Characters of a damaged version file that an error shows.
const VERSION_SHOWN_MAX: usize = 20;

/// Why a data directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be read or written.
    #[error(
        "cannot use the data directory, `{}`: {source}; it must be readable and writable for this user, on a disk \
         that is neither full nor read-only",
        path.display()
    )]
    Unusable {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory holds something else.
    #[error("{} is not empty and no data directory of TwinMCP; choose another", path.display())]
    NotOurs {
        /// Where.
        path: PathBuf,
    },
    /// The file that says what the directory is says nothing.
    #[error(
        "`{}` is damaged: it should hold the number of the directory's format, and holds {found:?}; put the file back \
         from a backup, or write `{DATA_FORMAT}` into it if no newer build has used the directory",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The beginning of what it holds.
        found: String,
    },
    /// A newer build has written there.
    #[error(
        "the data directory {} has format {found}, this build knows up to {DATA_FORMAT}; run the newer build again",
        path.display()
    )]
    Newer {
        /// Where.
        path: PathBuf,
        /// The format found.
        found: String,
    },
    /// The key is not one.
    #[error(
        "`{}` is damaged: a master key has {CLUSTER_KEY_BYTES} bytes, this has {bytes}; {way_out}",
        path.display()
    )]
    MasterKey {
        /// The file.
        path: PathBuf,
        /// Its length, in bytes.
        bytes: usize,
        /// What to do.
        way_out: &'static str,
    },
    /// A file in the folder of keys is not the one that was written.
    #[error(
        "`{}` does not fit its checksum in `{}`: one of the two is damaged, or the first was replaced by hand or by an older \
         build; if `{}` is the right one, remove `{}`, which is made again; else {way_out}",
        path.display(), checksums.display(), path.display(), checksums.display()
    )]
    NotAsWritten {
        /// The file.
        path: PathBuf,
        /// The file of checksums.
        checksums: PathBuf,
        /// What to do if it is damaged.
        way_out: &'static str,
    },
    /// There was a key.
    #[error(
        "`{}` is gone, and what was sealed with it cannot be opened without it; put it back from a backup, or copy it from \
         another node of the cluster; to go on with a new key, remove `{}` and make the webhooks again",
        path.display(), checksums.display()
    )]
    NoMasterKey {
        /// The key's file.
        path: PathBuf,
        /// The file that says that there was one.
        checksums: PathBuf,
    },
    /// What a cluster gave the node is none.
    #[error("`{}` is damaged: {source}; {way_out}", path.display())]
    Given {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: StorageError,
        /// What to do.
        way_out: &'static str,
    },
    /// The database could not be opened.
    #[error("failed to open the database")]
    Storage(#[from] StorageError),
    /// The bundles could not be opened.
    #[error("failed to open the index bundles")]
    Bundles(#[from] BundleError),
}

/// What lies in an open data directory.
pub(crate) struct DataDir {
    path: PathBuf,
    /// The agreed state.
    pub(crate) state: Arc<dyn Engine>,
    /// The log.
    pub(crate) raft: Arc<dyn Engine>,
    /// Index bundles.
    pub(crate) bundles: BundleStore,
}

impl DataDir {
    /// Opens the directory `path`, or makes it.
    pub(crate) fn open(
        path: &Path,
        storage: &StorageConfig,
        bundles_open: NonZeroUsize,
    ) -> Result<Self, DataDirError> {
        prepare(path)?;
        let options =
            FjallOptions { cache_bytes: storage.cache_bytes, memtable_bytes: storage.memtable_bytes };
        if storage.engine == EngineKind::Sled {
            tracing::warn!(
                "`storage.engine = \"sled\"` is for caches and development: docs/operating.md says why"
            );
        }
        Ok(Self {
            path: path.to_owned(),
            state: storage.engine.open(&path.join("state"), Keyspace::STATE, &options)?,
            raft: storage.engine.open(&path.join("raft"), Keyspace::RAFT, &options)?,
            bundles: BundleStore::open_dir(path.join("bundles"), bundles_open)?,
        })
    }

    /// Flushes and closes what is open, for programs that only wrote.
    pub(crate) fn close(self) -> Result<(), DataDirError> {
        let state = self.state.close();
        self.raft.close()?;
        Ok(state?)
    }

    /// The folder of keys.
    pub(crate) fn keys(&self) -> Result<KeyFolder, DataDirError> {
        KeyFolder::open(self.path.join("keys"))
    }
}

/// Makes the data directory, or checks that this build may use the one that is there.
fn prepare(data_dir: &Path) -> Result<(), DataDirError> {
    let failed = |source| DataDirError::Unusable { path: data_dir.to_owned(), source };
    private_dir(data_dir).map_err(failed)?;
    let file = data_dir.join(VERSION_FILE);
    match fs::read(&file) {
        Ok(bytes) => {
            let found: String =
                String::from_utf8_lossy(&bytes).trim().chars().take(VERSION_SHOWN_MAX).collect();
            match found.parse::<u32>() {
                Ok(format) if (1..=DATA_FORMAT).contains(&format) => Ok(()),
                Ok(format) if format > DATA_FORMAT => {
                    Err(DataDirError::Newer { path: data_dir.to_owned(), found })
                }
                _ => Err(DataDirError::Version { path: file, found }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut entries = fs::read_dir(data_dir).map_err(failed)?;
            if entries.next().is_some() {
                return Err(DataDirError::NotOurs { path: data_dir.to_owned() });
            }
            write_durably(&file, format!("{DATA_FORMAT}\n").as_bytes()).map_err(failed)
        }
        Err(source) => Err(DataDirError::Unusable { path: file, source }),
    }
}

/// Nobody else on the machine needs to read what is private here.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The file is there whole or not at all, also after a power cut.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    // Nobody else on the machine reads what is secret; nothing here is meant for others.
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_gets_a_version_and_is_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("deep/data");
        prepare(&data_dir).unwrap();
        assert_eq!(fs::read_to_string(data_dir.join(VERSION_FILE)).unwrap(), "1\n");
        fs::write(data_dir.join("more"), "x").unwrap();
        prepare(&data_dir).unwrap();
    }

    #[test]
    fn a_newer_directory_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(VERSION_FILE), "2\n").unwrap();
        let error = prepare(folder.path()).unwrap_err().to_string();
        assert!(error.contains("has format 2, this build knows up to 1"), "{error}");
    }

    #[test]
    fn a_damaged_version_is_told_by_its_file_and_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(VERSION_FILE);
        for damaged in [&b""[..], b"q\n", b"\xff\xfe", b"-1", b"0"] {
            fs::write(&file, damaged).unwrap();
            let error = prepare(folder.path()).unwrap_err();
            assert!(matches!(&error, DataDirError::Version { .. }), "{error}");
            assert!(
                error.to_string().contains("VERSION") && error.to_string().contains("write `1`"),
                "{error}"
            );
        }
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(prepare(folder.path()).unwrap_err().to_string().contains("VERSION"));
    }

    #[test]
    fn somebody_elses_directory_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(prepare(folder.path()), Err(DataDirError::NotOurs { .. })));
    }
}
