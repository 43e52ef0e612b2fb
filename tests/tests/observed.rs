//! What a node tells about itself: probes, and metrics whose labels are bounded.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use twinmcp_tests::{TestNode, docs};

/// Families that dashboards and alerts are built on, in Prometheus' spelling.
const FAMILIES: &[&str] = &[
    "http_server_request_duration_seconds",
    "http_server_active_requests",
    "mcp_server_operation_duration_seconds",
    "twinmcp_http_connections",
    "twinmcp_http_rejected_total",
    "twinmcp_usage_requests_total",
    "twinmcp_usage_ratelimit_decisions_total",
    "twinmcp_mcp_response_tokens",
    "twinmcp_search_query_duration_seconds",
    "twinmcp_search_resolve_duration_seconds",
    "twinmcp_search_libraries",
    "twinmcp_search_snippets",
    "twinmcp_storage_op_duration_seconds",
    "twinmcp_storage_fsync_duration_seconds",
    "twinmcp_consensus_has_leader",
    "twinmcp_consensus_applied_index",
    "twinmcp_consensus_commit_duration_seconds",
    "twinmcp_ingest_queue_depth",
    "twinmcp_ready",
    "twinmcp_build_info",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
];

/// Names and labels of every series, without values.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

#[tokio::test]
async fn a_node_that_takes_requests_says_so_and_shows_its_parts() {
    let node = TestNode::empty().await;
    let client = node.client().anonymous();
    for path in ["/api/health/live", "/api/health/ready"] {
        assert_eq!(client.get(path).await.expect(200).json()["status"], "ok", "{path}");
    }
    let health = client.get("/api/health").await.expect(200).json();
    assert_eq!(health["status"], "ok", "{health}");
    assert_eq!(health["faults"], json!([]), "{health}");
    assert_eq!(health["cluster"]["has_leader"], true, "{health}");
    assert_eq!(health["search_mode"], "words+vectors", "{health}");
    let actors = health["actors"].as_array().expect("a list");
    assert!(!actors.is_empty() && actors.iter().all(|actor| actor["state"] == "running"), "{health}");
    // A probe may come by any name and from any page.
    let probe = client.request(Method::GET, "/api/health/ready").header("host", "balancer.example");
    client.answer(probe).await.expect(200);
}

#[tokio::test]
async fn every_promised_metric_is_there_once_it_had_something_to_count() {
    let node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    client.context("/acme/kiln", "glaze colour codes", &[]).await.expect(200);
    client.get("/api/v2/libs/search?libraryName=kiln").await.expect(200);
    let refused = client.request(Method::GET, "/api/libraries").header("origin", "https://evil.example");
    client.answer(refused).await.expect(403);
    super::mcp::call_2025(&client, "tools/list", json!({})).await;

    let scraped = client.anonymous().get("/api/metrics").await.expect(200);
    assert!(scraped.header("content-type").starts_with("text/plain"), "{}", scraped.header("content-type"));
    let described = |family: &&&str| scraped.text.contains(&format!("# TYPE {family} "));
    let missing: Vec<_> = FAMILIES.iter().filter(|family| !described(family)).collect();
    assert!(missing.is_empty(), "no {missing:?} in\n{}", scraped.text);
    // What a proxy passes on does not come from this machine.
    let passed_on =
        client.anonymous().request(Method::GET, "/api/metrics").header("x-forwarded-for", "203.0.113.9");
    client.answer(passed_on).await.expect(404);
}

#[tokio::test]
async fn no_caller_can_make_a_new_series() {
    let node = TestNode::empty().await;
    let client = node.client();
    // Its age is a series, from when there is one.
    node.can_sign().await;
    let odd = async |number: usize| {
        client.get(&format!("/api/nothing/{number}")).await;
        client.get(&format!("/api/libraries/acme/kiln-{number}")).await;
        client.get(&format!("/api/jobs/job_{number:026}")).await;
        client.context(&format!("/acme/kiln-{number}"), &format!("question {number}"), &[]).await;
        client.get(&format!("/api/v2/libs/search?libraryName=kiln{number}")).await;
        let named = client.request(Method::GET, "/api/v2/libs/search?libraryName=a");
        client.answer(named.header("x-context7-source", format!("client-{number}"))).await;
        let method = Method::from_bytes(format!("BREW{number}").as_bytes()).expect("a valid method");
        client.answer(client.request(method, "/api/keys")).await;
        let call = json!({ "name": format!("tool-{number}"), "arguments": {} });
        super::mcp::call_2025(&client, "tools/call", call).await;
        super::mcp::call_2025(&client, &format!("method/{number}"), json!({})).await;
    };
    let scrape = async || series(&client.get("/api/metrics").await.expect(200).text);
    odd(0).await;
    scrape().await;
    let before = scrape().await;
    for number in 1..12 {
        odd(number).await;
    }
    let after = scrape().await;
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(!after.iter().any(|series| series.contains("kiln") || series.contains("BREW")), "{after:#?}");
}
