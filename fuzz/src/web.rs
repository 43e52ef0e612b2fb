//! What other hosts answer: sites, embedding services, providers of sign-ins, and who calls a webhook.

use twinmcp_actors::fuzzing;

pub(crate) fn robots(data: &[u8]) {
    fuzzing::robots(data);
}

pub(crate) fn sitemap(data: &[u8]) {
    fuzzing::sitemap(data);
}

pub(crate) fn llms(data: &[u8]) {
    fuzzing::llms(&String::from_utf8_lossy(data));
}

pub(crate) fn content(data: &[u8]) {
    fuzzing::content(data);
}

/// A line of the server's wishes, and the page.
pub(crate) fn page_head(data: &[u8]) {
    fuzzing::page_head(data);
}

/// An answer; or the head of a token and its claims, a line each.
pub(crate) fn provider(data: &[u8]) {
    fuzzing::provider(data);
}

/// The line with the proof, and the body.
pub(crate) fn webhook(data: &[u8]) {
    let (header, body) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    fuzzing::webhook(&String::from_utf8_lossy(header), body);
}

pub(crate) fn embeddings(data: &[u8]) {
    fuzzing::embeddings(data);
}

pub(crate) fn catalogue(data: &[u8]) {
    fuzzing::catalogue(data);
}

/// A URL in every place that takes one.
pub(crate) fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    fuzzing::url(&text);
    twinmcp::fuzzing::url(&text);
}
