//! From candidates to an order: is a thing named or described, and what does each signal count then.
//!
//! No single sum serves both: names need likeness and popularity, descriptions need words and meaning,
//! and each drags the other down. So there are two sets of weights, and the answer's best name says
//! how far the ask counts as a name.

use super::ask::Ask;
use super::gather::Candidate;
use super::segment::{Segment, Standing};
use super::strength;

/// What each signal counts.
struct Weights {
    name: f32,
    /// The description as if it were a name.
    description: f32,
    words_of_name: f32,
    words_of_query: f32,
    meaning: f32,
    standing: f32,
    language: f32,
}

/// When the ask names something.
const NAMED: Weights = Weights {
    name: 1.0,
    description: 0.8,
    words_of_name: 0.06,
    words_of_query: 0.12,
    meaning: 0.10,
    standing: 0.42,
    language: 0.20,
};
/// When it describes something.
const DESCRIBED: Weights = Weights {
    name: 0.40,
    description: 0.36,
    words_of_name: 0.45,
    words_of_query: 0.20,
    meaning: 0.45,
    standing: 0.52,
    language: 0.20,
};
/// Strengths of the best name at and below which the ask is a description, and at and above which it
/// is a name.
const NAMED_RANGE: (f32, f32) = (0.30, 0.65);

/// How far the ask names something, 0 to 1.
pub(super) fn namedness(ask: &Ask, segments: &[&Segment], candidates: &[Candidate]) -> f32 {
    let strength = |candidate: &Candidate| {
        let standing = standing(segments, candidate);
        // Every plain word is the name of some package that nobody uses.
        strength::of_name(ask, candidate, standing) * (0.45 + 0.55 * strength::of_standing(standing))
    };
    let best = candidates.iter().map(strength).fold(0.0, f32::max);
    let (described, named) = NAMED_RANGE;
    ((best - described) / (named - described)).clamp(0.0, 1.0)
}

/// The best `limit` as places in `candidates` with their scores: by score, then by id.
pub(super) fn rank(
    ask: &Ask,
    segments: &[&Segment],
    candidates: &[Candidate],
    namedness: f32,
    limit: usize,
) -> Vec<(usize, f32)> {
    let greatest =
        |value: fn(&Candidate) -> f32| candidates.iter().map(value).fold(f32::MIN_POSITIVE, f32::max);
    let of_name_max = greatest(|candidate| candidate.words.of_name);
    let of_query_max = greatest(|candidate| candidate.words.of_query);
    let score = |candidate: &Candidate| {
        let standing = standing(segments, candidate);
        let name = strength::of_name(ask, candidate, standing);
        let description = strength::of_description(ask, candidate, standing);
        let language = strength::of_language(ask, standing);
        let worth = strength::of_standing(standing);
        let sum = |weights: &Weights| {
            (weights.name * name).max(weights.description * description)
                + weights.words_of_name * candidate.words.of_name / of_name_max
                + weights.words_of_query * candidate.words.of_query / of_query_max
                + weights.meaning * candidate.meaning.max(0.0)
                + weights.standing * worth
                + weights.language * language
        };
        namedness * sum(&NAMED) + (1.0 - namedness) * sum(&DESCRIBED)
    };
    let id = |at: usize| segments[candidates[at].segment].id(candidates[at].entry);
    let mut ranked: Vec<(usize, f32)> = candidates.iter().map(score).enumerate().collect();
    ranked.sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then_with(|| id(one.0).cmp(id(other.0))));
    ranked.truncate(limit);
    ranked
}

fn standing<'a>(segments: &[&'a Segment], candidate: &Candidate) -> &'a Standing {
    segments[candidate.segment].standing(candidate.entry)
}
