//! The protocol's public conformance suite, as far as it asks for nothing that only a test server has.

use serde_json::Value;
use twinmcp_tests::{Finished, TestNode, run};

use super::Clients;

/// Scenarios of the newest revision that need no tools, resources or prompts of fixed names.
const NEWEST: &[&str] = &[
    "server-stateless",
    "tools-list",
    "resources-list",
    "prompts-list",
    "caching",
    "dns-rebinding-protection",
    "http-header-validation",
    "server-sse-multiple-streams",
    "sep-2164-resource-not-found",
];

/// The same of the wire before it, for a server without sessions.
const OLDER: &[&str] = &[
    "server-initialize",
    "ping",
    "tools-list",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
];

/// How the suite says that it looked for something only a test server has.
const NOT_TESTABLE: &str = "Not testable";

async fn failures(revision: &str, scenarios: &[&str]) -> Vec<String> {
    let clients = Clients::installed();
    let node = TestNode::empty().await;
    let program = clients.module("@modelcontextprotocol/conformance/dist/index.js");
    let url = format!("{}/mcp", node.url());
    let mut failures = Vec::new();
    for scenario in scenarios {
        let arguments =
            ["server", "--url", &url, "--scenario", scenario, "--spec-version", revision, "--verbose"];
        let ended = run(clients.program(&program, &arguments), "").await;
        let checks = checks(&ended);
        let passed = checks.iter().filter(|check| check["status"] == "SUCCESS").count();
        assert!(passed > 0, "{scenario} checked nothing: {ended:?}");
        let reason = |check: &Value| check["errorMessage"].as_str().unwrap_or_default().to_owned();
        let failed = checks.iter().filter(|check| check["status"] == "FAILURE");
        let failed = failed.filter(|check| !reason(check).starts_with(NOT_TESTABLE));
        failures
            .extend(failed.map(|check| format!("{scenario}: {}: {}", check["description"], reason(check))));
    }
    failures
}

/// The list of checks between the words around it.
fn checks(ended: &Finished) -> Vec<Value> {
    let start = ended.stdout.find("\n[").unwrap_or_default();
    let mut lists = serde_json::Deserializer::from_str(&ended.stdout[start..]).into_iter::<Vec<Value>>();
    match lists.next() {
        Some(Ok(checks)) => checks,
        other => panic!("no list of checks ({other:?}) in {ended:?}"),
    }
}

#[tokio::test]
async fn a_node_passes_the_conformance_scenarios_of_the_newest_revision() {
    assert_eq!(failures("2026-07-28", NEWEST).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_node_passes_the_conformance_scenarios_of_the_revision_before() {
    assert_eq!(failures("2025-11-25", OLDER).await, Vec::<String>::new());
}
