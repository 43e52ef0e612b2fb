//! What the document says of endpoints that are no endpoints of poem-openapi.

use serde_json::{Value, json};

use super::{problem, refused_key};

/// Endpoints that are no poem-openapi endpoints.
pub(super) fn paths() -> Vec<(&'static str, Value)> {
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
            "200": answer("application/json", json!({ "type": "object" }), json!({ "openapi": "3.0.0" })),
            "401": refused_key(),
            "403": problem("The origin or the host is not allowed.")
        }
    } });
    let page = json!({ "get": {
        "tags": ["Health"],
        "operationId": "get_docs",
        "summary": "Shows this document to people.",
        "description": "Swagger UI, in one page that needs no other host.",
        "responses": {
            "200": answer("text/html", json!({ "type": "string" }), json!("<html>…</html>")),
            "401": refused_key(),
            "403": problem("The origin or the host is not allowed.")
        }
    } });
    let mut paths = vec![("/mcp", mcp), ("/api/openapi.json", document), ("/api/docs", page)];
    paths.push((crate::ui::AUTHORIZE, authorize()));
    paths.push((crate::ui::END_SESSION, end_session()));
    let well_known = [
        (
            "/.well-known/oauth-authorization-server",
            "get_server_metadata",
            "Tells where tokens are given (RFC 8414).",
        ),
        (
            "/.well-known/openid-configuration",
            "get_openid_configuration",
            "Tells the same to clients of OpenID Connect (Discovery, 4).",
        ),
        (
            "/.well-known/oauth-protected-resource",
            "get_resource_metadata",
            "Tells who gives tokens for the whole service (RFC 9728).",
        ),
        (
            "/.well-known/oauth-protected-resource/mcp",
            "get_mcp_resource_metadata",
            "Tells who gives tokens for `/mcp` (RFC 9728, 3.1).",
        ),
        (
            "/.well-known/oauth-protected-resource/api",
            "get_api_resource_metadata",
            "Tells who gives tokens for `/api` (RFC 9728, 3.1).",
        ),
        ("/.well-known/jwks.json", "get_jwks", "Shows the keys that tokens are signed with (RFC 7517)."),
    ];
    for (path, operation, summary) in well_known {
        let item = json!({ "get": {
            "tags": ["OAuth 2.0"],
            "operationId": operation,
            "summary": summary,
            "description": "May be kept for the time that `Cache-Control` tells.",
            "responses": {
                "200": answer("application/json", json!({ "type": "object" }), json!({})),
                "401": refused_key(),
                "403": problem("The origin or the host is not allowed.")
            }
        } });
        paths.push((path, item));
    }
    paths
}

fn page(description: &str) -> Value {
    let content = json!({ "text/html": { "schema": { "type": "string" }, "example": "<html>…</html>" } });
    json!({ "description": description, "content": content })
}

/// The answers of an endpoint that browsers are led to: its own, and those that any of them may give.
fn for_browsers(mut own: Value) -> Value {
    let common = [
        ("413", "The form is larger than the limit."),
        ("414", "The URL is longer than the limit."),
        ("429", "The limit of requests is reached."),
        ("431", "The headers are larger than the limit."),
        ("500", "The node failed."),
        ("503", "The node cannot do this now."),
        ("504", "The request took longer than the limit."),
    ];
    for (status, description) in common {
        own[status] = page(description);
    }
    own
}

fn parameter(name: &str, required: bool, description: &str, example: &str) -> Value {
    json!({
        "name": name, "in": "query", "required": required, "description": description,
        "schema": { "type": "string", "example": example }
    })
}

/// Where clients send people to sign out.
fn end_session() -> Value {
    let method = |operation: &str, description: &str| {
        json!({
            "tags": ["OAuth 2.0"],
            "operationId": operation,
            "summary": "Signs a person out because a client asks for it.",
            "description": description,
            "responses": for_browsers(json!({
                "200": page("The question, or that nobody is signed in any more."),
                "303": { "description": "On, or back to the client.", "headers": { "Location": { "schema": { "type": "string" }, "description": "Where." } } },
                "400": page("The hint is none of this service, or the address is none of the client's."),
                "403": page("The host is not allowed.")
            }))
        })
    };
    let mut get = method(
        "oauth_logout",
        "For browsers (OpenID Connect RP-Initiated Logout). With an ID token of the browser's own session it ends at once, otherwise the \
         person is asked. Clients with a `backchannel_logout_uri` are told.",
    );
    get["parameters"] = json!([
        parameter("id_token_hint", false, "The ID token that the client was given.", "eyJ…"),
        parameter("client_id", false, "The client, where there is no hint.", "client_4bWdN1YpS0qfQmXzT7aJ2w"),
        parameter(
            "post_logout_redirect_uri",
            false,
            "Where the person is sent afterwards, as it is registered.",
            "https://app.example/bye"
        ),
        parameter("state", false, "Comes back as it is.", "af0ifjsldkj")
    ]);
    let mut post =
        method("oauth_logout_form", "The same for forms of other sites, which are led on to `GET`.");
    let text = |example: &str| json!({ "type": "string", "example": example });
    let schema = json!({ "type": "object", "properties": {
        "id_token_hint": text("eyJ…"),
        "client_id": text("client_4bWdN1YpS0qfQmXzT7aJ2w"),
        "post_logout_redirect_uri": text("https://app.example/bye"),
        "state": text("af0ifjsldkj"),
    } });
    post["requestBody"] = json!({ "required": false, "content": { "application/x-www-form-urlencoded": { "schema": schema } } });
    json!({ "get": get, "post": post })
}

/// Where clients send people.
fn authorize() -> Value {
    let responses = for_browsers(json!({
        "200": { "description": "The question, as a page.", "content": { "text/html": { "schema": { "type": "string" }, "example": "<html>…</html>" } } },
        "303": { "description": "On to the sign-in, or back to the client.", "headers": { "Location": { "schema": { "type": "string" }, "description": "Where." } } },
        "400": page("Nobody knows whose request it is, or where to send the person."),
        "403": page("The origin or the host is not allowed.")
    }));
    let text = |example: &str| json!({ "type": "string", "example": example });
    let schema = json!({ "type": "object", "properties": {
        "client_id": text("client_4bWdN1YpS0qfQmXzT7aJ2w"),
        "response_type": text("code"),
        "request_uri": text("urn:ietf:params:oauth:request_uri:…"),
    } });
    let post = json!({
        "tags": ["OAuth 2.0"],
        "operationId": "oauth_authorize_form",
        "summary": "Asks a person to allow a client something.",
        "description": "The same for forms of other sites, which are led on to `GET`; they may have all of its parameters.",
        "requestBody": { "required": false, "content": { "application/x-www-form-urlencoded": { "schema": schema } } },
        "responses": responses
    });
    json!({ "post": post, "get": {
        "tags": ["OAuth 2.0"],
        "operationId": "oauth_authorize",
        "summary": "Asks a person to allow a client something.",
        "description": "For browsers: leads to the sign-in, to a question, or back to the client with a code (RFC 6749, 4.1). PKCE with \
            S256 is needed, and `iss` comes back with every answer (RFC 9207). A `client_id` may be the https URL of the client's \
            metadata.",
        "parameters": [
            parameter("client_id", true, "The client.", "client_4bWdN1YpS0qfQmXzT7aJ2w"),
            parameter("response_type", false, "`code`.", "code"),
            parameter("redirect_uri", false, "Where the person is sent back to; may be left out where the client has one.", "https://app.example/cb"),
            parameter("code_challenge", false, "SHA-256 of the code verifier (RFC 7636).", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            parameter("code_challenge_method", false, "`S256`.", "S256"),
            parameter("scope", false, "What the client wants to do; `docs:read` when absent.", "docs:read"),
            parameter("resource", false, "Where (RFC 8707); may stand several times.", "https://docs.example/mcp"),
            parameter("state", false, "Comes back as it is.", "af0ifjsldkj"),
            parameter("id_token_hint", false, "An ID token of whoever is meant; nobody else gets a code.", "eyJ…"),
            parameter("request_uri", false, "A request that was sent ahead (RFC 9126), in place of the others.", "urn:ietf:params:oauth:request_uri:…")
        ],
        "responses": responses
    } })
}
