//! Writes in the making: commands of one entry see each other's writes before any is committed.

use std::collections::BTreeMap;

use crate::audit::Event;
use crate::engine::{Batch, Keyspace, Pair, Reader, StorageError};
use crate::ids::{ApiKeyId, JobId, LibraryId};
use crate::record::{self, Record};

/// Something that readers with a copy in memory want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A library's facts or versions changed, or it is gone.
    Library(LibraryId),
    /// A key was made, or is refused from now on.
    ApiKey(ApiKeyId),
    /// A job was made or moved on.
    Job(JobId),
    /// Many entries of the catalogue changed.
    Catalogue,
    /// A key that signs tokens was added, or is not believed any more.
    SigningKeys,
    /// Clients are to be told that a session has ended.
    Logouts,
    /// A rotation of the cluster's key or of its authority has moved on.
    Secrets,
    /// The whole state was replaced by a snapshot.
    Everything,
}

/// Reads through to a base, keeps writes to itself.
pub struct Transaction<'a> {
    base: &'a dyn Reader,
    writes: BTreeMap<(Keyspace, Vec<u8>), Option<Vec<u8>>>,
    changes: Vec<Change>,
    noted: Vec<Event>,
}

impl<'a> Transaction<'a> {
    /// A transaction that sees `base` and has written nothing.
    pub fn new(base: &'a dyn Reader) -> Self {
        Self { base, writes: BTreeMap::new(), changes: Vec::new(), noted: Vec::new() }
    }

    /// Sets `key` to the bytes of `record`.
    pub fn put<R: Record>(&mut self, space: Keyspace, key: Vec<u8>, value: &R) -> Result<(), StorageError> {
        self.put_bytes(space, key, record::encode(value)?);
        Ok(())
    }

    /// Sets `key` to `value`.
    pub fn put_bytes(&mut self, space: Keyspace, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert((space, key), Some(value));
    }

    /// Removes `key`.
    pub fn remove(&mut self, space: Keyspace, key: Vec<u8>) {
        self.writes.insert((space, key), None);
    }

    /// Notes what readers with a copy in memory want to know.
    pub fn changed(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// Notes what was done, for the audit log: it is written down with who is behind the command, unless that is refused.
    pub fn note(&mut self, event: Event) {
        self.noted.push(event);
    }

    pub(crate) fn take_noted(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.noted)
    }

    /// Everything written, in key order, and what it changed.
    pub fn finish(self) -> (Batch, Vec<Change>) {
        let mut batch = Batch::new();
        for ((space, key), value) in self.writes {
            match value {
                Some(value) => batch.put(space, key, value),
                None => batch.remove(space, key),
            }
        }
        (batch, self.changes)
    }
}

impl Reader for Transaction<'_> {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.writes.get(&(space, key.to_vec())) {
            Some(written) => Ok(written.clone()),
            None => self.base.get(space, key),
        }
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        // The base may answer keys that are removed here, so it is asked for that many more.
        let written: Vec<_> = self
            .writes
            .range((space, prefix.to_vec())..)
            .take_while(|((found, key), _)| *found == space && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
            .collect();
        let base = self.base.scan(space, prefix, after, limit.saturating_add(written.len()))?;
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = base.into_iter().collect();
        for ((_, key), value) in written {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().take(limit).collect())
    }
}

/// The record under `key`.
pub fn get<R: Record>(
    reader: &(impl Reader + ?Sized),
    space: Keyspace,
    key: &[u8],
) -> Result<Option<R>, StorageError> {
    reader.get(space, key)?.map(|bytes| record::decode(&bytes)).transpose()
}

/// Up to `limit` records whose key starts with `prefix` and is greater than `after`, in key order.
pub fn scan<R: Record>(
    reader: &(impl Reader + ?Sized),
    space: Keyspace,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<R>, StorageError> {
    let pairs = reader.scan(space, prefix, after, limit)?;
    pairs.iter().map(|(_, value)| record::decode(value)).collect()
}
