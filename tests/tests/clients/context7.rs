//! Context7's own clients, pointed at a node: the MCP server `context7-mcp` and the command line `ctx7`.

use serde_json::json;
use twinmcp_tests::docs::{self, BASE_URL, QUESTIONS};
use twinmcp_tests::{NodeSetup, TestNode, run};

use super::Clients;

async fn node_with_kiln() -> TestNode {
    let node = NodeSetup::default().overheard().start().await;
    node.client().index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    node.client().until_resolved("kiln", "/acme/kiln").await;
    node
}

#[tokio::test]
async fn the_official_mcp_server_answers_from_a_node() {
    let clients = Clients::installed();
    let node = node_with_kiln().await;
    let question = &QUESTIONS[0];
    for key in [None, Some(node.key()), Some("tmcp_0000")] {
        let mut environment: serde_json::Map<String, serde_json::Value> =
            clients.variables().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        environment.insert("CONTEXT7_API_URL".to_owned(), format!("{}/api", node.url()).into());
        if let Some(key) = key {
            environment.insert("CONTEXT7_API_KEY".to_owned(), key.into());
        }
        let program = clients.module("@upstash/context7-mcp/dist/index.js").display().to_string();
        let arguments = [clients.javascript_options(), vec![program]].concat();
        let asked = json!({
            "command": clients.javascript(),
            "args": arguments,
            "env": environment,
            "calls": [
                ["resolve-library-id", { "libraryName": "kiln", "query": question.text }],
                ["query-docs", { "libraryId": "/acme/kiln", "query": question.text }],
                ["query-docs", { "libraryId": "/acme/kiln/9.9", "query": question.text }],
                ["query-docs", { "libraryId": "/no/such", "query": question.text }],
                ["resolve-library-id", { "libraryName": "xqzvwkjh", "query": "nothing" }],
            ],
        });
        let told = clients.script("sdk_v1.mjs", &asked).await;
        let text =
            |call: usize| told["results"][call]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        if key == Some("tmcp_0000") {
            assert!(text(1).contains("API key"), "{told}");
            continue;
        }
        assert!(text(0).starts_with("Available Libraries:\n\n- Title: "), "{told}");
        assert!(text(0).contains("- Context7-compatible library ID: /acme/kiln\n"), "{told}");
        assert!(text(0).contains("- Versions: 1.0"), "{told}");
        let ours = node.client().context("/acme/kiln", question.text, &[]).await.expect(200).text;
        assert_eq!(text(1).trim(), ours.trim(), "the answer of a node is passed on unchanged");
        assert!(text(2).contains("Available tags: 1.0"), "{told}");
        assert!(text(3).contains("not found"), "{told}");
        assert!(text(4).contains("No libraries found") || text(4).contains("Available Libraries"), "{told}");
        let all = told["results"].to_string();
        assert!(!all.to_lowercase().contains("sign in"), "nobody is urged to sign in elsewhere: {all}");
    }
}

#[tokio::test]
async fn the_official_command_line_answers_from_a_node() {
    let clients = Clients::installed();
    let node = node_with_kiln().await;
    let program = clients.module("ctx7/dist/index.js");
    let ctx7 = |arguments: &[&str]| {
        let mut command = clients.program(&program, &[&["--base-url", node.url()], arguments].concat());
        command.env("CONTEXT7_API_KEY", node.key());
        run(command, "")
    };
    for arguments in [&["library", "kiln", "--json"][..], &["library", "kiln", "retry a firing", "--json"]] {
        let found = ctx7(arguments).await.expect(0);
        let json = found.json();
        let first = if json.is_array() { &json[0] } else { &json["results"][0] };
        assert_eq!(first["id"], "/acme/kiln", "{found:?}");
    }
    let question = &QUESTIONS[3];
    let text = ctx7(&["docs", "/acme/kiln", question.text]).await.expect(0);
    assert!(text.stdout.contains(&format!("{BASE_URL}{}", question.page)), "{text:?}");
    assert!(text.stdout.contains(question.says), "{text:?}");
    let json = ctx7(&["docs", "/acme/kiln", question.text, "--json"]).await.expect(0);
    assert!(json.stdout.contains("infoSnippets") && json.stdout.contains(question.says), "{json:?}");
    let unknown = ctx7(&["docs", "/acme/kiln/9.9", question.text]).await;
    assert!((unknown.stdout.clone() + &unknown.stderr).contains("Available tags: 1.0"), "{unknown:?}");
}
