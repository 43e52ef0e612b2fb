//! What a client shows who it is by, as its metadata says (RFC 7591, 2; OpenID Connect Registration, 2), and where it wants to
//! hear of the end of a session (OpenID Connect Back-Channel Logout, 2.2).

use serde_json::{Map, Value, json};
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::oauth::client::{
    Authentication, BackchannelLogout, Client, JWKS_BYTES_MAX, Keys, URI_BYTES_MAX,
};

use super::error::{ErrorCode, Refused};
use crate::jose::KeySet;
use crate::outbound::Outbound;

/// Ways to show it, as the protocol spells them.
pub(super) const METHODS: [&str; 5] =
    ["none", "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"];

fn invalid(description: impl Into<String>) -> Refused {
    Refused::new(ErrorCode::InvalidClientMetadata, description)
}

/// How the client that `metadata` describes shows who it is; `secret` is its own if it has one. A secret that it signs with is
/// still to be sealed.
pub(super) fn read(metadata: &Map<String, Value>, secret: &str) -> Result<Authentication, Refused> {
    let method = match metadata.get("token_endpoint_auth_method") {
        None | Some(Value::Null) => "client_secret_basic",
        Some(method) => method.as_str().unwrap_or_default(),
    };
    let is_other = |name: &str, is_right: fn(&Value) -> bool| {
        metadata.get(name).is_some_and(|value| !value.is_null() && !is_right(value))
    };
    if is_other("jwks_uri", Value::is_string) {
        return Err(invalid("'jwks_uri' must be text."));
    }
    if is_other("jwks", Value::is_object) {
        return Err(invalid("'jwks' must be an object."));
    }
    match method {
        "client_secret_basic" | "client_secret_post" => Ok(Authentication::Secret(SecretHash::of(secret))),
        "client_secret_jwt" => Ok(Authentication::SecretJwt { sealed: Vec::new() }),
        "private_key_jwt" => keys(metadata).map(Authentication::PrivateKeyJwt),
        "none" => Ok(Authentication::None),
        _ => Err(invalid(format!("'token_endpoint_auth_method' is one of: {}.", METHODS.join(", ")))),
    }
}

/// The client's public keys, in one of two places (RFC 7591, 2).
fn keys(metadata: &Map<String, Value>) -> Result<Keys, Refused> {
    let named = |name: &str| metadata.get(name).filter(|value| !value.is_null());
    match (named("jwks"), named("jwks_uri")) {
        (Some(set), None) => {
            KeySet::parse(set).map_err(|error| invalid(format!("'jwks' is refused: {error}.")))?;
            let set = set.to_string();
            if set.len() > JWKS_BYTES_MAX {
                return Err(invalid(format!("'jwks' has at most {JWKS_BYTES_MAX} bytes.")));
            }
            Ok(Keys::Set(set))
        }
        (None, Some(uri)) => {
            let uri = uri.as_str().unwrap_or_default();
            check_uri("jwks_uri", uri)?;
            Ok(Keys::Uri(uri.to_owned()))
        }
        (Some(_), Some(_)) => Err(invalid("Send 'jwks' or 'jwks_uri', not both.")),
        (None, None) => Err(invalid("A client with private_key_jwt needs 'jwks' or 'jwks_uri'.")),
    }
}

/// Where the client wants to hear that a session has ended.
pub(super) fn backchannel(metadata: &Map<String, Value>) -> Result<Option<BackchannelLogout>, Refused> {
    let uri = match metadata.get("backchannel_logout_uri") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(uri)) => uri.clone(),
        Some(_) => return Err(invalid("'backchannel_logout_uri' must be text.")),
    };
    check_uri("backchannel_logout_uri", &uri)?;
    let session_required = match metadata.get("backchannel_logout_session_required") {
        None | Some(Value::Null) => false,
        Some(required) => required
            .as_bool()
            .ok_or_else(|| invalid("'backchannel_logout_session_required' is true or false."))?,
    };
    Ok(Some(BackchannelLogout { uri, session_required }))
}

/// An address that nodes ask: encrypted, or on this machine, which the guard lets through only where the operator allowed it.
fn check_uri(name: &str, uri: &str) -> Result<(), Refused> {
    let wrong = |why: &str| Err(invalid(format!("'{name}' {why}.")));
    if uri.len() > URI_BYTES_MAX {
        return wrong(&format!("has at most {URI_BYTES_MAX} bytes"));
    }
    let Ok(url) = url::Url::parse(uri) else { return wrong("is no URL") };
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return wrong("names a user or a fragment");
    }
    let is_local = url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_local => Ok(()),
        _ => wrong("is not https"),
    }
}

/// Refuses addresses that no node will ever ask, as far as that can be told without asking anybody.
pub(super) fn check_reachable(client: &Client, outbound: &Outbound) -> Result<(), Refused> {
    let keys = match &client.authentication {
        Authentication::PrivateKeyJwt(Keys::Uri(uri)) => Some(("jwks_uri", uri)),
        _ => None,
    };
    let logout = client.backchannel_logout.as_ref().map(|logout| ("backchannel_logout_uri", &logout.uri));
    for (name, uri) in keys.into_iter().chain(logout) {
        outbound.check(uri).map_err(|error| invalid(format!("'{name}' is refused: {error}.")))?;
    }
    Ok(())
}

/// Adds what [`read`] and [`backchannel`] read, as RFC 7591, 3.2.1 names it.
pub(super) fn write(client: &Client, metadata: &mut Value) {
    metadata["token_endpoint_auth_method"] = match &client.authentication {
        Authentication::None => "none",
        Authentication::Secret(_) => "client_secret_basic",
        Authentication::SecretJwt { .. } => "client_secret_jwt",
        Authentication::PrivateKeyJwt(_) => "private_key_jwt",
    }
    .into();
    match &client.authentication {
        Authentication::PrivateKeyJwt(Keys::Set(set)) => {
            metadata["jwks"] = serde_json::from_str(set).unwrap_or_default();
        }
        Authentication::PrivateKeyJwt(Keys::Uri(uri)) => metadata["jwks_uri"] = uri.as_str().into(),
        Authentication::None | Authentication::Secret(_) | Authentication::SecretJwt { .. } => {}
    }
    if let Some(logout) = &client.backchannel_logout {
        metadata["backchannel_logout_uri"] = logout.uri.as_str().into();
        metadata["backchannel_logout_session_required"] = json!(logout.session_required);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, A.3.
    fn jwks() -> Value {
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }] })
    }

    fn of(metadata: &Value) -> Result<Authentication, String> {
        read(metadata.as_object().unwrap(), "s").map_err(|refused| refused.description)
    }

    #[test]
    fn case_073_a_client_with_keys_says_where_they_are_and_keeps_the_private_ones() {
        let with = |name: &str, value: Value| {
            let mut metadata = json!({ "token_endpoint_auth_method": "private_key_jwt" });
            metadata[name] = value;
            metadata
        };
        let set = Authentication::PrivateKeyJwt(Keys::Set(jwks().to_string()));
        assert_eq!(of(&with("jwks", jwks())), Ok(set));
        let uri = "https://app.example/jwks";
        let keys = Authentication::PrivateKeyJwt(Keys::Uri(uri.to_owned()));
        assert_eq!(of(&with("jwks_uri", uri.into())), Ok(keys));
        let mut both = with("jwks", jwks());
        both["jwks_uri"] = uri.into();
        let mut private = jwks();
        private["keys"][0]["d"] = "x".into();
        for metadata in [
            both,
            with("jwks", private),
            with("jwks", json!({ "keys": [] })),
            with("jwks", json!("x")),
            with("jwks_uri", "http://app.example/jwks".into()),
            with("jwks_uri", "file:///etc/passwd".into()),
            with("jwks_uri", "https://user@app.example/jwks".into()),
            with("jwks_uri", json!(7)),
            json!({ "token_endpoint_auth_method": "private_key_jwt" }),
            json!({ "token_endpoint_auth_method": "tls_client_auth" }),
            json!({ "token_endpoint_auth_method": 7 }),
        ] {
            assert!(of(&metadata).is_err(), "{metadata}");
        }
    }

    #[test]
    fn where_a_sign_out_is_told_is_an_address_that_others_cannot_read_along() {
        let of = |metadata: Value| backchannel(metadata.as_object().unwrap());
        assert_eq!(of(json!({})), Ok(None));
        let there = of(json!({
            "backchannel_logout_uri": "https://app.example/out?x=1", "backchannel_logout_session_required": true,
        }));
        assert!(there.unwrap().unwrap().session_required);
        for metadata in [
            json!({ "backchannel_logout_uri": "http://app.example/out" }),
            json!({ "backchannel_logout_uri": "https://app.example/out#f" }),
            json!({ "backchannel_logout_uri": 7 }),
            json!({ "backchannel_logout_uri": "https://app.example", "backchannel_logout_session_required": "yes" }),
        ] {
            assert!(of(metadata.clone()).is_err(), "{metadata}");
        }
    }
}
