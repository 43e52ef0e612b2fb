//! Three voters and two learners as real processes while nodes die, stop, are cut off and lose their disks: no acknowledged
//! write is lost, nothing is done twice, every node that runs answers questions, and what callers saw is what one service
//! could have told them.
//!
//! Short here; `cargo xtask faults` runs every fault, each for `TWINMCP_FAULT_S` seconds. The figures are printed.

mod checks;
mod load;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use twinmcp_tests::{Fault, Links, NodeSetup, Regions, SmallDisk, TestCluster, docs, eventually, variable};

use load::{Load, QUESTION};

const VOTERS: usize = 3;
const NODES: usize = 5;
/// Writes that each healthy node has to acknowledge during a fault, and after it.
const WRITES: usize = 4;
/// Of a voter's file system; what a node of this load keeps is smaller. A long run writes more, by each second of a fault.
const DISK_MEGABYTES: u32 = 96;
const DISK_MEGABYTES_A_SECOND: u32 = 6;

/// Some time of the load.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Duration,
    until: Duration,
}

impl Span {
    fn has(self, time: Duration) -> bool {
        (self.from..=self.until).contains(&time)
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// SIGKILL, and started again.
    Kill(Whom),
    /// SIGSTOP, and SIGCONT.
    Stop(Whom),
    /// Nothing passes between it and the others.
    Cut(Whom),
    /// What it says is not heard.
    Mute(Whom),
    /// It hears nobody.
    Deafen(Whom),
    /// No room on its disk until it is started again.
    FullDisk,
    /// Syncs of its log fail until it is started again.
    FailingSyncs(Whom),
    /// Syncs of its log take long.
    SlowSyncs(Whom),
}

/// Which node it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Leader,
    Follower,
    Learner,
}

use Trouble::{Cut, Deafen, FailingSyncs, FullDisk, Kill, Mute, SlowSyncs, Stop};
use Whom::{Follower, Leader, Learner};

/// The few of a short run; a long one has all.
const FEW: &[Trouble] =
    &[Kill(Leader), Cut(Leader), Mute(Leader), Stop(Leader), FullDisk, FailingSyncs(Leader)];
const ALL: &[Trouble] = &[
    Kill(Leader),
    Kill(Follower),
    Kill(Learner),
    Stop(Leader),
    Stop(Follower),
    Stop(Learner),
    Cut(Leader),
    Cut(Follower),
    Cut(Learner),
    Mute(Leader),
    Mute(Follower),
    Deafen(Leader),
    Deafen(Follower),
    FullDisk,
    FailingSyncs(Leader),
    FailingSyncs(Follower),
    SlowSyncs(Leader),
    SlowSyncs(Follower),
];

/// A cluster in a network of its own, under load.
struct World {
    cluster: TestCluster,
    links: Links,
    /// What lies between nodes that are far apart.
    regions: Option<Regions>,
    /// Of node 3, where one may be mounted.
    disk: Option<SmallDisk>,
    load: Load,
    /// When nodes were dead or stopped.
    absences: Vec<(usize, Span)>,
}

/// What is wrong right now, and ends when it is healed.
struct Wrong {
    place: usize,
    since: Duration,
    fault: Option<Fault>,
}

impl World {
    /// A cluster whose nodes are so far apart, each way.
    async fn start(delay: Duration, heartbeat_ms: u64) -> Self {
        let held = hold().map_or(0, |hold| u32::try_from(hold.as_secs()).unwrap_or(u32::MAX));
        let megabytes = DISK_MEGABYTES.saturating_add(held.saturating_mul(DISK_MEGABYTES_A_SECOND));
        let (links, disk) = (Links::default(), SmallDisk::mount(megabytes));
        let regions = if delay.is_zero() { None } else { Regions::lay_out(NODES, &links).await };
        let setup = async |number| {
            let setup = TestCluster::setup(number).untraced();
            let setup = match &regions {
                Some(regions) => regions.place(number, setup).await,
                None => {
                    let address = links.before(number, setup.peers()).await;
                    setup.with("cluster", "address", address)
                }
            };
            let setup = setup
                .with("cluster", "heartbeat_ms", heartbeat_ms)
                .with("cluster", "election_min_ms", 4 * heartbeat_ms)
                .with("cluster", "election_max_ms", 8 * heartbeat_ms);
            on_disk(setup, disk.as_ref().filter(|_| number == VOTERS))
        };
        let cluster = TestCluster::start_as(VOTERS, NODES - VOTERS, setup).await;
        links.delay(delay);
        cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
        for place in 0..NODES {
            eventually("documentation on every node", async || {
                let answer = cluster.client(place).context("/acme/kiln", QUESTION, &[]).await;
                (answer.status == 200).then_some(())
            })
            .await;
        }
        let load = Load::start(&cluster);
        Self { cluster, links, regions, disk, load, absences: Vec::new() }
    }

    /// Who leads, as it says itself, and is not at `besides`.
    async fn leader(&self, besides: Option<usize>) -> usize {
        eventually("a leader", async || {
            for place in (0..VOTERS).filter(|place| Some(*place) != besides) {
                let client = self.cluster.client(place);
                let asked = client.try_answer(client.request(Method::GET, "/api/health"));
                let answer = tokio::time::timeout(Duration::from_millis(500), asked).await;
                if let Ok(Ok(answer)) = answer
                    && answer.text.contains("\"role\":\"leader\"")
                {
                    return Some(place);
                }
            }
            None
        })
        .await
    }

    async fn until_not_ready(&self, place: usize) {
        let client = self.cluster.client(place);
        eventually("a node to notice that its disk fails", async || {
            let asked = client.try_answer(client.request(Method::GET, "/api/health/ready")).await;
            asked.is_ok_and(|answer| answer.status == 503).then_some(())
        })
        .await;
    }

    async fn place(&self, whom: Whom) -> usize {
        let leader = self.leader(None).await;
        match whom {
            Leader => leader,
            Follower => (leader + 1) % VOTERS,
            Learner => VOTERS,
        }
    }

    /// Lets it go wrong; nothing where that cannot be done.
    async fn hurt(&mut self, trouble: Trouble) -> Option<Wrong> {
        let place = match trouble {
            Kill(whom) | Stop(whom) | Cut(whom) | Mute(whom) | Deafen(whom) => self.place(whom).await,
            FailingSyncs(whom) | SlowSyncs(whom) => self.place(whom).await,
            FullDisk => VOTERS - 1,
        };
        let others: Vec<usize> = (1..=NODES).filter(|number| *number != place + 1).collect();
        let (mut fault, mut since) = (None, self.load.now());
        match trouble {
            Kill(_) => self.cluster.nodes[place].kill().await,
            Stop(_) => self.cluster.nodes[place].signal("STOP"),
            Cut(_) => self.links.cut(place + 1, &others),
            Mute(_) => others.iter().for_each(|other| self.links.cut_one_way(place + 1, *other)),
            Deafen(_) => others.iter().for_each(|other| self.links.cut_one_way(*other, place + 1)),
            FullDisk => self.disk.as_ref()?.fill(),
            FailingSyncs(_) | SlowSyncs(_) => {
                let what = if matches!(trouble, SlowSyncs(_)) { "delay_enter=300000" } else { "error=EIO" };
                let node = &self.cluster.nodes[place];
                let log: Vec<PathBuf> = node.files("raft");
                fault = Some(Fault::inject(node.pid(), "fdatasync,fsync", what, &log).await?);
                since = self.load.now();
            }
        }
        Some(Wrong { place, since, fault })
    }

    async fn heal(&mut self, trouble: Trouble, wrong: &mut Wrong) {
        let node = &mut self.cluster.nodes[wrong.place];
        if let Some(fault) = wrong.fault.take() {
            fault.mend().await;
        }
        match trouble {
            Stop(_) => node.signal("CONT"),
            Cut(_) | Mute(_) | Deafen(_) => self.links.heal(),
            SlowSyncs(_) => {}
            FullDisk => {
                self.disk.as_ref().expect("it was filled").empty();
                self.restart(wrong.place).await;
            }
            Kill(_) | FailingSyncs(_) => self.restart(wrong.place).await,
        }
        if matches!(trouble, Kill(_) | Stop(_)) {
            self.absences.push((wrong.place, Span { from: wrong.since, until: self.load.now() }));
        }
    }

    async fn restart(&mut self, place: usize) {
        let from = self.load.now();
        self.cluster.nodes[place].restart().await;
        self.absences.push((place, Span { from, until: self.load.now() }));
    }

    /// One trouble from its beginning until nobody knows of it any more.
    async fn suffer(&mut self, trouble: Trouble, hold: Duration) {
        self.load.until_acknowledged(&[0, 1, 2, 3, 4], WRITES).await;
        let led = self.leader(None).await;
        let Some(mut wrong) = self.hurt(trouble).await else { return };
        let loses_lead = wrong.place == led && !matches!(trouble, SlowSyncs(_));
        let mut elected = None;
        if loses_lead {
            self.leader(Some(led)).await;
            elected = Some(self.load.now() - wrong.since);
        }
        if matches!(trouble, FullDisk | FailingSyncs(_)) {
            self.until_not_ready(wrong.place).await;
        }
        let healthy: Vec<usize> = (0..NODES).filter(|place| *place != wrong.place).collect();
        self.load.until_acknowledged(&healthy, WRITES).await;
        // A fault lasts as long as it is meant to; nothing is concluded from the time.
        tokio::time::sleep(hold.saturating_sub(self.load.now() - wrong.since)).await;
        self.heal(trouble, &mut wrong).await;
        let healed = self.load.now();
        checks::until_caught_up(&self.cluster, wrong.place, healthy[0]).await;
        let caught_up = self.load.now() - healed;
        self.load.until_acknowledged(&[0, 1, 2, 3, 4], WRITES).await;
        let span = Span { from: wrong.since, until: self.load.now() };
        let gap = checks::longest_gap(&self.load.seen, &healthy, span);
        let (p50, p99, writes) = checks::write_times(&self.load.seen, span);
        let elected = elected.map_or_else(|| "-".to_owned(), |time| time.as_millis().to_string());
        tell(&format!(
            "{:<24} node {} new leader {elected:>6} ms, longest gap {:>6} ms, caught up {:>6} ms, {writes:>5} writes \
             p50 {:>5} ms p99 {:>6} ms",
            format!("{trouble:?}"),
            wrong.place + 1,
            gap.as_millis(),
            caught_up.as_millis(),
            p50.as_millis(),
            p99.as_millis()
        ));
    }

    async fn end(self) {
        let Self { cluster, load, absences, disk, regions, .. } = self;
        let seen = load.stop().await;
        for place in 1..NODES {
            checks::until_caught_up(&cluster, place, 0).await;
        }
        checks::check_histories(&seen, NODES);
        let answered = checks::check_reads(&seen, &absences);
        let (keys, acknowledged) = checks::check_nothing_is_lost(&cluster, &seen).await;
        let calls = seen.events.lock().expect("no caller has failed").len();
        tell(&format!(
            "{keys} keys, {acknowledged} acknowledged writes, none lost, none done twice; {calls} calls in order; \
             {answered} questions answered"
        ));
        for node in &cluster.nodes {
            assert!(!node.log().contains("panicked"), "{}", node.log());
        }
        drop(cluster);
        drop((disk, regions));
    }
}

#[expect(clippy::print_stdout, reason = "the figures of a run are for who started it")]
fn tell(line: &str) {
    println!("{line}");
}

fn on_disk(setup: NodeSetup, disk: Option<&SmallDisk>) -> NodeSetup {
    match disk {
        Some(disk) => setup.on(&disk.path().join("data")),
        None => setup,
    }
}

async fn run(mut world: World, troubles: &[Trouble], hold: Duration) {
    let began = world.load.now();
    world.load.until_acknowledged(&[0, 1, 2, 3, 4], 4 * WRITES).await;
    let span = Span { from: began, until: world.load.now() };
    let (p50, p99, writes) = checks::write_times(&world.load.seen, span);
    tell(&format!("nothing wrong: {writes} writes, p50 {} ms, p99 {} ms", p50.as_millis(), p99.as_millis()));
    for trouble in troubles {
        world.suffer(*trouble, hold).await;
    }
    world.end().await;
}

/// How long each fault lasts in a long run.
fn hold() -> Option<Duration> {
    variable("TWINMCP_FAULT_S").map(Duration::from_secs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_done_twice_whatever_happens_to_a_node() {
    let world = World::start(Duration::ZERO, 100).await;
    let troubles = if hold().is_some() { ALL } else { FEW };
    run(world, troubles, hold().unwrap_or_default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_80_ms_apart_agree_and_outlive_their_leader() {
    let world = World::start(Duration::from_millis(40), 200).await;
    let troubles: &[Trouble] = if hold().is_some() { ALL } else { &[Kill(Leader)] };
    run(world, troubles, hold().unwrap_or_default()).await;
}
