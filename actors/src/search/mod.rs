//! Search: the right passage of the right library, from this node's own data.
//!
//! [`Search`] is the only way in, and passes no mailbox: a query reads the agreed catalogue, an open
//! bundle and the resolve index, all of them immutable and shared. The one actor here keeps the
//! resolve index up to date.
//!
//! Invariants: a version is never silently substituted; without one the library's current version
//! answers, and says which it is. A private library is found and answers for its own people alone; to everybody else it is
//! one that nobody has heard of.

mod browse;
mod catalogue;
mod elsewhere;
mod metrics;
pub mod passages;
mod query;
pub mod rank;
pub mod resolve;
mod summary;

use std::sync::Arc;

use twinmcp_cluster::Cluster;
use twinmcp_storage::bundle::{BundleError, BundleStore, Labels, Page, Snippet, SnippetId};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::{AccountId, JobId, LibraryId, LibraryRef, Version};

pub use browse::Browsed;
pub use resolve::Reason;
pub use summary::{LibrarySummary, known_entry};

use crate::context::Context;
use crate::distribution::Distribution;
use crate::embedding::{Embedder, Endpoint};
use crate::jobs::Jobs;
use crate::mending::{Loss, Mending};
use crate::supervisor::Child;
use crate::upgrade::Activity;
use catalogue::SharedCatalogue;
use metrics::Metrics;

/// Longest question, in bytes.
pub const QUERY_BYTES_MAX: usize = 2_000;
/// Most snippets in one answer.
pub const SNIPPETS_MAX: usize = 50;
/// Most tokens in one answer.
pub const TOKENS_MAX: u32 = 200_000;
/// Most libraries in one answer.
pub const MATCHES_MAX: usize = 50;

/// A question about one library.
#[derive(Debug, Clone, Copy)]
pub struct DocsQuery<'a> {
    /// Who asks: private libraries answer their own people alone.
    pub viewer: Option<&'a AccountId>,
    /// The library, and a version of it where one is asked for.
    pub library: &'a LibraryRef,
    /// The question.
    pub text: &'a str,
    /// Tokens the answer may have; a snippet is never cut to fit.
    pub tokens_max: u32,
    /// Snippets the answer may have.
    pub snippets_max: usize,
    /// Tokens that the answer spends on a snippet beside those of its text: links and marks. Where they do
    /// not fit, snippets are left out from the end, but for the first.
    pub marks: fn(&FoundSnippet) -> u32,
}

/// What the documentation says.
#[derive(Debug, Clone)]
pub struct Docs {
    /// The library.
    pub library: LibraryId,
    /// Its name for people.
    pub title: String,
    /// The version that answered.
    pub version: Version,
    /// When that version was indexed.
    pub indexed_at: Timestamp,
    /// The best snippets first.
    pub snippets: Vec<FoundSnippet>,
    /// Tokens of all snippets.
    pub tokens: u32,
    /// What the library's own source tells agents.
    pub rules: Vec<String>,
    /// Where the library's source lives, as it says itself.
    pub source_url: Option<String>,
}

/// One snippet of an answer.
#[derive(Debug, Clone)]
pub struct FoundSnippet {
    /// Stable as long as the source is.
    pub id: SnippetId,
    /// How well it answers; 1 is the best both by words and by vectors.
    pub score: f32,
    /// The snippet.
    pub snippet: Snippet,
    /// Its page, which snippets of one answer share.
    pub page: Arc<Page>,
    /// Where a person can open the page, at the snippet's anchor.
    pub url: String,
    /// Tokens of that link, by the built-in tokenizer as those of the snippet are.
    pub url_tokens: u32,
    /// What the scan at indexing found suspicious about it; mostly nothing.
    pub labels: Labels,
}

/// One library that may be meant.
#[derive(Debug, Clone)]
pub struct LibraryMatch {
    /// The library.
    pub library: Arc<LibrarySummary>,
    /// How well it matches, for comparison within one answer.
    pub score: f32,
    /// Why it is in the answer, the strongest reason first.
    pub reasons: Vec<Reason>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No such library.
    #[error("library `{library}` is not known here")]
    LibraryNotFound {
        /// The id asked for.
        library: LibraryId,
    },
    /// The library has no such version.
    #[error("library `{library}` has no version `{version}`")]
    VersionNotFound {
        /// The library.
        library: LibraryId,
        /// The version asked for.
        version: Version,
        /// The versions there are, the greatest first.
        available: Vec<Version>,
    },
    /// The first version is being indexed.
    #[error("library `{library}` is being indexed by job `{job}`")]
    NotFinalized {
        /// The library.
        library: LibraryId,
        /// The job to wait for.
        job: JobId,
    },
    /// The library is known by name, and nobody has indexed it.
    #[error("library `{library}` is known, but not indexed here")]
    NotIndexed {
        /// The library.
        library: LibraryId,
    },
    /// Nothing in the library matches.
    #[error("nothing in `{library}` version `{version}` matches the question")]
    NoSnippets {
        /// The library.
        library: LibraryId,
        /// The version that was searched.
        version: Version,
    },
    /// Nothing was asked.
    #[error("the question is empty")]
    EmptyQuery,
    /// The question is too long.
    #[error("a question has at most {QUERY_BYTES_MAX} bytes")]
    QueryLength,
    /// The bundle is damaged or missing on this node.
    #[error("{0}")]
    Lost(Loss),
    /// The bundle cannot be opened or read.
    #[error("failed to read the index of the library")]
    Bundle(#[from] BundleError),
    /// The store could not be read.
    #[error("failed to read the catalogue")]
    Storage(#[from] StorageError),
    /// The thread that opened the bundle ended.
    #[error("opening the index of the library was interrupted")]
    Interrupted,
}

/// The way to search.
#[derive(Clone)]
pub struct Search {
    cluster: Cluster,
    bundles: Arc<BundleStore>,
    embedder: &'static dyn Embedder,
    jobs: Jobs,
    mending: Mending,
    distribution: Distribution,
    catalogue: SharedCatalogue,
    metrics: Arc<Metrics>,
    endpoint: Option<Arc<Endpoint>>,
    activity: Arc<Activity>,
}

impl Search {
    pub(crate) fn child(
        context: &Arc<Context>,
        jobs: &Jobs,
        mending: &Mending,
        distribution: &Distribution,
    ) -> (Child, Self) {
        let catalogue = SharedCatalogue::empty(context.embedder);
        let child = catalogue::child(context, catalogue.clone());
        let search = Self {
            cluster: context.cluster.clone(),
            bundles: Arc::clone(&context.bundles),
            embedder: context.embedder,
            jobs: jobs.clone(),
            mending: mending.clone(),
            distribution: distribution.clone(),
            catalogue,
            metrics: Arc::new(Metrics::new()),
            endpoint: context.endpoint.clone(),
            activity: Arc::clone(&context.activity),
        };
        (child, search)
    }

    /// The libraries that `viewer`, who types `name` and asks `query` of it, may mean; best first.
    pub fn resolve(
        &self,
        viewer: Option<&AccountId>,
        name: &str,
        query: &str,
        limit: usize,
    ) -> Result<Vec<LibraryMatch>, SearchError> {
        if name.trim().is_empty() {
            return Err(SearchError::EmptyQuery);
        }
        if name.len() > QUERY_BYTES_MAX || query.len() > QUERY_BYTES_MAX {
            return Err(SearchError::QueryLength);
        }
        self.activity.asked();
        let timer = self.metrics.resolve_started();
        let reader = self.cluster.reader();
        let matches = self.catalogue.resolve(reader, viewer, name, query, limit.min(MATCHES_MAX))?;
        timer.done(matches.len());
        Ok(matches)
    }
}
