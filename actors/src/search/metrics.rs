//! What search tells about itself.

use std::time::Instant;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

pub(super) struct Metrics {
    duration: Histogram<f64>,
    resolve_duration: Histogram<f64>,
    results: Histogram<u64>,
    zero_results: Counter<u64>,
    through_peer: Counter<u64>,
}

/// From 50 µs, half of what a small library takes, to a second, when something is very wrong.
const SECONDS: [f64; 10] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.25, 1.0];

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self {
            duration: meter
                .f64_histogram("twinmcp.search.query.duration")
                .with_unit("s")
                .with_description("Time of a documentation query inside the node, by stage.")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            resolve_duration: meter
                .f64_histogram("twinmcp.search.resolve.duration")
                .with_unit("s")
                .with_description("Time to find the libraries a name may mean.")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            results: meter
                .u64_histogram("twinmcp.search.results")
                .with_description("Snippets or libraries in an answer.")
                .with_boundaries(vec![0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0])
                .build(),
            zero_results: meter
                .u64_counter("twinmcp.search.zero_results")
                .with_description("Questions that found nothing.")
                .build(),
            through_peer: meter
                .u64_counter("twinmcp.search.through_peer")
                .with_description("Questions about a bundle that is not here, asked of a peer, by outcome.")
                .build(),
        }
    }

    pub(super) fn query_started(&self) -> Timer<'_> {
        Timer { metrics: self, histogram: &self.duration, tool: "query-docs", started: Instant::now() }
    }

    pub(super) fn resolve_started(&self) -> Timer<'_> {
        let histogram = &self.resolve_duration;
        Timer { metrics: self, histogram, tool: "resolve-library-id", started: Instant::now() }
    }

    /// A peer was asked in place of this node's disk: `answered`, or `unanswered` in time.
    pub(super) fn through_peer(&self, outcome: &'static str) {
        self.through_peer.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// Times one stage of a query until it is dropped.
    pub(super) fn stage(&self, stage: &'static str) -> StageTimer<'_> {
        StageTimer { histogram: &self.duration, stage, started: Instant::now() }
    }
}

/// Times one question.
pub(super) struct Timer<'a> {
    metrics: &'a Metrics,
    histogram: &'a Histogram<f64>,
    tool: &'static str,
    started: Instant,
}

impl Timer<'_> {
    pub(super) fn done(self, results: usize) {
        let tool = KeyValue::new("tool", self.tool);
        self.histogram.record(self.started.elapsed().as_secs_f64(), &[KeyValue::new("stage", "total")]);
        self.metrics.results.record(results as u64, std::slice::from_ref(&tool));
        if results == 0 {
            self.metrics.zero_results.add(1, &[tool]);
        }
    }
}

pub(super) struct StageTimer<'a> {
    histogram: &'a Histogram<f64>,
    stage: &'static str,
    started: Instant,
}

impl Drop for StageTimer<'_> {
    fn drop(&mut self) {
        let stage = KeyValue::new("stage", self.stage);
        self.histogram.record(self.started.elapsed().as_secs_f64(), &[stage]);
    }
}
