//! How the node is: probes, a page for people and programs, and metrics.

use std::net::IpAddr;
use std::sync::Arc;

use poem::Request;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use twinmcp_actors::supervisor::ActorState;
use twinmcp_actors::upgrade::UpgradeStatus;
use twinmcp_actors::{Distribution, EndpointUpgrades, Libraries, Mending, Supervisor, Upgrades};
use twinmcp_cluster::Cluster;
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::scope::Scope;

use super::Tag;
use super::error::ApiError;
use super::upgrade::{EmbeddingsRecord, UpgradeRecord};
use crate::http::{Identity, address_of};
use crate::telemetry::{self, Readiness};

/// Most notices in one answer.
const NOTICES_MAX: usize = 100;

/// What tells how the node is.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) node: String,
    pub(crate) region: String,
    pub(crate) cluster: Cluster,
    pub(crate) supervisor: Supervisor,
    pub(crate) mending: Mending,
    pub(crate) distribution: Distribution,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) embedder: String,
    pub(crate) upgrades: Upgrades,
    pub(crate) endpoint: Option<EndpointUpgrades>,
    pub(crate) libraries: Libraries,
}

impl Health {
    /// Why the node should get no requests; nothing when it should.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.readiness.is_draining() {
            faults.push("the node was drained; `twinmcp cluster undrain` lets it take work again".to_owned());
        } else if !self.readiness.is_ready() {
            faults.push("the node is starting or stopping".to_owned());
        }
        let status = self.cluster.status();
        faults.extend(status.unhealthy);
        let failed = self.supervisor.health().into_iter().filter(|actor| actor.state == ActorState::Failed);
        faults.extend(failed.map(|actor| format!("actor `{}` has failed", actor.name)));
        faults
    }

    /// What is wrong with a part that the rest does not need.
    fn notices(&self) -> Vec<String> {
        let mut notices: Vec<_> = self.distribution.bucket_warning().into_iter().collect();
        match self.mending.losses() {
            Ok(losses) => notices.extend(losses.iter().take(NOTICES_MAX).map(|loss| {
                let is_open = self.is_open(&loss.library);
                if is_open { loss.to_string() } else { "the index of a private library is lost".to_owned() }
            })),
            Err(error) => notices.push(error.to_string()),
        }
        notices.truncate(NOTICES_MAX);
        notices
    }

    /// Whether everybody may know of a library; anybody reads this record.
    fn is_open(&self, library: &LibraryId) -> bool {
        self.libraries.hides(None, library).is_ok_and(|hides| !hides)
    }

    /// The status, without the name of a private library.
    fn told(&self, mut status: UpgradeStatus) -> UpgradeStatus {
        status.current = status.current.filter(|current| self.is_open(&current.library));
        status
    }
}

/// One supervised actor.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ActorRecord {
    /// Its name.
    name: String,
    /// `running`, `restarting` or `failed`.
    state: String,
    /// How often it was started again.
    restarts: u64,
}

impl Example for ActorRecord {
    fn example() -> Self {
        Self { name: "jobs".to_owned(), state: "running".to_owned(), restarts: 0 }
    }
}

/// What the node knows of its cluster.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ClusterRecord {
    /// Id of the cluster.
    id: String,
    /// `leader`, `follower`, `candidate`, `learner` or `stopped`.
    role: String,
    /// Whether the node knows a leader, so that changes can be made.
    has_leader: bool,
    /// Term of the newest election.
    term: u64,
    /// Newest change applied here.
    #[oai(skip_serializing_if_is_none)]
    applied_index: Option<u64>,
}

impl Example for ClusterRecord {
    fn example() -> Self {
        Self {
            id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            role: "leader".to_owned(),
            has_leader: true,
            term: 1,
            applied_index: Some(42),
        }
    }
}

/// How the node is.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct HealthRecord {
    /// `ok`, or `degraded` with `faults` or `notices`.
    status: String,
    /// Why the node should get no requests; empty when it should.
    faults: Vec<String>,
    /// What is wrong with a part that the rest does not need, such as one version's index or the bucket; at most 100.
    notices: Vec<String>,
    /// Version of the program.
    version: String,
    /// Name of the node.
    node: String,
    /// Region of the node.
    region: String,
    /// How answers are ranked: `words+vectors`.
    search_mode: String,
    /// The embedder of queries.
    embedder: String,
    /// How far the documentation has better vectors.
    upgrade: UpgradeRecord,
    /// The embedding service, when one is configured.
    #[oai(skip_serializing_if_is_none)]
    embeddings: Option<EmbeddingsRecord>,
    /// The node's view of its cluster.
    cluster: ClusterRecord,
    /// The supervised actors.
    actors: Vec<ActorRecord>,
}

impl Example for HealthRecord {
    fn example() -> Self {
        Self {
            status: "ok".to_owned(),
            faults: Vec::new(),
            notices: Vec::new(),
            version: "0.1.0".to_owned(),
            node: "node-1".to_owned(),
            region: "local".to_owned(),
            search_mode: "words+vectors".to_owned(),
            embedder: "twinmcp-static-128-v1".to_owned(),
            upgrade: UpgradeRecord::example(),
            embeddings: Some(EmbeddingsRecord::example()),
            cluster: ClusterRecord::example(),
            actors: vec![ActorRecord::example()],
        }
    }
}

/// The answer to a probe.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct Probe {
    /// `ok`, or `not_ready` with `faults`.
    status: String,
    /// Why the node should get no requests.
    faults: Vec<String>,
}

impl Example for Probe {
    fn example() -> Self {
        Self { status: "ok".to_owned(), faults: Vec::new() }
    }
}

#[derive(ApiResponse)]
pub(crate) enum Ready {
    /// The node may get requests.
    #[oai(status = 200)]
    Yes(Json<Probe>),
    /// The node should get no requests now.
    #[oai(status = 503)]
    No(
        Json<Probe>,
        /// Seconds until it is worth asking again.
        #[oai(header = "Retry-After")]
        u64,
    ),
}

/// `/api/health` and `/api/metrics`.
pub(crate) struct HealthApi {
    pub(crate) health: Health,
}

#[OpenApi(prefix_path = "/api", tag = "Tag::Health")]
impl HealthApi {
    /// Shows how the node is.
    ///
    /// Always 200 while the process answers; `status`, `faults` and `notices` say what is wrong.
    #[oai(path = "/health", method = "get", operation_id = "get_health")]
    async fn health(&self) -> Json<HealthRecord> {
        let health = &self.health;
        let (faults, notices) = (health.faults(), health.notices());
        let status = health.cluster.status();
        let actors = health.supervisor.health().into_iter().map(|actor| ActorRecord {
            name: actor.name.to_owned(),
            state: match actor.state {
                ActorState::Running => "running",
                ActorState::Restarting => "restarting",
                ActorState::Failed => "failed",
            }
            .to_owned(),
            restarts: actor.restarts,
        });
        Json(HealthRecord {
            status: if faults.is_empty() && notices.is_empty() { "ok" } else { "degraded" }.to_owned(),
            faults,
            notices,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: health.node.clone(),
            region: health.region.clone(),
            search_mode: "words+vectors".to_owned(),
            embedder: health.embedder.clone(),
            upgrade: health.told(health.upgrades.status()).into(),
            embeddings: health
                .endpoint
                .as_ref()
                .map(|endpoint| EmbeddingsRecord::new(endpoint, health.told(endpoint.status()))),
            cluster: ClusterRecord {
                id: status.cluster_id.to_string(),
                role: format!("{:?}", status.role).to_lowercase(),
                has_leader: status.leader.is_some(),
                term: status.term,
                applied_index: status.applied_index,
            },
            actors: actors.collect(),
        })
    }

    /// Tells whether the process lives.
    ///
    /// 200 whenever the process can answer; says nothing about the cluster. For liveness probes.
    #[oai(path = "/health/live", method = "get", operation_id = "get_liveness")]
    async fn live(&self) -> Json<Probe> {
        Json(Probe { status: "ok".to_owned(), faults: Vec::new() })
    }

    /// Tells whether the node should get requests.
    ///
    /// 503 while it starts or stops, and when a part of it has failed. For readiness probes and load balancers.
    #[oai(path = "/health/ready", method = "get", operation_id = "get_readiness")]
    async fn ready(&self) -> Ready {
        let faults = self.health.faults();
        if faults.is_empty() {
            Ready::Yes(Json(Probe { status: "ok".to_owned(), faults }))
        } else {
            Ready::No(Json(Probe { status: "not_ready".to_owned(), faults }), 1)
        }
    }

    /// Tells everything the node measures.
    ///
    /// Prometheus text format. Answers loopback addresses, and keys with `metrics:read`; others get 404.
    #[oai(path = "/metrics", method = "get", operation_id = "get_metrics")]
    async fn metrics(&self, request: &Request) -> Result<PlainText<String>, ApiError> {
        if !may_scrape(&Identity::of(request.extensions()), address_of(request), is_forwarded(request)) {
            return Err(ApiError::not_found(
                "not_found",
                "There is nothing at this path; /api/docs lists what is.",
            ));
        }
        telemetry::scrape().map(PlainText).map_err(ApiError::internal)
    }
}

/// A request that a proxy on this machine passed on does not come from this machine.
fn is_forwarded(request: &Request) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| request.headers().contains_key(*name))
}

fn may_scrape(identity: &Identity, address: IpAddr, forwarded: bool) -> bool {
    (address.is_loopback() && !forwarded)
        || identity.caller.as_ref().is_some_and(|caller| caller.has(Scope::MetricsRead))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Caller, test_key};

    #[test]
    fn metrics_answer_loopback_and_keys_that_may_and_nobody_else() {
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let remote: IpAddr = "203.0.113.7".parse().unwrap();
        let identity = |scopes: Option<&[Scope]>| Identity {
            caller: scopes.map(|scopes| Caller::new(test_key(scopes))),
            anonymous_reads: true,
            ..Identity::nobody()
        };
        for (scopes, address, forwarded, right) in [
            (None, local, false, true),
            (None, local, true, false),
            (None, remote, false, false),
            (Some([Scope::DocsRead].as_slice()), remote, false, false),
            (Some([Scope::MetricsRead].as_slice()), remote, false, true),
            (Some([Scope::Admin].as_slice()), remote, true, true),
        ] {
            assert_eq!(
                may_scrape(&identity(scopes), address, forwarded),
                right,
                "{scopes:?} {address} {forwarded}"
            );
        }
    }
}
