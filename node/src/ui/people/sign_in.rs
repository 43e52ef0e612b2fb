//! `/signin` and `/signout`.

use askama::Template;
use poem::http::HeaderValue;
use poem::{Request, Response};
use twinmcp_actors::accounts::{SignInRequest, SignInStep, SignUp};
use twinmcp_storage::accounts::Which;

use super::super::parameter;
use super::authorize::{self, AUTHORIZE};
use super::{Failed, Form, Frame, People, cookie, leading_on, see_other, with_form, with_return};
use crate::api::ApiError;
use crate::http::{Enrolling, Session, address_of, session};

#[derive(Template)]
#[template(path = "people/signin.html")]
struct SignInPage {
    frame: Frame,
    /// Whether somebody may sign in with a passkey alone.
    has_passkeys: bool,
    email: String,
    return_to: String,
    /// Whether somebody who is signed in is to show once more who they are; the form takes that along.
    is_again: bool,
    /// Where somebody asks for another password, and makes an account, on the way.
    reset: String,
    sign_up: Option<String>,
    /// Other providers: what people call them, and where the way there begins.
    providers: Vec<(String, String)>,
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let return_to = session::local_path(parameter(&request, "return_to").as_deref());
    let is_again = is_again(&request);
    if !is_again && Session::of(&request).is_some() {
        return Ok(see_other(&return_to, None));
    }
    if !is_again && Enrolling::of(&request).is_some() {
        return Ok(see_other(&with_return("/mfa", &return_to), None));
    }
    render(&people, &request, String::new(), return_to, None)
}

pub(super) async fn submit(people: People, mut request: Request) -> Result<Response, ApiError> {
    let form = Form::read(&mut request).await?;
    let return_to = session::local_path(Some(form.field("return_to")));
    let asked = SignInRequest {
        email: form.field("email"),
        password: form.field("password"),
        address: address_of(&request),
        client: request.header("user-agent").unwrap_or_default(),
        replaces: session::secret(request.headers()),
    };
    match people.accounts.sign_in(asked).await {
        Ok(SignInStep::Session(new)) => Ok(see_other(&return_to, Some(cookie(&people, &new.secret)))),
        Ok(SignInStep::Challenge(challenge)) => {
            let next = with_return("/signin/factor", &return_to);
            Ok(see_other(&next, Some(session::wait(&challenge.ticket, challenge.life_s))))
        }
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, form.field("email").to_owned(), return_to, Some(failed))
        }
    }
}

pub(super) async fn leave(people: People, mut request: Request) -> Result<Response, ApiError> {
    Form::read(&mut request).await?;
    if let Some(signed_in) = Enrolling::of(&request) {
        // One that has ended meanwhile has ended.
        let ended =
            people.accounts.end_sessions(&signed_in.account, Which::One(signed_in.session.clone())).await;
        if let Err(error) = ended {
            Failed::of(error)?;
        }
    }
    Ok(see_other("/signin", Some(session::end())))
}

/// Whether somebody is to show once more who they are, though they are signed in.
pub(super) fn is_again(request: &Request) -> bool {
    parameter(request, "again").is_some()
}

/// Where somebody shows once more who they are, on the way to `return_to`.
pub(super) fn again(return_to: &str) -> String {
    format!("{}&again=1", with_return("/signin", return_to))
}

fn render(
    people: &People,
    request: &Request,
    email: String,
    return_to: String,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let policy = policy(&return_to);
    let reset = with_return("/reset", &return_to);
    let is_open = people.accounts.config().sign_up == SignUp::Open;
    let sign_up = is_open.then(|| with_return("/signup", &return_to));
    let is_again = is_again(request);
    let providers = people.upstream.providers().iter().map(|provider| {
        let path = with_return(&format!("/upstream/{}", provider.name), &return_to);
        (provider.title.clone(), if is_again { format!("{path}&again=1") } else { path })
    });
    let providers = providers.collect();
    let has_passkeys = people.accounts.has_passkeys();
    let page =
        |frame| SignInPage { frame, has_passkeys, email, return_to, is_again, reset, sign_up, providers };
    Ok(leading_on(with_form(people, request, failed, page)?, policy))
}

/// The policy of a sign-in on the way to a client of the authorization server. Whether that is a place to go to is decided there.
pub(super) fn policy(return_to: &str) -> Option<HeaderValue> {
    let query = return_to.strip_prefix(AUTHORIZE)?.strip_prefix('?')?;
    let (_, target) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "redirect_uri")?;
    authorize::policy(&target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_083_only_a_sign_in_for_a_client_leads_on_to_one() {
        let query = "client_id=a&redirect_uri=https%3A%2F%2Fapp.example%2Fcb";
        let policy_of = |path: &str| policy(&format!("{path}?{query}"));
        assert!(
            policy_of("/api/oauth/authorize").unwrap().to_str().unwrap().contains(" https://app.example;")
        );
        assert_eq!(policy_of("/settings"), None);
        assert_eq!(policy("/api/oauth/authorize?client_id=a"), None);
    }
}
