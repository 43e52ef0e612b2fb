//! Finding libraries and passages over HTTP: as Context7's clients ask, and as typed JSON.

mod context7;
mod typed;

pub(crate) use context7::Context7Api;
use twinmcp_actors::search::LibrarySummary;
pub(crate) use typed::ToolsApi;

/// Context7's word for what a library can do: it answers, or its first index is not there yet.
fn state(library: &LibrarySummary) -> &'static str {
    if library.current.is_some() { "finalized" } else { "initial" }
}
