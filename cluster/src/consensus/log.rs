//! The log of one group on the *raft* engine, as `openraft` wants it: entries, vote, how far it is
//! committed and from where on it is kept.
//!
//! Every write goes through one thread ([`Writer`]) and is synced before anybody is told; entries can
//! be read at once, from memory ([`Tail`]).

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use twinmcp_storage::engine::{Engine, Keyspace, StorageError, Write};
use twinmcp_storage::record;

use super::entry;
use super::health::Health;
use super::records::{self, PositionRecord, VoteRecord};
use super::tail::Tail;
use super::types::{Entry, LogId, Payload, Types, Vote};
use super::work::Work;
use super::writer::Writer;
use crate::error::ClusterError;
use crate::status::GroupId;

/// Entries read from disk at once, and sent to a peer at once.
const READ_ENTRIES_MAX: usize = 64;
/// Bytes of entries sent to a peer at once, one entry more than this at most.
const SEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The log; clones share it.
#[derive(Clone)]
pub(super) struct LogStore {
    group: GroupId,
    engine: Arc<dyn Engine>,
    tail: Arc<Tail>,
    writer: Writer,
    work: Work,
}

impl LogStore {
    /// Opens the log that `engine` holds for `group`.
    ///
    /// # Errors
    /// When the engine cannot be read, a record in it is damaged or of a later build, or no thread can
    /// be started.
    pub(super) fn open(
        group: GroupId,
        engine: Arc<dyn Engine>,
        health: Health,
        work: Work,
    ) -> Result<Self, ClusterError> {
        let tail = Arc::new(open_tail(group, &*engine).map_err(ClusterError::Storage)?);
        let writer = Writer::start(group, Arc::clone(&engine), Arc::clone(&tail), health, &work)
            .map_err(|error| ClusterError::Start { reason: format!("no thread for the log: {error}") })?;
        Ok(Self { group, engine, tail, writer, work })
    }

    pub(super) fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.tail)
    }

    pub(super) fn writer(&self) -> Writer {
        self.writer.clone()
    }

    fn position_write(&self, name: &str, position: LogId) -> io::Result<Write> {
        let value = record::encode(&PositionRecord::from(position)).map_err(io::Error::other)?;
        Ok(Write { space: Keyspace::Vote, key: records::key(self.group, name), value: Some(value) })
    }

    fn removals(&self, indexes: Range<u64>) -> impl Iterator<Item = Write> {
        let group = self.group;
        indexes.map(move |index| Write {
            space: Keyspace::Log,
            key: records::log_key(group, index),
            value: None,
        })
    }

    /// Entries with an index in `range`: all of them, or the first ones until `bytes_max` is passed.
    async fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let found = self.tail.find(range);
        let mut entries = Vec::new();
        if !found.on_disk.is_empty() {
            let (group, engine, range) = (self.group, Arc::clone(&self.engine), found.on_disk);
            let read = move || read_entries(group, &*engine, range, bytes_max);
            entries = self.work.run(read).await??;
        }
        let mut bytes: usize = entries.iter().map(body_bytes).sum();
        for entry in found.in_memory {
            if bytes > bytes_max {
                break;
            }
            bytes += body_bytes(&entry);
            entries.push(entry);
        }
        let has_hole = entries.windows(2).any(|pair| pair[0].log_id.index + 1 != pair[1].log_id.index);
        match has_hole {
            true => Err(io::Error::other("the log has a hole")),
            false => Ok(entries),
        }
    }
}

fn body_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Normal(content) => content.body.len(),
        Payload::Blank | Payload::Membership(_) => 0,
    }
}

fn open_tail(group: GroupId, engine: &dyn Engine) -> Result<Tail, StorageError> {
    let vote: Option<VoteRecord> = records::read(engine, Keyspace::Vote, group, records::VOTE)?;
    let position = |name| -> Result<Option<LogId>, StorageError> {
        let record: Option<PositionRecord> = records::read(engine, Keyspace::Vote, group, name)?;
        Ok(record.map(LogId::from))
    };
    let purged = position(records::PURGED)?;
    let first = purged.map_or(0, |purged| purged.index + 1);
    let last = match last_index(group, engine, first)? {
        Some(index) => {
            let bytes = engine.get(Keyspace::Log, &records::log_key(group, index))?.unwrap_or_default();
            Some(entry::decode(group, index, &bytes).map_err(unreadable)?.log_id)
        }
        None => purged,
    };
    Ok(Tail::new(vote.map(Vote::from), position(records::COMMITTED)?, purged, last))
}

fn unreadable(error: entry::EntryError) -> StorageError {
    StorageError::Engine { operation: "read an entry", place: "the log".to_owned(), source: error.into() }
}

/// The greatest index at or after `first` that has an entry. An engine cannot scan backwards, but the
/// log has no holes: doubling steps, then halving ones, take two reads for each doubling of the log.
fn last_index(group: GroupId, engine: &dyn Engine, first: u64) -> Result<Option<u64>, StorageError> {
    let has =
        |index| Ok::<_, StorageError>(engine.get(Keyspace::Log, &records::log_key(group, index))?.is_some());
    if !has(first)? {
        return Ok(None);
    }
    let (mut found, mut step) = (first, 1);
    while has(found + step)? {
        found += step;
        step *= 2;
    }
    while step > 1 {
        step /= 2;
        if has(found + step)? {
            found += step;
        }
    }
    Ok(Some(found))
}

/// Entries with an index in `range`, the first ones until `bytes_max` is passed.
fn read_entries(
    group: GroupId,
    engine: &dyn Engine,
    range: Range<u64>,
    bytes_max: usize,
) -> io::Result<Vec<Entry>> {
    let prefix = group.0.to_be_bytes();
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let mut next = range.start;
    while next < range.end && bytes <= bytes_max {
        let after = next.checked_sub(1).map(|before| records::log_key(group, before));
        let limit = usize::try_from(range.end - next).unwrap_or(usize::MAX).min(READ_ENTRIES_MAX);
        let pairs = engine.scan(Keyspace::Log, &prefix, after.as_deref(), limit).map_err(io::Error::other)?;
        for (key, value) in &pairs {
            let index = key.last_chunk().map_or(u64::MAX, |index| u64::from_be_bytes(*index));
            if index >= range.end || bytes > bytes_max {
                return Ok(entries);
            }
            entries.push(entry::decode(group, index, value).map_err(io::Error::other)?);
            bytes += value.len();
            next = index + 1;
        }
        if pairs.is_empty() {
            break;
        }
    }
    Ok(entries)
}

fn indexes(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        self.read(indexes(&range), usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.tail.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let end = end.min(start.saturating_add(READ_ENTRIES_MAX as u64));
        let entries = self.read(start..end, SEND_BYTES_MAX).await?;
        // The log may have been cut meanwhile: what follows a gap must not be sent as if there were none.
        let is_whole = entries.first().is_none_or(|first| first.log_id.index == start);
        Ok(if is_whole { entries } else { Vec::new() })
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let (last_purged_log_id, last_log_id) = self.tail.bounds();
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let value = record::encode(&VoteRecord::from(*vote)).map_err(io::Error::other)?;
        let key = records::key(self.group, records::VOTE);
        self.writer.write(vec![Write { space: Keyspace::Vote, key, value: Some(value) }]).await?;
        self.tail.set_vote(*vote);
        Ok(())
    }

    /// Kept in memory, and written with the next entries.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.tail.set_committed(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.tail.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut writes = Vec::with_capacity(entries.len());
        for entry in &entries {
            let value = entry::encode(self.group, entry).map_err(io::Error::other)?;
            let key = records::log_key(self.group, entry.log_id.index);
            writes.push(Write { space: Keyspace::Log, key, value: Some(value) });
        }
        let append = self.tail.append(entries);
        self.writer.append(writes, append, callback)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let gone = self.tail.truncate_after(last_log_id);
        self.writer.write(self.removals(gone).collect()).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let gone = self.tail.purge(log_id);
        let mut writes = vec![self.position_write(records::PURGED, log_id)?];
        writes.extend(self.removals(gone));
        self.writer.write(writes).await
    }
}
