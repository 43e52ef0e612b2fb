//! Jobs, their progress and their sources, as clients see and send them.

use std::collections::BTreeMap;

use poem_openapi::Object;
use poem_openapi::types::Example;
use twinmcp_actors::jobs::{JobView, Stage, Upload};
use twinmcp_storage::jobs::{JobState, Revision, Source};

use super::super::error::ApiError;

/// Longest name of an archive, in bytes.
const ARCHIVE_NAME_BYTES_MAX: usize = 200;

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
    /// How many files were left out, could not be read or were not taken as they are, for each reason: `licence`, `too_large`,
    /// `link`, `unsafe_path`, `no_text`, `syntax`, `broken_encoding` and others.
    left_out: BTreeMap<String, u64>,
    /// How many snippets the scan for text aimed at models labelled, for each label.
    labelled: BTreeMap<String, u64>,
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
            left_out: BTreeMap::from([("licence".to_owned(), 2), ("not_documentation".to_owned(), 10)]),
            labelled: BTreeMap::new(),
        }
    }
}

/// One job.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct JobRecord {
    /// Its id.
    pub(super) id: String,
    /// The library it is for.
    library: String,
    /// The version it makes.
    version: String,
    /// `queued`, `running`, `done`, `failed` or `cancelled`.
    state: String,
    /// Why it failed.
    #[oai(skip_serializing_if_is_none)]
    message: Option<String>,
    /// Whether it is done because its source says what is published already: the version stays as it is.
    unchanged: bool,
    /// How far it is.
    progress: ProgressRecord,
    /// The node that works on it, or did last, by id.
    #[oai(skip_serializing_if_is_none)]
    node: Option<u64>,
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
            JobState::Done | JobState::Unchanged => ("done", None),
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
            unchanged: job.state == JobState::Unchanged,
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
                left_out: owned(&progress.left_out),
                labelled: owned(&progress.labelled),
            },
            node: view.node,
            attempt: job.attempt,
            created_at: job.created_at.to_string(),
            started_at: job.started_at.map(|at| at.to_string()),
            ended_at: job.ended_at.map(|at| at.to_string()),
        }
    }
}

fn owned(counts: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
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
            unchanged: false,
            progress: ProgressRecord::example(),
            node: Some(1),
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
    pub(super) jobs: Vec<JobRecord>,
    /// What to send as `before` for the next page; absent on the last.
    #[oai(skip_serializing_if_is_none)]
    pub(super) next: Option<String>,
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

/// A git repository, at its default branch or at one tag, branch or commit.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct GitSource {
    /// The repository, as `git clone` takes it, by https and without a password.
    #[oai(validator(min_length = 1, max_length = 2000))]
    url: String,
    /// A tag.
    #[oai(default, validator(min_length = 1, max_length = 200))]
    tag: Option<String>,
    /// A branch.
    #[oai(default, validator(min_length = 1, max_length = 200))]
    branch: Option<String>,
    /// A commit, by its whole id.
    #[oai(default, validator(min_length = 40, max_length = 64))]
    commit: Option<String>,
}

impl Example for GitSource {
    fn example() -> Self {
        let url = "https://github.com/python/cpython.git".to_owned();
        Self { url, tag: Some("v3.12.0".to_owned()), branch: None, commit: None }
    }
}

impl GitSource {
    fn source(&self) -> Result<Source, ApiError> {
        let revision = match (&self.tag, &self.branch, &self.commit) {
            (None, None, None) => Revision::Head,
            (Some(tag), None, None) => Revision::Tag(tag.clone()),
            (None, Some(branch), None) => Revision::Branch(branch.clone()),
            (None, None, Some(commit)) => Revision::Commit(commit.clone()),
            _ => {
                return Err(ApiError::bad_request(
                    "Send at most one of `git.tag`, `git.branch` and `git.commit`.",
                ));
            }
        };
        Ok(Source::Git { url: self.url.clone(), revision })
    }
}

/// A job to be started, with exactly one source.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct JobRequest {
    /// The library it is for: `/org/name`.
    #[oai(validator(min_length = 1, max_length = 240))]
    pub(super) library: String,
    /// The version it makes; the tag of `git` when left out.
    #[oai(default, validator(min_length = 1, max_length = 100))]
    version: Option<String>,
    /// An archive that was sent with `POST /api/jobs/uploads`.
    #[oai(default)]
    upload: Option<UploadSource>,
    /// A folder on the node, inside one of `ingest.folders`.
    #[oai(default, validator(min_length = 1, max_length = 4096))]
    folder: Option<String>,
    /// A web site by the URL where it begins, an `llms.txt`, a site map, or one document on the web.
    #[oai(default, validator(min_length = 1, max_length = 2000))]
    website: Option<String>,
    /// A git repository.
    #[oai(default)]
    git: Option<GitSource>,
    /// Where the pages are published, so that snippets can link to them; a web site knows that itself.
    #[oai(default, validator(max_length = 2000))]
    pub(super) base_url: Option<String>,
    /// The team whose library it is, one that you manage; yourself when absent. An archive must have been sent for the same team.
    #[oai(default, validator(max_length = 100))]
    pub(super) team: Option<String>,
}

impl Example for JobRequest {
    fn example() -> Self {
        Self {
            library: "/python/cpython".to_owned(),
            version: Some("v3.12".to_owned()),
            upload: Some(UploadSource::example()),
            folder: None,
            website: None,
            git: None,
            base_url: Some("https://docs.python.org/3.12/".to_owned()),
            team: None,
        }
    }
}

impl JobRequest {
    /// The version asked for, or the tag that is it.
    pub(super) fn version(&self) -> Result<&str, ApiError> {
        let tag = self.git.as_ref().and_then(|git| git.tag.as_deref());
        let message = "Send `version`; only a `git.tag` can stand for it.";
        self.version.as_deref().or(tag).ok_or_else(|| ApiError::bad_request(message))
    }

    pub(super) fn source(&self) -> Result<Source, ApiError> {
        match (&self.upload, &self.folder, &self.website, &self.git) {
            (Some(UploadSource { hash, name }), None, None, None) => {
                if !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                    return Err(ApiError::bad_request("`upload.hash` must be 64 lower-case hex digits."));
                }
                if name.len() > ARCHIVE_NAME_BYTES_MAX || name.contains(['/', '\\', '\0']) {
                    return Err(ApiError::bad_request(
                        "`upload.name` must be a file name of at most 200 bytes.",
                    ));
                }
                Ok(Source::Upload { hash: hash.clone(), name: name.clone() })
            }
            (None, Some(path), None, None) => Ok(Source::Folder { path: path.clone() }),
            (None, None, Some(url), None) => Ok(Source::Web { url: url.clone() }),
            (None, None, None, Some(git)) => git.source(),
            _ => Err(ApiError::bad_request("Send exactly one of `upload`, `folder`, `website` and `git`.")),
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
        let website = Some("https://docs.example/".to_owned());
        let site = JobRequest { website: website.clone(), ..request(None, None) };
        assert_eq!(site.source().unwrap(), Source::Web { url: "https://docs.example/".to_owned() });
        let both = JobRequest { website, git: Some(GitSource::example()), ..request(None, None) };
        assert!(both.source().is_err());
    }

    #[test]
    fn a_repository_is_named_by_one_revision_and_its_tag_is_the_version() {
        let asked = |git: GitSource| JobRequest { git: Some(git), version: None, ..request(None, None) };
        let git = GitSource::example();
        let tagged = asked(git.clone());
        assert_eq!(tagged.version().unwrap(), "v3.12.0");
        let Source::Git { revision, .. } = tagged.source().unwrap() else { panic!("a repository") };
        assert_eq!(revision, Revision::Tag("v3.12.0".to_owned()));
        let branch = GitSource { tag: None, branch: Some("main".to_owned()), ..git.clone() };
        assert!(asked(branch.clone()).source().is_ok() && asked(branch).version().is_err());
        let two = GitSource { commit: Some("ab".repeat(20)), ..git };
        assert!(asked(two).source().is_err());
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
