//! The way to a provider and back: what the browser carries meanwhile, and what it has to bring.

use serde::{Deserialize, Serialize};
use twinmcp_storage::accounts::{Email, Subject};
use twinmcp_storage::clock::Timestamp;

use oauth2::{PkceCodeChallenge, PkceCodeVerifier};

use super::{Kind, Provider, Upstream, UpstreamError, claims};
use crate::accounts::{AccountsError, Token};
use crate::oauth::Params;

/// How long somebody may take at a provider, and to sign in here afterwards, in seconds.
pub const TRIP_SECONDS: u64 = 600;
/// Longest path that somebody is sent on to, in bytes: the whole has to fit into a cookie. From a longer one they go to their settings, signed in, and
/// begin again at the program that sent them.
const RETURN_BYTES_MAX: usize = 1_500;
/// What cookies are sealed for.
const TRIPS: &str = "twinmcp 2026-11 ways to other providers";
/// Longest name that is kept of an identity, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Somebody who is sent to a provider.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// Where.
    pub url: String,
    /// For the browser's cookie, [`TRIP_SECONDS`] long.
    pub cookie: String,
}

/// What is sealed in the cookie.
#[derive(Serialize, Deserialize)]
pub(super) enum Trip {
    /// Somebody is at the provider.
    Left(Left),
    /// Somebody came back, and is to say whether an account is theirs.
    Arrived(Arrived),
}

/// Somebody who is at a provider.
#[derive(Serialize, Deserialize)]
pub(super) struct Left {
    provider: String,
    state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    pub(super) return_to: String,
    /// The session whose account the identity is to open, if it is not to sign in.
    pub(super) links: Option<String>,
    expires_at: Timestamp,
}

/// Somebody as a provider says who they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Arrived {
    pub(super) provider: String,
    pub(super) subject: Subject,
    /// What the provider calls them.
    pub(super) name: String,
    /// Their address, if the provider vouches for it.
    pub(super) email: Option<Email>,
    /// Their session there.
    pub(super) session: Option<String>,
    pub(super) return_to: String,
    pub(super) expires_at: Timestamp,
}

impl Upstream {
    pub(super) fn seal(&self, trip: &Trip) -> Result<String, UpstreamError> {
        Ok(self.0.vault.ticket(TRIPS, trip, &*self.0.entropy).map_err(AccountsError::from)?)
    }

    fn trip(&self, cookie: Option<&str>) -> Result<Option<Trip>, UpstreamError> {
        let Some(cookie) = cookie else { return Ok(None) };
        Ok(self.0.vault.read_ticket(TRIPS, cookie).map_err(AccountsError::from)?)
    }

    pub(super) async fn set_out(
        &self,
        provider: &Provider,
        return_to: &str,
        links: Option<String>,
        anew: bool,
    ) -> Result<Leaving, UpstreamError> {
        let random = || Token::random(&*self.0.entropy).map(|token| token.reveal().to_owned());
        // 64 letters of hexadecimal are a code verifier too (RFC 7636, 4.1).
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.clone()));
        let url = match provider.kind {
            Kind::OpenId => self.openid_url(provider, (&state, &nonce), challenge, anew).await?,
            Kind::GitHub => self.github_url(provider, &state, challenge)?,
        };
        let return_to = if return_to.len() <= RETURN_BYTES_MAX { return_to } else { "/settings" };
        let left = Left {
            provider: provider.name.clone(),
            state,
            nonce,
            verifier,
            return_to: return_to.to_owned(),
            links,
            expires_at: self.0.clock.now().plus_millis(TRIP_SECONDS * 1_000),
        };
        Ok(Leaving { url, cookie: self.seal(&Trip::Left(left))? })
    }

    /// What the browser was given that brings this query back: it alone may (RFC 9700, 4.7).
    pub(super) fn trip_back(
        &self,
        provider: &Provider,
        params: &Params,
        cookie: Option<&str>,
    ) -> Result<Left, UpstreamError> {
        let Some(Trip::Left(left)) = self.trip(cookie)? else { return Err(UpstreamError::Strange) };
        let is_right = left.provider == provider.name
            && self.0.clock.now() < left.expires_at
            // Both are random and of this browser: how long the comparison takes tells nobody anything.
            && params.get("state") == Some(&left.state);
        if is_right { Ok(left) } else { Err(UpstreamError::Strange) }
    }

    /// The identity that waits in a cookie.
    pub(super) fn arrived(&self, cookie: Option<&str>) -> Result<Option<Arrived>, UpstreamError> {
        let Some(Trip::Arrived(arrived)) = self.trip(cookie)? else { return Ok(None) };
        Ok((self.0.clock.now() < arrived.expires_at).then_some(arrived))
    }

    /// Who it is that came back, in the words of the provider.
    pub(super) async fn identify(
        &self,
        provider: &Provider,
        params: &Params,
        left: &Left,
    ) -> Result<Arrived, UpstreamError> {
        let told = match provider.kind {
            Kind::OpenId => self.openid_person(provider, params, left).await?,
            Kind::GitHub => self.github_person(provider, params, left).await?,
        };
        let claims::Person { subject, name, email, session } = told;
        // A name of which nothing is left that shows is none.
        let names = [name, email.as_ref().map(Email::to_string), Some(subject.clone())];
        let mut names = names.iter().flatten().map(|name| cut(name));
        let name = names.find(|name| !name.is_empty()).unwrap_or_default();
        Ok(Arrived {
            provider: provider.name.clone(),
            subject: provider.subject(subject),
            name,
            email,
            session,
            return_to: String::new(),
            expires_at: self.0.clock.now().plus_millis(TRIP_SECONDS * 1_000),
        })
    }
}

/// The code in a query, or why there is none.
pub(super) fn code(params: &Params) -> Result<&str, UpstreamError> {
    if let Some(error) = params.get("error") {
        // It is shown: a code of the protocol, and nothing that somebody else has written (RFC 6749, 4.1.2.1).
        let is_code =
            error.len() <= 60 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        return Err(UpstreamError::Denied(if is_code { error.to_owned() } else { "an error".to_owned() }));
    }
    params.get("code").ok_or(UpstreamError::Strange)
}

/// A name of a length that is kept, without what would break a line.
pub(super) fn cut(name: &str) -> String {
    let printable: String = name.chars().filter(|letter| !letter.is_control()).collect();
    printable[..printable.floor_char_boundary(NAME_BYTES_MAX)].trim().to_owned()
}
