//! Vectors that were made already, in a file of this node: an upgrade that was interrupted goes on where it
//! was, and a new version of a library pays only for what is new in it.
//!
//! A record is found by the hash of its text, in the file of its embedder. Records are appended; when the
//! file has half of the bytes allowed it becomes the older one, whose records are still found, and the one
//! that was older goes. What is torn or damaged is not found, and made again.
//!
//! ```text
//! 0   8   magic "TMCPVEC1"
//! 8   32  BLAKE3 of the embedder's id
//! 40  …   records: 16 bytes of the text's hash, a half-precision number a dimension, 4 bytes of
//!         BLAKE3 over both; all numbers zero for a text without a vector
//! ```

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::f16;

use crate::checksum::checksum;
use crate::embedding::DocumentText;

const MAGIC: &[u8; 8] = b"TMCPVEC1";
const HEADER_BYTES: usize = 40;
const KEY_BYTES: usize = 16;
const CHECK_BYTES: usize = 4;
const CURRENT: &str = "vectors";
const OLDER: &str = "older";

/// Stands for a text.
pub(super) type Key = [u8; KEY_BYTES];

/// The key of a snippet: what it is embedded from, and nothing else.
pub(super) fn key(document: &DocumentText) -> Key {
    let mut hasher = blake3::Hasher::new();
    for part in document.heading_path.iter().chain([&document.text]) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let mut key = Key::default();
    hasher.finalize_xof().fill(&mut key);
    key
}

/// The vectors of one embedder.
pub(super) struct Cache {
    current: Generation,
    older: Option<Generation>,
    path: PathBuf,
    header: [u8; HEADER_BYTES],
    dimensions: usize,
    /// From here on a new file is begun.
    generation_bytes_max: u64,
}

/// One file.
struct Generation {
    file: File,
    places: HashMap<Key, u64>,
    bytes: u64,
}

impl Cache {
    /// Opens the vectors of `embedder` in `folder`, and deletes those of others: a node has one model at a time.
    pub(super) fn open(folder: &Path, embedder: &str, dimensions: usize, bytes_max: u64) -> io::Result<Self> {
        let id = blake3::hash(embedder.as_bytes());
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..].copy_from_slice(id.as_bytes());
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}.{CURRENT}", &id.to_hex()[..16]));
        let older = path.with_extension(OLDER);
        for entry in fs::read_dir(folder)?.flatten() {
            if entry.path() != path && entry.path() != older {
                // One that cannot be deleted now is met again at the next opening.
                let _ = fs::remove_file(entry.path());
            }
        }
        let current = Generation::open(&path, &header, dimensions)?;
        let older = if older.is_file() { Some(Generation::open(&older, &header, dimensions)?) } else { None };
        Ok(Self { current, older, path, header, dimensions, generation_bytes_max: bytes_max / 2 })
    }

    /// The vector of a text, `Some(None)` for one that is known to have none.
    pub(super) fn get(&self, key: &Key) -> Option<Option<Vec<f32>>> {
        let generations = [Some(&self.current), self.older.as_ref()];
        generations.into_iter().flatten().find_map(|generation| {
            let place = *generation.places.get(key)?;
            let mut record = vec![0; record_bytes(self.dimensions)];
            generation.file.read_exact_at(&mut record, place).ok()?;
            // It was whole when the file was opened; since then the disk may have changed it.
            let (body, sum) = record.split_at(record.len() - CHECK_BYTES);
            let numbers = body.strip_prefix(key).filter(|_| checksum::<CHECK_BYTES>(body) == sum)?;
            let vector = numbers.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32());
            let vector: Vec<f32> = vector.collect();
            Some(vector.iter().any(|number| *number != 0.0).then_some(vector))
        })
    }

    /// Remembers a vector, and returns it as it will be read: what comes from the file and what was just
    /// made must give equal bundles.
    pub(super) fn put(&mut self, key: Key, vector: Option<&[f32]>) -> io::Result<Option<Vec<f32>>> {
        let mut record = Vec::with_capacity(record_bytes(self.dimensions));
        record.extend(key);
        let rounded: Option<Vec<f16>> =
            vector.map(|vector| vector.iter().map(|v| f16::from_f32(*v)).collect());
        match &rounded {
            Some(numbers) => record.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
            None => record.resize(KEY_BYTES + self.dimensions * 2, 0),
        }
        let check: [u8; CHECK_BYTES] = checksum(&record);
        record.extend(check);
        if self.current.bytes + record.len() as u64 > self.generation_bytes_max {
            let older = self.path.with_extension(OLDER);
            fs::rename(&self.path, older)?;
            let new = Generation::open(&self.path, &self.header, self.dimensions)?;
            self.older = Some(std::mem::replace(&mut self.current, new));
        }
        self.current.file.write_all_at(&record, self.current.bytes)?;
        self.current.places.insert(key, self.current.bytes);
        self.current.bytes += record.len() as u64;
        Ok(rounded.map(|numbers| numbers.iter().map(|number| number.to_f32()).collect()))
    }
}

impl Generation {
    /// Opens or begins a file; what is not whole at its end is written over.
    fn open(path: &Path, header: &[u8; HEADER_BYTES], dimensions: usize) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut reader = BufReader::with_capacity(256 * 1024, &file);
        let mut found = [0; HEADER_BYTES];
        if reader.read_exact(&mut found).is_err() || found != *header {
            file.set_len(0)?;
            (&file).write_all(header)?;
            return Ok(Self { file, places: HashMap::new(), bytes: HEADER_BYTES as u64 });
        }
        let (mut places, mut bytes) = (HashMap::new(), HEADER_BYTES as u64);
        let mut record = vec![0; record_bytes(dimensions)];
        while reader.read_exact(&mut record).is_ok() {
            let (body, sum) = record.split_at(record.len() - CHECK_BYTES);
            if let Some(key) = body.first_chunk().filter(|_| checksum::<CHECK_BYTES>(body) == sum) {
                places.insert(*key, bytes);
            }
            bytes += record.len() as u64;
        }
        Ok(Self { file, places, bytes })
    }
}

fn record_bytes(dimensions: usize) -> usize {
    KEY_BYTES + dimensions * 2 + CHECK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path, embedder: &str, bytes_max: u64) -> Cache {
        Cache::open(folder, embedder, 2, bytes_max).unwrap()
    }

    fn text(text: &str) -> Key {
        key(&DocumentText { heading_path: vec!["Heading".into()], text: text.into() })
    }

    #[test]
    fn a_vector_is_found_again_also_after_a_restart_and_as_it_was_returned() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = open(folder.path(), "model", 1 << 20);
        let kept = cache.put(text("a"), Some(&[0.1, -0.7])).unwrap();
        assert_eq!(cache.put(text("without words"), None).unwrap(), None);
        for cache in [cache, open(folder.path(), "model", 1 << 20)] {
            assert_eq!(cache.get(&text("a")), Some(kept.clone()));
            assert_eq!(cache.get(&text("without words")), Some(None));
            assert_eq!(cache.get(&text("b")), None);
        }
    }

    #[test]
    fn a_key_depends_on_headings_and_text_and_on_where_one_ends() {
        let key_of = |headings: &[&str], text: &str| {
            let heading_path = headings.iter().map(|heading| (*heading).to_owned()).collect();
            key(&DocumentText { heading_path, text: text.to_owned() })
        };
        assert_eq!(key_of(&["a", "b"], "c"), key_of(&["a", "b"], "c"));
        assert_ne!(key_of(&["a", "b"], "c"), key_of(&["ab"], "c"));
        assert_ne!(key_of(&["a"], "bc"), key_of(&["a", "b"], "c"));
    }

    #[test]
    fn another_model_finds_nothing_and_leaves_nothing_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), "model", 1 << 20).put(text("a"), Some(&[0.1, -0.7])).unwrap();
        assert_eq!(open(folder.path(), "other", 1 << 20).get(&text("a")), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(open(folder.path(), "model", 1 << 20).get(&text("a")), None);
    }

    #[test]
    fn torn_and_damaged_records_are_not_found_and_the_others_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = open(folder.path(), "model", 1 << 20);
        for name in ["a", "b", "c"] {
            cache.put(text(name), Some(&[0.5, 0.5])).unwrap();
        }
        let path = cache.path.clone();
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER_BYTES + record_bytes(2) + KEY_BYTES] ^= 1;
        bytes.truncate(bytes.len() - 3);
        fs::write(&path, bytes).unwrap();
        let mut cache = open(folder.path(), "model", 1 << 20);
        let found = |cache: &Cache| ["a", "b", "c"].map(|name| cache.get(&text(name)).is_some());
        assert_eq!(found(&cache), [true, false, false]);
        cache.put(text("c"), Some(&[0.5, 0.5])).unwrap();
        assert_eq!(found(&open(folder.path(), "model", 1 << 20)), [true, false, true]);
        fs::write(&path, "something else").unwrap();
        assert_eq!(found(&open(folder.path(), "model", 1 << 20)), [false; 3]);
    }

    #[test]
    fn a_record_that_changes_while_its_file_is_open_is_not_found_and_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = open(folder.path(), "model", 1 << 20);
        cache.put(text("a"), Some(&[0.5, 0.5])).unwrap();
        let mut bytes = fs::read(&cache.path).unwrap();
        bytes[HEADER_BYTES + KEY_BYTES] ^= 1;
        fs::write(&cache.path, bytes).unwrap();
        assert_eq!(cache.get(&text("a")), None);
        let made = cache.put(text("a"), Some(&[0.5, 0.5])).unwrap();
        assert_eq!(cache.get(&text("a")), Some(made));
    }

    #[test]
    fn the_oldest_half_goes_when_the_bytes_allowed_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let bytes_max = 2 * (HEADER_BYTES + 10 * record_bytes(2)) as u64;
        let mut cache = open(folder.path(), "model", bytes_max);
        for number in 0..100 {
            cache.put(text(&number.to_string()), Some(&[0.5, 0.5])).unwrap();
            let used: u64 =
                fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
            assert!(used <= bytes_max, "{used}");
        }
        for cache in [cache, open(folder.path(), "model", bytes_max)] {
            let found = |number: i32| cache.get(&text(&number.to_string())).is_some();
            assert!((90..100).all(found) && !(0..80).any(found));
        }
    }
}
