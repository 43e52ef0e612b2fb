//! A bundle that is lost is built again from where it came; where that is gone, the node says what to do.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{Fault, NodeSetup, TestClient, TestNode, eventually};

use super::{check_kiln, check_log, index_kiln};

fn bundles(node: &TestNode) -> Vec<PathBuf> {
    let bundle = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "bundle");
    node.files("bundles").into_iter().filter(bundle).collect()
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("the bundle is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Not in place: what is mapped must not change under the node.
    fs::remove_file(path).expect("a file can be removed");
    fs::write(path, bytes).expect("a file can be written");
}

/// A node that may read a folder of documentation, with `/acme/folder` indexed from it; its bundle.
async fn with_folder(sources: &Path) -> (TestNode, PathBuf) {
    for (path, bytes) in docs::kiln("1.0") {
        let path = sources.join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .expect("a temporary folder takes folders");
        fs::write(path, bytes).expect("a temporary folder takes files");
    }
    let folder = sources.canonicalize().expect("it was just made").display().to_string();
    let node = NodeSetup::default().with("ingest", "folders", json!([folder])).start().await;
    let client = node.client();
    let body = json!({ "library": "/acme/folder", "version": "1.0", "folder": folder });
    let job = client.post("/api/jobs", &body).await.expect(201).json();
    let job = client.ended_job(job["id"].as_str().expect("a job has an id")).await;
    assert_eq!(job["state"], "done", "{job}");
    let bundle = bundles(&node).pop().expect("it was indexed");
    (node, bundle)
}

async fn ask(client: &TestClient, library: &str) -> twinmcp_tests::Answer {
    client.context(library, QUESTIONS[0].text, &[]).await
}

/// The answer once the version answers again.
async fn until_answered(client: &TestClient, library: &str) -> String {
    eventually("the version to answer again", async || {
        let answer = ask(client, library).await;
        (answer.status == 200).then_some(answer.text)
    })
    .await
}

async fn notices(client: &TestClient) -> Vec<Value> {
    client.get("/api/health").await.expect(200).json()["notices"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_damaged_bundle_is_moved_aside_and_built_again_from_its_folder_while_others_answer() {
    let sources = tempfile::tempdir().expect("the machine has a temporary folder");
    let (mut node, bundle) = with_folder(sources.path()).await;
    index_kiln(&node.client()).await;
    damage(&bundle);
    node.restart().await;
    let client = node.client();

    let answer = ask(&client, "/acme/folder").await;
    if answer.status != 200 {
        let answer = answer.expect(503);
        assert_eq!(answer.code(), "index_rebuilding", "{}", answer.text);
        let job = answer.json()["jobId"].as_str().expect("the job that builds it again is named").to_owned();
        assert_eq!(client.ended_job(&job).await["state"], "done");
    }
    check_kiln(&client).await;
    client.get("/api/health/ready").await.expect(200);
    assert!(until_answered(&client, "/acme/folder").await.contains(QUESTIONS[0].says));
    assert!(bundle.with_extension("damaged").is_file(), "{:?}", node.files("bundles"));
    assert_eq!(notices(&client).await, Vec::<Value>::new());

    // One that is missing altogether is found at the start, without a question.
    fs::remove_file(&bundle).expect("a file can be removed");
    node.restart().await;
    let client = node.client();
    eventually("the bundle to be there again", async || bundle.is_file().then_some(())).await;
    assert!(until_answered(&client, "/acme/folder").await.contains(QUESTIONS[0].says));
    check_log(&node);
}

#[tokio::test]
async fn a_lost_bundle_whose_source_is_gone_is_named_with_what_to_do_and_indexing_again_heals_it() {
    let mut node = TestNode::empty().await;
    index_kiln(&node.client()).await;
    let bundle = bundles(&node).pop().expect("it was indexed");
    node.client().index("/acme/other", "1.0", "docs.tar", docs::tar(&docs::made_up(3, 3))).await;
    damage(&bundle);
    node.restart().await;
    let client = node.client();
    let lost = ask(&client, "/acme/kiln").await.expect(503);
    assert_eq!(lost.code(), "index_lost", "{}", lost.text);
    for said in ["/acme/kiln", "1.0", "twinmcp index"] {
        assert!(lost.text.contains(said), "{said}: {}", lost.text);
    }
    let told = notices(&client).await;
    assert!(
        told.len() == 1 && told[0].as_str().is_some_and(|text| text.contains("/acme/kiln 1.0")),
        "{told:?}"
    );
    client.get("/api/health/ready").await.expect(200);
    client.context("/acme/other", "topic of the stream", &[]).await.expect(200);

    index_kiln(&client).await;
    check_kiln(&client).await;
    assert_eq!(notices(&client).await, Vec::<Value>::new());
    check_log(&node);
}

#[tokio::test]
async fn a_bundle_that_cannot_be_read_is_built_again_too() {
    let sources = tempfile::tempdir().expect("the machine has a temporary folder");
    let (mut node, bundle) = with_folder(sources.path()).await;
    node.restart().await;
    let calls = "read,pread64";
    let Some(fault) = Fault::inject(node.pid(), calls, "error=EIO", std::slice::from_ref(&bundle)).await
    else {
        return;
    };
    let answer = ask(&node.client(), "/acme/folder").await.expect(503);
    fault.mend().await;
    assert_eq!(answer.code(), "index_rebuilding", "{}", answer.text);
    assert!(until_answered(&node.client(), "/acme/folder").await.contains(QUESTIONS[0].says));
    check_log(&node);
}
