//! `/api/oauth/authorize` and `/consent`: where a client sends people, and what they are asked there.

use askama::Template;
use poem::http::{HeaderValue, StatusCode};
use poem::{Request, Response};
use reqwest::Url;
use twinmcp_actors::oauth::{Authorization, Person, Question};
use twinmcp_storage::accounts::Method;
use twinmcp_storage::scope::Scope;

use super::super::POLICY;
use super::sign_in::again;
use super::{Form, Frame, People, as_query, leading_on, see_other, with_form, with_return};
use crate::api::ApiError;
use crate::http::Session;

/// The path that clients send people to.
pub(crate) const AUTHORIZE: &str = "/api/oauth/authorize";

#[derive(Template)]
#[template(path = "people/consent.html")]
struct ConsentPage {
    frame: Frame,
    email: String,
    client_name: String,
    /// Who answers for the client, if its name says so: the host of its document.
    publisher: Option<String>,
    client_uri: Option<String>,
    /// Where the person is sent afterwards.
    target: String,
    /// Whether that is this machine, where any program may listen.
    is_local: bool,
    /// The host that the client says it belongs to, where the person is sent to another one (RFC 7591, 5).
    other_host: Option<String>,
    scopes: Vec<&'static str>,
    resources: Vec<String>,
    ticket: String,
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let person = person(&people, &request)?;
    match people.oauth.authorize(&query, person.as_ref()).await? {
        Authorization::Refused(refused) => {
            Err(ApiError::new(StatusCode::BAD_REQUEST, refused.code.as_str(), refused.description))
        }
        Authorization::Redirect(url) => Ok(see_other(&url, None)),
        Authorization::SignIn { query } => {
            let back = format!("{AUTHORIZE}?{query}");
            // Whoever is signed in is here because that is not enough.
            let next = if person.is_some() { again(&back) } else { with_return("/signin", &back) };
            Ok(see_other(&next, None))
        }
        Authorization::AddFactor { query } => {
            Ok(see_other(&with_return("/mfa", &format!("{AUTHORIZE}?{query}")), None))
        }
        Authorization::Ask(question) => ask(&people, &request, *question),
    }
}

/// Takes what another site's form sends (OpenID Connect Core, 3.1.2.1).
pub(super) async fn bring(_: People, request: Request) -> Result<Response, ApiError> {
    as_query(AUTHORIZE, request, "Push the request ahead (RFC 9126).").await
}

pub(super) async fn answer(people: People, mut request: Request) -> Result<Response, ApiError> {
    let form = Form::read(&mut request).await?;
    let Some(person) = person(&people, &request)? else {
        let message = "You are not signed in any more. Go back to the program and start again.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "not_signed_in", message));
    };
    let allow = form.field("decision") == "allow";
    let url = people.oauth.answer(form.field("ticket"), &person, allow).await?;
    Ok(see_other(&url, None))
}

/// Who is signed in, as far as the authorization server wants to know.
pub(super) fn person(people: &People, request: &Request) -> Result<Option<Person>, ApiError> {
    let Some(signed_in) = Session::of(request) else { return Ok(None) };
    let Some(known) = people.accounts.person(&signed_in.account)? else { return Ok(None) };
    Ok(Some(Person {
        account: signed_in.account.clone(),
        session: signed_in.session.to_string(),
        signed_in_at: signed_in.signed_in_at,
        methods: Method::amr_of(&signed_in.methods),
        is_admin: known.person.is_operator,
    }))
}

/// The e-mail address of who is signed in.
pub(super) fn email(people: &People, request: &Request) -> Result<String, ApiError> {
    let known =
        Session::of(request).map(|signed_in| people.accounts.person(&signed_in.account)).transpose()?;
    Ok(known.flatten().map(|known| known.person.email.to_string()).unwrap_or_default())
}

fn ask(people: &People, request: &Request, question: Question) -> Result<Response, ApiError> {
    let email = email(people, request)?;
    let target = Url::parse(&question.redirect_uri).ok();
    let is_web = target.as_ref().is_some_and(|url| url.scheme() == "https");
    let is_local = target.as_ref().is_some_and(|url| url.scheme() == "http");
    let place = target.as_ref().and_then(|url| url.host_str().filter(|_| is_web || is_local));
    let place = place.map_or_else(|| question.redirect_uri.clone(), str::to_owned);
    let policy = policy(&question.redirect_uri);
    let publisher = host(&question.client_id);
    let claimed = publisher.clone().or_else(|| question.client_uri.as_deref().and_then(host));
    let other_host = claimed.filter(|claimed| is_web && *claimed != place);
    let page = |frame| ConsentPage {
        frame,
        email,
        client_name: question.client_name,
        publisher,
        client_uri: question.client_uri,
        target: place,
        is_local,
        other_host,
        scopes: question.scopes.iter().map(|scope| meaning(*scope)).collect(),
        resources: question.resources,
        ticket: question.ticket,
    };
    Ok(leading_on(with_form(people, request, None, page)?, policy))
}

fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// The policy of a form whose answer leads on to a client: browsers hold `form-action` against every redirect that follows (CSP
/// Level 3, 6.4.1), so the client's own place is named too.
pub(super) fn policy(redirect_uri: &str) -> Option<HeaderValue> {
    let target = Url::parse(redirect_uri).ok()?;
    let source = match target.scheme() {
        "http" | "https" => target.origin().ascii_serialization(),
        "javascript" | "data" | "blob" | "file" | "about" => return None,
        scheme => format!("{scheme}:"),
    };
    HeaderValue::try_from(POLICY.replace("form-action 'self'", &format!("form-action 'self' {source}"))).ok()
}

/// What a scope means to a person.
pub(super) const fn meaning(scope: Scope) -> &'static str {
    match scope {
        Scope::DocsRead => "find libraries and read their documentation",
        Scope::LibrariesWrite => "add, change and remove your libraries",
        Scope::JobsWrite => "start and cancel your index jobs",
        Scope::KeysWrite => "make, list and revoke your API keys",
        Scope::MetricsRead => "read the metrics of the service",
        Scope::Admin => "do everything, as an operator of this service",
        Scope::Chat => "talk with the documentation in your name",
        Scope::Account => "read and change your account",
        Scope::AnalyticsRead => "read how often libraries are asked",
        Scope::OfflineAccess => "go on while you are away, until you take it back",
        Scope::OpenId => "know who you are",
        Scope::Profile => "know your name",
        Scope::Email => "know your e-mail address",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_083_the_policy_lets_a_form_lead_on_to_the_client_that_is_named_and_nowhere_else() {
        let with = |target: &str| policy(target).map(|policy| policy.to_str().unwrap().to_owned());
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
    }
}
