//! The types `openraft` works with here.

use std::fmt;

use serde::{Deserialize, Serialize};
use twinmcp_storage::command::Outcome;

use super::entry::Content;

#[cfg(not(test))]
type Runtime = openraft::impls::TokioRuntime;
/// The same, with dice that a simulation seeds.
#[cfg(test)]
type Runtime = crate::tests::runtime::SeededTokio;

openraft::declare_raft_types!(
    /// Ties the types below together.
    pub(super) Types:
        D = Content,
        R = Answer,
        NodeId = u64,
        Node = Member,
        AsyncRuntime = Runtime,
);

/// Term and node: two candidates of one term are ordered instead of both losing.
pub(super) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub(super) type LogId = openraft::LogId<LeaderId>;
pub(super) type Vote = openraft::Vote<LeaderId>;
pub(super) type Membership = openraft::Membership<u64, Member>;
pub(super) type StoredMembership = openraft::StoredMembership<LeaderId, u64, Member>;
pub(super) type Payload = openraft::EntryPayload<Content, u64, Member>;
pub(super) type Entry = openraft::Entry<LeaderId, Payload>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, Member>;
pub(super) type Raft = openraft::Raft<Types, super::machine::StateMachine>;

/// What the group knows about one of its nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Where its peers reach it, as `host:port`; empty for a node alone.
    pub(crate) address: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// What became of an entry's commands, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer(pub(crate) Vec<Outcome>);
