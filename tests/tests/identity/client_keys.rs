//! Clients that show who they are by something they signed (RFC 7523), or that they have the key of a token (RFC 9449).

use std::sync::{Arc, Mutex};

use reqwest::Method;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use twinmcp_tests::service::{Service, Told};
use twinmcp_tests::{Answer, NodeSetup, TestClient, TestCluster, TestNode, eventually, with_parameters};

use super::app::{App, VERIFIER, base64url, basic, post_form, signed_in};
use super::signer::{Signer, hs256, now, read, unsigned};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A machine's client with `more` metadata.
pub(super) async fn machine(client: &TestClient, more: &Value) -> App {
    let mut metadata = json!({
        "client_name": "build", "grant_types": ["client_credentials"], "scope": "docs:read",
        "token_endpoint_auth_method": "private_key_jwt",
    });
    for (name, value) in more.as_object().expect("it is there") {
        metadata[name] = value.clone();
    }
    App::made_by(client, &metadata).await
}

/// What an assertion claims, with `changes`; each has a name of its own.
pub(super) fn claims(app: &App, issuer: &str, changes: &[(&str, Value)]) -> Value {
    static NAMES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = NAMES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut claims = json!({
        "iss": app.id, "sub": app.id, "aud": issuer, "exp": now() + 60, "iat": now(), "jti": format!("j{name}"),
    });
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    claims
}

pub(super) async fn ask(client: &TestClient, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
    ];
    fields.extend(more);
    post_form(client, "/api/oauth/token", &fields).await
}

/// A proof of `signer`'s key for a request to `url`, under a name of its own: with a node's `nonce`, unless that is empty, and for the
/// access token that goes with it (RFC 9449, 4.2).
pub(super) fn proof(
    signer: &Signer,
    (method, url): (&str, &str),
    nonce: &str,
    access_token: Option<&str>,
) -> String {
    static NAMES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = NAMES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut claims = json!({ "jti": format!("p{name}"), "htm": method, "htu": url, "iat": now() });
    if !nonce.is_empty() {
        claims["nonce"] = nonce.into();
    }
    if let Some(token) = access_token {
        claims["ath"] = base64url(digest(&SHA256, token.as_bytes()).as_ref()).into();
    }
    signer.sign_as(&json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": signer.jwk() }), &claims)
}

/// Asks for tokens with a proof.
pub(super) async fn ask_proving(client: &TestClient, fields: &[(&str, &str)], proof: &str) -> Answer {
    let client = client.anonymous();
    let body = with_parameters("", fields).trim_start_matches("/?").to_owned();
    let request = client.request(Method::POST, "/api/oauth/token").header("dpop", proof);
    client.answer(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

/// The name of a key (RFC 7638, 3.2).
fn thumbprint(signer: &Signer) -> String {
    let jwk = signer.jwk();
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
    base64url(digest(&SHA256, members.as_bytes()).as_ref())
}

pub(super) async fn issuer(client: &TestClient) -> String {
    let about = client.get("/.well-known/oauth-authorization-server").await.expect(200).json();
    let methods = about["token_endpoint_auth_methods_supported"].as_array().expect("it is there");
    assert!(methods.contains(&"private_key_jwt".into()) && methods.contains(&"client_secret_jwt".into()));
    about["issuer"].as_str().expect("it is there").to_owned()
}

#[tokio::test]
async fn case_017_a_code_is_for_the_verifier_and_the_key_that_its_request_named() {
    let node = TestNode::empty().await;
    let (client, app) = (node.client(), App::public(&node).await);
    let (own, other) = (Signer::new("k1"), Signer::new("k1"));
    let mut browser = signed_in(&node, "ada@example.org").await;
    let url = format!("{}/api/oauth/token", node.url());
    let named = thumbprint(&own);
    let form = |code: &str, verifier: &str| {
        [
            ("grant_type", "authorization_code".to_owned()),
            ("client_id", app.id.clone()),
            ("code", code.to_owned()),
            ("code_verifier", verifier.to_owned()),
            ("redirect_uri", app.redirect_uri.clone()),
        ]
    };
    let redeem = async |code: &str, verifier: &str, proof: &str| {
        let fields = form(code, verifier);
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        ask_proving(&client, &fields, proof).await
    };
    let code = app.code(&mut browser, &[("dpop_jkt", &named)]).await;
    let asked = redeem(&code, VERIFIER, &proof(&own, ("POST", &url), "", None)).await.expect(400);
    assert_eq!(asked.code(), "use_dpop_nonce", "a try without a nonce uses nothing up");
    let nonce = asked.header("dpop-nonce").to_owned();
    let proves = |signer: &Signer| proof(signer, ("POST", &url), &nonce, None);
    let given = redeem(&code, VERIFIER, &proves(&own)).await.expect(200).json();
    assert_eq!(given["token_type"], "DPoP");
    let token = given["access_token"].as_str().expect("it is there");
    assert_eq!(read(token).1["cnf"]["jkt"], named.as_str());

    // Each of both is needed; and a code that was shown with one of them wrong is lost.
    let wrong = "w".repeat(43);
    for (what, verifier, signer) in [
        ("another key", VERIFIER, Some(&other)),
        ("no key", VERIFIER, None),
        ("another verifier", &wrong, Some(&own)),
    ] {
        let code = app.code(&mut browser, &[("dpop_jkt", &named)]).await;
        let refused = match signer {
            Some(signer) => redeem(&code, verifier, &proves(signer)).await,
            None => app.redeem(&client, &code, &[]).await,
        };
        assert_eq!(refused.expect(400).code(), "invalid_grant", "{what}");
        let late = redeem(&code, VERIFIER, &proves(&own)).await.expect(400);
        assert_eq!(late.code(), "invalid_grant", "after {what}");
    }
}

#[tokio::test]
async fn case_026_and_042_and_043_a_client_with_a_key_is_known_by_what_it_signed_and_by_nothing_else() {
    let node = TestNode::empty().await;
    let client = node.client();
    let (own, other) = (Signer::new("k1"), Signer::new("k1"));
    let app = machine(&client, &json!({ "jwks": own.jwks() })).await;
    assert_eq!(app.secret, None, "it needs none");
    let issuer = issuer(&client).await;
    for change in [
        vec![],
        vec![("aud", json!(format!("{issuer}/api/oauth/token")))],
        vec![("exp", json!(now() + 3_000))],
    ] {
        let given = ask(&client, &own.sign(&claims(&app, &issuer, &change)), &[]).await.expect(200);
        assert_eq!(given.json()["scope"], "docs:read", "{change:?}");
    }
    let once = own.sign(&claims(&app, &issuer, &[]));
    ask(&client, &once, &[("client_id", &app.id)]).await.expect(200);
    let again = ask(&client, &once, &[]).await.expect(401);
    assert_eq!(again.code(), "invalid_client");
    assert!(again.json()["error_description"].as_str().expect("it is there").contains("used before"));

    let fresh = |changes: &[(&str, Value)]| claims(&app, &issuer, changes);
    let public = own.jwks().to_string();
    for (what, assertion) in [
        ("another's key", other.sign(&fresh(&[]))),
        ("no signature", unsigned(&fresh(&[]))),
        ("the public key as a secret", hs256(public.as_bytes(), &fresh(&[]))),
        (
            "a key of its own in the head",
            other.sign_as(&json!({ "alg": "ES256", "kid": "k1", "jwk": other.jwk() }), &fresh(&[])),
        ),
        ("an unknown key", own.sign_as(&json!({ "alg": "ES256", "kid": "k2" }), &fresh(&[]))),
        ("crit", own.sign_as(&json!({ "alg": "ES256", "kid": "k1", "crit": ["exp"] }), &fresh(&[]))),
        ("expired", own.sign(&fresh(&[("exp", json!(now() - 3_600))]))),
        ("for ever", own.sign(&fresh(&[("exp", json!(now() + 1_000_000))]))),
        ("for another server", own.sign(&fresh(&[("aud", json!("https://other.example"))]))),
        ("for several", own.sign(&fresh(&[("aud", json!([issuer, "https://other.example"]))]))),
        ("by another issuer", own.sign(&fresh(&[("iss", json!("other"))]))),
        ("about another", own.sign(&fresh(&[("sub", json!("client_nobody"))]))),
        ("without a name", own.sign(&fresh(&[("jti", Value::Null)]))),
        ("no token", "x".to_owned()),
        ("too long", "x".repeat(8_000)),
    ] {
        assert_eq!(ask(&client, &assertion, &[]).await.expect(401).code(), "invalid_client", "{what}");
    }
    let good = own.sign(&fresh(&[]));
    let two_ways = ask(&client, &good, &[("client_secret", "s")]).await.expect(400);
    assert_eq!(two_ways.code(), "invalid_request");
    let two_clients = ask(&client, &good, &[("client_id", "client_nobody")]).await.expect(400);
    assert_eq!(two_clients.code(), "invalid_request");
    let fields =
        [("grant_type", "client_credentials"), ("client_assertion", &*good), ("client_assertion_type", "x")];
    assert_eq!(post_form(&client, "/api/oauth/token", &fields).await.expect(400).code(), "invalid_request");
    let by_name = [("grant_type", "client_credentials"), ("client_id", &*app.id)];
    post_form(&client, "/api/oauth/token", &by_name).await.expect(401);
    // None of that has used it up.
    ask(&client, &good, &[]).await.expect(200);
}

#[tokio::test]
async fn case_043_a_client_with_a_secret_to_sign_with_sends_it_to_nobody() {
    let node = TestNode::empty().await;
    let client = node.client();
    let app = machine(&client, &json!({ "token_endpoint_auth_method": "client_secret_jwt" })).await;
    let (secret, issuer) = (app.secret.clone().expect("it is there"), issuer(&client).await);
    let assertion = hs256(secret.as_bytes(), &claims(&app, &issuer, &[]));
    ask(&client, &assertion, &[]).await.expect(200);
    ask(&client, &assertion, &[]).await.expect(401);
    ask(&client, &hs256(b"guess", &claims(&app, &issuer, &[])), &[]).await.expect(401);
    ask(&client, &hs256(b"", &claims(&app, &issuer, &[])), &[]).await.expect(401);
    ask(&client, &Signer::new("k").sign(&claims(&app, &issuer, &[])), &[]).await.expect(401);
    // It is what is signed with, and no password.
    let fields = [("grant_type", "client_credentials"), ("client_id", &*app.id), ("client_secret", &*secret)];
    post_form(&client, "/api/oauth/token", &fields).await.expect(401);
    let request = client.anonymous().request(Method::POST, "/api/oauth/token");
    let request = request.header("authorization", basic(&app.id, &secret));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    client.answer(request.body("grant_type=client_credentials")).await.expect(401);
    let plain = json!({ "token_endpoint_auth_method": "client_secret_basic" });
    let plain = machine(&client, &plain).await;
    let assertion =
        hs256(plain.secret.as_deref().expect("it is there").as_bytes(), &claims(&plain, &issuer, &[]));
    ask(&client, &assertion, &[]).await.expect(401);
}

#[tokio::test]
async fn case_073_and_111_keys_at_an_address_are_fetched_through_the_guard_and_not_over_and_over() {
    let setup = NodeSetup::default().with("outbound", "allowed_networks", json!(["127.0.0.1"]));
    let node = setup.start().await;
    let client = node.client();
    for uri in [
        "http://169.254.169.254/jwks",
        "https://10.0.0.1/jwks",
        "http://app.example/jwks",
        "file:///etc/passwd",
    ] {
        let metadata = json!({
            "client_name": "x", "redirect_uris": ["https://app.example/cb"],
            "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri,
        });
        let refused = client.anonymous().post("/api/oauth/register", &metadata).await.expect(400);
        assert_eq!(refused.code(), "invalid_client_metadata", "{uri}");
    }
    let (old, new) = (Arc::new(Signer::new("k1")), Signer::new("k2"));
    let shown = Arc::new(Mutex::new(old.jwks()));
    let keys = Arc::clone(&shown);
    let site = Service::start(move |asked| match asked.path.as_str() {
        "/jwks" => Told::json(&keys.lock().expect("it is there")),
        "/moved" => Told::status(302).with("location", "/jwks"),
        _ => Told::status(404),
    })
    .await;
    let issuer = issuer(&client).await;
    let app = machine(&client, &json!({ "jwks_uri": site.url("/jwks") })).await;
    for _ in 0..5 {
        ask(&client, &old.sign(&claims(&app, &issuer, &[])), &[]).await.expect(200);
    }
    assert_eq!(site.asked().len(), 1, "what is known is not asked for");
    *shown.lock().expect("it is there") = new.jwks();
    for _ in 0..20 {
        ask(&client, &new.sign(&claims(&app, &issuer, &[])), &[]).await.expect(401);
    }
    assert_eq!(site.asked().len(), 1, "a flood of unknown keys makes nobody ask before a minute has passed");

    for path in ["/moved", "/nothing"] {
        let lost = machine(&client, &json!({ "jwks_uri": site.url(path) })).await;
        ask(&client, &old.sign(&claims(&lost, &issuer, &[])), &[]).await.expect(401);
        ask(&client, &old.sign(&claims(&lost, &issuer, &[])), &[]).await.expect(401);
    }
    let asked: Vec<String> = site.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked, ["/jwks", "/moved", "/nothing"], "no redirect is followed, no failure repeated");
}

#[tokio::test]
async fn an_assertion_that_is_sent_to_two_nodes_at_once_is_good_once() {
    let cluster = TestCluster::start_as(3, 0, async |number| {
        TestCluster::setup(number).with("http", "public_url", "http://localhost:3000")
    })
    .await;
    let own = Signer::new("k1");
    let app = machine(&cluster.client(0), &json!({ "jwks": own.jwks() })).await;
    let issuer = issuer(&cluster.client(0)).await;
    for node in 0..3 {
        eventually("the client at every node", async || {
            let answer = ask(&cluster.client(node), &own.sign(&claims(&app, &issuer, &[])), &[]).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    for number in 0..30 {
        let assertion = own.sign(&claims(&app, &issuer, &[]));
        let (one, two) = (cluster.client(number % 3), cluster.client((number + 1) % 3));
        let answers = tokio::join!(ask(&one, &assertion, &[]), ask(&two, &assertion, &[]));
        let mut statuses = [answers.0.status, answers.1.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401], "race {number}");
    }
}
