//! The same documentation with other vectors: a bundle written once more, under another name.
//!
//! A bundle never changes, so better vectors make another bundle. What is not replaced is copied byte for
//! byte out of the verified map; ids, text and words stay what they were.

use super::build::{BuiltBundle, Embedder};
use super::error::BundleError;
use super::graph::GRAPH_MIN;
use super::layout::Section;
use super::map::Sections;
use super::open::Bundle;
use super::partial::SectionWriter;
use super::store::BundleStore;
use super::vector_set::{self, FIRST, SECOND};
use super::vectors::RowsBuilder;

/// Which set of vectors a revision brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// The set made when the bundle was built.
    First,
    /// The set of a service, beside the first.
    Second,
}

impl BundleStore {
    /// Writes `bundle` once more, with the vectors in `rows`, one row a snippet, in place of those it has in
    /// that set. From [`GRAPH_MIN`] vectors on this builds a graph, about a millisecond a vector.
    ///
    /// # Errors
    /// [`BundleError::NoSuchRecord`] for another number of rows than there are snippets, [`BundleError::Io`] when
    /// the disk refuses, or the file of `bundle` is gone; then no bundle is there.
    pub fn revise(
        &self,
        bundle: &Bundle,
        replace: Replace,
        embedder: Embedder,
        rows: RowsBuilder,
    ) -> Result<BuiltBundle, BundleError> {
        let mut meta = bundle.meta().clone();
        if rows.len() != meta.snippets as usize || rows.dimensions() != embedder.dimensions as usize {
            return Err(BundleError::NoSuchRecord {
                what: "vector",
                index: rows.len() as u32,
                count: meta.snippets,
            });
        }
        let sections = Sections::open(bundle.path())?;
        let mut out = SectionWriter::create(self.dir())?;
        let replaced = if replace == Replace::First { FIRST } else { SECOND };
        for section in sections.names() {
            let again = [Section::Meta, Section::SecondMeta].contains(&section);
            if let Some(bytes) = sections.get(section).filter(|_| !again && !replaced.contains(&section)) {
                out.section(section, &bytes)?;
            }
        }
        let vectors = vector_set::write(&mut out, Some(rows), GRAPH_MIN, replaced)?;
        match replace {
            Replace::First => {
                (meta.embedder, meta.vectors) = (Some(embedder), vectors);
                if let Some(bytes) = sections.get(Section::SecondMeta) {
                    out.section(Section::SecondMeta, &bytes)?;
                }
            }
            Replace::Second => vector_set::write_second_meta(&mut out, embedder, vectors)?,
        }
        out.section(Section::Meta, &meta.to_bytes()?)?;
        let (hash, bytes) = out.publish()?;
        Ok(BuiltBundle { hash, bytes, snippets: meta.snippets, pages: meta.pages, tokens: meta.tokens })
    }
}
