//! What bundles tell about themselves: time to build and open, errors, and how many are open.

use std::sync::OnceLock;
use std::time::Instant;

use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};

use super::error::BundleError;

pub(super) struct Metrics {
    operation: Histogram<f64>,
    errors: Counter<u64>,
    handles: UpDownCounter<i64>,
}

impl Metrics {
    pub(super) fn get() -> &'static Self {
        static METRICS: OnceLock<Metrics> = OnceLock::new();
        METRICS.get_or_init(|| {
            let meter = global::meter("twinmcp");
            Self {
                operation: meter
                    .f64_histogram("twinmcp.storage.bundle.duration")
                    .with_unit("s")
                    .with_description("Time to build a bundle, or to verify and open one.")
                    .with_boundaries(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0])
                    .build(),
                errors: meter
                    .u64_counter("twinmcp.storage.bundle.errors")
                    .with_description("Bundles that could not be opened or received.")
                    .build(),
                handles: meter
                    .i64_up_down_counter("twinmcp.storage.bundle.handles")
                    .with_unit("{bundle}")
                    .with_description("Bundles kept open.")
                    .build(),
            }
        })
    }

    pub(super) fn built(&self, started: Instant) {
        self.operation.record(started.elapsed().as_secs_f64(), &[KeyValue::new("op", "build")]);
    }

    pub(super) fn opened(&self, started: Instant, error: Option<&BundleError>) {
        self.operation.record(started.elapsed().as_secs_f64(), &[KeyValue::new("op", "open")]);
        if let Some(error) = error {
            self.failed("open", error);
        }
    }

    pub(super) fn failed(&self, operation: &'static str, error: &BundleError) {
        let kind = match error {
            BundleError::Damaged { .. } | BundleError::NotABundle { .. } => "damaged",
            BundleError::WrongHash { .. } => "wrong_hash",
            BundleError::Newer { .. } => "newer",
            BundleError::Io { .. } => "io",
            _ => "other",
        };
        self.errors.add(1, &[KeyValue::new("op", operation), KeyValue::new("kind", kind)]);
    }

    /// More, or fewer, bundles are kept open.
    pub(super) fn handles(&self, change: i64) {
        self.handles.add(change, &[]);
    }
}
