//! Callers of every node while things go wrong: they make keys, revoke each through two nodes at once, look whether it still opens
//! the door, and ask for documentation. Everything they do and are told is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;
use twinmcp_tests::history::{Did, Operation};
use twinmcp_tests::{Answer, TestClient, TestCluster, eventually};

pub(super) const QUESTION: &str = "glaze colour codes";
/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// What a caller does between two rounds of its own, so that two cores have something left for the nodes.
const PACE: Duration = Duration::from_millis(25);
/// One of so many keys is left in force, so many of each node at most: an account has a hundred.
const KEPT_OF: usize = 8;
const KEPT_MAX: usize = 12;
/// Tries to revoke one key until a node says what became of it.
const TRIES_MAX: usize = 20;

/// One call about a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) key: usize,
    /// Through which node.
    pub(super) place: usize,
    pub(super) operation: Operation,
}

/// One question for documentation that was not answered.
#[derive(Debug, Clone)]
pub(super) struct Miss {
    pub(super) place: usize,
    pub(super) asked: Duration,
    /// When that was known.
    pub(super) given_up: Duration,
    /// What came instead.
    pub(super) told: String,
}

/// A key that was made.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: String,
}

/// What was seen, from all callers.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) keys: Mutex<Vec<Key>>,
    pub(super) events: Mutex<Vec<Event>>,
    pub(super) misses: Mutex<Vec<Miss>>,
    /// Questions that were answered, by node.
    pub(super) answers: Mutex<Vec<u64>>,
}

/// Callers that run until they are stopped.
pub(super) struct Load {
    pub(super) seen: Arc<Seen>,
    began: Instant,
    is_over: Arc<AtomicBool>,
    callers: JoinSet<()>,
}

/// One caller.
#[derive(Clone)]
struct Caller {
    place: usize,
    clients: Arc<Vec<TestClient>>,
    seen: Arc<Seen>,
    began: Instant,
    is_over: Arc<AtomicBool>,
}

impl Load {
    /// One caller that writes and one that asks for each node.
    pub(super) fn start(cluster: &TestCluster) -> Self {
        let nodes = cluster.nodes.len();
        let clients: Arc<Vec<_>> = Arc::new((0..nodes).map(|place| cluster.client(place)).collect());
        let (seen, is_over, began) = (Arc::new(Seen::default()), Arc::default(), Instant::now());
        seen.answers.lock().expect("no caller has failed").resize(nodes, 0);
        let mut callers = JoinSet::new();
        for place in 0..nodes {
            let (clients, seen, is_over) = (Arc::clone(&clients), Arc::clone(&seen), Arc::clone(&is_over));
            let caller = Caller { place, clients, seen, began, is_over };
            callers.spawn(caller.clone().write());
            callers.spawn(caller.ask());
        }
        Self { seen, began, is_over, callers }
    }

    /// Time since the load began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits until each of `places` has acknowledged so many more writes.
    pub(super) async fn until_acknowledged(&self, places: &[usize], count: usize) {
        let since = self.now();
        for &place in places {
            eventually("writes to be acknowledged", async || {
                let events = self.seen.events.lock().expect("no caller has failed");
                let new = events.iter().filter(|event| event.place == place && event.is_write_after(since));
                (new.count() >= count).then_some(())
            })
            .await;
        }
    }

    /// Lets every caller finish what it does.
    pub(super) async fn stop(mut self) -> Arc<Seen> {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.expect("a caller does not fail");
        }
        self.seen
    }
}

impl Event {
    /// Whether it is a write that was acknowledged after `since`.
    pub(super) fn is_write_after(&self, since: Duration) -> bool {
        !matches!(self.operation.did, Did::See(_)) && self.operation.returned.is_some_and(|at| at > since)
    }
}

impl Caller {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    async fn ask(self) {
        let client = &self.clients[self.place];
        while !self.is_over() {
            let asked = self.began.elapsed();
            let answer = tokio::time::timeout(
                PATIENCE,
                client.try_answer(client.request(
                    Method::GET,
                    &format!("/api/v2/context?libraryId=/acme/kiln&query={}", QUESTION.replace(' ', "%20")),
                )),
            );
            let told = match answer.await {
                Ok(Ok(answer)) if answer.status == 200 => None,
                Ok(Ok(answer)) => Some(format!("{} {}", answer.status, answer.text)),
                Ok(Err(error)) => Some(format!("{error:?}")),
                Err(_) => Some("no answer".to_owned()),
            };
            match told {
                None => self.seen.answers.lock().expect("no caller has failed")[self.place] += 1,
                Some(told) => {
                    self.seen.misses.lock().expect("no caller has failed").push(Miss {
                        place: self.place,
                        asked,
                        given_up: self.began.elapsed(),
                        told,
                    });
                }
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn write(self) {
        let (mut round, mut kept, mut others) = (0, 0, JoinSet::new());
        while !self.is_over() {
            tokio::time::sleep(PACE).await;
            round += 1;
            let Some((key, secret)) = self.make().await else { continue };
            self.see(self.place, key, &secret).await;
            if round % KEPT_OF == 0 && kept < KEPT_MAX {
                kept += 1;
                continue;
            }
            // Another node is asked for the same at the same time; one that hangs must not hold up this caller.
            if others.try_join_next().is_some() || others.is_empty() {
                let (caller, secret) = (self.clone(), secret.clone());
                let other = (self.place + 1 + round % (self.clients.len() - 1)) % self.clients.len();
                others.spawn(async move {
                    caller.see(other, key, &secret).await;
                    caller.revoke(other, key).await;
                    caller.see(other, key, &secret).await;
                });
            }
            for _ in 0..TRIES_MAX {
                if self.revoke(self.place, key).await || self.is_over() {
                    break;
                }
                tokio::time::sleep(PACE).await;
            }
            self.see(self.place, key, &secret).await;
        }
        while others.join_next().await.is_some() {}
    }

    /// Makes a key; its number and its secret if it was told.
    async fn make(&self) -> Option<(usize, String)> {
        let body = json!({ "name": "made under faults", "scopes": ["docs:read"] });
        let request = self.clients[self.place].request(Method::POST, "/api/keys").json(&body);
        let called = self.began.elapsed();
        let answer = self.answer(self.place, request).await.filter(|answer| answer.status == 201)?.json();
        let text = |text: &serde_json::Value| text.as_str().expect("a key has an id and a secret").to_owned();
        let (id, secret) = (text(&answer["key"]["id"]), text(&answer["secret"]));
        let key = {
            let mut keys = self.seen.keys.lock().expect("no caller has failed");
            keys.push(Key { id, secret: secret.clone() });
            keys.len() - 1
        };
        self.keep(self.place, key, Did::Make, called, true);
        Some((key, secret))
    }

    /// Revokes a key; whether it was told what became of it.
    async fn revoke(&self, place: usize, key: usize) -> bool {
        let id = self.seen.keys.lock().expect("no caller has failed")[key].id.clone();
        let request = self.clients[place].request(Method::DELETE, &format!("/api/keys/{id}"));
        let called = self.began.elapsed();
        match self.answer(place, request).await {
            Some(answer) if answer.status == 204 => self.keep(place, key, Did::Use(true), called, true),
            Some(answer) if answer.status == 404 => self.keep(place, key, Did::Use(false), called, true),
            // It promises that nothing was done: it is not part of the history.
            Some(answer) if answer.text.contains("nothing was changed") => return false,
            _ => {
                self.keep(place, key, Did::Use(false), called, false);
                return false;
            }
        }
        true
    }

    /// Looks whether a node lets a key in.
    async fn see(&self, place: usize, key: usize, secret: &str) {
        let request = self.clients[place].with_key(secret).request(Method::GET, "/api/libraries");
        let called = self.began.elapsed();
        match self.answer(place, request).await.map(|answer| answer.status) {
            Some(200) => self.keep(place, key, Did::See(true), called, true),
            Some(401) => self.keep(place, key, Did::See(false), called, true),
            _ => {}
        }
    }

    async fn answer(&self, place: usize, request: reqwest::RequestBuilder) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.clients[place].try_answer(request)).await.ok()?.ok()
    }

    fn keep(&self, place: usize, key: usize, did: Did, called: Duration, is_answered: bool) {
        let returned = is_answered.then(|| self.began.elapsed());
        let operation = Operation { did, called, returned };
        self.seen.events.lock().expect("no caller has failed").push(Event { key, place, operation });
    }
}
