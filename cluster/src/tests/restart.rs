//! Starting again: after a clean end, a crash, a cut log, a clock that went back.

use std::path::Path;
use std::sync::Arc;

use twinmcp_storage::accounts;
use twinmcp_storage::clock::{ManualClock, Timestamp};
use twinmcp_storage::engine::{
    Batch, Durability, Engine, EngineKind, FjallOptions, Keyspace, MemoryEngine, Reader,
};

use super::engines::{Gate, Power};
use super::{Machine, account_id, config, eventually, has_account, make_accounts, start_at, start_on};
use crate::{Cluster, ClusterConfig, Role};

/// Starts on what lies in `folder`.
pub(super) async fn start_in(kind: EngineKind, folder: &Path, config: ClusterConfig) -> Cluster {
    let open = |name: &str, spaces| kind.open(&folder.join(name), spaces, &FjallOptions::default()).unwrap();
    start_on(config, open("state", Keyspace::STATE), open("raft", Keyspace::RAFT)).await.unwrap()
}

async fn start_on_disk(folder: &Path, config: ClusterConfig) -> Cluster {
    start_in(EngineKind::Fjall, folder, config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_a_clean_end_applies_nothing_again() {
    let machine = Machine::new();
    let cluster = machine.start(config()).await.unwrap();
    make_accounts(&cluster, 0..50).await;
    cluster.shutdown().await.unwrap();
    let before = cluster.status();
    assert_eq!(before.applied_index, before.last_log_index);

    let (cluster, state, _) = machine.start_watched(config(), &Power::steady(), &Gate::default()).await;
    let cluster = cluster.unwrap();
    let after = cluster.status();
    assert_eq!((after.role, after.cluster_id), (Role::Leader, before.cluster_id));
    assert_eq!(state.buffered(), 0, "entries were applied again");
    assert_eq!(after.applied_index, before.applied_index);
    assert!((0..50).all(|number| has_account(&cluster, number)));
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_disk_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = None;
    for round in 0..3 {
        let cluster = start_on_disk(folder.path(), config()).await;
        let status = cluster.status();
        assert!(last.is_none_or(|last| status.applied_index == last), "{status:?}");
        assert!((0..round * 20).all(|number| has_account(&cluster, number)));
        make_accounts(&cluster, round * 20..(round + 1) * 20).await;
        cluster.shutdown().await.unwrap();
        last = Some(cluster.status().applied_index);
    }
}

/// A failing disk did not take the end of the log; the others had agreed on it, and it was applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_the_state_begins_anew_behind_it_each_time() {
    let machine = Machine::new();
    for round in 0..3 {
        let cluster = machine.start(config()).await.unwrap();
        assert!((0..round * 10).all(|number| has_account(&cluster, number)), "round {round}");
        make_accounts(&cluster, round * 10..(round + 1) * 10).await;
        cluster.shutdown().await.unwrap();
        let log = machine.raft.scan(Keyspace::Log, &[], None, 1000).unwrap();
        let mut batch = Batch::new();
        for (key, _) in log.iter().rev().take(3) {
            batch.remove(Keyspace::Log, key.clone());
        }
        machine.raft.commit(batch, Durability::Synced).unwrap();
    }
}

fn compacting() -> ClusterConfig {
    ClusterConfig { snapshot_every_entries: 20, snapshot_keep_entries: 5, ..config() }
}

/// Makes accounts until the log was cut at least once.
async fn fill_until_cut(cluster: &Cluster, raft: &dyn Engine) {
    make_accounts(cluster, 0..100).await;
    eventually("a snapshot is made", || cluster.status().snapshot_index.is_some()).await;
    let first = || raft.scan(Keyspace::Log, &[], None, 1).unwrap().remove(0).0;
    eventually("the log is cut", || first()[4..] > 10_u64.to_be_bytes()[..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_the_log_was_cut_and_the_power_went() {
    let (machine, power) = (Machine::new(), Power::steady());
    let (cluster, ..) = machine.start_watched(compacting(), &power, &Gate::default()).await;
    fill_until_cut(&cluster.unwrap(), &machine.raft).await;
    power.cut();
    machine.crash();
    let cluster = machine.start(compacting()).await.unwrap();
    assert!((0..100).all(|number| has_account(&cluster, number)));
    make_accounts(&cluster, 100..150).await;
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_comes_back_from_the_snapshot_and_the_log_behind_it() {
    let machine = Machine::new();
    let cluster = machine.start(compacting()).await.unwrap();
    fill_until_cut(&cluster, &machine.raft).await;
    cluster.shutdown().await.unwrap();
    let id = cluster.status().cluster_id;

    let machine = Machine { state: MemoryEngine::new(Keyspace::STATE), raft: machine.raft };
    let cluster = machine.start(compacting()).await.unwrap();
    assert!((0..100).all(|number| has_account(&cluster, number)));
    assert_eq!(cluster.status().cluster_id, id);
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_was_moved_away_is_made_anew_from_the_log_on_every_engine() {
    for kind in EngineKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let cluster = start_in(kind, folder.path(), compacting()).await;
        make_accounts(&cluster, 0..100).await;
        eventually("a snapshot is made", || cluster.status().snapshot_index.is_some()).await;
        cluster.shutdown().await.unwrap();
        drop(cluster);
        std::fs::rename(folder.path().join("state"), folder.path().join("aside")).unwrap();
        let cluster = start_in(kind, folder.path(), compacting()).await;
        assert!((0..100).all(|number| has_account(&cluster, number)), "{kind:?}");
        cluster.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_log_on_disk_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let cluster = start_on_disk(folder.path(), compacting()).await;
        make_accounts(&cluster, round * 60..(round + 1) * 60).await;
        assert!((0..(round + 1) * 60).all(|number| has_account(&cluster, number)));
        cluster.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_never_goes_back_neither_with_the_clock_nor_over_a_restart() {
    let machine = Machine::new();
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(5_000)));
    let start = || {
        let (state, raft) = (Arc::new(machine.state.clone()), Arc::new(machine.raft.clone()));
        start_at(config(), state, raft, clock.clone())
    };
    let made_at = |cluster: &Cluster, number| {
        accounts::get(cluster.reader(), &account_id(number)).unwrap().unwrap().created_at.as_millis()
    };
    let cluster = start().await.unwrap();
    make_accounts(&cluster, 0..1).await;
    clock.set(Timestamp::from_millis(1_000));
    make_accounts(&cluster, 1..2).await;
    cluster.shutdown().await.unwrap();
    let cluster = start().await.unwrap();
    make_accounts(&cluster, 2..3).await;
    clock.set(Timestamp::from_millis(9_000));
    make_accounts(&cluster, 3..4).await;
    let times: Vec<_> = (0..4).map(|number| made_at(&cluster, number)).collect();
    assert_eq!(times, [5_000, 5_000, 5_000, 9_000]);
    cluster.shutdown().await.unwrap();
}
