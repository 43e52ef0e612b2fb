//! The signals: how strongly each thing known of a candidate speaks for it.

use super::ask::{Ask, Cover};
use super::gather::Candidate;
use super::languages::Languages;
use super::segment::Standing;

/// What an entry is worth more for being indexed here: somebody wanted it, and it can be asked.
const INDEXED_BONUS: f32 = 0.15;
/// What full trust adds; no trust takes as much.
const TRUST_BONUS: f32 = 0.05;
/// What is left of the worth of an entry that says it is out of use.
const RETIRED_SHARE: f32 = 0.4;
/// Popularity below which nobody uses a library, and above which everybody does.
const POPULARITY_RANGE: (f32, f32) = (15.0, 95.0);

/// How well the candidate's names explain the ask's name, 0 to 1; more for an id.
pub(super) fn of_name(ask: &Ask, candidate: &Candidate, standing: &Standing) -> f32 {
    let by_key = candidate.name.map_or(0.0, |name| {
        // Squaring would forgive too little (`vite config`), taking it as it is too much.
        name.similarity * explained(ask, candidate, name.cover, standing).powf(1.25)
    });
    by_key.max(of_named_words(ask, candidate, standing))
}

/// The same for names that have the ask's words in whatever order and among others, 0 to 0.9.
fn of_named_words(ask: &Ask, candidate: &Candidate, standing: &Standing) -> f32 {
    let named = candidate.words.named;
    if named == 0 {
        return 0.0;
    }
    let asked = explained(ask, candidate, named, standing);
    0.9 * balance(asked, share(named.count_ones(), standing.named_stems)) * ask.share(named)
}

/// How well the description says what the ask's name says, 0 to 1; a single word says nothing.
pub(super) fn of_description(ask: &Ask, candidate: &Candidate, standing: &Standing) -> f32 {
    let words = candidate.words.described.count_ones();
    if words < 2 {
        return 0.0;
    }
    let asked = ask.share(candidate.words.named | candidate.words.described);
    balance(asked, share(words, standing.described_stems)) * asked
}

/// The share of the ask that is explained: by the name that fits, by the language, by other words.
fn explained(ask: &Ask, candidate: &Candidate, cover: Cover, standing: &Standing) -> f32 {
    let (named, described) = (candidate.words.named, candidate.words.described);
    ask.weigh(|at, word| {
        let is_in = |cover: Cover| cover >> at & 1 == 1;
        if is_in(cover) {
            1.0
        } else if standing.languages.meets(word.languages) {
            // In `chart.js` the language belongs to the name.
            if word.is_compound { 0.5 } else { 0.95 }
        } else if is_in(named) {
            0.8
        } else if is_in(described) {
            0.5
        } else {
            0.0
        }
    })
}

/// How much one would bet on the entry without knowing the ask, about 0 to 1.
pub(super) fn of_standing(standing: &Standing) -> f32 {
    let (nobody, everybody) = POPULARITY_RANGE;
    let popularity = ((f32::from(standing.popularity) - nobody) / (everybody - nobody)).clamp(0.0, 1.0);
    let indexed = if standing.snippets > 0 { INDEXED_BONUS } else { 0.0 };
    let trusted = standing.trust.map_or(0.0, |trust| TRUST_BONUS * (f32::from(trust) / 50.0 - 1.0));
    let worth = popularity + indexed + trusted;
    if standing.is_retired { worth * RETIRED_SHARE } else { worth }
}

/// Whether it is for the language asked for, -1 to 1. What the name says counts, else what the query says.
pub(super) fn of_language(ask: &Ask, standing: &Standing) -> f32 {
    let asked = if ask.languages == Languages::default() { ask.query_languages } else { ask.languages };
    match standing.languages {
        _ if asked.is_empty() => 0.0,
        known if known.meets(asked) => 1.0,
        known if known.is_empty() => -0.3,
        _ => -1.0,
    }
}

fn share(part: u32, whole: u8) -> f32 {
    (part as f32 / f32::from(whole.max(1))).min(1.0)
}

/// The harmonic mean.
fn balance(one: f32, other: f32) -> f32 {
    2.0 * one * other / (one + other).max(f32::MIN_POSITIVE)
}
