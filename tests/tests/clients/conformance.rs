//! The protocol's public conformance suite, whole: against a node's front and protocol settings around
//! the tools the suite calls by name, and against a real node as far as it asks for none of them.
//!
//! What a server without sessions cannot do on the older wire stands in `clients/expected/*.yml`, each
//! with its reason. A failure that is not listed fails the test, and so does a line that is not needed.

mod fixture;
mod inputs;

use std::path::Path;

use serde_json::{Value, json};
use twinmcp::{Config, Node};
use twinmcp_tests::{Finished, NodeSetup, TestNode, run};

use self::fixture::Fixture;
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

async fn suite(clients: &Clients, url: &str, arguments: &[&str]) -> Finished {
    let program = clients.module("@modelcontextprotocol/conformance/dist/index.js");
    let url = format!("{url}/mcp");
    let results = clients.home.path().join("results").display().to_string();
    let arguments = [&["server", "--url", &url, "-o", &results], arguments].concat();
    run(clients.program(&program, &arguments), "").await
}

async fn failures(revision: &str, scenarios: &[&str]) -> Vec<String> {
    let clients = Clients::installed();
    let node = TestNode::empty().await;
    let mut failures = Vec::new();
    for scenario in scenarios {
        let arguments = ["--scenario", scenario, "--spec-version", revision, "--verbose"];
        let ended = suite(&clients, node.url(), &arguments).await;
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

/// A node in this process whose `/mcp` speaks to the fixture.
async fn fixture_node(folder: &Path) -> Node {
    let mut config = Config::default();
    config.node.data_dir = folder.join("data");
    config.http.listen = ([127, 0, 0, 1], 0).into();
    for limit in [&mut config.limits.anonymous_burst, &mut config.limits.anonymous_per_minute] {
        *limit = 1_000_000;
    }
    Node::start_with(config, Fixture::default()).await.expect("a node in an empty folder starts")
}

/// Runs everything that `revision` requires against the fixture.
async fn whole(revision: &str) {
    let clients = Clients::installed();
    let folder = tempfile::tempdir().expect("the machine has a temporary folder");
    let node = Box::pin(fixture_node(folder.path())).await;
    let expected = clients.folder.join("expected").join(format!("{revision}.yml")).display().to_string();
    let arguments = ["--requirements", revision, "--expected-failures", &expected];
    let ended = suite(&clients, &node.url(), &arguments).await;
    node.stop().await.expect("the node stops");
    let failed = failed_checks(&clients.home.path().join("results"));
    assert_eq!(ended.code, Some(0), "{}\n{}\n{failed:#?}", ended.stdout, ended.stderr);
}

/// Every check that failed, expected or not, by the files in which the suite keeps what it saw.
fn failed_checks(results: &Path) -> Vec<String> {
    let mut failed = Vec::new();
    for scenario in std::fs::read_dir(results).into_iter().flatten().flatten() {
        let checks = std::fs::read(scenario.path().join("checks.json")).unwrap_or_default();
        let checks: Vec<Value> = serde_json::from_slice(&checks).unwrap_or_default();
        let checks = checks.iter().filter(|check| check["status"] == "FAILURE");
        failed.extend(checks.map(|check| format!("{}: {}", check["id"], check["errorMessage"])));
    }
    failed
}

#[tokio::test]
async fn a_node_passes_the_conformance_scenarios_of_the_newest_revision() {
    assert_eq!(failures("2026-07-28", NEWEST).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_node_passes_the_conformance_scenarios_of_the_revision_before() {
    assert_eq!(failures("2025-11-25", OLDER).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_suite_of_the_newest_revision_passes_behind_a_nodes_front() {
    Box::pin(whole("2026-07-28")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_of_the_revision_before_passes_but_for_what_needs_sessions() {
    Box::pin(whole("2025-11-25")).await;
}

/// The authorization server's own scenarios, with a person who opens what the suite asks for.
#[tokio::test]
async fn a_node_passes_the_conformance_scenarios_of_an_authorization_server() {
    let clients = Clients::installed();
    let node = NodeSetup::default().overheard().start().await;
    let (email, password) = ("ada@example.org", "correct horse battery");
    let person = json!({ "email": email, "name": "Ada", "password": password });
    node.client().post("/api/accounts", &person).await.expect(201);
    let metadata = json!({
        "client_name": "Suite", "redirect_uris": ["http://127.0.0.1/callback"], "token_endpoint_auth_method": "none",
    });
    let client = node.client().anonymous().post("/api/oauth/register", &metadata).await.expect(201).json();
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let asked = json!({
            "suite": clients.module("@modelcontextprotocol/conformance/dist/index.js"),
            "issuer": node.url(), "resource": format!("{}/mcp", node.url()), "client_id": client["client_id"],
            "email": email, "password": password, "revision": revision,
        });
        let told = clients.script("conformance_authorization.mjs", &asked).await;
        assert_eq!((&told["code"], &told["opened"]), (&json!(0), &json!(true)), "{told}");
        let checks = told["checks"].as_array().unwrap();
        let statuses: Vec<_> = checks.iter().map(|check| (&check["id"], &check["status"])).collect();
        assert!(checks.len() >= 2 && statuses.iter().all(|(_, status)| *status == "SUCCESS"), "{told}");
        assert!(statuses.iter().any(|(id, _)| *id == "authorization-code-grant"), "{told}");
    }
}
