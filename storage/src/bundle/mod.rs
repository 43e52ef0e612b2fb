//! One library version, immutable: pages, snippets, word index, vectors and graph in one file.
//!
//! [`BundleBuilder`] writes a bundle, [`BundleStore`] keeps a folder of them, [`Bundle`] is an open one.
//! A bundle's name is the hash of its bytes, and equal input gives equal bytes, so nodes can fetch it
//! from whoever has it and know that it is whole. All of this blocks; only reading an open bundle is
//! quick enough for an asynchronous thread.
//!
//! Invariants: a file under its final name is whole and never changes; every byte of it is verified
//! before it is mapped; text of queries is never read as syntax. `tantivy`, `instant-distance` and
//! `memmap2` are named only here, and only `map.rs` may be unsafe.

mod best;
mod bm25;
mod build;
mod dot;
mod error;
mod facts;
mod graph;
mod hash;
mod incoming;
mod labels;
mod layout;
mod link_tokens;
mod map;
mod metrics;
mod open;
mod partial;
mod pins;
mod records;
mod revise;
mod scan;
mod simhash;
mod snippet;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod vector_set;
mod vectors;
mod words;
mod words_directory;
mod words_writer;

pub use build::{
    BuiltBundle, BundleBuilder, BundleDraft, BundleMeta, Embedder, NAME_BYTES_MAX, PAGE_BYTES_MAX, PAGES_MAX,
    SNIPPET_BYTES_MAX, SNIPPETS_MAX,
};
pub use error::BundleError;
pub use facts::{InvalidSnippetId, SnippetFacts, SnippetId, SnippetIndex};
pub use graph::{GRAPH_MIN, GRAPH_RESULTS_MAX, VectorGraph};
pub use hash::{BundleHash, InvalidBundleHash};
pub use incoming::Incoming;
pub use labels::{Label, Labels};
pub use layout::{FORMAT, Section};
pub use open::{Bundle, BundleSizes, Scored};
pub use pins::Pinned;
pub use revise::Replace;
pub use simhash::similarity;
pub use snippet::{Block, Page, Snippet};
pub use store::{BundleStore, StoredBundle};
pub use vector_set::VectorSet;
pub use vectors::{DIMENSIONS_MAX, Rows, RowsBuilder};
