//! Embedding: from a text to the vector that stands for its meaning.
//!
//! [`Embedder`] is the seam. Built in is [`StaticTable`]: a sum of token rows, without a transformer,
//! a network call or a second process, so that a node ranks by meaning from its first second and also
//! when it is cut off. [`DocumentEmbedder`] makes better vectors of documents in the background. An index names the
//! id its vectors were made with; vectors of two [`space`]s are never compared with one another.
//!
//! Invariant: the same text gives the same vector on every node of one architecture, because vectors
//! are part of content-addressed bundles.

mod documents;
mod endpoint;
mod static_table;
mod transformer;
mod vocabulary;
mod wordpiece;

pub use documents::{
    Batch, DocumentEmbedder, DocumentText, EmbedError, Upgraded, both, first_of, second_of, space,
};
#[cfg(fuzzing)]
pub(crate) use endpoint::fuzz_answer;
#[cfg(test)]
pub(crate) use endpoint::tests::config as endpoint_config;
pub use endpoint::{Endpoint, EndpointConfig, EndpointError, EndpointHealth, EndpointKey};
pub use static_table::StaticTable;
#[cfg(test)]
pub(crate) use transformer::tiny;
pub use transformer::{ModelError, Transformer};

/// Makes vectors of queries and snippets, all in one space.
pub trait Embedder: Send + Sync + 'static {
    /// Name and version of the model, stored with every index; changes whenever a vector would.
    fn id(&self) -> &str;

    /// Length of every vector this embedder returns.
    fn dimensions(&self) -> usize;

    /// The share of the cosine in the fused score, 0 to 1, with documents that `documents` (an id of the same
    /// [`space`]) has embedded; the rest belongs to words.
    ///
    /// It belongs to the models: a weak one with the weight of a strong one is worse than words alone.
    fn fusion_weight(&self, documents: &str) -> f32;

    /// The unit vector of a question; `None` when it has no token, then only words can rank.
    fn embed_query(&self, text: &str) -> Option<Vec<f32>>;

    /// The unit vector of a snippet and the number of its tokens, from one pass over the text.
    ///
    /// `heading_path` is outermost first; it counts as the first line of the text, and once more
    /// by itself. `None` when neither has a token.
    fn embed_snippet(&self, heading_path: &[String], text: &str) -> Option<SnippetEmbedding>;

    /// Tokens of `text` by the embedder's own tokenizer: the unit of every token budget.
    fn count_tokens(&self, text: &str) -> usize;
}

/// What [`Embedder::embed_snippet`] finds in one pass.
#[derive(Debug, Clone, PartialEq)]
pub struct SnippetEmbedding {
    /// Unit length, [`Embedder::dimensions`] long.
    pub vector: Vec<f32>,
    /// Tokens of heading path and text together; at least 1.
    pub tokens: usize,
}
