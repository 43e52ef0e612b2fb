//! Two runs beside each other: how much a figure differs over the same questions, and how sure that is.

/// Draws of as many questions as there are, with repeats.
const DRAWS: usize = 10_000;
/// Of the dice, so that the same runs give the same interval.
const SEED: u64 = 20_261_129;

/// A mean difference with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Difference {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The mean of `differences`, one a question, with the interval that a percentile bootstrap gives it: that of
/// the means of [`DRAWS`] draws, without the outermost 2.5 % on either side. `None` without a question.
pub(crate) fn difference(differences: &[f64]) -> Option<Difference> {
    if differences.is_empty() {
        return None;
    }
    let mean = |sum: f64| sum / differences.len() as f64;
    let mut dice = Dice(SEED);
    let mut means: Vec<f64> = (0..DRAWS)
        .map(|_| mean(differences.iter().map(|_| differences[dice.below(differences.len())]).sum()))
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let outside = DRAWS / 40;
    Some(Difference {
        mean: mean(differences.iter().sum()),
        low: means[outside],
        high: means[DRAWS - 1 - outside],
    })
}

/// SplitMix64: short, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper half as a fraction of what is wanted.
        (((mixed ^ (mixed >> 31)) >> 32) as usize * count) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_mean_and_the_same_each_time() {
        // 100 questions, half of them better by 0.2: mean 0.1, standard error 0.01, so 0.1 +- 0.0196.
        let differences: Vec<f64> = (0..100).map(|at| if at % 2 == 0 { 0.2 } else { 0.0 }).collect();
        let found = difference(&differences).unwrap();
        assert!((found.mean - 0.1).abs() < 1e-9, "{found:?}");
        assert!((found.low - 0.0804).abs() < 0.003 && (found.high - 0.1196).abs() < 0.003, "{found:?}");
        assert_eq!(difference(&differences), Some(found));
    }

    #[test]
    fn runs_that_differ_alike_everywhere_leave_no_doubt() {
        assert_eq!(difference(&[0.5; 7]), Some(Difference { mean: 0.5, low: 0.5, high: 0.5 }));
        assert_eq!(difference(&[-0.25]), Some(Difference { mean: -0.25, low: -0.25, high: -0.25 }));
        assert_eq!(difference(&[]), None);
    }

    #[test]
    fn every_question_is_drawn_about_as_often() {
        let (mut dice, mut drawn) = (Dice(SEED), [0; 10]);
        (0..10_000).for_each(|_| drawn[dice.below(10)] += 1);
        assert!(drawn.iter().all(|count| (900..1_100).contains(count)), "{drawn:?}");
    }
}
