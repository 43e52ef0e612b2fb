//! The OpenAPI document: what poem-openapi derives from the endpoints, completed where it cannot
//! know better, and written down the same way each time.

use std::sync::LazyLock;

use poem_openapi::{LicenseObject, OpenApi, OpenApiService};
use serde_json::{Map, Value, json};

use super::service;

/// Everything clients may rely on, told once.
const DESCRIPTION: &str = "TwinMCP answers AI agents from real documentation: exact versions, from this node's own data.\n\n\
    **Limits.** Requests are counted by API key, or by address without one; every answer of a limited path carries \
    `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (Unix time), 429 and 503 also `Retry-After` (seconds). \
    A URL may have 8 KiB, all headers 32 KiB, a body 1 MiB, an upload 1 GiB, a question 500 characters. A head has to \
    come within 10 s, a body within 10 s or at 1 KiB a second, an answer has to be taken without a pause of 30 s. One \
    request may take 30 s, an upload 10 minutes, and 1,024 may be in progress at once; a connection may be idle for 120 s, \
    one HTTP/2 connection may have 256 requests at once. What is over a limit is refused with the status of that limit, \
    what does not keep up with a time is cut off. The operator may set other limits.\n\n\
    **Errors.** Context7's two paths answer `{error, message}`, `/mcp` answers JSON-RPC errors, everything else answers \
    problem details (RFC 9457) with a stable `code`.\n\n\
    **Requests** have an id, in `X-Request-Id`; it is also the trace id, and a `traceparent` is continued.";

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

/// The methods that are taken at `path`, as `Allow` lists them (RFC 9110, 10.2.1); nothing where nothing is.
pub(crate) fn allowed_methods(path: &str) -> Option<String> {
    static PATHS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let document: Value = serde_json::from_str(&openapi_document()).unwrap_or_default();
        let paths = document["paths"].as_object().cloned().unwrap_or_default();
        let methods = |item: &Value| {
            let methods =
                item.as_object().into_iter().flat_map(Map::keys).map(|method| match method.as_str() {
                    "get" => "GET, HEAD".to_owned(),
                    method => method.to_ascii_uppercase(),
                });
            methods.collect::<Vec<_>>().join(", ")
        };
        paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
    });
    let is_same = |(named, asked): (&str, &str)| named.starts_with('{') || named == asked;
    let fits = |named: &str| {
        named.split('/').count() == path.split('/').count()
            && named.split('/').zip(path.split('/')).all(is_same)
    };
    PATHS.iter().find(|(named, _)| fits(named)).map(|(_, methods)| methods.clone())
}

/// Swagger UI with the document inside: one page that needs no other host.
pub(super) fn swagger_page() -> String {
    let service = service(None);
    // `</` would end the script the document stands in.
    let document = openapi_document().replace("</", "<\\/");
    service.swagger_ui_html().replacen(&service.spec(), &document, 1)
}

fn complete(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    for (path, item) in paths.iter_mut() {
        let Some(operations) = item.as_object_mut() else {
            continue;
        };
        for (method, operation) in operations.iter_mut() {
            complete_operation(path, method, operation);
        }
    }
    for (path, item) in by_hand() {
        paths.insert(path.to_owned(), item);
    }
    readable_media_types(document);
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
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
        "403" => protected || path.starts_with("/api/webhooks/"),
        "401" => protected,
        "404" => named || id == "get_metrics",
        "409" => method != "get",
        "408" | "413" | "415" => has_body,
        "202" => id == "context7_get_context",
        _ => true,
    });
    for (status, response) in responses.iter_mut() {
        let header = |description: &str, kind: &str, example: Value| json!({ "description": description, "schema": { "type": kind, "example": example } });
        if !response["headers"].is_object() {
            response["headers"] = json!({});
        }
        let id = header(
            "Id of the request and of its trace.",
            "string",
            json!("0af7651916cd43dd8448eb211c80319c"),
        );
        response["headers"]["X-Request-Id"] = id;
        if protected {
            let headers = &mut response["headers"];
            headers["RateLimit-Limit"] = header("Requests that may be made at once.", "integer", json!(1000));
            headers["RateLimit-Remaining"] = header("How many of them are left.", "integer", json!(999));
            let reset = "When all of them are left again, in Unix time.";
            headers["RateLimit-Reset"] = header(reset, "integer", json!(1_795_438_000));
        }
        if matches!(status.as_str(), "202" | "429" | "503") {
            response["headers"]["Retry-After"] =
                header("When to come again, in seconds.", "integer", json!(2));
        }
    }
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

/// Endpoints that are no poem-openapi endpoints.
fn by_hand() -> [(&'static str, Value); 3] {
    let id = json!({
        "description": "Id of the request and of its trace.",
        "schema": { "type": "string", "example": "0af7651916cd43dd8448eb211c80319c" }
    });
    let answer = |content_type: &str, schema: Value, example: Value| {
        let mut content = json!({});
        content[content_type] = json!({ "schema": schema, "example": example });
        json!({ "description": "The answer.", "headers": { "X-Request-Id": id }, "content": content })
    };
    let rpc_error = |description: &str| {
        let example = json!({
            "jsonrpc": "2.0", "id": null,
            "error": { "code": -32_000, "message": description, "data": { "code": "rate_limit_exceeded" } }
        });
        json!({
            "description": description,
            "content": { "application/json": { "schema": { "type": "object" }, "example": example } }
        })
    };
    let mcp = json!({ "post": {
        "tags": ["Tools"],
        "operationId": "mcp",
        "summary": "Speaks the Model Context Protocol.",
        "description": "Streamable HTTP without sessions: revisions 2026-07-28, 2025-11-25 and 2025-06-18. One JSON-RPC \
            message a body, the answer as plain JSON. Tools: `resolve-library-id` and `query-docs`. `Accept` must list \
            `application/json` and `text/event-stream`. GET and DELETE answer 405.",
        "security": [{ "bearer": [] }, { "api_key": [] }, {}],
        "requestBody": {
            "required": true,
            "content": { "application/json": {
                "schema": { "type": "object" },
                "example": { "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
                    "name": "query-docs",
                    "arguments": { "libraryId": "/python/cpython", "query": "serialize an object to JSON" }
                } }
            } }
        },
        "responses": {
            "200": answer("application/json", json!({ "type": "object" }), json!({
                "jsonrpc": "2.0", "id": 1,
                "result": { "content": [{ "type": "text", "text": "### json > json.dumps\n\nSource: …" }] }
            })),
            "202": { "description": "A notification was taken." },
            "400": rpc_error("The body is no valid message of the protocol."),
            "401": rpc_error("The API key is refused."),
            "403": rpc_error("The origin or the host is not allowed."),
            "404": rpc_error("There is no such method."),
            "405": rpc_error("Only POST is answered here."),
            "406": rpc_error("`Accept` does not list both types."),
            "408": rpc_error("The body came more slowly than the limit."),
            "413": rpc_error("The body is larger than the limit."),
            "414": rpc_error("The URL is longer than the limit."),
            "415": rpc_error("The body is not said to be JSON."),
            "422": rpc_error("The message is not one that can be answered."),
            "429": rpc_error("The limit of requests is reached."),
            "431": rpc_error("The headers are larger than the limit."),
            "500": rpc_error("The node failed."),
            "503": rpc_error("The node cannot do this now."),
            "504": rpc_error("The request took longer than the limit.")
        }
    } });
    let document = json!({ "get": {
        "tags": ["Health"],
        "operationId": "get_openapi",
        "summary": "Shows this document.",
        "description": "OpenAPI 3.0 of every endpoint, as JSON.",
        "responses": {
            "200": answer("application/json", json!({ "type": "object" }), json!({ "openapi": "3.0.0" }))
        }
    } });
    let page = json!({ "get": {
        "tags": ["Health"],
        "operationId": "get_docs",
        "summary": "Shows this document to people.",
        "description": "Swagger UI, in one page that needs no other host.",
        "responses": { "200": answer("text/html", json!({ "type": "string" }), json!("<html>…</html>")) }
    } });
    [("/mcp", mcp), ("/api/openapi.json", document), ("/api/docs", page)]
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
