//! A node that is asked to stop: it answers what it has begun, takes nothing new, and goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Method;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{TestClient, TestNode, eventually};

/// Asks until the node is gone; how often it was answered. Whatever was answered must be right.
async fn ask_on(client: TestClient, answered: Arc<AtomicUsize>) -> reqwest::Error {
    loop {
        let path = format!("/api/v2/context?libraryId=/acme/kiln&query={}", QUESTIONS[0].text.replace(' ', "+"));
        match client.try_answer(client.request(Method::GET, &path)).await {
            Ok(answer) => {
                let answer = answer.expect(200);
                assert!(answer.text.contains(QUESTIONS[0].says), "{}", answer.text);
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn no_request_is_lost_when_a_node_under_load_is_asked_to_stop() {
    let mut node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;

    let answered = Arc::new(AtomicUsize::new(0));
    let asking: Vec<_> = (0..8)
        .map(|_| {
            // Each with connections of its own, as different clients have.
            let client = TestClient::new(node.url(), Some(node.key()));
            tokio::spawn(ask_on(client, Arc::clone(&answered)))
        })
        .collect();
    // An upload that is half sent when the node is asked to stop.
    let (pieces, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = futures_util::stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
    let upload = client.request(Method::POST, "/api/jobs/uploads").header("content-type", "application/octet-stream");
    let upload = upload.body(reqwest::Body::wrap_stream(body.boxed()));
    let upload = tokio::spawn({
        let client = client.clone();
        async move { client.answer(upload).await }
    });
    pieces.send(Ok(Bytes::from_static(b"# First half\n\n"))).await.unwrap();
    eventually("the upload on the node's disk", async || {
        std::fs::read_dir(node.data_dir().join("uploads")).ok()?.next().map(|_| ())
    })
    .await;
    eventually("some answers", async || (answered.load(Ordering::Relaxed) > 100).then_some(())).await;

    node.signal("TERM");
    eventually("readiness to go", async || {
        let ready = client.try_answer(client.request(Method::GET, "/api/health/ready")).await;
        (!ready.is_ok_and(|answer| answer.status == 200)).then_some(())
    })
    .await;
    pieces.send(Ok(Bytes::from_static(b"Second half.\n"))).await.unwrap();
    drop(pieces);
    let upload = upload.await.unwrap();
    assert_eq!(upload.status, 201, "{upload:?}");

    for asked in asking {
        // Refused before anything was sent: another node can be asked, nothing was lost.
        let error = asked.await.expect("every answer was right");
        assert!(error.is_connect(), "a request was sent and not answered: {error:?}");
    }
    let status = node.stop().await;
    assert!(status.success(), "{status}: {}", node.log());
}

#[tokio::test]
async fn a_node_stops_though_somebody_follows_a_job_and_goes_on_with_it_at_the_next_start() {
    let mut node = TestNode::empty().await;
    let client = node.client();
    let id = client.start_job("/acme/big", "1", "docs.tar", docs::tar(&docs::made_up(800, 8))).await;
    let mut events = client.events(&format!("/api/jobs/{id}/events")).await;
    while let Some((_, job)) = events.next().await {
        if job["progress"]["pages"].as_u64() > Some(0) {
            break;
        }
    }
    let status = node.stop().await;
    assert!(status.success(), "{status}: {}", node.log());
    while events.next().await.is_some() {}
    node.restart().await;
    let client = node.client();
    let job = client.ended_job(&id).await;
    assert_eq!(job["state"], "done", "{job}");
}

#[tokio::test]
async fn a_second_node_on_the_same_data_or_port_is_refused_with_a_way_out() {
    let node = TestNode::empty().await;
    let cli = node.cli();
    let port = node.url().rsplit_once(':').map(|(_, port)| format!("127.0.0.1:{port}")).unwrap();
    let other = node.folder().join("other").display().to_string();
    let taken = cli.run(&["quickstart", "--crates-max", "0", "--data-dir", &other, "--listen", &port]).await.expect(1);
    assert!(taken.stderr.contains("--listen"), "{}", taken.stderr);
    let same = node.data_dir().display().to_string();
    let listen = "127.0.0.1:0";
    let locked = cli.run(&["quickstart", "--crates-max", "0", "--data-dir", &same, "--listen", listen]).await.expect(1);
    assert!(!locked.stderr.is_empty(), "{locked:?}");
    node.client().get("/api/libraries").await.expect(200);
}
