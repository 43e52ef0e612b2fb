//! Assertions by which clients have shown who they are (RFC 7523, 3): each is good once, on whichever node.
//!
//! Key layout: `j/<hash of client and jti>` -> nothing, as long as the assertion could be taken.

use serde::{Deserialize, Serialize};

use super::expiry;
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader as _, StorageError};
use crate::transaction::Transaction;

/// A change to assertions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Uses one up. [`Outcome::AlreadyExists`] when it was used.
    Use {
        /// Of client and `jti`.
        hash: [u8; 32],
        /// How long it could still be taken, in milliseconds.
        ttl_ms: u64,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    let Command::Use { hash, ttl_ms } = command;
    let key = [b"j/".as_slice(), hash].concat();
    if transaction.get(Keyspace::Oauth, &key)?.is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    transaction.put_bytes(Keyspace::Oauth, key.clone(), Vec::new());
    expiry::note(transaction, at, at.plus_millis(*ttl_ms), &key)?;
    Ok(Outcome::Done)
}
