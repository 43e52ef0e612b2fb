//! Whoever signs tokens outside of a node: a client with keys of its own, a provider. And whoever reads those of a node.

use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use super::app::{base64url, from_base64url};

/// A key for ES256.
pub(super) struct Signer {
    key: EcdsaKeyPair,
    kid: &'static str,
}

impl Signer {
    pub(super) fn new(kid: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("it is there");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        Self { key: key.expect("it is there"), kid }
    }

    /// The public key, which an uncompressed point tells (SEC 1, 2.3.3).
    pub(super) fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y), "kid": self.kid, "use": "sig" })
    }

    pub(super) fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }), claims)
    }

    pub(super) fn sign_as(&self, head: &Value, claims: &Value) -> String {
        let message = message(head, claims);
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("it is there");
        format!("{message}.{}", base64url(signature.as_ref()))
    }
}

fn message(head: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(head.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
}

/// A token that nobody signed.
pub(super) fn unsigned(claims: &Value) -> String {
    format!("{}.", message(&json!({ "alg": "none" }), claims))
}

/// A token that is signed with a secret.
pub(super) fn hs256(secret: &[u8], claims: &Value) -> String {
    let message = message(&json!({ "alg": "HS256" }), claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", base64url(tag.as_ref()))
}

/// Head and claims of a token.
pub(super) fn read(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(from_base64url);
    let mut next = || serde_json::from_slice(&parts.next().expect("it is there")).expect("it is there");
    (next(), next())
}

/// Head and claims of a token that a node signed with RS256, by the keys that it shows.
pub(super) fn verified(token: &str, jwks: &Value) -> (Value, Value) {
    let (head, claims) = read(token);
    let keys = jwks["keys"].as_array().expect("it is there");
    let key = keys.iter().find(|key| key["kid"] == head["kid"]).expect("the key is shown");
    let part = |name: &str| from_base64url(key[name].as_str().expect("it is there"));
    let (message, signature) = token.rsplit_once('.').expect("it is there");
    let key = RsaPublicKeyComponents { n: part("n"), e: part("e") };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &from_base64url(signature))
        .expect("the node signed it");
    (head, claims)
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "whoever signs outside of a node has a clock of their own")]
pub(super) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is there").as_secs()
}
