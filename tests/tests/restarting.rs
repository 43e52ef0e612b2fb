//! A node that is restarted again and again under clients who keep their connections, ask all the time and come back: no request
//! that was sent is answered in part, and what got no answer was not done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{NodeSetup, Raw, RawAnswer, eventually};

/// Stops and starts.
const RESTARTS: usize = 4;
/// Clients of each kind.
const CLIENTS: usize = 3;
/// Questions a writer asks between two changes.
const READS_A_CHANGE: usize = 12;
/// Keys of one writer, so that the list of them is whole: of revoked ones an account keeps a hundred.
const KEYS_MAX: usize = 33;

/// What all clients share.
#[derive(Debug, Default)]
struct Count {
    /// Whole answers.
    answered: AtomicUsize,
    /// Whole answers that the node cannot now.
    busy: AtomicUsize,
    /// Connections that were closed instead of an answer.
    closed: AtomicUsize,
    /// Everything is over.
    is_over: AtomicBool,
}

/// One client with one connection at a time.
struct Client {
    url: String,
    key: String,
    connection: Option<Raw>,
    count: Arc<Count>,
}

impl Client {
    /// Sends a request on the connection that is open, else on a new one, and reads the answer; nothing when the node closed the
    /// connection before it said anything. Whether to come again is left to the caller: only they know what may be done twice.
    async fn ask(&mut self, head: &str, body: &str) -> Option<RawAnswer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            // Between two starts nobody listens: such a request was never taken.
            None => eventually("a connection", async || Raw::try_connect(&self.url).await.ok()).await,
        };
        let length = body.len();
        let key = &self.key;
        let request = format!(
            "{head} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        // An answer may be there though not all was taken; half of one ends the test.
        let _ = connection.send(&request).await;
        let Some(answer) = connection.answer().await else {
            self.count.closed.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let whole = answer.header("content-length").parse() == Ok(answer.body.len());
        assert!(
            whole || answer.header("transfer-encoding") == "chunked" || answer.status == 204,
            "cut: {answer:?}"
        );
        if !answer.header("connection").eq_ignore_ascii_case("close") {
            self.connection = Some(connection);
        }
        if answer.status == 503 {
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
            self.count.busy.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.count.answered.fetch_add(1, Ordering::Relaxed);
        Some(answer)
    }

    async fn rest(&mut self) {
        let head = "GET /api/v2/context?libraryId=/acme/kiln&query=glaze+colour+codes";
        if let Some(answer) = self.ask(head, "").await {
            assert!(answer.status == 200 && answer.body.contains("celadon"), "{answer:?}");
        }
    }

    async fn mcp(&mut self) {
        let arguments = json!({ "libraryId": "/acme/kiln", "query": QUESTIONS[0].text });
        let params = json!({ "name": "query-docs", "arguments": arguments });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        if let Some(answer) = self.ask("POST /mcp", &body.to_string()).await {
            assert!(answer.status == 200 && answer.body.contains(QUESTIONS[0].says), "{answer:?}");
        }
    }
}

/// What became of the keys of one writer, as far as the node told it.
#[derive(Debug, Default)]
struct Keys {
    made: BTreeSet<String>,
    not_made: BTreeSet<String>,
    revoked: BTreeSet<String>,
    not_revoked: BTreeSet<String>,
}

async fn write_on(mut client: Client, number: usize) -> Keys {
    let mut keys = Keys::default();
    for turn in 0.. {
        if client.count.is_over.load(Ordering::Relaxed) {
            break;
        }
        if turn % READS_A_CHANGE != 0 || turn / READS_A_CHANGE >= KEYS_MAX {
            client.rest().await;
            continue;
        }
        let name = format!("writer {number} key {turn}");
        let body = json!({ "name": name, "scopes": ["docs:read"] }).to_string();
        let Some(made) = client.ask("POST /api/keys", &body).await else {
            keys.not_made.insert(name);
            continue;
        };
        assert_eq!(made.status, 201, "{made:?}");
        keys.made.insert(name.clone());
        let made: Value = serde_json::from_str(&made.body).expect("an answer in JSON");
        let id = made["key"]["id"].as_str().expect("a key has an id");
        match client.ask(&format!("DELETE /api/keys/{id}"), "").await {
            Some(revoked) => {
                assert_eq!(revoked.status, 204, "{revoked:?}");
                keys.revoked.insert(name);
            }
            None => _ = keys.not_revoked.insert(name),
        }
    }
    keys
}

async fn read_on(mut client: Client, over_mcp: bool) -> Keys {
    while !client.count.is_over.load(Ordering::Relaxed) {
        if over_mcp { client.mcp().await } else { client.rest().await }
    }
    Keys::default()
}

#[tokio::test]
async fn no_answer_is_cut_and_nothing_is_done_unsaid_through_several_restarts_under_load() {
    LocalSet::new().run_until(restart_under_load()).await;
}

async fn restart_under_load() {
    let mut node = NodeSetup::default().at_one_port().start().await;
    node.client().index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let count = Arc::new(Count::default());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = || Client {
            url: node.url().to_owned(),
            key: node.key().to_owned(),
            connection: None,
            count: Arc::clone(&count),
        };
        clients.spawn_local(write_on(client(), number));
        clients.spawn_local(read_on(client(), false));
        clients.spawn_local(read_on(client(), true));
    }
    for _ in 0..RESTARTS {
        let before = count.answered.load(Ordering::Relaxed);
        eventually("answers under load", async || {
            (count.answered.load(Ordering::Relaxed) > before + 200).then_some(())
        })
        .await;
        let status = node.stop().await;
        assert!(status.success(), "{status}: {}", node.log());
        node.restart().await;
    }
    count.is_over.store(true, Ordering::Relaxed);
    let mut told = Keys::default();
    while let Some(keys) = clients.join_next().await {
        let mut keys = keys.expect("every answer was whole and right");
        told.made.append(&mut keys.made);
        told.not_made.append(&mut keys.not_made);
        told.revoked.append(&mut keys.revoked);
        told.not_revoked.append(&mut keys.not_revoked);
    }

    // The node's own list against what it told: all that it said is there, and nothing that it did not say.
    let list = node.client().get("/api/keys").await.expect(200).json();
    let list: Vec<_> = list["keys"].as_array().cloned().unwrap_or_default();
    let named = |wanted: &dyn Fn(&Value) -> bool| -> BTreeSet<String> {
        let keys = list.iter().filter(|key| wanted(key)).filter_map(|key| key["name"].as_str());
        keys.filter(|name| name.starts_with("writer")).map(str::to_owned).collect()
    };
    assert_eq!(named(&|_| true), told.made, "{told:?}");
    assert_eq!(named(&|key| key["revoked_at"].is_string()), told.revoked, "{told:?}");
    assert!(told.made.len() > RESTARTS, "{} keys are too few to tell anything", told.made.len());
    assert!(told.not_made.is_disjoint(&told.made) && told.not_revoked.is_disjoint(&told.revoked));
    let (answered, busy) = (count.answered.load(Ordering::Relaxed), count.busy.load(Ordering::Relaxed));
    let closed = count.closed.load(Ordering::Relaxed);
    // Each connection is closed with its last answer, so that a client that asks all the time hardly meets a closed one.
    assert!(closed <= RESTARTS * CLIENTS * 3, "{answered} answered, {busy} busy, {closed} closed");
}
