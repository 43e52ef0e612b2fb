//! Tar archives, compressed or not, as a stream that is owned by its reader.
//!
//! The `tar` crate knows the headers; its iterator borrows the archive it walks, so the walk from
//! header to header is written here. Ordinary files count; long names of GNU and pax are joined;
//! links, devices and sparse files are left out.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

use super::{ArchiveFile, Bounded, Compression, cut_short, invalid};
use crate::ingest::source::{
    Skip, SkipReport, SourceError, SourceLimits,
    survey::{Planned, Survey},
};

/// Headers take one block, contents fill whole blocks.
pub(super) const BLOCK: usize = 512;

/// A long name or a set of pax records is refused beyond this.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// Whether these bytes are the first block of a tar archive.
pub(super) fn is_header(block: &[u8]) -> bool {
    <&[u8; BLOCK]>::try_from(block).is_ok_and(|block| !is_zero(block) && has_valid_checksum(block))
}

/// A tar archive whose documents are given in the order of the archive.
pub(crate) struct Tar {
    archive: ArchiveFile,
    entries: Entries<Bounded>,
    /// Place of the entry that [`Entries::next`] returns next.
    next: usize,
}

impl Tar {
    /// Reads the archive once from end to end and plans its documents.
    pub(crate) fn open(
        archive: ArchiveFile,
        compression: Compression,
        limits: &SourceLimits,
    ) -> Result<(Self, Vec<Planned>, SkipReport), SourceError> {
        let mut survey = Survey::new(limits);
        let mut entries = Entries::new(archive.unpack(compression, limits)?);
        while let Some(entry) = entries.next().map_err(|error| fault(&archive, &entries, error))? {
            let place = survey.count()?;
            match entry.kind {
                EntryKind::File => survey.add_file(place, &entry.path, entry.bytes),
                EntryKind::Folder => {}
                EntryKind::Link => survey.skip(&entry.path, Skip::Link),
                EntryKind::Special => survey.skip(&entry.path, Skip::Special),
            }
        }
        let (planned, report) = survey.plan(true);
        let entries = Entries::new(archive.unpack(compression, limits)?);
        Ok((Self { archive, entries, next: 0 }, planned, report))
    }

    /// See [`super::root_file`].
    pub(super) fn root_file(
        archive: ArchiveFile,
        compression: Compression,
        name: &str,
        bytes_max: u64,
        limits: &SourceLimits,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let mut survey = Survey::new(limits);
        let mut entries = Entries::new(archive.unpack(compression, limits)?);
        // The first entry tells the folder around the others; only the last tells that all are in it.
        let mut wrapper: Option<Option<Vec<u8>>> = None;
        let mut wrapped = None;
        while let Some(entry) = entries.next().map_err(|error| fault(&archive, &entries, error))? {
            survey.count()?;
            let path = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
            let (folder, rest) = match path.iter().position(|byte| *byte == b'/') {
                Some(slash) => (path.get(..slash), path.get(slash + 1..).unwrap_or_default()),
                None => (None, path),
            };
            let known = wrapper.get_or_insert_with(|| folder.map(<[u8]>::to_vec));
            if known.as_deref() != folder {
                *known = None;
            }
            let is_named = rest == name.as_bytes() && matches!(entry.kind, EntryKind::File);
            if !is_named || (folder.is_some() && known.is_none()) {
                continue;
            }
            if entry.bytes <= bytes_max {
                wrapped = Some(entries.content().map_err(|error| fault(&archive, &entries, error))?);
            }
            if folder.is_none() {
                return Ok(wrapped.filter(|_| entry.bytes <= bytes_max));
            }
        }
        Ok(wrapped.filter(|_| wrapper.flatten().is_some()))
    }

    /// The content of a planned document; documents are asked for in the order of the plan.
    pub(crate) fn read(&mut self, planned: &Planned, limits: &SourceLimits) -> Result<Vec<u8>, SourceError> {
        loop {
            let entry = self.entries.next().map_err(|error| fault(&self.archive, &self.entries, error))?;
            let Some(entry) = entry else {
                return Err(self.archive.changed());
            };
            let place = self.next;
            self.next += 1;
            if place < planned.entry {
                continue;
            }
            if !entry.path.ends_with(planned.path.as_bytes()) || entry.bytes > limits.file_bytes_max {
                return Err(self.archive.changed());
            }
            return self.entries.content().map_err(|error| fault(&self.archive, &self.entries, error));
        }
    }
}

fn fault(archive: &ArchiveFile, entries: &Entries<Bounded>, error: io::Error) -> SourceError {
    if entries.stream.exceeded {
        archive.unpacks_too_far(entries.stream.limit)
    } else {
        archive.damaged(error)
    }
}

enum EntryKind {
    File,
    Folder,
    Link,
    Special,
}

struct Entry {
    path: Vec<u8>,
    bytes: u64,
    kind: EntryKind,
}

/// Walks from header to header.
struct Entries<R> {
    stream: R,
    /// Bytes of the current entry's content that were not read yet, and the padding after it.
    content: u64,
    padding: u64,
}

/// What GNU and pax entries say about the entry after them.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    bytes: Option<u64>,
    is_sparse: bool,
}

impl<R: Read> Entries<R> {
    fn new(stream: R) -> Self {
        Self { stream, content: 0, padding: 0 }
    }

    /// The next entry proper; `None` at the end of the archive.
    fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            self.skip_content()?;
            let mut block = [0; BLOCK];
            match fill(&mut self.stream, &mut block)? {
                // Some writers leave out the two empty blocks at the end.
                0 => return Ok(None),
                BLOCK if is_zero(&block) => return Ok(None),
                BLOCK => {}
                _ => return Err(cut_short()),
            }
            if !has_valid_checksum(&block) {
                return Err(invalid("a tar header has a wrong checksum"));
            }
            let header = Header::from_byte_slice(&block);
            let kind = header.entry_type();
            self.set_content(header.entry_size()?)?;
            match kind {
                EntryType::GNULongName => {
                    let mut path = self.extension()?;
                    path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
                    extension.path = Some(path);
                }
                EntryType::XHeader => self.pax(&mut extension)?,
                EntryType::GNULongLink | EntryType::XGlobalHeader => {}
                _ => return self.entry(header, kind, extension).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, kind: EntryType, extension: Extension) -> io::Result<Entry> {
        if let Some(bytes) = extension.bytes {
            self.set_content(bytes)?;
        }
        let path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match kind {
            _ if extension.is_sparse => EntryKind::Special,
            // Old archives mark a folder by the end of its name.
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => EntryKind::Folder,
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Folder,
            EntryType::Link | EntryType::Symlink => EntryKind::Link,
            _ => EntryKind::Special,
        };
        // A sparse file of GNU may go on in blocks the header's size does not count; no documentation is sparse.
        if header.entry_type() == EntryType::GNUSparse
            && header.as_gnu().is_some_and(tar::GnuHeader::is_extended)
        {
            return Err(invalid("sparse files are not read"));
        }
        Ok(Entry { path, bytes: self.content, kind })
    }

    /// The whole content of the entry that [`Self::next`] returned.
    fn content(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.stream).take(self.content).read_to_end(&mut bytes)? as u64;
        if read < self.content {
            return Err(cut_short());
        }
        self.content = 0;
        Ok(bytes)
    }

    fn extension(&mut self) -> io::Result<Vec<u8>> {
        if self.content > EXTENSION_BYTES_MAX {
            return Err(invalid("an extended tar header is too long"));
        }
        self.content()
    }

    fn pax(&mut self, extension: &mut Extension) -> io::Result<()> {
        for record in PaxExtensions::new(&self.extension()?) {
            let record = record?;
            match record.key_bytes() {
                b"path" => extension.path = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let bytes = record.value().ok().and_then(|value| value.parse().ok());
                    extension.bytes =
                        Some(bytes.ok_or_else(|| invalid("a tar entry has an unreadable size"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => extension.is_sparse = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn set_content(&mut self, bytes: u64) -> io::Result<()> {
        let blocks = bytes.checked_next_multiple_of(BLOCK as u64);
        self.padding = blocks.ok_or_else(|| invalid("a tar entry has an impossible size"))? - bytes;
        self.content = bytes;
        Ok(())
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let whole = self.content.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.stream).take(whole), &mut io::sink())?;
        // The padding after the very last file may be missing.
        if skipped < self.content {
            return Err(cut_short());
        }
        (self.content, self.padding) = (0, 0);
        Ok(())
    }
}

/// Fills the block as far as the stream goes.
fn fill(stream: &mut impl Read, block: &mut [u8; BLOCK]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// The sum of all bytes, those of the checksum counted as blanks.
fn has_valid_checksum(block: &[u8; BLOCK]) -> bool {
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
        .sum();
    Header::from_byte_slice(block).cksum().is_ok_and(|expected| expected == sum)
}
