//! A look at this node's bundles, now and then: what is missing is fetched, what others keep may go, and what nobody
//! names is deleted after a grace time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use twinmcp_cluster::NodeId;
use twinmcp_cluster::membership::{Keep, Liveness};
use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::libraries::{self, VersionManifest};
use twinmcp_storage::members;

use super::Distribution;
use super::placement::{Keeper, Placement};
use super::plan::{Held, Others, plan};

/// Libraries read from the store at a time.
const PAGE: usize = 1_000;

/// The bundles that agreed state names, with their bytes.
pub(super) struct Names {
    /// The log entry that this is read after; nothing is applied on a node that has just been set up.
    pub(super) applied_index: u64,
    pub(super) bundles: HashMap<BundleHash, u64>,
}

impl Distribution {
    /// Fetches, evicts and deletes what is due. One look at a time: a second one ends at once.
    pub(super) async fn look_now(&self) {
        if let Err(error) = self.look().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "bundles were not looked at");
        }
    }

    async fn look(&self) -> Result<(), StorageError> {
        let Ok(mut garbage) = self.shared.garbage.try_lock() else { return Ok(()) };
        let Some(names) = self.names(None).await? else { return Ok(()) };
        let Some(held) = self.held().await else { return Ok(()) };
        let placement = self.placement();
        let config = &self.shared.config;
        let bucket_counts = self.shared.bucket.as_ref().is_some_and(|bucket| bucket.counts_as_copy());
        let others = Others { placement: placement.as_ref(), bucket_counts };
        let plan = plan(config.keep, config.disk_bytes_max, others, &names.bundles, &held);
        self.shared.metrics.held(&names.bundles, &held);
        if self.has_sources() {
            for hash in plan.fetch {
                let bytes = names.bundles.get(&hash).copied().unwrap_or_default();
                // As many as there are missing wait for a place; each is a few hundred bytes.
                drop(self.fetch(hash, bytes));
            }
        }
        self.evict(plan.evict, plan.evict_bytes, placement.as_ref(), names.applied_index).await;
        let grace_ms = u64::try_from(config.garbage_grace.as_millis()).unwrap_or(u64::MAX);
        let due = garbage.due(&names.bundles, &held, self.context.clock.now(), grace_ms);
        self.delete(due).await;
        self.tend_bucket(names, held);
        Ok(())
    }

    /// What agreed state names: read now, or not longer ago than the log entry given.
    pub(super) async fn names(&self, at_least: Option<u64>) -> Result<Option<Arc<Names>>, StorageError> {
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
