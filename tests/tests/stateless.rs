//! The Model Context Protocol without state: nothing is left of a call that is over or given up, and the next one may go to any node.

use std::cell::Cell;

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{Answer, Raw, TestClient, TestNode, eventually};

use super::mcp::{call_2025, call_2026};

/// Calls that are given up. Context7's own server once kept a stream for each.
const GIVEN_UP: usize = 200;

/// The sum of a metric over its labels.
async fn measured(client: &TestClient, name: &str) -> f64 {
    let metrics = client.get("/api/metrics").await.expect(200).text;
    let lines = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum()
}

/// One call as bytes, from a client that would rather have a stream.
fn call_bytes(id: usize) -> String {
    let arguments = json!({ "libraryId": "/acme/kiln", "query": QUESTIONS[0].text });
    let params = json!({ "name": "query-docs", "arguments": arguments });
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream, application/json\r\n\
         content-type: application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn calls_that_are_given_up_leave_neither_streams_nor_connections_behind() {
    let node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let files = measured(&client, "process_open_fds").await;

    // Whoever asks for a stream first gets plain JSON all the same, so there is no stream to be left behind.
    let mut whole = Raw::connect(node.url()).await;
    for id in 0..20 {
        whole.send(call_bytes(id)).await.unwrap();
        let answer = whole.answer().await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("content-type").starts_with("application/json"), "{answer:?}");
        assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap()["id"], id);
    }
    drop(whole);
    let stream_only = super::mcp::post(&client).header("accept", "text/event-stream").json(&json!({}));
    let refused = client.answer(stream_only).await;
    assert!((400..500).contains(&refused.status) && refused.json()["error"]["code"].is_i64(), "{refused:?}");

    for id in 0..GIVEN_UP {
        let mut given_up = Raw::connect(node.url()).await;
        let bytes = call_bytes(id);
        // In the middle of the request, after it, or after a part of the answer.
        let sent = if id % 3 == 0 { &bytes[..bytes.len() / 2] } else { &bytes[..] };
        given_up.send(sent).await.unwrap();
        if id % 3 == 2 {
            given_up.answer().await.expect("an answer");
        }
    }
    eventually("the end of every call and connection", async || {
        // The scrape itself is a request on a connection, which the client keeps.
        let requests = measured(&client, "http_server_active_requests").await;
        let connections = measured(&client, "twinmcp_http_connections").await;
        let open = measured(&client, "process_open_fds").await;
        (requests <= 1.0 && connections <= 1.0 && open <= files + 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_nodes_answer_one_client_by_turns_and_list_their_tools_byte_for_byte_alike() {
    let nodes = [TestNode::empty().await, TestNode::empty().await];
    let clients = nodes.each_ref().map(TestNode::client);
    for client in &clients {
        client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
        client.until_resolved("kiln", "/acme/kiln").await;
    }
    let asked = json!({ "libraryId": "/acme/kiln", "query": QUESTIONS[0].text });
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    let requests = [
        ("server/discover", json!({})),
        ("tools/list", json!({})),
        ("tools/call", json!({ "name": "query-docs", "arguments": asked })),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
    ];
    // What a client gets when a load balancer sends each request to the other node than the one before.
    let turns = |first: usize| {
        let (clients, requests, hello) = (&clients, &requests, &hello);
        async move {
            let mut answers: Vec<Answer> = Vec::new();
            let turn = Cell::new(first);
            let next = || {
                turn.set(turn.get() + 1);
                &clients[turn.get() % 2]
            };
            for (method, params) in requests {
                answers.push(call_2026(next(), method, params.clone()).await.expect(200));
            }
            let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "initialize", "params": hello });
            let client = next();
            answers.push(client.answer(super::mcp::post(client).json(&body)).await.expect(200));
            for (method, params) in &requests[1..] {
                answers.push(call_2025(next(), method, params.clone()).await.expect(200));
            }
            answers.into_iter().map(|answer| strip_date(&answer.text)).collect::<Vec<_>>()
        }
    };
    let (one, other) = (turns(0).await, turns(1).await);
    assert_eq!(one, other, "whichever node a request goes to, its answer is the same");
    assert!(one[2].contains(QUESTIONS[0].says), "{}", one[2]);
}

/// An answer without the moment its documentation was indexed, which is each node's own.
fn strip_date(text: &str) -> String {
    match text.split_once("· indexed ") {
        Some((before, after)) => {
            let end = after.find(|letter: char| !(letter.is_ascii_alphanumeric() || "-:.".contains(letter)));
            format!("{before}{}", &after[end.unwrap_or(after.len())..])
        }
        None => text.to_owned(),
    }
}

#[tokio::test]
async fn sessions_and_streams_of_other_servers_are_neither_needed_nor_made() {
    let node = TestNode::empty().await;
    let client = node.client();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    let request = super::mcp::post(&client).header("mcp-protocol-version", "2025-11-25");
    let request = request.header("mcp-session-id", "01JDCQ0VZ3K8W6M5R2T9Y4X7AB").header("last-event-id", "7");
    let answer = client.answer(request.json(&body)).await.expect(200);
    assert_eq!(answer.header("mcp-session-id"), "", "one that is sent is ignored, never echoed");
    for method in [Method::GET, Method::DELETE] {
        let request = client.request(method, "/mcp").header("mcp-session-id", "01JDCQ0VZ3K8W6M5R2T9Y4X7AB");
        let refused = client.answer(request.header("accept", "text/event-stream")).await.expect(405);
        assert!(refused.json()["error"]["code"].is_i64(), "{refused:?}");
    }
}
