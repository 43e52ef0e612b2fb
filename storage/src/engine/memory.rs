//! An engine in memory whose crash drops what was not synced: for tests and simulations.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Batch, Durability, Engine, Keyspace, Pair, Reader, StorageError};

/// What a handle and its views read.
#[derive(Clone, Default)]
struct Tables(BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>);

/// Ordered keys in memory.
///
/// Clones share the same keys, as two handles of one directory would. [`MemoryEngine::crash`] takes
/// back every commit since the last sync, as a power cut may.
#[derive(Clone)]
pub struct MemoryEngine {
    spaces: &'static [Keyspace],
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    current: Arc<Tables>,
    /// What a power cut leaves.
    synced: Arc<Tables>,
    halted: bool,
    fail_next_sync: bool,
}

impl MemoryEngine {
    /// An empty store with these keyspaces.
    pub fn new(spaces: &'static [Keyspace]) -> Self {
        Self { spaces, state: Arc::default() }
    }

    /// Loses everything that was not synced, and opens again.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.current = Arc::clone(&state.synced);
        state.halted = false;
    }

    /// Makes the next sync fail, as a dying disk would.
    pub fn fail_next_sync(&self) {
        self.lock().fail_next_sync = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic between two assignments of `State` is not possible: nothing in between can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sync(&mut self) -> Result<(), StorageError> {
        if self.fail_next_sync {
            self.fail_next_sync = false;
            self.halted = true;
            let source = std::io::Error::other("injected sync failure").into();
            return Err(StorageError::Engine { operation: "sync", place: "memory".to_owned(), source });
        }
        self.synced = Arc::clone(&self.current);
        Ok(())
    }
}

impl Reader for MemoryEngine {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.lock().current.get(space, key)
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        self.lock().current.scan(space, prefix, after, limit)
    }
}

impl Engine for MemoryEngine {
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        batch.check(self.spaces)?;
        let mut state = self.lock();
        if state.halted {
            return Err(StorageError::Halted);
        }
        let tables = &mut Arc::make_mut(&mut state.current).0;
        for write in batch.writes {
            match write.value {
                Some(value) => tables.insert((write.space, write.key), value),
                None => tables.remove(&(write.space, write.key)),
            };
        }
        match durability {
            Durability::Synced => state.sync(),
            Durability::Buffered => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut state = self.lock();
        if state.halted {
            return Err(StorageError::Halted);
        }
        state.sync()
    }

    fn view(&self) -> Box<dyn Reader> {
        Box::new(View(Arc::clone(&self.lock().current)))
    }

    fn close(&self) -> Result<(), StorageError> {
        self.sync()
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn fault(&self) -> Option<String> {
        None
    }
}

struct View(Arc<Tables>);

impl Reader for View {
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

impl Reader for Tables {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.0.get(&(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded((space, after.to_vec())),
            _ => Bound::Included((space, prefix.to_vec())),
        };
        Ok(self
            .0
            .range((start, Bound::Unbounded))
            .take_while(|((found, key), _)| *found == space && key.starts_with(prefix))
            .take(limit)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    #[test]
    fn the_memory_engine_keeps_the_contract() {
        contract::check(|| MemoryEngine::new(Keyspace::STATE), |engine| engine);
    }

    fn put(engine: &MemoryEngine, key: &str, durability: Durability) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.put(Keyspace::Jobs, key, "value");
        engine.commit(batch, durability)
    }

    #[test]
    fn a_crash_loses_what_was_not_synced_and_nothing_else() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        put(&engine, "buffered, then synced", Durability::Buffered).unwrap();
        put(&engine, "synced", Durability::Synced).unwrap();
        put(&engine, "buffered", Durability::Buffered).unwrap();
        engine.crash();
        let kept = engine.scan(Keyspace::Jobs, &[], None, 10).unwrap();
        let keys: Vec<_> = kept.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect();
        assert_eq!(keys, ["buffered, then synced", "synced"]);
    }

    #[test]
    fn after_a_failed_sync_no_write_is_taken_until_it_is_opened_again() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        engine.fail_next_sync();
        assert!(matches!(put(&engine, "a", Durability::Synced), Err(StorageError::Engine { .. })));
        assert!(matches!(put(&engine, "b", Durability::Buffered), Err(StorageError::Halted)));
        assert!(matches!(engine.sync(), Err(StorageError::Halted)));
        engine.crash();
        put(&engine, "c", Durability::Synced).unwrap();
    }
}
