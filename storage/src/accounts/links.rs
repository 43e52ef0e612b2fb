//! Links sent by mail, or shown once to an operator: each is used once, for one thing, before it expires.
//!
//! A link that belongs to a person is forgotten with every change of what opens their account
//! ([`people`](super::people)), so one that was sent before cannot undo it.

use serde::{Deserialize, Serialize};

use super::email::Email;
use super::people::{self, PasswordHash, PersonAdded, person};
use super::shelf;
use super::tries::{self, Who};
use crate::api_keys::SecretHash;
use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Links for one thing that are open for one person or e-mail; one more ends the one that would expire first.
pub const LINKS_EACH_MAX: usize = 3;
/// Links that are open at once; one more ends the oldest.
pub const LINKS_MAX: u64 = 100_000;

/// What a link is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To make an account, with a password that is chosen when the link is used.
    SignUp {
        /// What people will call them; chosen with the password when empty.
        name: String,
        /// Where the link was sent to.
        email: Email,
        /// Whether they will run this service.
        is_operator: bool,
    },
    /// To choose another password without the old one.
    Reset {
        /// Whose.
        account: AccountId,
    },
    /// To show that an e-mail is theirs, and to use it from now on.
    Email {
        /// Whose.
        account: AccountId,
        /// Where the link was sent to.
        email: Email,
    },
}

impl Purpose {
    /// Whom the link is for: at most [`LINKS_EACH_MAX`] are open for each.
    fn whose(&self) -> String {
        match self {
            Self::SignUp { email, .. } => email.as_str().to_owned(),
            Self::Reset { account } | Self::Email { account, .. } => account.as_str().to_owned(),
        }
    }
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is for.
    pub purpose: Purpose,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

impl Record for Link {
    const NAME: &'static str = "link";
    const FORMAT: u8 = 1;
}

/// Which links are open for somebody, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    pub(crate) hashes: Vec<SecretHash>,
}

impl Record for Links {
    const NAME: &'static str = "links of somebody";
    const FORMAT: u8 = 1;
}

/// A change to links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a link. [`Outcome::NotFound`] for an account without a person, [`Outcome::AlreadyExists`] when the secret is taken.
    Make {
        /// Hash of its secret.
        secret_hash: SecretHash,
        /// What it is for.
        purpose: Purpose,
        /// How long it is good, in milliseconds.
        life_ms: u64,
    },
    /// Uses a link up. [`Outcome::NotFound`] for one that is unknown, used, expired or forgotten, [`Outcome::AlreadyExists`] when
    /// somebody else has the e-mail by now, [`Outcome::Stale`] when it needs a password and there is none.
    Use {
        /// Hash of its secret.
        secret_hash: SecretHash,
        /// Id of an account, should one be made.
        account: AccountId,
        /// What people call them, where the link does not say.
        name: String,
        /// The new password's hash, where one is chosen.
        password: Option<PasswordHash>,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Make { secret_hash, purpose, life_ms } => {
            make(transaction, secret_hash, purpose, at.plus_millis(*life_ms))
        }
        Command::Use { secret_hash, account, name, password } => {
            let Some(link) = link(transaction, secret_hash)?.filter(|link| at < link.expires_at) else {
                return Ok(Outcome::NotFound);
            };
            let outcome = used(transaction, at, &link.purpose, account, name, password.as_ref())?;
            if outcome == Outcome::Done {
                // Every other link of theirs has the same end.
                forget(transaction, &link.purpose.whose())?;
            }
            Ok(outcome)
        }
    }
}

fn make(
    transaction: &mut Transaction<'_>,
    secret_hash: &SecretHash,
    purpose: &Purpose,
    expires_at: Timestamp,
) -> Result<Outcome, StorageError> {
    if let Purpose::Reset { account } | Purpose::Email { account, .. } = purpose
        && person(transaction, account)?.is_none()
    {
        return Ok(Outcome::NotFound);
    }
    if link(transaction, secret_hash)?.is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    let whose = purpose.whose();
    let mut links = links(transaction, &whose)?;
    if let Some(over) = over(transaction, &mut links, purpose)? {
        transaction.remove(Keyspace::Accounts, key(&over));
    }
    links.hashes.push(*secret_hash);
    transaction.put(Keyspace::Accounts, whose_key(&whose), &links)?;
    transaction.put(Keyspace::Accounts, key(secret_hash), &Link { purpose: purpose.clone(), expires_at })?;
    shelf::put(transaction, "links", key(secret_hash), LINKS_MAX)?;
    transaction.note(match purpose {
        Purpose::SignUp { email, is_operator, .. } => {
            // Nobody has this address yet, so it is named as wrong passwords for it are.
            let invited = Event::new(Action::AccountInvited, Kind::Name, Who::email(email));
            let invited = invited.with("email", email.masked());
            if *is_operator { invited.with("operator", true) } else { invited }
        }
        Purpose::Reset { account } => people::about(Action::ResetRequested, account),
        Purpose::Email { account, email } => {
            people::about(Action::EmailChangeRequested, account).with("email", email.masked())
        }
    });
    // What lists the links of an e-mail that nobody ever has would stay.
    if matches!(purpose, Purpose::SignUp { .. }) && links.hashes.len() == 1 {
        shelf::put(transaction, "sign-ups", whose_key(&whose), LINKS_MAX)?;
    }
    Ok(Outcome::Done)
}

/// Takes what is no more out of a list, and from a full one the link for the same thing that would expire first, which is the one
/// to end: what anybody can ask for ends nothing that is for something else, and no invitation that has longer to live.
fn over(
    reader: &(impl Reader + ?Sized),
    links: &mut Links,
    purpose: &Purpose,
) -> Result<Option<SecretHash>, StorageError> {
    let (mut there, mut alike) = (Vec::new(), Vec::new());
    for hash in links.hashes.drain(..) {
        let Some(link) = link(reader, &hash)? else { continue };
        there.push(hash);
        if std::mem::discriminant(&link.purpose) == std::mem::discriminant(purpose) {
            alike.push((link.expires_at, hash));
        }
    }
    links.hashes = there;
    if alike.len() < LINKS_EACH_MAX {
        return Ok(None);
    }
    let over = alike.into_iter().min_by_key(|(expires_at, _)| *expires_at).map(|(_, hash)| hash);
    links.hashes.retain(|hash| Some(*hash) != over);
    Ok(over)
}

fn used(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    purpose: &Purpose,
    id: &AccountId,
    name: &str,
    password: Option<&PasswordHash>,
) -> Result<Outcome, StorageError> {
    match (purpose, password) {
        (Purpose::SignUp { name: told, email, is_operator }, Some(password)) => {
            let name = if told.is_empty() { name } else { told };
            let added = PersonAdded {
                account: id.clone(),
                name: name.to_owned(),
                email: email.clone(),
                password: Some(password.clone()),
                is_operator: *is_operator,
                is_verified: true,
            };
            people::add(transaction, at, &added)
        }
        (Purpose::Reset { account }, Some(password)) => match person(transaction, account)? {
            Some(mut person) => {
                // Who can read the mail has shown that it is theirs.
                person.verified_at = person.verified_at.or(Some(at));
                tries::forget(transaction, &Who::email(&person.email))?;
                transaction.note(people::about(Action::PasswordReset, account));
                people::set_password(transaction, at, person, password.clone(), None)
            }
            None => Ok(Outcome::NotFound),
        },
        (Purpose::SignUp { .. } | Purpose::Reset { .. }, None) => Ok(Outcome::Stale),
        (Purpose::Email { account, email }, _) => match person(transaction, account)? {
            Some(person) => people::set_email(transaction, at, person, email),
            None => Ok(Outcome::NotFound),
        },
    }
}

/// Forgets every link of an account.
pub(super) fn forget_all(transaction: &mut Transaction<'_>, account: &AccountId) -> Result<(), StorageError> {
    forget(transaction, account.as_str())
}

fn forget(transaction: &mut Transaction<'_>, whose: &str) -> Result<(), StorageError> {
    for hash in links(transaction, whose)?.hashes {
        transaction.remove(Keyspace::Accounts, key(&hash));
    }
    transaction.remove(Keyspace::Accounts, whose_key(whose));
    Ok(())
}

fn links(reader: &(impl Reader + ?Sized), whose: &str) -> Result<Links, StorageError> {
    Ok(transaction::get(reader, Keyspace::Accounts, &whose_key(whose))?.unwrap_or_default())
}

fn whose_key(whose: &str) -> Vec<u8> {
    format!("n/{whose}").into_bytes()
}

fn key(hash: &SecretHash) -> Vec<u8> {
    [b"l/".as_slice(), hash.as_bytes()].concat()
}

/// The link whose secret has this hash, also one that has expired.
pub fn link(reader: &(impl Reader + ?Sized), secret_hash: &SecretHash) -> Result<Option<Link>, StorageError> {
    transaction::get(reader, Keyspace::Accounts, &key(secret_hash))
}
