//! Pages of people: sign-in, sign-up, second factors, the links of letters, settings, what programs ask of them, and what operators see
//! of all.
//!
//! Each is a form that works without JavaScript. A form that is sent is checked first
//! ([`FormBinding`]): it was made for this browser and sent from here. What went wrong stands in the page, with
//! the status it would have in the API; what went right ends in 303, so that a reload sends nothing again.

mod admin;
pub(crate) mod authorize;
mod device;
pub(crate) mod end_session;
mod factor;
mod join;
mod keys;
mod link;
mod mfa;
mod settings;
mod sign_in;
mod sign_up;
mod sms;
mod team;
mod teams;
mod upstream;

use std::sync::Arc;

use askama::Template;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Route, get, post};
use twinmcp_actors::accounts::Token;
use twinmcp_actors::{Accounts, ApiKeys, Audit, Oauth, Teams, Upstream};
use twinmcp_storage::clock::{Clock, Entropy, Timestamp};

use super::{html, parameter};
use crate::api::{ApiError, TEXT_NOT_SENT};
use crate::http::session::{self, FORM_FIELD, FormBinding};

/// Fields of one form.
const FIELDS_MAX: usize = 24;
/// Longest query that a form becomes, in bytes: where it leads at first fits into `http.url_bytes_max` as that is by itself.
const QUERY_BYTES_MAX: usize = 7_000;

/// What the pages of people need.
#[derive(Clone)]
pub(crate) struct People {
    pub(crate) accounts: Accounts,
    pub(crate) oauth: Oauth,
    pub(crate) teams: Teams,
    pub(crate) api_keys: ApiKeys,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) audit: Audit,
    pub(crate) upstream: Upstream,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Adds the pages to the others.
pub(super) fn routes(route: Route, people: &People) -> Route {
    admin::routes(route, people)
        .at("/signin", get(page(people, sign_in::show)).post(page(people, sign_in::submit)))
        .at("/signin/factor", get(page(people, factor::show)).post(page(people, factor::submit)))
        .at("/signin/factor/sms", post(page(people, sms::send)))
        .at("/mfa", get(own(people, mfa::show)))
        .at("/mfa/totp", get(own(people, mfa::offer_totp)).post(own(people, mfa::confirm_totp)))
        .at("/mfa/totp/remove", post(own(people, mfa::remove_totp)))
        .at("/mfa/passkey/remove", post(own(people, mfa::remove_passkey)))
        .at("/mfa/sms", post(own(people, sms::offer)))
        .at("/mfa/sms/confirm", post(own(people, sms::confirm)))
        .at("/mfa/sms/remove", post(own(people, sms::remove)))
        .at("/mfa/codes", post(own(people, mfa::make_codes)))
        .at("/signout", post(page(people, sign_in::leave)))
        .at("/signout/answer", post(page(people, end_session::answer)))
        .at("/signup", get(page(people, sign_up::show)).post(page(people, sign_up::submit)))
        .at("/verify", get(page(people, link::show)).post(page(people, link::submit)))
        .at("/reset", get(page(people, link::show_reset)).post(page(people, link::submit_reset)))
        .at("/consent", post(own(people, authorize::answer)))
        .at("/device", get(own(people, device::show)).post(own(people, device::decide)))
        .at("/upstream/link", get(own(people, upstream::ask)).post(own(people, upstream::answer)))
        .at("/upstream/:provider", get(page(people, upstream::leave)))
        .at("/upstream/:provider/callback", get(page(people, upstream::arrive)))
        .at("/settings", get(own(people, settings::show)))
        .at("/settings/keys", get(own(people, keys::show)).post(own(people, keys::make)))
        .at("/settings/keys/revoke", post(own(people, keys::revoke)))
        .at("/settings/teams", get(own(people, teams::show)).post(own(people, teams::make)))
        .at("/settings/teams/:id", get(own(people, team::show)))
        .at("/settings/teams/:id/:what", post(own(people, team::change)))
        .at("/join", get(page(people, join::show)).post(page(people, join::submit)))
        .at("/settings/:what", post(own(people, settings::change)))
}

/// Where clients send people; it lies among the endpoints of the API.
pub(crate) fn authorize_endpoint(people: &People) -> impl Endpoint + use<> {
    get(page(people, authorize::show)).post(page(people, authorize::bring))
}

/// Where clients send people to sign out; it lies among the endpoints of the API too.
pub(crate) fn end_session_endpoint(people: &People) -> impl Endpoint + use<> {
    get(page(people, end_session::show)).post(page(people, end_session::bring))
}

fn page<F>(people: &People, show: fn(People, Request) -> F) -> impl Endpoint + use<F>
where
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let people = people.clone();
    poem::endpoint::make(move |request: Request| {
        let people = people.clone();
        async move { Ok::<_, poem::Error>(show(people, request).await?) }
    })
    .map_to_response()
}

/// As [`page`], for what is somebody's own: where their session may have ended without this node knowing, nothing is shown or changed.
fn own<F>(people: &People, show: fn(People, Request) -> F) -> impl Endpoint + use<F>
where
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    page(people, show).before(async |request| {
        session::must_be_current(&request)?;
        Ok(request)
    })
}

/// The fields of a form that was sent from one of these pages.
struct Form(Vec<(String, String)>);

impl Form {
    /// Reads and checks it.
    ///
    /// # Errors
    /// 403 for one of another site or browser, 415 for what is no form.
    async fn read(request: &mut Request) -> Result<Self, ApiError> {
        let is_form =
            request.content_type().is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if !is_form {
            let message = "A form is taken here: `application/x-www-form-urlencoded`.";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        let bytes = request.take_body().into_bytes().await;
        let bytes =
            bytes.map_err(|error| ApiError::bad_request("The form could not be read.").caused_by(error))?;
        let fields = form_urlencoded::parse(&bytes).into_owned().take(FIELDS_MAX);
        let form = Self(fields.collect());
        FormBinding::check(request, form.field(FORM_FIELD))?;
        Ok(form)
    }

    /// A field; the first where it stands twice, nothing where it is not.
    fn field(&self, name: &str) -> &str {
        self.fields(name).next().unwrap_or_default()
    }

    /// A field that may stand several times.
    fn fields(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What stands in a page that was sent and could not be done.
struct Failed {
    status: StatusCode,
    message: String,
    retry_after_s: Option<u64>,
}

impl Failed {
    /// What went wrong, if the page can say it; a failure of the node is a page of its own.
    fn of(error: impl Into<ApiError>) -> Result<Self, ApiError> {
        let error = error.into();
        let status = error.status();
        // A carrier that fails leaves the person other ways, which stand on the same page.
        if status.is_server_error() && error.code() != TEXT_NOT_SENT {
            return Err(error);
        }
        Ok(Self { status, message: error.to_string(), retry_after_s: error.retry_after_s() })
    }
}

/// What a template of a form needs.
struct Frame {
    form_token: String,
    failure: Option<String>,
}

/// A page with a form, whole.
fn with_form<T: Template>(
    people: &People,
    request: &Request,
    failed: Option<Failed>,
    page: impl FnOnce(Frame) -> T,
) -> Result<Response, ApiError> {
    let fresh = Token::random(&*people.entropy).map_err(ApiError::internal)?;
    let binding = FormBinding::for_page(request, &fresh);
    let (status, failure, retry_after_s) = match failed {
        Some(failed) => (failed.status, Some(failed.message), failed.retry_after_s),
        None => (StatusCode::OK, None, None),
    };
    let mut response = html(status, &page(Frame { form_token: binding.token(), failure }))?;
    if let Some(cookie) = &binding.set_cookie {
        set_cookie(&mut response, cookie);
    }
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

#[derive(Template)]
#[template(path = "people/told.html")]
struct Told<'a> {
    title: &'a str,
    message: &'a str,
    link: Option<(&'a str, &'a str)>,
}

/// The word for what was done before a page was asked for, by the name in its address.
fn done(request: &Request, words: &[(&str, &'static str)]) -> Option<&'static str> {
    let done = parameter(request, "done")?;
    words.iter().find(|(name, _)| *name == done).map(|(_, text)| *text)
}

/// Where somebody was going who was led to a page on the way. Its forms and links take that along in their addresses.
fn led_from(request: &Request) -> Option<String> {
    parameter(request, "return_to").map(|asked| session::local_path(Some(&asked)))
}

/// A path of these pages, from which somebody is led on as from this one.
fn on_the_way(path: &str, request: &Request) -> String {
    led_from(request).map_or_else(|| path.to_owned(), |return_to| with_return(path, &return_to))
}

/// `path`, from which somebody goes on to `return_to`.
fn with_return(path: &str, return_to: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", return_to).finish();
    format!("{path}?{query}")
}

/// Says that a letter is on its way, and keeps where somebody was going until they open its link.
fn told_of_letter(
    request: &Request,
    message: &str,
    link: Option<(&str, &str)>,
) -> Result<Response, ApiError> {
    let mut response = told("Look into your mail", message, link)?;
    if let Some(cookie) = led_from(request).and_then(|path| session::keep_onward(&path)) {
        set_cookie(&mut response, &cookie);
    }
    Ok(response)
}

/// A page that says something and no more.
fn told(title: &str, message: &str, link: Option<(&str, &str)>) -> Result<Response, ApiError> {
    html(StatusCode::OK, &Told { title, message, link })
}

/// A page with a form that leads on to another site, as far as its policy has to name that: what a form leads to is held against the
/// policy of the page, through every redirect.
fn leading_on(mut page: Response, policy: Option<HeaderValue>) -> Response {
    if let Some(policy) = policy {
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    page
}

/// Sets one more cookie.
fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Leads a browser that sends the form of another site to `path`, with the form as query: it sends no cookie of ours with the form
/// (`SameSite=Lax`), but does when it is led here. `shorter` says how a form that is too long is made shorter.
async fn as_query(path: &str, mut request: Request, shorter: &str) -> Result<Response, ApiError> {
    let body = request.take_body().into_bytes().await;
    let body = body.map_err(|error| ApiError::bad_request("The form could not be read.").caused_by(error))?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(form_urlencoded::parse(&body));
    let query = query.finish();
    if query.len() > QUERY_BYTES_MAX {
        let message = format!("The form may have {QUERY_BYTES_MAX} bytes once it is an address. {shorter}");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message));
    }
    Ok(see_other(&format!("{path}?{query}"), None))
}

/// 303: the browser asks for `path` with GET, and forgets what was sent (RFC 9110, 15.4.4).
fn see_other(path: &str, cookie: Option<String>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    super::protect(&mut response);
    let to = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/settings"));
    response.headers_mut().insert(header::LOCATION, to);
    if let Some(cookie) = &cookie {
        set_cookie(&mut response, cookie);
    }
    response
}

/// The cookie of a session that began.
fn cookie(people: &People, secret: &Token) -> String {
    session::begin(secret, people.accounts.config().session_life_ms / 1_000)
}

/// `2026-11-27 19:36 UTC`.
fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => text,
    }
}
