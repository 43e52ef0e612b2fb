//! Index jobs: what is to be turned into a library version, and how far that is.
//!
//! Key layout: `j/<id>` -> [`Job`]; ids sort by creation; `o/<id>` -> [`Owner`], `w/<node>` -> [`Lease`]. Progress is not
//! here: it is soft, and lives with the actor that runs the job.
//!
//! A job is worked on by one node. A node with jobs renews its lease; when it does not in time, its jobs may be claimed
//! by another. What keeps the one that was only slow from publishing is the attempt: it is the fencing token.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{AccountId, JobId, LibraryId, Version};
use crate::record::Record;
use crate::teams::{self, Role};
use crate::transaction::{self, Change, Transaction};

/// Jobs waiting or running that one cluster holds.
pub const OPEN_JOBS_MAX: usize = 2_000;
/// Jobs kept in all: past it the oldest ended ones are forgotten.
pub const JOBS_MAX: usize = 5_000;
/// Longest URL of a job's pages, in bytes.
pub const BASE_URL_BYTES_MAX: usize = 500;
/// Longest URL of a source, in bytes.
pub const SOURCE_URL_BYTES_MAX: usize = 2_000;
/// Longest name of a tag or branch, in bytes.
pub const REVISION_BYTES_MAX: usize = 200;
/// Owner of a job that its node gave back. No node has this id and its lease is never longer than a moment, so whoever can
/// do the job may claim it at once, in every build.
pub const NOBODY: u64 = 0;
/// Attempts before a job that keeps ending its node's actor is given up.
pub const ATTEMPTS_MAX: u32 = 5;

/// Where documentation comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// An archive that was sent to this cluster.
    Upload {
        /// BLAKE3 of the archive, in hex.
        hash: String,
        /// The file's name, which helps to tell its format, e.g. `docs.tar.zst`.
        name: String,
    },
    /// A folder on the node that runs the job.
    Folder {
        /// Absolute path.
        path: String,
    },
    /// A web site, or one document on the web.
    Web {
        /// Where to begin: a page, an `llms.txt`, a sitemap or a document. Nothing above its folder is read.
        url: String,
    },
    /// A git repository, as it is at one revision.
    Git {
        /// The repository, as `git clone` takes it: `https://host/owner/name.git`.
        url: String,
        /// What of it.
        revision: Revision,
    },
}

/// One state of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Revision {
    /// What the repository shows by default.
    Head,
    /// A tag, e.g. `v1.2.0`.
    Tag(String),
    /// The newest commit of a branch.
    Branch(String),
    /// A commit, by its whole id in hex.
    Commit(String),
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// Somebody works on it.
    Running,
    /// The version is published.
    Done,
    /// It ended without a version.
    Failed {
        /// What to tell the person who started it.
        message: String,
    },
    /// Somebody cancelled it.
    Cancelled,
    /// It built what was published already: the version stays as it is.
    Unchanged,
}

impl JobState {
    /// Whether nothing more will happen.
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Done | Self::Failed { .. } | Self::Cancelled | Self::Unchanged)
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Who started it.
    pub account: AccountId,
    /// The library it is for.
    pub library: LibraryId,
    /// The version it makes.
    pub version: Version,
    /// Where the documentation comes from.
    pub source: Source,
    /// Where its pages are published, so that snippets can link to them.
    pub base_url: Option<String>,
    /// How far it is.
    pub state: JobState,
    /// How often it was started; only the newest attempt may publish.
    pub attempt: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its newest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Record for Job {
    const NAME: &'static str = "job";
    const FORMAT: u8 = 1;
}

/// The node that works on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its id in the cluster.
    pub node: u64,
}

impl Record for Owner {
    const NAME: &'static str = "owner of a job";
    const FORMAT: u8 = 1;
}

/// Until when a node's jobs are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// From when on its jobs may be claimed by others.
    pub until: Timestamp,
}

impl Record for Lease {
    const NAME: &'static str = "lease of a node";
    const FORMAT: u8 = 1;
}

/// A change to jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a waiting job. [`Outcome::LimitReached`] with [`OPEN_JOBS_MAX`] open jobs.
    Submit {
        /// The new job's id.
        id: JobId,
        /// Who starts it.
        account: AccountId,
        /// The library it is for.
        library: LibraryId,
        /// The version it makes.
        version: Version,
        /// Where the documentation comes from.
        source: Source,
        /// Where its pages are published.
        base_url: Option<String>,
    },
    /// Begins an attempt. [`Outcome::Stale`] unless the attempt is the next one of an open job.
    Start {
        /// Which job.
        id: JobId,
        /// The attempt that begins, from 1.
        attempt: u32,
    },
    /// Ends an attempt without a version.
    Fail {
        /// Which job.
        id: JobId,
        /// Which attempt.
        attempt: u32,
        /// What to tell the person who started it.
        message: String,
    },
    /// Ends an open job. [`Outcome::NotFound`] for another account's, [`Outcome::Stale`] for an ended one.
    Cancel {
        /// Which job.
        id: JobId,
        /// Who does it: the job must be theirs, or of a team they manage; anybody's when absent, for operators.
        account: Option<AccountId>,
    },
    /// Says that a node works, and on its jobs.
    Renew {
        /// Which node.
        node: u64,
        /// For how long nobody else may claim its jobs.
        for_ms: u64,
    },
    /// Gives an open job to a node. [`Outcome::Stale`] for an ended one and while the lease of another owner runs.
    Claim {
        /// Which job.
        id: JobId,
        /// Whose it is to be.
        node: u64,
    },
}

/// Longest lease, in milliseconds.
pub const LEASE_MS_MAX: u64 = 600_000;

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Submit { id, account, library, version, source, base_url } => {
            let job = Job {
                id: id.clone(),
                account: account.clone(),
                library: library.clone(),
                version: version.clone(),
                source: source.clone(),
                base_url: base_url.clone(),
                state: JobState::Queued,
                attempt: 0,
                created_at: at,
                started_at: None,
                ended_at: None,
            };
            submit(transaction, &job)
        }
        Command::Start { id, attempt } => {
            let Some(mut job) = get(transaction, id)? else { return Ok(Outcome::NotFound) };
            if job.state.is_ended() || *attempt != job.attempt + 1 {
                return Ok(Outcome::Stale);
            }
            job.state = JobState::Running;
            job.attempt = *attempt;
            job.started_at = Some(at);
            put(transaction, &job)
        }
        Command::Fail { id, attempt, message } => {
            end_attempt(transaction, at, id, *attempt, JobState::Failed { message: message.clone() })
        }
        Command::Cancel { id, account } => {
            let Some(job) = get(transaction, id)? else { return Ok(Outcome::NotFound) };
            if let Some(account) = account
                && !teams::acts_for(transaction, account, &job.account, Role::Admin)?
            {
                return Ok(Outcome::NotFound);
            }
            if job.state.is_ended() {
                return Ok(Outcome::Stale);
            }
            put(transaction, &Job { state: JobState::Cancelled, ended_at: Some(at), ..job })
        }
        Command::Renew { node, for_ms } => {
            let lease = Lease { until: at.plus_millis((*for_ms).min(LEASE_MS_MAX)) };
            transaction.put(Keyspace::Jobs, lease_key(*node), &lease)?;
            Ok(Outcome::Done)
        }
        Command::Claim { id, node } => {
            let Some(job) = get(transaction, id)? else { return Ok(Outcome::NotFound) };
            let is_others = match owner(transaction, id)? {
                Some(owner) if owner != *node => {
                    lease(transaction, owner)?.is_some_and(|lease| lease.until > at)
                }
                _ => false,
            };
            if job.state.is_ended() || is_others {
                return Ok(Outcome::Stale);
            }
            transaction.put(Keyspace::Jobs, owner_key(id), &Owner { node: *node })?;
            transaction.changed(Change::Job(id.clone()));
            Ok(Outcome::Done)
        }
    }
}

fn submit(transaction: &mut Transaction<'_>, job: &Job) -> Result<Outcome, StorageError> {
    if get(transaction, &job.id)?.is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    let jobs = list(transaction, None, JOBS_MAX)?;
    if jobs.iter().filter(|job| !job.state.is_ended()).count() >= OPEN_JOBS_MAX {
        return Ok(Outcome::LimitReached);
    }
    if jobs.len() >= JOBS_MAX
        && let Some(oldest) = jobs.iter().find(|job| job.state.is_ended())
    {
        transaction.remove(Keyspace::Jobs, key(&oldest.id));
        transaction.remove(Keyspace::Jobs, owner_key(&oldest.id));
    }
    put(transaction, job)
}

/// Ends attempt `attempt` of a running job; [`Outcome::Stale`] when the job has moved on.
pub(crate) fn end_attempt(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    id: &JobId,
    attempt: u32,
    state: JobState,
) -> Result<Outcome, StorageError> {
    let Some(job) = get(transaction, id)? else { return Ok(Outcome::NotFound) };
    if job.state != JobState::Running || job.attempt != attempt {
        return Ok(Outcome::Stale);
    }
    put(transaction, &Job { state, ended_at: Some(at), ..job })
}

/// Ends open jobs whose library or account is gone: what they build would bring it back.
pub(crate) fn cancel_all(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    is_one: impl Fn(&Job) -> bool,
) -> Result<(), StorageError> {
    for job in list(transaction, None, JOBS_MAX)? {
        if !job.state.is_ended() && is_one(&job) {
            put(transaction, &Job { state: JobState::Cancelled, ended_at: Some(at), ..job })?;
        }
    }
    Ok(())
}

fn put(transaction: &mut Transaction<'_>, job: &Job) -> Result<Outcome, StorageError> {
    transaction.put(Keyspace::Jobs, key(&job.id), job)?;
    transaction.changed(Change::Job(job.id.clone()));
    Ok(Outcome::Done)
}

fn key(id: &JobId) -> Vec<u8> {
    format!("j/{id}").into_bytes()
}

fn owner_key(id: &JobId) -> Vec<u8> {
    format!("o/{id}").into_bytes()
}

fn lease_key(node: u64) -> Vec<u8> {
    [b"w/".as_slice(), &node.to_be_bytes()].concat()
}

/// The node that works on a job, or did last; nothing for one that nobody has claimed, or that was given back.
pub fn worker(reader: &(impl Reader + ?Sized), id: &JobId) -> Result<Option<u64>, StorageError> {
    Ok(owner(reader, id)?.filter(|node| *node != NOBODY))
}

/// Whose a job is, if somebody has claimed it; [`NOBODY`]'s when its node gave it back.
pub fn owner(reader: &(impl Reader + ?Sized), id: &JobId) -> Result<Option<u64>, StorageError> {
    let owner: Option<Owner> = transaction::get(reader, Keyspace::Jobs, &owner_key(id))?;
    Ok(owner.map(|owner| owner.node))
}

/// Until when a node's jobs are its own.
pub fn lease(reader: &(impl Reader + ?Sized), node: u64) -> Result<Option<Lease>, StorageError> {
    transaction::get(reader, Keyspace::Jobs, &lease_key(node))
}

/// The job with this id.
pub fn get(reader: &(impl Reader + ?Sized), id: &JobId) -> Result<Option<Job>, StorageError> {
    transaction::get(reader, Keyspace::Jobs, &key(id))
}

/// How many jobs of this account wait or run.
pub fn open_of(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<usize, StorageError> {
    let jobs = list(reader, None, JOBS_MAX)?;
    Ok(jobs.iter().filter(|job| !job.state.is_ended() && job.account == *account).count())
}

/// Up to `limit` jobs made after the job `after`, oldest first.
pub fn list(
    reader: &(impl Reader + ?Sized),
    after: Option<&JobId>,
    limit: usize,
) -> Result<Vec<Job>, StorageError> {
    transaction::scan(reader, Keyspace::Jobs, b"j/", after.map(key).as_deref(), limit)
}
