//! Stories about nodes that gossip: over the real UDP of this machine, and two hundred of them in memory.

mod loopback;
mod network;
mod rotation;
mod scale;
mod sealing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use twinmcp_storage::clock::{SystemClock, SystemEntropy};

use super::*;
use crate::status::NodeId;

/// How long a test waits for something that must happen before it calls it a failure.
const PATIENCE: Duration = Duration::from_secs(120);

fn secret(byte: u8) -> ClusterSecret {
    ClusterSecret::new([byte; 32]).unwrap()
}

/// A node on this machine that speaks often.
fn config(node: u64, seeds: &[SocketAddr]) -> MembershipConfig {
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    MembershipConfig {
        seeds: seeds.iter().map(SocketAddr::to_string).collect(),
        gossip_interval_ms: 20,
        ..MembershipConfig::new(NodeId(node), "cluster", secret(1), loopback, loopback)
    }
}

/// With a hundred bundles, so that what a few nodes tell does not fit one datagram.
async fn start(config: MembershipConfig, network: &dyn Network) -> Membership {
    let node = config.node_id.0;
    let hash = |nth: u64| *blake3::hash(&(node * 1_000 + nth).to_le_bytes()).as_bytes();
    let bundles: Vec<[u8; 32]> = (0..100).map(hash).collect();
    let bundles = BundleDigest::of(&bundles);
    let local = LocalState { region: "eu".into(), is_ready: true, bundles, ..LocalState::default() };
    Membership::start(config, local, network, Arc::new(SystemClock), &SystemEntropy).await.unwrap()
}

/// Waits until the list of members is as wanted, and gives it.
async fn until(
    node: &Membership,
    what: &str,
    is_so: impl Fn(&BTreeMap<u64, MemberState>) -> bool,
) -> Members {
    let by_id = |members: &Members| members.iter().map(|member| (member.node_id.0, member.clone())).collect();
    let mut changes = node.changes();
    let wait = changes.wait_for(|members| is_so(&by_id(members)));
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(members) => members.unwrap().clone(),
        Err(_) => {
            let seen = node.members();
            let seen: Vec<_> =
                seen.iter().map(|member| (member.node_id.0, member.liveness.as_str())).collect();
            panic!("not in {PATIENCE:?}: {what}; {seen:?}");
        }
    }
}

/// Whether exactly these are alive.
fn are_alive(nodes: &[u64]) -> impl Fn(&BTreeMap<u64, MemberState>) -> bool {
    move |members| {
        let alive = members.iter().filter(|(_, member)| member.liveness == Liveness::Alive);
        alive.map(|(id, _)| *id).eq(nodes.iter().copied())
    }
}

fn has_liveness(node: u64, liveness: Liveness) -> impl Fn(&BTreeMap<u64, MemberState>) -> bool {
    move |members| members.get(&node).is_some_and(|member| member.liveness == liveness)
}

/// Waits until a count is above `floor`.
async fn until_counted(what: &str, floor: u64, count: impl Fn() -> u64) {
    let wait = async {
        while count() <= floor {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not in {PATIENCE:?}: {what}");
}
