//! `/signin` and `/signout`.

use askama::Template;
use poem::http::{HeaderValue, header};
use poem::{Request, Response};
use reqwest::Url;
use twinmcp_actors::accounts::{SignInRequest, SignUp};
use twinmcp_storage::accounts::Which;

use super::super::{POLICY, parameter};
use super::{Failed, Form, Frame, People, cookie, see_other, with_form};
use crate::api::ApiError;
use crate::http::{Session, address_of, session};

#[derive(Template)]
#[template(path = "people/signin.html")]
struct SignInPage {
    frame: Frame,
    email: String,
    return_to: String,
    is_open: bool,
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let return_to = session::local_path(parameter(&request, "return_to").as_deref());
    if Session::of(&request).is_some() {
        return Ok(see_other(&return_to, None));
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
        Ok(new) => Ok(see_other(&return_to, Some(cookie(&people, &new.secret)))),
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, form.field("email").to_owned(), return_to, Some(failed))
        }
    }
}

pub(super) async fn leave(people: People, mut request: Request) -> Result<Response, ApiError> {
    Form::read(&mut request).await?;
    if let Some(signed_in) = Session::of(&request) {
        // One that has ended meanwhile has ended.
        let ended =
            people.accounts.end_sessions(&signed_in.account, Which::One(signed_in.session.clone())).await;
        if let Err(error) = ended {
            Failed::of(error)?;
        }
    }
    Ok(see_other("/signin", Some(session::end())))
}

fn render(
    people: &People,
    request: &Request,
    email: String,
    return_to: String,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let policy = policy(&return_to);
    let is_open = people.accounts.config().sign_up == SignUp::Open;
    let page = |frame| SignInPage { frame, email, return_to, is_open };
    let mut response = with_form(people, request, failed, page)?;
    if let Some(policy) = policy {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// The policy of a sign-in on the way to a client of the authorization server. Browsers hold a form's `form-action` against every
/// redirect that follows (CSP Level 3, 6.4.1), so the client's own place is named too; whether that is a place to go to
/// is decided there.
fn policy(return_to: &str) -> Option<HeaderValue> {
    let query = return_to.strip_prefix("/api/oauth/authorize?")?;
    let (_, target) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "redirect_uri")?;
    let target = Url::parse(&target).ok()?;
    let source = match target.scheme() {
        "http" | "https" => target.origin().ascii_serialization(),
        "javascript" | "data" | "blob" | "file" | "about" => return None,
        scheme => format!("{scheme}:"),
    };
    HeaderValue::try_from(POLICY.replace("form-action 'self'", &format!("form-action 'self' {source}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_083_the_policy_lets_a_form_lead_on_to_the_client_that_is_named_and_nowhere_else() {
        let with = |target: &str| {
            let query: String =
                form_urlencoded::Serializer::new(String::new()).append_pair("redirect_uri", target).finish();
            let policy = policy(&format!("/api/oauth/authorize?client_id=a&{query}"));
            policy.map(|policy| policy.to_str().unwrap().to_owned())
        };
        for (target, source) in [
            ("https://app.example/cb?x=1", " https://app.example;"),
            ("http://127.0.0.1:7777/cb", " http://127.0.0.1:7777;"),
            ("com.example.app:/cb", " com.example.app:;"),
        ] {
            assert!(with(target).unwrap().contains(&format!("form-action 'self'{source}")), "{target}");
        }
        for target in ["javascript:alert(1)", "nowhere", "https://a;script-src *"] {
            assert_eq!(with(target), None, "{target}");
        }
        assert_eq!(policy("/settings?redirect_uri=https://app.example"), None);
    }
}
