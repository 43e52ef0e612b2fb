//! How well the built-in search answers: builds bundles of five documentation packages, asks the
//! development questions, writes a run and prints its figures.
//!
//! ```text
//! apt-get download python3.11-doc postgresql-doc-15 nodejs-doc python-django-doc rust-doc
//! for package in *.deb; do dpkg-deb -x "$package" docs; done
//! cargo run --release -p twinmcp-actors --example retrieval_eval -- docs [run.jsonl] [library]
//! ```
//!
//! The questions are `tests/eval/retrieval.dev.jsonl`; another file can be named in `QUESTIONS`.
//! `TABLE` names a folder with another static table (`model/train/train.py` writes one), `MODEL` that of a
//! sentence transformer, with which documents are embedded as after an upgrade: about 30 a second.
//!
//! Reads with the parser, the splitter, the embedder, the bundle and the ranking of the product.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

mod corpus;
mod score;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use corpus::{LIBRARIES, Library};
use score::{Question, Run};
use twinmcp_actors::embedding::{Embedder as _, StaticTable, Upgraded};
use twinmcp_actors::ingest::split::SplitSettings;
use twinmcp_actors::search::rank;
use twinmcp_storage::bundle::BundleStore;

/// Whatever ends the evaluation.
pub(crate) type Failure = Box<dyn Error>;

/// Candidates taken from words and from vectors each.
const CANDIDATES: usize = 100;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let docs = PathBuf::from(arguments.next().ok_or("usage: retrieval_eval DOCS [RUN.jsonl] [LIBRARY]")?);
    let out = arguments.next();
    let only = arguments.next();
    let questions = questions()?;
    let model = std::env::var_os("MODEL").map(|folder| Upgraded::load(Path::new(&folder))).transpose()?;
    let folder = tempfile::tempdir()?;
    let store = BundleStore::open_dir(folder.path(), NonZeroUsize::MAX)?;
    let mut libraries = BTreeMap::new();
    for (name, inner, parts) in LIBRARIES {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let root =
            corpus::root(&docs, inner).ok_or_else(|| format!("no {inner} under {}", docs.display()))?;
        let library = corpus::build(name, &root, parts, &settings(), &store, model.as_ref())?;
        report(name, &library);
        libraries.insert(name, library);
    }
    for question in &questions {
        let Some(library) = libraries.get(question.lib.as_str()) else {
            continue;
        };
        for target in question.relevant.iter().flatten() {
            if !library
                .answers
                .iter()
                .any(|answer| answer.page == target.page && answer.anchors.contains(&target.anchor))
            {
                println!("no snippet covers {}#{} of {}", target.page, target.anchor, question.qid);
            }
        }
    }
    let mut runs = Vec::new();
    let mut scored = Vec::new();
    for question in &questions {
        let Some(library) = libraries.get(question.lib.as_str()) else {
            continue;
        };
        let run = Run { qid: question.qid.clone(), results: ask(library, &question.query)? };
        scored.push((question, score::score(question, &run)));
        runs.push(serde_json::to_string(&run)?);
    }
    if let Some(out) = out {
        fs::write(Path::new(&out), runs.join("\n") + "\n")?;
    }
    for (group, count, figures) in score::means(&scored) {
        let figures: Vec<String> =
            score::NAMES.iter().zip(figures).map(|(name, value)| format!("{name}={value:.3}")).collect();
        println!("{group} {count} {}", figures.join(" "));
    }
    Ok(())
}

/// The built-in table, or the one that `TABLE` names.
pub(crate) fn table() -> &'static StaticTable {
    static NAMED: LazyLock<Option<StaticTable>> = LazyLock::new(|| {
        let folder = std::env::var_os("TABLE")?;
        Some(StaticTable::read(Path::new(&folder)).unwrap_or_else(|error| panic!("TABLE: {error}")))
    });
    NAMED.as_ref().unwrap_or_else(|| StaticTable::builtin())
}

/// The product's sizes; each can be varied to measure what it does.
fn settings() -> SplitSettings {
    let number = |name: &str, standard: usize| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(standard)
    };
    let standard = SplitSettings::default();
    SplitSettings {
        max_tokens: number("MAX_TOKENS", standard.max_tokens),
        tiny_tokens: number("TINY_TOKENS", standard.tiny_tokens),
        merged_tokens: number("MERGED_TOKENS", standard.merged_tokens),
        code_tokens: number("CODE_TOKENS", standard.code_tokens),
    }
}

fn questions() -> Result<Vec<Question>, Failure> {
    let standard = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/eval/retrieval.dev.jsonl");
    let file = std::env::var("QUESTIONS").unwrap_or_else(|_| standard.to_owned());
    fs::read_to_string(file)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Searches as the node does.
fn ask(library: &Library, query: &str) -> Result<Vec<score::Answer>, Failure> {
    let table = table();
    let bundle = &library.bundle;
    let words = bundle.words(query, CANDIDATES)?;
    let mut vectors = Vec::new();
    if let Some(vector) = table.embed_query(query) {
        vectors = bundle.nearest(&vector, CANDIDATES)?;
        let missing = rank::without_cosine(&words, &vectors);
        vectors.extend(missing.iter().copied().zip(bundle.cosines(&vector, &missing)?));
    }
    let mut ranked = rank::fuse(&words, &vectors, table.fusion_weight());
    rank::damp_links(&mut ranked, |snippet| bundle.facts(snippet).map_or(0, |facts| facts.link_percent));
    rank::damp_duplicates(&mut ranked, |snippet| bundle.simhash(snippet).unwrap_or(0));
    rank::damp_repeats(&mut ranked, |index| {
        bundle.snippet(index).ok().and_then(|snippet| rank::section_of(&snippet))
    });
    Ok(ranked
        .iter()
        .take(50)
        .filter_map(|candidate| corpus::answer_of(library, candidate.snippet).cloned())
        .collect())
}

fn report(name: &str, library: &Library) {
    let meta = library.bundle.meta();
    let times = &library.times;
    let all = times.parse + times.split + times.embed + times.build;
    println!(
        "{name}: {} pages of {:.1} MB, {} snippets of {} tokens on average, skipped {:?}",
        library.pages,
        library.bytes as f64 / 1e6,
        meta.snippets,
        meta.tokens / u64::from(meta.snippets.max(1)),
        library.skipped,
    );
    println!(
        "  parse {:.2} s, split {:.2} s, embed {:.2} s, build {:.2} s: {:.0} snippets a second, parse and split alone {:.0}",
        times.parse.as_secs_f64(),
        times.split.as_secs_f64(),
        times.embed.as_secs_f64(),
        times.build.as_secs_f64(),
        f64::from(meta.snippets) / all.as_secs_f64(),
        f64::from(meta.snippets) / (times.parse + times.split).as_secs_f64(),
    );
}
