//! Index jobs over HTTP: send an archive, start a job, follow it, cancel it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use poem::Body;
use poem::http::StatusCode;
use poem::web::sse::Event;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Binary, EventStream, Json};
use poem_openapi::types::{Example, ToJSON};
use poem_openapi::{ApiResponse, Object, OpenApi};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use twinmcp_actors::Jobs;
use twinmcp_actors::jobs::{JobView, Stage, Submission, Upload};
use twinmcp_storage::api_keys::Scope;
use twinmcp_storage::ids::JobId;
use twinmcp_storage::jobs::{JobState, Source};

use super::Tag;
use super::error::ApiError;
use super::failures::invalid_id;
use crate::http::Caller;

/// Jobs of one answer, at most.
const PAGE_ITEMS_MAX: usize = 100;
/// Longest name of an archive, in bytes.
const ARCHIVE_NAME_BYTES_MAX: usize = 200;
/// Between two events of a stream: a person sees no difference, a fast job would send thousands.
const EVENT_PAUSE: Duration = Duration::from_millis(100);
/// Between two comments on an idle stream, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How far a job is.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ProgressRecord {
    /// `queued`, `fetch`, `index`, `build`, `publish` or `ended`.
    stage: String,
    /// Pages read so far.
    pages: u64,
    /// Pages in all, once known.
    #[oai(skip_serializing_if_is_none)]
    pages_total: Option<u64>,
    /// Snippets cut so far.
    snippets: u64,
    /// Files that are no documentation, or not wanted.
    skipped: u64,
    /// Pages that could not be read.
    failed: u64,
    /// Pages read a second.
    pages_per_second: f64,
    /// Seconds until all pages are read, at this rate.
    #[oai(skip_serializing_if_is_none)]
    seconds_left: Option<f64>,
    /// The first pages that could not be read, and why.
    problems: Vec<String>,
}

impl Example for ProgressRecord {
    fn example() -> Self {
        Self {
            stage: "index".to_owned(),
            pages: 120,
            pages_total: Some(493),
            snippets: 1_604,
            skipped: 12,
            failed: 0,
            pages_per_second: 210.5,
            seconds_left: Some(1.8),
            problems: Vec::new(),
        }
    }
}

/// One job.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct JobRecord {
    /// Its id.
    id: String,
    /// The library it is for.
    library: String,
    /// The version it makes.
    version: String,
    /// `queued`, `running`, `done`, `failed` or `cancelled`.
    state: String,
    /// Why it failed.
    #[oai(skip_serializing_if_is_none)]
    message: Option<String>,
    /// How far it is.
    progress: ProgressRecord,
    /// How often it was started.
    attempt: u32,
    /// When it was made, RFC 3339.
    created_at: String,
    /// When its newest attempt began, RFC 3339.
    #[oai(skip_serializing_if_is_none)]
    started_at: Option<String>,
    /// When it ended, RFC 3339.
    #[oai(skip_serializing_if_is_none)]
    ended_at: Option<String>,
}

impl From<&JobView> for JobRecord {
    fn from(view: &JobView) -> Self {
        let (job, progress) = (&view.job, &view.progress);
        let (state, message) = match &job.state {
            JobState::Queued => ("queued", None),
            JobState::Running => ("running", None),
            JobState::Done => ("done", None),
            JobState::Failed { message } => ("failed", Some(message.clone())),
            JobState::Cancelled => ("cancelled", None),
        };
        let stage = match progress.stage {
            Stage::Queued => "queued",
            Stage::Fetch => "fetch",
            Stage::Index => "index",
            Stage::Build => "build",
            Stage::Publish => "publish",
            Stage::Ended => "ended",
        };
        Self {
            id: job.id.to_string(),
            library: job.library.to_string(),
            version: job.version.to_string(),
            state: state.to_owned(),
            message,
            progress: ProgressRecord {
                stage: stage.to_owned(),
                pages: progress.pages,
                pages_total: progress.pages_total,
                snippets: progress.snippets,
                skipped: progress.skipped,
                failed: progress.failed,
                pages_per_second: finite(progress.pages_per_second).unwrap_or_default(),
                seconds_left: progress.seconds_left.and_then(finite),
                problems: progress.problems.clone(),
            },
            attempt: job.attempt,
            created_at: job.created_at.to_string(),
            started_at: job.started_at.map(|at| at.to_string()),
            ended_at: job.ended_at.map(|at| at.to_string()),
        }
    }
}

/// JSON knows no infinity.
fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

impl Example for JobRecord {
    fn example() -> Self {
        Self {
            id: "job_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned(),
            library: "/python/cpython".to_owned(),
            version: "v3.12".to_owned(),
            state: "running".to_owned(),
            message: None,
            progress: ProgressRecord::example(),
            attempt: 1,
            created_at: "2026-11-23T12:46:10.123Z".to_owned(),
            started_at: Some("2026-11-23T12:46:10.456Z".to_owned()),
            ended_at: None,
        }
    }
}

/// Jobs, the newest first.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct JobPage {
    /// The jobs of this page.
    jobs: Vec<JobRecord>,
    /// What to send as `before` for the next page; absent on the last.
    #[oai(skip_serializing_if_is_none)]
    next: Option<String>,
}

impl Example for JobPage {
    fn example() -> Self {
        let job = JobRecord::example();
        Self { next: Some(job.id.clone()), jobs: vec![job] }
    }
}

/// An archive that was sent before.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct UploadSource {
    /// What the upload answered: BLAKE3 of the archive, 64 hex digits.
    #[oai(validator(min_length = 64, max_length = 64))]
    hash: String,
    /// The file's name, which helps to tell its format, e.g. `docs.tar.zst`.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: String,
}

impl Example for UploadSource {
    fn example() -> Self {
        Self { hash: UploadRecord::example().hash, name: "docs.tar.zst".to_owned() }
    }
}

/// A job to be started, with exactly one source.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct JobRequest {
    /// The library it is for: `/org/name`.
    #[oai(validator(min_length = 1, max_length = 240))]
    library: String,
    /// The version it makes.
    #[oai(validator(min_length = 1, max_length = 100))]
    version: String,
    /// An archive that was sent with `POST /api/jobs/uploads`.
    #[oai(default)]
    upload: Option<UploadSource>,
    /// A folder on the node, inside one of `ingest.folders`.
    #[oai(default, validator(min_length = 1, max_length = 4096))]
    folder: Option<String>,
    /// Where the pages are published, so that snippets can link to them.
    #[oai(default, validator(max_length = 2000))]
    base_url: Option<String>,
}

impl Example for JobRequest {
    fn example() -> Self {
        Self {
            library: "/python/cpython".to_owned(),
            version: "v3.12".to_owned(),
            upload: Some(UploadSource::example()),
            folder: None,
            base_url: Some("https://docs.python.org/3.12/".to_owned()),
        }
    }
}

impl JobRequest {
    fn source(&self) -> Result<Source, ApiError> {
        match (&self.upload, &self.folder) {
            (Some(UploadSource { hash, name }), None) => {
                if !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                    return Err(ApiError::bad_request("`upload.hash` must be 64 lower-case hex digits."));
                }
                if name.len() > ARCHIVE_NAME_BYTES_MAX || name.contains(['/', '\\', '\0']) {
                    return Err(ApiError::bad_request("`upload.name` must be a file name of at most 200 bytes."));
                }
                Ok(Source::Upload { hash: hash.clone(), name: name.clone() })
            }
            (None, Some(path)) => Ok(Source::Folder { path: path.clone() }),
            _ => Err(ApiError::bad_request("Send exactly one of `upload` and `folder`.")),
        }
    }
}

/// An archive the node has taken.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct UploadRecord {
    /// BLAKE3 of its bytes: what a job names.
    hash: String,
    /// How large it is.
    bytes: u64,
}

impl From<Upload> for UploadRecord {
    fn from(upload: Upload) -> Self {
        Self { hash: upload.hash, bytes: upload.bytes }
    }
}

impl Example for UploadRecord {
    fn example() -> Self {
        let hash = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".to_owned();
        Self { hash, bytes: 1_048_576 }
    }
}

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
    /// The node keeps it for a day, for jobs of the same account. Needs `jobs:write`.
    #[oai(path = "/uploads", method = "post", operation_id = "upload_archive")]
    async fn upload(&self, caller: Caller, archive: Binary<Body>) -> Result<Uploaded, ApiError> {
        caller.may(Scope::JobsWrite)?;
        let mut writer = self.jobs.uploads().begin(caller.account()).await?;
        let mut pieces = std::pin::pin!(archive.0.into_bytes_stream());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| {
                ApiError::bad_request("The upload broke off; send it again.").caused_by(error)
            })?;
            writer.write(piece).await?;
        }
        Ok(Uploaded::Archive(Json(writer.finish().await?.into())))
    }

    /// Starts an index job.
    ///
    /// It runs on the node as soon as a worker is free. The version answers once the job is done, all of it at once.
    /// Needs `jobs:write`; a library belongs to whoever indexed it first.
    #[oai(path = "/", method = "post", operation_id = "start_job")]
    async fn start(&self, caller: Caller, asked: Json<JobRequest>) -> Result<Started, ApiError> {
        caller.may(Scope::JobsWrite)?;
        let submission = Submission {
            account: caller.account().clone(),
            library: asked.library.parse().map_err(|error| invalid_id(&error))?,
            version: asked.version.parse().map_err(|error| invalid_id(&error))?,
            source: asked.source()?,
            base_url: asked.base_url.clone(),
        };
        let view = self.jobs.submit(submission).await?;
        Ok(Started::Job(Json(JobRecord::from(&view))))
    }

    /// Lists jobs, the newest first.
    ///
    /// Your account's, or everybody's with `admin`; up to 100 a page.
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
        let before = before.0.as_deref().map(parse).transpose()?;
        let limit = limit.0.map_or(PAGE_ITEMS_MAX, |limit| limit as usize).min(PAGE_ITEMS_MAX);
        // One more than shown tells whether there is a next page.
        let views = self.jobs.list(&caller.owner(), before.as_ref(), limit + 1)?;
        let jobs: Vec<JobRecord> = views.iter().take(limit).map(JobRecord::from).collect();
        let next = (views.len() > limit).then(|| jobs.last().map(|job| job.id.clone())).flatten();
        Ok(Json(JobPage { jobs, next }))
    }

    /// Shows one job.
    ///
    /// Another account's job answers like one that is not there.
    #[oai(path = "/:id", method = "get", operation_id = "get_job")]
    async fn get(
        &self,
        caller: Caller,
        /// The job's id.
        #[oai(example = "id_example")]
        id: Path<String>,
    ) -> Result<Json<JobRecord>, ApiError> {
        Ok(Json(JobRecord::from(&self.jobs.get(&caller.owner(), &parse(&id)?)?)))
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
        Ok(Json(JobRecord::from(&self.jobs.cancel(&caller.owner(), &parse(&id)?).await?)))
    }

    /// Follows a job.
    ///
    /// Server-sent events named `progress`, each the whole job; the stream ends after the event of an ended job.
    #[oai(path = "/:id/events", method = "get", operation_id = "follow_job")]
    async fn events(
        &self,
        caller: Caller,
        /// The job's id.
        #[oai(example = "id_example")]
        id: Path<String>,
    ) -> Result<EventStream<BoxStream<'static, JobRecord>>, ApiError> {
        let receiver = self.jobs.watch(&caller.owner(), &parse(&id)?)?;
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            let message = "The node has as many event streams open as it takes; poll the job instead.";
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overload", message).retry_after(10));
        };
        let stream = EventStream::new(follow(receiver, permit).take_until(self.stop.clone().cancelled_owned()).boxed());
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

fn parse(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|error| invalid_id(&error))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(upload: Option<UploadSource>, folder: Option<&str>) -> JobRequest {
        JobRequest { upload, folder: folder.map(str::to_owned), ..JobRequest::example() }
    }

    #[test]
    fn a_job_has_exactly_one_source() {
        assert!(request(Some(UploadSource::example()), None).source().is_ok());
        assert!(request(None, Some("/srv/docs")).source().is_ok());
        assert!(request(None, None).source().is_err());
        assert!(request(Some(UploadSource::example()), Some("/srv/docs")).source().is_err());
    }

    #[test]
    fn an_upload_is_named_by_a_hash_and_a_plain_file_name() {
        for (hash, name) in [("ABC", "docs.zip"), ("", "docs.zip"), ("0", "../docs.zip"), ("0", "a\0b")] {
            let hash = if hash == "0" { "0".repeat(64) } else { hash.repeat(64) };
            let source = UploadSource { hash, name: name.to_owned() };
            if source.hash.is_empty() {
                continue;
            }
            assert!(request(Some(source), None).source().is_err(), "{name}");
        }
    }
}
