//! The keys of this moment: which sign, which verify, what the world is shown of them.
//!
//! [`Keys`] is made from the agreed state, whole, each time a key comes or goes; who signs or verifies holds one for as long as
//! that takes.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::oauth::signing_key::{Algorithm, SigningKey};

use super::signing_key::{KeyError, PrivateKey};
use crate::seal::Sealer;

/// A key that signs.
pub(super) struct Signer {
    signs_from: Timestamp,
    private: PrivateKey,
    /// The head of an access token, encoded: it is the same for all.
    access_head: String,
    /// That of an ID token.
    id_head: String,
    /// That of a logout token.
    logout_head: String,
}

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An access token (RFC 9068, 2.1).
    Access,
    /// An ID token.
    Id,
    /// What tells a client of a sign-out (OpenID Connect Back-Channel Logout, 2.4).
    Logout,
}

impl Signer {
    fn new(key: &SigningKey, private: PrivateKey) -> Self {
        let head = |typ: &str| {
            let head = json!({ "alg": key.algorithm.as_str(), "typ": typ, "kid": key.kid });
            URL_SAFE_NO_PAD.encode(head.to_string())
        };
        Self {
            signs_from: key.signs_from,
            private,
            access_head: head(ACCESS_TYPE),
            id_head: head(ID_TYPE),
            logout_head: head(LOGOUT_TYPE),
        }
    }

    /// A token signed under any head, as nobody else could make it.
    #[cfg(test)]
    pub(super) fn sign_under(&self, head: &str, claims: &[u8]) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.private.sign(message.as_bytes()).unwrap_or_default();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A signed token with these claims, in compact form (RFC 7515, 3.1).
    pub(super) fn sign(&self, purpose: Purpose, claims: &[u8]) -> Result<String, KeyError> {
        let head = match purpose {
            Purpose::Access => &self.access_head,
            Purpose::Id => &self.id_head,
            Purpose::Logout => &self.logout_head,
        };
        let mut token = String::with_capacity(head.len() + claims.len() * 4 / 3 + 360);
        token.push_str(head);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.private.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// What the head of an access token says it is (RFC 9068, 2.1).
pub(super) const ACCESS_TYPE: &str = "at+jwt";
/// That of an ID token.
pub(super) const ID_TYPE: &str = "JWT";
/// That of a logout token.
const LOGOUT_TYPE: &str = "logout+jwt";

/// A key that verifies.
pub(super) struct Verifier {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
    verifies_until: Timestamp,
}

/// What seals, by what for; made from the base key.
pub(super) struct Sealers {
    pub(super) access: Sealer,
    pub(super) refresh: Sealer,
    pub(super) ticket: Sealer,
    /// Private keys.
    pub(super) signing: Sealer,
    /// Secrets that clients sign with.
    pub(super) client: Sealer,
}

impl Sealers {
    pub(super) fn new(base: &[u8; 32]) -> Self {
        Self {
            access: Sealer::new(base, "twinmcp 2026-11 opaque access tokens"),
            refresh: Sealer::new(base, "twinmcp 2026-11 refresh tokens"),
            ticket: Sealer::new(base, "twinmcp 2026-11 questions to a person"),
            signing: Sealer::new(base, "twinmcp 2026-11 keys that sign tokens"),
            client: Sealer::new(base, "twinmcp 2026-11 secrets that clients sign with"),
        }
    }
}

/// The keys of this moment.
#[derive(Default)]
pub(super) struct Keys {
    sealers: Option<Sealers>,
    signers: HashMap<Algorithm, Vec<Signer>>,
    verifiers: HashMap<String, Verifier>,
    jwks: Option<Arc<str>>,
}

impl Keys {
    /// Opens what is agreed on. A key that cannot be opened still verifies.
    pub(super) fn open(agreed: &[SigningKey], sealers: Option<Sealers>, now: Timestamp) -> Self {
        let mut keys = Self::default();
        let mut shown = Vec::new();
        for key in agreed.iter().filter(|key| key.revoked_at.is_none() && now < key.verifies_until) {
            let Some(jwk) = jwk(key) else { continue };
            let parsed = serde_json::from_value::<Jwk>(jwk.clone()).ok();
            let Some(verifying) = parsed.and_then(|jwk| DecodingKey::from_jwk(&jwk).ok()) else {
                tracing::error!(kid = key.kid, "a signing key is not one, and verifies nothing");
                continue;
            };
            shown.push(jwk);
            let verifier =
                Verifier { algorithm: key.algorithm, key: verifying, verifies_until: key.verifies_until };
            keys.verifiers.insert(key.kid.clone(), verifier);
            let opened = sealers.as_ref().and_then(|sealers| sealers.signing.open(&key.sealed));
            let private = opened.and_then(|pkcs8| PrivateKey::from_pkcs8(key.algorithm, &pkcs8).ok());
            match private {
                Some(private) => {
                    keys.signers.entry(key.algorithm).or_default().push(Signer::new(key, private))
                }
                None => tracing::error!(
                    kid = key.kid,
                    "this node cannot open a signing key: it does not have the cluster's key"
                ),
            }
        }
        for signers in keys.signers.values_mut() {
            signers.sort_by_key(|signer| signer.signs_from);
        }
        keys.sealers = sealers;
        keys.jwks = (!shown.is_empty()).then(|| json!({ "keys": shown }).to_string().into());
        keys
    }

    /// What seals, once there is a base key that this node can open.
    pub(super) fn sealers(&self) -> Option<&Sealers> {
        self.sealers.as_ref()
    }

    /// Whether there is a key that signs.
    pub(super) fn has(&self, algorithm: Algorithm) -> bool {
        self.signers.contains_key(&algorithm)
    }

    /// The key that signs now: the newest that may, or the only one there is, however new.
    pub(super) fn signer(&self, algorithm: Algorithm, now: Timestamp) -> Option<&Signer> {
        let signers = self.signers.get(&algorithm)?;
        signers.iter().rev().find(|signer| signer.signs_from <= now).or_else(|| signers.first())
    }

    /// The key called `kid`.
    pub(super) fn verifier(&self, kid: &str, now: Timestamp) -> Option<&Verifier> {
        self.verifiers.get(kid).filter(|verifier| now < verifier.verifies_until)
    }

    /// The JWK set that everybody may have (RFC 7517, 5): keys that sign, that will, and that did. Nothing while there is no key.
    pub(super) fn jwks(&self) -> Option<Arc<str>> {
        self.jwks.clone()
    }
}

fn jwk(key: &SigningKey) -> Option<Value> {
    let mut jwk: Value = serde_json::from_str(&key.public).ok()?;
    let members = jwk.as_object_mut()?;
    members.insert("kid".to_owned(), key.kid.clone().into());
    members.insert("use".to_owned(), "sig".into());
    members.insert("alg".to_owned(), key.algorithm.as_str().into());
    Some(jwk)
}
