//! The state as `openraft` drives it: entries to apply, snapshots to make and to put in its place.
//!
//! The work is done where it may block; an error or a panic in it ends this node's part.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt};
use openraft::OptionalSend;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use tracing::info;

use super::apply::{Applier, ApplyError};
use super::dump::DumpError;
use super::snapshot::{Snapshot, SnapshotBuilder, SnapshotPieces, SnapshotStore};
use super::types::{Entry, LogId, SnapshotMeta, StoredMembership, Types};

/// Entries handed to one blocking task.
const APPLY_ENTRIES_MAX: usize = 64;

/// The state of one group, and its snapshots.
pub(super) struct StateMachine {
    applier: Arc<Applier>,
    snapshots: SnapshotStore,
}

impl StateMachine {
    pub(super) fn new(applier: Arc<Applier>, snapshots: SnapshotStore) -> Self {
        Self { applier, snapshots }
    }

    /// Runs `work` where it may block; an error or a panic in it ends this node's part.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Applier) -> Result<T, ApplyError> + Send + 'static,
    ) -> io::Result<T> {
        let applier = Arc::clone(&self.applier);
        let done = self.snapshots.work().run(move || work(&applier)).await;
        done.unwrap_or(Err(ApplyError::Panicked)).map_err(|error| self.applier.fail(&error))
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotPieces;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.applier.applied_state()
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        loop {
            let mut chunk: Vec<(Entry, Option<ApplyResponder<Types>>)> = Vec::new();
            while chunk.len() < APPLY_ENTRIES_MAX
                && let Some(next) = entries.try_next().await?
            {
                chunk.push(next);
            }
            if chunk.is_empty() {
                return Ok(());
            }
            self.blocking(move |applier| {
                for (entry, responder) in chunk {
                    let answer = applier.apply(&entry)?;
                    if let Some(responder) = responder {
                        responder.send(answer);
                    }
                }
                Ok(())
            })
            .await?;
        }
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        let (_, bytes) = self.snapshots.position();
        let is_due = self.applier.is_snapshot_due(bytes) || force;
        is_due.then(|| SnapshotBuilder::new(self.snapshots.clone(), Arc::clone(&self.applier)))
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(self.snapshots.clone(), Arc::clone(&self.applier))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotPieces) -> io::Result<()> {
        let (index, bytes) = (meta.last_log_id.map(|last| last.index), snapshot.bytes());
        let (meta, snapshots) = (meta.clone(), self.snapshots.clone());
        let installed = self.blocking(move |applier| {
            let kept = snapshots.keep(&meta, &snapshot).map_err(DumpError::from)?;
            applier.install(&meta, &kept.snapshot)
        });
        installed.await?;
        info!(applied_index = index, bytes, "a snapshot of the leader's took the place of the state");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.snapshots.current()
    }
}
