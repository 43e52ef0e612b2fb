//! From a request in a person's browser to a code for the client (RFC 6749, 4.1).
//!
//! Between question and answer nothing is kept: what was asked travels through the browser, sealed together with the session it
//! was asked in, so that a form of another site, or of another session, is no answer (RFC 6749, 10.12).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::audit::{Action, Event, Kind};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::oauth::client::{Client, GrantType};
use twinmcp_storage::oauth::code::{self, Binding};
use twinmcp_storage::oauth::grant::Allowed;
use twinmcp_storage::oauth::pushed::{self, Pushed, REQUEST_BYTES_MAX};
use twinmcp_storage::oauth::{self, consent};
use twinmcp_storage::scope::Scope;

use super::access_token::scope_text;
use super::authorize::{self, Asked, Person, Step, Wrong};
use super::clients::is_vouched_for;
use super::error::{ErrorCode, OauthError, Refused};
use super::token::TokenRequest;
use super::{Oauth, Params, millis, redirect};

/// What the name of a pushed request begins with (RFC 9126, 2.2).
const REQUEST_URI: &str = "urn:ietf:params:oauth:request_uri:";
/// How long a pushed request waits for its person, in milliseconds: long enough to sign in.
const PUSHED_MS: u64 = 10 * 60 * 1000;
/// How long a person may think about a question.
const QUESTION_MS_MAX: u64 = 10 * 60 * 1000;
/// How long a person may take to sign in for a request that asks for it, a letter for another password included.
const SIGN_IN_MS_MAX: u64 = 60 * 60 * 1000;
/// The parameter that a request has which is made again after its person has signed in.
const SIGNED_IN_AFTER: &str = "signed_in_after";

/// What becomes of an authorization request.
#[derive(Debug)]
pub enum Authorization {
    /// The person is told, and sent nowhere: nobody knows whose request it is.
    Refused(Refused),
    /// The person is sent to this address, which is the client's.
    Redirect(String),
    /// The person has to sign in, then the request is made again with this query.
    SignIn {
        /// The query of the request.
        query: String,
    },
    /// The person has to add a second factor, then the request is made again with this query.
    AddFactor {
        /// The query of the request.
        query: String,
    },
    /// The person is asked.
    Ask(Box<Question>),
}

/// A question to a person.
#[derive(Debug)]
pub struct Question {
    /// What the client is called, in its own words.
    pub client_name: String,
    /// Its name in the protocol.
    pub client_id: String,
    /// Its home page.
    pub client_uri: Option<String>,
    /// Where the person is sent afterwards.
    pub redirect_uri: String,
    /// What it wants to do.
    pub scopes: Vec<Scope>,
    /// Where.
    pub resources: Vec<String>,
    /// Goes back with the answer.
    pub ticket: String,
}

/// What a request carries that is made again after its person was sent to sign in: sealed, as somebody else at the browser could
/// write into the address that the session of last week is fresh enough.
#[derive(Serialize, Deserialize)]
struct Mark {
    signed_in_after: Timestamp,
    /// Of this request and no other.
    challenge: [u8; 32],
    expires_at: Timestamp,
}

/// What is sealed in a ticket.
#[derive(Serialize, Deserialize)]
struct Ticket {
    asked: Asked,
    session: String,
    expires_at: Timestamp,
}

impl Oauth {
    /// Takes an authorization request with this query from the browser of `person`.
    ///
    /// # Errors
    /// When the node cannot do it; what is wrong with the request is an answer.
    pub async fn authorize(&self, query: &str, person: Option<&Person>) -> Result<Authorization, OauthError> {
        match self.0.metrics.timed("authorize", Box::pin(self.try_authorize(query, person))).await {
            Ok(done) => Ok(done),
            Err(OauthError::Refused(refused)) => Ok(Authorization::Refused(refused)),
            Err(error) => Err(error),
        }
    }

    async fn try_authorize(&self, query: &str, person: Option<&Person>) -> Result<Authorization, OauthError> {
        let sent = Params::parse(query)?;
        let client = self.client(sent.need("client_id")?).await?;
        let unknown = "No client is registered under this client_id. The program that sent you here has to register first.";
        let client = client.ok_or_else(|| Refused::new(ErrorCode::InvalidClient, unknown))?;
        let (params, pushed) = match sent.get("request_uri") {
            // What was pushed counts, and nothing that stands beside it (RFC 9126, 4).
            Some(uri) => self.pushed(uri, &client).map(|(params, hash)| (params, Some(hash)))?,
            None => (sent.clone(), None),
        };
        let (mut asked, mut manner) = match authorize::check(&params, &client, &self.0.resources) {
            Ok(checked) => checked,
            Err(Wrong::Page(refused)) => return Ok(Authorization::Refused(refused)),
            Err(Wrong::Client { refused, .. }) if person.is_none() && !may_be_led_to(&client, &params) => {
                return Ok(Authorization::Refused(refused));
            }
            Err(Wrong::Client { redirect_uri, state, refused }) => {
                return Ok(Authorization::Redirect(self.refusal(&redirect_uri, state.as_deref(), &refused)));
            }
        };
        asked.pushed = pushed;
        manner.signed_in_after = self.signed_in_after(&sent, &asked);
        let remembered = match person {
            Some(person) => consent::get(self.0.cluster.reader(), &person.account, &client.id)?,
            None => None,
        };
        let remembered = remembered.map(|consent| consent.scopes).unwrap_or_default();
        let step = authorize::next((&asked, &manner), &client, person, &remembered, self.now());
        match step.and_then(|step| self.for_hinted(&params, &client, person, step)) {
            Err(refused) => Ok(Authorization::Redirect(self.refusal(
                &asked.redirect_uri,
                asked.state.as_deref(),
                &refused,
            ))),
            Ok(Step::SignIn) => {
                Ok(Authorization::SignIn { query: self.query_after_sign_in(query, &asked, manner.sign_in)? })
            }
            Ok(Step::AddFactor) => Ok(Authorization::AddFactor { query: query.to_owned() }),
            Ok(Step::Ask) => {
                let person = person.map(|person| person.session.clone()).unwrap_or_default();
                self.question(asked, person, &client)
            }
            Ok(Step::Grant) => match person {
                Some(person) => Ok(Authorization::Redirect(self.grant(asked, person, &client, false).await?)),
                None => Ok(Authorization::SignIn { query: query.to_owned() }),
            },
        }
    }

    /// Takes a person's answer, and tells where to send them.
    ///
    /// # Errors
    /// [`ErrorCode::AccessDenied`] when the ticket is not one that this person was given, or is too old.
    pub async fn answer(&self, ticket: &str, person: &Person, allow: bool) -> Result<String, OauthError> {
        let ticket: Option<Ticket> = self.0.issuer.read_ticket(ticket);
        let right = |ticket: &Ticket| ticket.session == person.session && self.now() < ticket.expires_at;
        let Some(Ticket { asked, .. }) = ticket.filter(right) else {
            let description = "This answer belongs to no question that you were asked. Go back to the program and start again.";
            return Err(Refused::new(ErrorCode::AccessDenied, description).into());
        };
        // Whatever the answer is, nobody is sent to an address that is the client's no more.
        let client = self.client(&asked.client).await?.ok_or_else(Refused::client)?;
        redirect::choose(&client.redirect_uris, Some(&asked.redirect_uri))?;
        if !allow {
            let denied = Event::new(Action::ConsentDenied, Kind::Client, &client.id).of(&person.account);
            self.0.audit.note_later(denied);
            let refused = Refused::new(ErrorCode::AccessDenied, "The person did not allow it.");
            return Ok(self.refusal(&asked.redirect_uri, asked.state.as_deref(), &refused));
        }
        // The client may have been changed since they were asked, and they may have been an operator then.
        authorize::scopes(Some(&scope_text(&asked.scopes)), &client)?;
        authorize::may_give(person, &asked.scopes)?;
        self.grant(asked, person, &client, true).await
    }

    fn question(&self, asked: Asked, session: String, client: &Client) -> Result<Authorization, OauthError> {
        let (redirect_uri, scopes, resources) =
            (asked.redirect_uri.clone(), asked.scopes.clone(), asked.resources.clone());
        let ticket = Ticket { asked, session, expires_at: self.now().plus_millis(QUESTION_MS_MAX) };
        Ok(Authorization::Ask(Box::new(Question {
            client_name: client.name.clone(),
            client_id: client.id.clone(),
            client_uri: client.uri.clone(),
            redirect_uri,
            scopes,
            resources,
            ticket: self.0.issuer.ticket(&ticket)?,
        })))
    }

    /// Makes a code, and the address it is sent to.
    #[tracing::instrument(name = "oauth.authorize", skip_all)]
    async fn grant(
        &self,
        asked: Asked,
        person: &Person,
        client: &Client,
        remember: bool,
    ) -> Result<String, OauthError> {
        let code = self.0.issuer.random()?;
        let refreshable = client.grants.contains(&GrantType::RefreshToken);
        let command = code::Command::Issue {
            hash: SecretHash::of(&code),
            binding: Binding {
                client: asked.client,
                redirect_uri: asked.redirect_uri.clone(),
                challenge: asked.challenge,
                dpop_jkt: asked.dpop_jkt,
            },
            allowed: Allowed {
                account: person.account.clone(),
                session: Some(person.session.clone()),
                scopes: asked.scopes,
                resources: asked.resources,
                nonce: asked.nonce,
                signed_in_at: person.signed_in_at,
                methods: person.methods.clone(),
            },
            refreshable,
            ttl_ms: millis(self.0.config.code),
            remember,
            pushed: asked.pushed,
        };
        if self.propose(oauth::Command::Code(command)).await? != Outcome::Done {
            let description = "The pushed request was used already, or has expired. Start again.";
            return Err(Refused::new(ErrorCode::InvalidRequestUri, description).into());
        }
        let mut parameters = vec![("code", code.as_str())];
        parameters.extend(asked.state.as_deref().map(|state| ("state", state)));
        parameters.push(("iss", self.issuer()));
        Ok(redirect::with(&asked.redirect_uri, &parameters))
    }

    /// The address that tells a client of a refusal (RFC 6749, 4.1.2.1; RFC 9207, 2).
    fn refusal(&self, redirect_uri: &str, state: Option<&str>, refused: &Refused) -> String {
        let mut parameters =
            vec![("error", refused.code.as_str()), ("error_description", refused.description.as_str())];
        parameters.extend(state.map(|state| ("state", state)));
        parameters.push(("iss", self.issuer()));
        redirect::with(redirect_uri, &parameters)
    }

    /// The request as it is made again by a person who has just signed in: it must not ask for that a second time.
    ///
    /// It says where the person is sent in the end also if the request did not, or was sent ahead: the page of the sign-in has to tell
    /// the browser.
    fn query_after_sign_in(
        &self,
        query: &str,
        asked: &Asked,
        asks_for_sign_in: bool,
    ) -> Result<String, OauthError> {
        let own = |name: &str| name == SIGNED_IN_AFTER || name == "redirect_uri";
        let pairs = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !own(name));
        let mut again = url::form_urlencoded::Serializer::new(String::new());
        again.extend_pairs(pairs);
        again.append_pair("redirect_uri", &asked.redirect_uri);
        if asks_for_sign_in {
            let expires_at = self.now().plus_millis(SIGN_IN_MS_MAX);
            let mark = Mark { signed_in_after: self.now(), challenge: asked.challenge, expires_at };
            again.append_pair(SIGNED_IN_AFTER, &self.0.issuer.ticket(&mark)?);
        }
        Ok(again.finish())
    }

    /// When the person was sent to sign in for this request, if they were.
    fn signed_in_after(&self, sent: &Params, asked: &Asked) -> Option<Timestamp> {
        let mark: Mark = self.0.issuer.read_ticket(sent.get(SIGNED_IN_AFTER)?)?;
        let is_good = mark.challenge == asked.challenge && self.now() < mark.expires_at;
        is_good.then_some(mark.signed_in_after)
    }

    /// Keeps a request that a client sends ahead, and returns the name it goes by, and its life in seconds (RFC 9126, 2). The code
    /// that comes of it is bound to the key that a proof shows (RFC 9449, 10.1).
    ///
    /// # Errors
    /// What is wrong with it: it is checked like one that a browser brings.
    #[tracing::instrument(name = "oauth.push", skip_all)]
    pub async fn push(&self, request: TokenRequest<'_>) -> Result<(String, u64), OauthError> {
        self.0.metrics.timed("par", Box::pin(self.keep_pushed(request))).await
    }

    async fn keep_pushed(&self, request: TokenRequest<'_>) -> Result<(String, u64), OauthError> {
        let params = Params::parse(request.form)?;
        let client = self.authenticated(&params, request.authorization).await?;
        let key = self.proven(request.proof, request.path)?.map(|key| URL_SAFE_NO_PAD.encode(key));
        if key.is_some() && params.get("dpop_jkt").is_some_and(|named| Some(named) != key.as_deref()) {
            let description = "'dpop_jkt' names another key than the header 'DPoP' proves (RFC 9449, 10.1).";
            return Err(Refused::new(ErrorCode::InvalidDpopProof, description).into());
        }
        if params.get("request_uri").is_some() {
            return Err(Refused::request("'request_uri' is what is given out here; it is not taken.").into());
        }
        match authorize::check(&params, &client, &self.0.resources) {
            Ok(_) => {}
            Err(Wrong::Page(refused) | Wrong::Client { refused, .. }) => return Err(refused.into()),
        }
        let parameters = to_keep(request.form, key.as_deref());
        if parameters.len() > REQUEST_BYTES_MAX {
            return Err(Refused::request(format!("A request has at most {REQUEST_BYTES_MAX} bytes.")).into());
        }
        let uri = format!("{REQUEST_URI}{}", self.0.issuer.random()?);
        let command = pushed::Command::Push {
            hash: SecretHash::of(&uri),
            client: client.id.clone(),
            parameters,
            ttl_ms: PUSHED_MS,
        };
        self.propose(oauth::Command::Pushed(command)).await?;
        Ok((uri, PUSHED_MS / 1000))
    }

    /// The request that a client sent ahead.
    fn pushed(&self, uri: &str, client: &Client) -> Result<(Params, SecretHash), OauthError> {
        let hash = SecretHash::of(uri);
        let found = pushed::get(self.0.cluster.reader(), &hash)?;
        let right = |pushed: &Pushed| pushed.client == client.id && self.now() < pushed.expires_at;
        let found = found.filter(right).ok_or_else(|| {
            let description = "The pushed request is unknown, was used or has expired. Go back to the program and start again.";
            Refused::new(ErrorCode::InvalidRequestUri, description)
        })?;
        Ok((Params::parse(&found.parameters)?, hash))
    }
}

/// A form without what shows who the client is, which is nobody else's business, and with the key that it proved.
fn to_keep(form: &str, dpop_jkt: Option<&str>) -> String {
    let pairs = url::form_urlencoded::parse(form.as_bytes());
    let kept = pairs.filter(|(name, _)| match &**name {
        "client_secret" | "client_assertion" | "client_assertion_type" => false,
        "dpop_jkt" => dpop_jkt.is_none(),
        _ => true,
    });
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    written.extend_pairs(kept);
    if let Some(dpop_jkt) = dpop_jkt {
        written.append_pair("dpop_jkt", dpop_jkt);
    }
    written.finish()
}

/// Whether the browser of somebody who is not signed in is led to `client` with a refusal. To one that registered itself, or was made
/// by its document, anybody could lead people by a link of this service that is wrong on purpose (RFC 9700, 4.11.2); who asks with
/// `prompt=none` has no person in front of a page.
fn may_be_led_to(client: &Client, params: &Params) -> bool {
    is_vouched_for(client) || params.get("prompt") == Some("none")
}
