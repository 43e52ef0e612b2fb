//! Candidates by words: the ask's stems against names, titles and descriptions.

use super::ask::{Ask, Cover};
use super::by_name::keep_best;
use super::segment::Segment;

/// Entries taken for their words.
const CHOSEN_MAX: usize = 160;

/// What the words of one entry say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Words {
    /// BM25 of the ask's name, and of its query, against name, title and description.
    pub(super) of_name: f32,
    pub(super) of_query: f32,
    /// Words of the ask's name that are in name or title, and those that are in the description alone.
    pub(super) named: Cover,
    pub(super) described: Cover,
}

/// How rare each term of an ask is, over all segments.
pub(super) struct Rarity(Vec<f32>);

impl Rarity {
    pub(super) fn of(ask: &Ask, segments: &[&Segment]) -> Self {
        let entries: usize = segments.iter().map(|segment| segment.len()).sum();
        let inverse_frequency = |stem: &str| {
            let having: usize = segments.iter().map(|segment| segment.postings.of(stem).len()).sum();
            (1.0 + (entries.saturating_sub(having) as f32 + 0.5) / (having as f32 + 0.5)).ln()
        };
        Self(ask.terms.iter().map(|term| inverse_frequency(&term.stem)).collect())
    }
}

/// What the words of every entry of a segment say.
pub(super) struct ByWords {
    entries: Vec<Words>,
    /// Entries with at least one word.
    touched: Vec<u32>,
}

impl ByWords {
    pub(super) fn find(segment: &Segment, ask: &Ask, rarity: &Rarity) -> Self {
        let mut entries = vec![Words::default(); segment.len()];
        let mut touched = Vec::new();
        for (term, rarity) in ask.terms.iter().zip(&rarity.0) {
            let weight = term.weight * rarity;
            for posting in segment.postings.of(&term.stem) {
                let words = &mut entries[posting.entry() as usize];
                if words.of_name == 0.0 && words.of_query == 0.0 {
                    touched.push(posting.entry());
                }
                let score = weight * posting.impact();
                match term.cover {
                    0 => words.of_query += score,
                    _ => words.of_name += score,
                }
                if posting.is_named() {
                    words.named |= term.cover;
                } else {
                    words.described |= term.cover;
                }
            }
        }
        Self { entries, touched }
    }

    pub(super) fn of(&self, entry: u32) -> Words {
        self.entries[entry as usize]
    }

    /// The entries worth a closer look.
    pub(super) fn best(&self, segment: &Segment, ask: &Ask) -> impl Iterator<Item = u32> + use<> {
        let score = |entry: u32| {
            let (words, standing) = (self.of(entry), segment.standing(entry));
            let hinted = if standing.languages.meets(ask.languages) { 0.3 } else { 0.0 };
            let favour = 0.5 + f32::from(standing.popularity) / 100.0 + hinted;
            (words.of_name + 0.5 * words.of_query) * favour
        };
        let mut scored: Vec<(f32, u32)> = self.touched.iter().map(|entry| (score(*entry), *entry)).collect();
        keep_best(&mut scored, CHOSEN_MAX, |(score, _)| score);
        scored.into_iter().map(|(_, entry)| entry)
    }
}
