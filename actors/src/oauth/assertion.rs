//! Clients that show who they are by something they signed (RFC 7523, 2.2 and 3; OpenID Connect Core, 9): with a private key of
//! theirs, or with a secret that both sides know.
//!
//! Which of the two, and with which keys, is told by the client's registration and never by what it sends (RFC 8725, 3.1). An
//! assertion is good once, over all nodes: using it up is agreed before anything is done for it.

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::oauth;
use twinmcp_storage::oauth::assertion;
use twinmcp_storage::oauth::client::{Authentication, Client, Keys};
use twinmcp_storage::oauth::grant::LEEWAY_MS;

use super::Oauth;
use super::error::{ErrorCode, OauthError, Refused};
use crate::jose::{self, Audience, KeySet, KeySetsError};

/// What `client_assertion_type` has to be (RFC 7523, 2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How far ahead the end of an assertion may lie, in milliseconds: so long its use is remembered.
const LIFE_MS_MAX: u64 = 3600 * 1000;
/// Longest `jti`, in bytes.
const JTI_BYTES_MAX: usize = 256;
/// Paths of the endpoints that clients show themselves at; an assertion may name one of them in place of the issuer.
const ENDPOINTS: &[&str] = &[
    "/api/oauth/token",
    "/api/oauth/par",
    "/api/oauth/introspect",
    "/api/oauth/revoke",
    "/api/oauth/device_authorization",
    "/api/oauth/device/code",
    "/api/oauth/device/token",
];

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    jti: String,
    #[serde(default)]
    nbf: Option<u64>,
    #[serde(default)]
    iat: Option<u64>,
}

/// Whom an assertion says it is of, believed or not.
pub(super) fn subject(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Subject {
        sub: String,
    }
    jose::unverified::<Subject>(text).map(|claims| claims.sub)
}

impl Oauth {
    /// Takes an assertion of `client`, which is worth nothing from then on.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidClient`] when it shows nothing, or was taken before.
    pub(super) async fn take_assertion(&self, client: &Client, text: &str) -> Result<(), OauthError> {
        let claims = self.signed_claims(client, text).await?;
        let now = self.now();
        let expires_at = check(&claims, &client.id, self.issuer(), now)?;
        let mut hasher = blake3::Hasher::new_derive_key("twinmcp 2026-11 assertions of clients");
        hasher.update(&(client.id.len() as u64).to_be_bytes());
        hasher.update(client.id.as_bytes());
        hasher.update(claims.jti.as_bytes());
        let used = assertion::Command::Use {
            hash: *hasher.finalize().as_bytes(),
            // Another node's clock may be behind by as much as this one takes it for longer.
            ttl_ms: expires_at.plus_millis(2 * LEEWAY_MS).millis_since(now),
        };
        match self.propose(oauth::Command::Assertion(used)).await? {
            Outcome::Done => Ok(()),
            _ => Err(wrong("was used before: make one with a 'jti' of its own for each request").into()),
        }
    }

    /// What an assertion claims, once it is known who signed it. Until then a refusal does not say what was wrong.
    async fn signed_claims(&self, client: &Client, text: &str) -> Result<Claims, OauthError> {
        let unread = |error: jose::JwtError| {
            tracing::info!(client_id = client.id, %error, "an assertion of a client was refused");
            Refused::client()
        };
        let claims = match &client.authentication {
            Authentication::PrivateKeyJwt(Keys::Set(set)) => {
                let read = jose::read(text, jose::ALGORITHMS).map_err(unread)?;
                let set = serde_json::from_str(set).ok().and_then(|set| KeySet::parse(&set).ok());
                let set = set.ok_or_else(Refused::client)?;
                let key = set.find(read.kid.as_deref(), read.algorithm).ok_or_else(Refused::client)?;
                read.verified(key).map_err(unread)?
            }
            Authentication::PrivateKeyJwt(Keys::Uri(uri)) => {
                let read = jose::read(text, jose::ALGORITHMS).map_err(unread)?;
                let found = self.0.key_sets.find(uri, read.kid.as_deref(), read.algorithm).await;
                let key = found.map_err(|error| {
                    let source = &error as &dyn std::error::Error;
                    tracing::info!(client_id = client.id, error = source, "a client's key was not found");
                    match error {
                        KeySetsError::Unknown => Refused::client(),
                        _ => unread_keys(),
                    }
                })?;
                read.verified(&key).map_err(unread)?
            }
            Authentication::SecretJwt { sealed } => {
                let read = jose::read(text, jose::SHARED_ALGORITHMS).map_err(unread)?;
                let secret = self.0.issuer.kept_client_secret(sealed).ok_or(OauthError::NoKey)?;
                read.verified(&DecodingKey::from_secret(secret.as_bytes())).map_err(unread)?
            }
            Authentication::None | Authentication::Secret(_) => return Err(Refused::client().into()),
        };
        Ok(claims)
    }
}

/// The refusal where a client's keys are elsewhere, and cannot be read now.
pub(super) fn unread_keys() -> Refused {
    let description = "The client's keys at its 'jwks_uri' cannot be read now.";
    Refused::new(ErrorCode::InvalidClient, description)
}

fn wrong(why: &str) -> Refused {
    Refused::new(ErrorCode::InvalidClient, format!("The client's assertion {why}."))
}

/// Checks the claims of an assertion that is signed by its client, and tells when it ends (RFC 7523, 3).
fn check(claims: &Claims, client: &str, issuer: &str, now: Timestamp) -> Result<Timestamp, Refused> {
    if claims.iss != client || claims.sub != client {
        return Err(wrong("must have the client's id as 'iss' and as 'sub'"));
    }
    let is_ours = |name: &String| {
        name.strip_prefix(issuer).is_some_and(|path| path.is_empty() || ENDPOINTS.contains(&path))
    };
    // For us and for nobody else: another server could show it here (RFC 7523, 8).
    let names = claims.aud.names();
    if names.is_empty() || !names.iter().all(is_ours) {
        return Err(wrong(&format!("must have '{issuer}' as its only 'aud'")));
    }
    let at = |seconds: u64| Timestamp::from_millis(seconds.saturating_mul(1000));
    let expires_at = at(claims.exp);
    if expires_at.plus_millis(LEEWAY_MS) <= now {
        return Err(wrong("has expired: see 'exp'"));
    }
    if expires_at.millis_since(now) > LIFE_MS_MAX + LEEWAY_MS {
        return Err(wrong("lives too long: let 'exp' be an hour ahead at most"));
    }
    let begins = claims.nbf.into_iter().chain(claims.iat).map(at).max().unwrap_or_default();
    if begins > now.plus_millis(LEEWAY_MS) {
        return Err(wrong("is of the future: see 'nbf' and 'iat'"));
    }
    if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX {
        return Err(wrong(&format!("needs a 'jti' of 1 to {JTI_BYTES_MAX} bytes")));
    }
    Ok(expires_at)
}

/// Whether `client` has signed `text` for this service with one of `keys`: see [`crate::fuzzing::client_assertion`].
#[cfg(fuzzing)]
pub(super) fn fuzz_check(text: &str, keys: &KeySet, client: &str, issuer: &str, now: Timestamp) -> bool {
    let _ = subject(text);
    let Ok(read) = jose::read(text, jose::ALGORITHMS) else { return false };
    let Some(key) = keys.find(read.kid.as_deref(), read.algorithm) else { return false };
    let Ok(claims) = read.verified::<Claims>(key) else { return false };
    let Ok(expires_at) = check(&claims, client, issuer, now) else { return false };
    assert!(claims.sub == client && expires_at.millis_since(now) <= LIFE_MS_MAX + LEEWAY_MS, "{claims:?}");
    true
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://node.example";
    const NOW: Timestamp = Timestamp::from_millis(1_795_437_970_000);

    fn checked(change: &[(&str, Value)]) -> Result<Timestamp, String> {
        let mut claims = json!({
            "iss": "c", "sub": "c", "aud": ISSUER, "exp": NOW.as_secs() + 60, "jti": "j", "iat": NOW.as_secs(),
        });
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        let claims: Claims = serde_json::from_value(claims).map_err(|error| error.to_string())?;
        check(&claims, "c", ISSUER, NOW).map_err(|refused| refused.description)
    }

    #[test]
    fn an_assertion_is_of_its_client_for_this_service_and_these_minutes() {
        let now = NOW.as_secs();
        for change in [
            vec![],
            vec![("aud", json!(format!("{ISSUER}/api/oauth/token")))],
            vec![("aud", json!([ISSUER, format!("{ISSUER}/api/oauth/par")]))],
            vec![("exp", json!(now - 59))],
            vec![("exp", json!(now + 3_600))],
            vec![("iat", json!(now + 59))],
            vec![("iat", Value::Null)],
        ] {
            assert!(checked(&change).is_ok(), "{change:?}");
        }
        for change in [
            ("iss", json!("other")),
            ("sub", json!("other")),
            ("aud", json!("https://other.example")),
            ("aud", json!([ISSUER, "https://other.example"])),
            ("aud", json!([])),
            ("aud", json!(format!("{ISSUER}.evil.example"))),
            ("aud", json!(format!("{ISSUER}/"))),
            ("aud", Value::Null),
            ("exp", json!(now - 60)),
            ("exp", json!(now + 3_661)),
            ("exp", json!(u64::MAX)),
            ("exp", json!("1")),
            ("exp", json!(-1)),
            ("exp", Value::Null),
            ("nbf", json!(now + 61)),
            ("iat", json!(now + 61)),
            ("jti", json!("")),
            ("jti", json!("x".repeat(300))),
            ("jti", Value::Null),
        ] {
            assert!(checked(std::slice::from_ref(&change)).is_err(), "{change:?}");
        }
    }
}
