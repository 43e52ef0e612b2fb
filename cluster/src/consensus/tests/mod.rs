//! Tests of consensus from inside: its stores without `openraft` around them.

mod append;
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
use twinmcp_storage::engine::{Engine, EngineKind, FjallOptions, Keyspace, MemoryEngine, Pair, Reader};
use twinmcp_storage::record;

use super::apply::{Applier, Parts};
use super::entry::{self, Commands, Content, Kind, Requests};
use super::health::Health;
use super::log::LogStore;
use super::machine::StateMachine;
use super::requests::Request;
use super::snapshot::SnapshotStore;
use super::types::{Entry, LeaderId, LogId, Payload};
use super::work::Work;
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
    let snapshots = SnapshotStore::open(GROUP, Arc::clone(&raft), Work::Threads, health.clone()).unwrap();
    let log = LogStore::open(GROUP, raft, health.clone(), Work::Threads).unwrap();
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

/// An entry of commands, as the leader forms it; no two entries have requests with one number.
fn entry_of(index: u64, at: u64, commands: &[Command]) -> Entry {
    let request = |(place, command): (u64, &Command)| {
        let sequence = index * 1_000 + place;
        let command = record::encode(command).unwrap();
        Request { node: 1, boot: 1, sequence, done_below: sequence, command }
    };
    let requests = (0..).zip(commands).map(request).collect();
    let body = Requests { at: Timestamp::from_millis(at), requests };
    let content = Content::new(Kind::Requests, postcard::to_stdvec(&body).unwrap(), Vec::new());
    Entry { log_id: log_id(index), payload: Payload::Normal(content) }
}

/// The commands in an entry, of whatever kind.
fn commands_of(entry: &Entry) -> Vec<Command> {
    let Payload::Normal(content) = &entry.payload else { return Vec::new() };
    let index = entry.log_id.index;
    let encoded = match content.kind {
        Kind::Commands => entry::body::<Commands>(index, content).unwrap().commands,
        Kind::Requests => {
            let body: Requests = entry::body(index, content).unwrap();
            body.requests.into_iter().map(|request| request.command).collect()
        }
        _ => Vec::new(),
    };
    encoded.iter().map(|bytes| record::decode(bytes).unwrap()).collect()
}

/// Everything in these keyspaces.
fn contents(engine: &dyn Reader, spaces: &[Keyspace]) -> Vec<(Keyspace, Vec<Pair>)> {
    spaces.iter().map(|&space| (space, engine.scan(space, &[], None, usize::MAX).unwrap())).collect()
}
