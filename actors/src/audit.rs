//! The audit log: what happened, and who did it.
//!
//! [`Audit`] is the only way in. What changes agreed state is noted where that state is changed (see
//! [`twinmcp_storage::audit`]); what changes none, such as an export, is noted with [`Audit::note`]. No actor stands behind: reads
//! pass no mailbox, and an event is one command.
//!
//! Invariant: who is behind an event is what the front said of the request ([`twinmcp_cluster::Behalf`]), never what a caller says.

use opentelemetry::global;
use opentelemetry::metrics::Counter;
use twinmcp_cluster::{Behalf, Cluster, ClusterError};
use twinmcp_storage::audit::{self, Event, Export, Filter, Head, Page};
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{Reader, StorageError};

/// The way to the audit log.
#[derive(Clone)]
pub struct Audit {
    cluster: Cluster,
    missing: Counter<u64>,
}

impl Audit {
    pub(crate) fn new(cluster: Cluster) -> Self {
        let missing = global::meter("twinmcp")
            .u64_counter("twinmcp.audit.missing")
            .with_description("Changes that went through and could not be written into the audit log.")
            .build();
        Self { cluster, missing }
    }

    /// Writes down something that changes no agreed state; returns once a majority holds it. Whoever hands something out notes it first,
    /// so that nothing is handed out untold.
    ///
    /// In a cluster that does not have the log yet, because older builds take part, nothing is written.
    ///
    /// # Errors
    /// When it was not agreed on.
    pub async fn note(&self, event: Event) -> Result<(), ClusterError> {
        match self.cluster.propose(Command::Audit(audit::Command::Note(event))).await {
            Ok(_) | Err(ClusterError::TooOld { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes down a change that has gone through by other ways than a command, and tells whether it is written. That it is not is logged and
    /// counted, and no failure of the change: whoever made it would make it again.
    pub async fn note_done(&self, event: Event) -> bool {
        let noted = self.note(event.clone()).await;
        if let Err(error) = &noted {
            self.missing.add(1, &[]);
            let error = error as &dyn std::error::Error;
            tracing::error!(error, ?event, "what was done is missing from the audit log");
        }
        noted.is_ok()
    }

    /// As [`Audit::note_done`], while whoever asked goes on: for what was refused, whose answer must not tell by its time that it is noted.
    pub(crate) fn note_later(&self, event: Event) {
        let audit = self.clone();
        tokio::spawn(Behalf::current().scope(async move { audit.note_done(event).await }));
    }

    /// Both ends of the log, as this node has it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn head(&self) -> Result<Head, StorageError> {
        audit::head(self.cluster.reader())
    }

    /// Up to `limit` events older than the one numbered `before`, the newest first; at most [`audit::PAGE_ITEMS_MAX`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn page(&self, filter: &Filter, before: Option<u64>, limit: usize) -> Result<Page, StorageError> {
        audit::page(self.cluster.reader(), filter, before, limit)
    }

    /// The whole log as it is now, in pieces of JSON lines; reading a piece blocks for a moment.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn export(&self) -> Result<Export<Box<dyn Reader>>, StorageError> {
        audit::export(self.cluster.view())
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::audit::{Action, Kind};

    use super::*;
    use crate::tests::World;

    #[tokio::test]
    async fn a_change_that_is_done_stays_done_when_the_log_takes_nothing() {
        let world = World::new().await;
        let promoted = || Event::new(Action::MemberPromoted, Kind::Member, 2);
        assert!(world.actors.audit.note_done(promoted()).await);
        let written = world.actors.audit.head().unwrap().last;
        world.cluster.shutdown().await.unwrap();
        assert!(world.actors.audit.note(promoted()).await.is_err(), "nothing is agreed on any more");
        assert!(!world.actors.audit.note_done(promoted()).await);
        assert_eq!(world.actors.audit.head().unwrap().last, written);
    }
}
