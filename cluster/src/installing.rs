//! Readers of the agreed state while a snapshot takes its place.
//!
//! That takes many batches, and no reader may see half of it: until the last one they read the state as it was before the first.
//! A node whose install is cut off has no readers: its next start finishes the install before anybody is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use twinmcp_storage::engine::{Engine, Keyspace, Pair, Reader, StorageError};

/// The state as it was when an install began; nothing while none is under way.
#[derive(Clone, Default)]
pub(crate) struct Before(Arc<Inner>);

#[derive(Default)]
struct Inner {
    view: ArcSwapOption<Box<dyn Reader>>,
    /// Installs that have begun: a reader that looked before one did, and read after, looks again.
    begun: AtomicU64,
    /// Batches written by installs.
    written: AtomicU64,
}

impl Before {
    /// From now on readers see the state of `engine` as it is now, and nothing that is written until [`Self::let_go`].
    pub(crate) fn hold(&self, engine: &dyn Engine) {
        self.0.view.store(Some(Arc::new(engine.view())));
        self.0.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on readers see the engine again.
    pub(crate) fn let_go(&self) {
        self.0.view.store(None);
    }

    /// Another batch is written.
    pub(crate) fn wrote(&self) {
        self.0.written.fetch_add(1, Ordering::Relaxed);
    }

    /// Batches that installs have written: grows as long as one comes along.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// What `held` answers during an install, and `engine` at other times.
    fn read<T>(&self, held: impl Fn(&Arc<Box<dyn Reader>>) -> T, engine: impl Fn() -> T) -> T {
        loop {
            let begun = self.0.begun.load(Ordering::SeqCst);
            if let Some(view) = &*self.0.view.load() {
                return held(view);
            }
            let read = engine();
            if self.0.begun.load(Ordering::SeqCst) == begun {
                return read;
            }
        }
    }
}

/// The agreed state for readers.
pub(crate) struct Readable {
    engine: Arc<dyn Engine>,
    before: Before,
}

impl Readable {
    pub(crate) fn new(engine: Arc<dyn Engine>, before: Before) -> Self {
        Self { engine, before }
    }

    /// The state at one moment.
    pub(crate) fn view(&self) -> Box<dyn Reader> {
        self.before.read(|view| Box::new(Held(Arc::clone(view))) as Box<dyn Reader>, || self.engine.view())
    }
}

impl Reader for Readable {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.before.read(|view| view.get(space, key), || self.engine.get(space, key))
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        let scan = |reader: &dyn Reader| reader.scan(space, prefix, after, limit);
        self.before.read(|view| scan(&***view), || self.engine.scan(space, prefix, after, limit))
    }
}

/// A view that several read.
struct Held(Arc<Box<dyn Reader>>);

impl Reader for Held {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.get(space, key)
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        self.0.scan(space, prefix, after, limit)
    }
}
