//! Histograms for `openraft`, in place of the crate `base2histogram` 0.2.3, which makes tables for all of its sixteen
//! resolutions when the first histogram is made: 25 MB that stay for the life of the process, for one that is asked for.
//!
//! The workspace's `[patch]` puts it there; it has what `openraft` 0.10 names and nothing else. To drop it, remove the
//! patch and this folder. Values are counted in buckets of a quarter of a power of two, so that a percentile is at most
//! an eighth off.

use std::fmt;
use std::marker::PhantomData;

/// Buckets of one power of two, as bits.
const STEP_BITS: u32 = 2;
const STEPS: u64 = 1 << STEP_BITS;
/// Values below [`STEPS`] have a bucket each, then every power of two has [`STEPS`].
const BUCKETS: usize = ((64 - STEP_BITS as usize) + 1) << STEP_BITS;
/// Columns of the longest bar of a chart.
const BAR: u64 = 40;

/// Counts of values. `T` is what `openraft` could keep beside each count, and does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Box<[u64; BUCKETS]>,
    kept: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// With nothing in it.
    pub fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), kept: PhantomData }
    }

    /// Counts `value` once.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts `value` `times`.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count = count.saturating_add(times);
        }
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |total, count| total.saturating_add(*count))
    }

    /// The least value of the bucket that `permille` of 1,000 values are not above; 0 when there are none.
    fn permille(&self, permille: u64) -> u64 {
        let wanted = self.total().saturating_mul(permille).div_ceil(1_000).max(1);
        let mut seen = 0_u64;
        let reached = self.counts.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= wanted
        });
        reached.map_or(0, least)
    }

    /// How the values are spread.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.permille(1),
            p1: self.permille(10),
            p5: self.permille(50),
            p10: self.permille(100),
            p50: self.permille(500),
            p90: self.permille(900),
            p99: self.permille(990),
            p99_9: self.permille(999),
        }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Histogram<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.percentile_stats(), f)
    }
}

/// Which bucket counts `value`.
fn bucket(value: u64) -> usize {
    let Some(octave) = value.checked_ilog2().and_then(|bits| bits.checked_sub(STEP_BITS)) else {
        // Below the first power of two that is divided: the value is the bucket, and fits.
        return usize::try_from(value).unwrap_or(0);
    };
    let step = (value >> octave) - STEPS;
    usize::try_from((u64::from(octave) + 1) * STEPS + step).unwrap_or(BUCKETS - 1)
}

/// The least value that `bucket` counts.
fn least(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    match (bucket / STEPS).checked_sub(1) {
        Some(octave) => (STEPS + bucket % STEPS) << octave,
        None => bucket,
    }
}

/// How the values of a histogram are spread: each is about the value that so many percent are not above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named by its percentile")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "{samples} samples, p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}")
    }
}

/// Several histograms, one below the other.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart<T = ()> {
    named: Vec<(String, Histogram<T>)>,
}

impl<T> AsciiChart<T> {
    /// Of none yet.
    pub fn new() -> Self {
        Self { named: Vec::new() }
    }

    /// With one more.
    #[must_use]
    pub fn add(mut self, name: impl ToString, histogram: Histogram<T>) -> Self {
        self.named.push((name.to_string(), histogram));
        self
    }
}

impl<T> fmt::Display for AsciiChart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.named {
            writeln!(f, "{name}: {}", histogram.percentile_stats())?;
            let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1);
            for (bucket, count) in histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let bar = usize::try_from((count.saturating_mul(BAR) / most).max(1)).unwrap_or(1);
                writeln!(f, "{:>20} {:#<bar$} {count}", least(bucket), "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_that_is_no_wider_than_a_quarter_of_it() {
        let powers =
            (0..64).flat_map(|bits| [1_u64 << bits, (1 << bits) + (1 << bits) / 3, (1_u64 << bits) - 1]);
        for value in powers.chain([0, u64::MAX]) {
            let (from, next) = (least(bucket(value)), least(bucket(value) + 1));
            assert!(from <= value && value - from <= value / 4, "{value} in {from}");
            assert!(bucket(value) == BUCKETS - 1 || next > value, "{value} before {next}");
        }
        assert!((1..BUCKETS).all(|bucket| least(bucket) > least(bucket - 1)));
    }

    #[test]
    fn percentiles_are_about_those_of_the_values() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p99, 0);
        (1..=1_000).for_each(|value| histogram.record(value));
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, histogram.total()), (1_000, 1_000));
        for (found, wanted) in [(stats.p1, 10), (stats.p50, 500), (stats.p90, 900), (stats.p99, 990)] {
            assert!(found <= wanted && wanted - found <= wanted / 4, "{found} for {wanted}");
        }
        let chart = AsciiChart::new().add("one", histogram).to_string();
        assert!(chart.contains("one: 1000 samples") && chart.contains(&"#".repeat(40)), "{chart}");
    }
}
