//! Which published versions want better vectors.

use twinmcp_storage::bundle::Replace;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::{LibraryId, Version};
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

/// Whether nobody has upgraded what `replace` says, since the version was published.
fn is_fresh(manifest: &VersionManifest, replace: Replace) -> bool {
    match replace {
        Replace::First => first_of(&manifest.embedder) == space(first_of(&manifest.embedder)),
        Replace::Second => second_of(&manifest.embedder).is_none(),
    }
}

/// The versions of one library that want better vectors and have none yet.
///
/// What another node has upgraded to something else is left to it: two that name different models would
/// otherwise undo each other's work for as long as they run.
pub(super) fn fresh_in_library(
    reader: &dyn Reader,
    id: &LibraryId,
    replace: Replace,
    target: &str,
) -> Result<Vec<(LibraryId, Version)>, StorageError> {
    let mut found = in_library(reader, id, replace, target)?;
    found.retain(|manifest| is_fresh(manifest, replace));
    Ok(found.into_iter().map(|manifest| (manifest.library, manifest.version)).collect())
}

fn in_library(
    reader: &dyn Reader,
    id: &LibraryId,
    replace: Replace,
    target: &str,
) -> Result<Vec<VersionManifest>, StorageError> {
    let mut found = libraries::versions(reader, id)?;
    found.retain(|manifest| wants(manifest, replace, target));
    Ok(found)
}

/// The versions of all libraries that want better vectors, by id; also those that were upgraded to something
/// else, by a model that was named before or by another node.
pub(super) fn everywhere(
    reader: &dyn Reader,
    replace: Replace,
    target: &str,
) -> Result<Vec<(LibraryId, Version)>, StorageError> {
    let mut found = Vec::new();
    let mut after: Option<LibraryId> = None;
    loop {
        let page = libraries::list(reader, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.id.clone());
        for library in &page {
            let wanting = in_library(reader, &library.id, replace, target)?;
            found.extend(wanting.into_iter().map(|manifest| (manifest.library, manifest.version)));
        }
    }
}
