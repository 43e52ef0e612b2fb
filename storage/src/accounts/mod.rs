//! Accounts: the people, teams and machines that own keys, libraries and jobs.
//!
//! A team is an [`Account`] that people act for ([`crate::teams`]). A machine is an [`Account`] and its keys. Somebody who signs in is a
//! [`Person`] beside it, with [`Session`]s, [`Factors`], [`Link`]s sent by mail, and [`Tries`] of passwords; each has a file of its own.
//!
//! Key layout, in [`Keyspace::Accounts`]: `a/<account>` -> [`Account`]; `p/<account>` -> [`Person`];
//! `e/<e-mail>` -> the account that has it; `f/<account>` -> [`Factors`]; `w/<hash>` -> the account that has a passkey; `s/<hash>` -> [`Session`]; `r/<account>` -> [`Ring`], which sessions the
//! account has; `l/<hash>` -> [`Link`]; `n/<account or e-mail>` -> [`Links`], which links were made for it;
//! `t/<who>` -> [`Tries`]; `x/<whose>` -> [`Texts`]; `up/`, `ul/`, `us/`, `uj/`: identities at other providers (`upstream`); `q/<name>` and `q/<name>/<number>` -> what is forgotten first (`shelf`).

mod email;
mod factors;
mod links;
mod passkeys;
mod people;
mod sessions;
mod shelf;
#[cfg(test)]
mod tests;
mod texts;
mod tries;
mod upstream;

use serde::{Deserialize, Serialize};

use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::transaction::{self, Transaction};

pub use self::email::{EMAIL_BYTES_MAX, Email, InvalidEmail};
pub use self::factors::{
    BACKUP_CODES, Command as FactorCommand, Factors, Proof, Renewal, Sms, Totp, WhichFactor, factors,
};
pub use self::links::{Command as LinkCommand, LINKS_EACH_MAX, LINKS_MAX, Link, Links, Purpose, link};
pub use self::passkeys::{ANSWERED_MAX, Answered, Assertion, PASSKEYS_PER_ACCOUNT_MAX, Passkey, by_passkey};
pub use self::people::{
    Command as PersonCommand, PasswordHash, Person, PersonAdded, by_email, keep_what_counts, may_operate,
    people, person,
};
pub(crate) use self::sessions::goes_on;
pub use self::sessions::{
    Command as SessionCommand, Method, Ring, SESSIONS_PER_ACCOUNT_MAX, Session, SignIn, Which, every_session,
    session, sessions,
};
#[cfg(test)]
pub(crate) use self::shelf::Shelf;
pub use self::texts::{Command as TextCommand, TEXTS_EACH_MAX, TEXTS_MAX, Texts, TextsAllowed, Whose, texts};
pub use self::tries::{Command as TryCommand, TRIES_MAX, Tried, Tries, Who, tries};
pub use self::upstream::{
    Command as UpstreamCommand, IDENTITIES_EACH_MAX, Identities, Identity, SUBJECT_BYTES_MAX, Subject,
    UpstreamSession, identities, identity,
};

/// Longest name of an account, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Record for Account {
    const NAME: &'static str = "account";
    const FORMAT: u8 = 1;
}

/// A change to accounts. Variants are only ever added at the end: their numbers are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes an account. [`Outcome::AlreadyExists`] when the id is taken.
    Create {
        /// The new account's id.
        id: AccountId,
        /// What people call it.
        name: String,
    },
    /// A change to who may sign in.
    Person(PersonCommand),
    /// A sign-in, or the end of one.
    Session(SessionCommand),
    /// A change to links that were sent by mail.
    Link(LinkCommand),
    /// Wrong passwords.
    Try(TryCommand),
    /// A change to what somebody shows beside the password.
    Factor(FactorCommand),
    /// A change to identities at other providers.
    Upstream(UpstreamCommand),
    /// Text messages.
    Text(TextCommand),
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Create { id, name } => {
            if get(transaction, id)?.is_some() {
                return Ok(Outcome::AlreadyExists);
            }
            put(transaction, &Account { id: id.clone(), name: name.clone(), created_at: at })?;
            transaction.note(Event::new(Action::AccountMade, Kind::Account, id));
            Ok(Outcome::Done)
        }
        Command::Person(command) => people::apply(transaction, at, command),
        Command::Session(command) => sessions::apply(transaction, at, command),
        Command::Link(command) => links::apply(transaction, at, command),
        Command::Try(command) => tries::apply(transaction, at, command),
        Command::Factor(command) => factors::apply(transaction, at, command),
        Command::Upstream(command) => upstream::apply(transaction, at, command),
        Command::Text(command) => texts::apply(transaction, at, command),
    }
}

pub(crate) fn put(transaction: &mut Transaction<'_>, account: &Account) -> Result<(), StorageError> {
    transaction.put(Keyspace::Accounts, key(&account.id), account)
}

/// Changes what people call an account.
pub(crate) fn rename(
    transaction: &mut Transaction<'_>,
    id: &AccountId,
    name: &str,
) -> Result<Outcome, StorageError> {
    let Some(account) = get(transaction, id)? else { return Ok(Outcome::NotFound) };
    put(transaction, &Account { name: name.to_owned(), ..account })?;
    Ok(Outcome::Done)
}

pub(crate) fn remove(transaction: &mut Transaction<'_>, id: &AccountId) {
    transaction.remove(Keyspace::Accounts, key(id));
}

fn key(id: &AccountId) -> Vec<u8> {
    format!("a/{id}").into_bytes()
}

/// The account with this id.
pub fn get(reader: &(impl Reader + ?Sized), id: &AccountId) -> Result<Option<Account>, StorageError> {
    transaction::get(reader, Keyspace::Accounts, &key(id))
}

/// The oldest accounts, up to `limit`.
pub fn list(reader: &(impl Reader + ?Sized), limit: usize) -> Result<Vec<Account>, StorageError> {
    transaction::scan(reader, Keyspace::Accounts, b"a/", None, limit)
}
