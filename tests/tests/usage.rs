//! Usage of a library: counted by surface and client, told to its owner, kept over a restart.

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{TestClient, TestNode, docs, eventually, with_parameters};

const METRICS: &str = "/api/v2/libs/metrics?libraryId=/acme/kiln";

/// Asks `/acme/kiln` once as a program that sends `headers`.
async fn ask(client: &TestClient, headers: &[(&str, &str)]) {
    let parameters = [("libraryId", "/acme/kiln"), ("query", "glaze colour codes")];
    let mut request = client.request(Method::GET, &with_parameters("/api/v2/context", &parameters));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.answer(request).await.expect(200);
}

/// Waits until the library was asked `total` times in all; what is told then.
async fn asked(client: &TestClient, total: u64) -> Value {
    eventually("usage to be counted", async || {
        let told = client.get(METRICS).await.expect(200).json();
        let sum: u64 =
            ["page", "txt", "mcp", "cli"].iter().filter_map(|name| told["total"][name].as_u64()).sum();
        (sum == total).then_some(told)
    })
    .await
}

#[tokio::test]
async fn questions_are_counted_by_way_and_client_and_survive_a_restart() {
    let mut node = TestNode::empty().await;
    let owner = node.client();
    owner.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    eventually("the library to be resolved, once", async || {
        let found =
            owner.get_with("/api/v2/libs/search", &[("libraryName", "kiln")]).await.expect(200).json();
        (found["results"][0]["id"] == "/acme/kiln").then_some(())
    })
    .await;
    let anonymous = owner.anonymous();
    ask(&anonymous, &[("user-agent", "python-httpx/0.28")]).await;
    ask(&anonymous, &[("x-context7-source", "cli"), ("x-context7-client-ide", "ctx7-cli")]).await;
    // Callers are told apart by a hash of few bits: two may look like one, so there are more than two.
    for _ in 0..7 {
        let (_, key) = owner.create_key(&["docs:read"]).await;
        ask(&owner.with_key(&key), &[("user-agent", "curl/8.5")]).await;
    }
    ask(&owner, &[("x-context7-source", "mcp-server"), ("x-context7-client-ide", "Cursor")]).await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "query-docs", "arguments": { "libraryId": "/acme/kiln", "query": "glaze colour codes" },
        "_meta": { "io.modelcontextprotocol/clientInfo": { "name": "claude-code", "version": "2" } } } });
    let request = owner.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream");
    owner.answer(request.header("mcp-protocol-version", "2025-11-25").json(&call)).await.expect(200);

    let before = asked(&owner, 11).await;
    node.stop().await;
    node.restart().await;
    let owner = node.client();
    let told = asked(&owner, 11).await;
    assert_eq!(told, before, "nothing is lost or counted twice");
    assert_eq!(told["total"], json!({ "page": 0, "txt": 8, "mcp": 2, "cli": 1 }));
    let days = told["daily"].as_array().unwrap();
    assert_eq!(days.iter().filter_map(|day| day["total"].as_u64()).sum::<u64>(), 11);
    assert_eq!(days.iter().filter_map(|day| day["resolved"].as_u64()).sum::<u64>(), 1);
    // Midnight may lie between two of them.
    let clients = |name: &str| days.iter().filter_map(|day| day["clients"][name].as_u64()).sum::<u64>();
    assert_eq!(["claude-code", "cursor", "ctx7", "other"].map(clients), [1, 1, 1, 8], "{told}");
    let users = told["mcpClients"]["dailyData"].as_array().unwrap();
    let users: u64 = users.iter().filter_map(|day| day["totalUniqueUsers"].as_u64()).sum();
    assert!((4..=22).contains(&users), "eight keys and an address: {told}");
    assert!(!told.as_object().unwrap().contains_key("topics"));
}

#[tokio::test]
async fn usage_is_told_to_the_owner_and_nobody_else() {
    let node = TestNode::empty().await;
    let owner = node.client();
    owner.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let (_, writer) = owner.create_key(&["libraries:write"]).await;
    owner.with_key(&writer).get(METRICS).await.expect(200);
    owner.anonymous().get(METRICS).await.expect(401);
    let (_, reader) = owner.create_key(&["docs:read"]).await;
    owner.with_key(&reader).get(METRICS).await.expect(403);
    for (path, status, code) in [
        ("/api/v2/libs/metrics", 400, "validation_error"),
        ("/api/v2/libs/metrics?libraryId=kiln", 400, "invalid_id"),
        ("/api/v2/libs/metrics?libraryId=/no/such", 404, "library_not_found"),
        ("/api/v2/libs/metrics?libraryId=/acme/kiln&days=0", 400, "validation_error"),
        ("/api/v2/libs/metrics?libraryId=/acme/kiln&days=366", 400, "validation_error"),
    ] {
        assert_eq!(owner.get(path).await.expect(status).code(), code, "{path}");
    }
}
