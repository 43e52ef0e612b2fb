//! Agreement between nodes: a [`Command`](twinmcp_storage::command::Command) goes in, and comes out
//! applied, in one order, on every node. Who the nodes are and how they do, they tell by gossip:
//! [`membership`].
//!
//! [`Cluster`] is the only way in: [`Cluster::propose`] for a change, [`Cluster::reader`] for what this
//! node has applied. A command may be proposed on any node: it goes to the leader, and is done once however often it is sent.
//!
//! Invariants: `openraft` is named only in `consensus`, and nothing of it is public or on disk;
//! a command is answered only when a quorum has it on disk; the log is cut only behind what the state
//! engine and a snapshot hold on disk; an entry this build cannot read stops it, and is never skipped.

mod authority;
mod behalf;
mod bundles;
mod changes;
mod config;
mod consensus;
mod desk;
mod directory;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handle;
mod installing;
mod joining;
mod keys;
pub mod membership;
mod metrics;
pub mod peer;
mod renewing;
mod rotation;
mod round_trip;
mod routing;
mod signed_route;
mod status;
#[cfg(test)]
mod tests;
mod uploads;
mod voters;

pub use authority::{AuthorityError, CLUSTER_KEY_BYTES, CertificateAuthority, ClusterKey, Credentials};
pub use behalf::Behalf;
pub use bundles::{BundleBytes, KEPT_MAX, KeptAnswer, KeptQuestion};
pub use changes::Changes;
pub use config::ClusterConfig;
pub use consensus::{BUILD_VERSION, Survivor};
pub use desk::{Backroom, Desk, NodeReport, PeerAnswer};
pub use directory::Directory;
pub use error::ClusterError;
pub use handle::{Applied, Cluster};
pub use joining::{Admission, InvalidJoinToken, JoinError, JoinToken, TokenError, join};
pub use keys::{ClusterKeys, KeyFiles, WebhookKeyError};
pub use membership::{Membership, MembershipConfig};
pub use renewing::{Renewal, renew};
pub use rotation::{RotationError, RotationStatus, Trust};
pub use round_trip::{FarVoter, RoundTrips, round_trip_steps};
pub use routing::{Candidate, Viewpoint, rank};
pub use signed_route::{RouteSigner, RouteVerifier};
pub use status::{ClusterId, ClusterStatus, GroupId, MemberStatus, NodeId, Role, StopReason};
pub use uploads::{KeepUpload, UploadKept};
pub use voters::{VOTERS_MAX, VoterChoice};
