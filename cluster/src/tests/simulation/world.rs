//! The simulated world: nodes that start on their disks, and what all of them share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use twinmcp_storage::clock::{Clock, Entropy, EntropyError, Timestamp};

use super::clients::{Client, JOBS, TOKENS};
use super::disk::{Machine, Oracle};
use super::registers;
use super::seen::Seen;
use super::wire::{Wire, address};
use super::{CLIENTS, Sabotage};
use crate::consensus::{Disk, Peering, Work};
use crate::{Cluster, ClusterConfig, NodeId, StopReason};

/// When the simulation begins, for the clocks: 2026-01-01.
const EPOCH_MS: u64 = 1_767_225_600_000;
/// Most a clock is ahead or behind: a day.
const SKEW_MS_MAX: u64 = 24 * 3_600 * 1_000;

/// An operation under way.
pub(super) type Operating = Pin<Box<dyn Future<Output = ()>>>;

/// What all nodes share, and the hand that plays with them.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) seen: Seen,
    pub(super) oracle: Arc<Oracle>,
    machines: RefCell<BTreeMap<u64, Rc<Machine>>>,
    /// The nodes that run.
    pub(super) nodes: RefCell<BTreeMap<u64, Cluster>>,
    starts: RefCell<BTreeMap<u64, u64>>,
    next_value: Cell<u64>,
    next_name: Cell<u64>,
    is_prepared: Cell<bool>,
    is_quiet: Cell<bool>,
    /// What nodes are asked to do by operators.
    pub(super) operations: RefCell<BTreeMap<u64, Vec<Operating>>>,
    /// Starts that failed, for people.
    pub(super) told_starts: RefCell<Vec<String>>,
    /// Nodes that have read all there is at the end.
    pub(super) read_all: RefCell<Vec<u64>>,
}

impl World {
    pub(super) fn new(seed: u64, sabotage: Option<Sabotage>) -> Rc<Self> {
        Rc::new(Self {
            seed,
            sabotage,
            seen: Seen::default(),
            oracle: Arc::default(),
            machines: RefCell::default(),
            nodes: RefCell::default(),
            starts: RefCell::default(),
            next_value: Cell::new(0),
            next_name: Cell::new(0),
            is_prepared: Cell::new(false),
            is_quiet: Cell::new(false),
            operations: RefCell::default(),
            told_starts: RefCell::default(),
            read_all: RefCell::default(),
        })
    }

    pub(super) fn machine(&self, node: u64) -> Rc<Machine> {
        let mut machines = self.machines.borrow_mut();
        let made = || Rc::new(Machine::new(self.seed ^ node << 56, &self.oracle, self.sabotage));
        Rc::clone(machines.entry(node).or_insert_with(made))
    }

    /// A number that nobody else gets.
    pub(super) fn a_value(&self) -> u64 {
        self.next_value.update(|value| value + 1);
        self.next_value.get()
    }

    /// One of the names that are tried at the moment; now and then a new one.
    pub(super) fn a_name(&self, at_once: u64, dice: &mut SmallRng) -> u64 {
        if self.next_name.get() == 0 || dice.random_ratio(1, 8) {
            self.next_name.update(|name| name + 1);
        }
        let newest = self.next_name.get();
        dice.random_range(newest.saturating_sub(at_once - 1).max(1)..=newest)
    }

    pub(super) fn names_tried(&self) -> u64 {
        self.next_name.get()
    }

    /// Whether what clients work on is there.
    pub(super) fn is_prepared(&self) -> bool {
        self.is_prepared.get()
    }

    /// Whether nothing is broken and nobody changes anything any more.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_quiet.get()
    }

    pub(super) fn be_quiet(&self) {
        self.is_quiet.set(true);
    }

    /// How the nodes stand, for people.
    pub(super) fn describe(&self) -> String {
        let nodes = self.nodes.borrow();
        let stand = nodes.values().map(|node| format!("{:?}", node.status()));
        stand.chain(self.told_starts.borrow().iter().cloned()).collect::<Vec<_>>().join("\n")
    }

    /// Keeps nothing of a node that is about to crash: what is left of it goes with its host, and closes its sockets.
    pub(super) fn let_go(&self, node: u64) {
        self.nodes.borrow_mut().remove(&node);
        self.operations.borrow_mut().remove(&node);
    }
}

/// A node's life, from a start to its crash: starts again when it could not, as a supervisor would have it.
pub(super) async fn live(world: Rc<World>, node: u64) -> turmoil::Result {
    loop {
        match start(&world, node).await {
            Ok((cluster, starts)) => {
                world.nodes.borrow_mut().insert(node, cluster.clone());
                if node == 1 && !world.is_prepared() {
                    prepare(&world, &cluster).await;
                }
                work(&world, &cluster, (node, starts)).await;
                return std::future::pending().await;
            }
            Err(reason) => {
                world.told_starts.borrow_mut().push(format!("node {node}: {reason}"));
                // Whoever starts it again opens its disk again.
                world.machine(node).crash();
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    }
}

pub(super) async fn start(world: &Rc<World>, node: u64) -> Result<(Cluster, u64), String> {
    let starts = {
        let mut starts = world.starts.borrow_mut();
        let starts = starts.entry(node).or_default();
        *starts += 1;
        *starts
    };
    let machine = world.machine(node);
    let config = ClusterConfig {
        node_id: NodeId(node),
        address: address(node),
        joins: node > 1,
        start_deadline: Duration::from_secs(8),
        rejoin_patience: Duration::from_millis(700),
        connect_timeout: Duration::from_millis(500),
        silence_timeout: Duration::from_millis(700),
        snapshot_every_entries: 60,
        snapshot_keep_entries: 15,
        ..ClusterConfig::default()
    };
    let transport = Wire::listen(node).await.map_err(|error| error.to_string())?;
    let pace: Arc<dyn Disk> = machine.pace.clone();
    let dice = Dice(world.seed ^ node);
    let clock = Arc::new(SkewedClock::new(world.seed, node));
    let engines = (machine.state.clone() as _, machine.raft.clone() as _);
    let peering = Peering { transport, others: None };
    let started = Cluster::start_with(config, engines, clock, &dice, peering, Work::Simulated(pace));
    Ok((Box::pin(started).await.map_err(|error| error.to_string())?, starts))
}

/// What clients work on.
async fn prepare(world: &World, cluster: &Cluster) {
    let jobs = (0..JOBS).map(registers::make_job);
    for command in jobs.chain((0..TOKENS).map(registers::make_token)) {
        let made = cluster.propose(command).await.map(|applied| registers::is_taken(applied.outcome));
        if !matches!(made, Ok(Ok(true))) {
            world.seen.problem(format!("nothing can be prepared: {made:?}"));
        }
    }
    world.is_prepared.set(true);
}

async fn work(world: &Rc<World>, cluster: &Cluster, reader: (u64, u64)) {
    while !world.is_prepared() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for number in 0..CLIENTS {
        tokio::task::spawn_local(Client::new(world, cluster, reader, number).run());
    }
    let (noticed, stopped) = (Rc::clone(world), cluster.stopped());
    tokio::task::spawn_local(async move {
        if let StopReason::Failed { message } = stopped.await
            && !message.contains("injected")
        {
            noticed.seen.problem(format!("node {} of start {} stopped: {message}", reader.0, reader.1));
        }
    });
    while !world.is_quiet() {
        let asked = world.operations.borrow_mut().remove(&reader.0);
        asked.into_iter().flatten().for_each(|operation| drop(tokio::task::spawn_local(operation)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Client::new(world, cluster, reader, CLIENTS).read_all().await;
    world.read_all.borrow_mut().push(reader.0);
}

/// A clock that is ahead or behind, and goes fast or slow.
struct SkewedClock {
    ahead_ms: u64,
    /// Milliseconds of it in a thousand of the simulation.
    pace: u64,
}

impl SkewedClock {
    fn new(seed: u64, node: u64) -> Self {
        let mut dice = SmallRng::seed_from_u64(seed ^ node << 40);
        Self { ahead_ms: dice.random_range(0..2 * SKEW_MS_MAX), pace: dice.random_range(800..1_200) }
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let elapsed = turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_millis());
        let elapsed = u64::try_from(elapsed).unwrap() * self.pace / 1_000;
        Timestamp::from_millis(EPOCH_MS - SKEW_MS_MAX + self.ahead_ms + elapsed)
    }
}

/// Random bytes by the seed.
struct Dice(u64);

impl Entropy for Dice {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        SmallRng::seed_from_u64(self.0).fill(buffer);
        Ok(())
    }
}
