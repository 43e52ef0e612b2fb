//! Signed tokens of others (RFC 7515 to 7519): ID tokens and logout tokens of providers, assertions of clients.
//!
//! [`read()`] takes one apart without believing it; [`Read::verified`] believes it once a key of its author signed it. Which key, and
//! with which algorithm, is never the token's own choice (RFC 8725, 3.1): [`KeySet`] finds it, [`KeySets`] fetches such sets
//! through the guard of all requests made for others.

mod key_set;
mod key_sets;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

pub(crate) use self::key_set::{KeySet, KeySetError};
pub(crate) use self::key_sets::{KeySets, KeySetsError};
pub(crate) use jsonwebtoken::Algorithm;

/// Longest token that is looked at, in bytes.
const JWT_BYTES_MAX: usize = 16 * 1024;
/// Longest head of one, in letters.
const HEAD_LEN_MAX: usize = 1_024;
/// Longest name of a key, in bytes.
const KID_BYTES_MAX: usize = 256;

/// What is taken from others: signatures by a key of which only its author has the private half. No `none`, and nothing with a
/// shared secret, which a public key could be taken for.
pub(crate) const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::RS256),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];
/// What is taken of whom a secret is shared with, and of nobody else.
pub(crate) const SHARED_ALGORITHMS: &[(&str, Algorithm)] = &[("HS256", Algorithm::HS256)];

/// Why a token is not looked at any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no JWT, or longer than any is.
    #[error("it is no signed JWT of a usual length")]
    Malformed,
    /// It is signed in a way that proves nothing here.
    #[error("its 'alg' is none that is taken here")]
    Algorithm,
    /// It asks for something that is not understood (RFC 7515, 4.1.11).
    #[error("its head has members that change what it means")]
    Critical,
    /// Its signature is not by the key, or its claims are not what they should be.
    #[error("its signature or its claims are wrong")]
    Signature,
}

/// A token that was taken apart, and is not believed yet.
#[derive(Debug, Clone)]
pub(crate) struct Read<'a> {
    text: &'a str,
    /// What it says it is signed with.
    pub(crate) algorithm: Algorithm,
    /// What it says its key is called.
    pub(crate) kid: Option<String>,
    /// What it says it is.
    pub(crate) typ: Option<String>,
}

/// Members of a head that are looked at; each once. `jwk`, `jku` and `x5u` are none of them: keys are not taken from tokens.
#[derive(Deserialize)]
struct Head {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
    #[serde(default)]
    b64: Option<IgnoredAny>,
}

/// Takes a token apart that is signed with one of `algorithms`.
pub(crate) fn read<'a>(text: &'a str, algorithms: &[(&str, Algorithm)]) -> Result<Read<'a>, JwtError> {
    if text.len() > JWT_BYTES_MAX || text.split('.').count() != 3 {
        return Err(JwtError::Malformed);
    }
    let head = text.split('.').next().filter(|head| head.len() <= HEAD_LEN_MAX);
    let head = head.and_then(|head| URL_SAFE_NO_PAD.decode(head).ok()).ok_or(JwtError::Malformed)?;
    let head: Head = serde_json::from_slice(&head).map_err(|_| JwtError::Malformed)?;
    if head.crit.is_some() || head.b64.is_some() {
        return Err(JwtError::Critical);
    }
    let known = algorithms.iter().find(|(name, _)| *name == head.alg);
    let (_, algorithm) = known.ok_or(JwtError::Algorithm)?;
    if head.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
        return Err(JwtError::Malformed);
    }
    Ok(Read { text, algorithm: *algorithm, kid: head.kid, typ: head.typ })
}

/// What a token claims, signed or not: only to find out whose key to ask for.
pub(crate) fn unverified<T: DeserializeOwned>(text: &str) -> Option<T> {
    let claims = text.split('.').nth(1).filter(|_| text.len() <= JWT_BYTES_MAX)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

impl Read<'_> {
    /// What it claims, if `key` signed it. Times and audiences are compared by whoever asks, by the node's own clock.
    pub(crate) fn verified<T: DeserializeOwned>(&self, key: &DecodingKey) -> Result<T, JwtError> {
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<T>(self.text, key, &validation);
        decoded.map(|decoded| decoded.claims).map_err(|_| JwtError::Signature)
    }
}

/// One audience, or several (RFC 7519, 4.1.3).
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

/// `at_hash` of an access token: the left half of the hash that the algorithm signs (Core, 3.1.3.6).
pub(crate) fn token_hash(algorithm: Algorithm, access_token: &str) -> String {
    // Ed25519 signs by way of SHA-512 (RFC 8032, 5.1).
    let hash = digest(if algorithm == Algorithm::EdDSA { &SHA512 } else { &SHA256 }, access_token.as_bytes());
    let hash = hash.as_ref();
    URL_SAFE_NO_PAD.encode(hash.get(..hash.len() / 2).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(head: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode("{}"))
    }

    #[test]
    fn case_042_and_047_what_is_unsigned_or_means_something_else_is_not_looked_at() {
        for (head, wrong) in [
            (r#"{"alg":"none"}"#, JwtError::Algorithm),
            (r#"{"alg":"None"}"#, JwtError::Algorithm),
            (r#"{"alg":"HS256"}"#, JwtError::Algorithm),
            (r#"{"alg":"RS256","crit":["exp"]}"#, JwtError::Critical),
            (r#"{"alg":"RS256","b64":false}"#, JwtError::Critical),
            (r#"{"alg":"RS256","alg":"none"}"#, JwtError::Malformed),
            (r#"{"kid":"k"}"#, JwtError::Malformed),
            ("[]", JwtError::Malformed),
        ] {
            assert_eq!(read(&token(head), ALGORITHMS).unwrap_err(), wrong, "{head}");
        }
        for text in ["", "a.b", "a.b.c.d", "é.b.c", &format!("{}.a.b", "x".repeat(20_000))] {
            assert_eq!(read(text, ALGORITHMS).unwrap_err(), JwtError::Malformed, "{text}");
        }
        let long = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(300));
        assert_eq!(read(&token(&long), ALGORITHMS).unwrap_err(), JwtError::Malformed);
        let shared = token(r#"{"alg":"HS256"}"#);
        assert_eq!(read(&shared, SHARED_ALGORITHMS).unwrap().algorithm, Algorithm::HS256);
        assert_eq!(read(&token(r#"{"alg":"RS256"}"#), SHARED_ALGORITHMS).unwrap_err(), JwtError::Algorithm);
        let fine = token(r#"{"alg":"ES256","kid":"k","jku":"https://evil.example"}"#);
        assert_eq!(read(&fine, ALGORITHMS).unwrap().kid.as_deref(), Some("k"));
    }

    #[test]
    fn the_hash_of_a_token_is_that_of_the_standard() {
        // OpenID Connect Core, A.3.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(token_hash(Algorithm::RS256, token), "77QmUPtjPfzWtF2AnpK9RQ");
        assert_eq!(token_hash(Algorithm::EdDSA, token).len(), 43);
    }
}
