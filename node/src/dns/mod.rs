//! Answers of the DNS: one name, with the addresses of the nodes that are nearest to whoever asks. Off unless `dns.listen`
//! names an address.
//!
//! [`Responder::open`] takes the ports before anything else starts, [`Responder::run`] answers until the node stops. A question
//! goes from `udp` or `tcp` through `query` (what is asked), `zone` (what there is) and `nearest` (which nodes) to `answer`
//! (bytes again); `nodes` and `geo` are what it is decided by. For operators: `docs/dns.md`.
//!
//! `hickory-proto` is the messages; `hickory-server` is not used: it starts a task for each datagram and keeps every connection,
//! reads a message before anybody can count who sent it, logs addresses of clients, and takes a client subnet it cannot read
//! for a message that it cannot.
//!
//! Invariants: an answer waits for nobody, and asks nobody; whatever comes in has a limit, and none of it can end the node;
//! nobody's address is logged or counted by; no answer is more than this zone's own.

mod answer;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod geo;
#[cfg(test)]
mod geo_fixture;
mod limit;
mod metrics;
mod nearest;
mod nodes;
mod query;
mod subnet;
mod tcp;
mod udp;
mod zone;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::answer::{Answer, Answerer, Carrier};
use self::geo::Geo;
pub use self::geo::GeoError;
use self::limit::ResponseLimit;
use self::metrics::Metrics;
pub(crate) use self::nodes::Nodes;
use self::nodes::Servers;
pub(crate) use self::zone::Zone;
use crate::config::DnsConfig;

/// Between two looks whether the file of places has changed.
const GEO_LOOK_EVERY: Duration = Duration::from_secs(5);
/// Before a part that has ended is started again.
const START_AGAIN: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// Why a node does not answer the DNS as it was told to.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The address is taken, not this machine's, or only for those who may.
    #[error(
        "cannot answer the DNS on {address}: {source}. Ports below 1024 need the capability CAP_NET_BIND_SERVICE, and another \
         program may have port 53; choose another address with `dns.listen`"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The file of places cannot be used.
    #[error("cannot use `{}` (`dns.geo_file`)", path.display())]
    Geo {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: GeoError,
    },
}

/// The responder of one node.
pub(crate) struct Responder {
    answerer: Answerer,
    servers: watch::Receiver<Servers>,
    limit: ResponseLimit,
    metrics: Metrics,
}

/// The ports of a responder, and what it knows before the node runs.
pub(crate) struct Ports {
    sockets: Vec<(UdpSocket, TcpListener)>,
    zone: Zone,
    geo: Option<Arc<Geo>>,
    responses_per_second_max: u32,
}

impl Responder {
    /// Takes the ports and reads the file of places; nothing without an address to listen on. Blocks on the file.
    pub(crate) async fn open(config: &DnsConfig) -> Result<Option<Ports>, DnsError> {
        // Checked with the configuration.
        let Some(zone) = Zone::new(config).ok().filter(|_| !config.listen.is_empty()) else {
            return Ok(None);
        };
        let mut sockets = Vec::new();
        for address in &config.listen {
            let listen = |source| DnsError::Listen { address: *address, source };
            sockets.push(bind(*address).await.map_err(listen)?);
        }
        let path = config.geo_file.clone();
        let geo = match path.as_os_str().is_empty() {
            true => None,
            false => Some(Arc::new(Geo::open(&path).map_err(|source| DnsError::Geo { path, source })?)),
        };
        Ok(Some(Ports { sockets, zone, geo, responses_per_second_max: config.responses_per_second_max }))
    }

    fn answer(&self, bytes: &[u8], from: IpAddr, carrier: Carrier) -> Option<Answer> {
        let servers = Arc::clone(&self.servers.borrow());
        self.answerer.answer(bytes, from, carrier, &servers)
    }
}

impl Ports {
    /// Answers until it is dropped.
    pub(crate) async fn run(self, nodes: Nodes) {
        let Self { sockets, zone, geo, responses_per_second_max } = self;
        let (list, servers) = watch::channel(nodes.now(geo.as_deref()));
        let responder = Arc::new(Responder {
            answerer: Answerer::new(zone, geo.clone()),
            servers,
            limit: ResponseLimit::new(responses_per_second_max),
            metrics: Metrics::new(),
        });
        let mut serving = JoinSet::new();
        for (socket, listener) in sockets {
            if let Ok(address) = socket.local_addr() {
                tracing::info!(%address, "the DNS is answered");
            }
            let (socket, for_datagrams) = (Arc::new(socket), Arc::clone(&responder));
            serving.spawn(always(move || udp::serve(Arc::clone(&socket), Arc::clone(&for_datagrams))));
            serving.spawn(tcp::serve(listener, Arc::clone(&responder)));
        }
        if let Some(geo) = geo.clone() {
            serving.spawn(follow(geo));
        }
        nodes.run(geo.as_deref(), &list).await;
    }
}

/// Starts anew what must not end, also when a panic has ended it. Connections need none of this: each is a task of its own.
async fn always<F: Future<Output = ()> + Send + 'static>(start: impl Fn() -> F) {
    loop {
        let mut one = JoinSet::new();
        one.spawn(start());
        if let Some(Err(error)) = one.join_next().await {
            tracing::error!(error = %error, "the DNS was not answered for a moment");
        }
        tokio::time::sleep(START_AGAIN).await;
    }
}

/// Reads the file of places again when it has changed.
async fn follow(geo: Arc<Geo>) {
    loop {
        tokio::time::sleep(GEO_LOOK_EVERY).await;
        let looked = Arc::clone(&geo);
        match tokio::task::spawn_blocking(move || looked.look()).await {
            Ok(Ok(true)) => tracing::info!("the file of places was read again"),
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the file of places cannot be used; the one before stays in force"
            ),
            _ => {}
        }
    }
}

/// The same port for both. A port of 0 is any that is free for both.
async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let socket = UdpSocket::bind(address).await?;
    let address = socket.local_addr()?;
    let listener = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A restarted node gets its port back while old connections linger in TIME_WAIT.
    listener.set_reuseaddr(true)?;
    listener.bind(address)?;
    Ok((socket, listener.listen(BACKLOG)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_a_panic_has_ended_is_started_again() {
        let (starts, mut started) = tokio::sync::mpsc::unbounded_channel();
        let part = tokio::spawn(always(move || {
            starts.send(()).unwrap();
            async { panic!("by this test") }
        }));
        for _ in 0..3 {
            started.recv().await.unwrap();
        }
        part.abort();
    }
}
