//! Index jobs: documentation in, a library version out.
//!
//! [`Jobs`] is the only way in. A job is a record that every node agrees on; the dispatcher gives each
//! an actor of its own, so many at a time, and starts another attempt when one dies. Where a job is
//! between its beginning and its end ([`Progress`]) is soft state of this node.
//!
//! Invariant: a version that is being built is seen by nobody; publishing it is one command.

mod copies;
mod dispatcher;
mod draining;
mod job;
mod lost;
mod progress;
mod uploads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use twinmcp_cluster::{Cluster, ClusterError, KeepUpload, NodeId, UploadKept};
use twinmcp_storage::clock::EntropyError;
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::{AccountId, JobId, LibraryId, Version};
use twinmcp_storage::jobs::{self, BASE_URL_BYTES_MAX, JOBS_MAX, Job, OPEN_JOBS_MAX, Source};
use twinmcp_storage::libraries;
use twinmcp_storage::teams::TEAMS_EACH_MAX;

pub(crate) use progress::{Board, PROBLEMS_MAX};
pub use progress::{JobView, Progress, Stage};
pub use uploads::{Upload, UploadError, UploadWriter, Uploads};

use crate::accounts::Owner;
use crate::context::Context;
use crate::ingest::IngestLimits;
use crate::ingest::fetch::{FetchConfig, FetchError, Fetcher};
use crate::ingest::source::ARCHIVE_BYTES_MAX;
use crate::slot::{REPLY_DEADLINE, Slot, Unanswered};
use crate::supervisor::Child;
use copies::Copies;
use dispatcher::{Dispatcher, Message};
use draining::Draining;

/// Jobs of one account that may wait or run at once, a team's by itself; accounts that may operate have no such limit. So few
/// that a person fills with all the teams they may be in less than the [`OPEN_JOBS_MAX`] places of the cluster, and enough for
/// whoever lets each job end before the next, as `twinmcp index` does.
///
/// The node that takes a job looks at what is agreed on and proposes then, one job after the other: at one node it is never
/// passed. Jobs sent to several nodes in the same moment may pass it, by one for each of these nodes.
pub const OPEN_JOBS_EACH_MAX: usize = 90;
const _: () = assert!(OPEN_JOBS_EACH_MAX * (1 + TEAMS_EACH_MAX) < OPEN_JOBS_MAX);
/// How long an archive that was sent may take to another node before the sender is answered all the same.
const COPY_PATIENCE: Duration = Duration::from_mins(2);
/// As long again when a job is made of it, which is answered sooner.
const COPY_AGAIN_PATIENCE: Duration = Duration::from_secs(10);

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
    /// Limits of what is fetched.
    pub fetch: FetchConfig,
    /// How long a node's jobs are its own without a word of it.
    pub lease: Duration,
    /// How long a job waits for nodes that alone may have its archive or folder before it fails.
    pub lost_after: Duration,
    /// How long running jobs may go on when the node is drained; then those that another node can take are stopped.
    pub finish: Duration,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            workers: 1,
            folders: Vec::new(),
            upload_bytes_max: ARCHIVE_BYTES_MAX,
            limits: IngestLimits::default(),
            fetch: FetchConfig::default(),
            lease: Duration::from_secs(30),
            lost_after: Duration::from_hours(1),
            finish: Duration::from_secs(10),
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
    /// The account has enough that wait or run.
    #[error(
        "{OPEN_JOBS_EACH_MAX} jobs of this account wait or run, as many as it may have; try again when some have ended, or cancel some"
    )]
    AccountLimitReached,
    /// An operator drained the node.
    #[error("this node is drained and takes no jobs; nothing was started, ask another node")]
    Draining,
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
    /// A URL that nothing is fetched from.
    #[error(transparent)]
    Fetch(#[from] FetchError),
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
    copies: Copies,
    fetcher: Arc<Fetcher>,
    folders: Arc<[PathBuf]>,
    draining: Draining,
    finish: Duration,
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
        let fetcher = Arc::new(Fetcher::new(
            &config.fetch,
            context.outbound.clone(),
            &context.data_dir,
            Arc::clone(&context.clock),
            Arc::clone(&context.entropy),
        ));
        let (for_actor, for_board, for_uploads) = (Arc::clone(context), board.clone(), uploads.clone());
        let copies = Copies::new(context.cluster.clone(), uploads.clone());
        let (for_fetcher, for_copies) = (Arc::clone(&fetcher), copies.clone());
        let (workers, limits) = (config.workers.max(1), config.limits.clone());
        let (lease, lost_after) = (config.lease, config.lost_after);
        let draining = Draining::default();
        let for_dispatcher = draining.clone();
        let (child, slot) = Child::new("jobs", &context.node, move || {
            let dispatcher = Dispatcher {
                context: Arc::clone(&for_actor),
                board: for_board.clone(),
                uploads: for_uploads.clone(),
                copies: for_copies.clone(),
                fetcher: Arc::clone(&for_fetcher),
                workers,
                limits: limits.clone(),
                lease,
                lost_after,
                draining: for_dispatcher.clone(),
            };
            (dispatcher, ())
        });
        // A folder that does not exist allows nothing.
        let folders = config.folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
        let (cluster, finish) = (context.cluster.clone(), config.finish);
        (child, Self { slot, cluster, board, uploads, copies, fetcher, folders, draining, finish })
    }

    /// The way to uploads.
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Lets another node have a copy of an archive that was sent to this one, so that a job of it goes on when this node
    /// is gone. Returns when one has, and also when none took it: the job's node tries again while the job is open.
    pub async fn secure(&self, account: &AccountId, upload: &Upload) {
        self.copy(account, &upload.hash, COPY_PATIENCE).await;
    }

    async fn copy(&self, account: &AccountId, hash: &str, patience: Duration) {
        if !self.copies.ensure(account, hash, patience).await {
            tracing::warn!(hash, "no other node took a copy of an archive: it lies on this node only");
        }
    }

    /// Where an account's archive lies, for a peer that is to keep it too.
    pub fn upload_path(&self, account: &str, hash: &str) -> Option<PathBuf> {
        self.uploads.path(&account.parse().ok()?, hash)
    }

    /// Answers a peer whether an archive is here, and fetches it from there where that is wanted.
    pub fn keep_upload(&self, from: NodeId, question: KeepUpload) -> UploadKept {
        self.copies.keep(from, question)
    }

    /// Starts a job; answered once a quorum knows of it and, where there are other nodes, one of them has its archive.
    pub async fn submit(&self, submission: Submission) -> Result<JobView, JobsError> {
        self.admit()?;
        let submission = self.checked(submission)?;
        if let Source::Upload { hash, .. } = &submission.source {
            self.copy(&submission.account, hash, COPY_AGAIN_PATIENCE).await;
        }
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
            Source::Web { .. } | Source::Git { .. } => {
                self.fetcher.check(&source)?;
                source
            }
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
        let (job, sight) = (jobs::get(self.cluster.reader(), id)?, who.sight(self.cluster.reader())?);
        let job = job.filter(|job| sight.sees(&job.account));
        job.map(|job| self.view(job)).ok_or_else(|| JobsError::NotFound { id: id.clone() })
    }

    /// Up to `limit` jobs older than the job `before`, the newest first.
    pub fn list(&self, who: &Owner, before: Option<&JobId>, limit: usize) -> Result<Vec<JobView>, JobsError> {
        let jobs = jobs::list(self.cluster.reader(), None, JOBS_MAX)?;
        let sight = who.sight(self.cluster.reader())?;
        let seen = jobs.into_iter().rev().filter(|job| sight.sees(&job.account));
        let older = seen.filter(|job| before.is_none_or(|before| job.id < *before));
        Ok(older.take(limit).map(|job| self.view(job)).collect())
    }

    /// The jobs of one library that are open or ended lately, the newest first: what its readers may know.
    pub fn of_library(&self, library: &LibraryId) -> Vec<JobView> {
        let mut views = self.board.of_library(library);
        views.sort_by(|one, other| other.job.id.cmp(&one.job.id));
        views
    }

    /// Where the documentation that a job read came from; `None` when the job is forgotten.
    pub fn source(&self, id: &JobId) -> Result<Option<Source>, JobsError> {
        Ok(jobs::get(self.cluster.reader(), id)?.map(|job| job.source))
    }

    fn view(&self, job: Job) -> JobView {
        let progress = self.board.get(&job.id).map(|view| view.progress);
        // Only for whoever looks: a store that cannot be read says so elsewhere.
        let node = jobs::worker(self.cluster.reader(), &job.id).unwrap_or_default();
        let view = JobView::of(job, node);
        JobView { progress: progress.unwrap_or(view.progress), ..view }
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

    /// Whether a job of this library waits or runs.
    pub fn is_open(&self, library: &LibraryId) -> bool {
        self.open_job_for(library).is_some()
    }

    /// Follows a job: the receiver holds its newest view, the last one with an ended job.
    pub fn watch(&self, who: &Owner, id: &JobId) -> Result<watch::Receiver<JobView>, JobsError> {
        let view = self.get(who, id)?;
        if let Some(receiver) = self.board.watch(id) {
            return Ok(receiver);
        }
        if view.job.state.is_ended() {
            return Ok(watch::channel(view).1);
        }
        // It was agreed on, and the dispatcher has not heard of it yet.
        let receiver = self.board.watch_open(view);
        let now = self.get(who, id)?;
        // Its end may have been shown, and forgotten, before it was followed.
        if now.job.state.is_ended() {
            self.board.show(now.job, now.node);
        }
        Ok(receiver)
    }
}

fn is_web_address(url: &str) -> bool {
    let scheme = url.starts_with("https://") || url.starts_with("http://");
    scheme
        && url.len() <= BASE_URL_BYTES_MAX
        && !url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ')
}
