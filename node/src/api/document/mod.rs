//! The OpenAPI document: what poem-openapi derives from the endpoints, completed where it cannot
//! know better, and written down the same way each time.

mod by_hand;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::service;

/// What is served: the document as it lies in the repository, which a test compares with the code's. To derive it at each start took
/// more memory than all else that a node does then.
pub(super) const DOCUMENT: &str = include_str!("../../../../openapi/twinmcp.json");

/// Everything clients may rely on, told once.
const DESCRIPTION: &str = "TwinMCP answers AI agents from real documentation: exact versions, from this node's own data.\n\n\
    **Limits.** Requests are counted by API key, by client and account of an access token, by the account that is signed in, or by \
    address without any of these; every answer of a limited path carries \
    `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (Unix time), 429 and 503 also `Retry-After` (seconds). \
    A URL may have 8 KiB, all headers 32 KiB, a body 1 MiB, an upload 1 GiB, a question 500 characters. A head has to \
    come within 10 s, a body within 10 s or at 1 KiB a second, an answer has to be taken without a pause of 30 s. One \
    request may take 30 s, an upload 10 minutes, and 1,024 may be in progress at once; a connection may be idle for 120 s, \
    one HTTP/2 connection may have 256 requests at once. What is over a limit is refused with the status of that limit, \
    what does not keep up with a time is cut off. The operator may set other limits.\n\n\
    **Errors.** Context7's paths (`/api/v1`, `/api/v2`) answer `{error, message}`, `/mcp` answers JSON-RPC errors, `/api/oauth` answers \
    `{error, error_description}` (RFC 6749, 5.2), everything else answers problem details (RFC 9457) with a stable `code`.\n\n\
    **Requests** have an id, in `X-Request-Id`; it is also the trace id, and a `traceparent` is continued.\n\n\
    **Reading what was just written.** An answer to a change carries `TwinMCP-Log-Index`. Send it along to read the change on another \
    node: a node that does not have it waits up to 2 s, then answers 503 `behind`. With `TwinMCP-Consistency: linearizable` a request sees \
    everything that any node had answered for, or is 503.";

/// Parameters that are checked by hand, for the sake of Context7's messages, and so look optional.
const REQUIRED: &[(&str, &str)] = &[
    ("context7_search_libraries", "libraryName"),
    ("context7_get_context", "libraryId"),
    ("context7_get_context", "query"),
    ("context7_get_metrics", "libraryId"),
];

/// Title, version, licence and words about the whole.
pub(super) fn describe<T: OpenApi>(service: OpenApiService<T, ()>) -> OpenApiService<T, ()> {
    let license = LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0");
    service.description(DESCRIPTION).license(license).server("/")
}

/// The OpenAPI 3.0 document of every endpoint, as pretty JSON with sorted keys and a final newline.
/// The same in every build of this version.
pub fn openapi_document() -> String {
    let derived = service(None).spec();
    let mut document: Value = serde_json::from_str(&derived).unwrap_or_default();
    complete(&mut document);
    let mut text = serde_json::to_string_pretty(&sorted(document)).unwrap_or_default();
    text.push('\n');
    text
}

/// The shapes of the document, by their names.
pub(super) static SCHEMAS: LazyLock<Value> = LazyLock::new(|| parts().components.schemas);

/// What of [`DOCUMENT`] bodies and methods are compared with; the rest is read over.
#[derive(Deserialize, Default)]
struct Parts {
    components: Components,
    paths: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
}

#[derive(Deserialize, Default)]
struct Components {
    schemas: Value,
}

fn parts() -> Parts {
    serde_json::from_str(DOCUMENT).unwrap_or_default()
}

/// The methods that are taken at `path`, as `Allow` lists them (RFC 9110, 10.2.1); nothing where nothing is.
pub(crate) fn allowed_methods(path: &str) -> Option<String> {
    static PATHS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let methods = |item: &BTreeMap<String, IgnoredAny>| {
            let methods = item.keys().map(|method| match method.as_str() {
                "get" => "GET, HEAD".to_owned(),
                method => method.to_ascii_uppercase(),
            });
            methods.collect::<Vec<_>>().join(", ")
        };
        parts().paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
    });
    let is_same = |(named, asked): (&str, &str)| named.starts_with('{') || named == asked;
    let fits = |named: &str| {
        named.split('/').count() == path.split('/').count()
            && named.split('/').zip(path.split('/')).all(is_same)
    };
    PATHS.iter().find(|(named, _)| fits(named)).map(|(_, methods)| methods.clone())
}

/// Swagger UI with the document inside: one page that needs no other host.
pub(super) fn swagger_page() -> Bytes {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| {
        let without = OpenApiService::new((), "TwinMCP", env!("CARGO_PKG_VERSION"));
        // `</` would end the script the document stands in.
        let document = DOCUMENT.replace("</", "<\\/");
        without.swagger_ui_html().replacen(&without.spec(), &document, 1).into()
    });
    PAGE.clone()
}

fn complete(document: &mut Value) {
    let mut paths = document["paths"].take();
    for (path, item) in paths.as_object_mut().into_iter().flatten() {
        let Some(operations) = item.as_object_mut() else {
            continue;
        };
        for (method, operation) in operations.iter_mut() {
            let names_team = names_team(&document["components"]["schemas"], operation);
            complete_operation((path, method), names_team, operation);
        }
    }
    for (path, item) in by_hand::paths() {
        paths[path] = item;
    }
    let bodies: Vec<Value> =
        paths.as_object().into_iter().flat_map(Map::values).flat_map(bodies).cloned().collect();
    document["paths"] = paths;
    for body in bodies {
        tell_what_may_be_null(document, &body);
    }
    readable_media_types(document);
}

/// Whether an operation says in its body or query which team it is for.
fn names_team(schemas: &Value, operation: &Value) -> bool {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let contents = operation["requestBody"]["content"].as_object().into_iter().flat_map(Map::values);
    let bodies = contents.filter_map(|content| content["schema"]["$ref"].as_str()?.rsplit('/').next());
    parameters.into_iter().any(|parameter| parameter["name"] == "team")
        || bodies.into_iter().any(|name| schemas[name]["properties"]["team"].is_object())
}

/// What the operations at a path take.
fn bodies(item: &Value) -> impl Iterator<Item = &Value> {
    let operations = item.as_object().into_iter().flat_map(Map::values);
    operations.map(|operation| &operation["requestBody"])
}

/// In what is sent, a field that may be left out may be `null` too, unless it has a default that is something: many programs
/// write what they leave out.
fn tell_what_may_be_null(document: &mut Value, part: &Value) {
    match part {
        Value::Object(members) => {
            for member in members.values() {
                tell_what_may_be_null(document, member);
            }
            let Some(name) = part["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) else {
                return;
            };
            let schema = &mut document["components"]["schemas"][name];
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let mut properties = schema["properties"].take();
            for (name, property) in properties.as_object_mut().into_iter().flatten() {
                let may_be_absent = !required.iter().any(|required| required == name);
                if may_be_absent && property["default"].is_null() {
                    property["nullable"] = true.into();
                }
            }
            schema["properties"] = properties.clone();
            tell_what_may_be_null(document, &properties);
        }
        Value::Array(items) => items.iter().for_each(|item| tell_what_may_be_null(document, item)),
        _ => {}
    }
}

fn complete_operation((path, method): (&str, &str), names_team: bool, operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap_or_default();
            if REQUIRED.contains(&(id.as_str(), name)) {
                parameter["required"] = true.into();
            }
        }
    }
    let protected = operation["security"].is_array();
    let has_body = operation["requestBody"].is_object();
    let named = path.contains('{')
        || path.starts_with("/api/v2/")
        || path.starts_with("/api/v1/")
        || path.starts_with("/api/mcp/");
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    if id == "get_metrics" {
        responses.retain(|status, _| matches!(status.as_str(), "200" | "404" | "414" | "431"));
    }
    responses.retain(|status, _| match status.as_str() {
        // A webhook's caller shows the webhook's own secret instead of a key.
        "403" => {
            protected
                || ["/api/webhooks/", "/api/auth/", "/api/oauth/"].iter().any(|own| path.starts_with(own))
        }
        // A session's account may have gone since, the team that something is for may not be there, nor the factor to go on with.
        "404" => {
            named
                || names_team
                || matches!(id.as_str(), "get_metrics" | "ask_passkey" | "send_code")
                || path.starts_with("/api/auth/") && protected
        }
        "409" => method != "get",
        "408" | "413" | "415" => has_body,
        // Context7's shape of failures has it, for this one operation of theirs.
        "202" => !id.starts_with("context7_") || id == "context7_get_context",
        _ => true,
    });
    if !protected {
        responses.insert("401".to_owned(), refused_key());
        if id == "sign_in" {
            let description =
                "The e-mail address or the password is wrong, or an API key was sent that is refused.";
            responses.insert("401".to_owned(), problem(description));
        }
    }
    let tells_of_client = match method {
        "post" => ["/api/clients", "/api/teams/{id}/clients", "/api/clients/{id}/secret"].contains(&path),
        "patch" => path == "/api/clients/{id}",
        _ => false,
    };
    if tells_of_client || path.starts_with("/api/oauth/register") {
        for status in ["200", "201"] {
            if let Some(content) = responses
                .get_mut(status)
                .and_then(|it| it["content"].get_mut("application/json; charset=utf-8"))
            {
                content["example"] = client_example(method != "patch");
            }
        }
    }
    if path.starts_with("/api/oauth/") {
        let failures = responses.values_mut().filter_map(|response| response.get_mut("content"));
        for content in failures.filter_map(Value::as_object_mut) {
            if content.remove("application/problem+json").is_some() {
                content.insert("application/json".to_owned(), oauth_error());
            }
        }
    }
    for (status, response) in responses.iter_mut() {
        let header = |description: &str, kind: &str, example: Value| json!({ "description": description, "schema": { "type": kind, "example": example } });
        if !response["headers"].is_object() {
            response["headers"] = json!({});
        }
        let request_id = header(
            "Id of the request and of its trace.",
            "string",
            json!("0af7651916cd43dd8448eb211c80319c"),
        );
        response["headers"]["X-Request-Id"] = request_id;
        if protected {
            let headers = &mut response["headers"];
            headers["RateLimit-Limit"] = header("Requests that may be made at once.", "integer", json!(1000));
            headers["RateLimit-Remaining"] = header("How many of them are left.", "integer", json!(999));
            let reset = "When all of them are left again, in Unix time.";
            headers["RateLimit-Reset"] = header(reset, "integer", json!(1_795_438_000));
        }
        let comes_later = status == "202" && id == "context7_get_context";
        if comes_later || matches!(status.as_str(), "429" | "503") {
            response["headers"]["Retry-After"] =
                header("When to come again, in seconds.", "integer", json!(2));
        }
    }
}

/// A client as it is told of (RFC 7591, 3.2.1), with what is shown this once or without.
fn client_example(shows_secret: bool) -> Value {
    let mut example = json!({
        "client_id": "client_4bWdN1YpS0qfQmXzT7aJ2w",
        "client_id_issued_at": 1_795_437_970,
        "client_name": "Editor",
        "redirect_uris": ["https://app.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "docs:read openid",
        "access_token_format": "jwt"
    });
    if shows_secret {
        example["client_secret"] = "…".into();
        example["client_secret_expires_at"] = 0.into();
    }
    example
}

/// A refusal of the authorization server (RFC 6749, 5.2).
fn oauth_error() -> Value {
    json!({
        "schema": {
            "type": "object",
            "required": ["error", "error_description"],
            "properties": {
                "error": { "type": "string", "description": "For programs." },
                "error_description": { "type": "string", "description": "What happened and what to do." }
            }
        },
        "example": { "error": "invalid_grant", "error_description": "The code is unknown, was used, has expired or is another client's." }
    })
}

/// What everybody gets who sends a key that is refused, also where none is needed: it is never taken for nothing.
fn refused_key() -> Value {
    problem("An API key was sent that is refused; without one this is open.")
}

fn problem(description: &str) -> Value {
    let content =
        json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    json!({ "description": description, "content": content })
}

/// Media types as readers of the document know them: `application/json; charset=utf-8` is `application/json`.
fn readable_media_types(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for name in ["application/json; charset=utf-8", "text/plain; charset=utf-8"] {
                if let Some(content) = map.remove(name) {
                    let plain = name.split(';').next().unwrap_or(name);
                    map.insert(plain.to_owned(), content);
                }
            }
            // OpenAPI 3.0 has no words for a stream of events: a list of records, which it would say, is not sent.
            if let Some(Value::Object(stream)) = map.get_mut("text/event-stream") {
                stream.remove("schema");
            }
            map.values_mut().for_each(readable_media_types);
        }
        Value::Array(items) => items.iter_mut().for_each(readable_media_types),
        _ => {}
    }
}

/// The same value with the keys of every object in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
