//! The chain: appending to it, and letting the oldest go.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Audited;
use super::budget;
use super::entry::{Entry, Place};
use super::event::{Actor, By, Event};
use crate::clock::Timestamp;
use crate::engine::{Keyspace, StorageError};
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Old lines that go with each new one, so that a log catches up after its limits were lowered.
const REMOVED_WITH_EACH_MAX: usize = 4;

/// How much of the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Lines.
    pub entries_max: u64,
    /// How old they get, in milliseconds.
    pub age_ms_max: u64,
}

impl Default for Keep {
    /// A hundred thousand lines (about 40 MB), thirteen months.
    fn default() -> Self {
        Self { entries_max: 100_000, age_ms_max: 400 * 24 * 3600 * 1000 }
    }
}

/// A line, with its time for those who look for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// The line, without its end: an [`Entry`] as JSON.
    pub text: String,
}

impl Record for Line {
    const NAME: &'static str = "line of the audit log";
    const FORMAT: u8 = 1;
}

impl Line {
    /// The event in the line; `None` for one that is no JSON of ours.
    pub fn entry(&self) -> Option<Entry> {
        serde_json::from_str(&self.text).ok()
    }
}

/// Both ends of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the oldest line that is kept; 0 in a log without any.
    pub first: u64,
    /// When that was written.
    pub(crate) first_at: Timestamp,
    /// SHA-256 of the line before the oldest: what the oldest is chained to. Zeros when nothing went yet.
    pub anchor: [u8; 32],
    /// The number of the newest line; 0 in a log without any.
    pub last: u64,
    /// SHA-256 of the newest line.
    pub hash: [u8; 32],
    /// The hours before this one have been summed up; hours since 1970.
    pub(crate) summed_up_to: u64,
}

impl Record for Head {
    const NAME: &'static str = "head of the audit log";
    const FORMAT: u8 = 2;

    fn migrate(format: u8, body: &[u8]) -> Option<Self> {
        /// What went untold was kept here, for all actions together.
        #[derive(Deserialize)]
        struct V1 {
            first: u64,
            first_at: Timestamp,
            anchor: [u8; 32],
            last: u64,
            hash: [u8; 32],
            _noise: (u64, u32, u64),
        }
        let V1 { first, first_at, anchor, last, hash, .. } =
            (format == 1).then(|| postcard::from_bytes(body).ok())??;
        Some(Self { first, first_at, anchor, last, hash, summed_up_to: 0 })
    }
}

/// SHA-256 of a line.
pub(super) fn hash(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}

/// Writes events down behind what is there.
pub(super) fn append(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    audited: &Audited,
    events: Vec<Event>,
) -> Result<(), StorageError> {
    let mut head = head(transaction)?;
    for summary in budget::close(transaction, at, &mut head)? {
        let by = By { actor: Actor::Node(audited.node), address: None, request: None };
        write(transaction, at, &mut head, audited, &by, summary)?;
    }
    for event in events {
        if budget::take(transaction, at, &audited.by, &event)? {
            write(transaction, at, &mut head, audited, &audited.by, event)?;
        }
    }
    transaction.put(Keyspace::Audit, HEAD.to_vec(), &head)
}

fn write(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    head: &mut Head,
    audited: &Audited,
    by: &By,
    event: Event,
) -> Result<(), StorageError> {
    let place = Place { number: head.last + 1, at, previous: head.hash, node: audited.node };
    let entry = Entry::new(by, event, &place);
    let text = serde_json::to_string(&entry)
        .map_err(|_| StorageError::Encode { record: Line::NAME, source: postcard::Error::SerdeSerCustom })?;
    head.last = place.number;
    head.hash = hash(text.as_bytes());
    if head.first == 0 {
        (head.first, head.first_at) = (place.number, at);
    }
    transaction.put(Keyspace::Audit, key(place.number), &Line { at, text })?;
    trim(transaction, at, head, &audited.keep)
}

/// Lets a few of the oldest lines go, if they are too many or too old. The newest stays.
fn trim(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    head: &mut Head,
    keep: &Keep,
) -> Result<(), StorageError> {
    for _ in 0..REMOVED_WITH_EACH_MAX {
        let is_over = head.last - head.first >= keep.entries_max.max(1)
            || at.millis_since(head.first_at) > keep.age_ms_max;
        if !is_over || head.first == head.last {
            return Ok(());
        }
        if let Some(oldest) = line(transaction, head.first)? {
            head.anchor = hash(oldest.text.as_bytes());
        }
        transaction.remove(Keyspace::Audit, key(head.first));
        head.first += 1;
        head.first_at = line(transaction, head.first)?.map_or(at, |line| line.at);
    }
    Ok(())
}

const HEAD: &[u8] = b"h";

pub(super) fn key(number: u64) -> Vec<u8> {
    [b"e/".as_slice(), &number.to_be_bytes()].concat()
}

pub(super) fn head(reader: &(impl crate::engine::Reader + ?Sized)) -> Result<Head, StorageError> {
    Ok(transaction::get(reader, Keyspace::Audit, HEAD)?.unwrap_or_default())
}

pub(super) fn line(
    reader: &(impl crate::engine::Reader + ?Sized),
    number: u64,
) -> Result<Option<Line>, StorageError> {
    transaction::get(reader, Keyspace::Audit, &key(number))
}
