//! The body of a webhook's call, byte by byte: what is signed is not what a parser makes of it.

use poem::{FromRequest, Request, RequestBody};
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{Object, impl_apirequest_for_payload};

/// What of a push event is read; the rest is signed too, and says nothing here.
#[derive(Debug, Object)]
#[oai(example)]
struct PushEvent {
    /// What was pushed: `refs/heads/main`, `refs/tags/v1.0`.
    #[oai(rename = "ref")]
    reference: Option<String>,
    /// The repository; GitLab calls it `project`.
    repository: Option<PushedRepository>,
}

/// Of a repository.
#[derive(Debug, Object)]
#[oai(example)]
struct PushedRepository {
    /// The branch it shows by default.
    default_branch: Option<String>,
}

impl Example for PushedRepository {
    fn example() -> Self {
        Self { default_branch: Some("main".to_owned()) }
    }
}

impl Example for PushEvent {
    fn example() -> Self {
        Self { reference: Some("refs/heads/main".to_owned()), repository: Some(PushedRepository::example()) }
    }
}

/// The bytes of a JSON body.
pub(crate) struct HookBody(pub(super) Vec<u8>);

impl Payload for HookBody {
    const CONTENT_TYPE: &'static str = "application/json; charset=utf-8";

    fn check_content_type(content_type: &str) -> bool {
        <Json<PushEvent> as Payload>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        PushEvent::schema_ref()
    }

    fn register(registry: &mut Registry) {
        PushEvent::register(registry);
    }
}

impl ParsePayload for HookBody {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(Vec::<u8>::from_request(request, body).await?))
    }
}

impl_apirequest_for_payload!(HookBody);
