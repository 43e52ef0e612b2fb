//! The actor: follows what is published, has one version after the other upgraded on a thread, and
//! publishes what came out.
//!
//! The model is in memory only while there is work. A version that is published anew, or removed, while it is
//! upgraded stops the thread; one whose upgrade fails is tried again after a pause that doubles.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{info, warn};
use twinmcp_storage::bundle::{BuiltBundle, BundleHash, Replace};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::{LibraryId, Version};
use twinmcp_storage::libraries::{self, VersionManifest};
use twinmcp_storage::transaction::Change;

use super::cache::Cache;
use super::find::{self, Those};
use super::metrics::Metrics;
use super::run::{Done, Failure, Run, Tools};
use super::{UpgradeConfig, UpgradeProgress, UpgradeState, Upgrades, sentence};
use crate::background;
use crate::context::Context;
use crate::embedding::{DocumentEmbedder, both, first_of, second_of};

/// Reads the model, or says in a sentence why it cannot be used. Blocks.
pub(super) type Load = Arc<dyn Fn() -> Result<Arc<dyn DocumentEmbedder>, String> + Send + Sync>;

/// Takes published versions to better vectors.
pub(super) struct Worker {
    pub(super) context: Arc<Context>,
    pub(super) config: UpgradeConfig,
    pub(super) status: Upgrades,
    pub(super) replace: Replace,
    pub(super) load: Load,
}

pub(super) enum Message {
    /// The agreed state changed.
    Changed(Arc<[Change]>),
    /// The model was read, or could not be.
    Loaded(Result<Box<Tools>, String>),
    /// The thread has ended; the tools come back unless it panicked.
    Ended(Option<Box<Tools>>, Result<BuiltBundle, Failure>),
    /// The pause after a failure of one version is over.
    TryAgain(Queued),
    /// The pause after a failure that would have met every library is over.
    Rested,
}

type Wanted = (LibraryId, Version);

/// A version in the queue.
#[derive(Clone)]
pub(super) struct Queued {
    wanted: Wanted,
    /// What its vectors were upgraded by when it was queued. By the time of its turn another node may have done it.
    before: Option<String>,
}

pub(super) struct State {
    metrics: Arc<Metrics>,
    /// What versions are upgraded to, once the model was read.
    target: Option<String>,
    /// Here while no thread has them, and there is work.
    tools: Option<Box<Tools>>,
    is_loading: bool,
    waiting: VecDeque<Queued>,
    running: Option<Running>,
    failures: HashMap<LibraryId, u32>,
    /// What makes vectors makes none for now: nothing is begun.
    is_resting: bool,
    /// Failures of that kind since the last success.
    rests: u32,
}

impl State {
    /// Queues a version, once. Not the one that is being upgraded: should that be in vain, it is queued when it ends.
    fn wait_for(&mut self, queued: Queued) {
        let mut known = self.running.iter().map(|running| &running.queued).chain(&self.waiting);
        if !known.any(|known| known.wanted == queued.wanted) {
            self.waiting.push_back(queued);
        }
    }
}

struct Running {
    queued: Queued,
    bundle: String,
    /// Dropped to stop the thread, also when the actor ends.
    stop: Option<Sender<()>>,
}

const RETRY_PAUSE: Duration = Duration::from_secs(30);
/// The pause doubles so often.
const RETRY_DOUBLINGS: u32 = 6;
/// The longest pause that an embedder may ask for.
const REST_MAX: Duration = Duration::from_secs(60 * 60);

impl Actor for Worker {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        // Subscribed before the first reading, so that nothing falls between.
        let mut changes = self.context.cluster.changes();
        let forward = myself.clone();
        tokio::spawn(async move {
            while let Some(changed) = changes.next().await {
                if forward.send_message(Message::Changed(changed)).is_err() {
                    break; // The actor ended; the next one subscribes anew.
                }
            }
        });
        let mut state = State {
            metrics: Arc::new(Metrics::new(self.kind())),
            target: None,
            tools: None,
            is_loading: false,
            waiting: VecDeque::new(),
            running: None,
            failures: HashMap::new(),
            is_resting: false,
            rests: 0,
        };
        self.status.lock().state = UpgradeState::Starting;
        self.load(&myself, &mut state)?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Changed(changes) => self.changed(&changes, state).await?,
            Message::Loaded(loaded) => self.loaded(loaded, state).await?,
            Message::Ended(tools, result) => self.ended(&myself, tools, result, state).await?,
            Message::TryAgain(queued) => state.wait_for(queued),
            Message::Rested => state.is_resting = false,
        }
        self.next(&myself, state)
    }
}

impl Worker {
    /// Takes note of what changed, and stops work that is of no use any more.
    async fn changed(&self, changes: &[Change], state: &mut State) -> Result<(), StorageError> {
        if changes.iter().any(|change| matches!(change, Change::Everything)) {
            self.look_everywhere(Those::Fresh, state).await?;
        }
        for change in changes {
            if let Change::Library(library) = change {
                self.look(library, state)?;
            }
        }
        if let Some(running) = &mut state.running
            && self.manifest(&running.queued.wanted)?.is_none_or(|manifest| manifest.bundle != running.bundle)
        {
            running.stop = None;
        }
        Ok(())
    }

    /// Which vectors are made, as a word for metrics.
    fn kind(&self) -> &'static str {
        match self.replace {
            Replace::First => "table",
            Replace::Second => "endpoint",
        }
    }

    fn manifest(&self, (library, version): &Wanted) -> Result<Option<VersionManifest>, StorageError> {
        libraries::manifest(self.context.cluster.reader(), library, version)
    }

    /// Queues the versions of one library that want better vectors and have none yet.
    fn look(&self, library: &LibraryId, state: &mut State) -> Result<(), StorageError> {
        let Some(target) = &state.target else { return Ok(()) };
        let reader = self.context.cluster.reader();
        let found = find::in_library(reader, library, (self.replace, target), Those::Fresh)?;
        found.into_iter().for_each(|manifest| state.wait_for(self.queued(manifest)));
        Ok(())
    }

    fn queued(&self, manifest: VersionManifest) -> Queued {
        let before = find::upgraded_by(&manifest, self.replace).map(str::to_owned);
        Queued { wanted: (manifest.library, manifest.version), before }
    }

    async fn look_everywhere(&self, those: Those, state: &mut State) -> Result<(), StorageError> {
        let Some(target) = state.target.clone() else { return Ok(()) };
        let (context, replace) = (Arc::clone(&self.context), self.replace);
        let all = tokio::task::spawn_blocking(move || {
            find::everywhere(context.cluster.reader(), (replace, &target), those)
        });
        // A reading that was interrupted is done again with the next change.
        let found = all.await.unwrap_or_else(|_| Ok(Vec::new()))?;
        found.into_iter().for_each(|manifest| state.wait_for(self.queued(manifest)));
        Ok(())
    }

    async fn loaded(
        &self,
        loaded: Result<Box<Tools>, String>,
        state: &mut State,
    ) -> Result<(), StorageError> {
        state.is_loading = false;
        let tools = match loaded {
            Ok(tools) => tools,
            Err(reason) => {
                warn!(reason, "vectors are not upgraded; answers go on without");
                self.status.lock().state = UpgradeState::Unusable(reason);
                state.waiting.clear();
                return Ok(());
            }
        };
        let target = tools.embedder.id().to_owned();
        state.tools = Some(tools);
        self.status.lock().state = UpgradeState::Idle;
        if state.target.as_ref() != Some(&target) {
            self.status.lock().embedder = Some(target.clone());
            state.target = Some(target);
            self.look_everywhere(Those::All, state).await?;
        }
        Ok(())
    }

    /// Publishes what a thread made, or plans another try.
    async fn ended(
        &self,
        myself: &ActorRef<Message>,
        tools: Option<Box<Tools>>,
        result: Result<BuiltBundle, Failure>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.tools = tools;
        let Some(Running { queued, bundle, stop }) = state.running.take() else { return Ok(()) };
        let published = match result {
            _ if stop.is_none() => Ok(Outcome::Stale),
            Ok(built) => {
                let published = self.publish(&queued.wanted, bundle, built, state).await;
                published.map_err(|reason| Failure { reason, rest: None })
            }
            Err(failure) => Err(failure),
        };
        let (library, version) = queued.wanted.clone();
        match published {
            Ok(Outcome::Done) => {
                state.metrics.ended("published");
                state.failures.remove(&library);
                state.rests = 0;
                self.status.lock().trouble = None;
                info!(library_id = %library, version = %version, "vectors upgraded");
            }
            Ok(_) => {
                // Published anew or removed meanwhile, or given other vectors: looked at once more.
                state.metrics.ended("stale");
                state.wait_for(queued);
            }
            Err(Failure { reason, rest }) => {
                state.metrics.ended("failed");
                warn!(library_id = %library, version = %version, reason, "upgrade failed; trying again later");
                self.status.lock().trouble = Some(format!("{library}@{version}: {reason}"));
                let pause = |failures: u32| RETRY_PAUSE * (1 << failures.min(RETRY_DOUBLINGS));
                if let Some(rest) = rest {
                    // Another version goes first the next time, should this one be the reason after all.
                    state.waiting.push_back(queued);
                    state.is_resting = true;
                    myself.send_after(pause(state.rests).max(rest.min(REST_MAX)), || Message::Rested);
                    state.rests += 1;
                } else {
                    let failures = state.failures.entry(library).or_default();
                    myself.send_after(pause(*failures), move || Message::TryAgain(queued));
                    *failures += 1;
                }
            }
        }
        Ok(())
    }

    async fn publish(
        &self,
        (id, version): &Wanted,
        replaces: String,
        built: BuiltBundle,
        state: &State,
    ) -> Result<Outcome, String> {
        // Nobody names it yet.
        let _pinned = self.context.bundles.pin(built.hash);
        let target = state.target.as_deref().unwrap_or_default();
        let manifest = self.manifest(&(id.clone(), version.clone())).map_err(|error| sentence(&error))?;
        let Some(manifest) = manifest else { return Ok(Outcome::NotFound) };
        let embedder = match self.replace {
            Replace::First => both(target, second_of(&manifest.embedder)),
            Replace::Second => both(first_of(&manifest.embedder), Some(target)),
        };
        let command = libraries::Command::Upgrade {
            id: id.clone(),
            version: version.clone(),
            replaces,
            bundle: built.hash.to_string(),
            bundle_bytes: built.bytes,
            embedder,
        };
        let proposed = self.context.cluster.propose(Command::Libraries(command)).await;
        proposed.map(|applied| applied.outcome).map_err(|error| sentence(&error))
    }

    /// Starts the next version's thread, or reads the model for it; without work the model goes.
    fn next(&self, myself: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        while state.running.is_none() && !state.is_resting {
            let Some(queued) = state.waiting.front().cloned() else { break };
            let target = state.target.clone().unwrap_or_default();
            let manifest = self.manifest(&queued.wanted)?;
            let manifest = manifest.filter(|manifest| {
                let by = find::upgraded_by(manifest, self.replace);
                // What another node did meanwhile is left to it.
                find::wants(manifest, self.replace, &target)
                    && (by.is_none() || by == queued.before.as_deref())
            });
            let hash = manifest.and_then(|manifest| manifest.bundle.parse().ok());
            match (hash, state.tools.take()) {
                (None, tools) => {
                    state.tools = tools;
                    state.waiting.pop_front();
                }
                (Some(hash), Some(tools)) => {
                    state.waiting.pop_front();
                    state.running = Some(self.start(myself, queued, hash, tools, &state.metrics)?);
                }
                (Some(_), None) => {
                    self.load(myself, state)?;
                    break;
                }
            }
        }
        if state.running.is_none() && state.waiting.is_empty() {
            state.tools = None;
            state.metrics.progress(1, 1);
        }
        state.metrics.waiting(state.waiting.len());
        let mut status = self.status.lock();
        status.waiting = state.waiting.len();
        let is_unusable = matches!(status.state, UpgradeState::Unusable(_));
        if state.running.is_none() {
            status.current = None;
            if state.target.is_some() && !is_unusable {
                status.state = UpgradeState::Idle;
            }
        } else {
            status.state = UpgradeState::Working;
        }
        Ok(())
    }

    /// Reads the model on a thread.
    fn load(&self, myself: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if std::mem::replace(&mut state.is_loading, true) {
            return Ok(());
        }
        let (load, myself) = (Arc::clone(&self.load), myself.clone());
        // A folder each: a cache deletes the files that are not its own.
        let folder = self.context.data_dir.join(match self.replace {
            Replace::First => "upgrades",
            Replace::Second => "upgrades/endpoint",
        });
        let bytes_max = self.config.cache_bytes_max;
        background::spawn("upgrade", move || {
            let loaded = catch_unwind(AssertUnwindSafe(|| {
                let embedder = load()?;
                let cache = Cache::open(&folder, embedder.id(), embedder.dimensions(), bytes_max);
                let cache = cache
                    .map_err(|error| format!("cannot keep vectors in `{}`: {error}", folder.display()))?;
                Ok(Box::new(Tools { embedder, cache }))
            }));
            let loaded = loaded.unwrap_or_else(|_| Err("reading the model was interrupted".to_owned()));
            // An actor that ended has no use for it.
            let _ = myself.send_message(Message::Loaded(loaded));
        })?;
        Ok(())
    }

    fn start(
        &self,
        myself: &ActorRef<Message>,
        queued: Queued,
        bundle: BundleHash,
        mut tools: Box<Tools>,
        metrics: &Arc<Metrics>,
    ) -> std::io::Result<Running> {
        let (stop, stopped) = mpsc::channel();
        let (context, status, metrics) =
            (Arc::clone(&self.context), self.status.clone(), Arc::clone(metrics));
        let (replace, cpu_percent) = (self.replace, self.config.cpu_percent);
        let (library, version) = queued.wanted.clone();
        status.lock().current = Some(UpgradeProgress { library, version, done: 0, total: 0 });
        let myself = myself.clone();
        background::spawn("upgrade", move || {
            let ended = catch_unwind(AssertUnwindSafe(move || {
                let report = reporter(&status, &metrics);
                let run = Run {
                    bundles: &context.bundles,
                    bundle,
                    replace,
                    cpu_percent,
                    activity: &context.activity,
                    stop: &stopped,
                    report: &report,
                };
                let result = run.upgrade(&mut tools);
                (tools, result)
            }));
            let (tools, result) = match ended {
                Ok((tools, result)) => (Some(tools), result.map_err(Failure::from)),
                Err(_) => (None, Err(Failure { reason: "the thread panicked".to_owned(), rest: None })),
            };
            // An actor that ended starts over when it is started again.
            let _ = myself.send_message(Message::Ended(tools, result));
        })?;
        Ok(Running { queued, bundle: bundle.to_string(), stop: Some(stop) })
    }
}

/// Shows progress, and counts what is new in it.
fn reporter(status: &Upgrades, metrics: &Metrics) -> impl Fn(Done) {
    let told = std::cell::Cell::new(Done::default());
    move |done: Done| {
        let before = told.replace(done);
        let new = |now: u32, before: u32| u64::from(now - before);
        metrics.snippets(new(done.embedded, before.embedded), new(done.remembered, before.remembered));
        let finished = done.embedded + done.remembered;
        metrics.progress(finished, done.total);
        if let Some(current) = &mut status.lock().current {
            (current.done, current.total) = (finished, done.total);
        }
    }
}
