//! From two lists of candidates to an order, and from an order to an answer.
//!
//! Pure: what a snippet's score is made of is passed in. What each rule gave, and what was tried and
//! gave nothing, is in `docs/performance.md`.

use std::hash::Hash;

use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use twinmcp_storage::bundle::{SnippetIndex, similarity};

/// What a page counts beside the snippet itself.
const PAGE_WEIGHT: f32 = 0.25;
/// Snippets of a page that speak for it: the best ones.
const PAGE_WITNESSES: usize = 5;
/// Link text beyond this share, in percent, starts to count against a snippet.
const LINKS_FREE: u8 = 50;
/// What is left of the score of a snippet that is all links.
const LINKS_REST: f32 = 0.5;
/// Simhashes at least this alike belong to near-duplicates: at most three of 64 bits differ.
const DUPLICATE: f32 = 61.0 / 64.0;
/// What is left of the score of a near-duplicate of a better snippet.
const DUPLICATE_REST: f32 = 0.5;
/// Ranks among which near-duplicates are looked for; nobody reads further down.
const DUPLICATE_RANKS: usize = 50;
/// Ranks among which further stretches of a section are looked for; each has to be decoded.
const REPEAT_RANKS: usize = 20;
/// What is left of the score of a further stretch of a section that is there already.
const REPEAT_REST: f32 = 0.8;

/// A candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Which snippet.
    pub snippet: SnippetIndex,
    /// What it is ranked by, at most 1 before anything damps it.
    pub score: f32,
}

/// Candidates that words found and vectors did not, so that their cosines can be looked up.
pub fn without_cosine(words: &[(SnippetIndex, f32)], vectors: &[(SnippetIndex, f32)]) -> Vec<SnippetIndex> {
    let known: FxHashSet<SnippetIndex> = vectors.iter().map(|&(snippet, _)| snippet).collect();
    words.iter().map(|&(snippet, _)| snippet).filter(|snippet| !known.contains(snippet)).collect()
}

/// Joins both lists: `(1 - weight) * BM25 / best BM25 + weight * cosine / best cosine`, best first.
///
/// The weight belongs to the embedder. Without vectors the order is that of words alone, and the
/// other way round. Equal scores keep the order of the bundle, so that answers are repeatable.
pub fn fuse(words: &[(SnippetIndex, f32)], vectors: &[(SnippetIndex, f32)], weight: f32) -> Vec<Ranked> {
    let weight = match (words.is_empty(), vectors.is_empty()) {
        (_, true) => 0.0,
        (true, false) => 1.0,
        (false, false) => weight.clamp(0.0, 1.0),
    };
    let most = words.len() + vectors.len();
    let mut places: FxHashMap<SnippetIndex, usize> = FxHashMap::with_capacity_and_hasher(most, FxBuildHasher);
    // BM25 over the best BM25, and cosine over the best cosine; 0 where it was not found by these.
    let mut parts: Vec<(SnippetIndex, [f32; 2])> = Vec::with_capacity(most);
    for (of, list) in [words, vectors].into_iter().enumerate() {
        let best = list.iter().map(|&(_, score)| score).fold(f32::EPSILON, f32::max);
        for &(snippet, score) in list {
            let place = *places.entry(snippet).or_insert(parts.len());
            if place == parts.len() {
                parts.push((snippet, [0.0; 2]));
            }
            if let Some((_, parts)) = parts.get_mut(place) {
                parts[of] = parts[of].max(score / best);
            }
        }
    }
    let score = |[words, vectors]: [f32; 2]| (1.0 - weight) * words + weight * vectors;
    let fused = parts.into_iter().map(|(snippet, parts)| Ranked { snippet, score: score(parts) });
    let mut ranked: Vec<Ranked> = fused.collect();
    sort(&mut ranked);
    ranked
}

/// Lifts the snippets of pages that have several good ones: a page about the subject beats a passing
/// mention on another.
///
/// What speaks for a page is the sum of its best snippets' scores, over that of the best page; `page`
/// says where a snippet stands. Scores stay at most 1. The weights are those of
/// the middle of a plateau: with others between 0.1 and 0.3 and 2 to 5 the figures differ by noise.
pub fn lift_pages(ranked: &mut [Ranked], page: impl Fn(SnippetIndex) -> u32) {
    let pages: Vec<u32> = ranked.iter().map(|candidate| page(candidate.snippet)).collect();
    let mut sums: FxHashMap<u32, (usize, f32)> =
        FxHashMap::with_capacity_and_hasher(pages.len(), FxBuildHasher);
    // Best first, so the first ones of a page are its best.
    for (candidate, page) in ranked.iter().zip(&pages) {
        let (witnesses, sum) = sums.entry(*page).or_insert((0, 0.0));
        if *witnesses < PAGE_WITNESSES {
            *witnesses += 1;
            *sum += candidate.score;
        }
    }
    let best = sums.values().map(|(_, sum)| *sum).fold(f32::EPSILON, f32::max);
    for (candidate, page) in ranked.iter_mut().zip(&pages) {
        let sum = sums.get(page).map_or(0.0, |(_, sum)| *sum);
        candidate.score = (candidate.score + PAGE_WEIGHT * sum / best) / (1.0 + PAGE_WEIGHT);
    }
    sort(ranked);
}

/// Lowers snippets that are mostly links: tables of contents hold every word and answer nothing.
pub fn damp_links(ranked: &mut [Ranked], link_percent: impl Fn(SnippetIndex) -> u8) {
    for candidate in ranked.iter_mut() {
        let over = link_percent(candidate.snippet).min(100).saturating_sub(LINKS_FREE);
        let share = f32::from(over) / f32::from(100 - LINKS_FREE);
        candidate.score *= 1.0 - share * (1.0 - LINKS_REST);
    }
    settle(ranked);
}

/// Lowers snippets whose text nearly repeats that of a better one, so that an answer does not spend
/// its tokens on the same passage twice. A simhash of 0 stands for no words and repeats nothing.
pub fn damp_duplicates(ranked: &mut [Ranked], simhash: impl Fn(SnippetIndex) -> u64) {
    let mut seen: Vec<u64> = Vec::with_capacity(DUPLICATE_RANKS);
    for candidate in ranked.iter_mut().take(DUPLICATE_RANKS) {
        let hash = simhash(candidate.snippet);
        if hash != 0 && seen.iter().any(|&other| similarity(hash, other) >= DUPLICATE) {
            candidate.score *= DUPLICATE_REST;
        } else {
            seen.push(hash);
        }
    }
    settle(ranked);
}

/// Lowers a further stretch of a section of which a better stretch is there: the first leads to the
/// rest, and another section may hold another half of the answer. `section` names the section, the
/// same for all its stretches; `None` for a snippet that belongs to none.
pub fn damp_repeats<S: Eq + Hash>(ranked: &mut [Ranked], section: impl Fn(SnippetIndex) -> Option<S>) {
    let mut seen: FxHashSet<S> = FxHashSet::with_capacity_and_hasher(REPEAT_RANKS, FxBuildHasher);
    for candidate in ranked.iter_mut().take(REPEAT_RANKS) {
        if section(candidate.snippet).is_some_and(|section| !seen.insert(section)) {
            candidate.score *= REPEAT_REST;
        }
    }
    settle(ranked);
}

/// The snippets of an answer: in order of rank, whole, at most `snippets_max` of them with at most
/// `tokens_max` tokens together. One that does not fit is passed over for a smaller one behind it.
pub fn cut(
    ranked: &[Ranked],
    tokens_max: u32,
    snippets_max: usize,
    tokens: impl Fn(SnippetIndex) -> u32,
) -> Vec<Ranked> {
    let mut left = tokens_max;
    let mut answer = Vec::with_capacity(snippets_max.min(ranked.len()));
    for candidate in ranked {
        if answer.len() == snippets_max {
            break;
        }
        let needed = tokens(candidate.snippet);
        if needed <= left {
            left -= needed;
            answer.push(*candidate);
        }
    }
    answer
}

fn sort(ranked: &mut [Ranked]) {
    ranked.sort_unstable_by_key(Ranked::place);
}

/// Sorts what was in order until some were lowered: each of those moves back to its new place.
fn settle(ranked: &mut [Ranked]) {
    for at in (1..ranked.len()).rev() {
        let (before, behind) = ranked.split_at(at);
        let Some(lowered) = before.last().map(Ranked::place) else { continue };
        if behind.first().is_some_and(|next| next.place() < lowered) {
            let passed = behind.partition_point(|other| other.place() < lowered);
            ranked[at - 1..at + passed].rotate_left(1);
        }
    }
}

impl Ranked {
    /// Rises from the first place to the last: greater scores come first, and of equal ones the snippet that
    /// does in the bundle. No score is negative, so their bits are ordered as they are.
    fn place(&self) -> u64 {
        u64::from(!self.score.to_bits()) << 32 | u64::from(self.snippet.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Ranked, SnippetIndex, cut, damp_duplicates, damp_links, damp_repeats, fuse, lift_pages,
        without_cosine,
    };

    fn scored(list: &[(u32, f32)]) -> Vec<(SnippetIndex, f32)> {
        list.iter().map(|&(index, score)| (SnippetIndex(index), score)).collect()
    }

    fn order(ranked: &[Ranked]) -> Vec<u32> {
        ranked.iter().map(|candidate| candidate.snippet.0).collect()
    }

    #[test]
    fn both_lists_count_by_their_share_of_the_best() {
        let ranked = fuse(&scored(&[(1, 20.0), (2, 10.0)]), &scored(&[(2, 0.8), (3, 0.4)]), 0.5);
        assert_eq!(order(&ranked), [2, 1, 3]);
        assert!((ranked[0].score - 0.75).abs() < 1e-6 && (ranked[2].score - 0.25).abs() < 1e-6);
        assert_eq!(without_cosine(&scored(&[(1, 20.0), (2, 10.0)]), &scored(&[(2, 0.8)])), [SnippetIndex(1)]);
    }

    #[test]
    fn one_empty_list_leaves_the_order_of_the_other() {
        let list = scored(&[(5, 3.0), (6, 2.0)]);
        for ranked in [fuse(&list, &[], 0.5), fuse(&[], &list, 0.5)] {
            assert_eq!(order(&ranked), [5, 6]);
            assert!((ranked[0].score - 1.0).abs() < 1e-6);
        }
        assert!(fuse(&[], &[], 0.5).is_empty());
    }

    #[test]
    fn equal_scores_keep_the_order_of_the_bundle() {
        let ranked = fuse(&scored(&[(9, 1.0), (2, 1.0), (4, 1.0)]), &[], 0.5);
        assert_eq!(order(&ranked), [2, 4, 9]);
    }

    #[test]
    fn a_page_with_several_good_snippets_passes_a_lone_better_one() {
        let mut ranked = fuse(&scored(&[(10, 10.0), (20, 9.5), (21, 9.0), (30, 5.0), (22, 1.0)]), &[], 0.5);
        lift_pages(&mut ranked, |snippet| snippet.0 / 10);
        assert_eq!(order(&ranked), [20, 21, 10, 30, 22]);
        // The best page counts whole; 1 / 1.95 of it stands behind the lone one.
        assert!((ranked[0].score - (0.95 + 0.25) / 1.25).abs() < 1e-6);
        assert!((ranked[2].score - (1.0 + 0.25 / 1.95) / 1.25).abs() < 1e-6);
        assert!(ranked.iter().all(|candidate| candidate.score <= 1.0));
        lift_pages(&mut [], |snippet| snippet.0);
    }

    #[test]
    fn link_lists_fall_behind_text() {
        let mut ranked = fuse(&scored(&[(1, 10.0), (2, 8.0)]), &[], 0.5);
        damp_links(&mut ranked, |snippet| if snippet.0 == 1 { 95 } else { 40 });
        assert_eq!(order(&ranked), [2, 1]);
    }

    #[test]
    fn a_near_duplicate_falls_behind_and_the_better_one_stays() {
        let mut ranked = fuse(&scored(&[(1, 10.0), (2, 9.9), (3, 6.0)]), &[], 0.5);
        damp_duplicates(&mut ranked, |snippet| {
            if snippet.0 == 3 { 0xffff_0000_ffff_0000 } else { 0b111 >> (snippet.0 - 1) }
        });
        assert_eq!(order(&ranked), [1, 3, 2]);
    }

    #[test]
    fn a_further_stretch_of_a_section_falls_behind_and_the_first_stays() {
        let mut ranked = fuse(&scored(&[(1, 10.0), (2, 9.9), (3, 9.0), (4, 8.9)]), &[], 0.5);
        damp_repeats(&mut ranked, |snippet| (snippet.0 < 3).then_some("section"));
        assert_eq!(order(&ranked), [1, 3, 4, 2]);
    }

    #[test]
    fn an_answer_keeps_its_budget_and_never_cuts_a_snippet() {
        let ranked = fuse(&scored(&[(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0)]), &[], 0.5);
        let tokens = |snippet: SnippetIndex| [0, 300, 900, 200, 100][snippet.0 as usize];
        assert_eq!(order(&cut(&ranked, 600, 10, tokens)), [1, 3, 4]);
        assert_eq!(order(&cut(&ranked, 600, 2, tokens)), [1, 3]);
        assert!(cut(&ranked, 50, 10, tokens).is_empty());
    }
}
