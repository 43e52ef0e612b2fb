//! How slowly a body may come: a first while for nothing, then a least number of bytes a second.
//! Who sends one byte now and then would otherwise hold a place among the requests in progress.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use poem::Body;
use tokio::time::{Instant, Sleep, sleep_until};

/// The least a body has to keep up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Time before anything is asked of it.
    pub(super) grace: Duration,
    /// Bytes a second after that, counted from the first moment; 0 asks for nothing.
    pub(super) bytes_per_s_min: u64,
}

/// The body came more slowly than it has to.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
pub(super) struct TooSlow;

impl Pace {
    /// The pieces of `body`, which breaks off with [`TooSlow`] when it falls behind.
    pub(super) fn keep(self, body: Body) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
        let started = Instant::now();
        let pieces = Box::pin(body.into_bytes_stream());
        let sleep = Box::pin(sleep_until(started + self.grace));
        Paced { pieces, pace: self, started, bytes: 0, sleep }
    }

    /// When the next byte has to be there once `bytes` are.
    fn deadline(self, started: Instant, bytes: u64) -> Instant {
        let earned_ms = bytes.saturating_mul(1000) / self.bytes_per_s_min.max(1);
        // Further than any request lasts.
        started + self.grace + Duration::from_millis(earned_ms.min(u64::from(u32::MAX)))
    }
}

/// Whether reading a body ended because it was too slow.
pub(super) fn is_too_slow(error: &(dyn std::error::Error + 'static)) -> bool {
    // What an I/O error wraps is not its source.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<TooSlow>()
        || wrapped.is_some_and(|wrapped| is_too_slow(wrapped))
        || error.source().is_some_and(is_too_slow)
}

struct Paced<S> {
    pieces: Pin<Box<S>>,
    pace: Pace,
    started: Instant,
    bytes: u64,
    sleep: Pin<Box<Sleep>>,
}

impl<S: Stream<Item = io::Result<Bytes>>> Stream for Paced<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Poll::Ready(piece) = this.pieces.as_mut().poll_next(cx) {
            if let Some(Ok(piece)) = &piece {
                this.bytes = this.bytes.saturating_add(piece.len() as u64);
            }
            return Poll::Ready(piece);
        }
        if this.pace.bytes_per_s_min == 0 {
            return Poll::Pending;
        }
        loop {
            let deadline = this.pace.deadline(this.started, this.bytes);
            if deadline <= Instant::now() {
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow))));
            }
            if this.sleep.is_elapsed() || this.sleep.deadline() > deadline {
                this.sleep.as_mut().reset(deadline);
            }
            ready!(this.sleep.as_mut().poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, TryStreamExt};

    use super::*;

    #[test]
    fn a_body_has_a_first_while_and_earns_more_with_every_byte() {
        let pace = Pace { grace: Duration::from_secs(10), bytes_per_s_min: 100 };
        let started = Instant::now();
        let seconds = |bytes| (pace.deadline(started, bytes) - started).as_secs();
        assert_eq!([0, 99, 100, 2000].map(seconds), [10, 10, 11, 30]);
        assert!(seconds(u64::MAX) > 1_000_000, "no overflow");
    }

    #[tokio::test]
    async fn a_body_that_falls_behind_breaks_off_and_says_why_through_every_wrapping() {
        let never = || futures_util::stream::pending::<io::Result<Bytes>>();
        let pace = Pace { grace: Duration::from_millis(1), bytes_per_s_min: 100 };
        let error = pace.keep(Body::from_bytes_stream(never())).try_next().await.unwrap_err();
        assert!(is_too_slow(&error), "{error:?}");
        let kept = Body::from_bytes_stream(pace.keep(Body::from_bytes_stream(never())));
        let error = kept.into_bytes_limit(9).await.unwrap_err();
        assert!(is_too_slow(&error), "{error:?}");
        let mut unhurried = Pace { bytes_per_s_min: 0, ..pace }.keep(Body::from_bytes_stream(never()));
        let waited = tokio::time::timeout(Duration::from_millis(20), unhurried.next());
        assert!(waited.await.is_err(), "no pace is asked for");
        assert!(!is_too_slow(&io::Error::other("something else")));
    }
}
