//! The seam between nodes and their network: a real one, or a simulated one.

use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use twinmcp_storage::clock::Timestamp;

use crate::status::NodeId;

/// A connection's bytes.
pub trait PeerIo: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> PeerIo for T {}

/// A connection somebody made to this node.
pub struct Accepted {
    /// Its bytes.
    pub io: Box<dyn PeerIo>,
    /// Who it is, as far as the transport has checked; absent for somebody who has yet to join.
    pub peer: Option<NodeId>,
    /// Which authority says so, by the hash of its certificate; absent where none does.
    pub authority: Option<[u8; 32]>,
}

/// A handshake under way. Whoever accepts it runs it apart, so that a slow one holds up nobody.
pub type Accepting = BoxFuture<'static, io::Result<Accepted>>;

/// Makes and takes connections between nodes.
pub trait Transport: Send + Sync + 'static {
    /// Connects to `node` at `address` (`host:port`); an error when somebody else answers there.
    fn dial<'a>(&'a self, node: NodeId, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn PeerIo>>>;

    /// The next connection that somebody makes. Never resolves when this node takes none.
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepting>>;

    /// Whether requests of `node` are answered. A removed node keeps its certificate for a while, and open connections:
    /// so it is asked for each request.
    fn may_take_part(&self, _node: NodeId) -> bool {
        true
    }

    /// Whether what this authority says is still believed: a connection outlives a rotation.
    fn trusts(&self, _authority: [u8; 32]) -> bool {
        true
    }

    /// Nodes that were last met with a certificate of an authority that this one does not know.
    fn estranged(&self) -> Vec<NodeId> {
        Vec::new()
    }

    /// Until when peers believe this node's certificate; the beginning of time without one.
    fn certified_until(&self) -> Timestamp {
        Timestamp::default()
    }
}

/// Of a node that has no peers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Transport for Alone {
    fn dial<'a>(&'a self, node: NodeId, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn PeerIo>>> {
        Box::pin(async move {
            Err(io::Error::other(format!(
                "node {node} cannot be reached: this node takes part in no cluster"
            )))
        })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Accepting>> {
        Box::pin(std::future::pending())
    }
}
