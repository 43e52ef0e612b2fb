//! The listener: who gets a connection, how many there may be, and how all of them end.
//!
//! [`Server::run`] accepts until it is told to stop. poem's own server has no limit of connections,
//! no time for a head or for an answer that is not taken, and spins when file descriptors run out;
//! this one speaks to the same hyper and hands poem's endpoints the same requests.
//!
//! Invariants: a connection over the limit is told so, never left waiting; a request that was begun
//! before the stop is answered, up to the drain time.

mod activity;
mod connection;
mod socket;
mod taking;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper_util::server::conn::auto;
use poem::{Endpoint, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::activity::Patience;
use self::taking::Streams;
use super::metrics::{Connections, Rejected};
use crate::config::HttpConfig;

/// Pause after an accept that failed for want of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refused connections that are told so at once; more are closed without a word.
const REFUSALS_AT_ONCE_MAX: usize = 64;
/// How long a refused peer may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Bytes of a refused request that are read, so that the peer gets to read the answer (RFC 9112, 9.6).
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;
/// Problem details of a connection that found no place.
const NO_PLACE: &str = concat!(
    r#"{"code":"too_many_connections","detail":"The node has as many connections as it takes. "#,
    r#"Try again in a second.","status":503,"title":"Service Unavailable","#,
    r#""type":"urn:twinmcp:error:too_many_connections"}"#
);

/// What all connections have in common.
struct Shared<E> {
    endpoint: E,
    protocol: auto::Builder<Streams>,
    patience: Patience,
    metrics: Arc<Connections>,
}

impl<E> Shared<E> {
    fn refused(&self, reason: Rejected) {
        self.metrics.rejected(reason);
    }
}

/// What connections are told while they run.
#[derive(Clone)]
struct Signals {
    /// Answer what is in progress and close.
    stop: CancellationToken,
    /// Close now.
    kill: CancellationToken,
    /// Others find no place: whoever is idle goes.
    room: Arc<Notify>,
}

/// A listener that is bound.
pub(crate) struct Server<E> {
    shared: Arc<Shared<E>>,
    listener: TcpListener,
    address: SocketAddr,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    connections: TaskTracker,
    signals: Signals,
    drain: Duration,
}

impl<E: Endpoint<Output = Response> + 'static> Server<E> {
    /// # Errors
    /// When the runtime cannot take the listener.
    pub(crate) fn new(
        listener: std::net::TcpListener,
        endpoint: E,
        http: &HttpConfig,
        connections_max: usize,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let patience = Patience {
            head: Duration::from_millis(http.head_timeout_ms),
            idle: Duration::from_millis(http.idle_timeout_ms),
            send: Duration::from_millis(http.send_timeout_ms),
            bytes_per_s_min: http.body_bytes_per_s_min,
        };
        let metrics = Arc::new(Connections::new());
        let protocol = connection::protocol(http.head_bytes_max, Streams::new(Arc::clone(&metrics)));
        Ok(Self {
            address: listener.local_addr()?,
            listener: TcpListener::from_std(listener)?,
            shared: Arc::new(Shared { endpoint, protocol, patience, metrics }),
            places: Arc::new(Semaphore::new(connections_max)),
            refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE_MAX)),
            connections: TaskTracker::new(),
            signals: Signals { stop, kill: CancellationToken::new(), room: Arc::default() },
            drain: Duration::from_millis(http.drain_timeout_ms),
        })
    }

    /// Serves until the stop, then until the last connection has ended or the drain time is over.
    pub(crate) async fn run(self) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.signals.stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                // The peer went away while it waited.
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "no connection can be accepted right now");
                    self.shared.refused(Rejected::Accept);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Who was let in by the system before the listener closes would lose a request.
        while let Some(Ok((stream, peer))) = self.listener.accept().now_or_never() {
            self.admit(stream, peer);
        }
        drop(self.listener);
        self.connections.close();
        if tokio::time::timeout(self.drain, self.connections.wait()).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "connections were cut off by the drain time"
            );
            self.signals.kill.cancel();
            self.connections.wait().await;
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.signals.room.notify_waiters();
            self.shared.refused(Rejected::Connections);
            if let Ok(turn) = Arc::clone(&self.refusals).try_acquire_owned() {
                self.connections.spawn(async move {
                    let _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream)).await;
                    drop(turn);
                });
            }
            return;
        };
        let open = self.shared.metrics.open();
        let served =
            connection::serve(Arc::clone(&self.shared), self.signals.clone(), stream, self.address, peer);
        self.connections.spawn(async move {
            served.await;
            drop((open, place));
        });
    }
}

/// Says that there is no place, and closes once the peer has read it.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let length = NO_PLACE.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{NO_PLACE}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(REFUSAL_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_json() {
        let body: serde_json::Value = serde_json::from_str(NO_PLACE).unwrap();
        assert_eq!(body["code"], "too_many_connections");
        assert_eq!(body["status"], 503);
    }
}
