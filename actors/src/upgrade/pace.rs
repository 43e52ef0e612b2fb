//! How long to pause after a piece of work, so that an upgrade takes its share of a core and no more, and
//! makes way for questions.
//!
//! The thread has the least priority as well; the pauses are for what priorities do not share: memory
//! bandwidth, heat, and the bill.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts the questions this node answers: how an upgrade sees that it is wanted elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Activity(AtomicU64);

impl Activity {
    pub(crate) fn asked(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Pauses while questions come in; short enough that an upgrade goes on on a node that is never quiet.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// The pause after `worked`, when `questions` were asked meanwhile.
pub(super) fn pause_after(worked: Duration, questions: u64, cpu_percent: u8) -> Duration {
    let share = f64::from(cpu_percent.clamp(1, 100)) / 100.0;
    let rest = worked.mul_f64(1.0 / share - 1.0);
    if questions > 0 { rest.max(BUSY_PAUSE) } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_pause_keep_the_share_and_questions_make_way() {
        let worked = Duration::from_millis(40);
        for (questions, percent, pause) in [
            (0, 100, 0),
            (0, 50, 40),
            (0, 25, 120),
            (0, 0, 3_960),
            (1, 100, 250),
            (900, 50, 250),
            (1, 1, 3_960),
        ] {
            let got = pause_after(worked, questions, percent).as_millis();
            assert_eq!(got, pause, "{questions} questions at {percent} %");
        }
    }
}
