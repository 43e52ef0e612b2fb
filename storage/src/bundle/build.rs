//! Building a bundle: pages and snippets in, one file out.
//!
//! Snippets go to disk as they come, so that memory holds only what must be seen whole: words of the
//! segment being written, the finished word index, quantised vectors, and 40 bytes a snippet.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::error::BundleError;
use super::facts::{self, SnippetFacts, SnippetId, SnippetIndex};
use super::graph::GRAPH_MIN;
use super::hash::BundleHash;
use super::labels::Labels;
use super::layout::Section;
use super::metrics::Metrics;
use super::partial::SectionWriter;
use super::records::Offsets;
use super::simhash::simhash;
use super::snippet::{Page, Snippet};
use super::tokens::Tokens;
use super::vector_set::{self, FIRST};
use super::vectors::RowsBuilder;
use super::words_directory;
use super::words_writer::WordsWriter;

/// Snippets in a bundle.
pub const SNIPPETS_MAX: usize = 1_000_000;
/// Pages in a bundle.
pub const PAGES_MAX: usize = 250_000;
/// Bytes of one encoded snippet: text, code, headings and anchors together.
pub const SNIPPET_BYTES_MAX: usize = 1 << 20;
/// Bytes of one encoded page: path, address and title together.
pub const PAGE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a library id, version or embedder id.
pub const NAME_BYTES_MAX: usize = 512;

/// What is known of a bundle before anything is added to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleDraft {
    /// Id of the library, e.g. `/python/cpython`.
    pub library: String,
    /// Version of the library, e.g. `3.12.1`.
    pub version: String,
    /// What makes the vectors; `None` for a bundle of words alone.
    pub embedder: Option<Embedder>,
}

/// What made the vectors of a bundle, and has to make those of its queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedder {
    /// Name and version of the model, compared as a whole.
    pub id: String,
    /// Numbers in a vector.
    pub dimensions: u32,
}

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleMeta {
    /// Id of the library, e.g. `/python/cpython`.
    pub library: String,
    /// Version of the library.
    pub version: String,
    /// What made the vectors; `None` for a bundle of words alone.
    pub embedder: Option<Embedder>,
    /// Pages there are.
    pub pages: u32,
    /// Snippets there are.
    pub snippets: u32,
    /// Snippets that have a vector.
    pub vectors: u32,
    /// Tokens of all snippets.
    pub tokens: u64,
}

/// A bundle that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltBundle {
    /// Its name.
    pub hash: BundleHash,
    /// Size of the file.
    pub bytes: u64,
    /// Snippets in it.
    pub snippets: u32,
    /// Pages in it.
    pub pages: u32,
    /// Tokens of all snippets.
    pub tokens: u64,
}

/// Collects pages and snippets, and writes them as one bundle.
///
/// All of it blocks: use a thread that may. A builder that is dropped leaves nothing behind.
pub struct BundleBuilder {
    draft: BundleDraft,
    graph_min: usize,
    out: SectionWriter,
    pages: Vec<Page>,
    offsets: Offsets,
    facts: Vec<SnippetFacts>,
    ordinals: HashMap<SnippetId, u32>,
    ids: HashSet<SnippetId>,
    tokens: Tokens,
    words: WordsWriter,
    rows: Option<RowsBuilder>,
    started: Instant,
}

impl BundleBuilder {
    /// Starts a bundle in `dir`, the folder of a [`BundleStore`](super::BundleStore).
    ///
    /// # Errors
    /// [`BundleError::Limit`] for names or dimensions beyond their limits, [`BundleError::Io`] when the
    /// temporary file cannot be made.
    pub fn new(dir: &Path, draft: BundleDraft) -> Result<Self, BundleError> {
        let embedder = draft.embedder.as_ref();
        for (what, name) in [
            ("library id of bytes", draft.library.as_str()),
            ("version of bytes", &draft.version),
            ("embedder id of bytes", embedder.map_or("", |embedder| &embedder.id)),
        ] {
            BundleError::check_limit(what, name.len(), NAME_BYTES_MAX)?;
        }
        let rows = embedder.map(|embedder| RowsBuilder::new(embedder.dimensions as usize)).transpose()?;
        let mut out = SectionWriter::create(dir)?;
        out.begin(Section::Snippets)?;
        Ok(Self {
            draft,
            graph_min: GRAPH_MIN,
            out,
            pages: Vec::new(),
            offsets: Offsets::new(),
            facts: Vec::new(),
            ordinals: HashMap::new(),
            ids: HashSet::new(),
            tokens: Tokens::remembering(),
            words: WordsWriter::new(),
            rows,
            started: Instant::now(),
        })
    }

    /// Builds a graph from this many vectors on, instead of from [`GRAPH_MIN`]; `usize::MAX` for none,
    /// so that a large bundle is there at once and is searched by scanning.
    #[must_use]
    pub fn graph_from(mut self, vectors_min: usize) -> Self {
        self.graph_min = vectors_min;
        self
    }

    /// Adds a page; the result is what its snippets name.
    ///
    /// # Errors
    /// [`BundleError::Limit`] for a page too large, or one too many.
    pub fn add_page(&mut self, page: Page) -> Result<u32, BundleError> {
        BundleError::check_limit("number of pages", self.pages.len() + 1, PAGES_MAX)?;
        let bytes = page.path.len() + page.url.len() + page.title.len();
        BundleError::check_limit("page of bytes", bytes, PAGE_BYTES_MAX)?;
        self.pages.push(page);
        Ok(self.pages.len() as u32 - 1)
    }

    /// As [`add_labelled`](Self::add_labelled), for a snippet without labels.
    ///
    /// # Errors
    /// As there.
    pub fn add_snippet(
        &mut self,
        snippet: &Snippet,
        vector: Option<&[f32]>,
    ) -> Result<SnippetIndex, BundleError> {
        self.add_labelled(snippet, vector, Labels::NONE)
    }

    /// Adds a snippet of a page that was added before, with its vector if it has one and what was
    /// found suspicious about it.
    ///
    /// After an error of this call the builder holds part of the snippet: drop it.
    ///
    /// # Errors
    /// [`BundleError::NoSuchPage`]; [`BundleError::Limit`] for a snippet too large, or one too many;
    /// [`BundleError::Dimensions`] for a vector the draft's embedder does not make;
    /// [`BundleError::NotFinite`]; [`BundleError::Io`] when the disk refuses.
    pub fn add_labelled(
        &mut self,
        snippet: &Snippet,
        vector: Option<&[f32]>,
        labels: Labels,
    ) -> Result<SnippetIndex, BundleError> {
        BundleError::check_limit("number of snippets", self.facts.len() + 1, SNIPPETS_MAX)?;
        let page = self
            .pages
            .get(snippet.page as usize)
            .ok_or(BundleError::NoSuchPage { page: snippet.page, pages: self.pages.len() as u32 })?;
        let bytes = postcard::to_stdvec(snippet)
            .map_err(|source| BundleError::Encode { section: Section::Snippets, source })?;
        BundleError::check_limit("snippet of bytes", bytes.len(), SNIPPET_BYTES_MAX)?;
        match (&mut self.rows, vector) {
            (Some(rows), vector) => rows.push(vector)?,
            (None, Some(vector)) => {
                return Err(BundleError::Dimensions { expected: 0, found: vector.len() });
            }
            (None, None) => {}
        }
        let id = next_id(&mut self.ordinals, &mut self.ids, |ordinal| SnippetId::of(page, snippet, ordinal));
        let text = snippet.text();
        self.tokens.read(&text);
        self.words.add(&snippet.heading_path.join("\n"), &text)?;
        self.out.write(&bytes)?;
        self.offsets.push(bytes.len());
        self.facts.push(SnippetFacts {
            id,
            simhash: simhash(&self.tokens),
            page: snippet.page,
            tokens: snippet.tokens,
            link_percent: snippet.link_percent,
            has_code: snippet.has_code(),
            labels,
        });
        Ok(SnippetIndex(self.facts.len() as u32 - 1))
    }

    /// Writes the rest, makes the file durable, and gives it its name.
    ///
    /// From [`GRAPH_MIN`] vectors on this builds a graph, which takes about a millisecond of one core a
    /// vector; see [`graph_from`](Self::graph_from).
    ///
    /// # Errors
    /// [`BundleError::Io`] when the disk refuses; then no bundle is there.
    pub fn finish(mut self) -> Result<BuiltBundle, BundleError> {
        let out = &mut self.out;
        out.section(Section::SnippetOffsets, self.offsets.as_bytes())?;
        write_pages(out, &self.pages)?;
        out.section(Section::Facts, &facts::encode(&self.facts))?;
        write_words(out, self.words)?;
        let vectors = vector_set::write(out, self.rows, self.graph_min, FIRST)?;
        let meta = BundleMeta {
            library: self.draft.library,
            version: self.draft.version,
            embedder: self.draft.embedder,
            pages: self.pages.len() as u32,
            snippets: self.facts.len() as u32,
            vectors,
            tokens: self.facts.iter().map(|one| u64::from(one.tokens)).sum(),
        };
        out.section(Section::Meta, &meta.to_bytes()?)?;
        let (hash, bytes) = self.out.publish()?;
        Metrics::get().built(self.started);
        Ok(BuiltBundle { hash, bytes, snippets: meta.snippets, pages: meta.pages, tokens: meta.tokens })
    }
}

impl BundleMeta {
    const FORMAT: u8 = 1;

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        postcard::to_extend(self, vec![Self::FORMAT])
            .map_err(|source| BundleError::Encode { section: Section::Meta, source })
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (format, body) = bytes.split_first()?;
        if *format != Self::FORMAT {
            return None;
        }
        postcard::from_bytes(body).ok()
    }
}

/// The id of the next snippet with these page, anchor and headings. Should two ids of a bundle ever
/// collide, the later one takes the ordinal after it.
fn next_id(
    ordinals: &mut HashMap<SnippetId, u32>,
    ids: &mut HashSet<SnippetId>,
    of: impl Fn(u32) -> SnippetId,
) -> SnippetId {
    let next = ordinals.entry(of(0)).or_insert(0);
    loop {
        let id = of(*next);
        *next += 1;
        if ids.insert(id) {
            return id;
        }
    }
}

fn write_pages(out: &mut SectionWriter, pages: &[Page]) -> Result<(), BundleError> {
    let mut offsets = Offsets::new();
    out.begin(Section::Pages)?;
    for page in pages {
        let bytes = postcard::to_stdvec(page)
            .map_err(|source| BundleError::Encode { section: Section::Pages, source })?;
        out.write(&bytes)?;
        offsets.push(bytes.len());
    }
    out.section(Section::PageOffsets, offsets.as_bytes())
}

fn write_words(out: &mut SectionWriter, words: WordsWriter) -> Result<(), BundleError> {
    let files = words.finish()?;
    if files.is_empty() {
        return Ok(());
    }
    let table = words_directory::table(&files)
        .map_err(|source| BundleError::Encode { section: Section::Words, source })?;
    out.section(Section::Words, &table)?;
    files.iter().try_for_each(|file| out.write(&file.bytes))
}
