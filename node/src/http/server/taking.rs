//! Whether a peer takes the answer that it is sent.
//!
//! hyper asks a body for its next piece once there is room for it. So from when a piece was handed over until the next is
//! asked for, or all is sent, the peer is waited for, and from then on whoever makes the answer. Only the first counts: events that come
//! seldom are no fault of who reads them.
//!
//! Of HTTP/1 an answer that is not taken ends the connection ([`Socket`](super::socket::Socket)), of HTTP/2 its own stream
//! ([`Streams`]): others may share the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Patience;
use crate::http::metrics::{Connections, Rejected};

/// Stands for "the peer is not waited for".
const NONE: u64 = u64::MAX;

tokio::task_local! {
    static STREAM: Arc<Taking>;
}

/// Until when the peer has to take what it was handed.
#[derive(Debug)]
pub(super) struct Taking {
    made: Instant,
    /// In milliseconds since `made`.
    until_ms: AtomicU64,
}

impl Taking {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { made: Instant::now(), until_ms: AtomicU64::new(NONE) })
    }

    /// That of the stream of HTTP/2 whose task this is.
    pub(super) fn of_stream() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    pub(super) fn wait_until(&self, at: Option<Instant>) {
        let millis = at.map(|at| at.saturating_duration_since(self.made).as_millis());
        let until_ms = millis.map_or(NONE, |millis| u64::try_from(millis).unwrap_or(NONE));
        self.until_ms.store(until_ms, Ordering::Release);
    }

    fn until(&self) -> Option<Instant> {
        let until_ms = Some(self.until_ms.load(Ordering::Acquire)).filter(|until_ms| *until_ms != NONE);
        until_ms.map(|until_ms| self.made + Duration::from_millis(until_ms))
    }

    /// Ready once the peer was waited for too long. It has to be asked again after each change, by the same task.
    pub(super) fn poll_late(&self, sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(at) = self.until() else { return Poll::Pending };
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
            // A later deadline is found when the earlier one has passed: most never do.
            if sleep.deadline() > at || sleep.is_elapsed() {
                sleep.as_mut().reset(at);
            }
            ready!(sleep.as_mut().poll(cx));
        }
    }

    async fn late(&self) {
        let mut sleep = None;
        std::future::poll_fn(|cx| self.poll_late(&mut sleep, cx)).await;
    }
}

/// One answer, piece by piece: what it may keep the node waiting for.
#[derive(Debug)]
pub(super) struct Handed {
    taking: Arc<Taking>,
    patience: Patience,
    /// Since when the piece that was handed over last is not taken, and the time its bytes are worth.
    last: Option<(Instant, Duration)>,
    /// Time that earlier pieces took beyond what they were worth.
    behind: Duration,
}

impl Handed {
    pub(super) fn new(taking: Arc<Taking>, patience: Patience) -> Self {
        Self { taking, patience, last: None, behind: Duration::ZERO }
    }

    /// The next piece is asked for.
    pub(super) fn asked(&mut self, now: Instant) {
        if let Some((since, worth)) = self.last.take() {
            // What came fast earns nothing for later: else a large answer could be left standing for long.
            self.behind = (self.behind + now.saturating_duration_since(since)).saturating_sub(worth);
            self.taking.wait_until(None);
        }
    }

    /// A piece is handed over.
    pub(super) fn handed(&mut self, bytes: usize, now: Instant) {
        let rate = self.patience.bytes_per_s_min;
        if rate == 0 {
            return;
        }
        let millis = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1000) / rate;
        // Longer than any answer takes.
        let worth = Duration::from_millis(millis.min(u64::from(u32::MAX)));
        self.last = Some((now, worth));
        self.taking.wait_until(Some(now + (self.patience.send + worth).saturating_sub(self.behind)));
    }
}

/// Runs the streams of HTTP/2, and resets one whose answer is not taken.
#[derive(Clone)]
pub(super) struct Streams {
    metrics: Arc<Connections>,
}

impl Streams {
    pub(super) fn new(metrics: Arc<Connections>) -> Self {
        Self { metrics }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (taking, metrics) = (Taking::new(), Arc::clone(&self.metrics));
        let stream = STREAM.scope(Arc::clone(&taking), stream);
        tokio::spawn(async move {
            // The stream first: what it did just now says until when it is waited for.
            tokio::select! {
                biased;
                () = stream => {}
                () = taking.late() => metrics.rejected(Rejected::SendTimeout),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures_util::StreamExt;
    use futures_util::stream::{self, BoxStream};
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpStream;
    use tokio::sync::{mpsc, oneshot};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::HttpConfig;
    use crate::http::server::Server;

    const SECOND: Duration = Duration::from_secs(1);

    fn patience(bytes_per_s_min: u64) -> Patience {
        Patience { head: SECOND, idle: SECOND, send: 30 * SECOND, bytes_per_s_min }
    }

    #[test]
    fn the_peer_is_waited_for_from_piece_to_piece_and_by_a_least_rate() {
        let taking = Taking::new();
        let mut answer = Handed::new(Arc::clone(&taking), patience(100));
        let at = |seconds| taking.made + seconds * SECOND;
        let until = || taking.until().map(|until| (until - taking.made).as_secs());
        answer.asked(at(0));
        assert_eq!(until(), None, "nothing is made yet");
        answer.handed(1000, at(400));
        assert_eq!(until(), Some(440));
        answer.asked(at(400));
        assert_eq!(until(), None, "the next one is waited for, which is no fault of the peer");
        answer.handed(100, at(900));
        assert_eq!(until(), Some(931), "it is none the better for what it took before");
        answer.asked(at(929));
        answer.handed(100, at(929));
        assert_eq!(until(), Some(932), "29 s for what has to be taken in 1 s leave 2 of the 30");
        answer.asked(at(929));
        answer.handed(10_000, at(930));
        assert_eq!(until(), Some(1033), "it catches up");
        drop(answer);
        assert_eq!(until(), Some(1033), "the last piece has to be taken too");
    }

    #[test]
    fn no_rate_is_asked_for_by_zero() {
        let taking = Taking::new();
        let mut answer = Handed::new(Arc::clone(&taking), patience(0));
        answer.handed(1, taking.made);
        assert_eq!(taking.until(), None);
    }

    /// Tells when the body it lies in is dropped.
    struct Gone(Option<oneshot::Sender<()>>);

    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.take().map(|gone| gone.send(()));
        }
    }

    type Pieces = BoxStream<'static, io::Result<Bytes>>;

    #[tokio::test]
    async fn a_stream_that_is_not_taken_is_reset_and_the_others_of_its_connection_go_on() {
        let (tell, gone) = oneshot::channel();
        let (event, events) = mpsc::channel(1);
        let guard = Gone(Some(tell));
        let large = stream::repeat_with(move || {
            let _ = &guard;
            Ok(Bytes::from_static(&[b'x'; 16 * 1024]))
        });
        let events =
            stream::unfold(events, |mut events| async move { Some((Ok(events.recv().await?), events)) });
        let bodies: [Pieces; 2] = [events.boxed(), large.boxed()];
        let bodies = Mutex::new(VecDeque::from(bodies));
        let endpoint = poem::endpoint::make_sync(move |_| {
            let pieces = bodies.lock().unwrap().pop_front().unwrap();
            poem::Response::builder().body(poem::Body::from_bytes_stream(pieces))
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        // A window that is never opened again is worth nothing; the pieces that are, a few milliseconds.
        let http = HttpConfig { send_timeout_ms: 50, body_bytes_per_s_min: 1 << 30, ..HttpConfig::default() };
        let endpoint = poem::EndpointExt::map_to_response(endpoint);
        let server = Server::new(listener, endpoint, &http, 1, CancellationToken::new()).unwrap();
        let server = tokio::spawn(server.run());

        let connection = TcpStream::connect(address).await.unwrap();
        let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let client = client.initial_stream_window_size(64 * 1024);
        let (mut requests, connection) = client.handshake(TokioIo::new(connection)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut answers = Vec::new();
        for _ in 0..2 {
            let request = hyper::Request::get(format!("http://{address}/")).body(Empty::<Bytes>::new());
            answers.push(requests.send_request(request.unwrap()).await.unwrap().into_body());
        }
        tokio::time::timeout(60 * SECOND, gone).await.expect("the large answer is not kept").unwrap();
        event.send(Bytes::from_static(b"event")).await.unwrap();
        let piece = answers[0].frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, "event", "it waited as long, but not for its reader");
        connection.abort();
        server.abort();
    }
}
