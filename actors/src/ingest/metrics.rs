//! What ingest tells about itself.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

pub(super) struct Metrics {
    build_duration: Histogram<f64>,
    failures: Counter<u64>,
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
                .with_description("Index jobs that ended without a bundle, by the stage that failed.")
                .build(),
        }
    }

    pub(super) fn built(&self, duration: Duration) {
        self.build_duration.record(duration.as_secs_f64(), &[]);
    }

    pub(super) fn failed(&self, stage: KeyValue) {
        self.failures.add(1, &[stage]);
    }
}
