//! A bundle being written: a temporary file in the shelf's folder, hashed section by section.
//!
//! The file gets its name, which is its hash, only when it is whole and on disk; until then it is
//! called `*.partial`, and whoever drops it removes it. What a crash leaves behind is swept when the
//! shelf is opened.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::BundleError;
use super::hash::BundleHash;
use super::layout::{self, ALIGNMENT, Entry, HEADER_BYTES, Section};

/// What a temporary file ends with.
pub(super) const PARTIAL: &str = "partial";
/// What a finished file ends with.
pub(super) const EXTENSION: &str = "bundle";

/// Bytes read or written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Where the bundle named `hash` lies below `dir`.
pub(super) fn path_of(dir: &Path, hash: BundleHash) -> PathBuf {
    let name = hash.to_string();
    dir.join(&name[..2]).join(format!("{name}.{EXTENSION}"))
}

/// A temporary file that disappears unless it is published.
pub(super) struct PartialFile {
    dir: PathBuf,
    path: PathBuf,
    file: Option<File>,
}

impl PartialFile {
    /// A new empty file in `dir`, which is made if it is missing.
    pub(super) fn create(dir: &Path) -> Result<Self, BundleError> {
        let mut random = [0_u8; 12];
        getrandom::fill(&mut random).map_err(BundleError::Random)?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::create_dir_all(dir).map_err(BundleError::io("create", dir))?;
        let path = dir.join(format!("{name}.{PARTIAL}"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(BundleError::io("create", &path))?;
        Ok(Self { dir: dir.to_path_buf(), path, file: Some(file) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> Result<&File, BundleError> {
        self.file.as_ref().ok_or_else(|| BundleError::NotABundle { path: self.path.clone() })
    }

    /// Makes the bytes durable, then gives the file its final name, then makes the name durable.
    pub(super) fn publish(mut self, hash: BundleHash) -> Result<PathBuf, BundleError> {
        self.file()?.sync_all().map_err(BundleError::io("sync", &self.path))?;
        let target = path_of(&self.dir, hash);
        let folder = target.parent().unwrap_or(&self.dir);
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(BundleError::io("create", folder))?;
            sync_folder(&self.dir)?;
        }
        fs::rename(&self.path, &target).map_err(BundleError::io("rename", &self.path))?;
        self.file = None;
        sync_folder(folder)?;
        Ok(target)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "could not remove an unfinished bundle");
        }
    }
}

fn sync_folder(path: &Path) -> Result<(), BundleError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(BundleError::io("sync", path))
}

/// BLAKE3 and length of everything in `file`.
pub(super) fn hash_file(file: &File, path: &Path) -> Result<(BundleHash, u64), BundleError> {
    let mut reader = file;
    reader.seek(SeekFrom::Start(0)).map_err(BundleError::io("read", path))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = reader.read(&mut buffer).map_err(BundleError::io("read", path))?;
        if read == 0 {
            return Ok((BundleHash::from(*hasher.finalize().as_bytes()), bytes));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Writes sections one after the other, then the header.
pub(super) struct SectionWriter {
    out: BufWriter<File>,
    partial: PartialFile,
    offset: u64,
    entries: Vec<Entry>,
    open: Option<(Section, u64, blake3::Hasher)>,
}

impl SectionWriter {
    pub(super) fn create(dir: &Path) -> Result<Self, BundleError> {
        let partial = PartialFile::create(dir)?;
        let file = partial.file()?.try_clone().map_err(BundleError::io("open", partial.path()))?;
        let mut writer = Self {
            out: BufWriter::with_capacity(BUFFER_BYTES, file),
            partial,
            offset: 0,
            entries: Vec::new(),
            open: None,
        };
        writer.put(&[0; HEADER_BYTES])?;
        Ok(writer)
    }

    /// Ends the section being written, if any, and starts `section`.
    pub(super) fn begin(&mut self, section: Section) -> Result<(), BundleError> {
        self.end();
        let padding = self.offset.next_multiple_of(ALIGNMENT) - self.offset;
        self.put(&[0; ALIGNMENT as usize][..padding as usize])?;
        self.open = Some((section, self.offset, blake3::Hasher::new()));
        Ok(())
    }

    /// Appends to the section being written.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        if let Some((_, _, hasher)) = &mut self.open {
            hasher.update(bytes);
        }
        self.put(bytes)
    }

    /// A whole section at once.
    pub(super) fn section(&mut self, section: Section, bytes: &[u8]) -> Result<(), BundleError> {
        self.begin(section)?;
        self.write(bytes)
    }

    /// Writes the header, makes everything durable and gives the file its name.
    pub(super) fn publish(mut self) -> Result<(BundleHash, u64), BundleError> {
        self.end();
        let path = self.partial.path().to_path_buf();
        let header = layout::encode(&self.entries);
        self.out
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.out.write_all(&header))
            .and_then(|()| self.out.flush())
            .map_err(BundleError::io("write", &path))?;
        let (hash, bytes) = hash_file(self.partial.file()?, &path)?;
        self.partial.publish(hash)?;
        Ok((hash, bytes))
    }

    fn end(&mut self) {
        if let Some((section, offset, hasher)) = self.open.take() {
            let hash = *hasher.finalize().as_bytes();
            self.entries.push(Entry { section, offset, length: self.offset - offset, hash });
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.out.write_all(bytes).map_err(BundleError::io("write", self.partial.path()))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}
