//! Authorization codes (RFC 6749, 4.1). A code is good for one grant, and for nothing after anybody showed it wrongly.
//!
//! Key layout: `g/<hash of the code>` -> [`Code`].

use serde::{Deserialize, Serialize};

use super::grant::{self, Allowed, Limits};
use super::{client, consent, expiry, pushed};
use crate::api_keys::SecretHash;
use crate::audit::{Action, Actor, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::GrantId;
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// How long a code is remembered, in milliseconds, so that a second use is known for what it is: ten minutes.
const REMEMBERED_MS: u64 = 10 * 60 * 1000;

/// What has become of a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It was sent to the client.
    Issued,
    /// It was shown rightly once: this grant came of it.
    Redeemed(GrantId),
    /// It was shown wrongly once.
    Burnt,
}

/// What a code was made for, and has to be shown with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Whose code it is.
    pub client: String,
    /// Where it was sent.
    pub redirect_uri: String,
    /// SHA-256 of the code verifier (RFC 7636, 4.2).
    pub challenge: [u8; 32],
    /// Thumbprint of the key whose proof must come with it (RFC 9449, 10).
    pub dpop_jkt: Option<[u8; 32]>,
}

/// What was shown with a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Who showed it.
    pub client: String,
    /// Where it says that the code was sent; clients of OAuth 2.1 do not say.
    pub redirect_uri: Option<String>,
    /// SHA-256 of the code verifier.
    pub challenge: [u8; 32],
    /// Thumbprint of the key whose proof came with it.
    pub dpop_jkt: Option<[u8; 32]>,
}

impl Shown {
    /// Whether it is what the code was made for. A key that was not asked for is taken: the tokens are bound to it.
    fn fits(&self, asked: &Binding) -> bool {
        self.client == asked.client
            && self.redirect_uri.as_ref().is_none_or(|uri| *uri == asked.redirect_uri)
            && self.challenge == asked.challenge
            && (asked.dpop_jkt.is_none() || asked.dpop_jkt == self.dpop_jkt)
    }
}

/// A code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// What has to be shown with it.
    pub binding: Binding,
    /// What was allowed.
    pub allowed: Allowed,
    /// Whether a refresh token comes of it too.
    pub refreshable: bool,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// What has become of it.
    pub state: State,
}

impl Record for Code {
    const NAME: &'static str = "authorization code";
    const FORMAT: u8 = 1;
}

/// A change to codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Keeps a new code, and what was allowed with it. [`Outcome::NotFound`] when the pushed request is not there any more.
    Issue {
        /// Of the code.
        hash: SecretHash,
        /// What has to be shown with it.
        binding: Binding,
        /// What was allowed.
        allowed: Allowed,
        /// See [`Code::refreshable`].
        refreshable: bool,
        /// How long it is good, in milliseconds.
        ttl_ms: u64,
        /// The person was asked: it is not asked again for this.
        remember: bool,
        /// The request that was sent ahead.
        pushed: Option<SecretHash>,
    },
    /// Makes a grant of a code. [`Outcome::NotFound`] when there is none that is good. [`Outcome::Burnt`] when it was used
    /// before, which ends the grant that came of it, or when something else is shown than [`Binding`] asks for.
    Redeem {
        /// Of the code.
        hash: SecretHash,
        /// What was shown with it.
        shown: Shown,
        /// Name of the grant that comes of it.
        grant: GrantId,
        /// Of its first refresh token, if it gets one.
        refresh: SecretHash,
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
        Command::Issue { hash, binding, allowed, refreshable, ttl_ms, remember, pushed } => {
            if let Some(pushed) = pushed
                && !pushed::take(transaction, at, pushed)?
            {
                return Ok(Outcome::NotFound);
            }
            client::used(transaction, at, &binding.client)?;
            if *remember {
                consent::give(transaction, at, &allowed.account, &binding.client, &allowed.scopes)?;
            }
            let code = Code {
                binding: binding.clone(),
                allowed: allowed.clone(),
                refreshable: *refreshable,
                expires_at: at.plus_millis(*ttl_ms),
                state: State::Issued,
            };
            transaction.put(Keyspace::Oauth, key(hash), &code)?;
            expiry::note(transaction, at, at.plus_millis(REMEMBERED_MS.max(*ttl_ms)), &key(hash))?;
            Ok(Outcome::Done)
        }
        Command::Redeem { hash, shown, grant, refresh, limits } => {
            redeem(transaction, at, hash, shown, (grant, refresh), limits)
        }
    }
}

fn redeem(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    hash: &SecretHash,
    shown: &Shown,
    (grant, refresh): (&GrantId, &SecretHash),
    limits: &Limits,
) -> Result<Outcome, StorageError> {
    let Some(mut code) = get(transaction, hash)? else { return Ok(Outcome::NotFound) };
    match &code.state {
        State::Burnt => return Ok(Outcome::NotFound),
        // Somebody has a code that was used: whoever has its tokens may be the wrong one (RFC 6749, 4.1.2).
        State::Redeemed(grant) => {
            grant::note_end(transaction, Action::TokenReused, grant, Some(&shown.client))?;
            grant::revoke(transaction, at, grant)?;
            return Ok(Outcome::Burnt);
        }
        State::Issued if code.expires_at <= at => return Ok(Outcome::NotFound),
        State::Issued => {}
    }
    if !shown.fits(&code.binding) {
        code.state = State::Burnt;
        let misused = Event::new(Action::CodeMisused, Kind::Client, &code.binding.client);
        let misused = misused.of(&code.allowed.account).refused();
        transaction.note(misused.by(Actor::Client { id: shown.client.clone(), account: None }));
        transaction.put(Keyspace::Oauth, key(hash), &code)?;
        return Ok(Outcome::Burnt);
    }
    if !grant::stands(transaction, at, &code.allowed)? {
        return Ok(Outcome::NotFound);
    }
    let refresh = code.refreshable.then_some(refresh);
    let client = &shown.client;
    grant::make(transaction, at, (grant, client), (&code.allowed, shown.dpop_jkt), refresh, limits)?;
    code.state = State::Redeemed(grant.clone());
    transaction.put(Keyspace::Oauth, key(hash), &code)?;
    Ok(Outcome::Done)
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
    [b"g/".as_slice(), hash.as_bytes()].concat()
}

/// The code with this hash.
pub fn get(reader: &(impl Reader + ?Sized), hash: &SecretHash) -> Result<Option<Code>, StorageError> {
    transaction::get(reader, Keyspace::Oauth, &key(hash))
}
