//! A round at the bucket, beside each look at this node's bundles: what is missing there is put there, and the node that
//! leads removes what nobody names.
//!
//! One round at a time, and apart from looks: a large bundle takes its time, and a store that does not answer takes
//! that of its deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::clock::Timestamp;

use super::super::Distribution;
use super::super::look::Names;
use super::super::placement::rank;
use super::super::plan::Held;
use super::Bucket;
use super::client::Listed;
use super::error::BucketError;

/// Looks between two lists of the node that leads, and for which what is missing is left to who has built it.
const LOOKS_OF_LEADER: u32 = 6;
/// Looks between two lists of other nodes, which only tell what went without their doing.
const LOOKS_OF_OTHERS: u32 = 360;
/// How long the node that leads waits to know everything that was agreed on.
const LINEARIZE_DEADLINE: Duration = Duration::from_secs(5);

impl Distribution {
    /// Makes a round, unless one is under way or the store is left alone. Nobody has to wait for it.
    pub(in super::super) fn tend_bucket(&self, names: Arc<Names>, held: Vec<Held>) {
        let Some(bucket) = self.shared.bucket.clone() else { return };
        let this = self.clone();
        tokio::spawn(async move {
            let Ok(mut garbage) = bucket.round.try_lock() else { return };
            let now = bucket.clock.now();
            let missing = bucket.known().look(&names.bundles, &held, now);
            bucket.metrics.missing(missing);
            if bucket.is_left_alone() {
                return;
            }
            let round = Round { distribution: &this, bucket: &bucket, names: &names };
            // What fails is told by the bucket, and tried again in a later round.
            let Ok(unnamed) = round.list().await else { return };
            if round.put(&held).await.is_err() {
                return;
            }
            let Some(unnamed) = unnamed else { return };
            let there: Vec<_> =
                unnamed.iter().map(|found| Held { hash: found.hash, bytes: found.bytes }).collect();
            let due = garbage.due(&names.bundles, &there, now, round.grace_ms());
            let due = unnamed.into_iter().filter(|found| due.contains(&found.hash)).collect();
            let _ = round.clean(due, now).await;
        });
    }
}

struct Round<'a> {
    distribution: &'a Distribution,
    bucket: &'a Bucket,
    names: &'a Names,
}

impl Round<'_> {
    fn is_leader(&self) -> bool {
        let status = self.distribution.context.cluster.status();
        status.leader == Some(status.node_id)
    }

    fn look_every(&self) -> Duration {
        self.distribution.shared.config.look_every
    }

    fn grace_ms(&self) -> u64 {
        u64::try_from(self.distribution.shared.config.garbage_grace.as_millis()).unwrap_or(u64::MAX)
    }

    /// Lists what is there when it is time to. On the node that leads: what of it nobody names.
    async fn list(&self) -> Result<Option<Vec<Listed>>, BucketError> {
        let (bucket, now) = (self.bucket, self.bucket.clock.now());
        let is_leader = self.is_leader();
        let looks = if is_leader { LOOKS_OF_LEADER } else { LOOKS_OF_OTHERS };
        if !bucket.known().is_list_due(now, self.look_every() * looks) {
            return Ok(None);
        }
        let (mut stored, mut unnamed) = (HashMap::new(), Vec::new());
        let listed = bucket.client.list(|found| match self.names.bundles.contains_key(&found.hash) {
            true => drop(stored.insert(found.hash, found.bytes)),
            false if is_leader => unnamed.push(found),
            false => {}
        });
        bucket.told("list", listed.await)?;
        bucket.known().listed(stored, now);
        Ok(is_leader.then_some(unnamed))
    }

    /// Puts what this node has and the bucket lacks there.
    async fn put(&self, held: &[Held]) -> Result<(), BucketError> {
        let bucket = self.bucket;
        let now = bucket.clock.now();
        // Once more, after a list.
        let missing = bucket.known().look(&self.names.bundles, held, now);
        bucket.metrics.missing(missing);
        let due = bucket.known().due(now, |hash| self.patience(hash));
        for (done, hash) in due.iter().enumerate() {
            match self.put_one(*hash).await {
                Ok(bytes) => bucket.known().stored(*hash, bytes),
                Err(error) if error.is_of_this_node() => {
                    tracing::warn!("{error}");
                    bucket.known().unreadable(*hash);
                }
                Err(error) => return Err(error),
            }
            bucket.metrics.missing(missing - done - 1);
        }
        Ok(())
    }

    async fn put_one(&self, hash: BundleHash) -> Result<u64, BucketError> {
        let (bucket, bundles) = (self.bucket, &self.distribution.context.bundles);
        let expected = self.names.bundles.get(&hash).copied();
        if !bucket.known().is_wrong(hash) {
            let size = bucket.told("head", bucket.client.size(hash).await)?;
            if let Some(size) = size.filter(|size| Some(*size) == expected) {
                return Ok(size);
            }
        }
        // Until the last byte is sent.
        let _pinned = bundles.pin(hash);
        let pace = &self.distribution.shared.send_pace;
        let bytes = bucket.told("put", bucket.client.put(hash, &bundles.path(hash), pace).await)?;
        bucket.metrics.moved("sent", bytes);
        tracing::info!(bundle = %hash, bytes, "a bundle was put into the bucket");
        Ok(bytes)
    }

    /// How long a bundle of others may be missing before this node puts it there: one node after the other.
    fn patience(&self, hash: BundleHash) -> Duration {
        let status = self.distribution.context.cluster.status();
        let own = rank(status.node_id, hash);
        let before = status.members.iter().filter(|member| rank(member.node_id, hash) > own).count();
        self.look_every() * LOOKS_OF_LEADER * u32::try_from(before + 1).unwrap_or(u32::MAX)
    }

    /// Removes what is due, unless it was named meanwhile or was put there lately.
    async fn clean(&self, due: Vec<Listed>, now: Timestamp) -> Result<(), BucketError> {
        if due.is_empty() || !self.is_leader() {
            return Ok(());
        }
        // A node that leads no more, and does not know it, would not know either what was named since.
        if self.distribution.context.cluster.linearize(LINEARIZE_DEADLINE).await.is_err() {
            return Ok(());
        }
        let Ok(Some(names)) = self.distribution.names(None).await else { return Ok(()) };
        let is_garbage = |found: &Listed| {
            !names.bundles.contains_key(&found.hash) && now.millis_since(found.put_at) >= self.grace_ms()
        };
        for found in due.into_iter().filter(is_garbage) {
            self.bucket.told("delete", self.bucket.client.remove(found.hash).await)?;
            self.bucket.metrics.removed();
            tracing::info!(bundle = %found.hash, "a bundle that nobody names was removed from the bucket");
        }
        Ok(())
    }
}
