//! Asking peers: one connection to each for what must be quick, one for what is large, one for what clients wait for.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, timeout};

use super::body::{AnswerBody, bytes_body};
use super::{Patience, Transport};
use crate::status::NodeId;

/// Bytes of an answer that is taken whole.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Bytes under way on one stream, and on one connection: a region away, 80 ms of a fast line.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Which of the connections to a peer: what is large must not hold up what is urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Votes, entries, proposals.
    Urgent,
    /// Snapshots, bundles.
    Bulk,
    /// Questions of clients: many, and each waited for.
    Questions,
}

/// Why a peer did not answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// There is no connection to it. Nothing was asked.
    #[error("node {node} cannot be reached")]
    Unreachable {
        /// Whom.
        node: NodeId,
        /// What the network said.
        #[source]
        source: io::Error,
    },
    /// The connection ended before the answer. It may have been asked.
    #[error("the connection to node {node} was lost")]
    Lost {
        /// Whom.
        node: NodeId,
        /// How.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused.
    #[error("node {node} refused ({status}): {reason}")]
    Refused {
        /// Who.
        node: NodeId,
        /// HTTP's status.
        status: u16,
        /// Its sentence.
        reason: String,
    },
}

/// The way to a peer on one lane.
#[derive(Default)]
struct Line {
    connection: Option<SendRequest<AnswerBody>>,
    /// The newest try to connect failed.
    is_down: bool,
}

impl Line {
    /// Logs that a peer is away, and that it is back, and not each of the many tries in between.
    fn tell(&mut self, node: NodeId, lane: Lane, connected: &io::Result<SendRequest<AnswerBody>>) {
        let was_down = std::mem::replace(&mut self.is_down, connected.is_err());
        match connected {
            // What is urgent goes to every member all the time.
            _ if lane != Lane::Urgent => {}
            Err(error) if !was_down => {
                let error = error as &dyn std::error::Error;
                tracing::warn!(peer = %node, error, "a peer cannot be reached; it is tried until it can");
            }
            Ok(_) if was_down => tracing::info!(peer = %node, "a peer is reached again"),
            Ok(_) | Err(_) => {}
        }
    }
}

type Lines = HashMap<(NodeId, Lane), Arc<tokio::sync::Mutex<Line>>>;

/// Connections to peers; made when they are needed.
pub(crate) struct Peers {
    transport: Arc<dyn Transport>,
    patience: Patience,
    lines: Mutex<Lines>,
}

impl Peers {
    pub(crate) fn new(transport: Arc<dyn Transport>, patience: Patience) -> Self {
        Self { transport, patience, lines: Mutex::default() }
    }

    /// Lets go of every connection: what is asked from now on is asked over new ones. What is under way ends where it began.
    pub(crate) fn renew(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks with a whole body, and takes a whole answer.
    pub(crate) async fn call(
        &self,
        (node, address): (NodeId, &str),
        path: &str,
        body: Vec<u8>,
    ) -> Result<Bytes, PeerError> {
        self.call_on((node, address), Lane::Urgent, path, body, ANSWER_BYTES_MAX).await
    }

    /// As [`Self::call`], on another lane, with an answer of at most `bytes_max`.
    pub(crate) async fn call_on(
        &self,
        (node, address): (NodeId, &str),
        lane: Lane,
        path: &str,
        body: Vec<u8>,
        bytes_max: usize,
    ) -> Result<Bytes, PeerError> {
        let answer = self.open((node, address), lane, path, bytes_body(body)).await?;
        collect(node, answer, bytes_max).await
    }

    /// Asks with a body that may be a stream, and takes the answer as it comes in.
    pub(crate) async fn open(
        &self,
        (node, address): (NodeId, &str),
        lane: Lane,
        path: &str,
        body: AnswerBody,
    ) -> Result<Response<Incoming>, PeerError> {
        let request = request(node, path, body)?;
        let mut sender = self.sender(node, address, lane).await?;
        let answer = sender.send_request(request).await.map_err(|source| lost(node, source))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => {
                let reason = collect(node, answer, ANSWER_BYTES_MAX).await?;
                let reason = String::from_utf8_lossy(&reason).into_owned();
                Err(PeerError::Refused { node, status: status.as_u16(), reason })
            }
        }
    }

    /// How long a request without a body takes until its answer begins, whatever it says. A connection is made before.
    pub(crate) async fn round_trip(
        &self,
        (node, address): (NodeId, &str),
        path: &str,
    ) -> Result<Duration, PeerError> {
        let request = request(node, path, bytes_body(Bytes::new()))?;
        let mut sender = self.sender(node, address, Lane::Urgent).await?;
        sender.ready().await.map_err(|source| lost(node, source))?;
        let asked = Instant::now();
        let answer = sender.send_request(request).await.map_err(|source| lost(node, source))?;
        let time = asked.elapsed();
        // Taken to its end, so that the stream is free again.
        collect(node, answer, ANSWER_BYTES_MAX).await.map(|_| time)
    }

    async fn sender(
        &self,
        node: NodeId,
        address: &str,
        lane: Lane,
    ) -> Result<SendRequest<AnswerBody>, PeerError> {
        self.connected(node, address, lane).await.map_err(|source| PeerError::Unreachable { node, source })
    }

    async fn connected(
        &self,
        node: NodeId,
        address: &str,
        lane: Lane,
    ) -> io::Result<SendRequest<AnswerBody>> {
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lines.entry((node, lane)).or_default())
        };
        let mut line = line.lock().await;
        if let Some(sender) = line.connection.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let connecting = timeout(self.patience.connect, self.connect(node, address)).await;
        let connected = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        line.tell(node, lane, &connected);
        let sender = connected?;
        line.connection = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self, node: NodeId, address: &str) -> io::Result<SendRequest<AnswerBody>> {
        let io = self.transport.dial(node, address).await?;
        let handshake = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.patience.ping)
            .keep_alive_timeout(self.patience.silence)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(io));
        let (sender, driver) = handshake.await.map_err(io::Error::other)?;
        // Ends with the last sender, or the connection.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%node, error = &error as &dyn std::error::Error, "a connection to a peer ended");
            }
        });
        Ok(sender)
    }
}

fn request(node: NodeId, path: &str, body: AnswerBody) -> Result<Request<AnswerBody>, PeerError> {
    // HTTP/2 wants an authority; who is asked is settled by the connection.
    let request = Request::post(format!("http://{node}.node{path}")).body(body);
    request.map_err(|error| PeerError::Unreachable { node, source: io::Error::other(error) })
}

fn lost(node: NodeId, source: hyper::Error) -> PeerError {
    PeerError::Lost { node, source: source.into() }
}

async fn collect(node: NodeId, answer: Response<Incoming>, bytes_max: usize) -> Result<Bytes, PeerError> {
    let whole = Limited::new(answer.into_body(), bytes_max).collect().await;
    whole.map(|whole| whole.to_bytes()).map_err(|source| PeerError::Lost { node, source })
}
