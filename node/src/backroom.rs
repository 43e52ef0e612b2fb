//! What this node tells its peers and gives them: how it is, its bundles, answers from them, and archives of jobs.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::Semaphore;
use twinmcp_actors::{Distribution, Jobs, Search};
use twinmcp_cluster::{
    Backroom, BundleBytes, Cluster, KeepUpload, KeptQuestion, NodeId, NodeReport, PeerAnswer, UploadKept,
};
use twinmcp_storage::bundle::{BundleHash, BundleStore};

use crate::api::marks;
use crate::telemetry::Readiness;

/// Bytes of a bundle or an archive read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Answers peers from what the node has.
#[derive(Clone)]
pub(crate) struct NodeBackroom {
    pub(crate) cluster: Cluster,
    pub(crate) bundles: Arc<BundleStore>,
    pub(crate) distribution: Distribution,
    pub(crate) search: Search,
    pub(crate) jobs: Jobs,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) in_flight_max: usize,
}

impl NodeBackroom {
    /// Hashes of the bundles that lie here. Reads the folder.
    pub(crate) fn bundle_hashes(&self) -> Vec<[u8; 32]> {
        let bundles = self.bundles.list().unwrap_or_default();
        bundles.iter().map(|bundle| *bundle.hash.as_bytes()).collect()
    }

    /// How this node is, which has so many bundles, as its peers and its operators are told.
    pub(crate) fn now(&self, bundles: usize) -> NodeReport {
        let status = self.cluster.status();
        let load = self.in_flight_max.saturating_sub(self.in_flight.available_permits());
        NodeReport {
            build: env!("CARGO_PKG_VERSION").to_owned(),
            reads: twinmcp_cluster::BUILD_VERSION,
            applied_index: status.applied_index,
            is_ready: self.readiness.is_ready() && status.unhealthy.is_none(),
            is_draining: self.readiness.is_draining(),
            load: u32::try_from(load).unwrap_or(u32::MAX),
            bundles: u32::try_from(bundles).unwrap_or(u32::MAX),
            certificate_until: self.cluster.certified_until(),
        }
    }
}

impl Backroom for NodeBackroom {
    fn report(&self) -> NodeReport {
        self.now(self.bundle_hashes().len())
    }

    fn bundle(
        &self,
        hash: &str,
        first: u64,
        length: u64,
    ) -> BoxFuture<'static, io::Result<Option<BundleBytes>>> {
        let hash = hash.parse::<BundleHash>().ok();
        let (bundles, distribution) = (Arc::clone(&self.bundles), self.distribution.clone());
        Box::pin(async move {
            let Some(hash) = hash else { return Ok(None) };
            // Until the last byte is sent.
            let pinned = bundles.pin(hash);
            let mut file = match tokio::fs::File::open(bundles.path(hash)).await {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let total = file.metadata().await?.len();
            file.seek(io::SeekFrom::Start(first.min(total))).await?;
            let sending = (file.take(length), distribution, pinned);
            let bytes =
                futures_util::stream::try_unfold(sending, |(mut file, distribution, pinned)| async move {
                    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
                    while piece.len() < PIECE_BYTES && file.read_buf(&mut piece).await? > 0 {}
                    distribution.sending(piece.len()).await;
                    let piece: Bytes = piece.freeze();
                    Ok((!piece.is_empty()).then_some((piece, (file, distribution, pinned))))
                });
            Ok(Some(BundleBytes { total, bytes: bytes.boxed() }))
        })
    }

    fn answer(&self, hash: &str, question: Bytes) -> BoxFuture<'static, PeerAnswer> {
        let hash = hash.parse::<BundleHash>().ok();
        let (search, in_flight) = (self.search.clone(), Arc::clone(&self.in_flight));
        Box::pin(async move {
            let Some(hash) = hash else { return PeerAnswer::Absent };
            // A peer's question is a request like those of this node's own clients.
            let Ok(_place) = in_flight.try_acquire() else { return PeerAnswer::Busy };
            match search.answer_peer(hash, &question, marks).await {
                Ok(Some(answer)) => PeerAnswer::Found(answer),
                Ok(None) => PeerAnswer::Absent,
                Err(error) => PeerAnswer::Failed(error.to_string()),
            }
        })
    }

    fn kept(&self, question: KeptQuestion) -> BoxFuture<'static, Vec<bool>> {
        let distribution = self.distribution.clone();
        Box::pin(async move { distribution.kept(question).await })
    }

    fn upload(&self, account: &str, hash: &str) -> BoxFuture<'static, io::Result<Option<BundleBytes>>> {
        let path = self.jobs.upload_path(account, hash);
        Box::pin(async move {
            let Some(path) = path else { return Ok(None) };
            let file = match tokio::fs::File::open(path).await {
                Ok(file) => file,
                // A job has ended, and it with the job.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let total = file.metadata().await?.len();
            let bytes = futures_util::stream::try_unfold(file, |mut file| async move {
                let mut piece = BytesMut::with_capacity(PIECE_BYTES);
                while piece.len() < PIECE_BYTES && file.read_buf(&mut piece).await? > 0 {}
                let piece: Bytes = piece.freeze();
                Ok((!piece.is_empty()).then_some((piece, file)))
            });
            Ok(Some(BundleBytes { total, bytes: bytes.boxed() }))
        })
    }

    fn keep_upload(&self, from: NodeId, question: KeepUpload) -> UploadKept {
        self.jobs.keep_upload(from, question)
    }
}
