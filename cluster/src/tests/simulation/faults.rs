//! What goes wrong, and what operators do meanwhile, by the seed.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use turmoil::Sim;

use super::NODES;
use super::wire::{address, host};
use super::world::{World, live};
use crate::{Cluster, NodeId, Role, VoterChoice};

/// Nodes that take the place of others, at most.
const REPLACED_MAX: u64 = 2;

/// Something that ends at a time.
enum Until {
    Healed(u64, u64),
    Started(u64),
    Quick(u64),
    Lossless,
}

/// What is broken at the moment, and what comes next.
pub(super) struct Faults {
    world: Rc<World>,
    dice: SmallRng,
    /// When it next does something.
    next: Duration,
    until: Vec<(Duration, Until)>,
    /// Nodes of the simulation, running or not.
    hosts: BTreeSet<u64>,
    down: BTreeSet<u64>,
    replaced: u64,
    /// What was done, for people.
    pub(super) told: Vec<String>,
}

impl Faults {
    pub(super) fn new(world: &Rc<World>) -> Self {
        Self {
            world: Rc::clone(world),
            dice: SmallRng::seed_from_u64(world.seed),
            next: Duration::ZERO,
            until: Vec::new(),
            hosts: (1..=NODES).collect(),
            down: BTreeSet::new(),
            replaced: 0,
            told: Vec::new(),
        }
    }

    /// Breaks and mends what is due.
    pub(super) fn step(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        let (due, later) = std::mem::take(&mut self.until).into_iter().partition(|(at, _)| *at <= now);
        self.until = later;
        for (_, until) in due {
            self.mend(sim, &until);
        }
        if now >= self.next {
            if self.next > Duration::ZERO {
                self.one(sim, now);
            }
            self.next = now + self.a_while(50, 900);
        }
    }

    /// Mends everything.
    pub(super) fn end(&mut self, sim: &mut Sim<'_>) {
        for (_, until) in std::mem::take(&mut self.until) {
            self.mend(sim, &until);
        }
        self.look_after(sim);
    }

    /// Starts what has stopped, as a supervisor does.
    pub(super) fn look_after(&mut self, sim: &mut Sim<'_>) {
        let nodes: Vec<(u64, Cluster)> =
            self.world.nodes.borrow().iter().map(|(node, cluster)| (*node, cluster.clone())).collect();
        for (node, cluster) in nodes {
            if cluster.status().role == Role::Stopped {
                drop(cluster);
                self.crash(sim, node);
                self.start(sim, node);
            }
        }
    }

    fn mend(&mut self, sim: &mut Sim<'_>, until: &Until) {
        match *until {
            Until::Healed(one, other) => sim.repair(host(one), host(other)),
            Until::Started(node) => self.start(sim, node),
            Until::Quick(node) => self.world.machine(node).pace.set_slowest(Duration::from_millis(3)),
            Until::Lossless => sim.set_fail_rate(0.0),
        }
    }

    fn one(&mut self, sim: &mut Sim<'_>, now: Duration) {
        match self.dice.random_range(0..12) {
            0..3 => self.cut(sim, now),
            3..6 => {
                let Some(node) = self.a_node() else { return };
                self.tell(now, format!("node {node} crashes"));
                self.crash(sim, node);
                self.down.insert(node);
                let back = now + self.a_while(50, 2_500);
                self.until.push((back, Until::Started(node)));
            }
            6 => {
                let Some(node) = self.a_node() else { return };
                let slowest = self.a_while(50, 600);
                self.tell(now, format!("writes of node {node} take up to {slowest:?}"));
                self.world.machine(node).pace.set_slowest(slowest);
                let over = now + self.a_while(100, 1_500);
                self.until.push((over, Until::Quick(node)));
            }
            7 => {
                let Some(node) = self.a_node() else { return };
                self.tell(now, format!("a write of node {node} fails"));
                self.world.machine(node).raft.engine.fail_next_sync();
                self.look_after(sim);
            }
            8 => {
                let rate = self.dice.random_range(0.001..0.02);
                self.tell(now, format!("one message in {:.0} is lost", 1.0 / rate));
                sim.set_fail_rate(rate);
                let over = now + self.a_while(200, 1_500);
                self.until.push((over, Until::Lossless));
            }
            9 => {
                let slowest = self.a_while(5, 120);
                self.tell(now, format!("messages take up to {slowest:?}"));
                sim.set_max_message_latency(slowest);
            }
            10 => self.change_voters(now),
            _ => self.replace(sim, now),
        }
    }

    /// Cuts one node off, or two sides, or a way one way.
    fn cut(&mut self, sim: &Sim<'_>, now: Duration) {
        let nodes: Vec<u64> = self.hosts.iter().copied().collect();
        let back = now + self.a_while(100, 3_000);
        if self.dice.random_ratio(1, 3) {
            let (from, to) = self.two(&nodes);
            self.tell(now, format!("nothing gets from {from} to {to} until {back:?}"));
            sim.partition_oneway(host(from), host(to));
            self.until.push((back, Until::Healed(from, to)));
            return;
        }
        let side: Vec<u64> = nodes.iter().copied().filter(|_| self.dice.random_ratio(2, 5)).collect();
        self.tell(now, format!("{side:?} are cut off until {back:?}"));
        for &one in &side {
            for &other in nodes.iter().filter(|node| !side.contains(node)) {
                sim.partition(host(one), host(other));
                self.until.push((back, Until::Healed(one, other)));
            }
        }
    }

    /// Somebody else votes, or leads.
    fn change_voters(&mut self, now: Duration) {
        let Some((cluster, voters, learners)) = self.members() else { return };
        let (voter, learner) =
            (voters.choose(&mut self.dice).copied(), learners.choose(&mut self.dice).copied());
        let (Some(voter), learner) = (voter, learner) else { return };
        if self.dice.random_ratio(1, 2) {
            self.tell(now, format!("{voter} is asked to lead"));
            self.operate(
                cluster.status().node_id,
                async move { cluster.transfer_leader(NodeId(voter)).await },
            );
            return;
        }
        let Some(learner) = learner else { return };
        self.tell(now, format!("{learner} is to vote, and {voter} is not"));
        self.operate(cluster.status().node_id, async move {
            cluster.promote(NodeId(learner), VoterChoice::Forced).await?;
            cluster.demote(NodeId(voter)).await
        });
    }

    /// A node goes for good, and one with a new id takes its place.
    fn replace(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let Some((cluster, voters, learners)) = self.members() else { return };
        let others: Vec<u64> = voters.iter().chain(&learners).copied().filter(|node| *node != 1).collect();
        let Some(&old) = others.choose(&mut self.dice) else { return };
        if self.replaced == REPLACED_MAX {
            return;
        }
        self.replaced += 1;
        let new = NODES + self.replaced;
        self.hosts.insert(new);
        self.tell(now, format!("{new} takes the place of {old}"));
        let world = Rc::clone(&self.world);
        sim.host(host(new), move || live(Rc::clone(&world), new));
        let was_voter = voters.contains(&old);
        self.operate(cluster.status().node_id, async move {
            cluster.admit(NodeId(new), &address(new)).await?;
            if was_voter {
                cluster.promote(NodeId(new), VoterChoice::Forced).await?;
            }
            cluster.remove(NodeId(old)).await
        });
    }

    /// A node that runs, and who votes and follows as it knows.
    fn members(&mut self) -> Option<(Cluster, Vec<u64>, Vec<u64>)> {
        let running: Vec<Cluster> = self.world.nodes.borrow().values().cloned().collect();
        let cluster = running.choose(&mut self.dice)?.clone();
        let members = cluster.status().members;
        let ids = |is_voter| -> Vec<u64> {
            members
                .iter()
                .filter(|member| member.is_voter == is_voter)
                .map(|member| member.node_id.0)
                .collect()
        };
        let (voters, learners) = (ids(true), ids(false));
        Some((cluster, voters, learners))
    }

    /// Lets the node do what an operator asks, for as long as it lives.
    fn operate(
        &self,
        node: NodeId,
        operation: impl Future<Output = Result<(), crate::ClusterError>> + 'static,
    ) {
        let operations = &self.world.operations;
        operations.borrow_mut().entry(node.0).or_default().push(Box::pin(async move {
            if let Err(error) = operation.await {
                tracing::debug!(%error, "an operation was refused");
            }
        }));
    }

    fn crash(&mut self, sim: &mut Sim<'_>, node: u64) {
        self.world.let_go(node);
        sim.crash(host(node));
        self.world.machine(node).crash();
    }

    fn start(&mut self, sim: &mut Sim<'_>, node: u64) {
        self.down.remove(&node);
        sim.bounce(host(node));
    }

    fn a_node(&mut self) -> Option<u64> {
        let up: Vec<u64> = self.hosts.difference(&self.down).copied().collect();
        up.choose(&mut self.dice).copied()
    }

    fn two(&mut self, nodes: &[u64]) -> (u64, u64) {
        let one = self.dice.random_range(0..nodes.len());
        let other = (one + self.dice.random_range(1..nodes.len())) % nodes.len();
        (nodes[one], nodes[other])
    }

    fn a_while(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(self.dice.random_range(least_ms..=most_ms))
    }

    fn tell(&mut self, now: Duration, what: String) {
        self.told.push(format!("{:6.3} s: {what}", now.as_secs_f64()));
    }
}
