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

/// The versions of one library that want better vectors.
pub(super) fn in_library(
    reader: &dyn Reader,
    id: &LibraryId,
    replace: Replace,
    target: &str,
) -> Result<Vec<(LibraryId, Version)>, StorageError> {
    let manifests = libraries::versions(reader, id)?.into_iter();
    let wanting = manifests.filter(|manifest| wants(manifest, replace, target));
    Ok(wanting.map(|manifest| (manifest.library, manifest.version)).collect())
}

/// Those of all libraries, by id.
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
            found.extend(in_library(reader, &library.id, replace, target)?);
        }
    }
}
