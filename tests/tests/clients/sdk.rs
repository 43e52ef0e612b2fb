//! The protocol's official SDKs, both wires, against `/mcp` and against `twinmcp mcp`.

use serde_json::{Value, json};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{NodeSetup, TestNode, twinmcp};

use super::Clients;

/// What every client must have been told, whichever wire and transport it used.
async fn assert_told(node: &TestNode, told: &Value, protocol: &str) {
    assert_eq!(told["protocol"], protocol, "{told}");
    assert_eq!(told["server"]["name"], "twinmcp", "{told}");
    assert!(told.get("session").is_none_or(Value::is_null), "a stateless server gives no session: {told}");
    let tools = told["tools"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, ["query-docs", "resolve-library-id"], "{told}");
    for tool in &tools {
        assert!(tool["title"].is_string() && tool["description"].is_string(), "{tool}");
        let about = &tool["annotations"];
        let hints =
            ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"].map(|hint| &about[hint]);
        assert_eq!(hints, [&json!(true), &json!(false), &json!(true), &json!(true)], "{tool}");
        assert_plain(&tool["inputSchema"]);
    }
    let text = |call: usize| told["results"][call]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text(0).contains("- Context7-compatible library ID: /acme/kiln\n"), "{told}");
    let ours = node.client().context("/acme/kiln", QUESTIONS[0].text, &[]).await.expect(200).text;
    assert_eq!(text(1), ours);
    assert!(text(2).contains("Available tags: 1.0"), "{told}");
}

/// Models of some vendors reject schemas with more than plain types in them.
fn assert_plain(schema: &Value) {
    assert_eq!(schema["type"], "object", "{schema}");
    for (name, property) in schema["properties"].as_object().expect("a tool has arguments") {
        let members: Vec<&String> = property.as_object().expect("an argument has a schema").keys().collect();
        assert!(
            members.iter().all(|member| matches!(member.as_str(), "type" | "description")),
            "{name}: {members:?}"
        );
        assert!(matches!(property["type"].as_str(), Some("string" | "integer")), "{name}: {property}");
    }
    let allowed = ["type", "properties", "required", "$schema", "additionalProperties"];
    assert!(
        schema.as_object().is_some_and(|it| it.keys().all(|key| allowed.contains(&key.as_str()))),
        "{schema}"
    );
}

fn calls() -> Value {
    let query = QUESTIONS[0].text;
    json!([
        ["resolve-library-id", { "libraryName": "kiln", "query": query }],
        ["query-docs", { "libraryId": "/acme/kiln", "query": query }],
        ["query-docs", { "libraryId": "/acme/kiln/9.9", "query": query }],
    ])
}

async fn node_with_kiln() -> TestNode {
    let node = NodeSetup::default().overheard().start().await;
    node.client().index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    node.client().until_resolved("kiln", "/acme/kiln").await;
    node
}

#[tokio::test]
async fn the_typescript_sdk_of_both_generations_lists_and_calls_over_http() {
    let clients = Clients::installed();
    let node = node_with_kiln().await;
    let url = format!("{}/mcp", node.url());
    for (script, mode, protocol) in [
        ("sdk_v1.mjs", json!(null), "2025-11-25"),
        ("sdk_v2.mjs", json!("auto"), "2026-07-28"),
        ("sdk_v2.mjs", json!("legacy"), "2025-11-25"),
        ("sdk_v2.mjs", json!({ "pin": "2026-07-28" }), "2026-07-28"),
    ] {
        for headers in [json!({}), json!({ "Authorization": format!("Bearer {}", node.key()) })] {
            let mut asked = json!({ "url": url, "headers": headers, "calls": calls() });
            if !mode.is_null() {
                asked["mode"] = mode.clone();
            }
            assert_told(&node, &clients.script(script, &asked).await, protocol).await;
        }
    }
}

#[tokio::test]
async fn the_typescript_sdk_of_both_generations_lists_and_calls_over_the_relay() {
    let clients = Clients::installed();
    let node = node_with_kiln().await;
    let environment = json!({ "TWINMCP_URL": node.url(), "TWINMCP_API_KEY": node.key() });
    for (script, mode, protocol) in [
        ("sdk_v1.mjs", "legacy", Value::Null),
        ("sdk_v2.mjs", "auto", json!("2026-07-28")),
        ("sdk_v2.mjs", "legacy", json!("2025-11-25")),
    ] {
        let asked = json!({
            "command": twinmcp(), "args": ["mcp"], "env": environment, "mode": mode, "calls": calls(),
        });
        let mut told = clients.script(script, &asked).await;
        // The older SDK does not tell which revision a pipe speaks.
        if protocol.is_null() {
            told["protocol"] = json!("untold");
        }
        assert_told(&node, &told, protocol.as_str().unwrap_or("untold")).await;
    }
}

#[tokio::test]
async fn the_python_sdk_lists_and_calls_over_http() {
    let clients = Clients::installed();
    let node = node_with_kiln().await;
    for (mode, protocol) in [("auto", "2026-07-28"), ("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28")] {
        let asked = json!({ "url": format!("{}/mcp", node.url()), "mode": mode, "calls": calls() });
        let mut told = clients.script("sdk_python.py", &asked).await;
        if mode == "2026-07-28" && told["server"].is_null() {
            // A client that asks for a revision without probing is not told who serves.
            told["server"] = json!({ "name": "twinmcp" });
        }
        assert_told(&node, &told, protocol).await;
    }
}
