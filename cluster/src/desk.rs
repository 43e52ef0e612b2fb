//! What peers ask a node besides agreement: to be let in, how it is, and for bundles.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::record::{self, Record};

use crate::authority::ClusterKey;
use crate::handle::{Cluster, WeakCluster};
use crate::joining::{JOIN_BYTES_MAX, JOIN_PATH};
use crate::peer::{Answer, Asked, Lane, PeerError, PeerService, bytes_body, refusal, stream_body};
use crate::status::NodeId;

/// Where a node tells how it is.
pub(crate) const REPORT_PATH: &str = "/report";
/// Where a node only answers, so that its peers know how far away it is. A build that does not know the path refuses, which
/// takes as long.
pub(crate) const PING_PATH: &str = "/ping";
/// Where a node gives bundles; the hash and the first byte follow.
pub(crate) const BUNDLES_PATH: &str = "/bundles/";

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

    /// The bytes of a bundle from `first` on, and how many it has in all; `None` when it is not here.
    fn bundle(&self, hash: &str, first: u64) -> BoxFuture<'static, io::Result<Option<BundleBytes>>>;
}

/// A bundle on its way to a peer.
pub struct BundleBytes {
    /// Bytes it has in all.
    pub total: u64,
    /// Those that were asked for.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// Answers peers. Made before the cluster is started, and opened once it runs.
pub struct Desk {
    key: ClusterKey,
    open: OnceLock<Open>,
}

struct Open {
    // The cluster holds the desk.
    cluster: WeakCluster,
    backroom: Box<dyn Backroom>,
}

impl Desk {
    /// A desk that answers nothing yet.
    pub fn new(key: ClusterKey) -> Arc<Self> {
        Arc::new(Self { key, open: OnceLock::new() })
    }

    /// Answers from now on. A second call does nothing.
    pub fn open(&self, cluster: &Cluster, backroom: Box<dyn Backroom>) {
        let _ = self.open.set(Open { cluster: cluster.downgrade(), backroom });
    }

    async fn let_in(&self, cluster: Cluster, asked: Asked) -> Answer {
        let body = Limited::new(asked.request.into_body(), JOIN_BYTES_MAX).collect().await;
        let Ok(body) = body else { return refusal(StatusCode::BAD_REQUEST, "the request cannot be read") };
        match cluster.let_in(&body.to_bytes(), &self.key).await {
            Ok(admission) => Answer::new(bytes_body(admission)),
            Err(reason) => refusal(StatusCode::FORBIDDEN, reason),
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
            if asked.from.is_none() {
                return refusal(StatusCode::FORBIDDEN, "only members are answered");
            }
            if path == PING_PATH {
                return Answer::new(bytes_body(Bytes::new()));
            }
            if path == REPORT_PATH {
                return match record::encode(&open.backroom.report()) {
                    Ok(report) => Answer::new(bytes_body(report)),
                    Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
                };
            }
            match path.strip_prefix(BUNDLES_PATH).and_then(|rest| rest.split_once('/')) {
                Some((hash, first)) => match first.parse() {
                    Ok(first) => bundle(open.backroom.bundle(hash, first).await),
                    Err(_) => refusal(StatusCode::BAD_REQUEST, "the first byte is a number"),
                },
                None => refusal(StatusCode::NOT_FOUND, "nothing is answered there"),
            }
        })
    }
}

fn bundle(found: io::Result<Option<BundleBytes>>) -> Answer {
    match found {
        Ok(Some(found)) => {
            let mut answer = Answer::new(stream_body(found.bytes));
            answer.headers_mut().insert(TOTAL_HEADER, found.total.into());
            answer
        }
        Ok(None) => refusal(StatusCode::NOT_FOUND, "the bundle is not here"),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Bytes a bundle has in all, whichever were asked for.
pub(crate) const TOTAL_HEADER: &str = "x-bundle-bytes";

impl Cluster {
    /// Asks a member how it is.
    ///
    /// # Errors
    /// A sentence, when it does not say.
    pub async fn report_of(&self, node: NodeId) -> Result<NodeReport, String> {
        let answer = self.ask(node, REPORT_PATH, Vec::new()).await.map_err(|error| error.to_string())?;
        record::decode(&answer).map_err(|error| error.to_string())
    }

    /// Asks a member for a bundle from byte `first` on; `None` when it does not have it.
    ///
    /// # Errors
    /// [`PeerError`] when it cannot be reached.
    pub async fn bundle_from(
        &self,
        node: NodeId,
        hash: &str,
        first: u64,
    ) -> Result<Option<BundleBytes>, PeerError> {
        let path = format!("{BUNDLES_PATH}{hash}/{first}");
        let answer = match self.open(node, Lane::Bulk, &path).await {
            Ok(answer) => answer,
            Err(PeerError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => return Ok(None),
            Err(error) => return Err(error),
        };
        let total = answer.headers().get(TOTAL_HEADER).and_then(|total| total.to_str().ok()?.parse().ok());
        let Some(total) = total else { return Ok(None) };
        let bytes = answer.into_body().into_data_stream().map(|piece| piece.map_err(io::Error::other));
        Ok(Some(BundleBytes { total, bytes: bytes.boxed() }))
    }
}
