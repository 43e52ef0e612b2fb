//! The way in for proposals: a command gets a number, goes to whoever leads, and is sent again, with the same number,
//! until it is answered or its time is over.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;
use twinmcp_storage::audit::{Audited, Keep};
use twinmcp_storage::command::{AUDIT_VERSION, Command};
use twinmcp_storage::record;

use super::apply::Applier;
use super::health::Health;
use super::messages::{Proposal, Proposed};
use super::network::PROPOSE;
use super::queue::{Queue, stopped};
use super::requests::{Numbers, Request};
use super::start::REQUESTS_VERSION;
use super::types::Raft;
use crate::behalf::Behalf;
use crate::error::ClusterError;
use crate::handle::Applied;
use crate::metrics::Metrics;
use crate::peer::{PeerError, Peers};
use crate::status::{GroupId, NodeId};

type Result<T> = std::result::Result<T, ClusterError>;

/// Between two tries, at first and at most: an election takes hundreds of milliseconds.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(160);

/// Proposes for this node.
pub(super) struct Proposer {
    pub(super) group: GroupId,
    pub(super) node: u64,
    pub(super) audit_keep: Keep,
    pub(super) raft: Raft,
    pub(super) queue: Arc<Queue>,
    pub(super) numbers: Arc<Numbers>,
    pub(super) peers: Arc<Peers>,
    pub(super) applier: Arc<Applier>,
    pub(super) health: Health,
    pub(super) metrics: Arc<Metrics>,
}

/// Who leads, as far as this node knows.
pub(super) enum Leader {
    Here,
    There(NodeId, String),
    Nobody,
}

/// Who leads, as far as this node knows.
pub(super) fn leader(raft: &Raft) -> Leader {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    match metrics.current_leader {
        Some(node) if node == metrics.id => Leader::Here,
        Some(node) => {
            let member = metrics.membership_config.membership().get_node(&node);
            member.map_or(Leader::Nobody, |member| Leader::There(NodeId(node), member.address.clone()))
        }
        None => Leader::Nobody,
    }
}

impl Proposer {
    /// Proposes one command and waits until it is applied here, or `deadline`.
    pub(super) async fn propose(&self, command: Command, deadline: Duration) -> Result<Applied> {
        let answered = self.try_propose(command, Instant::now() + deadline).await;
        if let Err(error) = &answered {
            self.metrics.refused(reason(error));
        }
        answered
    }

    async fn try_propose(&self, command: Command, until: Instant) -> Result<Applied> {
        // A node that applies nothing any more could show its caller nothing of what it changed.
        if let Some(reason) = self.health.failure() {
            return Err(ClusterError::Failed { reason: reason.to_owned() });
        }
        let (needed, agreed) = (command.since(), self.applier.version());
        if agreed < needed {
            return Err(ClusterError::TooOld { needed, agreed });
        }
        let command = record::encode(&self.audited(command, agreed)).map_err(ClusterError::Storage)?;
        let number = self.numbers.take();
        let mut pause = PAUSE_MIN;
        // What the caller is told when time is over: whether it may still take effect.
        let mut last = ClusterError::NoLeader;
        let mut server = self.raft.server_metrics();
        loop {
            // From here on a change ends the pause below: what was there before is known.
            drop(server.borrow_and_update());
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(last);
            }
            let tried = match leader(&self.raft) {
                Leader::Here => self.queue.submit(number.request(command.clone()), left).await,
                Leader::There(node, address) => {
                    self.forward((node, &address), number.request(command.clone()), until).await
                }
                Leader::Nobody => Err(ClusterError::NoLeader),
            };
            match tried {
                Err(ClusterError::NoLeader) => {}
                // Without numbers a second try could do it twice.
                Err(ClusterError::LeaderChanged) if self.applier.version() < REQUESTS_VERSION => {
                    return Err(ClusterError::LeaderChanged);
                }
                Err(ClusterError::LeaderChanged) => last = ClusterError::LeaderChanged,
                // An earlier try may have been taken: nobody is told that nothing was proposed.
                Err(_) if matches!(last, ClusterError::LeaderChanged) => return Err(last),
                answered => return answered,
            }
            if let Some(reason) = self.health.failure() {
                return Err(match last {
                    ClusterError::LeaderChanged => last,
                    _ => ClusterError::Failed { reason: reason.to_owned() },
                });
            }
            // Until somebody else leads, or for a while.
            if let Ok(Err(_)) = tokio::time::timeout(pause.min(left), server.changed()).await {
                return Err(stopped(&self.health));
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The command with who is behind it, once every node can read that.
    fn audited(&self, command: Command, agreed: u32) -> Command {
        if agreed < AUDIT_VERSION || !command.is_audited() {
            return command;
        }
        let by = Behalf::current().by(self.node);
        let (node, keep) = (self.node, self.audit_keep);
        Command::Audited(Box::new(Audited { command, by, node, keep }))
    }

    /// Asks the leader, then waits until what it did can be read here too.
    async fn forward(&self, leader: (NodeId, &str), request: Request, until: Instant) -> Result<Applied> {
        let left = until.saturating_duration_since(Instant::now());
        let deadline_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let asked = record::encode(&Proposal { request, deadline_ms }).map_err(ClusterError::Storage)?;
        let path = format!("/{}/{PROPOSE}", self.group);
        let answer = match tokio::time::timeout_at(until, self.peers.call(leader, &path, asked)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(PeerError::Unreachable { .. })) => return Err(ClusterError::NoLeader),
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a proposal is sent again");
                return Err(ClusterError::LeaderChanged);
            }
            Err(_) => return Err(ClusterError::Deadline),
        };
        match record::decode(&answer).map_err(ClusterError::Storage)? {
            Proposed::Applied { outcome, log_index } => {
                // It is agreed on whether or not this node sees it in time. But who is told that it is done reads here next.
                let seen = tokio::time::timeout_at(until, self.applier.reached(log_index)).await;
                seen.map_err(|_| ClusterError::Deadline)?;
                Ok(Applied { outcome, log_index })
            }
            Proposed::Busy => Err(ClusterError::Busy),
            Proposed::NoLeader => Err(ClusterError::NoLeader),
            Proposed::Unknown => Err(ClusterError::LeaderChanged),
            Proposed::TooLarge { bytes, bytes_max } => {
                let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
                Err(ClusterError::TooLarge { bytes: size(bytes), bytes_max: size(bytes_max) })
            }
        }
    }
}

fn reason(error: &ClusterError) -> &'static str {
    match error {
        ClusterError::Busy => "busy",
        ClusterError::Deadline => "deadline",
        ClusterError::NoLeader => "no_leader",
        ClusterError::LeaderChanged => "leader_changed",
        ClusterError::TooLarge { .. } => "too_large",
        ClusterError::Failed { .. } => "failed",
        ClusterError::TooOld { .. } => "too_old",
        _ => "stopped",
    }
}
