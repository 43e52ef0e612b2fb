//! The best of many scored things.

use std::cell::RefCell;

/// A scored thing as one number: the better it is, the smaller, and of equal scores the smaller index
/// comes first. Plain numbers are sorted without a branch, which pairs are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

/// What tells negative numbers.
const SIGN: u32 = 1 << 31;

impl Rank {
    #[inline]
    pub(super) fn new(index: u32, score: f32) -> Self {
        Self(u64::from(falling(score)) << 32 | u64::from(index))
    }

    /// Index and score.
    #[inline]
    pub(super) fn parts(self) -> (u32, f32) {
        (self.0 as u32, score_of((self.0 >> 32) as u32))
    }
}

/// A number that falls as the score rises, in the order of [`f32::total_cmp`].
#[inline]
fn falling(score: f32) -> u32 {
    let bits = score.to_bits();
    if bits & SIGN == 0 { bits ^ !SIGN } else { bits }
}

fn score_of(falling: u32) -> f32 {
    f32::from_bits(if falling & SIGN == 0 { falling ^ !SIGN } else { falling })
}

/// The first `count` of them, in order.
pub(super) fn first(mut ranks: Vec<Rank>, count: usize) -> Vec<(u32, f32)> {
    keep(&mut ranks, count);
    ranks.sort_unstable();
    ranks.into_iter().map(Rank::parts).collect()
}

/// Leaves the first `count` of them, in no order.
fn keep<T: Ord>(ranks: &mut Vec<T>, count: usize) {
    if count > 0 && ranks.len() > count {
        ranks.select_nth_unstable(count - 1);
    }
    ranks.truncate(count);
}

/// Scores looked at together: mostly all of them are too small.
const BLOCK: usize = 16;
/// Scores that are looked at first, at even distances, to guess which ones will count.
const SAMPLE: usize = 512;

/// The `count` largest scores above `floor`, in no order; of equal ones the first.
///
/// A sample tells about how large a score has to be. What exceeds that is a little more than is wanted, which
/// is sorted out; should it be less, all scores above the floor are.
pub(super) fn best(scores: &[f32], floor: f32, count: usize) -> Vec<Rank> {
    if count == 0 {
        return Vec::new();
    }
    let guess = guess(scores, count).max(floor);
    let mut ranks = above(scores, guess);
    if ranks.len() < count && guess > floor {
        ranks = above(scores, floor);
    }
    keep(&mut ranks, count);
    ranks
}

/// A score that some more than `count` are expected to exceed.
fn guess(scores: &[f32], count: usize) -> f32 {
    let step = scores.len() / SAMPLE;
    if step < 2 || count >= scores.len() {
        return f32::NEG_INFINITY;
    }
    // Three times the deviation more than its share of the sample.
    let share = count / step;
    let place = share + 3 * share.isqrt() + 3;
    if place >= SAMPLE {
        return f32::NEG_INFINITY;
    }
    let mut sample: Vec<u32> = scores.iter().step_by(step).map(|score| falling(*score)).collect();
    let (_, place, _) = sample.select_nth_unstable(place);
    score_of(*place)
}

/// All scores above `floor`.
fn above(scores: &[f32], floor: f32) -> Vec<Rank> {
    let mut ranks = Vec::new();
    let (blocks, rest) = scores.as_chunks::<BLOCK>();
    for (block, start) in blocks.iter().zip((0..).step_by(BLOCK)) {
        if block.iter().fold(false, |any, score| any | (*score > floor)) {
            let mut found = [Rank::default(); BLOCK];
            let mut count = 0;
            for (score, index) in block.iter().zip(start..) {
                found[count % BLOCK] = Rank::new(index, *score);
                count += usize::from(*score > floor);
            }
            ranks.extend_from_slice(&found[..count]);
        }
    }
    let rest = rest.iter().zip(blocks.len() as u32 * BLOCK as u32..).filter(|(score, _)| **score > floor);
    ranks.extend(rest.map(|(score, index)| Rank::new(index, *score)));
    ranks
}

/// Scores beyond which a thread gives back the memory they were in: 4 MB.
const SCORES_KEPT_MAX: usize = 1 << 20;

thread_local! {
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lets `fill` write `count` scores into memory that the thread keeps from question to question. What is in there
/// before means nothing.
pub(super) fn scored<T>(count: usize, fill: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut scores = SCORES.take();
    scores.resize(count, 0.0);
    let filled = fill(&mut scores);
    if count <= SCORES_KEPT_MAX {
        SCORES.set(scores);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from -20 to 43 in steps of `1 / fine`; the same every time.
    fn scores(count: usize, fine: f32) -> Vec<f32> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1_u64 << 18) as f32 * fine).floor() / fine - 20.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn sorted(scores: &[f32], floor: f32, count: usize) -> Vec<(u32, f32)> {
        let mut all: Vec<(u32, f32)> = (0..).zip(scores.iter().copied()).collect();
        all.retain(|(_, score)| *score > floor);
        all.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        all.truncate(count);
        all
    }

    #[test]
    fn the_best_of_any_number_are_those_that_sorting_finds() {
        // Few different values, so that many are equal, and many.
        for (many, fine) in
            [(0, 1.0), (1, 1.0), (1_000, 1.0), (1_037, 64.0), (20_000, 1.0), (20_011, 4_096.0)]
        {
            let scores = scores(many, fine);
            for count in [0, 1, 2, 7, 150, 500, 1_000, 30_000, usize::MAX] {
                for floor in [f32::NEG_INFINITY, 0.0, 42.0, 50.0] {
                    let found = first(best(&scores, floor, count), count);
                    assert_eq!(found, sorted(&scores, floor, count), "{count} of {many} above {floor}");
                }
            }
        }
    }

    #[test]
    fn a_sample_that_misleads_costs_time_and_no_result() {
        // Every score that the sample sees is large, or none is.
        for step in [2, 7, 39] {
            let (seen, unseen): (Vec<f32>, Vec<f32>) =
                (0..20_000_u16).map(|at| if at % step == 0 { (9.0, 1.0) } else { (1.0, 9.0) }).unzip();
            for scores in [seen, unseen] {
                assert_eq!(first(best(&scores, 0.0, 450), 450), sorted(&scores, 0.0, 450), "{step}");
            }
        }
    }

    #[test]
    fn a_rank_orders_and_gives_back_every_number() {
        let falling = [f32::INFINITY, 3.5, 1e-40, 0.0, -0.0, -1e-40, -2.0, f32::NEG_INFINITY];
        for (at, one) in falling.into_iter().enumerate() {
            assert_eq!(Rank::new(7, one).parts(), (7, one));
            assert!(Rank::new(1, one) < Rank::new(2, one));
            assert!(falling[at + 1..].iter().all(|other| Rank::new(9, one) < Rank::new(0, *other)), "{one}");
        }
    }
}
