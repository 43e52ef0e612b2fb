//! API keys: who may call, and for what.
//!
//! Key layout: `k/<account>/<id>` -> [`ApiKey`]; `h/<hash>` -> the key under `k/` it belongs to; `a/<account>` ->
//! [`KeyRing`], which of them the account has. The secret itself is never stored: it is 256 random bits, so one fast hash
//! of it cannot be searched.
//!
//! Nothing scans `k/`: what was removed stays in the way of a scan until the engine has compacted it.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::accounts;
use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{AccountId, ApiKeyId};
use crate::record::Record;
use crate::scope::{self, Scope};
use crate::teams;
use crate::transaction::{self, Change, Transaction};

/// Keys one account may have, revoked ones not counted.
pub const KEYS_PER_ACCOUNT_MAX: usize = 100;
/// Keys of one account that are kept though they are revoked or expired, the newest ones.
pub const ENDED_KEYS_KEPT_MAX: usize = 100;
/// Keys read of an account whose ring no build has written yet.
const KEYS_READ_MAX: usize = 1_000;
/// Longest name of a key, in bytes.
pub const NAME_BYTES_MAX: usize = 100;

/// BLAKE3 of a secret of 256 random bits: of a key, a session, a link, a code or a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of `secret`, as the caller sends it.
    pub fn of(secret: &str) -> Self {
        Self(*blake3::hash(secret.as_bytes()).as_bytes())
    }

    /// The 32 bytes of it.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The key's public name.
    pub id: ApiKeyId,
    /// Who owns it.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// What it may do, each scope once, in order.
    pub scopes: Vec<Scope>,
    /// The last characters of the secret, for people to tell keys apart.
    pub hint: String,
    /// Finds the key by its secret.
    pub secret_hash: SecretHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused, if ever.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused because somebody revoked it.
    pub revoked_at: Option<Timestamp>,
}

impl Record for ApiKey {
    const NAME: &'static str = "api key";
    const FORMAT: u8 = 1;
}

impl ApiKey {
    /// Whether the key opens anything at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// Which keys an account has, so that one more costs a read of this and not of all there ever were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRing {
    /// Neither revoked nor known to have expired, oldest first, with when they expire.
    pub(crate) in_force: Vec<(ApiKeyId, Option<Timestamp>)>,
    /// The others that are kept, in the order in which they ended.
    pub(crate) ended: VecDeque<ApiKeyId>,
}

impl Record for KeyRing {
    const NAME: &'static str = "key ring";
    const FORMAT: u8 = 1;
}

impl KeyRing {
    /// Moves what has expired by now to the keys that have ended.
    fn expire(&mut self, now: Timestamp) {
        let expired = self.in_force.extract_if(.., |(_, expires_at)| expires_at.is_some_and(|at| at <= now));
        self.ended.extend(expired.map(|(id, _)| id));
    }
}

/// A change to API keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a key, and forgets the account's oldest ended ones above [`ENDED_KEYS_KEPT_MAX`]. [`Outcome::LimitReached`] with [`KEYS_PER_ACCOUNT_MAX`] keys in force,
    /// [`Outcome::AlreadyExists`] when id or secret are taken.
    Create {
        /// The new key's id.
        id: ApiKeyId,
        /// Its owner.
        account: AccountId,
        /// What its owner calls it.
        name: String,
        /// What it may do.
        scopes: Vec<Scope>,
        /// Hash of the secret that was shown once.
        secret_hash: SecretHash,
        /// The last characters of the secret.
        hint: String,
        /// From when on it is refused, if ever.
        expires_at: Option<Timestamp>,
    },
    /// Refuses a key from now on. [`Outcome::NotFound`] for another account's key, or a revoked one.
    Revoke {
        /// The key's owner.
        account: AccountId,
        /// Which key.
        id: ApiKeyId,
    },
    /// Makes a key of a team. [`Outcome::NotFound`] for a team that `by` is not in, [`Outcome::Forbidden`] for scopes that their role does
    /// not give ([`teams::Role::gives`]); otherwise as [`Command::Create`].
    CreateFor {
        /// Who makes it; the key ends with their membership.
        by: AccountId,
        /// The key.
        key: NewKey,
    },
    /// Refuses a key of a team from now on. [`Outcome::NotFound`] for one that `by` has not made, unless they are an admin.
    RevokeFor {
        /// Who does it.
        by: AccountId,
        /// The team.
        team: AccountId,
        /// Which key.
        id: ApiKeyId,
    },
}

/// A key to be made; see [`Command::Create`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its owner.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Hash of the secret that was shown once.
    pub secret_hash: SecretHash,
    /// The last characters of the secret.
    pub hint: String,
    /// From when on it is refused, if ever.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    /// The key as it is kept.
    fn made(&self, at: Timestamp) -> ApiKey {
        let Self { id, account, name, scopes, secret_hash, hint, expires_at } = self.clone();
        let mut scopes = scopes;
        scopes.sort_unstable();
        scopes.dedup();
        let (created_at, revoked_at) = (at, None);
        ApiKey { id, account, name, scopes, hint, secret_hash, created_at, expires_at, revoked_at }
    }
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Create { id, account, name, scopes, secret_hash, hint, expires_at } => {
            let key = NewKey {
                id: id.clone(),
                account: account.clone(),
                name: name.clone(),
                scopes: scopes.clone(),
                secret_hash: *secret_hash,
                hint: hint.clone(),
                expires_at: *expires_at,
            };
            // Their other keys have been refused already.
            if accounts::person(transaction, account)?.is_some_and(|person| person.disabled_at.is_some()) {
                return Ok(Outcome::NotFound);
            }
            create(transaction, at, &key.made(at))
        }
        Command::Revoke { account, id } => revoke(transaction, at, account, id),
        Command::CreateFor { by, key } => {
            if let Some(refused) = teams::may_make_key(transaction, &key.account, by, &key.scopes)? {
                return Ok(refused);
            }
            let outcome = create(transaction, at, &key.made(at))?;
            if outcome == Outcome::Done {
                teams::key_made(transaction, &key.account, by, &key.id)?;
            }
            Ok(outcome)
        }
        Command::RevokeFor { by, team, id } => match teams::may_revoke_key(transaction, team, by, id)? {
            Some(refused) => Ok(refused),
            None => revoke(transaction, at, team, id),
        },
    }
}

fn create(transaction: &mut Transaction<'_>, at: Timestamp, key: &ApiKey) -> Result<Outcome, StorageError> {
    let account = &key.account;
    let mut ring = ring(transaction, account)?;
    ring.expire(at);
    if ring.in_force.len() >= KEYS_PER_ACCOUNT_MAX {
        return Ok(Outcome::LimitReached);
    }
    let taken = get(transaction, account, &key.id)?.is_some()
        || transaction.get(Keyspace::ApiKeys, &hash_key(&key.secret_hash))?.is_some();
    if taken {
        return Ok(Outcome::AlreadyExists);
    }
    while ring.ended.len() > ENDED_KEYS_KEPT_MAX {
        let Some(id) = ring.ended.pop_front() else { break };
        if let Some(old) = get(transaction, account, &id)? {
            // Of a revoked key it is gone already.
            transaction.remove(Keyspace::ApiKeys, hash_key(&old.secret_hash));
            transaction.remove(Keyspace::ApiKeys, id_key(account, &id));
        }
    }
    ring.in_force.push((key.id.clone(), key.expires_at));
    transaction.put(Keyspace::ApiKeys, ring_key(account), &ring)?;
    let stored_under = id_key(account, &key.id);
    transaction.put_bytes(Keyspace::ApiKeys, hash_key(&key.secret_hash), stored_under.clone());
    transaction.put(Keyspace::ApiKeys, stored_under, key)?;
    transaction.changed(Change::ApiKey(key.id.clone()));
    let made = Event::new(Action::KeyMade, Kind::ApiKey, &key.id).of(account);
    transaction.note(made.with("scopes", scope::join(&key.scopes)));
    Ok(Outcome::Done)
}

/// Refuses a key from now on.
pub(crate) fn revoke(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
    id: &ApiKeyId,
) -> Result<Outcome, StorageError> {
    let Some(mut key) = get(transaction, account, id)?.filter(|key| key.revoked_at.is_none()) else {
        return Ok(Outcome::NotFound);
    };
    let mut ring = ring(transaction, account)?;
    // One that expired may have ended already.
    if let Some(position) = ring.in_force.iter().position(|(in_force, _)| in_force == id) {
        ring.in_force.remove(position);
        ring.ended.push_back(id.clone());
        transaction.put(Keyspace::ApiKeys, ring_key(account), &ring)?;
    }
    key.revoked_at = Some(at);
    transaction.remove(Keyspace::ApiKeys, hash_key(&key.secret_hash));
    transaction.put(Keyspace::ApiKeys, id_key(account, id), &key)?;
    transaction.changed(Change::ApiKey(id.clone()));
    transaction.note(Event::new(Action::KeyRevoked, Kind::ApiKey, id).of(account));
    Ok(Outcome::Done)
}

/// Refuses what a key in force opens while its maker is kept out, or not any more: only the way from the secret to the key goes and
/// comes back, so that checking a key costs nothing for it.
pub(crate) fn refuse(
    transaction: &mut Transaction<'_>,
    account: &AccountId,
    id: &ApiKeyId,
    is_refused: bool,
) -> Result<(), StorageError> {
    let Some(key) = get(transaction, account, id)?.filter(|key| key.revoked_at.is_none()) else {
        return Ok(());
    };
    let found_by = hash_key(&key.secret_hash);
    match is_refused {
        true => transaction.remove(Keyspace::ApiKeys, found_by),
        false => transaction.put_bytes(Keyspace::ApiKeys, found_by, id_key(account, id)),
    }
    transaction.changed(Change::ApiKey(id.clone()));
    Ok(())
}

/// The account's keys that are neither revoked nor known to have expired, oldest first.
pub(crate) fn in_force(
    reader: &(impl Reader + ?Sized),
    account: &AccountId,
) -> Result<Vec<ApiKeyId>, StorageError> {
    Ok(ring(reader, account)?.in_force.into_iter().map(|(id, _)| id).collect())
}

/// Forgets every key of an account that is removed; none of them opens anything from now on.
pub(crate) fn remove_all(transaction: &mut Transaction<'_>, account: &AccountId) -> Result<(), StorageError> {
    let ring = ring(transaction, account)?;
    for id in ring.in_force.into_iter().map(|(id, _)| id).chain(ring.ended) {
        if let Some(key) = get(transaction, account, &id)? {
            transaction.remove(Keyspace::ApiKeys, hash_key(&key.secret_hash));
            transaction.remove(Keyspace::ApiKeys, id_key(account, &id));
            transaction.changed(Change::ApiKey(id));
        }
    }
    transaction.remove(Keyspace::ApiKeys, ring_key(account));
    Ok(())
}

/// The account's ring; without one it is made from the keys that are there.
fn ring(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<KeyRing, StorageError> {
    if let Some(ring) = transaction::get(reader, Keyspace::ApiKeys, &ring_key(account))? {
        return Ok(ring);
    }
    let mut ring = KeyRing::default();
    let keys: Vec<ApiKey> = transaction::scan(
        reader,
        Keyspace::ApiKeys,
        format!("k/{account}/").as_bytes(),
        None,
        KEYS_READ_MAX,
    )?;
    for key in keys {
        match key.revoked_at {
            None => ring.in_force.push((key.id, key.expires_at)),
            Some(_) => ring.ended.push_back(key.id),
        }
    }
    Ok(ring)
}

fn ring_key(account: &AccountId) -> Vec<u8> {
    format!("a/{account}").into_bytes()
}

fn id_key(account: &AccountId, id: &ApiKeyId) -> Vec<u8> {
    format!("k/{account}/{id}").into_bytes()
}

fn hash_key(hash: &SecretHash) -> Vec<u8> {
    [b"h/".as_slice(), &hash.0].concat()
}

/// The account's key with this id.
pub fn get(
    reader: &(impl Reader + ?Sized),
    account: &AccountId,
    id: &ApiKeyId,
) -> Result<Option<ApiKey>, StorageError> {
    transaction::get(reader, Keyspace::ApiKeys, &id_key(account, id))
}

/// The key whose secret has this hash, unless it was revoked.
pub fn find(reader: &(impl Reader + ?Sized), hash: &SecretHash) -> Result<Option<ApiKey>, StorageError> {
    match reader.get(Keyspace::ApiKeys, &hash_key(hash))? {
        Some(stored_under) => transaction::get(reader, Keyspace::ApiKeys, &stored_under),
        None => Ok(None),
    }
}

/// The account's keys, oldest first: all in force, and the newest of those that have ended.
pub fn list(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Vec<ApiKey>, StorageError> {
    let ring = ring(reader, account)?;
    let mut ids: Vec<_> = ring.in_force.into_iter().map(|(id, _)| id).chain(ring.ended).collect();
    // An id begins with the time it was made.
    ids.sort_unstable();
    ids.iter().filter_map(|id| get(reader, account, id).transpose()).collect()
}
