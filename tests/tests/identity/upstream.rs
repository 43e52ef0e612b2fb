//! Signing in at another provider: who is believed, and which account that opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use twinmcp_tests::service::Told;
use twinmcp_tests::{NodeSetup, TestNode, eventually};

use super::app::{decide, field, parameter, post_form, signed_in};
use super::provider::{CLIENT, Forge, Provider};
use super::signer::{Signer, hs256, now, unsigned};
use super::{Browser, PASSWORD, person};

const OPEN: &str = ", sign_up = true";

async fn who(browser: &mut Browser) -> Option<String> {
    let answer = browser.get("/api/auth/session").await;
    (answer.status == 200).then(|| answer.json()["account"]["email"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn somebody_who_signs_in_elsewhere_gets_an_account_once_and_comes_back_to_it() {
    let corp = Provider::start().await;
    let node = corp.setup("openid", OPEN).start().await;
    let mut browser = Browser::at(&node);
    assert!(browser.get("/signin").await.expect(200).text.contains("href=\"/upstream/corp?return_to="));
    let came = corp.sign_in(&mut browser, "/libraries?q=kiln").await.expect(303);
    assert_eq!(came.header("location"), "/libraries?q=kiln");
    assert!(!browser.cookies.contains_key("__Host-twinmcp-upstream"), "the way is over");
    let session = browser.get("/api/auth/session").await.expect(200).json();
    let account = session["account"]["id"].clone();
    let settings = browser.get("/settings").await.expect(200).text;
    assert!(settings.contains("Ada at Corp") && settings.contains("(confirmed)"), "{settings}");

    let mut again = Browser::at(&node);
    corp.sign_in(&mut again, "/").await.expect(303);
    assert_eq!(again.get("/api/auth/session").await.expect(200).json()["account"]["id"], account);
    let anew = again.get("/upstream/corp?again=1").await.expect(303).header("location").to_owned();
    assert_eq!(
        parameter(&anew, "prompt").expect("it is there"),
        "login",
        "whoever is to show it once more does there, too"
    );
    // Also after something wrong was typed.
    let page = "/signin?again=1";
    let fields = [("email", "ada@example.org"), ("password", "not mine at all"), ("return_to", "/libraries")];
    assert!(again.get(page).await.expect(200).text.contains("action=\"/signin?again=1\""));
    let wrong = again.submit(page, page, &fields).await.expect(401).text;
    assert!(wrong.contains("action=\"/signin?again=1\""), "{wrong}");
    assert!(wrong.contains("\"/upstream/corp?return_to=%2Flibraries&#38;again=1\""), "{wrong}");
    // The only way in is not taken away.
    let id = field(&settings, "identity");
    let refused = browser.submit("/settings", "/settings/disconnect", &[("identity", &id)]).await.expect(409);
    assert!(refused.text.contains("choose a password first"), "{}", refused.text);

    // Nowhere else than to a page of this service.
    let mut led = Browser::at(&node);
    let came = corp.sign_in(&mut led, "//evil.example").await.expect(303);
    assert_eq!(came.header("location"), "/settings");
    assert_eq!(Browser::at(&node).get("/upstream/nobody").await.status, 404);
}

#[tokio::test]
async fn case_019_an_answer_of_another_provider_or_to_another_browser_is_not_used() {
    let corp = Provider::start().await;
    let node = corp.setup("openid", OPEN).start().await;
    let mut browser = Browser::at(&node);
    let mut other = Browser::at(&node);
    let sent = browser.get("/upstream/corp").await.expect(303).header("location").to_owned();
    let elsewhere = other.get("/upstream/corp").await.expect(303).header("location").to_owned();
    let foreign = parameter(&elsewhere, "state").expect("it is there");
    let code_was_shown = || corp.service.asked().iter().any(|asked| asked.path == "/token");
    for change in [
        ("iss", "https://evil.example"),
        ("iss", ""),
        ("state", &*foreign),
        ("state", ""),
        ("code", ""),
        ("error", "access_denied"),
        ("error", "<script>alert(1)</script>"),
    ] {
        let refused = browser.get(&corp.back(&sent, &[change])).await.expect(403);
        assert!(!refused.text.contains("<script>alert"), "{}", refused.text);
        assert!(browser.session().is_none(), "{change:?}");
        assert!(!code_was_shown(), "{change:?}");
    }
    let back = corp.back(&sent, &[]);
    Browser::at(&node).get(&back).await.expect(403);
    other.get(&back).await.expect(403);
    assert!(!code_was_shown());
    browser.get(&back).await.expect(303);
    assert!(code_was_shown());
}

#[tokio::test]
async fn case_114_whose_token_is_not_right_is_not_signed_in() {
    let corp = Provider::start().await;
    let node = corp.setup("openid", OPEN).start().await;
    let mut browser = Browser::at(&node);
    let refused = async |browser: &mut Browser, what: &str| {
        let answer = corp.sign_in(browser, "/").await;
        assert!(matches!(answer.status, 403 | 502), "{what}: {}", answer.text);
        assert!(browser.session().is_none(), "{what}");
    };
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("another client")),
        ("aud", json!([CLIENT, "another client"])),
        ("azp", json!("another client")),
        ("nonce", json!("of another sign-in")),
        ("nonce", Value::Null),
        ("exp", json!(now() - 3_600)),
        ("iat", json!(now() + 3_600)),
        ("at_hash", json!("x")),
        ("sub", json!("")),
        ("sub", Value::Null),
    ] {
        corp.play().claims = vec![(name, value.clone())];
        refused(&mut browser, &format!("{name}: {value}")).await;
    }
    corp.play().claims = Vec::new();
    // Everything in these is right, but who made them.
    let public = corp.play().signer.jwks().to_string();
    let forgeries: [(&str, Forge); 7] = [
        ("signed by nobody", Box::new(unsigned)),
        ("a secret that is public", Box::new(move |claims| hs256(public.as_bytes(), claims))),
        ("the secret of the node", Box::new(|claims| hs256(b"secret-of-the-node", claims))),
        ("a key of somebody else", Box::new(|claims| Signer::new("k1").sign(claims))),
        ("a key that nobody knows", Box::new(|claims| Signer::new("k2").sign(claims))),
        ("no token", Box::new(|_| "x".to_owned())),
        ("nothing", Box::new(|_| String::new())),
    ];
    for (what, forge) in forgeries {
        corp.play().forge = Some(forge);
        refused(&mut browser, what).await;
    }
    corp.play().forge = None;
    // What the endpoint of its own tells has to be of the same person.
    corp.play().claims = vec![("email", Value::Null)];
    corp.play().userinfo = json!({ "sub": "eve-1", "email": "ada@example.org", "email_verified": true });
    refused(&mut browser, "userinfo of somebody else").await;
    // An address that nobody vouches for makes no account.
    corp.play().userinfo = json!({ "sub": "ada-17", "email": "ada@example.org", "email_verified": false });
    refused(&mut browser, "email_verified: false").await;
    corp.play().claims = vec![("email_verified", json!(false))];
    refused(&mut browser, "email_verified: false in the token").await;
    corp.play().claims = Vec::new();
    corp.sign_in(&mut browser, "/").await.expect(303);
}

#[tokio::test]
async fn case_114_an_account_is_connected_by_its_person_and_never_because_addresses_are_alike() {
    let corp = Provider::start().await;
    let node = corp.setup("openid", OPEN).start().await;
    person(&node.client(), "ada@example.org").await;
    let mut browser = Browser::at(&node);
    // Without the provider's word for the address nothing is told of the account.
    corp.play().claims = vec![("email_verified", json!(false))];
    let unverified = corp.sign_in(&mut browser, "/").await.expect(403);
    assert!(!unverified.text.contains("There is an account"), "{}", unverified.text);
    corp.play().claims = Vec::new();

    let told = corp.sign_in(&mut browser, "/libraries").await.expect(200).text;
    assert!(told.contains("There is an account with your address") && browser.session().is_none(), "{told}");
    assert_eq!(
        browser.get("/upstream/link").await.expect(303).header("location"),
        "/signin?return_to=/upstream/link"
    );
    let wrong = browser.sign_in("ada@example.org", "not hers at all").await;
    assert_eq!(wrong.status, 401);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let question = browser.get("/upstream/link").await.expect(200).text;
    assert!(question.contains("Ada at Corp") && question.contains("ada@example.org"), "{question}");
    // Asking connects nothing.
    let mut elsewhere = Browser::at(&node);
    assert!(corp.sign_in(&mut elsewhere, "/").await.expect(200).text.contains("There is an account"));
    let connected =
        browser.submit("/upstream/link", "/upstream/link", &[("decision", "connect")]).await.expect(303);
    assert_eq!(connected.header("location"), "/libraries");
    corp.sign_in(&mut elsewhere, "/").await.expect(303);
    assert_eq!(who(&mut elsewhere).await.as_deref(), Some("ada@example.org"));

    // Somebody who is led to the question with an identity of another browser is not asked.
    let mut eve = signed_in(&node, "eve@example.org").await;
    eve.get("/upstream/link").await.expect(403);

    // What is connected with one account is not with another; and is taken away by its person.
    let sent =
        eve.submit("/settings", "/settings/connect", &[("provider", "corp"), ("password", PASSWORD)]).await;
    let sent = link_of(&sent.expect(200).text);
    eve.get(&corp.back(&sent, &[])).await.expect(409);
    let settings = browser.get("/settings").await.expect(200).text;
    let id = field(&settings, "identity");
    eve.submit("/settings", "/settings/disconnect", &[("identity", &id)]).await.expect(404);
    browser.submit("/settings", "/settings/disconnect", &[("identity", &id)]).await.expect(303);
    let mut later = Browser::at(&node);
    assert!(corp.sign_in(&mut later, "/").await.expect(200).text.contains("There is an account"));
}

/// The address of a page's link to go on.
fn link_of(page: &str) -> String {
    let rest = page.split_once("<a href=\"http").map(|(_, rest)| rest).expect("the page leads on");
    format!("http{}", rest.split_once('"').expect("it is there").0)
        .replace("&#38;", "&")
        .replace("&amp;", "&")
}

#[tokio::test]
async fn an_identity_is_connected_in_the_settings_with_the_password_and_in_the_same_session() {
    let corp = Provider::start().await;
    // Nobody signs up by it: who has no account is told so.
    let node = corp.setup("openid", "").start().await;
    let mut stranger = Browser::at(&node);
    let refused = corp.sign_in(&mut stranger, "/").await.expect(403);
    assert!(refused.text.contains("invitation"), "{}", refused.text);

    let mut eve = signed_in(&node, "eve@example.org").await;
    let wrong = [("provider", "corp"), ("password", "not hers at all")];
    eve.submit("/settings", "/settings/connect", &wrong).await.expect(403);
    let right = [("provider", "corp"), ("password", PASSWORD)];
    let sent = link_of(&eve.submit("/settings", "/settings/connect", &right).await.expect(200).text);
    // Whoever has signed in anew in between is perhaps somebody else.
    person(&node.client(), "bob@example.org").await;
    let mut changed = eve.clone();
    changed.sign_in("bob@example.org", PASSWORD).await.expect(200);
    changed.get(&corp.back(&sent, &[])).await.expect(403);
    eve.sign_in("eve@example.org", PASSWORD).await.expect(200);
    let sent = link_of(&eve.submit("/settings", "/settings/connect", &right).await.expect(200).text);
    let back = eve.get(&corp.back(&sent, &[])).await.expect(303);
    assert_eq!(back.header("location"), "/settings?done=connect");
    let mut elsewhere = Browser::at(&node);
    corp.sign_in(&mut elsewhere, "/").await.expect(303);
    assert_eq!(who(&mut elsewhere).await.as_deref(), Some("eve@example.org"), "whatever address Corp knows");
}

#[tokio::test]
async fn a_provider_whose_issuer_ends_in_a_slash_is_found_and_believed_letter_by_letter() {
    let corp = Provider::start().await;
    let issuer = format!("{}/", corp.issuer());
    {
        let mut play = corp.play();
        play.metadata = vec![("issuer", json!(issuer))];
        play.claims = vec![("iss", json!(issuer))];
    }
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, super::provider::SECRET).expect("the temporary folder takes a file");
    let provider = format!(
        "[{{ name = \"corp\", url = \"{issuer}\", client_id = \"{CLIENT}\", client_secret_file = \"{}\"{OPEN} }}]",
        secret.display()
    );
    let setup = NodeSetup::default().with("outbound", "allowed_networks", json!(["127.0.0.1"]));
    let node = setup.with("upstream", "providers", provider).start().await;
    let mut browser = Browser::at(&node);
    let sent = browser.get("/upstream/corp").await.expect(303).header("location").to_owned();
    browser.get(&corp.back(&sent, &[])).await.expect(403);
    let sent = browser.get("/upstream/corp").await.expect(303).header("location").to_owned();
    browser.get(&corp.back(&sent, &[("iss", &issuer)])).await.expect(303);
    assert_eq!(who(&mut browser).await.as_deref(), Some("ada@example.org"));
}

#[tokio::test]
async fn the_question_whether_to_connect_leads_on_to_the_client_that_somebody_came_from() {
    let corp = Provider::start().await;
    let node = corp.setup("openid", OPEN).start().await;
    person(&node.client(), "ada@example.org").await;
    let mut browser = Browser::at(&node);
    let back = "/api/oauth/authorize?client_id=a&redirect_uri=https%3A%2F%2Fapp.example%2Fcb";
    corp.sign_in(&mut browser, back).await.expect(200);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let asked = browser.get("/upstream/link").await.expect(200);
    let policy = asked.header("content-security-policy");
    assert!(policy.contains("form-action 'self' https://app.example;"), "{policy}");
    let connect = [("decision", "connect")];
    let led = browser.submit("/upstream/link", "/upstream/link", &connect).await.expect(303);
    assert_eq!(led.header("location"), back);
}

#[tokio::test]
async fn case_115_a_provider_is_asked_where_it_is_and_nowhere_it_sends_a_node() {
    let (corp, inside) = (Provider::start().await, Provider::start().await);
    let inner = |path: &str| json!(inside.service.url(path));
    // Nodes may ask 127.0.0.1 in these tests, and no neighbour of it.
    let neighbour = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let beside = format!("http://{}", neighbour.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while neighbour.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    for (what, metadata, instead) in [
        ("another issuer", vec![("issuer", inner(""))], None),
        ("keys inside the network", vec![("jwks_uri", json!(format!("{beside}/jwks")))], None),
        ("tokens inside the network", vec![("token_endpoint", json!(format!("{beside}/token")))], None),
        ("a file", vec![("token_endpoint", json!("file:///etc/passwd"))], None),
        ("no address", vec![("authorization_endpoint", json!("x"))], None),
        ("a redirect", vec![], Some(Told::status(302).with("location", &inside.service.url("/token")))),
        ("a page", vec![], Some(Told::json(&json!("hello")))),
        ("a failure", vec![], Some(Told::status(500))),
    ] {
        {
            let mut play = corp.play();
            (play.metadata, play.instead) = (metadata, instead);
        }
        // Its metadata is kept for a while: a node of its own for each.
        let node = corp.setup("openid", OPEN).start().await;
        let mut browser = Browser::at(&node);
        let sent = browser.get("/upstream/corp").await;
        if sent.status == 303 {
            let back = corp.back(sent.header("location"), &[]);
            let refused = browser.get(&back).await;
            assert!(matches!(refused.status, 403 | 502), "{what}: {}", refused.text);
            assert!(!refused.text.contains("code-of-the-provider"), "{what}");
        } else {
            sent.expect(502);
        }
        assert!(browser.session().is_none(), "{what}");
    }
    assert!(inside.service.asked().is_empty(), "{:?}", inside.service.asked());
    assert_eq!(connections.load(Ordering::SeqCst), 0, "somebody came from a node");
}

#[tokio::test]
async fn somebody_signs_in_with_github_by_the_number_that_is_theirs_for_ever() {
    let hub = Provider::start().await;
    let node = hub.setup("github", OPEN).start().await;
    let mut browser = Browser::at(&node);
    for emails in [
        json!([{ "email": "ada@example.org", "primary": true, "verified": false }]),
        json!([{ "email": "ada@example.org", "primary": false, "verified": true }]),
        json!([]),
    ] {
        hub.play().emails = emails;
        hub.sign_in(&mut browser, "/").await.expect(403);
    }
    hub.play().emails = json!([
        { "email": "old@example.org", "primary": false, "verified": true },
        { "email": "ada@example.org", "primary": true, "verified": true, "visibility": "private" },
    ]);
    hub.sign_in(&mut browser, "/libraries").await.expect(303);
    assert_eq!(who(&mut browser).await.as_deref(), Some("ada@example.org"));
    assert!(browser.get("/settings").await.expect(200).text.contains("octocat"));
    hub.play().emails = json!([{ "email": "new@example.org", "primary": true, "verified": true }]);
    let mut again = Browser::at(&node);
    hub.sign_in(&mut again, "/").await.expect(303);
    assert_eq!(
        who(&mut again).await.as_deref(),
        Some("ada@example.org"),
        "it is who counts, not the address"
    );
}

#[tokio::test]
async fn case_092_a_sign_out_elsewhere_ends_what_came_of_it_once() {
    let corp = Provider::start().await;
    let node = corp.setup("openid", OPEN).start().await;
    let (mut browser, mut other) = (Browser::at(&node), Browser::at(&node));
    corp.sign_in(&mut browser, "/").await.expect(303);
    corp.play().claims = vec![("sid", json!("there-2"))];
    corp.sign_in(&mut other, "/").await.expect(303);
    let event = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let token = |changes: &[(&str, Value)]| {
        let mut claims = json!({
            "iss": corp.issuer(), "aud": CLIENT, "iat": now(), "exp": now() + 120, "jti": "t1", "sid": "there-1", "events": event,
        });
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        claims
    };
    let client = node.client();
    let send = async |token: &str| {
        post_form(&client, "/api/auth/upstream/corp/logout", &[("logout_token", token)]).await.status
    };
    let sign = |claims: &Value| corp.play().signer.sign(claims);
    for changes in [
        ("nonce", json!("n")),
        ("aud", json!("another client")),
        ("iss", json!("https://evil.example")),
        ("events", json!({})),
        ("events", Value::Null),
        ("sid", Value::Null),
        ("jti", Value::Null),
        ("exp", json!(now() - 3_600)),
    ] {
        let refused = sign(&token(std::slice::from_ref(&changes)));
        assert_eq!(send(&refused).await, 400, "{changes:?}");
    }
    assert_eq!(send(&Signer::new("k1").sign(&token(&[]))).await, 400);
    assert_eq!(send(&unsigned(&token(&[]))).await, 400);
    assert_eq!(send("x").await, 400);
    assert_eq!(
        post_form(&client, "/api/auth/upstream/nobody/logout", &[("logout_token", "x")]).await.status,
        404
    );
    assert!(who(&mut browser).await.is_some());
    let good = sign(&token(&[]));
    assert_eq!(send(&good).await, 200);
    assert!(who(&mut browser).await.is_none(), "it has ended");
    assert!(who(&mut other).await.is_some(), "another session of theirs has not");
    assert_eq!(send(&good).await, 400, "a token is taken once");
    let all = sign(&token(&[("jti", json!("t2")), ("sid", Value::Null), ("sub", json!("ada-17"))]));
    assert_eq!(send(&all).await, 200);
    assert!(who(&mut other).await.is_none());
}

#[tokio::test]
async fn one_service_signs_people_in_for_another_and_signs_them_out_there() {
    let near = |setup: NodeSetup| setup.with("outbound", "allowed_networks", json!(["127.0.0.1"]));
    let home = near(NodeSetup::default()).start().await;
    // Where the other one is for browsers; here the test leads them.
    let public = "http://localhost:3999";
    let mut metadata = json!({
        "client_name": "Branch", "redirect_uris": [format!("{public}/upstream/home/callback")],
        "token_endpoint_auth_method": "none",
    });
    let anonymous = home.client().anonymous();
    let made = anonymous.post("/api/oauth/register", &metadata).await.expect(201).json();
    let text = |name: &str| made[name].as_str().expect("it is there").to_owned();
    let about = anonymous.get("/.well-known/openid-configuration").await.expect(200).json();
    let provider = format!(
        "[{{ name = \"home\", title = \"Home\", url = {}, client_id = \"{}\", sign_up = true }}]",
        about["issuer"],
        text("client_id"),
    );
    let branch =
        near(NodeSetup::default()).with("http", "public_url", public).with("upstream", "providers", provider);
    let branch: TestNode = branch.start().await;
    metadata["backchannel_logout_uri"] = format!("{}/api/auth/upstream/home/logout", branch.url()).into();
    metadata["client_id"] = text("client_id").into();
    let path = format!("/api/oauth/register/{}", text("client_id"));
    let holder = anonymous.with_key(&text("registration_access_token"));
    holder.answer(holder.request(reqwest::Method::PUT, &path).json(&metadata)).await.expect(200);

    // The operator vouches for the address by the link that was opened.
    let invited =
        home.client().post("/api/accounts", &json!({ "email": "ada@example.org", "name": "Ada" })).await;
    let link = invited.expect(201).json()["link"].as_str().expect("it is there").to_owned();
    let (_, token) = super::link(&link);
    let used = json!({ "token": token, "password": PASSWORD });
    anonymous.post("/api/auth/verify", &used).await.expect(204);
    let mut there = Browser::at(&home);
    there.sign_in("ada@example.org", PASSWORD).await.expect(200);

    let mut here = Browser::at(&branch);
    let sent = here.get("/upstream/home").await.expect(303).header("location").to_owned();
    let asked = there
        .get(sent.strip_prefix(about["issuer"].as_str().expect("it is there")).expect("it is there"))
        .await
        .expect(200);
    let back = decide(&mut there, &asked.text, "allow").await.expect(303).header("location").to_owned();
    here.get(back.strip_prefix(public).expect("it is there")).await.expect(303);
    assert_eq!(who(&mut here).await.as_deref(), Some("ada@example.org"));
    there.post("/api/auth/sign-out", &json!({})).await.expect(204);
    eventually("the end to be heard of at the other service", async || {
        who(&mut here).await.is_none().then_some(())
    })
    .await;
}
