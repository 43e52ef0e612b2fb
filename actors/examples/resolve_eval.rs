//! How often `resolve` finds the right library, and what it costs.
//!
//! `cargo run --release -p twinmcp-actors --example resolve_eval -- CATALOGUE [QUESTIONS] [--misses]`
//!
//! CATALOGUE: a list as `twinmcp admin library import` takes it, and read as that reads it. QUESTIONS: a line of JSON a question (`qid, libraryName, query, relevant, type`);
//! those in `tests/eval` unless given. Prints success@1, @3, @10 and MRR@10 in all and by type.

#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde::Deserialize;
use twinmcp_actors::catalogue::{entry, unpacked};
use twinmcp_actors::embedding::StaticTable;
use twinmcp_actors::search::known_entry;
use twinmcp_actors::search::resolve::{Catalogue, Entry, Match};

/// Matches looked at.
const RANKS: usize = 10;
/// Each ask is timed so often, and the least counts: the rest is other work on the machine.
const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, paths): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let catalogue_path = paths.first().ok_or("usage: resolve_eval CATALOGUE [QUESTIONS] [--misses]")?;
    let dev = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/eval/resolve.dev.jsonl");
    let questions_path = paths.get(1).map_or(dev, String::as_str);
    let questions = questions(questions_path)?;
    let entries = entries(catalogue_path)?;

    let count = entries.len();
    let started = Instant::now();
    let catalogue = Catalogue::build(entries, StaticTable::builtin());
    println!(
        "{count} libraries built in {:.2?}, {:.1} MB",
        started.elapsed(),
        mega(catalogue.memory_bytes())
    );

    let mut ranks: BTreeMap<&str, Vec<Option<usize>>> = BTreeMap::new();
    let mut times = Vec::new();
    for question in &questions {
        let (matches, took) = timed(&catalogue, question);
        times.push(took);
        let rank =
            matches.iter().position(|found| question.relevant.iter().any(|id| id == found.id.as_str()));
        for group in [" all", &question.kind] {
            ranks.entry(group).or_default().push(rank);
        }
        if rank != Some(0) && flags.iter().any(|flag| flag == "--misses") {
            print_miss(question, rank, &matches);
        }
    }
    println!("{:<12}{:>5}{:>8}{:>8}{:>8}{:>8}", "type", "n", "s@1", "s@3", "s@10", "MRR@10");
    for (group, ranks) in &ranks {
        let success = |within: usize| share(ranks, |rank| f64::from(u8::from(rank < within)));
        let mrr = share(ranks, |rank| 1.0 / (rank as f64 + 1.0));
        let (count, one, three, ten) = (ranks.len(), success(1), success(3), success(RANKS));
        println!("{:<12}{count:>5}{one:>8.3}{three:>8.3}{ten:>8.3}{mrr:>8.3}", group.trim());
    }
    times.sort_unstable();
    let at = |per_cent: usize| times.get(times.len() * per_cent / 100).copied().unwrap_or_default();
    println!(
        "one ask: p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        at(50),
        at(99),
        times.last().copied().unwrap_or_default()
    );
    Ok(())
}

/// One line of the questions.
#[derive(Deserialize)]
struct Question {
    qid: String,
    #[serde(rename = "libraryName")]
    name: String,
    query: String,
    relevant: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
}

/// What a node knows after an import of the list; a line that it would leave out ends the evaluation.
fn entries(path: &str) -> Result<Vec<Entry>, Box<dyn Error>> {
    let mut entries = Vec::new();
    for (at, line) in BufReader::new(unpacked(BufReader::new(File::open(path)?))?).lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            let entry =
                entry(line.as_bytes()).map_err(|error| format!("line {} of {path}: {error}", at + 1))?;
            entries.push(known_entry(entry));
        }
    }
    Ok(entries)
}

fn questions(path: &str) -> Result<Vec<Question>, Box<dyn Error>> {
    fs::read_to_string(path)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn timed(catalogue: &Catalogue, question: &Question) -> (Vec<Match>, Duration) {
    let mut best = (Vec::new(), Duration::MAX);
    for _ in 0..RUNS {
        let started = Instant::now();
        let matches = catalogue.resolve(&question.name, &question.query, RANKS);
        best = (matches, best.1.min(started.elapsed()));
    }
    best
}

fn print_miss(question: &Question, rank: Option<usize>, matches: &[Match]) {
    let Question { qid, name, query, relevant, kind } = question;
    println!("{qid} {kind}: {name:?}, {query:?}: {relevant:?} at {:?}", rank.map(|rank| rank + 1));
    for found in matches.iter().take(rank.unwrap_or(2) + 1) {
        let reasons: Vec<String> = found.reasons.iter().map(ToString::to_string).collect();
        println!("    {:.3} {}: {}", found.score, found.id, reasons.join(", "));
    }
}

/// The mean over all questions; one without a right answer counts nothing.
fn share(ranks: &[Option<usize>], worth: impl Fn(usize) -> f64) -> f64 {
    ranks.iter().flatten().map(|rank| worth(*rank)).sum::<f64>() / ranks.len().max(1) as f64
}

fn mega(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
