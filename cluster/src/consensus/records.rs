//! What consensus itself writes down, and under which keys.
//!
//! Every key starts with its group (32 bits, big-endian):
//! - `Keyspace::Meta`: `applied` -> [`AppliedRecord`], `membership` -> [`MembershipRecord`],
//!   `cluster` -> [`ClusterRecord`], `version` -> [`VersionRecord`];
//! - `Keyspace::Log`: an index (64 bits, big-endian) -> an entry, as in `entry.rs`;
//! - `Keyspace::Vote`: `node` -> [`NodeRecord`], `boot` -> [`BootRecord`], `vote` -> [`VoteRecord`], `committed` and `purged` ->
//!   [`PositionRecord`], `snapshot` -> [`SnapshotRecord`];
//! - `Keyspace::Snapshots`: a snapshot's number (64 bits) and a piece's (32 bits) -> bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::engine::{Keyspace, Reader, StorageError};
use twinmcp_storage::record::{self, Record};

use super::types::{LeaderId, LogId, Member, Membership, StoredMembership, Vote};
use crate::status::GroupId;

pub(super) const APPLIED: &str = "applied";
pub(super) const MEMBERSHIP: &str = "membership";
pub(super) const CLUSTER: &str = "cluster";
pub(super) const VERSION: &str = "version";
pub(super) const NODE: &str = "node";
pub(super) const BOOT: &str = "boot";
pub(super) const VOTE: &str = "vote";
pub(super) const COMMITTED: &str = "committed";
pub(super) const PURGED: &str = "purged";
pub(super) const SNAPSHOT: &str = "snapshot";

/// The key of a record of which a group has one.
pub(super) fn key(group: GroupId, name: &str) -> Vec<u8> {
    [&group.0.to_be_bytes(), name.as_bytes()].concat()
}

/// The key of the log entry at `index`.
pub(super) fn log_key(group: GroupId, index: u64) -> Vec<u8> {
    [group.0.to_be_bytes().as_slice(), &index.to_be_bytes()].concat()
}

/// The key of one piece of a snapshot.
pub(super) fn piece_key(group: GroupId, snapshot: u64, piece: u32) -> Vec<u8> {
    [group.0.to_be_bytes().as_slice(), &snapshot.to_be_bytes(), &piece.to_be_bytes()].concat()
}

/// The record of which a group has one.
pub(super) fn read<R: Record>(
    reader: &dyn Reader,
    space: Keyspace,
    group: GroupId,
    name: &str,
) -> Result<Option<R>, StorageError> {
    reader.get(space, &key(group, name))?.map(|bytes| record::decode(&bytes)).transpose()
}

/// A place in the log, and the leader who put an entry there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PositionRecord {
    pub(super) term: u64,
    pub(super) leader: u64,
    pub(super) index: u64,
}

impl Record for PositionRecord {
    const NAME: &'static str = "log position";
    const FORMAT: u8 = 1;
}

impl From<LogId> for PositionRecord {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
    }
}

impl From<PositionRecord> for LogId {
    fn from(record: PositionRecord) -> Self {
        Self::new(LeaderId { term: record.term, node_id: record.leader }, record.index)
    }
}

/// How far the state is. Absent while a snapshot is being put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AppliedRecord {
    pub(super) position: PositionRecord,
    /// The latest time any entry was applied with.
    pub(super) stamped: Timestamp,
}

impl Record for AppliedRecord {
    const NAME: &'static str = "applied position";
    const FORMAT: u8 = 1;
}

/// Who votes and who follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MembershipRecord {
    /// The entry that made it so; absent before there is any.
    pub(super) position: Option<PositionRecord>,
    /// Voters; two sets while one is being replaced by the other.
    pub(super) voters: Vec<BTreeSet<u64>>,
    /// Every node, voter or not.
    pub(super) members: BTreeMap<u64, Member>,
}

impl Record for MembershipRecord {
    const NAME: &'static str = "membership";
    const FORMAT: u8 = 1;
}

impl MembershipRecord {
    pub(super) fn new(position: Option<LogId>, membership: &Membership) -> Self {
        Self {
            position: position.map(PositionRecord::from),
            voters: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
        }
    }

    /// `None` when a voter is no member, which no node ever writes.
    pub(super) fn membership(&self) -> Option<Membership> {
        Membership::new(self.voters.clone(), self.members.clone()).ok()
    }

    /// As [`Self::membership`], with where it stands in the log.
    pub(super) fn stored(&self) -> Option<StoredMembership> {
        Some(StoredMembership::new(self.position.map(LogId::from), self.membership()?))
    }
}

/// What a cluster has from its founding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClusterRecord {
    pub(super) id: [u8; 16],
    pub(super) founded_at: Timestamp,
}

impl Record for ClusterRecord {
    const NAME: &'static str = "cluster";
    const FORMAT: u8 = 1;
}

/// Whose directory this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeRecord {
    pub(super) node: u64,
    pub(super) group: u32,
}

impl Record for NodeRecord {
    const NAME: &'static str = "node";
    const FORMAT: u8 = 1;
}

/// What every node of the cluster can read; absent means 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VersionRecord {
    pub(super) version: u32,
}

impl Record for VersionRecord {
    const NAME: &'static str = "cluster version";
    const FORMAT: u8 = 1;
}

/// How often this node was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BootRecord {
    pub(super) boot: u64,
}

impl Record for BootRecord {
    const NAME: &'static str = "boot";
    const FORMAT: u8 = 1;
}

/// The newest vote given or won.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VoteRecord {
    term: u64,
    node: u64,
    is_committed: bool,
}

impl Record for VoteRecord {
    const NAME: &'static str = "vote";
    const FORMAT: u8 = 1;
}

impl From<Vote> for VoteRecord {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, is_committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        let leader_id = LeaderId { term: record.term, node_id: record.node };
        Self { leader_id, committed: record.is_committed }
    }
}

/// One whole snapshot on the log's engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotRecord {
    /// Which of the snapshots this node ever kept; part of its pieces' keys.
    pub(super) number: u64,
    pub(super) applied: Option<PositionRecord>,
    pub(super) membership: MembershipRecord,
    pub(super) pieces: u32,
    pub(super) bytes: u64,
    /// BLAKE3 of all pieces in order.
    pub(super) hash: [u8; 32],
}

impl Record for SnapshotRecord {
    const NAME: &'static str = "snapshot";
    const FORMAT: u8 = 1;
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    const POSITION: PositionRecord = PositionRecord { term: 3, leader: 1, index: 300 };

    fn keeps<R: Record + PartialEq + Debug>(record: &R, bytes: &[u8]) {
        assert_eq!(record::encode(record).unwrap(), bytes, "{} is written differently", R::NAME);
        assert_eq!(record::decode::<R>(bytes).unwrap(), *record);
    }

    /// What lies on disks out there; a change needs a new format number and a way from this one.
    #[test]
    fn the_records_of_format_1_stay_as_they_are() {
        let stamped = Timestamp::from_millis(128);
        let member = Member { address: "a:1".to_owned() };
        let membership = MembershipRecord {
            position: Some(POSITION),
            voters: vec![BTreeSet::from([1, 2])],
            members: BTreeMap::from([(1, member.clone()), (2, member)]),
        };
        let membership_bytes = [1, 3, 1, 172, 2, 1, 2, 1, 2, 2, 1, 3, 97, 58, 49, 2, 3, 97, 58, 49];
        keeps(&POSITION, &[1, 3, 1, 172, 2]);
        keeps(&AppliedRecord { position: POSITION, stamped }, &[1, 3, 1, 172, 2, 128, 1]);
        keeps(&membership, &[&[1], membership_bytes.as_slice()].concat());
        keeps(&VoteRecord { term: 3, node: 1, is_committed: true }, &[1, 3, 1, 1]);
        keeps(&NodeRecord { node: 1, group: 0 }, &[1, 1, 0]);
        keeps(&VersionRecord { version: 2 }, &[1, 2]);
        keeps(&BootRecord { boot: 300 }, &[1, 172, 2]);
        let cluster = ClusterRecord { id: [7; 16], founded_at: stamped };
        keeps(&cluster, &[&[1], [7; 16].as_slice(), &[128, 1]].concat());
        let snapshot = SnapshotRecord {
            number: 2,
            applied: Some(POSITION),
            membership,
            pieces: 1,
            bytes: 5,
            hash: [9; 32],
        };
        let parts: [&[u8]; 4] = [&[1, 2, 1, 3, 1, 172, 2], &membership_bytes, &[1, 5], &[9; 32]];
        keeps(&snapshot, &parts.concat());
    }

    #[test]
    fn keys_of_a_group_start_with_it_and_sort_by_index_and_piece() {
        let (one, two) = (GroupId(1), GroupId(2));
        assert!(log_key(one, 255) < log_key(one, 256) && log_key(one, u64::MAX) < log_key(two, 0));
        assert!(piece_key(one, 1, u32::MAX) < piece_key(one, 2, 0));
        assert!(key(two, VOTE).starts_with(&two.0.to_be_bytes()));
    }
}
