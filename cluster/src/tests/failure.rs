//! What a node does when its disk or its data is not what it should be.

use std::sync::Arc;

use twinmcp_storage::clock::{Entropy, EntropyError, SystemClock};
use twinmcp_storage::engine::{Keyspace, MemoryEngine};

use super::{Machine, account, config, has_account, make_accounts, start_on};
use crate::{Cluster, ClusterConfig, ClusterError, ClusterId, GroupId, NodeId, Role, StopReason};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_synced_ends_the_nodes_part_and_leaves_its_state_readable() {
    let machine = Machine::new();
    let cluster = machine.start(config()).await.unwrap();
    make_accounts(&cluster, 0..3).await;
    let stopped = cluster.stopped();
    machine.raft.fail_next_sync();
    let refused = cluster.propose(account(3)).await.unwrap_err();
    assert!(matches!(&refused, ClusterError::Stopped { reason } if reason.contains("injected")), "{refused}");
    assert!(matches!(stopped.await, StopReason::Failed { message } if message.contains("injected")));
    let refused = cluster.propose(account(4)).await.unwrap_err();
    assert!(matches!(&refused, ClusterError::Failed { reason } if reason.contains("injected")), "{refused}");
    let status = cluster.status();
    assert_eq!(status.role, Role::Stopped);
    assert!(status.unhealthy.unwrap().contains("storage failed to sync"));
    assert!(has_account(&cluster, 2) && !has_account(&cluster, 3));
    // The engine takes no writes any more, and says so.
    assert!(matches!(cluster.shutdown().await, Err(ClusterError::Storage(_))));

    machine.crash();
    let cluster = machine.start(config()).await.unwrap();
    assert!((0..3).all(|number| has_account(&cluster, number)));
    make_accounts(&cluster, 4..5).await;
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_node_is_refused() {
    let machine = Machine::new();
    machine.start(config()).await.unwrap().shutdown().await.unwrap();
    let other = ClusterConfig { node_id: NodeId(2), ..config() };
    let refused = machine.start(other).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, ClusterError::WrongNode { found: 1, wanted: 2, .. }), "{refused}");
    machine.start(config()).await.unwrap().shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_without_its_log_is_refused_with_a_sentence() {
    let machine = Machine::new();
    let cluster = machine.start(config()).await.unwrap();
    make_accounts(&cluster, 0..1).await;
    cluster.shutdown().await.unwrap();
    let empty = Arc::new(MemoryEngine::new(Keyspace::RAFT));
    let refused = start_on(config(), Arc::new(machine.state.clone()), empty).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("there is a state but no log"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_work_is_refused_before_anything_is_written() {
    let machine = Machine::new();
    let refused = machine.start(ClusterConfig { heartbeat_ms: 0, ..config() }).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, ClusterError::Config { .. }));
    let other = ClusterConfig { node_id: NodeId(9), group_id: GroupId(4), ..config() };
    machine.start(other).await.unwrap().shutdown().await.unwrap();
}

struct Fixed(u8);

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        buffer.fill(self.0);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clusters_id_is_made_once() {
    let machine = Machine::new();
    for (round, entropy) in [Fixed(7), Fixed(8)].iter().enumerate() {
        let (state, raft) = (Arc::new(machine.state.clone()), Arc::new(machine.raft.clone()));
        let cluster = Cluster::start(config(), state, raft, Arc::new(SystemClock), entropy).await.unwrap();
        assert_eq!(cluster.status().cluster_id, ClusterId([7; 16]), "start {round}");
        cluster.shutdown().await.unwrap();
    }
}
