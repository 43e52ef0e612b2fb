//! Group commit on the leader: requests that wait together become one entry, and one sync.
//!
//! Admission is a bounded queue. One task takes what waits while few entries are on their way, or every few milliseconds,
//! stamps the time and hands the entry to `openraft`; each request's proposer gets its own outcome.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::Span;
use twinmcp_storage::clock::{Clock, Timestamp};

use super::apply::Applier;
use super::entry::{Commands, Content, Kind, Requests};
use super::health::Health;
use super::requests::Request;
use super::start::REQUESTS_VERSION;
use super::types::{Raft, Types};
use crate::config::ClusterConfig;
use crate::error::ClusterError;
use crate::handle::Applied;
use crate::metrics::Metrics;

type Result<T> = std::result::Result<T, ClusterError>;
type WriteResult = openraft::raft::ClientWriteResult<Types>;

/// A request on its way into an entry.
struct Waiting {
    request: Request,
    /// Where it was proposed.
    span: Span,
    reply: oneshot::Sender<Result<Applied>>,
    /// Its share of the bytes that wait or are under way.
    room: OwnedSemaphorePermit,
}

/// What waits for an entry.
pub(super) struct Queue {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    command_bytes_max: usize,
    closing: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
    health: Health,
}

/// What forms entries.
pub(super) struct Former {
    pub(super) raft: Raft,
    pub(super) applier: Arc<Applier>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Health,
    pub(super) metrics: Arc<Metrics>,
}

impl Queue {
    /// Takes requests from now on.
    pub(super) fn start(config: &ClusterConfig, former: Former) -> Self {
        let (queue, waiting) = mpsc::channel(config.queue_commands_max);
        let (closing, is_closing) = watch::channel(false);
        let health = former.health.clone();
        let limits = Limits {
            commands_max: config.entry_commands_max,
            bytes_max: config.entry_bytes_max,
            in_flight_max: config.entries_in_flight_max,
        };
        let pace = Pace {
            eager: Arc::new(Semaphore::new(config.entries_eager)),
            interval: config.entry_interval,
            formed: tokio::time::Instant::now(),
        };
        let task = tokio::spawn(former.run(limits, pace, waiting, is_closing));
        Self {
            queue,
            room: Arc::new(Semaphore::new(config.queue_bytes_max)),
            command_bytes_max: config.entry_bytes_max,
            closing,
            task: Mutex::new(Some(task)),
            health,
        }
    }

    /// Proposes one request and waits until it is applied here, or `deadline`.
    pub(super) async fn submit(&self, request: Request, deadline: Duration) -> Result<Applied> {
        if let Some(reason) = self.health.failure() {
            return Err(ClusterError::Failed { reason: reason.to_owned() });
        }
        let (size, bytes_max) = (request.command.len(), self.command_bytes_max);
        let too_large = ClusterError::TooLarge { bytes: size, bytes_max };
        let permits = u32::try_from(size).ok().filter(|_| size <= bytes_max).ok_or(too_large)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits).map_err(|_| ClusterError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { request, span: Span::current(), reply, room };
        self.queue.try_send(waiting).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => ClusterError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(&self.health),
        })?;
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => Err(stopped(&self.health)),
            Err(_) => Err(ClusterError::Deadline),
        }
    }

    /// Takes no more proposals and returns once those under way are answered. What is not by the
    /// deadline is answered with [`ClusterError::Stopped`].
    pub(super) async fn close(&self, deadline: Duration) {
        self.closing.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(deadline, &mut task).await.is_err()
        {
            task.abort();
            // Ends with the abort.
            let _ = task.await;
        }
    }
}

pub(super) fn stopped(health: &Health) -> ClusterError {
    let reason = health.failure().unwrap_or("it was shut down").to_owned();
    ClusterError::Stopped { reason }
}

struct Limits {
    commands_max: usize,
    bytes_max: usize,
    in_flight_max: usize,
}

/// When the next entry is formed: at once while few are under way, which groups what comes while a disk writes; else after an
/// interval, so that over a long line nobody waits for the answer to an entry that left before.
struct Pace {
    eager: Arc<Semaphore>,
    interval: Duration,
    formed: tokio::time::Instant,
}

impl Pace {
    async fn turn(&mut self) -> Option<OwnedSemaphorePermit> {
        let eager = Arc::clone(&self.eager).acquire_owned();
        let eager = tokio::time::timeout_at(self.formed + self.interval, eager).await;
        self.formed = tokio::time::Instant::now();
        eager.ok().and_then(std::result::Result::ok)
    }
}

impl Former {
    async fn run(
        self,
        limits: Limits,
        mut pace: Pace,
        mut waiting: mpsc::Receiver<Waiting>,
        mut is_closing: watch::Receiver<bool>,
    ) {
        let in_flight = Arc::new(Semaphore::new(limits.in_flight_max));
        let mut stamped = Timestamp::default();
        // The command that did not fit into the entry before.
        let mut held = None;
        while let Ok(slot) = Arc::clone(&in_flight).acquire_owned().await {
            let first = match held.take() {
                Some(first) => Some(first),
                None => next(&mut waiting, &mut is_closing).await,
            };
            let Some(first) = first else { break };
            let eager = pace.turn().await;
            let group;
            (group, held) = gather(first, &mut waiting, &limits);
            if group.is_empty() {
                continue;
            }
            // Never back: not behind what this node stamped, nor behind what it has applied.
            stamped = self.clock.now().max(stamped).max(self.applier.stamped());
            self.submit(stamped, group, (slot, eager)).await;
        }
        // Every slot is free again once every entry is answered.
        let slots = u32::try_from(limits.in_flight_max).unwrap_or(u32::MAX);
        let _ = in_flight.acquire_many(slots).await;
    }

    /// Hands an entry to `openraft`; `slot` is its own until it is answered.
    async fn submit(&self, at: Timestamp, group: Vec<Waiting>, slot: impl Send + 'static) {
        let (mut requests, mut spans) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        let (mut replies, mut rooms) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for Waiting { request, span, reply, room } in group {
            requests.push(request);
            spans.push(span);
            replies.push(reply);
            rooms.push(room);
        }
        let (kind, body) = match encode(self.applier.version(), at, requests) {
            Ok(encoded) => encoded,
            Err(error) => {
                let reason = format!("an entry cannot be encoded: {error}");
                return answer_all(replies, || ClusterError::Stopped { reason: reason.clone() });
            }
        };
        self.metrics.entry_formed(replies.len());
        let formed = Instant::now();
        let content = Content::new(kind, body, spans);
        let (responder, written) = ProgressResponder::complete_only();
        if self.raft.client_write_ff(content, Some(responder)).await.is_err() {
            return answer_all(replies, || stopped(&self.health));
        }
        let (health, metrics) = (self.health.clone(), Arc::clone(&self.metrics));
        tokio::spawn(async move {
            let written = written.await.ok();
            if matches!(written, Some(Ok(_))) {
                metrics.entry_committed(formed);
            }
            answer(written, replies, &health);
            drop((slot, rooms));
        });
    }
}

/// The entry's kind and body. Builds of before requests cannot read them: until nobody needs to, commands go without
/// their numbers.
fn encode(
    version: u32,
    at: Timestamp,
    requests: Vec<Request>,
) -> std::result::Result<(Kind, Vec<u8>), postcard::Error> {
    if version >= REQUESTS_VERSION {
        return Ok((Kind::Requests, postcard::to_stdvec(&Requests { at, requests })?));
    }
    let commands = requests.into_iter().map(|request| request.command).collect();
    Ok((Kind::Commands, postcard::to_stdvec(&Commands { at, commands })?))
}

/// The next request, or `None` once the queue is closed and empty.
async fn next(
    waiting: &mut mpsc::Receiver<Waiting>,
    is_closing: &mut watch::Receiver<bool>,
) -> Option<Waiting> {
    tokio::select! {
        biased;
        next = waiting.recv() => return next,
        // An error says that the proposer is gone, which closes the queue too.
        _ = is_closing.wait_for(|is_closing| *is_closing) => waiting.close(),
    }
    waiting.recv().await
}

/// What waits and fits into one entry, and the command that no longer did. A command whose proposer
/// has given up is left out.
fn gather(
    first: Waiting,
    waiting: &mut mpsc::Receiver<Waiting>,
    limits: &Limits,
) -> (Vec<Waiting>, Option<Waiting>) {
    let (mut group, mut bytes) = (Vec::new(), 0);
    let mut next = Some(first);
    while let Some(command) = next {
        if !command.reply.is_closed() {
            if bytes + command.request.command.len() > limits.bytes_max {
                return (group, Some(command));
            }
            bytes += command.request.command.len();
            group.push(command);
        }
        next = (group.len() < limits.commands_max).then(|| waiting.try_recv().ok()).flatten();
    }
    (group, None)
}

fn answer(written: Option<WriteResult>, replies: Vec<oneshot::Sender<Result<Applied>>>, health: &Health) {
    match written {
        Some(Ok(response)) if response.data.0.len() == replies.len() => {
            let log_index = response.log_id.index;
            for (reply, outcome) in replies.into_iter().zip(response.data.0) {
                // A proposer may have given up.
                let _ = reply.send(Ok(Applied { outcome, log_index }));
            }
        }
        Some(Err(ClientWriteError::ForwardToLeader(_))) => answer_all(replies, || ClusterError::NoLeader),
        Some(Err(ClientWriteError::LogEntryDiscarded(_))) => {
            answer_all(replies, || ClusterError::LeaderChanged);
        }
        // No answer: consensus stopped. The others are for changes of membership.
        Some(_) | None => answer_all(replies, || stopped(health)),
    }
}

fn answer_all(replies: Vec<oneshot::Sender<Result<Applied>>>, error: impl Fn() -> ClusterError) {
    for reply in replies {
        let _ = reply.send(Err(error()));
    }
}
