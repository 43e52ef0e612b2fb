//! Entries made searchable: columns by entry, and the indexes of their names, words and meanings.

use std::collections::HashMap;
use std::sync::Arc;

use twinmcp_storage::ids::LibraryId;

use super::Entry;
use super::keys::{Keys, KeysBuilder, Kind};
use super::languages::Languages;
use super::lists::FILLER;
use super::meanings::{Meanings, MeaningsBuilder};
use super::names::{each_key, retirement};
use super::postings::{Postings, PostingsBuilder};
use super::words::{each_word, key, stem};
use crate::embedding::Embedder;

/// The popularity of an entry whose popularity nobody told.
const POPULARITY_UNKNOWN: u8 = 55;
/// Words of one description that are indexed.
const DESCRIPTION_WORDS_MAX: usize = 60;

/// What ranking needs to know of one entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// 0 to 100.
    pub(super) popularity: u8,
    /// Tenths of a point, 0 to 100.
    pub(super) trust: Option<u8>,
    /// Whether it says that it is out of use.
    pub(super) is_retired: bool,
    /// Different stems in name and title.
    pub(super) named_stems: u8,
    /// Different stems in the description, but for the most common words.
    pub(super) described_stems: u8,
    pub(super) languages: Languages,
    /// Snippets that are indexed.
    pub(super) snippets: u32,
}

/// Entries in the order of their ids.
pub(super) struct Segment {
    ids: Vec<LibraryId>,
    standing: Vec<Standing>,
    pub(super) keys: Keys,
    pub(super) postings: Postings,
    pub(super) meanings: Meanings,
}

impl Segment {
    /// Indexes entries; of several with one id the last counts.
    pub(super) fn build(mut entries: Vec<Arc<Entry>>, embedder: &dyn Embedder) -> Self {
        entries.sort_by(|one, other| one.id.cmp(&other.id));
        entries.reverse();
        entries.dedup_by(|one, other| one.id == other.id);
        entries.reverse();

        let mut keys = KeysBuilder::default();
        let mut postings = PostingsBuilder::default();
        let mut meanings = MeaningsBuilder::new(embedder);
        let mut standing = Vec::with_capacity(entries.len());
        let mut leavers = Vec::new();
        let mut text = String::new();
        for (at, entry) in (0_u32..).zip(&entries) {
            let languages = languages(entry);
            each_key(entry, languages, |key, kind| keys.add(key, at, kind));
            count_words(entry, &mut postings);
            let (named_stems, described_stems) = postings.end_entry(at);
            text.clear();
            text.extend([entry.title.as_str(), ". ", &entry.description]);
            meanings.push(&text);
            let retirement = retirement(&entry.description);
            if !retirement.successors.is_empty() {
                leavers.push((at, retirement.successors));
            }
            standing.push(Standing {
                popularity: entry.popularity.map_or(POPULARITY_UNKNOWN, |popularity| popularity.min(100)),
                trust: entry.trust_tenths.map(|trust| trust.min(100)),
                is_retired: retirement.is_retired,
                named_stems,
                described_stems,
                languages,
                snippets: u32::try_from(entry.snippets).unwrap_or(u32::MAX),
            });
        }
        hand_over(&entries, leavers, &mut standing, &mut keys);
        let mut ids: Vec<LibraryId> = entries.into_iter().map(|entry| entry.id.clone()).collect();
        ids.shrink_to_fit();
        Self {
            ids,
            keys: keys.finish(|entry| standing[entry as usize].popularity),
            standing,
            postings: postings.finish(),
            meanings: meanings.finish(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn id(&self, entry: u32) -> &LibraryId {
        &self.ids[entry as usize]
    }

    pub(super) fn standing(&self, entry: u32) -> &Standing {
        &self.standing[entry as usize]
    }

    /// The entry with this id.
    pub(super) fn position(&self, id: &str) -> Option<u32> {
        self.ids.binary_search_by(|known| known.as_str().cmp(id)).ok().map(|at| at as u32)
    }

    /// Heap bytes, about.
    pub(super) fn bytes(&self) -> usize {
        let ids: usize = self.ids.iter().map(|id| id.as_str().len().next_multiple_of(16) + 16).sum();
        ids + self.ids.capacity() * size_of::<LibraryId>()
            + self.standing.capacity() * size_of::<Standing>()
            + self.keys.bytes()
            + self.postings.bytes()
            + self.meanings.bytes()
    }
}

/// A registry's own language; else those that title and description name.
fn languages(entry: &Entry) -> Languages {
    let registry = [entry.ecosystem.as_str(), entry.id.owner()].map(Languages::of_registry);
    if let Some(language) = registry.into_iter().find(|language| !language.is_empty()) {
        return language;
    }
    let mut languages = Languages::default();
    let mut before = String::new();
    for text in [entry.id.name(), &entry.title, &entry.description] {
        each_word(text, |word| {
            languages = languages.with(Languages::of_word(word, Some(&before)));
            before.clear();
            before.push_str(word);
        });
    }
    languages
}

fn count_words(entry: &Entry, postings: &mut PostingsBuilder) {
    for text in [entry.id.name(), &entry.title] {
        each_word(text, |word| postings.count(stem(word), true));
    }
    for alias in &entry.aliases {
        each_word(alias, |word| postings.count(stem(word), true));
    }
    let mut words = 0;
    each_word(&entry.description, |word| {
        words += 1;
        if words <= DESCRIPTION_WORDS_MAX && !FILLER.has(word) {
            postings.count(stem(word), false);
        }
    });
}

/// Gives the names of entries that say `use X instead` to X, when X is in the same registry and at
/// least as popular.
fn hand_over(
    entries: &[Arc<Entry>],
    leavers: Vec<(u32, Vec<String>)>,
    standing: &mut [Standing],
    keys: &mut KeysBuilder,
) {
    let mut wanted: HashMap<String, Vec<u32>> = HashMap::new();
    for name in leavers.iter().flat_map(|(_, names)| names) {
        wanted.entry(name.clone()).or_default();
    }
    if wanted.is_empty() {
        return;
    }
    for (at, entry) in (0_u32..).zip(entries) {
        if let Some(holders) = wanted.get_mut(&key(entry.id.name())) {
            holders.push(at);
        }
    }
    for (leaver, names) in leavers {
        let from = &entries[leaver as usize].id;
        let popularity = standing[leaver as usize].popularity;
        let successor = names.iter().flat_map(|name| &wanted[name]).copied().find(|heir| {
            *heir != leaver
                && entries[*heir as usize].id.owner() == from.owner()
                && standing[*heir as usize].popularity >= popularity
        });
        if let Some(successor) = successor {
            standing[leaver as usize].is_retired = true;
            keys.add(&key(from.name()), successor, Kind::Successor);
        }
    }
}
