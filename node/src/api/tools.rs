//! The two tools, once, for every way to reach them: Context7's REST, typed JSON and MCP.

use std::sync::Arc;

use opentelemetry::metrics::Histogram;
use opentelemetry::{KeyValue, global};
use poem::http::StatusCode;
use twinmcp_actors::mending::{Loss, Remedy};
use twinmcp_actors::search::{Docs, DocsQuery, LibraryMatch, SearchError};
use twinmcp_actors::{Search, Usage};
use twinmcp_storage::ids::LibraryRef;
use twinmcp_storage::usage::Tool;

use super::answer;
use super::error::ApiError;
use crate::config::SearchConfig;
use crate::http::Reader;

/// Longest text of any argument, in characters, as in Context7's documents.
pub(crate) const ARGUMENT_CHARS_MAX: usize = 500;

/// `resolve-library-id` and `query-docs`.
#[derive(Clone)]
pub(crate) struct Tools {
    search: Search,
    usage: Usage,
    limits: Arc<SearchConfig>,
    tokens: Histogram<u64>,
}

impl Tools {
    pub(crate) fn new(search: Search, usage: Usage, limits: SearchConfig) -> Self {
        let tokens = global::meter("twinmcp")
            .u64_histogram("twinmcp.mcp.response.tokens")
            .with_description("Tokens of the snippets in an answer.")
            .with_boundaries(vec![100.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0])
            .build();
        Self { search, usage, limits: Arc::new(limits), tokens }
    }

    /// Libraries that `name` may mean, best first. `query` helps to choose; empty is fine.
    pub(crate) fn resolve(
        &self,
        name: &str,
        query: &str,
        reader: &Reader,
    ) -> Result<Vec<LibraryMatch>, ApiError> {
        let name = argument("libraryName", "Library name", name)?;
        at_most("query", query)?;
        let matches = self.search.resolve(reader.viewer(), name, query.trim(), self.limits.libraries_max)?;
        // What is not indexed has no owner to be told.
        if let Some(best) = matches.first().filter(|best| best.library.current.is_some()) {
            self.usage.count(&best.library.id, Tool::Resolve, &reader.asker);
        }
        Ok(matches)
    }

    /// The snippets that answer `query`, cut to `tokens` (the default when absent).
    pub(crate) async fn docs(
        &self,
        id: &str,
        query: &str,
        tokens: Option<u32>,
        reader: &Reader,
    ) -> Result<Docs, ApiError> {
        let id = argument("libraryId", "Library id", id)?;
        let query = argument("query", "Query", query)?;
        let library: LibraryRef = id.parse().map_err(|error| {
            let message =
                format!("Invalid library id \"{id}\": {error}. Use resolve-library-id to find one.");
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_library_id", message)
        })?;
        if tokens == Some(0) {
            return Err(ApiError::bad_request("`tokens` must be at least 1."));
        }
        let tokens_max = tokens.unwrap_or(self.limits.tokens_default).min(self.limits.tokens_max);
        let snippets_max = self.limits.snippets_max;
        let asked = DocsQuery {
            viewer: reader.viewer(),
            library: &library,
            text: query,
            tokens_max,
            snippets_max,
            marks: answer::marks,
        };
        let docs = self.search.docs(asked).await?;
        self.usage.count(&docs.library, Tool::Query, &reader.asker);
        self.tokens.record(u64::from(docs.tokens), &[KeyValue::new("tool", "query-docs")]);
        Ok(docs)
    }
}

fn argument<'a>(name: &'static str, label: &str, text: &'a str) -> Result<&'a str, ApiError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ApiError::bad_request(format!("{label} is required: send `{name}`.")));
    }
    at_most(name, text)?;
    Ok(text)
}

fn at_most(name: &str, text: &str) -> Result<(), ApiError> {
    if text.chars().count() > ARGUMENT_CHARS_MAX {
        let message = format!("`{name}` may have {ARGUMENT_CHARS_MAX} characters.");
        return Err(ApiError::bad_request(message));
    }
    Ok(())
}

/// Seconds until it is worth asking again for a version that is being built.
const REBUILDING_RETRY_S: u64 = 5;
/// Seconds until it is worth asking again for a version whose index comes from another node.
const ON_ITS_WAY_RETRY_S: u64 = 2;
/// Seconds until it is worth asking again for a version that somebody has to index.
const LOST_RETRY_S: u64 = 300;

fn lost(loss: &Loss) -> ApiError {
    let message = super::error::sentence(&loss.to_string());
    let error = |code| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
    match &loss.remedy {
        Remedy::Job(job) => {
            error("index_rebuilding").with("jobId", job.as_str()).retry_after(REBUILDING_RETRY_S)
        }
        Remedy::Peer => error("index_on_its_way").retry_after(ON_ITS_WAY_RETRY_S),
        Remedy::Nothing(_) => error("index_lost").retry_after(LOST_RETRY_S),
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::LibraryNotFound { library } => Self::not_found(
                "library_not_found",
                format!("Library \"{library}\" not found. Use resolve-library-id to find the right id."),
            ),
            SearchError::NotIndexed { library } => Self::not_found(
                "library_not_indexed",
                format!(
                    "Library \"{library}\" is known, but its documentation is not indexed here. Somebody with a key that \
                     may can do it: `twinmcp index SOURCE --library {library}`, SOURCE being its documentation."
                ),
            ),
            SearchError::VersionNotFound { library, version, available } => {
                let tags: Vec<&str> = available.iter().map(|version| version.as_str()).collect();
                let message = format!(
                    "Tag \"{version}\" not found for library \"{library}\". Available tags: {}",
                    tags.join(", ")
                );
                Self::not_found("tag_not_found", message)
            }
            SearchError::NotFinalized { library, job } => {
                let message = format!(
                    "Library {library} not finalized yet. It is being indexed by job {job}; try again later."
                );
                Self::new(StatusCode::ACCEPTED, "library_not_finalized", message)
                    .with("jobId", job.as_str())
                    .retry_after(5)
            }
            SearchError::Lost(loss) => lost(&loss),
            SearchError::Storage(error) => error.into(),
            SearchError::NoSnippets { library, version } => Self::not_found(
                "no_snippets_found",
                format!(
                    "No snippets of {library} {version} match this query within the tokens asked for. \
                     Ask in other words, about one thing at a time, or for more tokens."
                ),
            ),
            SearchError::EmptyQuery => Self::bad_request("Query is required: send `query`."),
            SearchError::QueryLength => {
                Self::bad_request(format!("`query` may have {ARGUMENT_CHARS_MAX} characters."))
            }
            error => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "search_failed",
                "The search failed on this node; its log says why. Try again in a moment.",
            )
            .retry_after(1)
            .caused_by(error),
        }
    }
}
