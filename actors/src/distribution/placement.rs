//! Which nodes keep a bundle. Pure: every node that knows the same of the others comes to the same answer.
//!
//! Nodes that keep everything keep it. In a region, those that keep a share are ranked for each bundle by a hash of both
//! (rendezvous hashing: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998): the first ones
//! keep it, from as many zones as there are. When a node comes or goes, only bundles move that it gets, or had.
//!
//! Invariant: the rank of a node for a bundle never changes between builds, or a rollout would move every bundle.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use twinmcp_cluster::NodeId;
use twinmcp_cluster::membership::Keep;
use twinmcp_storage::bundle::BundleHash;

/// Keepers elsewhere that make up for a region without any.
const FAR_KEEPERS: usize = 2;

/// A node that takes part, as placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keeper {
    pub(super) node: NodeId,
    pub(super) region: String,
    /// What fails together inside the region; empty when the node does not say.
    pub(super) zone: String,
    pub(super) keep: Keep,
}

/// Who keeps what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    here: NodeId,
    region: String,
    keepers: Vec<Keeper>,
}

/// Whom to ask before a copy goes, and how many of them must have the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Witnesses {
    pub(super) nodes: Vec<NodeId>,
    pub(super) enough: usize,
}

impl Placement {
    /// As seen from the node `here`, which is one of `keepers`.
    pub(super) fn new(here: NodeId, keepers: Vec<Keeper>) -> Self {
        let own = keepers.iter().find(|keeper| keeper.node == here);
        let region = own.map(|own| own.region.clone()).unwrap_or_default();
        Self { here, region, keepers }
    }

    /// Whether `node` is to keep the bundle.
    pub(super) fn is_keeper(&self, node: NodeId, bundle: BundleHash) -> bool {
        let Some(keeper) = self.keepers.iter().find(|keeper| keeper.node == node) else { return false };
        match keeper.keep {
            Keep::Everywhere => true,
            Keep::Region { .. } => self.share(&keeper.region, bundle).any(|sharer| sharer == node),
            Keep::OnDemand => false,
        }
    }

    /// Whether this node is to keep the bundle.
    pub(super) fn is_kept_here(&self, bundle: BundleHash) -> bool {
        self.is_keeper(self.here, bundle)
    }

    /// Who has to have the bundle before this node, which is not to keep it, lets its copy go: all keepers of this
    /// region, or when it has none, two elsewhere. `None` when nobody is to keep it.
    pub(super) fn witnesses(&self, bundle: BundleHash) -> Option<Witnesses> {
        let near = self.keepers_in(|region| region == self.region, bundle);
        if !near.is_empty() {
            return Some(Witnesses { enough: near.len(), nodes: near });
        }
        let far = self.keepers_in(|_| true, bundle);
        (!far.is_empty()).then(|| Witnesses { enough: far.len().min(FAR_KEEPERS), nodes: far })
    }

    /// Keepers besides this node, in regions that are `wanted`, by id.
    fn keepers_in(&self, wanted: impl Fn(&str) -> bool, bundle: BundleHash) -> Vec<NodeId> {
        let near = || self.keepers.iter().filter(|keeper| wanted(&keeper.region));
        let everywhere = near().filter(|keeper| keeper.keep == Keep::Everywhere).map(|keeper| keeper.node);
        let regions: BTreeSet<&str> = near().map(|keeper| keeper.region.as_str()).collect();
        let shared = regions.into_iter().flat_map(|region| self.share(region, bundle));
        let mut nodes: Vec<_> = everywhere.chain(shared).filter(|node| *node != self.here).collect();
        nodes.sort_unstable();
        nodes
    }

    /// The nodes of a region that share what it keeps and have this bundle among theirs.
    fn share(&self, region: &str, bundle: BundleHash) -> impl Iterator<Item = NodeId> {
        let sharers = self.keepers.iter().filter(|keeper| keeper.region == region);
        let mut ranked: Vec<(&Keeper, u8)> = sharers
            .filter_map(|keeper| match keeper.keep {
                Keep::Region { copies } => Some((keeper, copies)),
                Keep::Everywhere | Keep::OnDemand => None,
            })
            .collect();
        // While the configuration of a region is changed node by node, the greater number is the safe one.
        let copies = ranked.iter().map(|(_, copies)| usize::from(*copies)).max().unwrap_or_default();
        ranked.sort_by_key(|(keeper, _)| (Reverse(rank(keeper.node, bundle)), keeper.node));
        // The best of each zone before the second best of any; a node without a zone fails alone.
        let mut zones: Vec<&str> = Vec::new();
        let (mut first, mut others) = (Vec::new(), Vec::new());
        for (keeper, _) in ranked {
            if !keeper.zone.is_empty() && zones.contains(&keeper.zone.as_str()) {
                others.push(keeper.node);
            } else {
                zones.push(&keeper.zone);
                first.push(keeper.node);
            }
        }
        first.into_iter().chain(others).take(copies)
    }
}

/// How much a node is the right one for a bundle, compared with others.
pub(super) fn rank(node: NodeId, bundle: BundleHash) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&node.0.to_le_bytes()).update(bundle.as_bytes());
    let mut rank = [0; 8];
    hasher.finalize_xof().fill(&mut rank);
    u64::from_le_bytes(rank)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bundle(number: u32) -> BundleHash {
        BundleHash::of(&number.to_le_bytes())
    }

    fn keeper(node: u64, region: &str, keep: Keep) -> Keeper {
        Keeper { node: NodeId(node), region: region.to_owned(), zone: String::new(), keep }
    }

    fn sharing(nodes: std::ops::RangeInclusive<u64>, copies: u8) -> Placement {
        let keepers = nodes.map(|node| keeper(node, "eu", Keep::Region { copies }));
        Placement::new(NodeId(1), keepers.collect())
    }

    fn owners(placement: &Placement, bundle: BundleHash) -> Vec<NodeId> {
        let nodes = placement.keepers.iter().map(|keeper| keeper.node);
        nodes.filter(|node| placement.is_keeper(*node, bundle)).collect()
    }

    #[test]
    fn every_bundle_lies_on_so_many_nodes_and_each_has_its_share() {
        const BUNDLES: u32 = 4_000;
        let placement = sharing(1..=5, 2);
        let mut counts = [0_u32; 6];
        for owners in (0..BUNDLES).map(|number| owners(&placement, bundle(number))) {
            assert_eq!(owners.len(), 2);
            owners.iter().for_each(|node| counts[node.0 as usize] += 1);
        }
        let share = f64::from(BUNDLES * 2 / 5);
        for (node, count) in counts.into_iter().enumerate().skip(1) {
            let off = (f64::from(count) - share).abs() / share;
            // Five standard deviations of a fair draw.
            assert!(off < 0.1, "node {node} has {count} of {share}");
        }
    }

    #[test]
    fn only_what_a_node_gets_or_had_moves() {
        let (before, after) = (sharing(1..=5, 2), sharing(1..=6, 2));
        let mut moved = 0;
        for number in 0..2_000 {
            let (before, after) = (owners(&before, bundle(number)), owners(&after, bundle(number)));
            let came: Vec<_> = after.iter().filter(|node| !before.contains(node)).collect();
            assert!(came.is_empty() || came == [&NodeId(6)], "{before:?} {after:?}");
            moved += came.len();
        }
        // A third of the copies of a sixth node's share: 2 of 6 nodes have each bundle.
        assert!((580..=750).contains(&moved), "{moved}");
    }

    #[test]
    fn ranks_stay_as_they_are_in_every_build() {
        // The first eight bytes, little-endian, of BLAKE3 over the node's id in eight bytes and the bundle's hash.
        assert_eq!(rank(NodeId(1), bundle(0)), 7_323_536_492_060_520_623);
    }

    #[test]
    fn copies_lie_in_different_zones_while_there_are_enough() {
        let mut placement = sharing(1..=4, 2);
        for (keeper, zone) in placement.keepers.iter_mut().zip(["a", "a", "b", "b"]) {
            keeper.zone = zone.to_owned();
        }
        for number in 0..200 {
            let owners = owners(&placement, bundle(number));
            assert_eq!(owners.iter().filter(|node| node.0 <= 2).count(), 1, "{owners:?}");
        }
        placement.keepers.truncate(2);
        assert_eq!(owners(&placement, bundle(0)).len(), 2, "one zone is no reason for one copy");
    }

    #[test]
    fn regions_keep_by_themselves_and_policies_stand_side_by_side() {
        let region = Keep::Region { copies: 1 };
        let keepers = vec![
            keeper(1, "eu", Keep::OnDemand),
            keeper(2, "eu", region),
            keeper(3, "eu", Keep::Region { copies: 2 }),
            keeper(4, "us", Keep::Everywhere),
            keeper(5, "us", Keep::OnDemand),
            keeper(6, "ap", Keep::OnDemand),
        ];
        let placement = |here| Placement::new(NodeId(here), keepers.clone());
        let one = bundle(1);
        assert_eq!(owners(&placement(1), one), [2, 3, 4].map(NodeId), "the greater number counts");
        let witnesses = |here| placement(here).witnesses(one).map(|found| (found.nodes, found.enough));
        assert_eq!(witnesses(1), Some(([2, 3].map(NodeId).to_vec(), 2)), "all of the own region");
        assert_eq!(witnesses(5), Some((vec![NodeId(4)], 1)));
        assert_eq!(witnesses(6), Some(([2, 3, 4].map(NodeId).to_vec(), 2)), "none here: two elsewhere");
        let nobody =
            Placement::new(NodeId(1), vec![keeper(1, "eu", region), keeper(2, "eu", Keep::OnDemand)]);
        assert!(nobody.is_kept_here(one) && nobody.witnesses(one).is_none(), "the last copy stays");
        assert!(!placement(7).is_kept_here(one), "a node that is not known keeps nothing");
    }

    proptest! {
        #[test]
        fn all_nodes_compute_the_same(number: u32, copies in 1_u8..5, nodes in 1_u64..9) {
            let placement = sharing(1..=nodes, copies);
            let expected = owners(&placement, bundle(number));
            prop_assert_eq!(expected.len(), usize::from(copies).min(nodes as usize));
            for here in 1..=nodes {
                let mut keepers = placement.keepers.clone();
                keepers.rotate_left(here as usize - 1);
                let there = Placement::new(NodeId(here), keepers);
                let is_same = |keeper: &Keeper| {
                    there.is_keeper(keeper.node, bundle(number)) == expected.contains(&keeper.node)
                };
                prop_assert!(placement.keepers.iter().all(is_same));
            }
        }
    }
}
