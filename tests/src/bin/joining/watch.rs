//! Callers that ask and change at a steady pace, and how long each answer took.

use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::sync::watch;
use tokio::task::JoinSet;
use twinmcp_tests::{TestClient, TestCluster, docs, with_parameters};

/// Between two requests of one caller: slow enough that two cores have something left.
const PACE: Duration = Duration::from_millis(20);

/// Times of one kind of request.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    times: Vec<Duration>,
    /// Requests that were not answered as they should be.
    pub(crate) failed: usize,
}

impl Spent {
    pub(crate) fn count(&self) -> usize {
        self.times.len()
    }

    /// Half of the requests, and 99 of 100, took no longer.
    pub(crate) fn figures(&self) -> String {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = |percent: usize| {
            let time = times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
            time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        format!("{:.1} / {:.1}", at(50), at(99))
    }

    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.failed += other.failed;
    }

    fn note(&mut self, begun: Instant, is_good: bool) {
        self.times.push(begun.elapsed());
        self.failed += usize::from(!is_good);
    }
}

/// Times of all callers.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) questions: Spent,
    pub(crate) changes: Spent,
}

/// Callers under way: two of each node.
pub(crate) struct Watching {
    stop: watch::Sender<bool>,
    callers: JoinSet<Times>,
}

impl Watching {
    pub(crate) fn start(cluster: &TestCluster) -> Self {
        let (stop, until) = watch::channel(false);
        let mut callers = JoinSet::new();
        for place in 0..cluster.nodes.len() {
            callers.spawn(ask(cluster.client(place), until.clone()));
            callers.spawn(change(cluster.client(place), until.clone()));
        }
        Self { stop, callers }
    }

    pub(crate) async fn end(self) -> Times {
        self.stop.send_replace(true);
        let mut all = Times::default();
        for times in self.callers.join_all().await {
            all.questions.add(times.questions);
            all.changes.add(times.changes);
        }
        all
    }
}

async fn ask(client: TestClient, until: watch::Receiver<bool>) -> Times {
    let question = with_parameters(
        "/api/v2/context",
        &[("libraryId", "/load/kiln-0"), ("query", docs::QUESTIONS[0].text)],
    );
    let mut times = Times::default();
    while !*until.borrow() {
        let begun = Instant::now();
        let answer = client.try_answer(client.request(Method::GET, &question)).await;
        times.questions.note(begun, answer.is_ok_and(|answer| answer.status == 200));
        tokio::time::sleep(PACE).await;
    }
    times
}

async fn change(client: TestClient, until: watch::Receiver<bool>) -> Times {
    let mut times = Times::default();
    let body = serde_json::json!({ "name": "made by a measurement", "scopes": ["docs:read"] });
    while !*until.borrow() {
        let begun = Instant::now();
        let made = client.try_answer(client.request(Method::POST, "/api/keys").json(&body)).await;
        let made = made.ok().filter(|answer| answer.status == 201);
        times.changes.note(begun, made.is_some());
        if let Some(id) = made.and_then(|made| made.json()["key"]["id"].as_str().map(str::to_owned)) {
            let begun = Instant::now();
            let gone = client.try_answer(client.request(Method::DELETE, &format!("/api/keys/{id}"))).await;
            times.changes.note(begun, gone.is_ok_and(|answer| answer.status == 204));
        }
        tokio::time::sleep(PACE).await;
    }
    times
}
