//! `/settings/keys`: somebody's API keys, and the form that makes one; also for the keys of a team, which [`super::team`] shows.

use askama::Template;
use poem::http::StatusCode;
use poem::{Request, Response};
use twinmcp_actors::accounts::SignedIn;
use twinmcp_actors::api_keys::NewApiKey;
use twinmcp_storage::api_keys::ApiKey;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::scope::Scope;

use super::super::html;
use super::authorize::meaning;
use super::{Failed, Form, Frame, People, done, minute, see_other, with_form};
use crate::api::{ApiError, scopes_of_key};
use crate::http::{Caller, Session};

/// How long a key may be chosen to live, in days; the first is what a form begins with.
const LIVES_DAYS: [u64; 3] = [90, 30, 365];
const DAY_MS: u64 = 24 * 3_600_000;

#[derive(Template)]
#[template(path = "people/keys.html")]
struct KeysPage {
    frame: Frame,
    here: &'static str,
    done: Option<&'static str>,
    keys: Vec<KeyLine>,
    form: KeyForm,
    revoke: &'static str,
}

#[derive(Template)]
#[template(path = "people/key.html")]
struct NewKeyPage<'a> {
    here: &'static str,
    name: &'a str,
    secret: &'a str,
    back: &'a str,
}

/// What was done, by the name of its form.
const DONE: &[(&str, &str)] = &[("revoked", "The key opens nothing any more.")];

/// A key as a list shows it.
pub(super) struct KeyLine {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) hint: String,
    pub(super) scopes: String,
    pub(super) made: String,
    /// Who made it, for a team's.
    pub(super) maker: Option<String>,
    pub(super) ends: Option<String>,
    /// Why it opens nothing.
    pub(super) ended: Option<&'static str>,
}

impl KeyLine {
    pub(super) fn new(key: &ApiKey, now: Timestamp) -> Self {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let ended = match (key.revoked_at, key.is_valid(now)) {
            (Some(_), _) => Some("revoked"),
            (None, false) => Some("expired"),
            (None, true) => None,
        };
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            hint: key.hint.clone(),
            scopes: scopes.join(", "),
            made: minute(key.created_at),
            maker: None,
            ends: key.expires_at.map(minute),
            ended,
        }
    }
}

/// The form that makes a key.
pub(super) struct KeyForm {
    pub(super) action: String,
    pub(super) name: String,
    pub(super) scopes: Vec<ScopeChoice>,
    pub(super) lives_days: [u64; 3],
}

pub(super) struct ScopeChoice {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) is_chosen: bool,
}

impl KeyForm {
    /// With what was chosen in `sent`, and `docs:read` at first.
    pub(super) fn new(action: &str, offered: impl Iterator<Item = Scope>, sent: Option<&Form>) -> Self {
        let is_chosen = |scope: Scope| match sent {
            Some(form) => form.fields("scope").any(|name| name == scope.as_str()),
            None => scope == Scope::DocsRead,
        };
        let choice = |scope: Scope| ScopeChoice {
            name: scope.as_str(),
            meaning: meaning(scope),
            is_chosen: is_chosen(scope),
        };
        Self {
            action: action.to_owned(),
            name: sent.map(|form| form.field("name").to_owned()).unwrap_or_default(),
            scopes: offered.map(choice).collect(),
            lives_days: LIVES_DAYS,
        }
    }
}

/// What a form asks of a new key.
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) scopes: Vec<Scope>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Asked {
    /// Reads the form; only scopes that the person has themselves.
    pub(super) fn read(form: &Form, signed_in: &SignedIn, now: Timestamp) -> Result<Self, ApiError> {
        let person = Caller::with_session(signed_in.clone());
        let scopes = scopes_of_key(&person, form.fields("scope"))?;
        let expires_at = match form.field("life_days") {
            "never" => None,
            days => {
                let days = LIVES_DAYS.iter().find(|known| known.to_string() == days);
                let days =
                    days.ok_or_else(|| ApiError::bad_request("Choose how long the key is to live."))?;
                Some(now.plus_millis(days * DAY_MS))
            }
        };
        Ok(Self { name: form.field("name").trim().to_owned(), scopes, expires_at })
    }
}

/// The page that shows a new key's secret, this once.
pub(super) fn made(new: &NewApiKey, here: &'static str, back: &str) -> Result<Response, ApiError> {
    let page = NewKeyPage { here, name: &new.key.name, secret: new.secret.reveal(), back };
    html(StatusCode::CREATED, &page)
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let Some(signed_in) = Session::of(&request).cloned() else {
        return Ok(see_other("/signin?return_to=/settings/keys", None));
    };
    render(&people, &request, &signed_in, None)
}

pub(super) async fn make(people: People, mut request: Request) -> Result<Response, ApiError> {
    let Some(signed_in) = Session::of(&request).cloned() else {
        return Ok(see_other("/signin?return_to=/settings/keys", None));
    };
    let form = Form::read(&mut request).await?;
    match create(&people, &signed_in, &form).await {
        Ok(new) => made(&new, "keys", "/settings/keys"),
        Err(error) => render(&people, &request, &signed_in, Some((Failed::of(error)?, form))),
    }
}

async fn create(people: &People, signed_in: &SignedIn, form: &Form) -> Result<NewApiKey, ApiError> {
    let Asked { name, scopes, expires_at } = Asked::read(form, signed_in, people.clock.now())?;
    Ok(people.api_keys.create(&signed_in.account, &name, scopes, expires_at).await?)
}

pub(super) async fn revoke(people: People, mut request: Request) -> Result<Response, ApiError> {
    let Some(signed_in) = Session::of(&request).cloned() else {
        return Ok(see_other("/signin?return_to=/settings/keys", None));
    };
    let form = Form::read(&mut request).await?;
    let id =
        form.field("id").parse().map_err(|_| ApiError::not_found("api_key_not_found", "No such key."))?;
    people.api_keys.revoke(&signed_in.account, &id).await?;
    Ok(see_other("/settings/keys?done=revoked", None))
}

fn render(
    people: &People,
    request: &Request,
    signed_in: &SignedIn,
    failed: Option<(Failed, Form)>,
) -> Result<Response, ApiError> {
    let now = people.clock.now();
    let (failed, sent) = failed.map_or((None, None), |(failed, form)| (Some(failed), Some(form)));
    let keys = people.api_keys.list(&signed_in.account)?;
    let person = Caller::with_session(signed_in.clone());
    let form = KeyForm::new("/settings/keys", person.scopes().iter().copied(), sent.as_ref());
    with_form(people, request, failed, |frame| KeysPage {
        frame,
        here: "keys",
        done: done(request, DONE),
        keys: keys.iter().rev().map(|key| KeyLine::new(key, now)).collect(),
        form,
        revoke: "/settings/keys/revoke",
    })
}
