//! What a start does before anybody can propose: opens the stores, refuses data it must not touch,
//! forms a group of one where there is none, and waits until what was committed is applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use twinmcp_storage::clock::{Clock, Entropy, Timestamp};
use twinmcp_storage::engine::{Batch, Durability, Engine, Keyspace};
use twinmcp_storage::record;

use super::apply::{Applier, Parts};
use super::entry::{Content, Founding, Kind};
use super::health::Health;
use super::log::LogStore;
use super::records::{self, NodeRecord};
use super::snapshot::SnapshotStore;
use super::types::{Member, Raft};
use crate::changes::ChangeFeed;
use crate::config::ClusterConfig;
use crate::error::ClusterError;
use crate::metrics::Metrics;
use crate::status::ClusterId;

/// Entries `openraft` hands to a peer at once.
const REPLICATED_ENTRIES_MAX: u64 = 64;

/// What is opened before anything runs.
pub(super) struct Opened {
    pub(super) log: LogStore,
    pub(super) snapshots: SnapshotStore,
    pub(super) applier: Arc<Applier>,
}

/// Opens the stores of this node.
pub(super) fn open(
    config: &ClusterConfig,
    state: Arc<dyn Engine>,
    raft: Arc<dyn Engine>,
    changes: ChangeFeed,
    health: Health,
    metrics: Arc<Metrics>,
) -> Result<Opened, ClusterError> {
    check_node(config, &*state, &*raft)?;
    let group = config.group_id;
    let snapshots = SnapshotStore::open(group, Arc::clone(&raft)).map_err(ClusterError::Storage)?;
    let log = LogStore::open(group, raft, health.clone())?;
    let tail = log.tail();
    let parts = Parts { group, engine: state, tail, changes, health, metrics };
    let applier = Arc::new(Applier::open(parts).map_err(ClusterError::Storage)?);
    Ok(Opened { log, snapshots, applier })
}

/// Refuses another node's data, and a state whose log is gone: a vote that was given must not be
/// forgotten.
fn check_node(config: &ClusterConfig, state: &dyn Engine, raft: &dyn Engine) -> Result<(), ClusterError> {
    let group = config.group_id;
    let wanted = NodeRecord { node: config.node_id.0, group: group.0 };
    let failed = ClusterError::Storage;
    match records::read(raft, Keyspace::Vote, group, records::NODE).map_err(failed)? {
        Some(found) if found == wanted => Ok(()),
        Some(NodeRecord { node, group }) => Err(ClusterError::WrongNode {
            found: node,
            found_group: group,
            wanted: wanted.node,
            wanted_group: wanted.group,
        }),
        None if state
            .get(Keyspace::Meta, &records::key(group, records::APPLIED))
            .map_err(failed)?
            .is_some() =>
        {
            Err(ClusterError::Start {
                reason: "there is a state but no log that made it; restore a backup into an empty \
                         directory, or put the log's directory back"
                    .to_owned(),
            })
        }
        None => {
            let mut batch = Batch::new();
            let record = record::encode(&wanted).map_err(failed)?;
            batch.put(Keyspace::Vote, records::key(group, records::NODE), record);
            raft.commit(batch, Durability::Synced).map_err(failed)
        }
    }
}

/// `openraft`'s settings.
pub(super) fn settings(config: &ClusterConfig) -> Result<openraft::Config, ClusterError> {
    let settings = openraft::Config {
        cluster_name: format!("group-{}", config.group_id),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: config.election_min_ms,
        election_timeout_max: config.election_max_ms,
        max_payload_entries: REPLICATED_ENTRIES_MAX,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(config.snapshot_every_entries),
        max_in_snapshot_log_to_keep: config.snapshot_keep_entries,
        enable_pre_vote: Some(true),
        ..openraft::Config::default()
    };
    settings.validate().map_err(|error| ClusterError::Config { message: error.to_string() })
}

/// Forms a group of this node alone if there is none, waits until what was committed is applied, and
/// founds the cluster if nobody has.
pub(super) async fn begin(
    config: &ClusterConfig,
    raft: &Raft,
    applier: &Applier,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<ClusterId, ClusterError> {
    if !raft.is_initialized().await.map_err(start_failed)? {
        let members = BTreeMap::from([(config.node_id.0, Member::default())]);
        raft.initialize(members).await.map_err(start_failed)?;
    } else if !raft.is_leader() && raft.voter_ids().eq([config.node_id.0]) {
        // Nobody else can lead: there is no need to wait for silence.
        raft.trigger().elect(false).await.map_err(start_failed)?;
    }
    let deadline = Some(config.start_deadline);
    let recovered = raft.wait_for_recovery(deadline).await.map_err(start_failed)?;
    if recovered.current_leader.is_none() {
        let has_leader = |metrics: &openraft::RaftMetrics<_>| metrics.current_leader.is_some();
        raft.wait(deadline).metrics(has_leader, "a leader is known").await.map_err(start_failed)?;
    }
    if let Some(id) = applier.cluster_id().map_err(ClusterError::Storage)? {
        return Ok(id);
    }
    found(raft, applier.stamped().max(clock.now()), entropy).await?;
    let id = applier.cluster_id().map_err(ClusterError::Storage)?;
    id.ok_or_else(|| start_failed("the founding entry was not applied"))
}

/// Gives the cluster its id. Through the log, so that every node that ever joins has the same id from
/// the same entry, and a snapshot carries it.
async fn found(raft: &Raft, at: Timestamp, entropy: &dyn Entropy) -> Result<(), ClusterError> {
    let mut cluster_id = [0; 16];
    entropy.fill(&mut cluster_id).map_err(ClusterError::Entropy)?;
    let body = postcard::to_stdvec(&Founding { at, cluster_id }).map_err(start_failed)?;
    let content = Content::new(Kind::Founding, body, Vec::new());
    raft.client_write(content).await.map_err(start_failed)?;
    Ok(())
}

pub(super) fn start_failed(error: impl ToString) -> ClusterError {
    ClusterError::Start { reason: error.to_string() }
}

/// What ended it is told by whoever noticed; `openraft` only knows that something did.
pub(super) fn start_error(health: &Health, error: impl ToString) -> ClusterError {
    match health.failure() {
        Some(reason) => ClusterError::Start { reason: reason.to_owned() },
        None => start_failed(error),
    }
}
