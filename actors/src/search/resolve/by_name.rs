//! Candidates by name: the ask's readings against the keys of a segment.

use std::collections::HashMap;

use super::ask::{Ask, Cover};
use super::edit::Signature;
use super::keys::Kind;
use super::readings::Reading;
use super::segment::Segment;
use super::words::stem;

/// Holders of one key that are looked at; they come best first.
const HOLDERS_MAX: usize = 48;
/// Longer keys that start with a reading.
const STARTS_MAX: usize = 24;
/// Shortest reading whose continuations are looked up, in bytes.
const START_BYTES_MIN: usize = 3;
/// Keys with slips, per reading.
const NEAR_MAX: usize = 24;
/// Popularity of a name that nobody types by mistake.
const SURE_POPULARITY_MIN: u8 = 75;
/// Entries among which one has a word that is itself a slip.
const ENTRIES_PER_SLIP: usize = 40_000;
/// Letters that a numeronym leaves out at least: `k8s` leaves out eight.
const LEFT_OUT_MIN: u8 = 3;

/// How an entry's name fits the name asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The ask is its id.
    Id,
    /// One of its keys is a reading.
    Key(Kind),
    /// A key is a reading with this many slips.
    Near(usize),
    /// A key starts with a reading.
    Start,
    /// A reading is a numeronym of a key.
    Numeronym,
}

/// The best fit of one entry's names.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameFit {
    pub(super) fit: Fit,
    /// How much the key is like the reading, 0 to 1; above 1 for an id.
    pub(super) similarity: f32,
    /// The words of the ask that the reading explains.
    pub(super) cover: Cover,
    /// Which reading; says nothing for an id.
    pub(super) reading: usize,
}

/// The entries with a name like that of the ask.
pub(super) fn find(segment: &Segment, ask: &Ask) -> HashMap<u32, NameFit> {
    let mut names = Names { segment, ask, best: HashMap::new() };
    for (number, reading) in ask.readings.iter().enumerate() {
        names.add_exact(number, reading);
        if reading.is_whole && reading.key.len() >= START_BYTES_MIN {
            names.add_longer(number, reading);
        }
        if reading.edits_max > 0 && !is_sure(segment, ask, reading) {
            names.add_near(number, reading);
        }
        names.add_numeronyms(number, reading);
    }
    if let Some(entry) = ask.id.as_deref().and_then(|id| segment.position(id)) {
        let id = NameFit { fit: Fit::Id, similarity: 1.5, cover: Cover::MAX, reading: 0 };
        names.best.insert(entry, id);
    }
    names.best
}

/// Keeps, for each entry, the fit that explains most.
struct Names<'a> {
    segment: &'a Segment,
    ask: &'a Ask,
    best: HashMap<u32, NameFit>,
}

impl Names<'_> {
    fn add_exact(&mut self, number: usize, reading: &Reading) {
        if let Some(key) = self.segment.keys.exact(&reading.key) {
            self.add(key, number, |kind| (Fit::Key(kind), kind_similarity(kind) * alias_similarity(reading)));
        }
    }

    fn add_longer(&mut self, number: usize, reading: &Reading) {
        let keys = &self.segment.keys;
        let is_longer = |key: &u32| keys.get(*key).len() > reading.key.len();
        let mut longer: Vec<u32> = keys.starting_with(&reading.key).filter(is_longer).collect();
        keep_best(&mut longer, STARTS_MAX, |key| f32::from(keys.popularity(key)));
        for key in longer {
            let share = reading.key.len() as f32 / keys.get(key).len() as f32;
            self.add(key, number, |_| (Fit::Start, 0.35 + 0.4 * share));
        }
    }

    fn add_near(&mut self, number: usize, reading: &Reading) {
        let keys = &self.segment.keys;
        let mut near = Vec::new();
        keys.near(&reading.key, reading.edits_max, |key, edits| near.push((key, edits)));
        keep_best(&mut near, NEAR_MAX, |(key, edits)| f32::from(keys.popularity(key)) - 30.0 * edits as f32);
        for (key, edits) in near {
            let similarity = near_similarity(edits, &reading.key, keys.get(key));
            self.add(key, number, |kind| (Fit::Near(edits), kind_similarity(kind) * similarity));
        }
    }

    fn add_numeronyms(&mut self, number: usize, reading: &Reading) {
        let [first @ b'a'..=b'z', digits @ .., last @ b'a'..=b'z'] = reading.key.as_bytes() else {
            return;
        };
        let left_out = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u8>().ok());
        let Some(left_out) = left_out.filter(|left_out| *left_out >= LEFT_OUT_MIN) else {
            return;
        };
        let mut keys = Vec::new();
        self.segment.keys.of_shape(*first, usize::from(left_out) + 2, *last, |key| keys.push(key));
        keep_best(&mut keys, STARTS_MAX, |key| f32::from(self.segment.keys.popularity(key)));
        for key in keys {
            self.add(key, number, |kind| (Fit::Numeronym, 0.8 * kind_similarity(kind)));
        }
    }

    fn add(&mut self, key: u32, reading: usize, fit: impl Fn(Kind) -> (Fit, f32)) {
        let cover = self.ask.readings[reading].cover;
        for holder in self.segment.keys.holders(key).iter().take(HOLDERS_MAX) {
            let (fit, similarity) = fit(holder.kind());
            let found = NameFit { fit, similarity, cover, reading };
            let worth = |name: &NameFit| name.similarity * self.ask.share(name.cover);
            let known = self.best.entry(holder.entry()).or_insert(found);
            if worth(&found) > worth(known) {
                *known = found;
            }
        }
    }
}

/// Whether a reading is no slip of the finger: a popular name, or several words that others use too.
fn is_sure(segment: &Segment, ask: &Ask, reading: &Reading) -> bool {
    let is_popular = |key: u32| segment.keys.popularity(key) >= SURE_POPULARITY_MIN;
    if segment.keys.exact(&reading.key).is_some_and(is_popular) {
        return true;
    }
    let words =
        || ask.words.iter().enumerate().filter(|(at, _)| reading.cover >> at & 1 == 1).map(|(_, word)| word);
    let is_one_name = words().count() == 1 || words().all(|word| word.is_compound);
    let is_known = |word: &str| segment.postings.of(stem(word)).len() > segment.len() / ENTRIES_PER_SLIP;
    !(reading.is_whole && is_one_name) && words().all(|word| is_known(&word.text))
}

fn kind_similarity(kind: Kind) -> f32 {
    match kind {
        Kind::Name | Kind::Title | Kind::Alias => 1.0,
        Kind::Successor | Kind::Core => 0.95,
        Kind::Scope => 0.9,
        Kind::Bare => 0.85,
        Kind::Initials => 0.75,
        Kind::Package => 0.55,
    }
}

fn alias_similarity(reading: &Reading) -> f32 {
    match (&reading.alias_of, reading.slips) {
        (None, _) => 1.0,
        (Some(_), 0) => 0.95,
        (Some(_), _) => 0.8,
    }
}

/// Letters in the wrong order are the likeliest slip.
fn near_similarity(edits: usize, typed: &str, meant: &str) -> f32 {
    let share = edits as f32 / typed.len().max(1) as f32;
    let swapped = if Signature::of(typed) == Signature::of(meant) { 0.05 } else { 0.0 };
    (1.0 - 0.13 * edits as f32 - 0.25 * share + swapped).max(0.0)
}

/// Keeps the `count_max` with the greatest score, in no order.
pub(super) fn keep_best<T: Copy>(all: &mut Vec<T>, count_max: usize, score: impl Fn(T) -> f32) {
    if all.len() > count_max {
        all.select_nth_unstable_by(count_max, |one, other| score(*other).total_cmp(&score(*one)));
        all.truncate(count_max);
    }
}
