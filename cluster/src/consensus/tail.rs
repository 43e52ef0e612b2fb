//! The newest part of the log, in memory: what is not yet on disk or not yet applied, and where the
//! log begins and ends.
//!
//! Entries are read from here on their way to the state, so that the disk is asked only when a node
//! catches up; the spans of proposals live only here.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::types::{Entry, LogId, Payload, Vote};

/// Bytes of entries kept although they are on disk, for an apply that is behind.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Tail {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    entries: VecDeque<Kept>,
    bytes: usize,
    /// Appends are numbered; every one up to this is on disk.
    flushed: u64,
    appends: u64,
    /// Entries below this index are applied.
    applied_end: u64,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    append: u64,
}

/// Entries asked for, as far as they are in memory; those before them are on disk.
pub(super) struct Found {
    /// Indexes to read from disk; empty when all is in memory.
    pub(super) on_disk: std::ops::Range<u64>,
    pub(super) in_memory: Vec<Entry>,
}

impl Tail {
    /// As it was found on disk.
    pub(super) fn new(
        vote: Option<Vote>,
        committed: Option<LogId>,
        purged: Option<LogId>,
        last: Option<LogId>,
    ) -> Self {
        Self { state: Mutex::new(State { vote, committed, purged, last, ..State::default() }) }
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.lock().vote
    }

    pub(super) fn set_vote(&self, vote: Vote) {
        self.lock().vote = Some(vote);
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.lock().committed
    }

    pub(super) fn set_committed(&self, committed: Option<LogId>) {
        self.lock().committed = committed;
    }

    /// The last position purged and the last of the log.
    pub(super) fn bounds(&self) -> (Option<LogId>, Option<LogId>) {
        let state = self.lock();
        (state.purged, state.last)
    }

    /// Keeps entries at the end of the log; the number answered goes to [`Self::flushed`] once they
    /// are on disk.
    pub(super) fn append(&self, entries: Vec<Entry>) -> u64 {
        let mut state = self.lock();
        state.appends += 1;
        let append = state.appends;
        for entry in entries {
            state.last = Some(entry.log_id);
            state.bytes += bytes(&entry);
            state.entries.push_back(Kept { entry, append });
        }
        append
    }

    /// Every append up to this one is on disk.
    pub(super) fn flushed(&self, append: u64) {
        let mut state = self.lock();
        state.flushed = state.flushed.max(append);
        state.evict();
    }

    /// Every entry up to this index is applied.
    pub(super) fn applied(&self, index: u64) {
        let mut state = self.lock();
        state.applied_end = state.applied_end.max(index + 1);
        state.evict();
    }

    /// Forgets entries after `last`; answers the indexes that were there.
    pub(super) fn truncate_after(&self, last: Option<LogId>) -> std::ops::Range<u64> {
        let mut state = self.lock();
        let start = last.map_or(0, |last| last.index + 1);
        let end = state.last.map_or(0, |last| last.index + 1);
        while state.entries.back().is_some_and(|kept| kept.entry.log_id.index >= start) {
            let dropped = state.entries.pop_back();
            state.bytes -= dropped.map_or(0, |kept| bytes(&kept.entry));
        }
        state.last = last.max(state.purged).min(state.last);
        start..end.max(start)
    }

    /// Forgets entries up to `upto`; answers the indexes that were there.
    pub(super) fn purge(&self, upto: LogId) -> std::ops::Range<u64> {
        let mut state = self.lock();
        let start = state.purged.map_or(0, |purged| purged.index + 1);
        let end = state.last.map_or(0, |last| last.index + 1).min(upto.index + 1);
        while state.entries.front().is_some_and(|kept| kept.entry.log_id.index <= upto.index) {
            state.drop_first();
        }
        state.purged = state.purged.max(Some(upto));
        state.last = state.last.max(Some(upto));
        start..end.max(start)
    }

    /// Entries with an index in `range`, and which of them are only on disk.
    pub(super) fn find(&self, range: std::ops::Range<u64>) -> Found {
        let state = self.lock();
        let start = range.start.max(state.purged.map_or(0, |purged| purged.index + 1));
        let end = range.end.min(state.last.map_or(0, |last| last.index + 1)).max(start);
        let first_kept = state.entries.front().map_or(end, |kept| kept.entry.log_id.index);
        let in_memory = state
            .entries
            .iter()
            .map(|kept| &kept.entry)
            .skip_while(|entry| entry.log_id.index < start)
            .take_while(|entry| entry.log_id.index < end);
        Found { on_disk: start..first_kept.clamp(start, end), in_memory: in_memory.cloned().collect() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between two changes of `State` can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops what is on disk from the front, unless it is still to be applied and there is room.
    fn evict(&mut self) {
        while let Some(first) = self.entries.front() {
            let is_applied = first.entry.log_id.index < self.applied_end;
            if first.append > self.flushed || !(is_applied || self.bytes > KEPT_BYTES_MAX) {
                break;
            }
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let dropped = self.entries.pop_front();
        self.bytes -= dropped.map_or(0, |kept| bytes(&kept.entry));
    }
}

fn bytes(entry: &Entry) -> usize {
    size_of::<Kept>()
        + match &entry.payload {
            Payload::Normal(content) => content.body.len(),
            Payload::Blank | Payload::Membership(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Content, Kind};
    use super::super::types::LeaderId;
    use super::*;

    fn id(index: u64) -> LogId {
        LogId::new(LeaderId { term: 1, node_id: 1 }, index)
    }

    fn entry(index: u64, body: usize) -> Entry {
        let content = Content::new(Kind::Commands, vec![0; body], Vec::new());
        Entry { log_id: id(index), payload: Payload::Normal(content) }
    }

    fn indexes(found: &Found) -> (std::ops::Range<u64>, Vec<u64>) {
        (found.on_disk.clone(), found.in_memory.iter().map(|entry| entry.log_id.index).collect())
    }

    #[test]
    fn an_entry_stays_in_memory_until_it_is_on_disk_and_applied() {
        let tail = Tail::default();
        let first = tail.append(vec![entry(0, 10), entry(1, 10)]);
        let second = tail.append(vec![entry(2, 10)]);
        tail.applied(1);
        assert_eq!(indexes(&tail.find(0..9)), (0..0, vec![0, 1, 2]));
        tail.flushed(first);
        assert_eq!(indexes(&tail.find(0..9)), (0..2, vec![2]));
        tail.flushed(second);
        assert_eq!(indexes(&tail.find(0..9)), (0..2, vec![2]));
        tail.applied(2);
        assert_eq!(indexes(&tail.find(1..9)), (1..3, vec![]));
    }

    #[test]
    fn entries_on_disk_leave_when_memory_runs_short_and_others_never() {
        let tail = Tail::default();
        let large = KEPT_BYTES_MAX / 2;
        let first = tail.append(vec![entry(0, large), entry(1, large)]);
        tail.append(vec![entry(2, large)]);
        assert_eq!(indexes(&tail.find(0..3)), (0..0, vec![0, 1, 2]));
        tail.flushed(first);
        assert_eq!(indexes(&tail.find(0..3)), (0..2, vec![2]));
    }

    #[test]
    fn an_entry_written_again_after_a_truncation_counts_as_not_on_disk() {
        let tail = Tail::default();
        let first = tail.append(vec![entry(0, 1), entry(1, 1)]);
        assert_eq!(tail.truncate_after(Some(id(0))), 1..2);
        tail.append(vec![entry(1, 1)]);
        tail.flushed(first);
        tail.applied(1);
        assert_eq!(indexes(&tail.find(0..2)), (0..1, vec![1]));
    }

    #[test]
    fn purging_moves_the_start_of_the_log_also_past_its_end() {
        let tail = Tail::default();
        tail.append(vec![entry(0, 1), entry(1, 1)]);
        assert_eq!(tail.purge(id(0)), 0..1);
        assert_eq!(indexes(&tail.find(0..9)), (1..1, vec![1]));
        assert_eq!(tail.purge(id(7)), 1..2);
        assert_eq!(tail.bounds(), (Some(id(7)), Some(id(7))));
        assert_eq!(indexes(&tail.find(0..9)), (8..8, vec![]));
    }
}
