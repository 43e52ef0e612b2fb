//! `chitchat`'s messages over sealed datagrams.
//!
//! A task of its own takes datagrams from the socket as they come, opens them and puts messages together, so
//! that the fragments of a large message are not lost in the socket's buffer while `chitchat` works.
//!
//! Invariant: an error of one datagram, in or out, is counted and never logged or passed on: whoever can send to
//! the port could fill the log, and gossip sends the same again a moment later.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use twinmcp_storage::clock::Clock;

use super::fragment::{Reassembly, split};
use super::network::Datagrams;
use super::seal::{DATAGRAM_BYTES_MAX, Opener, Sealer};
use super::traffic::{Dropped, Traffic};

/// Messages that may wait for `chitchat`; past it they are dropped.
const INBOX_MESSAGES_MAX: usize = 256;
/// Failures to receive one after the other, with a pause between them, after which gossip ends and
/// whoever supervises it starts it again.
const FAILURES_MAX: u32 = 50;
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Hands its one socket to `chitchat`, whatever address that asks for: it is bound before, to know the port.
pub(super) struct SealedTransport {
    socket: Mutex<Option<SealedSocket>>,
}

/// What can be seen of a socket that `chitchat` has.
pub(super) struct Watch {
    /// Counts answers sent: messages that bring what this node has to say.
    pub(super) answered: watch::Receiver<u64>,
    /// Ends when the socket is closed, and its port free.
    pub(super) open: mpsc::Receiver<()>,
}

impl SealedTransport {
    /// Starts to receive.
    pub(super) fn start(
        socket: Box<dyn Datagrams>,
        sealer: Sealer,
        opener: Opener,
        clock: Arc<dyn Clock>,
        traffic: Arc<Traffic>,
    ) -> (Self, Watch) {
        let socket: Arc<dyn Datagrams> = socket.into();
        let (messages, inbox) = mpsc::channel(INBOX_MESSAGES_MAX);
        let (answered, answers) = watch::channel(0);
        let (is_open, open) = mpsc::channel(1);
        let reader = Reader {
            socket: Arc::clone(&socket),
            opener,
            reassembly: Reassembly::default(),
            messages,
            clock: Arc::clone(&clock),
            traffic: Arc::clone(&traffic),
            _is_open: is_open.clone(),
        };
        let reader = tokio::spawn(reader.run());
        let (message, datagram) = (Vec::new(), Vec::new());
        let socket = SealedSocket {
            socket,
            sealer,
            inbox,
            reader,
            answered,
            clock,
            traffic,
            message,
            datagram,
            _is_open: is_open,
        };
        (Self { socket: Mutex::new(Some(socket)) }, Watch { answered: answers, open })
    }
}

#[async_trait]
impl Transport for SealedTransport {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.socket.lock().ok().and_then(|mut socket| socket.take());
        let socket: Box<dyn Socket> = Box::new(socket.context("the socket of gossip is taken")?);
        Ok(socket)
    }
}

struct SealedSocket {
    socket: Arc<dyn Datagrams>,
    sealer: Sealer,
    inbox: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
    reader: JoinHandle<()>,
    answered: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
    traffic: Arc<Traffic>,
    /// The message being sent, and one datagram of it.
    message: Vec<u8>,
    datagram: Vec<u8>,
    /// Dropped after the socket, as fields are in their order.
    _is_open: mpsc::Sender<()>,
}

impl Drop for SealedSocket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.message.clear();
        message.serialize(&mut self.message);
        if let Err(reason) = self.send_message(to).await {
            self.traffic.dropped(reason);
        } else if matches!(message, ChitchatMessage::SynAck { .. } | ChitchatMessage::Ack { .. }) {
            self.answered.send_modify(|answered| *answered += 1);
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        self.inbox.recv().await.context("the socket of gossip failed too often")
    }
}

impl SealedSocket {
    async fn send_message(&mut self, to: SocketAddr) -> Result<(), Dropped> {
        let now = self.clock.now();
        for fragment in split(&self.message)? {
            self.sealer.seal(fragment, now, &mut self.datagram)?;
            self.socket.send_to(&self.datagram, to).await.map_err(|_| Dropped::Send)?;
            self.traffic.sent(self.datagram.len());
        }
        self.traffic.sent_message();
        Ok(())
    }
}

struct Reader {
    socket: Arc<dyn Datagrams>,
    opener: Opener,
    reassembly: Reassembly,
    messages: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
    clock: Arc<dyn Clock>,
    traffic: Arc<Traffic>,
    /// Dropped after the socket, as fields are in their order.
    _is_open: mpsc::Sender<()>,
}

impl Reader {
    async fn run(mut self) {
        // One byte more, to see what is too long.
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        let mut failures = 0;
        while failures < FAILURES_MAX && !self.messages.is_closed() {
            match self.socket.recv_from(&mut buffer).await {
                Ok((len, from)) => {
                    failures = 0;
                    self.traffic.received(len);
                    if let Err(reason) = self.take(&mut buffer[..len], from) {
                        self.traffic.dropped(reason);
                    }
                }
                Err(_) => {
                    failures += 1;
                    self.traffic.dropped(Dropped::Receive);
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
            }
        }
    }

    fn take(&mut self, datagram: &mut [u8], from: SocketAddr) -> Result<(), Dropped> {
        let now = self.clock.now();
        let opened = self.opener.open(datagram, now)?;
        let traffic = &self.traffic;
        let message = self.reassembly.add(&opened, now, |reason| traffic.dropped(reason))?;
        let Some(message) = message else { return Ok(()) };
        let message = read(&message)?;
        traffic.received_message();
        self.messages.try_send((from, message)).map_err(|_| Dropped::Busy)
    }
}

/// What lies in a whole message.
pub(super) fn read(mut bytes: &[u8]) -> Result<ChitchatMessage, Dropped> {
    let message = ChitchatMessage::deserialize(&mut bytes).map_err(|_| Dropped::Message)?;
    if bytes.is_empty() { Ok(message) } else { Err(Dropped::Message) }
}
