//! The best of many scored things, kept while they pass by.

use std::cmp::Ordering;

/// Keeps the `count` largest scores; of equal ones those that came first.
///
/// Most offers end at one comparison with the least score that still counts. What is kept is sorted
/// out whenever twice as many have gathered, so an offer costs constant time on average.
pub(super) struct Best {
    count: usize,
    floor: f32,
    kept: Vec<(u32, f32)>,
}

impl Best {
    /// Expects indexes in rising order. No more than `most` will be offered.
    pub(super) fn of(count: usize, most: usize) -> Self {
        Self { count, floor: f32::NEG_INFINITY, kept: Vec::with_capacity(count.saturating_mul(2).min(most)) }
    }

    #[inline]
    pub(super) fn offer(&mut self, index: u32, score: f32) {
        if score > self.floor {
            self.keep(index, score);
        }
    }

    fn keep(&mut self, index: u32, score: f32) {
        if self.count == 0 {
            return;
        }
        self.kept.push((index, score));
        if self.kept.len() >= self.count.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.kept.len() > self.count {
            self.kept.select_nth_unstable_by(self.count - 1, best_first);
            self.kept.truncate(self.count);
            self.floor = self.kept.last().map_or(self.floor, |(_, score)| *score);
        }
    }

    /// What was kept, in no order.
    pub(super) fn finish(mut self) -> Vec<(u32, f32)> {
        if self.count > 0 {
            self.cut();
        }
        self.kept
    }

    /// What was kept, best first, equal ones in the order of their indexes.
    pub(super) fn sorted(self) -> Vec<(u32, f32)> {
        let mut kept = self.finish();
        kept.sort_unstable_by(best_first);
        kept
    }
}

/// Larger score first, then smaller index.
pub(super) fn best_first(one: &(u32, f32), other: &(u32, f32)) -> Ordering {
    other.1.total_cmp(&one.1).then(one.0.cmp(&other.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_any_number_are_those_that_sorting_finds() {
        let mut state = 1_u64;
        let scores: Vec<f32> = (0..1_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Few values, so that many are equal.
                (state >> 58) as f32 - 20.0
            })
            .collect();
        for count in [0, 1, 2, 7, 500, 1_000, 2_000, usize::MAX] {
            let mut best = Best::of(count, scores.len());
            let mut all: Vec<(u32, f32)> = Vec::new();
            for (index, &score) in scores.iter().enumerate() {
                best.offer(index as u32, score);
                all.push((index as u32, score));
            }
            all.sort_by(best_first);
            all.truncate(count);
            assert_eq!(best.sorted(), all, "{count}");
        }
    }
}
