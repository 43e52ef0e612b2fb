//! The actor of one index job: begins an attempt, fetches what lies elsewhere, has the bundle built
//! off the async threads, and publishes it.
//!
//! The actor ends with its job. One that panics, or cannot reach a quorum, is noticed by the
//! dispatcher, which starts another attempt; only the newest attempt can publish.

use std::path::PathBuf;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, info, info_span, warn};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::jobs::{self, Job, Source};
use twinmcp_storage::libraries;

use super::Board;
use super::progress::{Progress, Stage};
use crate::background;
use crate::context::Context;
use crate::ingest::fetch::Fetcher;
use crate::ingest::{self, IngestError, IngestLimits, Material, Task};

/// What one attempt needs.
pub(super) struct Arguments {
    pub(super) context: Arc<Context>,
    pub(super) board: Board,
    pub(super) limits: IngestLimits,
    pub(super) job: Job,
    pub(super) input: Input,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) cancel: CancellationToken,
}

/// Where a job's documentation is.
#[derive(Clone)]
pub(super) enum Input {
    /// An archive or folder on this node.
    Here(Material),
    /// To be fetched first.
    Elsewhere,
}

/// How an attempt ended without a bundle.
enum Ended {
    /// Somebody cancelled it.
    Cancelled,
    /// What to tell the person who started it.
    Failed(String),
}

pub(super) struct JobActor;

/// The only thing a job is told: to run.
pub(super) struct Run;

pub(super) struct State {
    arguments: Arguments,
    /// Stops the building thread also when the actor panics or is killed.
    _cancel_on_drop: DropGuard,
}

impl Actor for JobActor {
    type Msg = Run;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Run>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        myself.send_message(Run)?;
        let guard = arguments.cancel.clone().drop_guard();
        Ok(State { arguments, _cancel_on_drop: guard })
    }

    async fn handle(
        &self,
        myself: ActorRef<Run>,
        _: Run,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let arguments = &state.arguments;
        let span = info_span!("jobs.run", job_id = %arguments.job.id, library_id = %arguments.job.library);
        run(arguments).instrument(span).await?;
        myself.stop(None);
        Ok(())
    }
}

async fn run(arguments: &Arguments) -> Result<(), ActorProcessingErr> {
    let Arguments { context, board, job, .. } = arguments;
    let attempt = job.attempt + 1;
    let start = jobs::Command::Start { id: job.id.clone(), attempt };
    if context.cluster.propose(Command::Jobs(start)).await?.outcome != Outcome::Done {
        return Ok(()); // Cancelled, or another attempt was quicker.
    }
    board.refresh(context, &job.id)?;
    let outcome = match build(arguments).await {
        Ok((facts, built)) => {
            board.stage(&job.id, Stage::Publish);
            // Nobody names it yet.
            let hash = built.bundle.parse().ok();
            let _pinned = hash.map(|hash| context.bundles.pin(hash));
            let publish = libraries::Command::Publish { job: job.id.clone(), attempt, facts, built };
            context.cluster.propose(Command::Libraries(publish)).await?.outcome
        }
        Err(Ended::Cancelled) => return Ok(()),
        Err(Ended::Failed(message)) => {
            fail(context, job, attempt, message).await?;
            Outcome::Done
        }
    };
    match outcome {
        Outcome::Done | Outcome::Stale => {}
        Outcome::LimitReached => {
            let message =
                format!("`{}` has {} versions; remove one first", job.library, libraries::VERSIONS_MAX);
            fail(context, job, attempt, message).await?;
        }
        Outcome::NotFound | Outcome::AlreadyExists | Outcome::Burnt | Outcome::Forbidden => {
            let message = format!("`{}` belongs to another account; choose another id", job.library);
            fail(context, job, attempt, message).await?;
        }
    }
    board.refresh(context, &job.id)?;
    Ok(())
}

/// What is to be read, fetched where it has to be, and what fetching said about it.
async fn material(arguments: &Arguments) -> Result<(Material, Progress), Ended> {
    let Arguments { board, job, fetcher, cancel, .. } = arguments;
    if let Input::Here(material) = &arguments.input {
        return Ok((material.clone(), Progress::default()));
    }
    let report = |progress: Progress| board.progress(&job.id, progress);
    let fetching = Box::pin(fetcher.fetch(&job.id, &job.source, &report));
    let fetched = tokio::select! {
        () = cancel.cancelled() => return Err(Ended::Cancelled),
        fetched = fetching => fetched.map_err(|error| {
            ingest::not_fetched(&error);
            Ended::Failed(sentence(&error))
        })?,
    };
    info!(pages = fetched.progress.pages, "source fetched");
    Ok((fetched.material, fetched.progress))
}

async fn build(arguments: &Arguments) -> Result<(libraries::Facts, libraries::Built), Ended> {
    // On the way to the other thread, which deletes what was fetched.
    let (material, fetched) = material(arguments).await?;
    let Arguments { context, board, limits, job, cancel, .. } = arguments;
    let (context, board, job) = (Arc::clone(context), board.clone(), job.clone());
    let (limits, cancel) = (limits.clone(), cancel.clone());
    // It only saves work: a store that cannot be read says so when the version is published.
    let before = bundle_before(&context, &job).unwrap_or_default();
    let span = tracing::Span::current();
    let built = background::run("index-job", move || {
        let _in_span = span.enter();
        let report = |progress: Progress| board.progress(&job.id, progress);
        let task = Task {
            library: &job.library,
            version: &job.version,
            material: &material,
            fetched: &fetched,
            base_url: job.base_url.as_deref(),
            limits: &limits,
            embedder: context.embedder,
            bundles: &context.bundles,
            before: before.as_deref(),
            is_cancelled: &|| cancel.is_cancelled(),
            report: &report,
        };
        let result = check_upload(&job.source, &material).and_then(|()| ingest::build(&task));
        if let Ok((_, built)) = &result {
            info!(pages = built.pages, snippets = built.snippets, bytes = built.bundle_bytes, "bundle built");
        }
        result.map_err(|error| match error {
            IngestError::Cancelled => Ended::Cancelled,
            error => Ended::Failed(material.public(&sentence(&error))),
        })
    });
    let interrupted = |error: background::BackgroundError| {
        let error = IngestError::Interrupted { reason: sentence(&error) };
        Ended::Failed(sentence(&error))
    };
    built.await.map_err(interrupted)?
}

/// The bundle of the version as it is, else of the library's current version.
fn bundle_before(context: &Context, job: &Job) -> Result<Option<String>, StorageError> {
    let reader = context.cluster.reader();
    let mut version = Some(job.version.clone());
    if libraries::manifest(reader, &job.library, &job.version)?.is_none() {
        version = libraries::get(reader, &job.library)?.and_then(|library| library.current);
    }
    let Some(version) = version else { return Ok(None) };
    Ok(libraries::manifest(reader, &job.library, &version)?.map(|manifest| manifest.bundle))
}

/// An upload is named by the hash of what was sent: a disk that changed it must not change the documentation.
fn check_upload(source: &Source, material: &Material) -> Result<(), IngestError> {
    let (Source::Upload { hash, .. }, Material::Archive { path, .. }) = (source, material) else {
        return Ok(());
    };
    let mut hasher = blake3::Hasher::new();
    let read = std::fs::File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut hasher));
    match read {
        Ok(_) if hasher.finalize().to_hex().as_str() == hash => Ok(()),
        Ok(_) | Err(_) => Err(IngestError::DamagedUpload),
    }
}

async fn fail(context: &Context, job: &Job, attempt: u32, message: String) -> Result<(), ActorProcessingErr> {
    warn!(message, "job failed");
    let fail = jobs::Command::Fail { id: job.id.clone(), attempt, message };
    context.cluster.propose(Command::Jobs(fail)).await?;
    Ok(())
}

/// An error with its causes in one line, for the person who started the job.
fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Whether a job that another node has left can be done here: its source must not lie on that node's disk.
pub(super) fn can_run_here(uploads: &super::Uploads, job: &Job) -> bool {
    match &job.source {
        Source::Folder { .. } => false,
        Source::Upload { .. } | Source::Web { .. } | Source::Git { .. } => input(uploads, job).is_some(),
    }
}

/// Where the job's documentation is; nothing when it should be on this node and is not.
pub(super) fn input(uploads: &super::Uploads, job: &Job) -> Option<Input> {
    match &job.source {
        Source::Upload { hash, name } => {
            let path = uploads.path(&job.account, hash)?;
            Some(Input::Here(Material::Archive { path, name: name.clone() }))
        }
        Source::Folder { path } => Some(Input::Here(Material::Folder { path: PathBuf::from(path) })),
        Source::Web { .. } | Source::Git { .. } => Some(Input::Elsewhere),
    }
}
