//! A folder of bundles, and the few of them that are open.
//!
//! A bundle is opened when it is first asked for, so a node with many of them starts at once. Asking
//! for an open one takes no lock: the table of open bundles is swapped whole. When more than the limit
//! are open, the one not asked for longest is let go; whoever still holds it can go on reading.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::build::{BundleBuilder, BundleDraft};
use super::error::BundleError;
use super::hash::BundleHash;
use super::incoming::Incoming;
use super::metrics::Metrics;
use super::open::Bundle;
use super::partial::{self, EXTENSION, PARTIAL};
use super::pins::{Pinned, Pins};

/// Bundles are opened in this many lanes: two different ones rarely wait for each other, and one is
/// never opened twice at a time.
const LANES: usize = 16;

/// What a bundle that was moved aside ends with.
const DAMAGED: &str = "damaged";

/// The bundles of one node.
pub struct BundleStore {
    dir: PathBuf,
    open_max: usize,
    open: ArcSwap<HashMap<BundleHash, Arc<OpenBundle>>>,
    /// Taken to change `open`; never while a file is read.
    changing: Mutex<()>,
    opening: [Mutex<()>; LANES],
    /// Counts requests, to know which bundle was asked for last.
    clock: AtomicU64,
    /// When those that are not open were asked for last, by that clock.
    closed: Mutex<HashMap<BundleHash, u64>>,
    pins: Pins,
}

struct OpenBundle {
    bundle: Arc<Bundle>,
    asked_at: AtomicU64,
}

/// A bundle in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBundle {
    /// Its name.
    pub hash: BundleHash,
    /// Size of the file.
    pub bytes: u64,
}

impl BundleStore {
    /// The bundles in `dir`, of which at most `open_max` are kept open. Makes the folder if it is
    /// missing, and removes what unfinished builds and fetches left in it: no other store, and no
    /// builder, may be at work there.
    ///
    /// # Errors
    /// [`BundleError::Io`] when the folder cannot be made or read.
    pub fn open_dir(dir: impl Into<PathBuf>, open_max: NonZeroUsize) -> Result<Self, BundleError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(BundleError::io("create", &dir))?;
        for path in files(&dir)? {
            if path.extension().is_some_and(|extension| extension == PARTIAL) {
                fs::remove_file(&path).map_err(BundleError::io("remove", &path))?;
            }
        }
        Ok(Self {
            dir,
            open_max: open_max.get(),
            open: ArcSwap::default(),
            changing: Mutex::default(),
            opening: Default::default(),
            clock: AtomicU64::new(1),
            closed: Mutex::default(),
            pins: Pins::default(),
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a new bundle in this folder.
    ///
    /// # Errors
    /// As [`BundleBuilder::new`].
    pub fn builder(&self, draft: BundleDraft) -> Result<BundleBuilder, BundleError> {
        BundleBuilder::new(&self.dir, draft)
    }

    /// The bundle named `hash`, if it is open already. Never blocks.
    pub fn get_open(&self, hash: BundleHash) -> Option<Arc<Bundle>> {
        let open = self.open.load();
        let found = open.get(&hash)?;
        found.asked_at.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(found.bundle.clone())
    }

    /// The bundle named `hash`. Blocks only when it has to be opened, which reads all of it once.
    ///
    /// # Errors
    /// [`BundleError::Missing`] when this node does not have it; otherwise as [`Bundle::open`].
    pub fn open(&self, hash: BundleHash) -> Result<Arc<Bundle>, BundleError> {
        if let Some(bundle) = self.get_open(hash) {
            return Ok(bundle);
        }
        let lane = &self.opening[usize::from(hash.as_bytes()[0]) % LANES];
        let _opening = lane.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have opened it while this one waited.
        if let Some(bundle) = self.get_open(hash) {
            return Ok(bundle);
        }
        let path = self.path(hash);
        if !path.is_file() {
            return Err(BundleError::Missing { hash });
        }
        let bundle = Arc::new(Bundle::open(&path)?);
        self.keep_open(hash, bundle.clone());
        Ok(bundle)
    }

    /// How many bundles are kept open.
    pub fn open_count(&self) -> usize {
        self.open.load().len()
    }

    /// Whether the folder has the bundle.
    pub fn contains(&self, hash: BundleHash) -> bool {
        self.path(hash).is_file()
    }

    /// Where the bundle lies, or would lie. To send it to a peer, open this file for reading.
    pub fn path(&self, hash: BundleHash) -> PathBuf {
        partial::path_of(&self.dir, hash)
    }

    /// Removes a bundle; says whether it was there. Whoever has it open can go on reading.
    ///
    /// # Errors
    /// [`BundleError::Io`] when the file cannot be removed.
    pub fn remove(&self, hash: BundleHash) -> Result<bool, BundleError> {
        // The file first: who opens it at this moment finds nothing, or keeps what it found.
        let lane = &self.opening[usize::from(hash.as_bytes()[0]) % LANES];
        let _opening = lane.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(hash);
        let removed = match fs::remove_file(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(BundleError::io("remove", &path)(error)),
        };
        self.change_open(|open| {
            open.remove(&hash);
        });
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        Ok(removed)
    }

    /// Keeps a bundle in the folder, whether it is there already or about to be, until the pin is dropped.
    pub fn pin(&self, hash: BundleHash) -> Pinned {
        self.pins.pin(hash)
    }

    /// As [`Self::remove`], but lets be what is pinned. Who pins it at this very moment finds it, or does not.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn remove_unpinned(&self, hash: BundleHash) -> Result<bool, BundleError> {
        if self.pins.is_pinned(hash) { Ok(false) } else { self.remove(hash) }
    }

    /// When a bundle was asked for last, for comparison with others: those of this start of the node after those that
    /// were not asked for since, these by when they were written. Reads the folder.
    pub fn last_asked(&self, hash: BundleHash) -> (u64, Option<SystemTime>) {
        let open = self.open.load().get(&hash).map(|open| open.asked_at.load(Ordering::Relaxed));
        let asked_at =
            open.or_else(|| self.closed.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).copied());
        (asked_at.unwrap_or_default(), self.written_at(hash))
    }

    /// Counts a bundle as asked for, though nobody has opened it.
    pub fn touch(&self, hash: BundleHash) {
        if self.get_open(hash).is_none() {
            let now = self.clock.fetch_add(1, Ordering::Relaxed);
            self.closed.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, now);
        }
    }

    /// When a bundle came into the folder, by the clock of the file system; nothing when it is not there.
    pub fn written_at(&self, hash: BundleHash) -> Option<SystemTime> {
        fs::metadata(self.path(hash)).and_then(|file| file.modified()).ok()
    }

    /// Moves a damaged bundle out of the way, for whoever wants to know what became of it, and answers where it is;
    /// nothing when it was not there. One is kept for each name.
    ///
    /// # Errors
    /// [`BundleError::Io`] when the file cannot be renamed.
    pub fn set_aside(&self, hash: BundleHash) -> Result<Option<PathBuf>, BundleError> {
        let lane = &self.opening[usize::from(hash.as_bytes()[0]) % LANES];
        let _opening = lane.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(hash);
        let aside = path.with_extension(DAMAGED);
        match fs::rename(&path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BundleError::io("move aside", &path)(error)),
        }
        self.change_open(|open| {
            open.remove(&hash);
        });
        Ok(Some(aside))
    }

    /// Every bundle in the folder, by hash.
    ///
    /// # Errors
    /// [`BundleError::Io`] when the folder cannot be read.
    pub fn list(&self) -> Result<Vec<StoredBundle>, BundleError> {
        let mut bundles = Vec::new();
        for folder in entries(&self.dir)?.into_iter().filter(|path| path.is_dir()) {
            for path in files(&folder)? {
                let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
                let Ok(hash) = name.parse() else { continue };
                if path.extension().is_some_and(|extension| extension == EXTENSION) && path == self.path(hash)
                {
                    let bytes = fs::metadata(&path).map_err(BundleError::io("read", &path))?.len();
                    bundles.push(StoredBundle { hash, bytes });
                }
            }
        }
        bundles.sort_unstable_by_key(|bundle| bundle.hash);
        Ok(bundles)
    }

    /// Starts to receive the bundle named `hash` from a peer, which says it has `bytes`.
    ///
    /// # Errors
    /// [`BundleError::Limit`] above `bytes_max`; [`BundleError::Io`] when the temporary file cannot be made.
    pub fn receive(&self, hash: BundleHash, bytes: u64, bytes_max: u64) -> Result<Incoming, BundleError> {
        if bytes > bytes_max {
            return Err(BundleError::Limit { what: "bundle of bytes", limit: bytes_max, found: bytes });
        }
        Incoming::create(&self.dir, hash, bytes)
    }

    fn keep_open(&self, hash: BundleHash, bundle: Arc<Bundle>) {
        let asked_at = AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed));
        let opened = Arc::new(OpenBundle { bundle, asked_at });
        self.change_open(|open| {
            open.insert(hash, opened);
            while open.len() > self.open_max {
                let oldest = open.iter().min_by_key(|(_, one)| one.asked_at.load(Ordering::Relaxed));
                let Some(oldest) = oldest.map(|(hash, _)| *hash) else {
                    break;
                };
                if let Some(closed) = open.remove(&oldest) {
                    let asked_at = closed.asked_at.load(Ordering::Relaxed);
                    self.closed.lock().unwrap_or_else(PoisonError::into_inner).insert(oldest, asked_at);
                }
            }
        });
    }

    fn change_open(&self, change: impl FnOnce(&mut HashMap<BundleHash, Arc<OpenBundle>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = HashMap::clone(&self.open.load());
        let before = open.len();
        change(&mut open);
        Metrics::get().handles(open.len() as i64 - before as i64);
        self.open.store(Arc::new(open));
    }
}

impl Drop for BundleStore {
    fn drop(&mut self) {
        Metrics::get().handles(-(self.open_count() as i64));
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, BundleError> {
    fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(BundleError::io("read", dir))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, BundleError> {
    Ok(entries(dir)?.into_iter().filter(|path| path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path, open_max: usize) -> BundleStore {
        BundleStore::open_dir(dir, NonZeroUsize::new(open_max).unwrap()).unwrap()
    }

    fn add(store: &BundleStore, version: &str) -> BundleHash {
        let draft = BundleDraft { library: "/a/b".to_owned(), version: version.to_owned(), embedder: None };
        store.builder(draft).unwrap().finish().unwrap().hash
    }

    #[test]
    fn bundles_are_listed_opened_and_removed_by_hash() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 4);
        let mut hashes = ["1", "2", "3"].map(|version| add(&store, version));
        hashes.sort_unstable();
        let listed = store.list().unwrap();
        assert_eq!(listed.iter().map(|one| one.hash).collect::<Vec<_>>(), hashes);
        assert!(listed.iter().all(|one| one.bytes == fs::metadata(store.path(one.hash)).unwrap().len()));
        assert!(hashes.iter().all(|hash| store.contains(*hash)));
        assert_eq!(store.open_count(), 0);
        let bundle = store.open(hashes[0]).unwrap();
        assert!(Arc::ptr_eq(&bundle, &store.open(hashes[0]).unwrap()));
        assert!(store.remove(hashes[0]).unwrap());
        assert!(!store.remove(hashes[0]).unwrap());
        assert!(!store.contains(hashes[0]));
        assert!(matches!(store.open(hashes[0]), Err(BundleError::Missing { .. })));
        assert!(store.get_open(hashes[0]).is_none());
        assert_eq!(bundle.words("still readable", 1).unwrap(), []);
        assert_eq!(store.list().unwrap().len(), 2);
    }

    #[test]
    fn the_bundle_not_asked_for_longest_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 2);
        let [a, b, c] = ["1", "2", "3"].map(|version| add(&store, version));
        store.open(a).unwrap();
        store.open(b).unwrap();
        store.get_open(a).unwrap();
        store.open(c).unwrap();
        assert_eq!(store.open_count(), 2);
        assert!(store.get_open(a).is_some() && store.get_open(b).is_none() && store.get_open(c).is_some());
        store.open(b).unwrap();
        assert!(store.get_open(a).is_none());
    }

    #[test]
    fn unfinished_files_are_swept_and_strangers_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let hash = add(&store(dir.path(), 1), "1");
        for name in ["0011.partial", "notes.txt", "ab.bundle"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let stray =
            store(dir.path(), 1).path(hash).with_file_name(format!("{}.bundle", BundleHash::of(b"other")));
        fs::write(stray, "x").unwrap();
        let store = store(dir.path(), 1);
        assert!(!dir.path().join("0011.partial").exists());
        assert!(dir.path().join("notes.txt").exists());
        assert_eq!(store.list().unwrap().iter().map(|one| one.hash).collect::<Vec<_>>(), [hash]);
    }

    #[test]
    fn a_bundle_from_a_peer_is_taken_only_when_it_is_the_one_asked_for() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (store, peer) = (store(here.path(), 1), store(there.path(), 1));
        let hash = add(&peer, "1");
        let bytes = fs::read(peer.path(hash)).unwrap();
        let length = bytes.len() as u64;
        let receive = |hash, pieces: &[&[u8]]| {
            let mut incoming = store.receive(hash, length, 1 << 20)?;
            pieces.iter().try_for_each(|piece| incoming.write(piece))?;
            incoming.finish()
        };
        let mut wrong = bytes.clone();
        wrong[100] ^= 1;
        assert!(matches!(receive(hash, &[&wrong]), Err(BundleError::WrongHash { .. })));
        assert!(matches!(receive(hash, &[&bytes[..99]]), Err(BundleError::WrongHash { .. })));
        assert!(matches!(receive(hash, &[&bytes, b"x"]), Err(BundleError::Limit { .. })));
        assert!(matches!(receive(BundleHash::of(b"junk"), &[b"junk"]), Err(BundleError::NotABundle { .. })));
        assert!(matches!(store.receive(hash, 1 << 21, 1 << 20), Err(BundleError::Limit { .. })));
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
        // In any order.
        let mut parts = store.receive(hash, length, 1 << 20).unwrap();
        assert!(matches!(parts.write_at(length, b"x"), Err(BundleError::Limit { .. })));
        parts.write_at(500, &bytes[500..]).unwrap();
        parts.write_at(0, &bytes[..500]).unwrap();
        parts.finish().unwrap();
        assert!(store.remove(hash).unwrap());
        let received = receive(hash, &[&bytes[..500], &bytes[500..]]).unwrap();
        assert_eq!(received, StoredBundle { hash, bytes: length });
        assert_eq!(store.open(hash).unwrap().meta().version, "1");
        // Once more does no harm.
        receive(hash, &[&bytes]).unwrap();
        assert_eq!(store.list().unwrap(), [received]);
    }

    #[test]
    fn a_damaged_bundle_is_not_kept_open_and_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 1);
        let hash = add(&store, "1");
        let mut bytes = fs::read(store.path(hash)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(store.path(hash), bytes).unwrap();
        assert!(matches!(store.open(hash), Err(error @ BundleError::Damaged { .. }) if error.is_loss()));
        assert_eq!(store.open_count(), 0);
        assert!(store.remove(hash).unwrap());
    }

    #[test]
    fn what_is_pinned_is_not_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 1);
        let hash = add(&store, "1");
        let (one, other) = (store.pin(hash), store.pin(hash));
        assert!(!store.remove_unpinned(hash).unwrap());
        drop(one);
        assert!(!store.remove_unpinned(hash).unwrap() && store.contains(hash));
        drop(other);
        assert!(store.remove_unpinned(hash).unwrap() && !store.contains(hash));
    }

    #[test]
    fn bundles_are_told_apart_by_when_they_were_asked_for_open_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 1);
        let [first, second, touched, never] = ["1", "2", "3", "4"].map(|version| add(&store, version));
        store.open(first).unwrap();
        store.open(second).unwrap();
        assert!(store.get_open(first).is_none());
        store.touch(touched);
        let mut by_use = [touched, second, never, first];
        by_use.sort_by_key(|hash| store.last_asked(*hash));
        assert_eq!(by_use, [never, first, second, touched]);
        store.open(first).unwrap();
        by_use.sort_by_key(|hash| store.last_asked(*hash));
        assert_eq!(by_use, [never, second, touched, first]);
    }

    #[test]
    fn a_bundle_that_was_moved_aside_is_gone_for_readers_and_can_be_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 1);
        let hash = add(&store, "1");
        store.open(hash).unwrap();
        let aside = store.set_aside(hash).unwrap().unwrap();
        assert!(aside.is_file() && !store.contains(hash) && store.get_open(hash).is_none());
        assert_eq!((store.list().unwrap(), store.set_aside(hash).unwrap()), (vec![], None));
        assert!(matches!(store.open(hash), Err(error) if error.is_loss()));
        assert_eq!(add(&store, "1"), hash);
        store.open(hash).unwrap();
    }

    #[test]
    fn many_threads_that_ask_at_once_get_the_same_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), 2);
        let hashes = ["1", "2"].map(|version| add(&store, version));
        for hash in hashes {
            let bundles: Vec<_> = std::thread::scope(|scope| {
                let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| store.open(hash).unwrap())).collect();
                asked.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(bundles.iter().all(|bundle| Arc::ptr_eq(bundle, &bundles[0])));
        }
    }
}
