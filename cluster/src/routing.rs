//! Which node a client should ask: the nearest that takes requests. Pure.

use std::time::Duration;

use crate::round_trip::round_trip_steps;
use crate::status::NodeId;

/// Load that makes no difference, in percent: a few requests must not send everybody elsewhere.
const LOAD_STEP_PERCENT: u8 = 25;
/// Log entries a node may lack and still count as up to date.
const LAG_MAX: u64 = 1_000;

/// A node that clients can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which node.
    pub node: NodeId,
    /// Where clients reach it.
    pub url: String,
    /// Where it is.
    pub region: String,
    /// Whether it is heard from, ready, and not about to go.
    pub takes_requests: bool,
    /// How far it is from the node that was asked: nothing for that node itself, absent when it is not known.
    pub round_trip: Option<Duration>,
    /// How much of what it can do it does, 0 to 100.
    pub load_percent: u8,
    /// Log entries it lacks.
    pub lag: u64,
}

/// Where a client is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewpoint<'a> {
    /// The region it names, if it names one.
    pub region: Option<&'a str>,
    /// The region of the node that it asks.
    pub here: &'a str,
}

impl Viewpoint<'_> {
    /// A client that names no other region has come to this node because it is near: what is near this node is near it.
    fn is_here(&self) -> bool {
        self.region.is_none_or(|region| region == self.here)
    }
}

/// Candidates in the order a client should try them. One that takes no requests comes after all that do. Then regions:
/// the client's before others, then that of the node it asks. For a client that names no other region than that node's,
/// round trips from there are next; of one elsewhere they say nothing. Then those that are up to date, then those with
/// less to do.
pub fn rank(mut candidates: Vec<Candidate>, from: Viewpoint<'_>) -> Vec<Candidate> {
    candidates.sort_by_key(|candidate| {
        let region = match candidate.region.as_str() {
            its if Some(its) == from.region => 0,
            its if its == from.here => 1,
            _ => 2,
        };
        let distance =
            if from.is_here() { candidate.round_trip.unwrap_or(Duration::MAX) } else { Duration::ZERO };
        let load = candidate.load_percent / LOAD_STEP_PERCENT;
        let steps = round_trip_steps(Some(distance));
        (!candidate.takes_requests, region, steps, candidate.lag > LAG_MAX, load, distance, candidate.node)
    });
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node: u64, region: &str) -> Candidate {
        Candidate {
            node: NodeId(node),
            url: format!("https://{node}.example.com"),
            region: region.to_owned(),
            takes_requests: true,
            round_trip: None,
            load_percent: 0,
            lag: 0,
        }
    }

    fn away(number: u64, region: &str, round_trip_us: u64) -> Candidate {
        Candidate { round_trip: Some(Duration::from_micros(round_trip_us)), ..node(number, region) }
    }

    fn order(candidates: Vec<Candidate>, region: Option<&str>) -> Vec<u64> {
        let ranked = rank(candidates, Viewpoint { region, here: "us" });
        ranked.into_iter().map(|candidate| candidate.node.0).collect()
    }

    #[test]
    fn the_nearest_that_takes_requests_comes_first() {
        let nodes = || vec![node(1, "ap"), node(2, "us"), node(3, "eu")];
        assert_eq!(order(nodes(), Some("eu")), [3, 2, 1]);
        assert_eq!(order(nodes(), None), [2, 1, 3]);
        let mut drained = nodes();
        drained[2].takes_requests = false;
        assert_eq!(order(drained, Some("eu")), [2, 1, 3], "one that goes is the last resort");
    }

    #[test]
    fn load_and_lag_decide_within_a_region() {
        let mut nodes = vec![node(1, "eu"), node(2, "eu"), node(3, "eu"), node(4, "us")];
        nodes[0].load_percent = 80;
        nodes[1].lag = 5_000;
        nodes[2].load_percent = 20;
        assert_eq!(order(nodes, Some("eu")), [3, 1, 2, 4], "far away is worse than busy");
    }

    #[test]
    fn who_is_near_the_asked_node_is_sent_by_what_that_node_measures() {
        let nodes = || vec![away(1, "ap", 210_000), away(2, "eu", 80_000), away(3, "us", 0), node(4, "sa")];
        for region in [None, Some("us")] {
            assert_eq!(order(nodes(), region), [3, 2, 1, 4], "what was not measured comes last: {region:?}");
        }
        assert_eq!(order(nodes(), Some("ap")), [1, 3, 2, 4], "it is not where the asked node is");
        let mut busy = nodes();
        busy[1].load_percent = 100;
        assert_eq!(order(busy, None), [3, 2, 1, 4], "far away is worse than busy");
    }

    #[test]
    fn a_difference_that_nobody_notices_gives_way_to_load() {
        let mut nodes = vec![away(1, "us", 900), away(2, "us", 400), away(3, "us", 0), away(4, "us", 30_000)];
        assert_eq!(order(nodes.clone(), None), [3, 2, 1, 4]);
        nodes[2].load_percent = 90;
        assert_eq!(order(nodes, None), [2, 1, 3, 4]);
    }
}
