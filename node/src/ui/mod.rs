//! Pages for people: find a library, ask its documentation, see its versions and what is being indexed.
//!
//! [`routes`] is the way in. A page is rendered on the node from a template in `ui/templates` and works
//! without JavaScript; the one script brings what changes while a page is open, and a button to copy.
//!
//! Invariants: text of documentation reaches a page escaped, or through [`markdown`], which makes no tag that
//! runs, loads or frames anything; and every page forbids the same to the browser ([`POLICY`]). Pages show
//! nothing that whoever looks could not read over the API, and [`people`] their own.

mod assets;
mod card;
mod home;
mod libraries;
mod library;
mod live;
mod llms;
mod markdown;
mod people;
mod snippet;

use std::sync::Arc;

use askama::Template;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Route, get};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use twinmcp_actors::{Jobs, Libraries, Search};

use crate::api::{ApiError, Tools};
use crate::http::Identity;

pub(crate) use self::assets::is_asset;
pub(crate) use self::people::People;
pub(crate) use self::people::authorize::AUTHORIZE;
pub(crate) use self::people::end_session::END_SESSION;
pub(crate) use self::people::{authorize_endpoint, end_session_endpoint};

/// Whether `path` takes forms of other sites, which change nothing there: the browser is led on with what is in them.
pub(crate) fn takes_foreign_forms(path: &str) -> bool {
    path == AUTHORIZE || path == END_SESSION
}

/// The build, at the foot of every page.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a page may do: show itself, its sheet, its script and its picture, and ask this node. Nothing is inline,
/// so nothing needs a nonce (CSP Level 3).
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the pages read from.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) tools: Tools,
    pub(crate) search: Search,
    pub(crate) libraries: Libraries,
    pub(crate) jobs: Jobs,
    /// One permit an open event stream, shared with those of the API.
    pub(crate) streams: Arc<Semaphore>,
    /// Ends the streams when the node stops.
    pub(crate) stop: CancellationToken,
}

/// The routes of all pages.
pub(crate) fn routes(pages: Pages, people: &People) -> Route {
    let route = Route::new()
        .at("/", get(page(pages.clone(), home::show)))
        .at("/libraries", get(page(pages.clone(), libraries::show)))
        .at("/libraries/*id", get(page(pages.clone(), library::show)))
        .at("/llms.txt", get(page(pages, llms::show)))
        .at("/assets/:name", get(poem::endpoint::make_sync(assets::answer)));
    people::routes(route, people)
}

/// An endpoint that renders one page for those who may read documentation.
fn page<F>(pages: Pages, show: fn(Pages, Request) -> F) -> impl Endpoint
where
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    poem::endpoint::make(move |request: Request| {
        let pages = pages.clone();
        async move {
            Identity::of(request.extensions()).reader()?;
            Ok::<_, poem::Error>(show(pages, request).await?)
        }
    })
    .map_to_response()
}

/// A rendered page.
fn html(status: StatusCode, template: &impl Template) -> Result<Response, ApiError> {
    let body = template.render().map_err(ApiError::internal)?;
    let mut response = body.with_status(status).with_content_type("text/html; charset=utf-8").into_response();
    protect(&mut response);
    Ok(response)
}

/// The headers every page has.
fn protect(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept"),
        // For browsers that do not know `frame-ancestors`.
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    message: &'a str,
    code: &'a str,
    request_id: &'a str,
}

/// A failure as a page; as plain text should the template fail too.
pub(crate) fn error_page(status: StatusCode, code: &str, message: &str, request_id: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let page = ErrorPage { title, message, code, request_id };
    html(status, &page).unwrap_or_else(|_| message.to_owned().with_status(status).into_response())
}

/// A parameter of the request's query; the first where it stands twice.
fn parameter(request: &Request, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// `12774` as `12,774`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Renders documentation: see [`crate::fuzzing::page`].
#[cfg(fuzzing)]
pub(crate) fn fuzz_markdown(text: &str) {
    const TAGS: &[&str] = &[
        "p",
        "a",
        "code",
        "pre",
        "em",
        "strong",
        "del",
        "ul",
        "ol",
        "li",
        "blockquote",
        "br",
        "hr",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    ];
    let html = markdown::to_html(text, "https://kiln.example/docs/a.md");
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or((tag, ""));
        let (name, attributes) =
            tag.trim_start_matches('/').split_once(' ').unwrap_or((tag.trim_start_matches('/'), ""));
        assert!(TAGS.contains(&name.trim_end_matches('/')), "<{tag}>");
        // Only what stands in quotes is anybody else's.
        let own: String = attributes.split('"').step_by(2).collect();
        let known = ["", "/", "href= rel=", "class= tabindex= role= aria-label=", "class=", "start="];
        assert!(known.contains(&own.trim()), "<{tag}>");
        let target = attributes.strip_prefix("href=\"");
        assert!(target.is_none_or(|target| target.starts_with("http")), "<{tag}>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (12_774, "12,774"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[tokio::test]
    async fn a_failure_is_a_page_under_the_same_policy() {
        let response = error_page(StatusCode::NOT_FOUND, "not_found", "No <b>library</b>.", "4bf92f");
        assert_eq!(response.headers()["content-security-policy"], POLICY);
        let body = response.into_body().into_string().await.unwrap();
        assert!(body.contains("No &#60;b&#62;library&#60;/b&#62;."), "{body}");
        assert!(body.contains("4bf92f"), "{body}");
    }
}
