//! What has to be true of everything that callers saw, and the figures of it.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use twinmcp_tests::history::{Did, Operation, first_fault};
use twinmcp_tests::{TestCluster, eventually};

use super::Span;
use super::load::{Event, Miss, Seen};

/// Keys looked at on all nodes at once.
const LOOKS_AT_ONCE: usize = 16;

/// No order of one service explains it, or a node forgets what it has said: then this fails, with the shortest history of one key.
pub(super) fn check_histories(seen: &Seen, nodes: usize) {
    let (events, keys) =
        (seen.events.lock().expect("no caller has failed"), seen.keys.lock().expect("no caller has failed"));
    let mut by_key: Vec<Vec<Event>> = vec![Vec::new(); keys.len()];
    for event in events.iter() {
        by_key[event.key].push(*event);
    }
    for (key, events) in by_key.iter().enumerate() {
        let changes = events.iter().filter(|event| !matches!(event.operation.did, Did::See(_)));
        let changes: Vec<Operation> = changes.map(|event| event.operation).collect();
        if let Some(fault) = first_fault(&changes) {
            panic!("key {} was not revoked once: {fault:#?}", keys[key].id);
        }
        for place in 0..nodes {
            if let Some(fault) = first_fault(&as_seen_at(place, events)) {
                panic!("node {} and key {}: {fault:#?}", place + 1, keys[key].id);
            }
        }
    }
}

/// The history of one key at one node. A node answers reads from what it has applied: what was done elsewhere may be seen at any
/// time after it was asked for, but never be unseen again.
pub(super) fn as_seen_at(place: usize, events: &[Event]) -> Vec<Operation> {
    let here = events.iter().filter_map(|event| match event.operation.did {
        _ if event.place == place => Some(event.operation),
        // Told elsewhere, and no change.
        Did::See(_) | Did::Use(false) if event.operation.returned.is_some() => None,
        _ => Some(Operation { returned: None, ..event.operation }),
    });
    here.collect()
}

/// Every node has every acknowledged write, and all agree about the others.
pub(super) async fn check_nothing_is_lost(cluster: &TestCluster, seen: &Seen) -> (usize, usize) {
    let keys = seen.keys.lock().expect("no caller has failed").clone();
    let (mut expected, mut acknowledged) = (vec![None; keys.len()], 0);
    for event in seen.events.lock().expect("no caller has failed").iter() {
        let state = &mut expected[event.key];
        *state = match (event.operation.did, event.operation.returned, *state) {
            (Did::Make, ..) => state.or(Some(true)),
            (Did::Use(_), Some(_), _) => Some(false),
            // It may have been done or not.
            (Did::Use(_), None, Some(true)) => None,
            _ => *state,
        };
        acknowledged += usize::from(event.is_write_after(Duration::ZERO));
    }
    let clients: Vec<_> = (0..cluster.nodes.len()).map(|place| cluster.client(place)).collect();
    let looks = keys.iter().zip(expected).map(|(key, expected)| {
        let clients = &clients;
        async move {
            let mut states = Vec::new();
            for client in clients {
                let answer = client.with_key(&key.secret).get("/api/libraries").await;
                assert!([200, 401].contains(&answer.status), "{}: {}", answer.status, answer.text);
                states.push(answer.status == 200);
            }
            assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "key {} differs: {states:?}", key.id);
            assert!(
                expected.is_none_or(|expected| expected == states[0]),
                "key {} should be open: {expected:?}, and is on the nodes: {states:?}",
                key.id
            );
        }
    });
    let looks: Vec<()> = futures_util::stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).collect().await;
    (looks.len(), acknowledged)
}

/// Every question was answered by every node, but for the ones that were dead or stopped then.
pub(super) fn check_reads(seen: &Seen, absences: &[(usize, Span)]) -> u64 {
    let misses = seen.misses.lock().expect("no caller has failed");
    // A question may have been under way when its node died.
    let is_explained = |miss: &Miss| {
        let was_absent = |span: Span| miss.asked <= span.until && span.from <= miss.given_up;
        absences.iter().any(|(place, span)| *place == miss.place && was_absent(*span))
    };
    if let Some(miss) = misses.iter().find(|miss| !is_explained(miss)) {
        panic!("node {} did not answer after {:?}: {}", miss.place + 1, miss.asked, miss.told);
    }
    let answers = seen.answers.lock().expect("no caller has failed");
    assert!(answers.iter().all(|count| *count > 0), "{answers:?}");
    answers.iter().sum()
}

/// The longest time within `span` in which nobody at `places` was told that a write is done.
pub(super) fn longest_gap(seen: &Seen, places: &[usize], span: Span) -> Duration {
    let events = seen.events.lock().expect("no caller has failed");
    let writes =
        events.iter().filter(|event| places.contains(&event.place) && event.is_write_after(span.from));
    let within = writes.filter_map(|event| event.operation.returned).filter(|at| *at < span.until);
    let mut points: Vec<Duration> = [span.from, span.until].into_iter().chain(within).collect();
    points.sort_unstable();
    points.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// The middle and the slowest hundredth of acknowledged writes that were asked for within `span`, and how many there were.
pub(super) fn write_times(seen: &Seen, span: Span) -> (Duration, Duration, usize) {
    let events = seen.events.lock().expect("no caller has failed");
    let writes = events.iter().filter(|event| event.is_write_after(Duration::ZERO));
    let within = writes.filter(|event| span.has(event.operation.called));
    let times = within.filter_map(|event| Some(event.operation.returned? - event.operation.called));
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let at =
        |percent: usize| times.get((times.len().max(1) - 1) * percent / 100).copied().unwrap_or_default();
    (at(50), at(99), times.len())
}

/// Waits until a node has applied what the others had when it was called.
pub(super) async fn until_caught_up(cluster: &TestCluster, place: usize, other: usize) {
    let target = applied(cluster, other).await;
    eventually("a node that was away to catch up", async || {
        (applied(cluster, place).await >= target).then_some(())
    })
    .await;
}

async fn applied(cluster: &TestCluster, place: usize) -> u64 {
    eventually("a node to say how far it is", async || {
        let client = cluster.client(place);
        let answer = client.try_answer(client.request(Method::GET, "/api/cluster")).await.ok()?;
        let view = answer.json();
        let nodes = view["nodes"].as_array()?;
        nodes.iter().find(|node| node["id"] == view["node"])?["applied_index"].as_u64()
    })
    .await
}
