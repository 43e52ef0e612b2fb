//! Datagrams as a seam: the real ones are UDP, a simulation brings its own.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::UdpSocket;

/// Gives out sockets.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// A socket that listens on `listen`; port 0 takes any free one.
    ///
    /// # Errors
    /// What the operating system says.
    async fn bind(&self, listen: SocketAddr) -> io::Result<Box<dyn Datagrams>>;
}

/// A socket. It may lose datagrams, double them and change their order.
#[async_trait]
pub trait Datagrams: Send + Sync + 'static {
    /// Where it listens.
    ///
    /// # Errors
    /// What the operating system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends one datagram, and does not say whether it arrived.
    ///
    /// # Errors
    /// What the operating system says; the next one may work again.
    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()>;

    /// The next datagram: its size, cut to the buffer's, and where it claims to come from. Dropping the
    /// future loses none.
    ///
    /// # Errors
    /// What the operating system says; the next one may work again.
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
}

/// The machine's UDP.
#[derive(Debug, Clone, Copy, Default)]
pub struct UdpNetwork;

#[async_trait]
impl Network for UdpNetwork {
    async fn bind(&self, listen: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(UdpSocket::bind(listen).await?))
    }
}

#[async_trait]
impl Datagrams for UdpSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        UdpSocket::local_addr(self)
    }

    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        UdpSocket::send_to(self, datagram, to).await.map(|_| ())
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        UdpSocket::recv_from(self, buffer).await
    }
}
