//! Copies that this node lets go, and what it tells others of those that it keeps.
//!
//! Invariant: a copy goes only after those that are to keep the bundle have said that they have it and stay with it, or,
//! where the operator wants that, after the bucket was seen to have it; and
//! while this node asks them it says itself that it does not. So of two nodes that would let the same bundle go, at
//! most one does: whoever asks second is told no by the first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use twinmcp_cluster::{KEPT_MAX, KeptQuestion, NodeId};
use twinmcp_storage::bundle::BundleHash;

use super::Distribution;
use super::placement::Placement;
use super::plan::Held;

/// Copies that go at once.
const EVICT_AT_ONCE: usize = 256;
/// How long a keeper may take to say what it keeps.
const KEPT_PATIENCE: Duration = Duration::from_secs(10);

impl Distribution {
    /// Lets copies go that others keep: all, or until so many bytes are free.
    pub(super) async fn evict(
        &self,
        evict: Vec<Held>,
        bytes: Option<u64>,
        placement: Option<&Placement>,
        applied_index: u64,
    ) {
        let mut left = bytes.unwrap_or(u64::MAX);
        let mut candidates = evict.into_iter();
        while left > 0 {
            let (mut batch, mut sum) = (Vec::new(), 0_u64);
            while sum < left
                && batch.len() < EVICT_AT_ONCE
                && let Some(held) = candidates.next()
            {
                sum = sum.saturating_add(held.bytes);
                batch.push(held);
            }
            if batch.is_empty() {
                break;
            }
            left = left.saturating_sub(self.let_go(&batch, placement, applied_index).await);
        }
        if bytes.is_some() && left > 0 {
            tracing::warn!(
                bytes = left,
                "bundles take more than `bundles.disk_bytes_max`: no other node is known to keep them"
            );
        }
    }

    /// Removes those of a batch that enough others keep. The bytes that are free then.
    async fn let_go(&self, batch: &[Held], placement: Option<&Placement>, applied_index: u64) -> u64 {
        let leaving = Leaving::begin(self, batch);
        let mut questions: BTreeMap<NodeId, Vec<BundleHash>> = BTreeMap::new();
        let mut wanted: HashMap<BundleHash, usize> = HashMap::new();
        for held in batch {
            let witnesses = placement.and_then(|placement| placement.witnesses(held.hash));
            let Some(witnesses) = witnesses else { continue };
            wanted.insert(held.hash, witnesses.enough);
            for node in witnesses.nodes {
                questions.entry(node).or_default().push(held.hash);
            }
        }
        let answers = questions.iter().map(|(node, hashes)| self.kept_by(*node, hashes, applied_index));
        for hash in join_all(answers).await.into_iter().flatten() {
            if let Some(wanted) = wanted.get_mut(&hash) {
                *wanted = wanted.saturating_sub(1);
            }
        }
        let mut confirmed = Vec::new();
        for held in batch {
            let is_confirmed = wanted.get(&held.hash) == Some(&0)
                || match &self.shared.bucket {
                    Some(bucket) => bucket.is_copy(held.hash, held.bytes).await,
                    None => false,
                };
            confirmed.extend(is_confirmed.then_some(*held));
        }
        let bundles = Arc::clone(&self.context.bundles);
        let removing = tokio::task::spawn_blocking(move || {
            let mut freed = (0_u64, 0_u64);
            for held in confirmed {
                match bundles.remove_unpinned(held.hash) {
                    Ok(true) => freed = (freed.0 + 1, freed.1 + held.bytes),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "a bundle was not removed");
                    }
                }
            }
            drop(leaving);
            freed
        });
        let (removed, freed) = removing.await.unwrap_or_default();
        if removed > 0 {
            tracing::info!(
                bundles = removed,
                bytes = freed,
                "copies of bundles that others keep were removed"
            );
            self.shared.metrics.removed("evicted", removed);
        }
        freed
    }

    /// Which of these a node says it keeps; none when it does not say.
    async fn kept_by(&self, node: NodeId, hashes: &[BundleHash], applied_index: u64) -> Vec<BundleHash> {
        let mut kept = Vec::new();
        for part in hashes.chunks(KEPT_MAX) {
            let bundles = part.iter().map(|hash| *hash.as_bytes()).collect();
            let question = KeptQuestion { applied_index, bundles };
            match tokio::time::timeout(KEPT_PATIENCE, self.context.cluster.kept_by(node, &question)).await {
                Ok(Ok(answers)) => {
                    kept.extend(part.iter().zip(answers).filter(|(_, is)| *is).map(|(hash, _)| *hash))
                }
                Ok(Err(reason)) => tracing::debug!(%node, reason, "a node did not say what it keeps"),
                Err(_) => tracing::debug!(%node, "a node did not say in time what it keeps"),
            }
        }
        kept
    }

    /// Answers a peer which of these bundles are here and stay here.
    pub async fn kept(&self, question: KeptQuestion) -> Vec<bool> {
        let none = vec![false; question.bundles.len()];
        let Ok(Some(names)) = self.names(Some(question.applied_index)).await else { return none };
        // Behind the asker, this node may be about to hear that nobody names them.
        if names.applied_index < question.applied_index {
            return none;
        }
        let placement = self.placement();
        let this = self.clone();
        let answering = tokio::task::spawn_blocking(move || {
            let is_kept = |hash: BundleHash| {
                this.is_kept_here(placement.as_ref(), hash)
                    && names.bundles.contains_key(&hash)
                    && this.context.bundles.contains(hash)
                    // Last: one that begins to leave now has asked nobody yet.
                    && !this.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash)
            };
            question.bundles.into_iter().map(|hash| is_kept(hash.into())).collect()
        });
        answering.await.unwrap_or(none)
    }
}

/// Bundles that this node is about to let go, for as long as it asks others and removes them.
struct Leaving {
    distribution: Distribution,
    hashes: HashSet<BundleHash>,
}

impl Leaving {
    fn begin(distribution: &Distribution, batch: &[Held]) -> Self {
        let hashes: HashSet<_> = batch.iter().map(|held| held.hash).collect();
        let mut leaving = distribution.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.extend(&hashes);
        drop(leaving);
        Self { distribution: distribution.clone(), hashes }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut leaving = self.distribution.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain(|hash| !self.hashes.contains(hash));
    }
}

#[cfg(test)]
impl Distribution {
    /// As while this node asks others whether it may let a bundle go.
    pub(crate) fn leaving(&self, hash: BundleHash) -> impl Drop + use<> {
        Leaving::begin(self, &[Held { hash, bytes: 0 }])
    }
}
