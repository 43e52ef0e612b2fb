//! A node that is drained: it begins no job, gives those that wait to others at once, and finishes what runs, up to a bound.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::site::{Page, Site};
use twinmcp_tests::{Cli, NodeSetup, TestCluster, eventually};

/// Where the node that is drained stands in the cluster, and its id.
const DRAINED: usize = 1;
const DRAINED_ID: u64 = 2;
/// Pages of the site that the drained node is slow to read.
const PAGES: usize = 25;
/// Leases are that long, the longest there are, and what is left behind is looked for three times in one: whatever another node
/// takes over within the patience of these tests was handed to it.
const LEASE_MS: u64 = 600_000;

/// Nodes that may fetch from this machine: the one that is drained so many pages a second, the others at once.
async fn cluster(pages_per_second: u32, drain_timeout_ms: u64) -> TestCluster {
    TestCluster::start_as(3, 0, async |number| -> NodeSetup {
        let is_slow = number == DRAINED + 1;
        TestCluster::setup(number)
            .with("outbound", "allowed_networks", json!(["127.0.0.1"]))
            .with("fetch", "requests_per_second", if is_slow { pages_per_second } else { 1_000 })
            .with("ingest", "jobs_running_max", 1)
            .with("ingest", "lease_ms", LEASE_MS)
            .with("http", "drain_timeout_ms", drain_timeout_ms)
            .with("http", "request_timeout_ms", 110_000)
    })
    .await
}

/// A site with [`PAGES`] pages below `/slow/`, and one page at `/small/`.
async fn site() -> Site {
    Site::start(|path, _| match path {
        "/slow/" => {
            let links = (1..PAGES).map(|page| format!("<a href='part-{page}'>Part {page}</a> "));
            Page::html(&format!("<h1>Parts</h1><p>A kiln has many parts.</p>{}", links.collect::<String>()))
        }
        "/small/" => Page::html("<h1>Small</h1><p>A small kiln is fired with wood and left to cool.</p>"),
        part if part.starts_with("/slow/part-") => Page::html(&format!(
            "<h1>{part}</h1><p>How {part} is fired, glazed and stored for the winter.</p>"
        )),
        _ => Page::status(404),
    })
    .await
}

/// The job, as the first node tells.
async fn job(cluster: &TestCluster, id: &str) -> Value {
    cluster.client(0).get(&format!("/api/jobs/{id}")).await.expect(200).json()
}

/// Asks the drained node to read a site; the job's id.
async fn started(cluster: &TestCluster, library: &str, url: &str) -> String {
    let asked = json!({ "library": library, "version": "1", "website": url });
    let job = cluster.client(DRAINED).post("/api/jobs", &asked).await.expect(201).json();
    job["id"].as_str().expect("a job has an id").to_owned()
}

/// Asks the drained node to read the slow site, and waits until it does; the job's id.
async fn running(cluster: &TestCluster, site: &Site) -> String {
    let id = started(cluster, "/acme/slow", &site.url("/slow/")).await;
    eventually("the job at work", async || {
        let job = job(cluster, &id).await;
        (job["state"] == "running" && job["node"] == DRAINED_ID).then_some(())
    })
    .await;
    id
}

/// Waits until the node that is to be drained has heard whether the others take jobs.
async fn until_others(cluster: &TestCluster, take_jobs: bool) {
    cluster.hears(DRAINED, &[1, 3], take_jobs).await;
}

/// Waits until the job has ended.
async fn ended(cluster: &TestCluster, id: &str) -> Value {
    eventually("the end of the job", async || {
        let job = job(cluster, id).await;
        job["ended_at"].is_string().then_some(job)
    })
    .await
}

#[tokio::test]
async fn a_drained_node_finishes_what_runs_gives_what_waits_to_others_at_once_and_takes_nothing_new() {
    let (cluster, site) = (cluster(2, 100_000).await, site().await);
    until_others(&cluster, true).await;
    let drained = cluster.client(DRAINED);
    let runs = running(&cluster, &site).await;
    let archive = docs::tar(&docs::kiln("1.0"));
    let sent = drained.start_job("/acme/kiln", "1.0", "docs.tar", archive.clone()).await;
    let fetched = started(&cluster, "/acme/small", &site.url("/small/")).await;
    for waits in [&sent, &fetched] {
        let job = job(&cluster, waits).await;
        assert_eq!(
            (job["state"].as_str(), job["node"].as_u64()),
            (Some("queued"), Some(DRAINED_ID)),
            "{job}"
        );
    }

    let began = Instant::now();
    let draining = tokio::spawn({
        let drained = drained.clone();
        async move { drained.post_empty("/api/cluster/drain").await }
    });
    for waits in [&sent, &fetched] {
        let done = ended(&cluster, waits).await;
        assert_eq!((done["state"].as_str(), done["attempt"].as_u64()), (Some("done"), Some(1)), "{done}");
        assert!(matches!(done["node"].as_u64(), Some(1 | 3)), "another node has done it: {done}");
    }
    draining.await.expect("the drain is answered").expect(204);
    assert!(began.elapsed() < Duration::from_millis(LEASE_MS) / 3, "{:?}", began.elapsed());
    let done = job(&cluster, &runs).await;
    assert_eq!((done["state"].as_str(), done["attempt"].as_u64()), (Some("done"), Some(1)), "{done}");
    assert_eq!(done["node"], DRAINED_ID, "what ran was finished where it ran: {done}");

    let asked = json!({ "library": "/acme/new", "version": "1", "website": site.url("/small/") });
    let upload = drained.request(reqwest::Method::POST, "/api/jobs/uploads").body(archive);
    let upload = upload.header("content-type", "application/octet-stream");
    for refused in [drained.post("/api/jobs", &asked).await, drained.answer(upload).await] {
        let refused = refused.expect(503);
        assert_eq!(refused.code(), "node_draining", "{}", refused.text);
        assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{refused:?}");
        assert!(refused.text.contains("ask another node"), "{}", refused.text);
    }
    // A program that was told of others asks one of those.
    let home = cluster.nodes[DRAINED].folder();
    let urls = format!("{},{}", cluster.nodes[DRAINED].url(), cluster.nodes[0].url());
    let cli = Cli::new(&urls, Some(cluster.key()), &home);
    cli.run(&["index", &site.url("/small/"), "--library", "/acme/told"]).await.expect(0);
    let answer = drained.context("/acme/slow", "how is a part glazed", &[]).await.expect(200);
    assert!(answer.text.contains("glazed"), "it answers all the same: {}", answer.text);

    drained.delete("/api/cluster/drain").await.expect(204);
    let again = started(&cluster, "/acme/new", &site.url("/small/")).await;
    let done = ended(&cluster, &again).await;
    assert_eq!((done["state"].as_str(), done["node"].as_u64()), (Some("done"), Some(DRAINED_ID)), "{done}");
    eventually("an answer", async || {
        let answer = cluster.client(0).context("/acme/kiln", QUESTIONS[0].text, &[]).await;
        (answer.status == 200 && answer.text.contains(QUESTIONS[0].says)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_drained_node_does_not_finish_in_time_another_one_begins_anew() {
    // It reads for longer.
    let (cluster, site) = (cluster(1, 1_000).await, site().await);
    until_others(&cluster, true).await;
    let runs = running(&cluster, &site).await;
    cluster.client(DRAINED).post_empty("/api/cluster/drain").await.expect(204);
    let given = job(&cluster, &runs).await;
    assert_ne!(given["node"], DRAINED_ID, "it was given away before the drain was answered: {given}");
    let done = ended(&cluster, &runs).await;
    assert_eq!((done["state"].as_str(), done["attempt"].as_u64()), (Some("done"), Some(2)), "{done}");
    assert!(matches!(done["node"].as_u64(), Some(1 | 3)), "{done}");
}

#[tokio::test]
async fn a_job_that_no_other_node_can_do_waits_until_its_node_takes_jobs_again() {
    let (cluster, site) = (cluster(2, 1_000).await, site().await);
    // The others take no jobs either.
    for place in [0, 2] {
        cluster.client(place).post_empty("/api/cluster/drain").await.expect(204);
    }
    until_others(&cluster, false).await;
    let runs = running(&cluster, &site).await;
    let waits = started(&cluster, "/acme/small", &site.url("/small/")).await;
    cluster.client(DRAINED).post_empty("/api/cluster/drain").await.expect(204);
    for (id, state) in [(&runs, "running"), (&waits, "queued")] {
        let job = job(&cluster, id).await;
        assert_eq!((job["state"].as_str(), job["node"].as_u64()), (Some(state), Some(DRAINED_ID)), "{job}");
    }
    cluster.client(DRAINED).delete("/api/cluster/drain").await.expect(204);
    for id in [&runs, &waits] {
        let done = ended(&cluster, id).await;
        assert_eq!((done["state"].as_str(), done["attempt"].as_u64()), (Some("done"), Some(1)), "{done}");
        assert_eq!(done["node"], DRAINED_ID, "{done}");
    }
}
