//! What the guard tells about itself.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

pub(super) struct Metrics {
    pub(super) refusals: Counter<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let refusals = global::meter("twinmcp")
            .u64_counter("twinmcp.outbound.refusals")
            .with_description("Requests to other hosts that were refused or given up, by reason.")
            .build();
        Self { refusals }
    }

    /// `reason` comes from the closed list of [`super::OutboundError::reason`].
    pub(super) fn refused(&self, reason: &'static str) {
        self.refusals.add(1, &[KeyValue::new("reason", reason)]);
    }
}
