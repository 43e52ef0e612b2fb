//! Requests that are done once, however often they are sent.
//!
//! A node numbers what it proposes. The number travels with the command, so that a proposal whose answer was lost can
//! be sent again, to the next leader too: the state remembers what became of each request until the node says that it
//! will not ask again (Ongaro, "Consensus: Bridging Theory and Practice", 6.3).
//!
//! Key layout in `Keyspace::Requests`, after the group: `n <node>` -> [`OriginRecord`], `r <node> <boot> <sequence>` ->
//! [`DoneRecord`]; numbers are big-endian.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use twinmcp_storage::command::Outcome;
use twinmcp_storage::engine::{Keyspace, Reader, StorageError};
use twinmcp_storage::record::Record;
use twinmcp_storage::transaction::{self, Transaction};

use crate::status::GroupId;

/// Old requests forgotten with each new one: more than one, so that what is kept shrinks after a burst.
const FORGOTTEN_AT_ONCE: u64 = 8;
/// Requests of an earlier start that are forgotten at once.
const FORGOTTEN_BOOT_MAX: usize = 1024;

/// A command with the number its node gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Who proposes it.
    pub(super) node: u64,
    /// Which of the node's starts; each is higher than the one before.
    pub(super) boot: u64,
    /// Which of that start's requests.
    pub(super) sequence: u64,
    /// Every request with a lower number has been answered, or will not be sent again.
    pub(super) done_below: u64,
    /// The command, as a record.
    pub(super) command: Vec<u8>,
}

/// How far a node is with its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct OriginRecord {
    boot: u64,
    /// No request below is remembered.
    low: u64,
}

impl Record for OriginRecord {
    const NAME: &'static str = "origin of requests";
    const FORMAT: u8 = 1;
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct DoneRecord {
    outcome: Outcome,
}

impl Record for DoneRecord {
    const NAME: &'static str = "request";
    const FORMAT: u8 = 1;
}

/// Does `apply` unless the request was done before; what became of it, then or now. A request that its node has
/// given up is [`Outcome::Stale`], and so is one of an earlier start: nobody waits for either.
pub(super) fn once<'a>(
    transaction: &mut Transaction<'a>,
    group: GroupId,
    request: &Request,
    apply: impl FnOnce(&mut Transaction<'a>) -> Result<Outcome, StorageError>,
) -> Result<Outcome, StorageError> {
    let origin_key = origin_key(group, request.node);
    let known: Option<OriginRecord> = transaction::get(transaction, Keyspace::Requests, &origin_key)?;
    let origin = match known {
        Some(origin) if request.boot < origin.boot => return Ok(Outcome::Stale),
        Some(origin) if request.boot == origin.boot => origin,
        before => {
            if let Some(before) = before {
                forget_boot(transaction, group, request.node, before.boot)?;
            }
            OriginRecord { boot: request.boot, low: request.done_below }
        }
    };
    if request.sequence < origin.low {
        return Ok(Outcome::Stale);
    }
    let key = request_key(group, request.node, request.boot, request.sequence);
    let done: Option<DoneRecord> = transaction::get(transaction, Keyspace::Requests, &key)?;
    if let Some(done) = done {
        return Ok(done.outcome);
    }
    let outcome = apply(transaction)?;
    transaction.put(Keyspace::Requests, key, &DoneRecord { outcome })?;
    let low = request.done_below.min(origin.low + FORGOTTEN_AT_ONCE).max(origin.low);
    for sequence in origin.low..low {
        transaction.remove(Keyspace::Requests, request_key(group, request.node, request.boot, sequence));
    }
    let now = OriginRecord { low, ..origin };
    if known != Some(now) {
        transaction.put(Keyspace::Requests, origin_key, &now)?;
    }
    Ok(outcome)
}

fn forget_boot(
    transaction: &mut Transaction<'_>,
    group: GroupId,
    node: u64,
    boot: u64,
) -> Result<(), StorageError> {
    let prefix = boot_prefix(group, node, boot);
    loop {
        let found = transaction.scan(Keyspace::Requests, &prefix, None, FORGOTTEN_BOOT_MAX)?;
        let is_last = found.len() < FORGOTTEN_BOOT_MAX;
        for (key, _) in found {
            transaction.remove(Keyspace::Requests, key);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn origin_key(group: GroupId, node: u64) -> Vec<u8> {
    [group.0.to_be_bytes().as_slice(), b"n", &node.to_be_bytes()].concat()
}

fn boot_prefix(group: GroupId, node: u64, boot: u64) -> Vec<u8> {
    [group.0.to_be_bytes().as_slice(), b"r", &node.to_be_bytes(), &boot.to_be_bytes()].concat()
}

fn request_key(group: GroupId, node: u64, boot: u64, sequence: u64) -> Vec<u8> {
    [boot_prefix(group, node, boot).as_slice(), &sequence.to_be_bytes()].concat()
}

/// Numbers the requests of one start.
#[derive(Debug)]
pub(super) struct Numbers {
    node: u64,
    boot: u64,
    next: AtomicU64,
    /// Those that are not answered yet.
    open: Mutex<BTreeSet<u64>>,
}

/// A number in use. Dropped, the request is never sent again.
#[derive(Debug)]
pub(super) struct Numbered {
    numbers: Arc<Numbers>,
    sequence: u64,
}

impl Numbers {
    pub(super) fn new(node: u64, boot: u64) -> Self {
        Self { node, boot, next: AtomicU64::new(0), open: Mutex::default() }
    }

    /// The next number.
    pub(super) fn take(self: &Arc<Self>) -> Numbered {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(sequence);
        Numbered { numbers: Arc::clone(self), sequence }
    }
}

impl Numbered {
    /// The request, as it is sent now.
    pub(super) fn request(&self, command: Vec<u8>) -> Request {
        let open = self.numbers.open.lock().unwrap_or_else(PoisonError::into_inner);
        let done_below = open.first().copied().unwrap_or(self.sequence);
        let Numbers { node, boot, .. } = *self.numbers;
        Request { node, boot, sequence: self.sequence, done_below, command }
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.numbers.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.sequence);
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::engine::{Durability, Engine, MemoryEngine};

    use super::*;

    const GROUP: GroupId = GroupId(0);

    /// Applies the request; the outcome, and how often the command itself ran.
    fn apply(engine: &MemoryEngine, boot: u64, sequence: u64, done_below: u64) -> (Outcome, u32) {
        let request = Request { node: 7, boot, sequence, done_below, command: Vec::new() };
        let mut transaction = Transaction::new(engine);
        let mut ran = 0;
        let outcome = once(&mut transaction, GROUP, &request, |_| {
            ran += 1;
            Ok(Outcome::AlreadyExists)
        });
        let outcome = outcome.unwrap();
        engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
        (outcome, ran)
    }

    fn kept(engine: &MemoryEngine) -> usize {
        engine.scan(Keyspace::Requests, b"", None, usize::MAX).unwrap().len()
    }

    #[test]
    fn a_request_is_done_once_and_its_outcome_is_told_again() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        assert_eq!(apply(&engine, 1, 4, 4), (Outcome::AlreadyExists, 1));
        assert_eq!(apply(&engine, 1, 4, 4), (Outcome::AlreadyExists, 0));
        assert_eq!(apply(&engine, 1, 5, 4), (Outcome::AlreadyExists, 1));
    }

    #[test]
    fn what_its_node_has_given_up_is_not_done_any_more() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        apply(&engine, 1, 9, 9);
        assert_eq!(apply(&engine, 1, 8, 8), (Outcome::Stale, 0));
        apply(&engine, 2, 0, 0);
        assert_eq!(apply(&engine, 1, 10, 9), (Outcome::Stale, 0), "an earlier start's");
    }

    #[test]
    fn what_is_remembered_stays_small() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        // A hundred at once, then one after another.
        (0..100).for_each(|sequence| assert_eq!(apply(&engine, 1, sequence, 0).1, 1));
        assert_eq!(kept(&engine), 101);
        (100..140).for_each(|sequence| assert_eq!(apply(&engine, 1, sequence, sequence).1, 1));
        assert!(kept(&engine) <= 4, "{}", kept(&engine));
        (0..2_000).for_each(|sequence| assert_eq!(apply(&engine, 2, sequence, 0).1, 1));
        apply(&engine, 3, 0, 0);
        assert_eq!(kept(&engine), 2, "a start forgets what the one before has asked");
    }

    #[test]
    fn a_number_is_open_until_it_is_dropped() {
        let numbers = Arc::new(Numbers::new(7, 1));
        let (first, second) = (numbers.take(), numbers.take());
        assert_eq!((second.request(Vec::new()).sequence, second.request(Vec::new()).done_below), (1, 0));
        drop(first);
        assert_eq!(second.request(Vec::new()).done_below, 1);
    }
}
