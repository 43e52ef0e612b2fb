//! The cluster over HTTP: who takes part, and the operators' verbs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use poem::Body;
use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Binary, Json};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use tokio::sync::mpsc;
use twinmcp_actors::Audit;
use twinmcp_cluster::{
    Cluster, ClusterError, ClusterStatus, MemberStatus, NodeId, NodeReport, TokenError, VoterChoice,
};
use twinmcp_storage::audit::{Action, Event, Kind};
use twinmcp_storage::clock::{Clock, Entropy};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::members::{self, Node, NodeFacts};
use twinmcp_storage::scope::Scope;

use super::Tag;
use super::body::JsonBody;
use super::error::ApiError;
use super::rotations::RotationRecord;
use super::route::milliseconds;
use crate::backroom::NodeBackroom;
use crate::backup;
use crate::http::Caller;
use crate::telemetry::Readiness;

/// How long another node is waited for when it is asked how it is.
const REPORT_DEADLINE: Duration = Duration::from_secs(1);
/// How long a node that is drained waits for another to lead, before it gives back its jobs.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(10);
/// How long a backup waits until this node has applied what others have answered for.
const LINEARIZE_DEADLINE: Duration = Duration::from_secs(5);
/// Pieces of a backup made ahead of who reads it.
const BACKUP_PIECES_AHEAD: usize = 4;
const BACKUP_PIECE_BYTES: usize = 256 * 1024;
/// Life of a join token when none is named, in seconds.
const TOKEN_LIFE_S: u64 = 3_600;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// One node, as the asked one knows it.
#[derive(Debug, Clone, Default, Object)]
#[oai(example)]
pub(crate) struct NodeRecord {
    /// Its id; never given to another.
    id: u64,
    /// What operators call it.
    name: String,
    /// Where it is.
    region: String,
    /// What fails together with it inside the region; empty when it does not say.
    zone: String,
    /// Where other nodes reach it.
    address: String,
    /// `leader`, `voter` or `learner`.
    role: String,
    /// Whether it answered just now.
    reachable: bool,
    /// Version of its program.
    #[oai(skip_serializing_if_is_none)]
    version: Option<String>,
    /// Newest change its state contains.
    #[oai(skip_serializing_if_is_none)]
    applied_index: Option<u64>,
    /// Changes that it lacks beside the newest one known here.
    #[oai(skip_serializing_if_is_none)]
    lag: Option<u64>,
    /// Requests in progress.
    #[oai(skip_serializing_if_is_none)]
    load: Option<u32>,
    /// Whether it takes requests.
    #[oai(skip_serializing_if_is_none)]
    ready: Option<bool>,
    /// Whether it was asked to take no new work.
    #[oai(skip_serializing_if_is_none)]
    draining: Option<bool>,
    /// Time of a small request from the asked node to this one and back, smoothed, in milliseconds; absent for the asked node.
    #[oai(skip_serializing_if_is_none)]
    round_trip_ms: Option<f64>,
    /// Index bundles it holds.
    #[oai(skip_serializing_if_is_none)]
    bundles: Option<u32>,
    /// Days until its certificate ends; it makes a new one by itself before.
    #[oai(skip_serializing_if_is_none)]
    certificate_days: Option<u64>,
}

impl Example for NodeRecord {
    fn example() -> Self {
        Self {
            id: 2,
            name: "eu-2".to_owned(),
            region: "eu-central".to_owned(),
            zone: String::new(),
            address: "eu-2.example.com:7947".to_owned(),
            role: "voter".to_owned(),
            reachable: true,
            version: Some("0.1.0".to_owned()),
            applied_index: Some(4_217),
            lag: Some(0),
            load: Some(3),
            ready: Some(true),
            draining: Some(false),
            round_trip_ms: Some(0.4),
            bundles: Some(41),
            certificate_days: Some(29),
        }
    }
}

/// The cluster, as the asked node knows it.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ClusterView {
    /// Id of the cluster.
    id: String,
    /// The node that was asked.
    node: u64,
    /// The node that leads; absent while nobody does.
    #[oai(skip_serializing_if_is_none)]
    leader: Option<u64>,
    /// Term of the newest election.
    term: u64,
    /// What every node of the cluster can read; raised by `upgrade`.
    version: u32,
    /// The nodes, by id.
    nodes: Vec<NodeRecord>,
    /// How far the newest rotation of each secret is.
    rotations: Vec<RotationRecord>,
    /// What an operator should do, in sentences: about voters that are too far from the asked node for its heartbeats, and nodes
    /// that missed a rotation, and a bucket that does not do what the asked node asks for.
    warnings: Vec<String>,
}

impl Example for ClusterView {
    fn example() -> Self {
        Self {
            id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            node: 1,
            leader: Some(1),
            term: 3,
            version: 2,
            nodes: vec![NodeRecord::example()],
            rotations: vec![RotationRecord::example()],
            warnings: Vec::new(),
        }
    }
}

/// A join token to be made.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct TokenRequest {
    /// After how many seconds it is refused: a minute to a week, an hour when absent.
    #[oai(default, validator(minimum(value = "60"), maximum(value = "604800")))]
    expires_in_s: Option<u64>,
}

impl Example for TokenRequest {
    fn example() -> Self {
        Self { expires_in_s: Some(3_600) }
    }
}

/// A join token, which is shown this once.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct NewToken {
    /// What the new node shows. It lets one node in.
    token: String,
    /// After how many seconds it is refused.
    expires_in_s: u64,
}

impl Example for NewToken {
    fn example() -> Self {
        Self { token: "tmcpj_…@eu-1.example.com:7947".to_owned(), expires_in_s: 3_600 }
    }
}

#[derive(ApiResponse)]
pub(crate) enum TokenMade {
    /// The token was made.
    #[oai(status = 201)]
    Token(
        Json<NewToken>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(crate) enum Changed {
    /// The change is agreed on.
    #[oai(status = 204)]
    Done,
}

/// `/api/cluster`.
pub(crate) struct ClusterApi {
    pub(crate) cluster: Cluster,
    pub(crate) audit: Audit,
    pub(crate) backroom: Arc<NodeBackroom>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) name: String,
    pub(crate) region: String,
    /// Where other nodes reach this one; empty for a node alone.
    pub(crate) address: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

#[OpenApi(prefix_path = "/api/cluster", tag = "Tag::Cluster")]
impl ClusterApi {
    /// Shows the cluster.
    ///
    /// Each node is asked how it is, and waited for a second. For operators (`admin`).
    #[oai(path = "/", method = "get", operation_id = "get_cluster")]
    async fn get(&self, caller: Caller) -> Result<Json<ClusterView>, ApiError> {
        caller.may_look(Scope::Admin)?;
        let status = self.cluster.status();
        let known = members::nodes(self.cluster.reader())?;
        let asked = status.members.iter().map(|member| self.report(member.node_id, status.node_id));
        let reports = futures_util::future::join_all(asked).await;
        let nodes = status.members.iter().zip(reports).map(|(member, report)| {
            let facts = known.iter().find(|node| node.id == member.node_id.0);
            self.record(&status, member, facts, report)
        });
        Ok(Json(ClusterView {
            id: status.cluster_id.to_string(),
            node: status.node_id.0,
            leader: status.leader.map(|leader| leader.0),
            term: status.term,
            version: status.version,
            nodes: nodes.collect(),
            rotations: RotationRecord::all(&self.cluster)?,
            warnings: self.warnings(),
        }))
    }

    /// Makes a join token.
    ///
    /// It lets one node in, once, through the node that made it. For operators (`admin`).
    #[oai(path = "/tokens", method = "post", operation_id = "create_join_token")]
    async fn create_token(
        &self,
        caller: Caller,
        request: JsonBody<TokenRequest>,
    ) -> Result<TokenMade, ApiError> {
        caller.may(Scope::Admin)?;
        let expires_in_s = request.0.expires_in_s.unwrap_or(TOKEN_LIFE_S);
        let life = Duration::from_secs(expires_in_s);
        let token = self.cluster.join_token(&self.address, life, &*self.entropy).await?;
        let made = NewToken { token: token.reveal(), expires_in_s };
        Ok(TokenMade::Token(Json(made), "no-store".to_owned()))
    }

    /// Lets a learner vote.
    ///
    /// Refused with 409 for a node that is too far behind, for a sixth voter, and for one that would fail together with
    /// another voter while a better one is there. For operators (`admin`).
    #[oai(path = "/nodes/:id/promote", method = "post", operation_id = "promote_node")]
    async fn promote(
        &self,
        caller: Caller,
        /// The node's id.
        #[oai(example = "node_id_example")]
        id: Path<u64>,
        /// Whether it may fail together with another voter.
        #[oai(default, example = "force_example")]
        force: Query<Option<bool>>,
    ) -> Result<Changed, ApiError> {
        caller.may(Scope::Admin)?;
        let choice = if force.0 == Some(true) { VoterChoice::Forced } else { VoterChoice::Safe };
        self.cluster.promote(NodeId(id.0), choice).await?;
        self.audit.note_done(Event::new(Action::MemberPromoted, Kind::Member, id.0)).await;
        Ok(Changed::Done)
    }

    /// Lets a voter only follow.
    ///
    /// For operators (`admin`).
    #[oai(path = "/nodes/:id/demote", method = "post", operation_id = "demote_node")]
    async fn demote(
        &self,
        caller: Caller,
        /// The node's id.
        #[oai(example = "node_id_example")]
        id: Path<u64>,
    ) -> Result<Changed, ApiError> {
        caller.may(Scope::Admin)?;
        self.cluster.demote(NodeId(id.0)).await?;
        self.audit.note_done(Event::new(Action::MemberDemoted, Kind::Member, id.0)).await;
        Ok(Changed::Done)
    }

    /// Lets a voter lead.
    ///
    /// Answers once the leader has asked it to; `GET /api/cluster` tells when it does. For operators (`admin`).
    #[oai(path = "/nodes/:id/lead", method = "post", operation_id = "transfer_leader")]
    async fn lead(
        &self,
        caller: Caller,
        /// The node's id.
        #[oai(example = "node_id_example")]
        id: Path<u64>,
    ) -> Result<Changed, ApiError> {
        caller.may(Scope::Admin)?;
        self.cluster.transfer_leader(NodeId(id.0)).await?;
        Ok(Changed::Done)
    }

    /// Ends a node's part for good.
    ///
    /// Its id is never used again, and its certificate refused from now on. After a failure, ask again: what was removed in part
    /// is removed whole, and what was removed before stays so. For operators (`admin`).
    #[oai(path = "/nodes/:id", method = "delete", operation_id = "remove_node")]
    async fn remove(
        &self,
        caller: Caller,
        /// The node's id.
        #[oai(example = "node_id_example")]
        id: Path<u64>,
    ) -> Result<Changed, ApiError> {
        caller.may(Scope::Admin)?;
        let node = NodeId(id.0);
        let is_member = self.cluster.status().members.iter().any(|member| member.node_id == node);
        self.cluster.remove(node).await?;
        // Only this ends its certificate. Asked again after it failed, both steps are taken again.
        let remove = members::Command::Remove { node: id.0 };
        match self.cluster.propose(Command::Members(remove)).await?.outcome {
            Outcome::Done | Outcome::Stale => Ok(Changed::Done),
            // A node that never said anything about itself has no record.
            Outcome::NotFound if is_member => Ok(Changed::Done),
            Outcome::NotFound => {
                Err(ClusterError::Members { reason: format!("there is no node {node}") }.into())
            }
            outcome => Err(ApiError::internal(UnexpectedOutcome(outcome))),
        }
    }

    /// Lets the asked node take no new work.
    ///
    /// It turns not ready, so that load balancers leave it, begins no index job and refuses new ones with 503 `node_draining`,
    /// hands leadership over, gives jobs that wait to other nodes at once, and finishes those that run; what has not ended
    /// after `http.drain_timeout_ms` (10 s) is stopped and given away too. Jobs that no other node can do stay. Answered when
    /// all that is done; it goes on also when nobody waits for the answer. The node goes on following and answers who asks.
    /// For operators (`admin`).
    #[oai(path = "/drain", method = "post", operation_id = "drain_node")]
    async fn drain(&self, caller: Caller) -> Result<Changed, ApiError> {
        caller.may(Scope::Admin)?;
        self.readiness.drain(true);
        let (cluster, jobs) = (self.cluster.clone(), self.backroom.jobs.clone());
        jobs.close();
        // Whoever asked may go: half of it would leave jobs behind.
        let drained = tokio::spawn(async move {
            // First, because leases are agreed on: what is proposed while leadership changes may fail.
            let handed_over = cluster.hand_over(HAND_OVER_DEADLINE).await;
            jobs.empty().await?;
            handed_over.map_err(ApiError::from)
        });
        drained.await.map_err(ApiError::internal)??;
        Ok(Changed::Done)
    }

    /// Lets the asked node take work again.
    ///
    /// Index jobs that stayed begin. For operators (`admin`).
    #[oai(path = "/drain", method = "delete", operation_id = "undrain_node")]
    async fn undrain(&self, caller: Caller) -> Result<Changed, ApiError> {
        caller.may(Scope::Admin)?;
        self.readiness.drain(false);
        self.backroom.jobs.open().await?;
        Ok(Changed::Done)
    }

    /// Streams a backup of the running cluster.
    ///
    /// A tar archive of the agreed state and the index bundles of the asked node, as they are when it has applied all that
    /// any node had answered for. An archive without its entry `end` was cut off. The cluster's key is not in it. For
    /// operators (`admin`).
    #[oai(path = "/backup", method = "get", operation_id = "backup_cluster")]
    async fn backup(
        &self,
        caller: Caller,
        /// Whether index bundles are in it; without them a restored cluster indexes again.
        #[oai(default, example = "bundles_example")]
        bundles: Query<Option<bool>>,
    ) -> Result<BackupStream, ApiError> {
        caller.may(Scope::Admin)?;
        let taken = Event::new(Action::BackupTaken, Kind::Cluster, self.cluster.status().cluster_id);
        self.audit.note(taken).await?;
        self.cluster.linearize(LINEARIZE_DEADLINE).await?;
        let (pieces, receiver) = mpsc::channel::<io::Result<Bytes>>(BACKUP_PIECES_AHEAD);
        let cluster = self.cluster.clone();
        let store = (bundles.0 != Some(false)).then(|| Arc::clone(&self.backroom.bundles));
        let now = self.clock.now();
        tokio::task::spawn_blocking(move || {
            let out = io::BufWriter::with_capacity(BACKUP_PIECE_BYTES, Pipe { pieces: pieces.clone() });
            if let Err(error) = backup::write(&cluster, store.as_deref(), now, out) {
                // The answer is cut off: whoever reads it finds no end.
                let _ = pieces.blocking_send(Err(error));
            }
        });
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        Ok(BackupStream::Archive(Binary(Body::from_bytes_stream(stream))))
    }

    /// Raises what every node of the cluster can read.
    ///
    /// To the most that all members can; refused with 409 while one cannot be asked. Builds that cannot read it can not
    /// be run any more afterwards. For operators (`admin`).
    #[oai(path = "/upgrade", method = "post", operation_id = "upgrade_cluster")]
    async fn upgrade(&self, caller: Caller) -> Result<Changed, ApiError> {
        caller.may(Scope::Admin)?;
        self.cluster.upgrade(REPORT_DEADLINE).await?;
        let status = self.cluster.status();
        let upgraded = Event::new(Action::ClusterUpgraded, Kind::Cluster, status.cluster_id);
        self.audit.note_done(upgraded.with("version", status.version)).await;
        Ok(Changed::Done)
    }
}

#[derive(ApiResponse)]
pub(crate) enum BackupStream {
    /// The archive.
    #[oai(status = 200, content_type = "application/x-tar")]
    Archive(Binary<Body>),
}

/// Hands what is written to an answer.
struct Pipe {
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What no state answers.
#[derive(Debug, thiserror::Error)]
#[error("a removal ended with {0:?}")]
struct UnexpectedOutcome(Outcome);

impl ClusterApi {
    fn warnings(&self) -> Vec<String> {
        let far = self.cluster.far_voters();
        let estranged = self.cluster.estranged();
        let estranged = estranged.iter().map(|node| {
            format!(
                "node {node} and this one have no authority in common: one of the two was away while it was replaced. On that \
                 one, stopped, run `twinmcp cluster join` with a token that any other node makes"
            )
        });
        let bucket = self.backroom.distribution.bucket_warning();
        far.iter().map(ToString::to_string).chain(estranged).chain(bucket).collect()
    }

    async fn report(&self, node: NodeId, me: NodeId) -> Option<NodeReport> {
        if node == me {
            return Some(self.backroom.now(self.backroom.bundle_hashes().len()));
        }
        tokio::time::timeout(REPORT_DEADLINE, self.cluster.report_of(node)).await.ok()?.ok()
    }

    fn record(
        &self,
        status: &ClusterStatus,
        member: &MemberStatus,
        node: Option<&Node>,
        report: Option<NodeReport>,
    ) -> NodeRecord {
        let role = match member.is_voter {
            _ if status.leader == Some(member.node_id) => "leader",
            true => "voter",
            false => "learner",
        };
        let facts = match node {
            Some(node) => node.facts.clone(),
            // A node alone has agreed with nobody on what it is called.
            None if member.node_id == status.node_id => {
                NodeFacts { name: self.name.clone(), region: self.region.clone(), ..NodeFacts::default() }
            }
            None => NodeFacts::default(),
        };
        let record = NodeRecord {
            id: member.node_id.0,
            name: facts.name,
            region: facts.region,
            zone: facts.zone,
            address: member.address.clone(),
            role: role.to_owned(),
            round_trip_ms: self.cluster.round_trips().to(member.node_id).map(milliseconds),
            ..NodeRecord::default()
        };
        let Some(report) = report else { return record };
        let newest = status.last_log_index.unwrap_or_default();
        let life = report.certificate_until.millis_since(self.clock.now());
        NodeRecord {
            reachable: true,
            version: Some(report.build),
            applied_index: report.applied_index,
            lag: report.applied_index.map(|applied| newest.saturating_sub(applied)),
            load: Some(report.load),
            ready: Some(report.is_ready),
            draining: Some(report.is_draining),
            bundles: Some(report.bundles),
            // A node without peers has none.
            certificate_days: (life > 0).then_some(life / DAY_MS),
            ..record
        }
    }
}

fn node_id_example() -> u64 {
    2
}

fn bundles_example() -> Option<bool> {
    Some(true)
}

fn force_example() -> Option<bool> {
    Some(false)
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::LimitReached => {
                Self::new(StatusCode::CONFLICT, "too_many_tokens", format!("{error}.")).caused_by(error)
            }
            TokenError::NoAuthority => Self::new(
                StatusCode::CONFLICT,
                "no_peers",
                "This node takes no peers: set `cluster.listen` and `cluster.address`, and restart it.",
            ),
            TokenError::Propose(error) => ClusterError::into(error),
            TokenError::Storage(error) => error.into(),
            TokenError::Rotating => {
                Self::new(StatusCode::CONFLICT, "rotating", super::error::sentence(&error.to_string()))
            }
            TokenError::Entropy(_) => Self::internal(error),
        }
    }
}
