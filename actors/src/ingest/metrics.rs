//! What ingest tells about itself.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

pub(super) struct Metrics {
    build_duration: Histogram<f64>,
    failures: Counter<u64>,
    left_out: Counter<u64>,
    labelled: Counter<u64>,
    snippets: Counter<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self {
            build_duration: meter
                .f64_histogram("twinmcp.ingest.build.duration")
                .with_unit("s")
                .with_description("Time from opening a source to its finished bundle.")
                .with_boundaries(vec![0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0])
                .build(),
            failures: meter
                .u64_counter("twinmcp.ingest.failures")
                .with_description("Index jobs that ended without a bundle, by the stage that failed and why.")
                .build(),
            left_out: meter
                .u64_counter("twinmcp.ingest.left_out")
                .with_unit("{file}")
                .with_description("Files of sources that were not indexed, or not as they are, by reason.")
                .build(),
            labelled: meter
                .u64_counter("twinmcp.ingest.labelled")
                .with_unit("{snippet}")
                .with_description("Snippets that the scan for text aimed at models labelled, by label.")
                .build(),
            snippets: meter
                .u64_counter("twinmcp.ingest.snippets")
                .with_description("Snippets of bundles: embedded, or with the vector of the bundle before.")
                .build(),
        }
    }

    pub(super) fn built(&self, duration: Duration) {
        self.build_duration.record(duration.as_secs_f64(), &[]);
    }

    pub(super) fn failed(&self, stage: KeyValue, reason: &'static str) {
        self.failures.add(1, &[stage, KeyValue::new("reason", reason)]);
    }

    /// `reason` is a code of the parsers or of the source: a closed list.
    pub(super) fn left_out(&self, reason: &'static str, files: u64) {
        self.left_out.add(files, &[KeyValue::new("reason", reason)]);
    }

    pub(super) fn labelled(&self, label: &'static str, snippets: u64) {
        self.labelled.add(snippets, &[KeyValue::new("label", label)]);
    }

    pub(super) fn snippets(&self, embedded: u64, reused: u64) {
        self.snippets.add(embedded, &[KeyValue::new("vector", "embedded")]);
        self.snippets.add(reused, &[KeyValue::new("vector", "reused")]);
    }
}
