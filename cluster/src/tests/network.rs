//! A network in memory, between the nodes of one process: links can be slow or cut, one way or both.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use crate::NodeId;
use crate::peer::{Accepted, Accepting, PeerIo, Transport};

/// Bytes under way on one connection.
const PIPE_BYTES: usize = 256 * 1024;

/// What the links are like.
#[derive(Debug, Clone, Default)]
struct Weather {
    /// From, to: nothing passes.
    cut: BTreeSet<(u64, u64)>,
    /// One way, between any two.
    delay: Duration,
}

/// Where connections to a node come in, with who makes them.
type Door = mpsc::UnboundedSender<(u64, DuplexStream)>;

/// The network; clones share it.
#[derive(Clone)]
pub(crate) struct Network {
    weather: watch::Sender<Weather>,
    nodes: Arc<Mutex<HashMap<String, Door>>>,
    dials: Arc<AtomicUsize>,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self { weather: watch::Sender::new(Weather::default()), nodes: Arc::default(), dials: Arc::default() }
    }

    /// Where `node` is reached, and how it reaches others.
    pub(crate) fn attach(&self, node: u64) -> (String, Arc<dyn Transport>) {
        let address = format!("node-{node}:7947");
        let (incoming, accepted) = mpsc::unbounded_channel();
        self.nodes.lock().unwrap().insert(address.clone(), incoming);
        let wire = Wire { node, network: self.clone(), accepted: tokio::sync::Mutex::new(accepted) };
        (address, Arc::new(wire))
    }

    /// Whoever dials `node` is refused at once.
    pub(crate) fn refuse(&self, node: u64) {
        self.nodes.lock().unwrap().remove(&format!("node-{node}:7947"));
    }

    /// How often anybody dialed.
    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }

    /// Nothing passes from `from` to `to` any more.
    pub(crate) fn cut_one_way(&self, from: u64, to: u64) {
        self.weather.send_modify(|weather| {
            weather.cut.insert((from, to));
        });
    }

    /// Nothing passes between `node` and `others` any more.
    pub(crate) fn cut(&self, node: u64, others: &[u64]) {
        for &other in others {
            self.cut_one_way(node, other);
            self.cut_one_way(other, node);
        }
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        self.weather.send_modify(|weather| weather.cut.clear());
    }

    /// Each way takes so long from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }
}

struct Wire {
    node: u64,
    network: Network,
    accepted: tokio::sync::Mutex<mpsc::UnboundedReceiver<(u64, DuplexStream)>>,
}

impl Transport for Wire {
    fn dial<'a>(&'a self, node: NodeId, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn PeerIo>>> {
        Box::pin(async move {
            self.network.dials.fetch_add(1, Ordering::SeqCst);
            let nodes = self.network.nodes.lock().unwrap();
            let there = nodes.get(address).ok_or(io::ErrorKind::ConnectionRefused)?;
            let (mine, near) = tokio::io::duplex(PIPE_BYTES);
            let (far, theirs) = tokio::io::duplex(PIPE_BYTES);
            there.send((self.node, theirs)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            let (near_read, near_write) = tokio::io::split(near);
            let (far_read, far_write) = tokio::io::split(far);
            let weather = || self.network.weather.subscribe();
            tokio::spawn(carry(near_read, far_write, (self.node, node.0), weather()));
            tokio::spawn(carry(far_read, near_write, (node.0, self.node), weather()));
            Ok(Box::new(mine) as Box<dyn PeerIo>)
        })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Accepting>> {
        Box::pin(async move {
            match self.accepted.lock().await.recv().await {
                Some((from, io)) => {
                    let accepted = Accepted { io: Box::new(io), peer: Some(NodeId(from)), authority: None };
                    Ok(Box::pin(std::future::ready(Ok(accepted))) as Accepting)
                }
                None => std::future::pending().await,
            }
        })
    }
}

/// Carries bytes one way. What is under way when a link is cut waits, as it would for a retransmission.
async fn carry(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    link: (u64, u64),
    mut weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            let _ = to.shutdown().await;
            return;
        };
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if weather.wait_for(|weather| !weather.cut.contains(&link)).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
