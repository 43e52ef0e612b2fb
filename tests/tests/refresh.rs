//! Reading a library's source again: by hand, as Context7's clients ask, and by a signed webhook.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::site::{Page, Site};
use twinmcp_tests::{Answer, NodeSetup, TestClient, TestNode, eventually};

/// A node that may index `folder`, with `/acme/kiln` 1.0 indexed from it.
async fn node_of(folder: &Path) -> TestNode {
    docs::write_to(folder, &docs::kiln("1.0"));
    let folders = json!([folder]).to_string();
    let node = NodeSetup::default().with("ingest", "folders", folders).start().await;
    let body =
        json!({ "library": "/acme/kiln", "version": "1.0", "folder": folder, "base_url": docs::BASE_URL });
    let job = node.client().post("/api/jobs", &body).await.expect(201).json();
    ended(&node.client(), &job).await;
    node
}

async fn ended(client: &TestClient, job: &Value) -> Value {
    let job = client.ended_job(job["id"].as_str().unwrap_or_default()).await;
    assert_eq!(job["state"], "done", "{job}");
    job
}

async fn version(client: &TestClient) -> Value {
    client.get("/api/libraries/acme/kiln").await.expect(200).json()["versions"][0].clone()
}

/// Snippets that were embedded and snippets whose vectors were there, so far.
async fn vectors(client: &TestClient) -> [u64; 2] {
    let metrics = client.get("/api/metrics").await.expect(200).text;
    ["embedded", "reused"].map(|vector| {
        let line = metrics.lines().find(|line| {
            line.starts_with("twinmcp_ingest_snippets_total")
                && line.contains(&format!("vector=\"{vector}\""))
        });
        let number = line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0");
        number.parse::<f64>().unwrap_or_default() as u64
    })
}

#[tokio::test]
async fn a_refresh_keeps_what_has_not_changed_and_embeds_only_what_has() {
    let folder = tempfile::tempdir().unwrap();
    let node = node_of(folder.path()).await;
    let owner = node.client();
    let before = version(&owner).await;
    let [embedded, reused] = vectors(&owner).await;
    assert!(embedded > 3 && reused == 0, "{embedded} {reused}");

    let job = owner.post("/api/libraries/acme/kiln/refresh", &json!({})).await.expect(201).json();
    assert_eq!(ended(&owner, &job).await["unchanged"], true);
    let same = version(&owner).await;
    assert_eq!((&same["indexed_at"], &same["bundle"]), (&before["indexed_at"], &before["bundle"]));
    assert!(same["checked_at"].as_str() > before["checked_at"].as_str(), "{before} {same}");
    assert_eq!(vectors(&owner).await, [embedded, embedded], "nothing is embedded again");

    std::fs::write(
        folder.path().join("zebra.md"),
        "# Zebra glaze\n\nStripes come from manganese at cone six.\n",
    )
    .unwrap();
    let body = json!({ "version": "1.0" });
    let job = owner.post("/api/libraries/acme/kiln/refresh", &body).await.expect(201).json();
    assert_eq!(ended(&owner, &job).await["unchanged"], false);
    assert_eq!(vectors(&owner).await, [embedded + 1, 2 * embedded]);
    let changed = version(&owner).await;
    assert_ne!(changed["bundle"], same["bundle"]);
    assert!(changed["source"].as_str().unwrap().contains("folder"), "{changed}");
    let answer = owner.context("/acme/kiln", "zebra stripes manganese", &[]).await.expect(200).text;
    assert!(answer.contains("manganese at cone six"), "{answer}");
    let question = &QUESTIONS[0];
    assert!(owner.context("/acme/kiln", question.text, &[]).await.expect(200).text.contains(question.says));
}

#[tokio::test]
async fn what_cannot_be_read_again_is_refused_with_a_reason() {
    let node = TestNode::empty().await;
    let owner = node.client();
    owner.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    for (path, body, status, code) in [
        ("/api/libraries/acme/kiln/refresh", json!({}), 409, "not_refreshable"),
        ("/api/libraries/acme/kiln/refresh", json!({ "version": "9" }), 404, "tag_not_found"),
        ("/api/libraries/no/such/refresh", json!({}), 404, "library_not_found"),
        ("/api/v1/refresh", json!({ "libraryName": "/acme/kiln" }), 409, "not_refreshable"),
        ("/api/v1/refresh", json!({ "libraryName": "/acme/kiln", "branch": "main" }), 404, "tag_not_found"),
        ("/api/v1/refresh", json!({ "libraryName": "/acme/kiln", "gitToken": "x" }), 400, "validation_error"),
        ("/api/v1/refresh", json!({ "libraryName": "kiln" }), 400, "invalid_id"),
        ("/api/v1/refresh", json!({ "libraryName": "/no/such" }), 404, "library_not_found"),
    ] {
        let refused = owner.post(path, &body).await.expect(status);
        assert_eq!(refused.code(), code, "{path} {body}");
        if path.starts_with("/api/v1/") {
            assert!(refused.json()["message"].is_string(), "{}", refused.text);
        }
    }
    let (_, reader) = owner.create_key(&["docs:read"]).await;
    let reader = owner.with_key(&reader);
    reader.post("/api/libraries/acme/kiln/refresh", &json!({})).await.expect(403);
    reader.post("/api/libraries/acme/kiln/webhook", &json!({})).await.expect(403);
    owner.anonymous().post("/api/v1/refresh", &json!({ "libraryName": "/acme/kiln" })).await.expect(401);
}

#[tokio::test]
async fn how_often_a_library_is_read_again_is_set_shown_and_limited() {
    let folder = tempfile::tempdir().unwrap();
    let node = node_of(folder.path()).await;
    let owner = node.client();
    let set =
        async |every: &str| owner.patch("/api/libraries/acme/kiln", &json!({ "refresh_every": every })).await;
    assert_eq!(set("36h").await.expect(200).json()["refresh_every"], "36h");
    assert_eq!(set("48h").await.expect(200).json()["refresh_every"], "2d");
    for wrong in ["", "0h", "366d", "5m", "1.5h", "-1h", "h", "99999999d", "é"] {
        assert_eq!(set(wrong).await.expect(400).code(), "validation_error", "{wrong}");
    }
    assert_eq!(owner.get("/api/libraries/acme/kiln").await.expect(200).json()["refresh_every"], "2d");
    assert!(set("never").await.expect(200).json().get("refresh_every").is_none());
}

async fn call(client: &TestClient, header: (&str, &str), body: &str) -> Answer {
    let request =
        client.request(Method::POST, "/api/webhooks/acme/kiln").header("content-type", "application/json");
    client.answer(request.header(header.0, header.1).body(body.to_owned())).await
}

fn signature(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let hex: String =
        hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[tokio::test]
async fn a_webhook_with_the_right_signature_has_the_library_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node_of(folder.path()).await;
    let owner = node.client();
    let nobody = owner.anonymous();
    let made = owner.post("/api/libraries/acme/kiln/webhook", &json!({})).await.expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(made.json()["path"], "/api/webhooks/acme/kiln");

    let body = r#"{ "ref": "refs/heads/main", "repository": { "default_branch": "main" } }"#;
    let right = signature(&secret, body);
    for (header, body) in [
        (("x-hub-signature-256", signature("tmwh_0", body).as_str()), body),
        (("x-hub-signature-256", right.as_str()), "{}"),
        (("x-hub-signature-256", "sha256="), body),
        (("x-hub-signature", right.as_str()), body),
        (("x-gitlab-token", "tmwh_0"), body),
    ] {
        assert_eq!(call(&nobody, header, body).await.expect(403).code(), "signature_refused", "{header:?}");
    }
    std::fs::write(folder.path().join("zebra.md"), "# Zebra glaze\n\nStripes come from manganese.\n")
        .unwrap();
    let answer = call(&nobody, ("x-hub-signature-256", &right), body).await.expect(200).json();
    let job = json!({ "id": answer["started"][0] });
    // The same delivery again costs one more reading at most, which finds nothing new.
    let again = call(&nobody, ("x-hub-signature-256", &right), body).await.expect(200).json();
    assert_eq!(ended(&owner, &job).await["unchanged"], false);
    for id in again["started"].as_array().unwrap() {
        assert_eq!(ended(&owner, &json!({ "id": id })).await["unchanged"], true);
    }
    owner.context("/acme/kiln", "zebra stripes manganese", &[]).await.expect(200);

    // The secret follows from what the node keeps, and is written down nowhere.
    node.restart().await;
    let (owner, nobody) = (node.client(), node.client().anonymous());
    let answer = call(&nobody, ("x-gitlab-token", &secret), body).await.expect(200).json();
    ended(&owner, &json!({ "id": answer["started"][0] })).await;
    assert_eq!(node.file_with(&[&secret]), None, "the secret stands there");
    assert!(!node.log().contains(&secret), "the secret stands in the log");

    owner.post("/api/libraries/acme/kiln/webhook", &json!({})).await.expect(201);
    call(&nobody, ("x-gitlab-token", &secret), body).await.expect(403);
    owner.delete("/api/libraries/acme/kiln/webhook").await.expect(204);
    call(&nobody, ("x-gitlab-token", &secret), body).await.expect(403);
}

#[tokio::test]
async fn a_delivery_that_comes_many_times_at_once_lets_one_reading_wait_and_no_more() {
    let is_slow = Arc::new(AtomicBool::new(false));
    let slow = Arc::clone(&is_slow);
    let site = Site::start(move |path, _| match path {
        "/robots.txt" if slow.load(Ordering::SeqCst) => Page::text("User-agent: *\nCrawl-delay: 30\n"),
        "/llms.txt" => Page::text("# Kiln\n\n- [A](/a.md)\n- [B](/b.md)\n- [C](/c.md)\n- [D](/d.md)\n"),
        path if path.ends_with(".md") => {
            Page::text(&format!("# Glaze {path}\n\nStripes come from manganese.\n"))
        }
        _ => Page::status(404),
    })
    .await;
    let setup = NodeSetup::default().with("outbound", "allowed_networks", json!(["127.0.0.1"]));
    let node = setup.with("fetch", "requests_per_second", 1_000).start().await;
    let (owner, nobody) = (node.client(), node.client().anonymous());
    let asked = json!({ "library": "/acme/kiln", "version": "1.0", "website": site.url("/llms.txt") });
    let job = owner.post("/api/jobs", &asked).await.expect(201).json();
    ended(&owner, &job).await;
    let made = owner.post("/api/libraries/acme/kiln/webhook", &json!({})).await.expect(201).json();
    let body = r#"{ "ref": "refs/heads/main" }"#;
    let right = signature(made["secret"].as_str().unwrap(), body);
    let deliver = || call(&nobody, ("x-hub-signature-256", &right), body);

    // From here on the site asks for pauses in which everything else happens.
    is_slow.store(true, Ordering::SeqCst);
    let running = deliver().await.expect(200).json()["started"][0].clone();
    let running = running.as_str().unwrap();
    eventually("the first reading to begin", async || {
        let job = owner.get(&format!("/api/jobs/{running}")).await.expect(200).json();
        (job["state"] == "running").then_some(())
    })
    .await;
    let (mut started, mut waiting) = (Vec::new(), Vec::new());
    for answer in join_all((0..8).map(|_| deliver())).await {
        let answer = answer.expect(200).json();
        started.extend(answer["started"].as_array().unwrap().iter().cloned());
        waiting.extend(answer["waiting"].as_array().unwrap().iter().cloned());
    }
    assert_eq!(started.len(), 1, "{started:?} {waiting:?}");
    assert_eq!(waiting, vec![started[0].clone(); 7]);
    let jobs = owner.get("/api/jobs").await.expect(200).json();
    let open = |job: &&Value| ["queued", "running"].iter().any(|state| job["state"] == *state);
    assert_eq!(jobs["jobs"].as_array().unwrap().iter().filter(open).count(), 2, "{jobs}");
    for id in [started[0].as_str().unwrap(), running] {
        owner.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.expect(200);
    }
}
