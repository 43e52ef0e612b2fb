//! Index jobs: followed, cancelled, and not put off by bad pages or bad archives.

use std::path::Path;

use serde_json::json;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{NodeSetup, TestClient, TestNode};

/// Enough made-up pages that a job is seen at work.
fn much() -> Vec<u8> {
    docs::tar(&docs::made_up(600, 8))
}

/// Follows a job until it reads pages.
async fn until_pages_are_read(client: &TestClient, id: &str) {
    let mut events = client.events(&format!("/api/jobs/{id}/events")).await;
    while let Some((_, job)) = events.next().await {
        assert_ne!(job["state"], "done", "the job was over before it was seen at work: {job}");
        if job["progress"]["pages"].as_u64() > Some(0) {
            return;
        }
    }
    panic!("the stream ended before the job read a page");
}

#[tokio::test]
async fn a_job_is_followed_event_by_event_to_its_end() {
    let node = TestNode::empty().await;
    let client = node.client();
    let id = client.start_job("/acme/big", "1", "docs.tar", much()).await;

    let mut events = client.events(&format!("/api/jobs/{id}/events")).await;
    let mut seen = Vec::new();
    while let Some((name, job)) = events.next().await {
        assert_eq!(name, "progress");
        assert_eq!(job["id"], id.as_str());
        seen.push(job);
    }
    let pages: Vec<u64> = seen.iter().filter_map(|job| job["progress"]["pages"].as_u64()).collect();
    assert!(pages.is_sorted(), "pages are counted up: {pages:?}");
    let last = seen.last().expect("a stream has an event at least");
    assert_eq!(last["state"], "done", "{last}");
    assert_eq!(last["progress"]["stage"], "ended", "{last}");
    assert_eq!(last["progress"]["pages"], 600, "{last}");
    assert!(last["progress"]["snippets"].as_u64() >= Some(600), "{last}");

    // Of a job that has ended the end alone is told; the list has it too.
    let mut again = client.events(&format!("/api/jobs/{id}/events")).await;
    assert_eq!(again.next().await.expect("one event").1["state"], "done");
    assert!(again.next().await.is_none());
    let listed = client.get("/api/jobs").await.expect(200).json();
    assert_eq!(listed["jobs"][0]["id"], id.as_str());
}

#[tokio::test]
async fn a_cancelled_job_ends_and_what_was_there_goes_on_answering() {
    let node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("first"))).await;

    let id = client.start_job("/acme/kiln", "1.0", "docs.tar", much()).await;
    until_pages_are_read(&client, &id).await;
    client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.expect(200);
    let job = client.ended_job(&id).await;
    assert_eq!(job["state"], "cancelled", "{job}");

    let answer = client.context("/acme/kiln", QUESTIONS[0].text, &[]).await.expect(200);
    assert!(answer.text.contains("since first"), "{}", answer.text);
    let again = client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.expect(409);
    assert_eq!(again.code(), "job_ended");
    // The worker is free for the next one.
    client.index("/acme/other", "1", "docs.tar", docs::tar(&docs::kiln("other"))).await;
}

#[tokio::test]
async fn a_library_that_is_indexed_for_the_first_time_says_so() {
    let node = TestNode::empty().await;
    let client = node.client();
    let id = client.start_job("/acme/big", "1", "docs.tar", much()).await;
    until_pages_are_read(&client, &id).await;
    let early = client.context("/acme/big", "topic", &[]).await;
    if early.status == 202 {
        assert_eq!(early.code(), "library_not_finalized");
        assert_eq!(early.json()["jobId"], id.as_str());
        assert!(!early.header("retry-after").is_empty());
    } else {
        // The job was faster than the question.
        early.expect(200);
    }
    client.ended_job(&id).await;
    client.context("/acme/big", "topic", &[]).await.expect(200);
}

#[tokio::test]
async fn bad_pages_are_counted_and_the_others_answer() {
    let node = TestNode::empty().await;
    let client = node.client();
    let mut files = docs::kiln("1.0");
    let bad = |path: &str, bytes: &[u8]| (path.to_owned(), bytes.to_vec());
    files.push(bad("src/broken.rs", b"pub fn ( {"));
    files.push(bad("guide/not-text.md", &[0, 159, 146, 150, 0, 1, 2, 255].repeat(500)));
    files.push(bad("guide/empty.md", b""));
    files.push(bad("guide/deep.html", "<div>".repeat(200_000).as_bytes()));
    files.push(bad("guide/open.html", b"<html><body><p>never closed <b>at all"));
    files.push(bad("picture.png", b"\x89PNG\r\n\x1a\n"));

    let job = client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&files)).await;
    let count = |name: &str| job["progress"][name].as_u64().expect("a count");
    assert!(count("skipped") >= 2, "{job}");
    let told = usize::try_from(count("pages") + count("skipped") + count("failed")).expect("a small number");
    assert_eq!(told, files.len(), "every file is told of: {job}");
    let problems = job["progress"]["problems"].as_array().map(Vec::len);
    assert_eq!(problems, usize::try_from(count("failed")).ok(), "what failed is told with its reason: {job}");
    for question in QUESTIONS {
        let answer = client.context("/acme/kiln", question.text, &[]).await.expect(200);
        assert!(answer.text.contains(question.says), "{}", question.text);
    }
}

#[tokio::test]
async fn every_kind_of_archive_and_a_single_page_are_taken() {
    let node = TestNode::empty().await;
    let client = node.client();
    let files = docs::kiln("1.0");
    let mut sources = docs::archives(&files);
    sources.push(("retries.md", docs::one_page("1.0")));
    for (index, (name, archive)) in sources.into_iter().enumerate() {
        let library = format!("/acme/kiln{index}");
        client.index(&library, "1.0", name, archive).await;
        let answer = client.context(&library, QUESTIONS[0].text, &[]).await.expect(200);
        assert!(answer.text.contains(QUESTIONS[0].says), "{name}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_archive_that_is_none_or_lies_fails_its_job_with_a_reason_and_harms_nothing() {
    let node = TestNode::empty().await;
    let client = node.client();
    let whole = docs::archives(&docs::kiln("1.0"));
    let mut sources: Vec<(&str, Vec<u8>)> = vec![
        ("docs.tar.zst", b"not an archive at all".to_vec()),
        ("docs.zip", b"PK\x03\x04 and then nothing".to_vec()),
        ("docs.tar", docs::tar(&[])),
        ("program.exe", b"MZ\x90\0".to_vec()),
    ];
    // Cut in the middle; tar alone says nothing about its end.
    sources.extend(whole.into_iter().filter(|(name, _)| *name != "docs.tar").map(|(name, mut bytes)| {
        bytes.truncate(bytes.len() / 2);
        (name, bytes)
    }));
    for (name, archive) in sources {
        let id = client.start_job("/acme/bad", "1", name, archive).await;
        let job = client.ended_job(&id).await;
        assert_eq!(job["state"], "failed", "{name}: {job}");
        assert!(job["message"].as_str().is_some_and(|text| text.len() > 10), "{name}: {job}");
    }

    let outside =
        node.data_dir().parent().map(|home| home.join("escaped.md")).expect("data lies in a folder");
    let id = client.start_job("/acme/bad", "1", "docs.tar", climbing_tar("../../../escaped.md")).await;
    client.ended_job(&id).await;
    assert!(
        !outside.exists() && !Path::new("/tmp/escaped.md").exists(),
        "an archive wrote outside its folder"
    );
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
}

/// A tar archive with one page at `path`, which `tar` itself would refuse to write.
fn climbing_tar(path: &str) -> Vec<u8> {
    let page = b"# Escaped\n\nThis page lies outside.\n";
    let mut header = tar::Header::new_old();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_size(u64::try_from(page.len()).expect("a small number"));
    header.set_mode(0o644);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend(page);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

#[tokio::test]
async fn a_folder_on_the_node_is_read_only_where_the_operator_allows_it() {
    let allowed = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    for folder in [&allowed, &other] {
        docs::write_to(folder.path(), &docs::kiln("1.0"));
    }
    std::os::unix::fs::symlink(other.path(), allowed.path().join("link")).unwrap();
    let folders = json!([allowed.path()]);
    let node = NodeSetup::default().with("ingest", "folders", folders).start().await;
    let client = node.client();
    let ask = |folder: &Path| json!({ "library": "/acme/kiln", "version": "1.0", "folder": folder });

    let job = client.post("/api/jobs", &ask(allowed.path())).await.expect(201).json();
    let job = client.ended_job(job["id"].as_str().unwrap()).await;
    assert_eq!(job["state"], "done", "{job}");
    for folder in [other.path(), Path::new("/etc"), &allowed.path().join(".."), &allowed.path().join("link")]
    {
        let refused = client.post("/api/jobs", &ask(folder)).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (403, "folder_not_allowed"),
            "{}",
            folder.display()
        );
    }
}
