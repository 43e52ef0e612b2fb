//! Hearing from a provider that somebody has signed out there (OpenID Connect Back-Channel Logout, 2.5 to 2.7).

use serde::Deserialize;
use serde_json::{Map, Value};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::oauth::grant::LEEWAY_MS;

use super::{Kind, Provider, Upstream, UpstreamError};
use crate::accounts::AccountsError;
use crate::jose::{self, Audience, JwtError, KeySetsError};
use crate::oauth::LOGOUT_EVENT;

/// Longest name of a token or a session, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// How old a token may be, in milliseconds, wherever it says that it ends: so long it is known that it was taken.
const LIFE_MS_MAX: u64 = 10 * 60 * 1000;

/// Why a provider's logout token ends nothing.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// No such provider is configured, or it sends none.
    #[error("no provider of this name tells of sign-outs here")]
    UnknownProvider,
    /// It is no token, or of somebody else.
    #[error("the logout token is refused")]
    Jwt(#[source] JwtError),
    /// Nobody knows whose signature it is.
    #[error("the key of the logout token was not found")]
    Key(#[source] KeySetsError),
    /// It is no logout token for us, or was taken before.
    #[error("{0}")]
    Claim(&'static str),
    /// The provider's keys could not be asked for.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The others could not be told.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: u64,
    jti: String,
    events: Map<String, Value>,
    #[serde(default)]
    exp: Option<u64>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    nonce: Option<Value>,
}

impl Claims {
    fn check(&self, provider: &Provider, now: Timestamp) -> Result<(), LogoutError> {
        let claim = |is_right, why| if is_right { Ok(()) } else { Err(LogoutError::Claim(why)) };
        let at = |seconds: u64| Timestamp::from_millis(seconds.saturating_mul(1000));
        claim(self.iss == provider.issuer(), "the logout token is of another issuer")?;
        let is_ours = self.aud.names().contains(&provider.client_id);
        claim(is_ours, "the logout token is for somebody else")?;
        claim(at(self.iat) <= now.plus_millis(LEEWAY_MS), "the logout token is of the future")?;
        let oldest = at(self.iat).plus_millis(LIFE_MS_MAX);
        let ends_at = self.exp.map_or(oldest, |exp| at(exp).min(oldest));
        claim(now < ends_at.plus_millis(LEEWAY_MS), "the logout token has expired")?;
        let is_event = self.events.get(LOGOUT_EVENT).is_some_and(Value::is_object);
        claim(is_event, "the token does not say that somebody signed out")?;
        // What has one is an ID token, however it is signed (2.4).
        claim(self.nonce.is_none(), "a logout token has no nonce")?;
        claim(
            self.sub.is_some() || self.sid.is_some(),
            "the logout token does not say whose session has ended",
        )?;
        let is_name = |name: &String| !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        let are_names = is_name(&self.jti) && self.sub.iter().chain(&self.sid).all(is_name);
        claim(are_names, "a name in the logout token is empty or too long")
    }
}

impl Upstream {
    /// Ends the sessions here that came of what has ended at a provider.
    ///
    /// # Errors
    /// Why the token ends nothing. That there was no such session here is none.
    #[tracing::instrument(name = "upstream.log_out", skip_all)]
    pub async fn log_out(&self, provider: &str, token: &str) -> Result<(), LogoutError> {
        let provider = self.provider(provider).ok().filter(|provider| provider.kind == Kind::OpenId);
        let provider = provider.ok_or(LogoutError::UnknownProvider)?;
        let read = jose::read(token, jose::ALGORITHMS).map_err(LogoutError::Jwt)?;
        // Older providers say `JWT`, or nothing; an access token says something else (RFC 8725, 3.11).
        if !matches!(read.typ.as_deref(), None | Some("JWT" | "logout+jwt")) {
            return Err(LogoutError::Claim("it is a token for something else"));
        }
        let metadata = self.0.documents.of(&provider.url).await.map_err(UpstreamError::from)?;
        let key = self.0.key_sets.find(&metadata.jwks_uri, read.kid.as_deref(), read.algorithm).await;
        let claims: Claims = read.verified(&key.map_err(LogoutError::Key)?).map_err(LogoutError::Jwt)?;
        claims.check(provider, self.0.clock.now())?;
        let Claims { jti, sub, sid, .. } = claims;
        match self.0.accounts.log_out_from(provider.issuer(), jti, sub, sid).await? {
            true => Ok(()),
            false => Err(LogoutError::Claim("the logout token was taken before")),
        }
    }
}

/// Whether what `key` has signed ends a session: see [`crate::fuzzing::provider`].
#[cfg(fuzzing)]
pub(super) fn fuzz_check(
    read: &jose::Read<'_>,
    key: &jsonwebtoken::DecodingKey,
    provider: &Provider,
    now: Timestamp,
) -> bool {
    read.verified::<Claims>(key).is_ok_and(|claims| claims.check(provider, now).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ProviderSecret;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_437_970_000);

    #[test]
    fn case_092_a_logout_token_says_so_for_us_and_is_no_id_token() {
        let provider = Provider {
            name: "id".into(),
            title: "Id".into(),
            kind: Kind::OpenId,
            url: "https://id.example".into(),
            client_id: "we".into(),
            client_secret: ProviderSecret::default(),
            scopes: Vec::new(),
            sign_up: false,
        };
        let checked = |name: &str, value: Value| {
            let mut claims = json!({
                "iss": "https://id.example", "aud": "we", "iat": NOW.as_secs(), "exp": NOW.as_secs() + 3_600,
                "jti": "j", "sub": "ada", "sid": "s",
                "events": { (LOGOUT_EVENT): {} },
            });
            claims[name] = value;
            serde_json::from_value::<Claims>(claims).is_ok_and(|claims| claims.check(&provider, NOW).is_ok())
        };
        let now = NOW.as_secs();
        for (name, value) in [
            ("x", json!(1)),
            ("aud", json!(["we", "they"])),
            ("sub", Value::Null),
            ("sid", Value::Null),
            ("exp", json!(now - 59)),
            ("exp", Value::Null),
            ("iat", json!(now - 600)),
        ] {
            assert!(checked(name, value.clone()), "{name}: {value}");
        }
        for (name, value) in [
            ("iss", json!("https://evil.example")),
            ("aud", json!("they")),
            ("aud", Value::Null),
            ("iat", json!(now + 61)),
            ("iat", json!(now - 661)),
            ("exp", json!(now - 60)),
            ("events", Value::Null),
            ("events", json!({})),
            ("events", json!({ (LOGOUT_EVENT): true })),
            ("events", json!({ "http://schemas.openid.net/event/other": {} })),
            ("events", json!([LOGOUT_EVENT])),
            ("nonce", json!("n")),
            ("jti", json!("")),
            ("jti", Value::Null),
            ("sid", json!("x".repeat(257))),
        ] {
            assert!(!checked(name, value.clone()), "{name}: {value}");
        }
    }
}
