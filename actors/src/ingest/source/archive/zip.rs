//! Zip archives and what is zip under another name (`.whl`, `.jar`), read by their directory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
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
    let entries = entries_at_most(reader()?).map_err(|source| archive.damaged(source))?;
    if entries > limits.entries_max {
        return Err(SourceError::TooManyEntries { limit: limits.entries_max });
    }
    ZipArchive::new(reader()?).map_err(|error| archive.damaged(zip_error(error)))
}

/// How often the signature of a directory entry occurs in the file: no directory in it, wherever an
/// archive claims it to be, has more entries.
fn entries_at_most(mut file: impl BufRead) -> io::Result<usize> {
    let mut entries = 0;
    let mut matched = 0;
    loop {
        let chunk = file.fill_buf()?;
        if chunk.is_empty() {
            return Ok(entries);
        }
        for &byte in chunk {
            matched = match (matched, byte) {
                (1, b'K') => 2,
                (2, 1) => 3,
                (3, 2) => {
                    entries += 1;
                    0
                }
                (_, b'P') => 1,
                _ => 0,
            };
        }
        let read = chunk.len();
        file.consume(read);
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
    fn the_signature_is_counted_also_across_the_ends_of_buffers() {
        for (bytes, entries) in
            [(&b"PK\x01\x02..PPK\x01\x02PK\x03\x04"[..], 2), (b"PK\x01PK\x01\x02", 1), (b"P", 0), (b"", 0)]
        {
            for capacity in 1..8 {
                assert_eq!(
                    entries_at_most(BufReader::with_capacity(capacity, bytes)).unwrap(),
                    entries,
                    "{bytes:?}"
                );
            }
        }
    }
}
