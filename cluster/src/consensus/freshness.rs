//! How old what this node knows of the agreed state is.
//!
//! A leader tells each follower what is agreed on. Once a follower has applied that, its state is at least as new as the moment at
//! which it was told. A node that is cut off is told nothing, and its state grows old, whatever it takes itself for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant as _, ServerState};
use opentelemetry::{KeyValue, global};
use tokio::sync::watch;
use tokio::time::Instant;

use super::types::Raft;
use crate::status::GroupId;

/// Between two notes of what a leader says: it speaks with every entry.
const NOTE_EVERY_MS: u64 = 200;

/// Since when the agreed state may have moved on without this node.
#[derive(Debug)]
pub(crate) struct Freshness {
    raft: Raft,
    applied: watch::Receiver<Option<u64>>,
    began: Instant,
    /// As new as this moment, in milliseconds from `began`.
    as_of_ms: AtomicU64,
    /// Said to be agreed on at a moment, and not seen to be applied yet.
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    index: u64,
    at_ms: u64,
}

impl Freshness {
    pub(super) fn new(raft: Raft, applied: watch::Receiver<Option<u64>>) -> Self {
        Self { raft, applied, began: Instant::now(), as_of_ms: AtomicU64::new(0), said: Mutex::default() }
    }

    /// Notes that a leader has just been followed.
    pub(super) fn followed(&self) {
        let now_ms = self.now_ms();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms < said.at_ms + NOTE_EVERY_MS {
            return;
        }
        let applied = *self.applied.borrow();
        if applied.is_some_and(|applied| applied >= said.index) {
            self.as_of_ms.fetch_max(said.at_ms, Ordering::Relaxed);
            let committed = self.raft.metrics().borrow_watched().cluster_committed;
            *said = Said { index: committed.map_or(0, |committed| committed.index), at_ms: now_ms };
        }
    }

    /// How old the state is at most: nothing for who votes alone; on the leader, since a majority followed it last; elsewhere since
    /// a leader told what has been applied here by now; since the start for a node that no leader has told anything.
    ///
    /// What a leader is told here it remembers: asked now and then, a node that has just handed over is as new as it was.
    pub(crate) fn age(&self) -> Duration {
        let now_ms = self.now_ms();
        if let Some(age_ms) = self.led_ms_ago() {
            self.as_of_ms.fetch_max(now_ms.saturating_sub(age_ms), Ordering::Relaxed);
        }
        Duration::from_millis(now_ms.saturating_sub(self.as_of_ms.load(Ordering::Relaxed)))
    }

    /// When a majority last followed this node, in milliseconds before now, if it leads.
    fn led_ms_ago(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            return None;
        }
        if metrics.membership_config.membership().voter_ids().count() == 1 {
            return Some(0);
        }
        let acknowledged = metrics.last_quorum_acked?.elapsed();
        Some(u64::try_from(acknowledged.as_millis()).unwrap_or(u64::MAX))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells the age to metrics for as long as somebody else holds it.
    pub(super) fn observe(self: &Arc<Self>, group: GroupId) {
        let observed = Arc::downgrade(self);
        let labels = [KeyValue::new("group", i64::from(group.0))];
        global::meter("twinmcp")
            .f64_observable_gauge("twinmcp.consensus.state.age")
            .with_unit("s")
            .with_description(
                "How old the agreed state on this node is at most: what was revoked since is not known here.",
            )
            .with_callback(move |gauge| {
                if let Some(freshness) = observed.upgrade() {
                    gauge.observe(freshness.age().as_secs_f64(), &labels);
                }
            })
            .build();
    }
}
