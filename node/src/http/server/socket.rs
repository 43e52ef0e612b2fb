//! A socket that gives up on a peer which keeps it waiting: without the next request, in the middle of
//! a head, or by not taking an answer. hyper has one time for the first two, and none for the third.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, Patience, Stalled};

/// How a connection of HTTP/2 begins (RFC 9113, 3.4); no method of HTTP/1 is called `PRI`.
const HTTP2_PREFACE: &[u8] = b"PRI ";

#[derive(Debug)]
pub(super) struct Socket<S> {
    inner: S,
    activity: Arc<Activity>,
    patience: Patience,
    /// Bytes of [`HTTP2_PREFACE`] seen so far; nothing once it is known to be HTTP/1.
    preface: Option<usize>,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
    /// For an answer that is taken, but too slowly.
    taking: Option<Pin<Box<Sleep>>>,
}

impl<S> Socket<S> {
    pub(super) fn new(inner: S, activity: Arc<Activity>, patience: Patience) -> Self {
        Self { inner, activity, patience, preface: Some(0), reading: None, writing: None, taking: None }
    }

    fn received(&mut self, bytes: &[u8]) {
        if let Some(seen) = self.preface
            && let Some(wanted) = HTTP2_PREFACE.get(seen..).filter(|wanted| !wanted.is_empty())
        {
            let same = wanted.iter().zip(bytes).take_while(|(one, other)| one == other).count();
            let is_prefix = same == wanted.len().min(bytes.len());
            self.preface = is_prefix.then_some(seen + same);
        }
        self.activity.received(Instant::now(), self.preface == Some(HTTP2_PREFACE.len()));
    }

    /// Ready once the peer has kept silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.activity.watch(cx.waker());
        loop {
            let Some((at, why)) = self.activity.deadline(&self.patience) else {
                return Poll::Pending;
            };
            if at <= Instant::now() {
                self.activity.stall(why);
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            let sleep = self.reading.get_or_insert_with(|| Box::pin(sleep_until(at)));
            // A later deadline is found when the earlier one has passed: most never do.
            if sleep.deadline() > at || sleep.is_elapsed() {
                sleep.as_mut().reset(at);
            }
            ready!(sleep.as_mut().poll(cx));
        }
    }

    /// `written`, unless it has been pending for too long, by itself or with what was written before.
    fn poll_stall<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        if self.activity.taking().poll_late(&mut self.taking, cx).is_pending() {
            let patience = self.patience.send;
            let sleep = self.writing.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
            ready!(sleep.as_mut().poll(cx));
        }
        self.activity.stall(Stalled::Send);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, Stalled::Send)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                if let Some(bytes) = buffer.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
                    this.received(bytes);
                }
                Poll::Ready(read)
            }
            Poll::Pending => this.poll_silence(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.poll_stall(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.poll_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper flushes what it has written whole: nothing is left that the peer could be waited for.
        let flushed = ready!(Pin::new(&mut this.inner).poll_flush(cx));
        this.activity.taking().wait_until(None);
        Poll::Ready(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn once_all_is_sent_the_peer_is_waited_for_no_longer() {
        let patience = Patience { head: SECOND, idle: SECOND, send: 30 * SECOND, bytes_per_s_min: 1024 };
        let activity = Activity::new();
        let (near, _far) = tokio::io::duplex(1024);
        let mut socket = Socket::new(near, Arc::clone(&activity), patience);
        activity.taking().wait_until(Some(Instant::now() + SECOND));
        socket.write_all(&[0; 10]).await.unwrap();
        socket.flush().await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
        let next = tokio::time::timeout(10 * SECOND, socket.write_all(&[0; 4096])).await;
        assert!(next.is_err(), "the next answer has its own time: {next:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_byte_now_and_then_is_given_up() {
        let patience = Patience { head: SECOND, idle: SECOND, send: 30 * SECOND, bytes_per_s_min: 1024 };
        for (is_answer, is_cut) in [(false, false), (true, true)] {
            let activity = Activity::new();
            let (near, mut far) = tokio::io::duplex(1);
            let mut socket = Socket::new(near, Arc::clone(&activity), patience);
            activity.taking().wait_until(is_answer.then(|| Instant::now() + 100 * SECOND));
            let peer = tokio::spawn(async move {
                while matches!(far.read(&mut [0]).await, Ok(1)) {
                    tokio::time::sleep(29 * SECOND).await;
                }
            });
            let written = socket.write_all(&[0; 10]).await;
            assert_eq!(written.is_err(), is_cut);
            assert_eq!(activity.stalled(), is_cut.then_some(Stalled::Send));
            peer.abort();
        }
    }
}
