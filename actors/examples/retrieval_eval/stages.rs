//! How long the stages of a question take.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Times by stage: the quickest of this question, and the sum over those before it.
#[derive(Default)]
pub(crate) struct Stages {
    times: RefCell<BTreeMap<&'static str, (Option<Duration>, Duration)>>,
}

/// Runs until it is dropped.
pub(crate) struct Running<'a> {
    stages: &'a Stages,
    stage: &'static str,
    started: Instant,
}

impl Stages {
    pub(crate) fn begin(&self, stage: &'static str) -> Running<'_> {
        Running { stages: self, stage, started: Instant::now() }
    }

    /// Ends a question: its quickest time of each stage joins the sum.
    pub(crate) fn settle(&self) {
        for (quickest, sum) in self.times.borrow_mut().values_mut() {
            *sum += quickest.take().unwrap_or_default();
        }
    }

    /// Microseconds a question, by stage and in all.
    pub(crate) fn means(&self, questions: u32) -> String {
        let times = self.times.borrow();
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(questions.max(1));
        let all: Duration = times.values().map(|(_, sum)| *sum).sum();
        let stages: Vec<String> =
            times.iter().map(|(stage, (_, sum))| format!("{stage} {:.1}", micros(*sum))).collect();
        format!("{:.1} µs a question: {}", micros(all), stages.join(", "))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let taken = self.started.elapsed();
        let mut times = self.stages.times.borrow_mut();
        let (quickest, _) = times.entry(self.stage).or_default();
        *quickest = Some(quickest.map_or(taken, |quickest| quickest.min(taken)));
    }
}
