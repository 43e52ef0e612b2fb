//! What a start does before anybody can propose: opens the stores, refuses data it must not touch,
//! forms a group of one where there is none or waits to be let into one, and waits until what was committed is applied.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{ClientWriteError, RaftError};
use twinmcp_storage::clock::{Clock, Entropy, Timestamp};
use twinmcp_storage::engine::{Batch, Durability, Engine, Keyspace, StorageError};
use twinmcp_storage::record;

use super::apply::{Applier, Parts};
use super::beat::patience_ms;
use super::entry::{Content, Founding, Kind, Upgrade};
use super::health::Health;
use super::log::LogStore;
use super::records::{self, BootRecord, NodeRecord};
use super::snapshot::SnapshotStore;
use super::types::{Member, Raft, Types};
use super::work::Work;
use crate::changes::ChangeFeed;
use crate::config::ClusterConfig;
use crate::error::ClusterError;
use crate::metrics::Metrics;
use crate::status::ClusterId;

/// Since this version of the cluster proposals have numbers, and are done once however often they are sent.
pub(super) const REQUESTS_VERSION: u32 = 2;
/// Since this version of the cluster its key and its authority can be replaced.
pub(crate) const ROTATION_VERSION: u32 = 3;
/// Since this version of the cluster the leader sees to it that voters fail apart.
pub(crate) const VOTERS_VERSION: u32 = 3;
/// The newest version of a cluster that this build takes part in.
///
/// Since 3 it agrees on people; what a command needs is said by [`Command::since`](twinmcp_storage::command::Command::since).
pub const BUILD_VERSION: u32 = 3;

/// Entries `openraft` hands to a peer at once.
const REPLICATED_ENTRIES_MAX: u64 = 64;

/// What is opened before anything runs.
pub(super) struct Opened {
    pub(super) log: LogStore,
    pub(super) snapshots: SnapshotStore,
    pub(super) applier: Arc<Applier>,
    /// Which of this node's starts it is.
    pub(super) boot: u64,
}

/// Opens the stores of this node.
pub(super) fn open(
    config: &ClusterConfig,
    (state, raft): (Arc<dyn Engine>, Arc<dyn Engine>),
    changes: ChangeFeed,
    health: Health,
    metrics: Arc<Metrics>,
    work: Work,
) -> Result<Opened, ClusterError> {
    check_node(config, &*state, &*raft)?;
    let group = config.group_id;
    let boot = count_boot(config, &*raft).map_err(ClusterError::Storage)?;
    let snapshots = SnapshotStore::open(group, Arc::clone(&raft), work.clone(), health.clone())
        .map_err(ClusterError::Storage)?;
    let log = LogStore::open(group, raft, health.clone(), work)?;
    let tail = log.tail();
    let parts = Parts { group, engine: state, tail, changes, health, metrics };
    let applier = Arc::new(Applier::open(parts).map_err(ClusterError::Storage)?);
    cover_hole(&log, &snapshots, &applier).map_err(start_failed)?;
    Ok(Opened { log, snapshots, applier, boot })
}

/// The log can end before the state: what a failing disk did not take was agreed on by the others, and applied. `openraft`
/// lets the log begin anew behind the state then, and a log that begins somewhere needs a snapshot that goes as far: for
/// peers that are behind, and because `openraft` stops without.
fn cover_hole(log: &LogStore, snapshots: &SnapshotStore, applier: &Applier) -> io::Result<()> {
    let ((purged, last), (applied, _)) = (log.tail().bounds(), applier.applied_state()?);
    let begins_after = if last < applied { applied } else { purged };
    if snapshots.position().0 < begins_after {
        applier.sync()?;
        snapshots.build(&*applier.view())?;
    }
    Ok(())
}

/// Numbers of requests begin again with each start, so the start is part of them.
fn count_boot(config: &ClusterConfig, raft: &dyn Engine) -> Result<u64, StorageError> {
    let before: Option<BootRecord> = records::read(raft, Keyspace::Vote, config.group_id, records::BOOT)?;
    let boot = before.unwrap_or_default().boot + 1;
    let mut batch = Batch::new();
    let key = records::key(config.group_id, records::BOOT);
    batch.put(Keyspace::Vote, key, record::encode(&BootRecord { boot })?);
    raft.commit(batch, Durability::Synced)?;
    Ok(boot)
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
        // To it, how long a heartbeat waits for an answer. When one is sent is said by `beat`.
        heartbeat_interval: patience_ms(config),
        enable_heartbeat: false,
        election_timeout_min: config.election_min_ms,
        election_timeout_max: config.election_max_ms,
        max_payload_entries: REPLICATED_ENTRIES_MAX,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(config.snapshot_every_entries),
        max_in_snapshot_log_to_keep: config.snapshot_keep_entries,
        enable_pre_vote: Some(true),
        // Peers may hold entries that it lost with the power before they were on its own disk: leading on in the same
        // term it would give their places to others, and nobody could tell the two apart.
        enable_leader_restore: Some(config.address.is_empty()),
        install_snapshot_timeout: millis(config.snapshot_deadline),
        ..openraft::Config::default()
    };
    settings.validate().map_err(|error| ClusterError::Config { message: error.to_string() })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Forms a group of this node alone if there is none, waits until what was committed is applied, and
/// founds the cluster if nobody has. A node that joins waits until it has the cluster's state; one that comes back to
/// its peers waits a while for them, and then answers reads from what it has.
pub(super) async fn begin(
    config: &ClusterConfig,
    raft: &Raft,
    (applier, snapshots): (&Applier, &SnapshotStore),
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<ClusterId, ClusterError> {
    let is_initialized = raft.is_initialized().await.map_err(start_failed)?;
    if is_initialized && !raft.voter_ids().eq([config.node_id.0]) || config.joins && !is_initialized {
        return rejoin(config, raft, applier, snapshots).await;
    }
    if !is_initialized {
        let member = Member { address: config.address.clone() };
        raft.initialize(BTreeMap::from([(config.node_id.0, member)])).await.map_err(start_failed)?;
    } else if !raft.is_leader() {
        // Nobody else can lead: there is no need to wait for silence.
        raft.trigger().elect(false).await.map_err(start_failed)?;
    }
    let deadline = Some(config.start_deadline);
    let recovered = raft.wait_for_recovery(deadline).await.map_err(start_failed)?;
    if recovered.current_leader.is_none() {
        let has_leader = |metrics: &openraft::RaftMetrics<_>| metrics.current_leader.is_some();
        raft.wait(deadline).metrics(has_leader, "a leader is known").await.map_err(start_failed)?;
    }
    let at = applier.stamped().max(clock.now());
    if applier.cluster_id().map_err(ClusterError::Storage)?.is_none() {
        found(raft, at, entropy).await?;
    }
    // Alone, nobody is left behind.
    let others = raft.learner_ids().filter(|learner| *learner != config.node_id.0).count();
    if others == 0 && applier.version() < BUILD_VERSION {
        upgrade(raft, at, BUILD_VERSION).await.map_err(start_failed)?;
    }
    let id = applier.cluster_id().map_err(ClusterError::Storage)?;
    id.ok_or_else(|| start_failed("the founding entry was not applied"))
}

async fn rejoin(
    config: &ClusterConfig,
    raft: &Raft,
    applier: &Applier,
    snapshots: &SnapshotStore,
) -> Result<ClusterId, ClusterError> {
    let known = applier.cluster_id().map_err(ClusterError::Storage)?;
    let patience = if known.is_some() { config.rejoin_patience } else { config.start_deadline };
    let applied = applier.applied();
    let progress = || snapshots.taken() + applier.before().written() + applied.borrow().unwrap_or_default();
    let mut seen = progress();
    while let Err(late) = raft.wait_for_recovery(Some(patience)).await {
        let now = progress();
        // A large state takes its time; as long as it comes in, somebody has let this node in.
        if known.is_none() && now > seen {
            seen = now;
            continue;
        }
        let Some(id) = known else {
            let reason = format!("no member has let this node in within {} s: {late}", patience.as_secs());
            return Err(start_failed(reason));
        };
        tracing::warn!(cluster_id = %id, "no peer was reached: reads are answered from what is here");
        return Ok(id);
    }
    let id = applier.cluster_id().map_err(ClusterError::Storage)?;
    id.ok_or_else(|| start_failed("the state of the cluster has no id"))
}

/// Raises what every node of the cluster can read.
pub(super) async fn upgrade(
    raft: &Raft,
    at: Timestamp,
    version: u32,
) -> Result<(), RaftError<Types, ClientWriteError<Types>>> {
    // Two numbers can always be encoded.
    let body = postcard::to_stdvec(&Upgrade { at, version }).unwrap_or_default();
    raft.client_write(Content::new(Kind::Upgrade, body, Vec::new())).await.map(drop)
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
