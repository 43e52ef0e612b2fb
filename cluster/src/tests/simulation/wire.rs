//! Connections between simulated nodes: TCP as `turmoil` has it, with the dialing node's id in front.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::NodeId;
use crate::peer::{Accepted, Accepting, PeerIo, Transport};

const PORT: u16 = 7947;
/// How long it takes to be refused.
const REFUSAL: Duration = Duration::from_millis(4);

pub(super) fn host(node: u64) -> String {
    format!("node-{node}")
}

pub(super) fn address(node: u64) -> String {
    format!("{}:{PORT}", host(node))
}

pub(super) struct Wire {
    node: u64,
    listener: TcpListener,
}

impl Wire {
    pub(super) async fn listen(node: u64) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        Ok(Arc::new(Self { node, listener }))
    }
}

impl Transport for Wire {
    fn dial<'a>(&'a self, _: NodeId, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn PeerIo>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await;
            if stream.is_err() {
                // `turmoil` refuses at once; it takes a way there and back.
                tokio::time::sleep(REFUSAL).await;
            }
            let mut stream = stream?;
            stream.write_all(&self.node.to_be_bytes()).await?;
            Ok(Box::new(stream) as Box<dyn PeerIo>)
        })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Accepting>> {
        Box::pin(async move {
            let (mut stream, _) = self.listener.accept().await?;
            let greeted = async move {
                let peer = NodeId(stream.read_u64().await?);
                Ok(Accepted { io: Box::new(stream) as Box<dyn PeerIo>, peer: Some(peer), authority: None })
            };
            Ok(Box::pin(greeted) as Accepting)
        })
    }
}
