//! The protocol's public conformance suite, as far as it asks for nothing that only a test server has.

use twinmcp_tests::{TestNode, run};

use super::Clients;

/// Scenarios that need no tools, resources or prompts of fixed names.
const SCENARIOS: &[&str] = &[
    "server-stateless",
    "tools-list",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
    "http-header-validation",
    "caching",
    "sep-2164-resource-not-found",
];

#[tokio::test]
async fn a_node_passes_the_conformance_scenarios_of_the_newest_revision() {
    let clients = Clients::installed();
    let node = TestNode::empty().await;
    let program = clients.module("@modelcontextprotocol/conformance/dist/index.js");
    let url = format!("{}/mcp", node.url());
    let mut failed = Vec::new();
    for scenario in SCENARIOS {
        let arguments = ["server", "--url", &url, "--scenario", scenario, "--spec-version", "2026-07-28", "--verbose"];
        let ended = run(clients.program(&program, &arguments), "").await;
        if ended.code != Some(0) {
            failed.push(format!("{scenario}: {}\n{}", ended.stdout, ended.stderr));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
