//! Whether what clients saw could have been seen from one node that does one thing at a time (linearizable).
//!
//! For each key, an order of its operations is looked for in which each step takes one that was called before the earliest
//! return among those left, and a sequential model ([`Step`]) accepts its answer (Wing and Gong, "Testing and Verifying
//! Concurrent Objects"; the memo is Lowe's). One whose answer is unknown may be placed anywhere after its call, or left
//! out. What fails is told with the shortest prefix of the history that does.

mod models;
mod search;
mod trial;

use std::fmt::{self, Debug};
use std::hash::Hash;

pub(crate) use self::models::{Name, Register};
use self::search::{Search, order};

/// One thing a client did to one key, with the answer it got.
pub(crate) trait Step: Clone + Debug {
    /// What the key holds.
    type State: Clone + Eq + Hash + Default;

    /// What it holds after this, if it answers so there.
    fn apply(&self, state: &Self::State) -> Option<Self::State>;

    /// The same without its answer: it may or may not have been done.
    fn without_answer(&self) -> Self;

    /// Whether this, without an answer, may be needed to explain `others`; else it can be left out.
    fn matters(&self, others: &[Operation<Self>]) -> bool;
}

/// A step with when it was called and when it returned, as numbers that order all that happened.
#[derive(Debug, Clone)]
pub(crate) struct Operation<S> {
    pub(crate) called: u64,
    /// Absent when the answer is unknown.
    pub(crate) returned: Option<u64>,
    pub(crate) step: S,
}

/// No order of a key's operations explains what was answered.
#[derive(Debug)]
pub(crate) struct Violation<S> {
    /// As far as the history still has none; the last one in it was one too many.
    prefix: Vec<Operation<S>>,
}

impl<S: Debug> fmt::Display for Violation<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order explains these {} operations:", self.prefix.len())?;
        // The last are those that matter.
        for operation in self.prefix.iter().rev().take(SHOWN_MAX).rev() {
            let returned = operation.returned.map_or("?".to_owned(), |returned| returned.to_string());
            writeln!(f, "  {:>8} to {returned:>8}: {:?}", operation.called, operation.step)?;
        }
        Ok(())
    }
}

/// Operations shown of a history that fails.
const SHOWN_MAX: usize = 24;

/// Looks for an order of one key's operations.
pub(crate) fn check<S: Step>(operations: &[Operation<S>]) -> Result<(), Box<Violation<S>>> {
    if order(operations) == Search::Found {
        return Ok(());
    }
    // A prefix of a history that has an order has one too: halve.
    let mut ends: Vec<u64> = operations.iter().filter_map(|operation| operation.returned).collect();
    ends.sort_unstable();
    let shortest = ends.partition_point(|end| order(&prefix(operations, *end)) == Search::Found);
    let end = ends.get(shortest).copied().unwrap_or(u64::MAX);
    Err(Box::new(Violation { prefix: prefix(operations, end) }))
}

/// The history as it was known at `end`.
fn prefix<S: Step>(operations: &[Operation<S>], end: u64) -> Vec<Operation<S>> {
    let called = operations.iter().filter(|operation| operation.called <= end);
    let mut known: Vec<_> = called
        .map(|operation| match operation.returned {
            Some(returned) if returned <= end => operation.clone(),
            _ => {
                Operation { called: operation.called, returned: None, step: operation.step.without_answer() }
            }
        })
        .collect();
    known.sort_by_key(|operation| operation.called);
    known
}
