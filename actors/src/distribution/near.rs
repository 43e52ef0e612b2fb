//! Whom to ask for a bundle first. Pure.

use std::time::Duration;

use twinmcp_cluster::{NodeId, round_trip_steps};
use twinmcp_storage::bundle::BundleHash;

/// Another member, as somebody who may have a bundle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) node: NodeId,
    /// It is silent, or says that it does not have it.
    pub(super) is_unlikely: bool,
    /// It is in another region.
    pub(super) is_elsewhere: bool,
    /// How far it is, where that is known.
    pub(super) round_trip: Option<Duration>,
    /// It is to keep this bundle.
    pub(super) is_keeper: bool,
}

/// Those that may have it, those of this region, the nearer ones and those that are to keep it come first. Of those that are alike
/// each bundle begins at another one, so that they share the work.
pub(super) fn near_first(mut holders: Vec<Holder>, hash: BundleHash) -> Vec<NodeId> {
    if !holders.is_empty() {
        let first = usize::from(hash.as_bytes()[0]) % holders.len();
        holders.rotate_left(first);
    }
    holders.sort_by_key(|holder| {
        (holder.is_unlikely, holder.is_elsewhere, round_trip_steps(holder.round_trip), !holder.is_keeper)
    });
    holders.into_iter().map(|holder| holder.node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(node: u64) -> Holder {
        let round_trip = Some(Duration::from_millis(1));
        Holder { node: NodeId(node), is_unlikely: false, is_elsewhere: false, round_trip, is_keeper: false }
    }

    fn away(node: u64, ms: u64) -> Holder {
        Holder { is_elsewhere: true, round_trip: Some(Duration::from_millis(ms)), ..here(node) }
    }

    fn order(holders: &[Holder], first_byte: u8) -> Vec<u64> {
        let mut hash = [0; 32];
        hash[0] = first_byte;
        near_first(holders.to_vec(), BundleHash::from(hash)).into_iter().map(|node| node.0).collect()
    }

    #[test]
    fn the_nearest_that_may_have_it_is_asked_first() {
        let unknown = Holder { round_trip: None, ..away(5, 0) };
        let far = [away(2, 160), away(3, 80), unknown, here(4)];
        assert_eq!(
            order(&far, 0),
            [4, 3, 2, 5],
            "this region, then by the round trip, then who was not reached"
        );
        let without = Holder { is_unlikely: true, ..here(4) };
        assert_eq!(
            order(&[without, away(3, 80), away(2, 160)], 0),
            [3, 2, 4],
            "a near one without it is no help"
        );
        let keeper = Holder { is_keeper: true, ..away(2, 88) };
        assert_eq!(order(&[away(3, 81), keeper], 0), [2, 3], "as near, and it is to keep it");
        let keeper = Holder { is_keeper: true, ..away(2, 160) };
        assert_eq!(
            order(&[keeper, away(3, 81)], 0),
            [3, 2],
            "a keeper on the other side of the world is not waited for"
        );
    }

    #[test]
    fn those_that_are_alike_share_the_work() {
        let alike = [here(2), here(3), here(4)];
        assert_eq!(order(&alike, 0), [2, 3, 4]);
        assert_eq!(order(&alike, 1), [3, 4, 2]);
        assert_eq!(order(&alike, 2), [4, 2, 3]);
        assert_eq!(order(&[], 7), [0; 0]);
    }
}
