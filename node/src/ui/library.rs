//! `/libraries/<org>/<name>`: one library with its versions, its jobs, and what its documentation says.
//!
//! `?q=` asks a version, `?from=` leafs through its snippets; the same address asked for as
//! `text/event-stream` follows its jobs ([`live`](super::live)).

use askama::Template;
use poem::http::{StatusCode, header};
use poem::{Request, Response};
use twinmcp_actors::libraries::LibraryView;
use twinmcp_actors::search::FoundSnippet;
use twinmcp_storage::ids::{LibraryId, LibraryRef, Version};
use twinmcp_storage::jobs::Source;
use twinmcp_storage::libraries::{VersionManifest, Visibility};

use super::card::{self, Card};
use super::live::{self, JobLine};
use super::snippet::{Shown, ShownSnippet};
use super::{Pages, grouped, html, parameter};
use crate::api::ApiError;
use crate::http::{Identity, Reader};

/// Snippets a page when leafing through them.
const BROWSE_ITEMS_MAX: usize = 20;

#[derive(Template)]
#[template(path = "library.html")]
struct LibraryPage {
    library: Heading,
    versions: Vec<VersionLine>,
    current: String,
    question: String,
    answer: Answer,
    previous: Option<String>,
    next: Option<String>,
    jobs: Vec<JobLine>,
    /// Whether a job is open, so that the page is worth following.
    live: bool,
}

/// What stands above everything else.
struct Heading {
    href: String,
    id: String,
    title: String,
    description: String,
    facts: Vec<String>,
    source_url: Option<String>,
}

struct VersionLine {
    name: String,
    is_current: bool,
    is_shown: bool,
    indexed_at: String,
    indexed_on: String,
    source: Origin,
    pages: String,
    snippets: String,
    tokens: String,
    browse: String,
}

/// Where a version's documentation came from, as far as everybody may know.
enum Origin {
    Unknown,
    Words(&'static str),
    Url(String),
}

enum Answer {
    None,
    Refused(String),
    Snippets { heading: String, snippets: Vec<ShownSnippet> },
}

pub(super) async fn show(pages: Pages, request: Request) -> Result<Response, ApiError> {
    let path = request.path_params::<String>().unwrap_or_default();
    let missing = || ApiError::not_found("library_not_found", format!("No library `/{path}` is known here."));
    let id: LibraryId = format!("/{path}").parse().map_err(|_| missing())?;
    let reader = Identity::of(request.extensions()).reader()?;
    let viewer = reader.owner();
    let view = pages.libraries.get(viewer.as_ref(), &id)?;
    let is_hidden = view.is_none() && pages.libraries.hides(viewer.as_ref(), &id)?;
    let jobs = if is_hidden { Vec::new() } else { live::lines(&pages, &id) };
    if view.is_none() && jobs.is_empty() {
        // One that is known by name only is told from one that is not known at all, and one that is hidden from neither.
        let refusal = pages.tools.docs(id.as_str(), id.name(), None, &reader).await;
        return Err(refusal.err().unwrap_or_else(missing));
    }
    if request.header(header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream")) {
        return live::follow(pages, id);
    }
    let version = parameter(&request, "version").and_then(|version| version.parse().ok());
    let version: Option<Version> = version.or_else(|| view.as_ref()?.library.current.clone());
    let asked = LibraryRef { library: id.clone(), version: version.clone() };
    let question = parameter(&request, "q").unwrap_or_default().trim().to_owned();
    let from = parameter(&request, "from").and_then(|from| from.parse().ok());

    let (mut answer, mut previous, mut next) = (Answer::None, None, None);
    if !question.is_empty() {
        answer = ask(&pages, &asked, &question, &reader).await?;
    } else if let Some(from) = from {
        let browsed = pages.search.browse(reader.viewer(), &asked, from, BROWSE_ITEMS_MAX).await?;
        let link = |from: usize| format!("{}?version={}&from={from}", card::href(&id), browsed.version);
        let shown = browsed.snippets.len();
        previous = (from > 0).then(|| link(from.saturating_sub(BROWSE_ITEMS_MAX)));
        next = (from + shown < browsed.snippets_total).then(|| link(from + shown));
        let heading = format!(
            "Snippets {} to {} of {} in {}",
            grouped((from + usize::from(shown > 0)) as u64),
            grouped((from + shown) as u64),
            grouped(browsed.snippets_total as u64),
            browsed.version,
        );
        answer = Answer::Snippets { heading, snippets: shown_snippets(&browsed.snippets) };
    }
    let live = jobs.iter().any(|job| job.is_open);
    let mut library = heading(&id, view.as_ref());
    library.facts.extend(labelled(&pages, &reader, &asked).await);
    let page = LibraryPage {
        library,
        versions: versions(&pages, view.as_ref(), version.as_ref()),
        current: view
            .and_then(|view| view.library.current)
            .map(|current| current.to_string())
            .unwrap_or_default(),
        question,
        answer,
        previous,
        next,
        jobs,
        live,
    };
    html(StatusCode::OK, &page)
}

/// What the documentation says. That it says nothing, or not yet, belongs on the page; that the node failed does not.
async fn ask(pages: &Pages, asked: &LibraryRef, question: &str, reader: &Reader) -> Result<Answer, ApiError> {
    match pages.tools.docs(&asked.to_string(), question, None, reader).await {
        Ok(docs) => Ok(Answer::Snippets {
            heading: format!("{} in {}", card::counted(docs.snippets.len(), "passage"), docs.version),
            snippets: shown_snippets(&docs.snippets),
        }),
        Err(error) if error.status().is_server_error() => Err(error),
        Err(error) => Ok(Answer::Refused(error.to_string())),
    }
}

fn shown_snippets(found: &[FoundSnippet]) -> Vec<ShownSnippet> {
    found.iter().map(ShownSnippet::from).collect()
}

fn heading(id: &LibraryId, view: Option<&LibraryView>) -> Heading {
    let href = card::href(id);
    let Some(view) = view else {
        let (title, facts) = (id.name().to_owned(), vec!["being indexed for the first time".to_owned()]);
        return Heading {
            href,
            id: id.to_string(),
            title,
            description: String::new(),
            facts,
            source_url: None,
        };
    };
    let Card { id, title, description, mut facts, .. } = Card::from(view);
    if view.library.visibility == Visibility::Private {
        facts.push("private".to_owned());
    }
    if let Some(tenths) = view.library.trust_tenths {
        facts.push(format!("trust {}.{} of 10", tenths / 10, tenths % 10));
    }
    let source_url = view.library.facts.source_url.clone().filter(|url| is_web(url));
    Heading { href, id, title, description, facts, source_url }
}

/// What the scan found suspicious in the version that is shown, in one line; nothing when that is nothing.
async fn labelled(pages: &Pages, reader: &Reader, asked: &LibraryRef) -> Option<String> {
    let counts =
        pages.search.labels(reader.viewer(), asked).await.ok().filter(|counts| !counts.is_empty())?;
    let counts: Vec<_> = counts.iter().map(|(label, count)| format!("{} {count}", label.name())).collect();
    Some(format!("passages labelled by the scan: {}", counts.join(", ")))
}

fn versions(pages: &Pages, view: Option<&LibraryView>, shown: Option<&Version>) -> Vec<VersionLine> {
    let Some(view) = view else { return Vec::new() };
    let current = view.library.current.as_ref();
    let line = |manifest: &VersionManifest| VersionLine {
        name: manifest.version.to_string(),
        is_current: Some(&manifest.version) == current,
        is_shown: Some(&manifest.version) == shown,
        indexed_at: manifest.indexed_at.to_string(),
        indexed_on: minute(&manifest.indexed_at.to_string()),
        source: origin(pages, manifest),
        pages: grouped(manifest.pages.into()),
        snippets: grouped(manifest.snippets.into()),
        tokens: grouped(manifest.tokens),
        browse: format!("{}?version={}&from=0", card::href(&manifest.library), manifest.version),
    };
    view.versions.iter().map(line).collect()
}

fn origin(pages: &Pages, manifest: &VersionManifest) -> Origin {
    match pages.jobs.source(&manifest.job) {
        Ok(Some(Source::Upload { .. })) => Origin::Words("an archive that was sent"),
        Ok(Some(Source::Folder { .. })) => Origin::Words("a folder of the node"),
        Ok(Some(Source::Web { url } | Source::Git { url, .. })) => Origin::Url(url),
        Ok(None) | Err(_) => Origin::Unknown,
    }
}

/// Whether a link leads to the web, and not to a script or a file.
pub(super) fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// `2026-11-23T12:46:10.123Z` as `2026-11-23 12:46 UTC`.
fn minute(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => rfc3339.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_to_the_minute() {
        assert_eq!(minute("2026-11-23T12:46:10.123Z"), "2026-11-23 12:46 UTC");
        assert_eq!(minute("soon"), "soon");
    }

    #[test]
    fn only_web_addresses_become_links() {
        for (url, is) in [
            ("https://a.example", true),
            ("http://a.example", true),
            ("javascript:alert(1)", false),
            ("//a", false),
        ] {
            assert_eq!(is_web(url), is, "{url}");
        }
    }
}
