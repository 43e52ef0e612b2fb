//! The guard for programs that speak for themselves: a SOCKS5 proxy on loopback (RFC 1928) that one
//! job opens, with a password of its own (RFC 1929), and that connects by the rules of [`Guard`].
//!
//! SOCKS and not an HTTP proxy: it carries http and https alike, and there is no request to be
//! understood, only a name and a port. The name is looked up here, so what is checked is what is
//! connected to.
//!
//! Invariant: with the tunnel every connection through it ends.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

use super::{LookupError, Outbound, OutboundError};

/// A client that does not say in this time what it wants is no client.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections through one tunnel at once.
const CONNECTIONS_MAX: usize = 16;
const USER: &str = "job";
const BUFFER_BYTES: usize = 64 << 10;

const VERSION: u8 = 5;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const UNREACHABLE: u8 = 4;
const NOT_SUPPORTED: u8 = 7;

/// A proxy that lives as long as this value.
pub(crate) struct Tunnel {
    address: SocketAddr,
    inner: Arc<Inner>,
    listener: JoinHandle<()>,
}

struct Inner {
    outbound: Outbound,
    password: String,
    bytes_max: u64,
    received: AtomicU64,
    /// The first thing that went wrong, which the program can only call "connection refused".
    refusal: Mutex<Option<OutboundError>>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Tunnel {
    /// Opens a tunnel for whoever knows `password`, through which `bytes_max` bytes may come.
    pub(crate) async fn open(outbound: Outbound, password: String, bytes_max: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (received, refusal) = (AtomicU64::new(0), Mutex::new(None));
        let inner = Arc::new(Inner { outbound, password, bytes_max, received, refusal });
        let listener = tokio::spawn(listen(listener, Arc::clone(&inner)));
        Ok(Self { address, inner, listener })
    }

    /// The proxy as `curl` and `git` take it; a secret.
    pub(crate) fn url(&self) -> String {
        format!("socks5h://{USER}:{}@{}", self.inner.password, self.address)
    }

    /// Why a connection was refused or ended, if one was.
    pub(crate) fn refusal(&self) -> Option<OutboundError> {
        self.inner.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Dropped, it ends all connections.
async fn listen(listener: TcpListener, inner: Arc<Inner>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            continue;
        }
        let inner = Arc::clone(&inner);
        connections.spawn(async move {
            if let Err(error) = inner.serve(stream).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a tunnel broke off");
            }
        });
    }
}

impl Inner {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let asked = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.handshake(&mut client));
        let Some((host, port)) = asked.await.map_err(io::Error::other)?? else { return Ok(()) };
        let (reply, server) = match self.connect(&host, port).await {
            Ok(server) => (SUCCEEDED, Some(server)),
            Err(error) => {
                let forbidden = !matches!(&error, OutboundError::Lookup(LookupError::Unknown { .. }))
                    && !error.is_passing();
                self.refuse(error);
                (if forbidden { NOT_ALLOWED } else { UNREACHABLE }, None)
            }
        };
        client.write_all(&[VERSION, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        match server {
            Some(server) => self.relay(client, server, &host).await,
            None => Ok(()),
        }
    }

    /// What the client wants, once it has shown that it is ours; nothing when it is not.
    async fn handshake(&self, client: &mut TcpStream) -> io::Result<Option<(String, u16)>> {
        if client.read_u8().await? != VERSION {
            return Ok(None);
        }
        let methods = counted(client).await?;
        if !methods.contains(&PASSWORD) {
            client.write_all(&[VERSION, NO_METHOD]).await?;
            return Ok(None);
        }
        client.write_all(&[VERSION, PASSWORD]).await?;
        let _version = client.read_u8().await?;
        let (user, password) = (counted(client).await?, counted(client).await?);
        // Hashes compare in constant time.
        let right =
            blake3::hash(&password) == blake3::hash(self.password.as_bytes()) && user == USER.as_bytes();
        client.write_all(&[1, u8::from(!right)]).await?;
        if !right {
            return Ok(None);
        }
        let [version, command, _, kind] = {
            let mut head = [0; 4];
            client.read_exact(&mut head).await?;
            head
        };
        let host = match kind {
            1 => IpAddr::V4(Ipv4Addr::from_bits(client.read_u32().await?)).to_string(),
            3 => String::from_utf8_lossy(&counted(client).await?).into_owned(),
            4 => format!("[{}]", Ipv6Addr::from_bits(client.read_u128().await?)),
            _ => String::new(),
        };
        let port = client.read_u16().await?;
        if version != VERSION || command != CONNECT {
            client.write_all(&[VERSION, NOT_SUPPORTED, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
            return Ok(None);
        }
        Ok(Some((host, port)))
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, OutboundError> {
        let guard = self.outbound.guard();
        // One spelling for all: a host is read as the host of a URL is.
        let url: Url = guard.parse(&format!("https://{host}:{port}/"))?;
        let host = url.host_str().unwrap_or_default();
        let timeout = guard.config().connect_timeout;
        let connecting = async {
            let addresses = guard.addresses(host).await?;
            let addresses: Vec<SocketAddr> =
                addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
            let unreachable = |source| OutboundError::Unreachable { host: host.to_owned(), source };
            TcpStream::connect(addresses.as_slice()).await.map_err(unreachable)
        };
        let late = |_| OutboundError::Deadline { url: url.to_string(), after: timeout };
        tokio::time::timeout(timeout, connecting).await.map_err(late)?
    }

    async fn relay(&self, client: TcpStream, server: TcpStream, host: &str) -> io::Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = async {
            tokio::io::copy(&mut from_client, &mut to_server).await?;
            to_server.shutdown().await
        };
        let down = async {
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                let read = from_server.read(&mut buffer).await?;
                let total = self.received.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
                if total > self.bytes_max {
                    let (url, limit) = (host.to_owned(), self.bytes_max);
                    let way_out = "name a smaller repository, or raise `fetch.git_bytes_max`";
                    self.refuse(OutboundError::BodyTooLarge { url, limit, way_out });
                    return Err(io::Error::other("the tunnel's limit of bytes is reached"));
                }
                if read == 0 {
                    return to_client.shutdown().await;
                }
                to_client.write_all(buffer.get(..read).unwrap_or_default()).await?;
            }
        };
        tokio::try_join!(up, down).map(drop)
    }

    fn refuse(&self, error: OutboundError) {
        self.outbound.refused(&error);
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// A byte that tells a length, and as many bytes.
async fn counted(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
