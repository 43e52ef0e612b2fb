//! Which node a client should ask: the nearest that takes requests. Pure.

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
    /// How much of what it can do it does, 0 to 100.
    pub load_percent: u8,
    /// Log entries it lacks.
    pub lag: u64,
}

/// Candidates in the order a client in `region` should try them. One that takes no requests comes after all that do; the
/// client's region before others, then `here`, the region of the node that was asked, which is near as well; then those
/// that are up to date, then those with less to do.
pub fn rank(mut candidates: Vec<Candidate>, region: Option<&str>, here: &str) -> Vec<Candidate> {
    candidates.sort_by_key(|candidate| {
        let distance = match candidate.region.as_str() {
            its if Some(its) == region => 0,
            its if its == here => 1,
            _ => 2,
        };
        let load = candidate.load_percent / LOAD_STEP_PERCENT;
        (!candidate.takes_requests, distance, candidate.lag > LAG_MAX, load, candidate.node)
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
            load_percent: 0,
            lag: 0,
        }
    }

    fn order(candidates: Vec<Candidate>, region: Option<&str>) -> Vec<u64> {
        rank(candidates, region, "us").into_iter().map(|candidate| candidate.node.0).collect()
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
}
