//! What the responder counts. Who asked, and for which name, is in no metric.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use super::answer::{Carrier, Kind};

/// Instruments of the responder.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    answers: Counter<u64>,
    dropped: Counter<u64>,
}

/// Why something got no answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dropped {
    /// No question, but an answer or less than a header.
    Noise,
    /// Its network was answered too often.
    Limit,
    /// There are too many connections.
    Connections,
    /// The network refuses.
    Send,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self {
            answers: meter
                .u64_counter("twinmcp.dns.answers")
                .with_description("Questions that were answered, by `answer` and `carrier`.")
                .build(),
            dropped: meter
                .u64_counter("twinmcp.dns.dropped")
                .with_description("What got no answer, by `reason`.")
                .build(),
        }
    }

    pub(super) fn answered(&self, kind: Kind, carrier: Carrier) {
        let answer = match kind {
            Kind::Addresses => "addresses",
            Kind::Records => "records",
            Kind::NoData => "no_data",
            Kind::NoName => "no_name",
            Kind::Refused => "refused",
            Kind::Malformed => "malformed",
            Kind::NotImplemented => "not_implemented",
            Kind::BadVersion => "bad_version",
            Kind::Truncated => "truncated",
            Kind::Failed => "failed",
        };
        let carrier = match carrier {
            Carrier::Udp => "udp",
            Carrier::Tcp => "tcp",
        };
        self.answers.add(1, &[KeyValue::new("answer", answer), KeyValue::new("carrier", carrier)]);
    }

    pub(super) fn dropped(&self, reason: Dropped) {
        let reason = match reason {
            Dropped::Noise => "noise",
            Dropped::Limit => "limit",
            Dropped::Connections => "connections",
            Dropped::Send => "send",
        };
        self.dropped.add(1, &[KeyValue::new("reason", reason)]);
    }
}
