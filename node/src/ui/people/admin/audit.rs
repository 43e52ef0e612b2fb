//! `/admin/audit`: what happened, and who did it.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::SignedIn;
use twinmcp_storage::audit::{Entry, Filter, Subject};

use super::super::super::parameter;
use super::super::{Failed, Frame, People, with_form};
use crate::api::ApiError;
use crate::api::audit as api;

/// Events of a page.
const PAGE_ITEMS_MAX: usize = 50;
/// What is looked for, by the names of the API.
const FILTERS: [&str; 5] = ["actor", "object", "action", "since", "until"];

#[derive(Template)]
#[template(path = "admin/audit.html")]
struct AuditPage {
    here: &'static str,
    frame: Frame,
    /// What is looked for, in the order of [`FILTERS`].
    asked: [String; 5],
    events: Vec<EventLine>,
    /// Lines that are kept.
    kept: String,
    older: Option<String>,
}

struct EventLine {
    number: u64,
    at: String,
    action: String,
    is_refused: bool,
    count: Option<u64>,
    actor: SubjectLine,
    object: SubjectLine,
    address: String,
    node: u64,
    request: String,
    detail: Vec<(String, String)>,
}

#[derive(Clone)]
struct SubjectLine {
    kind: String,
    id: Option<String>,
    account: Option<String>,
}

impl From<Subject> for SubjectLine {
    fn from(Subject { kind, id, account }: Subject) -> Self {
        let account = account.filter(|account| Some(account) != id.as_ref());
        Self { kind: kind.replace('_', " "), id, account }
    }
}

impl From<Entry> for EventLine {
    fn from(entry: Entry) -> Self {
        Self {
            number: entry.number,
            at: entry.at.replace('T', " ").replace('Z', ""),
            action: entry.action,
            is_refused: entry.outcome == "refused",
            count: entry.count,
            actor: entry.actor.into(),
            object: entry.object.into(),
            address: entry.address.unwrap_or_default(),
            node: entry.node,
            request: entry.request.unwrap_or_default(),
            detail: entry.detail.into_iter().collect(),
        }
    }
}

pub(super) async fn show(people: People, request: Request, _: SignedIn) -> Result<Response, ApiError> {
    let asked = FILTERS.map(|name| parameter(&request, name).unwrap_or_default().trim().to_owned());
    let [actor, object, action, since, until] = asked.clone().map(Some);
    let (filter, failed) = match api::filter([actor, object, action], [since, until]) {
        Ok(filter) => (Some(filter), None),
        Err(error) => (None, Some(Failed::of(error)?)),
    };
    let before = parameter(&request, "before").and_then(|before| before.parse().ok());
    let page = match &filter {
        Some(filter) => people.audit.page(filter, before, PAGE_ITEMS_MAX)?,
        None => Default::default(),
    };
    let head = people.audit.head()?;
    let kept = if head.first == 0 { 0 } else { head.last + 1 - head.first };
    let older = page.before.map(|before| older(&asked, before));
    let is_all = filter == Some(Filter::default()) && before.is_none();
    with_form(&people, &request, failed, |frame| AuditPage {
        here: "audit",
        frame,
        asked,
        events: page.entries.into_iter().map(EventLine::from).collect(),
        kept: if is_all { super::super::super::grouped(kept) } else { String::new() },
        older,
    })
}

/// The page with what happened before.
fn older(asked: &[String; 5], before: u64) -> String {
    const PATH: &str = "/admin/audit?";
    let mut query = form_urlencoded::Serializer::for_suffix(PATH.to_owned(), PATH.len());
    for (name, value) in FILTERS.into_iter().zip(asked).filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    query.append_pair("before", &before.to_string());
    query.finish()
}
