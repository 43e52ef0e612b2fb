//! A web site on loopback: what it says is a function of the path and of how often that was asked for.
//!
//! The tests of `actors` use this file too, so that a site is one thing for the whole project.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One answer.
#[derive(Debug, Clone)]
pub struct Page {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Page {
    /// HTML around `body`.
    pub fn html(body: &str) -> Self {
        Self::of("text/html; charset=utf-8", format!("<!doctype html><html>{body}</html>"))
    }

    /// Plain text.
    pub fn text(body: &str) -> Self {
        Self::of("text/plain", body)
    }

    /// Anything.
    pub fn of(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status: 200, headers, body: body.into() }
    }

    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::text("") }
    }

    /// A redirect.
    pub fn moved(to: &str) -> Self {
        Self::status(301).with("location", to)
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The answer to a client that may have the page already.
    fn bytes(&self, if_none_match: Option<&str>) -> Vec<u8> {
        let etag = self.headers.iter().find(|(name, _)| *name == "etag").map(|(_, value)| value.as_str());
        let unchanged = etag.is_some() && etag == if_none_match;
        let (status, body) = if unchanged { (304, &[][..]) } else { (self.status, &self.body[..]) };
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let headers: String = headers.collect();
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
        [head.as_bytes(), body].concat()
    }
}

type Answer = dyn Fn(&str, usize) -> Page + Send + Sync;

/// A running site.
#[derive(Debug)]
pub struct Site {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    listener: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Site {
    /// Answers a path, which is asked for the `n`th time, from 0.
    /// `answer` says what a path shows when it is asked for the `n`th time, from 0. Headers `etag` are honoured.
    ///
    /// # Panics
    /// When the machine has no loopback.
    pub async fn start(answer: impl Fn(&str, usize) -> Page + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the machine has loopback");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, answer): (_, Arc<Answer>) = (Arc::clone(&asked), Arc::new(answer));
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Self { port, asked, listener }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The paths asked for since the last time, in their order; `304 ` before those that were unchanged.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.asked))
    }

    /// How often each path was asked for since the last time.
    pub fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for path in self.asked() {
            *counts.entry(path).or_default() += 1;
        }
        counts
    }
}

fn lock(log: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, log: Arc<Mutex<Vec<String>>>, answer: Arc<Answer>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut path, mut etag) = (String::new(), None);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == "\r\n" {
            break;
        }
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some(("if-none-match", value)) = line.split_once(": ") {
            etag = Some(value.trim().to_owned());
        }
    }
    let bytes = {
        let mut log = lock(&log);
        let times = log.iter().filter(|asked| asked.trim_start_matches("304 ") == path).count();
        let bytes = answer(&path, times).bytes(etag.as_deref());
        log.push(if bytes.starts_with(b"HTTP/1.1 304") { format!("304 {path}") } else { path });
        bytes
    };
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}
