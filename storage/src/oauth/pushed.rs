//! Authorization requests that a client sent ahead (RFC 9126). One is good for one code.
//!
//! Key layout: `p/<hash of the request URI>` -> [`Pushed`].

use serde::{Deserialize, Serialize};

use super::expiry;
use crate::api_keys::SecretHash;
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Longest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// A request that waits for its person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Whose it is.
    pub client: String,
    /// Its parameters, form-encoded.
    pub parameters: String,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

impl Record for Pushed {
    const NAME: &'static str = "pushed authorization request";
    const FORMAT: u8 = 1;
}

/// A change to requests that were sent ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Keeps a request.
    Push {
        /// Of its URI.
        hash: SecretHash,
        /// Whose it is.
        client: String,
        /// Its parameters, form-encoded.
        parameters: String,
        /// How long it is kept, in milliseconds.
        ttl_ms: u64,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    let Command::Push { hash, client, parameters, ttl_ms } = command;
    let expires_at = at.plus_millis(*ttl_ms);
    let pushed = Pushed { client: client.clone(), parameters: parameters.clone(), expires_at };
    transaction.put(Keyspace::Oauth, key(hash), &pushed)?;
    expiry::note(transaction, at, expires_at, &key(hash))?;
    Ok(Outcome::Done)
}

/// Takes a request out; false when it is not there any more.
pub(super) fn take(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    hash: &SecretHash,
) -> Result<bool, StorageError> {
    let is_there = get(transaction, hash)?.is_some_and(|pushed| at < pushed.expires_at);
    if is_there {
        transaction.remove(Keyspace::Oauth, key(hash));
    }
    Ok(is_there)
}

pub(super) fn expire(
    transaction: &mut Transaction<'_>,
    _now: Timestamp,
    key: &[u8],
) -> Result<Option<Timestamp>, StorageError> {
    transaction.remove(Keyspace::Oauth, key.to_vec());
    Ok(None)
}

fn key(hash: &SecretHash) -> Vec<u8> {
    [b"p/".as_slice(), hash.as_bytes()].concat()
}

/// The request whose URI has this hash.
pub fn get(reader: &(impl Reader + ?Sized), hash: &SecretHash) -> Result<Option<Pushed>, StorageError> {
    transaction::get(reader, Keyspace::Oauth, &key(hash))
}
