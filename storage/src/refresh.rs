//! Refresh: where each version came from, how often a library is read again, and who may ask for it
//! from outside.
//!
//! Key layout: `o/<id> <version>` -> [`Origin`]; `s/<id>` -> [`Schedule`]; `h/<id>` -> [`Hook`]; `k/<place>` ->
//! [`WebhookKey`]. An origin is written when its version is published, and goes with it; schedule and hook go with their library.
//!
//! Invariant: a hook's secret is not here. It follows from [`Hook::salt`] and the cluster's key that was in force when the hook
//! was made; what was derived from earlier keys is kept sealed.

use serde::{Deserialize, Serialize};

use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{AccountId, LibraryId, Version};
use crate::jobs::{Job, Source};
use crate::libraries::{self, Built, Library};
use crate::record::Record;
use crate::teams::{self, Role};
use crate::transaction::{self, Transaction};

/// Shortest time between two refreshes by schedule, in seconds.
pub const EVERY_MIN_S: u64 = 3_600;
/// Longest such time, in seconds.
pub const EVERY_MAX_S: u64 = 365 * 24 * 3_600;

/// Where a version came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Which library.
    pub library: LibraryId,
    /// Which version.
    pub version: Version,
    /// Who had it indexed.
    pub account: AccountId,
    /// What it was read from.
    pub source: Source,
    /// Where its pages are published.
    pub base_url: Option<String>,
    /// The bundle that was built from it, in hex: the version may be answered from one with more vectors.
    pub built: String,
    /// When it was last read, whether or not anything had changed.
    pub checked_at: Timestamp,
}

impl Record for Origin {
    const NAME: &'static str = "origin of a version";
    const FORMAT: u8 = 1;
}

/// How often a library's current version is read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Which library.
    pub library: LibraryId,
    /// Seconds from one reading to the next.
    pub every_s: u64,
}

impl Record for Schedule {
    const NAME: &'static str = "refresh schedule";
    const FORMAT: u8 = 1;
}

/// Who knows the secret of a library's hook may have it read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Which library.
    pub library: LibraryId,
    /// Makes this secret another one than the library's last.
    pub salt: [u8; 16],
    /// When it was made.
    pub created_at: Timestamp,
}

impl Record for Hook {
    const NAME: &'static str = "webhook";
    const FORMAT: u8 = 1;
}

/// What secrets of webhooks were made from until the cluster's key was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookKey {
    /// Hooks made until then are of it, unless they are of an earlier one.
    pub until: Timestamp,
    /// Itself, sealed with the cluster's key in force.
    pub sealed: Vec<u8>,
}

impl Record for WebhookKey {
    const NAME: &'static str = "key of webhooks";
    const FORMAT: u8 = 1;
}

/// Earlier keys of webhooks that are kept.
pub const WEBHOOK_KEYS_MAX: usize = 64;

/// A change to how libraries are refreshed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Sets how often a library is read again; never, when absent. [`Outcome::NotFound`] for another account's.
    Plan {
        /// Which library.
        library: LibraryId,
        /// Whose it must be; anybody's when absent, for operators.
        account: Option<AccountId>,
        /// Seconds from one reading to the next.
        every_s: Option<u64>,
    },
    /// Makes a hook, in place of the one before; takes it away when there is no salt.
    /// [`Outcome::NotFound`] for another account's library.
    Hook {
        /// Which library.
        library: LibraryId,
        /// Whose it must be; anybody's when absent, for operators.
        account: Option<AccountId>,
        /// See [`Hook::salt`].
        salt: Option<[u8; 16]>,
    },
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    let (Command::Plan { library, account, .. } | Command::Hook { library, account, .. }) = command;
    let Some(known) = libraries::get(transaction, library)? else { return Ok(Outcome::NotFound) };
    if let Some(account) = account
        && !teams::acts_for(transaction, account, &known.owner, Role::Admin)?
    {
        return Ok(Outcome::NotFound);
    }
    match command {
        Command::Plan { every_s: Some(every_s), .. } => {
            let schedule = Schedule { library: library.clone(), every_s: *every_s };
            transaction.put(Keyspace::Refresh, schedule_key(library), &schedule)?;
        }
        Command::Plan { every_s: None, .. } => transaction.remove(Keyspace::Refresh, schedule_key(library)),
        Command::Hook { salt: Some(salt), .. } => {
            transaction.note(noted(Action::WebhookKeyMade, &known));
            let hook = Hook { library: library.clone(), salt: *salt, created_at: at };
            transaction.put(Keyspace::Refresh, hook_key(library), &hook)?;
        }
        Command::Hook { salt: None, .. } => {
            if hook(transaction, library)?.is_some() {
                transaction.note(noted(Action::WebhookKeyRemoved, &known));
            }
            transaction.remove(Keyspace::Refresh, hook_key(library));
        }
    }
    Ok(Outcome::Done)
}

fn noted(action: Action, library: &Library) -> Event {
    Event::new(action, Kind::Library, &library.id).of(&library.owner)
}

/// Whether the version was built from its source to the same bundle before.
pub(crate) fn is_unchanged(
    reader: &(impl Reader + ?Sized),
    job: &Job,
    built: &Built,
) -> Result<bool, StorageError> {
    let before = origin(reader, &job.library, &job.version)?;
    let is_there = libraries::manifest(reader, &job.library, &job.version)?.is_some();
    Ok(is_there && before.is_some_and(|before| before.built == built.bundle))
}

/// Notes where a version came from, and when it was read.
pub(crate) fn note(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    job: &Job,
    built: &Built,
) -> Result<(), StorageError> {
    let origin = Origin {
        library: job.library.clone(),
        version: job.version.clone(),
        account: job.account.clone(),
        source: job.source.clone(),
        base_url: job.base_url.clone(),
        built: built.bundle.clone(),
        checked_at: at,
    };
    transaction.put(Keyspace::Refresh, origin_key(&job.library, &job.version), &origin)
}

/// Forgets where a version came from.
pub(crate) fn forget_version(transaction: &mut Transaction<'_>, library: &LibraryId, version: &Version) {
    transaction.remove(Keyspace::Refresh, origin_key(library, version));
}

/// Forgets schedule and hook of a library.
pub(crate) fn forget(transaction: &mut Transaction<'_>, library: &LibraryId) {
    transaction.remove(Keyspace::Refresh, schedule_key(library));
    transaction.remove(Keyspace::Refresh, hook_key(library));
}

/// Where a version came from; unknown of one that was published before origins were kept.
pub fn origin(
    reader: &(impl Reader + ?Sized),
    library: &LibraryId,
    version: &Version,
) -> Result<Option<Origin>, StorageError> {
    transaction::get(reader, Keyspace::Refresh, &origin_key(library, version))
}

/// Where the versions of a library came from, by name.
pub fn origins(reader: &(impl Reader + ?Sized), library: &LibraryId) -> Result<Vec<Origin>, StorageError> {
    let prefix = format!("o/{library} ");
    transaction::scan(reader, Keyspace::Refresh, prefix.as_bytes(), None, libraries::VERSIONS_MAX)
}

/// How often a library is read again.
pub fn schedule(
    reader: &(impl Reader + ?Sized),
    library: &LibraryId,
) -> Result<Option<Schedule>, StorageError> {
    transaction::get(reader, Keyspace::Refresh, &schedule_key(library))
}

/// Up to `limit` schedules after that of the library `after`, by library.
pub fn schedules(
    reader: &(impl Reader + ?Sized),
    after: Option<&LibraryId>,
    limit: usize,
) -> Result<Vec<Schedule>, StorageError> {
    transaction::scan(reader, Keyspace::Refresh, b"s/", after.map(schedule_key).as_deref(), limit)
}

/// The hook of a library.
pub fn hook(reader: &(impl Reader + ?Sized), library: &LibraryId) -> Result<Option<Hook>, StorageError> {
    transaction::get(reader, Keyspace::Refresh, &hook_key(library))
}

/// Up to `limit` hooks after that of the library `after`, by library.
pub fn hooks(
    reader: &(impl Reader + ?Sized),
    after: Option<&LibraryId>,
    limit: usize,
) -> Result<Vec<Hook>, StorageError> {
    transaction::scan(reader, Keyspace::Refresh, b"h/", after.map(hook_key).as_deref(), limit)
}

/// What secrets of webhooks were made from before, oldest first.
pub fn webhook_keys(reader: &(impl Reader + ?Sized)) -> Result<Vec<WebhookKey>, StorageError> {
    transaction::scan(reader, Keyspace::Refresh, b"k/", None, WEBHOOK_KEYS_MAX)
}

/// Replaces them; the last one was in force until `at`.
pub(crate) fn put_webhook_keys(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    keys: &[WebhookKey],
) -> Result<(), StorageError> {
    let before = transaction.scan(Keyspace::Refresh, b"k/", None, WEBHOOK_KEYS_MAX)?;
    for (key, _) in before {
        transaction.remove(Keyspace::Refresh, key);
    }
    // Should there be too many, the oldest go.
    let kept = &keys[keys.len().saturating_sub(WEBHOOK_KEYS_MAX)..];
    for (place, key) in kept.iter().enumerate() {
        let until = if place + 1 == kept.len() { at } else { key.until };
        let place = u8::try_from(place).unwrap_or(u8::MAX);
        let key = WebhookKey { until, ..key.clone() };
        transaction.put(Keyspace::Refresh, [b"k/".as_slice(), &[place]].concat(), &key)?;
    }
    Ok(())
}

fn origin_key(library: &LibraryId, version: &Version) -> Vec<u8> {
    format!("o/{library} {version}").into_bytes()
}

fn schedule_key(library: &LibraryId) -> Vec<u8> {
    format!("s/{library}").into_bytes()
}

fn hook_key(library: &LibraryId) -> Vec<u8> {
    format!("h/{library}").into_bytes()
}
