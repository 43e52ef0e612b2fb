//! Codes by text message on three nodes: each is taken once, and all are counted together.

use twinmcp_tests::{Answer, TestCluster, eventually};

use super::app::signed_in;
use super::authenticator::answer;
use super::carrier::{Carrier, add_phone, send};
use super::{Browser, PASSWORD};

const EMAIL: &str = "ada@example.org";
/// Races of one code at two nodes.
const RACES: usize = 6;

/// Asks a node for a code after the password, once it knows of the phone: a browser there, and the answer.
async fn asked(cluster: &TestCluster, node: usize) -> (Browser, Answer) {
    eventually("the node to know of the phone", async || {
        let mut browser = Browser::at(&cluster.nodes[node]);
        let knows = browser.sign_in(EMAIL, PASSWORD).await.status == 202;
        let answer = send(&mut browser).await;
        // It may have heard of the phone while it compared the password.
        (knows && answer.status != 401).then_some((browser, answer))
    })
    .await
}

#[tokio::test]
async fn a_code_that_is_shown_to_two_nodes_at_once_is_taken_once_and_messages_are_counted_over_all() {
    let carrier = Carrier::start().await;
    let cluster = TestCluster::start_as(3, 0, async |number| {
        carrier.on(TestCluster::setup(number)).with("sms", "per_hour", RACES + 2)
    })
    .await;
    let mut ada = signed_in(&cluster.nodes[0], EMAIL).await;
    add_phone(&mut ada, &carrier).await;
    for race in 0..RACES {
        // Sent by one node, and shown to the two others too.
        let (one, sent) = asked(&cluster, race % 3).await;
        sent.expect(200);
        let code = carrier.code();
        let mut two = one.moved_to(&cluster.nodes[(race + 1) % 3]);
        let mut one = one.moved_to(&cluster.nodes[(race + 2) % 3]);
        let answers = tokio::join!(answer(&mut one, "sms", &code), answer(&mut two, "sms", &code));
        let mut statuses = [answers.0.status, answers.1.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403], "race {race}");
    }

    asked(&cluster, 0).await.1.expect(200);
    for node in 0..3 {
        let full = asked(&cluster, node).await.1.expect(429);
        assert_eq!(full.code(), "too_many_texts", "node {node}");
        assert!(full.header("retry-after").parse::<u64>().unwrap() > 60, "node {node}");
    }
    assert_eq!(carrier.texts().len(), RACES + 2);
}
