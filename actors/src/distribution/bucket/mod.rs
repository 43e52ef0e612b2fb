//! The bucket: bundles kept besides on nodes, in a store that speaks the protocol of S3.
//!
//! [`Bucket`] is asked for what no peer has. What is published is put there under its hash, and what nobody names is
//! removed by the node that leads (`round`); `known` decides, `client` speaks the protocol.
//!
//! Invariants: a store that is away costs nothing but its own use, since it is left alone for a while after each failure;
//! what comes from it is looked at like what comes from peers; only what has been unnamed for the grace time is removed.

mod client;
mod config;
mod error;
mod known;
mod metrics;
mod round;

use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use twinmcp_cluster::BundleBytes;
use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::clock::Clock;

use self::client::Client;
pub use self::config::{BucketConfig, BucketKey};
pub use self::error::BucketError;
use self::known::{Known, Outage};
use self::metrics::Metrics;
use super::plan::Garbage;

/// The way to the bucket.
pub(super) struct Bucket {
    client: Client,
    counts_as_copy: bool,
    /// How long it may be away before nobody waits for it any more.
    given_up_after: Duration,
    known: Mutex<Known>,
    outage: Mutex<Option<Outage>>,
    /// Taken for the time of a round.
    round: tokio::sync::Mutex<Garbage>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl Bucket {
    /// Asks nobody yet.
    pub(super) fn new(
        config: &BucketConfig,
        given_up_after: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BucketError> {
        Ok(Self {
            client: Client::new(config)?,
            counts_as_copy: config.counts_as_copy,
            given_up_after,
            known: Mutex::default(),
            outage: Mutex::default(),
            round: tokio::sync::Mutex::default(),
            clock,
            metrics: Metrics::new(),
        })
    }

    /// These bytes of a bundle; `None` when it is not there, or ends before them.
    pub(super) async fn range(
        &self,
        hash: BundleHash,
        range: Range<u64>,
    ) -> Result<Option<BundleBytes>, BucketError> {
        self.told("get", self.client.range(hash, range).await)
    }

    /// A bundle of so many bytes came from there.
    pub(super) fn gave(&self, hash: BundleHash, bytes: u64) {
        self.metrics.moved("received", bytes);
        self.known().stored(hash, bytes);
    }

    /// Something else came from there: it is replaced as soon as this node has the right one.
    pub(super) fn gave_wrong(&self, hash: BundleHash) {
        let place = self.client.place();
        tracing::error!(bundle = %hash, place, "what lies in the bucket is not this bundle, and is not used");
        self.known().wrong(hash);
    }

    /// This node has built the bundle, and is to put it there. Whether that is news.
    pub(super) fn built(&self, hash: BundleHash) -> bool {
        self.known().built(hash)
    }

    /// Whether the bundle lies there now, if that is enough for a node to let its copy go.
    pub(super) async fn is_copy(&self, hash: BundleHash, bytes: u64) -> bool {
        if !self.counts_as_copy || self.is_left_alone() || self.known().is_wrong(hash) {
            return false;
        }
        self.told("head", self.client.size(hash).await).is_ok_and(|size| size == Some(bytes))
    }

    /// Whether what lies there is as good as a copy on a node.
    pub(super) fn counts_as_copy(&self) -> bool {
        self.counts_as_copy
    }

    /// Whether it failed a moment ago, and is not asked again yet.
    pub(super) fn is_left_alone(&self) -> bool {
        let now = self.clock.now();
        self.outage().as_ref().is_some_and(|outage| outage.is_paused(now))
    }

    /// Whether it has been away for so long that what only it may have is indexed again.
    pub(super) fn is_given_up(&self) -> bool {
        let now = self.clock.now();
        let away = |outage: &Outage| Duration::from_millis(now.millis_since(outage.since));
        self.outage().as_ref().is_some_and(|outage| away(outage) >= self.given_up_after)
    }

    /// What is wrong with it, for an operator; nothing while it does what it is asked for.
    pub(super) fn warning(&self) -> Option<String> {
        let now = self.clock.now();
        let outage = self.outage();
        let Outage { since, error, .. } = outage.as_ref()?;
        let seconds = now.millis_since(*since) / 1_000;
        Some(format!("for {seconds} s bundles have been on nodes only: {error}"))
    }

    /// Takes note of how a request ended.
    fn told<T>(&self, operation: &'static str, answer: Result<T, BucketError>) -> Result<T, BucketError> {
        self.metrics.asked(operation, &answer);
        let mut outage = self.outage();
        match &answer {
            Err(error) if error.is_of_this_node() => {}
            Err(error) => {
                let is_same = |before: &Outage| mem::discriminant(&before.error) == mem::discriminant(error);
                if !outage.as_ref().is_some_and(is_same) {
                    tracing::error!("{error}; nodes go on without it and try again");
                }
                *outage = Some(Outage::after(outage.take(), error.clone(), self.clock.now()));
                self.metrics.is_up(false);
            }
            Ok(_) => {
                if outage.take().is_some() {
                    tracing::info!(place = self.client.place(), "the bucket does what it is asked for again");
                }
                self.metrics.is_up(true);
            }
        }
        answer
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outage(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
