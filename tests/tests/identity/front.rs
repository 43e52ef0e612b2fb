//! What strangers can do at the authorization server's doors: registrations, names of others, pages of other sites.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::site::{Page, Site};
use twinmcp_tests::{Answer, NodeSetup, eventually, with_parameters};

use super::app::{App, VERIFIER, parameter, signed_in};
use super::client_keys;
use super::signer::{Signer, now, read};

#[tokio::test]
async fn case_045_a_key_is_not_fetched_from_where_a_forged_token_says_that_it_is() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    place.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys.json", place.local_addr().unwrap());
    // A node may ask there, if it wants to.
    let node = NodeSetup::default().with("outbound", "allowed_networks", json!(["127.0.0.1"])).start().await;
    let (client, app) = (node.client(), App::confidential(&node).await);
    let mut browser = signed_in(&node, "ada@example.org").await;
    let code = app.code(&mut browser, &[]).await;
    let given = app.redeem(&client, &code, &[]).await.expect(200).json();
    let token = |name: &str| given[name].as_str().expect("it is there").to_owned();
    let (access, id_token, secret) = (token("access_token"), token("id_token"), app.secret.clone().unwrap());
    let signer = Signer::new("k1");
    let machine = client_keys::machine(&client, &json!({ "jwks": Signer::new("k1").jwks() })).await;
    let issuer = client_keys::issuer(&client).await;
    for more in [
        json!({ "jku": url }),
        json!({ "x5u": url }),
        json!({ "jwk": signer.jwk() }),
        json!({ "jku": url, "x5u": url, "kid": "k1" }),
        json!({ "jku": url, "x5u": url, "jwk": signer.jwk(), "x5c": ["MA=="], "kid": url }),
    ] {
        let with_more = |mut head: Value| {
            head["alg"] = "ES256".into();
            for (name, value) in more.as_object().expect("it is there") {
                head[name] = value.clone();
            }
            head
        };
        let forged = |token: &str| {
            let (head, claims) = read(token);
            signer.sign_as(&with_more(head), &claims)
        };
        let (forged_access, forged_id) = (forged(&access), forged(&id_token));
        client.with_key(&forged_access).get("/api/libraries").await.expect(401);
        let told = app.ask(&client, "/api/oauth/introspect", &[("token", &forged_access)]).await.expect(200);
        assert_eq!(told.json(), json!({ "active": false }), "{more}");
        let hint = [("id_token_hint", forged_id.as_str())];
        let asked = browser.get(&app.authorize(&hint)).await.expect(303);
        let error = parameter(asked.header("location"), "error");
        assert_eq!(error.as_deref(), Some("invalid_request"), "{more}");
        browser.get(&with_parameters("/api/oauth/logout", &hint)).await.expect(400);
        let claims = client_keys::claims(&machine, &issuer, &[]);
        let assertion = signer.sign_as(&with_more(json!({ "kid": "k1", "typ": "JWT" })), &claims);
        client_keys::ask(&client, &assertion, &[]).await.expect(401);
        // A proof has its key in its head, and nowhere else.
        if more["jwk"].is_null() {
            let url = format!("{issuer}/api/oauth/token");
            let fields = [
                ("grant_type", "authorization_code"),
                ("client_id", app.id.as_str()),
                ("client_secret", secret.as_str()),
                ("code", "x"),
                ("code_verifier", VERIFIER),
            ];
            let sent = async |head: &Value, nonce: &str| {
                let (htu, jti) = (&url, format!("{more}{nonce}"));
                let claims = json!({ "jti": jti, "htm": "POST", "htu": htu, "iat": now(), "nonce": nonce });
                client_keys::ask_proving(&client, &fields, &signer.sign_as(head, &claims)).await.expect(400)
            };
            // The same proof with its key is taken, and the code is what is refused.
            let forged = with_more(json!({ "typ": "dpop+jwt" }));
            let right = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": signer.jwk() });
            let nonce = sent(&right, "x").await.header("dpop-nonce").to_owned();
            assert_eq!(sent(&forged, &nonce).await.code(), "invalid_dpop_proof", "{more}");
            assert_eq!(sent(&right, &nonce).await.code(), "invalid_grant", "{more}");
        }
    }
    let connected = place.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(connected, Err(ErrorKind::WouldBlock), "somebody has asked for the key");
    // What a node does ask for there is seen.
    let app = App { id: url, secret: None, redirect_uri: "https://app.example/cb".to_owned() };
    let path = app.authorize(&[]);
    let seen = eventually("the node to ask", async || place.accept().ok().map(drop));
    let (refused, ()) = tokio::join!(browser.get(&path), seen);
    refused.expect(400);
}

#[tokio::test]
async fn case_069_a_client_whose_document_lies_inside_is_refused_and_nothing_is_asked_for_it() {
    let inside = TcpListener::bind("127.0.0.1:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let port = inside.local_addr().unwrap().port();
    let node = NodeSetup::default().start().await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    for id in [
        format!("http://127.0.0.1:{port}/client.json"),
        format!("https://127.0.0.1:{port}/client.json"),
        format!("https://localhost:{port}/client.json"),
        format!("https://[::1]:{port}/client.json"),
        format!("https://[::ffff:127.0.0.1]:{port}/client.json"),
        format!("https://[::ffff:7f00:1]:{port}/client.json"),
        format!("https://2130706433:{port}/client.json"),
        format!("https://0.0.0.0:{port}/client.json"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/client.json".to_owned(),
        "https://[fd00::1]/client.json".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let app = App { id: id.clone(), secret: None, redirect_uri: "https://app.example/cb".to_owned() };
        let refused = browser.get(&app.authorize(&[])).await.expect(400);
        assert_eq!(refused.header("location"), "", "{id}");
    }
    let connected = inside.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(connected, Err(ErrorKind::WouldBlock), "somebody has asked inside");
}

#[tokio::test]
async fn case_070_a_document_that_is_none_of_the_clients_is_refused_with_the_reason() {
    const REDIRECT: &str = "https://app.example/cb";
    let base = Arc::new(OnceLock::<String>::new());
    let known = Arc::clone(&base);
    let site = Site::start(move |path, _| {
        let id = format!("{}{path}", known.get().cloned().unwrap_or_default());
        let mut document = json!({ "client_id": id, "client_name": "App", "redirect_uris": [REDIRECT] });
        match path {
            "/html" => return Page::html(&document.to_string()),
            "/moved" => return Page::moved("/client.json"),
            "/gone" => return Page::status(404),
            "/junk" => return Page::of("application/json", "{"),
            "/large" => document["client_uri"] = "x".repeat(6_000).into(),
            "/another" => document["client_id"] = "https://app.example/client.json".into(),
            "/secret" => document["client_secret"] = "s".into(),
            _ => {}
        }
        Page::of("application/json", document.to_string())
    });
    let site = site.await;
    base.set(site.url("")).unwrap();
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = NodeSetup::default().with("outbound", "allowed_networks", json!(["127.0.0.1"])).start().await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let app = |id: String| App { id, secret: None, redirect_uri: REDIRECT.to_owned() };
    for (id, why) in [
        (site.url("/html"), "is not said to be JSON"),
        (site.url("/moved"), "status 301"),
        (site.url("/gone"), "status 404"),
        (site.url("/junk"), "is not JSON"),
        (site.url("/large"), "could not be fetched"),
        (site.url("/another"), "names another client_id"),
        (site.url("/secret"), "holds a secret"),
        (site.url("/a/../client.json"), "could be written more simply"),
        (format!("http://{}/client.json", silent.local_addr().unwrap()), "within 3 seconds"),
    ] {
        let refused = browser.get(&app(id.clone()).authorize(&[])).await.expect(400);
        assert_eq!(refused.header("location"), "", "{id}");
        assert!(refused.text.contains(why), "{id}: {}", refused.text);
    }
    browser.get(&app(site.url("/client.json")).authorize(&[])).await.expect(200);
}

#[tokio::test]
async fn case_071_who_is_sent_to_another_host_than_the_client_names_is_told_both() {
    // The document names another web site than its own.
    let document = Arc::new(OnceLock::new());
    let shown = Arc::clone(&document);
    let site =
        Site::start(move |_, _| Page::of("application/json", shown.get().cloned().unwrap_or_default()));
    let site = site.await;
    let id = site.url("/client.json");
    let metadata =
        json!({ "client_id": id, "client_name": "App", "redirect_uris": ["https://other.example/cb"] });
    document.set(metadata.to_string()).unwrap();
    let node = NodeSetup::default().with("outbound", "allowed_networks", json!(["127.0.0.1"])).start().await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let app = App { id, secret: None, redirect_uri: "https://other.example/cb".to_owned() };
    let page = browser.get(&app.authorize(&[("scope", "docs:read")])).await.expect(200).text;
    let notice =
        |page: &str| page.split_once("It says that it belongs to").map(|(_, notice)| notice.to_owned());
    let told = notice(&page).unwrap_or_else(|| panic!("no notice in {page}"));
    assert!(
        told.contains("<strong>127.0.0.1</strong>") && told.contains("<strong>other.example</strong>"),
        "{told}"
    );

    // Who registers may say anything of itself.
    let registered = async |home: &str| {
        let metadata = json!({
            "client_name": "GitHub", "client_uri": home, "redirect_uris": ["https://app.example/cb"],
            "token_endpoint_auth_method": "none",
        });
        App::register(&node, &metadata).await
    };
    let false_one = registered("https://github.example/").await;
    let page = browser.get(&false_one.authorize(&[])).await.expect(200).text;
    let told = notice(&page).unwrap_or_else(|| panic!("no notice in {page}"));
    assert!(
        told.contains("<strong>github.example</strong>") && told.contains("<strong>app.example</strong>"),
        "{told}"
    );
    let honest = registered("https://app.example/about").await;
    let page = browser.get(&honest.authorize(&[])).await.expect(200).text;
    assert!(notice(&page).is_none() && page.contains("<strong>app.example</strong>"), "{page}");
}

#[tokio::test]
async fn case_072_a_flood_of_registrations_is_turned_away_with_when_to_come_back() {
    let setup =
        NodeSetup::default().with("limits", "anonymous_burst", 30).with("limits", "anonymous_per_minute", 1);
    let node = setup.start().await;
    let stranger = node.client().anonymous();
    let metadata = json!({ "client_name": "x", "redirect_uris": ["https://app.example/cb"] });
    let (mut made, mut refused) = (0, 0);
    for _ in 0..1_000 {
        let answer = stranger.post("/api/oauth/register", &metadata).await;
        match answer.status {
            201 => made += 1,
            429 => {
                assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
                refused += 1;
            }
            other => panic!("status {other}"),
        }
    }
    // The burst, and one for each minute that the flood took.
    assert!((30..60).contains(&made) && made + refused == 1_000, "{made} made, {refused} refused");
    // Others go on meanwhile. That unused ones go after a day: `storage/src/oauth/tests.rs`.
    let machine = json!({ "client_name": "b", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let machine = App::made_by(&node.client(), &machine).await;
    let grant = [("grant_type", "client_credentials")];
    machine.ask(&node.client(), "/api/oauth/token", &grant).await.expect(200);
}

#[tokio::test]
async fn case_087_pages_of_other_origins_read_no_authorization_and_send_no_cookies() {
    let allowed = "https://app.example";
    let node = NodeSetup::default().with("http", "allowed_origins", format!("[\"{allowed}\"]")).start().await;
    let app = App::public(&node).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let cors = |answer: &Answer| {
        let names = answer.headers.keys().map(|name| name.as_str());
        names.filter(|name| name.starts_with("access-control-")).map(str::to_owned).collect::<Vec<_>>()
    };
    let path = app.authorize(&[]);
    for origin in ["https://evil.example", allowed, "http://localhost:5173", "null"] {
        // The page's script, then the browser's question before one with more headers.
        let asked = browser.request(Method::GET, &path).header("origin", origin);
        let read = browser.send(asked).await;
        assert_eq!(cors(&read), [""; 0], "{origin}");
        let ask = browser.request(Method::OPTIONS, &path).header("origin", origin);
        let told = browser.send(ask.header("access-control-request-method", "GET")).await;
        assert_eq!(told.header("access-control-allow-origin"), "", "{origin}");
    }

    let token = async |origin: &str| {
        let request = browser.request(Method::POST, "/api/oauth/token").header("origin", origin);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        node.client().answer(request.body("grant_type=refresh_token&refresh_token=x")).await
    };
    let evil = token("https://evil.example").await.expect(403);
    assert_eq!((evil.code(), cors(&evil)), ("origin_not_allowed".to_owned(), Vec::new()));
    let read = token(allowed).await;
    assert_eq!(read.header("access-control-allow-origin"), allowed);
    assert_eq!(read.header("access-control-allow-credentials"), "");
    // A program that proves a key sends a header, and reads the nonce in another.
    let ask =
        node.client().anonymous().request(Method::OPTIONS, "/api/oauth/token").header("origin", allowed);
    let told = node.client().answer(ask.header("access-control-request-method", "POST")).await.expect(204);
    assert!(told.header("access-control-allow-headers").contains("DPoP"), "{told:?}");
    assert!(read.header("access-control-expose-headers").contains("DPoP-Nonce"), "{read:?}");
    assert_eq!(told.header("access-control-allow-credentials"), "");
}
