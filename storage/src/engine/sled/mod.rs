//! A second engine: `sled`, for caches and development.
//!
//! It keeps the same contract, and costs what that takes: `sled` keeps writes in memory until it is told to flush
//! and then hands them to the disk with `sync_file_range`, which promises nothing after a power cut; so a synced
//! commit here also asks for `fdatasync` on its files. It has no views, so [`view`] keeps what commits replace.
//! Its last release is of 2021 and its recovery has open reports of corruption: `docs/operating.md` says when not
//! to use it.

mod view;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::view::Views;
use super::fault::{Fault, WayOut};
use super::metrics::Metrics;
use super::{Batch, Durability, Engine, Keyspace, Pair, Reader, StorageError};

/// How long an open waits for the lock of the directory: threads of `sled` hold it until their last task has
/// ended, which can be after the tree was dropped.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// A tree of `sled` in a directory; one process at a time.
pub struct SledEngine {
    path: PathBuf,
    spaces: &'static [Keyspace],
    /// One tree for all keyspaces, because a batch of `sled` is whole within one tree only.
    tree: ::sled::Db,
    views: Views,
    /// Taken to commit, so that views see whole batches.
    committing: Mutex<()>,
    files: Mutex<Files>,
    is_halted: AtomicBool,
    fault: Fault,
    metrics: Metrics,
}

impl SledEngine {
    /// Opens or makes the tree in `path` for these keyspaces, with a cache of `cache_bytes`.
    ///
    /// # Errors
    /// [`StorageError::Locked`] while another process has it open; [`StorageError::Engine`] when the directory
    /// cannot be read; [`StorageError::Damaged`] when what lies in it is not what was written.
    pub fn open(path: &Path, spaces: &'static [Keyspace], cache_bytes: u64) -> Result<Self, StorageError> {
        let fault = Fault::new(path, WayOut::of(spaces));
        let open = || {
            let settings = ::sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
            let tree = settings.open()?;
            let files = Files::open(path)?;
            Ok((tree, files))
        };
        let deadline = Instant::now() + LOCK_WAIT;
        let (tree, files) = loop {
            // Its recovery panics over much that is damaged.
            match fault.guard(open)?.map_err(|error| failed(&fault, "open the database", error)) {
                Err(StorageError::Locked) if Instant::now() < deadline => {
                    thread::park_timeout(LOCK_WAIT / 100)
                }
                opened => break opened?,
            }
        };
        Ok(Self {
            path: path.to_owned(),
            spaces,
            tree,
            views: Views::default(),
            committing: Mutex::default(),
            files: Mutex::new(files),
            is_halted: AtomicBool::new(false),
            fault,
            metrics: Metrics::new(),
        })
    }

    /// The directory the engine lives in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn prefix(&self, space: Keyspace) -> Result<Vec<u8>, StorageError> {
        match self.spaces.contains(&space) {
            true => Ok(prefix(space)),
            false => Err(StorageError::UnknownKeyspace { space: space.name() }),
        }
    }

    /// Runs a write; after one that failed no other is tried.
    fn write(
        &self,
        operation: &'static str,
        write: impl FnOnce() -> ::sled::Result<()>,
    ) -> Result<(), StorageError> {
        if self.is_halted.load(Ordering::SeqCst) {
            return Err(StorageError::Halted);
        }
        let done =
            self.fault.guard(write).and_then(|done| done.map_err(|error| self.failed(operation, error)));
        if done.is_err() {
            self.is_halted.store(true, Ordering::SeqCst);
        }
        done
    }

    fn flush(&self, durability: Durability) -> ::sled::Result<()> {
        self.tree.flush()?;
        match durability {
            Durability::Synced => {
                self.files.lock().unwrap_or_else(PoisonError::into_inner).sync().map_err(Into::into)
            }
            Durability::Buffered => Ok(()),
        }
    }

    fn failed(&self, operation: &'static str, error: ::sled::Error) -> StorageError {
        failed(&self.fault, operation, error)
    }
}

fn failed(fault: &Fault, operation: &'static str, error: ::sled::Error) -> StorageError {
    match error {
        ::sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            StorageError::Locked
        }
        ::sled::Error::Io(error) => fault.io(operation, error),
        error => fault.damaged(operation, error),
    }
}

/// Keys of a keyspace begin with its name, which holds no zero.
fn prefix(space: Keyspace) -> Vec<u8> {
    let mut prefix = space.name().as_bytes().to_vec();
    prefix.push(0);
    prefix
}

fn full_key(prefix: &[u8], key: &[u8]) -> Vec<u8> {
    [prefix, key].concat()
}

impl Reader for SledEngine {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let started = Instant::now();
        let key = full_key(&self.prefix(space)?, key);
        let value = self.fault.guard(|| self.tree.get(key))?.map_err(|error| self.failed("read", error))?;
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
        let range = Range::new(&self.prefix(space)?, prefix, after);
        let pairs: ::sled::Result<Vec<Pair>> =
            self.fault.guard(|| range.pairs(&self.tree).take(limit).collect())?;
        self.metrics.operation("scan", space, started);
        pairs.map_err(|error| self.failed("scan", error))
    }
}

/// What one scan may answer.
struct Range {
    /// Of the keyspace, not of what is asked for.
    cut: usize,
    prefix: Vec<u8>,
    start: std::ops::Bound<Vec<u8>>,
}

impl Range {
    fn new(space: &[u8], prefix: &[u8], after: Option<&[u8]>) -> Self {
        let start = match after {
            Some(after) if after >= prefix => std::ops::Bound::Excluded(full_key(space, after)),
            _ => std::ops::Bound::Included(full_key(space, prefix)),
        };
        Self { cut: space.len(), prefix: full_key(space, prefix), start }
    }

    /// Pairs in order, their keys without the keyspace; an error ends them.
    fn pairs(&self, tree: &::sled::Db) -> impl Iterator<Item = ::sled::Result<Pair>> {
        let pairs = tree.range((self.start.clone(), std::ops::Bound::Unbounded));
        let inside =
            pairs.take_while(|pair| pair.as_ref().map_or(true, |(key, _)| key.starts_with(&self.prefix)));
        inside.map(|pair| pair.map(|(key, value)| (key[self.cut..].to_vec(), value.to_vec())))
    }
}

impl Engine for SledEngine {
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        batch.check(self.spaces)?;
        let started = Instant::now();
        let _committing = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.write("commit a batch", || {
            let mut writes = ::sled::Batch::default();
            for write in batch.writes {
                let key = full_key(&prefix(write.space), &write.key);
                self.views.keep(&key, || self.tree.get(&key))?;
                match write.value {
                    Some(value) => writes.insert(key, value),
                    None => writes.remove(key),
                }
            }
            self.tree.apply_batch(writes)?;
            self.flush(durability)
        });
        self.metrics.committed(durability, started, done.is_ok());
        done
    }

    fn sync(&self) -> Result<(), StorageError> {
        let started = Instant::now();
        let done = self.write("sync", || self.flush(Durability::Synced));
        self.metrics.committed(Durability::Synced, started, done.is_ok());
        done
    }

    fn view(&self) -> Box<dyn Reader> {
        let _committing = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        Box::new(self.views.begin(self.tree.clone(), self.spaces, self.fault.clone()))
    }

    fn close(&self) -> Result<(), StorageError> {
        self.sync()
    }

    fn disk_bytes(&self) -> u64 {
        self.tree.size_on_disk().unwrap_or(0)
    }

    fn fault(&self) -> Option<String> {
        self.fault.noticed()
    }
}

/// The files `sled` writes to, opened a second time: a sync is of the file, whoever asks.
struct Files {
    pages: File,
    blobs: PathBuf,
    /// Large values lie in files of their own, which never change.
    synced: BTreeSet<OsString>,
}

impl Files {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { pages: File::open(path.join("db"))?, blobs: path.join("blobs"), synced: BTreeSet::new() })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.pages.sync_data()?;
        let names: BTreeSet<OsString> =
            fs::read_dir(&self.blobs)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        if names == self.synced {
            return Ok(());
        }
        for name in names.difference(&self.synced) {
            match File::open(self.blobs.join(name)) {
                Ok(blob) => blob.sync_all()?,
                // Replaced since, and removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        File::open(&self.blobs)?.sync_all()?;
        self.synced = names;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    fn open(path: &Path) -> SledEngine {
        SledEngine::open(path, Keyspace::STATE, 1 << 20).unwrap()
    }

    #[test]
    fn the_sled_engine_keeps_the_contract() {
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
        let second = SledEngine::open(folder.path(), Keyspace::STATE, 1 << 20);
        assert!(matches!(second.map(|_| ()).unwrap_err(), StorageError::Locked));
    }

    #[test]
    fn values_too_large_for_a_page_are_kept_and_synced_too() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path());
        let large = vec![7; 2 * 1024 * 1024];
        let mut batch = Batch::new();
        batch.put(Keyspace::Jobs, "large", large.clone());
        engine.commit(batch, Durability::Synced).unwrap();
        assert!(
            fs::read_dir(folder.path().join("blobs")).unwrap().count() > 0,
            "nothing lies beside the pages"
        );
        engine.close().unwrap();
        drop(engine);
        assert_eq!(open(folder.path()).get(Keyspace::Jobs, b"large").unwrap().unwrap(), large);
    }
}
