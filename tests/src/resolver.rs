//! A resolver: asks a node's responder for names, over real sockets, with messages of `hickory-proto`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long an answer is waited for: past it a datagram counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
const DATAGRAM_BYTES_MAX: usize = 4_096;

/// Where a responder is asked.
#[derive(Debug, Clone, Copy)]
pub struct Resolver {
    at: SocketAddr,
}

impl Resolver {
    /// Asks the responder there.
    pub fn new(at: SocketAddr) -> Self {
        Self { at }
    }

    /// The answer in a datagram.
    ///
    /// # Errors
    /// When none comes in time, or one that cannot be read.
    pub async fn ask(&self, question: &Message) -> io::Result<Message> {
        let bytes = self.exchange(&question.to_vec().map_err(io::Error::other)?).await?;
        Message::from_vec(&bytes).map_err(io::Error::other)
    }

    /// What comes back for a datagram.
    ///
    /// # Errors
    /// When nothing does.
    pub async fn exchange(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(self.at).await?;
        socket.send(bytes).await?;
        let mut answer = vec![0; DATAGRAM_BYTES_MAX];
        let length = timeout(PATIENCE, socket.recv(&mut answer)).await??;
        answer.truncate(length);
        Ok(answer)
    }

    /// The answers over one connection.
    ///
    /// # Errors
    /// When the connection ends before, or an answer cannot be read.
    pub async fn ask_over_tcp(&self, questions: &[Message]) -> io::Result<Vec<Message>> {
        let mut stream = TcpStream::connect(self.at).await?;
        let mut answers = Vec::new();
        for question in questions {
            let bytes = question.to_vec().map_err(io::Error::other)?;
            let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
            let length = timeout(PATIENCE, stream.read_u16()).await??;
            let mut answer = vec![0; length.into()];
            timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
            answers.push(Message::from_vec(&answer).map_err(io::Error::other)?);
        }
        Ok(answers)
    }
}

/// A question for a name.
///
/// # Panics
/// When it is none.
pub fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

/// The same for a client in a network such as `203.0.113.0/24`, as a resolver tells it.
///
/// # Panics
/// When it is no network.
#[must_use]
pub fn for_client(mut question: Message, network: &str) -> Message {
    let subnet: ClientSubnet = network.parse().expect("a network");
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    edns.options_mut().insert(EdnsOption::Subnet(subnet));
    question.set_edns(edns);
    question
}

/// The addresses of an answer, in its order.
pub fn addresses(answer: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::from(address.0)),
        RData::AAAA(address) => Some(IpAddr::from(address.0)),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| address(&record.data)).collect()
}

/// For how many leading bits of the client's address an answer is good; nothing when it does not say.
pub fn scope(answer: &Message) -> Option<u8> {
    match answer.edns.as_ref()?.option(EdnsCode::Subnet)? {
        EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
        _ => None,
    }
}
