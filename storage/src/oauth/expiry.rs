//! What has expired goes when something new comes: each command that makes a record with an end removes a few whose end has come,
//! so that no clock and no sweeper is needed, and every node removes the same.
//!
//! Key layout: `x/<end, 64 bits big-endian><key>` -> nothing; `z` -> the last of these keys that was looked at. The next look
//! begins behind it, because a scan over what was removed is slow until the engine has compacted it.

use super::{client, code, grant, pushed};
use crate::clock::Timestamp;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::transaction::Transaction;

/// Records looked at by one command: more than it makes, so that they become fewer.
const LOOKED_AT_MAX: usize = 8;

const CURSOR: &[u8] = b"z";

fn index_key(expires_at: Timestamp, key: &[u8]) -> Vec<u8> {
    [b"x/".as_slice(), &expires_at.as_millis().to_be_bytes(), key].concat()
}

/// Notes that the record under `key` ends at `expires_at`, and removes a few that have ended by `now`.
pub(super) fn note(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    expires_at: Timestamp,
    key: &[u8],
) -> Result<(), StorageError> {
    sweep(transaction, now)?;
    transaction.put_bytes(Keyspace::Oauth, index_key(expires_at, key), Vec::new());
    Ok(())
}

fn sweep(transaction: &mut Transaction<'_>, now: Timestamp) -> Result<(), StorageError> {
    let cursor = transaction.get(Keyspace::Oauth, CURSOR)?;
    let due = transaction.scan(Keyspace::Oauth, b"x/", cursor.as_deref(), LOOKED_AT_MAX)?;
    let mut last = None;
    for (index, _) in due {
        let (Some(end), Some(key)) = (index.get(2..10), index.get(10..)) else { continue };
        let end = end.try_into().map_or(0, u64::from_be_bytes);
        // Time never goes back in the log, so nothing comes in before the cursor.
        if end >= now.as_millis() {
            break;
        }
        if let Some(later) = end_of(transaction, now, key)? {
            transaction.put_bytes(Keyspace::Oauth, index_key(later, key), Vec::new());
        }
        transaction.remove(Keyspace::Oauth, index.clone());
        last = Some(index);
    }
    if let Some(last) = last {
        transaction.put_bytes(Keyspace::Oauth, CURSOR.to_vec(), last);
    }
    Ok(())
}

/// Removes the record under `key`, or tells when it ends after all.
fn end_of(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    key: &[u8],
) -> Result<Option<Timestamp>, StorageError> {
    match key.first() {
        Some(b'c') => client::expire(transaction, now, key),
        Some(b'f') => grant::expire(transaction, now, key),
        Some(b'g') => code::expire(transaction, now, key),
        Some(b'p') => pushed::expire(transaction, now, key),
        _ => {
            transaction.remove(Keyspace::Oauth, key.to_vec());
            Ok(None)
        }
    }
}
