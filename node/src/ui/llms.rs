//! `/llms.txt`: what this node knows, for agents that read a site before they use it (llmstxt.org).

use std::fmt::Write as _;

use poem::{IntoResponse, Request, Response};

use super::{Pages, protect};
use crate::api::ApiError;
use crate::http::Identity;

/// Libraries listed; `resolve-library-id` finds the others.
const LIBRARIES_MAX: usize = 500;

pub(super) async fn show(pages: Pages, request: Request) -> Result<Response, ApiError> {
    let viewer = Identity::of(request.extensions()).reader()?.owner();
    let mut text = String::from(
        "# TwinMCP\n\n\
         > Library documentation in exact versions. Ask it over the Model Context Protocol at `/mcp` (tools \
         `resolve-library-id` and `query-docs`), or with `GET /api/v2/context?libraryId=…&query=…`.\n\n\
         - [API](/api/openapi.json): every endpoint, as OpenAPI 3.0\n\n\
         ## Libraries\n\n",
    );
    for view in pages.libraries.list(viewer.as_ref(), None, LIBRARIES_MAX)? {
        let library = view.library;
        let facts = &library.facts;
        let link = format!("- [{}](/libraries{})", one_line(&facts.title), library.id);
        let _ = match facts.description.is_empty() {
            true => writeln!(text, "{link}"),
            false => writeln!(text, "{link}: {}", one_line(&facts.description)),
        };
    }
    let mut response = text.with_content_type("text/plain; charset=utf-8").into_response();
    protect(&mut response);
    Ok(response)
}

/// What a source says of itself must not add lines or links of its own.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(['[', ']'], "")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_description_stays_on_its_line() {
        assert_eq!(super::one_line("a\n## b [c](d)"), "a ## b c(d)");
    }
}
