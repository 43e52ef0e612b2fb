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

/// Two hundred nodes with full states and one seed. What it prints is in `docs/cluster.md`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_nodes_come_to_know_each_other() {
    const NODES: u64 = 200;
    let network = MemoryNetwork::default();
    let seed: SocketAddr = "10.0.0.1:7946".parse().unwrap();
    let started = Instant::now();
    let mut nodes = Vec::new();
    for node in 1..=NODES {
        let address = SocketAddr::from(([10, 0, 0, node as u8], 7946));
        let config = MembershipConfig {
            listen: address,
            advertise: address,
            // One busy machine is all of them: each has half of the usual work, and may be late.
            gossip_interval_ms: 2_000,
            phi_threshold: 16.0,
            ..config(node, &[seed])
        };
        let (local, clock) = (full(node, 1_000), Arc::new(SystemClock));
        nodes.push(Membership::start(config, local, &network, clock, &SystemEntropy).await.unwrap());
    }
    let all: Vec<u64> = (1..=NODES).collect();
    let is_whole = |members: &BTreeMap<u64, MemberState>| {
        are_alive(&all)(members) && members.values().all(|member| member.applied_index.is_some())
    };
    for node in &nodes {
        until(node, "all are alive", is_whole).await;
    }
    println!("{NODES} nodes, all know all after {:?}", started.elapsed());

    let (before, told) = (nodes[0].sent(), Instant::now());
    nodes[99].update(LocalState { applied_index: Some(7), ..full(100, 1_000) }).unwrap();
    for node in &nodes {
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
