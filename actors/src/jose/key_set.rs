//! A set of public keys (RFC 7517, 5), of which those are kept that something can be verified with.

use std::fmt;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::ALGORITHMS;

/// Keys of one set.
const KEYS_MAX: usize = 50;
/// Members of a JWK that only its owner may know (RFC 7518, 6).
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Shortest modulus of an RSA key, in letters of base64url: 2,048 bits (RFC 7518, 3.3).
const MODULUS_LEN_MIN: usize = 342;

/// Why something is no set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is no JWK set.
    #[error("it is no JWK set: an object with the list 'keys', of at most {KEYS_MAX}")]
    Malformed,
    /// It holds what only its owner may know.
    #[error("it holds a private or a shared key, which is burnt now: publish the public members alone")]
    Private,
    /// Nothing can be verified with it.
    #[error("it has no key for RS256, PS256, ES256 or EdDSA; one of RSA has 2048 bits at least")]
    Empty,
}

/// A set of public keys.
#[derive(Clone, Default)]
pub(crate) struct KeySet(Vec<Key>);

#[derive(Clone)]
struct Key {
    kid: Option<String>,
    /// What it signs with; the first that the kind of key allows counts where it does not say.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.kid)).finish()
    }
}

impl KeySet {
    /// Reads a set; keys of kinds that are not known here are left out (RFC 7517, 5).
    pub(crate) fn parse(set: &Value) -> Result<Self, KeySetError> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::Malformed);
        }
        let members = |key: &Value| key.as_object().cloned().ok_or(KeySetError::Malformed);
        let keys = keys.iter().map(members).collect::<Result<Vec<_>, _>>()?;
        if keys.iter().any(|key| PRIVATE_MEMBERS.iter().any(|member| key.contains_key(*member))) {
            return Err(KeySetError::Private);
        }
        let keys: Vec<Key> = keys.into_iter().filter_map(Key::read).collect();
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self(keys)) }
    }

    /// Whether there is a key called `kid`.
    pub(crate) fn has(&self, kid: Option<&str>) -> bool {
        kid.is_none_or(|kid| self.0.iter().any(|key| key.kid.as_deref() == Some(kid)))
    }

    /// The one key called `kid` that signs with `algorithm`; without a name, the only one that does.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let is_meant = |key: &&Key| {
            key.algorithms.contains(&algorithm) && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        };
        let mut meant = self.0.iter().filter(is_meant);
        let found = meant.next()?;
        // Of two that are called alike neither is trusted.
        meant.next().is_none().then_some(&found.key)
    }
}

impl Key {
    fn read(members: Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let kinds: &[Algorithm] = match (text("kty")?, text("crv")) {
            ("RSA", _) if text("n").is_some_and(|n| n.len() >= MODULUS_LEN_MIN) => {
                &[Algorithm::RS256, Algorithm::PS256]
            }
            ("EC", Some("P-256")) => &[Algorithm::ES256],
            ("OKP", Some("Ed25519")) => &[Algorithm::EdDSA],
            _ => return None,
        };
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let algorithms = match text("alg") {
            Some(name) => {
                let named = ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, named)| *named)?;
                vec![*kinds.iter().find(|kind| **kind == named)?]
            }
            None => kinds.to_vec(),
        };
        let kid = text("kid").map(str::to_owned);
        let jwk: Jwk = serde_json::from_value(members.into()).ok()?;
        Some(Self { kid, algorithms, key: DecodingKey::from_jwk(&jwk).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 7515, A.3.
    fn ec(more: Value) -> Value {
        let mut key = json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        if let (Some(key), Value::Object(more)) = (key.as_object_mut(), more) {
            key.extend(more);
        }
        key
    }

    fn parse(keys: Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(&json!({ "keys": keys }))
    }

    #[test]
    fn a_set_without_a_key_that_verifies_is_refused() {
        for (keys, wrong) in [
            (json!([]), KeySetError::Empty),
            (json!("x"), KeySetError::Malformed),
            (json!([7]), KeySetError::Malformed),
            (json!([ec(json!({ "d": "x" }))]), KeySetError::Private),
            (json!([{ "kty": "oct", "k": "x" }]), KeySetError::Private),
            (json!([{ "kty": "oct" }]), KeySetError::Empty),
            (json!([{ "kty": "RSA", "n": "AQAB", "e": "AQAB" }]), KeySetError::Empty),
            (json!([ec(json!({ "use": "enc" }))]), KeySetError::Empty),
            (json!([ec(json!({ "alg": "HS256" }))]), KeySetError::Empty),
            (json!([ec(json!({ "alg": "RS256" }))]), KeySetError::Empty),
            (json!(vec![ec(json!({})); 51]), KeySetError::Malformed),
        ] {
            assert_eq!(parse(keys.clone()).unwrap_err(), wrong, "{keys}");
        }
    }

    #[test]
    fn case_043_and_044_a_key_verifies_with_its_own_algorithm_alone() {
        let set = parse(json!([ec(json!({ "kid": "k" })), { "kty": "new" }])).unwrap();
        assert!(set.find(Some("k"), Algorithm::ES256).is_some());
        assert!(set.find(None, Algorithm::ES256).is_some(), "the only one needs no name");
        for (kid, algorithm) in
            [(Some("other"), Algorithm::ES256), (Some("k"), Algorithm::RS256), (Some("k"), Algorithm::HS256)]
        {
            assert!(set.find(kid, algorithm).is_none(), "{kid:?} {algorithm:?}");
        }
        let twice = parse(json!([ec(json!({ "kid": "k" })), ec(json!({ "kid": "k" }))])).unwrap();
        assert!(twice.find(Some("k"), Algorithm::ES256).is_none(), "two are called alike");
    }
}
