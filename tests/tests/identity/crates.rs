//! The crates `openidconnect` and `oauth2`, the usual clients of Rust, against a node: every way to a token that they know, and what they are
//! refused.

use oauth2::basic::BasicClient;
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, DeviceAuthorizationUrl, HttpRequest,
    HttpResponse, IntrospectionUrl, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, RevocationUrl, Scope, StandardDeviceAuthorizationResponse, TokenIntrospectionResponse,
    TokenResponse, TokenUrl,
};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata, CoreUserInfoClaims};
use openidconnect::{IssuerUrl, Nonce, TokenResponse as _};
use serde_json::json;
use twinmcp_tests::{NodeSetup, TestNode};

use super::Browser;
use super::app::{App, decide_device, parameter, signed_in};

const REDIRECT: &str = "https://web.example/cb";

/// How both crates are given the HTTP client that is here: without redirects, as they ask for.
async fn send(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let answer = http.execute(request.try_into()?).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = HttpResponse::new(answer.bytes().await?.to_vec());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

fn http() -> reqwest::Client {
    let stays = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(stays).build().expect("a client without more is built")
}

/// The code that the browser brings back from `url`, a page of `node`.
async fn allow(browser: &mut Browser, node: &TestNode, url: &str) -> String {
    let asked = browser.get(url.strip_prefix(node.url()).expect("it is a page of the node")).await;
    let sent = match asked.status {
        303 => asked,
        _ => super::app::decide(browser, &asked.expect(200).text, "allow").await.expect(303),
    };
    sent.header("location").to_owned()
}

/// What a token request was refused with.
fn refusal<T: std::fmt::Debug, RE: std::error::Error, E: oauth2::ErrorResponse + serde::Serialize>(
    result: Result<T, RequestTokenError<RE, E>>,
) -> String {
    match result.expect_err("it is refused") {
        RequestTokenError::ServerResponse(refused) => {
            let refused = serde_json::to_value(refused).expect("it came as JSON");
            refused["error"].as_str().expect("an error has a code").to_owned()
        }
        other => panic!("{other:?}"),
    }
}

async fn web(node: &TestNode) -> App {
    let metadata = json!({
        "client_name": "Web", "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "scope": "openid email docs:read",
    });
    App::made_by(&node.client(), &metadata).await
}

#[tokio::test]
async fn openidconnect_signs_a_person_in_and_checks_who_it_is() {
    let node = NodeSetup::default().overheard().start().await;
    let (app, http) = (web(&node).await, http());
    let send = |request| send(http.clone(), request);
    let mut browser = signed_in(&node, "ada@example.org").await;
    // The keys are fetched once, with the metadata.
    node.can_sign().await;
    let issuer = IssuerUrl::new(node.url().to_owned()).unwrap();
    let metadata = CoreProviderMetadata::discover_async(issuer, &send).await.unwrap();
    let client = CoreClient::from_provider_metadata(
        metadata,
        ClientId::new(app.id.clone()),
        app.secret.clone().map(ClientSecret::new),
    )
    .set_redirect_uri(RedirectUrl::new(REDIRECT.to_owned()).unwrap());

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let (url, state, nonce) = client
        .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("email".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let back = allow(&mut browser, &node, url.as_str()).await;
    assert_eq!(parameter(&back, "state").as_ref(), Some(state.secret()));
    let code = parameter(&back, "code").unwrap();
    let again = PkceCodeVerifier::new(verifier.secret().clone());
    let exchange = client.exchange_code(AuthorizationCode::new(code.clone())).unwrap();
    let tokens = exchange.set_pkce_verifier(verifier).request_async(&send).await.unwrap();

    // Signature by the published keys, issuer, audience, time and nonce.
    let id_token = tokens.id_token().unwrap();
    let claims = id_token.claims(&client.id_token_verifier(), &nonce).unwrap();
    assert!(id_token.claims(&client.id_token_verifier(), &Nonce::new_random()).is_err());
    let who = client.user_info(tokens.access_token().clone(), Some(claims.subject().clone())).unwrap();
    let who: CoreUserInfoClaims = who.request_async(&send).await.unwrap();
    assert_eq!(who.email().map(|email| email.as_str()), Some("ada@example.org"));

    let replayed = client.exchange_code(AuthorizationCode::new(code)).unwrap();
    let replayed = replayed.set_pkce_verifier(again).request_async(&send);
    assert_eq!(refusal(replayed.await), "invalid_grant");
}

#[tokio::test]
async fn oauth2_goes_every_way_to_a_token_that_it_knows() {
    let node = NodeSetup::default().overheard().start().await;
    let (app, http) = (web(&node).await, http());
    let send = |request| send(http.clone(), request);
    let mut browser = signed_in(&node, "ada@example.org").await;
    let at = |path: &str| format!("{}/api/oauth/{path}", node.url());
    let secret = ClientSecret::new(app.secret.clone().unwrap());
    let client = BasicClient::new(ClientId::new(app.id.clone()))
        .set_client_secret(secret)
        .set_auth_uri(AuthUrl::new(at("authorize")).unwrap())
        .set_token_uri(TokenUrl::new(at("token")).unwrap())
        .set_introspection_url(IntrospectionUrl::new(at("introspect")).unwrap())
        // The crate sends nothing to a revocation endpoint without TLS: see below.
        .set_redirect_uri(RedirectUrl::new(REDIRECT.to_owned()).unwrap());
    let scope = || Scope::new("docs:read".to_owned());

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let asked = client.authorize_url(CsrfToken::new_random).add_scope(scope()).set_pkce_challenge(challenge);
    let code = parameter(&allow(&mut browser, &node, asked.url().0.as_str()).await, "code").unwrap();
    let code = || AuthorizationCode::new(code.clone());
    let used = PkceCodeVerifier::new(verifier.secret().clone());
    let tokens = client.exchange_code(code()).set_pkce_verifier(verifier).request_async(&send).await.unwrap();
    assert_eq!(tokens.scopes(), Some(&vec![scope()]));
    let told = client.introspect(tokens.access_token()).request_async(&send).await.unwrap();
    assert!(told.active() && told.client_id().map(|id| id.as_str()) == Some(app.id.as_str()));

    let old = tokens.refresh_token().unwrap();
    let new = client.exchange_refresh_token(old).request_async(&send).await.unwrap();
    assert_ne!(new.refresh_token().unwrap().secret(), old.secret());
    let machine = client.exchange_client_credentials().add_scope(scope()).request_async(&send).await.unwrap();
    assert!(
        node.client().with_key(machine.access_token().secret()).get("/api/libraries").await.status == 200
    );

    // What is refused: a code again, which ends what came of it; another verifier; a foreign secret.
    let again = client.exchange_code(code()).set_pkce_verifier(used).request_async(&send).await;
    assert_eq!(refusal(again), "invalid_grant");
    let ended = client.exchange_refresh_token(new.refresh_token().unwrap()).request_async(&send).await;
    assert_eq!(refusal(ended), "invalid_grant");
    let (challenge, _) = PkceCodeChallenge::new_random_sha256();
    let asked = client.authorize_url(CsrfToken::new_random).add_scope(scope()).set_pkce_challenge(challenge);
    let code = parameter(&allow(&mut browser, &node, asked.url().0.as_str()).await, "code").unwrap();
    let other = PkceCodeVerifier::new("x".repeat(43));
    let wrong = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(other);
    assert_eq!(refusal(wrong.request_async(&send).await), "invalid_grant");
    let foreign = client.clone().set_client_secret(ClientSecret::new("not-the-secret".to_owned()));
    let refused = foreign.exchange_client_credentials().request_async(&send).await;
    assert_eq!(refusal(refused), "invalid_client");
    let unknown = RefreshToken::new("tmcp_rt_nonsense".to_owned());
    assert_eq!(refusal(client.exchange_refresh_token(&unknown).request_async(&send).await), "invalid_grant");

    // The crate takes only https here, so it is given that and the request is sent to the node all the same.
    let https = at("revoke").replacen("http://", "https://", 1);
    let client = client.set_revocation_url(RevocationUrl::new(https).unwrap());
    let revoked = client.revoke_token(machine.access_token().into()).unwrap();
    let plainly = |mut request: HttpRequest| {
        *request.uri_mut() = at("revoke").parse().unwrap();
        send(request)
    };
    revoked.request_async(&plainly).await.unwrap();
    assert!(!client.introspect(machine.access_token()).request_async(&send).await.unwrap().active());
}

#[tokio::test]
async fn oauth2_waits_for_a_person_at_another_device() {
    let node = NodeSetup::default().overheard().start().await;
    let http = http();
    let send = |request| send(http.clone(), request);
    let metadata = json!({
        "client_name": "Television", "token_endpoint_auth_method": "none", "scope": "docs:read",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"],
    });
    let app = App::made_by(&node.client(), &metadata).await;
    let at = |path: &str| format!("{}/api/oauth/{path}", node.url());
    let client = BasicClient::new(ClientId::new(app.id))
        .set_token_uri(TokenUrl::new(at("token")).unwrap())
        .set_device_authorization_url(DeviceAuthorizationUrl::new(at("device_authorization")).unwrap());
    let mut browser = signed_in(&node, "ada@example.org").await;
    for decision in ["allow", "deny"] {
        let details: StandardDeviceAuthorizationResponse =
            client.exchange_device_code().request_async(&send).await.unwrap();
        let link = details.verification_uri_complete().unwrap().secret().clone();
        let path = link.strip_prefix(node.url()).unwrap();
        let page = browser.get(path).await.expect(200).text;
        decide_device(&mut browser, &page, decision).await.expect(200);
        let asked = client.exchange_device_access_token(&details);
        let told = asked.request_async(&send, tokio::time::sleep, None).await;
        match decision {
            "allow" => assert!(told.unwrap().refresh_token().is_none()),
            _ => assert_eq!(refusal(told), "access_denied"),
        }
    }
}
