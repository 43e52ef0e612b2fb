//! Forms of the authorization server's endpoints, taken as they came: what stands twice or is missing is told by the protocol's own rules.

use std::marker::PhantomData;

use poem::{FromRequest, Request, RequestBody};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::json;

use crate::api::ApiError;

/// One field, as the document tells of it: name, what it is, an example.
pub(crate) type Field = (&'static str, &'static str, &'static str);

/// Which fields a form has.
pub(crate) trait Fields: Send + Sync + 'static {
    /// Those that have to be there.
    const NEEDED: &'static [Field];
    /// The others.
    const OPTIONAL: &'static [Field];
}

/// Fields in which a client shows who it is; `Authorization: Basic` does as well.
pub(super) const CREDENTIALS: [Field; 4] = [
    ("client_id", "The client, unless it is in `Authorization`.", "client_4bWdN1YpS0qfQmXzT7aJ2w"),
    ("client_secret", "Its secret, unless it is in `Authorization`, or it has none.", "…"),
    ("client_assertion", "What the client signed, in place of a secret (RFC 7523).", "…"),
    (
        "client_assertion_type",
        "`urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, with `client_assertion`.",
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    ),
];

/// A form that is not read yet.
pub(crate) struct Form<F> {
    pub(crate) text: String,
    fields: PhantomData<F>,
}

impl<F: Fields> Payload for Form<F> {
    const CONTENT_TYPE: &'static str = "application/x-www-form-urlencoded";

    fn check_content_type(content_type: &str) -> bool {
        let kind = content_type.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case(Self::CONTENT_TYPE)
    }

    fn schema_ref() -> MetaSchemaRef {
        let inline = |schema| MetaSchemaRef::Inline(Box::new(schema));
        let property = |(name, description, example): &Field| {
            let schema = MetaSchema {
                description: Some(*description),
                max_length: Some(8192),
                example: Some(json!(example)),
                ..MetaSchema::new("string")
            };
            (*name, inline(schema))
        };
        inline(MetaSchema {
            required: F::NEEDED.iter().map(|(name, ..)| *name).collect(),
            properties: F::NEEDED.iter().chain(F::OPTIONAL).map(property).collect(),
            ..MetaSchema::new("object")
        })
    }
}

impl<F: Fields> ParsePayload for Form<F> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = Vec::<u8>::from_request(request, body).await?;
        let text = String::from_utf8(bytes).map_err(|_| ApiError::bad_request("The form is not UTF-8."))?;
        Ok(Self { text, fields: PhantomData })
    }
}

impl_apirequest_for_payload!(Form<F>, F: Fields);
