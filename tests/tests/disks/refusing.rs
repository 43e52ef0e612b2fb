//! A disk that refuses: full, read-only, failing at writes, syncs and reads, or slow.

use std::path::PathBuf;

use serde_json::json;
use twinmcp_tests::{Fault, NodeSetup, SmallDisk, TestClient, TestNode, eventually};

use super::{check_keys, check_kiln, check_log, index_kiln, make_keys};

fn journals(node: &TestNode) -> Vec<PathBuf> {
    let journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    node.files("raft").into_iter().filter(journal).collect()
}

/// Makes keys until the node refuses one; those it made.
async fn make_keys_until_refused(client: &TestClient) -> Vec<String> {
    let mut made = Vec::new();
    let body = json!({ "name": "until it fails", "scopes": ["docs:read"] });
    loop {
        let answer = client.post("/api/keys", &body).await;
        if answer.status != 201 {
            let answer = answer.expect(503);
            assert!(["outcome_unknown", "read_only"].contains(&answer.code().as_str()), "{}", answer.text);
            return made;
        }
        made.push(answer.json()["secret"].as_str().expect("a new key has a secret").to_owned());
    }
}

/// Not ready, with a reason; no change is taken, with a code that says so; everything can be read.
async fn check_read_only(node: &TestNode, secrets: &[String]) {
    let client = node.client();
    let ready = eventually("readiness to go", async || {
        let ready = client.get("/api/health/ready").await;
        (ready.status == 503).then_some(ready)
    })
    .await;
    assert!(!ready.json()["faults"][0].as_str().unwrap_or_default().is_empty(), "{}", ready.text);
    let health = client.get("/api/health").await.expect(200).json();
    assert_eq!(health["status"], "degraded", "{health}");
    let refused =
        client.post("/api/keys", &json!({ "name": "late", "scopes": ["docs:read"] })).await.expect(503);
    assert_eq!(refused.code(), "read_only", "{}", refused.text);
    assert!(!refused.header("retry-after").is_empty());
    client.get("/api/health/live").await.expect(200);
    check_keys(&client, secrets).await;
    check_kiln(&client).await;
}

#[tokio::test]
async fn a_disk_that_fails_at_writes_or_syncs_makes_the_node_read_only_until_it_is_mended() {
    let mut node = TestNode::empty().await;
    index_kiln(&node.client()).await;
    let mut secrets = make_keys(&node.client(), 3).await;
    for (calls, what) in [
        ("fdatasync,fsync", "error=EIO"),
        ("write,pwrite64,writev", "error=EIO"),
        ("write,pwrite64,writev", "error=ENOSPC"),
        ("write,pwrite64,writev,fdatasync,fsync", "error=EROFS"),
    ] {
        let Some(fault) = Fault::inject(node.pid(), calls, what, &journals(&node)).await else { return };
        let refused =
            node.client().post("/api/keys", &json!({ "name": "lost", "scopes": ["docs:read"] })).await;
        assert_eq!(refused.status, 503, "{calls} {what}: {}", refused.text);
        check_read_only(&node, &secrets).await;
        fault.mend().await;
        node.restart().await;
        check_keys(&node.client(), &secrets).await;
        check_kiln(&node.client()).await;
        secrets.extend(make_keys(&node.client(), 1).await);
    }
    check_log(&node);
}

#[tokio::test]
async fn a_slow_disk_makes_changes_wait_and_nothing_else() {
    let node = TestNode::empty().await;
    index_kiln(&node.client()).await;
    let delay = "delay_enter=300000";
    let Some(fault) = Fault::inject(node.pid(), "fdatasync,fsync", delay, &journals(&node)).await else {
        return;
    };
    let client = node.client();
    let making = tokio::spawn(async move { make_keys(&client, 3).await });
    let mut answered = 0;
    while !making.is_finished() {
        check_kiln(&node.client()).await;
        answered += 1;
    }
    let secrets = making.await.expect("slow is not broken");
    fault.mend().await;
    check_keys(&node.client(), &secrets).await;
    assert!(answered > 3, "{answered} questions were answered while three changes waited");
}

#[tokio::test]
async fn a_full_disk_makes_the_node_read_only_and_room_makes_it_work_again() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let data = disk.path().join("data");
    let mut node = NodeSetup::default().on(&data).start().await;
    index_kiln(&node.client()).await;
    let mut secrets = make_keys(&node.client(), 3).await;
    disk.fill();
    secrets.extend(make_keys_until_refused(&node.client()).await);
    check_read_only(&node, &secrets).await;
    let upload = node.client().request(reqwest::Method::POST, "/api/jobs/uploads");
    let upload = upload.header("content-type", "application/octet-stream").body("# Page\n".repeat(10_000));
    let refused = node.client().answer(upload).await.expect(503);
    assert_eq!(refused.code(), "upload_not_written", "{}", refused.text);

    // On a full disk it comes up for reads, or says why it does not; what it removed meanwhile is filled again.
    node.stop().await;
    disk.fill();
    match NodeSetup::default().on(&data).try_start().await {
        Ok(mut node) => {
            disk.fill();
            secrets.extend(make_keys_until_refused(&node.client()).await);
            check_read_only(&node, &secrets).await;
            node.stop().await;
        }
        Err(refused) => {
            let names_the_place = refused.contains(&*data.to_string_lossy());
            assert!(refused.contains("No space left") && names_the_place, "{refused}");
        }
    }
    disk.empty();
    let mut node = NodeSetup::default().on(&data).start().await;
    check_keys(&node.client(), &secrets).await;
    check_kiln(&node.client()).await;
    secrets.extend(make_keys(&node.client(), 1).await);

    // Nor on a read-only one.
    let stopped = node.stop().await;
    assert!(stopped.success(), "{stopped}");
    disk.set_read_only(true);
    let refused =
        NodeSetup::default().on(&data).try_start().await.map(|_| ()).expect_err("nothing can be written");
    assert!(refused.contains("Read-only") && refused.contains(&*data.to_string_lossy()), "{refused}");
    disk.set_read_only(false);
    let node = NodeSetup::default().on(&data).start().await;
    check_keys(&node.client(), &secrets).await;
    check_log(&node);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_any_more_is_named_and_the_node_is_not_ready() {
    let mut node = TestNode::empty().await;
    let secrets = make_keys(&node.client(), 60).await;
    let stopped = node.stop().await;
    assert!(stopped.success(), "{stopped}");
    node.restart().await;
    let tables: Vec<PathBuf> =
        node.files("state").into_iter().filter(|path| path.to_string_lossy().contains("/tables/")).collect();
    let Some(fault) = Fault::inject(node.pid(), "read,pread64", "error=EIO", &tables).await else { return };
    // Some of the keys were not read since the start.
    let client = node.client();
    let mut is_met = false;
    for secret in &secrets {
        let answer = client.with_key(secret).get("/api/libraries").await;
        is_met |= answer.status == 503 && answer.code() == "storage_failed";
        assert!(answer.status == 200 || answer.code() == "storage_failed", "{}", answer.text);
    }
    assert!(is_met, "no key was read from the disk");
    let ready = client.get("/api/health/ready").await.expect(503).json();
    let told = ready["faults"][0].as_str().unwrap_or_default();
    assert!(tables.iter().any(|table| told.contains(&*table.to_string_lossy())), "{ready}");
    client.get("/api/health/live").await.expect(200);
    fault.mend().await;
    node.restart().await;
    check_keys(&node.client(), &secrets).await;
    check_log(&node);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_named_when_the_node_starts() {
    let mut node = TestNode::empty().await;
    make_keys(&node.client(), 20).await;
    let stopped = node.stop().await;
    assert!(stopped.success(), "{stopped}");
    let tables: Vec<PathBuf> =
        node.files("state").into_iter().filter(|path| path.to_string_lossy().contains("/tables/")).collect();
    assert!(!tables.is_empty(), "{:?}", node.files("state"));
    let Some(under) = Fault::from_the_start("read,pread64", "error=EIO", &tables) else { return };
    let under: Vec<&str> = under.iter().map(String::as_str).collect();
    let setup = NodeSetup::default().on(&node.data_dir()).under(&under);
    let refused = setup.try_start().await.map(|_| ()).expect_err("its tables cannot be read");
    assert!(tables.iter().any(|table| refused.contains(&*table.to_string_lossy())), "{refused}");
    assert!(!refused.contains("panicked"), "{refused}");
    let node = NodeSetup::default().on(&node.data_dir()).start().await;
    node.client().get("/api/keys").await.expect(200);
}
