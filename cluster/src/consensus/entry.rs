//! How one log entry lies on disk, and what it carries.
//!
//! ```text
//! format 1 | min_reader 1 | kind 1 | group 4 | term 8 | leader 8 | index 8 | body
//! ```
//! Numbers are big-endian. The 31 bytes before the body never change, in no format: a node must be
//! able to keep and pass on an entry it cannot apply. `min_reader` is the least format a build must
//! know to apply the entry; one that knows less stops there.
//!
//! The body of [`Kind::Commands`] is postcard of [`Commands`], that of [`Kind::Requests`] of [`Requests`]; each command
//! in them is a record with a format of its own.
//!
//! Format 2 added requests and upgrades. What a cluster of version 1 agrees on is still written in format 1.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::Span;
use twinmcp_storage::clock::Timestamp;

use super::records::MembershipRecord;
use super::requests::Request;
use super::types::{Entry, LeaderId, LogId, Payload};
use crate::status::GroupId;

/// The newest format this build writes and applies.
pub(super) const FORMAT: u8 = 2;

const HEADER_BYTES: usize = 31;

/// What an entry is for. Numbers are on disk and never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: the first entry of a leader's term.
    Blank,
    /// Who votes and who follows.
    Membership,
    /// The cluster's id and time of founding.
    Founding,
    /// Commands.
    Commands,
    /// Commands that are done once, however often they are sent; since format 2.
    Requests,
    /// What every node can read from now on; since format 2.
    Upgrade,
    /// Of a later build.
    Unknown(u8),
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Blank => 0,
            Self::Membership => 1,
            Self::Founding => 2,
            Self::Commands => 3,
            Self::Requests => 4,
            Self::Upgrade => 5,
            Self::Unknown(number) => number,
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Blank,
            1 => Self::Membership,
            2 => Self::Founding,
            3 => Self::Commands,
            4 => Self::Requests,
            5 => Self::Upgrade,
            number => Self::Unknown(number),
        }
    }

    /// The format that brought it, which is the least a build must know to apply it.
    const fn format(self) -> u8 {
        match self {
            Self::Blank | Self::Membership | Self::Founding | Self::Commands => 1,
            Self::Requests | Self::Upgrade | Self::Unknown(_) => FORMAT,
        }
    }
}

/// What an entry of ours carries through `openraft`, which never looks inside.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) format: u8,
    pub(super) min_reader: u8,
    pub(super) kind: Kind,
    pub(super) body: Arc<[u8]>,
    /// Of each command, the span it was proposed in; empty on every node but the proposer's.
    pub(super) spans: Arc<[Span]>,
}

impl Content {
    /// An entry of this build.
    pub(super) fn new(kind: Kind, body: Vec<u8>, spans: Vec<Span>) -> Self {
        let format = kind.format();
        Self { format, min_reader: format, kind, body: body.into(), spans: spans.into() }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} bytes", self.kind, self.body.len())
    }
}

/// Without the body: commands may hold what must not be logged.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The body of an entry of commands.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Commands {
    /// When they happen, as the leader stamped it.
    pub(super) at: Timestamp,
    /// Commands as records, in order.
    pub(super) commands: Vec<Vec<u8>>,
}

/// The body of an entry of requests.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Requests {
    /// When they happen, as the leader stamped it.
    pub(super) at: Timestamp,
    /// In order.
    pub(super) requests: Vec<Request>,
}

/// The body of an entry that raises the cluster's version.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Upgrade {
    pub(super) at: Timestamp,
    pub(super) version: u32,
}

/// The body of the founding entry.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Founding {
    pub(super) at: Timestamp,
    pub(super) cluster_id: [u8; 16],
}

/// Why bytes are not the entry they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryError {
    #[error("log entry {index} is damaged: {what}")]
    Damaged { index: u64, what: &'static str },
    #[error(
        "log entry {index} needs a build that reads entry format {min_reader}, this one reads up to {FORMAT}: \
         run the newer build"
    )]
    Newer { index: u64, min_reader: u8 },
    #[error("log entry {index} is of a kind ({kind}) this build does not know: run the newer build")]
    UnknownKind { index: u64, kind: u8 },
    #[error("log entry {index} cannot be encoded")]
    Encode {
        index: u64,
        #[source]
        source: postcard::Error,
    },
}

/// The entry as it lies on disk.
pub(super) fn encode(group: GroupId, entry: &Entry) -> Result<Vec<u8>, EntryError> {
    let index = entry.log_id.index;
    let (format, min_reader, kind) = match &entry.payload {
        Payload::Normal(content) => (content.format, content.min_reader, content.kind),
        Payload::Blank => (Kind::Blank.format(), Kind::Blank.format(), Kind::Blank),
        Payload::Membership(_) => (Kind::Membership.format(), Kind::Membership.format(), Kind::Membership),
    };
    let body = match &entry.payload {
        Payload::Normal(content) => content.body.len(),
        Payload::Blank | Payload::Membership(_) => 0,
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body);
    bytes.extend([format, min_reader, kind.number()]);
    bytes.extend(group.0.to_be_bytes());
    bytes.extend(entry.log_id.leader_id.term.to_be_bytes());
    bytes.extend(entry.log_id.leader_id.node_id.to_be_bytes());
    bytes.extend(index.to_be_bytes());
    match &entry.payload {
        Payload::Normal(content) => {
            bytes.extend_from_slice(&content.body);
            Ok(bytes)
        }
        Payload::Blank => Ok(bytes),
        Payload::Membership(membership) => {
            let record = MembershipRecord::new(Some(entry.log_id), membership);
            postcard::to_extend(&record, bytes).map_err(|source| EntryError::Encode { index, source })
        }
    }
}

/// The entry in `bytes`, which were found at `index`. An entry of a later build comes back whole,
/// for whoever keeps it; [`check_readable`] says whether it may be applied.
pub(super) fn decode(group: GroupId, index: u64, bytes: &[u8]) -> Result<Entry, EntryError> {
    let damaged = |what| EntryError::Damaged { index, what };
    let mut rest = bytes;
    let [format, min_reader, kind] = take(&mut rest).ok_or_else(|| damaged("it is too short"))?;
    let found_group = take(&mut rest).map(u32::from_be_bytes);
    let mut number = || take(&mut rest).map(u64::from_be_bytes);
    let (Some(term), Some(leader), Some(found_index)) = (number(), number(), number()) else {
        return Err(damaged("it is too short"));
    };
    if found_group != Some(group.0) {
        return Err(damaged("it belongs to another group"));
    }
    if found_index != index {
        return Err(damaged("it lies under another entry's key"));
    }
    let kind = Kind::of(kind);
    let payload = match kind {
        Kind::Blank if min_reader <= FORMAT => Payload::Blank,
        Kind::Membership if min_reader <= FORMAT => {
            let record: MembershipRecord =
                postcard::from_bytes(rest).map_err(|_| damaged("its membership cannot be read"))?;
            Payload::Membership(record.membership().ok_or_else(|| damaged("a voter is no member"))?)
        }
        _ => Payload::Normal(Content { format, min_reader, kind, body: rest.into(), spans: Arc::default() }),
    };
    Ok(Entry { log_id: LogId::new(LeaderId { term, node_id: leader }, index), payload })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

/// Refuses what only a later build may apply.
pub(super) fn check_readable(index: u64, content: &Content) -> Result<(), EntryError> {
    match content.kind {
        _ if content.min_reader > FORMAT => Err(EntryError::Newer { index, min_reader: content.min_reader }),
        Kind::Unknown(kind) => Err(EntryError::UnknownKind { index, kind }),
        _ => Ok(()),
    }
}

/// The body of a readable entry; newer formats may only have added to its end.
pub(super) fn body<'a, B: Deserialize<'a>>(index: u64, content: &'a Content) -> Result<B, EntryError> {
    postcard::from_bytes(&content.body)
        .map_err(|_| EntryError::Damaged { index, what: "its body cannot be read" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: Payload) -> Entry {
        Entry { log_id: LogId::new(LeaderId { term: 7, node_id: 2 }, 41), payload }
    }

    fn commands() -> Content {
        let body = Commands { at: Timestamp::from_millis(5), commands: vec![vec![1, 2], vec![3]] };
        Content::new(Kind::Commands, postcard::to_stdvec(&body).unwrap(), Vec::new())
    }

    #[test]
    fn every_kind_of_entry_comes_back_as_it_was_written() {
        let membership = super::super::types::Membership::new_with_defaults(
            vec![[1, 2].into(), [2, 3].into()],
            [1, 2, 3, 4],
        );
        for payload in [Payload::Blank, Payload::Membership(membership)] {
            let bytes = encode(GroupId(3), &entry(payload.clone())).unwrap();
            let found = decode(GroupId(3), 41, &bytes).unwrap();
            assert_eq!(found.log_id, entry(Payload::Blank).log_id);
            assert_eq!(found.payload.to_string(), payload.to_string());
        }
        let bytes = encode(GroupId(3), &entry(Payload::Normal(commands()))).unwrap();
        let found = decode(GroupId(3), 41, &bytes).unwrap();
        let Payload::Normal(content) = found.payload else { panic!("kind lost") };
        assert_eq!(found.log_id, entry(Payload::Blank).log_id);
        let body: Commands = body(41, &content).unwrap();
        assert_eq!((body.at, body.commands), (Timestamp::from_millis(5), vec![vec![1, 2], vec![3]]));
    }

    /// The bytes of format 1, which every later build must still read.
    #[test]
    fn the_layout_of_format_1_stays_as_it_is() {
        let bytes = encode(GroupId(3), &entry(Payload::Normal(commands()))).unwrap();
        let header =
            [1, 1, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 41];
        assert_eq!(bytes[..HEADER_BYTES], header);
        assert_eq!(bytes[HEADER_BYTES..], [5, 2, 2, 1, 2, 1, 3]);
    }

    #[test]
    fn an_entry_of_a_later_build_is_kept_whole_and_not_applied() {
        let newer = Content { format: 9, min_reader: 3, ..commands() };
        let unknown = Content { kind: Kind::Unknown(200), ..commands() };
        for (content, sentence) in [(newer, "entry format 3"), (unknown, "a kind (200)")] {
            let bytes = encode(GroupId(0), &entry(Payload::Normal(content))).unwrap();
            let found = decode(GroupId(0), 41, &bytes).unwrap();
            assert_eq!(encode(GroupId(0), &found).unwrap(), bytes);
            let Payload::Normal(content) = found.payload else { panic!("kind lost") };
            let refused = check_readable(41, &content).unwrap_err().to_string();
            assert!(refused.contains(sentence) && refused.contains("newer build"), "{refused}");
        }
    }

    #[test]
    fn a_later_format_that_this_build_may_read_is_read() {
        let mut longer = commands();
        longer.format = 3;
        longer.body = [&*longer.body, b"added later"].concat().into();
        check_readable(41, &longer).unwrap();
        let read: Commands = body(41, &longer).unwrap();
        assert_eq!(read.commands.len(), 2);
    }

    #[test]
    fn damaged_entries_are_refused_and_never_panic() {
        let bytes = encode(GroupId(3), &entry(Payload::Normal(commands()))).unwrap();
        for length in 0..HEADER_BYTES {
            assert!(decode(GroupId(3), 41, &bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(decode(GroupId(4), 41, &bytes).is_err());
        assert!(decode(GroupId(3), 42, &bytes).is_err());
    }
}
