//! What goes over the wire and what is dropped, counted for metrics and for `status`.

use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::metrics::{Counter, Gauge};
use opentelemetry::{KeyValue, global};

use super::member::Liveness;

/// Why something was not let in or not sent. One counter has them as its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Fewer bytes than an empty datagram has.
    Short,
    /// More bytes than are ever sent.
    Long,
    /// A format of another build.
    Format,
    /// Another cluster's.
    Cluster,
    /// Sealed with a secret that is not accepted here.
    Key,
    /// Changed on its way, or never sealed by anybody who has the secret.
    Forged,
    /// This node's own, sent back to it.
    Own,
    /// Sent too long ago, or by a clock that goes wrong.
    Clock,
    /// Seen before, or so late that it may have been.
    Replayed,
    /// From a boot too many: 4,096 are remembered.
    Sender,
    /// A fragment that cannot be part of a message.
    Fragment,
    /// A message of which not all fragments came in time.
    Incomplete,
    /// An authentic message that this build cannot read.
    Message,
    /// Arrived faster than it is worked off.
    Busy,
    /// The socket failed to receive.
    Receive,
    /// The socket failed to send.
    Send,
    /// A message of ours that is larger than all its fragments may be.
    Large,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::Short,
        Self::Long,
        Self::Format,
        Self::Cluster,
        Self::Key,
        Self::Forged,
        Self::Own,
        Self::Clock,
        Self::Replayed,
        Self::Sender,
        Self::Fragment,
        Self::Incomplete,
        Self::Message,
        Self::Busy,
        Self::Receive,
        Self::Send,
        Self::Large,
    ];

    /// The reason's name, as metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
            Self::Format => "format",
            Self::Cluster => "cluster",
            Self::Key => "key",
            Self::Forged => "forged",
            Self::Own => "own",
            Self::Clock => "clock",
            Self::Replayed => "replayed",
            Self::Sender => "sender",
            Self::Fragment => "fragment",
            Self::Incomplete => "incomplete",
            Self::Message => "message",
            Self::Busy => "busy",
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Large => "large",
        }
    }
}

/// What went over the wire since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Datagrams.
    pub datagrams: u64,
    /// Their bytes, without the headers of UDP and IP.
    pub bytes: u64,
    /// Messages that were made up of them.
    pub messages: u64,
}

/// The counters of one node's gossip.
#[derive(Debug)]
pub(super) struct Traffic {
    members: Gauge<u64>,
    datagrams: Counter<u64>,
    bytes: Counter<u64>,
    dropped: Counter<u64>,
    sent_total: Total,
    received_total: Total,
    dropped_total: [AtomicU64; Dropped::ALL.len()],
}

#[derive(Debug, Default)]
struct Total {
    datagrams: AtomicU64,
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Total {
    fn add(&self, bytes: usize) {
        self.datagrams.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn get(&self) -> Volume {
        Volume {
            datagrams: self.datagrams.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
        }
    }
}

impl Traffic {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self {
            members: meter
                .u64_gauge("twinmcp.membership.members")
                .with_unit("{node}")
                .with_description("Nodes this one knows, itself included, by how it sees them.")
                .build(),
            datagrams: meter
                .u64_counter("twinmcp.membership.datagrams")
                .with_unit("{datagram}")
                .with_description(
                    "Datagrams of gossip by direction; received ones also when they are dropped.",
                )
                .build(),
            bytes: meter
                .u64_counter("twinmcp.membership.bytes")
                .with_unit("By")
                .with_description("Bytes of gossip by direction, without the headers of UDP and IP.")
                .build(),
            dropped: meter
                .u64_counter("twinmcp.membership.dropped")
                .with_description("Datagrams and messages of gossip that were not let in or not sent.")
                .build(),
            sent_total: Total::default(),
            received_total: Total::default(),
            dropped_total: Default::default(),
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent_total.add(bytes);
        self.moved("sent", bytes);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received_total.add(bytes);
        self.moved("received", bytes);
    }

    pub(super) fn sent_message(&self) {
        self.sent_total.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn received_message(&self) {
        self.received_total.messages.fetch_add(1, Ordering::Relaxed);
    }

    fn moved(&self, direction: &'static str, bytes: usize) {
        let labels = [KeyValue::new("direction", direction)];
        self.datagrams.add(1, &labels);
        self.bytes.add(bytes as u64, &labels);
    }

    pub(super) fn dropped(&self, reason: Dropped) {
        self.dropped_total[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.dropped.add(1, &[KeyValue::new("reason", reason.as_str())]);
    }

    pub(super) fn members(&self, liveness: Liveness, count: usize) {
        self.members.record(count as u64, &[KeyValue::new("liveness", liveness.as_str())]);
    }

    pub(super) fn sent_total(&self) -> Volume {
        self.sent_total.get()
    }

    pub(super) fn received_total(&self) -> Volume {
        self.received_total.get()
    }

    pub(super) fn dropped_total(&self, reason: Dropped) -> u64 {
        self.dropped_total[reason as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        for (place, reason) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{}", reason.as_str());
        }
    }
}
