//! `/libraries`: by id, or the best matches for a name.

use askama::Template;
use poem::http::StatusCode;
use poem::{Request, Response};

use super::card::Card;
use super::{Pages, html, parameter};
use crate::api::ApiError;
use crate::http::{Identity, Reader};

/// Libraries a page.
const PAGE_ITEMS_MAX: usize = 50;

#[derive(Template)]
#[template(path = "libraries.html")]
struct Listing {
    name: String,
    focus: bool,
    libraries: Vec<Card>,
    /// The page after this one.
    next: Option<String>,
}

pub(super) async fn show(pages: Pages, request: Request) -> Result<Response, ApiError> {
    let name = parameter(&request, "q").unwrap_or_default().trim().to_owned();
    let listing = if name.is_empty() {
        by_id(&pages, &request)?
    } else {
        matching(&pages, name, &Identity::of(request.extensions()).reader()?)?
    };
    html(StatusCode::OK, &listing)
}

fn matching(pages: &Pages, name: String, reader: &Reader) -> Result<Listing, ApiError> {
    let matches = pages.tools.resolve(&name, "", reader)?;
    Ok(Listing { name, focus: false, libraries: matches.iter().map(Card::from).collect(), next: None })
}

fn by_id(pages: &Pages, request: &Request) -> Result<Listing, ApiError> {
    let after = parameter(request, "after").map(|after| after.parse()).transpose();
    let after =
        after.map_err(|error| ApiError::bad_request(format!("`after` is no library id: {error}.")))?;
    let viewer = Identity::of(request.extensions()).reader()?.owner();
    let views = pages.libraries.list(viewer.as_ref(), after.as_ref(), PAGE_ITEMS_MAX + 1)?;
    let last = views.get(PAGE_ITEMS_MAX - 1).filter(|_| views.len() > PAGE_ITEMS_MAX);
    Ok(Listing {
        name: String::new(),
        focus: false,
        next: last.map(|last| format!("/libraries?after={}", last.library.id)),
        libraries: views.iter().take(PAGE_ITEMS_MAX).map(Card::from).collect(),
    })
}
