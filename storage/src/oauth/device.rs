//! Requests of programs without a browser, which a person allows on another device (RFC 8628).
//!
//! Key layout: `d/<hash of the device code>` -> [`Device`]; `u/<user code>` -> that hash.

use serde::{Deserialize, Serialize};

use super::grant::{self, Allowed, Limits};
use super::{consent, expiry};
use crate::api_keys::SecretHash;
use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::GrantId;
use crate::record::Record;
use crate::scope::{self, Scope};
use crate::transaction::{self, Transaction};

/// Longest name of a device, in bytes.
pub const NAME_BYTES_MAX: usize = 100;

/// How long a device is still told that its request has expired, and not that there was none, in milliseconds.
const TOLD_MS: u64 = 10 * 60 * 1000;

/// What has become of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Nobody has decided.
    Pending,
    /// A person said no.
    Denied,
    /// A person said yes.
    Allowed(Allowed),
    /// The device has its tokens.
    Redeemed(GrantId),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Whose it is.
    pub client: String,
    /// What it says the device is called.
    pub name: Option<String>,
    /// What it wants to do.
    pub scopes: Vec<Scope>,
    /// Where.
    pub resources: Vec<String>,
    /// What the person types.
    pub user_code: String,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// What has become of it.
    pub state: State,
}

impl Record for Device {
    const NAME: &'static str = "device authorization request";
    const FORMAT: u8 = 1;
}

/// A change to requests of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Keeps a request. [`Outcome::AlreadyExists`] when another one has the user code.
    Start {
        /// Of the device code.
        hash: SecretHash,
        /// Whose it is.
        client: String,
        /// See [`Device::name`].
        name: Option<String>,
        /// What it wants to do.
        scopes: Vec<Scope>,
        /// Where.
        resources: Vec<String>,
        /// What the person types.
        user_code: String,
        /// How long it is good, in milliseconds.
        ttl_ms: u64,
    },
    /// A person decides. [`Outcome::NotFound`] when there is no request with this code that waits for it.
    Decide {
        /// What the person typed.
        user_code: String,
        /// What is allowed; nothing when they said no.
        allowed: Option<Allowed>,
    },
    /// Makes a grant of a request that was allowed. [`Outcome::NotFound`] when there is none, or it was made before.
    Redeem {
        /// Of the device code.
        hash: SecretHash,
        /// Who shows it.
        client: String,
        /// Thumbprint of the key whose proof came with it.
        dpop_jkt: Option<[u8; 32]>,
        /// Name of the grant that comes of it.
        grant: GrantId,
        /// Of its first refresh token, if it gets one.
        refresh: Option<SecretHash>,
        /// How long its tokens live.
        limits: Limits,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Start { hash, client, name, scopes, resources, user_code, ttl_ms } => {
            if find(transaction, user_code)?.is_some_and(|other| at < other.expires_at) {
                return Ok(Outcome::AlreadyExists);
            }
            let device = Device {
                client: client.clone(),
                name: name.clone(),
                scopes: scopes.clone(),
                resources: resources.clone(),
                user_code: user_code.clone(),
                expires_at: at.plus_millis(*ttl_ms),
                state: State::Pending,
            };
            transaction.put(Keyspace::Oauth, key(hash), &device)?;
            transaction.put_bytes(Keyspace::Oauth, code_key(user_code), hash.as_bytes().to_vec());
            expiry::note(transaction, at, device.expires_at.plus_millis(TOLD_MS), &key(hash))?;
            expiry::note(transaction, at, device.expires_at, &code_key(user_code))?;
        }
        Command::Decide { user_code, allowed } => {
            let waiting = |device: &Device| device.state == State::Pending && at < device.expires_at;
            let Some(mut device) = find(transaction, user_code)?.filter(waiting) else {
                return Ok(Outcome::NotFound);
            };
            if let Some(allowed) = allowed {
                consent::give(transaction, at, &allowed.account, &device.client, &allowed.scopes)?;
            }
            let action = if allowed.is_some() { Action::DeviceAllowed } else { Action::DeviceDenied };
            let decided = Event::new(action, Kind::Client, &device.client);
            transaction.note(match allowed {
                Some(allowed) => decided.with("scopes", scope::join(&allowed.scopes)),
                None => decided,
            });
            device.state = allowed.clone().map_or(State::Denied, State::Allowed);
            let Some(hash) = hash_of(transaction, user_code)? else { return Ok(Outcome::NotFound) };
            transaction.put(Keyspace::Oauth, hash, &device)?;
        }
        Command::Redeem { hash, client, dpop_jkt, grant, refresh, limits } => {
            let Some(mut device) = get(transaction, hash)? else { return Ok(Outcome::NotFound) };
            let State::Allowed(allowed) = &device.state else { return Ok(Outcome::NotFound) };
            if device.expires_at <= at
                || device.client != *client
                || !grant::stands(transaction, at, allowed)?
            {
                return Ok(Outcome::NotFound);
            }
            grant::make(transaction, at, (grant, client), (allowed, *dpop_jkt), refresh.as_ref(), limits)?;
            device.state = State::Redeemed(grant.clone());
            transaction.put(Keyspace::Oauth, key(hash), &device)?;
        }
    }
    Ok(Outcome::Done)
}

fn key(hash: &SecretHash) -> Vec<u8> {
    [b"d/".as_slice(), hash.as_bytes()].concat()
}

fn code_key(user_code: &str) -> Vec<u8> {
    format!("u/{user_code}").into_bytes()
}

/// The key of the request with this user code.
fn hash_of(reader: &(impl Reader + ?Sized), user_code: &str) -> Result<Option<Vec<u8>>, StorageError> {
    let hash = reader.get(Keyspace::Oauth, &code_key(user_code))?;
    Ok(hash.map(|hash| [b"d/".as_slice(), &hash].concat()))
}

/// The request whose device code has this hash.
pub fn get(reader: &(impl Reader + ?Sized), hash: &SecretHash) -> Result<Option<Device>, StorageError> {
    transaction::get(reader, Keyspace::Oauth, &key(hash))
}

/// The request with this user code, expired or not.
pub fn find(reader: &(impl Reader + ?Sized), user_code: &str) -> Result<Option<Device>, StorageError> {
    match hash_of(reader, user_code)? {
        Some(key) => transaction::get(reader, Keyspace::Oauth, &key),
        None => Ok(None),
    }
}
