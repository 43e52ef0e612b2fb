//! What upgrades tell about themselves: `kind` is `table` for vectors in the built-in space, `endpoint` for those of a
//! service.

use opentelemetry::metrics::{Counter, Gauge};
use opentelemetry::{KeyValue, global};

pub(super) struct Metrics {
    kind: KeyValue,
    snippets: Counter<u64>,
    versions: Counter<u64>,
    waiting: Gauge<u64>,
    progress: Gauge<f64>,
}

impl Metrics {
    pub(super) fn new(kind: &'static str) -> Self {
        let meter = global::meter("twinmcp");
        Self {
            kind: KeyValue::new("kind", kind),
            snippets: meter
                .u64_counter("twinmcp.upgrade.snippets")
                .with_description("Snippets that got a better vector, by where it came from.")
                .build(),
            versions: meter
                .u64_counter("twinmcp.upgrade.versions")
                .with_description("Upgrades of library versions that ended, by outcome.")
                .build(),
            waiting: meter
                .u64_gauge("twinmcp.upgrade.waiting")
                .with_description("Library versions that wait for better vectors.")
                .build(),
            progress: meter
                .f64_gauge("twinmcp.upgrade.progress")
                .with_description("How far the version is that is being upgraded, 0 to 1; 1 when none is.")
                .build(),
        }
    }

    pub(super) fn snippets(&self, embedded: u64, remembered: u64) {
        self.snippets.add(embedded, &[self.kind.clone(), KeyValue::new("source", "embedded")]);
        self.snippets.add(remembered, &[self.kind.clone(), KeyValue::new("source", "remembered")]);
    }

    pub(super) fn ended(&self, outcome: &'static str) {
        self.versions.add(1, &[self.kind.clone(), KeyValue::new("outcome", outcome)]);
    }

    pub(super) fn waiting(&self, versions: usize) {
        self.waiting.record(versions as u64, std::slice::from_ref(&self.kind));
    }

    pub(super) fn progress(&self, done: u32, total: u32) {
        self.progress.record(f64::from(done) / f64::from(total.max(1)), std::slice::from_ref(&self.kind));
    }
}
