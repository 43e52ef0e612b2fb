//! Consents: what a person has allowed a client, so that nobody is asked twice.
//!
//! Key layout: `w/<account>/<BLAKE3 of the client's id>` -> [`Consent`].

use serde::{Deserialize, Serialize};

use super::grant;
use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::scope::{self, Scope};
use crate::transaction::{self, Transaction};

/// Consents read for a list.
pub const LISTED_MAX: usize = 1_000;

/// What somebody has allowed a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Who allowed it.
    pub account: AccountId,
    /// Whom.
    pub client: String,
    /// What, each scope once, in order.
    pub scopes: Vec<Scope>,
    /// When, the last time.
    pub given_at: Timestamp,
}

impl Record for Consent {
    const NAME: &'static str = "consent";
    const FORMAT: u8 = 1;
}

/// A change to what people have allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Takes back what an account allowed a client, with every grant that came of it. [`Outcome::NotFound`] when it allowed nothing.
    Withdraw {
        /// Who.
        account: AccountId,
        /// Whom.
        client: String,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    let Command::Withdraw { account, client } = command;
    let is_known = get(transaction, account, client)?.is_some();
    let revoked = grant::revoke_all(transaction, at, account, Some(client))?;
    if !is_known && revoked == 0 {
        return Ok(Outcome::NotFound);
    }
    transaction.remove(Keyspace::Oauth, key(account, client));
    transaction.note(Event::new(Action::ConsentWithdrawn, Kind::Client, client).of(account));
    Ok(Outcome::Done)
}

/// Adds to what an account has allowed a client.
pub(super) fn give(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
    client: &str,
    scopes: &[Scope],
) -> Result<(), StorageError> {
    let before = get(transaction, account, client)?.map(|before| before.scopes).unwrap_or_default();
    let mut scopes = [&before, scopes].concat();
    scopes.sort_unstable();
    scopes.dedup();
    if scopes != before {
        let given = Event::new(Action::ConsentGiven, Kind::Client, client).of(account);
        transaction.note(given.with("scopes", scope::join(&scopes)));
    }
    let consent = Consent { account: account.clone(), client: client.to_owned(), scopes, given_at: at };
    transaction.put(Keyspace::Oauth, key(account, client), &consent)
}

/// Forgets what an account has allowed, which is removed.
pub(crate) fn forget_all(transaction: &mut Transaction<'_>, account: &AccountId) -> Result<(), StorageError> {
    loop {
        let given = list(transaction, account)?;
        if given.is_empty() {
            return Ok(());
        }
        for consent in given {
            transaction.remove(Keyspace::Oauth, key(account, &consent.client));
        }
    }
}

fn key(account: &AccountId, client: &str) -> Vec<u8> {
    format!("w/{account}/{}", blake3::hash(client.as_bytes()).to_hex()).into_bytes()
}

/// What an account has allowed a client.
pub fn get(
    reader: &(impl Reader + ?Sized),
    account: &AccountId,
    client: &str,
) -> Result<Option<Consent>, StorageError> {
    transaction::get(reader, Keyspace::Oauth, &key(account, client))
}

/// Whom an account has allowed something, up to [`LISTED_MAX`].
pub fn list(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Vec<Consent>, StorageError> {
    transaction::scan(reader, Keyspace::Oauth, format!("w/{account}/").as_bytes(), None, LISTED_MAX)
}
