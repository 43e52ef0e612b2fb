//! This node's place in a cluster: who it is, the port its peers ask, and its certificate.
//!
//! [`Place::find`] settles it before anything runs: a node that was let in goes on as who it was, one with a token joins
//! (`join.rs`), every other one is the first of a cluster of its own. [`Place::settle`] keeps it once the cluster runs
//! (`settle.rs`): the cluster's keys, the authority, a fresh certificate now and then, and what the node says about itself.

mod join;
mod settle;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use twinmcp_cluster::membership::{ClusterSecret, PublicAddresses};
use twinmcp_cluster::peer::{TlsTcp, Transport};
use twinmcp_cluster::{
    Admission, AuthorityError, Cluster, ClusterConfig, ClusterError, ClusterId, ClusterKeys, Desk, JoinError,
    NodeId, Survivor, Trust,
};
use twinmcp_storage::audit::Keep;
use twinmcp_storage::clock::{Clock, Entropy, SystemEntropy, Timestamp};
use twinmcp_storage::engine::{Engine, Reader, StorageError};
use twinmcp_storage::members::{self, NodeFacts};

use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};
use crate::gossip::{Gossip, Secrets, default_listen, gossip_address};
use crate::key_folder::KeyFolder;
pub(crate) use join::join_now;

/// How long a certificate is good: it is made anew at each start, and when a third of its life is left.
const CERTIFICATE_LIFE_MS: u64 = 30 * 24 * 3600 * 1000;

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
    /// The data directory belongs to a node that is of no cluster yet.
    #[error("{} holds data of no cluster: only a node without data can join; choose an empty `node.data_dir`", path.display())]
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
    keys: ClusterKeys,
    folder: KeyFolder,
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
    ) -> Result<Self, PlaceError> {
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
        let folder = data.keys()?;
        let mut admission = match folder.admission() {
            // Once the cluster's state has come nothing of it is needed.
            Err(error @ (DataDirError::NotAsWritten { .. } | DataDirError::Given { .. }))
                if recorded.is_some() && knows_its_cluster(&*data.state)? =>
            {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    "a damaged file is not used: the data says who this node is; remove it"
                );
                None
            }
            read => read?,
        };
        if let (None, None, Some(file)) = (recorded, &admission, token_file(config)) {
            admission = Some(join::let_in(data, file, facts.clone()).await?);
        }
        if let Some(admission) = &admission {
            folder.keep_master_key(admission.key(), recorded.is_some())?;
        }
        let (first, others) = folder.keys(&**entropy)?;
        let keys = ClusterKeys::open(first, others, &*data.state, Arc::new(folder.clone()))?;
        // Once it has run, its data says who it is, whatever became of the file.
        let node = recorded.or(admission.as_ref().map(Admission::node)).unwrap_or(NodeId(1));
        let ports =
            listener.zip(gossip).map(|(listener, gossip)| Ports::new(listener, gossip, &keys, &data.state));
        let place = Self {
            node,
            // Also when it was started before, and ended before any of the cluster's state had come: it never founds one.
            joins: admission.is_some() && Cluster::recorded_id(&*data.state)?.is_none(),
            facts,
            keys,
            folder,
            ports,
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
        };
        let known = match place.trust(&*data.state)? {
            Some(trust) => Some(trust),
            None => admission.as_ref().map(|admission| Trust::only(admission.authority())),
        };
        let cluster = match Cluster::recorded_id(&*data.state)? {
            Some(cluster) => Some(cluster),
            None => admission.as_ref().map(Admission::cluster),
        };
        if let (Some(trust), Some(cluster)) = (known, cluster) {
            place.certify(&trust, cluster)?;
        }
        Ok(place)
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
            audit_keep: Keep {
                entries_max: config.audit.entries_max,
                age_ms_max: config.audit.days_max * 24 * 3600 * 1000,
            },
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

    /// The cluster's keys, as they are from time to time.
    pub(crate) fn keys(&self) -> ClusterKeys {
        self.keys.clone()
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
        let secrets = match secrets.is_empty() {
            true => Secrets::Derived(self.keys()),
            false => Secrets::Files(secrets),
        };
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

    /// What this node believes: what is agreed on, or what it was given when it was let back in, whichever is newer.
    fn trust(&self, state: &dyn Reader) -> Result<Option<Trust>, PlaceError> {
        let (agreed, renewal) = (Trust::agreed(state)?, self.folder.renewal()?);
        let Some(given) = renewal.map(|renewal| renewal.trust()) else { return Ok(agreed) };
        // As long as the state is of before, it may also be sealed with a key that is gone.
        let is_newer = |agreed: &Trust| agreed.made_at() >= given.made_at() && agreed.opens_with(&self.keys);
        if !agreed.as_ref().is_some_and(is_newer) {
            return Ok(Some(given));
        }
        self.folder.forget_renewal()?;
        Ok(agreed)
    }

    fn certify(&self, trust: &Trust, cluster: ClusterId) -> Result<Timestamp, PlaceError> {
        let Some(ports) = &self.ports else { return Ok(Timestamp::default()) };
        let me = (cluster, self.node);
        let credentials = trust.credentials(&self.keys, me, self.clock.now(), CERTIFICATE_LIFE_MS)?;
        let until = credentials.until;
        ports.transport.certify(credentials).map_err(PlaceError::Certificate)?;
        Ok(until)
    }
}

/// Whether the state says which cluster this is and whom it believes.
fn knows_its_cluster(state: &dyn Reader) -> Result<bool, PlaceError> {
    Ok(Cluster::recorded_id(state)?.is_some() && Trust::agreed(state)?.is_some())
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
    fn new(listener: TcpListener, gossip: SocketAddr, keys: &ClusterKeys, state: &Arc<dyn Engine>) -> Self {
        let state = Arc::clone(state);
        // A node whose record cannot be read is let in: its certificate was checked, and agreement checks again.
        let may_take_part = move |node: NodeId| {
            let node = members::node(&*state, node.0);
            !matches!(node, Ok(Some(node)) if node.removed_at.is_some())
        };
        let transport = Arc::new(TlsTcp::new(listener, Box::new(may_take_part)));
        Self { transport, desk: Desk::new(keys.clone()), gossip }
    }
}
