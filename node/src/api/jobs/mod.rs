//! Index jobs over HTTP: send an archive, start a job, follow it, cancel it.

mod shapes;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use poem::Body;
use poem::http::StatusCode;
use poem::web::sse::Event;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Binary, EventStream, Json};
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiResponse, OpenApi};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use twinmcp_actors::jobs::{JobView, Submission};
use twinmcp_actors::{Jobs, Teams};
use twinmcp_storage::scope::Scope;

pub(crate) use self::shapes::JobRecord;
use self::shapes::{JobPage, JobRequest, UploadRecord};
use super::Tag;
use super::body::JsonBody;
use super::error::ApiError;
use super::failures::parse_id;
use super::teams::acting;
use crate::http::Caller;

/// Jobs of one answer, at most.
const PAGE_ITEMS_MAX: usize = 100;
/// Between two events of a stream: a person sees no difference, a fast job would send thousands.
const EVENT_PAUSE: Duration = Duration::from_millis(100);
/// Between two comments on an idle stream, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(ApiResponse)]
pub(crate) enum Uploaded {
    /// The archive was taken; it is kept for a day.
    #[oai(status = 201)]
    Archive(Json<UploadRecord>),
}

#[derive(ApiResponse)]
pub(crate) enum Started {
    /// The job was made and waits for its turn.
    #[oai(status = 201)]
    Job(Json<JobRecord>),
}

/// `/api/jobs`.
pub(crate) struct JobsApi {
    pub(crate) jobs: Jobs,
    pub(crate) teams: Teams,
    /// Event streams that may be open at once.
    pub(crate) streams: Arc<Semaphore>,
    /// Ends the streams when the node stops; clients come again after the restart.
    pub(crate) stop: CancellationToken,
}

#[OpenApi(prefix_path = "/api/jobs", tag = "Tag::Jobs")]
impl JobsApi {
    /// Sends an archive to be indexed.
    ///
    /// The body is the file itself: `.tar`, `.tar.gz`, `.tar.zst`, `.tar.xz`, `.zip`, `.crate`, or one document.
    /// The node keeps it for a day, for jobs of the same account; another node of the cluster gets a copy before the answer,
    /// so that a job of it goes on without this one. An account may have four times the largest upload waiting. Needs `jobs:write`.
    #[oai(path = "/uploads", method = "post", operation_id = "upload_archive")]
    async fn upload(
        &self,
        caller: Caller,
        /// The team that the archive is for, one that you manage; yourself when absent.
        #[oai(example = "team_example", validator(max_length = 100))]
        team: Query<Option<String>>,
        archive: Binary<Body>,
    ) -> Result<Uploaded, ApiError> {
        caller.may(Scope::JobsWrite)?;
        let account = acting(&self.teams, &caller, team.as_deref())?;
        // Told before a gigabyte was sent in vain.
        self.jobs.admit()?;
        let has_share = !caller.has(Scope::Admin);
        if has_share {
            self.jobs.uploads().check_room(&account).await?;
        }
        let mut writer = self.jobs.uploads().begin(&account).await?;
        let mut pieces = std::pin::pin!(archive.0.into_bytes_stream());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| {
                ApiError::bad_request("The upload broke off; send it again.").caused_by(error)
            })?;
            writer.write(piece).await?;
        }
        if has_share {
            self.jobs.uploads().check_room(&account).await?;
        }
        let upload = writer.finish().await?;
        self.jobs.secure(&account, &upload).await;
        Ok(Uploaded::Archive(Json(upload.into())))
    }

    /// Starts an index job.
    ///
    /// Its documentation is an archive that was sent, a folder of the node, a web site or a git repository; web sites
    /// are read as their `robots.txt` allows. It runs on the node as soon as a worker is free. The version answers once the job is done, all of it at once.
    /// Needs `jobs:write`; a library belongs to whoever indexed it first, or to their `team`. A private one is made with
    /// `POST /api/libraries` before. 429 while the account has 90 jobs waiting or running; operators have no such limit.
    #[oai(path = "/", method = "post", operation_id = "start_job")]
    async fn start(&self, caller: Caller, asked: JsonBody<JobRequest>) -> Result<Started, ApiError> {
        caller.may(Scope::JobsWrite)?;
        let submission = Submission {
            account: acting(&self.teams, &caller, asked.team.as_deref())?,
            library: parse_id(&asked.library)?,
            version: parse_id(asked.version()?)?,
            source: asked.source()?,
            base_url: asked.base_url.clone(),
        };
        let view = self.jobs.submit(submission).await?;
        Ok(Started::Job(Json(JobRecord::from(&view))))
    }

    /// Lists jobs, the newest first.
    ///
    /// Those of your account and your teams, or everybody's with `admin`; up to 100 a page.
    #[oai(path = "/", method = "get", operation_id = "list_jobs")]
    async fn list(
        &self,
        caller: Caller,
        /// Only jobs older than this id.
        #[oai(example = "before_example")]
        before: Query<Option<String>>,
        /// Jobs a page, 1 to 100.
        #[oai(example = "limit_example", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<JobPage>, ApiError> {
        let before = before.0.as_deref().map(parse_id).transpose()?;
        let limit = limit.0.map_or(PAGE_ITEMS_MAX, |limit| limit as usize).min(PAGE_ITEMS_MAX);
        // One more than shown tells whether there is a next page.
        let views = self.jobs.list(&caller.owner(), before.as_ref(), limit + 1)?;
        let jobs: Vec<JobRecord> = views.iter().take(limit).map(JobRecord::from).collect();
        let next = (views.len() > limit).then(|| jobs.last().map(|job| job.id.clone())).flatten();
        Ok(Json(JobPage { jobs, next }))
    }

    /// Shows one job.
    ///
    /// Another account's job answers like one that is not there. Any key of the account will do.
    #[oai(path = "/:id", method = "get", operation_id = "get_job")]
    async fn get(
        &self,
        caller: Caller,
        /// The job's id.
        #[oai(example = "id_example")]
        id: Path<String>,
    ) -> Result<Json<JobRecord>, ApiError> {
        Ok(Json(JobRecord::from(&self.jobs.get(&caller.owner(), &parse_id(&id)?)?)))
    }

    /// Cancels a job.
    ///
    /// What it built so far is thrown away; the version before it goes on answering. Needs `jobs:write`.
    #[oai(path = "/:id/cancel", method = "post", operation_id = "cancel_job")]
    async fn cancel(
        &self,
        caller: Caller,
        /// The job's id.
        #[oai(example = "id_example")]
        id: Path<String>,
    ) -> Result<Json<JobRecord>, ApiError> {
        caller.may(Scope::JobsWrite)?;
        Ok(Json(JobRecord::from(&self.jobs.cancel(&caller.owner(), &parse_id(&id)?).await?)))
    }

    /// Follows a job.
    ///
    /// Server-sent events named `progress`, each the whole job; the stream ends after the event of an ended job. Any key of the account will do.
    #[oai(path = "/:id/events", method = "get", operation_id = "follow_job")]
    async fn events(
        &self,
        caller: Caller,
        /// The job's id.
        #[oai(example = "id_example")]
        id: Path<String>,
    ) -> Result<EventStream<BoxStream<'static, JobRecord>>, ApiError> {
        let receiver = self.jobs.watch(&caller.owner(), &parse_id(&id)?)?;
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            let message = "The node has as many event streams open as it takes; poll the job instead.";
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overload", message).retry_after(10));
        };
        let stream = EventStream::new(
            follow(receiver, permit).take_until(self.stop.clone().cancelled_owned()).boxed(),
        );
        let to_event = |job: JobRecord| Event::message(job.to_json_string()).event_type("progress");
        Ok(stream.to_event(to_event).keep_alive(KEEP_ALIVE))
    }
}

/// The newest view whenever it changed, the last one with the job's end.
fn follow(receiver: watch::Receiver<JobView>, permit: OwnedSemaphorePermit) -> BoxStream<'static, JobRecord> {
    struct Following {
        receiver: watch::Receiver<JobView>,
        first: bool,
        ended: bool,
        _permit: OwnedSemaphorePermit,
    }
    let state = Following { receiver, first: true, ended: false, _permit: permit };
    futures_util::stream::unfold(state, |mut state| async move {
        if state.ended {
            return None;
        }
        if !state.first {
            tokio::time::sleep(EVENT_PAUSE).await;
            // The sender goes away with the job; what it sent last is in the receiver.
            if state.receiver.changed().await.is_err() {
                return None;
            }
        }
        state.first = false;
        let view = state.receiver.borrow_and_update().clone();
        state.ended = view.job.state.is_ended();
        Some((JobRecord::from(&view), state))
    })
    .boxed()
}

fn team_example() -> Option<String> {
    Some("acct_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned())
}

fn before_example() -> Option<String> {
    Some(id_example())
}

fn limit_example() -> Option<u32> {
    Some(20)
}

fn id_example() -> String {
    "job_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned()
}
