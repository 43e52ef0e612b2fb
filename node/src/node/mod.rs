//! One node: storage, cluster, actors and listener, started in that order and stopped in the other.
//!
//! [`Node::start`] is how the program and every test start a node; it reads nothing but its
//! configuration and its data directory.

mod services;
mod settings;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use twinmcp_actors::{Actors, ActorsConfig, BundlesConfig};
use twinmcp_cluster::peer::PeerService;
use twinmcp_cluster::{Cluster, ClusterError};
use twinmcp_storage::clock::{Clock, Entropy, SystemClock, SystemEntropy};

use self::services::apis;
use self::settings::{actors_config, bundles_config, limits};
use crate::accounts;
use crate::api::{ClusterApi, RotationsApi, RouteApi, Tools, routes};
use crate::backroom::NodeBackroom;
use crate::bucket;
use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};
use crate::dns::{DnsError, Nodes, Responder};
use crate::embeddings;
use crate::files;
use crate::http::{AgreedState, Fresh, Front, FrontConfig, Server};
use crate::mcp;
use crate::outside_key::KeyError;
use crate::peers::{Place, PlaceError};
use crate::telemetry::{self, Readiness};
use crate::ui;
use crate::upstream;

/// Connections wait so many to be accepted.
const BACKLOG: u32 = 1024;

/// Between two looks how old the agreed state is.
const AGE_LOOKED_AT_EVERY: Duration = Duration::from_millis(500);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error(
        "cannot listen on {address}: {source}. Choose another address with `--listen`, e.g. `--listen 127.0.0.1:{}`, \
         or with `http.listen`",
        address.port().saturating_add(1)
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// It does not answer the DNS.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The node has no place in a cluster.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Consensus did not start.
    #[error("failed to start the cluster")]
    Cluster(#[from] ClusterError),
    /// An actor did not start.
    #[error("failed to start the actors")]
    Actors(#[from] twinmcp_actors::StartError),
    /// The mail relay has no password.
    #[error(transparent)]
    Mail(#[from] accounts::PasswordFileError),
    /// The embedding service, the bucket, a provider or the carrier of text messages has no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A thread that opened something ended early.
    #[error("starting was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// A running node. Dropped without [`Node::stop`] it ends like a process that was killed.
pub struct Node {
    address: SocketAddr,
    actors: Actors,
    cluster: Cluster,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
    stop_grace: Duration,
    server: JoinHandle<()>,
    gossip: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node and returns once it takes requests.
    ///
    /// # Errors
    /// A sentence for the person who started it: what failed, and what to do.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_speaking(config, mcp::tools).await
    }

    /// As [`Node::start`], but `/mcp` speaks to `handler`, behind the same front and with the same settings
    /// of the protocol: for programs that bring tools of their own.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_with<H: rmcp::ServerHandler + Clone>(
        config: Config,
        handler: H,
    ) -> Result<Self, StartError> {
        Self::start_speaking(config, move |_| handler).await
    }

    async fn start_speaking<H: rmcp::ServerHandler + Clone>(
        config: Config,
        handler: impl FnOnce(Tools) -> H,
    ) -> Result<Self, StartError> {
        telemetry::metrics();
        crate::tls::install();
        let readiness = Arc::new(Readiness::new());
        // First of all, so that a taken port is told before anything is written.
        let listener = bind(config.http.listen)?;
        let address = listener.local_addr().map_err(|source| listen_error(config.http.listen, source))?;
        let names = Responder::open(&config.dns).await?;

        let data_dir = config.node.data_dir.clone();
        let (storage, bundles_open) = (config.storage.clone(), config.search.bundles_open_max);
        let opening = move || DataDir::open(&data_dir, &storage, bundles_open);
        let data = tokio::task::spawn_blocking(opening).await??;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let place = Place::find(&config, &data, &clock, &entropy).await?;
        let desk = place.desk();
        let cluster = Cluster::start_among(
            place.cluster_config(&config),
            Arc::clone(&data.state),
            Arc::clone(&data.raft),
            Arc::clone(&clock),
            &*entropy,
            place.transport(),
            desk.clone().map(|desk| desk as Arc<dyn PeerService>),
        )
        .await?;
        let bundles = Arc::new(data.bundles);
        let endpoint = embeddings::endpoint(&config.embeddings, |name| std::env::var(name).ok())?;
        let bucket = bucket::bucket(&config.bucket, |name| std::env::var(name).ok())?;
        let sms = accounts::sms(&config.sms, |name| std::env::var(name).ok())?;
        let bundles_config = BundlesConfig { bucket, ..bundles_config(&config) };
        let actors = Actors::start(
            ActorsConfig {
                endpoint,
                accounts: accounts::config(&config, address, sms)?,
                bundles: bundles_config,
                providers: upstream::providers(&config.upstream)?,
                ..actors_config(&config, address, place.keys())
            },
            cluster.clone(),
            Arc::clone(&bundles),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        )
        .await?;

        let stop = CancellationToken::new();
        let stop_grace = Duration::from_millis(config.http.stop_grace_ms);
        let streams = Arc::new(Semaphore::new(config.http.event_streams_max));
        let in_flight = Arc::new(Semaphore::new(config.http.in_flight_max));
        let backroom = || NodeBackroom {
            cluster: cluster.clone(),
            bundles: Arc::clone(&bundles),
            distribution: actors.distribution.clone(),
            search: actors.search.clone(),
            jobs: actors.jobs.clone(),
            readiness: Arc::clone(&readiness),
            in_flight: Arc::clone(&in_flight),
            in_flight_max: config.http.in_flight_max,
        };
        if let Some(desk) = desk {
            desk.open(&cluster, Box::new(backroom()));
        }
        let cluster_api = ClusterApi {
            cluster: cluster.clone(),
            audit: actors.audit.clone(),
            backroom: Arc::new(backroom()),
            readiness: Arc::clone(&readiness),
            name: config.node.name.clone(),
            region: config.node.region.clone(),
            address: place.address().to_owned(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        };
        let gossip = place.gossip(&config)?;
        let gossip = gossip.map(|gossip| {
            let (clock, entropy) = (Arc::clone(&clock), Arc::clone(&entropy));
            tokio::spawn(gossip.run(backroom(), clock, entropy, stop.clone()))
        });
        let rotations_api =
            RotationsApi { cluster: cluster.clone(), keys: place.keys(), entropy: Arc::clone(&entropy) };
        let route_api = RouteApi {
            cluster: cluster.clone(),
            readiness: Arc::clone(&readiness),
            keys: place.keys(),
            region: config.node.region.clone(),
            clock: Arc::clone(&clock),
        };
        tokio::spawn(place.settle(cluster.clone(), stop.clone()));
        let (near, stopped) = (cluster.clone(), stop.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(near.measure_round_trips()).await });
        let apis = apis(
            &config,
            &actors,
            &cluster,
            &readiness,
            &clock,
            (&streams, &stop),
            (cluster_api, rotations_api, route_api),
        );
        let pages = ui::Pages {
            tools: apis.2.tools.clone(),
            search: actors.search.clone(),
            libraries: actors.libraries.clone(),
            jobs: actors.jobs.clone(),
            streams,
            stop: stop.clone(),
        };
        let mcp = mcp::endpoint(handler(apis.2.tools.clone()), config.http.body_bytes_max);
        let oauth = actors.oauth.clone();
        let people = ui::People {
            accounts: actors.accounts.clone(),
            oauth: actors.oauth.clone(),
            teams: actors.teams.clone(),
            api_keys: actors.api_keys.clone(),
            clock: Arc::clone(&clock),
            audit: actors.audit.clone(),
            upstream: actors.upstream.clone(),
            entropy: Arc::clone(&entropy),
        };
        let (api_keys, accounts) = (actors.api_keys.clone(), actors.accounts.clone());
        let front = FrontConfig {
            http: config.http.clone(),
            anonymous_reads: config.limits.anonymous_reads,
            limits: limits(&config),
            verify: Box::new(move |secret| api_keys.verify(secret)),
            issuer: oauth.issuer().to_owned(),
            admit: Box::new(move |shown| oauth.admit(shown)),
            signed_in: Box::new(move |secret| accounts.signed_in(secret)),
            clock,
            entropy,
            readiness: Arc::clone(&readiness),
            fresh: fresh(&cluster),
            in_flight,
        };
        let for_clients = (ui::authorize_endpoint(&people), ui::end_session_endpoint(&people));
        let endpoint = Front::new(routes(apis, mcp, for_clients, ui::routes(pages, &people)), front);
        let connections_max = files::connections(config.http.connections_max);
        let server = Server::new(listener, endpoint, &config.http, connections_max, stop.clone())
            .map_err(|source| listen_error(address, source))?;
        let server = tokio::spawn(server.run());
        readiness.set(true);
        let looking = look_for_age(cluster.clone(), Arc::clone(&readiness), config.cluster.stale_after_ms);
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(looking).await });
        if let Some(names) = names {
            let nodes = Nodes::new(&config, cluster.clone(), Arc::clone(&readiness));
            let stopped = stop.clone();
            tokio::spawn(async move { stopped.run_until_cancelled(names.run(nodes)).await });
        }
        tracing::info!(%address, "node ready");
        Ok(Self { address, actors, cluster, readiness, stop, stop_grace, server, gossip })
    }

    /// Where the node listens, with the port it really has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL without a slash at the end; loopback when it listens everywhere.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }

    /// The handles behind the API, for programs that start a node inside themselves.
    pub fn actors(&self) -> &Actors {
        &self.actors
    }

    /// Turns not ready and, for `http.stop_grace_ms`, closes each connection with its next answer; then
    /// takes no more requests, lets those in progress end (up to `http.drain_timeout_ms`), stops jobs
    /// so that they go on at the next start, and closes the database.
    ///
    /// # Errors
    /// When the database could not be closed; what was answered is on disk all the same.
    pub async fn stop(self) -> Result<(), ClusterError> {
        self.readiness.set(false);
        tokio::time::sleep(self.stop_grace).await;
        self.stop.cancel();
        if let Err(error) = self.server.await {
            tracing::warn!(error = %error, "the listener was interrupted");
        }
        // The others hear that it goes.
        let leave = async {
            if let Some(gossip) = self.gossip {
                let _ = gossip.await;
            }
        };
        tokio::join!(self.actors.stop(), leave);
        self.cluster.shutdown().await?;
        tracing::info!("node stopped");
        Ok(())
    }
}

/// What the front asks of the agreed state here.
fn fresh(cluster: &Cluster) -> Fresh {
    let (here, reaching, newest) = (cluster.clone(), cluster.clone(), cluster.clone());
    Fresh::new(AgreedState {
        applied: Box::new(move || here.applied_index()),
        reach: Box::new(move |log_index, time| {
            let cluster = reaching.clone();
            Box::pin(async move { cluster.wait_applied(log_index, time).await })
        }),
        linearize: Box::new(move |time| {
            let cluster = newest.clone();
            Box::pin(async move { cluster.linearize(time).await.map(drop) })
        }),
    })
}

/// Looks how old the agreed state is, for as long as the node runs.
async fn look_for_age(cluster: Cluster, readiness: Arc<Readiness>, stale_after_ms: u64) {
    let mut looks = tokio::time::interval(AGE_LOOKED_AT_EVERY);
    loop {
        looks.tick().await;
        readiness.set_stale(cluster.state_age() > Duration::from_millis(stale_after_ms));
    }
}

fn listen_error(address: SocketAddr, source: io::Error) -> StartError {
    StartError::Listen { address, source }
}

fn bind(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let bound = || {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        // A restarted node gets its port back while old connections linger in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        // Accepted sockets inherit it on Linux: answers are one write and must not wait for more.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bound().map_err(|source| listen_error(address, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_told_with_a_way_out() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = bind(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(error.contains("--listen"), "{error}");
    }
}
