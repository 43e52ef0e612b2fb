//! Pages: what they become must also be cut into snippets, and each snippet cleaned, scanned and embedded.

use twinmcp_actors::ingest::context7_json::Context7Json;
use twinmcp_actors::ingest::parse::{
    self, Document, ParseLimits, Parsed, asciidoc as adoc, html, markdown as md, notebook as ipynb,
    openapi as oas, rst as re_st, text as plain,
};
use twinmcp_actors::ingest::split::{SplitSettings, split};

/// Cuts a document, with words for tokens.
pub(crate) fn cut(document: &Document) {
    let words = |text: &str| text.split_whitespace().count();
    split(document, 0, &SplitSettings::default(), &words)
        .into_iter()
        .for_each(twinmcp_actors::fuzzing::stored);
}

fn parsed(page: Result<Parsed, parse::ParseError>) {
    if let Ok(Parsed::Document(document)) = page {
        cut(&document);
    }
}

pub(crate) fn html(data: &[u8]) {
    parsed(html::parse("a.html", &String::from_utf8_lossy(data), &ParseLimits::default()));
}

pub(crate) fn markdown(data: &[u8]) {
    cut(&md::parse("a.md", &String::from_utf8_lossy(data), &ParseLimits::default()));
}

pub(crate) fn mdx(data: &[u8]) {
    cut(&md::parse_mdx("a.mdx", &String::from_utf8_lossy(data), &ParseLimits::default()));
}

pub(crate) fn text(data: &[u8]) {
    cut(&plain::parse("a.txt", &String::from_utf8_lossy(data), &ParseLimits::default()));
}

pub(crate) fn rst(data: &[u8]) {
    cut(&re_st::parse("a.rst", &String::from_utf8_lossy(data), &ParseLimits::default()));
}

pub(crate) fn asciidoc(data: &[u8]) {
    cut(&adoc::parse("a.adoc", &String::from_utf8_lossy(data), &ParseLimits::default()));
}

pub(crate) fn notebook(data: &[u8]) {
    if let Ok(document) = ipynb::parse("a.ipynb", &String::from_utf8_lossy(data), &ParseLimits::default()) {
        cut(&document);
    }
}

/// As JSON and as YAML.
pub(crate) fn openapi(data: &[u8]) {
    for path in ["openapi.json", "openapi.yaml"] {
        parsed(oas::parse(path, &String::from_utf8_lossy(data), &ParseLimits::default()));
    }
}

/// Any page by any name: the first byte chooses the extension, so formats, charsets and detection all take part.
pub(crate) fn page(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let names =
        ["a.md", "a.html", "a.txt", "a.rst", "a.adoc", "a.mdx", "a.ipynb", "a.json", "a.yaml", "README", "a"];
    let name = names.get(usize::from(*first) % names.len()).copied().unwrap_or("a");
    parsed(parse::parse(name, bytes, &ParseLimits::default()));
}

pub(crate) fn context7_json(data: &[u8]) {
    if let Ok(context7) = Context7Json::parse(data) {
        let _ = context7.includes("docs/guide/start.md");
    }
}
