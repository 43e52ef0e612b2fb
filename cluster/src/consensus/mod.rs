//! Consensus of one group, over `openraft`.
//!
//! `propose.rs` brings commands to the leader, whose `queue.rs` makes entries of them, `log.rs` keeps entries,
//! `network.rs` and `serve.rs` carry them to peers, `apply.rs` puts committed ones into the state, `snapshot.rs` lets the
//! log be cut, `members.rs` changes who takes part. [`Consensus`] starts and stops them.
//!
//! Invariant: `openraft` is named below this module only, and never in anything public.

mod apply;
mod beat;
mod dump;
mod entry;
mod freshness;
mod health;
mod log;
mod machine;
mod members;
mod messages;
mod network;
mod owed;
mod propose;
mod queue;
mod records;
mod recover;
mod requests;
mod serve;
mod snapshot;
mod start;
mod tail;
#[cfg(test)]
mod tests;
mod types;
mod work;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tracing::{info, warn};
use twinmcp_storage::clock::{Clock, Entropy};
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{Engine, Keyspace, Reader, StorageError};

use self::apply::Applier;
use self::beat::beat;
use self::freshness::Freshness;
use self::health::Health;
use self::machine::StateMachine;
use self::members::{Leading, Members};
pub(crate) use self::messages::MemberChange;
use self::network::Network;
use self::propose::Proposer;
use self::queue::{Former, Queue};
use self::records::{ClusterRecord, NodeRecord};
pub use self::recover::Survivor;
pub(crate) use self::recover::{force_alone, restore};
use self::requests::Numbers;
use self::serve::Service;
use self::snapshot::SnapshotStore;
pub use self::start::BUILD_VERSION;
pub(crate) use self::start::{ROTATION_VERSION, VOTERS_VERSION};
use self::start::{begin, open, settings, start_error, start_failed};
use self::tail::Tail;
use self::types::Raft;
#[cfg(test)]
pub(crate) use self::work::Disk;
pub(crate) use self::work::Work;
use self::writer::Writer;
use crate::changes::{ChangeFeed, Changes};
use crate::config::ClusterConfig;
use crate::error::ClusterError;
use crate::handle::Applied;
use crate::installing::Before;
use crate::metrics::Metrics;
use crate::peer::{PeerServer, PeerService, Peers, Transport};
use crate::status::{ClusterId, ClusterStatus, GroupId, MemberStatus, NodeId, Role, StopReason};

/// The way to peers, and what they may ask besides agreement.
pub(crate) struct Peering {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) others: Option<Arc<dyn PeerService>>,
}

/// One group's consensus, running.
pub(crate) struct Consensus {
    config: ClusterConfig,
    cluster_id: ClusterId,
    raft: Raft,
    queue: Arc<Queue>,
    proposer: Proposer,
    members: Members,
    peers: Arc<Peers>,
    transport: Arc<dyn Transport>,
    serving: watch::Sender<bool>,
    work: Work,
    writer: Writer,
    tail: Arc<Tail>,
    applier: Arc<Applier>,
    snapshots: SnapshotStore,
    freshness: Arc<Freshness>,
    changes: ChangeFeed,
    health: Health,
    stopped: watch::Sender<Option<StopReason>>,
}

impl Consensus {
    /// Starts this node's part, and returns once a leader is known and everything committed before
    /// is applied.
    pub(crate) async fn start(
        config: ClusterConfig,
        engines: (Arc<dyn Engine>, Arc<dyn Engine>),
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        peering: Peering,
        work: Work,
    ) -> Result<Self, ClusterError> {
        config.check()?;
        let health = Health::default();
        let metrics = Arc::new(Metrics::new(config.group_id));
        let changes = ChangeFeed::new(config.changes_max);
        let open = {
            let (config, health, work) = (config.clone(), health.clone(), work.clone());
            let (changes, metrics) = (changes.clone(), Arc::clone(&metrics));
            move || open(&config, engines, changes, health, metrics, work)
        };
        let opened = work.run(open).await.map_err(start_failed)??;
        let (writer, tail) = (opened.log.writer(), opened.log.tail());
        let (applier, snapshots) = (Arc::clone(&opened.applier), opened.snapshots.clone());

        let state_machine = StateMachine::new(Arc::clone(&applier), snapshots.clone());
        let settings = Arc::new(settings(&config)?);
        let peers = Arc::new(Peers::new(Arc::clone(&peering.transport), config.patience()));
        let network = Network { group: config.group_id, peers: Arc::clone(&peers), work: work.clone() };
        let raft = Raft::new(config.node_id.0, settings, network, opened.log, state_machine).await;
        let raft = match raft {
            Ok(raft) => raft,
            Err(error) => {
                writer.stop().await;
                return Err(start_error(&health, error));
            }
        };
        let former = Former {
            raft: raft.clone(),
            applier: Arc::clone(&applier),
            clock: Arc::clone(&clock),
            health: health.clone(),
            metrics: Arc::clone(&metrics),
        };
        let queue = Arc::new(Queue::start(&config, former));
        // Peers are answered from now on: nobody else may lead before this node has given its vote.
        let serving = watch::Sender::new(false);
        let freshness = Arc::new(Freshness::new(raft.clone(), applier.applied()));
        freshness.observe(config.group_id);
        let leading = Arc::new(Leading::new(raft.clone(), Arc::clone(&applier)));
        let service = Service {
            group: config.group_id,
            raft: raft.clone(),
            leading: Arc::clone(&leading),
            freshness: Arc::clone(&freshness),
            queue: Arc::clone(&queue),
            snapshots: snapshots.clone(),
            health: health.clone(),
            others: peering.others,
        };
        let patience = config.patience();
        let transport = Arc::clone(&peering.transport);
        let server = PeerServer { transport: peering.transport, service: Arc::new(service), patience };
        tokio::spawn(server.run(serving.subscribe()));
        tokio::spawn(beat(raft.clone(), config.heartbeat_ms));
        let begun = match begin(&config, &raft, (&applier, &snapshots), &*clock, entropy).await {
            Ok(begun) => begun,
            Err(error) => {
                serving.send_replace(true);
                queue.close(Duration::ZERO).await;
                // Its error, if any, is the one that is answered here.
                let _ = raft.shutdown().await;
                writer.stop().await;
                return Err(match health.failure() {
                    Some(reason) => ClusterError::Start { reason: reason.to_owned() },
                    None => error,
                });
            }
        };
        let proposer = Proposer {
            group: config.group_id,
            node: config.node_id.0,
            audit_keep: config.audit_keep,
            raft: raft.clone(),
            queue: Arc::clone(&queue),
            numbers: Arc::new(Numbers::new(config.node_id.0, opened.boot)),
            peers: Arc::clone(&peers),
            applier: Arc::clone(&applier),
            health: health.clone(),
            metrics: Arc::clone(&metrics),
        };
        let members =
            Members { group: config.group_id, raft: raft.clone(), peers: Arc::clone(&peers), leading };
        let stopped = watch::Sender::new(None);
        watch_core(&raft, metrics, changes.clone(), health.clone(), stopped.clone());
        info!(cluster_id = %begun, node_id = %config.node_id, group = %config.group_id, "consensus has started");
        Ok(Self {
            config,
            cluster_id: begun,
            raft,
            queue,
            proposer,
            members,
            peers,
            transport,
            serving,
            work,
            writer,
            tail,
            applier,
            snapshots,
            freshness,
            changes,
            health,
            stopped,
        })
    }

    pub(crate) async fn propose(
        &self,
        command: Command,
        deadline: Duration,
    ) -> Result<Applied, ClusterError> {
        self.proposer.propose(command, deadline).await
    }

    /// How old the state is at most.
    pub(crate) fn state_age(&self) -> Duration {
        self.freshness.age()
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// Where this node does what blocks.
    pub(crate) fn work(&self) -> &Work {
        &self.work
    }

    /// Between two heartbeats of a leader.
    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.config.heartbeat_ms)
    }

    /// Returns once what was applied so far would survive a power cut.
    pub(crate) async fn persist(&self) -> std::io::Result<()> {
        let applier = Arc::clone(&self.applier);
        self.work.run(move || applier.sync()).await?
    }

    /// The way to peers.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The newest entry that a read which begins now must see.
    pub(crate) async fn read_index(&self, deadline: Duration) -> Result<u64, ClusterError> {
        self.members.read_index(deadline).await
    }

    /// Changes who takes part.
    pub(crate) async fn change_members(
        &self,
        change: &MemberChange,
        deadline: Duration,
    ) -> Result<(), ClusterError> {
        self.members.change(change, deadline).await
    }

    /// Who should lead in place of this node, which does, and one that `goes` only when all do; nobody where it votes alone.
    pub(crate) fn successor(&self, goes: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        members::successor(&self.raft, |voter| goes(NodeId(voter))).map(NodeId)
    }

    pub(crate) fn changes(&self) -> Changes {
        self.changes.subscribe()
    }

    /// What readers see while a snapshot takes the state's place.
    pub(crate) fn before(&self) -> Before {
        self.applier.before()
    }

    /// How far the state is, each time it moves.
    pub(crate) fn applied(&self) -> watch::Receiver<Option<u64>> {
        self.applier.applied()
    }

    /// Makes a snapshot and cuts the log behind it.
    #[cfg(test)]
    pub(crate) async fn snapshot_now(&self) {
        self.raft.trigger().snapshot().await.unwrap();
        let applied = self.status().applied_index.unwrap();
        let is_there = |metrics: &openraft::RaftMetrics<types::Types>| {
            metrics.snapshot.is_some_and(|snapshot| snapshot.index >= applied)
        };
        self.raft.wait(None).metrics(is_there, "a snapshot").await.unwrap();
        self.raft.trigger().purge_log(applied).await.unwrap();
        let is_cut = |metrics: &openraft::RaftMetrics<types::Types>| {
            metrics.purged.is_some_and(|purged| purged.index >= applied)
        };
        self.raft.wait(None).metrics(is_cut, "a cut log").await.unwrap();
    }

    pub(crate) fn stopped(&self) -> watch::Receiver<Option<StopReason>> {
        self.stopped.subscribe()
    }

    pub(crate) fn status(&self) -> ClusterStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let role = match (&metrics.running_state, metrics.state) {
            (Err(_), _) | (_, ServerState::Shutdown) => Role::Stopped,
            (_, ServerState::Leader) => Role::Leader,
            (_, ServerState::Follower) => Role::Follower,
            (_, ServerState::Candidate) => Role::Candidate,
            (_, ServerState::Learner) => Role::Learner,
        };
        ClusterStatus {
            cluster_id: self.cluster_id,
            node_id: self.config.node_id,
            group_id: self.config.group_id,
            role,
            members: members(&metrics),
            version: self.applier.version(),
            leader: metrics.current_leader.filter(|_| role != Role::Stopped).map(NodeId),
            term: metrics.current_term,
            last_log_index: self.tail.bounds().1.map(|last| last.index),
            applied_index: *self.applier.applied().borrow(),
            snapshot_index: self.snapshots.position().0.map(|position| position.index),
            unhealthy: self.health.failure().map(ToOwned::to_owned),
        }
    }

    /// Answers what was proposed, then ends this node's part. The engines stay open.
    pub(crate) async fn stop(&self) {
        self.queue.close(self.config.stop_deadline).await;
        self.stopped.send_if_modified(|reason| {
            let is_first = reason.is_none();
            reason.get_or_insert(StopReason::Shutdown);
            is_first
        });
        self.serving.send_replace(true);
        if let Err(error) = self.raft.shutdown().await {
            warn!(error = %error, "consensus did not stop cleanly");
        }
        self.writer.stop().await;
        self.changes.close();
    }
}

/// A handle that was dropped without a shutdown: nothing may go on behind its owner's back.
impl Drop for Consensus {
    fn drop(&mut self) {
        if self.stopped.borrow().is_some() {
            return;
        }
        let (raft, writer) = (self.raft.clone(), self.writer.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            warn!("the cluster was dropped without a shutdown");
            runtime.spawn(async move {
                let _ = raft.shutdown().await;
                writer.stop().await;
            });
        }
    }
}

fn members(metrics: &openraft::RaftMetrics<types::Types>) -> Vec<MemberStatus> {
    let membership = metrics.membership_config.membership();
    let voters: std::collections::BTreeSet<u64> = membership.voter_ids().collect();
    let members = membership.nodes().map(|(node, member)| MemberStatus {
        node_id: NodeId(*node),
        address: member.address.clone(),
        is_voter: voters.contains(node),
    });
    members.collect()
}

/// Keeps metrics, and says so when `openraft` has stopped.
fn watch_core(
    raft: &Raft,
    metrics: Arc<Metrics>,
    changes: ChangeFeed,
    health: Health,
    stopped: watch::Sender<Option<StopReason>>,
) {
    let mut server = raft.server_metrics();
    let all = raft.metrics();
    tokio::spawn(async move {
        let mut led = None;
        loop {
            let leads = {
                let server = server.borrow_watched();
                server.current_leader.map(|leader| (leader, server.vote.leader_id.term))
            };
            metrics.leader(leads.is_some(), leads.is_some() && leads != led);
            led = leads.or(led);
            if server.changed().await.is_err() {
                break;
            }
        }
        metrics.leader(false, false);
        if stopped.borrow().is_none() {
            if let Err(error) = &all.borrow_watched().running_state {
                health.fail(error);
            }
            let message = health.failure().unwrap_or("it ended by itself").to_owned();
            stopped.send_replace(Some(StopReason::Failed { message }));
        }
        changes.close();
    });
}

/// The whole agreed state of `state` as a stream.
pub(crate) fn dump(state: &dyn Reader, out: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut out = out;
    dump::write(state, |bytes| out(bytes).map_err(dump::DumpError::from)).map_err(std::io::Error::from)
}

/// Whose data lies on the log's engine.
pub(crate) fn recorded_node(raft: &dyn Reader) -> Result<Option<NodeId>, StorageError> {
    let group = GroupId::default();
    let record: Option<NodeRecord> = records::read(raft, Keyspace::Vote, group, records::NODE)?;
    Ok(record.map(|record| NodeId(record.node)))
}

/// Which cluster's state lies on the state engine.
pub(crate) fn recorded_id(state: &dyn Reader) -> Result<Option<ClusterId>, StorageError> {
    let group = GroupId::default();
    let record: Option<ClusterRecord> = records::read(state, Keyspace::Meta, group, records::CLUSTER)?;
    Ok(record.map(|record| ClusterId(record.id)))
}

/// Syncs and closes both engines; both are tried.
pub(crate) fn close_engines(state: &dyn Engine, raft: &dyn Engine) -> Result<(), StorageError> {
    let state = state.close();
    raft.close().and(state)
}

/// Which entry a write to the state says was applied; `Some(None)` when it says that none was.
#[cfg(test)]
pub(crate) fn applied_by(write: &twinmcp_storage::engine::Write) -> Option<Option<u64>> {
    let is_applied = write.space == Keyspace::Meta && write.key.ends_with(records::APPLIED.as_bytes());
    is_applied.then(|| {
        let record: records::AppliedRecord = twinmcp_storage::record::decode(write.value.as_ref()?).ok()?;
        Some(record.position.index)
    })
}

/// The term of the vote that is written, if this writes one.
#[cfg(test)]
pub(crate) fn voted_in(write: &twinmcp_storage::engine::Write) -> Option<u64> {
    let is_vote = write.space == Keyspace::Vote && write.key.ends_with(records::VOTE.as_bytes());
    let record = twinmcp_storage::record::decode::<records::VoteRecord>(write.value.as_ref()?);
    is_vote.then(|| Some(types::Vote::from(record.ok()?).leader_id.term))?
}

/// See [`crate::fuzzing::log_entry`].
#[cfg(fuzzing)]
pub(crate) fn fuzz_log_entry(bytes: &[u8]) {
    let group = bytes.get(3..7).and_then(|group| group.try_into().ok()).map_or(0, u32::from_be_bytes);
    let index = bytes.get(23..31).and_then(|index| index.try_into().ok()).map_or(0, u64::from_be_bytes);
    let group = crate::status::GroupId(group);
    if let Ok(entry) = entry::decode(group, index, bytes) {
        let _ = entry::encode(group, &entry);
    }
}
