//! Disks of simulated nodes: in memory, a crash loses what was not synced; what is applied is compared between nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use twinmcp_storage::engine::{
    Batch, Durability, Engine, Keyspace, MemoryEngine, Pair, Reader, StorageError, Write,
};
use twinmcp_storage::members::Node;
use twinmcp_storage::record;

use super::{Sabotage, registers};
use crate::consensus::{Disk, applied_by, voted_in};

/// One node's disk, which outlives the node.
pub(super) struct Machine {
    pub(super) state: Arc<SimulatedEngine>,
    pub(super) raft: Arc<SimulatedEngine>,
    pub(super) pace: Arc<Pace>,
}

impl Machine {
    pub(super) fn new(seed: u64, oracle: &Arc<Oracle>, sabotage: Option<Sabotage>) -> Self {
        let engine = |spaces| SimulatedEngine {
            engine: MemoryEngine::new(spaces),
            oracle: Arc::clone(oracle),
            sabotage,
            votes: Mutex::default(),
        };
        let (state, raft) = (engine(Keyspace::STATE), engine(Keyspace::RAFT));
        let dice = Mutex::new(SmallRng::seed_from_u64(seed));
        let pace = Pace { dice, slowest: Mutex::new(Duration::from_millis(3)) };
        Self { state: Arc::new(state), raft: Arc::new(raft), pace: Arc::new(pace) }
    }

    /// The power goes: what was not synced is lost.
    pub(super) fn crash(&self) {
        self.state.engine.crash();
        self.raft.engine.crash();
        self.raft.forget_vote();
    }

    /// All that is agreed, as this node has it.
    pub(super) fn contents(&self) -> Vec<Vec<Pair>> {
        Keyspace::STATE
            .iter()
            .map(|space| self.state.engine.scan(*space, &[], None, usize::MAX).unwrap())
            .collect()
    }
}

/// How long writes take, by the seed.
pub(super) struct Pace {
    dice: Mutex<SmallRng>,
    slowest: Mutex<Duration>,
}

impl Pace {
    /// A write takes so long at most from now on.
    pub(super) fn set_slowest(&self, slowest: Duration) {
        *self.slowest.lock().unwrap() = slowest;
    }
}

impl Disk for Pace {
    fn delay(&self) -> Duration {
        let slowest = self.slowest.lock().unwrap().as_millis();
        let millis = self.dice.lock().unwrap().random_range(0..=u64::try_from(slowest).unwrap());
        Duration::from_millis(millis)
    }
}

/// What every entry did, as the first node that applied it has it: the others must do the same.
#[derive(Default)]
pub(super) struct Oracle(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By index: BLAKE3 of what was written.
    entries: BTreeMap<u64, blake3::Hash>,
    /// By register and value: the entry that put it there.
    puts: BTreeMap<(u64, u64), u64>,
    /// The first difference.
    differs: Option<String>,
}

impl Oracle {
    /// Which entry put the value into the register; 0 for the value it has at first.
    pub(super) fn put_by(&self, register: u64, value: u64) -> Option<u64> {
        if value == 0 {
            return Some(0);
        }
        self.0.lock().unwrap().puts.get(&(register, value)).copied()
    }

    pub(super) fn difference(&self) -> Option<String> {
        self.0.lock().unwrap().differs.clone()
    }

    fn note(&self, writes: &[Write]) {
        let applied: Vec<Option<u64>> = writes.iter().filter_map(applied_by).collect();
        // A snapshot that is put in the state's place says first that nothing is applied.
        let [Some(index)] = applied[..] else { return };
        let mut hasher = blake3::Hasher::new();
        for write in writes {
            hasher
                .update(write.space.name().as_bytes())
                .update(&write.key)
                .update(&[u8::from(write.value.is_some())]);
            hasher.update(write.value.as_deref().unwrap_or_default());
        }
        let hash = hasher.finalize();
        let mut known = self.0.lock().unwrap();
        let first = *known.entries.entry(index).or_insert(hash);
        if first != hash {
            known.differs.get_or_insert_with(|| format!("entry {index} did not do the same on every node"));
        }
        for write in writes.iter().filter(|write| write.space == Keyspace::Members) {
            let node = write.value.as_ref().and_then(|value| record::decode::<Node>(value).ok());
            if let Some((register, value)) = node.as_ref().and_then(registers::held) {
                known.puts.entry((register, value)).or_insert(index);
            }
        }
    }
}

/// An engine of a node, state or log: the same but for what the oracle finds in it, and what is broken on purpose.
pub(super) struct SimulatedEngine {
    pub(super) engine: MemoryEngine,
    oracle: Arc<Oracle>,
    sabotage: Option<Sabotage>,
    /// By term: the newest vote that was written.
    votes: Mutex<BTreeMap<u64, Write>>,
}

impl SimulatedEngine {
    /// Puts the vote of the term before in the place of the newest, if that is broken on purpose.
    fn forget_vote(&self) {
        let mut votes = self.votes.lock().unwrap();
        if self.sabotage != Some(Sabotage::ForgetsVote) || votes.len() < 2 {
            return;
        }
        votes.pop_last();
        if let Some(before) = votes.last_entry() {
            let (key, value) = (before.get().key.clone(), before.get().value.clone());
            let mut batch = Batch::new();
            batch.put(Keyspace::Vote, key, value.unwrap_or_default());
            self.engine.commit(batch, Durability::Synced).unwrap();
        }
    }
}

impl Reader for SimulatedEngine {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        if self.sabotage == Some(Sabotage::AppliesTwice) && space == Keyspace::Requests {
            return Ok(None);
        }
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

impl Engine for SimulatedEngine {
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        self.oracle.note(batch.writes());
        for write in batch.writes() {
            if let Some(term) = voted_in(write) {
                self.votes.lock().unwrap().insert(term, write.clone());
            }
        }
        let is_entry = batch.writes().iter().any(|write| write.space == Keyspace::Log);
        let is_skipped = self.sabotage == Some(Sabotage::SkipsSync) && is_entry;
        self.engine.commit(batch, if is_skipped { Durability::Buffered } else { durability })
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.engine.sync()
    }

    fn view(&self) -> Box<dyn Reader> {
        self.engine.view()
    }

    fn close(&self) -> Result<(), StorageError> {
        self.engine.close()
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn fault(&self) -> Option<String> {
        None
    }
}
