//! From an ask to the entries of a segment that are worth a closer look, with what speaks for each.

use std::collections::HashMap;

use twinmcp_storage::bundle::VectorGraph;

use super::ask::Ask;
use super::by_name::{self, NameFit, keep_best};
use super::by_words::{ByWords, Rarity, Words};
use super::segment::Segment;

/// Entries nearest in meaning, of which the more popular are taken.
const NEAREST_MAX: usize = 128;
/// Entries taken for their meaning.
const BY_MEANING_MAX: usize = 60;
/// Cosine below which two texts have nothing to do with each other.
const MEANING_MIN: f32 = 0.5;

/// What speaks for one entry.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// Which segment, and which entry of it.
    pub(super) segment: usize,
    pub(super) entry: u32,
    pub(super) name: Option<NameFit>,
    pub(super) words: Words,
    /// Cosine of the ask with title and description.
    pub(super) meaning: f32,
}

/// The entries of one segment that are worth a closer look.
pub(super) struct Gathered<'a> {
    segment: &'a Segment,
    names: HashMap<u32, NameFit>,
    words: ByWords,
    chosen: Vec<u32>,
}

impl<'a> Gathered<'a> {
    /// Those with a name or words of the ask.
    pub(super) fn new(segment: &'a Segment, ask: &Ask, rarity: &Rarity) -> Self {
        let names = by_name::find(segment, ask);
        let words = ByWords::find(segment, ask, rarity);
        let mut chosen: Vec<u32> = names.keys().copied().chain(words.best(segment, ask)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        Self { segment, names, words, chosen }
    }

    /// And those that mean much the same as the question.
    pub(super) fn add_nearest(&mut self, question: &[f32], graph: Option<&VectorGraph>) {
        let mut nearest = self.segment.meanings.nearest(question, NEAREST_MAX, graph);
        nearest.retain(|(_, cosine)| *cosine >= MEANING_MIN);
        keep_best(&mut nearest, BY_MEANING_MAX, |(entry, cosine)| {
            cosine + f32::from(self.segment.standing(entry).popularity) / 300.0
        });
        self.chosen.extend(nearest.into_iter().map(|(entry, _)| entry));
        self.chosen.sort_unstable();
        self.chosen.dedup();
    }

    /// What speaks for each but the hidden, which are replaced elsewhere; `number` is the segment's.
    pub(super) fn candidates(
        &self,
        number: usize,
        question: Option<&[f32]>,
        is_hidden: impl Fn(u32) -> bool,
    ) -> Vec<Candidate> {
        let entries: Vec<u32> = self.chosen.iter().copied().filter(|entry| !is_hidden(*entry)).collect();
        let meanings = question.map(|question| self.segment.meanings.cosines(question, &entries));
        let meaning = |at: usize| meanings.as_ref().and_then(|meanings| meanings.get(at)).copied();
        let candidate = |(at, entry): (usize, u32)| Candidate {
            segment: number,
            entry,
            name: self.names.get(&entry).copied(),
            words: self.words.of(entry),
            meaning: meaning(at).unwrap_or_default(),
        };
        entries.into_iter().enumerate().map(candidate).collect()
    }
}
