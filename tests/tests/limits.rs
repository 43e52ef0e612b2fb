//! Limits of requests, sizes and places: what is over them is told how to come back.

use reqwest::Method;
use serde_json::json;
use twinmcp_tests::{Answer, NodeSetup};

fn number(answer: &Answer, header: &str) -> u64 {
    let text = answer.header(header);
    text.parse().unwrap_or_else(|_| panic!("header {header} is `{text}` in {answer:?}"))
}

#[tokio::test]
async fn an_address_without_a_key_is_limited_and_told_when_to_come_back() {
    let setup =
        NodeSetup::default().with("limits", "anonymous_burst", 3).with("limits", "anonymous_per_minute", 1);
    let node = setup.start().await;
    let (owner, anonymous) = (node.client(), node.client().anonymous());
    let path = "/api/v2/libs/search?libraryName=kiln";

    for left in [2, 1, 0] {
        let answer = anonymous.get(path).await.expect(200);
        assert_eq!(number(&answer, "ratelimit-remaining"), left);
        assert!(number(&answer, "ratelimit-limit") > 0);
        assert!(number(&answer, "ratelimit-reset") > 1_700_000_000, "a moment in Unix time");
    }
    let refused = anonymous.get(path).await.expect(429);
    assert!((1..=60).contains(&number(&refused, "retry-after")), "{refused:?}");
    assert_eq!(number(&refused, "ratelimit-remaining"), 0);
    let body = refused.json();
    assert_eq!(body["error"], "rate_limit_exceeded");
    assert_eq!(body["limited_by"], "address");
    assert!(body["message"].as_str().is_some_and(|text| text.contains("API key")), "{body}");

    // The same limit in the two other shapes of errors.
    let problem = anonymous.get("/api/libraries").await.expect(429);
    assert_eq!(problem.json()["code"], "rate_limit_exceeded");
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let rpc = anonymous.post("/mcp", &call).await.expect(429).json();
    assert_eq!(rpc["error"]["data"]["code"], "rate_limit_exceeded", "{rpc}");

    for path in ["/api/health", "/api/health/live", "/api/health/ready", "/api/openapi.json"] {
        anonymous.get(path).await.expect(200);
    }
    // A header that claims another address changes nothing; a key has a limit of its own.
    let claimed = anonymous.request(Method::GET, path).header("x-forwarded-for", "203.0.113.9");
    anonymous.answer(claimed).await.expect(429);
    owner.get(path).await.expect(200);
}

#[tokio::test]
async fn a_key_is_limited_by_itself_and_guessing_keys_is_limited_by_address() {
    let setup = NodeSetup::default()
        .with("limits", "key_burst", 2)
        .with("limits", "key_per_minute", 1)
        .with("limits", "anonymous_burst", 2)
        .with("limits", "anonymous_per_minute", 1);
    let node = setup.start().await;
    let owner = node.client();
    owner.get("/api/libraries").await.expect(200);
    owner.get("/api/libraries").await.expect(200);
    let refused = owner.get("/api/libraries").await.expect(429);
    assert_eq!(refused.json()["limited_by"], "api_key");

    let guesser = owner.with_key("tmcp_000000000000000000000000000000000000");
    guesser.get("/api/libraries").await.expect(401);
    guesser.get("/api/libraries").await.expect(401);
    guesser.get("/api/libraries").await.expect(429);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_it_says_so_or_not() {
    let node = NodeSetup::default().with("http", "body_bytes_max", 2048).start().await;
    let client = node.client();
    let large = format!("{{\"name\":\"{}\",\"scopes\":[\"docs:read\"]}}", "x".repeat(4096));
    let post = |path| client.request(Method::POST, path).header("content-type", "application/json");
    let refused = client.answer(post("/api/keys").body(large.clone())).await.expect(413);
    assert_eq!(refused.code(), "body_too_large");
    // The rest of the body is not read, so the connection ends here; a client that is not told uses it again.
    assert_eq!(refused.header("connection"), "close");

    let pieces = large
        .into_bytes()
        .chunks(1000)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
        .collect::<Vec<_>>();
    let streamed = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let refused =
        client.answer(post("/mcp").header("accept", "application/json, text/event-stream").body(streamed));
    let refused = refused.await.expect(413);
    assert_eq!(refused.json()["jsonrpc"], "2.0", "{refused:?}");
    assert_eq!(refused.header("connection"), "close");
    client.get("/api/libraries").await.expect(200);
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused_and_leaves_nothing_behind() {
    let node = NodeSetup::default().with("ingest", "upload_bytes_max", 4096).start().await;
    let client = node.client();
    let upload =
        client.request(Method::POST, "/api/jobs/uploads").header("content-type", "application/octet-stream");
    let refused = client.answer(upload.body(vec![7_u8; 100_000])).await.expect(413);
    assert_eq!(refused.code(), "body_too_large");
    assert_eq!(node.files("uploads"), Vec::<std::path::PathBuf>::new(), "what was refused is still on disk");
}

#[tokio::test]
async fn machines_behind_one_address_get_tokens_beside_what_it_asks_without_a_key() {
    let setup = NodeSetup::default()
        .with("limits", "anonymous_burst", 2)
        .with("limits", "anonymous_per_minute", 1)
        .with("limits", "oauth_burst", 4)
        .with("limits", "oauth_per_minute", 1);
    let node = setup.start().await;
    let metadata =
        json!({ "client_name": "build", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let made = node.client().post("/api/clients", &metadata).await.expect(201).json();
    let (id, secret) = (made["client_id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let anonymous = node.client().anonymous();
    let form = |path: &str| {
        let request = anonymous.request(Method::POST, path).basic_auth(id, Some(secret));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        anonymous.answer(request.body("grant_type=client_credentials&token=x"))
    };
    for _ in 0..2 {
        anonymous.get("/api/libraries").await.expect(200);
    }
    anonymous.get("/api/libraries").await.expect(429);

    let given = form("/api/oauth/token").await.expect(200);
    assert_eq!((number(&given, "ratelimit-limit"), number(&given, "ratelimit-remaining")), (4, 3));
    form("/api/oauth/introspect").await.expect(200);
    form("/api/oauth/revoke").await.expect(200);
    // A wrong secret counts like a right one.
    let wrong = anonymous.request(Method::POST, "/api/oauth/token").basic_auth(id, Some("wrong"));
    let wrong = wrong.header("content-type", "application/x-www-form-urlencoded");
    anonymous.answer(wrong.body("grant_type=client_credentials")).await.expect(401);
    let refused = form("/api/oauth/token").await.expect(429);
    assert_eq!(
        (refused.code(), refused.header("cache-control")),
        ("rate_limit_exceeded".to_owned(), "no-store")
    );
    assert!((1..=60).contains(&number(&refused, "retry-after")), "{refused:?}");

    // What anybody may have kept without credentials counts with the rest.
    let metadata = json!({ "client_name": "x", "redirect_uris": ["https://app.example/cb"] });
    anonymous.post("/api/oauth/register", &metadata).await.expect(429);
    form("/api/oauth/device_authorization").await.expect(429);
}
