//! What is private and reads outside input, for the fuzz targets; not part of an ordinary build.

use std::io::Read;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use twinmcp_storage::bundle::{Bundle, Snippet};

use crate::api_keys::fuzz_key;
use crate::catalogue::fuzz_lines;
use crate::embedding::{Embedder, StaticTable, fuzz_answer};
use crate::ingest::fuzz_web;
use crate::outbound::{Network, Outbound, OutboundConfig, SystemResolver, class_of};
use crate::refresh::fuzz_webhook;
use crate::search::passages;

/// Bytes of a list that are unpacked: enough for every construct of a packing.
const UNPACKED_BYTES_MAX: u64 = 1 << 20;

/// Reads text as the secret of an API key.
pub fn key(text: &str) {
    fuzz_key(text);
}

/// Reads text as an access token, and as the claims of one that is signed.
pub fn access_token(text: &str) {
    crate::oauth::fuzz::access_token(text);
}

/// Reads text as a proof of a key, and as head and claims of one that is signed, a line each.
pub fn dpop_proof(text: &str) {
    crate::oauth::fuzz::dpop_proof(text);
}

/// Reads text as what a client has signed to show itself, and as head and claims of that, a line each.
pub fn client_assertion(text: &str) {
    crate::oauth::fuzz::client_assertion(text);
}

/// Reads bytes as what a client says of itself.
pub fn client_metadata(data: &[u8]) {
    crate::oauth::fuzz::client_metadata(data);
}

/// Reads two lines as a redirect URI that is registered and one that is asked for.
pub fn redirect_uri(text: &str) {
    crate::oauth::fuzz::redirect_uri(text);
}

/// Reads two lines as the header and the form of a request for tokens.
pub fn token_form(text: &str) {
    crate::oauth::fuzz::token_form(text);
}

/// Reads text as the query of an authorization request.
pub fn authorize_query(text: &str) {
    crate::oauth::fuzz::authorize_query(text);
}

/// Reads bytes as each answer of a provider that people sign in with, and as head and claims, a line each, of a token
/// that it has signed.
pub fn provider(data: &[u8]) {
    crate::upstream::fuzz::answer(data);
    crate::upstream::fuzz::token(&String::from_utf8_lossy(data));
}

/// Reads bytes as the answer of an embedding service.
pub fn embeddings(data: &[u8]) {
    fuzz_answer(data);
}

/// Reads a webhook's call: the header with its proof, and its body.
pub fn webhook(header: &str, body: &[u8]) {
    fuzz_webhook(header, body);
}

/// Reads bytes as `robots.txt`.
pub fn robots(data: &[u8]) {
    fuzz_web::robots(data);
}

/// Reads bytes as a site map, plain or gzipped.
pub fn sitemap(data: &[u8]) {
    fuzz_web::sitemap(data);
}

/// Reads text as `llms.txt` and as `llms-full.txt`.
pub fn llms(text: &str) {
    fuzz_web::llms(text);
}

/// Reads what a fetched page says to programs: the header with its server's wishes, a line break, the page.
pub fn page_head(data: &[u8]) {
    fuzz_web::page_head(data);
}

/// Tells what was fetched by its name, type and beginning, a line each.
pub fn content(data: &[u8]) {
    fuzz_web::content(data);
}

/// Reads bytes as a list of libraries, packed in any way, or not.
pub fn catalogue(data: &[u8]) {
    fuzz_lines(data);
    let mut lines = Vec::new();
    let unpacked = crate::catalogue::unpacked(std::io::Cursor::new(data.to_vec()));
    if unpacked.is_ok_and(|reader| reader.take(UNPACKED_BYTES_MAX).read_to_end(&mut lines).is_ok()) {
        fuzz_lines(&lines);
    }
}

/// What becomes of a snippet before it is stored: characters nobody sees go, suspicious text is labelled, and the
/// table makes a vector.
pub fn stored(mut snippet: Snippet) {
    let _ = crate::ingest::cleaned(&mut snippet);
    let text = snippet.text();
    let made = StaticTable::builtin().embed_snippet(&snippet.heading_path, &text);
    assert!(made.is_none_or(|made| made.vector.iter().all(|number| number.is_finite())));
}

/// Asks a bundle anything.
pub fn question(bundle: &Bundle, text: &str) {
    let ranked = passages::ranked(bundle, StaticTable::builtin(), None, text, |_| ());
    let ranked = ranked.unwrap_or_else(|error| panic!("a sound bundle cannot be asked: {error}"));
    assert!(ranked.iter().all(|found| found.score.is_finite()));
}

/// Reads text as a URL somebody wants fetched, and as a network of the operator's.
pub fn url(text: &str) {
    static OUTBOUND: LazyLock<Option<Outbound>> =
        LazyLock::new(|| Outbound::new(OutboundConfig::default(), Arc::new(SystemResolver)).ok());
    if let Some(url) = OUTBOUND.as_ref().and_then(|outbound| outbound.check(text).ok()) {
        assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty());
        // However it is spelled, a literal address that comes through is public.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        assert!(
            host.parse().is_ok_and(|address| class_of(address).is_none()) || host.parse::<IpAddr>().is_err()
        );
        crate::ingest::fuzz_forge(&url);
    }
    let _ = text.parse::<Network>();
}
