//! Usage: how often each library was asked, by day, tool, surface and client, and about how many asked.
//!
//! Key layout: `d/<day> <library>` -> [`DayUse`], the day as in [`Day`]; `s/<node>` -> the number of the
//! last flush of that node, as 8 bytes. A node counts by itself and sends what came since the last time
//! ([`Command::Flush`]); sums and greatest values do not mind in which order nodes come.
//!
//! Invariant: who asked is not kept. A [`Sketch`] tells about how many different ones there were, and
//! cannot be read backwards.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::LibraryId;
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Days that are kept.
pub const DAYS_MAX: u64 = 400;
/// Records past their days that one flush removes: a node that was off for long catches up in a few.
const FORGOTTEN_MAX: usize = 1_000;
/// Registers of a [`Sketch`]: its standard error is 1.04 / √64 = 13 %, less while there are few.
pub const REGISTERS: usize = 64;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// A day in UTC, as days since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Day(pub u32);

impl Day {
    /// The day of a moment.
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.as_millis() / DAY_MS).unwrap_or(u32::MAX))
    }

    /// So many days earlier.
    #[must_use]
    pub fn minus(self, days: u64) -> Self {
        Self(self.0.saturating_sub(u32::try_from(days).unwrap_or(u32::MAX)))
    }
}

/// The day as `2026-11-23`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Timestamp::from_millis(u64::from(self.0) * DAY_MS).to_string();
        f.write_str(text.get(..10).unwrap_or(&text))
    }
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tool {
    /// `resolve-library-id`, with the library as its best answer.
    Resolve,
    /// `query-docs`.
    Query,
}

/// Which way it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Surface {
    /// A page for people.
    Page,
    /// The REST interface, by a program of its own.
    Txt,
    /// The Model Context Protocol, here or in a server that relays.
    Mcp,
    /// A command line.
    Cli,
}

/// How often something was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What.
    pub tool: Tool,
    /// Which way.
    pub surface: Surface,
    /// By which program, from the closed list of clients.
    pub client: String,
    /// How often.
    pub requests: u64,
}

impl Count {
    /// What it counts; the order of counts.
    fn of(&self) -> (Tool, Surface, &str) {
        (self.tool, self.surface, &self.client)
    }
}

/// About how many different callers there were: HyperLogLog with [`REGISTERS`] registers (Flajolet,
/// Fusy, Gandouet, Meunier 2007).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    /// By which program, from the closed list of clients.
    pub client: String,
    /// The greatest rank seen in each register; [`REGISTERS`] of them.
    pub registers: Vec<u8>,
}

impl Sketch {
    /// Which register a caller's hash is for, and its rank there, 1 to 59.
    pub fn place(hash: u64) -> (usize, u8) {
        let rest = hash << REGISTERS.trailing_zeros();
        let rank = rest.leading_zeros().min(u64::BITS - REGISTERS.trailing_zeros()) + 1;
        ((hash >> (u64::BITS - REGISTERS.trailing_zeros())) as usize, rank as u8)
    }

    /// Takes another one's callers in.
    pub fn merge(&mut self, other: &[u8]) {
        for (own, other) in self.registers.iter_mut().zip(other) {
            *own = (*own).max(*other);
        }
    }

    /// About how many there were.
    pub fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
        let raw = 0.709 * registers * registers / sum;
        let empty = self.registers.iter().filter(|rank| **rank == 0).count();
        let estimate = if raw <= 2.5 * registers && empty > 0 {
            registers * (registers / empty as f64).ln() // Few: counting the empty ones is more exact.
        } else {
            raw
        };
        estimate.round() as u64
    }
}

/// The use of one library on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayUse {
    /// Which day.
    pub day: Day,
    /// Which library.
    pub library: LibraryId,
    /// How often, by tool, surface and client, in this order.
    pub counts: Vec<Count>,
    /// Callers of `query-docs` by client, by name.
    pub callers: Vec<Sketch>,
}

impl Record for DayUse {
    const NAME: &'static str = "usage of a day";
    const FORMAT: u8 = 1;
}

/// A change to usage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds what a node has counted. [`Outcome::Stale`] for a flush that was applied before.
    Flush {
        /// Which node.
        node: String,
        /// The flush's number, greater than that of the node's last one.
        sequence: u64,
        /// What came since then.
        uses: Vec<DayUse>,
    },
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    let Command::Flush { node, sequence, uses } = command;
    if *sequence <= last_flush(transaction, node)? {
        return Ok(Outcome::Stale);
    }
    transaction.put_bytes(Keyspace::Usage, node_key(node), sequence.to_be_bytes().to_vec());
    for using in uses {
        let known = day(transaction, using.day, &using.library)?;
        let empty = || DayUse { counts: Vec::new(), callers: Vec::new(), ..using.clone() };
        let sum = added(known.unwrap_or_else(empty), using);
        transaction.put(Keyspace::Usage, day_key(using.day, &using.library), &sum)?;
    }
    let kept_from = Day::of(at).minus(DAYS_MAX);
    let oldest = transaction.scan(Keyspace::Usage, b"d/", None, FORGOTTEN_MAX)?;
    for (key, _) in oldest.into_iter().take_while(|(key, _)| *key < day_prefix(kept_from)) {
        transaction.remove(Keyspace::Usage, key);
    }
    Ok(Outcome::Done)
}

fn added(mut known: DayUse, more: &DayUse) -> DayUse {
    for count in &more.counts {
        match known.counts.binary_search_by(|known| known.of().cmp(&count.of())) {
            Ok(at) => known.counts[at].requests = known.counts[at].requests.saturating_add(count.requests),
            Err(at) => known.counts.insert(at, count.clone()),
        }
    }
    for sketch in &more.callers {
        match known.callers.binary_search_by(|known| known.client.cmp(&sketch.client)) {
            Ok(at) => known.callers[at].merge(&sketch.registers),
            Err(at) => known.callers.insert(at, sketch.clone()),
        }
    }
    known
}

/// The number of the node's last flush, 0 before the first.
pub fn last_flush(reader: &(impl Reader + ?Sized), node: &str) -> Result<u64, StorageError> {
    let bytes = reader.get(Keyspace::Usage, &node_key(node))?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// The use of a library on one day.
pub fn day(
    reader: &(impl Reader + ?Sized),
    day: Day,
    library: &LibraryId,
) -> Result<Option<DayUse>, StorageError> {
    transaction::get(reader, Keyspace::Usage, &day_key(day, library))
}

fn node_key(node: &str) -> Vec<u8> {
    format!("s/{node}").into_bytes()
}

fn day_prefix(day: Day) -> Vec<u8> {
    // Ten digits hold any day, so that keys are in the order of days.
    format!("d/{:010} ", day.0).into_bytes()
}

fn day_key(day: Day, library: &LibraryId) -> Vec<u8> {
    [day_prefix(day), library.as_str().as_bytes().to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Durability, Engine, MemoryEngine};

    fn library() -> LibraryId {
        "/a/b".parse().unwrap()
    }

    fn count(surface: Surface, client: &str, requests: u64) -> Count {
        Count { tool: Tool::Query, surface, client: client.to_owned(), requests }
    }

    fn using(day: u32, counts: Vec<Count>) -> DayUse {
        DayUse { day: Day(day), library: library(), counts, callers: Vec::new() }
    }

    fn flush(engine: &MemoryEngine, today: u32, node: &str, sequence: u64, uses: Vec<DayUse>) -> Outcome {
        let mut transaction = Transaction::new(engine);
        let at = Timestamp::from_millis(u64::from(today) * DAY_MS + 1);
        let command = Command::Flush { node: node.to_owned(), sequence, uses };
        let outcome = apply(&mut transaction, at, &command).unwrap();
        engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
        outcome
    }

    #[test]
    fn counts_of_nodes_add_up_once_each() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        let one = || vec![using(500, vec![count(Surface::Mcp, "cursor", 2)])];
        assert_eq!(flush(&engine, 500, "n1", 1, one()), Outcome::Done);
        assert_eq!(flush(&engine, 500, "n1", 1, one()), Outcome::Stale, "a flush that is sent again");
        assert_eq!(flush(&engine, 500, "n2", 1, one()), Outcome::Done);
        let other = vec![using(500, vec![count(Surface::Txt, "other", 1), count(Surface::Mcp, "cursor", 1)])];
        assert_eq!(flush(&engine, 500, "n1", 2, other), Outcome::Done);
        let counts = day(&engine, Day(500), &library()).unwrap().unwrap().counts;
        assert_eq!(counts, [count(Surface::Txt, "other", 1), count(Surface::Mcp, "cursor", 5)]);
        assert_eq!(last_flush(&engine, "n1").unwrap(), 2);
    }

    #[test]
    fn days_past_their_time_are_forgotten() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        let counts = || vec![count(Surface::Mcp, "cursor", 1)];
        flush(&engine, 501, "n1", 1, vec![using(500, counts()), using(501, counts())]);
        flush(&engine, 901, "n1", 2, Vec::new());
        assert_eq!(day(&engine, Day(500), &library()).unwrap(), None);
        assert!(day(&engine, Day(501), &library()).unwrap().is_some());
    }

    #[test]
    fn a_day_is_written_as_people_write_it() {
        assert_eq!(Day::of(Timestamp::from_millis(1_795_437_970_123)).to_string(), "2026-11-23");
    }

    #[test]
    fn a_sketch_tells_about_how_many_there_were_and_merges_in_any_order() {
        let sketch = |callers: std::ops::Range<u64>| {
            let mut sketch = Sketch { client: "cursor".to_owned(), registers: vec![0; REGISTERS] };
            for caller in callers {
                let hash = blake3::hash(&caller.to_le_bytes());
                let (at, rank) = Sketch::place(u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()));
                sketch.registers[at] = sketch.registers[at].max(rank);
            }
            sketch
        };
        for (callers, error) in [(0, 0), (1, 0), (5, 1), (20, 4), (1_000, 300), (50_000, 15_000)] {
            let estimate = sketch(0..callers).estimate();
            assert!(estimate.abs_diff(callers) <= error, "{callers}: {estimate}");
        }
        let (mut one, mut other) = (sketch(0..300), sketch(200..600));
        let before = one.clone();
        one.merge(&other.registers);
        other.merge(&before.registers);
        assert_eq!(one, other);
        assert_eq!(one, sketch(0..600));
        assert_eq!(Sketch::place(0), (0, 59));
        assert_eq!(Sketch::place(u64::MAX), (63, 1));
    }
}
