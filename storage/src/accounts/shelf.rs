//! A shelf of so many things: what was put there first falls off when it is full.
//!
//! Strangers can make links and wrong tries without end; a shelf bounds how many are kept. Nothing is scanned: a
//! scan would meet everything that was ever removed until the engine has compacted it.

use serde::{Deserialize, Serialize};

use crate::engine::{Keyspace, Reader as _, StorageError};
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Numbers of the first thing on a shelf and of the next that is put there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shelf {
    pub(crate) first: u64,
    pub(crate) next: u64,
}

impl Record for Shelf {
    const NAME: &'static str = "shelf";
    const FORMAT: u8 = 1;
}

/// Notes that something was put under `key`, and removes the oldest things above `things_max`.
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    name: &str,
    key: Vec<u8>,
    things_max: u64,
) -> Result<(), StorageError> {
    let shelf_key = format!("q/{name}").into_bytes();
    let place = |number: u64| [format!("q/{name}/").as_bytes(), &number.to_be_bytes()].concat();
    let mut shelf: Shelf = transaction::get(transaction, Keyspace::Accounts, &shelf_key)?.unwrap_or_default();
    transaction.put_bytes(Keyspace::Accounts, place(shelf.next), key);
    shelf.next += 1;
    while shelf.next - shelf.first > things_max {
        if let Some(oldest) = transaction.get(Keyspace::Accounts, &place(shelf.first))? {
            transaction.remove(Keyspace::Accounts, oldest);
            transaction.remove(Keyspace::Accounts, place(shelf.first));
        }
        shelf.first += 1;
    }
    transaction.put(Keyspace::Accounts, shelf_key, &shelf)
}
