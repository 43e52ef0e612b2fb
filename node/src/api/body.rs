//! JSON bodies, taken as the document tells of them and no other way.
//!
//! [`JsonBody`] is what an endpoint asks for. poem-openapi alone reads `false` and `7` as the texts "false" and "7", and `null` as
//! whatever stands for nothing; a program that sends those has made a mistake, and is told which field it is in.

use std::ops::Deref;

use poem::{FromRequest, Request, RequestBody};
use poem_openapi::error::ParseRequestPayloadError;
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use serde_json::Value;

use super::document::SCHEMAS;
use super::error::ApiError;

/// A JSON body with the types of `T`'s schema.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T> Deref for JsonBody<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Type> Payload for JsonBody<T> {
    const CONTENT_TYPE: &'static str = Json::<T>::CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: ParseFromJSON> ParsePayload for JsonBody<T> {
    const IS_REQUIRED: bool = T::IS_REQUIRED;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = Vec::<u8>::from_request(request, body).await?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::bad_request(format!("The body is not JSON: {error}.")))?;
        if let Some(wrong) = wrong(&SCHEMAS, &SCHEMAS[&*T::name()], &value) {
            return Err(wrong.told().into());
        }
        let parsed = T::parse_from_json(Some(value));
        Ok(Self(parsed.map_err(|error| ParseRequestPayloadError { reason: error.into_message() })?))
    }
}

impl_apirequest_for_payload!(JsonBody<T>, T: ParseFromJSON);

/// Where a body is not of its schema.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    /// The way there: `upload.hash`, `scopes[2]`; empty for the body itself.
    field: String,
    /// What is wanted there, in words.
    wanted: &'static str,
    /// What is there.
    found: &'static str,
}

impl Wrong {
    fn told(self) -> ApiError {
        let Self { field, wanted, found } = self;
        let what = if field.is_empty() { "The body".to_owned() } else { format!("`{field}`") };
        let error = ApiError::bad_request(format!("{what} must be {wanted}, and is {found}."));
        if field.is_empty() { error } else { error.with("field", field) }
    }

    fn below(self, name: &str) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        Self { field: format!("{name}{dot}{}", self.field), ..self }
    }
}

/// The first place where `value` is not of the types of `schema`. Lengths and ranges are left to the parser.
fn wrong(schemas: &Value, schema: &Value, value: &Value) -> Option<Wrong> {
    if value.is_null() && schema["nullable"] == true {
        return None;
    }
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    if let Some(name) = reference.and_then(|reference| reference.rsplit('/').next()) {
        return wrong(schemas, &schemas[name], value);
    }
    let (fits, wanted) = match schema["type"].as_str() {
        Some("string") => (value.is_string(), "text"),
        Some("integer") => (value.is_i64() || value.is_u64(), "a whole number"),
        Some("number") => (value.is_number(), "a number"),
        Some("boolean") => (value.is_boolean(), "`true` or `false`"),
        Some("array") => (value.is_array(), "a list"),
        Some("object") => (value.is_object(), "an object"),
        _ => (true, ""),
    };
    if !fits {
        return Some(Wrong { field: String::new(), wanted, found: kind(value) });
    }
    match value {
        Value::Array(items) => {
            let mut wrongs = items.iter().enumerate().filter_map(|(index, item)| {
                Some(wrong(schemas, &schema["items"], item)?.below(&format!("[{index}]")))
            });
            wrongs.next()
        }
        Value::Object(members) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = required.into_iter().find(|name| !members.contains_key(*name));
            if let Some(name) = missing {
                let wanted = "there";
                return Some(Wrong { field: name.to_owned(), wanted, found: "missing" });
            }
            let mut wrongs = members.iter().filter_map(|(name, member)| {
                Some(wrong(schemas, &schema["properties"][name], member)?.below(name))
            });
            wrongs.next()
        }
        _ => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "`null`",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Where a body of `POST /api/jobs` or `POST /api/keys` is wrong.
    fn field(name: &str, body: &Value) -> Option<String> {
        wrong(&SCHEMAS, &SCHEMAS[name], body).map(|wrong| wrong.field)
    }

    #[test]
    fn the_first_field_of_a_wrong_type_is_named_by_the_way_to_it() {
        let key = |changed: Value| {
            let mut body = json!({ "name": "editor", "scopes": ["docs:read"], "expires_in_s": 7 });
            body.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
            field("KeyRequest", &body)
        };
        assert_eq!(key(json!({})), None);
        assert_eq!(key(json!({ "unknown": false })), None);
        assert_eq!(key(json!({ "expires_in_s": null })), None, "left out, as many programs write it");
        for (changed, named) in [
            (json!({ "name": false }), "name"),
            (json!({ "name": 7 }), "name"),
            (json!({ "name": null }), "name"),
            (json!({ "scopes": "docs:read" }), "scopes"),
            (json!({ "scopes": ["docs:read", 7] }), "scopes[1]"),
            (json!({ "expires_in_s": "7" }), "expires_in_s"),
            (json!({ "expires_in_s": 7.5 }), "expires_in_s"),
        ] {
            assert_eq!(key(changed.clone()).as_deref(), Some(named), "{changed}");
        }
        assert_eq!(field("KeyRequest", &json!([])).as_deref(), Some(""));
        assert_eq!(field("KeyRequest", &json!({ "name": "a" })).as_deref(), Some("scopes"));
        let job = json!({ "library": "/a/b", "upload": { "hash": true, "name": "docs.tar" } });
        assert_eq!(field("JobRequest", &job).as_deref(), Some("upload.hash"));
        assert_eq!(field("JobRequest", &json!({ "library": "/a/b", "upload": null })), None);
        let asked = json!({ "libraryName": "python", "query": null });
        assert_eq!(field("ResolveRequest", &asked).as_deref(), Some("query"), "its default is a text");
    }
}
