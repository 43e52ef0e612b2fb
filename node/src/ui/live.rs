//! The jobs of a library as they go on: lines of its page, and a stream of events that brings them anew.

use std::time::Duration;

use askama::Template;
use futures_util::StreamExt;
use poem::http::StatusCode;
use poem::web::sse::{Event, SSE};
use poem::{IntoResponse, Response};
use twinmcp_actors::jobs::{JobView, Stage};
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::jobs::JobState;

use super::card::counted;
use super::{Pages, protect};
use crate::api::ApiError;

/// Jobs shown; of those that ended only the newest.
const JOBS_MAX: usize = 5;
/// Between two looks at the jobs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A connection that shows nothing new for so long gets a comment, so that proxies keep it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One job, as everybody may see it: not who started it, from where, or why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobLine {
    pub(super) version: String,
    pub(super) state: &'static str,
    pub(super) words: String,
    /// Pages done and in all, while that is known.
    pub(super) progress: Option<(u64, u64)>,
    pub(super) is_open: bool,
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct Fragment<'a> {
    jobs: &'a [JobLine],
}

/// The library's jobs, the newest first.
pub(super) fn lines(pages: &Pages, library: &LibraryId) -> Vec<JobLine> {
    pages.jobs.of_library(library).iter().take(JOBS_MAX).map(JobLine::from).collect()
}

impl From<&JobView> for JobLine {
    fn from(JobView { job, progress, .. }: &JobView) -> Self {
        let state = match job.state {
            JobState::Queued => "waiting",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed { .. } => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Unchanged => "unchanged",
        };
        let read = format!("{}, {}", counted(progress.pages, "page"), counted(progress.snippets, "snippet"));
        let words = match (&job.state, progress.stage) {
            (JobState::Failed { .. }, _) => "Whoever started it sees why at its job.".to_owned(),
            (JobState::Queued, _) => "Waits for a worker.".to_owned(),
            (JobState::Running, Stage::Fetch) => "Reads its source.".to_owned(),
            (JobState::Running, Stage::Build | Stage::Publish) => format!("{read}; writes the index."),
            (JobState::Running, _) => match progress.seconds_left.filter(|seconds| seconds.is_finite()) {
                Some(seconds) => format!("{read}; about {seconds:.0} s left."),
                None => format!("{read}."),
            },
            _ if progress.pages > 0 => format!("{read}."),
            _ => String::new(),
        };
        let is_open = !job.state.is_ended();
        let looked_at = progress.pages + progress.skipped + progress.failed;
        let total = progress.pages_total.filter(|total| is_open && *total > 0);
        let progress = total.map(|total| (looked_at.min(total), total));
        Self { version: job.version.to_string(), state, words, progress, is_open }
    }
}

/// The lines whenever they change, as HTML; then `done`, once no job is open.
pub(super) fn follow(pages: Pages, library: LibraryId) -> Result<Response, ApiError> {
    let Ok(permit) = std::sync::Arc::clone(&pages.streams).try_acquire_owned() else {
        let message = "The node has as many event streams open as it takes; reload the page instead.";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overload", message).retry_after(10));
    };
    let stop = pages.stop.clone();
    let look = move |shown: Option<Vec<JobLine>>| {
        let (pages, library) = (pages.clone(), library.clone());
        async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            loop {
                ticks.tick().await;
                let jobs = lines(&pages, &library);
                if shown.as_ref() != Some(&jobs) {
                    return jobs;
                }
            }
        }
    };
    enum Following {
        Shown(Option<Vec<JobLine>>),
        Ended,
    }
    let events =
        futures_util::stream::unfold((Following::Shown(None), permit), move |(following, permit)| {
            let look = look.clone();
            async move {
                let Following::Shown(shown) = following else { return None };
                if shown.as_ref().is_some_and(|jobs| !jobs.iter().any(|job| job.is_open)) {
                    // Without data a browser would not hand it to the script (HTML, 9.2.6).
                    return Some((Event::message("reload").event_type("done"), (Following::Ended, permit)));
                }
                let jobs = look(shown).await;
                let html = Fragment { jobs: &jobs }.render().unwrap_or_default();
                Some((Event::message(html).event_type("jobs"), (Following::Shown(Some(jobs)), permit)))
            }
        });
    let events = events.take_until(stop.cancelled_owned());
    let mut response = SSE::new(events.boxed()).keep_alive(KEEP_ALIVE).into_response();
    protect(&mut response);
    Ok(response)
}
