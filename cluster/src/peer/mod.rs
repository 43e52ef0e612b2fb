//! Requests between nodes, over one port: HTTP/2 on whatever bytes a [`Transport`] carries.
//!
//! `client.rs` asks, `server.rs` answers, `body.rs` is what goes either way. What is asked is decided by
//! others: `crate::consensus` for agreement, a [`PeerService`] for the rest.
//!
//! Invariants: a connection is to one node, whose identity the transport has checked in both directions; every
//! message starts with its format and has a largest size; a connection whose peer is silent is closed.

mod body;
mod client;
mod server;
mod tls;
mod transport;

use std::time::Duration;

pub use self::body::{Answer, AnswerBody};
pub(crate) use self::body::{bytes_body, frame, frames, stream_body};
pub use self::client::PeerError;
pub(crate) use self::client::{Lane, Peers};
pub use self::server::{Asked, PeerService};
pub(crate) use self::server::{PeerServer, refusal};
pub(crate) use self::tls::dial_to_join;
pub use self::tls::{MayTakePart, TlsTcp};
pub use self::transport::{Accepted, Accepting, Alone, PeerIo, Transport};

/// How long peers are waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until a connection is there.
    pub(crate) connect: Duration,
    /// Between two looks whether the peer is still there.
    pub(crate) ping: Duration,
    /// Until a peer that does not answer a look is given up.
    pub(crate) silence: Duration,
}
