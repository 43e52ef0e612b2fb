//! `/verify` and `/reset`: what the link of a letter opens, and the page that asks for one.
//!
//! Opening a link shows a form and uses nothing up: programs that look at mail open links too.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::{AccountsError, LinkUse, OpenLink, PASSWORD_CHARS_MIN, SignUp};

use super::super::{html, parameter};
use super::{
    Failed, Form, Frame, People, on_the_way, set_cookie, told, told_of_letter, with_form, with_return,
};
use crate::api::ApiError;
use crate::http::session;

#[derive(Template)]
#[template(path = "people/link.html")]
struct LinkPage {
    frame: Frame,
    title: &'static str,
    action: &'static str,
    button: &'static str,
    token: String,
    /// Whose account it will be, or which address is confirmed.
    email: Option<String>,
    /// Whether a name is chosen, and what was.
    name: Option<String>,
    has_password: bool,
    chars_min: usize,
}

#[derive(Template)]
#[template(path = "people/link_refused.html")]
struct RefusedPage {
    message: String,
    /// Where people ask for another link by themselves.
    another: Option<(&'static str, &'static str)>,
}

#[derive(Template)]
#[template(path = "people/reset.html")]
struct ResetPage {
    frame: Frame,
    email: String,
    action: String,
    sign_in: String,
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let token = parameter(&request, "token").unwrap_or_default();
    open(&people, &request, &token, "/verify", None)
}

pub(super) async fn submit(people: People, request: Request) -> Result<Response, ApiError> {
    apply(people, request, "/verify").await
}

pub(super) async fn show_reset(people: People, request: Request) -> Result<Response, ApiError> {
    match parameter(&request, "token") {
        Some(token) => open(&people, &request, &token, "/reset", None),
        None => ask(&people, &request, String::new(), None),
    }
}

pub(super) async fn submit_reset(people: People, mut request: Request) -> Result<Response, ApiError> {
    if parameter(&request, "token").is_some() {
        return apply(people, request, "/reset").await;
    }
    let form = Form::read(&mut request).await?;
    match people.accounts.request_reset(form.field("email")).await {
        Ok(()) => told_of_letter(
            &request,
            "If somebody has an account with this address, a letter with a link is on its way.",
            Some((&on_the_way("/signin", &request), "Sign in")),
        ),
        Err(error) => ask(&people, &request, form.field("email").to_owned(), Some(Failed::of(error)?)),
    }
}

fn ask(
    people: &People,
    request: &Request,
    email: String,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let (action, sign_in) = (on_the_way("/reset", request), on_the_way("/signin", request));
    with_form(people, request, failed, |frame| ResetPage { frame, email, action, sign_in })
}

/// The form of a link, or the way on from one that is good for nothing any more.
fn open(
    people: &People,
    request: &Request,
    token: &str,
    action: &'static str,
    failed: Option<(Failed, String)>,
) -> Result<Response, ApiError> {
    let opened = match people.accounts.open_link(token) {
        Ok(opened) => opened,
        Err(error) => return refused(people, action, error),
    };
    let (failed, chosen) = failed.map_or((None, String::new()), |(failed, name)| (Some(failed), name));
    with_form(people, request, failed, |frame| {
        let (title, button) = words(&opened);
        let (email, name, has_password) = match opened {
            OpenLink::SignUp { email, name } => {
                (Some(email.to_string()), name.is_empty().then_some(chosen), true)
            }
            OpenLink::Reset => (None, None, true),
            OpenLink::Email { email } => (Some(email.to_string()), None, false),
        };
        let token = token.to_owned();
        let chars_min = PASSWORD_CHARS_MIN;
        LinkPage { frame, title, action, button, token, email, name, has_password, chars_min }
    })
}

/// The page of a link that opens nothing. Most of them were used already, by whoever looks.
fn refused(people: &People, action: &str, error: AccountsError) -> Result<Response, ApiError> {
    let Failed { status, message, .. } = Failed::of(error)?;
    let is_open = people.accounts.config().sign_up == SignUp::Open;
    let another = match action {
        "/reset" => Some(("/reset", "Ask for another link")),
        _ => is_open.then_some(("/signup", "Make an account")),
    };
    html(status, &RefusedPage { message, another })
}

fn words(opened: &OpenLink) -> (&'static str, &'static str) {
    match opened {
        OpenLink::SignUp { .. } => ("Make your account", "Make the account"),
        OpenLink::Reset => ("Choose another password", "Set the password"),
        OpenLink::Email { .. } => ("Confirm your e-mail address", "Confirm"),
    }
}

async fn apply(people: People, mut request: Request, action: &'static str) -> Result<Response, ApiError> {
    let token = parameter(&request, "token").unwrap_or_default();
    let form = Form::read(&mut request).await?;
    let field = |name| Some(form.field(name)).filter(|value: &&str| !value.is_empty());
    let used = LinkUse { token: &token, password: field("password"), name: field("name") };
    match people.accounts.use_link(used).await {
        Ok(OpenLink::Email { .. }) => told(
            "The address is confirmed",
            "It is the address of your account from now on.",
            Some(("/settings", "Your account")),
        ),
        Ok(_) => ready(&request),
        Err(error @ AccountsError::LinkRefused) => refused(&people, action, error),
        Err(error) => {
            let failed = Failed::of(error)?;
            open(&people, &request, &token, action, Some((failed, form.field("name").to_owned())))
        }
    }
}

/// Somebody has a password, and goes on to where they were going before they were sent the letter, if that was in this browser.
fn ready(request: &Request) -> Result<Response, ApiError> {
    let onward = session::onward(request.headers());
    let sign_in = onward.as_deref().map_or_else(|| "/signin".to_owned(), |path| with_return("/signin", path));
    let mut response = told("Done", "You can sign in with the password now.", Some((&sign_in, "Sign in")))?;
    if onward.is_some() {
        set_cookie(&mut response, &session::end_onward());
    }
    Ok(response)
}
