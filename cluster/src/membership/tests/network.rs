//! Networks for tests: one in memory, and UDP with a tap.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::super::{Datagrams, Network, UdpNetwork};

/// Datagrams one node of [`MemoryNetwork`] may leave unread; further ones are lost, as in a socket's buffer.
const UNREAD_MAX: usize = 4_096;

type Mail = (Vec<u8>, SocketAddr);

/// Delivers at once and in order.
#[derive(Clone, Default)]
pub(super) struct MemoryNetwork {
    nodes: Arc<Mutex<HashMap<SocketAddr, mpsc::Sender<Mail>>>>,
    silent: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl MemoryNetwork {
    /// Nothing comes from a node any more, as after a crash.
    pub(super) fn silence(&self, node: SocketAddr) {
        self.silent.lock().unwrap().insert(node);
    }
}

struct MemorySocket {
    address: SocketAddr,
    network: MemoryNetwork,
    inbox: tokio::sync::Mutex<mpsc::Receiver<Mail>>,
}

#[async_trait]
impl Network for MemoryNetwork {
    async fn bind(&self, listen: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let (outbox, inbox) = mpsc::channel(UNREAD_MAX);
        let mut nodes = self.nodes.lock().unwrap();
        if nodes.get(&listen).is_some_and(|node| !node.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        nodes.insert(listen, outbox);
        Ok(Box::new(MemorySocket { address: listen, network: self.clone(), inbox: inbox.into() }))
    }
}

#[async_trait]
impl Datagrams for MemorySocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        if self.network.silent.lock().unwrap().contains(&self.address) {
            return Ok(());
        }
        let nodes = self.network.nodes.lock().unwrap();
        if let Some(node) = nodes.get(&to) {
            let _ = node.try_send((datagram.to_vec(), self.address));
        }
        Ok(())
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mail = self.inbox.lock().await.recv().await;
        let (datagram, from) = mail.ok_or(io::ErrorKind::BrokenPipe)?;
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok((len, from))
    }
}

/// UDP, and every datagram that was sent through it.
#[derive(Clone, Default)]
pub(super) struct Tapped {
    pub(super) sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

struct TappedSocket {
    socket: Box<dyn Datagrams>,
    tap: Tapped,
}

#[async_trait]
impl Network for Tapped {
    async fn bind(&self, listen: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(TappedSocket { socket: UdpNetwork.bind(listen).await?, tap: self.clone() }))
    }
}

#[async_trait]
impl Datagrams for TappedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.tap.sent.lock().unwrap().push(datagram.to_vec());
        self.socket.send_to(datagram, to).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }
}

/// A socket that neither sends nor receives.
pub(super) struct Broken;

#[async_trait]
impl Network for Broken {
    async fn bind(&self, _listen: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl Datagrams for Broken {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 7946)))
    }

    async fn send_to(&self, _datagram: &[u8], _to: SocketAddr) -> io::Result<()> {
        Err(io::ErrorKind::NetworkUnreachable.into())
    }

    async fn recv_from(&self, _buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Err(io::ErrorKind::NetworkDown.into())
    }
}
