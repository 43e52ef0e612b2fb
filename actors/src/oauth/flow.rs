//! From a request in a person's browser to a code for the client (RFC 6749, 4.1).
//!
//! Between question and answer nothing is kept: what was asked travels through the browser, sealed together with the session it
//! was asked in, so that a form of another site, or of another session, is no answer (RFC 6749, 10.12).

use serde::{Deserialize, Serialize};
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::oauth::client::{Client, GrantType};
use twinmcp_storage::oauth::code::{self, Binding};
use twinmcp_storage::oauth::grant::Allowed;
use twinmcp_storage::oauth::pushed::{self, Pushed, REQUEST_BYTES_MAX};
use twinmcp_storage::oauth::{self, consent};
use twinmcp_storage::scope::Scope;

use super::authorize::{self, Asked, Person, SIGNED_IN_AFTER, Step, Wrong};
use super::error::{ErrorCode, OauthError, Refused};
use super::{Oauth, Params, millis, redirect};

/// What the name of a pushed request begins with (RFC 9126, 2.2).
const REQUEST_URI: &str = "urn:ietf:params:oauth:request_uri:";
/// How long a pushed request waits for its person, in milliseconds: long enough to sign in.
const PUSHED_MS: u64 = 10 * 60 * 1000;
/// How long a person may think about a question.
const QUESTION_MS_MAX: u64 = 10 * 60 * 1000;

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
            Err(Wrong::Client { redirect_uri, state, refused }) => {
                return Ok(Authorization::Redirect(self.refusal(&redirect_uri, state.as_deref(), &refused)));
            }
        };
        asked.pushed = pushed;
        manner.signed_in_after = authorize::signed_in_after(&sent);
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
            Ok(Step::SignIn) => Ok(Authorization::SignIn {
                query: self.query_after_sign_in(query, &asked.redirect_uri, manner.sign_in),
            }),
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
        if !allow {
            let refused = Refused::new(ErrorCode::AccessDenied, "The person did not allow it.");
            return Ok(self.refusal(&asked.redirect_uri, asked.state.as_deref(), &refused));
        }
        let client = self.client(&asked.client).await?.ok_or_else(Refused::client)?;
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

    /// The request as it is made again by a person who has just signed in: it must not ask for that a second time. Who changes it
    /// deceives only themselves.
    ///
    /// It says where the person is sent in the end also if the request did not, or was sent ahead: the page of the sign-in has to tell
    /// the browser.
    fn query_after_sign_in(&self, query: &str, redirect_uri: &str, asks_for_sign_in: bool) -> String {
        let own = |name: &str| name == SIGNED_IN_AFTER || name == "redirect_uri";
        let pairs = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !own(name));
        let mut again = url::form_urlencoded::Serializer::new(String::new());
        again.extend_pairs(pairs);
        again.append_pair("redirect_uri", redirect_uri);
        if asks_for_sign_in {
            again.append_pair(SIGNED_IN_AFTER, &self.now().as_millis().to_string());
        }
        again.finish()
    }

    /// Keeps a request that a client sends ahead, and returns the name it goes by, and its life in seconds (RFC 9126, 2).
    ///
    /// # Errors
    /// What is wrong with it: it is checked like one that a browser brings.
    #[tracing::instrument(name = "oauth.push", skip_all)]
    pub async fn push(&self, form: &str, authorization: Option<&str>) -> Result<(String, u64), OauthError> {
        self.0.metrics.timed("par", Box::pin(self.keep_pushed(form, authorization))).await
    }

    async fn keep_pushed(
        &self,
        form: &str,
        authorization: Option<&str>,
    ) -> Result<(String, u64), OauthError> {
        let params = Params::parse(form)?;
        let client = self.authenticated(&params, authorization).await?;
        if params.get("request_uri").is_some() {
            return Err(Refused::request("'request_uri' is what is given out here; it is not taken.").into());
        }
        match authorize::check(&params, &client, &self.0.resources) {
            Ok(_) => {}
            Err(Wrong::Page(refused) | Wrong::Client { refused, .. }) => return Err(refused.into()),
        }
        let parameters = without_credentials(form);
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

/// A form without what shows who the client is, which is nobody else's business.
fn without_credentials(form: &str) -> String {
    let pairs = url::form_urlencoded::parse(form.as_bytes());
    let kept = pairs.filter(|(name, _)| {
        !matches!(&**name, "client_secret" | "client_assertion" | "client_assertion_type")
    });
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
}
