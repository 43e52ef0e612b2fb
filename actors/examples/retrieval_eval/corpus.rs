//! Builds one bundle a library out of the HTML of Debian's documentation packages.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use twinmcp_actors::embedding::{DocumentEmbedder as _, DocumentText, Embedder as _, Upgraded};
use twinmcp_actors::ingest::parse::{Document, ParseLimits, Parsed, page_url, parse};
use twinmcp_actors::ingest::split::{Cut, SplitSettings, cuts};
use twinmcp_storage::bundle::{Bundle, BundleDraft, BundleStore, Embedder, Page, Snippet, SnippetIndex};

use crate::score::Answer;
use crate::{Failure, table};

/// Name of a library in the questions, its folder in the package, and the parts of it that count.
pub(crate) const LIBRARIES: [(&str, &str, &[&str]); 5] = [
    ("python", "usr/share/doc/python3.11/html", &[""]),
    ("postgresql", "usr/share/doc/postgresql-doc-15/html", &[""]),
    ("node", "usr/share/doc/nodejs/api", &[""]),
    ("django", "usr/share/doc/python-django-doc/html", &[""]),
    ("rust", "usr/share/doc/rust-doc/html", &["book", "reference", "rust-by-example", "nomicon", "std"]),
];

/// CPU-bound time of each step.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) parse: Duration,
    pub(crate) split: Duration,
    pub(crate) embed: Duration,
    pub(crate) build: Duration,
}

/// A library that can be searched, and what each snippet covers.
pub(crate) struct Library {
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) pages: usize,
    pub(crate) skipped: HashMap<String, usize>,
    pub(crate) bytes: usize,
    pub(crate) times: Times,
}

/// Where a library's HTML lies under `docs`, which holds the unpacked packages beside or in each other.
pub(crate) fn root(docs: &Path, inner: &str) -> Option<PathBuf> {
    let direct = docs.join(inner);
    if direct.is_dir() {
        return Some(direct);
    }
    let children = fs::read_dir(docs).ok()?;
    children.flatten().map(|child| child.path().join(inner)).find(|path| path.is_dir())
}

/// Reads, cuts, embeds and indexes a library.
pub(crate) fn build(
    name: &str,
    root: &Path,
    parts: &[&str],
    settings: &SplitSettings,
    store: &BundleStore,
    model: Option<&Upgraded>,
) -> Result<Library, Failure> {
    let table = table();
    let id = model.map_or_else(|| table.id(), |model| model.id()).to_owned();
    let embedder = Embedder { id, dimensions: table.dimensions() as u32 };
    let draft =
        BundleDraft { library: format!("/eval/{name}"), version: "1".to_owned(), embedder: Some(embedder) };
    let mut builder = store.builder(draft)?.graph_from(usize::MAX);
    let mut files = Vec::new();
    for part in parts {
        list(&root.join(part), &mut files)?;
    }
    files.sort();
    let limits = ParseLimits::default();
    let (mut times, mut answers, mut skipped, mut pages, mut read) =
        (Times::default(), Vec::new(), HashMap::new(), 0, 0);
    for file in files {
        let path = file.strip_prefix(root)?.to_string_lossy().into_owned();
        let bytes = fs::read(&file)?;
        read += bytes.len();
        let started = Instant::now();
        let parsed = parse(&path, &bytes, &limits);
        times.parse += started.elapsed();
        let document = match parsed {
            Ok(Parsed::Document(document)) => document,
            Ok(Parsed::Skipped(reason)) => {
                *skipped.entry(format!("{reason:?}")).or_insert(0) += 1;
                continue;
            }
            Err(error) => {
                *skipped.entry(error.to_string()).or_insert(0) += 1;
                continue;
            }
        };
        pages += 1;
        let page = builder.add_page(Page {
            path: path.clone(),
            url: page_url("", &path),
            title: document.title.clone(),
        })?;
        let started = Instant::now();
        let cuts = cuts(&document, page, settings, &|text| table.count_tokens(text));
        times.split += started.elapsed();
        let lengths = lengths(&document);
        for cut in &cuts {
            let started = Instant::now();
            let vector = embed(&cut.snippet, model)?;
            times.embed += started.elapsed();
            let started = Instant::now();
            builder.add_snippet(&cut.snippet, vector.as_deref())?;
            times.build += started.elapsed();
            answers.push(answer(&path, &document, cut, &lengths));
        }
    }
    let started = Instant::now();
    let built = builder.finish()?;
    times.build += started.elapsed();
    let bundle = store.open(built.hash)?;
    Ok(Library { bundle, answers, pages, skipped, bytes: read, times })
}

/// The vector the node would give a snippet, at once or after an upgrade.
fn embed(snippet: &Snippet, model: Option<&Upgraded>) -> Result<Option<Vec<f32>>, Failure> {
    let (heading_path, text) = (snippet.heading_path.clone(), snippet.text());
    let Some(model) = model else {
        return Ok(table().embed_snippet(&heading_path, &text).map(|embedding| embedding.vector));
    };
    Ok(model.embed(&[DocumentText { heading_path, text }])?.pop().flatten())
}

/// The facts of one snippet for the judge.
pub(crate) fn answer_of(library: &Library, SnippetIndex(index): SnippetIndex) -> Option<&Answer> {
    library.answers.get(index as usize)
}

/// Bytes of text under each first anchor; a section that goes on after its entries counts as one.
fn lengths(document: &Document) -> HashMap<&str, usize> {
    let mut lengths = HashMap::new();
    for section in &document.sections {
        if let Some(anchor) = section.anchors.first() {
            *lengths.entry(anchor.as_str()).or_insert(0) += section.len();
        }
    }
    lengths
}

/// Anchors that a snippet covers by the judge's rule, and its length.
fn answer(path: &str, document: &Document, cut: &Cut, lengths: &HashMap<&str, usize>) -> Answer {
    let snippet = &cut.snippet;
    let whole: usize = cut.covers.iter().map(|cover| cover.bytes).sum();
    let mut anchors: Vec<String> = Vec::new();
    for cover in &cut.covers {
        let Some(section) = document.sections.get(cover.section) else {
            continue;
        };
        let length = section
            .anchors
            .first()
            .and_then(|anchor| lengths.get(anchor.as_str()))
            .copied()
            .unwrap_or_else(|| section.len());
        let covered: usize = cut
            .covers
            .iter()
            .filter(|other| same(document, other.section, cover.section))
            .map(|other| other.bytes)
            .sum();
        if covered * 10 >= length * 3 || covered * 2 > whole || covered >= 600 {
            anchors.extend(section.anchors.iter().cloned());
            if cover.section == 0 {
                // The top of the page has no name; the judge wrote the empty anchor for it.
                anchors.push(String::new());
            }
        }
    }
    let chars = snippet.heading_path.join(" > ").chars().count() + 1 + snippet.text().chars().count();
    Answer { page: path.to_owned(), anchors, chars }
}

fn same(document: &Document, one: usize, other: usize) -> bool {
    let first = |section: usize| document.sections.get(section).and_then(|section| section.anchors.first());
    one == other || (first(one).is_some() && first(one) == first(other))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "html") {
            files.push(entry.path());
        }
    }
    Ok(())
}
