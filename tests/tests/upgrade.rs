//! Better vectors in the background: the whole way with a tiny transformer, over HTTP.

use serde_json::Value;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{NodeSetup, TestClient, eventually};

use crate::tiny_model;

async fn version(client: &TestClient, library: &str) -> Value {
    client.get(&format!("/api/libraries{library}")).await.expect(200).json()["versions"][0].clone()
}

async fn until_upgraded(client: &TestClient, library: &str) -> Value {
    eventually("the upgraded version", async || {
        let version = version(client, library).await;
        (version["search_mode"] == "upgraded").then_some(version)
    })
    .await
}

#[tokio::test]
async fn documentation_answers_at_once_while_better_vectors_are_made_and_after_a_kill_too() {
    let models = tempfile::tempdir().expect("the machine has a temporary folder");
    let model = models.path().join("tiny");
    tiny_model::write(&model, 7).expect("a temporary folder takes files");
    let mut node = NodeSetup::default()
        .with("ingest", "upgrade_model", model.display())
        .with("ingest", "upgrade_cpu_percent", 100)
        .start()
        .await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    client.index("/acme/big", "1.0", "docs.tar", docs::tar(&docs::made_up(30, 4))).await;

    eventually("progress in health and at the library", async || {
        let health = client.get("/api/health").await.expect(200).json();
        let shown = version(&client, "/acme/big").await["search_mode"].clone();
        // Asked all the while, every question is answered.
        client.context("/acme/big", "topic of the stream", &[]).await.expect(200);
        let at_work = health["upgrade"]["state"] == "working" && health["upgrade"]["library"] == "/acme/big";
        let told = shown.as_str().is_some_and(|shown| shown.starts_with("upgrading "));
        (at_work && told).then_some(())
    })
    .await;
    node.restart().await;

    let client = node.client();
    for library in ["/acme/kiln", "/acme/big"] {
        let upgraded = until_upgraded(&client, library).await;
        let embedder = upgraded["embedder"].as_str().unwrap_or_default();
        assert!(embedder.starts_with("twinmcp-static-128-v1+transformer-v2-"), "{embedder}");
    }
    for question in QUESTIONS {
        let answer = client.context("/acme/kiln", question.text, &[]).await.expect(200);
        assert!(answer.text.contains(question.says), "{}: {}", question.text, answer.text);
    }
    let metrics = client.get("/api/metrics").await.expect(200).text;
    for metric in
        ["twinmcp_upgrade_snippets_total", "twinmcp_upgrade_versions_total", "twinmcp_upgrade_progress"]
    {
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    let health = client.get("/api/health").await.expect(200).json();
    assert_eq!((&health["status"], &health["upgrade"]["waiting"]), (&"ok".into(), &0.into()), "{health}");
}

#[tokio::test]
async fn a_model_that_cannot_be_used_is_told_in_health_and_the_node_answers_as_ever() {
    let node = NodeSetup::default().with("ingest", "upgrade_model", "/nowhere/at/all").start().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let upgrade = eventually("the reason", async || {
        let upgrade = client.get("/api/health").await.expect(200).json()["upgrade"].clone();
        (upgrade["state"] == "unusable").then_some(upgrade)
    })
    .await;
    let reason = upgrade["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("failed to read `/nowhere/at/all/config.json`"), "{reason}");
    let answer = client.context("/acme/kiln", QUESTIONS[0].text, &[]).await.expect(200);
    assert!(answer.text.contains(QUESTIONS[0].says), "{}", answer.text);
    assert_eq!(version(&client, "/acme/kiln").await["search_mode"], "static");
}
