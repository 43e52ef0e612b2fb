//! One fuzzing program for the parsers of outside input.
//!
//! `TWINMCP_FUZZ_TARGET` names the parser; `cargo xtask fuzz` sets it, with the target's corpus and seeds. One program
//! instead of one each: linking takes longer than most runs need to find something.
//!
//! Invariant: a target returns for any bytes, whatever they are. A panic, an overflow, a hang or more memory than
//! libFuzzer allows is a finding.

#![no_main]

mod archives;
mod code;
mod documents;
mod gossip;
mod locks;
mod node;
mod oauth;
mod stored;
mod web;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// Every target by its name.
const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("html", documents::html),
    ("markdown", documents::markdown),
    ("mdx", documents::mdx),
    ("text", documents::text),
    ("rst", documents::rst),
    ("asciidoc", documents::asciidoc),
    ("notebook", documents::notebook),
    ("openapi", documents::openapi),
    ("page", documents::page),
    ("context7_json", documents::context7_json),
    ("rust", code::rust),
    ("typescript", code::typescript),
    ("python", code::python),
    ("archive", archives::any),
    ("tar", archives::tar),
    ("zip", archives::zip),
    ("cargo_lock", locks::cargo),
    ("npm_lock", locks::npm),
    ("python_lock", locks::python),
    ("manifests", locks::manifests),
    ("robots", web::robots),
    ("sitemap", web::sitemap),
    ("llms", web::llms),
    ("content", web::content),
    ("page_head", web::page_head),
    ("provider", web::provider),
    ("webhook", web::webhook),
    ("embeddings", web::embeddings),
    ("catalogue", web::catalogue),
    ("url", web::url),
    ("bundle", stored::bundle),
    ("graph", stored::graph),
    ("question", stored::question),
    ("records", stored::records),
    ("log_entry", stored::log_entry),
    ("gossip_datagram", gossip::datagram),
    ("gossip_member", gossip::member),
    ("access_token", oauth::access_token),
    ("dpop_proof", oauth::dpop_proof),
    ("client_assertion", oauth::client_assertion),
    ("client_metadata", oauth::client_metadata),
    ("redirect_uri", oauth::redirect_uri),
    ("token_form", oauth::token_form),
    ("authorize_query", oauth::authorize_query),
    ("ids", node::ids),
    ("http_headers", node::headers),
    ("trace_context", node::trace_context),
    ("mcp_call", node::mcp_call),
    ("config", node::config),
    ("dns_question", node::dns_question),
    ("rendered", node::rendered),
];

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("TWINMCP_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    found.map_or_else(
        || panic!("TWINMCP_FUZZ_TARGET is `{wanted}`; there are {}", names.join(", ")),
        |(_, target)| *target,
    )
});

fuzz_target!(|data: &[u8]| TARGET(data));
