//! How many tokens the link of each snippet has, which every answer that shows it has to know.
//!
//! It follows from what the bundle holds and from the tokenizer of whoever asks, so it is not in the file. It is
//! counted when a snippet is shown for the first time, and remembered while the bundle is open: two bytes a snippet.

use std::sync::atomic::{AtomicU16, Ordering};

/// What has been counted so far.
pub(super) struct LinkTokens(Box<[AtomicU16]>);

/// Not counted yet, or more than can be remembered.
const UNKNOWN: u16 = u16::MAX;

impl LinkTokens {
    pub(super) fn of(snippets: u32) -> Self {
        Self((0..snippets).map(|_| AtomicU16::new(UNKNOWN)).collect())
    }

    /// The tokens of a snippet's link, by `count` when they are not known. Two threads may both count, and come to
    /// the same.
    pub(super) fn get(&self, index: usize, count: impl FnOnce() -> u32) -> u32 {
        let Some(known) = self.0.get(index) else { return count() };
        let tokens = known.load(Ordering::Relaxed);
        if tokens != UNKNOWN {
            return tokens.into();
        }
        let tokens = count();
        known.store(u16::try_from(tokens).unwrap_or(UNKNOWN), Ordering::Relaxed);
        tokens
    }

    /// Memory taken, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        size_of_val(&*self.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_counted_once_unless_it_is_too_long_to_remember() {
        let known = LinkTokens::of(2);
        let never = || unreachable!("it is known");
        assert_eq!(known.get(0, || 0), 0);
        assert_eq!(known.get(0, never), 0);
        assert_eq!(known.get(1, || 70_000), 70_000);
        assert_eq!(known.get(1, || 65_535), 65_535);
        assert_eq!(known.get(1, || 65_534), 65_534);
        assert_eq!(known.get(1, never), 65_534);
        assert_eq!(known.get(2, || 7), 7);
    }
}
