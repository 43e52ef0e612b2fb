//! Index jobs: documentation in, a library version out.
//!
//! [`Jobs`] is the only way in. A job is a record that every node agrees on; the dispatcher gives each
//! an actor of its own, so many at a time, and starts another attempt when one dies. Where a job is
//! between its beginning and its end ([`Progress`]) is soft state of this node.
//!
//! Invariant: a version that is being built is seen by nobody; publishing it is one command.

mod job;
mod progress;
mod uploads;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::metrics::Gauge;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{instrument, warn};
use twinmcp_cluster::{Cluster, ClusterError};
use twinmcp_storage::clock::EntropyError;
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::{AccountId, JobId, LibraryId, Version};
use twinmcp_storage::jobs::{self, ATTEMPTS_MAX, BASE_URL_BYTES_MAX, JOBS_MAX, Job, OPEN_JOBS_MAX, Source};
use twinmcp_storage::libraries;

pub use progress::{JobView, Progress, Stage};
pub(crate) use progress::{Board, PROBLEMS_MAX};
pub use uploads::{Upload, UploadError, UploadWriter, Uploads};

use crate::accounts::Owner;
use crate::context::Context;
use crate::ingest::IngestLimits;
use crate::slot::{REPLY_DEADLINE, Slot, Unanswered, answer};
use crate::supervisor::Child;

/// How index jobs run.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// Jobs that run at the same time.
    pub workers: usize,
    /// Folders of this node that a job may read, with all that lies in them.
    pub folders: Vec<PathBuf>,
    /// Largest archive taken, in bytes.
    pub upload_bytes_max: u64,
    /// Limits of what one source may hold.
    pub limits: IngestLimits,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            workers: 1,
            folders: Vec::new(),
            upload_bytes_max: 1024 * 1024 * 1024,
            limits: IngestLimits::default(),
        }
    }
}

/// What to index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Who asks for it, and will own the library if it is new.
    pub account: AccountId,
    /// The library.
    pub library: LibraryId,
    /// The version.
    pub version: Version,
    /// Where the documentation is.
    pub source: Source,
    /// Where its pages are published, e.g. `https://docs.python.org/3.11/`: snippets link there.
    pub base_url: Option<String>,
}

/// Why a job could not be started, read or cancelled.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// No such job, or another account's.
    #[error("no job `{id}`")]
    NotFound {
        /// The id asked for.
        id: JobId,
    },
    /// Nothing is left to cancel.
    #[error("job `{id}` has ended")]
    Ended {
        /// The job.
        id: JobId,
    },
    /// Too many jobs wait.
    #[error("{OPEN_JOBS_MAX} jobs are waiting; try again when some have ended")]
    LimitReached,
    /// Not a web address, or too long.
    #[error("`base_url` is an http or https URL of at most {BASE_URL_BYTES_MAX} bytes")]
    BaseUrl,
    /// The upload is not on this node, or another account's.
    #[error("no upload `{hash}`; send the archive first")]
    UploadNotFound {
        /// The hash asked for.
        hash: String,
    },
    /// The folder is not one that jobs may read.
    #[error("folder `{path}` may not be read by jobs; send an archive, or add it to `ingest.folders`")]
    FolderNotAllowed {
        /// The folder asked for.
        path: String,
    },
    /// The library belongs to somebody else.
    #[error("library `{library}` belongs to another account; choose another id")]
    OtherOwner {
        /// The library.
        library: LibraryId,
    },
    /// The actor gave no answer.
    #[error("jobs are busy")]
    Busy(#[from] Unanswered),
    /// The change did not reach a quorum in time.
    #[error("failed to replicate the change")]
    Replicate(#[from] ClusterError),
    /// The store could not be read.
    #[error("failed to read jobs")]
    Storage(#[from] StorageError),
    /// No id could be made.
    #[error("failed to make an id")]
    Entropy(#[from] EntropyError),
}

/// The way to jobs.
#[derive(Clone)]
pub struct Jobs {
    slot: Slot<Message>,
    cluster: Cluster,
    board: Board,
    uploads: Uploads,
    folders: Arc<[PathBuf]>,
}

impl Jobs {
    pub(crate) fn child(context: &Arc<Context>, config: &JobsConfig) -> (Child, Self) {
        let board = Board::default();
        let uploads = Uploads::new(
            context.data_dir.join("uploads"),
            config.upload_bytes_max,
            Arc::clone(&context.clock),
            Arc::clone(&context.entropy),
        );
        let (for_actor, for_board, for_uploads) = (Arc::clone(context), board.clone(), uploads.clone());
        let (workers, limits) = (config.workers.max(1), config.limits.clone());
        let (child, slot) = Child::new("jobs", &context.node, move || {
            let dispatcher = Dispatcher {
                context: Arc::clone(&for_actor),
                board: for_board.clone(),
                uploads: for_uploads.clone(),
                workers,
                limits: limits.clone(),
            };
            (dispatcher, ())
        });
        // A folder that does not exist allows nothing.
        let folders = config.folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        (child, Self { slot, cluster: context.cluster.clone(), board, uploads, folders })
    }

    /// The way to uploads.
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Starts a job; answered once a quorum knows of it.
    pub async fn submit(&self, submission: Submission) -> Result<JobView, JobsError> {
        let submission = self.checked(submission)?;
        self.slot.call(REPLY_DEADLINE, |reply| Message::Submit { submission, reply }).await?
    }

    fn checked(&self, submission: Submission) -> Result<Submission, JobsError> {
        let Submission { account, library, version, source, base_url } = submission;
        if base_url.as_ref().is_some_and(|url| !is_web_address(url)) {
            return Err(JobsError::BaseUrl);
        }
        let known = libraries::get(self.cluster.reader(), &library)?;
        if known.is_some_and(|known| known.owner != account) {
            return Err(JobsError::OtherOwner { library });
        }
        let source = match source {
            Source::Upload { hash, .. } if self.uploads.path(&account, &hash).is_none() => {
                return Err(JobsError::UploadNotFound { hash });
            }
            Source::Upload { .. } => source,
            Source::Folder { path } => Source::Folder { path: self.allowed_folder(path)? },
        };
        Ok(Submission { account, library, version, source, base_url })
    }

    /// The folder without links and `..`, if it lies in one that jobs may read.
    fn allowed_folder(&self, path: String) -> Result<String, JobsError> {
        let real = Path::new(&path).canonicalize().ok().filter(|real| real.is_dir());
        let allowed = real.filter(|real| self.folders.iter().any(|folder| real.starts_with(folder)));
        let text = allowed.and_then(|real| real.into_os_string().into_string().ok());
        text.ok_or(JobsError::FolderNotAllowed { path })
    }

    /// One job.
    pub fn get(&self, who: &Owner, id: &JobId) -> Result<JobView, JobsError> {
        let job = jobs::get(self.cluster.reader(), id)?;
        let job = job.filter(|job| who.may_see(&job.account));
        job.map(|job| self.view(job)).ok_or_else(|| JobsError::NotFound { id: id.clone() })
    }

    /// Up to `limit` jobs older than the job `before`, the newest first.
    pub fn list(&self, who: &Owner, before: Option<&JobId>, limit: usize) -> Result<Vec<JobView>, JobsError> {
        let jobs = jobs::list(self.cluster.reader(), None, JOBS_MAX)?;
        let seen = jobs.into_iter().rev().filter(|job| who.may_see(&job.account));
        let older = seen.filter(|job| before.is_none_or(|before| job.id < *before));
        Ok(older.take(limit).map(|job| self.view(job)).collect())
    }

    fn view(&self, job: Job) -> JobView {
        let progress = self.board.get(&job.id).map(|view| view.progress);
        let view = JobView::of(job);
        JobView { progress: progress.unwrap_or(view.progress), job: view.job }
    }

    /// Ends an open job; what it built is thrown away.
    pub async fn cancel(&self, who: &Owner, id: &JobId) -> Result<JobView, JobsError> {
        let (account, job) = (who.account(), id.clone());
        self.slot.call(REPLY_DEADLINE, |reply| Message::Cancel { account, id: job, reply }).await??;
        self.get(who, id)
    }

    /// An open job of this library, if there is one.
    pub(crate) fn open_job_for(&self, library: &LibraryId) -> Option<JobId> {
        self.board.open_job_for(library)
    }

    /// Follows a job: the receiver holds its newest view, the last one with an ended job.
    pub fn watch(&self, who: &Owner, id: &JobId) -> Result<watch::Receiver<JobView>, JobsError> {
        let view = self.get(who, id)?;
        Ok(self.board.watch(id).unwrap_or_else(|| watch::channel(view).1))
    }
}

fn is_web_address(url: &str) -> bool {
    let scheme = url.starts_with("https://") || url.starts_with("http://");
    scheme && url.len() <= BASE_URL_BYTES_MAX && !url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ')
}

enum Message {
    Submit { submission: Submission, reply: RpcReplyPort<Result<JobView, JobsError>> },
    Cancel { account: Option<AccountId>, id: JobId, reply: RpcReplyPort<Result<(), JobsError>> },
    /// The pause before another attempt is over.
    TryAgain(JobId),
    /// Time to clean up.
    Sweep,
}

/// Gives each job an actor, [`Self::workers`] at a time.
struct Dispatcher {
    context: Arc<Context>,
    board: Board,
    uploads: Uploads,
    workers: usize,
    limits: IngestLimits,
}

struct State {
    waiting: VecDeque<JobId>,
    running: HashMap<ActorId, Attempt>,
    queue_depth: Gauge<u64>,
}

struct Attempt {
    job: JobId,
    cancel: CancellationToken,
}

/// Jobs whose last view is kept for those who come late.
const ENDED_VIEWS_MAX: usize = 200;
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl Actor for Dispatcher {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    /// Jobs that were open when the node, or the dispatcher before this one, ended go on.
    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        let queue_depth = global::meter("twinmcp")
            .u64_gauge("twinmcp.ingest.queue.depth")
            .with_description("Index jobs that wait for a worker.")
            .build();
        let mut waiting = VecDeque::new();
        for job in jobs::list(self.context.cluster.reader(), None, JOBS_MAX)? {
            if !job.state.is_ended() {
                waiting.push_back(job.id.clone());
                self.board.show(job);
            }
        }
        myself.send_message(Message::Sweep)?;
        Ok(State { waiting, running: HashMap::new(), queue_depth })
    }

    async fn post_start(&self, myself: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        self.fill(&myself, state).await
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Submit { submission, reply } => answer(reply, self.submit(submission, state).await),
            Message::Cancel { account, id, reply } => answer(reply, self.cancel(account, id, state).await),
            Message::TryAgain(id) => state.waiting.push_back(id),
            Message::Sweep => {
                self.sweep()?;
                myself.send_after(SWEEP_EVERY, || Message::Sweep);
            }
        }
        self.fill(&myself, state).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let cause = match &event {
            SupervisionEvent::ActorFailed(_, cause) => cause.to_string(),
            SupervisionEvent::ActorTerminated(_, _, reason) => reason.clone().unwrap_or_default(),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        let id = event.actor_cell().map(|cell| cell.get_id());
        if let Some(attempt) = id.and_then(|id| state.running.remove(&id)) {
            self.attempt_ended(&myself, &attempt.job, &cause).await?;
        }
        self.fill(&myself, state).await
    }
}

impl Dispatcher {
    #[instrument(name = "jobs.submit", skip_all, fields(library_id = %submission.library))]
    async fn submit(&self, submission: Submission, state: &mut State) -> Result<JobView, JobsError> {
        let context = &self.context;
        let id = JobId::random(context.clock.now(), &*context.entropy)?;
        let Submission { account, library, version, source, base_url } = submission;
        let command = jobs::Command::Submit { id: id.clone(), account, library, version, source, base_url };
        if context.cluster.propose(Command::Jobs(command)).await?.outcome == Outcome::LimitReached {
            return Err(JobsError::LimitReached);
        }
        self.board.refresh(context, &id)?;
        state.waiting.push_back(id.clone());
        self.board.get(&id).ok_or(JobsError::NotFound { id })
    }

    #[instrument(name = "jobs.cancel", skip_all, fields(job_id = %id))]
    async fn cancel(
        &self,
        account: Option<AccountId>,
        id: JobId,
        state: &mut State,
    ) -> Result<(), JobsError> {
        let command = jobs::Command::Cancel { id: id.clone(), account };
        match self.context.cluster.propose(Command::Jobs(command)).await?.outcome {
            Outcome::Done => {}
            Outcome::Stale => return Err(JobsError::Ended { id }),
            _ => return Err(JobsError::NotFound { id }),
        }
        state.waiting.retain(|waiting| *waiting != id);
        for attempt in state.running.values().filter(|attempt| attempt.job == id) {
            attempt.cancel.cancel();
        }
        self.board.refresh(&self.context, &id)?;
        Ok(())
    }

    /// Starts waiting jobs until all workers are busy.
    async fn fill(&self, myself: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        while state.running.len() < self.workers {
            let Some(id) = state.waiting.pop_front() else { break };
            let Some(job) = jobs::get(self.context.cluster.reader(), &id)? else { continue };
            if job.state.is_ended() {
                continue;
            }
            let Some(material) = job::material(&self.uploads, &job) else {
                self.give_up(&job, "the uploaded archive is not on this node any more; send it again").await?;
                continue;
            };
            let cancel = CancellationToken::new();
            let arguments = job::Arguments {
                context: Arc::clone(&self.context),
                board: self.board.clone(),
                limits: self.limits.clone(),
                job,
                material,
                cancel: cancel.clone(),
            };
            let (actor, _) = Actor::spawn_linked(None, job::JobActor, arguments, myself.get_cell()).await?;
            state.running.insert(actor.get_id(), Attempt { job: id, cancel });
        }
        state.queue_depth.record(state.waiting.len() as u64, &[]);
        Ok(())
    }

    /// Another attempt for a job whose actor went away without ending it.
    async fn attempt_ended(
        &self,
        myself: &ActorRef<Message>,
        id: &JobId,
        cause: &str,
    ) -> Result<(), ActorProcessingErr> {
        self.board.refresh(&self.context, id)?;
        let Some(job) = jobs::get(self.context.cluster.reader(), id)? else { return Ok(()) };
        if job.state.is_ended() {
            self.clean_after(&job)?;
            return Ok(());
        }
        warn!(job_id = %id, attempt = job.attempt, cause, "attempt ended before its job");
        if job.attempt >= ATTEMPTS_MAX {
            let message = format!("gave up after {} attempts; the last one ended with: {cause}", job.attempt);
            return self.give_up(&job, &message).await;
        }
        let (id, pause) = (id.clone(), RETRY_PAUSE.saturating_mul(1 << job.attempt.min(5)));
        myself.send_after(pause, move || Message::TryAgain(id));
        Ok(())
    }

    async fn give_up(&self, job: &Job, message: &str) -> Result<(), ActorProcessingErr> {
        let cluster = &self.context.cluster;
        // Only a running attempt can fail: one that never ran is begun for the purpose.
        let attempt = if job.state == jobs::JobState::Running { job.attempt } else { job.attempt + 1 };
        if attempt != job.attempt {
            let start = jobs::Command::Start { id: job.id.clone(), attempt };
            cluster.propose(Command::Jobs(start)).await?;
        }
        let fail = jobs::Command::Fail { id: job.id.clone(), attempt, message: message.to_owned() };
        cluster.propose(Command::Jobs(fail)).await?;
        self.board.refresh(&self.context, &job.id)?;
        self.clean_after(job)?;
        Ok(())
    }

    /// Deletes the upload of a job that ended, unless another open job needs it.
    fn clean_after(&self, job: &Job) -> Result<(), StorageError> {
        if let Source::Upload { hash, .. } = &job.source
            && !self.is_needed(hash)?
        {
            self.uploads.remove(&job.account, hash);
        }
        self.forget_old_views()
    }

    fn is_needed(&self, wanted: &str) -> Result<bool, StorageError> {
        let jobs = jobs::list(self.context.cluster.reader(), None, JOBS_MAX)?;
        Ok(jobs.iter().any(|job| {
            !job.state.is_ended() && matches!(&job.source, Source::Upload { hash, .. } if hash == wanted)
        }))
    }

    fn forget_old_views(&self) -> Result<(), StorageError> {
        let jobs = jobs::list(self.context.cluster.reader(), None, JOBS_MAX)?;
        for job in jobs.iter().rev().filter(|job| job.state.is_ended()).skip(ENDED_VIEWS_MAX) {
            self.board.forget(&job.id);
        }
        Ok(())
    }

    fn sweep(&self) -> Result<(), StorageError> {
        let jobs = jobs::list(self.context.cluster.reader(), None, JOBS_MAX)?;
        let open = jobs.iter().filter(|job| !job.state.is_ended());
        let needed: Vec<_> = open
            .filter_map(|job| match &job.source {
                Source::Upload { hash, .. } => Some(hash.clone()),
                Source::Folder { .. } => None,
            })
            .collect();
        self.uploads.sweep(|hash| needed.iter().any(|needed| needed == hash));
        Ok(())
    }
}

impl Board {
    /// Shows a job as it now stands in the store.
    fn refresh(&self, context: &Context, id: &JobId) -> Result<(), StorageError> {
        if let Some(job) = jobs::get(context.cluster.reader(), id)? {
            self.show(job);
        }
        Ok(())
    }

    /// Shows that a job has come to `stage`.
    fn stage(&self, id: &JobId, stage: Stage) {
        if let Some(view) = self.get(id) {
            self.progress(id, Progress { stage, ..view.progress });
        }
    }
}
