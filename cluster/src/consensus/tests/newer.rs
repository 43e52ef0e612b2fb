//! Entries of a later build: this one stops there, with a sentence, and skips nothing.

use std::sync::Arc;

use twinmcp_storage::engine::{Batch, Durability, Engine, Keyspace, MemoryEngine};

use super::super::entry::{self, Content};
use super::super::records;
use super::super::types::{Entry, Payload};
use super::{GROUP, entry_of, in_memory, log_id};
use crate::tests::{account, config, has_account, make_accounts, start_on};
use crate::{ClusterError, StopReason};

fn newer(index: u64) -> Entry {
    let Payload::Normal(content) = entry_of(index, 1, &[account(1)]).payload else { unreachable!() };
    let content = Content { format: entry::FORMAT + 1, min_reader: entry::FORMAT + 1, ..content };
    Entry { log_id: log_id(index), payload: Payload::Normal(content) }
}

#[test]
fn a_newer_entry_is_not_applied_and_the_one_after_it_would_not_hide_it() {
    let stores = in_memory();
    stores.applier.apply(&entry_of(0, 1, &[account(0)])).unwrap();
    let refused = stores.applier.apply(&newer(1)).unwrap_err().to_string();
    assert!(refused.contains("log entry 1") && refused.contains("run the newer build"), "{refused}");
    assert_eq!(*stores.applier.applied().borrow(), Some(0));
}

#[test]
fn an_entry_is_not_applied_twice() {
    let stores = in_memory();
    stores.applier.apply(&entry_of(4, 1, &[account(0)])).unwrap();
    for index in [4, 3] {
        let refused = stores.applier.apply(&entry_of(index, 1, &[account(1)])).unwrap_err().to_string();
        assert!(refused.contains("applied before"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_meets_a_newer_entry_stops_says_so_and_does_so_again_at_each_start() {
    let (state, raft) = (MemoryEngine::new(Keyspace::STATE), MemoryEngine::new(Keyspace::RAFT));
    let engines =
        || -> (Arc<dyn Engine>, Arc<dyn Engine>) { (Arc::new(state.clone()), Arc::new(raft.clone())) };
    let (state_engine, raft_engine) = engines();
    let cluster = start_on(config(), state_engine, raft_engine).await.unwrap();
    make_accounts(&cluster, 0..3).await;
    cluster.shutdown().await.unwrap();

    // As a later build would have left it: committed, and not for this one to read.
    let index = cluster.status().last_log_index.unwrap() + 1;
    let mut batch = Batch::new();
    let bytes = entry::encode(GROUP, &newer(index)).unwrap();
    batch.put(Keyspace::Log, records::log_key(GROUP, index), bytes);
    raft.commit(batch, Durability::Synced).unwrap();

    for _ in 0..2 {
        let (state_engine, raft_engine) = engines();
        let refused = start_on(config(), state_engine, raft_engine).await.map(|_| ()).unwrap_err();
        let ClusterError::Start { reason } = refused else { panic!("{refused}") };
        assert!(reason.contains(&format!("log entry {index}")), "{reason}");
        assert!(reason.contains("run the newer build"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_that_is_given_a_newer_entry_ends_its_part_and_stays_readable() {
    let (state, raft) = (MemoryEngine::new(Keyspace::STATE), MemoryEngine::new(Keyspace::RAFT));
    let cluster = start_on(config(), Arc::new(state), Arc::new(raft)).await.unwrap();
    make_accounts(&cluster, 0..3).await;
    let stopped = cluster.stopped();
    let Payload::Normal(content) = newer(0).payload else { unreachable!() };
    // Nobody waits for an answer that cannot come.
    cluster.consensus().raft.client_write_ff(content, None).await.unwrap();
    assert!(
        matches!(stopped.await, StopReason::Failed { message } if message.contains("run the newer build"))
    );
    assert!(cluster.status().unhealthy.unwrap().contains("run the newer build"));
    assert!(has_account(&cluster, 2));
    assert!(cluster.propose(account(9)).await.is_err());
    cluster.shutdown().await.unwrap();
}
