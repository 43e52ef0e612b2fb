//! Three voters of our own in this process: durable engines, mutual TLS over loopback, nothing above agreement.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use twinmcp_cluster::peer::TlsTcp;
use twinmcp_cluster::{CertificateAuthority, Cluster, ClusterConfig, ClusterId, NodeId, VoterChoice};
use twinmcp_storage::accounts;
use twinmcp_storage::clock::{Clock, SystemClock, SystemEntropy};
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{Engine, FjallEngine, FjallOptions, Keyspace};

use crate::VALUE_BYTES;
use crate::drive::{self, Client, Run};

/// Longer than any measurement.
const CERTIFICATE_LIFE_MS: u64 = 3_600_000;
/// What a command holds besides the name.
const REST_BYTES: usize = 40;

/// The nodes, and the folder that dies with them.
pub(crate) struct Nodes {
    nodes: Vec<Cluster>,
    next: Arc<AtomicU64>,
    _folder: TempDir,
}

impl Nodes {
    /// Starts them, forming so many entries at once as `eager` says or a node does.
    pub(crate) async fn start(eager: Option<u64>) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let folder = tempfile::tempdir().map_err(|error| text(&error))?;
        let authority = CertificateAuthority::make().map_err(|error| text(&error))?;
        let certify = |transport: &TlsTcp, cluster: ClusterId, node: u64| {
            let issued = authority.issue(cluster, NodeId(node), SystemClock.now(), CERTIFICATE_LIFE_MS);
            transport.certify(issued.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
        };
        let mut nodes: Vec<Cluster> = Vec::new();
        for node in 1..=3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| text(&error))?;
            let address = listener.local_addr().map_err(|error| text(&error))?.to_string();
            let transport = Arc::new(TlsTcp::new(listener, Box::new(|_| true)));
            if let Some(first) = nodes.first() {
                certify(&transport, first.status().cluster_id, node)?;
                first.admit(NodeId(node), &address).await.map_err(|error| text(&error))?;
            }
            let mut config =
                ClusterConfig { node_id: NodeId(node), address, joins: node > 1, ..ClusterConfig::default() };
            if let Some(eager) = eager {
                config.entries_eager = usize::try_from(eager).unwrap_or(usize::MAX);
            }
            let path = folder.path().join(node.to_string());
            let (state, raft) =
                (open(&path, "state", Keyspace::STATE)?, open(&path, "raft", Keyspace::RAFT)?);
            let wire = Arc::clone(&transport);
            let clock = Arc::new(SystemClock);
            let started = Cluster::start_among(config, state, raft, clock, &SystemEntropy, wire, None).await;
            let started = started.map_err(|error| text(&error))?;
            if node == 1 {
                certify(&transport, started.status().cluster_id, node)?;
            }
            nodes.push(started);
        }
        for node in 2..=3 {
            nodes[0].promote(NodeId(node), VoterChoice::Forced).await.map_err(|error| text(&error))?;
        }
        Ok(Self { nodes, next: Arc::default(), _folder: folder })
    }

    /// Clients spread evenly over the nodes.
    pub(crate) async fn writes(&self, clients: usize, time: Duration) -> Result<Run, String> {
        let clients = (0..clients).map(|client| Proposer {
            node: self.nodes[client % self.nodes.len()].clone(),
            next: Arc::clone(&self.next),
        });
        drive::writes(clients.collect(), time).await
    }

    pub(crate) async fn stop(self) -> Result<(), String> {
        for node in &self.nodes {
            node.shutdown().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn open(folder: &Path, name: &str, spaces: &'static [Keyspace]) -> Result<Arc<dyn Engine>, String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let engine = FjallEngine::open(&folder.join(name), spaces, &FjallOptions::default());
    engine.map(|engine| Arc::new(engine) as Arc<dyn Engine>).map_err(|error| error.to_string())
}

struct Proposer {
    node: Cluster,
    next: Arc<AtomicU64>,
}

impl Client for Proposer {
    async fn write(&mut self) -> Result<(), String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("acct_{number:026}").parse();
        let id = id.map_err(|error: twinmcp_storage::ids::InvalidId| error.to_string())?;
        let name = "n".repeat(VALUE_BYTES - REST_BYTES);
        let create = Command::Accounts(accounts::Command::Create { id, name });
        self.node.propose(create).await.map(drop).map_err(|error| error.to_string())
    }
}
