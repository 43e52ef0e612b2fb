//! Single files at the root of a source, such as `context7.json`: read before its documents are.

use std::path::Path;

use super::{SourceLimits, archive, folder};

/// The file `name` at the root of a folder or an archive; in an archive also inside the one folder
/// that wraps it. `None` when it is not there, cannot be read, or has more than `bytes_max` bytes.
pub fn root_file(source: &Path, name: &str, bytes_max: u64) -> Option<Vec<u8>> {
    if source.is_dir() {
        return folder::read(&source.join(name), bytes_max).ok();
    }
    archive::root_file(source, name, bytes_max, &SourceLimits::default()).ok().flatten()
}
