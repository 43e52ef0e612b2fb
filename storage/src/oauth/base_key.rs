//! The key that secrets of the authorization server are made from: what it seals outlives every key of the cluster.
//!
//! Key layout: `b` -> [`BaseKey`]. When the cluster's key is replaced it is sealed anew in the same command
//! ([`crate::rotation`]).

use serde::{Deserialize, Serialize};

use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::record::Record;
use crate::rotation::{self, KeyName};
use crate::transaction::{self, Change, Transaction};

const KEY: &[u8] = b"b";

/// 32 random bytes, sealed with the cluster's key in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseKey {
    /// The bytes, sealed.
    pub sealed: Vec<u8>,
}

impl Record for BaseKey {
    const NAME: &'static str = "base key of the authorization server";
    const FORMAT: u8 = 1;
}

/// A change to the base key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes it. [`Outcome::AlreadyExists`] when there is one, [`Outcome::Stale`] when the cluster's key was replaced since it was
    /// sealed.
    Make {
        /// See [`BaseKey::sealed`].
        sealed: Vec<u8>,
        /// With which key of the cluster.
        sealed_with: KeyName,
    },
}

pub(super) fn apply(transaction: &mut Transaction<'_>, command: &Command) -> Result<Outcome, StorageError> {
    let Command::Make { sealed, sealed_with } = command;
    if get(transaction)?.is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    if rotation::key_names(transaction)?.is_some_and(|names| names.in_force != *sealed_with) {
        return Ok(Outcome::Stale);
    }
    put(transaction, sealed.clone())?;
    Ok(Outcome::Done)
}

/// Puts it there as it is sealed now.
pub(crate) fn put(transaction: &mut Transaction<'_>, sealed: Vec<u8>) -> Result<(), StorageError> {
    transaction.put(Keyspace::Oauth, KEY.to_vec(), &BaseKey { sealed })?;
    transaction.changed(Change::SigningKeys);
    Ok(())
}

/// The key, once there is one.
pub fn get(reader: &(impl Reader + ?Sized)) -> Result<Option<BaseKey>, StorageError> {
    transaction::get(reader, Keyspace::Oauth, KEY)
}
