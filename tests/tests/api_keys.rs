//! API keys: what they open, that they close at once, and that secrets stay secret.

use reqwest::Method;
use serde_json::json;
use twinmcp_tests::docs;
use twinmcp_tests::{NodeSetup, TestNode, eventually};

#[tokio::test]
async fn a_key_opens_what_its_scopes_say_and_nothing_else() {
    let node = TestNode::empty().await;
    let owner = node.client();
    owner.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let (_, reader) = owner.create_key(&["docs:read"]).await;
    let (_, keeper) = owner.create_key(&["keys:write"]).await;
    let (reader, keeper) = (owner.with_key(&reader), owner.with_key(&keeper));

    reader.context("/acme/kiln", "glaze colour codes", &[]).await.expect(200);
    let new_key = json!({ "name": "mine", "scopes": ["docs:read"] });
    for (method, path, scope) in [
        (Method::POST, "/api/keys", "keys:write"),
        (Method::GET, "/api/keys", "keys:write"),
        (Method::PATCH, "/api/libraries/acme/kiln", "libraries:write"),
        (Method::DELETE, "/api/libraries/acme/kiln", "libraries:write"),
    ] {
        let refused = reader.answer(reader.request(method.clone(), path).json(&new_key)).await.expect(403);
        assert_eq!(refused.code(), "insufficient_scope", "{method} {path}");
        assert_eq!(refused.json()["scope"], scope, "{method} {path}");
    }
    let upload =
        reader.request(Method::POST, "/api/jobs/uploads").header("content-type", "application/octet-stream");
    reader.answer(upload.body("# Hello")).await.expect(403);

    // Nobody reads with a key that may not, though they could without one.
    keeper.context("/acme/kiln", "glaze colour codes", &[]).await.expect(403);
    let more = json!({ "name": "more", "scopes": ["admin"] });
    assert_eq!(keeper.post("/api/keys", &more).await.expect(403).code(), "insufficient_scope");
    keeper.post("/api/keys", &json!({ "name": "same", "scopes": ["keys:write"] })).await.expect(201);
}

#[tokio::test]
async fn case_116_a_revoked_or_expired_key_is_refused_at_once_and_never_taken_for_anonymous() {
    let node = TestNode::empty().await;
    let owner = node.client();
    let (id, secret) = owner.create_key(&["docs:read"]).await;
    let reader = owner.with_key(&secret);
    reader.get("/api/libraries").await.expect(200);

    owner.delete(&format!("/api/keys/{id}")).await.expect(204);
    for path in ["/api/libraries", "/api/v2/libs/search?libraryName=kiln"] {
        let refused = reader.get(path).await.expect(401);
        assert_eq!(refused.code(), "invalid_api_key", "{path}");
        assert!(refused.header("www-authenticate").starts_with("Bearer"), "{path}");
    }
    let listed = owner.get("/api/keys").await.expect(200).json();
    let key = listed["keys"].as_array().into_iter().flatten().find(|key| key["id"] == id.as_str());
    let key = key.expect("a revoked key is still listed");
    assert_eq!(key["valid"], false);
    assert!(key["revoked_at"].is_string(), "{key}");

    let short = json!({ "name": "short", "scopes": ["docs:read"], "expires_in_s": 1 });
    let short = owner.post("/api/keys", &short).await.expect(201).json();
    let short = owner.with_key(short["secret"].as_str().expect("a new key has a secret"));
    eventually("the end of a key that lives a second", async || {
        (short.get("/api/libraries").await.status == 401).then_some(())
    })
    .await;

    for (name, value) in [
        ("authorization", "Bearer tmcp_0000"),
        ("authorization", "Basic b3duZXI6c2VjcmV0"),
        ("authorization", ""),
        ("x-api-key", "nothing like a key"),
    ] {
        let request = owner.anonymous().request(Method::GET, "/api/libraries").header(name, value);
        assert_eq!(owner.answer(request).await.expect(401).code(), "invalid_api_key", "{name}: {value}");
    }
}

#[tokio::test]
async fn a_key_is_taken_from_every_header_that_clients_send_it_in() {
    let node = TestNode::empty().await;
    let anonymous = node.client().anonymous();
    anonymous.get("/api/keys").await.expect(401);
    for name in [
        "Authorization",
        "Context7-API-Key",
        "X-Context7-API-Key",
        "CONTEXT7_API_KEY",
        "X-API-Key",
        "X_API_KEY",
    ] {
        let request =
            anonymous.request(Method::GET, "/api/keys").header(name, format!("Bearer {}", node.key()));
        assert_eq!(anonymous.answer(request).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn where_anonymous_reading_is_off_every_reader_needs_a_key() {
    let node = NodeSetup::default().with("limits", "anonymous_reads", false).start().await;
    let anonymous = node.client().anonymous();
    for path in
        ["/api/v2/libs/search?libraryName=kiln", "/api/v2/context?libraryId=/a/b&query=c", "/api/libraries"]
    {
        assert_eq!(anonymous.get(path).await.expect(401).code(), "unauthenticated", "{path}");
    }
    node.client().get("/api/libraries").await.expect(200);
}

#[tokio::test]
async fn case_116_a_secret_is_shown_once_and_never_listed_logged_measured_or_written_down() {
    let node = NodeSetup::default().with("telemetry", "log", "trace").start().await;
    let owner = node.client();
    let made = owner.post("/api/keys", &json!({ "name": "mine", "scopes": ["docs:read"] })).await.expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let secret = made.json()["secret"].as_str().expect("a new key has a secret").to_owned();
    assert!(secret.starts_with("tmcp_"), "{secret}");

    let reader = owner.with_key(&secret);
    reader.get("/api/libraries").await.expect(200);
    reader.context("/no/such", "anything", &[]).await.expect(404);
    // A typing error must not put the rest of a secret into the log either.
    owner.with_key(&secret[..secret.len() - 1]).get("/api/libraries").await.expect(401);

    let told = [
        ("the list of keys", owner.get("/api/keys").await.expect(200).text),
        ("the metrics", owner.get("/api/metrics").await.expect(200).text),
        ("the health page", owner.get("/api/health").await.expect(200).text),
        ("the log", node.log()),
    ];
    let hidden = &secret[..secret.len() - 8];
    for (place, text) in told {
        assert!(!text.contains(hidden), "a secret stands in {place}");
    }
    assert_eq!(node.file_with(&[hidden]), None, "a secret stands there");
}
