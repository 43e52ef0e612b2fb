//! `/api/oauth/logout` and `/signout/answer`: where a client sends people to sign out (OpenID Connect RP-Initiated Logout 1.0).

use askama::Template;
use poem::http::StatusCode;
use poem::{Request, Response};
use reqwest::Url;
use twinmcp_actors::oauth::{EndSession, Refused, SignOutQuestion};
use twinmcp_storage::accounts::Which;

use super::authorize::{email, person, policy};
use super::{Failed, Form, Frame, People, as_query, leading_on, see_other, set_cookie, told, with_form};
use crate::api::ApiError;
use crate::http::{Enrolling, Session, session};

/// The path that clients send people to.
pub(crate) const END_SESSION: &str = "/api/oauth/logout";

#[derive(Template)]
#[template(path = "people/signout.html")]
struct SignOutPage {
    frame: Frame,
    email: String,
    client_name: Option<String>,
    /// Where the person is sent afterwards.
    target: Option<String>,
    ticket: String,
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let person = person(&people, &request)?;
    match people.oauth.end_session(&query, person.as_ref()).await? {
        EndSession::Refused(refused) => Err(page_of(refused)),
        EndSession::Ask(question) => ask(&people, &request, *question),
        // Somebody who still lacks a second factor counts as nobody, and has a session all the same.
        EndSession::End { then } | EndSession::Nobody { then } => leave(&people, &request, then).await,
    }
}

/// Takes what another site's form sends.
pub(super) async fn bring(_: People, request: Request) -> Result<Response, ApiError> {
    as_query(END_SESSION, request, "Send `client_id` in place of `id_token_hint`, or a shorter `state`.")
        .await
}

pub(super) async fn answer(people: People, mut request: Request) -> Result<Response, ApiError> {
    let form = Form::read(&mut request).await?;
    let Some(signed_in) = Session::of(&request) else { return gone(None) };
    if form.field("decision") != "leave" {
        let message = "Nothing was changed. You may close this page.";
        return told("You are still signed in", message, Some(("/settings", "Your account")));
    }
    let then = people.oauth.signed_out(form.field("ticket"), signed_in.session.as_str())?;
    leave(&people, &request, then).await
}

/// Ends the session of this browser.
async fn leave(people: &People, request: &Request, then: Option<String>) -> Result<Response, ApiError> {
    if let Some(signed_in) = Enrolling::of(request) {
        let which = Which::One(signed_in.session.clone());
        // One that has ended meanwhile has ended.
        if let Err(error) = people.accounts.end_sessions(&signed_in.account, which).await {
            Failed::of(error)?;
        }
    }
    gone(then)
}

/// What somebody sees who is not signed in any more.
fn gone(then: Option<String>) -> Result<Response, ApiError> {
    if let Some(then) = then {
        return Ok(see_other(&then, Some(session::end())));
    }
    let mut response =
        told("You are signed out", "You may close this page.", Some(("/signin", "Sign in again")))?;
    set_cookie(&mut response, &session::end());
    Ok(response)
}

fn ask(people: &People, request: &Request, question: SignOutQuestion) -> Result<Response, ApiError> {
    let email = email(people, request)?;
    let policy = question.then.as_deref().and_then(policy);
    let target = question
        .then
        .map(|then| Url::parse(&then).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or(then));
    let (client_name, ticket) = (question.client_name, question.ticket);
    let page = |frame| SignOutPage { frame, email, client_name, target, ticket };
    Ok(leading_on(with_form(people, request, None, page)?, policy))
}

fn page_of(refused: Refused) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, refused.code.as_str(), refused.description)
}
