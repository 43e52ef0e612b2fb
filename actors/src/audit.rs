//! The audit log: what happened, and who did it.
//!
//! [`Audit`] is the only way in. What changes agreed state is noted where that state is changed (see
//! [`twinmcp_storage::audit`]); what changes none, such as an export, is noted with [`Audit::note`]. No actor stands behind: reads
//! pass no mailbox, and an event is one command.
//!
//! Invariant: who is behind an event is what the front said of the request ([`twinmcp_cluster::Behalf`]), never what a caller says.

use twinmcp_cluster::{Cluster, ClusterError};
use twinmcp_storage::audit::{self, Event, Export, Filter, Head, Page};
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{Reader, StorageError};

/// The way to the audit log.
#[derive(Clone)]
pub struct Audit {
    cluster: Cluster,
}

impl Audit {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster }
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
