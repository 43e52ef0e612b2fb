//! Second factors on three nodes: what is good once is used once, and what is counted is counted together.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use twinmcp_tests::{TestCluster, eventually};

use super::app::signed_in;
use super::authenticator::{Enrolled, answer, enrol};
use super::{Browser, PASSWORD};

/// Somebody's browser at a node, once that asks them for their second factor.
async fn challenged(cluster: &TestCluster, node: usize, email: &str) -> Browser {
    eventually("the node to know of the factor", async || {
        let mut browser = Browser::at(&cluster.nodes[node]);
        (browser.sign_in(email, PASSWORD).await.status == 202).then_some(browser)
    })
    .await
}

/// The same answer at two nodes at the same moment: their statuses, the smaller one first.
async fn race(cluster: &TestCluster, nodes: [usize; 2], email: &str, factor: &str, code: &str) -> [u16; 2] {
    let (mut one, mut two) =
        tokio::join!(challenged(cluster, nodes[0], email), challenged(cluster, nodes[1], email));
    let answers = tokio::join!(answer(&mut one, factor, code), answer(&mut two, factor, code));
    let mut statuses = [answers.0.status, answers.1.status];
    statuses.sort_unstable();
    statuses
}

#[tokio::test]
async fn case_101_and_107_what_is_shown_to_two_nodes_at_once_is_taken_once() {
    let cluster = TestCluster::start(3, 0).await;
    // A step cannot be waited for: each race of a code has a person of its own.
    let races = (0..6).map(|number| {
        let cluster = &cluster;
        async move {
            let email = format!("user{number}@example.org");
            let mut browser = signed_in(&cluster.nodes[number % 3], &email).await;
            let Enrolled { app, .. } = enrol(&mut browser).await;
            race(cluster, [number % 3, (number + 1) % 3], &email, "totp", &app.next()).await
        }
    });
    assert_eq!(join_all(races).await, [[200, 403]; 6], "codes of apps");

    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    let Enrolled { backup_codes, .. } = enrol(&mut browser).await;
    for (number, code) in backup_codes.iter().enumerate() {
        let nodes = [number % 3, (number + 1) % 3];
        let statuses = race(&cluster, nodes, "ada@example.org", "backup_code", code).await;
        assert_eq!(statuses, [200, 403], "backup code {number}");
    }
    let left = eventually("every code to be known as used", async || {
        let left = browser.get("/api/auth/mfa").await.expect(200).json()["backup_codes_left"].take();
        (left == json!(0)).then_some(left)
    });
    left.await;
}

#[tokio::test]
async fn case_103_wrong_codes_are_counted_over_all_nodes() {
    let cluster = TestCluster::start(3, 0).await;
    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    let Enrolled { app, backup_codes } = enrol(&mut browser).await;
    // Ten, and what the other two nodes have not told yet (docs/identity.md), whichever of them is asked.
    let (mut wrong, mut locked) = (0, BTreeSet::new());
    for node in (0..3).cycle() {
        let mut browser = challenged(&cluster, node, "ada@example.org").await;
        match answer(&mut browser, "totp", &app.wrong()).await.status {
            403 => wrong += 1,
            429 => _ = locked.insert(node),
            other => panic!("status {other}"),
        }
        assert!(wrong <= 12, "{wrong} wrong codes were looked at");
        if locked.len() == 3 {
            break;
        }
    }
    assert!(wrong >= 10, "locked after {wrong}");
    for (node, code) in backup_codes.iter().enumerate().take(3) {
        let mut browser = challenged(&cluster, node, "ada@example.org").await;
        answer(&mut browser, "backup_code", code).await.expect(429);
        assert_eq!(browser.session(), None);
    }
}
