//! Leafing through a version: its snippets in the order of the bundle, without a question, and what the scan said of them.

use twinmcp_storage::bundle::{Bundle, Label, Labels, SnippetIndex};
use twinmcp_storage::ids::{AccountId, LibraryRef, Version};

use super::elsewhere::{Question, Reply, Source};
use super::query::Reader;
use super::{FoundSnippet, SNIPPETS_MAX, Search, SearchError};

/// Some snippets of a version.
#[derive(Debug, Clone)]
pub struct Browsed {
    /// The version they are of.
    pub version: Version,
    /// Snippets the version has in all.
    pub snippets_total: usize,
    /// Those asked for, in the order of the bundle; each with score 0, as nothing was asked.
    pub snippets: Vec<FoundSnippet>,
}

impl Search {
    /// Up to `limit` snippets (at most [`SNIPPETS_MAX`]) of a version from the one at `from`, counted from 0.
    ///
    /// # Errors
    /// As [`Search::docs`], for the library and the version.
    pub async fn browse(
        &self,
        viewer: Option<&AccountId>,
        library: &LibraryRef,
        from: usize,
        limit: usize,
    ) -> Result<Browsed, SearchError> {
        let (_, manifest) = self.version(viewer, library)?;
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let limit = u32::try_from(limit.min(SNIPPETS_MAX)).unwrap_or(u32::MAX);
        let (total, snippets) = match self.source(&manifest, || Question::Browse { from, limit }).await? {
            Source::Here(bundle) => (bundle.meta().snippets, shown(&bundle, from, limit)?),
            Source::Peer(reply) => reply.snippets().unwrap_or_default(),
        };
        Ok(Browsed { version: manifest.version, snippets_total: total as usize, snippets })
    }

    /// How many snippets of a version have each label of the scan, for the labels that some have.
    ///
    /// # Errors
    /// As [`Search::docs`], for the library and the version.
    pub async fn labels(
        &self,
        viewer: Option<&AccountId>,
        library: &LibraryRef,
    ) -> Result<Vec<(Label, u32)>, SearchError> {
        let (_, manifest) = self.version(viewer, library)?;
        Ok(match self.source(&manifest, || Question::Labels).await? {
            Source::Here(bundle) => bundle.label_counts(),
            Source::Peer(Reply::Labels(counts)) => {
                let one = |(labels, count): (Labels, u32)| labels.iter().next().map(|label| (label, count));
                counts.into_iter().filter_map(one).collect()
            }
            Source::Peer(Reply::Snippets { .. }) => Vec::new(),
        })
    }
}

/// Up to `limit` snippets (at most [`SNIPPETS_MAX`]) of an open bundle from the one at `from`.
pub(super) fn shown(bundle: &Bundle, from: u32, limit: u32) -> Result<Vec<FoundSnippet>, SearchError> {
    let total = bundle.meta().snippets;
    let limit = limit.min(u32::try_from(SNIPPETS_MAX).unwrap_or(u32::MAX));
    let from = from.min(total);
    let shown = from..from.saturating_add(limit).min(total);
    let mut reader = Reader::new(bundle);
    shown.map(|index| reader.found(SnippetIndex(index), 0.0)).collect()
}
