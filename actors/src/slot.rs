//! A slot: where callers find the actor of the day.
//!
//! A restarted actor is a new `ActorRef`, so handles hold a slot instead of a reference. A mailbox of
//! ractor has no bound, so the slot admits a limited number of calls before anything is sent.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorRef, Message, RpcReplyPort};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

/// Calls that may wait in one mailbox.
const CALLS_WAITING_MAX: usize = 1_024;

/// Time a caller waits for an actor, its restart included.
pub(crate) const REPLY_DEADLINE: Duration = Duration::from_secs(10);

/// The actor gave no answer; whether it did what was asked is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Too many calls wait already; nothing was sent.
    #[error("too many calls are waiting; try again in a moment")]
    Full,
    /// No answer within the deadline.
    #[error("no answer within the deadline")]
    Deadline,
    /// The actor ended while it worked on the call.
    #[error("the work was interrupted; try again")]
    Interrupted,
}

/// Where callers find the actor of the day.
pub(crate) struct Slot<M> {
    current: watch::Receiver<Option<ActorRef<M>>>,
    calls: Arc<Semaphore>,
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Self { current: self.current.clone(), calls: Arc::clone(&self.calls) }
    }
}

/// The supervisor's end of a slot: it puts each new actor in, and takes a dead one out.
pub(crate) type SlotWriter<M> = watch::Sender<Option<ActorRef<M>>>;

impl<M: Message> Slot<M> {
    /// An empty slot and the end that fills it.
    pub(crate) fn new() -> (SlotWriter<M>, Self) {
        let (writer, current) = watch::channel(None);
        (writer, Self { current, calls: Arc::new(Semaphore::new(CALLS_WAITING_MAX)) })
    }

    /// Sends what `message` makes of a reply port, and waits for the reply.
    ///
    /// While the actor is being restarted the call waits for the new one; a call whose actor dies is
    /// not sent again, because what it did before is unknown.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        deadline: Duration,
        message: impl FnOnce(RpcReplyPort<R>) -> M,
    ) -> Result<R, Unanswered> {
        let _admitted = self.calls.try_acquire().map_err(|_| Unanswered::Full)?;
        let until = Instant::now() + deadline;
        let actor = self.actor(until).await?;
        let (port, reply) = tokio::sync::oneshot::channel();
        actor.send_message(message(port.into())).map_err(|_| Unanswered::Interrupted)?;
        match timeout_at(until, reply).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(Unanswered::Interrupted),
            Err(_) => Err(Unanswered::Deadline),
        }
    }

    async fn actor(&self, until: Instant) -> Result<ActorRef<M>, Unanswered> {
        let mut current = self.current.clone();
        let filled = timeout_at(until, current.wait_for(Option::is_some)).await;
        match filled {
            Ok(Ok(actor)) => actor.clone().ok_or(Unanswered::Interrupted),
            Ok(Err(_)) => Err(Unanswered::Interrupted),
            Err(_) => Err(Unanswered::Deadline),
        }
    }
}

/// Answers a call when `work` is done, and leaves the actor free for the next one: for changes whose order the log decides.
///
/// As many run at once as calls are admitted; one that panics interrupts its own caller alone.
pub(crate) fn answer_when_done<R: Send + 'static>(
    port: RpcReplyPort<R>,
    work: impl Future<Output = R> + Send + 'static,
) {
    // It stays part of the caller's trace.
    tokio::spawn(async move { answer(port, work.await) }.in_current_span());
}

/// Sends `reply` to whoever still waits for it.
pub(crate) fn answer<R: Send>(port: RpcReplyPort<R>, reply: R) {
    // A caller that went away needs no answer.
    let _ = port.send(reply);
}
