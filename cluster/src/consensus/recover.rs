//! Offline: a cluster anew, from a backup of another or from what one node of it has left.
//!
//! Both write into the stores of a node that does not run. What they leave is what a node alone would have written; its
//! first start elects it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use twinmcp_storage::clock::{Entropy, Timestamp};
use twinmcp_storage::engine::{Batch, Durability, Engine, Keyspace, StorageError};
use twinmcp_storage::record::{self, Record};

use super::dump;
use super::entry;
use super::health::{Health, sentence};
use super::log::LogStore;
use super::records::{
    self, AppliedRecord, ClusterRecord, MembershipRecord, NodeRecord, PositionRecord, VoteRecord,
};
use super::snapshot::SnapshotStore;
use super::types::{Entry, LeaderId, LogId, Member, Payload, Vote};
use super::work::Work;
use crate::error::ClusterError;
use crate::status::{ClusterId, GroupId, NodeId};

/// Bytes of state put at once.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The node that a restored cluster begins with, and the place in the log its state stands at.
const FIRST_NODE: u64 = 1;
const FIRST: PositionRecord = PositionRecord { term: 1, leader: FIRST_NODE, index: 1 };

fn failed(error: &(dyn std::error::Error + 'static)) -> ClusterError {
    ClusterError::Start { reason: sentence(error) }
}

fn refused(reason: impl Into<String>) -> ClusterError {
    ClusterError::Start { reason: reason.into() }
}

/// A new name, so that nodes of the cluster before are strangers.
fn new_id(entropy: &dyn Entropy) -> Result<[u8; 16], ClusterError> {
    let mut id = [0; 16];
    entropy.fill(&mut id).map_err(ClusterError::Entropy)?;
    Ok(id)
}

fn put(batch: &mut Batch, space: Keyspace, name: &str, value: &impl Record) -> Result<(), ClusterError> {
    let key = records::key(GroupId::default(), name);
    batch.put(space, key, record::encode(value).map_err(ClusterError::Storage)?);
    Ok(())
}

/// Puts the state in `stream` onto two empty engines, as the state of a new cluster with one node.
pub(crate) fn restore(
    stream: &mut impl Read,
    state: &dyn Engine,
    raft: Arc<dyn Engine>,
    entropy: &dyn Entropy,
) -> Result<ClusterId, ClusterError> {
    let group = GroupId::default();
    let is_used = |engine: &dyn Engine, spaces: &[Keyspace]| -> Result<bool, StorageError> {
        for &space in spaces {
            if !engine.scan(space, &[], None, 1)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if is_used(state, Keyspace::STATE).map_err(ClusterError::Storage)?
        || is_used(&*raft, Keyspace::RAFT).map_err(ClusterError::Storage)?
    {
        return Err(refused("the data directory is not empty; choose another, or move it away"));
    }
    let (mut batch, mut bytes, mut stamped) = (Batch::new(), 0, Timestamp::default());
    let applied_key = records::key(group, records::APPLIED);
    dump::read(stream, |space, key, value| {
        if space == Keyspace::Meta && key == applied_key {
            stamped = record::decode::<AppliedRecord>(&value)?.stamped;
        }
        // Who took part, and what was under way, was another cluster's.
        if matches!(space, Keyspace::Requests | Keyspace::Members) {
            return Ok(());
        }
        bytes += key.len() + value.len();
        batch.put(space, key, value);
        if bytes >= BATCH_BYTES {
            bytes = 0;
            state.commit(std::mem::take(&mut batch), Durability::Buffered)?;
        }
        Ok(())
    })
    .map_err(|error| failed(&error))?;
    let id = new_id(entropy)?;
    let membership = MembershipRecord {
        position: Some(FIRST),
        voters: vec![BTreeSet::from([FIRST_NODE])],
        members: BTreeMap::from([(FIRST_NODE, Member::default())]),
    };
    put(&mut batch, Keyspace::Meta, records::APPLIED, &AppliedRecord { position: FIRST, stamped })?;
    put(&mut batch, Keyspace::Meta, records::MEMBERSHIP, &membership)?;
    put(&mut batch, Keyspace::Meta, records::CLUSTER, &ClusterRecord { id, founded_at: stamped })?;
    state.commit(batch, Durability::Synced).map_err(ClusterError::Storage)?;
    state.sync().map_err(ClusterError::Storage)?;

    // The log begins behind the state; the snapshot is what a node that joins gets.
    let snapshots = SnapshotStore::open(group, Arc::clone(&raft), Work::Threads, Health::default())
        .map_err(ClusterError::Storage)?;
    snapshots.build(&*state.view()).map_err(|error| failed(&error))?;
    let mut batch = Batch::new();
    let leader = LeaderId { term: FIRST.term, node_id: FIRST_NODE };
    put(&mut batch, Keyspace::Vote, records::NODE, &NodeRecord { node: FIRST_NODE, group: group.0 })?;
    let vote = Vote { leader_id: leader, committed: true };
    put(&mut batch, Keyspace::Vote, records::VOTE, &VoteRecord::from(vote))?;
    put(&mut batch, Keyspace::Vote, records::COMMITTED, &FIRST)?;
    put(&mut batch, Keyspace::Vote, records::PURGED, &FIRST)?;
    raft.commit(batch, Durability::Synced).map_err(ClusterError::Storage)?;
    Ok(ClusterId(id))
}

/// What is left of a cluster that was made anew from one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survivor {
    /// The node that goes on.
    pub node: NodeId,
    /// The cluster's new name.
    pub cluster: ClusterId,
    /// The newest entry in its log, which counts from now on, agreed on or not.
    pub last_log_index: u64,
}

/// Makes a node the only one of its cluster, with all that is in its log: what a majority that is lost for ever had
/// agreed on and this node never received is lost with it.
pub(crate) fn force_alone(
    state: &dyn Engine,
    raft: Arc<dyn Engine>,
    entropy: &dyn Entropy,
) -> Result<Survivor, ClusterError> {
    let group = GroupId::default();
    let node: Option<NodeRecord> =
        records::read(&*raft, Keyspace::Vote, group, records::NODE).map_err(ClusterError::Storage)?;
    let Some(node) = node else { return Err(refused("the data directory holds no node's data")) };
    let cluster: Option<ClusterRecord> =
        records::read(state, Keyspace::Meta, group, records::CLUSTER).map_err(ClusterError::Storage)?;
    let Some(cluster) = cluster else {
        return Err(refused("the node has no state of its cluster: choose one that has been ready"));
    };
    let (vote, last) = {
        let log = LogStore::open(group, Arc::clone(&raft), Health::default(), Work::Threads)?;
        let tail = log.tail();
        let found = (tail.vote(), tail.bounds().1);
        log.writer().stop_here();
        found
    };
    let term = vote.map_or(0, |vote| vote.leader_id.term).max(last.map_or(0, |last| last.leader_id.term)) + 1;
    let leader = LeaderId { term, node_id: node.node };
    let index = last.map_or(0, |last| last.index + 1);
    let alone = MembershipRecord {
        position: None,
        voters: vec![BTreeSet::from([node.node])],
        members: BTreeMap::from([(node.node, Member::default())]),
    };
    let membership = alone.membership().ok_or_else(|| refused("the membership cannot be written"))?;
    let entry = Entry { log_id: LogId::new(leader, index), payload: Payload::Membership(membership) };
    let bytes = entry::encode(group, &entry).map_err(|error| failed(&error))?;
    let mut batch = Batch::new();
    batch.put(Keyspace::Log, records::log_key(group, index), bytes);
    let vote = Vote { leader_id: leader, committed: true };
    put(&mut batch, Keyspace::Vote, records::VOTE, &VoteRecord::from(vote))?;
    raft.commit(batch, Durability::Synced).map_err(ClusterError::Storage)?;

    let id = new_id(entropy)?;
    let mut batch = Batch::new();
    put(&mut batch, Keyspace::Meta, records::CLUSTER, &ClusterRecord { id, ..cluster })?;
    state.commit(batch, Durability::Synced).map_err(ClusterError::Storage)?;
    Ok(Survivor { node: NodeId(node.node), cluster: ClusterId(id), last_log_index: index })
}
