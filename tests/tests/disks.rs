//! What a disk does to a real node, and what the node does then: it works on, says what is wrong, or refuses to start
//! with a sentence. Nothing acknowledged is lost.
//!
//! Short here; `cargo xtask faults` runs the long form.

mod damage;
mod engines;
mod mending;
mod refusing;

use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{TestClient, TestNode};

/// Makes so many keys; their secrets.
async fn make_keys(client: &TestClient, count: usize) -> Vec<String> {
    let mut secrets = Vec::new();
    for _ in 0..count {
        secrets.push(client.create_key(&["docs:read"]).await.1);
    }
    secrets
}

/// Every one of these keys opens the door.
async fn check_keys(client: &TestClient, secrets: &[String]) {
    for secret in secrets {
        client.with_key(secret).get("/api/libraries").await.expect(200);
    }
}

async fn index_kiln(client: &TestClient) {
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
}

async fn check_kiln(client: &TestClient) {
    let answer = client.context("/acme/kiln", QUESTIONS[0].text, &[]).await.expect(200);
    assert!(answer.text.contains(QUESTIONS[0].says), "{}", answer.text);
}

/// A node never panics over a disk.
fn check_log(node: &TestNode) {
    let log = node.log();
    assert!(!log.contains("panicked"), "{log}");
}
