//! Being let in with a token: a node without data as a new member, one that was away too long as who it was.

use std::fs;
use std::path::Path;

use twinmcp_cluster::{Admission, Cluster, JoinToken, join, renew};
use twinmcp_storage::members::NodeFacts;

use super::{PlaceError, facts, gossip_listen};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::gossip::gossip_address;

pub(super) async fn let_in(data: &DataDir, file: &Path, facts: NodeFacts) -> Result<Admission, PlaceError> {
    let path = || file.to_owned();
    let text = fs::read_to_string(file).map_err(|source| PlaceError::TokenFile { path: path(), source })?;
    let token: JoinToken = text.parse().map_err(|source| PlaceError::Token { path: path(), source })?;
    join_with(data, &token, facts).await
}

/// Joins with a token, and keeps what a member needs.
async fn join_with(data: &DataDir, token: &JoinToken, facts: NodeFacts) -> Result<Admission, PlaceError> {
    let admission = join(token, facts).await?;
    data.keys()?.keep_admission(&admission)?;
    tracing::info!(node = %admission.node(), cluster = %admission.cluster(), "this node was let into a cluster");
    Ok(admission)
}

/// Joins with a token before the node is started: `cluster join`. In words for its operator, who it is.
pub(crate) async fn join_now(config: &Config, token: &JoinToken) -> Result<String, PlaceError> {
    let data = DataDir::open(&config.node.data_dir, &config.storage, config.search.bundles_open_max)?;
    if let Some(node) = Cluster::recorded_node(&*data.raft)? {
        let not_empty = || PlaceError::NotEmpty { path: config.node.data_dir.clone() };
        let cluster = Cluster::recorded_id(&*data.state)?.ok_or_else(not_empty)?;
        let renewal = renew(token, cluster, node).await?;
        data.keys()?.keep_renewal(&renewal)?;
        data.close()?;
        return Ok(format!("this is node {node} of cluster {cluster} as before, with what it missed"));
    }
    let mut facts = facts(config);
    if facts.address.is_empty() {
        // No wildcard, which the configuration refuses without an address.
        facts.address.clone_from(&config.cluster.listen);
    }
    if let Some(gossip) = gossip_listen(config) {
        facts.gossip = gossip_address(&facts.address, gossip.port());
    }
    let admission = join_with(&data, token, facts).await?;
    data.keys()?.keep_master_key(admission.key(), false)?;
    Ok(format!("this is node {} of cluster {}", admission.node(), admission.cluster()))
}
