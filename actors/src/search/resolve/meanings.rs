//! What entries mean: one vector each, of title and description.

use twinmcp_storage::bundle::{GRAPH_RESULTS_MAX, Rows, RowsBuilder, VectorGraph};

use crate::embedding::Embedder;

/// The vectors of a segment in the order of its entries.
pub(super) struct Meanings {
    rows: Option<Rows>,
}

impl Meanings {
    /// The vectors; none when the embedder's are of a shape that cannot be searched.
    pub(super) fn rows(&self) -> Option<&Rows> {
        self.rows.as_ref()
    }

    /// The entries nearest to a question with their cosines, through the graph when there is one.
    pub(super) fn nearest(
        &self,
        question: &[f32],
        limit: usize,
        graph: Option<&VectorGraph>,
    ) -> Vec<(u32, f32)> {
        let found = match (graph, &self.rows) {
            (Some(graph), _) => graph.search(question, limit.min(GRAPH_RESULTS_MAX)),
            (None, Some(rows)) => rows.nearest(question, limit),
            (None, None) => return Vec::new(),
        };
        // Only a question of another shape is refused: then words rank alone.
        found.unwrap_or_default()
    }

    /// The cosines of some entries with a question, in their order; empty without vectors.
    pub(super) fn cosines(&self, question: &[f32], entries: &[u32]) -> Vec<f32> {
        let entries = entries.iter().map(|entry| *entry as usize);
        self.rows.as_ref().and_then(|rows| rows.cosines(question, entries).ok()).unwrap_or_default()
    }

    /// Heap bytes.
    pub(super) fn bytes(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.row_bytes().len() + rows.scale_bytes().len())
    }
}

/// Collects vectors, entry by entry.
pub(super) struct MeaningsBuilder<'a> {
    embedder: &'a dyn Embedder,
    rows: Option<RowsBuilder>,
}

impl<'a> MeaningsBuilder<'a> {
    pub(super) fn new(embedder: &'a dyn Embedder) -> Self {
        let rows = RowsBuilder::new(embedder.dimensions());
        if let Err(error) = &rows {
            tracing::warn!(%error, embedder = embedder.id(), "libraries are resolved without vectors");
        }
        Self { embedder, rows: rows.ok() }
    }

    /// Appends the vector of the next entry's text.
    pub(super) fn push(&mut self, text: &str) {
        let Some(rows) = &mut self.rows else { return };
        let vector = self.embedder.embed_query(text);
        if rows.push(vector.as_deref()).is_err() {
            // Of another shape than the embedder says: this entry is found by its words.
            self.rows.take_if(|rows| rows.push(None).is_err());
        }
    }

    pub(super) fn finish(self) -> Meanings {
        Meanings { rows: self.rows.map(RowsBuilder::finish) }
    }
}
