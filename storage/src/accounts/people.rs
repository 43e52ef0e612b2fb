//! People: accounts that somebody can sign in to.
//!
//! An e-mail belongs to one person at a time, decided here and nowhere else. Every change of what opens an
//! account (e-mail, password, disabling) makes a new *generation*: links that were sent before are forgotten, and a
//! sign-in that was decided before is refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::email::Email;
use super::{Account, factors, links, sessions, upstream};
use crate::api_keys;
use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{AccountId, SessionId};
use crate::jobs;
use crate::oauth::{client, consent, grant};
use crate::record::Record;
use crate::scope::Scope;
use crate::teams;
use crate::transaction::{self, Transaction};

/// What is kept of a password: algorithm, figures, salt and hash as one text (PHC string format).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash in the PHC string format.
    pub fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The text, for whoever compares.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Somebody who signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Their account.
    pub account: AccountId,
    /// Where mail reaches them.
    pub email: Email,
    /// What their password is compared with, once they have one.
    pub password: Option<PasswordHash>,
    /// Grows with every change of what opens the account.
    pub generation: u32,
    /// Whether they run this service.
    pub is_operator: bool,
    /// When they have shown that the e-mail is theirs.
    pub verified_at: Option<Timestamp>,
    /// Since when they are not let in.
    pub disabled_at: Option<Timestamp>,
    /// When the password was set.
    pub password_set_at: Option<Timestamp>,
}

impl Record for Person {
    const NAME: &'static str = "person";
    const FORMAT: u8 = 1;
}

/// A person to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonAdded {
    /// Their account; made when it is not there.
    pub account: AccountId,
    /// What people call them.
    pub name: String,
    /// Where mail reaches them.
    pub email: Email,
    /// Their password's hash.
    pub password: Option<PasswordHash>,
    /// Whether they run this service.
    pub is_operator: bool,
    /// Whether the e-mail is known to be theirs.
    pub is_verified: bool,
}

/// A change to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds a person. [`Outcome::AlreadyExists`] when the e-mail is taken or the account has a person.
    Add(PersonAdded),
    /// Changes what people call them. [`Outcome::NotFound`].
    Rename {
        /// Whom.
        account: AccountId,
        /// The new name.
        name: String,
    },
    /// Sets a password and ends every other session. [`Outcome::NotFound`], [`Outcome::Stale`] when something changed since it was decided.
    SetPassword {
        /// Whose.
        account: AccountId,
        /// The generation it was decided for.
        generation: u32,
        /// The new password's hash.
        password: PasswordHash,
        /// The session that goes on.
        keep: Option<SessionId>,
    },
    /// Lets somebody in, or not any more, which ends their sessions and refuses their keys, those they made for teams too, for as long
    /// as they are kept out; and makes them an operator or takes that away. [`Outcome::NotFound`].
    Manage {
        /// Whom.
        account: AccountId,
        /// Whether they are not let in; as it was when absent.
        is_disabled: Option<bool>,
        /// Whether they run this service; as it was when absent.
        is_operator: Option<bool>,
    },
    /// Removes a person and the account with its keys, sessions, links and memberships. [`Outcome::NotFound`], [`Outcome::Stale`] as
    /// above, [`Outcome::LimitReached`] for the last owner of a team.
    Remove {
        /// Whom.
        account: AccountId,
        /// The generation it was decided for.
        generation: u32,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Add(added) => add(transaction, at, added),
        // A team's name is its admins' to change.
        Command::Rename { account, .. } if teams::get(transaction, account)?.is_some() => {
            Ok(Outcome::NotFound)
        }
        Command::Rename { account, name } => super::rename(transaction, account, name),
        Command::SetPassword { account, generation, password, keep } => match person(transaction, account)? {
            None => Ok(Outcome::NotFound),
            Some(person) if person.generation != *generation => Ok(Outcome::Stale),
            Some(person) => {
                transaction.note(about(Action::PasswordChanged, account));
                set_password(transaction, at, person, password.clone(), keep.as_ref())
            }
        },
        Command::Manage { account, is_disabled, is_operator } => {
            let Some(mut person) = person(transaction, account)? else { return Ok(Outcome::NotFound) };
            if let Some(is_disabled) = is_disabled {
                if *is_disabled != person.disabled_at.is_some() {
                    let action = if *is_disabled { Action::AccountDisabled } else { Action::AccountEnabled };
                    transaction.note(about(action, account));
                }
                person.disabled_at = is_disabled.then(|| person.disabled_at.unwrap_or(at));
                if *is_disabled {
                    sessions::end_all(transaction, at, account, None)?;
                    grant::revoke_all(transaction, at, account, None)?;
                }
                refuse_keys(transaction, account, *is_disabled)?;
                renew(transaction, &mut person)?;
            }
            if person.is_operator && *is_operator == Some(false) {
                // What an operator allowed may be what only operators may.
                grant::revoke_all(transaction, at, account, None)?;
            }
            if let Some(is_operator) = is_operator
                && *is_operator != person.is_operator
            {
                let action = if *is_operator { Action::OperatorMade } else { Action::OperatorUnmade };
                transaction.note(about(action, account));
                person.is_operator = *is_operator;
            }
            put(transaction, &person)?;
            Ok(Outcome::Done)
        }
        Command::Remove { account, generation } => match person(transaction, account)? {
            None => Ok(Outcome::NotFound),
            Some(person) if person.generation != *generation => Ok(Outcome::Stale),
            Some(_) if teams::is_last_owner_somewhere(transaction, account)? => Ok(Outcome::LimitReached),
            Some(person) => {
                teams::leave_all(transaction, at, account)?;
                sessions::end_all(transaction, at, account, None)?;
                grant::revoke_all(transaction, at, account, None)?;
                consent::forget_all(transaction, account)?;
                client::forget_all(transaction, account)?;
                jobs::cancel_all(transaction, at, |job| job.account == *account)?;
                links::forget_all(transaction, account)?;
                upstream::unlink_all(transaction, account)?;
                api_keys::remove_all(transaction, account)?;
                factors::forget(transaction, account)?;
                transaction.remove(Keyspace::Accounts, email_key(&person.email));
                transaction.remove(Keyspace::Accounts, key(account));
                super::remove(transaction, account);
                transaction.note(about(Action::AccountDeleted, account));
                Ok(Outcome::Done)
            }
        },
    }
}

/// Refuses what keys of somebody open, or not any more; also of those they made for teams.
fn refuse_keys(
    transaction: &mut Transaction<'_>,
    account: &AccountId,
    is_refused: bool,
) -> Result<(), StorageError> {
    let own = api_keys::in_force(transaction, account)?.into_iter().map(|id| (account.clone(), id));
    for (account, id) in own.chain(teams::keys_made_by(transaction, account)?) {
        api_keys::refuse(transaction, &account, &id, is_refused)?;
    }
    Ok(())
}

/// Adds a person; also for a link that was used.
pub(super) fn add(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    added: &PersonAdded,
) -> Result<Outcome, StorageError> {
    let taken = transaction.get(Keyspace::Accounts, &email_key(&added.email))?.is_some();
    let is_team = teams::get(transaction, &added.account)?.is_some();
    if taken || is_team || person(transaction, &added.account)?.is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    if super::get(transaction, &added.account)?.is_none() {
        let account = Account { id: added.account.clone(), name: added.name.clone(), created_at: at };
        super::put(transaction, &account)?;
    }
    take_email(transaction, &added.email, &added.account);
    let person = Person {
        account: added.account.clone(),
        email: added.email.clone(),
        password_set_at: added.password.as_ref().map(|_| at),
        password: added.password.clone(),
        generation: 0,
        is_operator: added.is_operator,
        verified_at: added.is_verified.then_some(at),
        disabled_at: None,
    };
    put(transaction, &person)?;
    transaction.note(about(Action::AccountMade, &added.account));
    if added.is_operator {
        transaction.note(about(Action::OperatorMade, &added.account));
    }
    Ok(Outcome::Done)
}

/// Something that was done to an account.
pub(super) fn about(action: Action, account: &AccountId) -> Event {
    Event::new(action, Kind::Account, account)
}

/// Sets a password: every link is forgotten, and every session but `keep` ended.
pub(super) fn set_password(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    mut person: Person,
    password: PasswordHash,
    keep: Option<&SessionId>,
) -> Result<Outcome, StorageError> {
    sessions::end_all(transaction, at, &person.account, keep)?;
    // Whoever knew the old password may have allowed something.
    grant::revoke_all(transaction, at, &person.account, None)?;
    renew(transaction, &mut person)?;
    person.password = Some(password);
    person.password_set_at = Some(at);
    put(transaction, &person)?;
    Ok(Outcome::Done)
}

/// Gives a person another e-mail, which they have shown to be theirs. [`Outcome::AlreadyExists`] when it is taken.
pub(super) fn set_email(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    mut person: Person,
    email: &Email,
) -> Result<Outcome, StorageError> {
    if person.email != *email {
        if transaction.get(Keyspace::Accounts, &email_key(email))?.is_some() {
            return Ok(Outcome::AlreadyExists);
        }
        transaction.remove(Keyspace::Accounts, email_key(&person.email));
        take_email(transaction, email, &person.account);
        person.email = email.clone();
        transaction.note(about(Action::EmailChanged, &person.account));
    }
    renew(transaction, &mut person)?;
    person.verified_at = Some(at);
    put(transaction, &person)?;
    Ok(Outcome::Done)
}

/// Puts a stronger hash of the same password in place of the old one, which changes nothing else.
pub(super) fn rehash(
    transaction: &mut Transaction<'_>,
    mut person: Person,
    password: PasswordHash,
) -> Result<(), StorageError> {
    person.password = Some(password);
    put(transaction, &person)
}

/// Begins a new generation.
pub(super) fn renew(transaction: &mut Transaction<'_>, person: &mut Person) -> Result<(), StorageError> {
    person.generation = person.generation.wrapping_add(1);
    links::forget_all(transaction, &person.account)
}

fn take_email(transaction: &mut Transaction<'_>, email: &Email, account: &AccountId) {
    transaction.put_bytes(Keyspace::Accounts, email_key(email), account.as_str().as_bytes().to_vec());
}

pub(super) fn put(transaction: &mut Transaction<'_>, person: &Person) -> Result<(), StorageError> {
    transaction.put(Keyspace::Accounts, key(&person.account), person)
}

fn key(account: &AccountId) -> Vec<u8> {
    format!("p/{account}").into_bytes()
}

fn email_key(email: &Email) -> Vec<u8> {
    format!("e/{email}").into_bytes()
}

/// The person of this account, if it has one.
pub fn person(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Option<Person>, StorageError> {
    transaction::get(reader, Keyspace::Accounts, &key(account))
}

/// Whether what `account` has made may do what is for operators: a person's only while they are one, and let in. A machine's account
/// may, as operators alone make those; a team's may not, as anybody makes one.
pub fn may_operate(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<bool, StorageError> {
    Ok(match person(reader, account)? {
        Some(person) => person.is_operator && person.disabled_at.is_none(),
        None => super::get(reader, account)?.is_some() && teams::get(reader, account)?.is_none(),
    })
}

/// Leaves those of `scopes` that count from `account` now: what is for operators may have been given by somebody who was one.
pub fn keep_what_counts(
    reader: &(impl Reader + ?Sized),
    account: &AccountId,
    scopes: &mut Vec<Scope>,
) -> Result<(), StorageError> {
    if scopes.iter().any(|scope| scope.is_for_operators()) && !may_operate(reader, account)? {
        scopes.retain(|scope| !scope.is_for_operators());
    }
    Ok(())
}

/// The person with this e-mail.
pub fn by_email(reader: &(impl Reader + ?Sized), email: &Email) -> Result<Option<Person>, StorageError> {
    let Some(account) = reader.get(Keyspace::Accounts, &email_key(email))? else { return Ok(None) };
    let account = std::str::from_utf8(&account).ok().and_then(|account| account.parse().ok());
    match account {
        Some(account) => person(reader, &account),
        None => Ok(None),
    }
}

/// The people whose accounts are the oldest after `after`, up to `limit`.
pub fn people(
    reader: &(impl Reader + ?Sized),
    after: Option<&AccountId>,
    limit: usize,
) -> Result<Vec<Person>, StorageError> {
    let after = after.map(key);
    transaction::scan(reader, Keyspace::Accounts, b"p/", after.as_deref(), limit)
}
