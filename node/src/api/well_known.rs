//! What clients read before they do anything else: where the endpoints are and what they take (RFC 8414; OpenID Connect
//! Discovery; RFC 9728), and the keys that tokens are signed with (RFC 7517).
//!
//! Everything says where it is by the configured name, whatever host a request names.

use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Endpoint, IntoResponse, Response, Route, get};
use serde_json::{Value, json};
use twinmcp_actors::Oauth;
use twinmcp_actors::oauth::Assurance;
use twinmcp_storage::scope::Scope;

/// Metadata may be kept for five minutes.
const METADATA_KEPT: &str = "public, max-age=300";
/// Keys may be kept for ten: far less than the next one is shown before it signs.
const KEYS_KEPT: &str = "public, max-age=600";

/// The paths below `/.well-known`.
pub(super) fn add(route: Route, oauth: &Oauth) -> Route {
    let server = server_metadata(oauth);
    let [whole, mcp, api] = ["", "/mcp", "/api"].map(|path| resource_metadata(oauth, path));
    let keys = oauth.clone();
    route
        .at("/.well-known/oauth-authorization-server", fixed(&server))
        .at("/.well-known/openid-configuration", fixed(&server))
        .at("/.well-known/oauth-protected-resource", fixed(&whole))
        .at("/.well-known/oauth-protected-resource/mcp", fixed(&mcp))
        .at("/.well-known/oauth-protected-resource/api", fixed(&api))
        .at("/.well-known/jwks.json", get(make_sync(move |_| key_set(keys.jwks().as_deref()))))
}

fn fixed(metadata: &Value) -> impl Endpoint + 'static {
    let body = metadata.to_string();
    get(make_sync(move |_| answer(body.clone(), METADATA_KEPT)))
}

fn answer(body: String, cache_control: &'static str) -> Response {
    let response = body.with_content_type("application/json");
    response.with_header(header::CACHE_CONTROL, cache_control).into_response()
}

/// The key set, which may be kept; none that is empty: another key is made in a moment, and who kept this would refuse what it
/// signs.
fn key_set(keys: Option<&str>) -> Response {
    match keys {
        Some(keys) => answer(keys.to_owned(), KEYS_KEPT),
        None => answer(r#"{"keys":[]}"#.to_owned(), "no-store"),
    }
}

/// Scopes that a client may ask for; `admin` is not offered.
fn scopes() -> impl Iterator<Item = &'static Scope> {
    Scope::ALL.iter().filter(|scope| !matches!(scope, Scope::Admin | Scope::MetricsRead))
}

fn names<'a>(scopes: impl Iterator<Item = &'a Scope>) -> Vec<&'static str> {
    scopes.map(|scope| scope.as_str()).collect()
}

fn server_metadata(oauth: &Oauth) -> Value {
    let issuer = oauth.issuer();
    let at = |path: &str| format!("{issuer}{path}");
    let algorithms: Vec<&str> = oauth.algorithms().iter().map(|algorithm| algorithm.as_str()).collect();
    let with_credentials =
        ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"];
    let methods = [&["none"][..], &with_credentials[..]].concat();
    let assertions = ["RS256", "PS256", "ES256", "EdDSA", "HS256"];
    let mut metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": at("/api/oauth/authorize"),
        "token_endpoint": at("/api/oauth/token"),
        "introspection_endpoint": at("/api/oauth/introspect"),
        "revocation_endpoint": at("/api/oauth/revoke"),
        "device_authorization_endpoint": at("/api/oauth/device_authorization"),
        "pushed_authorization_request_endpoint": at("/api/oauth/par"),
        "userinfo_endpoint": at("/api/oauth/userinfo"),
        "end_session_endpoint": at(crate::ui::END_SESSION),
        "jwks_uri": at("/.well-known/jwks.json"),
        "service_documentation": at("/api/docs"),
        "scopes_supported": names(scopes()),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": assertions,
        "introspection_endpoint_auth_methods_supported": with_credentials,
        "introspection_endpoint_auth_signing_alg_values_supported": assertions,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": assertions,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": true,
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "RS256", "PS256"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "sid", "name", "email", "email_verified"],
        "acr_values_supported": Assurance::ALL.map(Assurance::as_str),
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    if oauth.registers() {
        metadata["registration_endpoint"] = at("/api/oauth/register").into();
    }
    metadata
}

/// The path of the metadata of the resource at `path` (RFC 9728, 3.1).
pub(crate) fn resource_metadata_path(path: &str) -> &'static str {
    if path == "/mcp" {
        "/.well-known/oauth-protected-resource/mcp"
    } else {
        "/.well-known/oauth-protected-resource/api"
    }
}

/// What is told of the resource at `path`; of the whole service at none, whose name is the one that the document without a path has to
/// tell (RFC 9728, 3.3).
///
/// Clients of `/mcp` ask for that document when they did not find the one with the path, and take a resource that theirs lies within.
/// What they get then is good at `/mcp` too, so it offers no more scopes than the document of `/mcp` does. Whether a client may go on
/// without the person is nothing that a resource asks for (MCP, authorization).
fn resource_metadata(oauth: &Oauth, path: &str) -> Value {
    let issuer = oauth.issuer();
    let needed = match path {
        "/api" => names(scopes().filter(|scope| scope.is_permission())),
        _ => vec![Scope::DocsRead.as_str()],
    };
    json!({
        "resource": format!("{issuer}{path}"),
        "resource_name": "TwinMCP",
        "authorization_servers": [issuer],
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "scopes_supported": needed,
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "RS256", "PS256"],
        "resource_documentation": format!("{issuer}/api/docs"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_empty_set_of_keys_is_kept_by_nobody() {
        for (set, keys, kept) in
            [(None, 0, "no-store"), (Some(r#"{"keys":[{"kty":"OKP"}]}"#), 1, "public, max-age=600")]
        {
            let response = key_set(set);
            assert_eq!(response.headers()[header::CACHE_CONTROL], kept);
            assert_eq!(response.content_type(), Some("application/json"));
            let body: Value = response.into_body().into_json().await.unwrap();
            assert_eq!(body["keys"].as_array().map(Vec::len), Some(keys));
        }
    }
}
