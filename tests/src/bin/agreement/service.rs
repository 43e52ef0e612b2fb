//! The real program, as people run it: processes that are asked over HTTP.

use std::time::{Duration, Instant};

use serde_json::json;
use twinmcp_tests::{TestClient, TestCluster, docs, eventually};

use crate::drive::{self, Client, Run, figures, millis};

const VOTERS: usize = 3;
const LEARNERS: usize = 2;
/// Writes that are followed to all nodes.
const FOLLOWED: usize = 100;
const LIBRARY: &str = "/agreement/docs";

pub(crate) struct Nodes {
    cluster: TestCluster,
}

impl Nodes {
    pub(crate) async fn start() -> Self {
        let setup = async |number| TestCluster::setup(number).untraced();
        Self { cluster: TestCluster::start_as(VOTERS, LEARNERS, setup).await }
    }

    /// Clients spread evenly over the voters.
    pub(crate) async fn writes(&self, clients: usize, time: Duration) -> Result<Run, String> {
        let writers = (0..clients).map(|client| Keys::new(self.cluster.client(client % VOTERS)));
        drive::writes(writers.collect(), time).await
    }

    /// Kills the leader while two clients of each other voter write; the longest gap.
    pub(crate) async fn failover(&mut self) -> Result<Duration, String> {
        let leader = self.cluster.leader(VOTERS, None).await;
        let leader = usize::try_from(leader).map_err(|error| error.to_string())? - 1;
        let writers = (0..2 * VOTERS).map(|client| client % VOTERS).filter(|voter| *voter != leader);
        let writers = writers.map(|voter| Keys::new(self.cluster.client(voter))).collect();
        let node = &mut self.cluster.nodes[leader];
        let gap = drive::gap(writers, async || {
            node.kill().await;
            Ok(())
        })
        .await?;
        self.cluster.nodes[leader].restart().await;
        Ok(gap)
    }

    /// How long after its answer a write on one node can be read on all.
    pub(crate) async fn propagation(&self) -> Result<Run, String> {
        let clients: Vec<_> = (0..VOTERS + LEARNERS).map(|place| self.cluster.client(place)).collect();
        let (started, mut times) = (Instant::now(), Vec::new());
        for number in 0..FOLLOWED {
            let (id, secret) = clients[number % clients.len()].create_key(&["docs:read"]).await;
            let answered = Instant::now();
            let known = clients.iter().map(|client| {
                let client = client.with_key(&secret);
                async move { while client.get("/api/libraries").await.status != 200 {} }
            });
            futures_util::future::join_all(known).await;
            times.push(answered.elapsed());
            clients[0].delete(&format!("/api/keys/{id}")).await.expect(204);
        }
        figures(times, started.elapsed())
    }

    /// How long after one node has indexed a large library all hold its bundle.
    pub(crate) async fn bundle(&self, pages: usize) -> Result<String, String> {
        let client = self.cluster.client(0);
        let begun = Instant::now();
        let job = client.start_job(LIBRARY, "1", "docs.tar", docs::tar(&docs::made_up(pages, 4))).await;
        let published = |place: usize| {
            let node = &self.cluster.nodes[place];
            let bundles = node.files("bundles").into_iter();
            bundles
                .filter(|path| path.extension().is_some_and(|extension| extension == "bundle"))
                .collect::<Vec<_>>()
        };
        // Longer than the deadline of a condition: indexing takes minutes on a busy machine.
        loop {
            let state = client.get(&format!("/api/jobs/{job}")).await.expect(200).json();
            match state["state"].as_str() {
                Some("done") => break,
                Some("failed" | "cancelled") => return Err(format!("the job ended: {state}")),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        let (indexed, done) = (begun.elapsed(), Instant::now());
        let mut there = Vec::new();
        for place in 0..VOTERS + LEARNERS {
            eventually("the bundle on a node", async || {
                let answer = self.cluster.client(place).context(LIBRARY, "topic of the stream", &[]).await;
                (answer.status == 200 && !published(place).is_empty()).then_some(())
            })
            .await;
            there.push(format!("{:.0}", millis(done.elapsed())));
        }
        let bytes: u64 =
            published(0).iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum();
        Ok(format!(
            "a bundle of {} MB, indexed in {:.1} s, answers on nodes 1 to {} after {} ms",
            bytes / 1_000_000,
            indexed.as_secs_f64(),
            VOTERS + LEARNERS,
            there.join(", ")
        ))
    }
}

/// Makes a key, then revokes it: two writes. An account has few in force.
struct Keys {
    client: TestClient,
    made: Option<String>,
}

impl Keys {
    fn new(client: TestClient) -> Self {
        Self { client, made: None }
    }
}

impl Client for Keys {
    async fn write(&mut self) -> Result<(), String> {
        let (method, path) = match &self.made {
            Some(id) => (reqwest::Method::DELETE, format!("/api/keys/{id}")),
            None => (reqwest::Method::POST, "/api/keys".to_owned()),
        };
        let request = self.client.request(method, &path);
        // A name that makes the command as large as the others'.
        let request = match &self.made {
            Some(_) => request,
            None => request.json(&json!({ "name": "n".repeat(60), "scopes": ["docs:read"] })),
        };
        let answer = self.client.try_answer(request).await.map_err(|error| error.to_string())?;
        match answer.status {
            201 => self.made = answer.json()["key"]["id"].as_str().map(str::to_owned),
            // Gone already: it was revoked by a try whose answer was lost.
            204 | 404 => self.made = None,
            status => return Err(format!("{status}: {}", answer.text)),
        }
        Ok(())
    }
}
