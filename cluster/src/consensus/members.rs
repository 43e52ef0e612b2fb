//! Who takes part: any node is asked ([`Members`]), the leader makes the change ([`Leading`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ReadPolicy;
use openraft::{ChangeMembers, Instant as _};
use tokio::sync::Mutex;
use tokio::time::Instant;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::members::{self, NodeFacts};
use twinmcp_storage::record;

use super::apply::Applier;
use super::messages::{MemberChange, MembersChanged, ReadIndex};
use super::network::{MEMBERS, READ_INDEX};
use super::propose::{Leader, leader};
use super::start::upgrade;
use super::types::{Member, Raft, Types};
use crate::error::ClusterError;
use crate::peer::Peers;
use crate::status::GroupId;
use crate::voters::{VoterChoice, objection};

/// Entries a node may lack when it begins to vote: it must not hold up what is agreed on.
const PROMOTION_LAG_MAX: u64 = 1_000;
/// A voter that was silent for longer is asked to lead only when all were.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Between two tries while nobody leads.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks whoever leads.
pub(super) struct Members {
    pub(super) group: GroupId,
    pub(super) raft: Raft,
    pub(super) peers: Arc<Peers>,
    /// For when this node leads.
    pub(super) leading: Arc<Leading>,
}

impl Members {
    /// Makes a change, or says why not.
    pub(super) async fn change(&self, change: &MemberChange, deadline: Duration) -> Result<(), ClusterError> {
        let until = Instant::now() + deadline;
        loop {
            let changed = match leader(&self.raft) {
                Leader::Here => {
                    let changing = self.leading.change(change.clone());
                    // A leader without a majority waits for it, and for nobody's deadline.
                    tokio::time::timeout_at(until, changing).await.unwrap_or(MembersChanged::NoLeader)
                }
                Leader::There(node, address) => {
                    let asked = record::encode(change).map_err(ClusterError::Storage)?;
                    let path = format!("/{}/{MEMBERS}", self.group);
                    let call = self.peers.call((node, &address), &path, asked);
                    match tokio::time::timeout_at(until, call).await {
                        Ok(Ok(answer)) => record::decode(&answer).map_err(ClusterError::Storage)?,
                        // Made twice is made once: whoever is there already stays.
                        Ok(Err(_)) | Err(_) => MembersChanged::NoLeader,
                    }
                }
                Leader::Nobody => MembersChanged::NoLeader,
            };
            match changed {
                MembersChanged::Done => return Ok(()),
                MembersChanged::Refused(reason) => return Err(ClusterError::Members { reason }),
                MembersChanged::NoLeader if Instant::now() + PAUSE >= until => {
                    return Err(ClusterError::NoLeader);
                }
                MembersChanged::NoLeader => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The newest entry that a read which begins now must see (Ongaro, 6.4).
    pub(super) async fn read_index(&self, deadline: Duration) -> Result<u64, ClusterError> {
        let until = Instant::now() + deadline;
        loop {
            let index = match leader(&self.raft) {
                Leader::Here => read_index_here(&self.raft).await,
                Leader::There(node, address) => {
                    let path = format!("/{}/{READ_INDEX}", self.group);
                    let call = self.peers.call((node, &address), &path, Vec::new());
                    match tokio::time::timeout_at(until, call).await {
                        Ok(Ok(answer)) => {
                            record::decode::<ReadIndex>(&answer).map_err(ClusterError::Storage)?.log_index
                        }
                        Ok(Err(_)) | Err(_) => None,
                    }
                }
                Leader::Nobody => None,
            };
            match index {
                Some(index) => return Ok(index),
                None if Instant::now() + PAUSE >= until => return Err(ClusterError::NoLeader),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// `None` when this node does not lead, or cannot be sure.
pub(super) async fn read_index_here(raft: &Raft) -> Option<u64> {
    let (read, _) = raft.get_read_log_id(ReadPolicy::ReadIndex).await.ok()?;
    Some(read.log_id().index)
}

/// What the leader does.
pub(super) struct Leading {
    raft: Raft,
    applier: Arc<Applier>,
    /// Held from the look at who votes until another does: two promotions at once would not see each other.
    promoting: Mutex<()>,
}

impl Leading {
    pub(super) fn new(raft: Raft, applier: Arc<Applier>) -> Self {
        Self { raft, applier, promoting: Mutex::default() }
    }

    /// Makes a change if this node leads.
    pub(super) async fn change(&self, change: MemberChange) -> MembersChanged {
        match self.try_change(change).await {
            Ok(()) => MembersChanged::Done,
            Err(Refusal::NoLeader) => MembersChanged::NoLeader,
            Err(Refusal::Because(reason)) => MembersChanged::Refused(reason),
        }
    }

    async fn try_change(&self, change: MemberChange) -> Result<(), Refusal> {
        let raft = &self.raft;
        if !raft.is_leader() {
            return Err(Refusal::NoLeader);
        }
        match change {
            MemberChange::Admit { node, address } => admit(raft, node, address).await,
            MemberChange::Promote { node } => self.promote(node, VoterChoice::Forced).await,
            MemberChange::PromoteApart { node } => self.promote(node, VoterChoice::Safe).await,
            MemberChange::Demote { node } => {
                voters_besides(raft, node)?;
                step_aside(raft, node).await?;
                let demoted = ChangeMembers::RemoveVoters(BTreeSet::from([node]));
                Ok(raft.change_membership(demoted, true).await.map(drop)?)
            }
            MemberChange::Remove { node } => remove(raft, node).await,
            MemberChange::Lead { node } => lead(raft, node).await,
            // The stamp of an upgrade only moves time if the log's is behind, which no clock is asked for.
            MemberChange::Upgrade { version } => Ok(upgrade(raft, Timestamp::default(), version).await?),
        }
    }

    async fn promote(&self, node: u64, choice: VoterChoice) -> Result<(), Refusal> {
        let raft = &self.raft;
        let _turn = self.promoting.lock().await;
        known(raft, node)?;
        let facts =
            members::nodes(&*self.applier.view()).map_err(|error| Refusal::Because(error.to_string()))?;
        let facts_of = |id: u64| facts.iter().find(|known| known.id == id).map(|known| known.facts.clone());
        let besides = |ids: Vec<u64>| -> Vec<NodeFacts> {
            ids.into_iter().filter(|id| *id != node).filter_map(facts_of).collect()
        };
        let (voters, learners) = (besides(raft.voter_ids().collect()), besides(raft.learner_ids().collect()));
        if let Some(reason) = objection(&voters, &facts_of(node).unwrap_or_default(), &learners, choice) {
            return Err(Refusal::Because(reason));
        }
        if let Some(lag) = lag(raft, node).filter(|lag| *lag > PROMOTION_LAG_MAX) {
            return Err(Refusal::Because(format!(
                "node {node} is {lag} entries behind; {PROMOTION_LAG_MAX} are allowed: try again later"
            )));
        }
        let promoted = ChangeMembers::AddVoterIds(BTreeSet::from([node]));
        Ok(raft.change_membership(promoted, true).await.map(drop)?)
    }
}

/// Removed twice is removed once: whoever was told of a failure asks again.
async fn remove(raft: &Raft, node: u64) -> Result<(), Refusal> {
    if raft.voter_ids().any(|voter| voter == node) {
        voters_besides(raft, node)?;
        step_aside(raft, node).await?;
        let removed = ChangeMembers::RemoveVoters(BTreeSet::from([node]));
        raft.change_membership(removed, false).await?;
    }
    if known(raft, node).is_ok() {
        let removed = ChangeMembers::RemoveNodes(BTreeSet::from([node]));
        raft.change_membership(removed, false).await?;
    }
    Ok(())
}

async fn lead(raft: &Raft, node: u64) -> Result<(), Refusal> {
    if !raft.voter_ids().any(|voter| voter == node) {
        return Err(Refusal::Because(format!("node {node} does not vote: promote it first")));
    }
    // Asked to hand over to itself, a leader would end its lease and wait for nobody.
    if node == *raft.node_id() {
        return Ok(());
    }
    raft.trigger().transfer_leader(node).await.map_err(|error| Refusal::Because(error.to_string()))
}

enum Refusal {
    NoLeader,
    Because(String),
}

impl From<RaftError<Types, ClientWriteError<Types>>> for Refusal {
    fn from(error: RaftError<Types, ClientWriteError<Types>>) -> Self {
        match error {
            RaftError::APIError(
                ClientWriteError::ForwardToLeader(_) | ClientWriteError::LogEntryDiscarded(_),
            ) => Self::NoLeader,
            other => Self::Because(other.to_string()),
        }
    }
}

/// Lets another voter lead when `node` is this one: the next leader makes the change. One that takes its own vote away leads on
/// until a majority knows, and whatever else it is asked to change meanwhile it changes as nobody's member.
async fn step_aside(raft: &Raft, node: u64) -> Result<(), Refusal> {
    if node != *raft.node_id() {
        return Ok(());
    }
    if let Some(next) = successor(raft, |_| false) {
        raft.trigger().transfer_leader(next).await.map_err(|error| Refusal::Because(error.to_string()))?;
    }
    Err(Refusal::NoLeader)
}

/// Who should lead in place of this node, which does: of the voters that answered lately, the one that lacks least; one that `goes`
/// only when all do. Nobody where it votes alone.
pub(super) fn successor(raft: &Raft, goes: impl Fn(u64) -> bool) -> Option<u64> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let has_answered = |voter: &u64| {
        let answered = metrics.heartbeat.as_ref()?.get(voter).copied()??;
        Some(answered.elapsed() < SILENCE_MAX)
    };
    let matching = |voter: &u64| Some(metrics.replication.as_ref()?.get(voter)?.as_ref()?.index);
    let others = metrics.membership_config.membership().voter_ids().filter(|voter| voter != raft.node_id());
    others.max_by_key(|voter| (has_answered(voter), !goes(*voter), matching(voter)))
}

async fn admit(raft: &Raft, node: u64, address: String) -> Result<(), Refusal> {
    let member = Member { address };
    let before = {
        let metrics = raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_node(&node).cloned()
    };
    match before {
        Some(before) if before == member => Ok(()),
        // The id stays the node's, its certificate said so: only where it is reached changes.
        Some(_) => {
            let moved = ChangeMembers::SetNodes(BTreeMap::from([(node, member)]));
            Ok(raft.change_membership(moved, true).await.map(drop)?)
        }
        None => Ok(raft.add_learner(node, member, false).await.map(drop)?),
    }
}

fn known(raft: &Raft, node: u64) -> Result<(), Refusal> {
    let is_known = raft.voter_ids().chain(raft.learner_ids()).any(|known| known == node);
    is_known.then_some(()).ok_or_else(|| Refusal::Because(format!("there is no node {node}")))
}

fn voters_besides(raft: &Raft, node: u64) -> Result<(), Refusal> {
    let others = raft.voter_ids().filter(|voter| *voter != node).count();
    if others == 0 {
        return Err(Refusal::Because(format!(
            "node {node} is the only one that votes: promote another first"
        )));
    }
    Ok(())
}

/// Entries that `node` lacks, as far as the leader knows.
fn lag(raft: &Raft, node: u64) -> Option<u64> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let last = metrics.last_log_index?;
    let matching = metrics.replication.as_ref()?.get(&node)?.as_ref().map_or(0, |matching| matching.index);
    Some(last.saturating_sub(matching))
}
