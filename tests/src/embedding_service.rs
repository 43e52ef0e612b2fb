//! An embedding service on loopback: OpenAI's `POST /embeddings` over a real socket, and what goes wrong with such
//! services, by a script.
//!
//! The tests of `actors` use this file too, so that a service is one thing for the whole project.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Numbers in a vector.
pub const DIMENSIONS: usize = 64;
/// The only key that is served.
pub const KEY: &str = "sk-test-key";
/// The only model there is.
pub const MODEL: &str = "test-embed";
/// Words that mean the same to this service, and to nobody else.
pub const SYNONYMS: (&str, &str) = ("grunewaldish", "celadon");

/// What is done with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// It is embedded.
    Well,
    /// This status, with `Retry-After` where one is given. The key is repeated, as careless services do.
    Refuse(u16, Option<String>),
    /// Vectors of another length.
    Dimensions(usize),
    /// A vector less than there are texts.
    Short,
    /// 200 with this body.
    Says(&'static str),
    /// 200 with a body of so many bytes.
    Large(usize),
    /// 413 when there are more texts than the first number, 400 when one has more bytes than the second.
    AtMost(usize, usize),
    /// Nothing, for ever.
    Silent,
    /// The connection is closed.
    HangUp,
}

/// A running service.
#[derive(Debug)]
pub struct EmbeddingService {
    url: String,
    shared: Shared,
    listener: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    /// Whether requests wait for [`EmbeddingService::release`].
    held: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    /// Done first, one a request.
    script: Vec<Behaviour>,
    /// Done when the script is over.
    always: Behaviour,
    requests: Vec<Value>,
}

impl Drop for EmbeddingService {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl EmbeddingService {
    /// A service that does well.
    ///
    /// # Panics
    /// When the machine has no loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the machine has loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State { script: Vec::new(), always: Behaviour::Well, requests: Vec::new() };
        let shared = Shared { state: Arc::new(Mutex::new(state)), held: watch::Sender::new(false) };
        let accepting = shared.clone();
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        Self { url: format!("http://{address}/v1"), shared, listener }
    }

    /// Its address, without `/embeddings`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it does from now on: the script, one a request, and then always the same.
    pub fn does(&self, script: &[Behaviour], always: Behaviour) {
        let mut state = self.shared.lock();
        (state.script, state.always) = (script.to_vec(), always);
    }

    /// Lets requests wait from now on.
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Answers what waits, and everything after.
    pub fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// The texts of each request so far, also of those that wait.
    ///
    /// # Panics
    /// When a request had no texts.
    pub fn asked(&self) -> Vec<Vec<String>> {
        let texts = |body: &Value| serde_json::from_value(body["input"].clone()).expect("a list of texts");
        self.requests().iter().map(texts).collect()
    }

    /// The bodies of the requests so far.
    pub fn requests(&self) -> Vec<Value> {
        self.shared.lock().requests.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, mut stream: TcpStream) {
        while let Some((authorized, body)) = request(&mut stream).await {
            let behaviour = {
                let mut state = self.lock();
                state.requests.push(body.clone());
                if state.script.is_empty() { state.always.clone() } else { state.script.remove(0) }
            };
            // A sender that is held here cannot be gone.
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            let (status, extra, answer) = match behaviour {
                _ if !authorized => refusal(401, None),
                Behaviour::Well => embedded(&body, DIMENSIONS, 0),
                Behaviour::Dimensions(count) => embedded(&body, count, 0),
                Behaviour::Short => embedded(&body, DIMENSIONS, 1),
                Behaviour::Refuse(status, wait) => refusal(status, wait.as_deref()),
                Behaviour::Says(text) => (200, String::new(), text.to_owned()),
                Behaviour::Large(bytes) => (200, String::new(), " ".repeat(bytes)),
                Behaviour::AtMost(texts_max, bytes_max) => at_most(&body, texts_max, bytes_max),
                Behaviour::HangUp => return,
                Behaviour::Silent => std::future::pending().await,
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}content-length: {}\r\n\r\n",
                answer.len()
            );
            if stream.write_all((head + &answer).as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

type Answer = (u16, String, String);

fn refusal(status: u16, wait: Option<&str>) -> Answer {
    let extra = wait.map_or_else(String::new, |wait| format!("retry-after: {wait}\r\n"));
    let body = json!({ "error": { "message": format!("no, says {KEY}"), "type": "refusal", "code": null } });
    (status, extra, body.to_string())
}

fn at_most(body: &Value, texts_max: usize, bytes_max: usize) -> Answer {
    let texts = texts(body);
    match texts.iter().find(|text| text.len() > bytes_max) {
        _ if texts.len() > texts_max => refusal(413, None),
        Some(_) => refusal(400, None),
        None => embedded(body, DIMENSIONS, 0),
    }
}

/// The next request: whether it brings the key, and its body. `None` for what is no such request.
async fn request(stream: &mut TcpStream) -> Option<(bool, Value)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(piece.get(..read)?);
    };
    let mut body = bytes.split_off(head_end);
    let head = String::from_utf8(bytes).ok()?.to_lowercase();
    let mut lines = head.lines();
    if lines.next() != Some("post /v1/embeddings http/1.1") {
        return None;
    }
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if header("content-type") != Some("application/json") {
        return None;
    }
    let mut rest = vec![0; header("content-length")?.parse::<usize>().ok()?.checked_sub(body.len())?];
    stream.read_exact(&mut rest).await.ok()?;
    body.extend(rest);
    Some((header("authorization") == Some(&format!("bearer {KEY}")), serde_json::from_slice(&body).ok()?))
}

fn texts(body: &Value) -> Vec<&str> {
    body["input"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Each word counts in one of the numbers: texts with the same words are near to each other. Sent out of order, as
/// services may.
fn embedded(body: &Value, dimensions: usize, missing: usize) -> Answer {
    if body["model"] != MODEL || body["encoding_format"] != "float" {
        return refusal(404, None);
    }
    let one = |(index, text): (usize, &str)| {
        let mut vector = vec![0.01; dimensions];
        for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
        {
            let word = if word == SYNONYMS.0 { SYNONYMS.1 } else { word };
            let place = word.bytes().fold(7_usize, |sum, byte| (sum * 31 + usize::from(byte)) % 1_009);
            if let Some(number) = vector.get_mut(place % dimensions) {
                *number += 1.0;
            }
        }
        json!({ "object": "embedding", "index": index, "embedding": vector })
    };
    let data: Vec<Value> = texts(body).into_iter().enumerate().map(one).skip(missing).rev().collect();
    let usage = json!({ "prompt_tokens": 1, "total_tokens": 1 });
    let body = json!({ "object": "list", "model": MODEL, "data": data, "usage": usage });
    (200, String::new(), body.to_string())
}
