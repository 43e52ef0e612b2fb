//! Wrong passwords as one node counts them, and what becomes of the count.
//!
//! The agreed count decides ([`Tries`]); a node adds what it has not reported yet and reports in lots, so that a flood costs no write a
//! try. Tries in progress count as wrong until they are not, or a burst would
//! all be let in before the first is counted. Over `n` nodes at most `(n - 1) * (lot - 1)` more are wrong before the lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use twinmcp_storage::accounts::{Tries, Who};
use twinmcp_storage::clock::Timestamp;

/// Names and networks a node counts at once.
const COUNTED_MAX: usize = 20_000;
/// Seconds after which to come again when only tries in progress are in the way.
const IN_PROGRESS_RETRY_MS: u64 = 1_000;

/// How much may be wrong, and what follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub(super) lock_after: u32,
    pub(super) lock_ms: u64,
    pub(super) lock_ms_max: u64,
    /// Wrong tries that are reported together.
    pub(super) lot: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// Wrong ones that nobody else knows of.
    unreported: u32,
    in_progress: u32,
    last_at: Timestamp,
}

/// This node's counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    counts: Arc<Mutex<HashMap<Who, Count>>>,
}

/// A try that was let in; dropped, it is no longer in progress.
#[derive(Debug)]
pub(super) struct Attempt {
    guard: Guard,
    pub(super) who: Who,
    pub(super) allowance: Allowance,
}

impl Guard {
    /// Lets a try in, or says for how many milliseconds none is.
    pub(super) fn admit(
        &self,
        who: Who,
        allowance: Allowance,
        agreed: Option<Tries>,
        now: Timestamp,
    ) -> Result<Attempt, u64> {
        let locked_ms = agreed.map_or(0, |tries| tries.locked_for_ms(now));
        if locked_ms > 0 {
            return Err(locked_ms);
        }
        self.with(|counts| {
            if counts.len() >= COUNTED_MAX {
                // Costs each of them less than a lot.
                counts.retain(|_, count| count.in_progress > 0);
            }
            let count = counts.entry(who).or_default();
            let known = agreed.map_or(0, |tries| tries.count);
            // What could not be reported locks here, at least.
            let here_ms = allowance.lock_ms.saturating_sub(now.millis_since(count.last_at));
            if known < allowance.lock_after && known + count.unreported >= allowance.lock_after && here_ms > 0
            {
                return Err(here_ms);
            }
            let left = allowance.lock_after.saturating_sub(known + count.unreported).max(1);
            if count.in_progress >= left {
                return Err(IN_PROGRESS_RETRY_MS);
            }
            count.in_progress += 1;
            Ok(Attempt { guard: self.clone(), who, allowance })
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<Who, Count>) -> T) -> T {
        work(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Attempt {
    /// Counts it as wrong; how many are to be reported now, if any.
    pub(super) fn failed(&self, agreed: Option<Tries>, now: Timestamp) -> u32 {
        self.guard.with(|counts| {
            let count = counts.entry(self.who).or_default();
            count.unreported += 1;
            count.last_at = now;
            let known = agreed.map_or(0, |tries| tries.count) + count.unreported;
            let is_due = count.unreported >= self.allowance.lot || known >= self.allowance.lock_after;
            if is_due { std::mem::take(&mut count.unreported) } else { 0 }
        })
    }

    /// Takes back what could not be reported.
    pub(super) fn unreported(&self, tries: u32) {
        self.guard.with(|counts| counts.entry(self.who).or_default().unreported += tries);
    }

    /// Counts it as right: what was wrong before is forgotten here too. How many of those nobody else knew of.
    pub(super) fn succeeded(&self) -> u32 {
        self.guard.with(|counts| std::mem::take(&mut counts.entry(self.who).or_default().unreported))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.guard.with(|counts| {
            if let Some(count) = counts.get_mut(&self.who) {
                count.in_progress = count.in_progress.saturating_sub(1);
                if count.in_progress == 0 && count.unreported == 0 {
                    counts.remove(&self.who);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance =
        Allowance { lock_after: 10, lock_ms: 60_000, lock_ms_max: 3_600_000, lot: 2 };
    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn who() -> Who {
        Who::network("192.0.2.1")
    }

    fn agreed(count: u32) -> Option<Tries> {
        let locked_until = (count >= 10).then(|| NOW.plus_millis(60_000));
        Some(Tries { count, last_at: NOW, locked_until })
    }

    #[test]
    fn tries_are_reported_in_lots_and_at_the_limit() {
        let guard = Guard::default();
        let failed =
            |known| guard.admit(who(), ALLOWANCE, agreed(known), NOW).unwrap().failed(agreed(known), NOW);
        assert_eq!([failed(0), failed(0), failed(2), failed(2)], [0, 2, 0, 2]);
        assert_eq!(failed(9), 1, "the last one at once");
        assert_eq!(guard.admit(who(), ALLOWANCE, agreed(10), NOW).unwrap_err(), 60_000);
        let later = NOW.plus_millis(60_000);
        let attempt = guard.admit(who(), ALLOWANCE, agreed(10), later).unwrap();
        assert_eq!(attempt.failed(agreed(10), later), 1, "after a lock each one counts");
        let attempt = guard.admit(who(), ALLOWANCE, None, NOW).unwrap();
        assert_eq!(attempt.failed(None, NOW), 0);
        assert_eq!([attempt.succeeded(), attempt.succeeded()], [1, 0], "what nobody knew of is told once");
    }

    #[test]
    fn a_burst_is_not_let_in_before_the_first_is_counted() {
        let guard = Guard::default();
        let attempts: Vec<_> = (0..20).map(|_| guard.admit(who(), ALLOWANCE, agreed(4), NOW)).collect();
        assert_eq!(attempts.iter().filter(|attempt| attempt.is_ok()).count(), 6);
        drop(attempts);
        assert!(guard.admit(who(), ALLOWANCE, agreed(4), NOW).is_ok());
        assert!(guard.counts.lock().unwrap().is_empty(), "nothing is left of those that were not wrong");
    }

    #[test]
    fn what_cannot_be_reported_locks_this_node() {
        let guard = Guard::default();
        for _ in 0..10 {
            let attempt = guard.admit(who(), ALLOWANCE, None, NOW).unwrap();
            let tries = attempt.failed(None, NOW);
            attempt.unreported(tries);
        }
        assert_eq!(guard.admit(who(), ALLOWANCE, None, NOW).unwrap_err(), 60_000);
        assert!(guard.admit(who(), ALLOWANCE, None, NOW.plus_millis(60_000)).is_ok());
    }
}
