//! [`Cluster`]: the handle the rest of the program holds.

use std::future::Future;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tracing::instrument;
use twinmcp_storage::clock::{Clock, Entropy, Timestamp};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::{Engine, Reader, StorageError};

use crate::changes::Changes;
use crate::config::ClusterConfig;
use crate::consensus::{
    self, BUILD_VERSION, Consensus, MemberChange, Peering, Survivor, VOTERS_VERSION, Work,
};
use crate::desk::PING_PATH;
use crate::directory::Directory;
use crate::error::ClusterError;
use crate::installing::Readable;
use crate::peer::{Alone, Lane, PeerError, PeerService, Transport, bytes_body};
use crate::round_trip::RoundTrips;
use crate::status::{ClusterId, ClusterStatus, NodeId, Role, StopReason};
use crate::voters::VoterChoice;

/// Between two looks whether another node leads.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(100);

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// What the command did.
    pub outcome: Outcome,
    /// The log entry it was in: whoever reads on another node waits for it there, see
    /// [`Cluster::wait_applied`].
    pub log_index: u64,
}

/// This node's part in the cluster. Clones are cheap and share it.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

/// A [`Cluster`] that does not keep it: for what the cluster itself holds.
#[derive(Clone)]
pub(crate) struct WeakCluster {
    inner: Weak<Inner>,
}

impl WeakCluster {
    pub(crate) fn upgrade(&self) -> Option<Cluster> {
        self.inner.upgrade().map(|inner| Cluster { inner })
    }
}

struct Inner {
    consensus: Consensus,
    propose_deadline: Duration,
    state: Arc<dyn Engine>,
    /// The same for readers.
    readable: Readable,
    raft: Arc<dyn Engine>,
    directory: Directory,
    round_trips: RoundTrips,
    /// Whether both engines are closed.
    is_closed: Mutex<bool>,
}

impl Cluster {
    /// Starts this node: founds a cluster of one on empty engines, goes on where it was on others.
    ///
    /// `state` is opened with [`Keyspace::STATE`](twinmcp_storage::engine::Keyspace::STATE), `raft`
    /// with [`Keyspace::RAFT`](twinmcp_storage::engine::Keyspace::RAFT). Returns once a leader is known
    /// and everything this node ever answered for is applied, so that reads see their own writes also
    /// after a restart.
    ///
    /// # Errors
    /// [`ClusterError::Config`], [`ClusterError::WrongNode`], [`ClusterError::Storage`],
    /// [`ClusterError::Entropy`]; [`ClusterError::Start`] with a sentence for everything else, such as
    /// an entry of a later build in the log.
    pub async fn start(
        config: ClusterConfig,
        state: Arc<dyn Engine>,
        raft: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Self, ClusterError> {
        Self::start_among(config, state, raft, clock, entropy, Arc::new(Alone), None).await
    }

    /// As [`Self::start`], as one of several nodes: `transport` reaches the others, and `service` answers what they
    /// ask besides agreement. A node that comes back to peers it cannot reach starts all the same, and answers reads.
    ///
    /// # Errors
    /// As [`Self::start`]; [`ClusterError::Start`] also when nobody lets a node in that joins.
    pub async fn start_among(
        config: ClusterConfig,
        state: Arc<dyn Engine>,
        raft: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        transport: Arc<dyn Transport>,
        service: Option<Arc<dyn PeerService>>,
    ) -> Result<Self, ClusterError> {
        let peering = Peering { transport, others: service };
        Self::start_with(config, (state, raft), clock, entropy, peering, Work::Threads).await
    }

    /// As [`Self::start_among`]; `work` says where the node does what blocks.
    pub(crate) async fn start_with(
        config: ClusterConfig,
        (state, raft): (Arc<dyn Engine>, Arc<dyn Engine>),
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        peering: Peering,
        work: Work,
    ) -> Result<Self, ClusterError> {
        let propose_deadline = config.propose_deadline;
        let engines = (Arc::clone(&state), Arc::clone(&raft));
        let started = Consensus::start(config, engines, clock, entropy, peering, work);
        let consensus = Box::pin(started).await?;
        let is_closed = Mutex::new(false);
        let readable = Readable::new(Arc::clone(&state), consensus.before());
        Ok(Self {
            inner: Arc::new(Inner {
                consensus,
                propose_deadline,
                state,
                readable,
                raft,
                directory: Directory::default(),
                round_trips: RoundTrips::new(),
                is_closed,
            }),
        })
    }

    /// Whose data lies on the log's engine; nobody's on an empty one.
    ///
    /// # Errors
    /// When the engine cannot be read.
    pub fn recorded_node(raft: &dyn Reader) -> Result<Option<NodeId>, StorageError> {
        consensus::recorded_node(raft)
    }

    /// Which cluster's state lies on the state engine.
    ///
    /// # Errors
    /// When the engine cannot be read.
    pub fn recorded_id(state: &dyn Reader) -> Result<Option<ClusterId>, StorageError> {
        consensus::recorded_id(state)
    }

    /// Writes the agreed state as it is now to `out`: everything any node has answered for, and nothing half. Blocks.
    ///
    /// # Errors
    /// What `out` answers, or the store. Call [`Self::linearize`] before.
    pub fn backup(&self, out: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        consensus::dump(&*self.view(), out)
    }

    /// Puts what [`Self::backup`] has written onto two empty engines, as the state of a new cluster with one node.
    ///
    /// # Errors
    /// [`ClusterError::Start`] with a sentence: engines that hold something, a backup that is damaged or of a later build.
    pub fn restore(
        backup: &mut impl io::Read,
        state: &dyn Engine,
        raft: Arc<dyn Engine>,
        entropy: &dyn Entropy,
    ) -> Result<ClusterId, ClusterError> {
        consensus::restore(backup, state, raft, entropy)
    }

    /// Makes a node that does not run the only one of its cluster, with all that is in its log; for when a majority is
    /// lost for ever. The cluster gets a new name, so that the others are strangers should they come back.
    ///
    /// # Errors
    /// [`ClusterError::Start`] with a sentence when there is nothing to go on with.
    pub fn force_alone(
        state: &dyn Engine,
        raft: Arc<dyn Engine>,
        entropy: &dyn Entropy,
    ) -> Result<Survivor, ClusterError> {
        consensus::force_alone(state, raft, entropy)
    }

    /// Proposes a change and waits until it is agreed on, on disk and applied here, for as long as
    /// the configuration says. On a node that follows, a change that is agreed on is answered at the deadline also when
    /// this node has not applied it yet: [`Self::wait_applied`] with its log index tells when it has.
    ///
    /// Dropping the future does not take the change back.
    ///
    /// # Errors
    /// [`ClusterError::Busy`], [`ClusterError::NoLeader`], [`ClusterError::TooLarge`], [`ClusterError::TooOld`] and
    /// [`ClusterError::Failed`] say that nothing was proposed; after [`ClusterError::Deadline`],
    /// [`ClusterError::LeaderChanged`] and [`ClusterError::Stopped`] the change may still be applied, once.
    pub async fn propose(&self, command: Command) -> Result<Applied, ClusterError> {
        self.propose_within(command, self.inner.propose_deadline).await
    }

    /// As [`Self::propose`], with a deadline of its own.
    ///
    /// # Errors
    /// As [`Self::propose`].
    #[instrument(name = "consensus.propose", skip_all, fields(noun = command.noun()))]
    pub async fn propose_within(
        &self,
        command: Command,
        deadline: Duration,
    ) -> Result<Applied, ClusterError> {
        self.inner.consensus.propose(command, deadline).await
    }

    /// Returns once this node has applied all that any node had answered for when it was called: what is read then is
    /// what a single node would have read (linearizable).
    ///
    /// # Errors
    /// [`ClusterError::NoLeader`] when nobody could say how far that is, [`ClusterError::Behind`] when this node does
    /// not get there, both by the deadline.
    pub async fn linearize(&self, deadline: Duration) -> Result<u64, ClusterError> {
        let until = tokio::time::Instant::now() + deadline;
        let index = self.inner.consensus.read_index(deadline).await?;
        self.wait_applied(index, until.saturating_duration_since(tokio::time::Instant::now())).await?;
        Ok(index)
    }

    /// Lets `node` follow, reached at `address` (`host:port`); for one that is known, changes where it is reached.
    ///
    /// # Errors
    /// [`ClusterError::NoLeader`], [`ClusterError::Members`].
    pub async fn admit(&self, node: NodeId, address: &str) -> Result<(), ClusterError> {
        self.change(MemberChange::Admit { node: node.0, address: address.to_owned() }).await
    }

    /// Lets a node that follows vote.
    ///
    /// # Errors
    /// [`ClusterError::NoLeader`]; [`ClusterError::Members`] for a node that is unknown or too far behind, for a sixth
    /// voter, and unless forced for one that would fail together with another; [`ClusterError::TooOld`] unless forced for a cluster
    /// whose leader may not know how to tell.
    pub async fn promote(&self, node: NodeId, choice: VoterChoice) -> Result<(), ClusterError> {
        let change = match choice {
            VoterChoice::Forced => MemberChange::Promote { node: node.0 },
            VoterChoice::Safe => MemberChange::PromoteApart { node: node.0 },
        };
        let agreed = self.status().version;
        if choice == VoterChoice::Safe && agreed < VOTERS_VERSION {
            return Err(ClusterError::TooOld { needed: VOTERS_VERSION, agreed });
        }
        self.change(change).await
    }

    /// Lets another voter lead if this node does, and waits until it does. One that gossip says is drained only when all are.
    ///
    /// # Errors
    /// [`ClusterError::Deadline`] when this node leads still. A lone voter goes on leading: nobody else can.
    pub async fn hand_over(&self, deadline: Duration) -> Result<(), ClusterError> {
        let until = tokio::time::Instant::now() + deadline;
        while self.status().role == Role::Leader {
            let is_draining = |node| self.directory().member(node).is_some_and(|told| told.is_draining);
            let Some(next) = self.inner.consensus.successor(is_draining) else { return Ok(()) };
            if tokio::time::Instant::now() >= until {
                return Err(ClusterError::Deadline);
            }
            self.transfer_leader(next).await?;
            tokio::time::sleep(HAND_OVER_PAUSE).await;
        }
        Ok(())
    }

    /// Raises what every node of the cluster can read to the most that all members can.
    ///
    /// # Errors
    /// [`ClusterError::Members`] while one of them cannot be asked by the deadline, [`ClusterError::NoLeader`].
    pub async fn upgrade(&self, deadline: Duration) -> Result<(), ClusterError> {
        let status = self.status();
        let mut reads = BUILD_VERSION;
        for member in status.members.iter().filter(|member| member.node_id != status.node_id) {
            let asked = tokio::time::timeout(deadline, self.report_of(member.node_id)).await;
            let report =
                asked.unwrap_or_else(|_| Err("it does not answer".to_owned())).map_err(|reason| {
                    ClusterError::Members {
                        reason: format!("node {} was not asked: {reason}", member.node_id),
                    }
                })?;
            reads = reads.min(report.reads);
        }
        self.change(MemberChange::Upgrade { version: reads }).await
    }

    /// Returns once what was applied so far would survive a power cut here.
    pub(crate) async fn persist(&self) -> io::Result<()> {
        self.inner.consensus.persist().await
    }

    /// Asks peers over new connections from now on, which show the certificate that this node has now.
    pub fn renew_connections(&self) {
        self.inner.consensus.peers().renew();
    }

    /// Nodes that were last met with a certificate of an authority that this one does not know.
    pub fn estranged(&self) -> Vec<NodeId> {
        self.inner.consensus.transport().estranged()
    }

    /// Until when peers believe this node's certificate; the beginning of time for a node without one.
    pub fn certified_until(&self) -> Timestamp {
        self.inner.consensus.transport().certified_until()
    }

    /// Lets a node that votes only follow.
    ///
    /// # Errors
    /// [`ClusterError::NoLeader`]; [`ClusterError::Members`] for the only voter.
    pub async fn demote(&self, node: NodeId) -> Result<(), ClusterError> {
        self.change(MemberChange::Demote { node: node.0 }).await
    }

    /// Ends a node's part for good.
    ///
    /// # Errors
    /// [`ClusterError::NoLeader`]; [`ClusterError::Members`] for an unknown node, or the only voter.
    pub async fn remove(&self, node: NodeId) -> Result<(), ClusterError> {
        self.change(MemberChange::Remove { node: node.0 }).await
    }

    /// Lets `node` lead. Returns once the leader has asked it to; [`Self::status`] tells when it does.
    ///
    /// # Errors
    /// [`ClusterError::NoLeader`]; [`ClusterError::Members`] for a node that does not vote.
    pub async fn transfer_leader(&self, node: NodeId) -> Result<(), ClusterError> {
        self.change(MemberChange::Lead { node: node.0 }).await
    }

    pub(crate) fn downgrade(&self) -> WeakCluster {
        WeakCluster { inner: Arc::downgrade(&self.inner) }
    }

    /// Asks a member something besides agreement, and takes a whole answer.
    pub(crate) async fn ask(&self, node: NodeId, path: &str, body: Vec<u8>) -> Result<Bytes, PeerError> {
        let address = self.address_of(node)?;
        self.inner.consensus.peers().call((node, &address), path, body).await
    }

    /// As [`Self::ask`], on a lane and with a largest answer of its own.
    pub(crate) async fn ask_on(
        &self,
        node: NodeId,
        lane: Lane,
        path: &str,
        body: Vec<u8>,
        bytes_max: usize,
    ) -> Result<Bytes, PeerError> {
        let address = self.address_of(node)?;
        self.inner.consensus.peers().call_on((node, &address), lane, path, body, bytes_max).await
    }

    /// Asks a member something besides agreement, and takes an answer as it comes in.
    pub(crate) async fn open(
        &self,
        node: NodeId,
        lane: Lane,
        path: &str,
    ) -> Result<hyper::Response<hyper::body::Incoming>, PeerError> {
        let address = self.address_of(node)?;
        self.inner.consensus.peers().open((node, &address), lane, path, bytes_body(Bytes::new())).await
    }

    /// How long a small request to a member takes now, and its answer; connecting aside.
    pub(crate) async fn round_trip(&self, node: NodeId, address: &str) -> Result<Duration, PeerError> {
        self.inner.consensus.peers().round_trip((node, address), PING_PATH).await
    }

    pub(crate) fn round_trips_here(&self) -> &RoundTrips {
        &self.inner.round_trips
    }

    /// Between two heartbeats of a leader, as configured.
    pub(crate) fn heartbeat(&self) -> Duration {
        self.inner.consensus.heartbeat()
    }

    fn address_of(&self, node: NodeId) -> Result<String, PeerError> {
        let members = self.inner.consensus.status().members;
        let member = members.into_iter().find(|member| member.node_id == node);
        let unknown = || io::Error::other("it is no member of this cluster");
        member.map(|member| member.address).ok_or_else(|| PeerError::Unreachable { node, source: unknown() })
    }

    async fn change(&self, change: MemberChange) -> Result<(), ClusterError> {
        self.inner.consensus.change_members(&change, self.inner.propose_deadline).await
    }

    /// Who is there, as gossip has it.
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// Notices of changes applied here, from now on.
    pub fn changes(&self) -> Changes {
        self.inner.consensus.changes()
    }

    /// The agreed state as this node has it, moving on between two reads; while a snapshot takes its place, as it was before.
    pub fn reader(&self) -> &dyn Reader {
        &self.inner.readable
    }

    /// The agreed state as this node has it now.
    pub fn view(&self) -> Box<dyn Reader> {
        self.inner.readable.view()
    }

    /// How old the agreed state on this node is at most: what was changed elsewhere since, it may not know. Grows while the node is
    /// cut off; a fraction of a second otherwise.
    pub fn state_age(&self) -> Duration {
        self.inner.consensus.state_age()
    }

    /// The newest log entry that this node has applied; 0 before the first. Whatever this node has answered for is at or before it.
    pub fn applied_index(&self) -> u64 {
        self.inner.consensus.applied().borrow().unwrap_or_default()
    }

    /// Returns once this node has applied the entry at `log_index`.
    ///
    /// # Errors
    /// [`ClusterError::Behind`] when it has not by the deadline.
    pub async fn wait_applied(&self, log_index: u64, deadline: Duration) -> Result<(), ClusterError> {
        let mut applied = self.inner.consensus.applied();
        let reached = applied.wait_for(|applied| applied.is_some_and(|applied| applied >= log_index));
        let is_reached = matches!(tokio::time::timeout(deadline, reached).await, Ok(Ok(_)));
        match is_reached {
            true => Ok(()),
            false => Err(ClusterError::Behind { wanted: log_index, applied: self.applied_index() }),
        }
    }

    #[cfg(test)]
    pub(crate) fn consensus(&self) -> &Consensus {
        &self.inner.consensus
    }

    /// How this node stands.
    pub fn status(&self) -> ClusterStatus {
        let status = self.inner.consensus.status();
        let fault = || self.inner.raft.fault().or_else(|| self.inner.state.fault());
        ClusterStatus { unhealthy: status.unhealthy.or_else(fault), ..status }
    }

    /// Resolves once this node takes no part any more, and says why; at once if it already does not.
    /// A supervisor waits for it: after [`StopReason::Failed`] the engines have to be opened again.
    pub fn stopped(&self) -> impl Future<Output = StopReason> + Send + 'static {
        let mut stopped = self.inner.consensus.stopped();
        async move {
            match stopped.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or(StopReason::Shutdown),
                // Every handle was dropped.
                Err(_) => StopReason::Shutdown,
            }
        }
    }

    /// Answers every proposal under way, ends this node's part and closes both engines, so that they
    /// open again without a replay. A second call waits for the first and does nothing more.
    ///
    /// # Errors
    /// [`ClusterError::Storage`] when an engine could not be closed; what was answered is on disk.
    pub async fn shutdown(&self) -> Result<(), ClusterError> {
        let mut is_closed = self.inner.is_closed.lock().await;
        if *is_closed {
            return Ok(());
        }
        self.inner.consensus.stop().await;
        let (state, raft) = (Arc::clone(&self.inner.state), Arc::clone(&self.inner.raft));
        let close = move || consensus::close_engines(&*state, &*raft);
        let closed = self.inner.consensus.work().run(close).await;
        *is_closed = true;
        match closed {
            Ok(closed) => closed.map_err(ClusterError::Storage),
            Err(error) => Err(ClusterError::Stopped { reason: error.to_string() }),
        }
    }
}
