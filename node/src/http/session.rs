//! Sessions of people in browsers: the cookie, who is signed in by it, and what keeps other sites from using it.
//!
//! The cookie's name begins with `__Host-`: a browser takes it over https alone (or from this machine), for this host alone,
//! and lets no neighbour set it (RFC 6265bis, 4.1.3.2). Another site that sends a form with it is told by `Sec-Fetch-Site`
//! and `Origin`; forms of pages carry a token besides, made from a cookie that only this node can have set.

use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use twinmcp_actors::accounts::{SignedIn, Token};

use super::caller::stale;
use super::names;
use super::origin::Origin;
use crate::api::ApiError;

/// The session's secret.
pub(crate) const SESSION_COOKIE: &str = "__Host-twinmcp";
/// What somebody has shown who still has to show a second factor, sealed.
const PENDING_COOKIE: &str = "__Host-twinmcp-pending";
/// What forms are bound to before somebody signs in.
const FORM_COOKIE: &str = "__Host-twinmcp-form";
/// What somebody takes along to another provider.
const TRIP_COOKIE: &str = "__Host-twinmcp-upstream";
/// Where somebody was going who waits for a letter.
const ONWARD_COOKIE: &str = "__Host-twinmcp-onward";
/// How long that is worth going to, in seconds.
const ONWARD_SECONDS: u64 = 3_600;
/// Longest path that is kept for that, in bytes: a browser keeps 4,096 of a cookie with all that belongs to it (RFC 6265, 6.1).
const ONWARD_BYTES_MAX: usize = 3_800;
/// How far the log was at the last change that this browser made: see [`super::fresh`].
const LOG_INDEX_COOKIE: &str = "__Host-twinmcp-log-index";
/// How long a node that is not cut off may be behind, and far more, in seconds.
const LOG_INDEX_SECONDS: u64 = 60;
/// Tells tokens of forms from whatever else is made from the same secret.
const FORM_CONTEXT: &str = "twinmcp 2026-11 token of a form";
/// The field of a form that holds its token.
pub(crate) const FORM_FIELD: &str = "form_token";

/// The value of cookie `name`. Of two the first: a browser sends the one with the longer path first, and ours have none.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The secret of the session in a request's cookie, whatever it is worth.
pub(crate) fn secret(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, SESSION_COOKIE)
}

/// The ticket of a sign-in that waits for a second factor, whatever it is worth.
pub(crate) fn pending(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, PENDING_COOKIE)
}

/// `Set-Cookie` for a sign-in that waits for a second factor.
pub(crate) fn wait(ticket: &str, max_age_s: u64) -> String {
    set_cookie(PENDING_COOKIE, ticket, max_age_s)
}

/// `Set-Cookie` that takes that back.
pub(crate) fn waited() -> String {
    set_cookie(PENDING_COOKIE, "", 0)
}

fn set_cookie(name: &str, value: &str, max_age_s: u64) -> String {
    format!("{name}={value}; Path=/; Max-Age={max_age_s}; Secure; HttpOnly; SameSite=Lax")
}

/// `Set-Cookie` for a session that began.
pub(crate) fn begin(secret: &Token, max_age_s: u64) -> String {
    set_cookie(SESSION_COOKIE, secret.reveal(), max_age_s)
}

/// `Set-Cookie` that takes a session's cookie back.
pub(crate) fn end() -> String {
    set_cookie(SESSION_COOKIE, "", 0)
}

/// `Set-Cookie` that keeps in this browser where somebody goes on to who opens the link of a letter; nothing for a path that no cookie holds.
///
/// It does not stand in the letter: who writes an address of somebody else's into a form sends them nowhere.
pub(crate) fn keep_onward(path: &str) -> Option<String> {
    let is_kept = path.len() <= ONWARD_BYTES_MAX && !path.contains([';', ',', '"']);
    is_kept.then(|| set_cookie(ONWARD_COOKIE, path, ONWARD_SECONDS))
}

/// Where somebody was going before they were sent a letter.
pub(crate) fn onward(headers: &HeaderMap) -> Option<String> {
    cookie(headers, ONWARD_COOKIE).map(|path| local_path(Some(path)))
}

/// `Set-Cookie` that takes that back.
pub(crate) fn end_onward() -> String {
    set_cookie(ONWARD_COOKIE, "", 0)
}

/// How far the log was at the last change that this browser made, as it says.
pub(super) fn log_index(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, LOG_INDEX_COOKIE)
}

/// `Set-Cookie` that keeps that in this browser, for a little while.
pub(super) fn keep_log_index(index: u64) -> String {
    set_cookie(LOG_INDEX_COOKIE, &index.to_string(), LOG_INDEX_SECONDS)
}

/// What a browser brings back from another provider, whatever it is worth.
pub(crate) fn trip(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, TRIP_COOKIE)
}

/// `Set-Cookie` for somebody who is sent to another provider.
pub(crate) fn begin_trip(sealed: &str, max_age_s: u64) -> String {
    set_cookie(TRIP_COOKIE, sealed, max_age_s)
}

/// `Set-Cookie` that takes it back.
pub(crate) fn end_trip() -> String {
    set_cookie(TRIP_COOKIE, "", 0)
}

/// Refuses what a page of another site has sent.
///
/// # Errors
/// 403 `cross_site`.
pub(crate) fn same_site(request: &Request) -> Result<(), ApiError> {
    if comes_from_here(request) { Ok(()) } else { Err(cross_site()) }
}

/// The refusal of what a page of another site has sent.
pub(super) fn cross_site() -> ApiError {
    let message = "This was sent by a page of another site. Open the page of this service and do it there.";
    ApiError::new(StatusCode::FORBIDDEN, "cross_site", message)
}

/// The refusal of somebody who still has to add a second factor.
pub(super) fn lacks_factor() -> ApiError {
    let message =
        "This service asks for a second factor. Add one first, at `/mfa` or by `POST /api/auth/mfa/totp`.";
    ApiError::new(StatusCode::FORBIDDEN, "second_factor_required", message)
}

/// Whether a request with the cookie makes its person a caller. Everybody may link to a page; what is read from the API is a person's own
/// or an operator's, and may cost much (a backup), so nobody is made to ask for it by another site.
pub(super) fn makes_caller(request: &Request) -> bool {
    let is_page = !request.uri().path().starts_with("/api/");
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    comes_from_here(request) || is_page && reads
}

fn comes_from_here(request: &Request) -> bool {
    let text = |name: &HeaderName| {
        request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default())
    };
    let by_site = text(&names::SITE);
    if by_site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return false;
    }
    let Some(origin) = text(&header::ORIGIN) else { return true };
    // What a browser makes of an origin that it may not tell, as on pages without a referrer (Fetch, 3.2).
    if origin == "null" {
        return by_site == Some("same-origin");
    }
    let host = text(&header::HOST).or_else(|| request.uri().authority().map(|host| host.as_str()));
    let is_same = |scheme: &str| {
        let here = host.and_then(|host| Origin::parse(&format!("{scheme}://{host}")));
        here.is_some() && here == Origin::parse(origin)
    };
    // Which of the two it is only a proxy in front of the node knows.
    is_same("https") || is_same("http")
}

/// The cookie's name among the ways to show who one is, as the document states them.
pub(super) const SCHEME: &str = "session";

/// States the cookie in the document.
pub(super) fn register_scheme(registry: &mut Registry) {
    let scheme = MetaSecurityScheme {
        ty: "apiKey",
        description: Some(
            "The cookie of a person who is signed in. It counts when it comes from pages of this service, from programs and \
             from the bar of a browser, never from another site's page.",
        ),
        name: Some(SESSION_COOKIE),
        key_in: Some("cookie"),
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    };
    registry.create_security_scheme(SCHEME, scheme);
}

/// Somebody who is signed in, for endpoints of the API that are theirs alone: no key and no token opens them.
#[derive(Debug, Clone)]
pub(crate) struct Session(pub(crate) SignedIn);

impl Session {
    /// Who is signed in, as the front found it; nobody who still has to add a second factor.
    pub(crate) fn of(request: &Request) -> Option<&SignedIn> {
        request.extensions().get::<SignedIn>()
    }

    /// Puts who is signed in into a request; and, at a node whose agreed state is older than
    /// [`stale_after_ms`](crate::config::ClusterConfig), that this may not be so any more.
    pub(super) fn put(request: &mut Request, signed_in: SignedIn, is_stale: bool) {
        if is_stale {
            request.extensions_mut().insert(Doubtful);
        }
        if signed_in.lacks_factor {
            request.extensions_mut().insert(Limited(signed_in));
        } else {
            request.extensions_mut().insert(signed_in);
        }
    }

    /// Somebody who is signed in and has sent the request from here.
    fn require(request: &Request) -> Result<Self, ApiError> {
        if let Some(Limited(_)) = request.extensions().get() {
            return Err(lacks_factor());
        }
        must_be_current(request)?;
        let signed_in = Self::of(request).cloned().ok_or_else(|| {
            let message =
                "Sign in first, at `/signin` or by `POST /api/auth/sign-in`; the session's cookie is needed.";
            ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
        })?;
        same_site(request)?;
        Ok(Self(signed_in))
    }
}

/// Says that the session of a request may have ended elsewhere without this node knowing.
#[derive(Debug, Clone)]
struct Doubtful;

/// Refuses a request whose session may have ended elsewhere long ago, for what is its person's alone.
///
/// # Errors
/// 503 `state_too_old`.
pub(crate) fn must_be_current(request: &Request) -> Result<(), ApiError> {
    match request.extensions().get::<Doubtful>() {
        Some(Doubtful) => Err(stale()),
        None => Ok(()),
    }
}

/// Somebody whose session only opens what is needed to add a second factor.
#[derive(Debug, Clone)]
struct Limited(SignedIn);

/// Somebody who is signed in, also one who still has to add a second factor: for the few endpoints that are needed for that.
#[derive(Debug, Clone)]
pub(crate) struct Enrolling(pub(crate) SignedIn);

impl Enrolling {
    /// Who is signed in, with or without all that the policy asks for.
    pub(crate) fn of(request: &Request) -> Option<&SignedIn> {
        let limited = request.extensions().get::<Limited>().map(|Limited(signed_in)| signed_in);
        limited.or_else(|| Session::of(request))
    }

    fn require(request: &Request) -> Result<Self, ApiError> {
        let Some(Limited(signed_in)) = request.extensions().get::<Limited>() else {
            return Session::require(request).map(|Session(signed_in)| Self(signed_in));
        };
        must_be_current(request)?;
        same_site(request)?;
        Ok(Self(signed_in.clone()))
    }
}

macro_rules! extractor {
    ($name:ident) => {
        impl<'a> ApiExtractor<'a> for $name {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                register_scheme(registry);
            }

            fn security_schemes() -> Vec<&'static str> {
                vec![SCHEME]
            }

            async fn from_request(
                request: &'a Request,
                _: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                Ok(Self::require(request)?)
            }
        }
    };
}

extractor!(Session);
extractor!(Enrolling);

/// What a page's forms are bound to: the session, else a cookie set with the page.
pub(crate) struct FormBinding {
    secret: String,
    /// `Set-Cookie` for a browser that has neither.
    pub(crate) set_cookie: Option<String>,
}

impl FormBinding {
    /// For a page that is shown; `fresh` is used when the browser has nothing yet.
    pub(crate) fn for_page(request: &Request, fresh: &Token) -> Self {
        match Self::kept(request) {
            Some(secret) => Self { secret, set_cookie: None },
            None => {
                let secret = fresh.reveal().to_owned();
                let set_cookie = Some(set_cookie(FORM_COOKIE, &secret, 24 * 3600));
                Self { secret, set_cookie }
            }
        }
    }

    fn kept(request: &Request) -> Option<String> {
        let session = Session::of(request).and_then(|_| secret(request.headers()));
        let kept = session.or_else(|| cookie(request.headers(), FORM_COOKIE));
        kept.and_then(Token::parse).map(|token| token.reveal().to_owned())
    }

    /// The token of its forms: nobody makes it who does not know the cookie, and it does not tell the cookie.
    pub(crate) fn token(&self) -> String {
        self.hash().to_hex().to_string()
    }

    fn hash(&self) -> blake3::Hash {
        blake3::Hash::from_bytes(blake3::derive_key(FORM_CONTEXT, self.secret.as_bytes()))
    }

    /// Refuses a form that was not made for this browser, or was sent by another site.
    ///
    /// # Errors
    /// 403 `cross_site` or `form_expired`.
    pub(crate) fn check(request: &Request, token: &str) -> Result<(), ApiError> {
        same_site(request)?;
        let kept = Self::kept(request).map(|secret| Self { secret, set_cookie: None }.hash());
        // Hashes are compared in the same time however much of them is right.
        if kept.is_some_and(|kept| blake3::Hash::from_hex(token).is_ok_and(|told| told == kept)) {
            return Ok(());
        }
        let message = "This form is too old, or the browser sent no cookie. Open the page again and allow cookies; \
                       they are taken over https, or on this machine, alone.";
        Err(ApiError::new(StatusCode::FORBIDDEN, "form_expired", message))
    }
}

/// Longest path that somebody is sent on to, in bytes: a request of a client, which has a state of its own, fits.
const PATH_BYTES_MAX: usize = 7_000;

/// A place on this service to go on to: a path, never another site. Anything else leads to the settings.
pub(crate) fn local_path(asked: Option<&str>) -> String {
    let is_local = |path: &str| {
        path.starts_with('/')
            // `//host`, and `/\host`, which browsers read like it.
            && !path[1..].starts_with(['/', '\\'])
            && path.len() <= PATH_BYTES_MAX
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    asked.filter(|path| is_local(path)).unwrap_or("/settings").to_owned()
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::SystemEntropy;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(Method::POST).uri_str("/signin");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.finish()
    }

    #[test]
    fn case_076_a_request_of_another_site_is_told_by_what_the_browser_says() {
        let host = ("host", "docs.example.org");
        for (headers, right) in [
            (vec![host], true),
            (vec![host, ("origin", "https://docs.example.org")], true),
            (vec![host, ("origin", "http://docs.example.org")], true),
            (vec![("host", "localhost:3000"), ("origin", "http://localhost:3000")], true),
            (vec![("host", "localhost:3000"), ("origin", "http://localhost:5173")], false),
            (vec![host, ("origin", "https://evil.example")], false),
            (vec![host, ("origin", "https://docs.example.org.evil.example")], false),
            (vec![host, ("origin", "null")], false),
            (vec![host, ("origin", "null"), ("sec-fetch-site", "same-origin")], true),
            (vec![host, ("origin", "null"), ("sec-fetch-site", "cross-site")], false),
            (vec![host, ("sec-fetch-site", "cross-site")], false),
            (vec![host, ("sec-fetch-site", "same-site")], false),
            (vec![host, ("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], false),
        ] {
            assert_eq!(same_site(&request(&headers)).is_ok(), right, "{headers:?}");
        }
    }

    #[test]
    fn another_site_leads_to_pages_and_makes_nobody_ask_the_api() {
        for (path, site, right) in [
            ("/libraries", Some("cross-site"), true),
            ("/api/cluster/backup", Some("cross-site"), false),
            ("/api/cluster/backup", Some("same-site"), false),
            ("/api/cluster/backup", Some("same-origin"), true),
            // Typed into the bar of the browser, or sent by a program.
            ("/api/cluster/backup", Some("none"), true),
            ("/api/cluster/backup", None, true),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let mut request = Request::builder().method(method).uri_str(path);
                if let Some(site) = site {
                    request = request.header("sec-fetch-site", site);
                }
                assert_eq!(makes_caller(&request.finish()), right, "{path} {site:?}");
            }
        }
    }

    #[test]
    fn a_form_is_taken_with_the_token_of_this_browser_alone() {
        let (one, other) = (Token::random(&SystemEntropy).unwrap(), Token::random(&SystemEntropy).unwrap());
        let page = FormBinding::for_page(&request(&[]), &one);
        let cookie = page.set_cookie.as_ref().unwrap();
        assert!(
            cookie.starts_with("__Host-twinmcp-form=") && cookie.contains("; Secure; HttpOnly; SameSite=Lax")
        );
        assert!(!page.token().contains(one.reveal()));
        let sent = |token: &Token| format!("a=b; {FORM_COOKIE}={}", token.reveal());
        assert!(FormBinding::check(&request(&[("cookie", &sent(&one))]), &page.token()).is_ok());
        assert!(FormBinding::for_page(&request(&[("cookie", &sent(&one))]), &other).set_cookie.is_none());
        for (cookie, token) in
            [(sent(&other), page.token()), (String::new(), page.token()), (sent(&one), String::new())]
        {
            let refused = FormBinding::check(&request(&[("cookie", &cookie)]), &token);
            assert_eq!(refused.unwrap_err().code(), "form_expired", "{cookie}");
        }
    }

    #[test]
    fn case_085_somebody_is_sent_on_to_paths_of_this_service_alone() {
        for path in ["/", "/settings", "/api/oauth/authorize?client_id=a&redirect_uri=https%3A%2F%2Fb"] {
            assert_eq!(local_path(Some(path)), path);
        }
        for other in [
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "evil",
            "",
            "/a\r\nSet-Cookie: x=y",
            "/\t/evil.example",
            "/a\\b",
            "/é",
            &format!("/{}", "x".repeat(PATH_BYTES_MAX)),
        ] {
            assert_eq!(local_path(Some(other)), "/settings", "{other}");
        }
        assert_eq!(local_path(None), "/settings");
    }
}
