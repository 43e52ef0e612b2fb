//! Answering peers.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::body::{Answer, bytes_body};
use super::{Accepting, Patience, Transport};
use crate::status::NodeId;

/// Connections at once; a peer has up to three.
const CONNECTIONS_MAX: usize = 2_048;
/// Requests at once on one connection.
const STREAMS_MAX: u32 = 1_024;
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// After an accept that failed, so that a process without file descriptors does not spin.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// A request of a peer.
pub struct Asked {
    /// Who asks; absent for somebody who has yet to join.
    pub from: Option<NodeId>,
    /// What for.
    pub request: Request<Incoming>,
}

/// Answers what peers ask.
pub trait PeerService: Send + Sync + 'static {
    /// Answers one request.
    fn answer(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, Answer>;
}

/// An answer that says in a sentence why there is no other.
pub(crate) fn refusal(status: StatusCode, reason: impl Into<String>) -> Answer {
    let mut answer = Response::new(bytes_body(reason.into()));
    *answer.status_mut() = status;
    answer
}

/// Takes connections until it is stopped.
pub(crate) struct PeerServer {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) service: Arc<dyn PeerService>,
    pub(crate) patience: Patience,
}

impl PeerServer {
    /// Serves until `stop` says so, then cuts what is open: peers ask again elsewhere.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                // An error says that whoever would stop it is gone.
                _ = stop.wait_for(|stop| *stop) => return,
                accepted = self.transport.accept() => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            match accepted {
                Ok(accepting) => {
                    // Without a place it is closed, and the peer tries again.
                    if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                        let (transport, service) = (Arc::clone(&self.transport), Arc::clone(&self.service));
                        let served = serve(accepting, transport, service, self.patience);
                        connections.spawn(async move {
                            served.await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "no connection of a peer can be accepted right now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(
    accepting: Accepting,
    transport: Arc<dyn Transport>,
    service: Arc<dyn PeerService>,
    patience: Patience,
) {
    let accepted = match timeout(patience.connect, accepting).await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => {
            tracing::debug!(error = %error, "a peer was not let in");
            return;
        }
        Err(_) => return,
    };
    let (from, authority) = (accepted.peer, accepted.authority);
    let answer = service_fn(move |request| {
        let refused = match from {
            Some(node) if !transport.may_take_part(node) => Some("this node was removed from the cluster"),
            _ if authority.is_some_and(|authority| !transport.trusts(authority)) => {
                Some("the authority that knew this node is the cluster's no more: connect again")
            }
            _ => None,
        };
        let answer = match refused {
            Some(reason) => Err(reason),
            None => Ok(Arc::clone(&service).answer(Asked { from, request })),
        };
        async move {
            Ok::<_, Infallible>(match answer {
                Ok(answer) => answer.await,
                Err(reason) => refusal(StatusCode::FORBIDDEN, reason),
            })
        }
    });
    let served = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(patience.ping)
        .keep_alive_timeout(patience.silence)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .serve_connection(TokioIo::new(accepted.io), answer);
    if let Err(error) = served.await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a peer's connection ended");
    }
}
