//! Passkeys: keys of people's devices (WebAuthn, Level 3), as the log decides about them.
//!
//! The proposer verifies what a device has signed; here is decided what may happen once: a key belongs to one account, a challenge is answered once
//! in the whole cluster, and a counter that counts never goes back (WebAuthn, 7.1 and 7.2).

use serde::{Deserialize, Serialize};

use crate::api_keys::SecretHash;
use crate::clock::Timestamp;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::transaction::Transaction;

/// Passkeys that one account may have.
pub const PASSKEYS_PER_ACCOUNT_MAX: usize = 10;
/// Challenges and sent codes of one account that were answered and have not expired; one more is refused.
pub const ANSWERED_MAX: usize = 32;

/// A key of somebody's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// What the device calls it.
    pub id: Vec<u8>,
    /// What its person calls it.
    pub name: String,
    /// The public key and what else verifying needs, in the words of the proposer's library; it never changes.
    pub credential: Vec<u8>,
    /// How often the device says that it was used; 0 on devices that do not count.
    pub counter: u32,
    /// When it was added.
    pub added_at: Timestamp,
    /// When it was last used.
    pub used_at: Timestamp,
}

/// What a device has signed, verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// With which key.
    pub id: Vec<u8>,
    /// The device's count.
    pub counter: u32,
    /// Hash of the challenge.
    pub challenge: SecretHash,
    /// From when on the proposers refuse the challenge by themselves.
    pub expires_at: Timestamp,
}

/// A challenge, or a code that was sent, that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Its hash.
    pub challenge: SecretHash,
    /// Until when it is remembered.
    pub until: Timestamp,
}

/// Whether an assertion is good here and now; then it is noted.
pub(super) fn spend(
    passkeys: &mut [Passkey],
    answered: &mut Vec<Answered>,
    at: Timestamp,
    assertion: &Assertion,
) -> bool {
    let Some(passkey) = passkeys.iter_mut().find(|passkey| passkey.id == assertion.id) else { return false };
    let counts = passkey.counter > 0 || assertion.counter > 0;
    if (counts && assertion.counter <= passkey.counter)
        || !answer(answered, at, assertion.challenge, assertion.expires_at)
    {
        return false;
    }
    passkey.counter = assertion.counter;
    passkey.used_at = at;
    true
}

/// Whether something that was asked is answered for the first time, and in time; then it is noted.
pub(super) fn answer(
    answered: &mut Vec<Answered>,
    at: Timestamp,
    challenge: SecretHash,
    expires_at: Timestamp,
) -> bool {
    answered.retain(|answered| at < answered.until);
    let is_new = answered.iter().all(|answered| answered.challenge != challenge);
    if expires_at <= at || !is_new || answered.len() >= ANSWERED_MAX {
        return false;
    }
    answered.push(Answered { challenge, until: expires_at });
    true
}

/// Notes whose a key is.
pub(super) fn take(transaction: &mut Transaction<'_>, id: &[u8], account: &AccountId) {
    transaction.put_bytes(Keyspace::Accounts, key(id), account.as_str().as_bytes().to_vec());
}

/// Forgets that.
pub(super) fn free(transaction: &mut Transaction<'_>, id: &[u8]) {
    transaction.remove(Keyspace::Accounts, key(id));
}

fn key(id: &[u8]) -> Vec<u8> {
    format!("w/{}", blake3::hash(id).to_hex()).into_bytes()
}

/// Whose passkey that is.
pub fn by_passkey(reader: &(impl Reader + ?Sized), id: &[u8]) -> Result<Option<AccountId>, StorageError> {
    let found = reader.get(Keyspace::Accounts, &key(id))?;
    Ok(found.and_then(|id| String::from_utf8(id).ok()?.parse().ok()))
}
