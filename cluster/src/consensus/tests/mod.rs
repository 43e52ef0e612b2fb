//! Tests of consensus from inside: its stores without `openraft` around them.

mod commands;
mod crash;
mod identical;
mod install;
mod newer;
mod suite;

use std::path::Path;
use std::sync::Arc;

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{Engine, EngineKind, FjallOptions, Keyspace, MemoryEngine, Pair};
use twinmcp_storage::record;

use super::apply::{Applier, Parts};
use super::entry::{Commands, Content, Kind};
use super::health::Health;
use super::log::LogStore;
use super::machine::StateMachine;
use super::snapshot::SnapshotStore;
use super::types::{Entry, LeaderId, LogId, Payload};
use crate::changes::ChangeFeed;
use crate::metrics::Metrics;
use crate::status::GroupId;

const GROUP: GroupId = GroupId(0);

struct Stores {
    state: Arc<dyn Engine>,
    log: LogStore,
    applier: Arc<Applier>,
    machine: StateMachine,
    changes: ChangeFeed,
}

/// The stores of one node, as a start opens them.
fn open(state: Arc<dyn Engine>, raft: Arc<dyn Engine>) -> Stores {
    let health = Health::default();
    let snapshots = SnapshotStore::open(GROUP, Arc::clone(&raft)).unwrap();
    let log = LogStore::open(GROUP, raft, health.clone()).unwrap();
    let changes = ChangeFeed::new(16);
    let parts = Parts {
        group: GROUP,
        engine: Arc::clone(&state),
        tail: log.tail(),
        changes: changes.clone(),
        health,
        metrics: Arc::new(Metrics::new(GROUP)),
    };
    let applier = Arc::new(Applier::open(parts).unwrap());
    let machine = StateMachine::new(Arc::clone(&applier), snapshots);
    Stores { state, log, applier, machine, changes }
}

fn in_memory() -> Stores {
    open(Arc::new(MemoryEngine::new(Keyspace::STATE)), Arc::new(MemoryEngine::new(Keyspace::RAFT)))
}

fn on_disk(kind: EngineKind, folder: &Path) -> Stores {
    let engine =
        |name: &str, spaces| kind.open(&folder.join(name), spaces, &FjallOptions::default()).unwrap();
    open(engine("state", Keyspace::STATE), engine("raft", Keyspace::RAFT))
}

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId { term: 1, node_id: 1 }, index)
}

/// An entry of commands, as the leader forms it.
fn entry_of(index: u64, at: u64, commands: &[Command]) -> Entry {
    let commands = commands.iter().map(|command| record::encode(command).unwrap()).collect();
    let body = Commands { at: Timestamp::from_millis(at), commands };
    let content = Content::new(Kind::Commands, postcard::to_stdvec(&body).unwrap(), Vec::new());
    Entry { log_id: log_id(index), payload: Payload::Normal(content) }
}

/// Everything in these keyspaces.
fn contents(engine: &dyn Engine, spaces: &[Keyspace]) -> Vec<(Keyspace, Vec<Pair>)> {
    spaces.iter().map(|&space| (space, engine.scan(space, &[], None, usize::MAX).unwrap())).collect()
}
