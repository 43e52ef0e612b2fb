//! The one thread that writes the log: what waits together is written and synced together.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use twinmcp_storage::engine::{Batch, Durability, Engine, Keyspace, StorageError, Write};
use twinmcp_storage::record;

use super::health::Health;
use super::records::{self, PositionRecord};
use super::tail::Tail;
use super::types::{LogId, Types};
use super::work::Work;
use crate::status::GroupId;

/// Bytes after which what waits goes into the next batch.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Hands writes to the thread; clones share it.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: UnboundedSender<Job>,
    running: Arc<Mutex<Option<Running>>>,
}

enum Running {
    Thread(JoinHandle<()>),
    #[cfg(test)]
    Task(tokio::task::JoinHandle<()>),
}

enum Job {
    Write(Vec<Write>, Done),
    Stop,
}

/// Whom to tell once a write is on disk.
pub(super) enum Done {
    /// Entries, by the number of their append.
    Append(u64, IOFlushed<Types>),
    /// Anything else.
    Written(oneshot::Sender<io::Result<()>>),
}

impl Writer {
    pub(super) fn start(
        group: GroupId,
        engine: Arc<dyn Engine>,
        tail: Arc<Tail>,
        health: Health,
        work: &Work,
    ) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let committed = tail.committed();
        let state = Thread { group, engine, tail, health, committed };
        let running = match work {
            Work::Threads => {
                let thread = std::thread::Builder::new().name(format!("raft-log-{group}"));
                Running::Thread(thread.spawn(move || state.run(waiting))?)
            }
            #[cfg(test)]
            Work::Simulated(disk) => {
                Running::Task(tokio::spawn(state.run_simulated(waiting, Arc::clone(disk))))
            }
        };
        Ok(Self { jobs, running: Arc::new(Mutex::new(Some(running))) })
    }

    /// Writes entries; `done` is told once they are on disk.
    pub(super) fn append(
        &self,
        writes: Vec<Write>,
        append: u64,
        flushed: IOFlushed<Types>,
    ) -> io::Result<()> {
        self.send(Job::Write(writes, Done::Append(append, flushed)))
    }

    /// Writes anything else, and returns once it is on disk.
    pub(super) async fn write(&self, writes: Vec<Write>) -> io::Result<()> {
        let (sender, written) = oneshot::channel();
        self.send(Job::Write(writes, Done::Written(sender)))?;
        written.await.map_err(|_| stopped())?
    }

    /// Writes what waits and ends the thread; returns once it has.
    pub(super) async fn stop(&self) {
        let _ = self.jobs.send(Job::Stop);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        match running {
            Some(Running::Thread(thread)) => {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            #[cfg(test)]
            Some(Running::Task(task)) => {
                let _ = task.await;
            }
            None => {}
        }
    }

    /// As [`Self::stop`], where one may block.
    pub(super) fn stop_here(&self) {
        let _ = self.jobs.send(Job::Stop);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running::Thread(thread)) = running {
            let _ = thread.join();
        }
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).map_err(|_| stopped())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log takes no more writes: it was stopped")
}

struct Thread {
    group: GroupId,
    engine: Arc<dyn Engine>,
    tail: Arc<Tail>,
    health: Health,
    /// The committed position that was last written.
    committed: Option<LogId>,
}

impl Thread {
    fn run(mut self, mut waiting: UnboundedReceiver<Job>) {
        while let Some(first) = waiting.blocking_recv()
            && !self.write_waiting(first, &mut waiting)
        {}
    }

    /// The same, as a task: each write takes as long as the simulated disk says.
    #[cfg(test)]
    async fn run_simulated(mut self, mut waiting: UnboundedReceiver<Job>, disk: Arc<dyn super::work::Disk>) {
        while let Some(first) = waiting.recv().await {
            tokio::time::sleep(disk.delay()).await;
            if self.write_waiting(first, &mut waiting) {
                return;
            }
        }
    }

    /// Writes what waits; `true` when it is to be the last.
    fn write_waiting(&mut self, first: Job, waiting: &mut UnboundedReceiver<Job>) -> bool {
        let mut next = Some(first);
        let mut is_stopping = false;
        let (mut batch, mut dones, mut bytes) = (Batch::new(), Vec::new(), 0);
        while let Some(job) = next {
            match job {
                Job::Write(writes, done) => {
                    bytes += add(&mut batch, writes);
                    dones.push(done);
                }
                Job::Stop => is_stopping = true,
            }
            next = (bytes < BATCH_BYTES_MAX && !is_stopping).then(|| waiting.try_recv().ok()).flatten();
        }
        self.write(batch, dones, is_stopping);
        is_stopping
    }

    /// One batch, one sync. How far the log is committed rides along: it need not be on disk, but
    /// then a start applies that far before it has a leader.
    fn write(&mut self, mut batch: Batch, dones: Vec<Done>, is_stopping: bool) {
        if batch.is_empty() && !is_stopping {
            return answer(&self.tail, dones, &Ok(()));
        }
        let committed = self.tail.committed();
        let written = self.add_committed(&mut batch, committed).and_then(|()| match batch.is_empty() {
            true => Ok(()),
            false => self.engine.commit(batch, Durability::Synced),
        });
        match &written {
            Ok(()) => self.committed = committed,
            Err(error) => self.health.fail(error),
        }
        answer(&self.tail, dones, &written.map_err(Arc::new));
    }

    fn add_committed(&self, batch: &mut Batch, committed: Option<LogId>) -> Result<(), StorageError> {
        if let Some(position) = committed.filter(|_| committed != self.committed) {
            let record = record::encode(&PositionRecord::from(position))?;
            batch.put(Keyspace::Vote, records::key(self.group, records::COMMITTED), record);
        }
        Ok(())
    }
}

fn add(batch: &mut Batch, writes: Vec<Write>) -> usize {
    let mut bytes = 0;
    for write in writes {
        bytes += write.key.len() + write.value.as_ref().map_or(0, Vec::len);
        match write.value {
            Some(value) => batch.put(write.space, write.key, value),
            None => batch.remove(write.space, write.key),
        }
    }
    bytes
}

fn answer(tail: &Tail, dones: Vec<Done>, written: &Result<(), Arc<StorageError>>) {
    for done in dones {
        let written = written.clone().map_err(io::Error::other);
        match done {
            Done::Append(append, flushed) => {
                if written.is_ok() {
                    tail.flushed(append);
                }
                flushed.io_completed(written);
            }
            Done::Written(sender) => {
                // Whoever asked may be gone.
                let _ = sender.send(written);
            }
        }
    }
}
