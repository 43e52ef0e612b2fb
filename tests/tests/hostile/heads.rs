//! Heads of requests: endless, too large, or none.

use twinmcp_tests::{NodeSetup, Raw, TestNode};

use super::{GOOD, assert_well, rejected, until_rejected};

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off_and_a_connection_that_is_only_idle_is_not() {
    let node = NodeSetup::default().with("http", "head_timeout_ms", 300).start().await;
    let mut idle = Raw::connect(node.url()).await;
    let mut kept = Raw::connect(node.url()).await;
    kept.send(GOOD).await.expect("an open connection");
    assert_eq!(kept.answer().await.map(|answer| answer.status), Some(200));

    let drips: Vec<_> = (0..100)
        .map(|number| {
            let url = node.url().to_owned();
            tokio::spawn(async move {
                let mut raw = Raw::connect(&url).await;
                let head = format!("GET /api/libraries?{number} HTTP/1.1\r\nhost: localhost\r\n");
                raw.send(head).await.expect("an open connection");
                // One header now and then, as slow-loris has it.
                raw.drip(b"x-more: 1\r\n").await;
                raw.answer().await
            })
        })
        .collect();
    assert_well(&node).await;
    for drip in drips {
        assert_eq!(drip.await.expect("no panic"), None, "the node closes");
    }
    until_rejected(&node.client(), "head_timeout", 100).await;

    for raw in [&mut idle, &mut kept] {
        raw.send(GOOD).await.expect("an open connection");
        assert_eq!(raw.answer().await.map(|answer| answer.status), Some(200), "idle is no crime");
    }
}

#[tokio::test]
async fn what_is_no_http_gets_400_and_an_end() {
    let node = TestNode::empty().await;
    let before = rejected(&node.client(), "malformed").await;
    let heads: &[&[u8]] = &[
        b"HELLO\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n",
        b"GET  / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nbad header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: local\x00host\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n folded: x\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: many\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
        b"POST /mcp HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello, is this TLS?",
    ];
    for head in heads {
        let mut raw = Raw::connect(node.url()).await;
        raw.send(head).await.expect("an open connection");
        let answer = raw.answer().await;
        let status = answer.map(|answer| answer.status);
        assert_eq!(status, Some(400), "{}", String::from_utf8_lossy(head));
        assert_eq!(raw.rest().await, b"", "nothing more after {}", String::from_utf8_lossy(head));
    }
    until_rejected(&node.client(), "malformed", before + heads.len() as u64).await;
    assert_well(&node).await;
}

#[tokio::test]
async fn a_length_beside_chunks_is_never_a_way_to_smuggle_a_request() {
    let node = TestNode::empty().await;
    // By its length the body holds a second request, by its chunks it ends before (RFC 9112, 6.3).
    let smuggled = "GET /api/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let chunks = "2\r\n{}\r\n0\r\n\r\n";
    let length = chunks.len() + smuggled.len();
    let mut raw = Raw::connect(node.url()).await;
    let head = "POST /api/keys HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let key = format!("authorization: Bearer {}\r\n", node.key());
    let fields = format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n");
    raw.send(format!("{head}{key}{fields}{chunks}{smuggled}")).await.expect("an open connection");
    let first = raw.answer().await.expect("an answer");
    assert_eq!(first.status, 400, "{first:?}");
    assert_eq!(first.header("connection"), "close", "{first:?}");
    assert_eq!(raw.rest().await, b"", "what follows is no request");
    assert_well(&node).await;
}

#[tokio::test]
async fn too_long_a_url_or_head_is_told_in_the_shape_of_the_path() {
    let node = TestNode::empty().await;
    let client = node.client();
    let ask = async |head: String| {
        let mut raw = Raw::connect(node.url()).await;
        // The node may answer and close before it has read everything.
        let _ = raw.send(head).await;
        raw.answer().await.unwrap_or_else(|| panic!("no answer"))
    };
    let get = |path: &str, field: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nx-field: {field}\r\n\r\n")
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");

    let long = format!("/api/libraries?after={}", "a".repeat(9_000));
    let answer = ask(get(&long, "short")).await;
    assert_eq!(
        (answer.status, json(&answer.body)["code"].as_str()),
        (414, Some("url_too_long")),
        "{answer:?}"
    );
    let answer = ask(get("/api/libraries", &"a".repeat(40_000))).await;
    assert_eq!((answer.status, json(&answer.body)["code"].as_str()), (431, Some("headers_too_large")));
    let answer = ask(get("/api/v2/context", &"a".repeat(40_000))).await;
    assert_eq!(json(&answer.body)["error"], "headers_too_large", "{answer:?}");
    let answer = ask(get("/mcp", &"a".repeat(40_000))).await;
    assert_eq!(json(&answer.body)["error"]["data"]["code"], "headers_too_large", "{answer:?}");

    // Far over the limit there is no path to go by.
    assert_eq!(ask(get("/api/libraries", &"a".repeat(400_000))).await.status, 431);
    assert_eq!(ask(get(&format!("/{}", "a".repeat(70_000)), "short")).await.status, 431);
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    assert_eq!(ask(format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n")).await.status, 431);
    until_rejected(&client, "head_too_large", 6).await;
    until_rejected(&client, "url_too_long", 1).await;
    assert_well(&node).await;
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_their_order() {
    let node = TestNode::empty().await;
    let mut raw = Raw::connect(node.url()).await;
    let paths =
        ["/api/health/live", "/api/nothing", "/api/openapi.json", "/api/v2/context", "/api/health/live"];
    let all: String =
        paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).collect();
    raw.send(all.repeat(20)).await.expect("an open connection");
    for round in 0..20 {
        for (path, status) in paths.iter().zip([200, 404, 200, 400, 200]) {
            let answer = raw.answer().await.unwrap_or_else(|| panic!("no answer to {path} in round {round}"));
            assert_eq!(answer.status, status, "{path} in round {round}");
            assert_eq!(answer.body.contains("\"openapi\""), path.ends_with("openapi.json"));
        }
    }
}

#[tokio::test]
async fn a_path_or_query_that_is_badly_encoded_is_the_callers_error() {
    let node = TestNode::empty().await;
    for path in [
        "/api/libraries/%zz/kiln",
        "/api/libraries/%ff%fe/kiln",
        "/api/libraries/%00/%0d%0a",
        "/api/v2/libs/search?libraryName=%",
        "/api/v2/libs/search?libraryName=%ff",
        "/api/v2/context?libraryId=%2Facme%2Fkiln&query=%c3%28",
        "/api/libraries?limit=%31%zz",
        "/api/%2e%2e/%2e%2e/etc/passwd",
        "/%",
    ] {
        let mut raw = Raw::connect(node.url()).await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        raw.send(head).await.expect("an open connection");
        let answer = raw.answer().await.unwrap_or_else(|| panic!("no answer to {path}"));
        assert!((200..500).contains(&answer.status), "{path}: {answer:?}");
        assert!(answer.body.starts_with('{'), "{path}: {answer:?}");
    }
    assert_well(&node).await;
}
