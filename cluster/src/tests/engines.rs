//! An engine that counts, waits and loses its power when a test says so.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use twinmcp_storage::engine::{
    Batch, Durability, Engine, Keyspace, MemoryEngine, Pair, Reader, StorageError,
};

/// Writes left until the power goes, for all engines of one machine.
#[derive(Clone)]
pub(crate) struct Power {
    left: Arc<AtomicI64>,
    /// Whether the last write still reaches the engine, though nobody is told.
    last_lands: bool,
}

impl Power {
    pub(crate) fn steady() -> Self {
        Self::cut_after(i64::MAX, false)
    }

    pub(crate) fn cut_after(writes: i64, last_lands: bool) -> Self {
        Self { left: Arc::new(AtomicI64::new(writes)), last_lands }
    }

    pub(crate) fn cut(&self) {
        self.left.store(0, Ordering::SeqCst);
    }
}

/// A door that synced writes go through; closed, they wait.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn close(&self) {
        *self.0.0.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(closed, |closed| *closed).unwrap());
    }
}

pub(crate) struct Watched {
    engine: MemoryEngine,
    power: Power,
    gate: Gate,
    synced: AtomicUsize,
    buffered: AtomicUsize,
}

impl Watched {
    pub(crate) fn new(engine: MemoryEngine, power: Power, gate: Gate) -> Self {
        Self { engine, power, gate, synced: AtomicUsize::new(0), buffered: AtomicUsize::new(0) }
    }

    /// Commits that waited for the disk.
    pub(crate) fn synced(&self) -> usize {
        self.synced.load(Ordering::SeqCst)
    }

    /// Commits that did not.
    pub(crate) fn buffered(&self) -> usize {
        self.buffered.load(Ordering::SeqCst)
    }

    fn powered(&self, write: impl FnOnce() -> Result<(), StorageError>) -> Result<(), StorageError> {
        match self.power.left.fetch_sub(1, Ordering::SeqCst) {
            0 if self.power.last_lands => write().and(Err(StorageError::Halted)),
            ..=0 => Err(StorageError::Halted),
            _ => write(),
        }
    }
}

impl Reader for Watched {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.engine.get(space, key)
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        self.engine.scan(space, prefix, after, limit)
    }
}

impl Engine for Watched {
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        if durability == Durability::Synced {
            self.gate.pass();
            self.synced.fetch_add(1, Ordering::SeqCst);
        } else {
            self.buffered.fetch_add(1, Ordering::SeqCst);
        }
        self.powered(|| self.engine.commit(batch, durability))
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.powered(|| self.engine.sync())
    }

    fn view(&self) -> Box<dyn Reader> {
        self.engine.view()
    }

    fn close(&self) -> Result<(), StorageError> {
        self.sync()
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }

    fn fault(&self) -> Option<String> {
        self.engine.fault()
    }
}
