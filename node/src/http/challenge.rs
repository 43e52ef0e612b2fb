//! `WWW-Authenticate`: what a refused client has to show, and where it learns how (RFC 6750, 3; RFC 9728, 5.1).

use poem::http::{HeaderValue, StatusCode};

use crate::api::{ApiError, resource_metadata_path};

/// Endpoints where a client shows its own credentials, and not a token.
const CLIENT_ENDPOINTS: &[&str] = &[
    "/api/oauth/token",
    "/api/oauth/introspect",
    "/api/oauth/revoke",
    "/api/oauth/par",
    "/api/oauth/device_authorization",
    "/api/oauth/device/code",
    "/api/oauth/device/token",
];

/// The challenge of a refusal at `path`; nothing where showing something else would not help.
pub(super) fn challenge(error: &ApiError, path: &str, issuer: &str) -> Option<HeaderValue> {
    let metadata = format!("resource_metadata=\"{issuer}{}\"", resource_metadata_path(path));
    let challenge = match error.status() {
        StatusCode::UNAUTHORIZED if CLIENT_ENDPOINTS.contains(&path) => "Basic realm=\"twinmcp\"".to_owned(),
        // A token that is bound to a key is sent otherwise (RFC 9449, 7.1).
        StatusCode::UNAUTHORIZED if matches!(error.code(), "invalid_dpop_proof" | "use_dpop_nonce") => {
            let code = error.code();
            format!("DPoP realm=\"twinmcp\", error=\"{code}\", algs=\"ES256 EdDSA RS256 PS256\", {metadata}")
        }
        // A fresher or a stronger sign-in (RFC 9470, 3).
        StatusCode::UNAUTHORIZED if error.code() == "insufficient_user_authentication" => {
            let member = |name: &str| error.member(name).map(ToString::to_string);
            let acr = member("acr_values").map(|acr| format!(", acr_values={acr}")).unwrap_or_default();
            let max_age =
                member("max_age").map(|max_age| format!(", max_age=\"{max_age}\"")).unwrap_or_default();
            format!(
                "Bearer realm=\"twinmcp\", error=\"insufficient_user_authentication\"{acr}{max_age}, {metadata}"
            )
        }
        StatusCode::UNAUTHORIZED => {
            let is_refused = matches!(error.code(), "invalid_api_key" | "invalid_token");
            let why = if is_refused { ", error=\"invalid_token\"" } else { "" };
            let scope = if path == "/mcp" { ", scope=\"docs:read\"" } else { "" };
            format!("Bearer realm=\"twinmcp\"{why}{scope}, {metadata}")
        }
        StatusCode::FORBIDDEN => {
            let scope = error.member("scope")?.as_str()?;
            format!("Bearer realm=\"twinmcp\", error=\"insufficient_scope\", scope=\"{scope}\", {metadata}")
        }
        _ => return None,
    };
    HeaderValue::try_from(challenge).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_client_learns_what_to_show_and_where_to_get_it() {
        let error = |status, code| ApiError::new(status, code, "No.");
        let told = |error: &ApiError, path| {
            challenge(error, path, "https://node.example").map(|value| value.to_str().unwrap().to_owned())
        };
        let missing = error(StatusCode::UNAUTHORIZED, "unauthenticated");
        assert_eq!(
            told(&missing, "/mcp").unwrap(),
            "Bearer realm=\"twinmcp\", scope=\"docs:read\", \
             resource_metadata=\"https://node.example/.well-known/oauth-protected-resource/mcp\""
        );
        let refused = error(StatusCode::UNAUTHORIZED, "invalid_token");
        assert!(told(&refused, "/api/keys").unwrap().contains("error=\"invalid_token\""));
        for path in ["/api/oauth/token", "/api/oauth/device/token"] {
            assert_eq!(told(&refused, path).unwrap(), "Basic realm=\"twinmcp\"");
        }
        let lacking = error(StatusCode::FORBIDDEN, "insufficient_scope").with("scope", "keys:write");
        let lacking = told(&lacking, "/api/keys").unwrap();
        assert!(lacking.contains("error=\"insufficient_scope\", scope=\"keys:write\""), "{lacking}");
        let stale = error(StatusCode::UNAUTHORIZED, "insufficient_user_authentication").with("max_age", 600);
        let stale = told(&stale.with("acr_values", "aal2"), "/api/keys").unwrap();
        let asks = "error=\"insufficient_user_authentication\", acr_values=\"aal2\", max_age=\"600\"";
        assert!(stale.contains(asks), "{stale}");
        assert_eq!(told(&error(StatusCode::FORBIDDEN, "origin_not_allowed"), "/mcp"), None);
        assert_eq!(told(&error(StatusCode::NOT_FOUND, "not_found"), "/mcp"), None);
    }
}
