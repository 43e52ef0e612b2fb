//! Libraries: names, facts and published versions.
//!
//! Key layout: `l/<id>` -> [`Library`]; `v/<id> <version>` -> [`VersionManifest`] (a space is in no
//! id, so that `/a/b` and `/a/b.c` stay apart). A version's documentation is not here: the manifest
//! names its bundle by hash.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::accounts;
use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{AccountId, JobId, LibraryId, Version};
use crate::jobs::{self, JobState};
use crate::record::Record;
use crate::refresh;
use crate::teams::{self, Role};
use crate::transaction::{self, Change, Transaction};

/// Versions one library may have.
pub const VERSIONS_MAX: usize = 1_000;
/// Longest title, in bytes.
pub const TITLE_BYTES_MAX: usize = 200;
/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 2_000;
/// Most aliases, rules.
pub const LIST_ITEMS_MAX: usize = 50;

/// What is told about a library, by its source or its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Name for people, e.g. `Python`.
    pub title: String,
    /// One or two sentences.
    pub description: String,
    /// Other names people use for it.
    pub aliases: Vec<String>,
    /// Where its source lives.
    pub source_url: Option<String>,
    /// Hints for agents that the library's own `context7.json` states.
    pub rules: Vec<String>,
}

/// Whom a library is shown to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Visibility {
    /// Everybody who may read documentation.
    #[default]
    Public,
    /// Its owner: the person, or every member of the team. To everybody else it is as if it were not there.
    Private,
}

/// One library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// Its id.
    pub id: LibraryId,
    /// Who owns it: may change and remove it.
    pub owner: AccountId,
    /// What is told about it.
    pub facts: Facts,
    /// How far the operator trusts the source, in tenths of a point from 0 to 100; absent = unknown.
    pub trust_tenths: Option<u8>,
    /// The version answered when none is asked for: the greatest release, or the greatest pre-release
    /// where there is no release.
    pub current: Option<Version>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its facts or versions last changed.
    pub updated_at: Timestamp,
    /// Whom it is shown to.
    pub visibility: Visibility,
}

/// As it lies in format 1, which has no word for privacy.
#[derive(Serialize, Deserialize)]
struct PublicLibrary {
    id: LibraryId,
    owner: AccountId,
    facts: Facts,
    trust_tenths: Option<u8>,
    current: Option<Version>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<PublicLibrary> for Library {
    fn from(public: PublicLibrary) -> Self {
        let PublicLibrary { id, owner, facts, trust_tenths, current, created_at, updated_at } = public;
        let visibility = Visibility::Public;
        Self { id, owner, facts, trust_tenths, current, created_at, updated_at, visibility }
    }
}

impl From<Library> for PublicLibrary {
    fn from(library: Library) -> Self {
        let Library { id, owner, facts, trust_tenths, current, created_at, updated_at, .. } = library;
        Self { id, owner, facts, trust_tenths, current, created_at, updated_at }
    }
}

impl Record for Library {
    const NAME: &'static str = "library";
    const FORMAT: u8 = 2;

    fn migrate(format: u8, body: &[u8]) -> Option<Self> {
        if format != 1 {
            return None;
        }
        postcard::from_bytes::<PublicLibrary>(body).ok().map(Self::from)
    }

    /// A public library stays in format 1: nodes of the build before read it, and a private one comes only when there are none.
    fn to_bytes(&self) -> postcard::Result<Vec<u8>> {
        match self.visibility {
            Visibility::Public => postcard::to_extend(&PublicLibrary::from(self.clone()), vec![1]),
            Visibility::Private => postcard::to_extend(self, vec![Self::FORMAT]),
        }
    }
}

impl Library {
    /// One that nothing is known of yet.
    fn new(at: Timestamp, id: &LibraryId, owner: &AccountId) -> Self {
        Self {
            id: id.clone(),
            owner: owner.clone(),
            facts: Facts::default(),
            trust_tenths: None,
            current: None,
            created_at: at,
            updated_at: at,
            visibility: Visibility::Public,
        }
    }

    /// Whether `viewer` may read it; whoever has no account sees what is public. What is public costs no look at anything else.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn is_shown_to(
        &self,
        reader: &(impl Reader + ?Sized),
        viewer: Option<&AccountId>,
    ) -> Result<bool, StorageError> {
        match (self.visibility, viewer) {
            (Visibility::Public, _) => Ok(true),
            (Visibility::Private, None) => Ok(false),
            (Visibility::Private, Some(viewer)) => {
                teams::acts_for(reader, viewer, &self.owner, Role::Developer)
            }
        }
    }
}

/// What was built for one version, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionManifest {
    /// Which library.
    pub library: LibraryId,
    /// Which version.
    pub version: Version,
    /// BLAKE3 of the bundle, in hex.
    pub bundle: String,
    /// The bundle's size.
    pub bundle_bytes: u64,
    /// Documents in it.
    pub pages: u32,
    /// Snippets in it.
    pub snippets: u32,
    /// Tokens of all snippets.
    pub tokens: u64,
    /// The embedder its vectors come from.
    pub embedder: String,
    /// The job that built it.
    pub job: JobId,
    /// When it was published.
    pub indexed_at: Timestamp,
}

impl Record for VersionManifest {
    const NAME: &'static str = "version manifest";
    const FORMAT: u8 = 1;
}

/// What a job has built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// BLAKE3 of the bundle, in hex.
    pub bundle: String,
    /// The bundle's size.
    pub bundle_bytes: u64,
    /// Documents in it.
    pub pages: u32,
    /// Snippets in it.
    pub snippets: u32,
    /// Tokens of all snippets.
    pub tokens: u64,
    /// The embedder its vectors come from.
    pub embedder: String,
}

/// A change to libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Puts a version in force and ends its job, both or neither: until then the version before
    /// answers. Makes the library when it is new. [`Outcome::Stale`] when the job was cancelled or
    /// another attempt has begun, [`Outcome::NotFound`] when the library belongs to another account.
    /// What was built to the same bundle before stays as it is, and its job ends as unchanged.
    Publish {
        /// The job that built it.
        job: JobId,
        /// The attempt that built it.
        attempt: u32,
        /// What the source says about the library; empty fields keep what is known.
        facts: Facts,
        /// What was built.
        built: Built,
    },
    /// Replaces a library's facts and trust. [`Outcome::NotFound`] for another account's.
    Describe {
        /// Which library.
        id: LibraryId,
        /// Whose it must be; anybody's when absent, for operators.
        account: Option<AccountId>,
        /// The new facts.
        facts: Facts,
        /// The new trust, as in [`Library::trust_tenths`].
        trust_tenths: Option<u8>,
    },
    /// Removes one version. [`Outcome::NotFound`] for another account's.
    RemoveVersion {
        /// Which library.
        id: LibraryId,
        /// Which version.
        version: Version,
        /// Whose it must be; anybody's when absent, for operators.
        account: Option<AccountId>,
    },
    /// Removes a library with all its versions. [`Outcome::NotFound`] for another account's.
    Remove {
        /// Which library.
        id: LibraryId,
        /// Whose it must be; anybody's when absent, for operators.
        account: Option<AccountId>,
    },
    /// Answers a version from another bundle: the same documentation with other vectors.
    /// [`Outcome::Stale`] when the version was published anew meanwhile, [`Outcome::NotFound`] when it
    /// is gone.
    Upgrade {
        /// Which library.
        id: LibraryId,
        /// Which version.
        version: Version,
        /// The bundle, in hex, whose documentation was taken: the version must still be answered from it.
        replaces: String,
        /// The bundle that answers from now on, in hex.
        bundle: String,
        /// Its size.
        bundle_bytes: u64,
        /// The embedder its vectors come from.
        embedder: String,
    },
    /// Makes a library before anything of it is published, so that a private one is never seen. [`Outcome::AlreadyExists`] when the name
    /// is taken, [`Outcome::NotFound`] for an account that is not there.
    Claim {
        /// Its id.
        id: LibraryId,
        /// Who will own it.
        owner: AccountId,
        /// Whom it is shown to.
        visibility: Visibility,
    },
    /// Shows a library to everybody, or to its owner alone. [`Outcome::NotFound`] for another account's.
    Show {
        /// Which library.
        id: LibraryId,
        /// Who does it; an operator when absent.
        account: Option<AccountId>,
        /// Whom it is shown to.
        visibility: Visibility,
    },
    /// Gives a library to another account. [`Outcome::NotFound`] for a library of an account that `account` does not act for,
    /// [`Outcome::Forbidden`] when they do not act for `to` either, or there is none.
    Move {
        /// Which library.
        id: LibraryId,
        /// Who does it; an operator when absent.
        account: Option<AccountId>,
        /// Whose it will be.
        to: AccountId,
    },
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Publish { job, attempt, facts, built } => {
            publish(transaction, at, job, *attempt, facts, built)
        }
        Command::Describe { id, account, facts, trust_tenths } => {
            let Some(library) = owned(transaction, id, account.as_ref())? else {
                return Ok(Outcome::NotFound);
            };
            let (facts, trust_tenths) = (facts.clone(), *trust_tenths);
            put(transaction, &Library { facts, trust_tenths, updated_at: at, ..library })
        }
        Command::RemoveVersion { id, version, account } => {
            let Some(mut library) = owned(transaction, id, account.as_ref())? else {
                return Ok(Outcome::NotFound);
            };
            if manifest(transaction, id, version)?.is_none() {
                return Ok(Outcome::NotFound);
            }
            transaction.remove(Keyspace::Libraries, version_key(id, version));
            refresh::forget_version(transaction, id, version);
            let removed = Event::new(Action::VersionRemoved, Kind::Library, id).of(&library.owner);
            transaction.note(removed.with("version", version));
            library.current = greatest(versions(transaction, id)?);
            put(transaction, &Library { updated_at: at, ..library })
        }
        Command::Remove { id, account } => {
            let Some(library) = owned(transaction, id, account.as_ref())? else {
                return Ok(Outcome::NotFound);
            };
            // What a job builds is public where no library says otherwise. Only of private ones: builds before those leave jobs alone.
            if library.visibility == Visibility::Private {
                jobs::cancel_all(transaction, at, |job| job.library == *id)?;
            }
            teams::library_removed(transaction, &library.owner)?;
            transaction.note(Event::new(Action::LibraryRemoved, Kind::Library, id).of(&library.owner));
            for manifest in versions(transaction, id)? {
                transaction.remove(Keyspace::Libraries, version_key(id, &manifest.version));
                refresh::forget_version(transaction, id, &manifest.version);
            }
            refresh::forget(transaction, id);
            transaction.remove(Keyspace::Libraries, key(id));
            transaction.changed(Change::Library(id.clone()));
            Ok(Outcome::Done)
        }
        Command::Upgrade { id, version, replaces, bundle, bundle_bytes, embedder } => {
            let Some(manifest) = manifest(transaction, id, version)? else {
                return Ok(Outcome::NotFound);
            };
            if manifest.bundle != *replaces {
                return Ok(Outcome::Stale);
            }
            let (bundle, embedder) = (bundle.clone(), embedder.clone());
            let upgraded = VersionManifest { bundle, bundle_bytes: *bundle_bytes, embedder, ..manifest };
            transaction.put(Keyspace::Libraries, version_key(id, version), &upgraded)?;
            // Its facts are the same: `updated_at` stays.
            transaction.changed(Change::Library(id.clone()));
            Ok(Outcome::Done)
        }
        Command::Claim { id, owner, visibility } => {
            if get(transaction, id)?.is_some() {
                return Ok(Outcome::AlreadyExists);
            }
            if accounts::get(transaction, owner)?.is_none() {
                return Ok(Outcome::NotFound);
            }
            teams::library_added(transaction, owner)?;
            put(transaction, &Library { visibility: *visibility, ..Library::new(at, id, owner) })
        }
        Command::Show { id, account, visibility } => {
            let Some(library) = owned(transaction, id, account.as_ref())? else {
                return Ok(Outcome::NotFound);
            };
            let whom = match visibility {
                Visibility::Public => "everybody",
                Visibility::Private => "owner",
            };
            let shown = Event::new(Action::LibraryShown, Kind::Library, id).of(&library.owner);
            transaction.note(shown.with("to", whom));
            put(transaction, &Library { visibility: *visibility, updated_at: at, ..library })
        }
        Command::Move { id, account, to } => {
            let Some(library) = owned(transaction, id, account.as_ref())? else {
                return Ok(Outcome::NotFound);
            };
            let may = match account {
                Some(account) => teams::acts_for(transaction, account, to, Role::Admin)?,
                None => true,
            };
            if !may || accounts::get(transaction, to)?.is_none() {
                return Ok(Outcome::Forbidden);
            }
            teams::library_removed(transaction, &library.owner)?;
            teams::library_added(transaction, to)?;
            let moved = Event::new(Action::LibraryMoved, Kind::Library, id).of(to);
            transaction.note(moved.with("from", &library.owner));
            put(transaction, &Library { owner: to.clone(), updated_at: at, ..library })
        }
    }
}

fn publish(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    job_id: &JobId,
    attempt: u32,
    facts: &Facts,
    built: &Built,
) -> Result<Outcome, StorageError> {
    let Some(job) = jobs::get(transaction, job_id)? else { return Ok(Outcome::NotFound) };
    let known = get(transaction, &job.library)?;
    let is_first = known.is_none();
    let library = match known {
        Some(library) if library.owner != job.account => return Ok(Outcome::NotFound),
        Some(library) => library,
        None => Library::new(at, &job.library, &job.account),
    };
    let is_new = manifest(transaction, &job.library, &job.version)?.is_none();
    if is_new && versions(transaction, &job.library)?.len() >= VERSIONS_MAX {
        return Ok(Outcome::LimitReached);
    }
    let is_unchanged = refresh::is_unchanged(transaction, &job, built)?;
    let end = if is_unchanged { JobState::Unchanged } else { JobState::Done };
    match jobs::end_attempt(transaction, at, job_id, attempt, end)? {
        Outcome::Done => {}
        refused => return Ok(refused),
    }
    if is_first {
        teams::library_added(transaction, &library.owner)?;
    }
    refresh::note(transaction, at, &job, built)?;
    let facts = merged(library.facts.clone(), facts);
    if is_unchanged {
        // It may be answered from a bundle with more vectors by now, which stays.
        let is_told = facts == library.facts;
        return if is_told {
            Ok(Outcome::Done)
        } else {
            put(transaction, &Library { facts, updated_at: at, ..library })
        };
    }
    let manifest = VersionManifest {
        library: job.library.clone(),
        version: job.version.clone(),
        bundle: built.bundle.clone(),
        bundle_bytes: built.bundle_bytes,
        pages: built.pages,
        snippets: built.snippets,
        tokens: built.tokens,
        embedder: built.embedder.clone(),
        job: job_id.clone(),
        indexed_at: at,
    };
    transaction.put(Keyspace::Libraries, version_key(&job.library, &job.version), &manifest)?;
    let current = greatest(versions(transaction, &job.library)?);
    put(transaction, &Library { facts, current, updated_at: at, ..library })
}

/// What the source says, over what was known; an empty field keeps what was known.
fn merged(known: Facts, told: &Facts) -> Facts {
    let text = |known: String, told: &String| if told.is_empty() { known } else { told.clone() };
    let list = |known: Vec<String>, told: &Vec<String>| if told.is_empty() { known } else { told.clone() };
    Facts {
        title: text(known.title, &told.title),
        description: text(known.description, &told.description),
        aliases: list(known.aliases, &told.aliases),
        source_url: told.source_url.clone().or(known.source_url),
        rules: list(known.rules, &told.rules),
    }
}

/// The greatest release; the greatest pre-release where there is no release.
fn greatest(manifests: Vec<VersionManifest>) -> Option<Version> {
    let versions = manifests.into_iter().map(|manifest| manifest.version);
    versions.max_by(|one, other| {
        let is_release = |version: &Version| split_version(version.as_str()).1.is_empty();
        is_release(one).cmp(&is_release(other)).then_with(|| compare_versions(one, other))
    })
}

/// Orders versions as people do: by their numbers, releases over pre-releases, then by letters.
///
/// `1.10` is greater than `1.9`, `2.0` greater than `2.0-rc.1`, a leading `v` counts for nothing.
pub fn compare_versions(one: &Version, other: &Version) -> Ordering {
    let (one_release, one_pre) = split_version(one.as_str());
    let (other_release, other_pre) = split_version(other.as_str());
    compare_parts(one_release, other_release)
        .then_with(|| match (one_pre.is_empty(), other_pre.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => compare_parts(one_pre, other_pre),
        })
        .then_with(|| one.cmp(other))
}

/// Release and pre-release; build metadata after `+` says nothing about order (Semantic Versioning 2.0, 10).
fn split_version(version: &str) -> (&str, &str) {
    let version = version.split('+').next().unwrap_or_default();
    let version = version.strip_prefix(['v', 'V']).unwrap_or(version);
    version.split_once('-').unwrap_or((version, ""))
}

fn compare_parts(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.split(['.', '-', '_']), other.split(['.', '-', '_']));
    loop {
        let (left, right) = match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => (left.unwrap_or("0"), right.unwrap_or("0")),
        };
        let by_number = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            (Ok(_), Err(_)) => Ordering::Greater,
            (Err(_), Ok(_)) => Ordering::Less,
            (Err(_), Err(_)) => left.cmp(right),
        };
        if by_number.is_ne() {
            return by_number;
        }
    }
}

/// The library, if `account` may change it: an operator, its owner, or an admin of the team that owns it.
fn owned(
    transaction: &Transaction<'_>,
    id: &LibraryId,
    account: Option<&AccountId>,
) -> Result<Option<Library>, StorageError> {
    let Some(library) = get(transaction, id)? else { return Ok(None) };
    let may = match account {
        Some(account) => teams::acts_for(transaction, account, &library.owner, Role::Admin)?,
        None => true,
    };
    Ok(may.then_some(library))
}

fn put(transaction: &mut Transaction<'_>, library: &Library) -> Result<Outcome, StorageError> {
    transaction.put(Keyspace::Libraries, key(&library.id), library)?;
    transaction.changed(Change::Library(library.id.clone()));
    Ok(Outcome::Done)
}

fn key(id: &LibraryId) -> Vec<u8> {
    format!("l/{id}").into_bytes()
}

fn version_key(id: &LibraryId, version: &Version) -> Vec<u8> {
    format!("v/{id} {version}").into_bytes()
}

/// The library with this id.
pub fn get(reader: &(impl Reader + ?Sized), id: &LibraryId) -> Result<Option<Library>, StorageError> {
    transaction::get(reader, Keyspace::Libraries, &key(id))
}

/// Up to `limit` libraries after the library `after`, by id.
pub fn list(
    reader: &(impl Reader + ?Sized),
    after: Option<&LibraryId>,
    limit: usize,
) -> Result<Vec<Library>, StorageError> {
    transaction::scan(reader, Keyspace::Libraries, b"l/", after.map(key).as_deref(), limit)
}

/// What was published for one version.
pub fn manifest(
    reader: &(impl Reader + ?Sized),
    id: &LibraryId,
    version: &Version,
) -> Result<Option<VersionManifest>, StorageError> {
    transaction::get(reader, Keyspace::Libraries, &version_key(id, version))
}

/// The library's published versions, at most [`VERSIONS_MAX`], by name.
pub fn versions(
    reader: &(impl Reader + ?Sized),
    id: &LibraryId,
) -> Result<Vec<VersionManifest>, StorageError> {
    let prefix = format!("v/{id} ");
    transaction::scan(reader, Keyspace::Libraries, prefix.as_bytes(), None, VERSIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_people_order_them() {
        let rising = [
            "nightly",
            "0.9",
            "1.0-alpha",
            "1.0-beta.2",
            "1.0-beta.11",
            "v1.0",
            "1.0.1",
            "1.9",
            "1.10",
            "2.0-rc.1",
            "2.0",
            "2026-11-23",
        ];
        for pair in rising.windows(2) {
            let (less, greater): (Version, Version) = (pair[0].parse().unwrap(), pair[1].parse().unwrap());
            assert_eq!(compare_versions(&less, &greater), Ordering::Less, "{less} < {greater}");
            assert_eq!(compare_versions(&greater, &less), Ordering::Greater, "{greater} > {less}");
        }
    }
}
