//! What an engine tells about itself: durations of operations and of syncs, and errors.

use std::time::Instant;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

use super::{Durability, Keyspace};

pub(super) struct Metrics {
    operation: Histogram<f64>,
    fsync: Histogram<f64>,
    errors: Counter<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self {
            operation: meter
                .f64_histogram("twinmcp.storage.op.duration")
                .with_unit("s")
                .with_description("Time of one read of the storage engine.")
                .with_boundaries(vec![0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0])
                .build(),
            fsync: meter
                .f64_histogram("twinmcp.storage.fsync.duration")
                .with_unit("s")
                .with_description("Time of a commit that waits for the disk.")
                .with_boundaries(vec![0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0])
                .build(),
            errors: meter
                .u64_counter("twinmcp.storage.errors")
                .with_description("Writes that the storage engine could not do.")
                .build(),
        }
    }

    pub(super) fn operation(&self, operation: &'static str, space: Keyspace, started: Instant) {
        let labels = [KeyValue::new("op", operation), KeyValue::new("keyspace", space.name())];
        self.operation.record(started.elapsed().as_secs_f64(), &labels);
    }

    pub(super) fn committed(&self, durability: Durability, started: Instant, done: bool) {
        if durability == Durability::Synced {
            self.fsync.record(started.elapsed().as_secs_f64(), &[]);
        }
        if !done {
            self.errors.add(1, &[KeyValue::new("op", "commit")]);
        }
    }
}
