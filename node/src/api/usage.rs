//! Usage of a library over HTTP, in Context7's shape as far as there is a source for it.
//!
//! Left out: `topics`, because no question is kept, and `countries`, because no address is.

use std::collections::HashMap;
use std::sync::Arc;

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use twinmcp_actors::Usage;
use twinmcp_actors::usage::{BySurface, DayReport, UsageError, UsageReport};
use twinmcp_storage::clock::Clock;
use twinmcp_storage::ids::LibraryRef;
use twinmcp_storage::scope::Scope;
use twinmcp_storage::usage::Day;

use super::Tag;
use super::error::ApiError;
use super::failures::parse_id;
use super::problem::Context7Error;
use crate::http::Caller;

/// Days told when nobody says how many.
const DAYS_DEFAULT: u32 = 30;

/// Questions by the way they came.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct SurfaceTotals {
    /// Pages for people.
    page: u64,
    /// The REST interface.
    txt: u64,
    /// The Model Context Protocol.
    mcp: u64,
    /// Command lines.
    cli: u64,
}

impl From<BySurface> for SurfaceTotals {
    fn from(BySurface { page, txt, mcp, cli }: BySurface) -> Self {
        Self { page, txt, mcp, cli }
    }
}

impl Example for SurfaceTotals {
    fn example() -> Self {
        Self { page: 12, txt: 380, mcp: 95_210, cli: 1_240 }
    }
}

/// Questions of one day.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct DailyUse {
    /// The day in UTC, e.g. `2026-11-23`.
    date: String,
    /// Pages for people.
    page: u64,
    /// The REST interface.
    txt: u64,
    /// The Model Context Protocol.
    mcp: u64,
    /// Command lines.
    cli: u64,
    /// All of them.
    total: u64,
    /// How often the library was the best answer to a search. Our extension.
    resolved: u64,
    /// Questions by client, from a closed list; the rest is `other`. Our extension.
    clients: HashMap<String, u64>,
}

impl From<&DayReport> for DailyUse {
    fn from(day: &DayReport) -> Self {
        let BySurface { page, txt, mcp, cli } = day.questions;
        let (date, total) = (day.day.to_string(), day.questions.sum());
        let clients = day.clients.iter().map(|(client, count)| (client.clone(), *count)).collect();
        Self { date, page, txt, mcp, cli, total, resolved: day.resolved, clients }
    }
}

impl Example for DailyUse {
    fn example() -> Self {
        Self {
            date: "2026-11-23".to_owned(),
            page: 0,
            txt: 5,
            mcp: 67,
            cli: 3,
            total: 75,
            resolved: 31,
            clients: HashMap::from([("cursor".to_owned(), 75)]),
        }
    }
}

/// Callers of one day, by client.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct DailyClients {
    /// The day in UTC.
    date: String,
    /// About how many different callers used each client, within 15 % or so.
    unique_users_by_client: HashMap<String, u64>,
    /// About how many different callers there were.
    total_unique_users: u64,
}

impl From<&DayReport> for DailyClients {
    fn from(day: &DayReport) -> Self {
        Self {
            date: day.day.to_string(),
            unique_users_by_client: day.callers.iter().map(|(name, count)| (name.clone(), *count)).collect(),
            total_unique_users: day.callers_total,
        }
    }
}

impl Example for DailyClients {
    fn example() -> Self {
        Self {
            date: "2026-11-23".to_owned(),
            unique_users_by_client: HashMap::from([("cursor".to_owned(), 12)]),
            total_unique_users: 12,
        }
    }
}

/// Callers by day.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct ClientUse {
    /// Days that had any, the oldest first.
    daily_data: Vec<DailyClients>,
}

impl Example for ClientUse {
    fn example() -> Self {
        Self { daily_data: vec![DailyClients::example()] }
    }
}

/// How much a library was asked.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct LibraryUse {
    /// Questions of all days that are kept: 400.
    total: SurfaceTotals,
    /// Days that had any, the oldest first.
    daily: Vec<DailyUse>,
    /// About how many people asked, by client.
    mcp_clients: ClientUse,
}

impl From<&UsageReport> for LibraryUse {
    fn from(report: &UsageReport) -> Self {
        let asked = report.days.iter().filter(|day| !day.callers.is_empty());
        Self {
            total: report.total.into(),
            daily: report.days.iter().map(DailyUse::from).collect(),
            mcp_clients: ClientUse { daily_data: asked.map(DailyClients::from).collect() },
        }
    }
}

impl Example for LibraryUse {
    fn example() -> Self {
        Self {
            total: SurfaceTotals::example(),
            daily: vec![DailyUse::example()],
            mcp_clients: ClientUse::example(),
        }
    }
}

/// Part of Context7's REST v2.
pub(crate) struct UsageApi {
    pub(crate) usage: Usage,
    pub(crate) clock: Arc<dyn Clock>,
}

#[OpenApi(prefix_path = "/api/v2", tag = "Tag::Context7")]
impl UsageApi {
    /// Tells how much a library was asked.
    ///
    /// By day, by surface and by client; numbers of people are estimates, because who asked is not kept. Counts of the
    /// last seconds may be missing. For the library's owner (`libraries:write`) and operators (`admin`).
    /// Compatible with Context7's `GET /v2/libs/metrics`, without `topics` and `countries`.
    #[oai(path = "/libs/metrics", method = "get", operation_id = "context7_get_metrics")]
    async fn metrics(
        &self,
        caller: Caller,
        /// The library: `/org/name`.
        #[oai(name = "libraryId", example = "library_id_example")]
        library_id: Query<Option<String>>,
        /// Days told, today among them: 1 to 365.
        #[oai(example = "days_example")]
        days: Query<Option<u32>>,
    ) -> Result<Json<LibraryUse>, Context7Error> {
        caller.may(Scope::LibrariesWrite)?;
        let id = library_id.0.unwrap_or_default();
        if id.is_empty() {
            return Err(ApiError::bad_request("Library id is required: send `libraryId`.").into());
        }
        let library: LibraryRef = parse_id(&id)?;
        let (days, today) = (days.0.unwrap_or(DAYS_DEFAULT), Day::of(self.clock.now()));
        let report =
            self.usage.report(&caller.owner(), &library.library, days, today).map_err(ApiError::from)?;
        Ok(Json(LibraryUse::from(&report)))
    }
}

impl From<UsageError> for ApiError {
    fn from(error: UsageError) -> Self {
        let told = super::error::sentence(&error.to_string());
        match error {
            UsageError::NotFound { .. } => Self::not_found("library_not_found", told),
            UsageError::Days => Self::bad_request(told),
            UsageError::Storage(error) => error.into(),
        }
    }
}

fn library_id_example() -> Option<String> {
    Some("/python/cpython".to_owned())
}

fn days_example() -> Option<u32> {
    Some(30)
}
