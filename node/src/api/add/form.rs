//! A form with an OpenAPI document in it (`multipart/form-data`, RFC 7578), as Context7's clients send one.
//!
//! Nothing of it is read before [`OpenApiForm::read`]: who may not send one costs no memory.

use poem::http::StatusCode;
use poem::web::{Field, Multipart};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::json;
use tokio::io::AsyncReadExt;
use twinmcp_storage::libraries::{DESCRIPTION_BYTES_MAX, TITLE_BYTES_MAX};

use super::super::error::ApiError;

/// Largest document of a form, in bytes: the largest page that is read at all.
const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Fields of a form, at most; more than it has by its documents, so that later clients may send others.
const FIELDS_MAX: usize = 16;
/// Longest field that is not known here, in bytes.
const OTHER_BYTES_MAX: usize = 4096;

/// A form that is not read yet.
pub(crate) struct OpenApiForm(Multipart);

/// What a form said.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The document.
    pub(super) file: Vec<u8>,
    /// What its file is called.
    pub(super) file_name: String,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    /// A library that is here already is to be made anew.
    pub(super) force: bool,
}

impl OpenApiForm {
    /// Reads the form to its end.
    pub(super) async fn read(mut self) -> Result<Sent, ApiError> {
        let mut sent = Sent::default();
        let mut has_file = false;
        for _ in 0..FIELDS_MAX {
            let field = self.0.next_field().await.map_err(|error| {
                ApiError::bad_request("The form could not be read; send it again.").caused_by(error)
            })?;
            let Some(field) = field else {
                if has_file {
                    return Ok(sent);
                }
                return Err(ApiError::bad_request("`openapiFile` is missing: the document's file.")
                    .with("field", "openapiFile"));
            };
            match field.name().unwrap_or_default() {
                "openapiFile" => {
                    sent.file_name = field.file_name().unwrap_or_default().to_owned();
                    sent.file = bytes(field, FILE_BYTES_MAX).await?;
                    if sent.file.len() > FILE_BYTES_MAX {
                        let message = format!("`openapiFile` may have {FILE_BYTES_MAX} bytes.");
                        let status = StatusCode::PAYLOAD_TOO_LARGE;
                        return Err(
                            ApiError::new(status, "body_too_large", message).with("field", "openapiFile")
                        );
                    }
                    has_file = true;
                }
                "libraryTitle" => sent.title = text("libraryTitle", field, TITLE_BYTES_MAX).await?,
                "description" => sent.description = text("description", field, DESCRIPTION_BYTES_MAX).await?,
                "force" => match text("force", field, OTHER_BYTES_MAX).await?.as_deref() {
                    None => {}
                    Some("true") => sent.force = true,
                    Some(_) => {
                        return Err(
                            ApiError::bad_request("`force` may only be `true`.").with("field", "force")
                        );
                    }
                },
                _ => _ = text("a field", field, OTHER_BYTES_MAX).await?,
            }
        }
        Err(ApiError::bad_request(format!("The form may have {FIELDS_MAX} fields.")))
    }
}

/// The bytes of a field, up to a limit; one more when it has more.
async fn bytes(field: Field, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let read = field.into_async_read().take(bytes_max as u64 + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| ApiError::bad_request("The form broke off; send it again.").caused_by(error))?;
    Ok(bytes)
}

/// A field of text; nothing when it is empty.
async fn text(name: &'static str, field: Field, bytes_max: usize) -> Result<Option<String>, ApiError> {
    let bytes = bytes(field, bytes_max).await?;
    if bytes.len() > bytes_max {
        return Err(
            ApiError::bad_request(format!("`{name}` may have {bytes_max} bytes.")).with("field", name)
        );
    }
    let text = String::from_utf8(bytes);
    let text =
        text.map_err(|_| ApiError::bad_request(format!("`{name}` is not UTF-8.")).with("field", name))?;
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

impl Payload for OpenApiForm {
    const CONTENT_TYPE: &'static str = "multipart/form-data";

    fn check_content_type(content_type: &str) -> bool {
        content_type
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(Self::CONTENT_TYPE))
    }

    fn schema_ref() -> MetaSchemaRef {
        let text = |description, bytes_max, example: &str| MetaSchema {
            description: Some(description),
            max_length: Some(bytes_max),
            example: Some(json!(example)),
            ..MetaSchema::new("string")
        };
        let file = MetaSchema {
            format: Some("binary"),
            max_length: None,
            ..text("The document: JSON or YAML, up to 8 MiB.", FILE_BYTES_MAX, "{\"openapi\": \"3.1.0\", …}")
        };
        let force = MetaSchema {
            enum_items: vec![json!("true")],
            ..MetaSchema {
                max_length: None,
                ..text("`true` has a library that is here already made anew.", 0, "true")
            }
        };
        let title = text(
            "What the library is called; the title in the document when absent.",
            TITLE_BYTES_MAX,
            "Kiln API",
        );
        let description = text("One or two sentences.", DESCRIPTION_BYTES_MAX, "Fires clay over HTTP.");
        let properties =
            [("openapiFile", file), ("libraryTitle", title), ("description", description), ("force", force)];
        let inline = |schema| MetaSchemaRef::Inline(Box::new(schema));
        inline(MetaSchema {
            required: vec!["openapiFile"],
            properties: properties.into_iter().map(|(name, schema)| (name, inline(schema))).collect(),
            ..MetaSchema::new("object")
        })
    }
}

impl ParsePayload for OpenApiForm {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(Multipart::from_request(request, body).await?))
    }
}

impl_apirequest_for_payload!(OpenApiForm);
