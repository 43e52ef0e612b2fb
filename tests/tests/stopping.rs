//! A node that is asked to stop: it answers what it has begun, takes nothing new, and goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Method;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{TestClient, TestNode, eventually};

/// Asks for as long as the node says it is ready; every question that was sent must be answered.
async fn ask_on(client: TestClient, answered: Arc<AtomicUsize>, is_gone: Arc<AtomicBool>) {
    while !is_gone.load(Ordering::Relaxed) {
        let answer = client.context("/acme/kiln", QUESTIONS[0].text, &[]).await.expect(200);
        assert!(answer.text.contains(QUESTIONS[0].says), "{}", answer.text);
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a load balancer does: it looks often, and sends nothing more to a node that is not ready.
async fn until_not_ready(client: TestClient, is_gone: Arc<AtomicBool>) {
    eventually("readiness to go", async || {
        let ready = client.try_answer(client.request(Method::GET, "/api/health/ready")).await;
        (!ready.is_ok_and(|answer| answer.status == 200)).then_some(())
    })
    .await;
    is_gone.store(true, Ordering::Relaxed);
}

#[tokio::test]
async fn no_request_is_lost_when_a_node_under_load_is_asked_to_stop() {
    let mut node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;

    let (answered, is_gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let asking: Vec<_> = (0..8)
        .map(|_| {
            // Each with connections of its own, as different clients have.
            let client = TestClient::new(node.url(), Some(node.key()));
            tokio::spawn(ask_on(client, Arc::clone(&answered), Arc::clone(&is_gone)))
        })
        .collect();
    eventually("some answers", async || (answered.load(Ordering::Relaxed) > 100).then_some(())).await;
    node.signal("TERM");
    until_not_ready(client, is_gone).await;
    for asked in asking {
        asked.await.expect("every question that was sent was answered");
    }
    let status = node.ended().await;
    assert!(status.success(), "{status}: {}", node.log());
}

#[tokio::test]
async fn a_request_in_progress_is_done_and_answered_before_the_node_stops() {
    let mut node = TestNode::empty().await;
    let client = node.client();
    // An upload that is half sent when the node is asked to stop.
    let (pieces, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = futures_util::stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
    let upload =
        client.request(Method::POST, "/api/jobs/uploads").header("content-type", "application/octet-stream");
    let upload = upload.body(reqwest::Body::wrap_stream(body.boxed()));
    let upload = tokio::spawn({
        let client = client.clone();
        async move { client.answer(upload).await }
    });
    pieces.send(Ok(Bytes::from_static(b"# First half\n\n"))).await.expect("the upload goes on");
    eventually("the upload on the node's disk", async || (!node.files("uploads").is_empty()).then_some(()))
        .await;

    node.signal("TERM");
    let other = TestClient::new(node.url(), None);
    until_not_ready(other, Arc::default()).await;
    pieces.send(Ok(Bytes::from_static(b"Second half.\n"))).await.expect("the upload goes on");
    drop(pieces);
    let upload = upload.await.expect("the upload is answered");
    assert_eq!(upload.status, 201, "{upload:?}");
    let status = node.ended().await;
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
    let taken = cli
        .run(&["quickstart", "--crates-max", "0", "--data-dir", &other, "--listen", &port])
        .await
        .expect(1);
    assert!(taken.stderr.contains("--listen"), "{}", taken.stderr);
    let same = node.data_dir().display().to_string();
    let listen = "127.0.0.1:0";
    let locked = cli
        .run(&["quickstart", "--crates-max", "0", "--data-dir", &same, "--listen", listen])
        .await
        .expect(1);
    assert!(!locked.stderr.is_empty(), "{locked:?}");
    node.client().get("/api/libraries").await.expect(200);
}
