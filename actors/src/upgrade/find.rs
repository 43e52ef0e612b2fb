//! Which published versions want better vectors.

use twinmcp_storage::bundle::Replace;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::libraries::{self, VersionManifest};

use crate::embedding::{first_of, second_of, space};

/// Libraries read from the store at a time.
const PAGE: usize = 1_000;

/// Whether `manifest` is answered from vectors that `target` would replace.
pub(super) fn wants(manifest: &VersionManifest, replace: Replace, target: &str) -> bool {
    match replace {
        // Vectors of another space are those of another build's table: they stay until it is indexed again.
        Replace::First => {
            let first = first_of(&manifest.embedder);
            space(first) == space(target) && first != target
        }
        Replace::Second => second_of(&manifest.embedder) != Some(target),
    }
}

/// What made the vectors that `replace` says, since the version was published; `None` while nobody has upgraded them.
pub(super) fn upgraded_by(manifest: &VersionManifest, replace: Replace) -> Option<&str> {
    match replace {
        Replace::First => Some(first_of(&manifest.embedder)).filter(|first| *first != space(first)),
        Replace::Second => second_of(&manifest.embedder),
    }
}

/// Which of the versions that want better vectors are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Those {
    /// All of them.
    All,
    /// Those that have none yet. What another node has upgraded to something else is left to it: two that name
    /// different models would otherwise undo each other's work for as long as they run.
    Fresh,
}

/// The versions of one library that want better vectors.
pub(super) fn in_library(
    reader: &dyn Reader,
    id: &LibraryId,
    (replace, target): (Replace, &str),
    those: Those,
) -> Result<Vec<VersionManifest>, StorageError> {
    let mut found = libraries::versions(reader, id)?;
    found.retain(|manifest| {
        wants(manifest, replace, target) && (those == Those::All || upgraded_by(manifest, replace).is_none())
    });
    Ok(found)
}

/// Those of all libraries, by id.
pub(super) fn everywhere(
    reader: &dyn Reader,
    made: (Replace, &str),
    those: Those,
) -> Result<Vec<VersionManifest>, StorageError> {
    let mut found = Vec::new();
    let mut after: Option<LibraryId> = None;
    loop {
        let page = libraries::list(reader, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.id.clone());
        for library in &page {
            found.extend(in_library(reader, &library.id, made, those)?);
        }
    }
}
