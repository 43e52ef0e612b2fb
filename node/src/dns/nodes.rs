//! The nodes that clients can be given, as this one sees them: a list that is made anew twice a second, so that an answer
//! asks nobody.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use twinmcp_cluster::membership::{Liveness, Location, MemberState, PublicAddresses};
use twinmcp_cluster::{Cluster, ClusterStatus, NodeId};

use super::geo::Geo;
use super::nearest::Server;
use crate::config::Config;
use crate::telemetry::Readiness;

/// Between two lists.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What answers are made from.
pub(super) type Servers = Arc<[Server]>;

/// Where the list comes from.
pub(crate) struct Nodes {
    cluster: Cluster,
    readiness: Arc<Readiness>,
    /// Of this node.
    region: String,
    addresses: PublicAddresses,
    location: Option<Location>,
}

impl Nodes {
    pub(crate) fn new(config: &Config, cluster: Cluster, readiness: Arc<Readiness>) -> Self {
        Self {
            cluster,
            readiness,
            region: config.node.region.clone(),
            // Both were checked with the configuration.
            addresses: PublicAddresses::of(&config.cluster.public_addresses).unwrap_or_default(),
            location: config.cluster.location.parse().ok(),
        }
    }

    /// Makes lists until it is dropped.
    pub(super) async fn run(&self, geo: Option<&Geo>, list: &watch::Sender<Servers>) {
        loop {
            let now = self.now(geo);
            list.send_if_modified(|before| {
                let has_changed = **before != *now;
                if has_changed {
                    *before = now;
                }
                has_changed
            });
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Members that are alive and have an address, by id; of the others what they tell by gossip, of this node what it is.
    pub(super) fn now(&self, geo: Option<&Geo>) -> Servers {
        let status = self.cluster.status();
        let heard = self.cluster.directory().members();
        let mut servers: Vec<Server> = heard
            .iter()
            .filter(|member| member.node_id != status.node_id && member.liveness == Liveness::Alive)
            // One that was removed may gossip for a while.
            .filter(|member| status.members.iter().any(|agreed| agreed.node_id == member.node_id))
            .map(|member| self.other(member, geo))
            .collect();
        let load = heard.iter().find(|member| member.node_id == status.node_id);
        servers.push(self.this(&status, load.and_then(|member| member.load_percent), geo));
        servers.retain(|server| !server.addresses.is_empty());
        servers.sort_by_key(|server| server.node);
        servers.into()
    }

    fn other(&self, member: &MemberState, geo: Option<&Geo>) -> Server {
        let addresses = member.public_addresses;
        Server {
            node: member.node_id,
            addresses,
            is_in_region: member.region.as_deref() == Some(self.region.as_str()),
            location: member.location.or_else(|| location_of(addresses, geo)),
            round_trip: self.round_trip(member.node_id),
            load_percent: member.load_percent.unwrap_or(0),
            is_ready: member.is_ready && !member.is_draining,
        }
    }

    fn this(&self, status: &ClusterStatus, load_percent: Option<u8>, geo: Option<&Geo>) -> Server {
        Server {
            node: status.node_id,
            addresses: self.addresses,
            is_in_region: true,
            location: self.location.or_else(|| location_of(self.addresses, geo)),
            round_trip: Some(Duration::ZERO),
            load_percent: load_percent.unwrap_or(0),
            is_ready: self.readiness.is_ready() && status.unhealthy.is_none(),
        }
    }

    fn round_trip(&self, node: NodeId) -> Option<Duration> {
        self.cluster.round_trips().to(node)
    }
}

fn location_of(addresses: PublicAddresses, geo: Option<&Geo>) -> Option<Location> {
    geo.and_then(|geo| addresses.iter().find_map(|address| geo.place(address).location))
}
