//! Which entries have which stems in name, title and description.
//!
//! A posting is one number: the entry, whether the stem is in name or title, and how much the stem
//! counts there (the part of BM25 that does not depend on the question), so that a question only
//! multiplies and adds.

use std::collections::HashMap;

/// BM25's saturation of repeated stems.
const K1: f32 = 1.2;
/// BM25's share of the text's length. Descriptions are all about equally short.
const B: f32 = 0.4;
/// The length against which a text counts as long. Fixed, so that segments can be compared.
const STEMS_USUAL: f32 = 14.0;
/// What a stem in name or title counts beyond one in the description.
const NAME_WEIGHT: f32 = 2.0;

/// Different stems of one entry that are indexed.
const STEMS_MAX: usize = 200;

const IMPACT_BITS: u32 = 7;
const IMPACT_MAX: f32 = 127.0;

/// One entry that has a stem: entry, one bit for name or title, [`IMPACT_BITS`] of impact.
#[derive(Debug, Clone, Copy)]
pub(super) struct Posting(u32);

impl Posting {
    fn new(entry: u32, named: bool, impact: f32) -> Self {
        let impact = (impact / (K1 + 1.0) * IMPACT_MAX).round().clamp(1.0, IMPACT_MAX) as u32;
        Self(entry << (IMPACT_BITS + 1) | u32::from(named) << IMPACT_BITS | impact)
    }

    pub(super) fn entry(self) -> u32 {
        self.0 >> (IMPACT_BITS + 1)
    }

    /// Whether the stem is in the entry's name or title.
    pub(super) fn is_named(self) -> bool {
        self.0 >> IMPACT_BITS & 1 == 1
    }

    /// How much the stem counts in this entry, 0 to 1.
    pub(super) fn impact(self) -> f32 {
        (self.0 & ((1 << IMPACT_BITS) - 1)) as f32 / IMPACT_MAX
    }
}

/// All stems of a segment with their postings.
pub(super) struct Postings {
    stems: HashMap<Box<str>, u32>,
    /// Where the postings of each stem end; in the order of entries within a stem.
    ends: Box<[u32]>,
    postings: Box<[Posting]>,
}

impl Postings {
    /// The entries that have `stem`, in order.
    pub(super) fn of(&self, stem: &str) -> &[Posting] {
        let Some(at) = self.stems.get(stem).map(|at| *at as usize) else {
            return &[];
        };
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.postings[from..self.ends[at] as usize]
    }

    /// Heap bytes, about.
    pub(super) fn bytes(&self) -> usize {
        let stems: usize = self.stems.keys().map(|stem| stem.len().next_multiple_of(16) + 16).sum();
        stems + self.stems.capacity() * 25 + size_of_val(&*self.ends) + size_of_val(&*self.postings)
    }
}

/// Collects the stems of entries, entry by entry.
#[derive(Default)]
pub(super) struct PostingsBuilder {
    stems: HashMap<Box<str>, u32>,
    added: Vec<(u32, Posting)>,
    /// Stems of the entry at hand: in name or title, in the description.
    counts: Vec<(u32, u8, u8)>,
}

impl PostingsBuilder {
    /// Counts one stem of the entry at hand, up to [`STEMS_MAX`] different ones.
    pub(super) fn count(&mut self, stem: &str, named: bool) {
        if self.counts.len() >= STEMS_MAX {
            return;
        }
        let next = self.stems.len() as u32;
        let stem = match self.stems.get(stem) {
            Some(known) => *known,
            None => *self.stems.entry(stem.into()).or_insert(next),
        };
        let at = self.counts.iter().position(|(known, ..)| *known == stem).unwrap_or_else(|| {
            self.counts.push((stem, 0, 0));
            self.counts.len() - 1
        });
        let (_, in_name, in_description) = &mut self.counts[at];
        // Name and title mostly say the same: once is enough.
        if named { *in_name = 1 } else { *in_description = in_description.saturating_add(1) }
    }

    /// Ends the entry at hand; returns how many different stems are in name and title, and how many in
    /// the description.
    pub(super) fn end_entry(&mut self, entry: u32) -> (u8, u8) {
        let length: f32 = self.counts.iter().map(|(_, name, text)| f32::from(*name + (*text).min(9))).sum();
        let norm = K1 * (1.0 - B + B * length / STEMS_USUAL);
        for (stem, in_name, in_description) in &self.counts {
            let times = f32::from(*in_name) * NAME_WEIGHT + f32::from(*in_description);
            let impact = times * (K1 + 1.0) / (times + norm);
            self.added.push((*stem, Posting::new(entry, *in_name > 0, impact)));
        }
        let count = |has: fn(&(u32, u8, u8)) -> bool| {
            u8::try_from(self.counts.iter().filter(|count| has(count)).count()).unwrap_or(u8::MAX)
        };
        let counts = (count(|(_, in_name, _)| *in_name > 0), count(|(.., in_text)| *in_text > 0));
        self.counts.clear();
        counts
    }

    /// Sorts the postings by stem; entries must have been ended in order.
    pub(super) fn finish(self) -> Postings {
        let mut ends = vec![0_u32; self.stems.len()];
        for (stem, _) in &self.added {
            ends[*stem as usize] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            // The start for now; filling moves it to the end.
            (*end, sum) = (sum, sum + *end);
        }
        let mut postings = vec![Posting(0); self.added.len()];
        for (stem, posting) in self.added {
            let place = &mut ends[stem as usize];
            postings[*place as usize] = posting;
            *place += 1;
        }
        Postings { stems: self.stems, ends: ends.into_boxed_slice(), postings: postings.into_boxed_slice() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_finds_its_entries_and_counts_more_in_a_name() {
        let mut builder = PostingsBuilder::default();
        builder.count("http", true);
        builder.count("client", false);
        assert_eq!(builder.end_entry(0), (1, 1));
        builder.count("server", true);
        builder.count("http", false);
        assert_eq!(builder.end_entry(1), (1, 1));
        assert_eq!(builder.end_entry(2), (0, 0));
        let postings = builder.finish();
        let http = postings.of("http");
        assert_eq!(http.iter().map(|posting| posting.entry()).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(http.iter().map(|posting| posting.is_named()).collect::<Vec<_>>(), [true, false]);
        assert!(http[0].impact() > http[1].impact());
        assert!(postings.of("grpc").is_empty());
    }
}
