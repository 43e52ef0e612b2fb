//! A client that sends exactly the bytes it is told, well-formed or not, and reads what comes back.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::DEADLINE;

/// Between two drips.
const DRIP_PAUSE: Duration = Duration::from_millis(10);
/// Most bytes kept of what a node says.
const READ_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One connection to a node.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// One answer of HTTP/1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl RawAnswer {
    /// Header `name`, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim()).unwrap_or_default()
    }
}

impl Raw {
    /// Connects to the node at `url`.
    ///
    /// # Panics
    /// When it does not accept.
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.unwrap_or_else(|error| panic!("no connection to {url}: {error}"))
    }

    /// As [`connect`](Self::connect), to a node that may be gone.
    ///
    /// # Errors
    /// What the system said.
    pub async fn try_connect(url: &str) -> io::Result<Self> {
        let address = url.strip_prefix("http://").unwrap_or(url);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Sends bytes; a node that has closed may take none of them.
    ///
    /// # Errors
    /// What the connection ended with.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends `piece` now and then for as long as the node neither says anything nor closes.
    ///
    /// # Panics
    /// When it takes that for too long.
    pub async fn drip(&mut self, piece: &[u8]) {
        let (reader, mut writer) = self.stream.split();
        let sending = async {
            while writer.write_all(piece).await.is_ok() {
                tokio::time::sleep(DRIP_PAUSE).await;
            }
        };
        let ended = async {
            tokio::select! {
                _ = reader.readable() => {}
                () = sending => {}
            }
        };
        let ended = tokio::time::timeout(DEADLINE, ended).await;
        ended.unwrap_or_else(|_| panic!("the node lets a client drip for {DEADLINE:?}"));
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// What the connection ended with.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The next answer of HTTP/1; nothing when the node closed instead.
    ///
    /// # Panics
    /// When neither happens in time, or what comes is no HTTP/1.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        let head_end = loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "half an answer: {}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.read[..head_end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer of HTTP/1: {head}"));
        let mut answer = RawAnswer { status, head, body: String::new() };
        if answer.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
            self.read.drain(..head_end);
            answer.body = self.chunks().await;
            return Some(answer);
        }
        let body_bytes: usize = answer.header("content-length").parse().unwrap_or_default();
        while self.read.len() < head_end + body_bytes && self.more().await {}
        let end = (head_end + body_bytes).min(self.read.len());
        answer.body = String::from_utf8_lossy(&self.read[head_end..end]).into_owned();
        self.read.drain(..end);
        Some(answer)
    }

    /// A body that comes in chunks, without trailers (RFC 9112, 7.1).
    async fn chunks(&mut self) -> String {
        let mut body = Vec::new();
        loop {
            let size_end = loop {
                match self.read.windows(2).position(|bytes| bytes == b"\r\n") {
                    Some(at) => break at,
                    None => assert!(self.more().await, "half an answer after {body:?}"),
                }
            };
            let size = std::str::from_utf8(&self.read[..size_end]).expect("a size is text");
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|error| panic!("{error}: {size}"));
            let (start, end) = (size_end + 2, size_end + 2 + size);
            while self.read.len() < end + 2 {
                assert!(self.more().await, "half an answer after {body:?}");
            }
            body.extend_from_slice(&self.read[start..end]);
            self.read.drain(..end + 2);
            if size == 0 {
                return String::from_utf8_lossy(&body).into_owned();
            }
        }
    }

    /// Everything until the node closes.
    ///
    /// # Panics
    /// When it does not close in time.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// Reads once; false when the node has closed, also when it did so with a reset.
    async fn more(&mut self) -> bool {
        assert!(self.read.len() < READ_BYTES_MAX, "the node does not stop talking");
        let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.read)).await;
        let read = read.unwrap_or_else(|_| panic!("no answer and no end within {DEADLINE:?}"));
        let bytes = read.unwrap_or_default();
        bytes > 0
    }
}

/// Lets this process open as many files as it may, for tests with thousands of connections.
///
/// # Panics
/// When the system does not allow what it said it allows.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the hard limit is allowed");
}
