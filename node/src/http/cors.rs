//! Cross-origin requests: what pages of allowed origins may send and read.
//!
//! Which origins those are is decided in [`super::origin`]; a request that came this far is allowed. No answer lets a page send
//! cookies along, and none that is for a person to see may be read by one.

use poem::Response;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

const METHODS: &str = "GET, POST, PATCH, DELETE, OPTIONS";
/// Everything Context7's and MCP's clients send, and our own.
const REQUEST_HEADERS: &str = "Content-Type, Accept, Authorization, MCP-Session-Id, MCP-Protocol-Version, \
    Mcp-Method, Mcp-Name, X-API-Key, Context7-API-Key, X-Context7-API-Key, X-Context7-Source, \
    X-Context7-Server-Version, X-Context7-Client-IDE, X-Context7-Client-Version, X-Context7-Transport, \
    X-Context7-Plugin, DPoP, Last-Event-ID, traceparent, tracestate, \
    TwinMCP-Log-Index, TwinMCP-Consistency";
const RESPONSE_HEADERS: &str = "X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, \
    WWW-Authenticate, DPoP-Nonce, MCP-Protocol-Version, X-TwinMCP-Version, X-TwinMCP-Indexed-At, \
    TwinMCP-Log-Index";
const PREFLIGHT_MAX_AGE_S: &str = "86400";

/// Whether programs in pages of allowed origins may read what is answered at `path`: what is for programs. A browser is sent to
/// the others, and never reads them for somebody (RFC 9700, 2.6).
pub(super) fn may_be_read(path: &str) -> bool {
    let for_programs = path.starts_with("/api/") || path.starts_with("/.well-known/");
    (for_programs && path != crate::ui::AUTHORIZE && path != crate::ui::END_SESSION)
        || matches!(path, "/mcp" | "/llms.txt")
}

/// Whether a browser asks before it sends the real request.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight.
pub(super) fn preflight() -> Response {
    let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE_S));
    response
}

/// Lets a page of `origin` read the answer.
pub(super) fn allow(response: &mut Response, origin: &HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}
