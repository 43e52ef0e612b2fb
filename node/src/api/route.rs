//! Which node to ask: the list that clients move on with when theirs fails.

use std::sync::Arc;
use std::time::Duration;

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use twinmcp_cluster::membership::Liveness;
use twinmcp_cluster::{Candidate, Cluster, ClusterKeys, NodeId, Viewpoint, rank};
use twinmcp_storage::clock::Clock;
use twinmcp_storage::members;
use twinmcp_storage::rotation;

use super::Tag;
use super::error::ApiError;
use crate::http::Reader;
use crate::telemetry::Readiness;

/// How long a list is good, in milliseconds.
const LIFE_MS: u64 = 300_000;

/// A node that clients can reach.
#[derive(Debug, Clone, Object, Serialize)]
#[oai(example)]
pub(crate) struct RoutedNode {
    /// Its id.
    id: u64,
    /// Where clients reach it.
    url: String,
    /// Where it is.
    region: String,
    /// Whether it takes requests, as far as is known.
    ready: bool,
    /// Time of a small request from the asked node to this one and back, in milliseconds; 0 for the asked node itself, absent
    /// when it is not known.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_ms: Option<f64>,
}

impl Example for RoutedNode {
    fn example() -> Self {
        Self {
            id: 2,
            url: "https://eu.docs.example.com".to_owned(),
            region: "eu-central".to_owned(),
            ready: true,
            round_trip_ms: Some(81.4),
        }
    }
}

/// The nodes of the cluster, the one to ask first first.
#[derive(Debug, Clone, Object, Serialize)]
#[oai(example)]
pub(crate) struct Route {
    /// Id of the cluster.
    cluster: String,
    /// Region of the node that was asked.
    region: String,
    /// The nodes that say where clients reach them.
    nodes: Vec<RoutedNode>,
    /// When the list was made, RFC 3339.
    issued_at: String,
    /// Until when it is good, RFC 3339.
    expires_at: String,
}

impl Example for Route {
    fn example() -> Self {
        Self {
            cluster: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            region: "eu-central".to_owned(),
            nodes: vec![RoutedNode::example()],
            issued_at: "2026-11-23T12:46:10.123Z".to_owned(),
            expires_at: "2026-11-23T12:51:10.123Z".to_owned(),
        }
    }
}

/// The list, and the same list signed.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct SignedRoute {
    /// The list.
    route: Route,
    /// The same as a compact JWS (RFC 7515) with EdDSA (RFC 8037). Its `kid` is the public key, and the same for every
    /// node of the cluster: keep it from the first list, and take none that another key has signed, unless `succession` leads
    /// to it.
    jws: String,
    /// When the cluster's key was replaced, the key before said so: compact JWS of `next_kid`, oldest first, each signed by the
    /// key that the one before it names.
    succession: Vec<String>,
}

impl Example for SignedRoute {
    fn example() -> Self {
        Self {
            route: Route::example(),
            jws: "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl".to_owned(),
            succession: Vec::new(),
        }
    }
}

/// `/api/route`.
pub(crate) struct RouteApi {
    pub(crate) cluster: Cluster,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) keys: ClusterKeys,
    pub(crate) region: String,
    pub(crate) clock: Arc<dyn Clock>,
}

#[OpenApi(prefix_path = "/api/route", tag = "Tag::Cluster")]
impl RouteApi {
    /// Lists the nodes, the nearest that takes requests first.
    ///
    /// Nodes of the named region come first, then those of the asked node's. For a caller that names no region, or the asked
    /// node's, the order is then by the round trip that the asked node measures: it is near to both. Then come those that are
    /// up to date, then those with less to do. Only nodes that say where clients reach them (`cluster.url`) are listed.
    #[oai(path = "/", method = "get", operation_id = "get_route")]
    async fn get(
        &self,
        _reader: Reader,
        /// The caller's region, as nodes call theirs.
        #[oai(default, example = "region_example", validator(max_length = 64))]
        region: Query<Option<String>>,
    ) -> Result<Json<SignedRoute>, ApiError> {
        let now = self.clock.now();
        let from = Viewpoint { region: region.0.as_deref(), here: &self.region };
        let ranked = rank(self.candidates()?, from);
        let nodes = ranked.into_iter().map(|candidate| RoutedNode {
            id: candidate.node.0,
            url: candidate.url,
            region: candidate.region,
            ready: candidate.takes_requests,
            round_trip_ms: candidate.round_trip.map(milliseconds),
        });
        let route = Route {
            cluster: self.cluster.status().cluster_id.to_string(),
            region: self.region.clone(),
            nodes: nodes.collect(),
            issued_at: now.to_string(),
            expires_at: now.plus_millis(LIFE_MS).to_string(),
        };
        let payload = serde_json::to_vec(&route).map_err(ApiError::internal)?;
        let signer = self.keys.sealing().route_signer().ok_or_else(|| ApiError::internal(NoSigner))?;
        let succession = rotation::succession(self.cluster.reader())?.endorsements;
        Ok(Json(SignedRoute { jws: signer.sign(&payload), succession, route }))
    }
}

impl RouteApi {
    /// Agreed members that say where clients reach them, with what is heard of them.
    fn candidates(&self) -> Result<Vec<Candidate>, ApiError> {
        let (status, heard) = (self.cluster.status(), self.cluster.directory().members());
        let newest = status.last_log_index.unwrap_or_default();
        let known = members::nodes(self.cluster.reader())?;
        let named = known.into_iter().filter(|node| node.removed_at.is_none() && !node.facts.url.is_empty());
        let candidates = named.map(|node| {
            let id = NodeId(node.id);
            let heard = heard.iter().find(|member| member.node_id == id);
            let applied = heard.and_then(|member| member.applied_index);
            Candidate {
                node: id,
                url: node.facts.url,
                region: node.facts.region,
                takes_requests: match heard {
                    _ if id == status.node_id => self.readiness.is_ready(),
                    Some(member) => {
                        member.liveness == Liveness::Alive && member.is_ready && !member.is_draining
                    }
                    None => false,
                },
                round_trip: match id {
                    _ if id == status.node_id => Some(Duration::ZERO),
                    _ => self.cluster.round_trips().to(id),
                },
                load_percent: heard.and_then(|member| member.load_percent).unwrap_or(0),
                lag: applied.map_or(0, |applied| newest.saturating_sub(applied)),
            }
        });
        Ok(candidates.collect())
    }
}

/// What no key is the reason of.
#[derive(Debug, thiserror::Error)]
#[error("no key to sign the list of nodes could be derived from the cluster's")]
struct NoSigner;

/// In milliseconds, to a tenth: more is noise.
pub(super) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn region_example() -> Option<String> {
    Some("eu-central".to_owned())
}
