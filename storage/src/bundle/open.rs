//! An open bundle: everything a search reads, straight from the map.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::build::BundleMeta;
use super::error::BundleError;
use super::facts::{FactsTable, SnippetFacts, SnippetId, SnippetIndex};
use super::graph::VectorGraph;
use super::labels::Label;
use super::layout::Section;
use super::link_tokens::LinkTokens;
use super::map::Sections;
use super::metrics::Metrics;
use super::records::Records;
use super::snippet::{FirstAnchor, Page, Snippet};
use super::vector_set::VectorSet;
use super::words::Words;

/// Snippets with their scores, best first.
pub type Scored = Vec<(SnippetIndex, f32)>;

/// One library version, open for reading. Share it in an `Arc`.
///
/// Invariant: no method takes a lock, starts a thread, or writes.
pub struct Bundle {
    path: Arc<Path>,
    meta: BundleMeta,
    sizes: BundleSizes,
    pages: Records,
    snippets: Records,
    facts: FactsTable,
    link_tokens: LinkTokens,
    words: Option<Words>,
    vectors: Option<VectorSet>,
    second: Option<VectorSet>,
}

/// How large a bundle is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleSizes {
    /// The whole file.
    pub file: u64,
    /// Pages and snippets with their offsets.
    pub text: u64,
    /// The word index.
    pub words: u64,
    /// Vectors with their scales.
    pub vectors: u64,
    /// The graph, as it lies in the file.
    pub graph: u64,
    /// Memory taken beside the map; the map itself counts only as far as it is read.
    pub heap: u64,
}

/// What an open word index takes, whatever its size: an estimate from above, as opening a hundred small
/// bundles made a process less than 2 MB larger.
const WORDS_HEAP_BYTES: u64 = 16 * 1024;

impl Bundle {
    /// Opens the bundle at `path` after reading all of it once: about 6 ms for 32 MB in the page cache.
    ///
    /// # Errors
    /// [`BundleError::Io`]; [`BundleError::NotABundle`]; [`BundleError::Newer`];
    /// [`BundleError::Damaged`] with the section whose bytes are wrong.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let started = Instant::now();
        let opened = Self::open_untimed(path);
        Metrics::get().opened(started, opened.as_ref().err());
        opened
    }

    fn open_untimed(path: &Path) -> Result<Self, BundleError> {
        let sections = Sections::open(path)?;
        let path: Arc<Path> = path.into();
        let damaged = |section| BundleError::damaged(&path, section);
        let meta = sections
            .get(Section::Meta)
            .and_then(|bytes| BundleMeta::from_bytes(&bytes))
            .ok_or_else(|| damaged(Section::Meta))?;
        let pages = [Section::PageOffsets, Section::Pages];
        let pages = Records::open(&sections, &path, "page", pages, meta.pages)?;
        let snippets = [Section::SnippetOffsets, Section::Snippets];
        let snippets = Records::open(&sections, &path, "snippet", snippets, meta.snippets)?;
        let facts = sections.get(Section::Facts).ok_or_else(|| damaged(Section::Facts))?;
        let facts = FactsTable::open(facts, meta.snippets, &path)?;
        let words = match sections.get(Section::Words) {
            Some(section) => Some(Words::open(&section, &path, meta.snippets)?),
            None if meta.snippets == 0 => None,
            None => return Err(damaged(Section::Words)),
        };
        let vectors = VectorSet::open_first(&sections, &meta, &path)?;
        let second = VectorSet::open_second(&sections, &meta, &path)?;
        let link_tokens = LinkTokens::of(meta.snippets);
        let mut sizes = sizes(&sections, words.is_some(), [vectors.as_ref(), second.as_ref()]);
        sizes.heap += link_tokens.memory_bytes();
        Ok(Self { path, meta, sizes, pages, snippets, facts, link_tokens, words, vectors, second })
    }

    /// What the bundle says of itself.
    pub fn meta(&self) -> &BundleMeta {
        &self.meta
    }

    /// Where the file lies, or lay when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sizes on disk and in memory.
    pub fn sizes(&self) -> BundleSizes {
        self.sizes
    }

    /// Decodes one snippet.
    ///
    /// # Errors
    /// [`BundleError::NoSuchRecord`] for an index of another bundle.
    pub fn snippet(&self, SnippetIndex(index): SnippetIndex) -> Result<Snippet, BundleError> {
        self.snippets.get(index)
    }

    /// Page and first anchor of a snippet, which all stretches of one section share, without decoding
    /// the rest of it.
    ///
    /// # Errors
    /// [`BundleError::NoSuchRecord`] for an index of another bundle.
    pub fn section(&self, SnippetIndex(index): SnippetIndex) -> Result<(u32, Option<&str>), BundleError> {
        let (page, FirstAnchor(anchor)) = self.snippets.start(index)?;
        Ok((page, anchor))
    }

    /// Decodes one page.
    ///
    /// # Errors
    /// [`BundleError::NoSuchRecord`] for an index of another bundle.
    pub fn page(&self, index: u32) -> Result<Page, BundleError> {
        self.pages.get(index)
    }

    /// Id, simhash, page, tokens and so on of one snippet, without decoding it.
    ///
    /// # Errors
    /// [`BundleError::NoSuchRecord`] for an index of another bundle.
    pub fn facts(&self, index: SnippetIndex) -> Result<SnippetFacts, BundleError> {
        self.facts.get(index)
    }

    /// The tokens of a snippet's link: by `count` when the first asks, remembered from then on, so all that ask
    /// have to count by the same tokenizer.
    pub fn link_tokens(&self, SnippetIndex(index): SnippetIndex, count: impl FnOnce() -> u32) -> u32 {
        self.link_tokens.get(index as usize, count)
    }

    /// How many snippets the scan at indexing labelled as suspicious. Reads the facts of every snippet.
    pub fn labelled(&self) -> u32 {
        self.facts.labelled()
    }

    /// How many snippets have each label, for the labels that some have. Reads the facts of every snippet.
    pub fn label_counts(&self) -> Vec<(Label, u32)> {
        self.facts.label_counts()
    }

    /// The stable id of a snippet.
    ///
    /// # Errors
    /// [`BundleError::NoSuchRecord`] for an index of another bundle.
    pub fn id(&self, index: SnippetIndex) -> Result<SnippetId, BundleError> {
        Ok(self.facts.get(index)?.id)
    }

    /// 64-bit simhash of a snippet's words; see [`similarity`](super::similarity).
    ///
    /// # Errors
    /// [`BundleError::NoSuchRecord`] for an index of another bundle.
    pub fn simhash(&self, index: SnippetIndex) -> Result<u64, BundleError> {
        Ok(self.facts.get(index)?.simhash)
    }

    /// The snippet with this stable id, if the bundle has it.
    pub fn find_id(&self, id: SnippetId) -> Option<SnippetIndex> {
        self.facts.find(id)
    }

    /// Snippets that hold words of `query` with their BM25, best first; at most 1,000. The query is text,
    /// never syntax; beyond 8 KiB or 64 different words the rest of it is ignored, and of more than 24
    /// words the rarest count.
    ///
    /// # Errors
    /// [`BundleError::Words`] when the index cannot be read.
    pub fn words(&self, query: &str, limit: usize) -> Result<Scored, BundleError> {
        self.words.as_ref().map_or(Ok(Vec::new()), |words| words.search(query, limit))
    }

    /// Snippets nearest to `query` with their cosines, best first; none in a bundle without vectors.
    ///
    /// # Errors
    /// [`BundleError::Dimensions`] and [`BundleError::NotFinite`] for a query that the bundle's embedder
    /// did not make.
    pub fn nearest(&self, query: &[f32], limit: usize) -> Result<Scored, BundleError> {
        self.vectors.as_ref().map_or_else(|| Ok(Vec::new()), |vectors| vectors.nearest(query, limit))
    }

    /// The unit vector of a snippet; `None` when it has none.
    pub fn vector(&self, index: SnippetIndex) -> Option<Vec<f32>> {
        self.vectors.as_ref()?.vector(index)
    }

    /// The vectors the bundle was built with; `None` in a bundle of words alone.
    pub fn first(&self) -> Option<&VectorSet> {
        self.vectors.as_ref()
    }

    /// The vectors of a service, beside those the bundle was built with.
    pub fn second(&self) -> Option<&VectorSet> {
        self.second.as_ref()
    }

    /// Cosines of `query` with given snippets, in the order given; 0 for those without a vector. For
    /// candidates that were found by words.
    ///
    /// # Errors
    /// [`BundleError::Dimensions`] and [`BundleError::NotFinite`] as in [`nearest`](Self::nearest).
    pub fn cosines(&self, query: &[f32], snippets: &[SnippetIndex]) -> Result<Vec<f32>, BundleError> {
        match &self.vectors {
            Some(vectors) => vectors.cosines(query, snippets),
            None => Ok(vec![0.0; snippets.len()]),
        }
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("path", &self.path).field("meta", &self.meta).finish_non_exhaustive()
    }
}

fn sizes(sections: &Sections, words: bool, sets: [Option<&VectorSet>; 2]) -> BundleSizes {
    let graphs = sets.into_iter().flatten().filter_map(VectorSet::graph);
    let sum = |parts: &[Section]| parts.iter().map(|part| sections.length(*part)).sum();
    BundleSizes {
        file: sections.file_bytes(),
        text: sum(&[Section::Pages, Section::PageOffsets, Section::Snippets, Section::SnippetOffsets]),
        words: sum(&[Section::Words]),
        vectors: sum(&[
            Section::VectorRows,
            Section::VectorScales,
            Section::SecondRows,
            Section::SecondScales,
        ]),
        graph: sum(&[Section::Graph, Section::SecondGraph]),
        heap: graphs.map(VectorGraph::memory_bytes).sum::<u64>() + if words { WORDS_HEAP_BYTES } else { 0 },
    }
}
