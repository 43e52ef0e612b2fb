//! What distribution tells about itself.

use std::collections::HashMap;

use opentelemetry::metrics::{Counter, Gauge};
use opentelemetry::{KeyValue, global};
use twinmcp_storage::bundle::BundleHash;

use super::Fetched;
use super::plan::Held;

pub(super) struct Metrics {
    fetches: Counter<u64>,
    fetched: Counter<u64>,
    sent: Counter<u64>,
    removed: Counter<u64>,
    disk: Gauge<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self {
            fetches: meter
                .u64_counter("twinmcp.bundles.fetches")
                .with_description("Fetches of bundles from peers, by outcome.")
                .build(),
            fetched: meter
                .u64_counter("twinmcp.bundles.fetched")
                .with_unit("By")
                .with_description("Bytes of bundles that came from peers and are kept.")
                .build(),
            sent: meter
                .u64_counter("twinmcp.bundles.sent")
                .with_unit("By")
                .with_description("Bytes of bundles sent to peers.")
                .build(),
            removed: meter
                .u64_counter("twinmcp.bundles.removed")
                .with_description("Bundles removed from this node, by reason.")
                .build(),
            disk: meter
                .u64_gauge("twinmcp.bundles.disk")
                .with_unit("By")
                .with_description("Bytes of the bundles on this node, by whether agreed state names them.")
                .build(),
        }
    }

    pub(super) fn fetch_ended(&self, fetched: Fetched, bytes: u64) {
        let outcome = match fetched {
            Fetched::Here => "here",
            Fetched::Nowhere => "nowhere",
            Fetched::Later => "later",
        };
        self.fetches.add(1, &[KeyValue::new("outcome", outcome)]);
        if fetched == Fetched::Here {
            self.fetched.add(bytes, &[]);
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.add(bytes as u64, &[]);
    }

    /// So many bundles were `evicted`, or were `garbage`.
    pub(super) fn removed(&self, reason: &'static str, bundles: u64) {
        self.removed.add(bundles, &[KeyValue::new("reason", reason)]);
    }

    pub(super) fn held(&self, named: &HashMap<BundleHash, u64>, held: &[Held]) {
        let bytes = |is_named: bool| -> u64 {
            let counted = held.iter().filter(|held| named.contains_key(&held.hash) == is_named);
            counted.map(|held| held.bytes).sum()
        };
        for (state, is_named) in [("named", true), ("garbage", false)] {
            self.disk.record(bytes(is_named), &[KeyValue::new("state", state)]);
        }
    }
}
