//! The agreed state on the *state* engine: entries go in, in order, each once.
//!
//! One entry becomes one batch, which also says that it was applied. The batch is buffered: what a
//! crash takes back is in the log, and applied again; so the log is cut only behind what was synced.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tracing::{Span, info_span};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::{self, Command, Outcome};
use twinmcp_storage::engine::{Batch, Durability, Engine, Keyspace, Reader, StorageError};
use twinmcp_storage::record;
use twinmcp_storage::transaction::{Change, Transaction};

use super::dump::DumpError;
use super::entry::{self, Commands, Content, EntryError, Founding, Kind, Requests, Upgrade};
use super::health::Health;
use super::records::{self, AppliedRecord, ClusterRecord, MembershipRecord, VersionRecord};
use super::requests;
use super::snapshot::{SnapshotPieces, SnapshotStore};
use super::tail::Tail;
use super::types::{Answer, Entry, LogId, Payload, SnapshotMeta, StoredMembership};
use crate::changes::ChangeFeed;
use crate::installing::Before;
use crate::metrics::Metrics;
use crate::status::{ClusterId, GroupId};

/// Bytes of one batch while a snapshot is put in the state's place.
const INSTALL_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Why an entry could not be applied. Each ends this node's part in agreement.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("failed to apply log entry {index}")]
    Storage {
        index: u64,
        #[source]
        source: StorageError,
    },
    #[error("failed to apply a snapshot")]
    Snapshot(#[from] DumpError),
    #[error("applying a log entry panicked: this is a bug of this build")]
    Panicked,
}

/// The agreed state of one group.
pub(super) struct Applier {
    group: GroupId,
    engine: Arc<dyn Engine>,
    tail: Arc<Tail>,
    position: Mutex<Position>,
    changes: ChangeFeed,
    applied: watch::Sender<Option<u64>>,
    /// What readers see while a snapshot takes the state's place.
    before: Before,
    health: Health,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Clone, Default)]
struct Position {
    applied: Option<LogId>,
    membership: Arc<MembershipRecord>,
    stamped: Timestamp,
    /// What every node of the cluster can read.
    version: u32,
    /// Bytes of entries applied since the last snapshot.
    bytes_since_snapshot: u64,
}

/// What an [`Applier`] works with.
pub(super) struct Parts {
    pub(super) group: GroupId,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) tail: Arc<Tail>,
    pub(super) changes: ChangeFeed,
    pub(super) health: Health,
    pub(super) metrics: Arc<Metrics>,
}

impl Applier {
    /// The state as `engine` holds it.
    pub(super) fn open(parts: Parts) -> Result<Self, StorageError> {
        let Parts { group, engine, tail, changes, health, metrics } = parts;
        let position = read_position(group, &*engine)?;
        let applied = watch::Sender::new(position.applied.map(|applied| applied.index));
        let (position, before) = (Mutex::new(position), Before::default());
        Ok(Self { group, engine, tail, position, changes, applied, before, health, metrics })
    }

    /// What readers see while a snapshot takes the state's place.
    pub(super) fn before(&self) -> Before {
        self.before.clone()
    }

    /// Tells how far the state is, each time it moves.
    pub(super) fn applied(&self) -> watch::Receiver<Option<u64>> {
        self.applied.subscribe()
    }

    /// Returns once the entry at `log_index` is applied; never when this node's part ends before.
    pub(super) async fn reached(&self, log_index: u64) {
        let mut applied = self.applied();
        let reached = applied.wait_for(|applied| applied.is_some_and(|applied| applied >= log_index));
        // The sender lives as long as this.
        let _ = reached.await;
    }

    /// How far the state is, and who takes part as of there.
    pub(super) fn applied_state(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let position = self.position().clone();
        let membership = position.membership.stored();
        let missing = || io::Error::other("the stored membership names a voter that is no member");
        Ok((position.applied, membership.ok_or_else(missing)?))
    }

    /// Whether a snapshot is worth making when the last one has `snapshot_bytes`: it writes the whole
    /// state, so a large one waits until the log has grown by a quarter of it. `true` starts over.
    pub(super) fn is_snapshot_due(&self, snapshot_bytes: u64) -> bool {
        let mut position = self.position();
        let is_due = position.bytes_since_snapshot >= snapshot_bytes / 4;
        if is_due {
            position.bytes_since_snapshot = 0;
        }
        is_due
    }

    /// The latest time any entry was applied with.
    pub(super) fn stamped(&self) -> Timestamp {
        self.position().stamped
    }

    /// What every node of the cluster can read.
    pub(super) fn version(&self) -> u32 {
        self.position().version
    }

    /// The cluster's id, once its founding is applied.
    pub(super) fn cluster_id(&self) -> Result<Option<ClusterId>, StorageError> {
        let record: Option<ClusterRecord> =
            records::read(&*self.engine, Keyspace::Meta, self.group, records::CLUSTER)?;
        Ok(record.map(|record| ClusterId(record.id)))
    }

    pub(super) fn view(&self) -> Box<dyn Reader> {
        self.engine.view()
    }

    /// Returns once what was applied so far would survive a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.engine.sync().inspect_err(|error| self.health.fail(error)).map_err(io::Error::other)
    }

    fn position(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies one entry: all of it, once, or nothing.
    pub(super) fn apply(&self, entry: &Entry) -> Result<Answer, ApplyError> {
        let index = entry.log_id.index;
        let mut position = self.position().clone();
        if position.applied >= Some(entry.log_id) {
            return Err(EntryError::Damaged { index, what: "it was applied before" }.into());
        }
        position.applied = Some(entry.log_id);
        let failed = |source| ApplyError::Storage { index, source };

        let mut spans = Vec::new();
        let mut transaction = Transaction::new(&*self.engine);
        let mut answer = Answer::default();
        match &entry.payload {
            Payload::Blank => {}
            Payload::Membership(membership) => {
                let record = MembershipRecord::new(Some(entry.log_id), membership);
                let key = records::key(self.group, records::MEMBERSHIP);
                transaction.put(Keyspace::Meta, key, &record).map_err(failed)?;
                position.membership = Arc::new(record);
            }
            Payload::Normal(content) => {
                entry::check_readable(index, content)?;
                position.bytes_since_snapshot += content.body.len() as u64;
                match content.kind {
                    Kind::Founding => self.found(&mut transaction, &mut position, index, content)?,
                    Kind::Upgrade => self.upgrade(&mut transaction, &mut position, index, content)?,
                    Kind::Requests => {
                        let body: Requests = entry::body(index, content)?;
                        position.stamped = position.stamped.max(body.at);
                        spans = apply_spans(index, content);
                        answer.0 = self
                            .apply_requests(&mut transaction, position.stamped, &body, &spans)
                            .map_err(failed)?;
                    }
                    _ => {
                        let body: Commands = entry::body(index, content)?;
                        position.stamped = position.stamped.max(body.at);
                        spans = apply_spans(index, content);
                        answer.0 = apply_commands(&mut transaction, position.stamped, &body, &spans)
                            .map_err(failed)?;
                    }
                }
            }
        }
        let applied = AppliedRecord { position: entry.log_id.into(), stamped: position.stamped };
        let key = records::key(self.group, records::APPLIED);
        transaction.put(Keyspace::Meta, key, &applied).map_err(failed)?;

        let (batch, changes) = transaction.finish();
        self.engine.commit(batch, Durability::Buffered).map_err(failed)?;
        *self.position() = position;
        self.tail.applied(index);
        self.metrics.applied(index);
        self.applied.send_replace(Some(index));
        self.changes.send(changes);
        // Ends the spans: they last until the change can be read.
        drop(spans);
        Ok(answer)
    }

    /// The first founding counts; a second can come from a start that crashed before it saw the first.
    fn found(
        &self,
        transaction: &mut Transaction<'_>,
        position: &mut Position,
        index: u64,
        content: &Content,
    ) -> Result<(), ApplyError> {
        let body: Founding = entry::body(index, content)?;
        position.stamped = position.stamped.max(body.at);
        let key = records::key(self.group, records::CLUSTER);
        let failed = |source| ApplyError::Storage { index, source };
        if transaction.get(Keyspace::Meta, &key).map_err(failed)?.is_none() {
            let record = ClusterRecord { id: body.cluster_id, founded_at: position.stamped };
            transaction.put(Keyspace::Meta, key, &record).map_err(failed)?;
        }
        Ok(())
    }

    /// Never back: an upgrade that was proposed twice counts once.
    fn upgrade(
        &self,
        transaction: &mut Transaction<'_>,
        position: &mut Position,
        index: u64,
        content: &Content,
    ) -> Result<(), ApplyError> {
        let body: Upgrade = entry::body(index, content)?;
        position.stamped = position.stamped.max(body.at);
        if body.version > position.version {
            position.version = body.version;
            let (key, record) =
                (records::key(self.group, records::VERSION), VersionRecord { version: body.version });
            let failed = |source| ApplyError::Storage { index, source };
            transaction.put(Keyspace::Meta, key, &record).map_err(failed)?;
        }
        Ok(())
    }

    fn apply_requests(
        &self,
        transaction: &mut Transaction<'_>,
        at: Timestamp,
        body: &Requests,
        spans: &[Span],
    ) -> Result<Vec<Outcome>, StorageError> {
        let mut outcomes = Vec::with_capacity(body.requests.len());
        for (place, request) in body.requests.iter().enumerate() {
            let _entered = spans.get(place).map(Span::enter);
            let command: Command = record::decode(&request.command)?;
            let apply = |transaction: &mut Transaction<'_>| command::apply(transaction, at, &command);
            outcomes.push(requests::once(transaction, self.group, request, apply)?);
        }
        Ok(outcomes)
    }

    /// Puts a snapshot in the place of all state, which readers see until it is whole. A crash in between leaves a state that
    /// says that it holds nothing, and the next start puts the snapshot there again.
    pub(super) fn install(&self, meta: &SnapshotMeta, pieces: &SnapshotPieces) -> Result<(), ApplyError> {
        self.before.hold(&*self.engine);
        let mut writes =
            ChunkedWrites { engine: &*self.engine, before: &self.before, batch: Batch::new(), bytes: 0 };
        writes.remove(Keyspace::Meta, records::key(self.group, records::APPLIED))?;
        for &space in Keyspace::STATE {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let pairs = self.engine.scan(space, &[], after.as_deref(), 128).map_err(DumpError::from)?;
                let Some((last, _)) = pairs.last() else { break };
                after = Some(last.clone());
                for (key, _) in pairs {
                    writes.remove(space, key)?;
                }
            }
        }
        let applied_key = records::key(self.group, records::APPLIED);
        let mut applied = None;
        SnapshotStore::load(pieces, |space, key, value| {
            if space == Keyspace::Meta && key == applied_key {
                applied = Some(value);
                return Ok(());
            }
            writes.put(space, key, value)
        })?;
        if let Some(applied) = applied {
            writes.put(Keyspace::Meta, applied_key, applied)?;
        }
        writes.flush()?;
        self.engine.sync().map_err(DumpError::from)?;

        let position = read_position(self.group, &*self.engine).map_err(DumpError::from)?;
        if position.applied != meta.last_log_id {
            return Err(DumpError::Damaged { what: "it does not end where it says" }.into());
        }
        self.before.let_go();
        let index = position.applied.map(|applied| applied.index);
        *self.position() = position;
        if let Some(index) = index {
            self.tail.applied(index);
            self.metrics.applied(index);
        }
        self.applied.send_replace(index);
        self.changes.send(vec![Change::Everything]);
        Ok(())
    }

    /// Notes what ended this node's part, for `openraft` to hear as well.
    pub(super) fn fail(&self, error: &ApplyError) -> io::Error {
        self.health.fail(error);
        io::Error::other(super::health::sentence(error))
    }
}

fn read_position(group: GroupId, engine: &dyn Reader) -> Result<Position, StorageError> {
    let applied: Option<AppliedRecord> = records::read(engine, Keyspace::Meta, group, records::APPLIED)?;
    let membership: Option<MembershipRecord> =
        records::read(engine, Keyspace::Meta, group, records::MEMBERSHIP)?;
    let version: Option<VersionRecord> = records::read(engine, Keyspace::Meta, group, records::VERSION)?;
    Ok(Position {
        applied: applied.map(|applied| applied.position.into()),
        membership: Arc::new(membership.unwrap_or_default()),
        stamped: applied.map(|applied| applied.stamped).unwrap_or_default(),
        version: version.map_or(1, |record| record.version),
        bytes_since_snapshot: 0,
    })
}

/// One span for each command, below the span it was proposed in, so that a request's trace reaches
/// to here. None for entries of another node or of an earlier run.
fn apply_spans(index: u64, content: &Content) -> Vec<Span> {
    let below = |parent: &Span| info_span!(parent: parent, "consensus.apply", log_index = index);
    content.spans.iter().map(below).collect()
}

fn apply_commands(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    body: &Commands,
    spans: &[Span],
) -> Result<Vec<Outcome>, StorageError> {
    let mut outcomes = Vec::with_capacity(body.commands.len());
    for (place, bytes) in body.commands.iter().enumerate() {
        let _entered = spans.get(place).map(Span::enter);
        let command: Command = record::decode(bytes)?;
        outcomes.push(command::apply(transaction, at, &command)?);
    }
    Ok(outcomes)
}

/// Writes in batches of a bounded size, each buffered, in order.
struct ChunkedWrites<'a> {
    engine: &'a dyn Engine,
    before: &'a Before,
    batch: Batch,
    bytes: usize,
}

impl ChunkedWrites<'_> {
    fn put(&mut self, space: Keyspace, key: Vec<u8>, value: Vec<u8>) -> Result<(), DumpError> {
        self.bytes += key.len() + value.len();
        self.batch.put(space, key, value);
        self.flush_if_large()
    }

    fn remove(&mut self, space: Keyspace, key: Vec<u8>) -> Result<(), DumpError> {
        self.bytes += key.len();
        self.batch.remove(space, key);
        self.flush_if_large()
    }

    fn flush_if_large(&mut self) -> Result<(), DumpError> {
        if self.bytes < INSTALL_BATCH_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), DumpError> {
        self.bytes = 0;
        self.before.wrote();
        Ok(self.engine.commit(std::mem::take(&mut self.batch), Durability::Buffered)?)
    }
}
