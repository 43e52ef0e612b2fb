//! Accounts: the people and machines that own keys, libraries and jobs.
//!
//! Key layout: `a/<id>` -> [`Account`].

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::transaction::{self, Transaction};

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

/// A change to accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes an account. [`Outcome::AlreadyExists`] when the id is taken.
    Create {
        /// The new account's id.
        id: AccountId,
        /// What people call it.
        name: String,
    },
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
            let account = Account { id: id.clone(), name: name.clone(), created_at: at };
            transaction.put(Keyspace::Accounts, key(id), &account)?;
            Ok(Outcome::Done)
        }
    }
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
