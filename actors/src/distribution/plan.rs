//! What a look at this node's bundles leads to: what is fetched, what may go, and what is garbage. Pure.

use std::collections::{HashMap, HashSet};

use twinmcp_cluster::membership::Keep;
use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::clock::Timestamp;

use super::placement::Placement;

/// A bundle in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) hash: BundleHash,
    pub(super) bytes: u64,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Named, to be kept here, and not here.
    pub(super) fetch: Vec<BundleHash>,
    /// Copies that may go, once others are known to have them; the first ones first.
    pub(super) evict: Vec<Held>,
    /// Bytes that are to be free after that; all of `evict` when absent.
    pub(super) evict_bytes: Option<u64>,
}

/// Who else keeps bundles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others<'a> {
    /// Who keeps what among nodes; `None` while that is not known.
    pub(super) placement: Option<&'a Placement>,
    /// Whether what lies in the bucket is as good as a copy.
    pub(super) bucket_counts: bool,
}

/// What this node does with the bundles that agreed state names. `held` are those that lie here, the one asked for
/// longest ago first. Without a placement nothing that depends on other nodes is done.
pub(super) fn plan(
    keep: Keep,
    disk_bytes_max: u64,
    others: Others<'_>,
    named: &HashMap<BundleHash, u64>,
    held: &[Held],
) -> Plan {
    let here: HashSet<BundleHash> = held.iter().map(|held| held.hash).collect();
    let missing = || named.keys().copied().filter(|hash| !here.contains(hash));
    let surplus = || held.iter().copied().filter(|held| named.contains_key(&held.hash));
    match (keep, others.placement) {
        (Keep::Everywhere, _) => Plan { fetch: missing().collect(), ..Plan::default() },
        (Keep::Region { .. }, None) => Plan::default(),
        (Keep::Region { .. }, Some(placement)) => Plan {
            fetch: missing().filter(|hash| placement.is_kept_here(*hash)).collect(),
            evict: surplus().filter(|held| !placement.is_kept_here(held.hash)).collect(),
            evict_bytes: None,
        },
        (Keep::OnDemand, _) => {
            // What nobody names is about to go anyway.
            let bytes: u64 = surplus().map(|held| held.bytes).sum();
            let may_go = others.placement.is_some() || others.bucket_counts;
            match bytes.checked_sub(disk_bytes_max).filter(|over| *over > 0 && may_go) {
                None => Plan::default(),
                over => Plan { evict: surplus().collect(), evict_bytes: over, fetch: Vec::new() },
            }
        }
    }
}

/// Bundles that nobody names, and since when this node knows it.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    since: HashMap<BundleHash, Timestamp>,
}

impl Garbage {
    /// Takes note of what lies here unnamed, and answers what has for longer than the grace time.
    pub(super) fn due(
        &mut self,
        named: &HashMap<BundleHash, u64>,
        held: &[Held],
        now: Timestamp,
        grace_ms: u64,
    ) -> Vec<BundleHash> {
        let unnamed = held.iter().map(|held| held.hash).filter(|hash| !named.contains_key(hash));
        self.since = unnamed.map(|hash| (hash, self.since.get(&hash).copied().unwrap_or(now))).collect();
        let due = self.since.iter().filter(|(_, since)| now.millis_since(**since) >= grace_ms);
        due.map(|(hash, _)| *hash).collect()
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_cluster::NodeId;

    use super::super::placement::Keeper;
    use super::*;

    fn hash(number: u64) -> BundleHash {
        BundleHash::of(&number.to_le_bytes())
    }

    fn held(numbers: &[u64]) -> Vec<Held> {
        numbers.iter().map(|number| Held { hash: hash(*number), bytes: 10 }).collect()
    }

    fn named(numbers: std::ops::Range<u64>) -> HashMap<BundleHash, u64> {
        numbers.map(|number| (hash(number), 10)).collect()
    }

    fn only(placement: Option<&Placement>) -> Others<'_> {
        Others { placement, bucket_counts: false }
    }

    fn placement(keep: Keep) -> Placement {
        let keepers = (1..=3).map(|node| Keeper {
            node: NodeId(node),
            region: "eu".to_owned(),
            zone: String::new(),
            keep,
        });
        Placement::new(NodeId(1), keepers.collect())
    }

    #[test]
    fn a_node_that_keeps_all_fetches_all_and_lets_nothing_go() {
        let made = plan(Keep::Everywhere, 0, only(None), &named(0..3), &held(&[1, 7]));
        let mut fetch = made.fetch.clone();
        fetch.sort_unstable();
        let mut missing = vec![hash(0), hash(2)];
        missing.sort_unstable();
        assert_eq!((fetch, made.evict), (missing, vec![]));
    }

    #[test]
    fn a_node_that_keeps_a_share_fetches_it_and_offers_the_rest_for_eviction() {
        let keep = Keep::Region { copies: 1 };
        let placement = placement(keep);
        let made =
            plan(keep, 0, only(Some(&placement)), &named(0..100), &held(&[0, 1, 2, 3, 4, 5, 6, 7, 200]));
        assert!(!made.fetch.is_empty() && made.fetch.iter().all(|hash| placement.is_kept_here(*hash)));
        assert!(!made.evict.is_empty() && made.evict.iter().all(|held| !placement.is_kept_here(held.hash)));
        assert!(made.evict.iter().all(|held| held.hash != hash(200)), "garbage is not evicted but deleted");
        assert_eq!(made.evict_bytes, None);
        let unsettled = plan(keep, 0, only(None), &named(0..100), &held(&[0, 1]));
        assert_eq!(unsettled, Plan::default(), "nothing goes or comes while the others are not known");
    }

    #[test]
    fn a_node_that_keeps_what_is_asked_for_lets_the_oldest_go_above_its_limit() {
        let placement = placement(Keep::OnDemand);
        let here = held(&[5, 1, 3]);
        let made = |disk_bytes_max, others| plan(Keep::OnDemand, disk_bytes_max, others, &named(0..9), &here);
        assert_eq!(made(30, only(Some(&placement))), Plan::default());
        let over = made(15, only(Some(&placement)));
        assert_eq!((over.evict.clone(), over.evict_bytes), (here.clone(), Some(15)), "in the order of use");
        assert!(over.fetch.is_empty());
        assert_eq!(made(15, only(None)), Plan::default(), "nobody else is known to have them");
        assert_eq!(made(15, Others { placement: None, bucket_counts: true }), over);
    }

    #[test]
    fn garbage_is_what_nobody_has_named_for_the_whole_grace_time() {
        let mut garbage = Garbage::default();
        let at = Timestamp::from_millis;
        let here = held(&[1, 2]);
        assert!(garbage.due(&named(0..2), &here, at(0), 100).is_empty());
        assert!(garbage.due(&named(0..2), &here, at(99), 100).is_empty());
        // Named for a moment: the time begins anew.
        assert!(garbage.due(&named(0..3), &here, at(100), 100).is_empty());
        assert!(garbage.due(&named(0..2), &here, at(150), 100).is_empty());
        assert_eq!(garbage.due(&named(0..2), &here, at(250), 100), [hash(2)]);
        assert!(garbage.due(&named(0..2), &held(&[1]), at(300), 100).is_empty(), "it went");
    }
}
