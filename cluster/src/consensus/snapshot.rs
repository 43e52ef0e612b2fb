//! Snapshots of the agreed state, kept in pieces on the *raft* engine.
//!
//! One is kept at a time. It is described by one record that is written, synced, after its pieces, in
//! the batch that removes those of the one before: after a crash there is the old one or the new one,
//! and at most some pieces that belong to neither, which the next opening removes.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use openraft::RaftSnapshotBuilder;
use twinmcp_storage::engine::{Batch, Durability, Engine, Keyspace, Reader, StorageError};
use twinmcp_storage::record;

use super::apply::Applier;
use super::dump::{self, DumpError, PieceReader, PieceWriter, Written};
use super::health::Health;
use super::messages::SnapshotHead;
use super::records::{self, MembershipRecord, PositionRecord, SnapshotRecord};
use super::types::{LogId, SnapshotMeta, Types};
use super::work::Work;
use crate::status::GroupId;

pub(super) type Snapshot =
    openraft::Snapshot<super::types::LeaderId, u64, super::types::Member, SnapshotPieces>;

/// One snapshot to read, also while a newer one takes its place.
pub(super) struct SnapshotPieces {
    group: GroupId,
    view: Box<dyn Reader>,
    record: SnapshotRecord,
}

impl SnapshotPieces {
    /// How many pieces there are.
    pub(super) fn count(&self) -> u32 {
        self.record.pieces
    }

    /// Bytes of all pieces.
    pub(super) fn bytes(&self) -> u64 {
        self.record.bytes
    }

    /// BLAKE3 of all pieces in order.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.record.hash
    }

    pub(super) fn reader(&self) -> PieceReader<'_> {
        PieceReader::new(&*self.view, self.group, &self.record)
    }
}

/// Where the snapshot of one group is kept; clones share it.
#[derive(Clone)]
pub(super) struct SnapshotStore {
    group: GroupId,
    engine: Arc<dyn Engine>,
    current: Arc<Mutex<Option<SnapshotRecord>>>,
    /// Held while one is written, so that one is written at a time.
    writing: Arc<Mutex<()>>,
    /// Pieces taken from elsewhere.
    taken: Arc<AtomicU64>,
    work: Work,
    health: Health,
}

impl SnapshotStore {
    /// Finds the snapshot and removes pieces a crash left over.
    pub(super) fn open(
        group: GroupId,
        engine: Arc<dyn Engine>,
        work: Work,
        health: Health,
    ) -> Result<Self, StorageError> {
        let record: Option<SnapshotRecord> =
            records::read(&*engine, Keyspace::Vote, group, records::SNAPSHOT)?;
        let last_piece = record
            .as_ref()
            .map(|record| records::piece_key(group, record.number, record.pieces.saturating_sub(1)));
        let current = Arc::new(Mutex::new(record));
        let (writing, taken) = (Arc::default(), Arc::default());
        let store = Self { group, engine, current, writing, taken, work, health };
        store.remove_after(last_piece)?;
        Ok(store)
    }

    /// Where this node does what blocks.
    pub(super) fn work(&self) -> &Work {
        &self.work
    }

    /// Pieces that were taken from elsewhere: grows as long as a snapshot comes in.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn remove_after(&self, mut after: Option<Vec<u8>>) -> Result<(), StorageError> {
        // One at a time: pieces are large, and there are none but after a crash.
        let prefix = self.group.0.to_be_bytes();
        while let Some((key, _)) =
            self.engine.scan(Keyspace::Snapshots, &prefix, after.as_deref(), 1)?.into_iter().next()
        {
            let mut batch = Batch::new();
            batch.remove(Keyspace::Snapshots, key.clone());
            self.engine.commit(batch, Durability::Buffered)?;
            after = Some(key);
        }
        Ok(())
    }

    /// The last entry the snapshot contains, and how large it is.
    pub(super) fn position(&self) -> (Option<LogId>, u64) {
        self.record().map_or((None, 0), |record| (record.applied.map(LogId::from), record.bytes))
    }

    /// The snapshot to read.
    pub(super) fn current(&self) -> io::Result<Option<Snapshot>> {
        self.record().map(|record| self.open_pieces(&record)).transpose()
    }

    fn record(&self) -> Option<SnapshotRecord> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open_pieces(&self, record: &SnapshotRecord) -> io::Result<Snapshot> {
        let pieces = SnapshotPieces { group: self.group, view: self.engine.view(), record: record.clone() };
        Ok(Snapshot { meta: meta(record)?, snapshot: pieces })
    }

    /// Writes the state in `view` as the snapshot, unless there is one as late by now.
    pub(super) fn build(&self, view: &dyn Reader) -> io::Result<Snapshot> {
        let applied: Option<records::AppliedRecord> =
            records::read(view, Keyspace::Meta, self.group, records::APPLIED).map_err(io::Error::other)?;
        let membership: Option<MembershipRecord> =
            records::read(view, Keyspace::Meta, self.group, records::MEMBERSHIP).map_err(io::Error::other)?;
        let position = applied.map(|applied| applied.position);
        self.replace(position, membership.unwrap_or_default(), |out| {
            Ok(dump::write(view, |bytes| out.write(bytes))?)
        })
    }

    /// Keeps a copy of a snapshot that came from elsewhere, after checking that it is whole.
    pub(super) fn keep(&self, meta: &SnapshotMeta, pieces: &SnapshotPieces) -> io::Result<Snapshot> {
        let position = meta.last_log_id.map(PositionRecord::from);
        let membership =
            MembershipRecord::new(*meta.last_membership.log_id(), meta.last_membership.membership());
        let mut hasher = blake3::Hasher::new();
        self.replace(position, membership, |out| {
            let mut reader = pieces.reader();
            while let Some(piece) = reader.piece()? {
                hasher.update(&piece);
                out.write(&piece)?;
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
            match hasher.finalize() == pieces.record.hash {
                true => Ok(()),
                false => Err(DumpError::Damaged { what: "its hash is not the one it was made with" }),
            }
        })
    }

    /// Keeps a snapshot that comes in pieces, after checking that it is whole. `next` blocks until one has come.
    pub(super) fn receive(
        &self,
        head: &SnapshotHead,
        next: &mut dyn FnMut() -> Option<io::Result<BytesMut>>,
    ) -> io::Result<Snapshot> {
        self.replace(head.applied, head.membership.clone(), |out| {
            let (mut bytes, mut hasher) = (0_u64, blake3::Hasher::new());
            while let Some(piece) = next() {
                let piece = piece?;
                bytes += piece.len() as u64;
                if bytes > head.bytes {
                    return Err(DumpError::Damaged { what: "it is longer than it should be" });
                }
                hasher.update(&piece);
                out.write(&piece)?;
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
            match hasher.finalize() == head.hash {
                true => Ok(()),
                false => Err(DumpError::Damaged { what: "its hash is not the one it was made with" }),
            }
        })
    }

    fn replace(
        &self,
        applied: Option<PositionRecord>,
        membership: MembershipRecord,
        write: impl FnOnce(&mut PieceWriter<'_>) -> Result<(), DumpError>,
    ) -> io::Result<Snapshot> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.record();
        if let Some(kept) = before.as_ref().filter(|record| is_as_late(record.applied, applied)) {
            return self.open_pieces(kept);
        }
        let number = before.as_ref().map_or(0, |record| record.number + 1);
        let mut out = PieceWriter::new(&*self.engine, self.group, number);
        write(&mut out).inspect_err(|error| {
            if let DumpError::Storage(error) = error {
                self.health.fail(error);
            }
        })?;
        let Written { pieces, bytes, hash } = out.finish().map_err(|error| self.failed(error))?;
        let record = SnapshotRecord { number, applied, membership, pieces, bytes, hash };

        let mut batch = Batch::new();
        let encoded = record::encode(&record).map_err(io::Error::other)?;
        batch.put(Keyspace::Vote, records::key(self.group, records::SNAPSHOT), encoded);
        if let Some(before) = &before {
            for piece in 0..before.pieces {
                batch.remove(Keyspace::Snapshots, records::piece_key(self.group, before.number, piece));
            }
        }
        self.engine.commit(batch, Durability::Synced).map_err(|error| self.failed(error))?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(record.clone());
        self.open_pieces(&record)
    }

    /// A disk that cannot take a snapshot takes no log either.
    fn failed(&self, error: StorageError) -> io::Error {
        self.health.fail(&error);
        io::Error::other(error)
    }

    /// Hands every pair of the snapshot to `put`, after checking that it is whole.
    pub(super) fn load(
        pieces: &SnapshotPieces,
        put: impl FnMut(Keyspace, Vec<u8>, Vec<u8>) -> Result<(), DumpError>,
    ) -> Result<(), DumpError> {
        let mut hasher = blake3::Hasher::new();
        let mut reader = pieces.reader();
        while let Some(piece) = reader.piece()? {
            hasher.update(&piece);
        }
        if hasher.finalize() != pieces.record.hash {
            return Err(DumpError::Damaged { what: "its hash is not the one it was made with" });
        }
        dump::read(&mut pieces.reader(), put)
    }
}

fn is_as_late(one: Option<PositionRecord>, other: Option<PositionRecord>) -> bool {
    one.map(LogId::from) >= other.map(LogId::from)
}

fn meta(record: &SnapshotRecord) -> io::Result<SnapshotMeta> {
    let last_membership = record
        .membership
        .stored()
        .ok_or_else(|| io::Error::other("the snapshot's membership names a voter that is no member"))?;
    Ok(SnapshotMeta { last_log_id: record.applied.map(LogId::from), last_membership })
}

/// Makes a snapshot of the state as it was when the builder was made.
pub(super) struct SnapshotBuilder {
    store: SnapshotStore,
    applier: Arc<Applier>,
    view: Option<Box<dyn Reader>>,
}

impl SnapshotBuilder {
    pub(super) fn new(store: SnapshotStore, applier: Arc<Applier>) -> Self {
        let view = applier.view();
        Self { store, applier, view: Some(view) }
    }
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotPieces;

    /// The state is synced first: `openraft` may cut the log up to the position answered here, and
    /// from then on only the state and the snapshot hold what was before.
    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (store, applier) = (self.store.clone(), Arc::clone(&self.applier));
        let work = store.work().clone();
        let view = self.view.take().unwrap_or_else(|| applier.view());
        let build = move || {
            applier.sync()?;
            store.build(&*view)
        };
        work.run(build).await?
    }
}
