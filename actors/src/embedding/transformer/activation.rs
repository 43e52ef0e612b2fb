//! The functions between matrix products, written so that the compiler turns them into vector
//! instructions: the library's `exp` and `erf` would take as long as the products themselves. What most of
//! the time goes to is compiled again for processors with wider vectors, with the same results.

use multiversion::multiversion;
use ndarray::{Array1, ArrayViewMut1};

/// Numbers that are joined at once, so that the compiler uses vector instructions.
const LANES: usize = 16;

/// `x * Φ(x)`, the activation BERT was trained with, to about 4e-7.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(super) fn gelu(values: &mut [f32]) {
    for value in values {
        let x = *value;
        *value = 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// The error function as a quotient of polynomials in `x²` (the minimax one of Eigen and XLA).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let z = x * x;
    let over =
        [2.770_681_4e-8, -2.101_024e-6, -5.692_506_5e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2];
    let under = [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    let p = over.iter().fold(-2.726_142_3e-10_f32, |sum, factor| sum * z + factor);
    let q = under.iter().fold(-1.456_607_2e-5_f32, |sum, factor| sum * z + factor);
    x * p / q
}

/// Makes `scores * scale` a distribution.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(super) fn softmax(scores: &mut [f32], scale: f32) {
    let most = joined(scores, f32::NEG_INFINITY, |most, score| if score > most { score } else { most });
    for score in &mut *scores {
        *score = exp((*score - most) * scale);
    }
    let sum = joined(scores, 0.0, |sum, score| sum + score);
    let share = 1.0 / sum;
    scores.iter_mut().for_each(|score| *score *= share);
}

/// All values in one, lane by lane and then the lanes: one after the other each would wait for the one before.
#[inline(always)]
fn joined(values: &[f32], start: f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = join(*lane, *value);
        }
    }
    lanes.iter().chain(rest).fold(start, |joined, value| join(joined, *value))
}

/// `e^x` for `x` up to 0, to a few millionths of its value: 2 to the whole part by its bits, 2 to the rest by
/// a polynomial.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Added and taken away again, it leaves the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let power = (x * std::f32::consts::LOG2_E).max(-126.0);
    let shifted = power + ROUND;
    let rest = (power - (shifted - ROUND)) * std::f32::consts::LN_2;
    let factors = [8.333_334e-3, 4.166_666_6e-2, 1.666_666_7e-1, 0.5, 1.0, 1.0];
    let fraction = factors.iter().fold(1.388_888_9e-3_f32, |sum, factor| sum * rest + factor);
    let whole = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3F80_0000));
    fraction * whole
}

/// Layer normalisation (Ba, Kiros, Hinton 2016) of one row.
pub(super) fn normalise(
    mut row: ArrayViewMut1<'_, f32>,
    gain: &Array1<f32>,
    bias: &Array1<f32>,
    epsilon: f32,
) {
    let count = row.len() as f32;
    let mean = row.sum() / count;
    row.mapv_inplace(|value| value - mean);
    let variance = row.dot(&row) / count;
    let scale = 1.0 / (variance + epsilon).sqrt();
    row.zip_mut_with(gain, |value, gain| *value *= scale * gain);
    row += bias;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_librarys_to_a_few_parts_in_a_million() {
        for step in 0..=87_000 {
            let x = -(step as f32) / 1_000.0;
            let allowed = 1e-6 - 1e-7 * x;
            assert!((exp(x) / x.exp() - 1.0).abs() < allowed, "{x}: {} {}", exp(x), x.exp());
        }
        assert!(exp(-1e9) < 1e-37 && exp(0.0) == 1.0);
    }

    #[test]
    fn erf_has_the_values_of_the_tables() {
        // Abramowitz and Stegun, table 7.1.
        for (x, value) in [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.0, 0.995_322_3), (9.0, 1.0)]
        {
            assert!((erf(x) - value).abs() < 1e-6 && (erf(-x) + value).abs() < 1e-6, "{x}: {}", erf(x));
        }
    }

    #[test]
    fn a_softmax_of_any_length_is_that_of_its_definition() {
        for length in [1, 15, 16, 17, 100, 255] {
            let scores: Vec<f32> = (0..length).map(|at| ((at * 37) % 29) as f32 / 3.0).collect();
            let powers = scores.iter().map(|score| (f64::from(*score) * 0.5).exp());
            let sum: f64 = powers.clone().sum();
            let mut shares = scores.clone();
            softmax(&mut shares, 0.5);
            for (share, power) in shares.iter().zip(powers) {
                assert!(
                    (f64::from(*share) - power / sum).abs() < 1e-5,
                    "{length}: {share} for {}",
                    power / sum
                );
            }
        }
    }

    #[test]
    fn a_softmax_sums_to_one_however_large_the_scores() {
        for scores in [[0.0, 1.0, 2.0], [1e4, -1e4, 1e4], [-5e3, -5e3, -5e3]] {
            let mut shares = scores;
            softmax(&mut shares, 0.5);
            assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{shares:?}");
        }
        let mut shares = [0.0, (4.0_f32).ln()];
        softmax(&mut shares, 1.0);
        assert!((shares[1] - 0.8).abs() < 1e-6);
    }
}
