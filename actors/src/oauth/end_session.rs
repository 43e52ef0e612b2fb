//! Signing out because a client asks for it (OpenID Connect RP-Initiated Logout 1.0).
//!
//! A client that shows an ID token of the very session that the browser has is believed; otherwise the person is asked, since
//! anybody can make a link. Nobody is sent to an address that the client did not register.

use serde::{Deserialize, Serialize};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::oauth::client::Client;

use super::authorize::Person;
use super::clients::is_vouched_for;
use super::error::{ErrorCode, OauthError, Refused};
use super::{Oauth, Params, redirect};

/// Longest `state` that is carried, in bytes.
const STATE_BYTES_MAX: usize = 4 * 1024;
/// How long a person may think about it, in milliseconds.
const QUESTION_MS_MAX: u64 = 10 * 60 * 1000;

/// What becomes of a request to sign somebody out.
#[derive(Debug)]
pub enum EndSession {
    /// The person is told, and sent nowhere.
    Refused(Refused),
    /// The person is asked.
    Ask(Box<SignOutQuestion>),
    /// The session of the browser ends.
    End {
        /// Where the person is sent then.
        then: Option<String>,
    },
    /// Nobody is signed in.
    Nobody {
        /// Where the person is sent.
        then: Option<String>,
    },
}

/// A question to a person.
#[derive(Debug)]
pub struct SignOutQuestion {
    /// What the client that asks is called, if it says which it is.
    pub client_name: Option<String>,
    /// Where the person is sent afterwards.
    pub then: Option<String>,
    /// Goes back with the answer.
    pub ticket: String,
}

/// What is sealed in a ticket.
#[derive(Serialize, Deserialize)]
struct Ticket {
    signs_out: String,
    then: Option<String>,
    expires_at: Timestamp,
}

impl Oauth {
    /// Takes a request with this query, or form, from the browser of `person`.
    ///
    /// # Errors
    /// When the node cannot do it; what is wrong with the request is an answer.
    pub async fn end_session(&self, query: &str, person: Option<&Person>) -> Result<EndSession, OauthError> {
        match self.try_end_session(query, person).await {
            Err(OauthError::Refused(refused)) => Ok(EndSession::Refused(refused)),
            done => done,
        }
    }

    async fn try_end_session(&self, query: &str, person: Option<&Person>) -> Result<EndSession, OauthError> {
        let params = Params::parse(query)?;
        let hint = self.hint(&params)?;
        let named = params.get("client_id");
        if let (Some(hint), Some(named)) = (&hint, named)
            && hint.client != named
        {
            return Err(Refused::request("'id_token_hint' is the ID token of another client.").into());
        }
        let client = match named.or(hint.as_ref().map(|hint| hint.client.as_str())) {
            Some(id) => self.client(id).await?,
            None => None,
        };
        if named.is_some() && client.is_none() {
            return Err(Refused::new(ErrorCode::InvalidClient, "No client has this client_id.").into());
        }
        let then = after(&params, client.as_deref())?;
        let Some(person) = person else {
            // By name alone anybody could lead people on from here (RP-Initiated Logout, 3).
            let is_believed = hint.is_some() || client.as_deref().is_some_and(is_vouched_for);
            return Ok(EndSession::Nobody { then: then.filter(|_| is_believed) });
        };
        match &hint {
            Some(hint) if hint.account != person.account => {
                let description = "Somebody else is signed in than the program means. Sign out here if you want to: /settings.";
                return Err(Refused::new(ErrorCode::AccessDenied, description).into());
            }
            Some(hint) if hint.session.as_deref() == Some(&person.session) => {
                return Ok(EndSession::End { then });
            }
            _ => {}
        }
        let expires_at = self.now().plus_millis(QUESTION_MS_MAX);
        let ticket = Ticket { signs_out: person.session.clone(), then: then.clone(), expires_at };
        Ok(EndSession::Ask(Box::new(SignOutQuestion {
            client_name: client.map(|client| client.name.clone()),
            then,
            ticket: self.0.issuer.ticket(&ticket)?,
        })))
    }

    /// Where a person is sent who has answered yes, if anywhere.
    ///
    /// # Errors
    /// [`ErrorCode::AccessDenied`] when the ticket is not one that this session was given, or is too old.
    pub fn signed_out(&self, ticket: &str, session: &str) -> Result<Option<String>, OauthError> {
        let ticket: Option<Ticket> = self.0.issuer.read_ticket(ticket);
        let right = |ticket: &Ticket| ticket.signs_out == session && self.now() < ticket.expires_at;
        let ticket = ticket.filter(right).ok_or_else(|| {
            let description = "This answer belongs to no question that you were asked. Sign out in your settings: /settings.";
            Refused::new(ErrorCode::AccessDenied, description)
        })?;
        Ok(ticket.then)
    }
}

/// Where the person is sent afterwards, with `state` (RP-Initiated Logout, 2 and 3).
fn after(params: &Params, client: Option<&Client>) -> Result<Option<String>, Refused> {
    let Some(uri) = params.get("post_logout_redirect_uri") else { return Ok(None) };
    let client = client.ok_or_else(|| {
        Refused::request(
            "Whose 'post_logout_redirect_uri' it is must be said: send 'id_token_hint' or 'client_id'.",
        )
    })?;
    if client.post_logout_redirect_uris.is_empty() {
        return Err(Refused::request("The client has registered no post_logout_redirect_uris."));
    }
    let uri = redirect::choose(&client.post_logout_redirect_uris, Some(uri))
        .map_err(|_| Refused::request("The post_logout_redirect_uri is none that the client registered."))?;
    let Some(state) = params.get("state") else { return Ok(Some(uri)) };
    if state.len() > STATE_BYTES_MAX {
        return Err(Refused::request(format!("'state' has at most {STATE_BYTES_MAX} bytes.")));
    }
    Ok(Some(redirect::with(&uri, &[("state", state)])))
}
