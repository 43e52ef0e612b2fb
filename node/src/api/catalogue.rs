//! The catalogue over HTTP: loading what registries say of their libraries.

use futures_util::stream::StreamExt;
use poem::Body;
use poem_openapi::param::Query;
use poem_openapi::payload::{Binary, Json};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use twinmcp_actors::Catalogue;
use twinmcp_actors::catalogue::{CatalogueError, Imported, Problem};
use twinmcp_storage::scope::Scope;

use super::Tag;
use super::error::ApiError;
use crate::http::Caller;

/// A line that was not taken.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct LineProblem {
    /// Its number, from 1.
    line: u64,
    /// What is wrong with it.
    reason: String,
}

impl From<Problem> for LineProblem {
    fn from(Problem { line, reason }: Problem) -> Self {
        Self { line, reason }
    }
}

impl Example for LineProblem {
    fn example() -> Self {
        Self { line: 7, reason: "`popularity` is a number from 0 to 100".to_owned() }
    }
}

/// What an import did.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ImportReport {
    /// Whether nothing was changed because that was asked for.
    dry_run: bool,
    /// Lines read, empty ones left out.
    lines: u64,
    /// Entries that are new.
    added: u64,
    /// Entries that say something else than before.
    changed: u64,
    /// Entries that say what was known, and lines that a later one of the same id replaced.
    unchanged: u64,
    /// Lines that could not be taken.
    failed: u64,
    /// The first 100 of them.
    problems: Vec<LineProblem>,
}

impl ImportReport {
    fn new(imported: Imported, dry_run: bool) -> Self {
        let Imported { lines, added, changed, unchanged, failed, problems } = imported;
        let problems = problems.into_iter().map(LineProblem::from).collect();
        Self { dry_run, lines, added, changed, unchanged, failed, problems }
    }
}

impl Example for ImportReport {
    fn example() -> Self {
        Self {
            dry_run: false,
            lines: 100_000,
            added: 99_998,
            changed: 1,
            unchanged: 0,
            failed: 1,
            problems: vec![LineProblem::example()],
        }
    }
}

/// Part of `/api/libraries`.
pub(crate) struct CatalogueApi {
    pub(crate) catalogue: Catalogue,
}

#[OpenApi(prefix_path = "/api/libraries", tag = "Tag::Libraries")]
impl CatalogueApi {
    /// Loads catalogue entries in bulk.
    ///
    /// The body is JSON lines of up to 64 KiB, one entry each: `id` (`/org/name`), and where known `title`, `description`,
    /// `ecosystem`, `popularity` (0 to 100), `versions`, `aliases`. Such a library can be resolved before its
    /// documentation is indexed. A line that cannot be taken is told with its number, and the rest goes on; the same
    /// lines again change nothing. One import at a time, up to 2 GiB. Needs `admin`.
    #[oai(path = "/import", method = "post", operation_id = "import_catalogue")]
    async fn import(
        &self,
        caller: Caller,
        /// Only checks the lines, and tells what an import would do.
        #[oai(example = "dry_run_example")]
        dry_run: Query<Option<bool>>,
        lines: Binary<Body>,
    ) -> Result<Json<ImportReport>, ApiError> {
        caller.may(Scope::Admin)?;
        let is_dry_run = dry_run.0.unwrap_or_default();
        let mut importer = self.catalogue.import(is_dry_run)?;
        let mut pieces = std::pin::pin!(lines.0.into_bytes_stream());
        let mut is_empty = true;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| {
                ApiError::bad_request("The import broke off; send it again: what was taken is kept.")
                    .caused_by(error)
            })?;
            is_empty &= piece.is_empty();
            if let Err(error) = importer.write(&piece).await {
                let (added, changed) = (importer.imported().added, importer.imported().changed);
                return Err(ApiError::from(error).with("added", added).with("changed", changed));
            }
        }
        if is_empty {
            let message = "The import is empty: send JSON lines, one catalogue entry each.";
            return Err(ApiError::bad_request(message));
        }
        Ok(Json(ImportReport::new(importer.finish().await?, is_dry_run)))
    }
}

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> Self {
        let told = super::error::sentence(&error.to_string());
        let refused = |status, code| Self::new(status, code, told.clone());
        match error {
            CatalogueError::NotFound { .. } => Self::not_found("library_not_found", told),
            CatalogueError::Importing => refused(poem::http::StatusCode::CONFLICT, "import_running"),
            CatalogueError::LimitReached => refused(poem::http::StatusCode::CONFLICT, "catalogue_full"),
            CatalogueError::TooLarge => refused(poem::http::StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            CatalogueError::Replicate(error) => error.into(),
            CatalogueError::Storage(error) => error.into(),
        }
    }
}

fn dry_run_example() -> Option<bool> {
    Some(false)
}
