//! The Model Context Protocol as bytes on the wire: both eras, no sessions, nothing that hangs.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{Answer, TestClient, TestNode};

/// The newest revision.
const MODERN: &str = "2026-07-28";

pub(crate) fn post(client: &TestClient) -> RequestBuilder {
    client.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream")
}

/// One request of the older wire, which needs no handshake where there are no sessions.
pub(crate) async fn call_2025(client: &TestClient, method: &str, params: Value) -> Answer {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    client.answer(post(client).header("mcp-protocol-version", "2025-11-25").json(&body)).await
}

/// One request of the newest wire.
pub(crate) async fn call_2026(client: &TestClient, method: &str, mut params: Value) -> Answer {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": { "name": "twinmcp-tests", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut request = post(client).header("mcp-protocol-version", MODERN).header("mcp-method", method);
    if let Some(name) = params["name"].as_str() {
        request = request.header("mcp-name", name);
    }
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    client.answer(request.json(&body)).await
}

fn text(answer: &Answer) -> String {
    let body = answer.json();
    let content = body["result"]["content"].as_array().cloned().unwrap_or_default();
    assert_eq!(content.len(), 1, "{body}");
    content[0]["text"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn both_eras_list_and_call_the_same_two_tools_without_a_session() {
    let node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;

    let discovered = call_2026(&client, "server/discover", json!({})).await.expect(200).json();
    let supported = discovered["result"]["supportedVersions"].as_array().cloned().unwrap_or_default();
    assert!(supported.contains(&json!(MODERN)), "{discovered}");
    for revision in ["2025-11-25", "2025-06-18"] {
        let params = json!({
            "protocolVersion": revision, "capabilities": {}, "clientInfo": { "name": "old", "version": "1" },
        });
        // The header names what was agreed, so a first request has none.
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "initialize", "params": params });
        let hello = client.answer(post(&client).json(&body)).await.expect(200);
        assert_eq!(hello.json()["result"]["protocolVersion"], revision);
        assert_eq!(hello.header("mcp-session-id"), "", "a stateless server gives no session");
    }

    let old = call_2025(&client, "tools/list", json!({})).await.expect(200);
    let new = call_2026(&client, "tools/list", json!({})).await.expect(200);
    assert_eq!(old.json()["result"]["tools"], new.json()["result"]["tools"]);
    assert!(new.json()["result"]["ttlMs"].as_u64().is_some(), "{}", new.text);
    assert_eq!(call_2026(&client, "tools/list", json!({})).await.text, new.text, "the list never changes");

    client.until_resolved("kiln", "/acme/kiln").await;
    let question = &QUESTIONS[0];
    let docs =
        json!({ "name": "query-docs", "arguments": { "libraryId": "/acme/kiln", "query": question.text } });
    let rest = client.context("/acme/kiln", question.text, &[]).await.expect(200).text;
    assert_eq!(text(&call_2025(&client, "tools/call", docs.clone()).await.expect(200)), rest);
    assert_eq!(text(&call_2026(&client, "tools/call", docs).await.expect(200)), rest);
    let resolve =
        json!({ "name": "resolve-library-id", "arguments": { "libraryName": "kiln", "query": "fire" } });
    let resolved = text(&call_2026(&client, "tools/call", resolve).await.expect(200));
    assert!(resolved.contains("- Context7-compatible library ID: /acme/kiln\n"), "{resolved}");
    for list in ["prompts/list", "resources/list"] {
        call_2025(&client, list, json!({})).await.expect(200);
    }
}

#[tokio::test]
async fn old_names_of_tools_and_arguments_still_work() {
    let node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    for (name, arguments) in [
        (
            "get-library-docs",
            json!({ "context7CompatibleLibraryID": "/acme/kiln", "topic": "glaze colour codes" }),
        ),
        ("query-docs", json!({ "libraryID": "/acme/kiln", "question": "glaze colour codes" })),
        (
            "query-docs",
            json!({ "context7CompatibleLibraryID": "/acme/kiln", "userQuery": "glaze colour codes" }),
        ),
    ] {
        let answer = call_2025(&client, "tools/call", json!({ "name": name, "arguments": arguments }))
            .await
            .expect(200);
        assert!(text(&answer).contains("celadon"), "{name} {arguments}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_failing_tool_answers_with_text_that_helps_and_wrong_arguments_are_the_tools_error() {
    let node = TestNode::empty().await;
    let client = node.client();
    let call = json!({ "name": "query-docs", "arguments": { "libraryId": "/no/such", "query": "anything" } });
    let answer = call_2025(&client, "tools/call", call).await.expect(200);
    assert!(text(&answer).contains("Library \"/no/such\" not found"), "{}", answer.text);
    assert!(answer.json()["result"]["isError"].as_bool() != Some(true), "as Context7's server has it");

    // An error of the protocol never reaches the model, which could mend its call (SEP-1303).
    for (arguments, named) in [
        (json!({}), "libraryId"),
        (json!({ "libraryId": 7, "query": "x" }), "libraryId"),
        (json!({ "libraryId": "/a/b" }), "query"),
    ] {
        let call = json!({ "name": "query-docs", "arguments": arguments });
        let answer = call_2025(&client, "tools/call", call).await.expect(200);
        assert_eq!(answer.json()["result"]["isError"], true, "{arguments}: {}", answer.text);
        assert!(text(&answer).contains(named), "{arguments}: {}", answer.text);
    }
    let unknown = call_2025(&client, "tools/call", json!({ "name": "fly", "arguments": {} })).await.json();
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
}

#[tokio::test]
async fn what_the_newest_wire_forbids_is_refused_with_its_code() {
    let node = TestNode::empty().await;
    let client = node.client();
    let unknown = call_2026(&client, "no/such", json!({})).await.expect(404).json();
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");

    // A header that disagrees with the body.
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {},
    } } });
    let mismatch =
        post(&client).header("mcp-protocol-version", MODERN).header("mcp-method", "tools/call").json(&body);
    let mismatch = client.answer(mismatch).await.expect(400).json();
    assert_eq!(mismatch["error"]["code"], -32020, "{mismatch}");
}

#[tokio::test]
async fn a_batch_is_answered_with_an_error_and_never_hangs() {
    let node = TestNode::empty().await;
    let client = node.client();
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "tools/call",
          "params": { "name": "query-docs", "arguments": { "libraryId": "/a/b", "query": "c" } } },
        { "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } },
    ]);
    let answer = client.answer(post(&client).json(&batch)).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert!(answer.json()["error"]["code"].is_i64(), "{answer:?}");
}

#[tokio::test]
async fn a_browser_is_told_every_header_it_may_send() {
    let node = TestNode::empty().await;
    let client = node.client();
    let ask = client.request(Method::OPTIONS, "/mcp").header("origin", "http://localhost:5173");
    let ask = ask.header("access-control-request-method", "POST");
    let told =
        client.answer(ask.header("access-control-request-headers", "mcp-protocol-version")).await.expect(204);
    assert_eq!(told.header("access-control-allow-origin"), "http://localhost:5173");
    let allowed = told.header("access-control-allow-headers").to_lowercase();
    for header in [
        "content-type",
        "mcp-session-id",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "x-api-key",
        "context7-api-key",
        "x-context7-api-key",
        "authorization",
    ] {
        assert!(allowed.split(',').any(|one| one.trim() == header), "{header} in {allowed}");
    }
}
