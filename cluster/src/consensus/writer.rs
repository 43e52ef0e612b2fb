//! The one thread that writes the log: what waits together is written and synced together.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;
use twinmcp_storage::engine::{Batch, Durability, Engine, Keyspace, StorageError, Write};
use twinmcp_storage::record;

use super::health::Health;
use super::records::{self, PositionRecord};
use super::tail::Tail;
use super::types::{LogId, Types};
use crate::status::GroupId;

/// Bytes after which what waits goes into the next batch.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Hands writes to the thread; clones share it.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
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
    ) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let committed = tail.committed();
        let state = Thread { group, engine, tail, health, committed };
        let thread = std::thread::Builder::new()
            .name(format!("raft-log-{group}"))
            .spawn(move || state.run(&waiting))?;
        Ok(Self { jobs, thread: Arc::new(Mutex::new(Some(thread))) })
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

    /// Writes what waits and ends the thread; blocks until it has.
    pub(super) fn stop(&self) {
        let _ = self.jobs.send(Job::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
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
    fn run(mut self, waiting: &Receiver<Job>) {
        let mut is_stopping = false;
        while !is_stopping && let Ok(first) = waiting.recv() {
            let mut next = Some(first);
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
        }
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
