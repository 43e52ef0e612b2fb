//! Several nodes that are one cluster: the real program, each with ports and data of its own.

use serde_json::Value;

use crate::client::TestClient;
use crate::node::{NodeSetup, TestNode};
use crate::wait::eventually;

/// A cluster of nodes on this machine; node 1 founded it.
pub struct TestCluster {
    /// The nodes, by id from 1.
    pub nodes: Vec<TestNode>,
    /// Of the account that founded it.
    key: String,
}

impl TestCluster {
    /// Starts `voters` nodes that vote and `learners` that follow, each in a region of its own.
    pub async fn start(voters: usize, learners: usize) -> Self {
        Self::start_as(voters, learners, async |number| Self::setup(number)).await
    }

    /// As [`Self::start`], each node as `setup` says for its number.
    pub async fn start_as(voters: usize, learners: usize, setup: impl AsyncFn(usize) -> NodeSetup) -> Self {
        let first = setup(1).await.start().await;
        let key = first.key().to_owned();
        let mut cluster = Self { nodes: vec![first], key };
        for number in 2..=voters + learners {
            cluster.join_as(setup(number).await).await;
        }
        for node in 2..=voters {
            cluster.client(0).post_empty(&format!("/api/cluster/nodes/{node}/promote")).await.expect(204);
        }
        cluster
    }

    /// How node `number` is started.
    pub fn setup(number: usize) -> NodeSetup {
        let name = format!("node-{number}");
        NodeSetup::default()
            .at_one_port_told()
            .with("node", "name", &name)
            .with("node", "region", format!("region-{number}"))
            .with_peers()
            .with("http", "stop_grace_ms", 0)
    }

    /// Lets another node in; its place in [`Self::nodes`].
    pub async fn join(&mut self) -> usize {
        self.join_as(Self::setup(self.nodes.len() + 1)).await
    }

    /// As [`Self::join`], as `setup` says.
    pub async fn join_as(&mut self, setup: NodeSetup) -> usize {
        let place = self.nodes.len();
        let token = self.token(0).await;
        let node = setup.joining(&token).start().await;
        self.nodes.push(node);
        place
    }

    /// A join token, made by the node at `place`.
    pub async fn token(&self, place: usize) -> String {
        eventually("a join token", async || {
            let client = self.client(place);
            let request = client.request(reqwest::Method::POST, "/api/cluster/tokens");
            let answer = client.try_answer(request.json(&serde_json::json!({}))).await.ok()?;
            // The authority is founded a moment after the first start.
            (answer.status == 201).then(|| answer.json()["token"].as_str().map(str::to_owned))?
        })
        .await
    }

    /// Asks the node at `place` as the founder.
    pub fn client(&self, place: usize) -> TestClient {
        TestClient::new(self.nodes[place].url(), Some(&self.key))
    }

    /// The founder's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The cluster as the node at `place` knows it.
    pub async fn view(&self, place: usize) -> Value {
        self.client(place).get("/api/cluster").await.expect(200).json()
    }

    /// Waits until the node at `place` hears of every node of the cluster.
    pub async fn hears_all(&self, place: usize) {
        eventually("every node to be heard of", async || self.is_all_heard(place).await.then_some(())).await;
    }

    /// Waits until the node at `place` has heard from the nodes called `ids` whether they take requests; not that nothing is heard of them
    /// for a moment, which looks the same from outside.
    pub async fn hears(&self, place: usize, ids: &[u64], takes_requests: bool) {
        eventually("whether others take requests", async || {
            let route = self.client(place).get("/api/route").await.expect(200).json();
            let nodes = route["route"]["nodes"].as_array()?;
            let is_one = |node: &Value| node["id"].as_u64().is_some_and(|id| ids.contains(&id));
            let said = nodes.iter().filter(|node| is_one(node) && node["ready"] == takes_requests);
            (said.count() == ids.len() && self.is_all_heard(place).await).then_some(())
        })
        .await;
    }

    async fn is_all_heard(&self, place: usize) -> bool {
        let metrics = self.client(place).get("/api/metrics").await.expect(200).text;
        let mut alive = metrics.lines().filter(|line| {
            line.starts_with("twinmcp_membership_members{") && line.contains("liveness=\"alive\"")
        });
        alive.any(|line| line.ends_with(&format!(" {}", self.nodes.len())))
    }

    /// Waits until the node at `place` knows a leader besides `before`; its id.
    pub async fn leader(&self, place: usize, before: Option<u64>) -> u64 {
        eventually("a leader", async || {
            let client = self.client(place);
            let answer =
                client.try_answer(client.request(reqwest::Method::GET, "/api/cluster")).await.ok()?;
            let leader = answer.json()["leader"].as_u64();
            leader.filter(|leader| Some(*leader) != before)
        })
        .await
    }
}
