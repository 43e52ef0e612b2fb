//! How far away the other members are: the time a small request to each takes, and its answer.
//!
//! [`Cluster::measure_round_trips`] measures until it is dropped; [`Cluster::round_trips`] is what came out. A figure is
//! this node's own and soft: nothing is decided by it, nobody else is told, and one that is old is no longer given.
//!
//! Invariant: time for a connection and its handshake is in no figure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use opentelemetry::metrics::Histogram;
use opentelemetry::{KeyValue, global};
use tokio::time::Instant;

use crate::handle::Cluster;
use crate::status::{ClusterStatus, MemberStatus, NodeId};

/// Members that are measured: what a node keeps, and asks in one round.
const MEMBERS_MAX: usize = 512;
/// Members that are asked at once.
const AT_ONCE_MAX: usize = 4;
/// Between two rounds; shorter at first, until the figures have settled.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_AT_FIRST: Duration = Duration::from_secs(1);
const ROUNDS_AT_FIRST: usize = 8;
/// A figure that was not measured again for so long is none.
const LIFE: Duration = Duration::from_secs(60);
/// A heartbeat that is proposed is a multiple of so many milliseconds.
const HEARTBEAT_STEP_MS: u64 = 50;

/// Difference of two round trips that nobody notices, in milliseconds.
const STEP_MS: u128 = 10;

/// A round trip in steps that make a difference to whoever waits: what is no farther by one is as near. One that is not known is
/// farther than all that are.
pub fn round_trip_steps(round_trip: Option<Duration>) -> u128 {
    round_trip.unwrap_or(Duration::MAX).as_millis() / STEP_MS
}

/// What this node has measured. Clones share it.
#[derive(Clone)]
pub struct RoundTrips {
    measured: Arc<Mutex<BTreeMap<NodeId, Measured>>>,
    samples: Histogram<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    smoothed: Duration,
    at: Instant,
}

impl RoundTrips {
    pub(crate) fn new() -> Self {
        let samples = global::meter("twinmcp")
            .f64_histogram("twinmcp.peer.round_trip")
            .with_unit("s")
            .with_description("Time of a small request to another node, by `peer`, without connecting.")
            .with_boundaries(vec![
                0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0,
            ])
            .build();
        Self { measured: Arc::default(), samples }
    }

    /// The smoothed round trip to `node`; absent for this node, and for one that was not reached in the last minute.
    pub fn to(&self, node: NodeId) -> Option<Duration> {
        let measured = *self.lock().get(&node)?;
        (measured.at.elapsed() < LIFE).then_some(measured.smoothed)
    }

    fn record(&self, node: NodeId, sample: Duration) {
        self.samples.record(sample.as_secs_f64(), &[KeyValue::new("peer", node.to_string())]);
        let mut measured = self.lock();
        let before = measured.get(&node).filter(|before| before.at.elapsed() < LIFE);
        let smoothed = smoothed(before.map(|before| before.smoothed), sample);
        measured.insert(node, Measured { smoothed, at: Instant::now() });
    }

    /// Forgets everybody else.
    fn keep(&self, members: &BTreeSet<NodeId>) {
        self.lock().retain(|node, _| members.contains(node));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Measured>> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 6298 section 2: the first sample as it is, then an eighth of each new one.
fn smoothed(before: Option<Duration>, sample: Duration) -> Duration {
    before.map_or(sample, |before| (before * 7 + sample) / 8)
}

/// A voter that is farther from this one than two heartbeats are apart, so that a leader's word is late as a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarVoter {
    /// Which one.
    pub node: NodeId,
    /// How far.
    pub round_trip: Duration,
    /// Between two heartbeats, as configured.
    pub heartbeat: Duration,
}

/// For an operator: what is wrong, and which settings to raise to what.
impl fmt::Display for FarVoter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let round_trip = u64::try_from(self.round_trip.as_millis()).unwrap_or(u64::MAX);
        let heartbeat = (round_trip / HEARTBEAT_STEP_MS + 1).saturating_mul(HEARTBEAT_STEP_MS);
        write!(
            f,
            "the round trip to voter {} is {round_trip} ms, more than `cluster.heartbeat_ms` ({}): set it to {heartbeat} on \
             every node, `cluster.election_min_ms` to {} and `cluster.election_max_ms` to {}",
            self.node,
            self.heartbeat.as_millis(),
            heartbeat.saturating_mul(4),
            heartbeat.saturating_mul(8),
        )
    }
}

impl Cluster {
    /// What this node has measured so far.
    pub fn round_trips(&self) -> &RoundTrips {
        self.round_trips_here()
    }

    /// Voters that are farther from this node than two heartbeats are apart; none for a node that does not vote.
    pub fn far_voters(&self) -> Vec<FarVoter> {
        far_voters(&self.status(), self.round_trips(), self.heartbeat())
    }

    /// Measures the round trip to every other member every five seconds, until it is dropped. Logs a voter that is too
    /// far, once.
    pub async fn measure_round_trips(&self) {
        let mut told = BTreeSet::new();
        for round in 0_usize.. {
            let status = self.status();
            let others = status.members.into_iter().filter(|member| member.node_id != status.node_id);
            let others: Vec<_> = others.take(MEMBERS_MAX).collect();
            self.round_trips().keep(&others.iter().map(|member| member.node_id).collect());
            let members = futures_util::stream::iter(others);
            members.for_each_concurrent(AT_ONCE_MAX, |member| self.measure(member)).await;
            for far in self.far_voters().into_iter().filter(|far| told.insert(far.node)) {
                tracing::warn!(peer = %far.node, "{far}");
            }
            tokio::time::sleep(if round < ROUNDS_AT_FIRST { PAUSE_AT_FIRST } else { PAUSE }).await;
        }
    }
}

impl Cluster {
    async fn measure(&self, member: MemberStatus) {
        let node = member.node_id;
        match self.round_trip(node, &member.address).await {
            Ok(sample) => self.round_trips().record(node, sample),
            Err(error) => {
                tracing::debug!(%node, error = &error as &dyn std::error::Error, "a node was not reached");
            }
        }
    }
}

fn far_voters(status: &ClusterStatus, measured: &RoundTrips, heartbeat: Duration) -> Vec<FarVoter> {
    let voters = status.members.iter().filter(|member| member.is_voter);
    if !voters.clone().any(|voter| voter.node_id == status.node_id) {
        return Vec::new();
    }
    let far = voters.filter_map(|voter| {
        let round_trip = measured.to(voter.node_id).filter(|round_trip| *round_trip > heartbeat)?;
        Some(FarVoter { node: voter.node_id, round_trip, heartbeat })
    });
    far.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_slow_answer_moves_the_figure_by_an_eighth() {
        assert_eq!(smoothed(None, 80 * MS), 80 * MS);
        assert_eq!(smoothed(Some(80 * MS), 160 * MS), 90 * MS);
        let settled = (0..40).fold(80 * MS, |before, _| smoothed(Some(before), 8 * MS));
        assert!(settled < 9 * MS, "{settled:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_figure_that_is_old_is_none_and_the_next_one_starts_anew() {
        let measured = RoundTrips::new();
        measured.record(NodeId(2), 80 * MS);
        assert_eq!(measured.to(NodeId(2)), Some(80 * MS));
        assert_eq!(measured.to(NodeId(3)), None);
        tokio::time::advance(LIFE).await;
        assert_eq!(measured.to(NodeId(2)), None);
        measured.record(NodeId(2), 8 * MS);
        assert_eq!(measured.to(NodeId(2)), Some(8 * MS), "not smoothed with what was long ago");
        measured.keep(&BTreeSet::from([NodeId(3)]));
        assert_eq!(measured.to(NodeId(2)), None, "it is no member any more");
    }

    #[test]
    fn a_voter_that_is_far_is_told_with_the_settings_to_raise() {
        let far = FarVoter { node: NodeId(3), round_trip: 161 * MS, heartbeat: 100 * MS };
        let expected = "the round trip to voter 3 is 161 ms, more than `cluster.heartbeat_ms` (100): set it to 200 on every \
                        node, `cluster.election_min_ms` to 800 and `cluster.election_max_ms` to 1600";
        assert_eq!(far.to_string(), expected);
    }
}
