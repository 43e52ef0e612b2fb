//! Bodies: too slow, badly cut into chunks, or never sent.

use twinmcp_tests::{NodeSetup, Raw, TestNode, eventually};

use super::{GOOD, assert_well, until_rejected};

/// The head of a request with a body, with the owner's key.
fn head(node: &TestNode, path: &str, fields: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\naccept: application/json, \
         text/event-stream\r\n{fields}\r\n\r\n",
        node.key()
    )
}

#[tokio::test]
async fn a_body_that_drips_is_refused_with_408_and_holds_no_place() {
    let setup = NodeSetup::default().with("http", "body_grace_ms", 300).with("http", "in_flight_max", 8);
    let node = setup.start().await;
    let drips: Vec<_> = ["/mcp", "/api/keys", "/api/jobs/uploads", "/api/mcp/query-docs"]
        .into_iter()
        .map(|path| {
            let kind = if path.ends_with("uploads") { "octet-stream" } else { "json" };
            let head =
                head(&node, path, &format!("content-type: application/{kind}\r\ncontent-length: 100000"));
            let url = node.url().to_owned();
            tokio::spawn(async move {
                let mut raw = Raw::connect(&url).await;
                raw.send(head).await.expect("an open connection");
                raw.drip(b"x").await;
                (path, raw.answer().await)
            })
        })
        .collect();
    assert_well(&node).await;
    for drip in drips {
        let (path, answer) = drip.await.expect("no panic");
        let answer = answer.unwrap_or_else(|| panic!("no answer to {path}"));
        assert_eq!(answer.status, 408, "{path}: {answer:?}");
        assert_eq!(answer.header("connection"), "close", "{path}");
        assert!(answer.body.contains("body_too_slow"), "{path}: {answer:?}");
    }
    until_rejected(&node.client(), "body_too_slow", 4).await;
    assert_eq!(node.files("uploads"), Vec::<std::path::PathBuf>::new(), "half an upload is left behind");
    assert_well(&node).await;
}

#[tokio::test]
async fn chunks_of_impossible_sizes_are_the_callers_error() {
    let node = TestNode::empty().await;
    for chunks in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-1\r\n{}\r\n0\r\n\r\n",
        "fffffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
        "2 {}\r\n0\r\n\r\n",
        "\r\n\r\n\r\n",
    ] {
        for path in ["/api/keys", "/mcp", "/api/jobs/uploads"] {
            let mut raw = Raw::connect(node.url()).await;
            let fields = "content-type: application/json\r\ntransfer-encoding: chunked";
            raw.send(head(&node, path, fields)).await.expect("an open connection");
            let _ = raw.send(chunks).await;
            let answer = raw.answer().await;
            // What is no chunk is no more HTTP: an answer is a courtesy, an end is a must.
            if let Some(answer) = answer {
                assert!((400..500).contains(&answer.status), "{path} {chunks:?}: {answer:?}");
            }
            raw.rest().await;
        }
    }
    assert_eq!(node.files("uploads"), Vec::<std::path::PathBuf>::new());
    assert_well(&node).await;
}

#[tokio::test]
async fn a_body_shorter_than_it_was_said_to_be_is_no_body() {
    let node = TestNode::empty().await;
    for path in ["/api/keys", "/api/jobs/uploads"] {
        let mut raw = Raw::connect(node.url()).await;
        let fields = "content-type: application/octet-stream\r\ncontent-length: 1000";
        raw.send(head(&node, path, fields)).await.expect("an open connection");
        raw.send("{\"name\":\"half").await.expect("an open connection");
        raw.finish().await.expect("an open connection");
        if let Some(answer) = raw.answer().await {
            assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        }
    }
    eventually("nothing to be left of half an upload", async || {
        node.files("uploads").is_empty().then_some(())
    })
    .await;
    assert_well(&node).await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_go_on_or_refused_before_it_sends() {
    let node = TestNode::empty().await;
    let fields = "content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: ";
    let mut raw = Raw::connect(node.url()).await;
    raw.send(head(&node, "/api/keys", &format!("{fields}2"))).await.expect("an open connection");
    assert_eq!(raw.answer().await.map(|answer| answer.status), Some(100));
    raw.send("{}").await.expect("an open connection");
    assert_eq!(raw.answer().await.map(|answer| answer.status), Some(400));
    raw.send(GOOD).await.expect("an open connection");
    assert_eq!(raw.answer().await.map(|answer| answer.status), Some(200), "the connection goes on");

    let mut raw = Raw::connect(node.url()).await;
    raw.send(head(&node, "/api/keys", &format!("{fields}99999999"))).await.expect("an open connection");
    assert_eq!(raw.answer().await.map(|answer| answer.status), Some(413));
    assert_eq!(raw.rest().await, b"");
}
