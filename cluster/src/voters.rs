//! Who may vote: a few nodes, each of which fails alone.

use twinmcp_storage::members::NodeFacts;

/// Voters of a cluster, at most: more would make every change slower and none safer.
pub const VOTERS_MAX: usize = 5;

/// Whether a voter may share a failure domain with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoterChoice {
    /// Only when nobody else could vote.
    Safe,
    /// The operator knows better.
    Forced,
}

/// Why `candidate` should not vote beside `voters`, while `others` could instead; nothing when it may.
///
/// Two voters in one failure domain (a region and a zone) are lost together. Unless forced they are allowed only when no other
/// node lives in a domain without a voter.
pub(crate) fn objection(
    voters: &[NodeFacts],
    candidate: &NodeFacts,
    others: &[NodeFacts],
    choice: VoterChoice,
) -> Option<String> {
    if voters.len() >= VOTERS_MAX {
        return Some(format!("{} nodes vote, the most there may be: demote one first", voters.len()));
    }
    if choice == VoterChoice::Forced {
        return None;
    }
    let twin = voters.iter().find(|voter| is_together(voter, candidate))?;
    let better = others.iter().find(|other| !voters.iter().any(|voter| is_together(voter, other)))?;
    let place = match candidate.zone.as_str() {
        "" => format!("region {}", candidate.region),
        zone => format!("region {}, zone {zone}", candidate.region),
    };
    Some(format!(
        "it would fail together with `{}`, which votes too ({place}); promote `{}` instead, or say `--force`",
        twin.name, better.name
    ))
}

fn is_together(one: &NodeFacts, other: &NodeFacts) -> bool {
    one.region == other.region && one.zone == other.zone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, region: &str, zone: &str) -> NodeFacts {
        NodeFacts { name: name.into(), region: region.into(), zone: zone.into(), ..NodeFacts::default() }
    }

    fn objection(voters: &[NodeFacts], candidate: &NodeFacts, others: &[NodeFacts]) -> Option<String> {
        super::objection(voters, candidate, others, VoterChoice::Safe)
    }

    #[test]
    fn two_of_one_domain_vote_only_when_nobody_else_could() {
        let (eu, eu_twin) = (node("eu-1", "eu", "a"), node("eu-2", "eu", "a"));
        let us = node("us-1", "us", "");
        let voters = [eu.clone()];
        assert_eq!(objection(&voters, &us, std::slice::from_ref(&eu_twin)), None);
        assert_eq!(objection(&voters, &node("eu-3", "eu", "b"), std::slice::from_ref(&us)), None);
        let refused = objection(&voters, &eu_twin, std::slice::from_ref(&us)).unwrap();
        assert!(refused.contains("`eu-1`") && refused.contains("`us-1`") && refused.contains("--force"));
        assert_eq!(super::objection(&voters, &eu_twin, std::slice::from_ref(&us), VoterChoice::Forced), None);
        assert_eq!(objection(&voters, &eu_twin, &[]), None, "nobody else could");
        assert_eq!(objection(&voters, &eu_twin, &[node("eu-4", "eu", "a")]), None);
    }

    #[test]
    fn no_more_than_five_vote() {
        let voters: Vec<_> = (0..5).map(|number| node("n", &format!("r{number}"), "")).collect();
        for choice in [VoterChoice::Safe, VoterChoice::Forced] {
            let refused = super::objection(&voters, &node("six", "r6", ""), &[], choice).unwrap();
            assert!(refused.contains("5 nodes vote"), "{refused}");
        }
    }
}
