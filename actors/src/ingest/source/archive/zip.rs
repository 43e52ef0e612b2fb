//! Zip archives and what is zip under another name (`.whl`, `.jar`), read by their directory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    ops::Range,
};

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::ArchiveFile;
use crate::ingest::source::{
    Skip, SkipReport, SourceError, SourceLimits,
    folder::read_bounded,
    python_metadata::WHEEL_METADATA,
    survey::{Planned, Survey},
};

/// File type bits of a Unix mode, and the one of regular files.
const MODE_TYPE: u32 = 0o170_000;
const MODE_FILE: u32 = 0o100_000;

/// What a directory entry begins with, its bytes without the parts of any length, and where it says how long those
/// are: name, extra fields, comment (APPNOTE 4.3.12).
const SIGNATURE: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: u64 = 46;
const LENGTHS: Range<usize> = 28..34;

/// A zip archive whose documents are given sorted by path.
pub(crate) struct Zip {
    archive: ArchiveFile,
    zip: ZipArchive<BufReader<File>>,
    /// Bytes that may still be unpacked.
    left: u64,
    limit: u64,
}

impl Zip {
    /// Reads the archive's directory and plans its documents.
    pub(crate) fn open(
        archive: ArchiveFile,
        limits: &SourceLimits,
    ) -> Result<(Self, Vec<Planned>, SkipReport), SourceError> {
        let fault = |error| archive.damaged(zip_error(error));
        let zip = directory(&archive, limits)?;
        let mut survey = Survey::new(limits);
        let mut files = Vec::new();
        for place in 0..zip.len() {
            survey.count()?;
            let entry = zip.by_index_data(place).map_err(fault)?;
            let Ok(name) = entry.name() else {
                survey.skip(entry.name_raw(), Skip::UnsafePath);
                continue;
            };
            // Some writers on Windows put their own separator in.
            let name = name.replace('\\', "/");
            if entry.is_dir() || name.ends_with('/') {
                continue;
            }
            let kind = entry.unix_mode().map_or(0, |mode| mode & MODE_TYPE);
            if entry.is_symlink() {
                survey.skip(name.as_bytes(), Skip::Link);
            } else if kind != 0 && kind != MODE_FILE {
                survey.skip(name.as_bytes(), Skip::Special);
            } else if entry.encrypted() || !is_readable(entry.compression()) {
                survey.skip(name.as_bytes(), Skip::Unsupported);
            } else {
                files.push((name, place, entry.size()));
            }
        }
        files.sort();
        for (name, place, bytes) in &files {
            survey.add_file(*place, name.as_bytes(), *bytes);
        }
        let (planned, report) = survey.plan(true);
        let limit = limits.unpacked_bytes(archive.bytes);
        Ok((Self { archive, zip, left: limit, limit }, planned, report))
    }

    /// See [`super::root_file`].
    pub(super) fn root_file(
        archive: ArchiveFile,
        name: &str,
        bytes_max: u64,
        limits: &SourceLimits,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let mut zip = directory(&archive, limits)?;
        let names: Vec<String> = zip.file_names().flatten().map(|name| name.replace('\\', "/")).collect();
        let folder = names.first().and_then(|first| first.split_once('/')).map(|(folder, _)| folder);
        let wrapper = folder.filter(|folder| {
            names.iter().all(|name| name.split_once('/').is_some_and(|(first, _)| first == *folder))
        });
        let wanted = wrapper.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"));
        // A name that could not be read would shift the places.
        let is_wanted = |found: &String| *found == wanted || is_wheel_metadata(name, found);
        let place = names.iter().position(is_wanted).filter(|_| names.len() == zip.len());
        let Some(place) = place else { return Ok(None) };
        let entry = zip.by_index(place).map_err(|error| archive.damaged(zip_error(error)))?;
        if !entry.is_file() || entry.is_symlink() {
            return Ok(None);
        }
        read_bounded(entry, bytes_max).map_err(|source| archive.damaged(source))
    }

    /// The content of a planned document; a single damaged one is left out.
    pub(crate) fn read(
        &mut self,
        planned: &Planned,
        limits: &SourceLimits,
    ) -> Result<Result<Vec<u8>, Skip>, SourceError> {
        let Ok(entry) = self.zip.by_index(planned.entry) else {
            return Ok(Err(Skip::Unreadable));
        };
        // What the directory says about the size is a claim: what comes out is what counts.
        let allowed = limits.file_bytes_max.min(self.left);
        match read_bounded(entry, allowed) {
            Ok(Some(bytes)) => {
                self.left -= bytes.len() as u64;
                Ok(Ok(bytes))
            }
            Ok(None) if allowed == self.left => Err(self.archive.unpacks_too_far(self.limit)),
            Ok(None) => {
                self.left -= allowed;
                Ok(Err(Skip::TooLarge))
            }
            Err(_) => {
                // Damaged somewhere in it: as much as allowed may have been unpacked until then.
                self.left -= allowed;
                Ok(Err(Skip::Unreadable))
            }
        }
    }
}

/// Whether `found` is the metadata of a wheel, asked for by a name whose folder is left open.
fn is_wheel_metadata(wanted: &str, found: &str) -> bool {
    let in_folder = |(folder, file): (&str, &str)| file == "METADATA" && folder.ends_with(".dist-info");
    wanted == WHEEL_METADATA && found.split_once('/').is_some_and(in_folder)
}

/// Reads the archive's directory, once it is known to be of an allowed length.
fn directory(
    archive: &ArchiveFile,
    limits: &SourceLimits,
) -> Result<ZipArchive<BufReader<File>>, SourceError> {
    let reader = || archive.reader().map_err(|source| archive.damaged(source));
    let Claimed { entries, bytes } = Claimed::at_most(reader()?).map_err(|source| archive.damaged(source))?;
    if entries > limits.entries_max {
        return Err(SourceError::TooManyEntries { limit: limits.entries_max });
    }
    if bytes > limits.directory_bytes_max {
        let (path, limit) = (archive.path.clone(), limits.directory_bytes_max);
        return Err(SourceError::DirectoryTooLarge { path, bytes, limit });
    }
    ZipArchive::new(reader()?).map_err(|error| archive.damaged(zip_error(error)))
}

/// What a directory may take.
#[derive(Debug, Default, PartialEq, Eq)]
struct Claimed {
    entries: usize,
    bytes: u64,
}

impl Claimed {
    /// Counts what begins like a directory entry anywhere in the file, and what those are long by their own words: no
    /// directory in it, wherever an archive claims it to be, has more.
    fn at_most(mut file: impl BufRead) -> io::Result<Self> {
        let mut claimed = Self::default();
        let mut held = Vec::new();
        loop {
            let chunk = file.fill_buf()?;
            let read = chunk.len();
            held.extend_from_slice(chunk);
            file.consume(read);
            let wanted = if read == 0 { SIGNATURE.len() } else { LENGTHS.end };
            held.windows(wanted).for_each(|start| claimed.add(start));
            // An entry whose lengths are still to come is looked at with the bytes that follow.
            held.drain(..held.len().saturating_sub(wanted - 1));
            if read == 0 {
                return Ok(claimed);
            }
        }
    }

    fn add(&mut self, start: &[u8]) {
        if start.starts_with(SIGNATURE) {
            let (lengths, _) = start.get(LENGTHS).unwrap_or_default().as_chunks::<2>();
            let lengths: u64 = lengths.iter().map(|length| u64::from(u16::from_le_bytes(*length))).sum();
            self.entries += 1;
            self.bytes = self.bytes.saturating_add(ENTRY_BYTES + lengths);
        }
    }
}

fn is_readable(method: CompressionMethod) -> bool {
    matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated)
}

fn zip_error(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_also_across_the_ends_of_buffers() {
        let mut entry = b"..PPK\x01\x02".to_vec();
        entry.resize(entry.len() + 24, b'K');
        entry.extend([1, 0, 2, 1, 255, 255]);
        for (bytes, entries, length) in [
            (&b"PK\x01\x02..PPK\x01\x02PK\x03\x04"[..], 2, 92),
            (b"PK\x01PK\x01\x02", 1, 46),
            (b"P", 0, 0),
            (b"", 0, 0),
            (&entry, 1, 46 + 1 + 258 + 65_535),
            (&entry.repeat(3), 3, 3 * (46 + 1 + 258 + 65_535)),
        ] {
            for capacity in (1..8).chain([34, 35, 1_000]) {
                let claimed = Claimed::at_most(BufReader::with_capacity(capacity, bytes)).unwrap();
                assert_eq!(claimed, Claimed { entries, bytes: length }, "{bytes:?} by {capacity}");
            }
        }
    }
}
