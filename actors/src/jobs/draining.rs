//! Draining: a node that is to go takes and begins no job, gives back at once those that wait, and finishes what runs, up to
//! a bound; then it stops that and gives it back too.
//!
//! A lease is a node's, so it ends for a moment while single jobs are given back: the node renews it for no time, claims the
//! jobs for nobody, and renews it for what it keeps. That takes commands that every build knows. A node that looks for what
//! is left in just that moment may take a running job along; only its attempt publishes then.
//!
//! Invariant: a job is given back only when another node can take it, which has a copy of its archive if it has one. Others
//! stay: they wait here until the node takes jobs again, and for another that can take them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use ractor::ActorRef;
use tokio::time::Instant;
use tracing::{info, warn};
use twinmcp_cluster::{ClusterError, NodeId};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::{AccountId, JobId};
use twinmcp_storage::jobs::{self, JOBS_MAX, Job, NOBODY, Source};

use super::copies::Copies;
use super::dispatcher::{Dispatcher, Message, State};
use super::{Jobs, JobsError};
use crate::slot::REPLY_DEADLINE;

/// Between two looks at what still runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long jobs that are stopped at the bound may take to end, and before that their archives to another node.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Archives on their way to others at once.
const COPIES_AT_ONCE_MAX: usize = 4;
/// Jobs given back in one go: the lease is over meanwhile.
const GIVEN_AT_ONCE_MAX: usize = 64;

/// Whether the node takes no jobs. It outlives the dispatcher of the day.
#[derive(Clone, Default)]
pub(super) struct Draining(Arc<AtomicBool>);

impl Draining {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn set(&self, is_draining: bool) {
        self.0.store(is_draining, Ordering::SeqCst);
    }
}

/// Open jobs of this node.
pub(super) struct Held {
    /// Those that wait, for a worker or for another attempt.
    idle: Vec<Job>,
    running: Vec<Job>,
}

impl Jobs {
    /// Takes and begins no job from now on, until [`Self::open`]; what runs goes on.
    pub fn close(&self) {
        self.draining.set(true);
    }

    /// Takes jobs again, and begins those that wait here.
    ///
    /// # Errors
    /// [`JobsError::Busy`]: they begin later.
    pub async fn open(&self) -> Result<(), JobsError> {
        self.draining.set(false);
        Ok(self.slot.call(REPLY_DEADLINE, |reply| Message::Resume { reply }).await?)
    }

    /// Whether this node takes jobs.
    ///
    /// # Errors
    /// [`JobsError::Draining`] when it does not.
    pub fn admit(&self) -> Result<(), JobsError> {
        if self.draining.is_set() { Err(JobsError::Draining) } else { Ok(()) }
    }

    /// Empties a node that was [closed](Self::close). Returns once the jobs that waited are given back, and those that run have
    /// ended, or were stopped at the bound ([`finish`](super::JobsConfig::finish)) and given back. Jobs that no other node can
    /// take stay; one of them that runs at the bound runs on.
    ///
    /// # Errors
    /// [`JobsError::Busy`], [`JobsError::Storage`]: some may still be here.
    pub async fn empty(&self) -> Result<(), JobsError> {
        let until = Instant::now() + self.finish;
        let mut asked = Vec::new();
        loop {
            let held = self.held().await?;
            let given = self.give_back(&held.idle, &mut asked, until).await?;
            if !self.draining.is_set() {
                return Ok(());
            }
            if given == 0 && held.running.is_empty() {
                if !held.idle.is_empty() {
                    warn!(jobs = held.idle.len(), "jobs that no other node can take stay on this node");
                }
                return Ok(());
            }
            if Instant::now() >= until {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.stop_running(&mut asked).await
    }

    /// Stops those running jobs that another node can take, and gives them back.
    async fn stop_running(&self, asked: &mut Vec<NodeId>) -> Result<(), JobsError> {
        let running = self.held().await?.running;
        let takers = self.copies.takers();
        bring_archives(&self.copies, &takers, &running, STOP_PATIENCE).await;
        let stopped = takeable(&self.copies, &takers, &running);
        if stopped.len() < running.len() {
            let jobs = running.len() - stopped.len();
            warn!(jobs, "jobs that no other node can take run on, though this node was drained");
        }
        let jobs = stopped.clone();
        self.slot.call(REPLY_DEADLINE, |reply| Message::StopRunning { jobs, reply }).await?;
        let until = Instant::now() + STOP_PATIENCE;
        loop {
            let held = self.held().await?;
            self.give_back(&held.idle, asked, until).await?;
            let is_over = !held.running.iter().any(|job| stopped.contains(&job.id));
            if is_over || !self.draining.is_set() || Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn held(&self) -> Result<Held, JobsError> {
        Ok(self.slot.call(REPLY_DEADLINE, |reply| Message::Held { reply }).await??)
    }

    /// Gives back those of `idle` that another node can take; how many these are. Others are asked to keep archives only when
    /// nothing is left that can go at once, and no node twice (`asked`).
    async fn give_back(
        &self,
        idle: &[Job],
        asked: &mut Vec<NodeId>,
        until: Instant,
    ) -> Result<usize, JobsError> {
        let takers = self.copies.takers();
        let mut given = takeable(&self.copies, &takers, idle);
        if given.is_empty() && *asked != takers {
            let patience = until.saturating_duration_since(Instant::now());
            bring_archives(&self.copies, &takers, idle, patience).await;
            given = takeable(&self.copies, &takers, idle);
            *asked = takers;
        }
        let count = given.len();
        if count > 0 {
            self.slot.call(REPLY_DEADLINE, |reply| Message::GiveBack { jobs: given, reply }).await?;
        }
        Ok(count)
    }
}

/// Those of `jobs` that one of `takers` can do as it is.
fn takeable(copies: &Copies, takers: &[NodeId], jobs: &[Job]) -> Vec<JobId> {
    let can_go = |job: &&Job| match &job.source {
        Source::Web { .. } | Source::Git { .. } => !takers.is_empty(),
        Source::Upload { hash, .. } => copies.is_kept_at(takers, hash),
        Source::Folder { .. } => false,
    };
    jobs.iter().filter(can_go).map(|job| job.id.clone()).collect()
}

/// Lets one of `takers` have the archive of each of `jobs` that has one.
async fn bring_archives(copies: &Copies, takers: &[NodeId], jobs: &[Job], patience: Duration) {
    if takers.is_empty() {
        return;
    }
    let archives = jobs.iter().filter_map(|job| match &job.source {
        Source::Upload { hash, .. } => Some((job.account.clone(), hash.clone())),
        Source::Folder { .. } | Source::Web { .. } | Source::Git { .. } => None,
    });
    let archives: Vec<_> = archives.collect();
    let bring = |(account, hash): (AccountId, String)| {
        let (copies, takers) = (copies.clone(), takers.to_vec());
        async move {
            // Who has a copy now is noted.
            copies.ensure_at(&takers, &account, &hash, patience).await;
        }
    };
    stream::iter(archives).for_each_concurrent(COPIES_AT_ONCE_MAX, bring).await;
}

impl Dispatcher {
    /// Which open jobs are this node's.
    pub(super) fn held(&self, state: &State) -> Result<Held, StorageError> {
        let reader = self.context.cluster.reader();
        let mut held = Held { idle: Vec::new(), running: Vec::new() };
        for job in jobs::list(reader, None, JOBS_MAX)? {
            if !job.state.is_ended() && jobs::owner(reader, &job.id)? == Some(state.node) {
                if state.runs(&job.id) { held.running.push(job) } else { held.idle.push(job) }
            }
        }
        Ok(held)
    }

    /// Gives back what could not be given back before, beside the mailbox: another node may be ready by now.
    pub(super) fn try_to_give_back(
        &self,
        myself: &ActorRef<Message>,
        state: &State,
    ) -> Result<(), StorageError> {
        let Held { idle, .. } = self.held(state)?;
        let takers = self.copies.takers();
        if idle.is_empty() || takers.is_empty() {
            return Ok(());
        }
        let (copies, patience, dispatcher) = (self.copies.clone(), self.lease, myself.clone());
        tokio::spawn(async move {
            bring_archives(&copies, &takers, &idle, patience).await;
            // Nobody waits for the answer.
            let (reply, _) = tokio::sync::oneshot::channel();
            let jobs = takeable(&copies, &takers, &idle);
            let _ = dispatcher.send_message(Message::GiveBack { jobs, reply: reply.into() });
        });
        Ok(())
    }

    /// Gives `jobs` to whoever takes them, unless the node takes jobs again or one of them runs.
    pub(super) async fn give_back(&self, jobs: &[JobId], state: &mut State) -> Result<(), ClusterError> {
        for some in jobs.chunks(GIVEN_AT_ONCE_MAX) {
            let mut given = Vec::new();
            for id in some {
                let owner = jobs::owner(self.context.cluster.reader(), id).map_err(ClusterError::Storage)?;
                if self.draining.is_set() && owner == Some(state.node) && !state.runs(id) {
                    given.push(id);
                }
            }
            if given.is_empty() {
                continue;
            }
            // Since when nobody works on them.
            self.renew_for(NOBODY, Duration::ZERO).await?;
            self.renew_for(state.node, Duration::ZERO).await?;
            let claimed = join_all(given.iter().map(|id| {
                let claim = jobs::Command::Claim { id: (*id).clone(), node: NOBODY };
                self.context.cluster.propose(Command::Jobs(claim))
            }));
            let claimed = claimed.await;
            // Whatever became of them, the others are this node's.
            self.renew_for(state.node, self.lease).await?;
            for (id, claimed) in given.into_iter().zip(claimed) {
                if claimed?.outcome == Outcome::Done {
                    info!(job_id = %id, "a job is given back: another node takes it");
                    state.waiting.retain(|waiting| waiting != id);
                }
            }
        }
        Ok(())
    }

    /// Stops the attempts at `jobs`: these wait then.
    pub(super) fn stop_running(&self, jobs: &[JobId], state: &mut State) {
        for attempt in state.running.values_mut().filter(|attempt| jobs.contains(&attempt.job)) {
            info!(job_id = %attempt.job, "a job is stopped, because this node is drained");
            attempt.is_stopped = true;
            attempt.cancel.cancel();
        }
    }
}
