//! Errors on their way out: one type inside, five shapes outside.
//!
//! Context7's two paths answer `{error, message}`, `/mcp` answers JSON-RPC errors, `/api/oauth` those of RFC 6749, a browser gets a page,
//! everything else RFC 9457 problem details. Each has a stable `code` for programs and a sentence for people that
//! says what to do. Whatever poem refuses by itself comes through [`ApiError::from_poem`].

use std::fmt;

use poem::error::ResponseError;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a request was not done.
#[derive(Debug)]
pub struct ApiError(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_s: Option<u64>,
    members: Vec<(&'static str, Value)>,
    /// For the next proof of a key (RFC 9449, 8).
    dpop_nonce: Option<HeaderValue>,
    route: Option<String>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ApiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

/// Which shape an error takes, by the path that was asked for and by who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Context7,
    JsonRpc,
    Oauth,
    Problem,
    Page,
}

impl Shape {
    pub(crate) fn of(path: &str, headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let is_for_people = accept.is_some_and(|accept| accept.contains("text/html"));
        // Where people are sent by clients there is a browser, whatever it says.
        if path == crate::ui::AUTHORIZE
            || path == crate::ui::END_SESSION
            || is_for_people && !path.starts_with("/api/") && path != "/mcp"
        {
            Self::Page
        } else if path == "/mcp" {
            Self::JsonRpc
        } else if path.starts_with("/api/oauth/") {
            Self::Oauth
        } else if path.starts_with("/api/v2/") || path.starts_with("/api/v1/") {
            Self::Context7
        } else {
            Self::Problem
        }
    }
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Refusal {
            status,
            code,
            message: message.into(),
            retry_after_s: None,
            members: Vec::new(),
            dpop_nonce: None,
            route: None,
            cause: None,
        }))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation_error", message)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The node cannot do it now; `Retry-After` says when to come again.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(1)
    }

    /// A proof of a key has to carry this nonce (RFC 9449, 8 and 9).
    pub(crate) fn dpop_nonce(status: StatusCode, nonce: &str) -> Self {
        let message = "The proof has to carry the nonce of this answer's header `DPoP-Nonce`. Send the request again with it.";
        let mut error = Self::new(status, "use_dpop_nonce", message);
        error.0.dpop_nonce = HeaderValue::try_from(nonce).ok();
        error
    }

    /// Something that is no fault of the caller: it is logged with its cause, the caller learns the request id.
    pub(crate) fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        let message = "The node failed to do this; its log says why, under the id in `x-request-id`.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message).caused_by(cause)
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// Adds a member of its own to the body.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.members.push((name, value.into()));
        self
    }

    pub(crate) fn caused_by(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Box::new(cause));
        self
    }

    /// Notes which route it comes from, for metrics.
    pub(crate) fn on_route(mut self, route: &str) -> Self {
        self.0.route = Some(route.to_owned());
        self
    }

    pub(crate) fn route(&self) -> Option<&str> {
        self.0.route.as_deref()
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// A member of the body that was added.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        self.0.members.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// When to come again, in seconds, if it says so.
    pub(crate) fn retry_after_s(&self) -> Option<u64> {
        self.0.retry_after_s
    }

    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    /// What poem refused, in our words; an [`ApiError`] that travelled through poem comes back as it was.
    pub(crate) fn from_poem(error: poem::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(error) => return error,
            Err(error) => error,
        };
        let status = error.status();
        let message = match status {
            StatusCode::NOT_FOUND => "There is nothing at this path; /api/docs lists what is.".to_owned(),
            StatusCode::METHOD_NOT_ALLOWED => {
                "This path does not take this method; /api/docs lists which it takes.".to_owned()
            }
            _ if status.is_client_error() => sentence(&error.to_string()),
            _ => return Self::internal(Refused(error.to_string())),
        };
        let code = match status {
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
            StatusCode::UNAUTHORIZED => "unauthenticated",
            _ => "validation_error",
        };
        Self::new(status, code, message)
    }

    /// The answer in `shape`; logs what is the node's own fault.
    pub(crate) fn respond(self, shape: Shape, request_id: &str) -> Response {
        if self.0.status.is_server_error() {
            let cause = self.0.cause.as_deref().map(chain).unwrap_or_default();
            tracing::error!(code = self.0.code, message = self.0.message, cause, "request failed");
        }
        let json = |content_type, body: Value| {
            Response::builder().status(self.0.status).content_type(content_type).body(body.to_string())
        };
        let mut response = match shape {
            Shape::Context7 => json("application/json", self.context7()),
            Shape::JsonRpc => json("application/json", self.json_rpc(request_id)),
            Shape::Oauth => json("application/json", self.oauth()),
            Shape::Problem => json("application/problem+json", self.problem(request_id)),
            Shape::Page => crate::ui::error_page(self.0.status, self.0.code, &self.0.message, request_id),
        };
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(nonce) = self.0.dpop_nonce {
            headers.insert("dpop-nonce", nonce);
        }
        // Nobody keeps what was refused (RFC 6749, 5.2).
        if shape == Shape::Oauth {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }

    fn context7(&self) -> Value {
        let mut body = json!({ "error": self.0.code, "message": self.0.message });
        self.add_members(&mut body);
        body
    }

    /// RFC 6749, 5.2: the codes of that document where there is one for it.
    fn oauth(&self) -> Value {
        let code = match self.0.code {
            "validation_error" | "unsupported_media_type" | "method_not_allowed" => "invalid_request",
            "busy" | "behind" | "outcome_unknown" | "read_only" | "storage_failed" | "overload" => {
                "temporarily_unavailable"
            }
            "internal_error" => "server_error",
            code => code,
        };
        let mut body = json!({ "error": code, "error_description": self.0.message });
        self.add_members(&mut body);
        body
    }

    fn problem(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": format!("urn:twinmcp:error:{}", self.0.code),
            "title": self.0.status.canonical_reason().unwrap_or("Error"),
            "status": self.0.status.as_u16(),
            "code": self.0.code,
            "detail": self.0.message,
        });
        if !request_id.is_empty() {
            body["request_id"] = request_id.into();
        }
        self.add_members(&mut body);
        body
    }

    fn json_rpc(&self, request_id: &str) -> Value {
        let mut data = json!({ "code": self.0.code, "request_id": request_id });
        self.add_members(&mut data);
        let code = match self.0.code {
            "parse_error" => -32_700,
            "method_not_found" => -32_601,
            _ if self.0.status == StatusCode::BAD_REQUEST => -32_600,
            _ if self.0.status == StatusCode::INTERNAL_SERVER_ERROR => -32_603,
            _ => -32_000,
        };
        json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": self.0.message, "data": data } })
    }

    fn add_members(&self, body: &mut Value) {
        for (name, value) in &self.0.members {
            body[*name] = value.clone();
        }
    }
}

/// What poem said about a failure that is none of the caller's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// An error and its causes, outermost first.
fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// `failed to parse x` becomes `Failed to parse x.`
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    let first: String = letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
    let text = first + letters.as_str();
    if text.ends_with(['.', '!', '?']) { text } else { text + "." }
}

impl ResponseError for ApiError {
    fn status(&self) -> StatusCode {
        self.0.status
    }

    fn as_response(&self) -> Response {
        let body = self.problem("").to_string();
        body.with_status(self.0.status).with_content_type("application/problem+json").into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(error: ApiError, path: &str) -> Value {
        let response = error.respond(Shape::of(path, &HeaderMap::new()), "0af7651916cd43dd8448eb211c80319c");
        serde_json::from_slice(&response.into_body().into_vec().await.unwrap()).unwrap()
    }

    fn refused() -> ApiError {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "Too fast.").retry_after(3)
    }

    #[tokio::test]
    async fn context7_paths_answer_error_and_message() {
        let body = body(refused(), "/api/v2/context").await;
        assert_eq!(body, json!({ "error": "rate_limit_exceeded", "message": "Too fast." }));
    }

    #[tokio::test]
    async fn mcp_answers_json_rpc_errors() {
        let body = body(refused(), "/mcp").await;
        assert_eq!(body["jsonrpc"], "2.0");
        assert_eq!(body["id"], Value::Null);
        assert_eq!(body["error"]["message"], "Too fast.");
        assert_eq!(body["error"]["data"]["code"], "rate_limit_exceeded");
    }

    #[tokio::test]
    async fn the_authorization_server_answers_errors_of_its_own_protocol() {
        let body = body(ApiError::busy("Later."), "/api/oauth/token").await;
        assert_eq!(body, json!({ "error": "temporarily_unavailable", "error_description": "Later." }));
    }

    #[tokio::test]
    async fn other_paths_answer_problem_details_with_the_request_id() {
        let response =
            refused().respond(Shape::of("/api/jobs", &HeaderMap::new()), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "3");
        let body = body(refused(), "/api/jobs").await;
        assert_eq!(body["code"], "rate_limit_exceeded");
        assert_eq!(body["status"], 429);
        assert_eq!(body["request_id"], "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn what_poem_refuses_gets_a_code_and_a_sentence() {
        let error = ApiError::from_poem(poem::error::NotFoundError.into());
        assert_eq!((error.0.status.as_u16(), error.code()), (404, "not_found"));
        let error = ApiError::from_poem(poem::Error::from_string("missing `name`", StatusCode::BAD_REQUEST));
        assert_eq!((error.code(), error.to_string().as_str()), ("validation_error", "Missing `name`."));
        let error = ApiError::from_poem(ApiError::busy("Later.").into());
        assert_eq!((error.0.status.as_u16(), error.code()), (503, "busy"));
    }

    #[tokio::test]
    async fn an_internal_cause_is_not_told_to_the_caller() {
        let body = body(ApiError::internal(Refused("password=hunter2".to_owned())), "/api/jobs").await;
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }
}
