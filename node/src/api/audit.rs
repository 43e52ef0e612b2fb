//! The audit log over HTTP: pages of events, and all of it as JSON lines.

use std::collections::HashMap;

use bytes::Bytes;
use poem::Body;
use poem_openapi::param::Query;
use poem_openapi::payload::{Binary, Json};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use tokio::sync::mpsc;
use twinmcp_actors::Audit;
use twinmcp_storage::audit::{Entry, Export, Filter, PAGE_ITEMS_MAX, Subject};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::engine::Reader;
use twinmcp_storage::scope::Scope;

use super::Tag;
use super::error::ApiError;
use crate::http::Caller;

/// Events of a page when nobody says how many.
const LIMIT_DEFAULT: usize = 50;
/// Longest id or action that is looked for, in bytes.
pub(crate) const FILTER_BYTES_MAX: usize = 512;
/// Pieces of an export that are read ahead of who takes them.
const PIECES_AHEAD: usize = 4;

/// Who did something, or what it was done to.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct SubjectRecord {
    /// Of whom: `person`, `api_key`, `client`, `node` or `nobody`. Of what: `account`, `session`, `api_key`, `client`, …
    kind: String,
    /// Its id; absent for nobody.
    #[oai(skip_serializing_if_is_none)]
    id: Option<String>,
    /// Whose it is.
    #[oai(skip_serializing_if_is_none)]
    account: Option<String>,
}

impl From<Subject> for SubjectRecord {
    fn from(Subject { kind, id, account }: Subject) -> Self {
        Self { kind, id, account }
    }
}

impl Example for SubjectRecord {
    fn example() -> Self {
        Self {
            kind: "api_key".to_owned(),
            id: Some("key_01hzy3k8w0abcdefghjkmnpq7s".to_owned()),
            account: Some("acct_01hzy3k8w0abcdefghjkmnpqrs".to_owned()),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct EventRecord {
    /// Its place in the log, from 1.
    number: u64,
    /// When, by the clock of the cluster's leader.
    at: String,
    /// What, e.g. `api_key.made`.
    action: String,
    /// `done`, or `refused`.
    outcome: String,
    /// Who did it.
    actor: SubjectRecord,
    /// What it was done to.
    object: SubjectRecord,
    /// Where they came from; absent for a node itself.
    #[oai(skip_serializing_if_is_none)]
    address: Option<String>,
    /// Their request, as `X-Request-Id` of its answer.
    #[oai(skip_serializing_if_is_none)]
    request: Option<String>,
    /// The node they asked.
    node: u64,
    /// How many it stands for, where it is more than itself; of an object of kind `many`, what was not told of an hour.
    #[oai(skip_serializing_if_is_none)]
    count: Option<u64>,
    /// What more has to be known.
    detail: HashMap<String, String>,
}

impl From<Entry> for EventRecord {
    fn from(entry: Entry) -> Self {
        Self {
            number: entry.number,
            at: entry.at,
            action: entry.action,
            outcome: entry.outcome,
            actor: entry.actor.into(),
            object: entry.object.into(),
            address: entry.address,
            request: entry.request,
            node: entry.node,
            count: entry.count,
            detail: entry.detail.into_iter().collect(),
        }
    }
}

impl Example for EventRecord {
    fn example() -> Self {
        Self {
            number: 4711,
            at: "2026-11-23T12:46:10.123Z".to_owned(),
            action: "api_key.made".to_owned(),
            outcome: "done".to_owned(),
            actor: SubjectRecord {
                kind: "person".to_owned(),
                id: Some("acct_01hzy3k8w0abcdefghjkmnpqrs".to_owned()),
                account: None,
            },
            object: SubjectRecord::example(),
            address: Some("192.0.2.1".to_owned()),
            request: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
            node: 1,
            count: None,
            detail: HashMap::from([("scopes".to_owned(), "docs:read".to_owned())]),
        }
    }
}

/// Some events, the newest first.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct EventPage {
    /// There may be none although `before` says that there is more to look at.
    events: Vec<EventRecord>,
    /// Where to go on; absent at the end.
    #[oai(skip_serializing_if_is_none)]
    before: Option<u64>,
}

impl Example for EventPage {
    fn example() -> Self {
        Self { events: vec![EventRecord::example()], before: Some(4711) }
    }
}

#[derive(ApiResponse)]
pub(crate) enum AuditExport {
    /// A heading, then one line an event, each with the SHA-256 of the line before.
    #[oai(status = 200, content_type = "application/x-ndjson")]
    Lines(
        Binary<Body>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// `/api/audit`.
pub(crate) struct AuditApi {
    pub(crate) audit: Audit,
}

#[OpenApi(prefix_path = "/api/audit", tag = "Tag::Audit")]
impl AuditApi {
    /// Lists events of the audit log.
    ///
    /// The newest first, of those that all filters hold for. What is rare may take several pages: go on as long as the answer has `before`.
    /// For operators (`admin`).
    #[oai(path = "/", method = "get", operation_id = "list_audit_events")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the query")]
    async fn list(
        &self,
        caller: Caller,
        /// Done by the one with this id, or by what is its: an account, key, client or node.
        #[oai(default, example = "account_example")]
        actor: Query<Option<String>>,
        /// Done to the one with this id, or to what is its.
        #[oai(default, example = "account_example")]
        object: Query<Option<String>>,
        /// This action, or every action of a noun: `api_key.`.
        #[oai(default, example = "action_example")]
        action: Query<Option<String>>,
        /// Not before this day or moment (UTC): `2026-11-23` or `2026-11-23T12:46:10Z`.
        #[oai(default, example = "since_example")]
        since: Query<Option<String>>,
        /// Before this day or moment.
        #[oai(default, example = "until_example")]
        until: Query<Option<String>>,
        /// Only events with a smaller number: where a page before ended.
        #[oai(default, example = "before_example")]
        before: Query<Option<u64>>,
        /// Events at most, 1 to 100; 50 when absent.
        #[oai(default, validator(minimum(value = "1"), maximum(value = "100")), example = "limit_example")]
        limit: Query<Option<usize>>,
    ) -> Result<Json<EventPage>, ApiError> {
        caller.may(Scope::Admin)?;
        let filter = filter([actor.0, object.0, action.0], [since.0, until.0])?;
        let limit = limit.0.unwrap_or(LIMIT_DEFAULT).clamp(1, PAGE_ITEMS_MAX);
        let page = self.audit.page(&filter, before.0, limit)?;
        let events = page.entries.into_iter().map(EventRecord::from).collect();
        Ok(Json(EventPage { events, before: page.before }))
    }

    /// Exports the audit log.
    ///
    /// All of it as JSON lines, as this node has it. `twinmcp admin audit verify` tells whether an export is whole, with no node at hand; the
    /// last line's hash is in the heading. An answer that was cut off does not verify. For operators (`admin`).
    #[oai(path = "/export", method = "get", operation_id = "export_audit_log")]
    async fn export(&self, caller: Caller) -> Result<AuditExport, ApiError> {
        caller.may(Scope::Admin)?;
        Ok(AuditExport::Lines(Binary(export_body(self.audit.export()?)), "no-store".to_owned()))
    }
}

/// An export as it is read, a few pieces ahead of who takes them.
fn export_body(mut pieces: Export<Box<dyn Reader>>) -> Body {
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        // Ends early when whoever asked has gone.
        let _ = pieces.try_for_each(|piece| {
            sender.blocking_send(piece.map(Bytes::from).map_err(std::io::Error::other))
        });
    });
    Body::from_bytes_stream(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

/// What is looked for: who, what it was done to and what was done; from when and until when.
pub(crate) fn filter(
    [actor, object, action]: [Option<String>; 3],
    [since, until]: [Option<String>; 2],
) -> Result<Filter, ApiError> {
    let text = |name: &str, text: Option<String>| match text.filter(|text| !text.is_empty()) {
        Some(text) if text.len() > FILTER_BYTES_MAX => {
            Err(ApiError::bad_request(format!("`{name}` has at most {FILTER_BYTES_MAX} bytes.")))
        }
        text => Ok(text),
    };
    let moment = |name: &str, text: Option<String>| {
        let parse = |text: String| {
            text.parse::<Timestamp>().map_err(|_| {
                let message =
                    format!("`{name}` is a day or a moment in UTC: `2026-11-23` or `2026-11-23T12:46:10Z`.");
                ApiError::bad_request(message)
            })
        };
        text.filter(|text| !text.is_empty()).map(parse).transpose()
    };
    Ok(Filter {
        actor: text("actor", actor)?,
        object: text("object", object)?,
        action: text("action", action)?,
        since: moment("since", since)?,
        until: moment("until", until)?,
    })
}

fn account_example() -> Option<String> {
    Some("acct_01hzy3k8w0abcdefghjkmnpqrs".to_owned())
}

fn action_example() -> Option<String> {
    Some("api_key.made".to_owned())
}

fn since_example() -> Option<String> {
    Some("2026-11-23".to_owned())
}

fn until_example() -> Option<String> {
    Some("2026-11-24T12:00:00Z".to_owned())
}

fn before_example() -> Option<u64> {
    Some(4711)
}

fn limit_example() -> Option<usize> {
    Some(50)
}
