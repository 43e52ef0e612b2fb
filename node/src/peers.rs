//! This node's place in a cluster: who it is, the port its peers ask, and its certificate.
//!
//! [`Place::find`] settles it before anything runs: a node that was let in goes on as who it was, one with a token joins,
//! every other one is the first of a cluster of its own. [`Place::settle`] keeps it once the cluster runs: the authority,
//! a fresh certificate now and then, and what the node says about itself.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use twinmcp_actors::MasterKey;
use twinmcp_cluster::membership::{ClusterSecret, MembershipError, PublicAddresses};
use twinmcp_cluster::peer::{TlsTcp, Transport};
use twinmcp_cluster::{
    Admission, AuthorityError, CertificateAuthority, Cluster, ClusterConfig, ClusterError, ClusterId,
    ClusterKey, Desk, JoinError, JoinToken, NodeId, RouteSigner, Survivor, join,
};
use twinmcp_storage::clock::{Clock, Entropy, SystemEntropy, Timestamp};
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{Engine, StorageError};
use twinmcp_storage::members::{self, Authority, NodeFacts};

use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};
use crate::gossip::{Gossip, default_listen, gossip_address};

/// How long a certificate is good: it is made anew at each start, and when a third of its life is left.
const CERTIFICATE_LIFE_MS: u64 = 30 * 24 * 3600 * 1000;
/// Between two looks whether a certificate is due, and what peers should know has changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a change that could not be agreed on.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Why a node has no place in a cluster.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The address for peers is taken, or not this machine's.
    #[error("cannot listen for peers on {address}: {source}; choose another with `cluster.listen`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The token cannot be read.
    #[error("cannot read the join token in `{}`: {source}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The token is none.
    #[error("the file `{}`: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        source: twinmcp_cluster::InvalidJoinToken,
    },
    /// There is no secret of gossip in a file.
    #[error("the secret of gossip in `{}` cannot be used", path.display())]
    GossipSecret {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The data directory belongs to a node already.
    #[error("{} holds data: only a node without data can join; choose an empty `node.data_dir`", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// Nobody lets it in.
    #[error("failed to join the cluster")]
    Join(#[from] JoinError),
    /// The cluster could not be changed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The certificate could not be made.
    #[error("failed to make this node's certificate")]
    Authority(#[from] AuthorityError),
    /// What the node keeps could not be read or written.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The state could not be read.
    #[error("failed to read the agreed state")]
    Storage(#[from] StorageError),
    /// The port has not taken the certificate.
    #[error("failed to use this node's certificate")]
    Certificate(#[source] io::Error),
}

/// Who this node is to its peers.
pub(crate) struct Place {
    pub(crate) node: NodeId,
    /// Whether its state has yet to come from others.
    joins: bool,
    facts: NodeFacts,
    key: ClusterKey,
    ports: Option<Ports>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// Of a node that takes peers.
#[derive(Clone)]
struct Ports {
    transport: Arc<TlsTcp>,
    desk: Arc<Desk>,
    gossip: SocketAddr,
}

impl Place {
    /// Finds this node's place, and joins a cluster if that is asked for.
    pub(crate) async fn find(
        config: &Config,
        data: &DataDir,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<(Self, MasterKey), PlaceError> {
        let mut facts = facts(config);
        let listener = match listen_address(config) {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let gossip = gossip_listen(config);
        if let (Some(listener), Some(gossip)) = (&listener, gossip) {
            if facts.address.is_empty() {
                facts.address = listener.local_addr().map_err(PlaceError::Certificate)?.to_string();
            }
            facts.gossip = gossip_address(&facts.address, gossip.port());
        }
        let recorded = Cluster::recorded_node(&*data.raft)?;
        let mut admission = data.admission()?;
        if let (None, None, Some(file)) = (recorded, &admission, token_file(config)) {
            admission = Some(let_in(config, data, file, facts.clone()).await?);
        }
        if let Some(admission) = &admission {
            data.keep_master_key(admission.key())?;
        }
        let bytes = data.master_key(&**entropy)?;
        let key = ClusterKey::new(bytes);
        let node = admission.as_ref().map(Admission::node).or(recorded).unwrap_or(NodeId(1));
        let ports =
            listener.zip(gossip).map(|(listener, gossip)| Ports::new(listener, gossip, &key, &data.state));
        let place = Self {
            node,
            joins: admission.is_some() && recorded.is_none(),
            facts,
            key,
            ports,
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
        };
        let known = match members::authority(&*data.state)? {
            Some(authority) => Some(authority),
            None => admission.as_ref().map(Admission::authority),
        };
        let cluster = match Cluster::recorded_id(&*data.state)? {
            Some(cluster) => Some(cluster),
            None => admission.as_ref().map(Admission::cluster),
        };
        if let (Some(authority), Some(cluster)) = (known, cluster) {
            place.certify(&authority, cluster)?;
        }
        Ok((place, MasterKey::new(bytes)))
    }

    /// How it takes part.
    pub(crate) fn cluster_config(&self, config: &Config) -> ClusterConfig {
        let cluster = &config.cluster;
        ClusterConfig {
            node_id: self.node,
            address: self.facts.address.clone(),
            joins: self.joins,
            heartbeat_ms: cluster.heartbeat_ms,
            election_min_ms: cluster.election_min_ms,
            election_max_ms: cluster.election_max_ms,
            // Shorter than the longest silence of a leader would close connections that are only slow.
            silence_timeout: Duration::from_millis(2 * cluster.election_max_ms),
            ..ClusterConfig::default()
        }
    }

    /// The way to peers.
    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        match &self.ports {
            Some(ports) => Arc::clone(&ports.transport) as Arc<dyn Transport>,
            None => Arc::new(twinmcp_cluster::peer::Alone),
        }
    }

    /// What peers ask besides agreement.
    pub(crate) fn desk(&self) -> Option<Arc<Desk>> {
        self.ports.as_ref().map(|ports| Arc::clone(&ports.desk))
    }

    /// Where peers reach this node; empty for one without peers.
    pub(crate) fn address(&self) -> &str {
        &self.facts.address
    }

    /// Signs the list of nodes that clients are given.
    pub(crate) fn route_signer(&self) -> Option<RouteSigner> {
        self.key.route_signer()
    }

    /// How it gossips; nothing for a node without peers.
    ///
    /// # Errors
    /// When a file with the secret cannot be read, or holds none.
    pub(crate) fn gossip(&self, config: &Config) -> Result<Option<Gossip>, PlaceError> {
        let Some(ports) = &self.ports else { return Ok(None) };
        let mut secrets = Vec::new();
        for file in &config.cluster.gossip_secret_files {
            let refused = |source| PlaceError::GossipSecret { path: file.clone(), source };
            let bytes = fs::read(file).map_err(|error| refused(error.into()))?;
            secrets.push(ClusterSecret::new(bytes).map_err(|error| refused(error.into()))?);
        }
        if secrets.is_empty() {
            let derived = self.key.derive("twinmcp gossip v1").to_vec();
            let refused = |error: MembershipError| PlaceError::GossipSecret {
                path: PathBuf::new(),
                source: error.into(),
            };
            secrets.push(ClusterSecret::new(derived).map_err(refused)?);
        }
        Ok(Some(Gossip {
            node: self.node,
            listen: ports.gossip,
            facts: self.facts.clone(),
            // Both were checked with the configuration.
            public_addresses: PublicAddresses::of(&config.cluster.public_addresses).unwrap_or_default(),
            location: config.cluster.location.parse().ok(),
            secrets,
        }))
    }

    fn certify(&self, authority: &Authority, cluster: ClusterId) -> Result<Timestamp, PlaceError> {
        let Some(ports) = &self.ports else { return Ok(Timestamp::default()) };
        let authority = CertificateAuthority::open(authority, &self.key)?;
        let credentials = authority.issue(cluster, self.node, self.clock.now(), CERTIFICATE_LIFE_MS)?;
        let until = credentials.until;
        ports.transport.certify(credentials).map_err(PlaceError::Certificate)?;
        Ok(until)
    }

    /// Keeps the place until the node stops. What cannot be agreed on now is tried again.
    pub(crate) async fn settle(self, cluster: Cluster, stop: CancellationToken) {
        if self.ports.is_none() {
            return;
        }
        let mut until = Timestamp::default();
        loop {
            let pause = match self.look(&cluster, &mut until).await {
                Ok(()) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(error = &*error, "this node's place in the cluster is not settled yet");
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn look(
        &self,
        cluster: &Cluster,
        until: &mut Timestamp,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let authority = match members::authority(cluster.reader())? {
            Some(authority) => authority,
            None => self.found_authority(cluster).await?,
        };
        if until.millis_since(self.clock.now()) < CERTIFICATE_LIFE_MS / 3 {
            *until = self.certify(&authority, cluster.status().cluster_id)?;
        }
        let me = cluster.status().members.into_iter().find(|member| member.node_id == self.node);
        if me.is_some_and(|me| me.address != self.facts.address) {
            cluster.admit(self.node, &self.facts.address).await?;
        }
        let described = members::node(cluster.reader(), self.node.0)?;
        if described.is_none_or(|described| described.facts != self.facts && described.removed_at.is_none()) {
            let describe = members::Command::Describe { node: self.node.0, facts: self.facts.clone() };
            cluster.propose(Command::Members(describe)).await?;
        }
        Ok(())
    }

    /// The first node with a port for peers gives its cluster an authority.
    async fn found_authority(
        &self,
        cluster: &Cluster,
    ) -> Result<Authority, Box<dyn std::error::Error + Send + Sync>> {
        let (certificate, sealed_key) = CertificateAuthority::make()?.seal(&self.key, &*self.entropy)?;
        let certify = members::Command::Certify { certificate, sealed_key };
        // Another node may have been first: what is agreed on counts.
        cluster.propose(Command::Members(certify)).await?;
        members::authority(cluster.reader())?.ok_or_else(|| "the authority was not agreed on".into())
    }
}

fn facts(config: &Config) -> NodeFacts {
    NodeFacts {
        name: config.node.name.clone(),
        region: config.node.region.clone(),
        zone: config.cluster.zone.clone(),
        address: config.cluster.address.clone(),
        url: config.cluster.url.clone(),
        gossip: String::new(),
    }
}

fn token_file(config: &Config) -> Option<&Path> {
    let file = config.cluster.join_token_file.as_path();
    (!file.as_os_str().is_empty()).then_some(file)
}

/// Checked with the configuration.
fn gossip_listen(config: &Config) -> Option<SocketAddr> {
    let named = config.cluster.gossip_listen.parse().ok();
    named.or_else(|| listen_address(config).map(default_listen))
}

/// Checked with the configuration.
fn listen_address(config: &Config) -> Option<SocketAddr> {
    config.cluster.listen.parse().ok()
}

async fn let_in(
    config: &Config,
    data: &DataDir,
    file: &Path,
    facts: NodeFacts,
) -> Result<Admission, PlaceError> {
    let path = || file.to_owned();
    let text = fs::read_to_string(file).map_err(|source| PlaceError::TokenFile { path: path(), source })?;
    let token: JoinToken = text.parse().map_err(|source| PlaceError::Token { path: path(), source })?;
    join_with(config, data, &token, facts).await
}

/// Joins with a token, and keeps what a member needs.
pub(crate) async fn join_with(
    config: &Config,
    data: &DataDir,
    token: &JoinToken,
    facts: NodeFacts,
) -> Result<Admission, PlaceError> {
    if Cluster::recorded_node(&*data.raft)?.is_some() {
        return Err(PlaceError::NotEmpty { path: config.node.data_dir.clone() });
    }
    let admission = join(token, facts).await?;
    data.keep_admission(&admission)?;
    tracing::info!(node = %admission.node(), cluster = %admission.cluster(), "this node was let into a cluster");
    Ok(admission)
}

/// Joins with a token before the node is started: `cluster join`.
pub(crate) async fn join_now(config: &Config, token: &JoinToken) -> Result<Admission, PlaceError> {
    let data = DataDir::open(&config.node.data_dir, &config.storage, config.search.bundles_open_max)?;
    let mut facts = facts(config);
    if facts.address.is_empty() {
        // No wildcard, which the configuration refuses without an address.
        facts.address.clone_from(&config.cluster.listen);
    }
    if let Some(gossip) = gossip_listen(config) {
        facts.gossip = gossip_address(&facts.address, gossip.port());
    }
    let admission = join_with(config, &data, token, facts).await?;
    data.keep_master_key(admission.key())?;
    Ok(admission)
}

/// Makes a node that does not run the only one of its cluster.
pub(crate) fn force_alone(config: &Config) -> Result<Survivor, PlaceError> {
    let data = DataDir::open(&config.node.data_dir, &config.storage, config.search.bundles_open_max)?;
    let survivor = Cluster::force_alone(&*data.state, Arc::clone(&data.raft), &SystemEntropy)?;
    data.close()?;
    Ok(survivor)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, PlaceError> {
    TcpListener::bind(address).await.map_err(|source| PlaceError::Listen { address, source })
}

impl Ports {
    fn new(listener: TcpListener, gossip: SocketAddr, key: &ClusterKey, state: &Arc<dyn Engine>) -> Self {
        let state = Arc::clone(state);
        // A node whose record cannot be read is let in: its certificate was checked, and agreement checks again.
        let may_take_part = move |node: NodeId| {
            let node = members::node(&*state, node.0);
            !matches!(node, Ok(Some(node)) if node.removed_at.is_some())
        };
        let transport = Arc::new(TlsTcp::new(listener, Box::new(may_take_part)));
        Self { transport, desk: Desk::new(key.clone()), gossip }
    }
}
