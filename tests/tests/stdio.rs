//! `twinmcp mcp`: the protocol over standard input and output, for clients without HTTP.

use serde_json::{Value, json};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{Cli, Finished, TestNode, run};

/// Feeds `messages` and the end of input; every line of output must be one message.
pub(crate) async fn relay(cli: &Cli, messages: &[Value]) -> (Vec<Value>, Finished) {
    let input: String = messages.iter().map(|message| format!("{message}\n")).collect();
    let ended = run(cli.command(&["mcp"]), &input).await.expect(0);
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    (ended.stdout.lines().map(line).collect(), ended)
}

pub(crate) fn by_id(answers: &[Value], id: u64) -> &Value {
    answers
        .iter()
        .find(|answer| answer["id"] == id)
        .unwrap_or_else(|| panic!("no answer {id} in {answers:?}"))
}

pub(crate) fn handshake() -> [Value; 2] {
    let info = json!({ "name": "twinmcp-tests", "version": "1" });
    [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
    ]
}

fn call(id: u64, name: &str, arguments: &Value) -> Value {
    let params = json!({ "name": name, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

#[tokio::test]
async fn every_answer_of_the_relay_is_the_nodes_own_and_the_end_of_input_ends_it() {
    let node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    client.until_resolved("kiln", "/acme/kiln").await;
    let question = &QUESTIONS[0];
    let mut messages = handshake().to_vec();
    messages.push(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }));
    messages.push(call(3, "query-docs", &json!({ "libraryId": "/acme/kiln", "query": question.text })));
    messages.push(call(4, "resolve-library-id", &json!({ "libraryName": "kiln", "query": "fire" })));
    messages.push(call(5, "query-docs", &json!({ "libraryId": "/no/such", "query": "anything" })));
    let (answers, ended) = relay(&node.cli(), &messages).await;

    assert_eq!(by_id(&answers, 1)["result"]["protocolVersion"], "2025-06-18");
    let over_http = super::mcp::call_2025(&client, "tools/list", json!({})).await.json();
    assert_eq!(by_id(&answers, 2)["result"]["tools"], over_http["result"]["tools"]);
    let text =
        |id| by_id(&answers, id)["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert_eq!(text(3), client.context("/acme/kiln", question.text, &[]).await.expect(200).text);
    assert!(text(4).contains("/acme/kiln"), "{}", text(4));
    assert!(text(5).contains("not found"), "{}", text(5));
    assert_eq!(answers.len(), 5, "{answers:?}");
    assert!(!ended.stderr.contains(node.key()), "the key stands on standard error");
}

#[tokio::test]
async fn the_newest_wire_works_without_a_handshake() {
    let node = TestNode::empty().await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "twinmcp-tests", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let ask = |id, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "_meta": meta } });
    let (answers, _) = relay(&node.cli(), &[ask(1, "server/discover"), ask(2, "tools/list")]).await;
    let supported = &by_id(&answers, 1)["result"]["supportedVersions"];
    assert!(supported.as_array().is_some_and(|all| all.contains(&json!("2026-07-28"))), "{answers:?}");
    assert_eq!(by_id(&answers, 2)["result"]["tools"].as_array().map(Vec::len), Some(2), "{answers:?}");
}

#[tokio::test]
async fn without_a_node_the_relay_still_lists_its_tools_and_says_what_to_start() {
    let home = tempfile::tempdir().unwrap();
    let cli = Cli::new("http://127.0.0.1:1", None, home.path());
    let mut messages = handshake().to_vec();
    messages.push(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }));
    messages.push(call(3, "resolve-library-id", &json!({ "libraryName": "kiln", "query": "fire" })));
    let (answers, _) = relay(&cli, &messages).await;
    assert_eq!(by_id(&answers, 2)["result"]["tools"].as_array().map(Vec::len), Some(2));
    let text = by_id(&answers, 3)["result"]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.contains("could not reach the node") && text.contains("twinmcp quickstart"), "{answers:?}");
    // No input at all is no failure either.
    run(cli.command(&["mcp"]), "").await.expect(0);
}
