//! What a node knows of the bucket, and what it does about it. Pure.
//!
//! A bundle is put there by the node that built it, at once. What is missing for longer is put there by whoever has it, one
//! node after the other, so that rarely two send the same; when they do, the second changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::clock::Timestamp;

use super::super::plan::Held;
use super::error::BucketError;

/// The first pause after a failure; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// What lies in the bucket, as far as this node knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Named bundles there, with their bytes.
    stored: HashMap<BundleHash, u64>,
    listed_at: Option<Timestamp>,
    /// Built here, and not seen there since.
    built: HashSet<BundleHash>,
    /// Something else lies there under their name.
    wrong: HashSet<BundleHash>,
    /// Cannot be read here.
    unreadable: HashSet<BundleHash>,
    /// Lie here and not there, since when.
    missing: HashMap<BundleHash, Timestamp>,
}

impl Known {
    /// Whether it is time to list what is there.
    pub(super) fn is_list_due(&self, now: Timestamp, every: Duration) -> bool {
        self.listed_at.is_none_or(|at| u128::from(now.millis_since(at)) >= every.as_millis())
    }

    /// What a list has found, of what is named.
    pub(super) fn listed(&mut self, stored: HashMap<BundleHash, u64>, now: Timestamp) {
        self.stored = stored;
        self.listed_at = Some(now);
    }

    /// This node has built the bundle. Whether that is news.
    pub(super) fn built(&mut self, hash: BundleHash) -> bool {
        !self.stored.contains_key(&hash) && self.built.insert(hash)
    }

    /// Something else came under this name.
    pub(super) fn wrong(&mut self, hash: BundleHash) {
        self.wrong.insert(hash);
    }

    /// Whether what lies there is to be replaced, whatever its size.
    pub(super) fn is_wrong(&self, hash: BundleHash) -> bool {
        self.wrong.contains(&hash)
    }

    /// The bundle lies there.
    pub(super) fn stored(&mut self, hash: BundleHash, bytes: u64) {
        self.stored.insert(hash, bytes);
        for set in [&mut self.built, &mut self.wrong] {
            set.remove(&hash);
        }
    }

    /// The bundle cannot be read on this node: it is not tried again.
    pub(super) fn unreadable(&mut self, hash: BundleHash) {
        self.unreadable.insert(hash);
    }

    /// Takes note of what is here and not there; how many these are.
    pub(super) fn look(&mut self, named: &HashMap<BundleHash, u64>, held: &[Held], now: Timestamp) -> usize {
        for set in [&mut self.built, &mut self.wrong, &mut self.unreadable] {
            set.retain(|hash| named.contains_key(hash));
        }
        let is_there = |held: &Held| {
            self.stored.get(&held.hash) == Some(&held.bytes)
                && !self.wrong.contains(&held.hash)
                && !self.built.contains(&held.hash)
        };
        let here = held.iter().filter(|held| named.contains_key(&held.hash) && !is_there(held));
        let readable = here.filter(|held| !self.unreadable.contains(&held.hash));
        let since = |hash| self.missing.get(&hash).copied().unwrap_or(now);
        self.missing = readable.map(|held| (held.hash, since(held.hash))).collect();
        self.missing.len()
    }

    /// Which of these this node is to put there now: those it built, and those that have been missing for longer than
    /// `patience` says.
    pub(super) fn due(&self, now: Timestamp, patience: impl Fn(BundleHash) -> Duration) -> Vec<BundleHash> {
        let is_due = |hash: BundleHash, since: Timestamp| {
            self.built.contains(&hash)
                || self.wrong.contains(&hash)
                || u128::from(now.millis_since(since)) >= patience(hash).as_millis()
        };
        let due = self.missing.iter().filter(|(hash, since)| is_due(**hash, **since));
        let mut due: Vec<_> = due.map(|(hash, _)| *hash).collect();
        due.sort_unstable();
        due
    }
}

/// A store that does not do what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) since: Timestamp,
    failures: u32,
    next_at: Timestamp,
    pub(super) error: BucketError,
}

impl Outage {
    /// Another failure, after those before it.
    pub(super) fn after(before: Option<Self>, error: BucketError, now: Timestamp) -> Self {
        // Several requests fail at the same time: they are one failure.
        let failures = match &before {
            Some(before) if now < before.next_at => before.failures,
            Some(before) => before.failures.saturating_add(1),
            None => 0,
        };
        let pause = PAUSE_MIN.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
        let next_at = now.plus_millis(pause.as_millis() as u64);
        Self { since: before.map_or(now, |before| before.since), failures, next_at, error }
    }

    /// Whether it is left alone.
    pub(super) fn is_paused(&self, now: Timestamp) -> bool {
        now < self.next_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn hash(number: u64) -> BundleHash {
        BundleHash::of(&number.to_le_bytes())
    }

    fn held(numbers: std::ops::Range<u64>) -> (HashMap<BundleHash, u64>, Vec<Held>) {
        let held: Vec<_> = numbers.map(|number| Held { hash: hash(number), bytes: 10 }).collect();
        (held.iter().map(|held| (held.hash, held.bytes)).collect(), held)
    }

    fn after(seconds: u64) -> Timestamp {
        NOW.plus_millis(seconds * 1_000)
    }

    #[test]
    fn who_built_a_bundle_puts_it_there_at_once_and_others_after_a_while() {
        let (named, held) = held(0..2);
        let patience = |_| Duration::from_secs(60);
        let mut known = Known::default();
        known.listed(HashMap::new(), NOW);
        assert!(known.built(hash(0)) && !known.built(hash(0)));
        assert_eq!((known.look(&named, &held, NOW), known.due(NOW, patience)), (2, vec![hash(0)]));
        known.stored(hash(0), 10);
        assert!(!known.built(hash(0)), "it lies there");
        let mut after_seconds =
            |seconds| (known.look(&named, &held, after(seconds)), known.due(after(seconds), patience));
        assert_eq!(after_seconds(59), (1, vec![]));
        assert_eq!(after_seconds(60), (1, vec![hash(1)]));
        known.unreadable(hash(1));
        assert_eq!(known.look(&named, &held, after(61)), 0);
        assert_eq!(known.look(&HashMap::new(), &held, after(62)), 0, "nobody names it");
    }

    #[test]
    fn another_size_or_other_bytes_there_are_as_good_as_nothing() {
        let (named, held) = held(0..3);
        let mut known = Known::default();
        known.listed([(hash(0), 10), (hash(1), 9), (hash(2), 10)].into(), NOW);
        known.wrong(hash(2));
        assert_eq!(known.look(&named, &held, NOW), 2);
        assert_eq!(
            known.due(NOW, |_| Duration::from_secs(60)),
            [hash(2)],
            "what is wrong is replaced at once"
        );
        assert_eq!(known.due(NOW, |_| Duration::ZERO).len(), 2);
        assert!(known.is_wrong(hash(2)));
        known.stored(hash(2), 10);
        assert!(!known.is_wrong(hash(2)));
        assert_eq!(known.look(&named, &held, NOW), 1);
    }

    #[test]
    fn a_list_is_due_at_first_and_then_now_and_then() {
        let mut known = Known::default();
        let every = Duration::from_secs(60);
        assert!(known.is_list_due(NOW, every));
        known.listed(HashMap::new(), NOW);
        assert!(!known.is_list_due(after(59), every) && known.is_list_due(after(60), every));
    }

    #[test]
    fn an_outage_is_left_alone_for_longer_and_longer_and_failures_at_once_are_one() {
        let error = || BucketError::NoBucket { place: "bucket `a`".to_owned() };
        let first = Outage::after(None, error(), NOW);
        assert!(first.is_paused(NOW) && !first.is_paused(after(1)));
        let same = Outage::after(Some(first), error(), NOW);
        assert!(!same.is_paused(after(1)));
        let mut outage = same;
        let mut now = after(1);
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            outage = Outage::after(Some(outage), error(), now);
            assert!(outage.is_paused(now.plus_millis(pause * 1_000 - 1)), "{pause}");
            now = now.plus_millis(pause * 1_000);
            assert!(!outage.is_paused(now), "{pause}");
        }
        assert_eq!(outage.since, NOW);
    }
}
