//! What agreement tells about itself.

use std::time::Instant;

use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};

use crate::status::GroupId;

/// Instruments of one group.
#[derive(Debug)]
pub(crate) struct Metrics {
    labels: [KeyValue; 1],
    has_leader: Gauge<u64>,
    leader_changes: Counter<u64>,
    commit: Histogram<f64>,
    entry_commands: Histogram<u64>,
    applied_index: Gauge<u64>,
    refused: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new(group: GroupId) -> Self {
        let meter = global::meter("twinmcp");
        Self {
            labels: [KeyValue::new("group", i64::from(group.0))],
            has_leader: meter
                .u64_gauge("twinmcp.consensus.has_leader")
                .with_description("1 while this node knows a leader, else 0.")
                .build(),
            leader_changes: meter
                .u64_counter("twinmcp.consensus.leader_changes")
                .with_description("Times another node, or a new term of this one, began to lead.")
                .build(),
            commit: meter
                .f64_histogram("twinmcp.consensus.commit.duration")
                .with_unit("s")
                .with_description("Time from forming an entry until it is applied here.")
                .with_boundaries(vec![0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0])
                .build(),
            entry_commands: meter
                .u64_histogram("twinmcp.consensus.entry.commands")
                .with_unit("{command}")
                .with_description("Commands in one log entry.")
                .with_boundaries(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0])
                .build(),
            applied_index: meter
                .u64_gauge("twinmcp.consensus.applied_index")
                .with_description("Index of the newest log entry the state contains.")
                .build(),
            refused: meter
                .u64_counter("twinmcp.consensus.proposals.refused")
                .with_description("Proposals that were not answered with an outcome.")
                .build(),
        }
    }

    pub(crate) fn leader(&self, is_known: bool, is_new: bool) {
        self.has_leader.record(is_known.into(), &self.labels);
        if is_new {
            self.leader_changes.add(1, &self.labels);
        }
    }

    pub(crate) fn entry_formed(&self, commands: usize) {
        self.entry_commands.record(commands as u64, &self.labels);
    }

    pub(crate) fn entry_committed(&self, formed: Instant) {
        self.commit.record(formed.elapsed().as_secs_f64(), &self.labels);
    }

    pub(crate) fn applied(&self, index: u64) {
        self.applied_index.record(index, &self.labels);
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        let [group] = &self.labels;
        self.refused.add(1, &[group.clone(), KeyValue::new("reason", reason)]);
    }
}
