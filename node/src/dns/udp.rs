//! Questions in datagrams.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::Responder;
use super::answer::Carrier;
use super::limit::Allowed;
use super::metrics::Dropped;
use super::query::QUERY_BYTES_MAX;

/// After an error of the socket, so that one that lasts does not spin.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers until it is dropped. One datagram after another: an answer takes microseconds, so nothing is gained by more, and
/// what comes faster waits in the system's buffer, which has an end.
pub(super) async fn serve(socket: Arc<UdpSocket>, responder: Arc<Responder>) {
    // One byte more, so that what is too long is seen to be.
    let mut buffer = vec![0; QUERY_BYTES_MAX + 1];
    loop {
        if let Err(error) = answer_one(&socket, &responder, &mut buffer).await {
            // Such as that nobody listens any more where an answer went.
            tracing::debug!(error = %error, "a datagram was lost");
            responder.metrics.dropped(Dropped::Send);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn answer_one(socket: &UdpSocket, responder: &Responder, buffer: &mut [u8]) -> io::Result<()> {
    let (length, from) = socket.recv_from(buffer).await?;
    let bytes = &buffer[..length];
    let answer = match responder.limit.count(from.ip()) {
        Allowed::Answer => responder.answer(bytes, from.ip(), Carrier::Udp),
        Allowed::Truncation => responder.answerer.truncated(bytes),
        Allowed::Nothing => {
            responder.metrics.dropped(Dropped::Limit);
            return Ok(());
        }
    };
    match answer {
        Some(answer) => {
            responder.metrics.answered(answer.kind, Carrier::Udp);
            socket.send_to(&answer.bytes, from).await.map(drop)
        }
        None => {
            responder.metrics.dropped(Dropped::Noise);
            Ok(())
        }
    }
}
