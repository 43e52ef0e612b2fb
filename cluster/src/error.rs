//! Why a proposal, a wait or a start did not work.

use twinmcp_storage::clock::EntropyError;
use twinmcp_storage::engine::StorageError;

/// What [`Cluster`](crate::Cluster) answers instead of a result.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The queue of proposals is full. Nothing was proposed; try again in a moment.
    #[error("too many changes are waiting")]
    Busy,
    /// Not answered in time. The change may still be applied: look before trying again.
    #[error("the change was not confirmed in time; it may still take effect")]
    Deadline,
    /// No leader takes proposals here. Nothing was proposed.
    #[error("no leader takes changes at the moment")]
    NoLeader,
    /// Another leader took over before the entry was confirmed. The change may still be applied.
    #[error("the leader changed before the change was confirmed; it may still take effect")]
    LeaderChanged,
    /// The command does not fit into one log entry. Nothing was proposed.
    #[error("the change has {bytes} bytes; {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size allowed.
        bytes_max: usize,
    },
    /// Not every node is known to read such a change. Nothing was proposed.
    #[error("the cluster agrees on what builds of version {agreed} read, and this needs {needed}")]
    TooOld {
        /// What the change needs.
        needed: u32,
        /// What the cluster has.
        agreed: u32,
    },
    /// [`Cluster::wait_applied`](crate::Cluster::wait_applied) ran out of time.
    #[error("this node has applied entry {applied}, not yet entry {wanted}")]
    Behind {
        /// What was waited for.
        wanted: u64,
        /// How far this node is; 0 also when nothing is applied yet.
        applied: u64,
    },
    /// This node takes no part in agreement any more. A proposal that was under way may have been
    /// applied.
    #[error("consensus has stopped: {reason}")]
    Stopped {
        /// Why, in a sentence.
        reason: String,
    },
    /// This node takes no changes since its disk or its data failed. Nothing was proposed.
    #[error("no changes are taken since something failed: {reason}")]
    Failed {
        /// What, in a sentence.
        reason: String,
    },
    /// Who takes part cannot be changed like that.
    #[error("the members of the cluster were not changed: {reason}")]
    Members {
        /// Why, in a sentence.
        reason: String,
    },
    /// The configuration cannot work.
    #[error("the cluster configuration cannot work: {message}")]
    Config {
        /// Which key, and what it must be.
        message: String,
    },
    /// The data directory was written by another node. Ids are never reused: a node that lost its
    /// disk comes back with a new one.
    #[error(
        "the data belongs to node {found} of group {found_group}, this is node {wanted} of group {wanted_group}"
    )]
    WrongNode {
        /// Whose data lies there.
        found: u64,
        /// Its group.
        found_group: u32,
        /// Who this node is.
        wanted: u64,
        /// Its group.
        wanted_group: u32,
    },
    /// Consensus did not come up.
    #[error("consensus did not start: {reason}")]
    Start {
        /// Why, in a sentence.
        reason: String,
    },
    /// No random bytes for the cluster's id.
    #[error("failed to make the cluster's id")]
    Entropy(#[source] EntropyError),
    /// An engine could not read or write.
    #[error("failed to keep the agreed state")]
    Storage(#[source] StorageError),
}
