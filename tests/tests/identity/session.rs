//! A session as a caller: somebody who is signed in does with the API what a key of theirs would, and nobody else does it with
//! their browser.

use reqwest::Method;
use serde_json::json;
use twinmcp_tests::{NodeSetup, TestCluster, TestNode, docs, eventually};

use super::app::signed_in;
use super::{Browser, PASSWORD, person};

#[tokio::test]
async fn a_session_opens_the_api_as_a_key_does() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let account = ada.get("/api/auth/session").await.expect(200).json()["account"]["id"].take();
    let asked = json!({ "name": "editor", "scopes": ["docs:read", "jobs:write", "libraries:write"] });
    let made = ada.post("/api/keys", &asked).await.expect(201).json();
    let key = node.client().with_key(made["secret"].as_str().unwrap());

    // What one indexed, the other changes: both act in the same name.
    key.index("/ada/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let jobs = ada.get("/api/jobs").await.expect(200).json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
    ada.patch("/api/libraries/ada/kiln", &json!({ "title": "Kiln of Ada" })).await.expect(200);
    ada.get("/api/v2/libs/metrics?libraryId=/ada/kiln").await.expect(200);
    let query = json!({ "libraryId": "/ada/kiln", "query": "glaze colour codes" });
    ada.post("/api/mcp/query-docs", &query).await.expect(200);

    // A person may nothing that is the service's; an operator may, with the same cookie.
    for (method, path) in [(Method::GET, "/api/accounts"), (Method::GET, "/api/signing-keys")] {
        let refused = ada.request(method, path);
        let refused = ada.send(refused).await.expect(403);
        assert_eq!(
            (refused.code(), refused.json()["scope"].take()),
            ("insufficient_scope".into(), json!("admin"))
        );
    }
    let wanted = json!({ "name": "more", "scopes": ["admin"] });
    assert_eq!(ada.post("/api/keys", &wanted).await.expect(403).code(), "insufficient_scope");
    let path = format!("/api/accounts/{}", account.as_str().unwrap());
    node.client().patch(&path, &json!({ "operator": true })).await.expect(200);
    ada.get("/api/accounts").await.expect(200);
    node.client().patch(&path, &json!({ "operator": false })).await.expect(200);
    ada.get("/api/accounts").await.expect(403);

    let id = made["key"]["id"].as_str().unwrap();
    ada.delete(&format!("/api/keys/{id}")).await.expect(204);
    key.get("/api/jobs").await.expect(401);
    ada.post("/api/auth/sign-out", &json!({})).await.expect(204);
    assert_eq!(ada.get("/api/keys").await.expect(401).code(), "unauthenticated");
}

#[tokio::test]
async fn a_session_shows_nothing_of_its_person_where_its_end_may_have_been_missed() {
    const EMAIL: &str = "ada@example.org";
    let setup = async |number| TestCluster::setup(number).with("cluster", "stale_after_ms", 2_000);
    let mut cluster = TestCluster::start_as(3, 0, setup).await;
    let mut ada = signed_in(&cluster.nodes[2], EMAIL).await;
    let account = ada.get("/api/auth/session").await.expect(200).json()["account"]["id"].take();
    let path = format!("/api/accounts/{}", account.as_str().unwrap());
    cluster.client(2).patch(&path, &json!({ "operator": true })).await.expect(200);
    let pages = ["/settings", "/settings/keys", "/settings/teams", "/mfa", "/admin/people", "/admin/audit"];
    for page in pages {
        ada.get(page).await.expect(200);
    }

    for place in [0, 1] {
        cluster.nodes[place].kill().await;
    }
    let refused = eventually("the state to be too old", async || {
        let answer = ada.clone().get("/api/auth/session").await;
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.await.expect(503).code(), "state_too_old");
    for page in pages {
        let refused = ada.get(page).await.expect(503);
        assert!(!refused.text.contains(EMAIL), "{page}: {}", refused.text);
        assert_eq!(refused.header("retry-after"), "5");
    }
    ada.get("/libraries").await.expect(200);

    cluster.nodes[0].restart().await;
    for page in pages {
        eventually("what is known to be new again", async || {
            (ada.clone().get(page).await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn case_076_a_page_of_another_site_makes_no_keys_with_a_session() {
    let node = NodeSetup::default().with("limits", "anonymous_reads", false).start().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let wanted = json!({ "name": "stolen", "scopes": ["docs:read"] });
    for (name, value) in [
        ("origin", "http://localhost:5173"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for (method, path) in [
            (Method::POST, "/api/keys"),
            (Method::POST, "/api/teams"),
            (Method::POST, "/api/jobs"),
            (Method::DELETE, "/api/libraries/acme/kiln"),
            (Method::POST, "/api/mcp/resolve-library-id"),
        ] {
            let request = ada.request(method, path).json(&wanted).header(name, value);
            let refused = ada.send(request).await.expect(403);
            // `null` is no origin that is allowed at all.
            let code = if value == "null" { "origin_not_allowed" } else { "cross_site" };
            assert_eq!(refused.code(), code, "{name}: {value} {path}");
        }
    }
    let listed = ada.get("/api/keys").await.expect(200).json();
    assert_eq!(listed["keys"], json!([]));
    // What shows a key is meant, whatever the browser has besides.
    let request = ada.request(Method::POST, "/api/keys").json(&wanted).bearer_auth(node.key());
    let request = request.header("origin", "http://localhost:5173").header("sec-fetch-site", "cross-site");
    ada.send(request).await.expect(201);
    assert_eq!(ada.get("/api/keys").await.expect(200).json()["keys"], json!([]), "it is the other account's");
}

#[tokio::test]
async fn case_076_a_page_of_another_site_reads_nothing_of_the_api_with_a_session() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let account = ada.get("/api/auth/session").await.expect(200).json()["account"]["id"].take();
    let path = format!("/api/accounts/{}", account.as_str().unwrap());
    node.client().patch(&path, &json!({ "operator": true })).await.expect(200);
    for path in [
        "/api/cluster/backup?bundles=false",
        "/api/accounts",
        "/api/keys",
        "/api/auth/session",
        "/api/auth/mfa",
    ] {
        for site in ["cross-site", "same-site"] {
            let request = ada.request(Method::GET, path).header("sec-fetch-site", site);
            assert_eq!(ada.send(request).await.expect(403).code(), "cross_site", "{path} {site}");
        }
        for site in ["same-origin", "none"] {
            let request = ada.request(Method::GET, path).header("sec-fetch-site", site);
            ada.send(request).await.expect(200);
        }
    }
    // Anybody may link to a page, and a program sends no such header.
    let request = ada.request(Method::GET, "/settings/keys").header("sec-fetch-site", "cross-site");
    ada.send(request).await.expect(200);
    ada.get("/api/accounts").await.expect(200);
}

#[tokio::test]
async fn a_key_that_is_sent_is_never_made_good_by_a_cookie() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let request = ada.request(Method::GET, "/api/keys").bearer_auth("tmcp_0000");
    assert_eq!(ada.send(request).await.expect(401).code(), "invalid_api_key");
    let (_, reader) = node.client().create_key(&["docs:read"]).await;
    let request = ada.request(Method::GET, "/api/keys").bearer_auth(&reader);
    assert_eq!(ada.send(request).await.expect(403).code(), "insufficient_scope");
    // A client shows its own credentials, not those of whoever is signed in.
    let request = ada.form("/api/oauth/introspect", &[("token", "x")]);
    ada.send(request).await.expect(401);
}

#[tokio::test]
async fn a_person_makes_and_revokes_keys_by_forms() {
    let node = NodeSetup::default().with("telemetry", "log", "trace").start().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    assert!(ada.get("/settings/keys").await.expect(200).text.contains("There are none yet."));
    let page = "/settings/keys";
    let none = ada.submit(page, page, &[("name", "editor"), ("life_days", "90")]).await.expect(400);
    assert!(none.text.contains("role=\"alert\"") && none.text.contains("value=\"editor\""), "{}", none.text);
    let more = [("name", "more"), ("life_days", "30"), ("scope", "admin")];
    ada.submit(page, page, &more).await.expect(403);

    let fields =
        [("name", "<b>editor</b>"), ("life_days", "30"), ("scope", "docs:read"), ("scope", "jobs:write")];
    let made = ada.submit(page, page, &fields).await.expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let secret = made.text.split_once("<code>tmcp_").and_then(|(_, rest)| rest.split_once('<'));
    let secret = format!("tmcp_{}", secret.expect("the page shows the secret").0);
    let key = node.client().with_key(&secret);
    key.get("/api/jobs").await.expect(200);
    key.get("/api/keys").await.expect(403);

    let listed = ada.get(page).await.expect(200).text;
    assert!(listed.contains("&#60;b&#62;editor") && listed.contains("docs:read, jobs:write"), "{listed}");
    assert!(
        !listed.contains(&secret) && !node.log().contains(&secret),
        "a secret is shown once, and not logged"
    );
    // Nobody else's, and not with a form of another browser.
    let id = super::app::field(&listed, "id");
    let mut eve = signed_in(&node, "eve@example.org").await;
    eve.submit(page, "/settings/keys/revoke", &[("id", &id)]).await.expect(404);
    let foreign = eve.form("/settings/keys/revoke", &[("id", &id), ("form_token", "x")]);
    eve.send(foreign).await.expect(403);
    key.get("/api/jobs").await.expect(200);
    let revoked = ada.submit(page, "/settings/keys/revoke", &[("id", &id)]).await.expect(303);
    assert_eq!(revoked.header("location"), "/settings/keys?done=revoked");
    key.get("/api/jobs").await.expect(401);
    let listed = ada.get("/settings/keys?done=revoked").await.expect(200).text;
    assert!(listed.contains("opens nothing any more") && listed.contains("· revoked"), "{listed}");

    let mut nobody = Browser::at(&node);
    assert_eq!(nobody.get(page).await.expect(303).header("location"), "/signin?return_to=/settings/keys");
}

#[tokio::test]
async fn the_keys_of_somebody_who_is_kept_out_open_nothing_meanwhile() {
    let node = TestNode::empty().await;
    let account = person(&node.client(), "ada@example.org").await;
    let mut ada = Browser::at(&node);
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let made =
        ada.post("/api/keys", &json!({ "name": "k", "scopes": ["docs:read"] })).await.expect(201).json();
    let key = node.client().with_key(made["secret"].as_str().unwrap());
    key.get("/api/libraries").await.expect(200);
    let path = format!("/api/accounts/{}", account["id"].as_str().unwrap());
    node.client().patch(&path, &json!({ "disabled": true })).await.expect(200);
    key.get("/api/libraries").await.expect(401);
    node.client().patch(&path, &json!({ "disabled": false })).await.expect(200);
    key.get("/api/libraries").await.expect(200);
}
