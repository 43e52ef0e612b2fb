//! Clients that mean harm or are broken: each gets a clear end, and everybody else is served meanwhile.

mod bodies;
mod connections;
mod heads;
mod http2;

use twinmcp_tests::{TestClient, TestNode, eventually};

/// A request that the node always answers 200.
const GOOD: &str = "GET /api/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// The value of `twinmcp_http_rejected_total` for a reason; 0 before the first.
async fn rejected(client: &TestClient, reason: &str) -> u64 {
    let metrics = client.get("/api/metrics").await.expect(200).text;
    let series = format!("twinmcp_http_rejected_total{{reason=\"{reason}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse::<f64>().ok());
    value.unwrap_or_default() as u64
}

/// Waits until at least `count` refusals for `reason` are counted.
async fn until_rejected(client: &TestClient, reason: &str, count: u64) {
    eventually(&format!("{count} refusals for {reason}"), async || {
        (rejected(client, reason).await >= count).then_some(())
    })
    .await;
}

/// The node is up, ready and answers.
async fn assert_well(node: &TestNode) {
    node.client().get("/api/health/ready").await.expect(200);
    node.client().get("/api/libraries").await.expect(200);
}
