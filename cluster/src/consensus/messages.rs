//! What nodes of one group say to each other. Every message starts with its format, as a record does.

use serde::{Deserialize, Serialize};
use twinmcp_storage::command::Outcome;
use twinmcp_storage::record::Record;

use super::records::{MembershipRecord, PositionRecord, VoteRecord};
use super::requests::Request;

macro_rules! messages {
    ($($name:ident = $text:literal,)*) => {
        $(impl Record for $name {
            const NAME: &'static str = $text;
            const FORMAT: u8 = 1;
        })*
    };
}

messages! {
    Append = "append",
    Appended = "append's answer",
    AskVote = "vote request",
    GiveVote = "vote answer",
    SnapshotHead = "snapshot head",
    SnapshotTaken = "snapshot answer",
    Transfer = "leader transfer",
    Proposal = "proposal",
    Proposed = "proposal's answer",
    ReadIndex = "read index",
    MemberChange = "change of members",
}

/// Entries for a follower, in the order of the log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Append {
    pub(super) vote: VoteRecord,
    /// The entry before the first.
    pub(super) previous: Option<PositionRecord>,
    pub(super) committed: Option<PositionRecord>,
    /// As they lie on disk.
    pub(super) entries: Vec<Vec<u8>>,
}

/// What became of an [`Append`]; one for each, in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Appended {
    /// On disk up to here.
    Stored(Option<PositionRecord>),
    /// The entry before the first is not this one here.
    Conflict(PositionRecord),
    /// There is a newer leader, or candidate.
    HigherVote(VoteRecord),
    /// This node takes no part any more.
    Stopped,
}

/// A candidate asks, or would like to know first whether to ask.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AskVote {
    pub(super) vote: VoteRecord,
    pub(super) last: Option<PositionRecord>,
    pub(super) is_transfer: bool,
    pub(super) is_pre_vote: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GiveVote {
    pub(super) vote: VoteRecord,
    pub(super) is_granted: bool,
    pub(super) last: Option<PositionRecord>,
}

/// The first frame of a snapshot; its pieces follow, one a frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotHead {
    pub(super) vote: VoteRecord,
    pub(super) applied: Option<PositionRecord>,
    pub(super) membership: MembershipRecord,
    pub(super) pieces: u32,
    pub(super) bytes: u64,
    /// BLAKE3 of all pieces in order.
    pub(super) hash: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotTaken {
    pub(super) vote: VoteRecord,
}

/// The leader asks everybody to let `to` lead.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub(super) from: VoteRecord,
    pub(super) to: u64,
    pub(super) last: Option<PositionRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Transferred {
    Done,
    VoteChanged { expected: VoteRecord, actual: VoteRecord },
    LogNotFlushed { expected: Option<PositionRecord>, actual: Option<PositionRecord> },
}

impl Record for Transferred {
    const NAME: &'static str = "leader transfer's answer";
    const FORMAT: u8 = 1;
}

/// A command for the leader.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Proposal {
    pub(super) request: Request,
    /// How long whoever proposed it waits, in milliseconds.
    pub(super) deadline_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Proposed {
    /// Applied by the leader, in this entry.
    Applied { outcome: Outcome, log_index: u64 },
    /// Nothing was proposed: too much is waiting.
    Busy,
    /// Nothing was proposed: somebody else leads, or nobody.
    NoLeader,
    /// It may have been proposed.
    Unknown,
    /// Nothing was proposed: it has too many bytes for an entry.
    TooLarge { bytes: u64, bytes_max: u64 },
}

/// The newest entry that a read must see.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReadIndex {
    /// Absent when the asked node does not lead.
    pub(super) log_index: Option<u64>,
}

/// A change to who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MemberChange {
    /// A node follows from now on, reached there; for one that is known, reached there from now on.
    Admit { node: u64, address: String },
    /// A node that follows votes from now on, whatever fails together with it.
    Promote { node: u64 },
    /// A node that votes only follows from now on.
    Demote { node: u64 },
    /// A node takes no part any more.
    Remove { node: u64 },
    /// A voter leads from now on.
    Lead { node: u64 },
    /// Every node can read this version.
    Upgrade { version: u32 },
    /// A node that follows votes from now on, if it is a choice that [`objection`](crate::voters::objection) has nothing against. Since
    /// [`VOTERS_VERSION`](super::start::VOTERS_VERSION).
    PromoteApart { node: u64 },
}

/// What became of a [`MemberChange`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum MembersChanged {
    /// Agreed on.
    Done,
    /// The asked node does not lead. Nothing was changed.
    NoLeader,
    /// Not possible, and why.
    Refused(String),
}

impl Record for MembersChanged {
    const NAME: &'static str = "answer to a change of members";
    const FORMAT: u8 = 1;
}
