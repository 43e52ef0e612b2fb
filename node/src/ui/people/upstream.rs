//! `/upstream/…`: the way to another provider and back, and the question whether an account is theirs who came.
//!
//! What has to be remembered on the way is a sealed cookie of this browser. It is sent along when the provider leads the person back, a
//! navigation of the whole page (`SameSite=Lax`), and with nothing else of another site.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::{AccountsError, SignInStep, SignedIn};
use twinmcp_actors::upstream::{Arrival, Leaving, TRIP_SECONDS, UpstreamError, Visit};

use super::super::{html, parameter};
use super::authorize::email;
use super::sign_in::{again, is_again, policy};
use super::{
    Failed, Form, Frame, People, Told, cookie, leading_on, see_other, set_cookie, told, with_form,
    with_return,
};
use crate::api::ApiError;
use crate::http::{Session, address_of, session};

#[derive(Template)]
#[template(path = "people/connect.html")]
struct ConnectPage {
    frame: Frame,
    email: String,
    provider: String,
    name: String,
}

/// Off to the provider.
pub(super) async fn leave(people: People, request: Request) -> Result<Response, ApiError> {
    let provider = request.path_params::<String>().unwrap_or_default();
    let return_to = session::local_path(parameter(&request, "return_to").as_deref());
    // Who they are is shown there too.
    let leaving = people.upstream.leave(&provider, &return_to, is_again(&request)).await?;
    Ok(see_other(&leaving.url, Some(remember(&leaving.cookie))))
}

/// The page that leads somebody on who connects an identity. A link and no redirect: what a form leads to is held against the page's
/// policy, and the provider's address would have to stand in it.
pub(super) fn lead_on(people: &People, leaving: &Leaving, provider: &str) -> Result<Response, ApiError> {
    let known = people.upstream.providers().iter().find(|known| known.name == provider);
    let provider = known.map_or(provider, |known| &known.title);
    let message = "Sign in there; you come back here by yourself.";
    let mut response = told(&format!("Connect with {provider}"), message, Some((&leaving.url, "Go on")))?;
    set_cookie(&mut response, &remember(&leaving.cookie));
    Ok(response)
}

/// Back from the provider.
pub(super) async fn arrive(people: People, request: Request) -> Result<Response, ApiError> {
    let provider = request.path_params::<String>().unwrap_or_default();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let visit = Visit {
        address: address_of(&request),
        client: request.header("user-agent").unwrap_or_default(),
        replaces: session::secret(request.headers()),
    };
    let kept = session::trip(request.headers());
    let arrival = people.upstream.arrive(&provider, &query, kept, Session::of(&request), visit).await;
    match arrival? {
        Arrival::SignedIn { step, return_to } => {
            let mut response = match step {
                SignInStep::Session(new) => see_other(&return_to, Some(cookie(&people, &new.secret))),
                SignInStep::Challenge(challenge) => {
                    let next = with_return("/signin/factor", &return_to);
                    see_other(&next, Some(session::wait(&challenge.ticket, challenge.life_s)))
                }
            };
            set_cookie(&mut response, &session::end_trip());
            Ok(response)
        }
        Arrival::Linked => Ok(see_other("/settings?done=connect", Some(session::end_trip()))),
        Arrival::HasAccount { cookie, email } => {
            let message = format!(
                "Somebody has an account here with {email}. If it is yours, sign in to it once as you did so far; you are then asked whether the two belong together."
            );
            let there = Some(("/signin?return_to=/upstream/link", "Sign in to it"));
            let mut response = told("There is an account with your address", &message, there)?;
            set_cookie(&mut response, &remember(&cookie));
            Ok(response)
        }
    }
}

/// The question.
pub(super) async fn ask(people: People, request: Request) -> Result<Response, ApiError> {
    match Session::of(&request) {
        Some(signed_in) => render(&people, &request, signed_in, None),
        None => Ok(see_other("/signin?return_to=/upstream/link", None)),
    }
}

/// The answer.
pub(super) async fn answer(people: People, mut request: Request) -> Result<Response, ApiError> {
    let form = Form::read(&mut request).await?;
    let Some(signed_in) = Session::of(&request) else {
        return Ok(see_other("/signin?return_to=/upstream/link", None));
    };
    if form.field("decision") != "connect" {
        return Ok(see_other("/settings", Some(session::end_trip())));
    }
    match people.upstream.link(session::trip(request.headers()), signed_in).await {
        Ok(return_to) => Ok(see_other(&return_to, Some(session::end_trip()))),
        Err(UpstreamError::Accounts(AccountsError::NotFresh { .. })) => {
            Ok(see_other(&again("/upstream/link"), None))
        }
        Err(error @ UpstreamError::OtherAddress(_)) => other_account(error),
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, signed_in, Some(failed))
        }
    }
}

fn render(
    people: &People,
    request: &Request,
    signed_in: &SignedIn,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let waiting = match people.upstream.waiting(session::trip(request.headers()), signed_in) {
        Err(error @ UpstreamError::OtherAddress(_)) => return other_account(error),
        waiting => waiting?,
    };
    let email = email(people, request)?;
    let policy = policy(&waiting.return_to);
    let (provider, name) = (waiting.provider, waiting.name);
    let page = with_form(people, request, failed, |frame| ConnectPage { frame, email, provider, name })?;
    Ok(leading_on(page, policy))
}

/// Says that somebody is signed in to another account than the one that the identity was offered to, and leads to that one.
fn other_account(error: UpstreamError) -> Result<Response, ApiError> {
    let error = ApiError::from(error);
    let (message, there) = (error.to_string(), again("/upstream/link"));
    let link = Some((there.as_str(), "Sign in to it"));
    html(error.status(), &Told { title: "This is another account", message: &message, link })
}

fn remember(sealed: &str) -> String {
    session::begin_trip(sealed, TRIP_SECONDS)
}
