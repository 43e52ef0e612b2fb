//! What the bucket tells about itself.

use opentelemetry::metrics::{Counter, Gauge};
use opentelemetry::{KeyValue, global};

use super::error::BucketError;

pub(super) struct Metrics {
    requests: Counter<u64>,
    bytes: Counter<u64>,
    removed: Counter<u64>,
    missing: Gauge<u64>,
    up: Gauge<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self {
            requests: meter
                .u64_counter("twinmcp.bucket.requests")
                .with_description("What the bucket was asked for, by what was done and how it ended.")
                .build(),
            bytes: meter
                .u64_counter("twinmcp.bucket")
                .with_unit("By")
                .with_description("Bytes of bundles sent to the bucket and received from it, by direction.")
                .build(),
            removed: meter
                .u64_counter("twinmcp.bucket.removed")
                .with_description("Bundles removed from the bucket because nobody names them.")
                .build(),
            missing: meter
                .u64_gauge("twinmcp.bucket.missing")
                .with_description("Bundles on this node that are not in the bucket yet.")
                .build(),
            up: meter
                .u64_gauge("twinmcp.bucket.up")
                .with_description("1 while the bucket does what it is asked for, 0 while it does not.")
                .build(),
        }
    }

    pub(super) fn asked<T>(&self, operation: &'static str, answer: &Result<T, BucketError>) {
        let outcome = if answer.is_ok() { "done" } else { "failed" };
        self.requests.add(1, &[KeyValue::new("operation", operation), KeyValue::new("outcome", outcome)]);
    }

    /// So many bytes were `sent`, or `received`.
    pub(super) fn moved(&self, direction: &'static str, bytes: u64) {
        self.bytes.add(bytes, &[KeyValue::new("direction", direction)]);
    }

    pub(super) fn removed(&self) {
        self.removed.add(1, &[]);
    }

    pub(super) fn missing(&self, bundles: usize) {
        self.missing.record(bundles as u64, &[]);
    }

    pub(super) fn is_up(&self, is_up: bool) {
        self.up.record(is_up.into(), &[]);
    }
}
