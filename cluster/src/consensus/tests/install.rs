//! A snapshot of one node in the place of another's state.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use openraft::RaftSnapshotBuilder;
use openraft::storage::RaftStateMachine;
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use twinmcp_storage::accounts;
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{
    Batch, Durability, Engine, EngineKind, Keyspace, MemoryEngine, Pair, Reader, StorageError,
};
use twinmcp_storage::transaction::Change;

use super::commands::command;
use super::{Stores, contents, entry_of, in_memory, on_disk, open};
use crate::consensus::snapshot::Snapshot;
use crate::installing::Readable;
use crate::tests::account_id;
use crate::tests::engines::{Gate, Power, Watched};

fn fill(stores: &Stores, entries: u64) {
    let mut runner = TestRunner::deterministic();
    for index in 0..entries {
        let commands = vec(command(), 6).new_tree(&mut runner).unwrap().current();
        stores.applier.apply(&entry_of(index, index, &commands)).unwrap();
    }
}

/// An account of `bytes` bytes.
fn large(number: u64, bytes: usize) -> Command {
    let (id, name) = (account_id(number), "n".repeat(bytes));
    Command::Accounts(accounts::Command::Create { id, name })
}

async fn snapshot(stores: &mut Stores) -> Snapshot {
    stores.machine.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await.unwrap()
}

async fn install(stores: &mut Stores, snapshot: Snapshot) -> std::io::Result<()> {
    stores.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_replaces_the_state_wholly() {
    let folder = tempfile::tempdir().unwrap();
    let on_disks = EngineKind::ALL.map(|kind| on_disk(kind, &folder.path().join(kind.name())));
    for mut follower in on_disks.into_iter().chain([in_memory()]) {
        let mut leader = in_memory();
        fill(&leader, 40);
        fill(&follower, 5);
        follower.applier.apply(&entry_of(5, 5, &[large(77, 10)])).unwrap();
        let (mut changes, applied) = (follower.changes.subscribe(), follower.applier.applied());

        install(&mut follower, snapshot(&mut leader).await).await.unwrap();
        assert_eq!(contents(&*follower.state, Keyspace::STATE), contents(&*leader.state, Keyspace::STATE));
        assert_eq!(
            follower.machine.applied_state().await.unwrap(),
            leader.machine.applied_state().await.unwrap()
        );
        assert_eq!(*applied.borrow(), Some(39));
        let told = async { while *changes.next().await.unwrap() != [Change::Everything] {} };
        told.await;
        // It goes on from there, and has the snapshot to pass on.
        follower.applier.apply(&entry_of(40, 40, &[large(78, 10)])).unwrap();
        assert!(follower.machine.get_current_snapshot().await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_stays_as_it_was_while_the_state_moves_on() {
    let mut leader = in_memory();
    fill(&leader, 10);
    let expected = contents(&*leader.state, Keyspace::STATE);
    let mut builder = leader.machine.try_create_snapshot_builder(true).await.unwrap();
    leader.applier.apply(&entry_of(10, 10, &[large(1, 10)])).unwrap();
    let built = builder.build_snapshot().await.unwrap();
    // A newer one takes its place while it is being read.
    snapshot(&mut leader).await;
    let mut follower = in_memory();
    install(&mut follower, built).await.unwrap();
    assert_eq!(contents(&*follower.state, Keyspace::STATE), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_snapshot_is_kept_and_its_pieces_are_all_there_is() {
    let raft = MemoryEngine::new(Keyspace::RAFT);
    let mut stores = open(Arc::new(MemoryEngine::new(Keyspace::STATE)), Arc::new(raft.clone()));
    for index in 0..3 {
        stores.applier.apply(&entry_of(index, 1, &[large(index, 700_000)])).unwrap();
        snapshot(&mut stores).await;
    }
    let pieces = || raft.scan(Keyspace::Snapshots, &[], None, usize::MAX).unwrap();
    let kept = pieces();
    assert!(kept.len() >= 3, "{} pieces", kept.len());
    assert!(kept.iter().all(|(key, _)| key[..12] == kept[0].0[..12]), "pieces of several snapshots");

    // Left over from a crash while the next one was written.
    let mut batch = Batch::new();
    batch.put(Keyspace::Snapshots, super::super::records::piece_key(super::GROUP, 9, 0), "left over");
    raft.commit(batch, Durability::Buffered).unwrap();
    open(Arc::new(MemoryEngine::new(Keyspace::STATE)), Arc::new(raft.clone()));
    assert_eq!(pieces(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_refused_and_the_state_stays() {
    let raft = MemoryEngine::new(Keyspace::RAFT);
    let mut leader = open(Arc::new(MemoryEngine::new(Keyspace::STATE)), Arc::new(raft.clone()));
    fill(&leader, 20);
    snapshot(&mut leader).await;
    let (key, mut piece) = raft.scan(Keyspace::Snapshots, &[], None, 1).unwrap().remove(0);
    let middle = piece.len() / 2;
    piece[middle] ^= 1;
    let mut batch = Batch::new();
    batch.put(Keyspace::Snapshots, key, piece);
    raft.commit(batch, Durability::Buffered).unwrap();

    let mut follower = in_memory();
    fill(&follower, 3);
    let before = contents(&*follower.state, Keyspace::STATE);
    let damaged = leader.machine.get_current_snapshot().await.unwrap().unwrap();
    let refused = install(&mut follower, damaged).await.unwrap_err();
    assert!(refused.to_string().contains("hash"), "{refused}");
    assert_eq!(contents(&*follower.state, Keyspace::STATE), before);
    assert!(follower.machine.get_current_snapshot().await.unwrap().is_none());
}

/// The power goes at every write in turn; the next start finishes what was begun.
#[tokio::test(flavor = "multi_thread")]
async fn an_install_that_was_cut_off_is_finished_by_the_next_start() {
    let mut leader = in_memory();
    for number in 0..12 {
        leader.applier.apply(&entry_of(number, 1, &[large(number, 1_000_000)])).unwrap();
    }
    snapshot(&mut leader).await;
    let expected = contents(&*leader.state, Keyspace::STATE);
    for writes in 0.. {
        let (state, raft) = (MemoryEngine::new(Keyspace::STATE), MemoryEngine::new(Keyspace::RAFT));
        let power = Power::cut_after(writes, writes % 2 == 0);
        let watched = |engine: &MemoryEngine| -> Arc<dyn Engine> {
            Arc::new(Watched::new(engine.clone(), power.clone(), Gate::default()))
        };
        fill(&open(Arc::new(state.clone()), Arc::new(raft.clone())), 5);
        state.sync().unwrap();
        let before = contents(&state, Keyspace::STATE);

        let mut follower = open(watched(&state), watched(&raft));
        let current = leader.machine.get_current_snapshot().await.unwrap().unwrap();
        let installed = install(&mut follower, current).await;
        state.crash();
        raft.crash();

        let mut follower = open(Arc::new(state.clone()), Arc::new(raft.clone()));
        let (mut log, machine) = (follower.log.clone(), &mut follower.machine);
        // What `openraft` does first at every start.
        let recovered = openraft::StorageHelper::new(&mut log, machine).with_id(1).get_initial_state().await;
        recovered.unwrap();
        let after = contents(&state, Keyspace::STATE);
        assert!(after == expected || after == before, "neither after {writes} writes");
        if installed.is_ok() {
            assert_eq!(after, expected);
            assert!(writes > 10, "the state did not take several batches");
            break;
        }
    }
}

/// An engine that hands itself to somebody after each commit.
struct Told {
    engine: MemoryEngine,
    look: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

impl Reader for Told {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.engine.get(space, key)
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        self.engine.scan(space, prefix, after, limit)
    }
}

impl Engine for Told {
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        self.engine.commit(batch, durability)?;
        if let Some(look) = &mut *self.look.lock().unwrap() {
            look();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.engine.sync()
    }

    fn view(&self) -> Box<dyn Reader> {
        self.engine.view()
    }

    fn close(&self) -> Result<(), StorageError> {
        self.engine.close()
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }

    fn fault(&self) -> Option<String> {
        self.engine.fault()
    }
}

/// What a reader of `readable` finds, read by read and in one view.
fn seen(readable: &Readable) -> Vec<(Keyspace, Vec<Pair>)> {
    let now = contents(readable, Keyspace::STATE);
    assert_eq!(contents(&*readable.view(), Keyspace::STATE), now);
    let (space, pairs) = &now[1];
    for (key, value) in pairs {
        assert_eq!(readable.get(*space, key).unwrap().as_ref(), Some(value));
    }
    now
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_state_before_a_snapshot_until_all_of_it_is_there() {
    let mut leader = in_memory();
    for number in 0..12 {
        leader.applier.apply(&entry_of(number, 1, &[large(number, 1_000_000)])).unwrap();
    }
    let snapshot = snapshot(&mut leader).await;
    let told = Arc::new(Told { engine: MemoryEngine::new(Keyspace::STATE), look: Mutex::default() });
    let mut follower = open(told.clone(), Arc::new(MemoryEngine::new(Keyspace::RAFT)));
    fill(&follower, 5);
    let readable = Arc::new(Readable::new(told.clone(), follower.applier.before()));
    let before = contents(&told.engine, Keyspace::STATE);
    assert_eq!(seen(&readable), before);

    let looks = Arc::new(AtomicUsize::new(0));
    let (looked, reading, expected) = (Arc::clone(&looks), Arc::clone(&readable), before.clone());
    *told.look.lock().unwrap() = Some(Box::new(move || {
        assert_eq!(seen(&reading), expected, "half of a snapshot is read");
        looked.fetch_add(1, Ordering::SeqCst);
    }));
    install(&mut follower, snapshot).await.unwrap();
    *told.look.lock().unwrap() = None;
    assert!(looks.load(Ordering::SeqCst) > 2, "the state did not take several batches");
    assert_eq!(seen(&readable), contents(&*leader.state, Keyspace::STATE));
    // And what comes after it is seen at once.
    follower.applier.apply(&entry_of(12, 12, &[large(78, 10)])).unwrap();
    assert_eq!(seen(&readable), contents(&told.engine, Keyspace::STATE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_snapshot_is_made_again_only_after_the_log_has_grown_by_a_quarter_of_it() {
    let mut stores = in_memory();
    stores.applier.apply(&entry_of(0, 1, &[large(0, 400_000)])).unwrap();
    let is_due =
        async |stores: &mut Stores| stores.machine.try_create_snapshot_builder(false).await.is_some();
    assert!(is_due(&mut stores).await);
    snapshot(&mut stores).await;
    stores.applier.apply(&entry_of(1, 1, &[large(1, 60_000)])).unwrap();
    assert!(!is_due(&mut stores).await);
    stores.applier.apply(&entry_of(2, 1, &[large(2, 60_000)])).unwrap();
    assert!(is_due(&mut stores).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_state_that_cannot_be_synced_is_not_made() {
    let (state, raft) = (MemoryEngine::new(Keyspace::STATE), MemoryEngine::new(Keyspace::RAFT));
    let mut stores = open(Arc::new(state.clone()), Arc::new(raft));
    fill(&stores, 3);
    state.fail_next_sync();
    let mut builder = stores.machine.try_create_snapshot_builder(true).await.unwrap();
    assert!(builder.build_snapshot().await.is_err());
    assert!(stores.machine.get_current_snapshot().await.unwrap().is_none());
}
