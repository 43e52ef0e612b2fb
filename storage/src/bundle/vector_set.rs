//! The vectors of one embedder in a bundle: rows, and a graph over them when there are many.
//!
//! A bundle has up to two sets. The first is made when it is built and can be searched offline; the second
//! comes from a service, beside the first, so that a question is answered also when the service is not.
//! Each set is three sections, the second names its embedder in a fourth (the first does in the meta
//! section): a format byte, then [`SecondMeta`] by postcard.

use std::num::NonZeroUsize;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::build::{BundleMeta, Embedder};
use super::error::BundleError;
use super::facts::SnippetIndex;
use super::graph::{GRAPH_RESULTS_MAX, VectorGraph};
use super::layout::Section;
use super::map::Sections;
use super::open::Scored;
use super::partial::SectionWriter;
use super::vectors::{Rows, RowsBuilder};

/// Seed of graphs in bundles: fixed, so that equal rows give equal graphs.
const GRAPH_SEED: u64 = 0x7477_696e_6d63_7001;

/// Scales, rows and graph of the first set.
pub(super) const FIRST: [Section; 3] = [Section::VectorScales, Section::VectorRows, Section::Graph];
/// The same of the second set.
pub(super) const SECOND: [Section; 3] = [Section::SecondScales, Section::SecondRows, Section::SecondGraph];

/// What the second set says of itself.
#[derive(Serialize, Deserialize)]
struct SecondMeta {
    embedder: Embedder,
    vectors: u32,
}

impl SecondMeta {
    const FORMAT: u8 = 1;
}

/// Vectors that can be searched.
pub struct VectorSet {
    embedder: Embedder,
    rows: Rows,
    graph: Option<VectorGraph>,
}

impl VectorSet {
    /// What made the vectors, and has to make those of their queries.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// Snippets nearest to `query` with their cosines, best first.
    ///
    /// # Errors
    /// [`BundleError::Dimensions`] and [`BundleError::NotFinite`] for a query of another embedder.
    pub fn nearest(&self, query: &[f32], limit: usize) -> Result<Scored, BundleError> {
        // A graph keeps a fixed number of candidates, so it answers well only for a part of them.
        let near = match &self.graph {
            Some(graph) if limit <= GRAPH_RESULTS_MAX / 2 => graph.search(query, limit)?,
            _ => self.rows.nearest(query, limit)?,
        };
        Ok(near.into_iter().map(|(index, cosine)| (SnippetIndex(index), cosine)).collect())
    }

    /// Cosines of `query` with given snippets, in the order given; 0 for those without a vector. For
    /// candidates that were found by words.
    ///
    /// # Errors
    /// As [`nearest`](Self::nearest).
    pub fn cosines(&self, query: &[f32], snippets: &[SnippetIndex]) -> Result<Vec<f32>, BundleError> {
        self.rows.cosines(query, snippets.iter().map(|SnippetIndex(index)| *index as usize))
    }

    /// The unit vector of a snippet; `None` when it has none.
    pub fn vector(&self, SnippetIndex(index): SnippetIndex) -> Option<Vec<f32>> {
        self.rows.vector(index as usize)
    }

    pub(super) fn graph(&self) -> Option<&VectorGraph> {
        self.graph.as_ref()
    }

    /// The set that is made when the bundle is built; `None` in a bundle of words alone.
    pub(super) fn open_first(
        sections: &Sections,
        meta: &BundleMeta,
        path: &Path,
    ) -> Result<Option<Self>, BundleError> {
        match &meta.embedder {
            Some(embedder) if meta.vectors > 0 => {
                Self::open(sections, embedder.clone(), meta.snippets, FIRST, path).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The set of a service, if the bundle has one.
    pub(super) fn open_second(
        sections: &Sections,
        meta: &BundleMeta,
        path: &Path,
    ) -> Result<Option<Self>, BundleError> {
        let Some(bytes) = sections.get(Section::SecondMeta) else { return Ok(None) };
        let second: SecondMeta = bytes
            .split_first()
            .filter(|(format, _)| **format == SecondMeta::FORMAT)
            .and_then(|(_, body)| postcard::from_bytes(body).ok())
            .ok_or_else(|| BundleError::damaged(path, Section::SecondMeta))?;
        if second.vectors == 0 {
            return Ok(None);
        }
        Self::open(sections, second.embedder, meta.snippets, SECOND, path).map(Some)
    }

    fn open(
        sections: &Sections,
        embedder: Embedder,
        snippets: u32,
        [scales, rows_section, graph_section]: [Section; 3],
        path: &Path,
    ) -> Result<Self, BundleError> {
        let rows = sections.get(rows_section).zip(sections.get(scales)).and_then(|(rows, scales)| {
            let rows = Rows::from_mapped(embedder.dimensions as usize, rows, scales)?;
            (rows.len() == snippets as usize).then_some(rows)
        });
        let rows = rows.ok_or_else(|| BundleError::damaged(path, rows_section))?;
        let graph = match sections.get(graph_section) {
            Some(bytes) => {
                let graph = VectorGraph::from_bytes(&bytes).ok().filter(|graph| {
                    graph.dimensions() == rows.dimensions() && graph.largest_index() < rows.len()
                });
                Some(graph.ok_or_else(|| BundleError::damaged(path, graph_section))?)
            }
            None => None,
        };
        Ok(Self { embedder, rows, graph })
    }
}

/// Writes the rows, and the graph if there are enough; returns how many snippets have a vector.
pub(super) fn write(
    out: &mut SectionWriter,
    rows: Option<RowsBuilder>,
    graph_min: usize,
    [scales, rows_section, graph_section]: [Section; 3],
) -> Result<u32, BundleError> {
    let Some(rows) = rows.filter(|rows| rows.vectors() > 0) else {
        return Ok(0);
    };
    let vectors = rows.vectors();
    let rows = rows.finish();
    out.section(scales, rows.scale_bytes())?;
    out.section(rows_section, rows.row_bytes())?;
    if vectors as usize >= graph_min {
        let graph = VectorGraph::build(&rows, GRAPH_SEED, NonZeroUsize::MIN)?;
        out.section(graph_section, &graph.to_bytes()?)?;
    }
    Ok(vectors)
}

/// Writes who made the second set.
pub(super) fn write_second_meta(
    out: &mut SectionWriter,
    embedder: Embedder,
    vectors: u32,
) -> Result<(), BundleError> {
    let meta = SecondMeta { embedder, vectors };
    let bytes = postcard::to_extend(&meta, vec![SecondMeta::FORMAT])
        .map_err(|source| BundleError::Encode { section: Section::SecondMeta, source })?;
    out.section(Section::SecondMeta, &bytes)
}
