//! Vectors of the bundle before: a snippet whose text is the same is not embedded again.

use std::collections::HashMap;
use std::sync::Arc;

use twinmcp_storage::bundle::{Bundle, BundleError, BundleStore, SnippetIndex};

use crate::embedding::SnippetEmbedding;

/// The embedded snippets of a bundle, by what was embedded.
pub(super) struct Reuse {
    bundle: Arc<Bundle>,
    known: HashMap<Content, SnippetIndex>,
}

/// A hash of all that a vector is made from.
type Content = [u8; 16];

impl Reuse {
    /// The snippets of the bundle named `hash`; none when another embedder made its vectors, or when
    /// it is not here any more.
    pub(super) fn open(bundles: &BundleStore, hash: &str, embedder: &str) -> Option<Self> {
        let bundle = bundles.open(hash.parse().ok()?).ok()?;
        let is_same = bundle.meta().embedder.as_ref().is_some_and(|used| used.id == embedder);
        let known = is_same.then(|| contents(&bundle))?;
        // A bundle that is damaged in the middle is no reason not to build the next.
        known.ok().map(|known| Self { bundle, known })
    }

    /// Vector and tokens of a snippet that was embedded before.
    pub(super) fn find(&self, heading_path: &[String], text: &str) -> Option<SnippetEmbedding> {
        let index = *self.known.get(&content(heading_path, text))?;
        let vector = self.bundle.vector(index)?;
        let tokens = self.bundle.facts(index).ok()?.tokens as usize;
        Some(SnippetEmbedding { vector, tokens })
    }
}

fn contents(bundle: &Bundle) -> Result<HashMap<Content, SnippetIndex>, BundleError> {
    let indexes = (0..bundle.meta().snippets).map(SnippetIndex);
    indexes
        .map(|index| {
            let snippet = bundle.snippet(index)?;
            Ok((content(&snippet.heading_path, &snippet.text()), index))
        })
        .collect()
}

fn content(heading_path: &[String], text: &str) -> Content {
    let mut hasher = blake3::Hasher::new();
    // Each heading is led by its length, so that no two lists give the same bytes.
    for heading in heading_path {
        hasher.update(&(heading.len() as u64).to_le_bytes()).update(heading.as_bytes());
    }
    hasher.update(&u64::MAX.to_le_bytes()).update(text.as_bytes());
    let mut content = Content::default();
    hasher.finalize_xof().fill(&mut content);
    content
}
