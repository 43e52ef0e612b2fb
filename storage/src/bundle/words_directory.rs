//! The files of the word index inside one section, and tantivy's view of them.
//!
//! The section starts with the length of a table (u32) and the table (postcard: name and length of
//! each file), then come the files.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{DirectoryLock, FileHandle, Lock, OwnedBytes, WatchCallback, WatchHandle, WritePtr};

const LENGTH_BYTES: usize = 4;

/// One file of the word index.
pub(super) struct WordFile {
    pub(super) name: String,
    pub(super) bytes: OwnedBytes,
}

/// What stands before `files` in the section.
pub(super) fn table(files: &[WordFile]) -> Result<Vec<u8>, postcard::Error> {
    let rows: Vec<(&str, u64)> =
        files.iter().map(|file| (file.name.as_str(), file.bytes.len() as u64)).collect();
    let rows = postcard::to_stdvec(&rows)?;
    let mut table = (rows.len() as u32).to_le_bytes().to_vec();
    table.extend(rows);
    Ok(table)
}

/// A read-only directory whose files are slices of the map.
#[derive(Debug, Clone)]
pub(super) struct MappedDirectory {
    files: Arc<HashMap<PathBuf, OwnedBytes>>,
}

impl MappedDirectory {
    /// The files in `section`; none when its table does not fit it.
    pub(super) fn open(section: &OwnedBytes) -> Option<Self> {
        let length = section.get(..LENGTH_BYTES)?.try_into().ok()?;
        let mut start = LENGTH_BYTES.checked_add(u32::from_le_bytes(length) as usize)?;
        let table: Vec<(String, u64)> = postcard::from_bytes(section.get(LENGTH_BYTES..start)?).ok()?;
        let mut files = HashMap::with_capacity(table.len());
        for (name, length) in table {
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            section.get(start..end)?;
            files.insert(PathBuf::from(name), section.slice(start..end));
            start = end;
        }
        (start == section.len()).then(|| Self { files: Arc::new(files) })
    }

    fn file(&self, path: &Path) -> Result<&OwnedBytes, OpenReadError> {
        self.files.get(path).ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_path_buf()))
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "a bundle is immutable")
}

impl Directory for MappedDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(self.file(path)?.clone()))
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.files.contains_key(path))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        Ok(self.file(path)?.to_vec())
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(read_only()), filepath: path.to_path_buf() })
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(read_only(), path.to_path_buf()))
    }

    fn atomic_write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// Locks guard against collecting files in use, which cannot happen to a map.
    fn acquire_lock(&self, _: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
