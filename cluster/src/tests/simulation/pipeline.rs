//! A leader sends entries on before those ahead of them are answered (Ongaro 2014, 10.2.2).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::wire::{address, host};
use super::world::{World, start};
use super::{registers, until};
use crate::tests::runtime::seed_this_thread;
use crate::{Cluster, NodeId, VoterChoice};

/// How long a message takes; the answer takes as long.
const WAY: Duration = Duration::from_millis(50);
/// Changes, and how long after the one before each is proposed: many in the time that one takes to be answered.
const CHANGES: u64 = 20;
const BETWEEN: Duration = Duration::from_millis(10);

/// How long each change took.
type Took = Rc<RefCell<Vec<Duration>>>;

#[test]
fn a_change_waits_for_its_own_way_there_and_back_and_no_others() {
    let _seeded = seed_this_thread(1);
    let (world, took) = (World::new(1, None), Took::default());
    let mut sim = turmoil::Builder::new()
        .rng_seed(1)
        .simulation_duration(Duration::from_secs(600))
        .min_message_latency(WAY)
        .max_message_latency(WAY + Duration::from_millis(1))
        .build();
    for node in 1..=3 {
        let (world, took) = (Rc::clone(&world), Rc::clone(&took));
        sim.host(host(node), move || take_part(Rc::clone(&world), node, Rc::clone(&took)));
    }
    until(&mut sim, "all changes are made", |_| Ok(took.borrow().len() as u64 == CHANGES)).unwrap();
    // One after the other, those that come while another is under way would take up to two ways there and back.
    let longest = took.borrow().iter().max().copied().unwrap();
    assert!(longest >= 2 * WAY && longest < 3 * WAY, "{:?}", took.borrow());
}

async fn take_part(world: Rc<World>, node: u64, took: Took) -> turmoil::Result {
    let (cluster, _) = start(&world, node).await?;
    if node == 1 {
        for other in 2..=3 {
            cluster.admit(NodeId(other), &address(other)).await?;
            cluster.promote(NodeId(other), VoterChoice::Forced).await?;
        }
        for number in 0..CHANGES {
            tokio::task::spawn_local(change(cluster.clone(), number, Rc::clone(&took)));
            sleep(BETWEEN).await;
        }
    }
    std::future::pending().await
}

async fn change(cluster: Cluster, number: u64, took: Took) {
    let began = Instant::now();
    cluster.propose(registers::put(number, 1)).await.unwrap();
    took.borrow_mut().push(began.elapsed());
}
