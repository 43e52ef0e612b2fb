//! Identities at other providers: who somebody is elsewhere, and which account that opens here.
//!
//! Key layout: `up/<BLAKE3 of issuer and subject>` -> [`Identity`]; `ul/<account>` -> [`Identities`], which of them an account
//! has; `us/<BLAKE3 of issuer and session there>` -> the account, or nothing once that session has ended; `uj/<BLAKE3 of issuer and jti>` -> nothing, of a logout token
//! that was taken.
//!
//! Invariants: an identity opens one account at most, decided here and nowhere else; an account is never left without a way in
//! by taking an identity away; a logout token ends sessions once.

use serde::{Deserialize, Serialize};

use super::people::{self, PersonAdded, person};
use super::sessions::{self, Session};
use super::shelf;
use crate::audit::Action;
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Identities of one account.
pub const IDENTITIES_EACH_MAX: usize = 10;
/// Longest subject at a provider, in bytes (OpenID Connect Core, 2).
pub const SUBJECT_BYTES_MAX: usize = 255;
/// Logout tokens that are remembered; each is good for minutes.
const LOGOUTS_MAX: u64 = 100_000;
/// Sessions at providers that are remembered; one more forgets the one that began longest ago.
const SESSIONS_MAX: u64 = 1_000_000;

/// Somebody as a provider knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The provider, by the address it is configured with: `iss`.
    pub issuer: String,
    /// Who they are there, for ever: `sub`.
    pub subject: String,
}

impl Subject {
    /// The name of this identity here.
    pub fn id(&self) -> String {
        hash(&self.issuer, &self.subject)
    }
}

/// An identity that opens an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Who they are there.
    pub subject: Subject,
    /// Whose account it opens.
    pub account: AccountId,
    /// What the provider calls them, to be recognised by.
    pub name: String,
    /// Since when.
    pub linked_at: Timestamp,
}

impl Record for Identity {
    const NAME: &'static str = "identity at a provider";
    const FORMAT: u8 = 1;
}

/// Which identities an account has, by [`Subject::id`], oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identities(pub Vec<String>);

impl Record for Identities {
    const NAME: &'static str = "identities of an account";
    const FORMAT: u8 = 1;
}

/// The session at a provider that a session here came of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamSession {
    /// Who signed in there.
    pub subject: Subject,
    /// The session's name there: `sid`.
    pub session: Option<String>,
}

/// A change to identities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Lets an identity open an account. [`Outcome::AlreadyExists`] when it opens one, [`Outcome::NotFound`] without the person,
    /// [`Outcome::Stale`] when something changed since it was decided, [`Outcome::LimitReached`] with [`IDENTITIES_EACH_MAX`].
    Link {
        /// Who.
        subject: Subject,
        /// What the provider calls them.
        name: String,
        /// Whose account.
        account: AccountId,
        /// The person's generation it was decided for.
        generation: u32,
    },
    /// Makes an account that an identity opens. [`Outcome::AlreadyExists`] when the identity or the e-mail is taken.
    Join {
        /// Who.
        subject: Subject,
        /// What the provider calls them.
        name: String,
        /// The person.
        added: PersonAdded,
    },
    /// Takes an identity from an account. [`Outcome::NotFound`] when it has none such, [`Outcome::Stale`] when nothing else would open it.
    Unlink {
        /// Whose.
        account: AccountId,
        /// Which, by [`Subject::id`].
        id: String,
    },
    /// Ends the sessions that came of one at a provider, or of all of somebody's there. [`Outcome::AlreadyExists`] when this token
    /// was taken before; that nothing was left to end is no failure (OpenID Back-Channel Logout, 2.7).
    LogOut {
        /// The provider.
        issuer: String,
        /// Name of the logout token: `jti`.
        token: String,
        /// Who signed out there.
        subject: Option<String>,
        /// Which session there; all of them when absent.
        session: Option<String>,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Link { subject, name, account, generation } => {
            if identity(transaction, subject)?.is_some() {
                return Ok(Outcome::AlreadyExists);
            }
            match person(transaction, account)?.filter(|person| person.disabled_at.is_none()) {
                None => Ok(Outcome::NotFound),
                Some(person) if person.generation != *generation => Ok(Outcome::Stale),
                Some(_) => link(transaction, at, subject, name, account),
            }
        }
        Command::Join { subject, name, added } => {
            if identity(transaction, subject)?.is_some() {
                return Ok(Outcome::AlreadyExists);
            }
            match people::add(transaction, at, added)? {
                Outcome::Done => link(transaction, at, subject, name, &added.account),
                refused => Ok(refused),
            }
        }
        Command::Unlink { account, id } => unlink(transaction, account, id),
        Command::LogOut { issuer, token, subject, session } => {
            log_out(transaction, at, issuer, token, (subject.as_deref(), session.as_deref()))
        }
    }
}

fn link(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    subject: &Subject,
    name: &str,
    account: &AccountId,
) -> Result<Outcome, StorageError> {
    let mut theirs = ids(transaction, account)?;
    if theirs.0.len() >= IDENTITIES_EACH_MAX {
        return Ok(Outcome::LimitReached);
    }
    theirs.0.push(subject.id());
    let identity =
        Identity { subject: subject.clone(), account: account.clone(), name: name.to_owned(), linked_at: at };
    transaction.put(Keyspace::Accounts, list_key(account), &theirs)?;
    transaction.put(Keyspace::Accounts, key(&subject.id()), &identity)?;
    let linked = people::about(Action::IdentityLinked, account).with("provider", &subject.issuer);
    transaction.note(linked.with("identity", subject.id()));
    Ok(Outcome::Done)
}

fn unlink(transaction: &mut Transaction<'_>, account: &AccountId, id: &str) -> Result<Outcome, StorageError> {
    let mut theirs = ids(transaction, account)?;
    if !theirs.0.iter().any(|known| known == id) {
        return Ok(Outcome::NotFound);
    }
    let Some(mut person) = person(transaction, account)? else { return Ok(Outcome::NotFound) };
    if person.password.is_none() && theirs.0.len() == 1 {
        return Ok(Outcome::Stale);
    }
    // A sign-in that began with it is not gone on with.
    people::renew(transaction, &mut person)?;
    people::put(transaction, &person)?;
    transaction.note(people::about(Action::IdentityUnlinked, account).with("identity", id));
    theirs.0.retain(|known| known != id);
    transaction.remove(Keyspace::Accounts, key(id));
    if theirs.0.is_empty() {
        transaction.remove(Keyspace::Accounts, list_key(account));
    } else {
        transaction.put(Keyspace::Accounts, list_key(account), &theirs)?;
    }
    Ok(Outcome::Done)
}

/// Takes every identity of an account that is removed.
pub(super) fn unlink_all(transaction: &mut Transaction<'_>, account: &AccountId) -> Result<(), StorageError> {
    for id in ids(transaction, account)?.0 {
        transaction.remove(Keyspace::Accounts, key(&id));
    }
    transaction.remove(Keyspace::Accounts, list_key(account));
    Ok(())
}

fn log_out(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    issuer: &str,
    token: &str,
    (subject, session): (Option<&str>, Option<&str>),
) -> Result<Outcome, StorageError> {
    let used = [b"uj/".as_slice(), hash(issuer, token).as_bytes()].concat();
    if transaction.get(Keyspace::Accounts, &used)?.is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    transaction.put_bytes(Keyspace::Accounts, used.clone(), Vec::new());
    shelf::put(transaction, "logouts", used, LOGOUTS_MAX)?;
    // By the session first: it goes on when its identity was disconnected meanwhile.
    let by_session = session.map(|session| account_of(transaction, issuer, session)).transpose()?.flatten();
    let account = match (by_session, subject) {
        (None, Some(subject)) => {
            let subject = Subject { issuer: issuer.to_owned(), subject: subject.to_owned() };
            identity(transaction, &subject)?.map(|identity| identity.account)
        }
        (found, _) => found,
    };
    let Some(account) = account else { return Ok(Outcome::Done) };
    let is_meant = |kept: &Session| {
        kept.upstream.as_ref().is_some_and(|upstream| {
            upstream.subject.issuer == issuer
                && subject.is_none_or(|subject| upstream.subject.subject == subject)
                && session.is_none_or(|session| upstream.session.as_deref() == Some(session))
        })
    };
    let meant: Vec<_> = sessions::sessions(transaction, &account)?.into_iter().filter(is_meant).collect();
    sessions::end(transaction, at, &account, |id| meant.iter().any(|session| session.id == *id))?;
    Ok(Outcome::Done)
}

/// Notes whose session at a provider it is, so that its end there is found by its name alone.
pub(super) fn began(
    transaction: &mut Transaction<'_>,
    upstream: &UpstreamSession,
    account: &AccountId,
) -> Result<(), StorageError> {
    let Some(session) = &upstream.session else { return Ok(()) };
    let key = session_key(&upstream.subject.issuer, session);
    if transaction.get(Keyspace::Accounts, &key)?.is_none() {
        shelf::put(transaction, "sessions at providers", key.clone(), SESSIONS_MAX)?;
    }
    transaction.put_bytes(Keyspace::Accounts, key, account.as_str().as_bytes().to_vec());
    Ok(())
}

/// Forgets whose session at a provider it was, unless another one here came of it.
pub(super) fn ended(
    transaction: &mut Transaction<'_>,
    upstream: &UpstreamSession,
    account: &AccountId,
) -> Result<(), StorageError> {
    let Some(session) = &upstream.session else { return Ok(()) };
    let is_theirs = account_of(transaction, &upstream.subject.issuer, session)?.as_ref() == Some(account);
    let is_another = |other: &Session| {
        other.upstream.as_ref().is_some_and(|other| {
            other.subject.issuer == upstream.subject.issuer && other.session == upstream.session
        })
    };
    if is_theirs && !sessions::sessions(transaction, account)?.iter().any(is_another) {
        // The key stays where it is, so that it stands on the shelf once.
        transaction.put_bytes(Keyspace::Accounts, session_key(&upstream.subject.issuer, session), Vec::new());
    }
    Ok(())
}

fn account_of(
    reader: &(impl Reader + ?Sized),
    issuer: &str,
    session: &str,
) -> Result<Option<AccountId>, StorageError> {
    let found = reader.get(Keyspace::Accounts, &session_key(issuer, session))?;
    Ok(found.and_then(|account| std::str::from_utf8(&account).ok()?.parse().ok()))
}

/// One name of two texts, whatever is in them.
fn hash(issuer: &str, name: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(issuer.len() as u64).to_be_bytes());
    hasher.update(issuer.as_bytes());
    hasher.update(name.as_bytes());
    hasher.finalize().to_hex().to_string()
}

fn key(id: &str) -> Vec<u8> {
    format!("up/{id}").into_bytes()
}

fn list_key(account: &AccountId) -> Vec<u8> {
    format!("ul/{account}").into_bytes()
}

fn session_key(issuer: &str, session: &str) -> Vec<u8> {
    format!("us/{}", hash(issuer, session)).into_bytes()
}

fn ids(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Identities, StorageError> {
    Ok(transaction::get(reader, Keyspace::Accounts, &list_key(account))?.unwrap_or_default())
}

/// The account that somebody elsewhere opens, if there is one.
pub fn identity(
    reader: &(impl Reader + ?Sized),
    subject: &Subject,
) -> Result<Option<Identity>, StorageError> {
    let found: Option<Identity> = transaction::get(reader, Keyspace::Accounts, &key(&subject.id()))?;
    Ok(found.filter(|identity| identity.subject == *subject))
}

/// The identities of an account, oldest first.
pub fn identities(
    reader: &(impl Reader + ?Sized),
    account: &AccountId,
) -> Result<Vec<Identity>, StorageError> {
    let ids = ids(reader, account)?.0;
    ids.iter().filter_map(|id| transaction::get(reader, Keyspace::Accounts, &key(id)).transpose()).collect()
}
