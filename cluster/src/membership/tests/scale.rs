//! Many nodes: what each costs, and that all come to know all.

use std::time::Instant;

use super::network::MemoryNetwork;
use super::*;

/// As much as a node may have to say.
fn full(node: u64, bundles: usize) -> LocalState {
    let hash = |nth: usize| *blake3::hash(format!("{node} {nth}").as_bytes()).as_bytes();
    let bundles: Vec<[u8; 32]> = (0..bundles).map(hash).collect();
    LocalState {
        region: "eu-west-1".into(),
        zone: "eu-west-1b".into(),
        http_url: format!("https://node-{node}.eu-west-1.docs.example.com"),
        peer_address: format!("node-{node}.eu-west-1.internal.example.com:7947"),
        build: "0.1.0+592a950".into(),
        format: 12,
        load_percent: 42,
        applied_index: Some(1_234_567_890),
        is_ready: true,
        is_draining: false,
        bundles: BundleDigest::of(&bundles),
        certificate_expires_at: Some(1_800_000_000),
        public_addresses: PublicAddresses {
            v4: Some([203, 0, 113, 17].into()),
            v6: Some([0x2001, 0xdb8, 0x17, 0, 0, 0, 0, 1].into()),
        },
        location: "50.11,8.68".parse().ok(),
        keep: Keep::Region { copies: 2 },
    }
}

/// As one message holds it: each fact with lengths (2 and 2), version (8), kind (1) and status (1), before that id,
/// generation, address and two versions.
fn state_bytes(local: &LocalState) -> usize {
    let facts: usize = local.to_values().iter().map(|(key, value)| 14 + key.len() + value.len()).sum();
    let id = 1 + 2 + u64::MAX.to_string().len() + 8 + 19 + 8 + 8;
    id + facts
}

#[test]
fn the_whole_state_of_a_node_is_below_a_kilobyte() {
    for bundles in [0, 10, 100, 1_000, 10_000] {
        let bytes = state_bytes(&full(17, bundles));
        println!("{bundles} bundles: {bytes} bytes of state");
        assert!(bytes < 1_024, "{bundles}: {bytes}");
    }
    let worst = LocalState {
        region: "r".repeat(32),
        zone: "z".repeat(32),
        http_url: "u".repeat(96),
        peer_address: "p".repeat(64),
        build: "b".repeat(32),
        format: u32::MAX,
        load_percent: 100,
        applied_index: Some(u64::MAX),
        is_draining: true,
        certificate_expires_at: Some(u64::MAX),
        keep: Keep::Region { copies: u8::MAX },
        ..full(17, 10_000)
    };
    worst.check().unwrap();
    println!("at every limit: {} bytes of state", state_bytes(&worst));
    assert!(state_bytes(&worst) < 1_024);
}

const NODES: u64 = 200;

fn address(node: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8], 7946))
}

/// Two hundred nodes with full states and one seed come to know each other; prints how long that took.
async fn all_know_all(
    network: &MemoryNetwork,
    gossip_interval_ms: u64,
    phi_threshold: f64,
) -> Vec<Membership> {
    let started = Instant::now();
    let mut nodes = Vec::new();
    for node in 1..=NODES {
        let listen = address(node);
        let config = MembershipConfig {
            listen,
            advertise: listen,
            gossip_interval_ms,
            phi_threshold,
            ..config(node, &[address(1)])
        };
        let (local, clock) = (full(node, 1_000), Arc::new(SystemClock));
        nodes.push(Membership::start(config, local, network, clock, &SystemEntropy).await.unwrap());
    }
    let all: Vec<u64> = (1..=NODES).collect();
    let is_whole = |members: &BTreeMap<u64, MemberState>| {
        are_alive(&all)(members) && members.values().all(|member| member.applied_index.is_some())
    };
    for node in &nodes {
        until(node, "all are alive", is_whole).await;
    }
    println!("{NODES} nodes, all know all after {:?}", started.elapsed());
    nodes
}

/// An update and a departure reach all; prints how long that took, and what it cost.
async fn all_hear_what_changes(nodes: &[Membership]) {
    let (before, told) = (nodes[0].sent(), Instant::now());
    nodes[99].update(LocalState { applied_index: Some(7), ..full(100, 1_000) }).unwrap();
    for node in nodes {
        until(node, "the update", |members| members[&100].applied_index == Some(7)).await;
    }
    println!("an update is known to all after {:?}", told.elapsed());

    nodes[199].shutdown().await;
    let has_left = has_liveness(NODES, Liveness::Left);
    for node in &nodes[..199] {
        until(node, "200 has left", &has_left).await;
    }
    let (sent, seconds) = (nodes[0].sent(), told.elapsed().as_secs_f64());
    let (messages, datagrams) = (sent.messages - before.messages, sent.datagrams - before.datagrams);
    let bytes = sent.bytes - before.bytes;
    println!(
        "a node sends {:.0} messages of {} bytes in {:.0} datagrams, {:.0} bytes, a second",
        messages as f64 / seconds,
        bytes / messages.max(1),
        datagrams as f64 / seconds,
        bytes as f64 / seconds,
    );
    for reason in Dropped::ALL {
        let dropped: u64 = nodes.iter().map(|node| node.dropped(reason)).sum();
        println!("dropped for `{}`: {dropped}", reason.as_str());
    }
}

/// One busy machine is all of them: each has half of the usual work, and may be late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_nodes_come_to_know_each_other() {
    let nodes = all_know_all(&MemoryNetwork::default(), 2_000, 16.0).await;
    all_hear_what_changes(&nodes).await;
}

/// What it prints is in `docs/cluster.md`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures; wants two cores for itself"]
async fn two_hundred_nodes_as_configured_and_one_crashes() {
    let usual = MembershipConfig::new(NodeId(1), "cluster", secret(1), address(1), address(1));
    let network = MemoryNetwork::default();
    let nodes = all_know_all(&network, usual.gossip_interval_ms, usual.phi_threshold).await;
    all_hear_what_changes(&nodes).await;

    let told = Instant::now();
    network.silence(address(199));
    for node in &nodes[..198] {
        let members = until(node, "199 is taken for dead", has_liveness(199, Liveness::Dead)).await;
        let dead = members.iter().filter(|member| member.liveness == Liveness::Dead);
        assert_eq!(dead.map(|member| member.node_id.0).collect::<Vec<_>>(), [199], "and nobody else");
    }
    println!("a crash is known to all after {:?}", told.elapsed());
}
