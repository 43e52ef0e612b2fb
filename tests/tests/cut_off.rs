//! A node that has been cut off for long: whom it still believes, and for what.

use std::time::Duration;

use serde_json::json;
use twinmcp_tests::{TestClient, TestCluster, docs, eventually};

use super::cluster::{QUESTION, answered};

const STALE_AFTER_MS: u64 = 2_000;

/// What the node says to a look at the keys, and to a question.
async fn said(client: &TestClient) -> (u16, u16) {
    let question = client.context("/acme/kiln", QUESTION, &[]).await.status;
    (client.get("/api/keys").await.status, question)
}

#[tokio::test]
async fn who_may_have_lost_a_right_long_ago_reads_on_and_does_no_harm() {
    let setup = async |number| TestCluster::setup(number).with("cluster", "stale_after_ms", STALE_AFTER_MS);
    let mut cluster = TestCluster::start_as(3, 1, setup).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    for place in [2, 3] {
        answered(&cluster, place).await;
    }
    // Nothing is changed for longer than that: nobody is cut off, so nothing is old.
    tokio::time::sleep(Duration::from_millis(2 * STALE_AFTER_MS)).await;
    for place in 0..4 {
        assert_eq!(said(&cluster.client(place)).await, (200, 200), "node {}", place + 1);
    }

    // Who led for longer than that and follows from now on knows as much as before.
    let before = cluster.leader(0, None).await;
    let next = if before == 1 { 2 } else { 1 };
    cluster.client(3).post_empty(&format!("/api/cluster/nodes/{next}/lead")).await.expect(204);
    let old = cluster.client(usize::try_from(before).unwrap() - 1);
    for _ in 0..100 {
        assert_eq!(old.get("/api/keys").await.status, 200, "node {before} led until a moment ago");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    for place in [0, 1] {
        cluster.nodes[place].kill().await;
    }
    // A voter without a majority, and a learner that nobody tells anything.
    for place in [2, 3] {
        let client = cluster.client(place);
        let refused = eventually("the state to be too old", async || {
            let answer = client.get("/api/keys").await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "state_too_old"), "{}", refused.text);
        assert_eq!(refused.header("retry-after"), "5");
        assert_eq!(said(&client).await, (503, 200), "reading goes on");
        let asked = json!({ "name": "late", "scopes": ["docs:read"] });
        assert_eq!(client.post("/api/keys", &asked).await.expect(503).code(), "state_too_old");
        // What operators need to know where it is cut.
        client.get("/api/cluster").await.expect(200);
        let metrics = client.get("/api/metrics").await.expect(200).text;
        let age = metrics.lines().find_map(|line| {
            line.strip_prefix("twinmcp_consensus_state_age_seconds{")?.split_whitespace().last()?.parse().ok()
        });
        assert!(age.is_some_and(|age: f64| age >= 2.0), "{age:?}");
    }

    cluster.nodes[0].restart().await;
    for place in [2, 3] {
        eventually("the state to be new again", async || {
            (said(&cluster.client(place)).await == (200, 200)).then_some(())
        })
        .await;
    }
}
