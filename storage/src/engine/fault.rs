//! What goes wrong with an engine's files, made into one error that names them and says the way out, and
//! remembered: a node that cannot read its data must not look well.

use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, OnceLock};

use super::{Keyspace, StorageError};

/// What an operator can do about a damaged database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// The database holds what nothing else does.
    RestoreBackup,
    /// The database follows from the log.
    MakeAnew,
}

impl WayOut {
    /// Of a database with these keyspaces.
    pub(super) fn of(spaces: &[Keyspace]) -> Self {
        if spaces.contains(&Keyspace::Log) { Self::RestoreBackup } else { Self::MakeAnew }
    }
}

impl std::fmt::Display for WayOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RestoreBackup => {
                "stop the node, keep a copy of the data directory, and put one from a backup in its place"
            }
            Self::MakeAnew => {
                "stop the node, move this database's folder out of the data directory, and start again: it is made \
                 anew from the log in `raft`"
            }
        })
    }
}

/// Makes errors of one database, and remembers the first.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    folder: PathBuf,
    way_out: WayOut,
    first: Arc<OnceLock<String>>,
}

impl Fault {
    pub(super) fn new(folder: &Path, way_out: WayOut) -> Self {
        Self { folder: folder.to_owned(), way_out, first: Arc::default() }
    }

    /// The operating system refused.
    pub(super) fn io(&self, operation: &'static str, error: io::Error) -> StorageError {
        use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
        // A file that is missing or an offset that no file has was read from one that changed.
        if matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput | NotFound) {
            return self.damaged(operation, error);
        }
        let path = unreadable(&self.folder).unwrap_or_else(|| self.folder.clone());
        self.note(StorageError::Engine { operation, place: path.display().to_string(), source: error.into() })
    }

    /// The bytes are not the ones that were written.
    pub(super) fn damaged(
        &self,
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StorageError {
        self.damaged_file(&self.folder, operation, source)
    }

    /// As [`Self::damaged`], where it is known which file it is.
    pub(super) fn damaged_file(
        &self,
        path: &Path,
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StorageError {
        let (path, way_out) = (path.to_owned(), self.way_out);
        self.note(StorageError::Damaged { path, operation, way_out, source: source.into() })
    }

    /// Runs `work` of an engine that panics over bytes it does not expect.
    ///
    /// `fjall` may panic a second time while the first unwinds, which ends the process before an error can be
    /// answered; so the folder and the way out are printed when the first begins.
    pub(super) fn guard<T>(&self, work: impl FnOnce() -> T) -> Result<T, StorageError> {
        print_the_way_out();
        let outer = GUARDED.replace(Some(self.clone()));
        let done = catch_unwind(AssertUnwindSafe(work));
        GUARDED.set(outer);
        done.map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
            self.damaged("read", format!("the engine gave up: {text}"))
        })
    }

    /// The first thing that went wrong, in a sentence.
    pub(super) fn noticed(&self) -> Option<String> {
        self.first.get().cloned()
    }

    fn note(&self, error: StorageError) -> StorageError {
        let source =
            std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        self.first.get_or_init(|| format!("{error}{source}"));
        error
    }
}

thread_local! {
    /// Whose engine this thread is in.
    static GUARDED: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

/// From now on a panic inside [`Fault::guard`] is one line with the folder and the way out; others are as before.
fn print_the_way_out() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| match GUARDED.try_with(RefCell::take).ok().flatten() {
            Some(Fault { folder, way_out, .. }) => {
                let text = panicked.payload_as_str().unwrap_or("unknown").replace('\n', " ");
                let folder = folder.display();
                let _ = writeln!(io::stderr(), "the database in `{folder}` is damaged ({text}): {way_out}");
            }
            None => others(panicked),
        }));
    });
}

/// The first file below `folder` that cannot be read: what an engine's I/O error does not say.
fn unreadable(folder: &Path) -> Option<PathBuf> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&path) else { return Some(path) };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if std::fs::File::open(&path)
                .and_then(|mut file| io::copy(&mut file, &mut io::sink()))
                .is_err()
            {
                return Some(path);
            }
        }
    }
    None
}
