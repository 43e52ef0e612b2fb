//! Vectors of an embedding service beside the built-in ones: the whole way over HTTP.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::embedding_service::{Behaviour, DIMENSIONS, EmbeddingService, KEY, MODEL, SYNONYMS};
use twinmcp_tests::{NodeSetup, TestClient, TestNode, eventually, run, twinmcp};

/// Nobody but the service knows what this means, and that Kiln has a glaze of that name.
const RIDDLE: &str = SYNONYMS.0;
const ANSWER: &str = SYNONYMS.1;

async fn start(service: &EmbeddingService, key_file: &Path) -> TestNode {
    NodeSetup::default()
        .with("embeddings", "url", service.url())
        .with("embeddings", "model", MODEL)
        .with("embeddings", "dimensions", DIMENSIONS)
        .with("embeddings", "key_file", key_file.display())
        // Far more than loopback needs: a slow machine must not make the question an unanswered one.
        .with("embeddings", "query_timeout_ms", 20_000)
        .with("embeddings", "items_max", 3)
        .start()
        .await
}

async fn version(client: &TestClient, library: &str) -> Value {
    client.get(&format!("/api/libraries{library}")).await.expect(200).json()["versions"][0].clone()
}

async fn until_mode(client: &TestClient, library: &str, mode: &str) {
    eventually(mode, async || {
        let shown = version(client, library).await["search_mode"].clone();
        shown.as_str().is_some_and(|shown| shown.starts_with(mode)).then_some(())
    })
    .await;
}

/// Every question about Kiln finds its passage.
async fn answers(client: &TestClient) {
    for question in QUESTIONS {
        let answer = client.context("/acme/kiln", question.text, &[]).await.expect(200);
        assert!(answer.text.contains(question.says), "{}: {}", question.text, answer.text);
    }
}

/// The first passage of the answer to the riddle.
async fn guess(client: &TestClient, library: &str) -> String {
    let answer = client.context(library, RIDDLE, &[("type", "json")]).await;
    let json = answer.json();
    let first = ["codeSnippets", "infoSnippets"].map(|kind| json[kind][0].to_string());
    first.concat().to_lowercase()
}

fn is_asked(service: &EmbeddingService, text: &str) -> bool {
    service.asked().concat().iter().any(|asked| asked == text)
}

#[tokio::test]
async fn documentation_answers_before_while_and_after_a_service_makes_its_vectors() {
    let service = EmbeddingService::start().await;
    service.hold();
    let keys = tempfile::tempdir().expect("the machine has a temporary folder");
    let key_file = keys.path().join("key");
    fs::write(&key_file, format!("{KEY}\n")).expect("a temporary folder takes files");
    let node = start(&service, &key_file).await;
    let client = node.client();

    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    answers(&client).await;
    until_mode(&client, "/acme/kiln", "upgrading 0 %").await;
    answers(&client).await;
    assert!(!guess(&client, "/acme/kiln").await.contains(ANSWER), "neither words nor the table know it");
    assert!(!is_asked(&service, RIDDLE), "questions stay here as long as documents have other vectors");

    service.does(&[Behaviour::Refuse(429, Some("0".into())), Behaviour::HangUp], Behaviour::Well);
    service.release();
    until_mode(&client, "/acme/kiln", "endpoint").await;
    let embedder = version(&client, "/acme/kiln").await["embedder"].clone();
    assert_eq!(embedder, format!("twinmcp-static-128-v1 & endpoint/{MODEL}/{DIMENSIONS}"));
    answers(&client).await;
    assert!(guess(&client, "/acme/kiln").await.contains(ANSWER), "the service knows it");
    assert!(is_asked(&service, RIDDLE));
    assert!(service.asked().iter().all(|texts| texts.len() <= 3));

    // Another library whose documents the service refuses: its questions are none of the service's.
    service.does(&[], Behaviour::Refuse(401, None));
    client.index("/acme/big", "1.0", "docs.tar", docs::tar(&docs::made_up(2, 3))).await;
    let health = eventually("the refusal in health", async || {
        let health = client.get("/api/health").await.expect(200).json();
        health["embeddings"]["upgrade"]["reason"].is_string().then_some(health)
    })
    .await;
    assert!(!health.to_string().contains(KEY), "{health}");
    let reason = health["embeddings"]["upgrade"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("/acme/big@1.0: ") && reason.contains("answered 401 Unauthorized"), "{reason}");
    client.context("/acme/big", "a topic of the stream", &[]).await.expect(200);
    assert!(!is_asked(&service, "a topic of the stream"));

    // And a question that the service refuses is answered by words and the table.
    client.context("/acme/kiln", "where do I read the temperature", &[]).await.expect(200);
    assert!(is_asked(&service, "where do I read the temperature"));
    let health = client.get("/api/health").await.expect(200).json();
    assert_eq!(health["embeddings"]["status"], "failing", "{health}");
    answers(&client).await;

    let metrics = client.get("/api/metrics").await.expect(200).text;
    for metric in ["twinmcp_embeddings_questions_total", r#"kind="endpoint""#] {
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    assert!(!metrics.contains(KEY));
    let log = node.log();
    assert!(log.contains("embedding endpoint failed") && !log.contains(KEY), "{log}");
    assert!(!log.contains("where do I read"), "{log}");
}

#[tokio::test]
async fn a_key_that_is_not_there_keeps_the_node_from_starting_and_is_told_by_its_place() {
    let home = tempfile::tempdir().expect("the machine has a temporary folder");
    let config = home.path().join("twinmcp.toml");
    let text = format!(
        "[node]\ndata_dir = \"{}\"\n[http]\nlisten = \"127.0.0.1:0\"\n[embeddings]\nurl = \"http://127.0.0.1:1/v1\"\n\
         model = \"m\"\ndimensions = 8\nkey_file = \"/nowhere/key\"\n",
        home.path().join("data").display()
    );
    fs::write(&config, text).expect("a temporary folder takes files");
    let mut command = Command::new(twinmcp());
    command.arg("serve").arg("--config").arg(&config);
    let told = run(command, "").await.expect(1).stderr;
    assert!(told.contains("cannot read the key in `/nowhere/key` (`embeddings.key_file`)"), "{told}");
}
