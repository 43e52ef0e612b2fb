//! An actor that keeps dying makes the node not ready; documentation is read all the same.

use std::time::Duration;

use reqwest::{Method, StatusCode};

use super::TestNode;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_of_an_actor_makes_the_node_not_ready_and_reads_go_on() {
    let node = TestNode::start().await;
    node.index("/acme/frob", "1.0").await;
    let ready = || async { node.request(Method::GET, "/api/health/ready").send().await.unwrap() };
    assert_eq!(ready().await.status(), StatusCode::OK);

    // Actors are named after their node, which is named after its port.
    let name = format!("node-1:{}/libraries", node.node.address().port());
    let crash_loop = async {
        while ready().await.status() == StatusCode::OK {
            if let Some(actor) = ractor::registry::where_is(name.clone()) {
                actor.kill();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, crash_loop).await.expect("the node turns not ready");

    let health = node.request(Method::GET, "/api/health").send().await.unwrap().text().await.unwrap();
    assert!(health.contains("libraries"), "{health}");
    let path = "/api/v2/context?libraryId=/acme/frob&query=timeouts";
    assert_eq!(node.request(Method::GET, path).send().await.unwrap().status(), StatusCode::OK);
    node.node.stop().await.unwrap();
}
