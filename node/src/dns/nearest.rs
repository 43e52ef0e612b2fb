//! Which nodes a client is given, the nearest first. Pure.

use std::time::Duration;

use twinmcp_cluster::NodeId;
use twinmcp_cluster::membership::{Location, PublicAddresses};

/// Distances and round trips that make no difference: places are known to a city at best.
const STEP_KM: f64 = 100.0;
const STEP_MS: u128 = 10;
const STEP_PERCENT: u8 = 25;

/// A node that clients can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) node: NodeId,
    pub(super) addresses: PublicAddresses,
    /// Whether it is in the region of the node that answers.
    pub(super) is_in_region: bool,
    pub(super) location: Option<Location>,
    /// From the node that answers; nothing for that node itself, absent when it is not known.
    pub(super) round_trip: Option<Duration>,
    pub(super) load_percent: u8,
    /// Whether it takes requests and is not about to go. All that are listed are heard from.
    pub(super) is_ready: bool,
}

/// The servers to be given to a client at `place`, the nearest first; without a place those near the node that answers,
/// because the resolver came to it. Of servers that are equally near those with less to do come first, and of those another
/// one each `turn`.
///
/// Servers that are not ready are given only when none is: their answer may be an error that says when to come back, and
/// they answer what they can. That there is no such name would be believed for as long as any answer, and end every client.
pub(super) fn nearest(servers: &[Server], place: Option<Location>, turn: usize) -> Vec<&Server> {
    let ready: Vec<&Server> = servers.iter().filter(|server| server.is_ready).collect();
    let mut given = if ready.is_empty() { servers.iter().collect() } else { ready };
    if !given.is_empty() {
        let by = turn % given.len();
        given.rotate_left(by);
    }
    // A place is of use only where that of a server is known too.
    let place = place.filter(|_| given.iter().any(|server| server.location.is_some()));
    // Each distance is reckoned once, whatever the number of nodes.
    given.sort_by_cached_key(|server| {
        let load = server.load_percent / STEP_PERCENT;
        match place {
            Some(place) => (false, steps_from(place, server), load),
            None => (!server.is_in_region, steps_from_here(server), load),
        }
    });
    given
}

fn steps_from(place: Location, server: &Server) -> u128 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "half around the Earth are 200 steps"
    )]
    let steps = |location| (place.kilometres_to(location) / STEP_KM) as u128;
    server.location.map_or(u128::MAX, steps)
}

fn steps_from_here(server: &Server) -> u128 {
    server.round_trip.map_or(u128::MAX, |time| time.as_millis() / STEP_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRANKFURT: &str = "50.11,8.68";
    const NEW_YORK: &str = "40.71,-74.01";
    const SYDNEY: &str = "-33.87,151.21";

    fn server(node: u64, location: &str) -> Server {
        Server {
            node: NodeId(node),
            addresses: PublicAddresses::default(),
            is_in_region: false,
            location: location.parse().ok(),
            round_trip: None,
            load_percent: 0,
            is_ready: true,
        }
    }

    fn order(servers: &[Server], place: &str, turn: usize) -> Vec<u64> {
        nearest(servers, place.parse().ok(), turn).iter().map(|server| server.node.0).collect()
    }

    #[test]
    fn a_client_is_given_the_nodes_near_it_and_those_whose_place_is_unknown_last() {
        let servers = [server(1, ""), server(2, NEW_YORK), server(3, FRANKFURT), server(4, SYDNEY)];
        for turn in 0..4 {
            assert_eq!(order(&servers, "48.85,2.35", turn), [3, 2, 4, 1], "Paris");
            assert_eq!(order(&servers, "-36.85,174.76", turn), [4, 2, 3, 1], "Auckland");
        }
    }

    #[test]
    fn one_of_whom_nothing_is_known_is_given_what_is_near_the_node_that_answers() {
        let mut servers = [server(1, ""), server(2, NEW_YORK), server(3, FRANKFURT), server(4, SYDNEY)];
        servers[1].round_trip = Some(Duration::from_millis(80));
        servers[2].is_in_region = true;
        servers[2].round_trip = Some(Duration::from_millis(300));
        servers[3].round_trip = Some(Duration::from_millis(250));
        assert_eq!(order(&servers, "", 0), [3, 2, 4, 1]);
        let unknown = [server(1, ""), server(2, "")];
        assert_eq!(order(&unknown, FRANKFURT, 0), [1, 2], "no place to compare with");
    }

    #[test]
    fn equally_near_ones_take_turns_and_busy_ones_wait() {
        let mut servers =
            [server(1, FRANKFURT), server(2, FRANKFURT), server(3, "50.2,8.6"), server(4, SYDNEY)];
        let firsts: Vec<u64> = (0..8).map(|turn| order(&servers, FRANKFURT, turn)[0]).collect();
        assert!((1..=3).all(|node| firsts.contains(&node)) && !firsts.contains(&4), "{firsts:?}");
        servers[1].load_percent = 60;
        for turn in 0..8 {
            assert_eq!(order(&servers, FRANKFURT, turn)[2..], [2, 4], "busy, and far");
        }
    }

    #[test]
    fn nodes_that_are_not_ready_are_given_only_when_none_is() {
        let mut servers = [server(1, FRANKFURT), server(2, SYDNEY)];
        servers[0].is_ready = false;
        assert_eq!(order(&servers, FRANKFURT, 0), [2]);
        servers[1].is_ready = false;
        assert_eq!(order(&servers, FRANKFURT, 0), [1, 2]);
        assert!(order(&[], FRANKFURT, 0).is_empty());
    }
}
