//! Keys that sign tokens. The next one is published before it signs, an old one as long as a token of it may live
//! (RFC 7517; OpenID Connect Core, 10.1.1).
//!
//! Key layout: `k/<kid>` -> [`SigningKey`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::record::Record;
use crate::transaction::{self, Change, Transaction};

/// Keys there are at once, of all algorithms, revoked ones too.
pub const KEYS_MAX: usize = 64;

/// What a token is signed with (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: every client verifies it.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Its name in a token's head.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not an algorithm of this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown algorithm; known are RS256, ES256 and EdDSA")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        [Self::Rs256, Self::Es256, Self::EdDsa]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or(UnknownAlgorithm)
    }
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// Its name in a token's head.
    pub kid: String,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// The public part: the members of a JWK that tell it, as JSON.
    pub public: String,
    /// The private part, PKCS #8, sealed with a key made from the base key ([`super::base_key`]).
    pub sealed: Vec<u8>,
    /// From when on it signs: every node has it by then.
    pub signs_from: Timestamp,
    /// Until when its tokens are verified.
    pub verifies_until: Timestamp,
    /// Since when nothing of it is believed.
    pub revoked_at: Option<Timestamp>,
}

impl Record for SigningKey {
    const NAME: &'static str = "signing key";
    const FORMAT: u8 = 1;
}

/// A change to the keys that sign tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds a key, and forgets those that verify nothing any more. [`Outcome::Stale`] when `after` is not the newest key of the
    /// algorithm: another node was faster. [`Outcome::LimitReached`] with [`KEYS_MAX`] keys.
    Add {
        /// The newest key of the algorithm, as the proposer knows it.
        after: Option<String>,
        /// The key's name.
        kid: String,
        /// What it signs with.
        algorithm: Algorithm,
        /// See [`SigningKey::public`].
        public: String,
        /// See [`SigningKey::sealed`].
        sealed: Vec<u8>,
        /// After what time it signs, in milliseconds.
        signs_after_ms: u64,
        /// How long its tokens are verified from now on, in milliseconds.
        verifies_ms: u64,
    },
    /// Nothing of a key is believed from now on. [`Outcome::NotFound`] without it, or when it was revoked already.
    Revoke {
        /// Which.
        kid: String,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Add { after, kid, algorithm, public, sealed, signs_after_ms, verifies_ms } => {
            let keys = list(transaction)?;
            if newest(&keys, *algorithm).map(|key| &key.kid) != after.as_ref() {
                return Ok(Outcome::Stale);
            }
            let (over, kept): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key.verifies_until <= at);
            if kept.len() >= KEYS_MAX || kept.iter().any(|key| key.kid == *kid) {
                return Ok(Outcome::LimitReached);
            }
            for over in over {
                transaction.remove(Keyspace::Oauth, key(&over.kid));
            }
            let new = SigningKey {
                kid: kid.clone(),
                algorithm: *algorithm,
                public: public.clone(),
                sealed: sealed.clone(),
                signs_from: at.plus_millis(*signs_after_ms),
                verifies_until: at.plus_millis(*verifies_ms),
                revoked_at: None,
            };
            transaction.put(Keyspace::Oauth, key(kid), &new)?;
            let added = Event::new(Action::SigningKeyAdded, Kind::SigningKey, kid);
            transaction.note(added.with("algorithm", algorithm));
        }
        Command::Revoke { kid } => {
            let found: Option<SigningKey> = transaction::get(transaction, Keyspace::Oauth, &key(kid))?;
            let Some(mut revoked) = found.filter(|key| key.revoked_at.is_none()) else {
                return Ok(Outcome::NotFound);
            };
            revoked.revoked_at = Some(at);
            transaction.put(Keyspace::Oauth, key(kid), &revoked)?;
            transaction.note(Event::new(Action::SigningKeyRevoked, Kind::SigningKey, kid));
        }
    }
    transaction.changed(Change::SigningKeys);
    Ok(Outcome::Done)
}

/// The key of `algorithm` that signs last, of those not revoked.
pub fn newest(keys: &[SigningKey], algorithm: Algorithm) -> Option<&SigningKey> {
    let of_it = keys.iter().filter(|key| key.algorithm == algorithm && key.revoked_at.is_none());
    of_it.max_by_key(|key| (key.signs_from, &key.kid))
}

fn key(kid: &str) -> Vec<u8> {
    format!("k/{kid}").into_bytes()
}

/// Every key, by name.
pub fn list(reader: &(impl Reader + ?Sized)) -> Result<Vec<SigningKey>, StorageError> {
    transaction::scan(reader, Keyspace::Oauth, b"k/", None, 2 * KEYS_MAX)
}
