//! Why gossip did not start, or what was to be told was refused.

use std::net::SocketAddr;

use twinmcp_storage::clock::EntropyError;

/// What [`Membership`](super::Membership) answers instead of a result.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The configuration cannot work.
    #[error("the gossip configuration cannot work: {message}")]
    Config {
        /// Which key, and what it must be.
        message: String,
    },
    /// A value that was to be told to the others has more bytes than may be told.
    #[error("`{field}` has {bytes} bytes; {bytes_max} are allowed")]
    TooLong {
        /// Which value.
        field: &'static str,
        /// Its size.
        bytes: usize,
        /// The largest size allowed.
        bytes_max: usize,
    },
    /// Nobody can listen there: another program does, or the address is not this machine's.
    #[error("failed to listen for gossip on {listen} (UDP)")]
    Bind {
        /// The address asked for.
        listen: SocketAddr,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// No random bytes for the id of this boot.
    #[error("failed to make the id of this boot")]
    Entropy(#[source] EntropyError),
    /// Gossip has ended.
    #[error("gossip has ended")]
    Stopped,
}
