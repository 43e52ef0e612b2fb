//! Real nodes over the UDP of this machine.

use tokio::net::UdpSocket;
use twinmcp_storage::clock::{ManualClock, Timestamp};

use super::network::{Broken, Tapped};
use super::*;

#[tokio::test]
async fn three_nodes_see_each_other_and_what_one_tells() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let second = start(config(2, &[first.address()]), &UdpNetwork).await;
    let third = start(config(3, &[first.address()]), &UdpNetwork).await;
    for node in [&first, &second, &third] {
        until(node, "all are alive", are_alive(&[1, 2, 3])).await;
    }

    let told = LocalState {
        region: "us-east".into(),
        http_url: "https://node-3.example".into(),
        peer_address: "127.0.0.1:7947".into(),
        applied_index: Some(42),
        load_percent: 80,
        is_draining: true,
        bundles: BundleDigest::of(&[[7; 32]]),
        ..LocalState::default()
    };
    third.update(told.clone()).unwrap();
    for node in [&first, &second, &third] {
        let is_told = |members: &BTreeMap<u64, MemberState>| members[&3].applied_index == Some(42);
        let members = until(node, "the update", is_told).await;
        let member = members.iter().find(|member| member.node_id == NodeId(3)).unwrap();
        assert_eq!(member.region.as_deref(), Some("us-east"));
        assert_eq!(member.http_url.as_ref(), Some(&told.http_url));
        assert_eq!(member.gossip_address, third.address());
        assert_eq!((member.is_ready, member.is_draining, member.load_percent), (false, true, Some(80)));
        assert!(member.may_have(&[7; 32]) && !member.may_have(&[8; 32]));
    }
    let refused = third.update(LocalState { zone: "z".repeat(33), ..told });
    assert!(matches!(refused, Err(MembershipError::TooLong { field: "zone", bytes: 33, bytes_max: 32 })));
}

#[tokio::test]
async fn a_newcomer_is_told_of_all_in_a_message_of_several_fragments() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let mut others = Vec::new();
    for node in 2..=6 {
        others.push(start(config(node, &[first.address()]), &UdpNetwork).await);
    }
    until(&first, "all are alive", are_alive(&[1, 2, 3, 4, 5, 6])).await;
    let newcomer = start(config(7, &[first.address()]), &UdpNetwork).await;
    let members = until(&newcomer, "all are alive", are_alive(&[1, 2, 3, 4, 5, 6, 7])).await;
    assert!(members.iter().all(|member| member.bundles == as_seen_by(&first, member.node_id).bundles));
    let received = newcomer.received();
    assert!(received.datagrams > received.messages, "{received:?}");
    assert_eq!(newcomer.dropped(Dropped::Incomplete), 0);
}

fn as_seen_by(node: &Membership, id: NodeId) -> MemberState {
    node.members().iter().find(|member| member.node_id == id).unwrap().clone()
}

#[tokio::test]
async fn a_crash_is_seen_by_silence_and_leave_at_once() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let second = start(config(2, &[first.address()]), &UdpNetwork).await;
    let third = start(config(3, &[first.address()]), &UdpNetwork).await;
    for node in [&first, &second, &third] {
        until(node, "all are alive", are_alive(&[1, 2, 3])).await;
    }
    let ended = third.stopped();
    drop(third);
    for node in [&first, &second] {
        let members = until(node, "3 is dead", has_liveness(3, Liveness::Dead)).await;
        let dead = &members[2];
        assert!(dead.liveness_since > members[0].liveness_since);
        assert_eq!(dead.region.as_deref(), Some("eu"), "what it told stays known");
    }
    assert_eq!(ended.await, StopReason::Shutdown);

    second.shutdown().await;
    second.shutdown().await;
    let members = until(&first, "2 has left", has_liveness(2, Liveness::Left)).await;
    assert!(!members[1].is_ready);
    assert_eq!(second.stopped().await, StopReason::Shutdown);
    assert!(matches!(second.update(LocalState::default()), Err(MembershipError::Stopped)));
}

#[tokio::test]
async fn leave_is_told_before_the_end_and_not_left_to_the_next_round() {
    let slow =
        |node, seeds: &[SocketAddr]| MembershipConfig { gossip_interval_ms: 500, ..config(node, seeds) };
    let first = start(slow(1, &[]), &UdpNetwork).await;
    let second = start(slow(2, &[first.address()]), &UdpNetwork).await;
    for node in [&first, &second] {
        until(node, "both are alive", are_alive(&[1, 2])).await;
    }
    // A round is three messages. Between two of them nothing is under way that could bring the news.
    let are_quiet = || (first.sent().messages + second.sent().messages).is_multiple_of(3);
    until_counted("the end of a round", 0, || are_quiet().into()).await;
    second.shutdown().await;
    until(&first, "2 has left", has_liveness(2, Liveness::Left)).await;
}

#[tokio::test]
async fn a_node_that_starts_again_takes_the_place_of_its_last_boot() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let second = start(config(2, &[first.address()]), &UdpNetwork).await;
    until(&first, "2 is there", are_alive(&[1, 2])).await;
    let before = first.members()[1].generation;
    drop(second);
    until(&first, "2 is dead", has_liveness(2, Liveness::Dead)).await;

    let second = start(config(2, &[first.address()]), &UdpNetwork).await;
    let members = until(&first, "2 is there again", are_alive(&[1, 2])).await;
    assert!(members[1].generation > before);
    assert_eq!((members.len(), members[1].gossip_address), (2, second.address()));
}

#[tokio::test]
async fn a_node_whose_clock_was_set_back_is_seen_again() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let second = start(config(2, &[first.address()]), &UdpNetwork).await;
    until(&first, "2 is there", are_alive(&[1, 2])).await;
    let before = first.members()[1].generation;
    drop(second);
    until(&first, "2 is dead", has_liveness(2, Liveness::Dead)).await;

    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(before - 10_000)));
    let (config, local) = (config(2, &[first.address()]), LocalState::default());
    let second = Membership::start(config, local, &UdpNetwork, clock, &SystemEntropy).await.unwrap();
    let members = until(&first, "2 is there again", are_alive(&[1, 2])).await;
    assert_eq!((members[1].generation, members[1].gossip_address), (before - 10_000, second.address()));
}

#[tokio::test]
async fn a_seed_may_be_a_name() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let seeds = vec![format!("localhost:{}", first.address().port())];
    let second = start(MembershipConfig { seeds, ..config(2, &[]) }, &UdpNetwork).await;
    until(&second, "1 is there", are_alive(&[1, 2])).await;
}

#[tokio::test]
async fn nodes_find_each_other_when_they_are_told_an_address() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let second = start(config(2, &[]), &UdpNetwork).await;
    second.contact(first.address());
    until(&first, "2 is there", are_alive(&[1, 2])).await;
    until(&second, "1 is there", are_alive(&[1, 2])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_port_is_free_once_gossip_has_ended() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let second = start(config(2, &[first.address()]), &UdpNetwork).await;
    until(&first, "2 is there", are_alive(&[1, 2])).await;
    let listen = first.address();
    let mut node = first;
    for nth in 0..200 {
        let ended = node.stopped();
        match nth % 2 {
            0 => node.shutdown().await,
            _ => drop(node),
        }
        ended.await;
        node = start(MembershipConfig { listen, ..config(1, &[second.address()]) }, &UdpNetwork).await;
        assert_eq!(node.address(), listen);
    }
    until(&node, "2 is there", are_alive(&[1, 2])).await;
}

#[tokio::test]
async fn a_socket_that_fails_for_good_ends_gossip_and_says_so() {
    let seed: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let node = start(config(1, &[seed]), &Broken).await;
    let message = "the socket of gossip failed too often".to_owned();
    let stopped = tokio::time::timeout(PATIENCE, node.stopped()).await;
    assert_eq!(stopped.unwrap(), StopReason::Failed { message });
    assert!(node.dropped(Dropped::Send) > 0 && node.dropped(Dropped::Receive) > 1);
    assert!(matches!(node.update(LocalState::default()), Err(MembershipError::Stopped)));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let listen = taken.local_addr().unwrap();
    let config = MembershipConfig { listen, ..config(1, &[]) };
    let clock = Arc::new(SystemClock);
    let started = Membership::start(config, LocalState::default(), &UdpNetwork, clock, &SystemEntropy).await;
    let message = started.err().unwrap().to_string();
    assert_eq!(message, format!("failed to listen for gossip on {listen} (UDP)"));
}

#[tokio::test]
async fn who_has_another_secret_or_cluster_is_never_seen_and_counted() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let foreign = MembershipConfig { secrets: vec![secret(2)], ..config(2, &[first.address()]) };
    let foreign = start(foreign, &UdpNetwork).await;
    let other = MembershipConfig { cluster_id: "other".into(), ..config(3, &[first.address()]) };
    let other = start(other, &UdpNetwork).await;
    let noise = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for len in [0, 1, 75, 1_200, 1_201, 9_000] {
        noise.send_to(&vec![1; len], first.address()).await.unwrap();
    }
    until_counted("the secret", 3, || first.dropped(Dropped::Key)).await;
    until_counted("the cluster", 3, || first.dropped(Dropped::Cluster)).await;
    until_counted("what is short", 1, || first.dropped(Dropped::Short)).await;
    until_counted("what is long", 1, || first.dropped(Dropped::Long)).await;

    // One that belongs here is seen, so the others would have been.
    let second = start(config(4, &[first.address()]), &UdpNetwork).await;
    until(&first, "4 is there", are_alive(&[1, 4])).await;
    assert_eq!(first.members().len(), 2);
    for node in [&foreign, &other] {
        assert_eq!(node.members().len(), 1);
        assert_eq!(node.received().datagrams, 0, "nobody answers them");
    }
    drop(second);
}

#[tokio::test]
async fn what_was_recorded_changes_nothing() {
    let tap = Tapped::default();
    let first = start(config(1, &[]), &UdpNetwork).await;
    let second = start(config(2, &[first.address()]), &tap).await;
    until(&first, "2 is there", are_alive(&[1, 2])).await;
    second.update(LocalState { applied_index: Some(1), ..LocalState::default() }).unwrap();
    until(&first, "the first update", |members| members[&2].applied_index == Some(1)).await;
    let recorded = tap.sent.lock().unwrap().clone();
    second.update(LocalState { applied_index: Some(2), ..LocalState::default() }).unwrap();
    until(&first, "the second update", |members| members[&2].applied_index == Some(2)).await;
    drop(second);
    let dead = until(&first, "2 is dead", has_liveness(2, Liveness::Dead)).await;

    let thief = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let before = first.dropped(Dropped::Replayed);
    for datagram in &recorded {
        thief.send_to(datagram, first.address()).await.unwrap();
        // One at a time: a full socket would drop them unseen.
        until_counted("the datagram", before, || first.dropped(Dropped::Replayed)).await;
    }
    until_counted("all of them", before + recorded.len() as u64 - 1, || first.dropped(Dropped::Replayed))
        .await;
    assert_eq!(first.members(), dead);
    let mut answer = [0; 2_000];
    assert!(thief.try_recv_from(&mut answer).is_err(), "nothing was answered");
}
