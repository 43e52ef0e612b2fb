//! Archives as sources: told apart by their first bytes, unpacked in memory, one file at a time.
//!
//! Invariant: nothing is ever written to disk, so a hostile path has nowhere to go; what is unpacked
//! is counted, so a bomb ends at the limit and not at the end of the machine's memory.

mod tar;
mod zip;

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use liblzma::{bufread::XzDecoder, stream::Stream};

pub(super) use self::{tar::Tar, zip::Zip};
use super::{SourceError, SourceLimits};

/// Memory an xz stream may ask its reader for; `xz -9` asks for 65 MiB.
const XZ_MEMORY_MAX: u64 = 128 << 20;

/// Several xz streams one after the other are one stream (`LZMA_CONCATENATED`).
const XZ_CONCATENATED: u32 = 0x08;

/// The window of a zstd stream is at most 2^this bytes; `zstd --ultra -22` uses all of it.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// An archive opened far enough to know what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Zip,
    Tar(Compression),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
}

/// Tells an archive by its first bytes; `Ok(None)` when it is none.
pub(super) fn detect(path: &Path) -> Result<Option<Packing>, SourceError> {
    let failed = |source| SourceError::Open { path: path.to_owned(), source };
    let mut head = Vec::with_capacity(tar::BLOCK);
    File::open(path).and_then(|file| file.take(tar::BLOCK as u64).read_to_end(&mut head)).map_err(failed)?;
    let unsupported = |found| Err(SourceError::Unsupported { path: path.to_owned(), found });
    match head.as_slice() {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Ok(Some(Packing::Zip)),
        [0x1f, 0x8b, ..] => Ok(Some(Packing::Tar(Compression::Gzip))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Some(Packing::Tar(Compression::Zstd))),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Some(Packing::Tar(Compression::Xz))),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => unsupported("a bzip2 file"),
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => unsupported("a 7-Zip archive"),
        [b'R', b'a', b'r', b'!', ..] => unsupported("a RAR archive"),
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => unsupported("a Debian package or ar archive"),
        block if tar::is_header(block) => Ok(Some(Packing::Tar(Compression::None))),
        _ => Ok(None),
    }
}

/// The file `name` at the root of an archive, or in the one folder that wraps all of it; `None` when
/// there is none, or when it has more than `bytes_max` bytes.
pub(super) fn root_file(
    path: &Path,
    name: &str,
    bytes_max: u64,
    limits: &SourceLimits,
) -> Result<Option<Vec<u8>>, SourceError> {
    match detect(path)? {
        Some(Packing::Tar(compression)) => {
            Tar::root_file(ArchiveFile::open(path, limits)?, compression, name, bytes_max, limits)
        }
        Some(Packing::Zip) => Zip::root_file(ArchiveFile::open(path, limits)?, name, bytes_max, limits),
        None => {
            Err(SourceError::Unsupported { path: path.to_owned(), found: "neither a folder nor an archive" })
        }
    }
}

/// An archive file, to be read from the start as often as needed.
pub(super) struct ArchiveFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl ArchiveFile {
    pub(super) fn open(path: &Path, limits: &SourceLimits) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes > limits.archive_bytes_max {
            return Err(SourceError::TooLarge {
                path: path.to_owned(),
                bytes,
                limit: limits.archive_bytes_max,
            });
        }
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// The unpacked stream from its start, ended by the limit.
    fn unpack(&self, compression: Compression, limits: &SourceLimits) -> Result<Bounded, SourceError> {
        let inner = self.decoder(compression).map_err(|source| self.damaged(source))?;
        let limit = limits.unpacked_bytes(self.bytes);
        Ok(Bounded { inner, left: limit, limit, exceeded: false })
    }

    fn decoder(&self, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
        let file = self.reader()?;
        Ok(match compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(MultiGzDecoder::new(file)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            Compression::Xz => {
                let stream =
                    Stream::new_stream_decoder(XZ_MEMORY_MAX, XZ_CONCATENATED).map_err(io::Error::other)?;
                Box::new(XzDecoder::new_stream(file, stream))
            }
        })
    }

    fn reader(&self) -> io::Result<BufReader<File>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(BufReader::with_capacity(64 << 10, file))
    }

    fn damaged(&self, source: io::Error) -> SourceError {
        SourceError::Damaged { path: self.path.clone(), source }
    }

    fn changed(&self) -> SourceError {
        SourceError::Changed { path: self.path.clone() }
    }

    fn unpacks_too_far(&self, limit: u64) -> SourceError {
        SourceError::UnpacksTooFar { path: self.path.clone(), limit }
    }
}

/// A stream that fails once it has given `limit` bytes and has more.
struct Bounded {
    inner: Box<dyn Read + Send>,
    left: u64,
    limit: u64,
    exceeded: bool,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte more than is left, so that a stream of exactly the limit ends without an error.
        let wanted = buffer.len().min(usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX));
        let read = self.inner.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        match self.left.checked_sub(read as u64) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => {
                self.exceeded = true;
                Err(io::Error::other("the unpacked data exceeds its limit"))
            }
        }
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle of an entry")
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
