//! `/`: search, what is indexed here, and how to connect an agent.

use askama::Template;
use poem::http::{StatusCode, header};
use poem::{Request, Response};

use super::card::Card;
use super::{Pages, html};
use crate::api::ApiError;
use crate::http::Identity;

/// Libraries shown before there is a link to all of them.
const LIBRARIES_MAX: usize = 12;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    name: &'static str,
    focus: bool,
    libraries: Vec<Card>,
    more: bool,
    /// Where this node answers, as the browser called it.
    url: String,
}

pub(super) async fn show(pages: Pages, request: Request) -> Result<Response, ApiError> {
    let viewer = Identity::of(request.extensions()).reader()?.owner();
    let views = pages.libraries.list(viewer.as_ref(), None, LIBRARIES_MAX + 1)?;
    let page = Home {
        name: "",
        focus: true,
        libraries: views.iter().take(LIBRARIES_MAX).map(Card::from).collect(),
        more: views.len() > LIBRARIES_MAX,
        url: address(&request),
    };
    html(StatusCode::OK, &page)
}

/// The node's address for people to copy. The front has checked the host; the scheme is what a proxy in front of
/// the node says it took, and only shown.
fn address(request: &Request) -> String {
    let host = request.header(header::HOST).or_else(|| request.uri().authority().map(|host| host.as_str()));
    let forwarded = request.header("x-forwarded-proto") == Some("https");
    let scheme = if forwarded { "https" } else { "http" };
    format!("{scheme}://{}", host.unwrap_or("127.0.0.1:3000"))
}
