//! From what somebody typed to the right library: `resolve`.
//!
//! A [`Catalogue`] knows names, words and meanings of all libraries and answers from memory. An ask is
//! read several ways (without filler, without the language, short forms spelled out), each reading is
//! looked up as it is, by its start and with slips; its words are looked up in names and descriptions;
//! and, unless a name fits well, its meaning among theirs. Then names and descriptions are weighed
//! apart, see `rank`. Every [`Match`] says why it is there.
//!
//! A catalogue never changes. To change one, make the next with [`Catalogue::with_changes`], which
//! costs about 20 µs for each change since the last [`Catalogue::build`] and shares the rest, and put
//! it in the old one's place; collect changes that come together, such as those of a finished job,
//! into one call. When [`Catalogue::wants_rebuild`] says so, build anew from all entries: about a
//! CPU-second for 100,000, off the async threads.
//!
//! Invariant: the same entries and the same ask give the same answer; how they came to be known
//! (built or changed) shows in scores only as far as words are counted twice that were replaced.

mod aliases;
mod ask;
mod by_name;
mod by_words;
mod edit;
mod explain;
mod gather;
mod keys;
mod languages;
mod lists;
mod meanings;
mod names;
mod postings;
#[cfg(test)]
mod quality;
mod rank;
mod readings;
mod reason;
mod segment;
mod strength;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use twinmcp_storage::bundle::{Rows, VectorGraph};
use twinmcp_storage::ids::LibraryId;

use self::ask::Ask;
use self::by_words::Rarity;
use self::gather::{Candidate, Gathered};
use self::segment::Segment;
use crate::embedding::Embedder;

pub use self::ask::ASK_BYTES_MAX;
pub use self::reason::Reason;

/// Libraries a catalogue holds; more are left out, and the log says so.
pub const ENTRIES_MAX: usize = 2_000_000;
/// Matches one answer has.
pub const MATCHES_MAX: usize = 100;

/// Changes that are cheap to carry, whatever the size of the catalogue.
const CHANGES_FREE: usize = 500;
/// Beyond these, the share of the catalogue that may have changed before it wants to be built anew.
const CHANGES_SHARE: usize = 20;

/// What the catalogue is told about one library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id; the name in it counts most.
    pub id: LibraryId,
    /// Its name for people; may be empty.
    pub title: String,
    /// One or two sentences; may be empty.
    pub description: String,
    /// Other names it is told to have: given by its owner, names to import it by, its repository.
    pub aliases: Vec<String>,
    /// The registry it is from, e.g. `npm`; when empty or unknown, the id's owner and the words of title
    /// and description tell the language.
    pub ecosystem: String,
    /// How many use it, 0 to 100; absent = unknown.
    pub popularity: Option<u8>,
    /// How far the operator trusts it, 0 to 100 tenths of a point; absent = unknown.
    pub trust_tenths: Option<u8>,
    /// Snippets indexed of it; 0 = only known by name.
    pub snippets: u64,
}

/// One library that may be meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// Which.
    pub id: LibraryId,
    /// The greater the better; only comparable within one answer.
    pub score: f32,
    /// Why, the most telling first; never empty.
    pub reasons: Vec<Reason>,
}

/// All libraries, ready to be resolved.
pub struct Catalogue {
    embedder: &'static dyn Embedder,
    base: Arc<Segment>,
    /// Searched in place of the base's vectors, once it is built.
    graph: Option<Arc<VectorGraph>>,
    /// Entries of the base that were replaced or removed since; one bit each.
    hidden: Vec<u64>,
    /// What changed since the base was built.
    changed: BTreeMap<LibraryId, Arc<Entry>>,
    changes: Segment,
}

impl Catalogue {
    /// Indexes `entries`, of several with one id the last.
    ///
    /// Takes about 10 µs an entry; keep it off the async threads.
    pub fn build(entries: impl IntoIterator<Item = Entry>, embedder: &'static dyn Embedder) -> Self {
        let mut entries = entries.into_iter();
        let kept: Vec<Arc<Entry>> = entries.by_ref().take(ENTRIES_MAX).map(Arc::new).collect();
        let left_out = entries.count();
        if left_out > 0 {
            tracing::warn!(left_out, ENTRIES_MAX, "the catalogue is full");
        }
        let base = Arc::new(Segment::build(kept, embedder));
        Self {
            embedder,
            hidden: vec![0; base.len().div_ceil(64)],
            base,
            graph: None,
            changed: BTreeMap::new(),
            changes: Segment::build(Vec::new(), embedder),
        }
    }

    /// The catalogue with some entries added or replaced, and some removed; what is in both is removed.
    ///
    /// Takes about 20 µs for each change since [`build`](Self::build).
    pub fn with_changes(&self, entries: impl IntoIterator<Item = Entry>, removed: &[LibraryId]) -> Self {
        let (mut hidden, mut changed) = (self.hidden.clone(), self.changed.clone());
        let mut hide = |id: &LibraryId| {
            if let Some(at) = self.base.position(id.as_str()) {
                hidden[at as usize / 64] |= 1 << (at % 64);
            }
        };
        for entry in entries {
            hide(&entry.id);
            changed.insert(entry.id.clone(), Arc::new(entry));
        }
        for id in removed {
            hide(id);
            changed.remove(id);
        }
        Self {
            embedder: self.embedder,
            base: self.base.clone(),
            graph: self.graph.clone(),
            hidden,
            changes: Segment::build(changed.values().cloned().collect(), self.embedder),
            changed,
        }
    }

    /// Whether so much changed that building anew costs less than carrying the changes on.
    pub fn wants_rebuild(&self) -> bool {
        let hidden: usize = self.hidden.iter().map(|bits| bits.count_ones() as usize).sum();
        hidden.max(self.changed.len()) > CHANGES_FREE.max(self.base.len() / CHANGES_SHARE)
    }

    /// The vectors of the last build, to make a graph of (on a thread of its own: it takes minutes).
    ///
    /// Worth it from about 200,000 entries: scanning 100,000 takes a millisecond, and only asks that
    /// describe something need it. The graph takes about 500 bytes an entry.
    pub fn vectors(&self) -> Option<&Rows> {
        self.base.meanings.rows()
    }

    /// The same catalogue, searching its vectors through a graph made of [`vectors`](Self::vectors) of this
    /// very build; one of another shape is refused, one of another build would find other libraries.
    pub fn with_graph(&self, graph: Arc<VectorGraph>) -> Option<Self> {
        let rows = self.vectors()?;
        let fits = rows.dimensions() == graph.dimensions() && graph.len() <= rows.len();
        fits.then(|| Self { graph: Some(graph), ..self.with_changes([], &[]) })
    }

    /// How many libraries it knows.
    pub fn len(&self) -> usize {
        let hidden: usize = self.hidden.iter().map(|bits| bits.count_ones() as usize).sum();
        self.base.len() - hidden + self.changed.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes, about.
    pub fn memory_bytes(&self) -> usize {
        let graph = self.graph.as_ref().map_or(0, |graph| graph.memory_bytes() as usize);
        self.base.bytes() + self.changes.bytes() + self.hidden.len() * size_of::<u64>() + graph
    }

    /// Heap bytes of what [`with_changes`](Self::with_changes) does not share, about.
    pub fn changes_bytes(&self) -> usize {
        self.changes.bytes() + self.hidden.len() * size_of::<u64>()
    }

    /// The libraries that may be meant by `name`, the likeliest first, at most `limit` and
    /// [`MATCHES_MAX`]; `query`, what shall be asked of the library, helps to choose among them.
    ///
    /// Of both the first [`ASK_BYTES_MAX`] bytes are read. Without a name the query stands for it.
    /// Takes a fraction of a millisecond among 100,000 entries when a library is named, and one to two
    /// when it is described; allocates in proportion to the catalogue (12 bytes an entry) for that time.
    pub fn resolve(&self, name: &str, query: &str, limit: usize) -> Vec<Match> {
        self.resolve_but(name, query, limit, &|_| false)
    }

    /// As [`resolve`](Self::resolve), without the libraries that `is_hidden`; their words count all the same where it is told how rare
    /// a word is.
    pub fn resolve_but(
        &self,
        name: &str,
        query: &str,
        limit: usize,
        is_hidden: &dyn Fn(&LibraryId) -> bool,
    ) -> Vec<Match> {
        let ask = Ask::new(name, query);
        let segments = [&*self.base, &self.changes];
        let rarity = Rarity::of(&ask, &segments);
        let mut gathered = segments.map(|segment| Gathered::new(segment, &ask, &rarity));
        let question = self.embedder.embed_query(&ask.meaning);
        let among = |mut candidates: Vec<Candidate>| {
            candidates.retain(|candidate| !is_hidden(segments[candidate.segment].id(candidate.entry)));
            candidates
        };
        let mut candidates = among(self.candidates(&gathered, question.as_deref()));
        let namedness = rank::namedness(&ask, &segments, &candidates);
        if namedness < 1.0
            && let Some(question) = &question
        {
            let graphs = [self.graph.as_deref(), None];
            for (gathered, graph) in gathered.iter_mut().zip(graphs) {
                gathered.add_nearest(question, graph);
            }
            candidates = among(self.candidates(&gathered, Some(question)));
        }
        let ranked = rank::rank(&ask, &segments, &candidates, namedness, limit.min(MATCHES_MAX));
        let found = |(at, score): (usize, f32)| {
            let candidate = &candidates[at];
            let segment = segments[candidate.segment];
            let reasons = explain::reasons(&ask, segment, candidate);
            Match { id: segment.id(candidate.entry).clone(), score, reasons }
        };
        ranked.into_iter().map(found).collect()
    }

    fn candidates(&self, gathered: &[Gathered<'_>; 2], question: Option<&[f32]>) -> Vec<Candidate> {
        let [base, changes] = gathered;
        let is_hidden = |at: u32| self.hidden[at as usize / 64] >> (at % 64) & 1 == 1;
        let mut candidates = base.candidates(0, question, is_hidden);
        candidates.extend(changes.candidates(1, question, |_| false));
        candidates
    }
}
