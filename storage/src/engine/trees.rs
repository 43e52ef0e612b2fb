//! Looks through the trees of `fjall` before `fjall` opens them.
//!
//! A tree is a folder: `current` names the version in force and its checksum (number, XXH3-128, and the kind of the
//! checksum), `v<number>` lists the tables of that version, and `tables/` has them. `lsm-tree` 3.1 does not compare the
//! checksum of a version, so a flipped bit there would leave tables out or read them in another order without a word;
//! and it reserves memory for a table's contents by a count it has not checked yet, which ends the process when the
//! count changed. Both are looked at here. The blocks of a
//! table have checksums that are checked where they are read.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

/// Bytes of `current`: a number, a checksum, and its kind.
const CURRENT_BYTES: usize = 8 + 16 + 1;
/// Bytes of a table in a version behind its number: the kind of its checksum, the checksum, and a sequence number.
const TABLE_REST_BYTES: usize = 1 + 16 + 8;
/// Bytes before the checksum at a table's end: a magic number, a version, and the kind of the checksum.
const TRAILER_HEAD_BYTES: usize = 4 + 1 + 1;
/// Bytes at a table's end: those, the checksum of the list of its sections, where that begins, and its length.
const TRAILER_BYTES: u64 = TRAILER_HEAD_BYTES as u64 + 16 + 8 + 8;
/// More than the list of any table's sections takes.
const SECTIONS_MAX_BYTES: u64 = 64 * 1024;

/// The first file of a tree in `folder` that is not what was written.
///
/// # Errors
/// When a file cannot be read; the message names it.
pub(super) fn find_damaged(folder: &Path) -> io::Result<Option<PathBuf>> {
    let trees = match fs::read_dir(folder.join("keyspaces")) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for tree in trees {
        if let Some(damaged) = find_damaged_in(&tree)? {
            return Ok(Some(damaged));
        }
    }
    Ok(None)
}

fn find_damaged_in(tree: &Path) -> io::Result<Option<PathBuf>> {
    let current = tree.join("current");
    // Without it there is no tree yet: the process died while it made one.
    let Some(bytes) = read(&current)? else { return Ok(None) };
    let Some((number, checksum)) = parse_current(&bytes) else { return Ok(Some(current)) };
    let version = tree.join(format!("v{number}"));
    let Some(bytes) = read(&version)? else { return Ok(Some(current)) };
    if xxh3_128(&bytes) != checksum {
        return Ok(Some(version));
    }
    // Tables of no version were being written when the process died: `fjall` removes them unread.
    for number in tables(&bytes)? {
        let table = tree.join("tables").join(number.to_string());
        if !table.exists() || !has_its_sections(&table)? {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// The bytes of a file that may be missing.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))),
    }
}

/// The number of the version in force, and its checksum.
fn parse_current(bytes: &[u8]) -> Option<(u64, u128)> {
    let bytes: &[u8; CURRENT_BYTES] = bytes.try_into().ok()?;
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), u128::from_le_bytes(*rest.first_chunk()?)))
}

/// The numbers of the tables that a version lists, whose bytes are the ones that were written.
fn tables(version: &[u8]) -> io::Result<Vec<u64>> {
    let archive = sfa::Reader::from_reader(&mut Cursor::new(version)).map_err(io::Error::other)?;
    let section = archive.toc().section(b"tables").ok_or(io::ErrorKind::InvalidData)?;
    let mut reader = version;
    io::copy(&mut reader.by_ref().take(section.pos()), &mut io::sink())?;
    let mut numbers = Vec::new();
    let [levels] = array(&mut reader)?;
    for _ in 0..levels {
        let [runs] = array(&mut reader)?;
        for _ in 0..runs {
            for _ in 0..u32::from_le_bytes(array(&mut reader)?) {
                numbers.push(u64::from_le_bytes(array(&mut reader)?));
                array::<TABLE_REST_BYTES>(&mut reader)?;
            }
        }
    }
    Ok(numbers)
}

fn array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Whether the list of a table's sections is the one its trailer speaks of.
fn has_its_sections(table: &Path) -> io::Result<bool> {
    let mut file = File::open(table)?;
    let Some(trailer_at) = file.metadata()?.len().checked_sub(TRAILER_BYTES) else { return Ok(false) };
    file.seek(SeekFrom::Start(trailer_at))?;
    array::<TRAILER_HEAD_BYTES>(&mut file)?;
    let checksum = u128::from_le_bytes(array(&mut file)?);
    let at = u64::from_le_bytes(array(&mut file)?);
    let Some(bytes) = trailer_at.checked_sub(at).filter(|bytes| *bytes <= SECTIONS_MAX_BYTES) else {
        return Ok(false);
    };
    file.seek(SeekFrom::Start(at))?;
    let mut sections = Vec::new();
    file.take(bytes).read_to_end(&mut sections)?;
    Ok(xxh3_128(&sections) == checksum)
}
