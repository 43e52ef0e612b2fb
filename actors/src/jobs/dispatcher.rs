//! The dispatcher: gives each open job of this node an actor of its own, so many at a time, starts another attempt
//! when one dies, and cleans up after those that ended.
//!
//! A job belongs to the node that claimed it. While this node has jobs it renews its lease; what a node leaves behind
//! whose lease has run out is claimed by one that has, or can get, its source; what a drained node gives back, at once
//! (`draining`). A job whose source nobody has any more, the node that leads ends with a sentence (`lost`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::metrics::Gauge;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio_util::sync::CancellationToken;
use tracing::{instrument, warn};
use twinmcp_cluster::{Changes, ClusterError};
use twinmcp_storage::accounts;
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::{AccountId, JobId};
use twinmcp_storage::jobs::{self, ATTEMPTS_MAX, JOBS_MAX, Job, Source};
use twinmcp_storage::transaction::Change;

use super::copies::Copies;
use super::draining::{Draining, Held};
use super::lost::{Left, Search};
use super::progress::{Board, JobView, Progress, Stage};
use super::uploads::Uploads;
use super::{JobsError, OPEN_JOBS_EACH_MAX, Submission, job};
use crate::context::Context;
use crate::ingest::IngestLimits;
use crate::ingest::fetch::Fetcher;
use crate::slot::answer;

/// One variant per thing the dispatcher can be asked; the reply port comes last.
pub(super) enum Message {
    Submit {
        submission: Submission,
        reply: RpcReplyPort<Result<JobView, JobsError>>,
    },
    Cancel {
        account: Option<AccountId>,
        id: JobId,
        reply: RpcReplyPort<Result<(), JobsError>>,
    },
    /// The pause before another attempt is over.
    TryAgain(JobId),
    /// There is more to do for waiting jobs.
    Fill,
    /// Time to clean up.
    Sweep,
    /// Time to renew the lease, and to look for jobs that nobody works on.
    Tend,
    /// Something was agreed on about jobs.
    Changed(Vec<JobId>),
    /// Anything may have been agreed on, more than could be told.
    Everything,
    /// What a job was to be made from is lost, as the message says.
    Lost(JobId, String),
    /// Which open jobs are this node's.
    Held {
        reply: RpcReplyPort<Result<Held, StorageError>>,
    },
    /// Gives jobs of a drained node that do not run to whoever takes them; answered also when that failed.
    GiveBack {
        jobs: Vec<JobId>,
        reply: RpcReplyPort<()>,
    },
    /// Stops running jobs of a drained node.
    StopRunning {
        jobs: Vec<JobId>,
        reply: RpcReplyPort<()>,
    },
    /// The node takes jobs again.
    Resume {
        reply: RpcReplyPort<()>,
    },
}

/// Gives each job an actor, `workers` at a time.
pub(super) struct Dispatcher {
    pub(super) context: Arc<Context>,
    pub(super) board: Board,
    pub(super) uploads: Uploads,
    pub(super) copies: Copies,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) workers: usize,
    pub(super) limits: IngestLimits,
    /// How long a node's jobs are its own without a word of it; three words are said in that time.
    pub(super) lease: Duration,
    pub(super) lost_after: Duration,
    pub(super) draining: Draining,
}

pub(super) struct State {
    pub(super) waiting: VecDeque<JobId>,
    pub(super) running: HashMap<ActorId, Attempt>,
    pub(super) node: u64,
    queue_depth: Gauge<u64>,
}

pub(super) struct Attempt {
    pub(super) job: JobId,
    pub(super) cancel: CancellationToken,
    /// Whether it ends because the node is drained.
    pub(super) is_stopped: bool,
}

impl State {
    /// Whether the job waits or runs here.
    fn holds(&self, job: &JobId) -> bool {
        self.waiting.contains(job) || self.runs(job)
    }

    pub(super) fn runs(&self, job: &JobId) -> bool {
        self.running.values().any(|attempt| attempt.job == *job)
    }
}

/// Jobs whose last view is kept for those who come late.
const ENDED_VIEWS_MAX: usize = 200;
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A job that was begun so often has ended node after node. Far more often than [`ATTEMPTS_MAX`], as a start says nothing of why the one
/// before it ended: a node that was stopped, or drained, is no fault of its jobs.
const STARTS_MAX: u32 = 20;
/// Jobs whose source is sought in one go: after a start with a full list of jobs callers are answered between them.
const SOUGHT_MAX: usize = 16;

impl Actor for Dispatcher {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    /// Jobs that were open when the node, or the dispatcher before this one, ended go on.
    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        let queue_depth = global::meter("twinmcp")
            .u64_gauge("twinmcp.ingest.queue.depth")
            .with_description("Index jobs that wait for a worker.")
            .build();
        let node = self.context.cluster.status().node_id.0;
        let mut state = State { waiting: VecDeque::new(), running: HashMap::new(), node, queue_depth };
        let changes = self.context.cluster.changes();
        for job in jobs::list(self.context.cluster.reader(), None, JOBS_MAX)? {
            if !job.state.is_ended() {
                let owner = jobs::owner(self.context.cluster.reader(), &job.id)?;
                if owner.is_none_or(|owner| owner == node) {
                    state.waiting.push_back(job.id.clone());
                }
                let worker = jobs::worker(self.context.cluster.reader(), &job.id)?;
                self.board.show(job, worker);
            }
        }
        // Those that ended while nobody listened.
        for id in self.board.open() {
            self.board.refresh(&self.context, &id)?;
        }
        tokio::spawn(follow(changes, myself.clone()));
        myself.send_message(Message::Sweep)?;
        myself.send_message(Message::Tend)?;
        Ok(state)
    }

    async fn post_start(
        &self,
        myself: ActorRef<Message>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        self.fill(&myself, state).await
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Submit { submission, reply } => answer(reply, self.submit(submission, state).await),
            Message::Cancel { account, id, reply } => answer(reply, self.cancel(account, id, state).await),
            Message::TryAgain(id) => state.waiting.push_back(id),
            Message::Fill => {}
            Message::Changed(jobs) => self.changed(&jobs, state)?,
            Message::Everything => {
                let jobs = self.perhaps_changed()?;
                self.changed(&jobs, state)?;
            }
            Message::Tend => {
                self.tend(&myself, state).await?;
                myself.send_after(self.lease / 3, || Message::Tend);
            }
            Message::Lost(id, message) => self.lost(&id, &message, state).await?,
            Message::Held { reply } => answer(reply, self.held(state)),
            Message::GiveBack { jobs, reply } => {
                if let Err(error) = self.give_back(&jobs, state).await {
                    warn!(error = &error as &dyn std::error::Error, "jobs of this node were not given back");
                }
                answer(reply, ());
            }
            Message::StopRunning { jobs, reply } => {
                self.stop_running(&jobs, state);
                answer(reply, ());
            }
            Message::Resume { reply } => answer(reply, ()),
            Message::Sweep => {
                self.sweep()?;
                myself.send_after(SWEEP_EVERY, || Message::Sweep);
            }
        }
        self.fill(&myself, state).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let cause = match &event {
            SupervisionEvent::ActorFailed(_, cause) => cause.to_string(),
            SupervisionEvent::ActorTerminated(_, _, reason) => reason.clone().unwrap_or_default(),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        let id = event.actor_cell().map(|cell| cell.get_id());
        if let Some(attempt) = id.and_then(|id| state.running.remove(&id)) {
            self.attempt_ended(&myself, &attempt, &cause, state).await?;
        }
        self.fill(&myself, state).await
    }
}

/// Tells the dispatcher what is agreed on about jobs; ends with the cluster, or with the dispatcher.
async fn follow(mut changes: Changes, dispatcher: ActorRef<Message>) {
    while let Some(changes) = changes.next().await {
        if let Some(message) = told(&changes)
            && dispatcher.send_message(message).is_err()
        {
            return;
        }
    }
}

/// What the dispatcher has to know of changes.
fn told(changes: &[Change]) -> Option<Message> {
    if changes.contains(&Change::Everything) {
        return Some(Message::Everything);
    }
    let jobs = changes.iter().filter_map(|change| match change {
        Change::Job(id) => Some(id.clone()),
        _ => None,
    });
    let jobs: Vec<_> = jobs.collect();
    (!jobs.is_empty()).then_some(Message::Changed(jobs))
}

impl Dispatcher {
    #[instrument(name = "jobs.submit", skip_all, fields(library_id = %submission.library))]
    async fn submit(&self, submission: Submission, state: &mut State) -> Result<JobView, JobsError> {
        if self.draining.is_set() {
            return Err(JobsError::Draining);
        }
        self.check_share(&submission.account)?;
        let context = &self.context;
        let id = JobId::random(context.clock.now(), &*context.entropy)?;
        let Submission { account, library, version, source, base_url } = submission;
        let command = jobs::Command::Submit { id: id.clone(), account, library, version, source, base_url };
        if context.cluster.propose(Command::Jobs(command)).await?.outcome == Outcome::LimitReached {
            return Err(JobsError::LimitReached);
        }
        // Before it is waiting: whoever sees it unclaimed for long takes it.
        self.renew(state.node).await?;
        let claim = jobs::Command::Claim { id: id.clone(), node: state.node };
        context.cluster.propose(Command::Jobs(claim)).await?;
        self.board.refresh(context, &id)?;
        state.waiting.push_back(id.clone());
        self.board.get(&id).ok_or(JobsError::NotFound { id })
    }

    /// Whether the account may have another job; see [`OPEN_JOBS_EACH_MAX`].
    fn check_share(&self, account: &AccountId) -> Result<(), JobsError> {
        let reader = self.context.cluster.reader();
        if !accounts::may_operate(reader, account)? && jobs::open_of(reader, account)? >= OPEN_JOBS_EACH_MAX {
            return Err(JobsError::AccountLimitReached);
        }
        Ok(())
    }

    #[instrument(name = "jobs.cancel", skip_all, fields(job_id = %id))]
    async fn cancel(
        &self,
        account: Option<AccountId>,
        id: JobId,
        state: &mut State,
    ) -> Result<(), JobsError> {
        let command = jobs::Command::Cancel { id: id.clone(), account };
        match self.context.cluster.propose(Command::Jobs(command)).await?.outcome {
            Outcome::Done => {}
            Outcome::Stale => return Err(JobsError::Ended { id }),
            _ => return Err(JobsError::NotFound { id }),
        }
        state.waiting.retain(|waiting| *waiting != id);
        for attempt in state.running.values().filter(|attempt| attempt.job == id) {
            attempt.cancel.cancel();
        }
        self.board.refresh(&self.context, &id)?;
        Ok(())
    }

    /// Starts waiting jobs until all workers are busy; none on a drained node.
    async fn fill(&self, myself: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let mut bereft = Vec::new();
        while state.running.len() < self.workers && !self.draining.is_set() {
            if bereft.len() == SOUGHT_MAX {
                myself.send_message(Message::Fill)?;
                break;
            }
            let Some(id) = state.waiting.pop_front() else { break };
            let Some(job) = jobs::get(self.context.cluster.reader(), &id)? else { continue };
            if job.state.is_ended() || !self.claim(&id, state.node).await? {
                continue;
            }
            // No attempt is left to tell of its end when its whole node ends with it: that is seen only here.
            if job.attempt >= STARTS_MAX {
                let message = format!(
                    "gave up after it was begun {} times; the node ended each time, by a restart or for want of memory; send \
                     it again, with less documentation if that comes back",
                    job.attempt
                );
                warn!(job_id = %id, attempt = job.attempt, "a job whose attempts end with their node is given up");
                self.give_up(&job, &message).await?;
                continue;
            }
            let Some(input) = job::input(&self.uploads, &job) else {
                bereft.push(job);
                continue;
            };
            let cancel = CancellationToken::new();
            let arguments = job::Arguments {
                context: Arc::clone(&self.context),
                board: self.board.clone(),
                limits: self.limits.clone(),
                job,
                input,
                fetcher: Arc::clone(&self.fetcher),
                cancel: cancel.clone(),
            };
            let (actor, _) = Actor::spawn_linked(None, job::JobActor, arguments, myself.get_cell()).await?;
            state.running.insert(actor.get_id(), Attempt { job: id, cancel, is_stopped: false });
        }
        if !bereft.is_empty() {
            tokio::spawn(self.search().regain(bereft, self.lease, myself.clone()));
        }
        state.queue_depth.record(state.waiting.len() as u64, &[]);
        Ok(())
    }

    fn search(&self) -> Search {
        let status = self.context.cluster.status();
        Search { copies: self.copies.clone(), members: status.members, lost_after: self.lost_after }
    }

    /// Whether the job is this node's now.
    async fn claim(&self, id: &JobId, node: u64) -> Result<bool, ActorProcessingErr> {
        if jobs::owner(self.context.cluster.reader(), id)? == Some(node) {
            return Ok(true);
        }
        self.renew(node).await?;
        let claim = jobs::Command::Claim { id: id.clone(), node };
        Ok(self.context.cluster.propose(Command::Jobs(claim)).await?.outcome == Outcome::Done)
    }

    /// Says that this node works, unless it did a moment ago.
    async fn renew(&self, node: u64) -> Result<(), ClusterError> {
        let lease = jobs::lease(self.context.cluster.reader(), node).map_err(ClusterError::Storage)?;
        let left = lease.map_or(0, |lease| lease.until.millis_since(self.context.clock.now()));
        if u128::from(left) > (self.lease * 5 / 6).as_millis() {
            return Ok(());
        }
        self.renew_for(node, self.lease).await
    }

    /// Lets a node's lease end so much later than now.
    pub(super) async fn renew_for(&self, node: u64, time: Duration) -> Result<(), ClusterError> {
        let for_ms = u64::try_from(time.as_millis()).unwrap_or(jobs::LEASE_MS_MAX);
        let renew = jobs::Command::Renew { node, for_ms };
        self.context.cluster.propose(Command::Jobs(renew)).await.map(drop)
    }

    /// Renews the lease while there are jobs, looks after copies of their archives, and takes jobs that nobody works on, or
    /// on a drained node tries to give jobs back. What cannot be agreed on now is tried again at the next time.
    async fn tend(&self, myself: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if (!state.waiting.is_empty() || !state.running.is_empty())
            && let Err(error) = self.renew(state.node).await
        {
            warn!(error = &error as &dyn std::error::Error, "the lease on this node's jobs was not renewed");
        }
        let reader = self.context.cluster.reader();
        let mut lost = Vec::new();
        for job in jobs::list(reader, None, JOBS_MAX)? {
            if job.state.is_ended() {
                continue;
            }
            if state.holds(&job.id) {
                self.keep_copy(&job);
                continue;
            }
            let Some(left) = self.left(&job, state.node)? else { continue };
            if job::can_run_here(&self.uploads, &job) {
                if self.draining.is_set() {
                    continue;
                }
                warn!(job_id = %job.id, "a job that its node has left is taken over");
                state.waiting.push_back(job.id);
            } else {
                lost.push((job, left));
            }
        }
        let status = self.context.cluster.status();
        if status.leader == Some(status.node_id) && !lost.is_empty() {
            lost.truncate(SOUGHT_MAX);
            tokio::spawn(self.search().run(lost, myself.clone()));
        }
        if self.draining.is_set() {
            self.try_to_give_back(myself, state)?;
        }
        Ok(())
    }

    /// A job that nobody works on: who did, and since when it does not.
    fn left(&self, job: &Job, node: u64) -> Result<Option<Left>, StorageError> {
        let (reader, now) = (self.context.cluster.reader(), self.context.clock.now());
        let owner = jobs::owner(reader, &job.id)?;
        let until = match owner {
            // A retry waits for its pause.
            Some(owner) if owner == node => return Ok(None),
            Some(owner) => jobs::lease(reader, owner)?.map_or(job.created_at, |lease| lease.until),
            // Between its submission and its claim, or from before jobs had owners.
            None => job.created_at.plus_millis(self.lease.as_millis() as u64),
        };
        let away = Duration::from_millis(now.millis_since(until));
        Ok((until <= now).then_some(Left { owner, away }))
    }

    /// Sees to it, beside the mailbox, that another node has the archive of a job of this one.
    fn keep_copy(&self, job: &Job) {
        let Source::Upload { hash, .. } = &job.source else { return };
        if !self.copies.is_kept(hash) {
            let (copies, account, hash) = (self.copies.clone(), job.account.clone(), hash.clone());
            let patience = self.lease;
            tokio::spawn(async move { copies.ensure(&account, &hash, patience).await });
        }
    }

    /// Ends a job whose source is lost, unless somebody has begun to work on it meanwhile.
    async fn lost(&self, id: &JobId, message: &str, state: &State) -> Result<(), ActorProcessingErr> {
        let Some(job) = jobs::get(self.context.cluster.reader(), id)? else { return Ok(()) };
        let is_bereft =
            jobs::owner(self.context.cluster.reader(), id)? == Some(state.node) && !state.holds(id);
        if job.state.is_ended() || !(is_bereft || self.left(&job, state.node)?.is_some()) {
            return Ok(());
        }
        warn!(job_id = %id, message, "a job cannot go on");
        self.give_up(&job, message).await
    }

    /// The jobs that are open, or were when they were last looked at.
    fn perhaps_changed(&self) -> Result<Vec<JobId>, StorageError> {
        let mut perhaps = self.board.open();
        let jobs = jobs::list(self.context.cluster.reader(), None, JOBS_MAX)?;
        perhaps.extend(jobs.into_iter().filter(|job| !job.state.is_ended()).map(|job| job.id));
        perhaps.sort_unstable();
        perhaps.dedup();
        Ok(perhaps)
    }

    /// Another node may have ended a job of this one, or given one back.
    fn changed(&self, jobs: &[JobId], state: &mut State) -> Result<(), StorageError> {
        for id in jobs {
            self.board.refresh(&self.context, id)?;
            let job = jobs::get(self.context.cluster.reader(), id)?;
            let is_ended = job.as_ref().is_none_or(|job| job.state.is_ended());
            let owner = jobs::owner(self.context.cluster.reader(), id)?;
            // It waits on every node that can do it: whichever has a worker first claims it.
            if let Some(job) = job.as_ref().filter(|_| !is_ended && owner == Some(jobs::NOBODY))
                && !self.draining.is_set()
                && job::can_run_here(&self.uploads, job)
            {
                if !state.holds(id) {
                    state.waiting.push_back(id.clone());
                }
                continue;
            }
            // The copy that was kept for the node that worked on it.
            if let Some(job) = job.filter(|_| is_ended && owner != Some(state.node))
                && let Source::Upload { hash, .. } = &job.source
                && self.uploads.path(&job.account, hash).is_some()
            {
                self.clean_after(&job)?;
            }
            if is_ended || owner.is_some_and(|owner| owner != state.node) {
                state.waiting.retain(|waiting| waiting != id);
                for attempt in state.running.values().filter(|attempt| attempt.job == *id) {
                    attempt.cancel.cancel();
                }
            }
        }
        Ok(())
    }

    /// Another attempt for a job whose actor went away without ending it; one that was stopped waits here.
    async fn attempt_ended(
        &self,
        myself: &ActorRef<Message>,
        Attempt { job: id, is_stopped, .. }: &Attempt,
        cause: &str,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        self.board.refresh(&self.context, id)?;
        let Some(job) = jobs::get(self.context.cluster.reader(), id)? else { return Ok(()) };
        if job.state.is_ended() {
            self.clean_after(&job)?;
            return Ok(());
        }
        if *is_stopped {
            state.waiting.push_back(id.clone());
            return Ok(());
        }
        warn!(job_id = %id, attempt = job.attempt, cause, "attempt ended before its job");
        if job.attempt >= ATTEMPTS_MAX {
            let message = format!("gave up after {} attempts; the last one ended with: {cause}", job.attempt);
            return self.give_up(&job, &message).await;
        }
        let (id, pause) = (id.clone(), RETRY_PAUSE.saturating_mul(1 << job.attempt.min(5)));
        myself.send_after(pause, move || Message::TryAgain(id));
        Ok(())
    }

    async fn give_up(&self, job: &Job, message: &str) -> Result<(), ActorProcessingErr> {
        let cluster = &self.context.cluster;
        // Only a running attempt can fail: one that never ran is begun for the purpose.
        let attempt = if job.state == jobs::JobState::Running { job.attempt } else { job.attempt + 1 };
        if attempt != job.attempt {
            let start = jobs::Command::Start { id: job.id.clone(), attempt };
            cluster.propose(Command::Jobs(start)).await?;
        }
        let fail = jobs::Command::Fail { id: job.id.clone(), attempt, message: message.to_owned() };
        cluster.propose(Command::Jobs(fail)).await?;
        self.board.refresh(&self.context, &job.id)?;
        self.clean_after(job)?;
        Ok(())
    }

    /// Deletes the upload of a job that ended, unless another open job needs it.
    fn clean_after(&self, job: &Job) -> Result<(), StorageError> {
        if let Source::Upload { hash, .. } = &job.source
            && !self.is_needed(hash)?
        {
            self.uploads.remove(&job.account, hash);
            self.copies.forget(hash);
        }
        self.forget_old_views()
    }

    fn is_needed(&self, wanted: &str) -> Result<bool, StorageError> {
        let jobs = jobs::list(self.context.cluster.reader(), None, JOBS_MAX)?;
        Ok(jobs.iter().any(|job| {
            !job.state.is_ended() && matches!(&job.source, Source::Upload { hash, .. } if hash == wanted)
        }))
    }

    fn forget_old_views(&self) -> Result<(), StorageError> {
        let jobs = jobs::list(self.context.cluster.reader(), None, JOBS_MAX)?;
        for job in jobs.iter().rev().filter(|job| job.state.is_ended()).skip(ENDED_VIEWS_MAX) {
            self.board.forget(&job.id);
        }
        Ok(())
    }

    fn sweep(&self) -> Result<(), StorageError> {
        let jobs = jobs::list(self.context.cluster.reader(), None, JOBS_MAX)?;
        let open: Vec<&Job> = jobs.iter().filter(|job| !job.state.is_ended()).collect();
        let needed: Vec<_> = open
            .iter()
            .filter_map(|job| match &job.source {
                Source::Upload { hash, .. } => Some(hash.clone()),
                Source::Folder { .. } | Source::Web { .. } | Source::Git { .. } => None,
            })
            .collect();
        self.uploads.sweep(|hash| needed.iter().any(|needed| needed == hash));
        let (fetcher, open) = (Arc::clone(&self.fetcher), open.iter().map(|job| job.id.clone()).collect());
        // Thousands of files, perhaps: not on a thread that others wait for.
        tokio::task::spawn_blocking(move || {
            let open: Vec<JobId> = open;
            fetcher.sweep(|name| open.iter().any(|id| id.as_str() == name));
        });
        Ok(())
    }
}

impl Board {
    /// Shows a job as it now stands in the store.
    pub(super) fn refresh(&self, context: &Context, id: &JobId) -> Result<(), StorageError> {
        if let Some(job) = jobs::get(context.cluster.reader(), id)? {
            let worker = jobs::worker(context.cluster.reader(), id)?;
            self.show(job, worker);
        } else {
            self.gone(id);
        }
        Ok(())
    }

    /// Shows that a job has come to `stage`.
    pub(super) fn stage(&self, id: &JobId, stage: Stage) {
        if let Some(view) = self.get(id) {
            self.progress(id, Progress { stage, ..view.progress });
        }
    }
}

#[cfg(test)]
mod tests;
