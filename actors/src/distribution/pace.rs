//! So many bytes a second, over all that is sent or fetched at once.

use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// What one unit of the limiter stands for: a byte each would be less than its clock can tell.
const UNIT_BYTES: u64 = 1024;
/// Bytes that may go at once after a pause: as large as any piece.
const BURST_BYTES: u64 = 256 * 1024;

/// A limit of bytes a second. Whoever is about to send or to take bytes waits here first.
pub(super) struct Pace {
    limiter: Option<DefaultDirectRateLimiter>,
    clock: DefaultClock,
}

impl Pace {
    /// At most `bytes_per_s`, rounded up to KiB; 0 sets no limit.
    pub(super) fn new(bytes_per_s: u64) -> Self {
        let units =
            |bytes: u64| NonZeroU32::new(u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX));
        let quota = units(bytes_per_s).zip(units(bytes_per_s.max(BURST_BYTES)));
        let limiter =
            quota.map(|(rate, burst)| RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)));
        Self { limiter, clock: DefaultClock::default() }
    }

    /// Returns once so many more bytes may go.
    pub(super) async fn take(&self, bytes: usize) {
        let Some(limiter) = &self.limiter else { return };
        let mut left = bytes as u64;
        while left > 0 {
            let now = left.min(BURST_BYTES);
            let units = u32::try_from(now.div_ceil(UNIT_BYTES)).ok().and_then(NonZeroU32::new);
            let Some(units) = units else { return };
            match limiter.check_n(units) {
                Ok(Err(early)) => tokio::time::sleep(early.wait_time_from(self.clock.now())).await,
                // A burst fits every piece, so nothing is larger than it.
                Ok(Ok(())) | Err(_) => left -= now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn bytes_beyond_a_burst_wait_for_their_second() {
        let pace = Pace::new(1024 * 1024);
        let started = Instant::now();
        // A burst of one second, and a half.
        for _ in 0..6 {
            pace.take(BURST_BYTES as usize).await;
        }
        assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
        let unlimited = Pace::new(0);
        unlimited.take(usize::MAX).await;
    }

    #[tokio::test]
    async fn a_piece_larger_than_a_burst_goes_in_parts() {
        Pace::new(64 * 1024 * 1024).take(3 * BURST_BYTES as usize + 1).await;
    }
}
