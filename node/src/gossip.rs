//! Gossip of this node: tells the others how it is every second, and hears of them.
//!
//! Seeds are the agreed members, so nobody configures any: a node that was let in knows them from its state.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use twinmcp_cluster::membership::{
    BundleDigest, ClusterSecret, Liveness, LocalState, Location, Membership, MembershipConfig,
    MembershipError, PublicAddresses, UdpNetwork,
};
use twinmcp_cluster::{Cluster, ClusterKey, ClusterKeys, NodeId};
use twinmcp_storage::clock::{Clock, Entropy};
use twinmcp_storage::members::{self, NodeFacts};

use crate::backroom::NodeBackroom;

/// Between two tellings.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Tellings between two looks into the folder of bundles.
const TICKS_PER_LOOK: u64 = 10;
/// Before gossip that has failed is started again.
const START_AGAIN: Duration = Duration::from_secs(5);
/// Seeds named at a start: more are heard of from these.
const SEEDS_MAX: usize = 16;
/// Derives the secret from the cluster's key.
const SECRET_LABEL: &str = "twinmcp gossip v1";

/// Where this node gossips.
pub(crate) struct Gossip {
    pub(crate) node: NodeId,
    pub(crate) listen: SocketAddr,
    /// What it says about itself; the address for gossip among it.
    pub(crate) facts: NodeFacts,
    /// By which addresses clients reach it.
    pub(crate) public_addresses: PublicAddresses,
    pub(crate) location: Option<Location>,
    pub(crate) secrets: Secrets,
}

/// What it seals with.
pub(crate) enum Secrets {
    /// As the configuration says: the first seals, both open.
    Files(Vec<ClusterSecret>),
    /// What is derived from the cluster's keys, as these are from time to time.
    Derived(ClusterKeys),
}

impl Secrets {
    fn now(&self) -> Result<Vec<ClusterSecret>, MembershipError> {
        match self {
            Self::Files(secrets) => Ok(secrets.clone()),
            Self::Derived(keys) => {
                keys.all().iter().map(|key| ClusterSecret::new(key.derive(SECRET_LABEL).to_vec())).collect()
            }
        }
    }

    /// Returns once they are others than they were before.
    async fn replaced(keys: &mut Option<watch::Receiver<Arc<[ClusterKey]>>>) {
        let is_replaced = match keys {
            Some(keys) => keys.changed().await.is_ok(),
            None => false,
        };
        if !is_replaced {
            std::future::pending().await
        }
    }

    fn watch(&self) -> Option<watch::Receiver<Arc<[ClusterKey]>>> {
        match self {
            Self::Files(_) => None,
            Self::Derived(keys) => Some(keys.watch()),
        }
    }
}

impl Gossip {
    /// Gossips until the node stops. What fails is started again: nothing but advice depends on it.
    pub(crate) async fn run(
        self,
        backroom: NodeBackroom,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        stop: CancellationToken,
    ) {
        let cluster = backroom.cluster.clone();
        while !stop.is_cancelled() {
            match self.start(&backroom, &clock, &*entropy).await {
                Ok(membership) => {
                    cluster.directory().listen(membership.clone());
                    self.tell(&membership, &backroom, &stop).await;
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "gossip did not start; it is tried again"
                    );
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(START_AGAIN) => {}
            }
        }
    }

    async fn start(
        &self,
        backroom: &NodeBackroom,
        clock: &Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Membership, MembershipError> {
        let cluster = &backroom.cluster;
        let advertise = self.advertised().await;
        let (secrets, id) = (self.secrets.now()?, cluster.status().cluster_id.to_string());
        let config = MembershipConfig {
            seeds: self.others(cluster).into_iter().take(SEEDS_MAX).map(|(_, address)| address).collect(),
            ..MembershipConfig::new(self.node, id, secrets[0].clone(), self.listen, advertise)
        };
        let config = MembershipConfig { secrets, ..config };
        Membership::start(config, self.local(backroom, &[]), &UdpNetwork, Arc::clone(clock), entropy).await
    }

    /// Tells until the node stops, or gossip has ended.
    async fn tell(&self, membership: &Membership, backroom: &NodeBackroom, stop: &CancellationToken) {
        let ended = membership.stopped();
        tokio::pin!(ended);
        let (mut hashes, mut keys) = (Vec::new(), self.secrets.watch());
        self.rotate(membership);
        for tick in 0_u64.. {
            if tick.is_multiple_of(TICKS_PER_LOOK) {
                let look = backroom.clone();
                let looked = tokio::task::spawn_blocking(move || look.bundle_hashes()).await;
                hashes = looked.unwrap_or(hashes);
            }
            if let Err(error) = membership.update(self.local(backroom, &hashes)) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the others were not told how this node is"
                );
            }
            self.greet(membership, &backroom.cluster);
            tokio::select! {
                () = stop.cancelled() => return membership.shutdown().await,
                reason = &mut ended => {
                    tracing::warn!(?reason, "gossip has ended; it is started again");
                    return;
                }
                () = tokio::time::sleep(TELL_EVERY) => {}
                () = Secrets::replaced(&mut keys) => self.rotate(membership),
            }
        }
    }

    fn rotate(&self, membership: &Membership) {
        if let Err(error) = self.secrets.now().and_then(|secrets| membership.rotate(&secrets)) {
            tracing::warn!(error = &error as &dyn std::error::Error, "gossip goes on with the keys before");
        }
    }

    /// Speaks to agreed members that gossip does not show: what joins two halves after a long cut.
    fn greet(&self, membership: &Membership, cluster: &Cluster) {
        let heard = membership.members();
        let is_heard = |node: NodeId| {
            heard.iter().any(|member| member.node_id == node && member.liveness == Liveness::Alive)
        };
        for (node, address) in self.others(cluster) {
            if !is_heard(node)
                && let Ok(address) = address.parse()
            {
                membership.contact(address);
            }
        }
    }

    /// Agreed members besides this one, and where they gossip.
    fn others(&self, cluster: &Cluster) -> Vec<(NodeId, String)> {
        let nodes = members::nodes(cluster.reader()).unwrap_or_default();
        let others = nodes.into_iter().filter(|node| {
            node.id != self.node.0 && node.removed_at.is_none() && !node.facts.gossip.is_empty()
        });
        others.map(|node| (NodeId(node.id), node.facts.gossip)).collect()
    }

    fn local(&self, backroom: &NodeBackroom, hashes: &[[u8; 32]]) -> LocalState {
        let report = backroom.now(hashes.len());
        let load = u64::from(report.load) * 100 / (backroom.in_flight_max.max(1) as u64);
        let certificate = report.certificate_until.as_secs();
        LocalState {
            region: self.facts.region.clone(),
            zone: self.facts.zone.clone(),
            http_url: self.facts.url.clone(),
            peer_address: self.facts.address.clone(),
            build: report.build,
            format: report.reads,
            load_percent: u8::try_from(load.min(100)).unwrap_or(100),
            applied_index: report.applied_index,
            is_ready: report.is_ready,
            is_draining: report.is_draining,
            bundles: BundleDigest::of(hashes),
            certificate_expires_at: (certificate > 0).then_some(certificate),
            public_addresses: self.public_addresses,
            location: self.location,
            keep: backroom.distribution.keep(),
        }
    }

    /// The address that the others send to: the one of the peer port, by number.
    async fn advertised(&self) -> SocketAddr {
        let found = tokio::net::lookup_host(&self.facts.gossip).await;
        let is_of_a_kind = |address: &SocketAddr| {
            self.listen.ip().is_unspecified() || address.is_ipv4() == self.listen.is_ipv4()
        };
        let found = found.ok().and_then(|mut addresses| addresses.find(is_of_a_kind));
        found.unwrap_or(self.listen)
    }
}

/// Where a node gossips that listens for peers at `peers`: the port below, 7946 below 7947.
pub(crate) fn default_listen(peers: SocketAddr) -> SocketAddr {
    let port = if peers.port() == 0 { 0 } else { peers.port().saturating_sub(1).max(1) };
    SocketAddr::new(peers.ip(), port)
}

/// `host:port` of gossip for a node whose peers reach it at `address`.
pub(crate) fn gossip_address(address: &str, port: u16) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossip_is_one_port_below_the_peers() {
        assert_eq!(default_listen("0.0.0.0:7947".parse().unwrap()).port(), 7946);
        assert_eq!(default_listen("127.0.0.1:0".parse().unwrap()).port(), 0);
        assert_eq!(gossip_address("eu-1.example.com:7947", 7946), "eu-1.example.com:7946");
        assert_eq!(gossip_address("[2001:db8::1]:7947", 7946), "[2001:db8::1]:7946");
    }
}
