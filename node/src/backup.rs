//! Backups: the agreed state and the index bundles of a running cluster in one tar archive, and a new cluster from it.
//!
//! ```text
//! twinmcp-backup   {"format":1,"cluster":"…","applied_index":…,"created_at":"…"}
//! state/000000 …   the agreed state, in pieces
//! bundles/HASH …   index bundles, unless they were left out
//! end              {"state_blake3":"…","bundles":…}
//! ```
//! An archive without its end is none. The cluster's key is not in it: keep `keys/master.key` apart, and safe.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twinmcp_cluster::{Cluster, ClusterError, ClusterId};
use twinmcp_storage::bundle::{BundleError, BundleHash, BundleStore};
use twinmcp_storage::clock::{Entropy, Timestamp};

use crate::data_dir::{DataDir, DataDirError};

/// The newest format this build writes and reads.
const FORMAT: u32 = 1;
const HEAD: &str = "twinmcp-backup";
const END: &str = "end";
/// Bytes of one piece of the state.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the two small entries.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of one bundle.
const BUNDLE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// Why an archive was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no backup, or not whole.
    #[error("`{}` is no whole backup: {what}", path.display())]
    NotWhole {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A later build wrote it.
    #[error("the backup has format {format}, this build reads up to {FORMAT}: run the newer build")]
    Newer {
        /// Its format.
        format: u32,
    },
    /// The data directory cannot take it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The state was not taken.
    #[error("failed to restore the agreed state")]
    Cluster(#[from] ClusterError),
    /// A bundle was not taken.
    #[error("failed to restore a bundle")]
    Bundle(#[from] BundleError),
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    cluster: String,
    applied_index: Option<u64>,
    created_at: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    state_blake3: String,
    bundles: u64,
}

/// Writes a backup to `out`. Blocks; what is in it is what this node has applied when it begins.
///
/// # Errors
/// What `out` answers, or the store.
pub(crate) fn write(
    cluster: &Cluster,
    bundles: Option<&BundleStore>,
    now: Timestamp,
    out: impl Write,
) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    let status = cluster.status();
    let head = Head {
        format: FORMAT,
        cluster: status.cluster_id.to_string(),
        applied_index: status.applied_index,
        created_at: now.to_string(),
    };
    append(&mut archive, HEAD, &serde_json::to_vec(&head)?, now)?;
    let (mut hasher, mut piece, mut number) = (blake3::Hasher::new(), Vec::with_capacity(PIECE_BYTES), 0_u32);
    cluster.backup(|bytes| {
        piece.extend_from_slice(bytes);
        if piece.len() >= PIECE_BYTES {
            hasher.update(&piece);
            append(&mut archive, &format!("state/{number:06}"), &piece, now)?;
            number += 1;
            piece.clear();
        }
        Ok(())
    })?;
    hasher.update(&piece);
    append(&mut archive, &format!("state/{number:06}"), &piece, now)?;
    let listed = bundles.map(BundleStore::list).transpose().map_err(io::Error::other)?.unwrap_or_default();
    let mut written = 0;
    for bundle in &listed {
        let path = bundles.map(|bundles| bundles.path(bundle.hash)).unwrap_or_default();
        // One that was removed meanwhile is named by nobody.
        let Ok(mut file) = File::open(path) else { continue };
        archive.append_file(format!("bundles/{}", bundle.hash), &mut file)?;
        written += 1;
    }
    let end = End { state_blake3: hasher.finalize().to_hex().to_string(), bundles: written };
    append(&mut archive, END, &serde_json::to_vec(&end)?, now)?;
    archive.into_inner()?.flush()
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    bytes: &[u8],
    now: Timestamp,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    header.set_mtime(now.as_secs());
    archive.append_data(&mut header, name, bytes)
}

/// What was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The new cluster.
    pub(crate) cluster: ClusterId,
    /// Bundles that came along.
    pub(crate) bundles: u64,
}

/// Looks whether the archive at `path` is a whole backup; how many bundles it has.
///
/// # Errors
/// [`RestoreError`] with what is wrong.
pub(crate) fn check(path: &Path) -> Result<u64, RestoreError> {
    let broken = |what: &dyn std::fmt::Display| RestoreError::NotWhole {
        path: path.to_owned(),
        what: what.to_string(),
    };
    let mut state = blake3::Hasher::new();
    let (mut bundles, mut end, mut is_first) = (0, None, true);
    for_each(path, |name, size, bytes| {
        if std::mem::take(&mut is_first) {
            let head: Head = small(name, HEAD, size, bytes)?;
            return match head.format {
                ..=FORMAT => Ok(()),
                format => Err(Stop::Newer(format)),
            };
        }
        match name {
            END => end = Some(small::<End>(name, END, size, bytes)?),
            _ if name.starts_with("state/") => drop(io::copy(bytes, &mut state).map_err(Stop::Read)?),
            _ => bundles += 1,
        }
        Ok(())
    })?;
    let end = end.ok_or_else(|| broken(&"it has no end: writing it was interrupted"))?;
    if state.finalize().to_hex().as_str() != end.state_blake3 || bundles != end.bundles {
        return Err(broken(&"it is not what was written"));
    }
    Ok(bundles)
}

/// Makes a new cluster of one node from the backup at `path`, in an empty data directory.
///
/// # Errors
/// [`RestoreError`]; a directory that something was put into is not used again.
pub(crate) fn restore(path: &Path, data: &DataDir, entropy: &dyn Entropy) -> Result<Restored, RestoreError> {
    // The whole archive is looked at before anything is written.
    check(path)?;
    let mut state = Pieces::open(path)?;
    let cluster = Cluster::restore(&mut state, &*data.state, data.raft.clone(), entropy)?;
    let mut bundles = 0;
    for_each(path, |name, size, bytes| {
        let Some(hash) = name.strip_prefix("bundles/") else { return Ok(()) };
        let hash: BundleHash = hash.parse().map_err(|_| Stop::Broken("a bundle has no name".to_owned()))?;
        let mut incoming = data.bundles.receive(hash, size, BUNDLE_BYTES_MAX).map_err(Stop::Bundle)?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = bytes.read(&mut buffer).map_err(Stop::Read)?;
            if read == 0 {
                break;
            }
            incoming.write(&buffer[..read]).map_err(Stop::Bundle)?;
        }
        incoming.finish().map_err(Stop::Bundle)?;
        bundles += 1;
        Ok(())
    })?;
    Ok(Restored { cluster, bundles })
}

/// Why a walk through an archive ended early.
enum Stop {
    Read(io::Error),
    Broken(String),
    Newer(u32),
    Bundle(BundleError),
}

/// Hands each entry's name, size and bytes to `each`, in order.
fn for_each(
    path: &Path,
    mut each: impl FnMut(&str, u64, &mut dyn Read) -> Result<(), Stop>,
) -> Result<(), RestoreError> {
    let read = |source| RestoreError::Read { path: path.to_owned(), source };
    let broken = |what: String| RestoreError::NotWhole { path: path.to_owned(), what };
    let mut archive = tar::Archive::new(io::BufReader::new(File::open(path).map_err(read)?));
    let entries = archive.entries().map_err(|error| broken(error.to_string()))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| broken(error.to_string()))?;
        let name = entry.path().map_err(|error| broken(error.to_string()))?.to_string_lossy().into_owned();
        let size = entry.size();
        each(&name, size, &mut entry).map_err(|stop| match stop {
            Stop::Read(error) => broken(error.to_string()),
            Stop::Broken(what) => broken(what),
            Stop::Newer(format) => RestoreError::Newer { format },
            Stop::Bundle(error) => error.into(),
        })?;
    }
    Ok(())
}

fn small<T: serde::de::DeserializeOwned>(
    name: &str,
    wanted: &str,
    size: u64,
    bytes: &mut dyn Read,
) -> Result<T, Stop> {
    if name != wanted || size > SMALL_BYTES_MAX {
        return Err(Stop::Broken(format!("`{wanted}` should stand where `{}` stands", name.escape_debug())));
    }
    serde_json::from_reader(bytes)
        .map_err(|error| Stop::Broken(format!("`{wanted}` cannot be read: {error}")))
}

/// The state's pieces as one stream.
struct Pieces {
    file: File,
    /// First byte and length of those that are still to come.
    places: std::vec::IntoIter<(u64, u64)>,
    piece: io::Take<File>,
}

impl Pieces {
    /// Finds where the pieces lie.
    fn open(path: &Path) -> Result<Self, RestoreError> {
        let read = |source| RestoreError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let mut archive = tar::Archive::new(io::BufReader::new(&file));
        let mut places = Vec::new();
        for entry in archive.entries().map_err(read)? {
            let entry = entry.map_err(read)?;
            if entry.path().map_err(read)?.starts_with("state") {
                places.push((entry.raw_file_position(), entry.size()));
            }
        }
        let piece = file.try_clone().map_err(read)?.take(0);
        Ok(Self { file, places: places.into_iter(), piece })
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some((first, size)) = self.places.next() else { return Ok(0) };
            self.file.seek(SeekFrom::Start(first))?;
            self.piece = self.file.try_clone()?.take(size);
        }
    }
}
