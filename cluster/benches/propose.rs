//! How fast proposals are answered on a real disk, by one proposer and by 64 at once.
//!
//! Beside each other in one run: one synced write of the engine alone, which is the least a durable
//! answer can take here. Compare ratios; a disk shared with others makes the figures themselves swing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use tokio::runtime::Runtime;
use twinmcp_cluster::{Cluster, ClusterConfig};
use twinmcp_storage::accounts;
use twinmcp_storage::clock::{SystemClock, SystemEntropy};
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{Batch, Durability, Engine, FjallEngine, FjallOptions, Keyspace};

const AT_ONCE: u64 = 64;

fn open(folder: &Path, name: &str, spaces: &'static [Keyspace]) -> Arc<dyn Engine> {
    let engine = FjallEngine::open(&folder.join(name), spaces, &FjallOptions::default());
    Arc::new(engine.expect("the folder is new"))
}

async fn start(folder: &Path) -> Cluster {
    let (state, raft) = (open(folder, "state", Keyspace::STATE), open(folder, "raft", Keyspace::RAFT));
    let started =
        Cluster::start(ClusterConfig::default(), state, raft, Arc::new(SystemClock), &SystemEntropy);
    started.await.expect("a cluster of one starts")
}

/// An account of about 200 bytes, each time another.
fn account(next: &AtomicU64) -> Command {
    let number = next.fetch_add(1, Ordering::Relaxed);
    let id = format!("acct_{number:026}").parse().expect("digits are letters of an id");
    Command::Accounts(accounts::Command::Create { id, name: "n".repeat(160) })
}

fn propose(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(start(folder.path()));
    let next = AtomicU64::new(0);

    let mut group = criterion.benchmark_group("propose");
    let alone = open(folder.path(), "alone", Keyspace::RAFT);
    group.throughput(Throughput::Elements(1));
    group.bench_function("engine alone, one synced write", |bencher| {
        bencher.iter(|| {
            let mut batch = Batch::new();
            let number = next.fetch_add(1, Ordering::Relaxed);
            batch.put(Keyspace::Log, number.to_be_bytes(), vec![7; 200]);
            alone.commit(batch, Durability::Synced).expect("the disk takes a write");
        });
    });
    group.bench_function("one proposer", |bencher| {
        bencher.iter(|| runtime.block_on(cluster.propose(account(&next))).expect("it is answered"));
    });
    group.throughput(Throughput::Elements(AT_ONCE));
    group.bench_function("64 proposers", |bencher| {
        bencher.iter(|| {
            let proposals = (0..AT_ONCE).map(|_| cluster.propose(account(&next)));
            for answer in runtime.block_on(join_all(proposals)) {
                answer.expect("it is answered");
            }
        });
    });
    group.finish();
    runtime.block_on(cluster.shutdown()).expect("the engines close");
}

criterion_group!(benches, propose);
criterion_main!(benches);
