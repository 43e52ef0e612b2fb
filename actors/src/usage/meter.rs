//! Counting: a few additions on the way of an answer, one small command every few seconds.
//!
//! [`Usage::count`] reads a shared map and adds to atomics: no lock, no allocation, no mailbox; only the
//! first question about a library since it was last idle makes its counters. An actor takes what came
//! and sends it as [`usage::Command::Flush`], numbered, so that one that is sent twice counts once.
//! Counters are this node's own; the store adds those of all nodes.
//!
//! Invariant: libraries counted at once are bounded by [`LIBRARIES_MAX`]; beyond, requests are answered
//! and not counted by library, which a metric tells.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use opentelemetry::global;
use opentelemetry::metrics::Counter;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::warn;
use twinmcp_cluster::{Cluster, ClusterError};
use twinmcp_storage::command::Command;
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::usage::{self, Count, Day, DayUse, REGISTERS, Sketch, Surface, Tool};

use super::client::Client;
use crate::context::Context;
use crate::supervisor::Child;

/// Libraries counted at the same time; each takes about 5 KB.
const LIBRARIES_MAX: usize = 2_048;
/// Between two flushes.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Libraries of one command.
const FLUSH_LIBRARIES_MAX: usize = 200;
/// Flushes that wait for the cluster to take commands again; past it the oldest is lost.
const FLUSHES_WAITING_MAX: usize = 64;

const TOOLS: [Tool; 2] = [Tool::Resolve, Tool::Query];
const SURFACES: [Surface; 4] = [Surface::Page, Surface::Txt, Surface::Mcp, Surface::Cli];

/// Who asks, as far as usage wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The program.
    pub client: Client,
    /// Which way it came.
    pub surface: Surface,
    /// Stands for the person: only good for telling two apart.
    caller: u64,
}

impl Asker {
    /// Somebody who is told from others by `identity`, such as the id of a key or an address.
    pub fn new(client: Client, surface: Surface, identity: &[u8]) -> Self {
        let hash = blake3::hash(identity);
        let [first, ..] = hash.as_bytes().as_chunks::<8>().0 else {
            return Self { client, surface, caller: 0 };
        };
        Self { client, surface, caller: u64::from_le_bytes(*first) }
    }

    /// The same person with another program.
    #[must_use]
    pub fn with_client(self, client: Client) -> Self {
        Self { client, ..self }
    }
}

/// The counters of one library since the last flush.
struct Counters {
    /// By tool, surface and client.
    requests: Box<[AtomicU32]>,
    /// By client, [`REGISTERS`] each.
    callers: Box<[AtomicU8]>,
}

impl Counters {
    fn new() -> Self {
        let requests = TOOLS.len() * SURFACES.len() * Client::COUNT;
        Self {
            requests: (0..requests).map(|_| AtomicU32::new(0)).collect(),
            callers: (0..Client::COUNT * REGISTERS).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    fn add(&self, tool: Tool, asker: &Asker) {
        let place = (tool as usize * SURFACES.len() + asker.surface as usize) * Client::COUNT;
        self.requests[place + asker.client.index()].fetch_add(1, Ordering::Relaxed);
        if tool == Tool::Query {
            let (register, rank) = Sketch::place(asker.caller);
            self.callers[asker.client.index() * REGISTERS + register].fetch_max(rank, Ordering::Relaxed);
        }
    }

    /// Takes what was counted; none when nothing was.
    fn take(&self, day: Day, library: &LibraryId) -> Option<DayUse> {
        let mut counts = Vec::new();
        let mut requests = self.requests.iter();
        for (tool, surface) in TOOLS.into_iter().flat_map(|tool| SURFACES.map(|surface| (tool, surface))) {
            for (client, counter) in Client::all().zip(requests.by_ref()) {
                // Looked at before it is written: most are never used.
                if counter.load(Ordering::Relaxed) > 0 {
                    let requests = u64::from(counter.swap(0, Ordering::Relaxed));
                    counts.push(Count { tool, surface, client: client.name().to_owned(), requests });
                }
            }
        }
        if counts.is_empty() {
            return None;
        }
        let mut callers = Vec::new();
        for (client, registers) in Client::all().zip(self.callers.chunks_exact(REGISTERS)) {
            if registers.iter().any(|register| register.load(Ordering::Relaxed) > 0) {
                let registers =
                    registers.iter().map(|register| register.swap(0, Ordering::Relaxed)).collect();
                callers.push(Sketch { client: client.name().to_owned(), registers });
            }
        }
        Some(DayUse { day, library: library.clone(), counts, callers })
    }
}

type Counted = HashMap<LibraryId, Arc<Counters>>;

/// The way to usage.
#[derive(Clone)]
pub struct Usage {
    pub(super) cluster: Cluster,
    counted: Arc<ArcSwap<Counted>>,
    /// Held while the map is replaced, never while something is counted.
    replacing: Arc<Mutex<()>>,
    uncounted: Counter<u64>,
}

impl Usage {
    pub(crate) fn child(context: &Arc<Context>) -> (Child, Self) {
        let uncounted = global::meter("twinmcp")
            .u64_counter("twinmcp.usage.uncounted")
            .with_description(
                "Requests that are in no library's usage, because too many libraries were asked at once.",
            )
            .build();
        let usage = Self {
            cluster: context.cluster.clone(),
            counted: Arc::new(ArcSwap::from_pointee(Counted::new())),
            replacing: Arc::new(Mutex::new(())),
            uncounted,
        };
        let (for_actor, counters) = (Arc::clone(context), usage.clone());
        let (child, _) = Child::new("usage", &context.node, move || {
            (UsageActor { context: Arc::clone(&for_actor), usage: counters.clone() }, ())
        });
        (child, usage)
    }

    /// Counts one answer about a library.
    pub fn count(&self, library: &LibraryId, tool: Tool, asker: &Asker) {
        if let Some(counters) = self.counted.load().get(library) {
            return counters.add(tool, asker);
        }
        match self.begin(library) {
            Some(counters) => counters.add(tool, asker),
            None => self.uncounted.add(1, &[]),
        }
    }

    /// Makes the counters of a library that was not asked lately.
    fn begin(&self, library: &LibraryId) -> Option<Arc<Counters>> {
        let _alone = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.counted.load();
        if let Some(counters) = before.get(library) {
            return Some(Arc::clone(counters));
        }
        if before.len() >= LIBRARIES_MAX {
            return None;
        }
        let counters = Arc::new(Counters::new());
        let mut next = Counted::clone(&before);
        next.insert(library.clone(), Arc::clone(&counters));
        self.counted.store(Arc::new(next));
        Some(counters)
    }

    /// Takes what was counted, and drops the counters of those that were not asked. What somebody
    /// adds to one that is being dropped is in `dropped`, to be looked at once more.
    fn take(&self, day: Day, dropped: &mut Counted) -> Vec<DayUse> {
        let mut uses: Vec<DayUse> =
            dropped.drain().filter_map(|(library, counters)| counters.take(day, &library)).collect();
        let _alone = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.counted.load_full();
        let mut asked = Counted::new();
        for (library, counters) in &*before {
            match counters.take(day, library) {
                Some(using) => {
                    uses.push(using);
                    asked.insert(library.clone(), Arc::clone(counters));
                }
                None => {
                    dropped.insert(library.clone(), Arc::clone(counters));
                }
            }
        }
        if !dropped.is_empty() {
            self.counted.store(Arc::new(asked));
        }
        uses
    }
}

enum Message {
    Flush,
}

struct UsageActor {
    context: Arc<Context>,
    usage: Usage,
}

struct State {
    /// Who flushes.
    node: String,
    /// The number of the next flush.
    sequence: u64,
    /// Flushes that are not known to be applied, the oldest first.
    waiting: VecDeque<usage::Command>,
    dropped: Counted,
}

impl Actor for UsageActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        // By its id: two nodes may have one name.
        let node = format!("node {}", self.context.cluster.status().node_id);
        let sequence = usage::last_flush(self.context.cluster.reader(), &node)? + 1;
        myself.send_after(FLUSH_EVERY, || Message::Flush);
        Ok(State { node, sequence, waiting: VecDeque::new(), dropped: Counted::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        Message::Flush: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        self.flush(state).await;
        myself.send_after(FLUSH_EVERY, || Message::Flush);
        Ok(())
    }

    /// What was counted since the last flush is worth one more command.
    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        self.flush(state).await;
        Ok(())
    }
}

impl UsageActor {
    async fn flush(&self, state: &mut State) {
        let mut uses = self.usage.take(Day::of(self.context.clock.now()), &mut state.dropped);
        while !uses.is_empty() {
            let rest = uses.split_off(uses.len().min(FLUSH_LIBRARIES_MAX));
            let node = state.node.clone();
            state.waiting.push_back(usage::Command::Flush { node, sequence: state.sequence, uses });
            state.sequence += 1;
            uses = rest;
        }
        while state.waiting.len() > FLUSHES_WAITING_MAX {
            state.waiting.pop_front();
            warn!("usage of a few seconds is lost: the cluster takes no commands");
        }
        while let Some(command) = state.waiting.front() {
            let proposed = self.context.cluster.propose(Command::Usage(command.clone())).await;
            match proposed {
                // Stale: it was applied when nobody could say so.
                Ok(_) | Err(ClusterError::TooLarge { .. }) => {
                    state.waiting.pop_front();
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "usage waits");
                    return;
                }
            }
        }
    }
}
