//! One bundle on its way to this node.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use twinmcp_cluster::NodeId;
use twinmcp_storage::bundle::{BundleError, BundleHash};

use super::Fetched;
use crate::context::Context;

/// Pieces taken ahead of the disk.
const PIECES_AHEAD: usize = 4;
/// Longest pause within a bundle before the next peer is asked.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Fetch<'a> {
    pub(super) context: &'a Context,
    pub(super) hash: BundleHash,
    /// What agreed state says it has.
    pub(super) bytes: u64,
}

/// How asking one peer ended.
enum Asked {
    /// Everything came.
    Whole,
    /// It does not have it.
    Absent,
    /// It broke off, or was not reached.
    Broken,
    /// The disk takes no more.
    Full,
}

impl Fetch<'_> {
    /// Takes the bundle from `peers`, the first ones first; each goes on where the one before broke off.
    pub(super) async fn from(self, peers: &[NodeId]) -> Fetched {
        let (pieces, incoming) = mpsc::channel::<Bytes>(PIECES_AHEAD);
        let (bundles, hash, bytes) = (std::sync::Arc::clone(&self.context.bundles), self.hash, self.bytes);
        let keeping = tokio::task::spawn_blocking(move || -> Result<(), BundleError> {
            let mut receiving = bundles.receive(hash, bytes, bytes)?;
            let mut incoming = incoming;
            while let Some(piece) = incoming.blocking_recv() {
                receiving.write(&piece)?;
            }
            match receiving.bytes() == bytes {
                true => receiving.finish().map(drop),
                // Nobody gave the rest.
                false => Err(BundleError::Missing { hash }),
            }
        });
        let (mut received, mut is_absent_everywhere) = (0, true);
        for &peer in peers {
            match self.ask(peer, &pieces, &mut received).await {
                Asked::Whole => break,
                Asked::Absent => {}
                Asked::Broken => is_absent_everywhere = false,
                Asked::Full => {
                    is_absent_everywhere = false;
                    break;
                }
            }
        }
        drop(pieces);
        match keeping.await {
            Ok(Ok(())) => {
                tracing::info!(bundle = %self.hash, bytes = self.bytes, "a bundle came from a peer");
                Fetched::Here
            }
            _ if received == 0 && is_absent_everywhere => Fetched::Nowhere,
            Ok(Err(BundleError::Missing { .. })) => Fetched::Later,
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, bundle = %self.hash, "a bundle was not kept");
                Fetched::Later
            }
            Err(_) => Fetched::Later,
        }
    }

    async fn ask(&self, peer: NodeId, pieces: &mpsc::Sender<Bytes>, received: &mut u64) -> Asked {
        let name = self.hash.to_string();
        let asked = self.context.cluster.bundle_from(peer, &name, *received);
        let mut bytes = match tokio::time::timeout(IDLE_TIMEOUT, asked).await {
            Ok(Ok(Some(found))) if found.total == self.bytes => found.bytes,
            // Another one under this name: damaged there.
            Ok(Ok(Some(_) | None)) => return Asked::Absent,
            Ok(Err(error)) => {
                tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a peer gave no bundle");
                return Asked::Broken;
            }
            Err(_) => return Asked::Broken,
        };
        while let Ok(Some(Ok(piece))) = tokio::time::timeout(IDLE_TIMEOUT, bytes.next()).await {
            *received += piece.len() as u64;
            if pieces.send(piece).await.is_err() {
                return Asked::Full;
            }
        }
        if *received == self.bytes { Asked::Whole } else { Asked::Broken }
    }
}
