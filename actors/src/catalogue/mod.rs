//! The catalogue: libraries known by name, loaded in bulk by the operator.
//!
//! [`Catalogue`] is the only way in. An import is a stream of JSON lines ([`Importer::write`]) that
//! becomes replicated commands of a bounded size as it comes; a line that cannot be taken is noted with
//! its number and the rest goes on. The same file again changes nothing and writes nothing, so an
//! import that broke off is done again. No actor stands behind: nothing here lives between two calls.
//!
//! Invariant: one import at a time, and of a stream no more than one command's worth is in memory.

mod line;
mod unpack;

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::instrument;
use twinmcp_cluster::{Cluster, ClusterError};
use twinmcp_storage::catalogue::{self, ENTRIES_MAX, Entry, IMPORT_ENTRIES_MAX, Known};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::LibraryId;

pub use self::line::{LINE_BYTES_MAX, LineError, entry};
pub use self::unpack::unpacked;

/// Bytes of lines that become one command: half of what a log entry takes.
const BATCH_BYTES_MAX: usize = 512 * 1024;
/// Longest stream, in bytes.
pub const IMPORT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Lines that could not be taken and are told.
pub const PROBLEMS_MAX: usize = 100;

/// Why the catalogue could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// No such entry.
    #[error("`{id}` is not in the catalogue")]
    NotFound {
        /// The id asked for.
        id: LibraryId,
    },
    /// Another import is under way.
    #[error("another import is under way; try again when it has ended")]
    Importing,
    /// The stream does not end.
    #[error("an import has at most {IMPORT_BYTES_MAX} bytes; load the rest with another")]
    TooLarge,
    /// The catalogue is full.
    #[error("a catalogue holds {ENTRIES_MAX} entries, and this import would go beyond")]
    LimitReached,
    /// The change did not reach a quorum in time.
    #[error("failed to replicate the change")]
    Replicate(#[from] ClusterError),
    /// The store could not be read.
    #[error("failed to read the catalogue")]
    Storage(#[from] StorageError),
}

/// A line that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines read, empty ones left out.
    pub lines: u64,
    /// Entries that are new.
    pub added: u64,
    /// Entries that say something else than before.
    pub changed: u64,
    /// Entries that say what was known, and lines that a later one of the same id replaced.
    pub unchanged: u64,
    /// Lines that could not be taken.
    pub failed: u64,
    /// The first [`PROBLEMS_MAX`] of them.
    pub problems: Vec<Problem>,
}

/// The way to the catalogue.
#[derive(Clone)]
pub struct Catalogue {
    cluster: Cluster,
    importing: Arc<Semaphore>,
    entries: Counter<u64>,
}

impl Catalogue {
    pub(crate) fn new(cluster: Cluster) -> Self {
        let entries = global::meter("twinmcp")
            .u64_counter("twinmcp.catalogue.entries")
            .with_description("Lines of catalogue imports, by what became of them.")
            .build();
        Self { cluster, importing: Arc::new(Semaphore::new(1)), entries }
    }

    /// What is known of a library by name.
    pub fn get(&self, id: &LibraryId) -> Result<Option<Known>, CatalogueError> {
        Ok(catalogue::get(self.cluster.reader(), id)?)
    }

    /// Begins an import; a dry run checks every line and changes nothing.
    pub fn import(&self, is_dry_run: bool) -> Result<Importer, CatalogueError> {
        let permit = Arc::clone(&self.importing).try_acquire_owned();
        let permit = permit.map_err(|_| CatalogueError::Importing)?;
        Ok(Importer {
            catalogue: self.clone(),
            _permit: permit,
            is_dry_run,
            lines: line::Lines::default(),
            bytes: 0,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            imported: Imported::default(),
        })
    }

    /// Forgets an entry; documentation that is indexed under its id stays.
    pub async fn forget(&self, id: &LibraryId) -> Result<(), CatalogueError> {
        match self.propose(catalogue::Command::Forget { id: id.clone() }).await? {
            Outcome::Done => Ok(()),
            _ => Err(CatalogueError::NotFound { id: id.clone() }),
        }
    }

    async fn propose(&self, command: catalogue::Command) -> Result<Outcome, CatalogueError> {
        Ok(self.cluster.propose(Command::Catalogue(command)).await?.outcome)
    }
}

/// An import under way; dropped, it keeps what became a command so far.
pub struct Importer {
    catalogue: Catalogue,
    _permit: OwnedSemaphorePermit,
    is_dry_run: bool,
    lines: line::Lines,
    /// Bytes read so far.
    bytes: u64,
    /// Entries on their way into a command; of one id the last.
    pending: BTreeMap<LibraryId, Entry>,
    pending_bytes: usize,
    imported: Imported,
}

impl Importer {
    /// Takes the next piece of the stream, wherever it is cut.
    ///
    /// # Errors
    /// [`CatalogueError::LimitReached`] and [`CatalogueError::TooLarge`], or what keeps the cluster from agreeing. What was taken before stays.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), CatalogueError> {
        self.bytes += piece.len() as u64;
        if self.bytes > IMPORT_BYTES_MAX {
            return Err(CatalogueError::TooLarge);
        }
        let mut rest = piece;
        while let Some((line, left)) = self.lines.next(rest) {
            rest = left;
            self.take(line);
            if self.pending.len() >= IMPORT_ENTRIES_MAX || self.pending_bytes >= BATCH_BYTES_MAX {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn finish(mut self) -> Result<Imported, CatalogueError> {
        if let Some(line) = self.lines.end() {
            self.take(line);
        }
        self.flush().await?;
        let Imported { added, changed, unchanged, failed, .. } = self.imported;
        for (outcome, count) in
            [("added", added), ("changed", changed), ("unchanged", unchanged), ("failed", failed)]
        {
            self.catalogue.entries.add(count, &[KeyValue::new("outcome", outcome)]);
        }
        Ok(self.imported)
    }

    /// What was done so far.
    pub fn imported(&self) -> &Imported {
        &self.imported
    }

    fn take(&mut self, line: line::Line) {
        let parsed = match line.content {
            Ok(bytes) if bytes.trim_ascii().is_empty() => return,
            Ok(bytes) => line::entry(&bytes).map(|entry| (entry, bytes.len())),
            Err(too_long) => Err(too_long),
        };
        self.imported.lines += 1;
        match parsed {
            Ok((entry, bytes)) => {
                self.pending_bytes += bytes;
                if self.pending.insert(entry.id.clone(), entry).is_some() {
                    self.imported.unchanged += 1;
                }
            }
            Err(error) => {
                self.imported.failed += 1;
                if self.imported.problems.len() < PROBLEMS_MAX {
                    self.imported.problems.push(Problem { line: line.number, reason: error.to_string() });
                }
            }
        }
    }

    /// Makes a command of what is pending, unless all of it is known.
    #[instrument(name = "catalogue.import", skip_all, fields(entries = self.pending.len()))]
    async fn flush(&mut self) -> Result<(), CatalogueError> {
        self.pending_bytes = 0;
        let mut entries = Vec::new();
        let (mut added, mut changed) = (0, 0);
        for (id, entry) in std::mem::take(&mut self.pending) {
            match catalogue::get(self.catalogue.cluster.reader(), &id)? {
                Some(known) if known.entry == entry => {
                    self.imported.unchanged += 1;
                    continue;
                }
                Some(_) => changed += 1,
                None => added += 1,
            }
            entries.push(entry);
        }
        if !entries.is_empty() && !self.is_dry_run {
            let outcome = self.catalogue.propose(catalogue::Command::Import { entries }).await?;
            if outcome == Outcome::LimitReached {
                return Err(CatalogueError::LimitReached);
            }
        }
        self.imported.added += added;
        self.imported.changed += changed;
        Ok(())
    }
}

/// Reads bytes as a list of libraries, in pieces: see [`crate::fuzzing::catalogue`].
#[cfg(fuzzing)]
pub(crate) fn fuzz_lines(data: &[u8]) {
    let (mut lines, mut numbers) = (line::Lines::default(), 0);
    let mut take = |line: line::Line| {
        numbers += 1;
        assert_eq!(line.number, numbers);
        let _ = line.content.and_then(|content| line::entry(&content));
    };
    for mut piece in data.chunks(97) {
        while let Some((line, rest)) = lines.next(piece) {
            take(line);
            piece = rest;
        }
    }
    lines.end().into_iter().for_each(take);
}
