//! Reading the log: a page of it, the newest first, or all of it for an export.

use serde::{Deserialize, Serialize};

use super::chain::{self, Head, Line};
use super::entry::{Entry, hex};
use crate::clock::Timestamp;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::transaction;

/// Events in one page.
pub const PAGE_ITEMS_MAX: usize = 100;
/// Lines looked at for one page: what is rare may take several.
const LOOKED_AT_MAX: u64 = 5_000;
/// Lines read from the engine at once.
const LINES_READ: usize = 256;

/// Which events; all that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Done by the one with this id, or by what is its.
    pub actor: Option<String>,
    /// Done to the one with this id, or to what is its.
    pub object: Option<String>,
    /// This, or everything of one noun when it ends with a dot: `api_key.`.
    pub action: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, entry: &Entry) -> bool {
        let is_it = |subject: &super::Subject, id: &Option<String>| {
            let is = |text: &Option<String>| text == id;
            id.is_none() || is(&subject.id) || is(&subject.account)
        };
        let is_action = self.action.as_ref().is_none_or(|action| {
            entry.action == *action || (action.ends_with('.') && entry.action.starts_with(action.as_str()))
        });
        is_action && is_it(&entry.actor, &self.actor) && is_it(&entry.object, &self.object)
    }
}

/// Some events, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// At most as many as were asked for; there may be none although `before` says that there are more.
    pub entries: Vec<Entry>,
    /// Where to go on, if anything is left to look at.
    pub before: Option<u64>,
}

/// Both ends of the log.
pub fn head(reader: &(impl Reader + ?Sized)) -> Result<Head, StorageError> {
    chain::head(reader)
}

/// Up to `limit` events older than the one numbered `before`, the newest first.
pub fn page(
    reader: &(impl Reader + ?Sized),
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
) -> Result<Page, StorageError> {
    let head = chain::head(reader)?;
    if head.first == 0 {
        return Ok(Page::default());
    }
    let end = before.unwrap_or(u64::MAX).min(head.last + 1);
    // Times never go back in the log, so where one begins is found by halving.
    let end = filter.until.map_or(Ok(end), |until| first_from(reader, &head, until).map(|it| it.min(end)))?;
    let start = filter.since.map_or(Ok(head.first), |since| first_from(reader, &head, since))?;
    let (limit, mut next, mut looked) = (limit.min(PAGE_ITEMS_MAX), end, 0);
    let mut page = Page::default();
    while next > start && looked < LOOKED_AT_MAX {
        let from = next.saturating_sub(LINES_READ as u64).max(start);
        let count = usize::try_from(next - from).unwrap_or(LINES_READ);
        for line in lines(reader, from, count)?.into_iter().rev() {
            let Some(entry) = line.entry() else { continue };
            next = entry.number;
            if filter.takes(&entry) {
                page.entries.push(entry);
                if page.entries.len() == limit {
                    page.before = (next > start).then_some(next);
                    return Ok(page);
                }
            }
        }
        looked += count as u64;
        next = from;
    }
    page.before = (next > start).then_some(next);
    Ok(page)
}

/// The number of the oldest line that was not written before `at`; behind the newest when all were.
fn first_from(reader: &(impl Reader + ?Sized), head: &Head, at: Timestamp) -> Result<u64, StorageError> {
    let (mut low, mut high) = (head.first, head.last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match chain::line(reader, middle)? {
            Some(line) if line.at >= at => high = middle,
            _ => low = middle + 1,
        }
    }
    Ok(low)
}

fn lines(reader: &(impl Reader + ?Sized), from: u64, count: usize) -> Result<Vec<Line>, StorageError> {
    let after = from.checked_sub(1).map(chain::key);
    transaction::scan(reader, Keyspace::Audit, b"e/", after.as_deref(), count)
}

/// The first line of an export: what the others are checked against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heading {
    /// Tells what the file is, with its format.
    pub(super) audit_log: u8,
    /// The number of the first line that follows.
    pub(super) first: u64,
    /// That of the last.
    pub(super) last: u64,
    /// SHA-256 of the line before the first.
    pub(super) anchor: String,
    /// SHA-256 of the last line.
    pub(super) hash: String,
}

pub(super) const FORMAT: u8 = 1;

/// The log in pieces of many lines each, from what `reader` sees all the while: hand it a view.
pub struct Export<R> {
    reader: R,
    next: u64,
    last: u64,
    heading: Option<String>,
}

/// The whole log as JSON lines: a heading, then each line as it was hashed.
///
/// # Errors
/// When the store cannot be read.
pub fn export<R: AsRef<dyn Reader>>(reader: R) -> Result<Export<R>, StorageError> {
    let head = chain::head(reader.as_ref())?;
    let heading = Heading {
        audit_log: FORMAT,
        first: head.first,
        last: head.last,
        anchor: hex(&head.anchor),
        hash: hex(&head.hash),
    };
    // Two numbers and two texts: there is nothing in it that JSON cannot say.
    let heading = serde_json::to_string(&heading).ok();
    Ok(Export { reader, next: head.first.max(1), last: head.last, heading })
}

impl<R: AsRef<dyn Reader>> Iterator for Export<R> {
    type Item = Result<Vec<u8>, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = Vec::new();
        let mut add = |text: &str| {
            piece.extend_from_slice(text.as_bytes());
            piece.push(b'\n');
        };
        if let Some(heading) = self.heading.take() {
            add(&heading);
        } else if self.next > self.last {
            return None;
        }
        let left = usize::try_from(self.last + 1 - self.next.min(self.last + 1)).unwrap_or(usize::MAX);
        let read = match lines(self.reader.as_ref(), self.next, LINES_READ.min(left)) {
            Ok(read) => read,
            Err(error) => {
                self.next = u64::MAX;
                return Some(Err(error));
            }
        };
        read.iter().for_each(|line| add(&line.text));
        // A line that is missing shows when the export is verified.
        self.next = if read.is_empty() { u64::MAX } else { self.next + read.len() as u64 };
        Some(Ok(piece))
    }
}
