//! What peers ask a node besides agreement: to be let in, how it is, for bundles, and for archives.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::record::{self, Record};

use crate::bundles::{
    ANSWER_BYTES_MAX, BUNDLES_PATH, BYTES_QUERY, BundleBytes, KEPT_BYTES_MAX, KEPT_MAX, KEPT_PATH,
    KeptAnswer, KeptQuestion, QUESTION_BYTES_MAX, QUESTIONS_PATH, TOTAL_HEADER,
};
use crate::handle::{Cluster, WeakCluster};
use crate::joining::{JOIN_BYTES_MAX, JOIN_PATH};
use crate::keys::ClusterKeys;
use crate::keys::{KEY_PATH, KEY_QUESTION_BYTES_MAX};
use crate::peer::{Answer, Asked, PeerService, bytes_body, refusal, stream_body};
use crate::renewing::RENEW_PATH;
use crate::status::NodeId;
use crate::uploads::{KEEP_UPLOAD_BYTES_MAX, KEEP_UPLOAD_PATH, KeepUpload, UPLOADS_PATH, UploadKept};

/// Where a node tells how it is.
pub(crate) const REPORT_PATH: &str = "/report";
/// Where a node only answers, so that its peers know how far away it is. A build that does not know the path refuses, which
/// takes as long.
pub(crate) const PING_PATH: &str = "/ping";
/// Longest time a peer's question is worked on: its client has gone by then.
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);

/// How a node is, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The program's version.
    pub build: String,
    /// The newest version of a cluster that it takes part in.
    pub reads: u32,
    /// The newest log entry its state contains.
    pub applied_index: Option<u64>,
    /// Whether it takes requests.
    pub is_ready: bool,
    /// Whether it was asked to take no new work.
    pub is_draining: bool,
    /// Requests in progress.
    pub load: u32,
    /// Bundles it holds.
    pub bundles: u32,
    /// Until when peers believe its certificate.
    pub certificate_until: Timestamp,
}

impl Record for NodeReport {
    const NAME: &'static str = "report of a node";
    const FORMAT: u8 = 1;
}

/// What the rest of the program adds to the desk.
pub trait Backroom: Send + Sync + 'static {
    /// How this node is.
    fn report(&self) -> NodeReport;

    /// The bytes of a bundle from `first` on, `length` of them at most, and how many it has in all; `None` when it is
    /// not here.
    fn bundle(
        &self,
        hash: &str,
        first: u64,
        length: u64,
    ) -> BoxFuture<'static, io::Result<Option<BundleBytes>>>;

    /// Answers a peer's question from a bundle that lies here; never by asking somebody else.
    fn answer(&self, hash: &str, question: Bytes) -> BoxFuture<'static, PeerAnswer>;

    /// Which of these bundles are here and stay here.
    fn kept(&self, question: KeptQuestion) -> BoxFuture<'static, Vec<bool>>;

    /// The bytes of an account's archive; `None` when it is not here.
    fn upload(&self, account: &str, hash: &str) -> BoxFuture<'static, io::Result<Option<BundleBytes>>>;

    /// Whether an archive is here; where it is wanted and is not, it is fetched from the asker, and not waited for.
    fn keep_upload(&self, from: NodeId, question: KeepUpload) -> UploadKept;
}

/// What became of a peer's question.
#[derive(Debug)]
pub enum PeerAnswer {
    /// The answer.
    Found(Vec<u8>),
    /// The bundle is not here.
    Absent,
    /// The node has too much to do.
    Busy,
    /// Why there is none.
    Failed(String),
}

/// Answers peers. Made before the cluster is started, and opened once it runs.
pub struct Desk {
    keys: ClusterKeys,
    open: OnceLock<Open>,
}

struct Open {
    // The cluster holds the desk.
    cluster: WeakCluster,
    backroom: Box<dyn Backroom>,
}

impl Desk {
    /// A desk that answers nothing yet.
    pub fn new(keys: ClusterKeys) -> Arc<Self> {
        Arc::new(Self { keys, open: OnceLock::new() })
    }

    /// Answers from now on. A second call does nothing.
    pub fn open(&self, cluster: &Cluster, backroom: Box<dyn Backroom>) {
        let _ = self.open.set(Open { cluster: cluster.downgrade(), backroom });
    }

    async fn let_in(&self, cluster: Cluster, asked: Asked) -> Answer {
        let Some(body) = body(asked, JOIN_BYTES_MAX).await else { return unreadable() };
        match cluster.let_in(&body, &self.keys).await {
            Ok(admission) => Answer::new(bytes_body(admission)),
            Err(reason) => refusal(StatusCode::FORBIDDEN, reason),
        }
    }

    async fn renew(&self, cluster: Cluster, asked: Asked) -> Answer {
        let Some(body) = body(asked, JOIN_BYTES_MAX).await else { return unreadable() };
        match cluster.renew(&body, &self.keys).await {
            Ok(renewal) => Answer::new(bytes_body(renewal)),
            Err(reason) => refusal(StatusCode::FORBIDDEN, reason),
        }
    }

    async fn key(&self, asked: Asked) -> Answer {
        let Some(question) = body(asked, KEY_QUESTION_BYTES_MAX).await else { return unreadable() };
        match self.keys.give(&question) {
            Ok(Some(answer)) => Answer::new(bytes_body(answer)),
            Ok(None) => refusal(StatusCode::GONE, "the key is not here"),
            Err(error) => refusal(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
}

impl PeerService for Desk {
    fn answer(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, Answer> {
        Box::pin(async move {
            let Some((open, cluster)) =
                self.open.get().and_then(|open| Some((open, open.cluster.upgrade()?)))
            else {
                return refusal(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the node is starting or stopping; try again",
                );
            };
            let path = asked.request.uri().path();
            if path == JOIN_PATH {
                return self.let_in(cluster, asked).await;
            }
            if path == RENEW_PATH {
                return self.renew(cluster, asked).await;
            }
            let Some(from) = asked.from else {
                return refusal(StatusCode::FORBIDDEN, "only members are answered");
            };
            if path == PING_PATH {
                return Answer::new(bytes_body(Bytes::new()));
            }
            if path == KEY_PATH {
                return self.key(asked).await;
            }
            if path == REPORT_PATH {
                return match record::encode(&open.backroom.report()) {
                    Ok(report) => Answer::new(bytes_body(report)),
                    Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
                };
            }
            if path == KEPT_PATH {
                return kept(open, asked).await;
            }
            if path == KEEP_UPLOAD_PATH {
                return keep_upload(open, from, asked).await;
            }
            if let Some((account, hash)) =
                path.strip_prefix(UPLOADS_PATH).and_then(|rest| rest.split_once('/'))
            {
                return bytes_of(open.backroom.upload(account, hash).await, "the archive is not here");
            }
            if let Some(hash) = path.strip_prefix(QUESTIONS_PATH).map(str::to_owned) {
                return question(open, &hash, asked).await;
            }
            match path.strip_prefix(BUNDLES_PATH).and_then(|rest| rest.split_once('/')) {
                Some((hash, first)) => {
                    let length =
                        asked.request.uri().query().and_then(|query| query.strip_prefix(BYTES_QUERY));
                    match (first.parse(), length.map_or(Ok(u64::MAX), str::parse)) {
                        (Ok(first), Ok(length)) => {
                            let found = open.backroom.bundle(hash, first, length).await;
                            bytes_of(found, "the bundle is not here")
                        }
                        _ => refusal(StatusCode::BAD_REQUEST, "first byte and length are numbers"),
                    }
                }
                None => refusal(StatusCode::NOT_FOUND, "nothing is answered there"),
            }
        })
    }
}

async fn question(open: &Open, hash: &str, asked: Asked) -> Answer {
    let Some(question) = body(asked, QUESTION_BYTES_MAX).await else { return unreadable() };
    let answered = tokio::time::timeout(QUESTION_PATIENCE, open.backroom.answer(hash, question)).await;
    match answered.unwrap_or(PeerAnswer::Busy) {
        PeerAnswer::Found(answer) if answer.len() <= ANSWER_BYTES_MAX => Answer::new(bytes_body(answer)),
        PeerAnswer::Found(_) => {
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too long for a peer")
        }
        PeerAnswer::Absent => refusal(StatusCode::GONE, "the bundle is not here"),
        PeerAnswer::Busy => refusal(StatusCode::SERVICE_UNAVAILABLE, "the node has too much to do"),
        PeerAnswer::Failed(reason) => refusal(StatusCode::INTERNAL_SERVER_ERROR, reason),
    }
}

async fn kept(open: &Open, asked: Asked) -> Answer {
    let Some(question) = body(asked, KEPT_BYTES_MAX).await else { return unreadable() };
    let question: KeptQuestion = match record::decode(&question) {
        Ok(question) => question,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error.to_string()),
    };
    if question.bundles.len() > KEPT_MAX {
        return refusal(StatusCode::BAD_REQUEST, format!("at most {KEPT_MAX} bundles are asked for"));
    }
    let is_kept = open.backroom.kept(question).await;
    match record::encode(&KeptAnswer { is_kept }) {
        Ok(answer) => Answer::new(bytes_body(answer)),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn keep_upload(open: &Open, from: NodeId, asked: Asked) -> Answer {
    let Some(question) = body(asked, KEEP_UPLOAD_BYTES_MAX).await else { return unreadable() };
    let question: KeepUpload = match record::decode(&question) {
        Ok(question) => question,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error.to_string()),
    };
    match record::encode(&open.backroom.keep_upload(from, question)) {
        Ok(answer) => Answer::new(bytes_body(answer)),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// The whole body of a request; `None` when it is too long or broke off.
async fn body(asked: Asked, bytes_max: usize) -> Option<Bytes> {
    let body = Limited::new(asked.request.into_body(), bytes_max).collect().await;
    body.ok().map(|body| body.to_bytes())
}

fn unreadable() -> Answer {
    refusal(StatusCode::BAD_REQUEST, "the request cannot be read")
}

fn bytes_of(found: io::Result<Option<BundleBytes>>, absent: &str) -> Answer {
    match found {
        Ok(Some(found)) => {
            let mut answer = Answer::new(stream_body(found.bytes));
            answer.headers_mut().insert(TOTAL_HEADER, found.total.into());
            answer
        }
        Ok(None) => refusal(StatusCode::NOT_FOUND, absent),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

impl Cluster {
    /// Asks a member how it is.
    ///
    /// # Errors
    /// A sentence, when it does not say.
    pub async fn report_of(&self, node: NodeId) -> Result<NodeReport, String> {
        let answer = self.ask(node, REPORT_PATH, Vec::new()).await.map_err(|error| error.to_string())?;
        record::decode(&answer).map_err(|error| error.to_string())
    }
}
