//! One connection from accept to close: HTTP/1 or HTTP/2 by its first bytes, requests handed to the
//! endpoint, an end that loses nothing when the node stops.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::activity::{Activity, InProgress, Stalled};
use super::socket::Socket;
use super::taking::{Handed, Streams};
use super::{Shared, Signals};
use crate::http::metrics::Rejected;

/// Requests at once on one HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 256;
/// Streams an HTTP/2 client may have reset before we saw them (CVE-2023-44487); more end the connection.
const HTTP2_RESETS_MAX: usize = 20;
/// Streams of one HTTP/2 connection that we may reset for the client's errors; more end the connection.
const HTTP2_ERRORS_MAX: usize = 64;
/// Bytes waiting to be sent on one HTTP/2 stream.
const HTTP2_SEND_BYTES_MAX: usize = 256 * 1024;
/// Fields of one HTTP/1 head.
const HEADERS_MAX: usize = 100;
/// hyper's least.
const BUFFER_BYTES_MIN: usize = 64 * 1024;
/// A connection that was never used gets so long for its first request when the node stops: whoever
/// opened it is about to send one.
const FIRST_REQUEST: Duration = Duration::from_millis(250);
/// A connection idle for so long is closed when others find no place.
const MAKES_ROOM_AFTER: Duration = Duration::from_secs(1);

/// How connections are spoken to, the same for all of them.
pub(super) fn protocol(head_bytes_max: usize, streams: Streams) -> auto::Builder<Streams> {
    // The front tells who is a little over the limit in the shape of the path; who is far over gets hyper's bare 431.
    let buffer_bytes_max = head_bytes_max.saturating_mul(2).max(BUFFER_BYTES_MIN);
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        // The socket tells a head that does not end from a peer that is idle.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(buffer_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_ERRORS_MAX)
        .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
        .max_header_list_size(u32::try_from(buffer_bytes_max).unwrap_or(u32::MAX));
    builder
}

/// Serves a connection to its end.
pub(super) async fn serve<E>(
    shared: Arc<Shared<E>>,
    signals: Signals,
    stream: TcpStream,
    local: SocketAddr,
    peer: SocketAddr,
) where
    E: Endpoint<Output = Response> + 'static,
{
    let activity = Activity::new();
    let socket = Socket::new(stream, Arc::clone(&activity), shared.patience);
    let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| {
        let (shared, in_progress) = (Arc::clone(&shared), activity.begin());
        async move {
            let origin = (request, LocalAddr(local.into()), RemoteAddr(peer.into()), Scheme::HTTP);
            let response = shared.endpoint.get_response(origin.into()).await;
            let response = hyper::Response::<BoxBody<Bytes, io::Error>>::from(response);
            let handed = Handed::new(in_progress.taking(), shared.patience);
            Ok::<_, Infallible>(response.map(|body| Answer {
                body,
                rest: Bytes::new(),
                handed,
                _in_progress: in_progress,
            }))
        }
    });
    let mut connection = pin!(shared.protocol.serve_connection(TokioIo::new(socket), service));
    let mut stop = pin!(signals.stop.cancelled());
    let mut is_stopping = false;
    let ended = loop {
        let room = signals.room.notified();
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = signals.kill.cancelled() => return,
            () = stop.as_mut(), if !is_stopping => {
                is_stopping = true;
                if !activity.was_used() {
                    tokio::select! {
                        ended = connection.as_mut() => break ended,
                        () = tokio::time::sleep(FIRST_REQUEST) => {}
                    }
                }
                connection.as_mut().graceful_shutdown();
            }
            () = room, if !is_stopping => {
                if activity.is_idle_for(MAKES_ROOM_AFTER, Instant::now()) {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    };
    if let Some(reason) = refused(&activity, ended.err().as_deref()) {
        shared.refused(reason);
    }
}

/// What a connection was ended for, where the end says that something was refused.
fn refused(activity: &Activity, error: Option<&(dyn Error + Send + Sync + 'static)>) -> Option<Rejected> {
    match activity.stalled() {
        Some(Stalled::Head) => return Some(Rejected::HeadTimeout),
        Some(Stalled::Send) => return Some(Rejected::SendTimeout),
        // Nobody was waiting for anything.
        Some(Stalled::Idle) => return None,
        None => {}
    }
    let error = error?;
    tracing::debug!(error, "connection ended");
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_parse_too_large() {
        Some(Rejected::HeadTooLarge)
    } else if error.is_parse() {
        Some(Rejected::Malformed)
    } else {
        None
    }
}

/// Largest piece of an answer that is handed over at once, in bytes: what hyper has taken of a body is out of sight.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// The body of an answer; the request lasts until its last piece is handed over.
struct Answer {
    body: BoxBody<Bytes, io::Error>,
    /// Of a larger piece, what is not handed over yet.
    rest: Bytes,
    handed: Handed,
    _in_progress: InProgress,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        this.handed.asked(Instant::now());
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(None),
                Some(Ok(data)) => this.rest = data,
                // Trailers: they end it.
                Some(Err(frame)) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES_MAX));
        this.handed.handed(piece.len(), Instant::now());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (behind, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(behind.lower() + rest);
        if let Some(upper) = behind.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::super::activity::Patience;
    use super::super::taking::Taking;
    use super::*;

    #[tokio::test]
    async fn a_large_answer_is_handed_over_piece_by_piece() {
        let second = Duration::from_secs(1);
        let patience = Patience { head: second, idle: second, send: second, bytes_per_s_min: 1 };
        let whole: Vec<u8> = (0..150_u32 * 1024).map(|at| at as u8).collect();
        let body = Full::new(Bytes::from(whole.clone())).map_err(|never| match never {}).boxed();
        let mut answer = Answer {
            body,
            rest: Bytes::new(),
            handed: Handed::new(Taking::new(), patience),
            _in_progress: Activity::new().begin(),
        };
        let mut got = Vec::new();
        for (bytes, left) in [(64, 86), (64, 22), (22, 0)] {
            assert!(!answer.is_end_stream());
            let piece = answer.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!((piece.len(), answer.size_hint().exact()), (bytes * 1024, Some(left * 1024)));
            got.extend(piece);
        }
        assert!(answer.is_end_stream() && got == whole);
        assert!(answer.frame().await.is_none());
    }
}
