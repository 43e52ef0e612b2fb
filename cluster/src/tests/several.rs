//! Several nodes, one service: commands from any of them, a leader that dies, is cut off or hands over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use twinmcp_storage::accounts;
use twinmcp_storage::clock::{SystemClock, SystemEntropy};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::members::{self, NodeFacts};

use super::network::Network;
use super::{Machine, PATIENCE, account, account_id, config, eventually, has_account};
use crate::peer::Transport;
use crate::{Cluster, ClusterConfig, ClusterError, NodeId, Role, StopReason, VoterChoice};

/// A cluster in one process.
struct Several {
    network: Network,
    machines: BTreeMap<u64, Machine>,
    nodes: BTreeMap<u64, Cluster>,
    transports: BTreeMap<u64, Arc<dyn Transport>>,
    /// How nodes are started, but for who they are.
    config: ClusterConfig,
}

impl Several {
    /// Node 1 founds it, the others join and follow; the first `voters` vote.
    async fn start(nodes: u64, voters: u64) -> Self {
        let mut several = Self::empty();
        for node in 1..=nodes {
            several.add(node).await;
        }
        for node in 2..=voters {
            several.nodes[&1].promote(NodeId(node), VoterChoice::Forced).await.unwrap();
        }
        several
    }

    fn empty() -> Self {
        Self {
            network: Network::new(),
            machines: BTreeMap::new(),
            nodes: BTreeMap::new(),
            transports: BTreeMap::new(),
            config: ClusterConfig {
                rejoin_patience: Duration::from_millis(500),
                silence_timeout: Duration::from_millis(400),
                ..config()
            },
        }
    }

    /// Starts another node; one that runs lets it in.
    async fn add(&mut self, node: u64) {
        self.machines.entry(node).or_insert_with(Machine::new);
        let (address, transport) = self.network.attach(node);
        self.transports.insert(node, transport);
        if let Some(member) = self.nodes.values().next() {
            member.admit(NodeId(node), &address).await.unwrap();
        }
        self.run(node).await;
    }

    /// Starts a node on what its machine holds.
    async fn run(&mut self, node: u64) {
        let machine = &self.machines[&node];
        let config = ClusterConfig {
            node_id: NodeId(node),
            address: format!("node-{node}:7947"),
            joins: node > 1,
            ..self.config.clone()
        };
        let (state, raft) = (Arc::new(machine.state.clone()), Arc::new(machine.raft.clone()));
        let transport = Arc::clone(&self.transports[&node]);
        let started =
            Cluster::start_among(config, state, raft, Arc::new(SystemClock), &SystemEntropy, transport, None);
        self.nodes.insert(node, started.await.unwrap());
    }

    /// Ends a node as a power cut would.
    async fn crash(&mut self, node: u64) {
        let cluster = self.nodes.remove(&node).unwrap();
        self.network.cut(node, &[1, 2, 3, 4, 5]);
        let _ = cluster.shutdown().await;
        self.machines[&node].crash();
        self.network.heal();
    }

    fn leader(&self) -> Option<u64> {
        self.nodes.iter().find(|(_, node)| node.status().role == Role::Leader).map(|(id, _)| *id)
    }

    /// Waits until a node leads that is not `before`, as all that run see it.
    async fn leader_besides(&self, before: Option<u64>) -> u64 {
        let mut found = 0;
        let agreed = || {
            let Some(leader) = self.leader().filter(|leader| Some(*leader) != before) else { return false };
            found = leader;
            self.nodes.values().all(|node| node.status().leader == Some(NodeId(leader)))
        };
        eventually("another node leads", agreed).await;
        found
    }

    async fn everywhere(&self, number: u64) {
        for (id, node) in &self.nodes {
            eventually(&format!("node {id} has account {number}"), || has_account(node, number)).await;
        }
    }

    async fn stop(self) {
        for node in self.nodes.values() {
            node.shutdown().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_made_anywhere_is_read_there_at_once_and_everywhere_soon() {
    let several = Several::start(5, 3).await;
    for (id, node) in &several.nodes {
        assert_eq!(node.propose(account(*id)).await.unwrap().outcome, Outcome::Done);
        assert!(has_account(node, *id), "node {id} reads its own write");
        several.everywhere(*id).await;
    }
    let roles: Vec<_> = several.nodes.values().map(|node| node.status().role).collect();
    assert_eq!(roles.iter().filter(|role| **role == Role::Learner).count(), 2, "{roles:?}");
    let status = several.nodes[&5].status();
    assert_eq!(status.members.iter().filter(|member| member.is_voter).count(), 3, "{status:?}");
    assert!(several.nodes.values().all(|node| node.status().cluster_id == status.cluster_id));
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_leader_loses_nothing_and_its_followers_go_on() {
    let mut several = Several::start(4, 3).await;
    let first = several.leader_besides(None).await;
    for number in 0..20 {
        several.nodes[&4].propose(account(number)).await.unwrap();
    }
    several.crash(first).await;
    // Proposed while nobody leads: it waits for the next leader.
    several.nodes[&4].propose(account(20)).await.unwrap();
    several.leader_besides(Some(first)).await;
    several.run(first).await;
    for number in 0..=20 {
        several.everywhere(number).await;
    }
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_reads_on_and_refuses_changes_in_time() {
    let several = Several::start(3, 3).await;
    several.nodes[&3].propose(account(1)).await.unwrap();
    let leader = several.leader_besides(None).await;
    let lonely = if leader == 3 { 2 } else { 3 };
    let others: Vec<u64> = (1..=3).filter(|node| *node != lonely).collect();
    several.network.cut(lonely, &others);
    let node = &several.nodes[&lonely];
    several.nodes[&others[0]].propose(account(2)).await.unwrap();
    let refused = node.propose_within(account(3), Duration::from_millis(700)).await.unwrap_err();
    let is_in_doubt =
        matches!(refused, ClusterError::NoLeader | ClusterError::LeaderChanged | ClusterError::Deadline);
    assert!(is_in_doubt, "{refused:?}");
    assert!(has_account(node, 1) && !has_account(node, 2));
    let refused = node.linearize(Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(refused, ClusterError::NoLeader), "{refused:?}");
    several.network.heal();
    several.everywhere(2).await;
    node.propose(account(4)).await.unwrap();
    several.everywhere(4).await;
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_finds_no_leader_waits_before_it_tries_again() {
    let mut several = Several::start(3, 2).await;
    // Of two voters one is gone, so nobody can lead; the third node still knows whom it followed.
    let leader = several.leader_besides(None).await;
    several.network.refuse(leader);
    several.crash(leader).await;
    let node = &several.nodes[&3];
    let before = several.network.dials();
    node.propose_within(account(1), Duration::from_millis(800)).await.unwrap_err();
    let dials = several.network.dials() - before;
    assert!(dials < 100, "{dials} connections were tried");
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_comes_back_leads_only_after_an_election() {
    let mut several = Several::start(3, 3).await;
    let leader = several.leader_besides(None).await;
    let term = several.nodes[&leader].status().term;
    several.crash(leader).await;
    several.run(leader).await;
    // In its old term it might give the place of an entry, lost here and known to peers, to another one.
    let now = several.leader_besides(None).await;
    assert!(several.nodes[&now].status().term > term);
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_cut_off_comes_back_without_an_election() {
    let several = Several::start(3, 3).await;
    let leader = several.leader_besides(None).await;
    let term = several.nodes[&leader].status().term;
    let lonely = if leader == 3 { 2 } else { 3 };
    let others: Vec<u64> = (1..=3).filter(|node| *node != lonely).collect();
    several.network.cut(lonely, &others);
    tokio::time::sleep(Duration::from_millis(4 * several.config.election_max_ms)).await;
    // It asked whether it would be voted for, and nobody answered: no term began (pre-vote; Ongaro, 9.6).
    assert_eq!(several.nodes[&lonely].status().term, term);
    several.network.heal();
    several.nodes[&lonely].propose(account(1)).await.unwrap();
    several.everywhere(1).await;
    let status = several.nodes[&leader].status();
    assert_eq!((status.role, status.term), (Role::Leader, term));
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_is_replaced_and_its_late_write_is_not_answered() {
    let several = Several::start(3, 3).await;
    let old = several.leader_besides(None).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != old).collect();
    several.network.cut(old, &others);
    let lonely = several.nodes[&old].propose_within(account(7), Duration::from_millis(600));
    let (refused, elsewhere) = tokio::join!(lonely, several.nodes[&others[0]].propose(account(8)));
    assert!(refused.is_err(), "{refused:?}");
    elsewhere.unwrap();
    several.network.heal();
    several.everywhere(8).await;
    // The lonely leader's write was never agreed on; it may be taken up, but by all or by nobody.
    let index = several.nodes[&old].linearize(PATIENCE).await.unwrap();
    for node in several.nodes.values() {
        node.wait_applied(index, PATIENCE).await.unwrap();
    }
    let seen: Vec<bool> = several.nodes.values().map(|node| has_account(node, 7)).collect();
    assert!(seen.iter().all(|has| *has == seen[0]), "{seen:?}");
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_must_be_fresh_sees_what_another_node_has_answered() {
    let several = Several::start(3, 3).await;
    several.network.delay(Duration::from_millis(5));
    for number in 0..10 {
        several.nodes[&(1 + number % 3)].propose(account(number)).await.unwrap();
        let reader = &several.nodes[&(1 + (number + 1) % 3)];
        reader.linearize(PATIENCE).await.unwrap();
        assert!(has_account(reader, number));
    }
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_and_the_one_who_led_can_leave() {
    let mut several = Several::start(4, 3).await;
    let old = several.leader_besides(None).await;
    let next = if old == 2 { 3 } else { 2 };
    several.nodes[&4].transfer_leader(NodeId(old)).await.unwrap();
    several.nodes[&old].propose(account(0)).await.unwrap();
    assert_eq!(several.leader(), Some(old), "handed over to itself it goes on");
    several.nodes[&4].transfer_leader(NodeId(next)).await.unwrap();
    assert_eq!(several.leader_besides(Some(old)).await, next);
    let refused = several.nodes[&next].transfer_leader(NodeId(4)).await.unwrap_err();
    assert!(refused.to_string().contains("node 4 does not vote"), "{refused}");

    several.nodes[&next].demote(NodeId(old)).await.unwrap();
    several.nodes[&next].promote(NodeId(4), VoterChoice::Safe).await.unwrap();
    several.nodes[&next].remove(NodeId(old)).await.unwrap();
    several.nodes.remove(&old).unwrap().shutdown().await.unwrap();
    several.nodes[&next].propose(account(1)).await.unwrap();
    several.everywhere(1).await;
    let members: Vec<u64> =
        several.nodes[&next].status().members.iter().map(|member| member.node_id.0).collect();
    assert!(!members.contains(&old) && members.len() == 3, "{members:?}");
    let refused = several.nodes[&next].promote(NodeId(old), VoterChoice::Safe).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("no node {old}")), "{refused}");
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_vote_is_taken_hands_over_first() {
    let mut several = Several::start(4, 4).await;
    let demoted = several.leader_besides(None).await;
    let other = |leader: u64| if leader == 4 { 3 } else { 4 };
    several.nodes[&other(demoted)].demote(NodeId(demoted)).await.unwrap();
    let removed = several.leader_besides(Some(demoted)).await;
    assert_ne!(several.nodes[&demoted].status().role, Role::Leader);
    several.nodes[&other(removed)].remove(NodeId(removed)).await.unwrap();
    several.nodes.remove(&removed).unwrap().shutdown().await.unwrap();
    let last = several.leader_besides(Some(removed)).await;
    assert_ne!(last, demoted, "a learner does not lead");
    several.nodes[&last].propose(account(7)).await.unwrap();
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_cannot_take_a_snapshot_takes_no_part_any_more() {
    let several = Several::start(2, 1).await;
    several.network.cut(2, &[1]);
    for number in 0..50 {
        several.nodes[&1].propose(account(number)).await.unwrap();
    }
    several.nodes[&1].consensus().snapshot_now().await;
    several.machines[&2].raft.fail_next_sync();
    let stopped = several.nodes[&2].stopped();
    several.network.heal();
    let reason = tokio::time::timeout(PATIENCE, stopped).await.unwrap();
    assert!(matches!(&reason, StopReason::Failed { message } if message.contains("injected")), "{reason:?}");
    // It could not show what it changed, so it does not say that it is done.
    let refused = several.nodes[&2].propose(account(99)).await.unwrap_err();
    assert!(matches!(&refused, ClusterError::Failed { .. }), "{refused:?}");
    assert!(!has_account(&several.nodes[&1], 99), "it was proposed all the same");
    several.nodes[&1].shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_long_gets_a_snapshot() {
    let mut several = Several::start(1, 1).await;
    for number in 0..50 {
        several.nodes[&1].propose(account(number)).await.unwrap();
    }
    several.nodes[&1].consensus().snapshot_now().await;
    several.machines.insert(2, Machine::new());
    let (address, transport) = several.network.attach(2);
    several.transports.insert(2, transport);
    several.nodes[&1].admit(NodeId(2), &address).await.unwrap();
    several.run(2).await;
    assert!((0..50).all(|number| has_account(&several.nodes[&2], number)));
    assert!(several.nodes[&2].status().snapshot_index.is_some(), "entries came one by one");
    several.nodes[&2].propose(account(50)).await.unwrap();
    several.everywhere(50).await;
    several.stop().await;
}

/// Longer than a start may take, but never so long without a piece of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_waits_for_a_large_state_as_long_as_it_comes_in() {
    let mut several = Several::start(1, 1).await;
    for number in 0..16 {
        let large = accounts::Command::Create { id: account_id(number), name: "n".repeat(900_000) };
        several.nodes[&1].propose(Command::Accounts(large)).await.unwrap();
    }
    several.nodes[&1].consensus().snapshot_now().await;
    several.machines.insert(2, Machine::new());
    let (address, transport) = several.network.attach(2);
    several.transports.insert(2, transport);
    several.nodes[&1].admit(NodeId(2), &address).await.unwrap();
    // 16 KB each time: more than four seconds for all, a fifth of one for a piece.
    several.network.delay(Duration::from_millis(5));
    several.config.start_deadline = Duration::from_secs(3);
    several.config.silence_timeout = PATIENCE;
    several.run(2).await;
    assert!((0..16).all(|number| has_account(&several.nodes[&2], number)));
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_cluster_becomes_a_new_one_that_others_can_join() {
    let several = Several::start(3, 3).await;
    for number in 0..30 {
        several.nodes[&(1 + number % 3)].propose(account(number)).await.unwrap();
    }
    let mut backup = Vec::new();
    several.nodes[&2].linearize(PATIENCE).await.unwrap();
    let write = |bytes: &[u8]| {
        // What is changed after it has begun is not in it, wherever it has got to.
        if backup.is_empty() {
            let late = several.nodes[&2].propose(account(99));
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(late)).unwrap();
        }
        backup.extend_from_slice(bytes);
        Ok(())
    };
    several.nodes[&2].backup(write).unwrap();
    assert!(has_account(&several.nodes[&2], 99));
    let before = several.nodes[&2].status().cluster_id;
    several.stop().await;

    let mut anew = Several::empty();
    let machine = Machine::new();
    let (state, raft) = (machine.state.clone(), Arc::new(machine.raft.clone()));
    let restored = Cluster::restore(&mut backup.as_slice(), &state, raft.clone(), &SystemEntropy).unwrap();
    assert_ne!(restored, before, "nodes of the cluster before are strangers");
    let again = Cluster::restore(&mut backup.as_slice(), &state, raft, &SystemEntropy).unwrap_err();
    assert!(again.to_string().contains("not empty"), "{again}");
    anew.machines.insert(1, machine);
    anew.add(1).await;
    assert_eq!(anew.nodes[&1].status().cluster_id, restored);
    assert!((0..30).all(|number| has_account(&anew.nodes[&1], number)));
    assert!(!has_account(&anew.nodes[&1], 99));
    // As a node does that has a port for peers.
    anew.nodes[&1].admit(NodeId(1), "node-1:7947").await.unwrap();
    anew.add(2).await;
    anew.nodes[&2].propose(account(30)).await.unwrap();
    assert!((0..=30).all(|number| has_account(&anew.nodes[&2], number)));
    anew.crash(1).await;
    anew.run(1).await;
    assert!((0..=30).all(|number| has_account(&anew.nodes[&1], number)));
    anew.stop().await;

    for length in [0, 1, backup.len() / 2, backup.len() - 1] {
        let machine = Machine::new();
        let raft = Arc::new(machine.raft.clone());
        let cut = Cluster::restore(&mut &backup[..length], &machine.state, raft, &SystemEntropy);
        assert!(cut.is_err(), "{length} bytes of {}", backup.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_voter_that_is_left_goes_on_alone_with_all_that_was_answered() {
    let mut several = Several::start(3, 3).await;
    for number in 0..20 {
        several.nodes[&1].propose(account(number)).await.unwrap();
    }
    let before = several.nodes[&2].status().cluster_id;
    // Two are lost for ever; the one that is left is the one whose log goes farthest.
    several.everywhere(19).await;
    for node in 1..=3 {
        several.crash(node).await;
    }
    let machine = &several.machines[&2];
    let (state, raft) = (machine.state.clone(), Arc::new(machine.raft.clone()));
    let survivor = Cluster::force_alone(&state, raft, &SystemEntropy).unwrap();
    assert_eq!(survivor.node, NodeId(2));
    several.run(2).await;
    let status = several.nodes[&2].status();
    assert_eq!((status.role, status.cluster_id), (Role::Leader, survivor.cluster));
    assert_ne!(status.cluster_id, before);
    assert_eq!(status.members.len(), 1, "{status:?}");
    assert!((0..20).all(|number| has_account(&several.nodes[&2], number)));
    several.nodes[&2].propose(account(20)).await.unwrap();
    // A node that lost its disk comes back under a new id.
    several.add(4).await;
    assert!((0..=20).all(|number| has_account(&several.nodes[&4], number)));
    several.stop().await;

    let empty = Machine::new();
    let nothing = Cluster::force_alone(&empty.state, Arc::new(empty.raft.clone()), &SystemEntropy);
    assert!(nothing.unwrap_err().to_string().contains("holds no node"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_knows_how_far_the_others_are_and_a_voter_which_voters_are_too_far() {
    let several = Several::start(4, 3).await;
    several.network.delay(Duration::from_millis(60));
    let measuring: Vec<_> = several.nodes.values().cloned().collect();
    let measuring: Vec<_> = measuring
        .into_iter()
        .map(|node| tokio::spawn(async move { node.measure_round_trips().await }))
        .collect();
    let far = |node: &Cluster, other| {
        node.round_trips().to(NodeId(other)).is_some_and(|time| time >= Duration::from_millis(100))
    };
    for (id, node) in &several.nodes {
        let others = (1..=4).filter(|other| other != id);
        for other in others {
            eventually(&format!("node {id} knows how far {other} is"), || far(node, other)).await;
        }
        assert_eq!(node.round_trips().to(NodeId(*id)), None);
        let expected: Vec<u64> = (1..=3).filter(|other| *id != 4 && other != id).collect();
        let told = || node.far_voters().iter().map(|far| far.node.0).collect::<Vec<_>>();
        eventually(&format!("node {id} tells {expected:?}, not {:?}", told()), || told() == expected).await;
    }
    measuring.into_iter().for_each(|task| task.abort());
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_lines_longer_than_a_heartbeat_a_leader_knows_that_it_leads() {
    let several = Several::start(3, 3).await;
    several.network.delay(Duration::from_millis(60));
    for number in 0..3 {
        for (id, node) in &several.nodes {
            let read = node.linearize(PATIENCE).await;
            assert!(read.is_ok(), "read {number} at node {id}: {read:?}");
        }
    }
    // Nothing is written any more: only heartbeats tell.
    let idle = Duration::from_secs(3);
    tokio::time::sleep(idle).await;
    for (id, node) in &several.nodes {
        assert!(node.state_age() < idle, "node {id}: {:?}", node.state_age());
    }
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_at_once_do_not_make_voters_that_fail_together() {
    let several = Several::start(4, 1).await;
    for (node, region) in [(1, "eu"), (2, "us"), (3, "us"), (4, "ap")] {
        let facts = NodeFacts { name: format!("n{node}"), region: region.to_owned(), ..NodeFacts::default() };
        let described =
            several.nodes[&node].propose(Command::Members(members::Command::Describe { node, facts })).await;
        assert_eq!(described.unwrap().outcome, Outcome::Done);
    }
    let promote =
        async |asked: u64, node: u64| several.nodes[&asked].promote(NodeId(node), VoterChoice::Safe).await;
    let (second, third) = tokio::join!(promote(2, 2), promote(4, 3));
    let refused = match (second, third) {
        (Ok(()), Err(refused)) | (Err(refused), Ok(())) => refused.to_string(),
        both => panic!("one of the two is promoted, not {both:?}"),
    };
    assert!(refused.contains("promote `n4` instead") && refused.contains("--force"), "{refused}");
    promote(3, 4).await.unwrap();
    let voters = several.nodes[&1].status().members.iter().filter(|member| member.is_voter).count();
    assert_eq!(voters, 3);
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_just_handed_over_is_as_new_as_it_was() {
    let several = Several::start(3, 3).await;
    let old = several.leader_besides(None).await;
    let led = Duration::from_secs(2);
    // Asked now and then, as health does.
    for _ in 0..20 {
        tokio::time::sleep(led / 20).await;
        assert!(several.nodes[&old].state_age() < led);
    }
    several.network.delay(Duration::from_millis(20));
    several.nodes[&old].hand_over(PATIENCE).await.unwrap();
    let age = several.nodes[&old].state_age();
    assert!(age < led, "{age:?}");
    several.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_keeps_no_operator_waiting() {
    let mut several = Several::empty();
    several.config.propose_deadline = Duration::from_secs(2);
    for node in 1..=4 {
        several.add(node).await;
    }
    for node in 2..=3 {
        several.nodes[&1].promote(NodeId(node), VoterChoice::Forced).await.unwrap();
    }
    let leader = several.leader_besides(None).await;
    let others: Vec<u64> = (1..=4).filter(|node| *node != leader).collect();
    several.network.cut(leader, &others);
    let asked = several.nodes[&leader].promote(NodeId(4), VoterChoice::Forced);
    let refused = tokio::time::timeout(PATIENCE, asked).await.expect("an answer in time").unwrap_err();
    assert!(matches!(refused, ClusterError::NoLeader), "{refused:?}");
    several.network.heal();
    several.stop().await;
}
