//! Index jobs that outlive their node: another one has the archive, takes the job over and publishes it, once.

use serde_json::Value;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{NodeSetup, TestCluster, eventually};

/// A node whose silence is noticed soon.
fn setup(number: usize) -> NodeSetup {
    TestCluster::setup(number).with("ingest", "lease_ms", 2_000).with("ingest", "lost_after_ms", 3_000)
}

/// The job, as the node at `place` tells.
async fn job(cluster: &TestCluster, place: usize, id: &str) -> Value {
    cluster.client(place).get(&format!("/api/jobs/{id}")).await.expect(200).json()
}

/// An archive that takes a node a while, and pages whose answers are known.
fn archive() -> Vec<u8> {
    let mut pages = docs::made_up(1_500, 8);
    pages.extend(docs::kiln("1.0"));
    docs::tar(&pages)
}

/// Starts a job of that archive on the node at `place`, and waits until it reads pages; its id.
async fn started(cluster: &TestCluster, place: usize) -> String {
    let id = cluster.client(place).start_job("/acme/big", "1", "docs.tar", archive()).await;
    eventually("the job at work", async || {
        let job = job(cluster, place, &id).await;
        assert_ne!(job["state"], "done", "the job was over before its node could be killed");
        (job["progress"]["pages"].as_u64() > Some(0)).then_some(())
    })
    .await;
    id
}

#[tokio::test]
async fn a_job_whose_node_is_killed_is_finished_by_another_from_its_copy_of_the_archive() {
    let mut cluster = TestCluster::start_as(3, 0, async |number| setup(number)).await;
    let id = started(&cluster, 1).await;
    let before = job(&cluster, 0, &id).await;
    assert_eq!((before["node"].as_u64(), before["attempt"].as_u64()), (Some(2), Some(1)), "{before}");
    let copies = [0, 2].map(|place| cluster.nodes[place].files("uploads").len());
    assert_eq!(copies.iter().sum::<usize>(), 1, "one other node has the archive");
    cluster.nodes[1].kill().await;

    let done = eventually("another node to finish the job", async || {
        let job = job(&cluster, 0, &id).await;
        (job["ended_at"].is_string()).then_some(job)
    })
    .await;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(done["attempt"], 2, "{done}");
    assert!(matches!(done["node"].as_u64(), Some(1 | 3)), "another node than before: {done}");
    for place in [0, 2] {
        eventually("an answer", async || {
            let answer = cluster.client(place).context("/acme/big", QUESTIONS[0].text, &[]).await;
            (answer.status == 200 && answer.text.contains(QUESTIONS[0].says)).then_some(())
        })
        .await;
    }
    // It comes back to a job that is not its own any more.
    cluster.nodes[1].restart().await;
    eventually("an answer of the node that was away", async || {
        let answer = cluster.client(1).context("/acme/big", QUESTIONS[0].text, &[]).await;
        (answer.status == 200).then_some(())
    })
    .await;
    for place in 0..3 {
        assert_eq!(job(&cluster, place, &id).await["attempt"], 2, "nobody began it again");
    }
    eventually("the copy to go", async || {
        [0, 2].iter().all(|place| cluster.nodes[*place].files("uploads").is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_archive_nobody_else_has_fails_after_a_while_and_says_what_to_do() {
    let mut cluster = TestCluster::start_as(3, 0, async |number| setup(number)).await;
    let id = started(&cluster, 1).await;
    for place in [0, 2] {
        for copy in cluster.nodes[place].files("uploads") {
            std::fs::remove_file(copy).expect("a file can be removed");
        }
    }
    cluster.nodes[1].kill().await;
    let failed = eventually("the job to end", async || {
        let job = job(&cluster, 0, &id).await;
        (job["ended_at"].is_string()).then_some(job)
    })
    .await;
    assert_eq!(failed["state"], "failed", "{failed}");
    let message = failed["message"].as_str().unwrap_or_default();
    assert!(message.contains("the uploaded archive lies at most on 1 node(s)"), "{message}");
    assert!(message.contains("send it again"), "{message}");
    // The node that had it does not publish a job that has ended.
    cluster.nodes[1].restart().await;
    cluster.client(1).index("/acme/big", "2", "docs.tar", docs::tar(&docs::kiln("2"))).await;
    let versions = cluster.client(0).get("/api/libraries/acme/big").await.expect(200).text;
    assert!(!versions.contains("\"version\":\"1\""), "{versions}");
    assert_eq!(job(&cluster, 1, &id).await["state"], "failed");
}

#[tokio::test]
async fn a_node_that_comes_back_without_its_archive_gets_the_copy_and_goes_on() {
    // Nobody takes over from a node that is back before its lease has run out, however long its start takes.
    let setup = |number| TestCluster::setup(number).with("ingest", "lease_ms", 120_000);
    let mut cluster = TestCluster::start_as(3, 0, async |number| setup(number)).await;
    let id = started(&cluster, 1).await;
    cluster.nodes[1].kill().await;
    for archive in cluster.nodes[1].files("uploads") {
        std::fs::remove_file(archive).expect("a file can be removed");
    }
    cluster.nodes[1].restart().await;
    let done = eventually("the job to end", async || {
        let job = job(&cluster, 0, &id).await;
        (job["ended_at"].is_string()).then_some(job)
    })
    .await;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!((done["node"].as_u64(), done["attempt"].as_u64()), (Some(2), Some(2)), "{done}");
}
