//! How far a job is: soft state that lives with the job's actor and is watched by whoever asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use twinmcp_storage::ids::{JobId, LibraryId};
use twinmcp_storage::jobs::Job;

/// Problems of single pages that are kept for the person who started the job.
pub(crate) const PROBLEMS_MAX: usize = 20;

/// What a job is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a worker.
    #[default]
    Queued,
    /// It opens its source.
    Fetch,
    /// It reads pages, cuts them into snippets and embeds these.
    Index,
    /// It writes the bundle.
    Build,
    /// It puts the version in force.
    Publish,
    /// It ended, one way or the other.
    Ended,
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Pages read so far.
    pub pages: u64,
    /// Pages in all, once known.
    pub pages_total: Option<u64>,
    /// Snippets cut so far.
    pub snippets: u64,
    /// Files that are no documentation, or not wanted.
    pub skipped: u64,
    /// Pages that could not be read.
    pub failed: u64,
    /// Pages read a second, since the job began.
    pub pages_per_second: f64,
    /// Seconds until all pages are read, at this rate.
    pub seconds_left: Option<f64>,
    /// The first pages that could not be read, and why, and behind them the lists of pages; at most 20.
    pub problems: Vec<String>,
    /// Why files were left out, could not be read, or were not taken as they are: how many for each reason, from a closed
    /// list. What the source itself left out is added once its last page was read.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Snippets that the scan for text aimed at models labelled, by label.
    pub labelled: BTreeMap<&'static str, u64>,
}

/// A job and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// The job, as it is agreed.
    pub job: Job,
    /// The node that works on it, or did last.
    pub node: Option<u64>,
    /// How far it is, as this node sees it.
    pub progress: Progress,
}

impl JobView {
    /// A job of which nothing more is known than its record.
    pub(crate) fn of(job: Job, node: Option<u64>) -> Self {
        let stage = if job.state.is_ended() { Stage::Ended } else { Stage::Queued };
        Self { job, node, progress: Progress { stage, ..Progress::default() } }
    }
}

/// The views of all jobs this node has heard of lately; a job that ended keeps its last one until
/// [`Board::forget`].
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<HashMap<JobId, watch::Sender<JobView>>>>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<JobView>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows `job`, which `node` works on, with what is known of its progress.
    pub(crate) fn show(&self, job: Job, node: Option<u64>) {
        self.lock()
            .entry(job.id.clone())
            .and_modify(|view| {
                view.send_modify(|view| {
                    if job.state.is_ended() {
                        view.progress.stage = Stage::Ended;
                        view.progress.seconds_left = None;
                    }
                    view.job = job.clone();
                    view.node = node;
                });
            })
            .or_insert_with(|| watch::Sender::new(JobView::of(job, node)));
    }

    /// Shows how far a job is.
    pub(crate) fn progress(&self, id: &JobId, progress: Progress) {
        if let Some(view) = self.lock().get(id) {
            view.send_modify(|view| view.progress = progress);
        }
    }

    /// What is known of a job.
    pub(crate) fn get(&self, id: &JobId) -> Option<JobView> {
        self.lock().get(id).map(|view| view.borrow().clone())
    }

    /// An open job of this library, if there is one.
    pub(crate) fn open_job_for(&self, library: &LibraryId) -> Option<JobId> {
        let views = self.lock();
        let mut open = views.values().map(|view| view.borrow()).filter(|view| !view.job.state.is_ended());
        open.find(|view| view.job.library == *library).map(|view| view.job.id.clone())
    }

    /// Every job of this library that is not forgotten.
    pub(crate) fn of_library(&self, library: &LibraryId) -> Vec<JobView> {
        let views = self.lock();
        let of_library = views.values().map(|view| view.borrow()).filter(|view| view.job.library == *library);
        of_library.map(|view| view.clone()).collect()
    }

    /// Follows a job; the channel closes once the job is forgotten.
    pub(crate) fn watch(&self, id: &JobId) -> Option<watch::Receiver<JobView>> {
        self.lock().get(id).map(watch::Sender::subscribe)
    }

    /// Follows an open job that may not have been shown yet; what is shown of it later reaches the follower.
    pub(crate) fn watch_open(&self, view: JobView) -> watch::Receiver<JobView> {
        self.lock().entry(view.job.id.clone()).or_insert_with(|| watch::Sender::new(view)).subscribe()
    }

    /// The jobs that are open, as far as they were shown.
    pub(crate) fn open(&self) -> Vec<JobId> {
        let views = self.lock();
        let open = views.values().map(|view| view.borrow()).filter(|view| !view.job.state.is_ended());
        open.map(|view| view.job.id.clone()).collect()
    }

    /// Drops the view of a job whose record is gone, as that of an old one is: whoever follows it learns that there is no more.
    pub(crate) fn gone(&self, id: &JobId) {
        self.lock().remove(id);
    }

    /// Drops the view of a job that ended; its record stays in the store. One whose end was not shown yet stays: whoever
    /// follows it waits for that.
    pub(crate) fn forget(&self, id: &JobId) {
        let mut views = self.lock();
        if views.get(id).is_some_and(|view| view.borrow().job.state.is_ended()) {
            views.remove(id);
        }
    }
}
