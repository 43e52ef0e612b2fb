//! Who restarts whom, and how often.
//!
//! One supervisor holds the node's long-living actors, one for one: an actor that panics or ends is
//! started again after a pause, the others go on. One that dies too often makes the node *not
//! ready*, and is tried again at a slow pace. What ractor does by itself (stop the supervisor with its
//! child) is overridden.

mod policy;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tracing::{error, warn};

pub use policy::SupervisionConfig;

use crate::slot::Slot;

/// How an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorState {
    /// It answers.
    Running,
    /// It died and is about to be started again.
    Restarting,
    /// It dies too often: the node is not ready.
    Failed,
}

/// One actor, as readiness and metrics see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorHealth {
    /// The actor's name.
    pub name: &'static str,
    /// How it is.
    pub state: ActorState,
    /// How often it was started again since the node began.
    pub restarts: u64,
}

/// The handle: tells how the actors are, and stops them.
#[derive(Clone)]
pub struct Supervisor {
    actor: ActorRef<Message>,
    health: Board,
}

impl Supervisor {
    /// Starts `children` under one supervisor.
    pub(crate) async fn start(
        name: String,
        children: Vec<Child>,
        config: SupervisionConfig,
    ) -> Result<Self, SpawnErr> {
        let health = Board::default();
        let arguments = Arguments { children, config, health: health.clone() };
        let (actor, _) = Actor::spawn(Some(name), SupervisorActor, arguments).await?;
        Ok(Self { actor, health })
    }

    /// How each actor is, by name.
    pub fn health(&self) -> Vec<ActorHealth> {
        self.health.lock().values().cloned().collect()
    }

    /// Ends every actor, the newest first, and waits until they have.
    pub async fn stop(&self, deadline: Duration) {
        // What is left when time is up ends with the process.
        let _ = self.actor.stop_and_wait(None, Some(deadline)).await;
    }
}

/// How the actors are, shared with whoever asks.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<BTreeMap<&'static str, ActorHealth>>>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, ActorHealth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, name: &'static str, state: ActorState, restarts: u64) {
        self.lock().insert(name, ActorHealth { name, state, restarts });
    }
}

type Spawn = Box<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

/// How to start one actor, and where callers find it.
pub(crate) struct Child {
    name: &'static str,
    spawn: Spawn,
    vacate: Box<dyn Fn() + Send + Sync>,
}

impl Child {
    /// A child that `make` gives anew at each start, and the slot its callers use. `node` makes its
    /// name unique: ractor's names are global to the process, tests run many nodes in one.
    pub(crate) fn new<A: Actor>(
        name: &'static str,
        node: &str,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> (Self, Slot<A::Msg>) {
        let (writer, slot) = Slot::new();
        let writer = Arc::new(writer);
        let full_name = format!("{node}/{name}");
        let spawn_writer = Arc::clone(&writer);
        let spawn: Spawn = Box::new(move |supervisor| {
            let (actor, arguments) = make();
            let (full_name, writer) = (full_name.clone(), Arc::clone(&spawn_writer));
            Box::pin(async move {
                let (actor, _) = Actor::spawn_linked(Some(full_name), actor, arguments, supervisor).await?;
                let cell = actor.get_cell();
                writer.send_replace(Some(actor));
                Ok(cell)
            })
        });
        let vacate = Box::new(move || {
            writer.send_replace(None);
        });
        (Self { name, spawn, vacate }, slot)
    }
}

struct SupervisorActor;

enum Message {
    /// The pause after a death is over.
    Restart(usize),
    /// An actor has lived for a whole window since its start number `.1`.
    Settled(usize, u64),
}

struct Arguments {
    children: Vec<Child>,
    config: SupervisionConfig,
    health: Board,
}

struct State {
    children: Vec<Running>,
    config: SupervisionConfig,
    health: Board,
    restarts: Counter<u64>,
}

struct Running {
    child: Child,
    id: Option<ActorId>,
    deaths: VecDeque<Instant>,
    restarts: u64,
    failed: bool,
}

impl Actor for SupervisorActor {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let restarts = global::meter("twinmcp")
            .u64_counter("twinmcp.actor.restarts")
            .with_description("Actors started again, by what ended them.")
            .build();
        let Arguments { children, config, health } = arguments;
        let mut state = State { children: Vec::new(), config, health, restarts };
        for child in children {
            let cell = (child.spawn)(myself.get_cell()).await?;
            state.health.set(child.name, ActorState::Running, 0);
            let id = Some(cell.get_id());
            state.children.push(Running { child, id, deaths: VecDeque::new(), restarts: 0, failed: false });
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Restart(at) => restart(&myself, at, state).await,
            Message::Settled(at, restarts) => settle(at, restarts, state),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, cause) => {
                bury(&myself, cell.get_id(), "panic", &cause.to_string(), state);
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                bury(&myself, cell.get_id(), "ended", &reason.unwrap_or_default(), state);
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

/// Empties a dead actor's slot and plans its next start.
fn bury(myself: &ActorRef<Message>, id: ActorId, reason: &'static str, cause: &str, state: &mut State) {
    let Some(at) = state.children.iter().position(|running| running.id == Some(id)) else { return };
    let running = &mut state.children[at];
    running.id = None;
    (running.child.vacate)();
    plan_restart(myself, at, reason, cause, state);
}

fn plan_restart(myself: &ActorRef<Message>, at: usize, reason: &'static str, cause: &str, state: &mut State) {
    let running = &mut state.children[at];
    let name = running.child.name;
    let verdict = policy::after_death(&mut running.deaths, Instant::now(), &state.config);
    running.failed = verdict.failed;
    state.restarts.add(1, &[KeyValue::new("actor", name), KeyValue::new("reason", reason)]);
    if verdict.failed {
        error!(actor = name, reason, cause, "actor dies too often; the node is not ready");
        state.health.set(name, ActorState::Failed, running.restarts);
    } else {
        warn!(actor = name, reason, cause, "actor died; starting it again");
        state.health.set(name, ActorState::Restarting, running.restarts);
    }
    myself.send_after(verdict.restart_after, move || Message::Restart(at));
}

async fn restart(myself: &ActorRef<Message>, at: usize, state: &mut State) {
    let started = (state.children[at].child.spawn)(myself.get_cell()).await;
    let running = &mut state.children[at];
    running.restarts += 1;
    match started {
        Ok(cell) => {
            running.id = Some(cell.get_id());
            let now = if running.failed { ActorState::Failed } else { ActorState::Running };
            state.health.set(running.child.name, now, running.restarts);
            let restarts = running.restarts;
            myself.send_after(state.config.window, move || Message::Settled(at, restarts));
        }
        Err(cause) => plan_restart(myself, at, "start", &cause.to_string(), state),
    }
}

/// A failed actor that has lived for a whole window counts as running again.
fn settle(at: usize, restarts: u64, state: &mut State) {
    let running = &mut state.children[at];
    if running.restarts == restarts && running.id.is_some() {
        running.failed = false;
        state.health.set(running.child.name, ActorState::Running, restarts);
    }
}

#[cfg(test)]
mod tests;
