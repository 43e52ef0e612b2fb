//! A look at this node's bundles, now and then: what is missing is fetched, what others keep may go, and what nobody
//! names is deleted after a grace time.
//!
//! Invariant: a copy goes only after those that are to keep the bundle have said that they have it and stay with it, and
//! while this node asks them it says itself that it does not. So of two nodes that would let the same bundle go, at
//! most one does: whoever asks second is told no by the first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use twinmcp_cluster::membership::{Keep, Liveness};
use twinmcp_cluster::{KEPT_MAX, KeptQuestion, NodeId};
use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::libraries::{self, VersionManifest};
use twinmcp_storage::members;

use super::Distribution;
use super::placement::{Keeper, Placement};
use super::plan::{Held, plan};

/// Libraries read from the store at a time.
const PAGE: usize = 1_000;
/// Copies that go at once.
const EVICT_AT_ONCE: usize = 256;
/// How long a keeper may take to say what it keeps.
const KEPT_PATIENCE: Duration = Duration::from_secs(10);

/// The bundles that agreed state names, with their bytes.
pub(super) struct Names {
    /// The log entry that this is read after; nothing is applied on a node that has just been set up.
    applied_index: u64,
    pub(super) bundles: HashMap<BundleHash, u64>,
}

impl Distribution {
    /// Fetches, evicts and deletes what is due. One look at a time: a second one ends at once.
    pub(super) async fn look(&self) -> Result<(), StorageError> {
        let Ok(mut garbage) = self.shared.garbage.try_lock() else { return Ok(()) };
        let Some(names) = self.names(None).await? else { return Ok(()) };
        let Some(held) = self.held().await else { return Ok(()) };
        let placement = self.placement();
        let config = &self.shared.config;
        let plan = plan(config.keep, config.disk_bytes_max, placement.as_ref(), &names.bundles, &held);
        self.shared.metrics.held(&names.bundles, &held);
        if self.has_peers() {
            for hash in plan.fetch {
                let bytes = names.bundles.get(&hash).copied().unwrap_or_default();
                // As many as there are missing wait for a place; each is a few hundred bytes.
                drop(self.fetch(hash, bytes));
            }
        }
        if let Some(placement) = &placement {
            self.evict(plan.evict, plan.evict_bytes, placement, names.applied_index).await;
        }
        let grace_ms = u64::try_from(config.garbage_grace.as_millis()).unwrap_or(u64::MAX);
        let due = garbage.due(&names.bundles, &held, self.context.clock.now(), grace_ms);
        self.delete(due).await;
        Ok(())
    }

    /// What agreed state names: read now, or not longer ago than the log entry given.
    async fn names(&self, at_least: Option<u64>) -> Result<Option<Arc<Names>>, StorageError> {
        let mut last = self.shared.names.lock().await;
        if let (Some(names), Some(at_least)) = (&*last, at_least)
            && names.applied_index >= at_least
        {
            return Ok(Some(Arc::clone(names)));
        }
        let context = Arc::clone(&self.context);
        let reading = tokio::task::spawn_blocking(move || {
            // Before the view, which has at least this.
            let applied_index = context.cluster.status().applied_index.unwrap_or_default();
            let view = context.cluster.view();
            let mut bundles = HashMap::new();
            each_version(&*view, |manifest| {
                if let Ok(hash) = manifest.bundle.parse() {
                    bundles.insert(hash, manifest.bundle_bytes);
                }
            })?;
            Ok::<_, StorageError>(Names { applied_index, bundles })
        });
        // Interrupted only when the node stops.
        let Ok(names) = reading.await else { return Ok(None) };
        let names = Arc::new(names?);
        *last = Some(Arc::clone(&names));
        Ok(Some(names))
    }

    /// What lies in the folder; where it matters, the one asked for longest ago first.
    async fn held(&self) -> Option<Vec<Held>> {
        let (bundles, keep) = (Arc::clone(&self.context.bundles), self.shared.config.keep);
        let listing = tokio::task::spawn_blocking(move || {
            let mut listed = bundles.list()?;
            if keep == Keep::OnDemand {
                listed.sort_by_cached_key(|bundle| bundles.last_asked(bundle.hash));
            }
            Ok(listed.into_iter().map(|bundle| Held { hash: bundle.hash, bytes: bundle.bytes }).collect())
        });
        match listing.await.ok()? {
            Ok(held) => Some(held),
            Err(error) => {
                let error: twinmcp_storage::bundle::BundleError = error;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the folder of bundles cannot be read"
                );
                None
            }
        }
    }

    /// Who keeps what, as far as this node knows the others: `None` until it has heard of every member, or waited for
    /// those that are silent as long as the configuration says.
    pub(super) fn placement(&self) -> Option<Placement> {
        let cluster = &self.context.cluster;
        let (status, directory, config) = (cluster.status(), cluster.directory(), &self.shared.config);
        let replace_ms = u64::try_from(config.replace_after.as_millis()).unwrap_or(u64::MAX);
        let now = self.context.clock.now();
        let is_past = |since| now.millis_since(since) >= replace_ms;
        let nodes = members::nodes(cluster.reader()).ok()?;
        let is_member = |id: u64| status.members.iter().any(|member| member.node_id.0 == id);
        let mut keepers = Vec::new();
        for node in nodes.into_iter().filter(|node| node.removed_at.is_none() && is_member(node.id)) {
            let id = NodeId(node.id);
            let keep = if id == status.node_id {
                config.keep
            } else {
                match directory.member(id) {
                    None if is_past(self.shared.started_at) => continue,
                    None => return None,
                    Some(told) if told.liveness != Liveness::Alive && is_past(told.liveness_since) => {
                        continue;
                    }
                    // The first builds say nothing, and keep all.
                    Some(told) => told.keep.unwrap_or_default(),
                }
            };
            keepers.push(Keeper { node: id, region: node.facts.region, zone: node.facts.zone, keep });
        }
        let is_known = keepers.iter().any(|keeper| keeper.node == status.node_id);
        (is_known && keepers.len() > 1).then(|| Placement::new(status.node_id, keepers))
    }

    /// Lets copies go that others keep: all, or until so many bytes are free.
    async fn evict(&self, evict: Vec<Held>, bytes: Option<u64>, placement: &Placement, applied_index: u64) {
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
    async fn let_go(&self, batch: &[Held], placement: &Placement, applied_index: u64) -> u64 {
        let leaving = Leaving::begin(self, batch);
        let mut questions: BTreeMap<NodeId, Vec<BundleHash>> = BTreeMap::new();
        let mut wanted: HashMap<BundleHash, usize> = HashMap::new();
        for held in batch {
            let Some(witnesses) = placement.witnesses(held.hash) else { continue };
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
        let (bundles, batch) = (Arc::clone(&self.context.bundles), batch.to_vec());
        let removing = tokio::task::spawn_blocking(move || {
            let confirmed = batch.into_iter().filter(|held| wanted.get(&held.hash) == Some(&0));
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
        let keep = self.shared.config.keep;
        let this = self.clone();
        let answering = tokio::task::spawn_blocking(move || {
            let is_kept = |hash: BundleHash| {
                let is_keeper = keep == Keep::Everywhere
                    || placement.as_ref().is_some_and(|placement| placement.is_kept_here(hash));
                // Last: one that begins to leave now has asked nobody yet.
                is_keeper
                    && names.bundles.contains_key(&hash)
                    && this.context.bundles.contains(hash)
                    && !this.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash)
            };
            question.bundles.into_iter().map(|hash| is_kept(hash.into())).collect()
        });
        answering.await.unwrap_or(none)
    }

    /// Deletes garbage, but for what was written lately or is being worked with.
    async fn delete(&self, due: Vec<BundleHash>) {
        if due.is_empty() {
            return;
        }
        let (bundles, grace) = (Arc::clone(&self.context.bundles), self.shared.config.garbage_grace);
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.context.clock.now().as_millis());
        let deleting = tokio::task::spawn_blocking(move || {
            // Built again after it was named last, and about to be published.
            let is_old = |hash: &BundleHash| {
                let age =
                    bundles.written_at(*hash).and_then(|written_at| now.duration_since(written_at).ok());
                age.is_some_and(|age| age >= grace)
            };
            let old = due.into_iter().filter(is_old);
            old.filter(|hash| match bundles.remove_unpinned(*hash) {
                Ok(removed) => removed,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a bundle was not removed");
                    false
                }
            })
            .count()
        });
        let deleted = deleting.await.unwrap_or_default();
        if deleted > 0 {
            tracing::info!(bundles = deleted, "bundles that nobody names were deleted");
            self.shared.metrics.removed("garbage", deleted as u64);
        }
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

/// Hands every published version to `each`.
pub(crate) fn each_version(
    view: &dyn Reader,
    mut each: impl FnMut(VersionManifest),
) -> Result<(), StorageError> {
    let mut after = None;
    loop {
        let page = libraries::list(view, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for library in &page {
            libraries::versions(view, &library.id)?.into_iter().for_each(&mut each);
        }
    }
}
