//! What a client says of itself (RFC 7591, 2), taken as it came: what is not known is left out, what is wrong is told by the protocol's own
//! codes.

use poem::{FromRequest, Request, RequestBody};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::{Value, json};

use crate::api::ApiError;

/// A client's metadata.
pub(crate) struct Metadata(pub(crate) Value);

/// The members that are read: name, whether it is a list, what it is.
const MEMBERS: &[(&str, bool, &str)] = &[
    ("client_name", false, "What people are told it is called."),
    ("redirect_uris", true, "Where people may be sent back to."),
    (
        "grant_types",
        true,
        "`authorization_code`, `refresh_token`, `client_credentials`, or that of RFC 8628.",
    ),
    ("response_types", true, "`code`."),
    (
        "token_endpoint_auth_method",
        false,
        "`none`, `client_secret_basic`, `client_secret_post`, `client_secret_jwt` or `private_key_jwt`.",
    ),
    (
        "jwks_uri",
        false,
        "Where its public keys are (RFC 7517), for `private_key_jwt`; or `jwks`, the keys themselves.",
    ),
    ("scope", false, "What it may be given at most."),
    ("client_uri", false, "Its home page, https."),
    ("post_logout_redirect_uris", true, "Where people may be sent after they signed out."),
    (
        "backchannel_logout_uri",
        false,
        "Where it hears that a session has ended (OpenID Connect Back-Channel Logout).",
    ),
    ("access_token_format", false, "`jwt` or `opaque`."),
    (
        "id_token_signed_response_alg",
        false,
        "`RS256`, `ES256` or `EdDSA`: what all of its tokens are signed with.",
    ),
];

impl Payload for Metadata {
    const CONTENT_TYPE: &'static str = Json::<Value>::CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        Json::<Value>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        let inline = |schema| MetaSchemaRef::Inline(Box::new(schema));
        let property = |(name, is_list, description): &(&'static str, bool, &'static str)| {
            let text = MetaSchema { nullable: true, ..MetaSchema::new("string") };
            let schema = match is_list {
                true => MetaSchema {
                    items: Some(Box::new(inline(MetaSchema::new("string")))),
                    description: Some(description),
                    nullable: true,
                    ..MetaSchema::new("array")
                },
                false => MetaSchema { description: Some(description), ..text },
            };
            (*name, inline(schema))
        };
        inline(MetaSchema {
            properties: MEMBERS.iter().map(property).collect(),
            example: Some(json!({ "client_name": "Editor", "redirect_uris": ["https://app.example/cb"] })),
            ..MetaSchema::new("object")
        })
    }
}

impl ParsePayload for Metadata {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = Vec::<u8>::from_request(request, body).await?;
        let value = serde_json::from_slice(&bytes);
        let value =
            value.map_err(|error| ApiError::bad_request(format!("The body is not JSON: {error}.")))?;
        Ok(Self(value))
    }
}

impl_apirequest_for_payload!(Metadata);
