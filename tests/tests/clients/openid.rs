//! Clients of other people against the authorization server: `openid-client` and `oauth4webapi` of JavaScript, Authlib and PyJWT of Python.
//! They get what they may have, and are refused what nobody may.

use serde_json::{Value, json};
use twinmcp_tests::{NodeSetup, TestNode};

use super::Clients;

const PASSWORD: &str = "correct horse battery";
const EMAIL: &str = "ada@example.org";

/// A node with a person, and what a script is told: a client on the web with a secret, one on a machine of the person's, and one for itself.
async fn prepared() -> (TestNode, Value) {
    let node = NodeSetup::default()
        .with("oauth", "signing_algorithms", r#"["RS256", "ES256"]"#)
        .overheard()
        .start()
        .await;
    let client = node.client();
    let person = json!({ "email": EMAIL, "name": "Ada", "password": PASSWORD });
    client.post("/api/accounts", &person).await.expect(201);
    let made = async |metadata: Value| client.post("/api/clients", &metadata).await.expect(201).json();
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let web = made(json!({
        "client_name": "Web", "redirect_uris": ["https://web.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": "openid profile email docs:read offline_access",
    }));
    let native = made(json!({
        "client_name": "Native", "token_endpoint_auth_method": "none", "grant_types": [device, "refresh_token"],
        "scope": "openid docs:read",
    }));
    let machine = made(json!({
        "client_name": "Build", "grant_types": ["client_credentials"], "scope": "docs:read",
        "token_endpoint_auth_method": "client_secret_post",
    }));
    let es256 = made(json!({
        "client_name": "Curve", "grant_types": ["client_credentials"], "scope": "docs:read",
        "id_token_signed_response_alg": "ES256",
    }));
    let asked = json!({
        "issuer": node.url(), "email": EMAIL, "password": PASSWORD,
        "web": web.await, "native": native.await, "machine": machine.await, "es256": es256.await,
    });
    (node, asked)
}

#[tokio::test]
async fn case_019_and_060_openid_client_goes_every_way_to_a_token_and_refuses_a_mix_up() {
    let (clients, (node, asked)) = (Clients::installed(), prepared().await);
    let told = clients.script("openid_client.mjs", &asked).await;
    let expected = json!({
        "issuer": node.url(),
        "type": "bearer", "nonce": true, "expires_in": true,
        "userinfo": { "email": EMAIL, "name": "Ada" },
        "introspected": true, "api": 200, "rotated": true,
        "after_revocation": false, "refresh_after_revocation": "invalid_grant",
        "replayed_code": "invalid_grant", "wrong_verifier": "invalid_grant",
        // The library reads the header before the body; Authlib below reads `invalid_client`.
        "foreign_secret": "OAUTH_WWW_AUTHENTICATE_CHALLENGE",
        "denied": "access_denied", "wrong_scope": "invalid_scope",
        "wrong_issuer": "OAUTH_INVALID_RESPONSE", "no_issuer": "OAUTH_INVALID_RESPONSE",
        "wrong_state": "OAUTH_INVALID_RESPONSE", "after_mix_up": "bearer",
        "pushed": ["client_id", "request_uri"], "pushed_again": 400,
        "bound_type": "dpop", "bound_api": 200, "bound_refresh": "dpop",
        "bound_as_bearer": "OAUTH_WWW_AUTHENTICATE_CHALLENGE", "bound_to_another": "OAUTH_WWW_AUTHENTICATE_CHALLENGE",
        "device": "bearer", "device_denied": "access_denied",
        "machine": ["bearer", "docs:read"], "machine_scope": "invalid_scope", "machine_target": "invalid_target",
        "registered": false,
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn oauth4webapi_takes_every_answer_and_validates_every_token() {
    let (clients, (node, asked)) = (Clients::installed(), prepared().await);
    let told = clients.script("oauth4webapi.mjs", &asked).await;
    let expected = json!({
        "same": true, "resource": [node.url()],
        "id_token": { "iss": true, "aud": asked["web"]["client_id"], "auth_time": "number" },
        "access_token": { "client": true, "sub": true, "scope": "docs:read openid email" },
        "other_audience": "OAUTH_JWT_CLAIM_COMPARISON_FAILED",
        "id_token_as_access_token": "OAUTH_INVALID_RESPONSE",
        "userinfo": EMAIL, "introspected": [true, false], "rotated": true, "revoked": false,
        "replayed_code": "invalid_grant", "wrong_verifier": "invalid_grant",
        "foreign_secret": "OAUTH_WWW_AUTHENTICATE_CHALLENGE",
        "wrong_issuer": "OAUTH_INVALID_RESPONSE",
        "nonces": 1, "bound": "dpop", "bound_api": 200, "machine": true,
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn authlib_gets_tokens_and_pyjwt_believes_them() {
    let (clients, (_node, asked)) = (Clients::installed(), prepared().await);
    let told = clients.script("oauth_authlib.py", &asked).await;
    let expected = json!({
        "type": "Bearer", "id_token": { "nonce": "the-nonce", "email": null, "alg": "RS256" },
        "userinfo": EMAIL, "api": 200, "rotated": true, "introspected": true, "revoked": false,
        "refresh_after_revocation": "invalid_grant", "replayed_code": "invalid_grant",
        "wrong_verifier": "invalid_grant", "foreign_secret": "invalid_client",
        "machine": ["RS256", "at+jwt", "docs:read", true], "es256": ["ES256", "at+jwt", "docs:read", true],
        "machine_scope": "invalid_scope",
    });
    assert_eq!(told, expected);
}
