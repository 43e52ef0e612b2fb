//! Stories about a whole [`Cluster`], told through its public handle.

mod commit;
pub(crate) mod engines;
mod failure;
mod history;
mod kill;
pub(crate) mod network;
mod restart;
pub(crate) mod runtime;
mod several;
mod simulation;
mod stop;
mod trace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use twinmcp_storage::accounts;
use twinmcp_storage::clock::{Clock, SystemClock, SystemEntropy};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::{Engine, Keyspace, MemoryEngine};
use twinmcp_storage::ids::AccountId;

use self::engines::{Gate, Power, Watched};
use crate::{Cluster, ClusterConfig, ClusterError};

/// How long a test waits for something that must happen before it calls it a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A machine in memory: two engines that survive the cluster that runs on them.
pub(crate) struct Machine {
    pub(crate) state: MemoryEngine,
    pub(crate) raft: MemoryEngine,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { state: MemoryEngine::new(Keyspace::STATE), raft: MemoryEngine::new(Keyspace::RAFT) }
    }

    pub(crate) async fn start(&self, config: ClusterConfig) -> Result<Cluster, ClusterError> {
        start_on(config, Arc::new(self.state.clone()), Arc::new(self.raft.clone())).await
    }

    /// Starts with engines that are watched: the state's, the log's.
    pub(crate) async fn start_watched(
        &self,
        config: ClusterConfig,
        power: &Power,
        gate: &Gate,
    ) -> (Result<Cluster, ClusterError>, Arc<Watched>, Arc<Watched>) {
        let state = Arc::new(Watched::new(self.state.clone(), power.clone(), Gate::default()));
        let raft = Arc::new(Watched::new(self.raft.clone(), power.clone(), gate.clone()));
        let (state_engine, raft_engine): (Arc<dyn Engine>, Arc<dyn Engine>) = (state.clone(), raft.clone());
        (start_on(config, state_engine, raft_engine).await, state, raft)
    }

    /// The power goes: what no engine has synced is lost.
    pub(crate) fn crash(&self) {
        self.state.crash();
        self.raft.crash();
    }
}

pub(crate) async fn start_on(
    config: ClusterConfig,
    state: Arc<dyn Engine>,
    raft: Arc<dyn Engine>,
) -> Result<Cluster, ClusterError> {
    start_at(config, state, raft, Arc::new(SystemClock)).await
}

pub(crate) async fn start_at(
    config: ClusterConfig,
    state: Arc<dyn Engine>,
    raft: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
) -> Result<Cluster, ClusterError> {
    Cluster::start(config, state, raft, clock, &SystemEntropy).await
}

/// A quick configuration; the deadlines are only there to end a test that hangs.
pub(crate) fn config() -> ClusterConfig {
    ClusterConfig {
        start_deadline: PATIENCE,
        propose_deadline: PATIENCE,
        stop_deadline: PATIENCE,
        ..ClusterConfig::default()
    }
}

pub(crate) fn account_id(number: u64) -> AccountId {
    format!("acct_{number:026}").parse().unwrap()
}

/// A command that makes one account.
pub(crate) fn account(number: u64) -> Command {
    Command::Accounts(accounts::Command::Create { id: account_id(number), name: format!("number {number}") })
}

pub(crate) fn has_account(cluster: &Cluster, number: u64) -> bool {
    accounts::get(cluster.reader(), &account_id(number)).unwrap().is_some()
}

/// Makes accounts one after another.
pub(crate) async fn make_accounts(cluster: &Cluster, numbers: std::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(cluster.propose(account(number)).await.unwrap().outcome, Outcome::Done);
    }
}

/// Waits until `holds`, as long as a test is patient.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "still waiting until {what}");
        tokio::task::yield_now().await;
    }
}
