//! A leader's heartbeats, as often as configured.
//!
//! `openraft` waits for the answer to a heartbeat no longer than it lets pass until it sends the next. Over a line whose round trip
//! is longer, none would ever be answered: followers would know their leader, and the leader could not say that it still leads, which
//! is what a linearizable read and [`Freshness`](super::freshness::Freshness) ask for. So `openraft` is told the wait, and when to send one
//! is said here.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::MissedTickBehavior;

use super::types::Raft;
use crate::config::ClusterConfig;

/// How long a heartbeat waits for its answer, in milliseconds. No other goes to that follower meanwhile, so it ends before the
/// shortest silence that leads to an election.
pub(super) fn patience_ms(config: &ClusterConfig) -> u64 {
    config.election_min_ms.saturating_mul(3) / 4
}

/// Sends heartbeats while this node leads, until `openraft` has stopped.
pub(super) async fn beat(raft: Raft, heartbeat_ms: u64) {
    let mut server = raft.server_metrics();
    let mut ticks = tokio::time::interval(Duration::from_millis(heartbeat_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let leads = server.borrow_watched().state.is_leader();
        let is_running = match leads {
            true => {
                ticks.tick().await;
                raft.trigger().heartbeat().await.is_ok()
            }
            false => server.changed().await.is_ok(),
        };
        if !is_running {
            return;
        }
    }
}
