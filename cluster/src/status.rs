//! Names of clusters, groups and nodes, and what a node says about its own part in agreement.

use std::fmt;

/// One node; never given to another, also after its disk is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One group of voters with a log of its own. There is one, 0, until the state outgrows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One cluster: random, made when it was founded, part of the agreed state.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterId(pub [u8; 16]);

/// 32 hexadecimal digits.
impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a node does in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes proposals.
    Leader,
    /// Votes, and follows the leader.
    Follower,
    /// Asks to become the leader.
    Candidate,
    /// Follows without a vote.
    Learner,
    /// Takes no part any more: asked to, or after a fatal error.
    Stopped,
}

impl Role {
    /// The role's name for people and programs, e.g. `leader`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        }
    }
}

/// How this node stands, at the moment of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Which cluster.
    pub cluster_id: ClusterId,
    /// Which node.
    pub node_id: NodeId,
    /// Which group.
    pub group_id: GroupId,
    /// What it does.
    pub role: Role,
    /// Who takes part, by id.
    pub members: Vec<MemberStatus>,
    /// What every node of the cluster can read.
    pub version: u32,
    /// Who leads, if anybody does.
    pub leader: Option<NodeId>,
    /// The term it is in.
    pub term: u64,
    /// The newest entry of its log, applied or not.
    pub last_log_index: Option<u64>,
    /// The newest entry its state contains.
    pub applied_index: Option<u64>,
    /// The newest entry its snapshot contains.
    pub snapshot_index: Option<u64>,
    /// What is wrong, in a sentence; absent while all is well.
    pub unhealthy: Option<String>,
}

/// One node of the group, as this one knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Which node.
    pub node_id: NodeId,
    /// Where its peers reach it; empty for a node without peers.
    pub address: String,
    /// Whether it votes.
    pub is_voter: bool,
}

/// Why a node takes no part in agreement any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody called [`Cluster::shutdown`](crate::Cluster::shutdown).
    Shutdown,
    /// It cannot go on; what it has applied can still be read.
    Failed {
        /// What is wrong, in a sentence.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_shown_as_32_hexadecimal_digits() {
        let id = ClusterId([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(format!("{id:?}"), id.to_string());
    }
}
