//! What one connection is doing, told by the two who know: the socket sees bytes, the service sees
//! requests begin and end. From both follows until when the peer may keep silent.
//!
//! Invariant: nothing here locks or allocates; it is passed twice by every request.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::taking::Taking;

/// Stands for "no head is being read".
const NONE: u64 = u64::MAX;

/// How long a peer may keep the node waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the first byte of a request's head to its last.
    pub(super) head: Duration,
    /// Between two requests, and before the first.
    pub(super) idle: Duration,
    /// Without taking a single byte of an answer.
    pub(super) send: Duration,
    /// Bytes a second of an answer after that; 0 asks for nothing.
    pub(super) bytes_per_s_min: u64,
}

/// Why a connection was ended by the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stalled {
    #[error("the head of a request took too long")]
    Head,
    #[error("nothing was asked for a long time")]
    Idle,
    #[error("the answer was not taken")]
    Send,
}

/// Times are milliseconds since the connection was accepted.
#[derive(Debug)]
pub(super) struct Activity {
    accepted: Instant,
    requests: AtomicUsize,
    was_used: OnceLock<()>,
    quiet_since_ms: AtomicU64,
    head_since_ms: AtomicU64,
    reader: AtomicWaker,
    stalled: OnceLock<Stalled>,
    /// The answer of HTTP/1, which has one at a time.
    taking: Arc<Taking>,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            accepted: Instant::now(),
            requests: AtomicUsize::new(0),
            was_used: OnceLock::new(),
            quiet_since_ms: AtomicU64::new(0),
            head_since_ms: AtomicU64::new(NONE),
            reader: AtomicWaker::new(),
            stalled: OnceLock::new(),
            taking: Taking::new(),
        })
    }

    /// A request has begun; it lasts until what is returned is dropped, with the last byte of the answer.
    pub(super) fn begin(self: &Arc<Self>) -> InProgress {
        self.was_used.get_or_init(|| ());
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.head_since_ms.store(NONE, Ordering::Release);
        InProgress(Arc::clone(self))
    }

    /// Bytes came in. Between two requests of HTTP/1 they begin the next head.
    pub(super) fn received(&self, now: Instant, is_http2: bool) {
        if !is_http2 && self.is_quiet() {
            let now = self.millis(now);
            let _ = self.head_since_ms.compare_exchange(NONE, now, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Until when something has to come in, and what it is called when nothing does. A request in
    /// progress has deadlines of its own.
    pub(super) fn deadline(&self, patience: &Patience) -> Option<(Instant, Stalled)> {
        if !self.is_quiet() {
            return None;
        }
        let at = |since_ms, wait| self.accepted + Duration::from_millis(since_ms) + wait;
        Some(match self.head_since_ms.load(Ordering::Acquire) {
            NONE => (at(self.quiet_since_ms.load(Ordering::Acquire), patience.idle), Stalled::Idle),
            since => (at(since, patience.head), Stalled::Head),
        })
    }

    /// Whether the connection has had no request and no part of one for `time`.
    pub(super) fn is_idle_for(&self, time: Duration, now: Instant) -> bool {
        let since_ms = self.quiet_since_ms.load(Ordering::Acquire);
        let quiet = Duration::from_millis(self.millis(now).saturating_sub(since_ms));
        self.is_quiet() && self.head_since_ms.load(Ordering::Acquire) == NONE && quiet >= time
    }

    /// Whether a request ever came.
    pub(super) fn was_used(&self) -> bool {
        self.was_used.get().is_some()
    }

    /// Who is to look at the deadline again when a request ends.
    pub(super) fn watch(&self, reader: &Waker) {
        self.reader.register(reader);
    }

    pub(super) fn taking(&self) -> &Arc<Taking> {
        &self.taking
    }

    pub(super) fn stall(&self, why: Stalled) {
        self.stalled.get_or_init(|| why);
    }

    pub(super) fn stalled(&self) -> Option<Stalled> {
        self.stalled.get().copied()
    }

    fn is_quiet(&self) -> bool {
        self.requests.load(Ordering::Acquire) == 0
    }

    fn end(&self, now: Instant) {
        self.quiet_since_ms.store(self.millis(now), Ordering::Release);
        if self.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.reader.wake();
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.accepted).as_millis()).unwrap_or(NONE - 1)
    }
}

/// A request whose answer is not sent to its end.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Activity>);

impl InProgress {
    /// Whether its answer is taken, told where whoever ends it looks.
    pub(super) fn taking(&self) -> Arc<Taking> {
        Taking::of_stream().unwrap_or_else(|| Arc::clone(&self.0.taking))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.end(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(120),
        send: Duration::from_secs(30),
        bytes_per_s_min: 1024,
    };
    const SECOND: Duration = Duration::from_secs(1);

    /// The deadline in seconds since the connection was accepted, and what it is for.
    fn deadline(activity: &Activity) -> Option<(u64, Stalled)> {
        let (at, why) = activity.deadline(&PATIENCE)?;
        Some(((at - activity.accepted).as_secs(), why))
    }

    /// Begins a request whose end the test tells itself.
    fn begin(activity: &Arc<Activity>) {
        std::mem::forget(activity.begin());
    }

    #[test]
    fn a_peer_may_be_idle_for_long_but_a_head_once_begun_has_to_end_soon() {
        let activity = Activity::new();
        let at = |seconds| activity.accepted + seconds * SECOND;
        assert_eq!(deadline(&activity), Some((120, Stalled::Idle)));
        activity.received(at(100), false);
        assert_eq!(deadline(&activity), Some((110, Stalled::Head)));
        activity.received(at(104), false);
        assert_eq!(deadline(&activity), Some((110, Stalled::Head)), "more bytes buy no more time");
        begin(&activity);
        assert_eq!(deadline(&activity), None);
        activity.received(at(300), false);
        activity.end(at(400));
        assert_eq!(deadline(&activity), Some((520, Stalled::Idle)));
    }

    #[test]
    fn pings_of_http2_neither_begin_a_head_nor_keep_a_connection() {
        let activity = Activity::new();
        activity.received(activity.accepted + 20 * SECOND, true);
        assert_eq!(deadline(&activity), Some((120, Stalled::Idle)));
    }

    #[test]
    fn only_what_has_been_idle_long_enough_makes_room() {
        let activity = Activity::new();
        let at = |seconds| activity.accepted + seconds * SECOND;
        assert!(!activity.is_idle_for(SECOND, at(0)));
        assert!(activity.is_idle_for(SECOND, at(1)));
        begin(&activity);
        assert!(!activity.is_idle_for(SECOND, at(5)));
        activity.end(at(5));
        assert!(activity.is_idle_for(SECOND, at(6)));
        activity.received(at(6), false);
        assert!(!activity.is_idle_for(SECOND, at(9)), "a head is being read");
    }
}
