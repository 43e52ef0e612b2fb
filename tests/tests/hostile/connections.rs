//! Connections: thousands that are idle, one too many, and clients that never read.

use futures_util::StreamExt;
use reqwest::Method;
use twinmcp_tests::{NodeSetup, Raw, TestNode, eventually};

use super::{GOOD, assert_well, until_rejected};

/// As many as one address and this process can well hold.
const IDLE: usize = 10_000;

fn resident_bytes(metrics: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default() as u64
}

#[tokio::test]
async fn ten_thousand_idle_connections_leave_a_node_ready() {
    twinmcp_tests::raise_file_limit();
    let node = TestNode::empty().await;
    let client = node.client();
    let before = resident_bytes(&client.get("/api/metrics").await.expect(200).text);
    // Half of them have never asked anything, half have and stay.
    let idle: Vec<Raw> = futures_util::stream::iter(0..IDLE)
        .map(async |number| {
            let mut raw = Raw::connect(node.url()).await;
            if number % 2 == 0 {
                raw.send(GOOD).await.expect("an open connection");
                assert_eq!(raw.answer().await.map(|answer| answer.status), Some(200));
            }
            raw
        })
        .buffer_unordered(64)
        .collect()
        .await;
    let metrics = eventually("every connection to be counted", async || {
        let metrics = client.get("/api/metrics").await.expect(200).text;
        let open = metrics.lines().find_map(|line| line.strip_prefix("twinmcp_http_connections "));
        let open = open.and_then(|value| value.parse::<usize>().ok()).unwrap_or_default();
        (open >= IDLE).then_some(metrics)
    })
    .await;
    assert_well(&node).await;
    let after = resident_bytes(&metrics);
    let each = after.saturating_sub(before) / IDLE as u64;
    println!("{IDLE} idle connections: {} MiB, {each} bytes each", after.saturating_sub(before) >> 20);
    assert!(each < 64 * 1024, "{each} bytes for one idle connection");
    drop(idle);
    assert_well(&node).await;
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_idle_ones_make_room() {
    let node = NodeSetup::default().with("http", "connections_max", 20).start().await;
    let mut idle = Vec::new();
    let refused = eventually("a refusal", async || {
        let mut raw = Raw::connect(node.url()).await;
        raw.send(GOOD).await.expect("an open connection");
        let answer = raw.answer().await?;
        if answer.status == 503 {
            assert_eq!(raw.rest().await, b"");
            return Some(answer);
        }
        assert_eq!(answer.status, 200);
        idle.push(raw);
        None
    })
    .await;
    assert_eq!(refused.header("retry-after"), "1", "{refused:?}");
    assert_eq!(refused.header("connection"), "close", "{refused:?}");
    assert!(refused.body.contains("too_many_connections"), "{refused:?}");
    // Nobody leaves, and still there is room for somebody who has something to ask.
    eventually("room", async || {
        let mut raw = Raw::connect(node.url()).await;
        raw.send(GOOD).await.ok()?;
        (raw.answer().await?.status == 200).then_some(())
    })
    .await;
    drop(idle);
    let client = node.client();
    eventually("every idle connection to be gone", async || {
        let metrics = client.try_answer(client.request(Method::GET, "/api/metrics")).await.ok()?;
        metrics.text.lines().any(|line| line == "twinmcp_http_connections 1").then_some(())
    })
    .await;
    until_rejected(&client, "connections", 1).await;
    assert_well(&node).await;
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_cut_off() {
    let node = NodeSetup::default().with("http", "send_timeout_ms", 500).start().await;
    let mut raw = Raw::connect(node.url()).await;
    let ask = "GET /api/docs HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    // More than all buffers on the way hold; the node stops reading when nobody takes its answers.
    for _ in 0..50 {
        let sent = tokio::time::timeout(std::time::Duration::from_millis(100), raw.send(&ask)).await;
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    until_rejected(&node.client(), "send_timeout", 1).await;
    assert_well(&node).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let node = NodeSetup::default().with("http", "idle_timeout_ms", 300).start().await;
    let mut never_used = Raw::connect(node.url()).await;
    let mut used = Raw::connect(node.url()).await;
    used.send(GOOD).await.expect("an open connection");
    assert_eq!(used.answer().await.map(|answer| answer.status), Some(200));
    assert_eq!(never_used.answer().await, None);
    assert_eq!(used.answer().await, None);
    assert_well(&node).await;
}
