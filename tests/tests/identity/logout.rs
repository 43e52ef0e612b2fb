//! The end of a session: that a client asks for, and that clients are told of.

use serde_json::{Value, json};
use twinmcp_tests::service::{Service, Told};
use twinmcp_tests::{Answer, NodeSetup, TestClient, TestCluster, TestNode, eventually, with_parameters};

use super::app::{App, Tokens, field, parameter, signed_in};
use super::signer::{Signer, read, unsigned, verified};
use super::{Browser, PASSWORD, form_token};

const BYE: &str = "https://web.example/bye";

async fn web(node: &TestNode) -> App {
    let metadata = json!({
        "client_name": "Web", "redirect_uris": ["https://web.example/cb"], "post_logout_redirect_uris": [BYE],
    });
    App::register(node, &metadata).await
}

/// Tokens of somebody who is signed in, and the ID token.
async fn tokens(app: &App, client: &TestClient, browser: &mut Browser) -> (Tokens, String) {
    let code = app.code(browser, &[]).await;
    let answer = app.redeem(client, &code, &[]).await.expect(200);
    (Tokens::of(&answer), answer.json()["id_token"].as_str().expect("it is there").to_owned())
}

fn logout(fields: &[(&str, &str)]) -> String {
    with_parameters("/api/oauth/logout", fields)
}

async fn answer(browser: &mut Browser, page: &str, decision: &str) -> Answer {
    let (token, ticket) = (form_token(page), field(page, "ticket"));
    let fields = [("form_token", token.as_str()), ("ticket", ticket.as_str()), ("decision", decision)];
    let request = browser.form("/signout/answer", &fields).header("sec-fetch-site", "same-origin");
    browser.send(request).await
}

async fn is_signed_in(browser: &mut Browser) -> bool {
    browser.get("/api/auth/session").await.status == 200
}

#[tokio::test]
async fn case_080_and_085_a_client_signs_out_the_person_it_means_and_sends_them_where_it_said() {
    let node = TestNode::empty().await;
    let (client, app, other) = (node.client(), web(&node).await, App::public(&node).await);
    let mut browser = signed_in(&node, "ada@example.org").await;
    let mut eve = signed_in(&node, "eve@example.org").await;
    let (given, id_token) = tokens(&app, &client, &mut browser).await;
    let (_, of_eve) = tokens(&app, &client, &mut eve).await;
    let about = client.get("/.well-known/openid-configuration").await.expect(200).json();
    assert_eq!(
        about["end_session_endpoint"],
        format!("{}/api/oauth/logout", about["issuer"].as_str().expect("it is there"))
    );

    // Everything in these is right, but who made them.
    let (head, claims) = read(&id_token);
    let (forged, under_its_key) = (Signer::new("k").sign(&claims), Signer::new("k").sign_as(&head, &claims));
    for wrong in [
        &[("post_logout_redirect_uri", BYE)][..],
        &[("client_id", &other.id), ("post_logout_redirect_uri", BYE)],
        &[("client_id", "client_nobody")],
        &[("client_id", &app.id), ("post_logout_redirect_uri", "https://web.example/bye/x")],
        &[("client_id", &app.id), ("post_logout_redirect_uri", "https://evil.example/")],
        &[("client_id", &app.id), ("post_logout_redirect_uri", "//evil.example")],
        &[("client_id", &other.id), ("id_token_hint", &id_token)],
        &[("id_token_hint", &id_token), ("post_logout_redirect_uri", "https://evil.example/")],
        &[("id_token_hint", &of_eve)],
        &[("id_token_hint", &forged)],
        &[("id_token_hint", &under_its_key)],
        &[("id_token_hint", &unsigned(&claims))],
        &[("id_token_hint", &given.access)],
        &[("id_token_hint", "x")],
        &[("client_id", &app.id), ("client_id", &other.id)],
    ] {
        let page = browser.get(&logout(wrong)).await.expect(400);
        assert_eq!(page.header("location"), "", "{wrong:?}");
        assert!(page.header("content-type").starts_with("text/html"), "{wrong:?}");
    }
    assert!(is_signed_in(&mut browser).await, "whatever strangers send");

    // Anybody can make a link: without proof the person is asked.
    let asked = [("client_id", app.id.as_str()), ("post_logout_redirect_uri", BYE), ("state", "s&t")];
    let page = browser.get(&logout(&asked)).await.expect(200).text;
    assert!(
        page.contains("Web") && page.contains("web.example") && page.contains("ada@example.org"),
        "{page}"
    );
    let stolen = eve.get(&logout(&[])).await.expect(200).text;
    let tickets = [field(&page, "ticket"), field(&stolen, "ticket")];
    let foreign = page.replace(&tickets[0], &tickets[1]);
    answer(&mut browser, &foreign, "leave").await.expect(403);
    assert!(answer(&mut browser, &page, "stay").await.expect(200).text.contains("still signed in"));
    assert!(is_signed_in(&mut browser).await);
    let back = answer(&mut browser, &page, "leave").await.expect(303);
    assert_eq!(back.header("location"), format!("{BYE}?state=s%26t"));
    assert!(!is_signed_in(&mut browser).await && browser.session().is_none());
    assert_eq!(app.refresh(&client, &given.refresh, &[]).await.expect(400).code(), "invalid_grant");

    // Of the very session: at once.
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let page = browser.get(&logout(&[("id_token_hint", &id_token)])).await.expect(200).text;
    assert!(page.contains("Sign out?"), "the token is of a session before");
    let (_, id_token) = tokens(&app, &client, &mut browser).await;
    let hinted = [("id_token_hint", id_token.as_str()), ("post_logout_redirect_uri", BYE)];
    let back = browser.get(&logout(&hinted)).await.expect(303);
    assert_eq!(back.header("location"), BYE);
    assert!(!is_signed_in(&mut browser).await);
    // Nobody is signed in any more, which is what was wanted.
    assert_eq!(browser.get(&logout(&hinted)).await.expect(303).header("location"), BYE);
    assert!(browser.get(&logout(&[])).await.expect(200).text.contains("You are signed out"));
}

#[tokio::test]
async fn a_form_of_another_site_is_led_on_to_where_the_browser_sends_its_cookie() {
    let node = TestNode::empty().await;
    let browser = Browser::at(&node);
    let fields = [("client_id", "client_nobody"), ("state", "a b")];
    let request = browser.form("/api/oauth/logout", &fields).header("origin", "https://web.example");
    let led = browser.client.answer(request.header("sec-fetch-site", "cross-site")).await.expect(303);
    assert_eq!(led.header("location"), "/api/oauth/logout?client_id=client_nobody&state=a+b");
    // So is a request for a code (OpenID Connect Core, 3.1.2.1).
    let request = browser.form("/api/oauth/authorize", &fields).header("origin", "https://web.example");
    let led = browser.client.answer(request.header("sec-fetch-site", "cross-site")).await.expect(303);
    assert_eq!(led.header("location"), "/api/oauth/authorize?client_id=client_nobody&state=a+b");
    // More than fits into an address is refused here, with what to do, and not where it leads.
    let long = "x".repeat(7_100);
    let request = browser.form("/api/oauth/logout", &[("state", long.as_str())]);
    let request = request.header("origin", "https://web.example").header("sec-fetch-site", "cross-site");
    let refused = browser.client.answer(request).await.expect(413).text;
    assert!(refused.contains("7000 bytes") && refused.contains("body_too_large"), "{refused}");
    // Elsewhere it is refused as ever.
    let request = browser.form("/api/oauth/token", &fields).header("origin", "https://web.example");
    browser.client.answer(request).await.expect(403);
}

#[tokio::test]
async fn case_080_nobody_gets_a_code_for_somebody_else_than_the_client_means() {
    let node = TestNode::empty().await;
    let (client, app) = (node.client(), web(&node).await);
    let mut browser = signed_in(&node, "ada@example.org").await;
    let mut eve = signed_in(&node, "eve@example.org").await;
    let (_, id_token) = tokens(&app, &client, &mut browser).await;
    tokens(&app, &client, &mut eve).await;
    for prompt in ["", "none"] {
        let changes = [("id_token_hint", id_token.as_str()), ("prompt", prompt)];
        let own = browser.get(&app.authorize(&changes)).await.expect(303);
        assert!(parameter(own.header("location"), "code").is_some(), "{}", own.header("location"));
        let other = eve.get(&app.authorize(&changes)).await.expect(303);
        assert_eq!(parameter(other.header("location"), "error").expect("it is there"), "login_required");
    }
    let wrong = browser.get(&app.authorize(&[("id_token_hint", "x")])).await.expect(303);
    assert_eq!(parameter(wrong.header("location"), "error").expect("it is there"), "invalid_request");
    let nobody = Browser::at(&node).get(&app.authorize(&[("id_token_hint", &id_token)])).await.expect(303);
    assert!(nobody.header("location").starts_with("/signin?"));
}

/// A client that hears of sign-outs, which answers the first time with `first`.
async fn listener(first: u16) -> Service {
    let answered = std::sync::atomic::AtomicBool::new(false);
    Service::start(move |_| {
        let is_first = !answered.swap(true, std::sync::atomic::Ordering::SeqCst);
        Told::status(if is_first { first } else { 200 })
    })
    .await
}

/// The setup of nodes that may tell this machine.
fn near(setup: NodeSetup) -> NodeSetup {
    setup.with("outbound", "allowed_networks", json!(["127.0.0.1"]))
}

fn hearing(name: &str, listener: &Service) -> Value {
    json!({
        "client_name": name, "redirect_uris": ["https://web.example/cb"],
        "backchannel_logout_uri": listener.url("/out"), "backchannel_logout_session_required": true,
    })
}

/// The logout tokens that a client was sent, once there are `count`.
async fn told(listener: &Service, count: usize) -> Vec<String> {
    eventually("the client to be told", async || {
        let asked = listener.asked();
        (asked.len() >= count).then_some(asked)
    })
    .await
    .iter()
    .map(|asked| {
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/out"));
        assert_eq!(asked.header("content-type"), "application/x-www-form-urlencoded");
        asked.field("logout_token").expect("it is there")
    })
    .collect()
}

#[tokio::test]
async fn the_clients_of_a_session_are_told_of_its_end_with_a_token_that_is_none_of_the_others() {
    let node = near(NodeSetup::default()).start().await;
    let client = node.client();
    let (one, busy) = (listener(200).await, listener(503).await);
    let web = App::register(&node, &hearing("Web", &one)).await;
    let shop = App::register(&node, &hearing("Shop", &busy)).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let (_, id_token) = tokens(&web, &client, &mut browser).await;
    let (_, id_claims) = read(&id_token);
    tokens(&shop, &client, &mut browser).await;
    tokens(&web, &client, &mut browser).await;
    let mut elsewhere = Browser::at(&node);
    elsewhere.sign_in("ada@example.org", PASSWORD).await.expect(200);
    browser.post("/api/auth/sign-out", &json!({})).await.expect(204);

    let sent = told(&one, 1).await;
    let jwks = client.get("/.well-known/jwks.json").await.expect(200).json();
    let (head, claims) = verified(&sent[0], &jwks);
    assert_eq!(head["typ"], "logout+jwt");
    for same in ["iss", "sub", "sid"] {
        assert_eq!(claims[same], id_claims[same], "{same}");
    }
    assert_eq!((claims["aud"].as_str(), claims["nonce"].is_null()), (Some(web.id.as_str()), true));
    assert_eq!(claims["events"], json!({ "http://schemas.openid.net/event/backchannel-logout": {} }));
    let at = |name: &str| claims[name].as_u64().expect("it is there");
    assert_eq!(at("exp") - at("iat"), 120);
    // It is neither an ID token nor an access token.
    browser.get(&logout(&[("id_token_hint", &sent[0])])).await.expect(400);
    client.with_key(&sent[0]).get("/api/libraries").await.expect(401);

    // One that was busy is told again, with a token of its own, and nobody twice who has heard.
    let sent = told(&busy, 2).await;
    let name = |token: &str| read(token).1["jti"].as_str().expect("it is there").to_owned();
    assert_ne!(name(&sent[0]), name(&sent[1]));
    assert_eq!(one.asked().len(), 1);
    assert!(is_signed_in(&mut elsewhere).await, "another session of the same person");

    let about = client.get("/.well-known/openid-configuration").await.expect(200).json();
    assert_eq!(about["backchannel_logout_supported"], true);
    assert_eq!(about["backchannel_logout_session_supported"], true);
}

#[tokio::test]
async fn a_logout_address_inside_the_network_is_refused_and_a_client_that_refuses_is_left_alone() {
    let node = near(NodeSetup::default()).start().await;
    let anonymous = node.client().anonymous();
    for uri in [
        "http://169.254.169.254/out",
        "https://10.0.0.1/out",
        "http://web.example/out",
        "https://web.example/out#x",
    ] {
        let metadata = json!({
            "client_name": "x", "redirect_uris": ["https://web.example/cb"], "backchannel_logout_uri": uri,
        });
        let refused = anonymous.post("/api/oauth/register", &metadata).await.expect(400);
        assert_eq!(refused.code(), "invalid_client_metadata", "{uri}");
    }
    // 400 says that the client does not take it; the same token would be refused again (2.8).
    let (deaf, hears) = (listener(400).await, listener(200).await);
    let deaf_app = App::register(&node, &hearing("Deaf", &deaf)).await;
    let app = App::register(&node, &hearing("Web", &hears)).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    for count in 1..=2 {
        browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
        tokens(&deaf_app, &node.client(), &mut browser).await;
        tokens(&app, &node.client(), &mut browser).await;
        browser.post("/api/auth/sign-out", &json!({})).await.expect(204);
        told(&hears, count).await;
        told(&deaf, count).await;
    }
    assert_eq!(deaf.asked().len(), 2, "once for each end");
}

#[tokio::test]
async fn case_091_a_session_that_ends_at_one_node_is_told_to_its_clients_by_the_cluster() {
    let cluster = TestCluster::start_as(3, 0, async |number| {
        near(TestCluster::setup(number)).with("http", "public_url", "http://localhost:3000")
    })
    .await;
    let hears = listener(200).await;
    let app = App::register(&cluster.nodes[0], &hearing("Web", &hears)).await;
    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    for number in 0..3 {
        let mut there = browser.moved_to(&cluster.nodes[number]);
        eventually("sign-in there", async || {
            (there.sign_in("ada@example.org", PASSWORD).await.status == 200).then_some(())
        })
        .await;
        let code = app.code(&mut there, &[]).await;
        app.redeem(&cluster.client(number), &code, &[]).await.expect(200);
        // Whoever kept the cookie has what opens nothing any more, at each node.
        let kept: Vec<_> = cluster.nodes.iter().map(|node| there.moved_to(node)).collect();
        let everywhere = async |status: u16| {
            for kept in &kept {
                let asked = async || kept.clone().get("/api/auth/session").await.status;
                eventually("every node to know of it", async || (asked().await == status).then_some(()))
                    .await;
            }
        };
        everywhere(200).await;
        there.post("/api/auth/sign-out", &json!({})).await.expect(204);
        everywhere(401).await;
        let sent = told(&hears, number + 1).await;
        assert_eq!(read(&sent[number]).1["aud"], app.id.as_str());
        browser = there;
    }
}
