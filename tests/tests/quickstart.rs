//! `quickstart`: from nothing to the first answer, and everything kept at the second start.

use serde_json::Value;
use twinmcp_tests::docs;
use twinmcp_tests::{NodeSetup, TestClient, eventually};

async fn libraries(client: &TestClient) -> Vec<Value> {
    let page = client.get("/api/libraries").await.expect(200).json();
    page["libraries"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn quickstart_indexes_what_the_project_uses_and_a_second_start_keeps_everything() {
    let machine = tempfile::tempdir().unwrap();
    docs::cargo_project(machine.path());
    let mut node = NodeSetup::default().in_project(machine.path()).start().await;
    let client = node.client();
    let answer = eventually("the project's crate to be indexed", async || {
        let answer = client.context("/crates/kiln/1.4.2", "retry with exponential backoff", &[]).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert!(answer.text.contains("RetryPolicy"), "{}", answer.text);
    let library = client.until_resolved("kiln", "/crates/kiln").await;
    assert_eq!(library["versions"][0], "1.4.2", "{library}");

    let printed = node.printed();
    let key = node.key().to_owned();
    for told in [node.url(), "/mcp", "curl", &key] {
        assert!(printed.contains(told), "{told} is not in\n{printed}");
    }
    let before = libraries(&client).await;
    assert!(node.stop().await.success());
    node.restart().await;
    assert_eq!(node.key(), key);
    let client = node.client();
    assert_eq!(libraries(&client).await, before);
    let jobs = client.get("/api/jobs").await.expect(200).json();
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1), "nothing is indexed twice: {jobs}");
    assert_eq!(node.printed().matches(&key).count(), printed.matches(&key).count(), "a key is printed once");
}

#[tokio::test]
async fn quickstart_answers_while_it_still_indexes() {
    let machine = tempfile::tempdir().unwrap();
    docs::cargo_project(machine.path());
    let book = machine.path().join("cargo/registry/src/registry.example-0123456789abcdef/kiln-1.4.2/docs");
    docs::write_to(&book, &docs::made_up(800, 8));
    let node = NodeSetup::default().in_project(machine.path()).start().await;
    let client = node.client();
    eventually("a job at work", async || {
        let job = client.get("/api/jobs").await.expect(200).json()["jobs"][0].clone();
        assert_ne!(job["state"], "done", "the job was over before it was seen at work");
        (job["state"] == "running").then_some(())
    })
    .await;
    client.get("/api/v2/libs/search?libraryName=kiln").await.expect(200);
    let early = client.context("/crates/kiln", "retry", &[]).await;
    assert!(matches!(early.status, 200 | 202), "{early:?}");
}
