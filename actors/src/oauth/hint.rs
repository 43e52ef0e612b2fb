//! ID tokens that come back: a client says with one whom it means (`id_token_hint`; OpenID Connect Core, 3.1.2.1; RP-Initiated
//! Logout, 2).

use serde::Deserialize;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::oauth::client::Client;

use super::Oauth;
use super::access_token::library_name;
use super::authorize::{Person, Step};
use super::error::{ErrorCode, Refused};
use super::keys::{ID_TYPE, Keys};
use super::params::Params;
use crate::jose;

/// Whom an ID token is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) account: AccountId,
    /// The client it was made for.
    pub(super) client: String,
    /// The session they signed in with.
    pub(super) session: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    #[serde(default)]
    sid: Option<String>,
}

impl Hint {
    /// What an ID token says that a key of ours signed, expired or not: clients keep them longer than they are good for.
    fn read(text: &str, keys: &Keys, issuer: &str, now: Timestamp) -> Option<Self> {
        let read = jose::read(text, jose::ALGORITHMS).ok()?;
        // A logout token and an access token are signed with the same keys, and are none (RFC 8725, 3.11).
        if read.typ.as_deref() != Some(ID_TYPE) {
            return None;
        }
        let verifier = keys.verifier(read.kid.as_deref()?, now)?;
        if read.algorithm != library_name(verifier.algorithm) {
            return None;
        }
        let claims: Claims = read.verified(&verifier.key).ok()?;
        (claims.iss == issuer).then_some(())?;
        Some(Self { account: claims.sub.parse().ok()?, client: claims.aud, session: claims.sid })
    }
}

impl Oauth {
    /// Whom `id_token_hint` means, if a request has it.
    pub(super) fn hint(&self, params: &Params) -> Result<Option<Hint>, Refused> {
        let Some(text) = params.get("id_token_hint") else { return Ok(None) };
        let hint = Hint::read(text, &self.0.issuer.keys(), self.issuer(), self.now());
        let unknown =
            "'id_token_hint' is no ID token of this service, or of a key that is gone: leave it out.";
        hint.map(Some).ok_or_else(|| Refused::request(unknown))
    }

    /// Lets a request go on only for the person that its hint means: nobody gets a code for somebody else.
    pub(super) fn for_hinted(
        &self,
        params: &Params,
        client: &Client,
        person: Option<&Person>,
        step: Step,
    ) -> Result<Step, Refused> {
        let Some(hint) = self.hint(params)? else { return Ok(step) };
        if hint.client != client.id {
            return Err(Refused::request("'id_token_hint' is the ID token of another client."));
        }
        match (step, person) {
            (Step::Ask | Step::Grant, Some(person)) if person.account != hint.account => {
                let description = "Somebody else is signed in than 'id_token_hint' means.";
                Err(Refused::new(ErrorCode::LoginRequired, description))
            }
            _ => Ok(step),
        }
    }
}
