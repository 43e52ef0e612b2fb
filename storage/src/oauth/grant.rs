//! Grants: what somebody allowed a client once, with the tokens that came of it: a family, which is revoked whole
//! (RFC 9700, 4.14).
//!
//! Key layout: `f/<id>` -> [`Grant`]; `a/<account>` -> [`Grants`]; `r/<id of a grant, or of one token>` -> nothing. What is revoked
//! stays under `r/` as long as an access token may live, and is all that verifying one has to look at.

use serde::{Deserialize, Serialize};

use super::{expiry, logout};
use crate::accounts;
use crate::api_keys::SecretHash;
use crate::audit::{Action, Actor, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{AccountId, GrantId};
use crate::record::Record;
use crate::scope::{self, Scope};
use crate::transaction::{self, Transaction};

/// Grants of one account that are in force; one more ends the oldest.
pub const GRANTS_PER_ACCOUNT_MAX: usize = 200;
/// Longest life of an access token, in milliseconds: an hour. So long is it remembered that one was revoked.
pub const ACCESS_MS_MAX: u64 = 3600 * 1000;
/// How much later than its end a node may still take a token, in milliseconds, because clocks differ.
pub const LEEWAY_MS: u64 = 60 * 1000;

/// What was allowed, by whom, and how they were known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Who allowed it.
    pub account: AccountId,
    /// The session it was allowed in.
    pub session: Option<String>,
    /// What the client may do, each scope once, in order.
    pub scopes: Vec<Scope>,
    /// Where it may do that (RFC 8707).
    pub resources: Vec<String>,
    /// The client's `nonce` (OpenID Connect Core, 3.1.2.1).
    pub nonce: Option<String>,
    /// When the person signed in.
    pub signed_in_at: Timestamp,
    /// How the person signed in (RFC 8176).
    pub methods: Vec<String>,
}

/// How long tokens live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// An access token, in milliseconds; at most [`ACCESS_MS_MAX`].
    pub access_ms: u64,
    /// A refresh token that is not used, in milliseconds.
    pub idle_ms: u64,
    /// A family of refresh tokens, in milliseconds.
    pub absolute_ms: u64,
}

/// The refresh tokens of a grant: one that is good, and the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Of the token that is good.
    pub current: SecretHash,
    /// The one that it took the place of.
    pub previous: Option<Previous>,
    /// How many there were before.
    pub generation: u32,
    /// From when on the current one is refused.
    pub idle_until: Timestamp,
    /// From when on there are no others.
    pub absolute_until: Timestamp,
}

/// A refresh token that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Of the token.
    pub hash: SecretHash,
    /// When it was used.
    pub used_at: Timestamp,
    /// What came of it, sealed: who did not get the answer gets the same again.
    pub successor: Vec<u8>,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its name.
    pub id: GrantId,
    /// Whom.
    pub client: String,
    /// What, by whom.
    pub allowed: Allowed,
    /// Thumbprint of the key that its tokens are bound to (RFC 9449).
    pub dpop_jkt: Option<[u8; 32]>,
    /// Its refresh tokens, if it has any.
    pub refresh: Option<Refresh>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a token of it was last made.
    pub used_at: Timestamp,
    /// Since when nothing of it is good.
    pub revoked_at: Option<Timestamp>,
}

impl Record for Grant {
    const NAME: &'static str = "grant";
    const FORMAT: u8 = 1;
}

impl Grant {
    /// From when on nothing of it is good, and nobody needs its record.
    fn expires_at(&self) -> Timestamp {
        let refresh = self.refresh.as_ref().filter(|_| self.revoked_at.is_none());
        let refreshed = refresh.map(|refresh| refresh.idle_until.min(refresh.absolute_until));
        refreshed.unwrap_or_default().max(self.used_at.plus_millis(ACCESS_MS_MAX + LEEWAY_MS))
    }
}

/// Which grants an account has in force, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants(pub Vec<GrantId>);

impl Record for Grants {
    const NAME: &'static str = "grants of an account";
    const FORMAT: u8 = 1;
}

/// A change to grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Puts a new refresh token in place of the one that is shown, which the proposer knows for a token of this family.
    /// [`Outcome::NotFound`] when it opens nothing.
    /// [`Outcome::AlreadyExists`] when it is the one before and `again_ms` are not over: its successor is good still.
    /// [`Outcome::Burnt`] when it was used before, or is another client's: the family has ended.
    Rotate {
        /// Which grant.
        id: GrantId,
        /// Who shows it.
        client: String,
        /// Of what is shown.
        shown: SecretHash,
        /// Of what takes its place.
        next: SecretHash,
        /// The same, sealed.
        successor: Vec<u8>,
        /// Thumbprint of the key whose proof came with it.
        dpop_jkt: Option<[u8; 32]>,
        /// How long the token before may come again for the same successor, in milliseconds; 0 for clients that cannot show who
        /// they are.
        again_ms: u64,
        /// How long tokens live.
        limits: Limits,
    },
    /// Ends a grant. [`Outcome::NotFound`] without it.
    Revoke {
        /// Which.
        id: GrantId,
    },
    /// Ends one access token.
    RevokeToken {
        /// Its `jti`.
        id: String,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Rotate { id, client, shown, next, successor, dpop_jkt, again_ms, limits } => {
            let rotation = Rotation { client, shown, next, successor, dpop_jkt, again_ms: *again_ms, limits };
            rotate(transaction, at, id, &rotation)
        }
        Command::Revoke { id } => {
            if get(transaction, id)?.is_none_or(|grant| grant.revoked_at.is_some()) {
                return Ok(Outcome::NotFound);
            }
            note_end(transaction, Action::GrantRevoked, id, None)?;
            revoke(transaction, at, id)?;
            Ok(Outcome::Done)
        }
        Command::RevokeToken { id } => {
            note_revoked(transaction, at, id)?;
            transaction.note(Event::new(Action::TokenRevoked, Kind::Token, id));
            Ok(Outcome::Done)
        }
    }
}

struct Rotation<'a> {
    client: &'a str,
    shown: &'a SecretHash,
    next: &'a SecretHash,
    successor: &'a [u8],
    dpop_jkt: &'a Option<[u8; 32]>,
    again_ms: u64,
    limits: &'a Limits,
}

fn rotate(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    id: &GrantId,
    rotation: &Rotation<'_>,
) -> Result<Outcome, StorageError> {
    let found = get(transaction, id)?.filter(|grant| grant.revoked_at.is_none());
    let Some(mut grant) = found else { return Ok(Outcome::NotFound) };
    let is_bound_elsewhere = grant.dpop_jkt.is_some() && grant.dpop_jkt != *rotation.dpop_jkt;
    let Some(refresh) = grant.refresh.as_mut() else { return Ok(Outcome::NotFound) };
    if refresh.current == *rotation.shown {
        if refresh.idle_until.min(refresh.absolute_until) <= at {
            return Ok(Outcome::NotFound);
        }
        if grant.client != rotation.client || is_bound_elsewhere {
            note_end(transaction, Action::TokenReused, id, Some(rotation.client))?;
            revoke(transaction, at, id)?;
            return Ok(Outcome::Burnt);
        }
        let previous =
            Previous { hash: *rotation.shown, used_at: at, successor: rotation.successor.to_vec() };
        refresh.previous = Some(previous);
        refresh.current = *rotation.next;
        refresh.generation = refresh.generation.saturating_add(1);
        refresh.idle_until = at.plus_millis(rotation.limits.idle_ms);
        grant.used_at = at;
        transaction.put(Keyspace::Oauth, key(id), &grant)?;
        return Ok(Outcome::Done);
    }
    let again = refresh.previous.as_ref().filter(|previous| previous.hash == *rotation.shown);
    let is_honest = again.is_some_and(|previous| at.millis_since(previous.used_at) < rotation.again_ms)
        && grant.client == rotation.client
        && !is_bound_elsewhere;
    if is_honest {
        return Ok(Outcome::AlreadyExists);
    }
    // A refresh token is sealed, and the proposer has opened it: whatever comes here was good once, so two have the family.
    note_end(transaction, Action::TokenReused, id, Some(rotation.client))?;
    revoke(transaction, at, id)?;
    Ok(Outcome::Burnt)
}

/// Makes a grant of what was allowed.
pub(super) fn make(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    (id, client): (&GrantId, &str),
    (allowed, dpop_jkt): (&Allowed, Option<[u8; 32]>),
    refresh: Option<&SecretHash>,
    limits: &Limits,
) -> Result<(), StorageError> {
    let refresh = refresh.map(|current| Refresh {
        current: *current,
        previous: None,
        generation: 0,
        idle_until: at.plus_millis(limits.idle_ms),
        absolute_until: at.plus_millis(limits.absolute_ms),
    });
    let grant = Grant {
        id: id.clone(),
        client: client.to_owned(),
        allowed: allowed.clone(),
        dpop_jkt,
        refresh,
        created_at: at,
        used_at: at,
        revoked_at: None,
    };
    let mut grants = grants(transaction, &allowed.account)?;
    while grants.0.len() >= GRANTS_PER_ACCOUNT_MAX {
        let oldest = grants.0.remove(0);
        end(transaction, at, &oldest)?;
    }
    grants.0.push(id.clone());
    transaction.put(Keyspace::Oauth, account_key(&allowed.account), &grants)?;
    let made = Event::new(Action::GrantMade, Kind::Grant, id).of(&allowed.account).with("client", client);
    let made = made.with("scopes", scope::join(&allowed.scopes));
    transaction.note(made.by(Actor::Client { id: client.to_owned(), account: None }));
    transaction.put(Keyspace::Oauth, key(id), &grant)?;
    if let Some(session) = &allowed.session {
        logout::joined(transaction, at, session, client)?;
    }
    expiry::note(transaction, at, grant.expires_at(), &key(id))
}

/// Ends a grant that is in force: none of its tokens is good from now on.
pub(super) fn revoke(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    id: &GrantId,
) -> Result<(), StorageError> {
    if let Some(account) = end(transaction, at, id)? {
        forget(transaction, &account, id)?;
    }
    Ok(())
}

/// Notes why a grant ends that is in force; `shown_by` is who showed what ends it.
pub(super) fn note_end(
    transaction: &mut Transaction<'_>,
    action: Action,
    id: &GrantId,
    shown_by: Option<&str>,
) -> Result<(), StorageError> {
    let found = get(transaction, id)?.filter(|grant| grant.revoked_at.is_none());
    let Some(grant) = found else { return Ok(()) };
    let mut event =
        Event::new(action, Kind::Grant, id).of(&grant.allowed.account).with("client", grant.client);
    if let Some(client) = shown_by {
        event = event.refused().by(Actor::Client { id: client.to_owned(), account: None });
    }
    transaction.note(event);
    Ok(())
}

/// Ends an account's grants, or those to one client. Returns how many there were.
pub(crate) fn revoke_all(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
    client: Option<&str>,
) -> Result<usize, StorageError> {
    let mut kept = Vec::new();
    let mut revoked = 0;
    for id in grants(transaction, account)?.0 {
        let grant = get(transaction, &id)?;
        if grant.is_some_and(|grant| client.is_none_or(|client| grant.client == client)) {
            end(transaction, at, &id)?;
            revoked += 1;
        } else {
            kept.push(id);
        }
    }
    match kept.is_empty() {
        true => transaction.remove(Keyspace::Oauth, account_key(account)),
        false => transaction.put(Keyspace::Oauth, account_key(account), &Grants(kept))?,
    }
    Ok(revoked)
}

/// Whether the session that something was allowed in goes on: what was not redeemed by its end is not redeemed any more.
pub(super) fn stands(
    reader: &(impl Reader + ?Sized),
    at: Timestamp,
    allowed: &Allowed,
) -> Result<bool, StorageError> {
    match &allowed.session {
        Some(session) => accounts::goes_on(reader, at, &allowed.account, session),
        None => Ok(true),
    }
}

/// Ends the grants of an account that came of sessions that have ended, but for those that may go on without the person.
pub(crate) fn end_with_sessions(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
    has_ended: impl Fn(&str) -> bool,
) -> Result<(), StorageError> {
    for id in grants(transaction, account)?.0 {
        let grant =
            get(transaction, &id)?.filter(|grant| !grant.allowed.scopes.contains(&Scope::OfflineAccess));
        if grant.and_then(|grant| grant.allowed.session).is_some_and(|session| has_ended(&session)) {
            revoke(transaction, at, &id)?;
        }
    }
    Ok(())
}

/// Marks a grant as ended, and tells whose it was.
fn end(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    id: &GrantId,
) -> Result<Option<AccountId>, StorageError> {
    let found = get(transaction, id)?.filter(|grant| grant.revoked_at.is_none());
    let Some(mut grant) = found else { return Ok(None) };
    grant.revoked_at = Some(at);
    transaction.put(Keyspace::Oauth, key(id), &grant)?;
    note_revoked(transaction, at, id.as_str())?;
    Ok(Some(grant.allowed.account))
}

/// Takes a grant out of its account's list.
fn forget(transaction: &mut Transaction<'_>, account: &AccountId, id: &GrantId) -> Result<(), StorageError> {
    let mut grants = grants(transaction, account)?;
    grants.0.retain(|other| other != id);
    if grants.0.is_empty() {
        transaction.remove(Keyspace::Oauth, account_key(account));
        return Ok(());
    }
    transaction.put(Keyspace::Oauth, account_key(account), &grants)
}

fn note_revoked(transaction: &mut Transaction<'_>, at: Timestamp, id: &str) -> Result<(), StorageError> {
    transaction.put_bytes(Keyspace::Oauth, revoked_key(id), Vec::new());
    expiry::note(transaction, at, at.plus_millis(ACCESS_MS_MAX + LEEWAY_MS), &revoked_key(id))
}

pub(super) fn expire(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    key: &[u8],
) -> Result<Option<Timestamp>, StorageError> {
    let Some(grant) = transaction::get::<Grant>(transaction, Keyspace::Oauth, key)? else { return Ok(None) };
    if now < grant.expires_at() {
        return Ok(Some(grant.expires_at()));
    }
    transaction.remove(Keyspace::Oauth, key.to_vec());
    if grant.revoked_at.is_none() {
        forget(transaction, &grant.allowed.account, &grant.id)?;
    }
    Ok(None)
}

fn key(id: &GrantId) -> Vec<u8> {
    format!("f/{id}").into_bytes()
}

fn account_key(account: &AccountId) -> Vec<u8> {
    format!("a/{account}").into_bytes()
}

fn revoked_key(id: &str) -> Vec<u8> {
    format!("r/{id}").into_bytes()
}

/// The grant with this name.
pub fn get(reader: &(impl Reader + ?Sized), id: &GrantId) -> Result<Option<Grant>, StorageError> {
    transaction::get(reader, Keyspace::Oauth, &key(id))
}

/// Whether the grant or token with this name was revoked, as far as its access tokens may still live.
pub fn is_revoked(reader: &(impl Reader + ?Sized), id: &str) -> Result<bool, StorageError> {
    Ok(reader.get(Keyspace::Oauth, &revoked_key(id))?.is_some())
}

fn grants(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Grants, StorageError> {
    Ok(transaction::get(reader, Keyspace::Oauth, &account_key(account))?.unwrap_or_default())
}

/// The account's grants in force, oldest first.
pub fn list(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Vec<Grant>, StorageError> {
    let ids = grants(reader, account)?.0;
    ids.iter().filter_map(|id| get(reader, id).transpose()).collect()
}
