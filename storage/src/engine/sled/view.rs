//! Views for an engine that has none: each keeps, of what commits replace while it lives, what was there before.
//!
//! A commit notes the old value of a key in every living view before it writes the new one. A view reads the tree
//! first and its notes second, so a value that was replaced in between is found in the notes; a scan holds its
//! notes for as long as it reads, which makes a commit wait.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::super::fault::Fault;
use super::super::{Keyspace, Pair, Reader, StorageError};
use super::{Range, failed, full_key, prefix};

/// Values as they were when a view began, of keys that were written since; `None` was no value.
type Replaced = RwLock<BTreeMap<Vec<u8>, Option<Vec<u8>>>>;

/// The views that live.
#[derive(Default)]
pub(super) struct Views(RwLock<Vec<Weak<Replaced>>>);

impl Views {
    /// Notes what `key` holds, which `before` reads, in every view that has no note of it.
    pub(super) fn keep(
        &self,
        key: &[u8],
        before: impl Fn() -> ::sled::Result<Option<::sled::IVec>>,
    ) -> ::sled::Result<()> {
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for view in views.iter().filter_map(Weak::upgrade) {
            let mut replaced = view.write().unwrap_or_else(PoisonError::into_inner);
            if !replaced.contains_key(key) {
                replaced.insert(key.to_vec(), before()?.map(|value| value.to_vec()));
            }
        }
        Ok(())
    }

    /// A view of the tree as it is; no commit may be under way.
    pub(super) fn begin(&self, tree: ::sled::Db, spaces: &'static [Keyspace], fault: Fault) -> View {
        let replaced = Arc::new(Replaced::default());
        let mut views = self.0.write().unwrap_or_else(PoisonError::into_inner);
        views.retain(|view| view.strong_count() > 0);
        views.push(Arc::downgrade(&replaced));
        View { tree, spaces, replaced, fault }
    }
}

/// The tree as it was.
pub(super) struct View {
    tree: ::sled::Db,
    spaces: &'static [Keyspace],
    replaced: Arc<Replaced>,
    fault: Fault,
}

impl View {
    fn prefix(&self, space: Keyspace) -> Result<Vec<u8>, StorageError> {
        match self.spaces.contains(&space) {
            true => Ok(prefix(space)),
            false => Err(StorageError::UnknownKeyspace { space: space.name() }),
        }
    }
}

impl Reader for View {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let key = full_key(&self.prefix(space)?, key);
        let value = self.fault.guard(|| self.tree.get(&key))?;
        let value = value.map_err(|error| failed(&self.fault, "read", error))?;
        let replaced = self.replaced.read().unwrap_or_else(PoisonError::into_inner);
        Ok(replaced.get(&key).cloned().unwrap_or_else(|| value.map(|value| value.to_vec())))
    }

    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        let space = self.prefix(space)?;
        let range = Range::new(&space, prefix, after);
        let replaced = self.replaced.read().unwrap_or_else(PoisonError::into_inner);
        let notes = replaced
            .range((range.start.clone(), std::ops::Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&range.prefix))
            .map(|(key, value)| (&key[space.len()..], value));
        let merged = self.fault.guard(|| merge(range.pairs(&self.tree), notes, limit))?;
        merged.map_err(|error| failed(&self.fault, "scan", error))
    }
}

/// The first `limit` pairs of the tree with the notes in force; both in the order of their keys.
fn merge<'a>(
    tree: impl Iterator<Item = ::sled::Result<Pair>>,
    notes: impl Iterator<Item = (&'a [u8], &'a Option<Vec<u8>>)>,
    limit: usize,
) -> ::sled::Result<Vec<Pair>> {
    let (mut tree, mut notes) = (tree.peekable(), notes.peekable());
    let mut found = Vec::new();
    while found.len() < limit {
        let next = match (tree.peek(), notes.peek()) {
            (None, None) => break,
            (Some(Err(_)), _) => None,
            (Some(Ok((key, _))), Some((noted, _))) if key.as_slice() < *noted => None,
            (Some(_), None) => None,
            (Some(Ok((key, _))), Some((noted, _))) if key.as_slice() == *noted => {
                tree.next();
                notes.next()
            }
            (_, Some(_)) => notes.next(),
        };
        match next {
            Some((key, before)) => found.extend(before.as_ref().map(|value| (key.to_vec(), value.clone()))),
            None => found.extend(tree.next().transpose()?),
        }
    }
    Ok(found)
}
