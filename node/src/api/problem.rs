//! How failures are documented: the shapes of their bodies, and which statuses an endpoint may answer.

use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiResponse, Object};

use super::error::ApiError;

/// What went wrong, as RFC 9457 problem details.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct Problem {
    /// Names the kind of problem: `urn:twinmcp:error:` and the code.
    #[oai(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// Stable name of the problem, for programs.
    code: String,
    /// What happened and what to do, for people.
    detail: String,
    /// The way to the field of the body that is not of its type, or missing: `name`, `upload.hash`, `scopes[2]`.
    #[oai(skip_serializing_if_is_none)]
    field: Option<String>,
    /// The id of the request, which is also its trace id.
    #[oai(skip_serializing_if_is_none)]
    request_id: Option<String>,
}

impl Example for Problem {
    fn example() -> Self {
        Self {
            kind: "urn:twinmcp:error:rate_limit_exceeded".to_owned(),
            title: "Too Many Requests".to_owned(),
            status: 429,
            code: "rate_limit_exceeded".to_owned(),
            detail: "This API key has used its 6000 requests a minute. Try again in 2 s.".to_owned(),
            field: None,
            request_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
        }
    }
}

/// What went wrong, in Context7's shape.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct Context7Problem {
    /// Stable name of the problem, for programs.
    error: String,
    /// What happened and what to do, for people.
    message: String,
    /// The job that is indexing the library, with 202 `library_not_finalized`.
    #[oai(rename = "jobId", skip_serializing_if_is_none)]
    job_id: Option<String>,
}

impl Example for Context7Problem {
    fn example() -> Self {
        Self {
            error: "tag_not_found".to_owned(),
            message: "Tag \"v1\" not found for library \"/python/cpython\". Available tags: v3.12, v3.11"
                .to_owned(),
            job_id: None,
        }
    }
}

/// An [`ApiError`] on one of Context7's paths; the same error, documented in the other shape.
#[derive(Debug)]
pub struct Context7Error(pub(crate) ApiError);

impl<E: Into<ApiError>> From<E> for Context7Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl From<Context7Error> for poem::Error {
    fn from(error: Context7Error) -> Self {
        error.0.into()
    }
}

/// The failures any endpoint documents. Those that cannot happen to an operation (no body, no
/// credentials, no id in its path) are taken out of the document in `api/document.rs`.
const FAILURES: &[(u16, &str)] = &[
    (400, "The request is not valid; `code` and the text say which part of it."),
    (401, "No API key was sent, or one that is refused."),
    (403, "The API key lacks the scope, or the origin or host is not allowed."),
    (404, "What the path names is not there, or belongs to somebody else."),
    (409, "The thing is no longer in a state that allows this."),
    (408, "The body came more slowly than the limit."),
    (413, "The body is larger than the limit."),
    (414, "The URL is longer than the limit."),
    (415, "The body is not of a type that is taken here."),
    (429, "The limit of requests is reached; `Retry-After` says when to come again."),
    (431, "The headers are larger than the limit."),
    (500, "The node failed; its log says why, under the id in `x-request-id`."),
    (503, "The node cannot do this now; `Retry-After` says when to come again."),
    (504, "The request took longer than the limit."),
];

fn documented<T: Type>(content_type: &'static str, extra: Option<(u16, &'static str)>) -> MetaResponses {
    let response = |(status, description): (u16, &'static str)| MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type,
            schema: MetaSchemaRef::Reference(T::name().into_owned()),
        }],
        headers: Vec::new(),
    };
    MetaResponses { responses: extra.into_iter().chain(FAILURES.iter().copied()).map(response).collect() }
}

impl ApiResponse for ApiError {
    fn meta() -> MetaResponses {
        documented::<Problem>("application/problem+json", None)
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}

impl ApiResponse for Context7Error {
    fn meta() -> MetaResponses {
        let not_finalized = (202, "The library is being indexed for the first time; come again later.");
        documented::<Context7Problem>("application/json", Some(not_finalized))
    }

    fn register(registry: &mut Registry) {
        Context7Problem::register(registry);
    }
}
