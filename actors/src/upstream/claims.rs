//! What a provider says of somebody, and whether it is believed (OpenID Connect Core, 3.1.3.7 and 5.3.2).

use serde::Deserialize;
use twinmcp_storage::accounts::{Email, SUBJECT_BYTES_MAX};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::oauth::grant::LEEWAY_MS;

use crate::jose::{Algorithm, Audience, JwtError, KeySetsError, token_hash};

/// Longest name of a session at a provider, in bytes.
const SESSION_BYTES_MAX: usize = 256;

/// Why a provider is not believed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClaimError {
    /// It gave no ID token.
    #[error("it sent no ID token")]
    Missing,
    /// The ID token is none.
    #[error("its ID token is refused")]
    Jwt(#[source] JwtError),
    /// Nobody knows whose signature it is.
    #[error("the key of its ID token was not found")]
    Key(#[source] KeySetsError),
    /// The ID token is of somebody else, for somebody else, or of another time.
    #[error("{0}")]
    Claim(&'static str),
}

/// The claims of an ID token.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    iat: u64,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    at_hash: Option<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(flatten)]
    facts: Facts,
}

/// What is told of a person, in an ID token or by the endpoint of its own.
#[derive(Debug, Clone, Default, Deserialize)]
struct Facts {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<Verified>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    preferred_username: Option<String>,
}

/// `true`, or what some providers write instead.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Verified {
    Bool(bool),
    Text(String),
}

/// What `/userinfo` answers.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct UserInfo {
    sub: String,
    #[serde(flatten)]
    facts: Facts,
}

/// What an ID token has to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client: &'a str,
    pub(super) nonce: &'a str,
    pub(super) access_token: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) now: Timestamp,
}

/// Somebody as a provider tells of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) subject: String,
    pub(super) name: Option<String>,
    /// Their address, if the provider vouches for it: any other is as good as none.
    pub(super) email: Option<Email>,
    pub(super) session: Option<String>,
}

fn claim(is_right: bool, why: &'static str) -> Result<(), ClaimError> {
    if is_right { Ok(()) } else { Err(ClaimError::Claim(why)) }
}

impl Claims {
    pub(super) fn check(&self, expected: &Expected<'_>) -> Result<(), ClaimError> {
        let (names, at) =
            (self.aud.names(), |seconds: u64| Timestamp::from_millis(seconds.saturating_mul(1000)));
        claim(self.iss == expected.issuer, "its ID token is of another issuer")?;
        claim(names.iter().any(|name| name == expected.client), "its ID token is for somebody else")?;
        let party = self.azp.as_deref();
        claim(
            names.len() == 1 || party.is_some(),
            "its ID token is for several, and does not say who asked for it",
        )?;
        claim(
            party.is_none_or(|party| party == expected.client),
            "its ID token was asked for by somebody else",
        )?;
        claim(expected.now < at(self.exp).plus_millis(LEEWAY_MS), "its ID token has expired")?;
        claim(at(self.iat) <= expected.now.plus_millis(LEEWAY_MS), "its ID token is of the future")?;
        claim(self.nonce.as_deref() == Some(expected.nonce), "its ID token is of another sign-in")?;
        let hash = self.at_hash.as_ref();
        claim(
            hash.is_none_or(|hash| *hash == token_hash(expected.algorithm, expected.access_token)),
            "its ID token is of another access token",
        )?;
        claim(is_subject(&self.sub), "its ID token does not say who somebody is")?;
        claim(
            self.sid.as_ref().is_none_or(|sid| sid.len() <= SESSION_BYTES_MAX),
            "its name of the session is too long",
        )
    }

    pub(super) fn person(self) -> Person {
        let (name, email) = self.facts.read();
        Person { subject: self.sub, name, email, session: self.sid }
    }
}

impl Person {
    /// Takes what the endpoint of its own tells, which has to be of the same person (Core, 5.3.2).
    pub(super) fn complete(&mut self, told: UserInfo) -> Result<(), ClaimError> {
        claim(told.sub == self.subject, "it tells of somebody else than signed in")?;
        let (name, email) = told.facts.read();
        self.name = self.name.take().or(name);
        self.email = self.email.take().or(email);
        Ok(())
    }
}

impl Facts {
    fn read(self) -> (Option<String>, Option<Email>) {
        let is_verified = match &self.email_verified {
            Some(Verified::Bool(verified)) => *verified,
            Some(Verified::Text(text)) => text == "true",
            None => false,
        };
        let email = self.email.filter(|_| is_verified).and_then(|email| email.parse().ok());
        let filled = |name: Option<String>| name.filter(|name| !name.trim().is_empty());
        (filled(self.name).or_else(|| filled(self.preferred_username)), email)
    }
}

/// Whether somebody can be called so for ever (Core, 2).
pub(super) fn is_subject(subject: &str) -> bool {
    !subject.is_empty() && subject.len() <= SUBJECT_BYTES_MAX && subject.is_ascii()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_437_970_000);

    fn claims(changes: &[(&str, Value)]) -> Claims {
        let mut claims = json!({
            "iss": "https://id.example", "sub": "ada", "aud": "we", "nonce": "n",
            "exp": NOW.as_secs() + 60, "iat": NOW.as_secs(),
            "at_hash": token_hash(Algorithm::ES256, "token"),
            "email": "ada@example.org", "email_verified": true, "name": "Ada", "sid": "s",
        });
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        serde_json::from_value(claims).unwrap()
    }

    fn checked(changes: &[(&str, Value)]) -> Result<(), ClaimError> {
        claims(changes).check(&Expected {
            issuer: "https://id.example",
            client: "we",
            nonce: "n",
            access_token: "token",
            algorithm: Algorithm::ES256,
            now: NOW,
        })
    }

    #[test]
    fn case_114_an_id_token_is_of_the_provider_for_us_and_for_this_sign_in() {
        let now = NOW.as_secs();
        for changes in [
            vec![],
            vec![("aud", json!(["we"]))],
            vec![("aud", json!(["we", "they"])), ("azp", json!("we"))],
            vec![("azp", json!("we"))],
            vec![("at_hash", Value::Null)],
            vec![("exp", json!(now - 59))],
        ] {
            assert!(checked(&changes).is_ok(), "{changes:?}");
        }
        for changes in [
            vec![("iss", json!("https://id.example/"))],
            vec![("iss", json!("https://evil.example"))],
            vec![("aud", json!("they"))],
            vec![("aud", json!([]))],
            vec![("aud", json!(["we", "they"]))],
            vec![("azp", json!("they"))],
            vec![("nonce", json!("other"))],
            vec![("nonce", Value::Null)],
            vec![("exp", json!(now - 60))],
            vec![("iat", json!(now + 61))],
            vec![("at_hash", json!(token_hash(Algorithm::ES256, "other")))],
            vec![("at_hash", json!(""))],
            vec![("sub", json!(""))],
            vec![("sub", json!("x".repeat(256)))],
            vec![("sid", json!("x".repeat(257)))],
        ] {
            assert!(checked(&changes).is_err(), "{changes:?}");
        }
    }

    #[test]
    fn case_114_an_address_counts_only_when_the_provider_vouches_for_it() {
        let email = |changes: &[(&str, Value)]| claims(changes).person().email.map(|email| email.to_string());
        assert_eq!(email(&[]).as_deref(), Some("ada@example.org"));
        assert!(email(&[("email_verified", json!("true"))]).is_some(), "as some write it");
        for verified in [json!(false), json!("false"), json!(""), Value::Null] {
            assert_eq!(email(&[("email_verified", verified.clone())]), None, "{verified}");
        }
        assert_eq!(email(&[("email", json!("no address"))]), None);
        let mut person = claims(&[("email", Value::Null)]).person();
        let told = |sub: &str| {
            let told = json!({ "sub": sub, "email": "ada@example.org", "email_verified": true });
            serde_json::from_value::<UserInfo>(told).unwrap()
        };
        assert!(person.complete(told("eve")).is_err() && person.email.is_none());
        person.complete(told("ada")).unwrap();
        assert!(person.email.is_some());
    }
}
