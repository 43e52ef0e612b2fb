//! The agreed state as one stream of bytes, in pieces, each a value of the log's engine.
//!
//! ```text
//! stream   = format 1 | section* | 0
//! section  = 1 | length of the keyspace's name 1 | name | pair* | 0
//! pair     = 1 | length of the key 2 | key | length of the value 4 | value
//! ```
//! Numbers are big-endian. Not compressed: the engine compresses its blocks.

use std::io::{self, Read};

use twinmcp_storage::engine::{
    Batch, Durability, Engine, KEY_BYTES_MAX, Keyspace, Reader, StorageError, VALUE_BYTES_MAX,
};

use super::records::{self, SnapshotRecord};
use crate::status::GroupId;

/// The newest format of the stream this build writes and reads.
const FORMAT: u8 = 1;
/// Bytes of one piece; the last is shorter.
const PIECE_BYTES: usize = 512 * 1024;
/// Pairs read from the engine at once.
const SCAN_PAIRS: usize = 128;

const END: u8 = 0;
const MORE: u8 = 1;

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DumpError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the snapshot has format {format}, this build reads up to {FORMAT}: run the newer build")]
    NewerFormat { format: u8 },
    #[error("the snapshot holds keyspace `{name}`, which this build does not know: run the newer build")]
    UnknownKeyspace { name: String },
    #[error("the snapshot is damaged: {what}")]
    Damaged { what: &'static str },
    #[error("failed to read the snapshot")]
    Read(#[from] io::Error),
}

impl From<DumpError> for io::Error {
    fn from(error: DumpError) -> Self {
        Self::other(error)
    }
}

/// Where pieces go: under keys of one snapshot, buffered. Whoever writes the description syncs them.
pub(super) struct PieceWriter<'a> {
    engine: &'a dyn Engine,
    group: GroupId,
    number: u64,
    piece: Vec<u8>,
    pieces: u32,
    bytes: u64,
    hasher: blake3::Hasher,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) pieces: u32,
    pub(super) bytes: u64,
    pub(super) hash: [u8; 32],
}

impl<'a> PieceWriter<'a> {
    pub(super) fn new(engine: &'a dyn Engine, group: GroupId, number: u64) -> Self {
        let piece = Vec::with_capacity(PIECE_BYTES);
        Self { engine, group, number, piece, pieces: 0, bytes: 0, hasher: blake3::Hasher::new() }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Written, StorageError> {
        if !self.piece.is_empty() {
            self.flush()?;
        }
        let hash = *self.hasher.finalize().as_bytes();
        Ok(Written { pieces: self.pieces, bytes: self.bytes, hash })
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        self.hasher.update(&self.piece);
        self.bytes += self.piece.len() as u64;
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let mut batch = Batch::new();
        batch.put(Keyspace::Snapshots, records::piece_key(self.group, self.number, self.pieces), piece);
        self.pieces += 1;
        self.engine.commit(batch, Durability::Buffered)
    }
}

/// Writes the whole agreed state of `state` as a stream.
pub(super) fn write<E: From<StorageError>>(
    state: &dyn Reader,
    mut out: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    out(&[FORMAT])?;
    for &space in Keyspace::STATE {
        // A build of before may not know it, and can do without what is empty.
        if state.scan(space, &[], None, 1)?.is_empty() {
            continue;
        }
        let name = space.name().as_bytes();
        out(&[MORE, u8::try_from(name.len()).unwrap_or(u8::MAX)])?;
        out(name)?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let pairs = state.scan(space, &[], after.as_deref(), SCAN_PAIRS)?;
            for (key, value) in &pairs {
                // Neither can be cut: the engine's limits are far below.
                let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX);
                let value_bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
                out(&[MORE])?;
                out(&key_bytes.to_be_bytes())?;
                out(key)?;
                out(&value_bytes.to_be_bytes())?;
                out(value)?;
            }
            match pairs.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        out(&[END])?;
    }
    out(&[END])
}

/// The pieces of one snapshot as a stream.
pub(super) struct PieceReader<'a> {
    reader: &'a dyn Reader,
    group: GroupId,
    number: u64,
    pieces: u32,
    next: u32,
    piece: io::Cursor<Vec<u8>>,
}

impl<'a> PieceReader<'a> {
    pub(super) fn new(reader: &'a dyn Reader, group: GroupId, snapshot: &SnapshotRecord) -> Self {
        let (number, pieces) = (snapshot.number, snapshot.pieces);
        Self { reader, group, number, pieces, next: 0, piece: io::Cursor::default() }
    }

    /// The next piece, or `None` after the last.
    pub(super) fn piece(&mut self) -> Result<Option<Vec<u8>>, DumpError> {
        if self.next == self.pieces {
            return Ok(None);
        }
        let key = records::piece_key(self.group, self.number, self.next);
        self.next += 1;
        let piece = self.reader.get(Keyspace::Snapshots, &key)?;
        Ok(Some(piece.ok_or(DumpError::Damaged { what: "a piece is missing" })?))
    }
}

impl Read for PieceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.piece()? {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}

/// Hands every pair of the stream to `put`, in the order they were written.
pub(super) fn read(
    pieces: &mut impl Read,
    mut put: impl FnMut(Keyspace, Vec<u8>, Vec<u8>) -> Result<(), DumpError>,
) -> Result<(), DumpError> {
    let format = byte(pieces)?;
    if format != FORMAT {
        return Err(DumpError::NewerFormat { format });
    }
    while is_more(pieces)? {
        let length = byte(pieces)?.into();
        let name = bytes(pieces, length, usize::from(u8::MAX))?;
        let known = Keyspace::STATE.iter().find(|space| space.name().as_bytes() == name);
        let Some(&space) = known else {
            return Err(DumpError::UnknownKeyspace { name: String::from_utf8_lossy(&name).into_owned() });
        };
        while is_more(pieces)? {
            let mut length = [0; 2];
            pieces.read_exact(&mut length)?;
            let key = bytes(pieces, u16::from_be_bytes(length).into(), KEY_BYTES_MAX)?;
            let mut length = [0; 4];
            pieces.read_exact(&mut length)?;
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            let value = bytes(pieces, length, VALUE_BYTES_MAX)?;
            put(space, key, value)?;
        }
    }
    match pieces.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(DumpError::Damaged { what: "bytes follow its end" }),
    }
}

fn byte(stream: &mut impl Read) -> Result<u8, DumpError> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn bytes(stream: &mut impl Read, length: usize, length_max: usize) -> Result<Vec<u8>, DumpError> {
    if length > length_max {
        return Err(DumpError::Damaged { what: "a length is over its limit" });
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn is_more(stream: &mut impl Read) -> Result<bool, DumpError> {
    match byte(stream)? {
        MORE => Ok(true),
        END => Ok(false),
        _ => Err(DumpError::Damaged { what: "a mark is neither end nor more" }),
    }
}
