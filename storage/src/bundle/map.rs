//! A verified bundle file as memory: the one place that maps files.
//!
//! The file is read once through a small buffer, which checks every byte without making it resident,
//! and only then mapped; what a search touches later is all that counts against the process.

#![expect(unsafe_code, reason = "mapping a file is unsafe by nature; the argument stands at the one call")]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memmap2::Mmap;
use tantivy::directory::OwnedBytes;

use super::error::BundleError;
use super::layout::{self, BadHeader, Entry, HEADER_BYTES, Section};

/// Bytes read at once while verifying.
const BUFFER_BYTES: usize = 256 * 1024;

/// The sections of one bundle file, mapped.
pub(super) struct Sections {
    map: OwnedBytes,
    entries: Vec<Entry>,
}

impl Sections {
    /// Opens `path`, verifies every byte of it, and maps it.
    pub(super) fn open(path: &Path) -> Result<Self, BundleError> {
        let mut file = File::open(path).map_err(BundleError::io("open", path))?;
        let length = file.metadata().map_err(BundleError::io("open", path))?.len();
        let entries = read_table(&mut file, path, length)?;
        verify(&mut file, path, &entries)?;
        // SAFETY: a mapped file must not shrink or change while it is mapped. Bundle files are
        // written under another name, renamed once they are whole, never opened for writing again,
        // and removed by unlinking, which leaves the mapped pages alone; the data directory belongs
        // to this process. The map is of the very file that was verified, not of its name. Nothing
        // is read from the map as a type whose bit patterns can be invalid: sections are decoded
        // from bytes with bounds and UTF-8 checks, so even a file changed from outside could give
        // wrong answers, errors or a bus error, but no invalid value.
        let map = unsafe { Mmap::map(&file) }.map_err(BundleError::io("map", path))?;
        Ok(Self { map: OwnedBytes::new(map), entries })
    }

    /// The bytes of one section, kept mapped as long as the result lives.
    pub(super) fn get(&self, section: Section) -> Option<OwnedBytes> {
        let entry = self.entries.iter().find(|entry| entry.section == section)?;
        let (start, end) = (usize::try_from(entry.offset).ok()?, usize::try_from(entry.end()).ok()?);
        (start <= end && end <= self.map.len()).then(|| self.map.slice(start..end))
    }

    /// Every section there is, in the order of the file.
    pub(super) fn names(&self) -> impl Iterator<Item = Section> {
        self.entries.iter().map(|entry| entry.section)
    }

    /// Bytes of one section; 0 when it is absent.
    pub(super) fn length(&self, section: Section) -> u64 {
        self.entries.iter().find(|entry| entry.section == section).map_or(0, |entry| entry.length)
    }

    /// Bytes of the whole file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }
}

fn read_table(file: &mut File, path: &Path, length: u64) -> Result<Vec<Entry>, BundleError> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    file.take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(BundleError::io("read", path))?;
    layout::decode(&header, length).map_err(|bad| match bad {
        BadHeader::NotABundle => BundleError::NotABundle { path: path.to_path_buf() },
        BadHeader::Newer(found) => BundleError::Newer { path: path.to_path_buf(), found },
        BadHeader::Damaged => BundleError::damaged(path, Section::Header),
    })
}

/// Reads the rest of the file in order: zeros between sections, the right hash for each section.
fn verify(file: &mut File, path: &Path, entries: &[Entry]) -> Result<(), BundleError> {
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    let mut at = HEADER_BYTES as u64;
    for entry in entries {
        let padding = &mut buffer[..(entry.offset - at) as usize];
        file.read_exact(padding).map_err(BundleError::io("read", path))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(BundleError::damaged(path, entry.section));
        }
        let mut hasher = blake3::Hasher::new();
        let mut left = entry.length;
        while left > 0 {
            let chunk = &mut buffer[..left.min(BUFFER_BYTES as u64) as usize];
            file.read_exact(chunk).map_err(BundleError::io("read", path))?;
            hasher.update(chunk);
            left -= chunk.len() as u64;
        }
        // The fuzz targets are to reach what lies behind the hash, but for the word index: tantivy trusts its files.
        let checked = cfg!(not(fuzzing)) || entry.section == Section::Words;
        if checked && hasher.finalize() != entry.hash {
            return Err(BundleError::damaged(path, entry.section));
        }
        at = entry.end();
    }
    Ok(())
}
