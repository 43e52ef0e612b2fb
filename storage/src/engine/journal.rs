//! Looks through `fjall`'s journals before `fjall` opens them.
//!
//! `fjall` ends a replay quietly at the first batch it cannot read and cuts the file there. That is right for a
//! batch that was being written when the machine went down, which nothing follows; but after a damaged batch in
//! the middle it would drop acknowledged ones without a word. So a journal whose damage is followed by a whole
//! batch is refused here, by name. The format is the one of `fjall` 3: batches of a start (count, sequence number),
//! items, and an end with the XXH3 of the items and a magic trailer. The sequence number is under no checksum: a
//! changed one is noticed where it breaks the order, and nowhere else.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Bytes read at once.
const BUFFER_BYTES: usize = 64 * 1024;
static ZEROS: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES];
/// What a batch's sequence number may be ahead of the one before it, or of 0: far more than a database writes, far less
/// than chance would give.
const SEQUENCE_STEP_MAX: u64 = 1 << 40;

/// The first journal in `folder` that lost something in its middle.
///
/// # Errors
/// When a journal cannot be read; the message names it.
pub(super) fn find_damaged(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut journals: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(folder)(error)),
    };
    journals.retain(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    journals.sort_unstable();
    for path in journals {
        if is_damaged(&path).map_err(named(&path))? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("`{path}`: {error}"))
}

fn is_damaged(path: &Path) -> io::Result<bool> {
    let mut journal = Journal::open(path)?;
    let (mut at, mut sequence) = (0, 0);
    while let Some(batch) = journal.batch(at)? {
        // The checksum is of the items alone: a start that was changed shows in the order.
        if !follows(sequence, batch.sequence) {
            return Ok(true);
        }
        (at, sequence) = (batch.end, batch.sequence);
    }
    journal.has_batch_after(at, sequence)
}

fn follows(before: u64, sequence: u64) -> bool {
    (before..before.saturating_add(SEQUENCE_STEP_MAX)).contains(&sequence)
}

struct Journal {
    reader: BufReader<File>,
    /// Length of the file.
    bytes: u64,
    scratch: Vec<u8>,
}

struct Batch {
    sequence: u64,
    end: u64,
}

impl Journal {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { reader: BufReader::with_capacity(BUFFER_BYTES, file), bytes, scratch: Vec::new() })
    }

    /// The batch that begins at `at`; nothing when the bytes there are no whole batch.
    fn batch(&mut self, at: u64) -> io::Result<Option<Batch>> {
        let now = self.reader.stream_position()?;
        self.reader.seek_relative(at.cast_signed() - now.cast_signed())?;
        match self.read_batch() {
            Ok(sequence) => Ok(Some(Batch { sequence, end: self.reader.stream_position()? })),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn read_batch(&mut self) -> io::Result<u64> {
        let [tag] = self.array()?;
        let (items, sequence) = (u32::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?));
        require(tag == START && items > 0)?;
        let mut hasher = Xxh3::new();
        for _ in 0..items {
            match self.array()? {
                [ITEM] => self.item(&mut hasher)?,
                [CLEAR] => {
                    let keyspace: [u8; 8] = self.array()?;
                    hasher.update(&[CLEAR]);
                    hasher.update(&keyspace);
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        let [tag] = self.array()?;
        let hash = u64::from_le_bytes(self.array()?);
        require(tag == END && hash == hasher.digest() && self.array()? == TRAILER)?;
        Ok(sequence)
    }

    /// Type, compression, keyspace, length of the key, of the value and of its stored form; key; value.
    fn item(&mut self, hasher: &mut Xxh3) -> io::Result<()> {
        let head: [u8; 20] = self.array()?;
        let [.., k0, k1, _, _, _, _, v0, v1, v2, v3] = head;
        let length =
            u64::from(u16::from_le_bytes([k0, k1])) + u64::from(u32::from_le_bytes([v0, v1, v2, v3]));
        // A damaged length must not make us ask for memory that the file could never fill.
        require(length <= self.bytes)?;
        self.scratch.clear();
        let read = self.reader.by_ref().take(length).read_to_end(&mut self.scratch)?;
        require(read as u64 == length)?;
        hasher.update(&[ITEM]);
        hasher.update(&head);
        hasher.update(&self.scratch);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether a whole batch begins anywhere after `at`. The zeros that a new journal is filled with are skipped
    /// by the block.
    fn has_batch_after(&mut self, at: u64, sequence: u64) -> io::Result<bool> {
        let mut block = vec![0; BUFFER_BYTES];
        let mut from = at + 1;
        while from < self.bytes {
            self.reader.seek(SeekFrom::Start(from))?;
            let length = usize::try_from(self.bytes - from).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            let block = &mut block[..length];
            self.reader.read_exact(block)?;
            if *block != ZEROS[..length] {
                for offset in (0..length).filter(|offset| block[*offset] == START) {
                    let found = self.batch(from + offset as u64)?;
                    if found.is_some_and(|batch| follows(sequence, batch.sequence)) {
                        return Ok(true);
                    }
                }
            }
            from += length as u64;
        }
        Ok(false)
    }
}

fn require(holds: bool) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Batch, Durability, Engine, FjallEngine, FjallOptions, Keyspace, Reader, StorageError,
    };
    use super::*;

    fn open(folder: &Path) -> Result<FjallEngine, StorageError> {
        FjallEngine::open(folder, Keyspace::STATE, &FjallOptions::default())
    }

    /// A journal with three batches, the last one large enough to be compressed, and where each ends.
    fn journal(folder: &Path) -> (PathBuf, Vec<u64>) {
        let engine = open(folder).unwrap();
        for (key, value) in [("a", vec![1; 9]), ("b", vec![2; 9]), ("c", vec![3; 10_000])] {
            let mut batch = Batch::new();
            batch.put(Keyspace::Jobs, key, value);
            batch.remove(Keyspace::Accounts, key);
            engine.commit(batch, Durability::Synced).unwrap();
        }
        let path = folder.join("0.jnl");
        let mut journal = Journal::open(&path).unwrap();
        let mut ends = vec![0];
        while let Some(batch) = journal.batch(ends[ends.len() - 1]).unwrap() {
            ends.push(batch.end);
        }
        (path, ends)
    }

    #[test]
    fn a_whole_journal_is_read_to_its_end_and_a_torn_last_batch_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let (path, ends) = journal(folder.path());
        assert_eq!(ends.len(), 4, "{ends:?}");
        assert_eq!(find_damaged(folder.path()).unwrap(), None);
        for cut in [ends[3] - 1, ends[2] + 1, ends[2]] {
            File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
            assert_eq!(find_damaged(folder.path()).unwrap(), None, "cut at {cut}");
        }
        assert_eq!(open(folder.path()).unwrap().scan(Keyspace::Jobs, &[], None, 9).unwrap().len(), 2);
    }

    #[test]
    fn damage_before_a_whole_batch_is_refused_by_the_name_of_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let (path, ends) = journal(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        // Some of the zeros that it is filled up with.
        bytes.truncate(usize::try_from(ends[3]).unwrap() + 2 * BUFFER_BYTES);
        // The checksum leaves the sequence number out; a changed one shows only where it breaks the order.
        let is_sequence = |at: &u64| ends.iter().any(|begin| (begin + 5..begin + 13).contains(at));
        for at in (ends[0]..ends[2]).filter(|at| !is_sequence(at)) {
            let mut damaged = bytes.clone();
            damaged[usize::try_from(at).unwrap()] ^= 4;
            fs::write(&path, damaged).unwrap();
            assert_eq!(find_damaged(folder.path()).unwrap(), Some(path.clone()), "at {at}");
        }
        let refused = open(folder.path()).map(|_| ()).unwrap_err();
        assert!(matches!(&refused, StorageError::Damaged { path: named, .. } if *named == path), "{refused}");
        assert!(refused.to_string().contains("made anew from the log"), "{refused}");
    }
}
