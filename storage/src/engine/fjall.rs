//! The engine on disk: `fjall`, a log-structured merge tree.
//!
//! `fjall` has one journal for all keyspaces, hands writes to the operating system at each commit and
//! syncs when asked. After an I/O error it refuses writes until it is opened again; so does this
//! engine, which callers see as [`StorageError::Halted`].

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{Database, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};

use super::fault::{Fault, WayOut};
use super::journal;
use super::metrics::Metrics;
use super::trees;
use super::{Batch, Durability, Engine, Keyspace, Pair, Reader, StorageError};

/// How much memory and disk the engine may use.
#[derive(Debug, Clone)]
pub struct FjallOptions {
    /// Cache of blocks read, in bytes, shared by all keyspaces.
    pub cache_bytes: u64,
    /// Writes kept in memory by each keyspace before they become a file, in bytes. Small, because
    /// what lies here is replayed when the process ends without [`Engine::close`].
    pub memtable_bytes: u64,
}

impl Default for FjallOptions {
    fn default() -> Self {
        Self { cache_bytes: 16 * 1024 * 1024, memtable_bytes: 4 * 1024 * 1024 }
    }
}

/// Journals are kept until every keyspace has flushed past them, up to this many bytes: the least
/// `fjall` allows, because a start after a crash replays them.
const JOURNALS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Time between two looks whether a flush has ended.
const FLUSH_LOOK: Duration = Duration::from_millis(5);

/// An engine in a directory; one process at a time.
pub struct FjallEngine {
    path: PathBuf,
    spaces: &'static [Keyspace],
    database: Database,
    keyspaces: Vec<fjall::Keyspace>,
    fault: Fault,
    metrics: Metrics,
}

impl FjallEngine {
    /// Opens or makes the database in `path` with these keyspaces.
    ///
    /// # Errors
    /// [`StorageError::Locked`] while another process has it open; [`StorageError::Engine`] when the
    /// directory cannot be read; [`StorageError::Damaged`] when what lies in it is not what was written.
    pub fn open(
        path: &Path,
        spaces: &'static [Keyspace],
        options: &FjallOptions,
    ) -> Result<Self, StorageError> {
        let fault = Fault::new(path, WayOut::of(spaces));
        let damaged = journal::find_damaged(path).map_err(|error| fault.io("read a journal", error))?;
        if let Some(journal) = damaged {
            let cause = "a change in the middle of it is not whole, and others follow";
            return Err(fault.damaged_file(&journal, "open the database", cause));
        }
        let damaged = trees::find_damaged(path).map_err(|error| fault.io("read a tree", error))?;
        if let Some(file) = damaged {
            return Err(fault.damaged_file(&file, "open the database", "it is not what was written"));
        }
        // It asserts, here and there, what a damaged file does not hold.
        let opened = fault.guard(|| open(path, spaces, options))?;
        let (database, keyspaces) = opened.map_err(|error| failed(&fault, "open the database", error))?;
        Ok(Self { path: path.to_owned(), spaces, database, keyspaces, fault, metrics: Metrics::new() })
    }

    /// The directory the engine lives in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what the keyspace has in memory to a table.
    ///
    /// `rotate_memtable_and_wait` would wait for ever for a worker that a full disk has ended.
    fn flush(&self, keyspace: &fjall::Keyspace) -> fjall::Result<()> {
        if keyspace.rotate_memtable()? {
            while keyspace.sealed_memtable_count() > 0 {
                // Tells of a worker that failed.
                self.database.persist(PersistMode::Buffer)?;
                thread::park_timeout(FLUSH_LOOK);
            }
        }
        Ok(())
    }

    fn keyspace(&self, space: Keyspace) -> Result<&fjall::Keyspace, StorageError> {
        find(self.spaces, &self.keyspaces, space)
    }
}

fn find<'a>(
    spaces: &[Keyspace],
    keyspaces: &'a [fjall::Keyspace],
    space: Keyspace,
) -> Result<&'a fjall::Keyspace, StorageError> {
    let at = spaces.iter().position(|known| *known == space);
    at.and_then(|at| keyspaces.get(at)).ok_or(StorageError::UnknownKeyspace { space: space.name() })
}

fn open(
    path: &Path,
    spaces: &[Keyspace],
    options: &FjallOptions,
) -> fjall::Result<(Database, Vec<fjall::Keyspace>)> {
    let database = Database::builder(path)
        .cache_size(options.cache_bytes)
        .max_journaling_size(JOURNALS_BYTES_MAX)
        .worker_threads(1)
        .open()?;
    let settings = || KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes);
    let keyspaces =
        spaces.iter().map(|space| database.keyspace(space.name(), settings)).collect::<Result<_, _>>()?;
    Ok((database, keyspaces))
}

fn failed(fault: &Fault, operation: &'static str, error: fjall::Error) -> StorageError {
    match error {
        fjall::Error::Poisoned => StorageError::Halted,
        fjall::Error::Locked => StorageError::Locked,
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            fault.io(operation, error)
        }
        error => fault.damaged(operation, error),
    }
}

impl Reader for FjallEngine {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let started = Instant::now();
        let value = self.keyspace(space)?.get(key).map_err(|error| failed(&self.fault, "read", error))?;
        self.metrics.operation("get", space, started);
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        let started = Instant::now();
        let pairs = take(&self.fault, self.keyspace(space)?.range(range(prefix, after)), prefix, limit);
        self.metrics.operation("scan", space, started);
        pairs
    }
}

/// From the first key a scan may answer to the end; where the prefix ends, [`take`] stops.
fn range(prefix: &[u8], after: Option<&[u8]>) -> (std::ops::Bound<Vec<u8>>, std::ops::Bound<Vec<u8>>) {
    let start = match after {
        Some(after) if after >= prefix => std::ops::Bound::Excluded(after.to_vec()),
        _ => std::ops::Bound::Included(prefix.to_vec()),
    };
    (start, std::ops::Bound::Unbounded)
}

fn take(fault: &Fault, pairs: fjall::Iter, prefix: &[u8], limit: usize) -> Result<Vec<Pair>, StorageError> {
    let mut found = Vec::new();
    for pair in pairs.take(limit) {
        let (key, value) = pair.into_inner().map_err(|error| failed(fault, "scan", error))?;
        if !key.starts_with(prefix) {
            break;
        }
        found.push((key.to_vec(), value.to_vec()));
    }
    Ok(found)
}

impl Engine for FjallEngine {
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        batch.check(self.spaces)?;
        let started = Instant::now();
        let mode = match durability {
            Durability::Synced => PersistMode::SyncData,
            Durability::Buffered => PersistMode::Buffer,
        };
        let mut writes = self.database.batch().durability(Some(mode));
        for write in batch.writes {
            let keyspace = self.keyspace(write.space)?;
            match write.value {
                Some(value) => writes.insert(keyspace, write.key, value),
                None => writes.remove(keyspace, write.key),
            }
        }
        let done = writes.commit().map_err(|error| failed(&self.fault, "commit a batch", error));
        self.metrics.committed(durability, started, done.is_ok());
        done
    }

    fn sync(&self) -> Result<(), StorageError> {
        let started = Instant::now();
        let done =
            self.database.persist(PersistMode::SyncData).map_err(|error| failed(&self.fault, "sync", error));
        self.metrics.committed(Durability::Synced, started, done.is_ok());
        done
    }

    fn view(&self) -> Box<dyn Reader> {
        Box::new(View {
            spaces: self.spaces,
            keyspaces: self.keyspaces.clone(),
            snapshot: self.database.snapshot(),
            fault: self.fault.clone(),
        })
    }

    fn close(&self) -> Result<(), StorageError> {
        self.sync()?;
        let flushed = self.keyspaces.iter().try_for_each(|keyspace| self.flush(keyspace));
        flushed.map_err(|error| failed(&self.fault, "flush a keyspace", error))
    }

    fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }

    fn fault(&self) -> Option<String> {
        self.fault.noticed()
    }
}

struct View {
    spaces: &'static [Keyspace],
    keyspaces: Vec<fjall::Keyspace>,
    snapshot: Snapshot,
    fault: Fault,
}

impl Reader for View {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let keyspace = find(self.spaces, &self.keyspaces, space)?;
        let value = self.snapshot.get(keyspace, key).map_err(|error| failed(&self.fault, "read", error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        let keyspace = find(self.spaces, &self.keyspaces, space)?;
        take(&self.fault, self.snapshot.range(keyspace, range(prefix, after)), prefix, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    fn open(path: &Path) -> FjallEngine {
        FjallEngine::open(path, Keyspace::STATE, &FjallOptions::default()).unwrap()
    }

    #[test]
    fn the_fjall_engine_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::cell::Cell::new(0);
        contract::check(
            || {
                made.set(made.get() + 1);
                open(&folder.path().join(made.get().to_string()))
            },
            |engine| {
                let path = engine.path().to_owned();
                engine.close().unwrap();
                drop(engine);
                open(&path)
            },
        );
    }

    #[test]
    fn a_second_process_is_told_that_the_directory_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let _first = open(folder.path());
        let second = FjallEngine::open(folder.path(), Keyspace::STATE, &FjallOptions::default());
        assert!(matches!(second.map(|_| ()).unwrap_err(), StorageError::Locked));
    }
}
