//! The catalogue: libraries known by name, whether or not their documentation is indexed here.
//!
//! Key layout: `c/<id>` -> [`Known`]; `n` -> how many there are, as 4 bytes. An entry says what a
//! registry says of a library, so that a name can be resolved before anybody has indexed it. A
//! [`Library`](crate::libraries::Library) of the same id is apart: it comes and goes without its entry.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{LibraryId, Version};
use crate::record::Record;
use crate::transaction::{self, Change, Transaction};

/// Entries a catalogue holds.
pub const ENTRIES_MAX: u32 = 1_000_000;
/// Entries of one command.
pub const IMPORT_ENTRIES_MAX: usize = 2_000;
/// Greatest popularity.
pub const POPULARITY_MAX: u8 = 100;
/// Longest name of a registry, in bytes.
pub const ECOSYSTEM_BYTES_MAX: usize = 50;
/// Changed entries that are told one by one; more are told as [`Change::Catalogue`].
const CHANGES_TOLD_MAX: usize = 100;

/// What is known of a library by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The id it has, or would have.
    pub id: LibraryId,
    /// Its name for people.
    pub title: String,
    /// One or two sentences.
    pub description: String,
    /// The registry it is from, e.g. `npm`; may be empty.
    pub ecosystem: String,
    /// How many use it, from 0 to [`POPULARITY_MAX`]; absent = unknown.
    pub popularity: Option<u8>,
    /// Versions its registry has, in its order.
    pub versions: Vec<Version>,
    /// Other names people use for it.
    pub aliases: Vec<String>,
}

/// An entry, and since when it says what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What is known.
    pub entry: Entry,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Record for Known {
    const NAME: &'static str = "catalogue entry";
    const FORMAT: u8 = 1;
}

/// A change to the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds or replaces entries, all or none; those that say nothing new change nothing.
    /// [`Outcome::LimitReached`] past [`ENTRIES_MAX`].
    Import {
        /// The entries, at most [`IMPORT_ENTRIES_MAX`] by the proposer.
        entries: Vec<Entry>,
    },
    /// Forgets one entry. [`Outcome::NotFound`] when there is none.
    Forget {
        /// Which.
        id: LibraryId,
    },
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Import { entries } => import(transaction, at, entries),
        Command::Forget { id } => {
            if get(transaction, id)?.is_none() {
                return Ok(Outcome::NotFound);
            }
            let count = count(transaction)?;
            put_count(transaction, count.saturating_sub(1));
            transaction.remove(Keyspace::Catalogue, key(id));
            transaction.changed(Change::Library(id.clone()));
            Ok(Outcome::Done)
        }
    }
}

fn import(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    entries: &[Entry],
) -> Result<Outcome, StorageError> {
    let before = count(transaction)?;
    let (mut added, mut changed) = (BTreeSet::new(), Vec::new());
    for entry in entries {
        let known = get(transaction, &entry.id)?;
        if known.as_ref().is_some_and(|known| known.entry == *entry) {
            continue;
        }
        if known.is_none() {
            added.insert(&entry.id);
        }
        changed.push(entry);
    }
    let after = before.saturating_add(u32::try_from(added.len()).unwrap_or(u32::MAX));
    if after > ENTRIES_MAX && after > before {
        return Ok(Outcome::LimitReached);
    }
    for entry in &changed {
        let known = Known { entry: (*entry).clone(), updated_at: at };
        transaction.put(Keyspace::Catalogue, key(&entry.id), &known)?;
    }
    if after > before {
        put_count(transaction, after);
    }
    match changed.len() {
        0 => {}
        1..=CHANGES_TOLD_MAX => {
            changed.iter().for_each(|entry| transaction.changed(Change::Library(entry.id.clone())));
        }
        _ => transaction.changed(Change::Catalogue),
    }
    Ok(Outcome::Done)
}

/// The entry with this id.
pub fn get(reader: &(impl Reader + ?Sized), id: &LibraryId) -> Result<Option<Known>, StorageError> {
    transaction::get(reader, Keyspace::Catalogue, &key(id))
}

/// Up to `limit` entries after the entry `after`, by id.
pub fn list(
    reader: &(impl Reader + ?Sized),
    after: Option<&LibraryId>,
    limit: usize,
) -> Result<Vec<Known>, StorageError> {
    transaction::scan(reader, Keyspace::Catalogue, b"c/", after.map(key).as_deref(), limit)
}

/// How many entries there are.
pub fn count(reader: &(impl Reader + ?Sized)) -> Result<u32, StorageError> {
    let bytes = reader.get(Keyspace::Catalogue, COUNT_KEY)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes))
}

const COUNT_KEY: &[u8] = b"n";

fn put_count(transaction: &mut Transaction<'_>, count: u32) {
    transaction.put_bytes(Keyspace::Catalogue, COUNT_KEY.to_vec(), count.to_be_bytes().to_vec());
}

fn key(id: &LibraryId) -> Vec<u8> {
    format!("c/{id}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Durability, Engine, MemoryEngine};

    fn entry(id: &str, title: &str) -> Entry {
        Entry {
            id: id.parse().unwrap(),
            title: title.to_owned(),
            description: String::new(),
            ecosystem: "npm".to_owned(),
            popularity: Some(50),
            versions: Vec::new(),
            aliases: Vec::new(),
        }
    }

    /// Applies and commits; what it did and what it told.
    fn run(engine: &MemoryEngine, at: u64, command: &Command) -> (Outcome, Vec<Change>) {
        let mut transaction = Transaction::new(engine);
        let outcome = apply(&mut transaction, Timestamp::from_millis(at), command).unwrap();
        let (batch, changes) = transaction.finish();
        engine.commit(batch, Durability::Buffered).unwrap();
        (outcome, changes)
    }

    #[test]
    fn an_import_counts_each_entry_once_and_tells_only_what_changed() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        let both = Command::Import { entries: vec![entry("/npm/a", "A"), entry("/npm/b", "B")] };
        let (outcome, told) = run(&engine, 1, &both);
        assert_eq!((outcome, told.len(), count(&engine).unwrap()), (Outcome::Done, 2, 2));
        let (_, told) = run(&engine, 2, &both);
        assert_eq!(told, [], "the same again changes nothing");
        assert_eq!(get(&engine, &"/npm/a".parse().unwrap()).unwrap().unwrap().updated_at.as_millis(), 1);

        let other = Command::Import { entries: vec![entry("/npm/a", "Another")] };
        let (_, told) = run(&engine, 3, &other);
        assert_eq!(told, [Change::Library("/npm/a".parse().unwrap())]);
        assert_eq!(count(&engine).unwrap(), 2);

        let forget = Command::Forget { id: "/npm/a".parse().unwrap() };
        assert_eq!(run(&engine, 4, &forget).0, Outcome::Done);
        assert_eq!(run(&engine, 5, &forget).0, Outcome::NotFound);
        assert_eq!(count(&engine).unwrap(), 1);
        let ids: Vec<_> = list(&engine, None, 10).unwrap().into_iter().map(|known| known.entry.id).collect();
        assert_eq!(ids, ["/npm/b".parse().unwrap()]);
    }

    #[test]
    fn a_large_import_is_told_as_one_change() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        let entries = (0..=CHANGES_TOLD_MAX).map(|number| entry(&format!("/npm/{number}"), "x")).collect();
        assert_eq!(run(&engine, 1, &Command::Import { entries }).1, [Change::Catalogue]);
    }

    #[test]
    fn a_full_catalogue_takes_changes_and_nothing_new() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        run(&engine, 1, &Command::Import { entries: vec![entry("/npm/a", "A")] });
        let mut transaction = Transaction::new(&engine);
        put_count(&mut transaction, ENTRIES_MAX);
        engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
        let again = Command::Import { entries: vec![entry("/npm/a", "Another")] };
        assert_eq!(run(&engine, 2, &again).0, Outcome::Done);
        let both = Command::Import { entries: vec![entry("/npm/a", "A"), entry("/npm/b", "B")] };
        assert_eq!(run(&engine, 3, &both).0, Outcome::LimitReached);
        assert_eq!(get(&engine, &"/npm/a".parse().unwrap()).unwrap().unwrap().entry.title, "Another");
    }
}
