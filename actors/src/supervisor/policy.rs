//! When a dead actor is started again: pure, so that the rule can be read and tested by itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Limits of restarting.
#[derive(Debug, Clone)]
pub struct SupervisionConfig {
    /// Restarts within [`Self::window`] beyond which an actor counts as failed, and its node as not ready.
    pub restarts_max: usize,
    /// How far back restarts count, and how long an actor must live to count as well again.
    pub window: Duration,
    /// Pause before the first restart; doubles with each further one in the window.
    pub backoff_min: Duration,
    /// Longest pause before a restart; a failed actor is tried again at this pace.
    pub backoff_max: Duration,
}

impl Default for SupervisionConfig {
    fn default() -> Self {
        Self {
            restarts_max: 5,
            window: Duration::from_secs(60),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(10),
        }
    }
}

/// What to do about an actor that just died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Pause before it is started again.
    pub(super) restart_after: Duration,
    /// Whether it dies too often to count as running.
    pub(super) failed: bool,
}

/// Decides about an actor that died at `now`, and notes its death in `deaths`.
pub(super) fn after_death(
    deaths: &mut VecDeque<Instant>,
    now: Instant,
    config: &SupervisionConfig,
) -> Verdict {
    deaths.retain(|death| now.duration_since(*death) < config.window);
    deaths.push_back(now);
    let failed = deaths.len() > config.restarts_max;
    let doublings = u32::try_from(deaths.len() - 1).unwrap_or(u32::MAX).min(16);
    let backoff = config.backoff_min.saturating_mul(1 << doublings).min(config.backoff_max);
    Verdict { restart_after: if failed { config.backoff_max } else { backoff }, failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_the_sixth_death_in_a_window_is_failure() {
        let (config, start) = (SupervisionConfig::default(), Instant::now());
        let mut deaths = VecDeque::new();
        let verdicts: Vec<_> = (0..6).map(|_| after_death(&mut deaths, start, &config)).collect();
        let pauses: Vec<_> = verdicts.iter().map(|verdict| verdict.restart_after.as_millis()).collect();
        assert_eq!(pauses, [20, 40, 80, 160, 320, 10_000]);
        assert_eq!(verdicts.iter().filter(|verdict| verdict.failed).count(), 1);
    }

    #[test]
    fn deaths_before_the_window_are_forgotten() {
        let (config, start) = (SupervisionConfig::default(), Instant::now());
        let mut deaths = VecDeque::new();
        for _ in 0..5 {
            after_death(&mut deaths, start, &config);
        }
        let verdict = after_death(&mut deaths, start + config.window, &config);
        assert_eq!(verdict, Verdict { restart_after: config.backoff_min, failed: false });
    }
}
