//! Whoever holds something: tokens in each of their shapes and where they are good, sessions until they end, what a node gives that
//! has been cut off, and what is kept for a client that shows nothing.

use reqwest::Method;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use twinmcp_tests::{Answer, NodeSetup, TestClient, TestCluster, eventually};

use super::app::{App, Tokens, challenge, decide_device, from_base64url, opens, post_form, signed_in};
use super::signer::{read, verified};
use super::{Browser, PASSWORD};
use crate::mcp::call_2026;

/// How Context7's command line names itself.
const CTX7: &str = "2veBSofhicRBguUT";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A node whose documentation nobody reads without a key or a token.
fn closed() -> NodeSetup {
    NodeSetup::default().with("limits", "anonymous_reads", false)
}

/// What the holder of `token` is answered by `/mcp`.
async fn at_mcp(client: &TestClient, token: &str) -> Answer {
    call_2026(&client.with_key(token), "tools/list", json!({})).await
}

/// Head and claims of a token that a node signed with EdDSA, by the keys that it shows.
fn verified_eddsa(token: &str, jwks: &Value) -> Option<(Value, Value)> {
    let (head, claims) = read(token);
    let key = jwks["keys"].as_array()?.iter().find(|key| key["kid"] == head["kid"])?;
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
    let public = from_base64url(key["x"].as_str()?);
    let (message, signature) = token.rsplit_once('.')?;
    let key = UnparsedPublicKey::new(&ED25519, public);
    key.verify(message.as_bytes(), &from_base64url(signature)).ok()?;
    Some((head, claims))
}

#[tokio::test]
async fn the_command_line_of_context7_signs_in_under_its_own_paths_and_name() {
    let node = closed().start().await;
    let client = node.client().anonymous();
    // What `ctx7 login` sends: no scope, no key of its own, and the name of the machine.
    let started = [("client_id", CTX7), ("hostname", "laptop")];
    let codes = post_form(&client, "/api/oauth/device/code", &started).await.expect(200).json();
    let (device_code, user_code) =
        (codes["device_code"].as_str().unwrap(), codes["user_code"].as_str().unwrap());
    assert!(codes["interval"].as_u64().is_some() && codes["expires_in"].as_u64().is_some(), "{codes}");
    let poll = [("grant_type", DEVICE_CODE), ("device_code", device_code), ("client_id", CTX7)];
    let waits = post_form(&client, "/api/oauth/device/token", &poll).await.expect(400);
    assert_eq!(waits.code(), "authorization_pending");

    let mut ada = signed_in(&node, "ada@example.org").await;
    let link = codes["verification_uri_complete"].as_str().unwrap().strip_prefix(node.url()).unwrap();
    let asked = ada.get(link).await.expect(200).text;
    for shown in ["ctx7", "laptop", user_code] {
        assert!(asked.contains(shown), "{shown}: {asked}");
    }
    decide_device(&mut ada, &asked, "allow").await.expect(200);

    let given = post_form(&client, "/api/oauth/device/token", &poll).await.expect(200);
    assert_eq!(
        (&given.json()["token_type"], &given.json()["scope"]),
        (&json!("Bearer"), &json!("docs:read"))
    );
    let tokens = Tokens::of(&given);
    assert!(opens(&client, &tokens.access).await);
    client.get("/api/libraries").await.expect(401);
    let refresh =
        [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str()), ("client_id", CTX7)];
    let next = Tokens::of(&post_form(&client, "/api/oauth/token", &refresh).await.expect(200));
    assert!(opens(&client, &next.access).await);
    assert_ne!(next.refresh, tokens.refresh);

    // It may do no more than read, whatever somebody asks for under its name; and it brings nobody back to anywhere.
    let more = [("client_id", CTX7), ("scope", "keys:write")];
    assert_eq!(post_form(&client, "/api/oauth/device/code", &more).await.expect(400).code(), "invalid_scope");
    let app = App { id: CTX7.to_owned(), secret: None, redirect_uri: "https://evil.example/cb".to_owned() };
    let refused = ada.get(&app.authorize(&[])).await.expect(400);
    assert_eq!(refused.header("location"), "");
}

#[tokio::test]
async fn tokens_signed_with_eddsa_are_verified_by_the_key_that_is_shown_beside_the_others() {
    let algorithms = r#"["RS256", "EdDSA"]"#;
    let node = closed().with("oauth", "signing_algorithms", algorithms).start().await;
    let client = node.client();
    let about = client.get("/.well-known/openid-configuration").await.expect(200).json();
    assert_eq!(about["id_token_signing_alg_values_supported"], json!(["RS256", "EdDSA"]));
    let metadata = json!({
        "client_name": "Curve", "redirect_uris": ["https://curve.example/cb"],
        "id_token_signed_response_alg": "EdDSA",
    });
    let (curve, usual) = (App::register(&node, &metadata).await, App::confidential(&node).await);
    let mut ada = signed_in(&node, "ada@example.org").await;
    let mut given = async |app: &App| {
        let code = app.code(&mut ada, &[("nonce", "n-1")]).await;
        app.redeem(&client, &code, &[]).await.expect(200).json()
    };
    let (own, others) = (given(&curve).await, given(&usual).await);
    let jwks = client.anonymous().get("/.well-known/jwks.json").await.expect(200).json();
    let text = |given: &Value, name: &str| given[name].as_str().expect("it is there").to_owned();
    let (access, id) = (text(&own, "access_token"), text(&own, "id_token"));
    for (token, kind, audience) in [(&access, "at+jwt", node.url()), (&id, "JWT", curve.id.as_str())] {
        let (head, claims) = verified_eddsa(token, &jwks).expect("the node signed it");
        assert_eq!((&head["alg"], &head["typ"]), (&json!("EdDSA"), &json!(kind)));
        assert_eq!(claims["iss"], node.url());
        let names =
            |name: &Value| *name == audience || name.as_array().is_some_and(|names| names[0] == audience);
        assert!(names(&claims["aud"]), "{claims}");
    }
    assert_eq!(read(&id).1["nonce"], "n-1");
    assert!(opens(&client, &access).await);
    assert_eq!(at_mcp(&client, &access).await.status, 200);
    let (front, signature) = access.rsplit_once('.').expect("it has three parts");
    assert!(is_refused(&client, &format!("{front}x.{signature}")).await, "another message");
    assert!(is_refused(&client, &id).await, "an ID token opens nothing");
    // Nobody else's tokens are signed with it.
    let (head, _) = verified(&text(&others, "id_token"), &jwks);
    assert_eq!(head["alg"], "RS256");
    for key in jwks["keys"].as_array().expect("it is there") {
        assert!(key.get("d").is_none(), "{key}");
    }
}

/// Whether a token opens nothing here.
async fn is_refused(client: &TestClient, token: &str) -> bool {
    client.with_key(token).get("/api/libraries").await.status == 401
}

#[tokio::test]
async fn an_opaque_token_opens_what_it_is_for_until_it_is_revoked() {
    let node = closed().start().await;
    let client = node.client();
    let metadata = json!({
        "client_name": "Opaque", "redirect_uris": ["https://opaque.example/cb"], "access_token_format": "opaque",
    });
    let app = App::register(&node, &metadata).await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let whole = app.tokens(&client, &mut ada, &[("scope", "docs:read openid profile")]).await;
    assert!(
        whole.access.starts_with("tmcp_at_") && !whole.access.contains('.'),
        "it says something to others"
    );
    assert!(opens(&client, &whole.access).await);
    assert_eq!(at_mcp(&client, &whole.access).await.status, 200);
    let told = client.with_key(&whole.access).get("/api/oauth/userinfo").await.expect(200).json();
    assert_eq!(told["name"], "Ada");
    let lacking = client.with_key(&whole.access).get("/api/keys").await.expect(403);
    assert_eq!(lacking.code(), "insufficient_scope");

    // For a part of the service: the other part refuses it, and says where to get one.
    let mcp = format!("{}/mcp", node.url());
    let part = app.tokens(&client, &mut ada, &[("resource", &mcp)]).await;
    assert_eq!(at_mcp(&client, &part.access).await.status, 200);
    let refused = client.with_key(&part.access).get("/api/libraries").await.expect(401);
    assert_eq!(refused.code(), "invalid_token");

    app.ask(&client, "/api/oauth/revoke", &[("token", &whole.access)]).await.expect(200);
    assert!(!opens(&client, &whole.access).await);
    let refused = at_mcp(&client, &whole.access).await.expect(401);
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.contains("error=\"invalid_token\"") && challenge.contains("resource_metadata="),
        "{challenge}"
    );
    assert!(is_refused(&client, &format!("{}x", part.access)).await);
}

#[tokio::test]
async fn each_document_of_a_resource_names_the_one_that_it_was_asked_for() {
    let node = closed().start().await;
    let client = node.client().anonymous();
    for path in ["", "/mcp", "/api"] {
        let document = format!("/.well-known/oauth-protected-resource{path}");
        let told = client.get(&document).await.expect(200).json();
        assert_eq!(told["resource"], format!("{}{path}", node.url()), "RFC 9728, 3.3");
        assert_eq!(told["authorization_servers"], json!([node.url()]));
        let offered = told["scopes_supported"].as_array().expect("it is there");
        assert_eq!(offered.contains(&json!("keys:write")), path == "/api", "{told}");
        assert!(!offered.contains(&json!("offline_access")), "no resource asks for it: {told}");
    }
    // What a client of `/mcp` asks for that has found the first of them, as URLs are written by programs.
    let app = App::public(&node).await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let tokens = app.tokens(&client, &mut ada, &[("resource", &format!("{}/", node.url()))]).await;
    assert_eq!(at_mcp(&client, &tokens.access).await.status, 200);
}

#[tokio::test]
async fn the_end_of_all_sessions_ends_them_in_every_browser_and_nobody_elses() {
    let node = closed().start().await;
    let client = node.client();
    let mut ada = signed_in(&node, "ada@example.org").await;
    let (mut phone, mut eve) = (Browser::at(&node), signed_in(&node, "eve@example.org").await);
    phone.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let app = App::public(&node).await;
    let tokens = app.tokens(&client, &mut phone, &[]).await;
    let made =
        ada.post("/api/keys", &json!({ "name": "k", "scopes": ["docs:read"] })).await.expect(201).json();
    let kept = [ada.clone(), phone.clone()];

    // Not by a page of another site, and not with a key.
    let crossed = ada.request(Method::DELETE, "/api/auth/sessions").header("sec-fetch-site", "cross-site");
    ada.send(crossed).await.expect(403);
    client.delete("/api/auth/sessions").await.expect(401);
    phone.get("/api/auth/session").await.expect(200);

    ada.delete("/api/auth/sessions").await.expect(204);
    assert_eq!(ada.session(), None, "the browser is told to forget it");
    for mut browser in kept {
        assert!(browser.session().is_some());
        assert_eq!(browser.get("/api/auth/session").await.expect(401).code(), "unauthenticated");
        let page = browser.get("/settings").await.expect(303);
        assert!(page.header("location").starts_with("/signin"), "{}", page.header("location"));
    }
    eve.get("/api/auth/session").await.expect(200);
    assert!(!opens(&client, &tokens.access).await, "what was allowed in a session ends with it");
    assert!(opens(&client, made["secret"].as_str().unwrap()).await, "a key is no session");
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let listed = ada.get("/api/auth/sessions").await.expect(200).json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn a_session_that_runs_out_opens_nothing_and_what_was_allowed_in_it_goes_on() {
    // The least there may be; use does not prolong it.
    const LIFE_S: u64 = 60;
    let setup = closed().with("accounts", "session_life_seconds", LIFE_S);
    let node = setup.with("accounts", "session_idle_seconds", LIFE_S).start().await;
    let client = node.client();
    let mut ada = signed_in(&node, "ada@example.org").await;
    let again = ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let cookies = again.headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok());
    let cookie = cookies.into_iter().find(|line| line.starts_with("__Host-twinmcp=")).expect("it is set");
    assert!(cookie.contains(&format!("Max-Age={LIFE_S};")), "the browser forgets it as soon");
    let app = App::public(&node).await;
    let tokens = app.tokens(&client, &mut ada, &[]).await;
    let refused = eventually("the session to run out", async || {
        let answer = ada.clone().get("/api/auth/session").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.expect(401).code(), "unauthenticated");
    assert_eq!(ada.post("/api/keys", &json!({ "name": "k", "scopes": ["docs:read"] })).await.status, 401);
    let asked = ada.get(&app.authorize(&[])).await.expect(303);
    assert!(asked.header("location").starts_with("/signin?return_to="), "{}", asked.header("location"));
    let next = Tokens::of(&app.refresh(&client, &tokens.refresh, &[]).await.expect(200));
    assert!(opens(&client, &tokens.access).await && opens(&client, &next.access).await);
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    ada.get("/api/auth/session").await.expect(200);
}

#[tokio::test]
async fn a_node_that_is_cut_off_gives_programs_what_reads_and_nothing_that_could_do_harm() {
    let setup = async |number| TestCluster::setup(number).with("cluster", "stale_after_ms", 2_000);
    let mut cluster = TestCluster::start_as(3, 0, setup).await;
    let made = async |scope: &str| {
        let metadata =
            json!({ "client_name": "build", "grant_types": ["client_credentials"], "scope": scope });
        App::made_by(&cluster.client(0), &metadata).await
    };
    let (reads, writes) = (made("docs:read").await, made("docs:read libraries:write").await);
    let client = cluster.client(2);
    let ask = async |app: &App, scope: &str| {
        app.ask(&client, "/api/oauth/token", &[("grant_type", "client_credentials"), ("scope", scope)]).await
    };
    for app in [&reads, &writes] {
        eventually("the client to be known", async || (ask(app, "").await.status == 200).then_some(())).await;
    }

    for place in [0, 1] {
        cluster.nodes[place].kill().await;
    }
    let refused = eventually("the state to be too old", async || {
        let answer = ask(&writes, "").await;
        (answer.status != 200).then_some(answer)
    });
    let refused = refused.await.expect(503);
    assert_eq!((refused.code(), refused.header("retry-after")), ("state_too_old".to_owned(), "5"));
    assert_eq!(ask(&writes, "libraries:write").await.expect(503).code(), "state_too_old");
    // The secret is asked first: nobody learns whose clients there are.
    let wrong =
        [("grant_type", "client_credentials"), ("client_id", &*writes.id), ("client_secret", "wrong")];
    post_form(&client, "/api/oauth/token", &wrong).await.expect(401);
    for (app, scope) in [(&reads, ""), (&writes, "docs:read")] {
        let given = ask(app, scope).await.expect(200);
        assert_eq!(given.json()["scope"], "docs:read");
        assert!(opens(&client, &Tokens::of(&given).access).await);
    }

    cluster.nodes[0].restart().await;
    eventually("what is known to be new again", async || {
        (ask(&writes, "").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_sent_ahead_by_who_shows_nothing_count_as_a_strangers() {
    let setup = NodeSetup::default().with("limits", "anonymous_burst", 3);
    let node = setup.with("limits", "anonymous_per_minute", 1).start().await;
    let client = node.client();
    let public = json!({
        "client_name": "Editor", "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none",
    });
    let web = json!({ "client_name": "Web", "redirect_uris": ["https://app.example/cb"] });
    let (public, web) = (App::made_by(&client, &public).await, App::made_by(&client, &web).await);
    let challenge = challenge();
    let push = async |app: &App| {
        let fields = [
            ("response_type", "code"),
            ("redirect_uri", app.redirect_uri.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        app.ask(&client, "/api/oauth/par", &fields).await
    };
    for left in ["2", "1", "0"] {
        let kept = push(&public).await.expect(201);
        assert_eq!((kept.header("ratelimit-limit"), kept.header("ratelimit-remaining")), ("3", left));
    }
    let refused = push(&public).await.expect(429);
    assert_eq!(refused.code(), "rate_limit_exceeded");
    assert_eq!(
        (refused.json()["limited_by"].as_str(), refused.header("cache-control")),
        (Some("address"), "no-store")
    );
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=60).contains(&seconds)));

    // Whoever shows a secret goes on, and who shows a wrong one has nothing kept.
    for _ in 0..5 {
        let kept = push(&web).await.expect(201);
        assert_eq!(kept.header("ratelimit-limit"), "1000000");
    }
    for pretends in [&public, &web] {
        let pretends = App { secret: Some("wrong".to_owned()), ..pretends.clone() };
        assert_eq!(push(&pretends).await.expect(401).code(), "invalid_client");
    }
    // The address may not ask for anything else without a key either.
    client.anonymous().get("/api/libraries").await.expect(429);
}
