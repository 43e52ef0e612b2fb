//! Refresh: reading a library's source again, because somebody asks, because it is time, or because a
//! webhook says that something was pushed.
//!
//! [`Refresh`] is the only way in. A refresh is an index job like any other, from the source that the
//! version came from; it ends as *unchanged* when it builds the same bundle. An actor looks now and then
//! at what is due.
//!
//! Invariant: of one version at most one refresh runs and one waits, so a call that is sent again, or
//! many pushes at once, cost one more reading at most. Calls at several nodes in the same moment start a job
//! each, of which all but the oldest are cancelled as soon as they are agreed on (`once`). What keeps two is
//! only that the oldest began just then, or that both were agreed on in one millisecond: rather a reading too
//! many than a push that nobody reads.

mod due;
mod once;
mod plan;
mod push;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{instrument, warn};
use twinmcp_cluster::{Cluster, ClusterError, ClusterKeys, WebhookKeyError};
use twinmcp_storage::clock::{Clock, Entropy, EntropyError, Timestamp};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::{JobId, LibraryId, Version};
use twinmcp_storage::jobs::{self, JOBS_MAX, Job, JobState, Revision, Source};
use twinmcp_storage::libraries;
use twinmcp_storage::refresh::{self, EVERY_MAX_S, EVERY_MIN_S, Hook, Origin, Schedule};

pub use self::secret::{HookSecret, Proof};

use self::push::Push;
use crate::accounts::Owner;
use crate::context::Context;
use crate::jobs::{JobView, Jobs, JobsError, Submission};
use crate::supervisor::Child;

/// Between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// For how long a library is passed over whose reading could not be started, as when its folder is gone: the most overdue come
/// first, so it would keep the others waiting for ever.
const PASSED_OVER_FOR: Duration = Duration::from_secs(15 * 60);

/// Why a library is not read again.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// No such library, or another account's.
    #[error("no library `{library}`")]
    NotFound {
        /// The id asked for.
        library: LibraryId,
    },
    /// No version of it is meant.
    #[error("library `{library}` has no version {what}")]
    VersionNotFound {
        /// The library.
        library: LibraryId,
        /// What was asked for.
        what: String,
    },
    /// Where it came from cannot be read again.
    #[error("version `{version}` of `{library}` came from an archive that was sent; send a newer one")]
    Uploaded {
        /// The library.
        library: LibraryId,
        /// The version.
        version: Version,
    },
    /// It was indexed before origins were kept.
    #[error("where version `{version}` of `{library}` came from is not known; index it once more")]
    NoOrigin {
        /// The library.
        library: LibraryId,
        /// The version.
        version: Version,
    },
    /// It is being read, or about to be.
    #[error("version `{version}` of `{library}` is being read by job `{job}`")]
    Open {
        /// The library.
        library: LibraryId,
        /// The version.
        version: Version,
        /// The job.
        job: JobId,
    },
    /// An interval outside its limits.
    #[error("a library is refreshed every {} hour to {} days", EVERY_MIN_S / 3_600, EVERY_MAX_S / 86_400)]
    Interval,
    /// The library has no hook, or the call does not show its secret.
    #[error("the call does not show the secret of this library's webhook")]
    NotProven,
    /// The body of a call is not what it should be.
    #[error("the body is no JSON object; choose `application/json` as the webhook's content type")]
    Body(#[source] serde_json::Error),
    /// The job could not be started.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// The change did not reach a quorum in time.
    #[error("failed to replicate the change")]
    Replicate(#[from] ClusterError),
    /// The store could not be read.
    #[error("failed to read how libraries are refreshed")]
    Storage(#[from] StorageError),
    /// No secret could be made.
    #[error("failed to make a secret")]
    Entropy(#[from] EntropyError),
    /// What secrets are made from is not here.
    #[error("the secret of the webhook cannot be known on this node right now")]
    Key(#[from] WebhookKeyError),
}

/// Which version to read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one that answers when none is named.
    Current,
    /// This one.
    Version(Version),
    /// The one that came from this branch.
    Branch(String),
}

/// What a webhook set off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Jobs that were started.
    pub started: Vec<JobId>,
    /// Jobs that wait already and will read what was pushed.
    pub waiting: Vec<JobId>,
}

/// What came of asking for a job.
#[derive(Debug)]
enum Begun {
    /// It is there, and waits.
    Started(Box<JobView>),
    /// Another one does it.
    Open(JobId),
}

/// The way to refreshing.
#[derive(Clone)]
pub struct Refresh {
    cluster: Cluster,
    jobs: Jobs,
    keys: ClusterKeys,
    entropy: Arc<dyn Entropy>,
    /// Held from the look for an open job until there is one: calls at once at this node would all find none.
    starting: Arc<tokio::sync::Mutex<()>>,
}

impl Refresh {
    pub(crate) fn child(context: &Arc<Context>, jobs: &Jobs, keys: ClusterKeys) -> (Child, Self) {
        let refresh = Self {
            cluster: context.cluster.clone(),
            jobs: jobs.clone(),
            keys,
            entropy: Arc::clone(&context.entropy),
            starting: Arc::default(),
        };
        let (clock, handle) = (Arc::clone(&context.clock), refresh.clone());
        let (child, _) = Child::new("refresh", &context.node, move || {
            (RefreshActor { refresh: handle.clone(), clock: Arc::clone(&clock), look_every: LOOK_EVERY }, ())
        });
        (child, refresh)
    }

    /// Where the versions of a library came from, by name.
    pub fn origins(&self, library: &LibraryId) -> Result<Vec<Origin>, RefreshError> {
        Ok(refresh::origins(self.cluster.reader(), library)?)
    }

    /// How often a library is read again.
    pub fn schedule(&self, library: &LibraryId) -> Result<Option<Schedule>, RefreshError> {
        Ok(refresh::schedule(self.cluster.reader(), library)?)
    }

    /// Sets how often a library is read again: every so many seconds, or never.
    pub async fn plan(
        &self,
        who: &Owner,
        library: &LibraryId,
        every_s: Option<u64>,
    ) -> Result<(), RefreshError> {
        if every_s.is_some_and(|every_s| !(EVERY_MIN_S..=EVERY_MAX_S).contains(&every_s)) {
            return Err(RefreshError::Interval);
        }
        self.change(refresh::Command::Plan { library: library.clone(), account: who.account(), every_s })
            .await
    }

    /// Starts reading a version again.
    pub async fn start(
        &self,
        who: &Owner,
        library: &LibraryId,
        which: &Which,
    ) -> Result<JobView, RefreshError> {
        let not_found = || RefreshError::NotFound { library: library.clone() };
        let known = libraries::get(self.cluster.reader(), library)?.ok_or_else(not_found)?;
        if !who.manages(self.cluster.reader(), &known.owner)? {
            return Err(not_found());
        }
        let current = known.current;
        let origin = self.origin(library, current, which)?;
        let (library, version) = (origin.library.clone(), origin.version.clone());
        match self.read_once(origin, |_| true).await? {
            Begun::Started(view) => Ok(*view),
            Begun::Open(job) => Err(RefreshError::Open { library, version, job }),
        }
    }

    /// Makes the secret of a library's webhook anew; the one before is worth nothing from then on.
    pub async fn make_hook(&self, who: &Owner, library: &LibraryId) -> Result<HookSecret, RefreshError> {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt)?;
        let (id, account) = (library.clone(), who.account());
        self.change(refresh::Command::Hook { library: id, account, salt: Some(salt) }).await?;
        let hook = refresh::hook(self.cluster.reader(), library)?;
        let hook = hook.ok_or_else(|| RefreshError::NotFound { library: library.clone() })?;
        self.secret(&hook)
    }

    fn secret(&self, hook: &Hook) -> Result<HookSecret, RefreshError> {
        // The keys of webhooks and the name of the one in force must be of one moment.
        let key = self.keys.webhook_key(&*self.cluster.view(), hook.created_at)?;
        Ok(HookSecret::of(&key, hook))
    }

    /// Takes a library's webhook away.
    pub async fn remove_hook(&self, who: &Owner, library: &LibraryId) -> Result<(), RefreshError> {
        let (library, account) = (library.clone(), who.account());
        self.change(refresh::Command::Hook { library, account, salt: None }).await
    }

    /// Takes a call of a library's webhook: reads again what the push concerns.
    #[instrument(name = "refresh.push", skip_all, fields(library_id = %library))]
    pub async fn push(
        &self,
        library: &LibraryId,
        proof: Proof<'_>,
        body: &[u8],
    ) -> Result<Pushed, RefreshError> {
        let hook = refresh::hook(self.cluster.reader(), library)?.ok_or(RefreshError::NotProven)?;
        if !proof.shows(&self.secret(&hook)?, body) {
            return Err(RefreshError::NotProven);
        }
        let push = Push::read(body).map_err(RefreshError::Body)?;
        let current = libraries::get(self.cluster.reader(), library)?.and_then(|known| known.current);
        let mut pushed = Pushed::default();
        for origin in refresh::origins(self.cluster.reader(), library)? {
            if !push.concerns(&origin, current.as_ref() == Some(&origin.version)) {
                continue;
            }
            // One that runs may have read what was there before the push.
            match self.read_once(origin, |job| job.state == JobState::Queued).await? {
                Begun::Open(job) => pushed.waiting.push(job),
                Begun::Started(view) => pushed.started.push(view.job.id),
            }
        }
        Ok(pushed)
    }

    fn origin(
        &self,
        library: &LibraryId,
        current: Option<Version>,
        which: &Which,
    ) -> Result<Origin, RefreshError> {
        let missing = |what: String| RefreshError::VersionNotFound { library: library.clone(), what };
        let reader = self.cluster.reader();
        let version = match which {
            Which::Branch(name) => {
                let is_it = |origin: &Origin| matches!(&origin.source, Source::Git { revision: Revision::Branch(branch), .. } if branch == name);
                let origin = refresh::origins(reader, library)?.into_iter().find(is_it);
                return origin.ok_or_else(|| missing(format!("from branch `{name}`")));
            }
            Which::Version(version) => version.clone(),
            Which::Current => current.ok_or_else(|| missing("that answers".to_owned()))?,
        };
        if libraries::manifest(reader, library, &version)?.is_none() {
            return Err(missing(format!("`{version}`")));
        }
        let origin = refresh::origin(reader, library, &version)?;
        origin.ok_or_else(|| RefreshError::NoOrigin { library: library.clone(), version })
    }

    /// Jobs of this version that have not ended.
    fn open(&self, origin: &Origin) -> Result<Vec<Job>, RefreshError> {
        let mut jobs = jobs::list(self.cluster.reader(), None, JOBS_MAX)?;
        jobs.retain(|job| {
            !job.state.is_ended() && job.library == origin.library && job.version == origin.version
        });
        Ok(jobs)
    }

    /// Starts a job that reads `origin` again, unless one of its version is open that `does_it`.
    async fn read_once(&self, origin: Origin, does_it: fn(&Job) -> bool) -> Result<Begun, RefreshError> {
        let _starting = self.starting.lock().await;
        match self.open(&origin)?.into_iter().rfind(does_it) {
            Some(job) => Ok(Begun::Open(job.id)),
            None => self.read_again(origin).await,
        }
    }

    /// Starts a job that reads `origin` again; one that another node started in the same moment may stay in its place.
    async fn read_again(&self, origin: Origin) -> Result<Begun, RefreshError> {
        let Origin { library, version, account, source, base_url, .. } = origin;
        if matches!(source, Source::Upload { .. }) {
            return Err(RefreshError::Uploaded { library, version });
        }
        // Whoever it belongs to now: it may have been given away since.
        let known = libraries::get(self.cluster.reader(), &library)?;
        let account = known.map_or(account, |known| known.owner);
        let view = self.jobs.submit(Submission { account, library, version, source, base_url }).await?;
        let jobs = jobs::list(self.cluster.reader(), None, JOBS_MAX)?;
        let Some(older) = once::in_place_of(&view.job, &jobs) else {
            return Ok(Begun::Started(Box::new(view)));
        };
        match self.jobs.cancel(&Owner::Operator, &view.job.id).await {
            Ok(_) | Err(JobsError::Ended { .. }) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(job_id = %view.job.id, error, "a version is read once more than it has to be");
            }
        }
        Ok(Begun::Open(older.id.clone()))
    }

    async fn change(&self, command: refresh::Command) -> Result<(), RefreshError> {
        let (refresh::Command::Plan { library, .. } | refresh::Command::Hook { library, .. }) = &command;
        let library = library.clone();
        match self.cluster.propose(Command::Refresh(command)).await?.outcome {
            Outcome::Done => Ok(()),
            _ => Err(RefreshError::NotFound { library }),
        }
    }
}

enum Message {
    Look,
}

struct RefreshActor {
    refresh: Refresh,
    clock: Arc<dyn Clock>,
    look_every: Duration,
}

impl Actor for RefreshActor {
    type Msg = Message;
    /// Libraries whose reading could not be started here, and until when they are passed over.
    type State = HashMap<LibraryId, Timestamp>;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        myself.send_after(self.look_every, || Message::Look);
        Ok(HashMap::new())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        Message::Look: Message,
        passed_over: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.clock.now();
        passed_over.retain(|_, until| *until > now);
        // Left to other nodes while this one is drained.
        let due = match self.refresh.jobs.admit() {
            Ok(()) => {
                let is_asked = |library: &LibraryId| !passed_over.contains_key(library);
                plan::due_now(self.refresh.cluster.reader(), now, is_asked)?
            }
            Err(_) => Vec::new(),
        };
        for origin in due {
            let library = origin.library.clone();
            if let Err(error) = self.refresh.read_once(origin, |_| true).await {
                let again_s = PASSED_OVER_FOR.as_secs();
                warn!(library_id = %library, error = &error as &dyn std::error::Error, again_s, "a refresh was not started");
                passed_over.insert(library, now.plus_millis(again_s * 1_000));
            }
        }
        myself.send_after(self.look_every, || Message::Look);
        Ok(())
    }
}

/// Reads a webhook's call: see [`crate::fuzzing::webhook`].
#[cfg(fuzzing)]
pub(crate) fn fuzz_webhook(header: &str, body: &[u8]) {
    let created_at = twinmcp_storage::clock::Timestamp::from_millis(1);
    let Ok(library) = "/acme/widget".parse() else { return };
    let hook = refresh::Hook { library, salt: [7; 16], created_at };
    let secret = HookSecret::of(&[7; 32], &hook);
    for proof in [Proof::Signature(header), Proof::Token(header)] {
        assert!(!proof.shows(&secret, body), "a stranger is believed");
    }
    let _ = Push::read(body);
}
