//! How fast a node is on this machine: start, memory, indexing, and questions of 1, 8 and 32 clients at rest and while
//! it indexes. Starts the release build of `twinmcp` on loopback, in a temporary folder, and asserts nothing.
//!
//! `cargo build --release -p twinmcp && cargo run --release -p twinmcp-tests --bin load`
//!
//! A table goes to standard error, the same figures as JSON to standard output. Compare CPU figures between machines
//! and runs; wall times only within one run.

mod http;
mod measure;
mod process;
mod report;
mod source;
mod target;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use twinmcp_tests::{NodeSetup, TestNode, docs};

use measure::measure;
use process::Process;
use report::{Indexed, Report, Row};
use source::Corpus;
use target::Target;

/// Clients at once.
const CLIENTS: &[usize] = &[1, 8, 32];
/// Small libraries beside the large one, as somebody who uses many packages has.
const LIBRARIES: usize = 100;
/// Version of everything that is indexed here.
const VERSION: &str = "1";

#[derive(Debug, Parser)]
#[command(about = "Measures a node on this machine", disable_version_flag = true)]
struct Arguments {
    /// Folder of documentation to index; made-up pages when left out
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// Library to index it as
    #[arg(long, value_name = "/ORG/NAME", default_value = "/load/docs")]
    library: String,
    /// Catalogue of libraries (JSON lines with `title`) to import, so that `resolve` has many to choose among
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// What to resolve (JSON lines with `libraryName` and `query`); titles when left out
    #[arg(long, value_name = "FILE")]
    asks: Option<PathBuf>,
    /// MCP endpoint of a running Grounded Docs that has the same documentation, to be asked the same questions
    #[arg(long, value_name = "URL", requires = "peer_pid")]
    peer: Option<Url>,
    /// Its process, whose CPU time is told
    #[arg(long, value_name = "PID", requires = "peer")]
    peer_pid: Option<u32>,
    /// What it calls the documentation
    #[arg(long, value_name = "NAME", default_value = "python")]
    peer_library: String,
    /// Seconds of each measurement
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Pages to make up when there is no source; the default makes about 10,000 snippets
    #[arg(long, value_name = "N", default_value_t = 2_500, value_parser = clap::value_parser!(u64).range(10..=50_000))]
    pages: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut stderr = std::io::stderr();
    match run(&arguments).await {
        Ok(report) => {
            let _ = write!(stderr, "{}", report.table());
            let _ = writeln!(std::io::stdout(), "{:#}", report.json());
            ExitCode::SUCCESS
        }
        Err(reason) => {
            let _ = writeln!(stderr, "error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

async fn run(arguments: &Arguments) -> Result<Report, String> {
    let corpus = match &arguments.source {
        Some(folder) => Corpus::read(folder)?,
        None => Corpus::made_up(usize::try_from(arguments.pages).map_err(|error| error.to_string())?),
    };
    let mut report = Report::default();

    say("starting a node");
    let started = Instant::now();
    let mut node = NodeSetup::default().with("telemetry", "log", "error").untraced().start().await;
    report.start_first = started.elapsed();
    report.rss_empty = Process::of(node.pid()).rss();

    say(&format!("indexing {} files", corpus.files));
    report.indexed = index(&node, &arguments.library, &corpus).await?;
    say(&format!("indexing {LIBRARIES} small libraries"));
    let small = docs::tar(&docs::kiln(VERSION));
    for number in 0..LIBRARIES {
        node.client().index(&format!("/load/kiln-{number}"), VERSION, "docs.tar", small.clone()).await;
    }
    if let Some(catalogue) = &arguments.catalogue {
        say("importing the catalogue");
        import(&node, catalogue, &mut report).await?;
    }

    node.stop().await;
    let started = Instant::now();
    node.restart().await;
    report.start_again = started.elapsed();
    report.rss_idle = Process::of(node.pid()).rss();

    let time = Duration::from_secs(arguments.seconds);
    let asked = asked(arguments)?;
    let targets = [
        Arc::new(Target::docs(&node, &arguments.library, &corpus.questions)),
        Arc::new(Target::resolve(&node, &asked)),
    ];
    let peer = match (&arguments.peer, arguments.peer_pid) {
        (Some(url), Some(pid)) => {
            let peer = Target::peer(url, pid, &arguments.peer_library, &corpus.questions)?;
            Some(Arc::new(peer))
        }
        _ => None,
    };
    // In turns, so that a busy moment of the machine is everybody's.
    for clients in CLIENTS {
        for target in peer.iter().chain(&targets) {
            say(&format!("{}, {clients} clients, at rest", target.name));
            let run = measure(target, *clients, time).await?;
            report.rows.push(Row { name: target.name, clients: *clients, indexing: false, run });
        }
    }
    for clients in CLIENTS {
        for target in &targets {
            say(&format!("{}, {clients} clients, while indexing", target.name));
            let run = tokio::select! {
                run = measure(target, *clients, time) => run?,
                () = keep_indexing(&node, &corpus) => continue,
            };
            report.rows.push(Row { name: target.name, clients: *clients, indexing: true, run });
        }
    }
    report.rows.sort_by_key(|row| (row.indexing, row.name));
    report.rss_busy = Process::of(node.pid()).rss();
    Ok(report)
}

/// Indexes the corpus and tells what that cost.
async fn index(node: &TestNode, library: &str, corpus: &Corpus) -> Result<Indexed, String> {
    let process = Process::of(node.pid());
    process.forget_peak();
    let (cpu, started) = (process.cpu()?, Instant::now());
    let job = node.client().index(library, VERSION, "docs.tar", corpus.archive.clone()).await;
    let (cpu, wall) = (process.cpu()?.saturating_sub(cpu), started.elapsed());
    let count = |name: &str| job["progress"][name].as_u64().unwrap_or_default();
    Ok(Indexed {
        pages: count("pages"),
        snippets: count("snippets"),
        cpu,
        wall,
        rss_peak: process.rss_peak(),
    })
}

/// Indexes the corpus again and again under another name, until it is dropped.
async fn keep_indexing(node: &TestNode, corpus: &Corpus) {
    loop {
        node.client().index("/load/again", VERSION, "docs.tar", corpus.archive.clone()).await;
    }
}

/// Imports a catalogue with the operators' command.
async fn import(node: &TestNode, catalogue: &std::path::Path, report: &mut Report) -> Result<(), String> {
    let started = Instant::now();
    let file = catalogue.display().to_string();
    let ended = node.cli().run(&["admin", "library", "import", &file]).await;
    if ended.code != Some(0) {
        return Err(format!("`twinmcp admin library import {file}` failed: {}", ended.stderr.trim()));
    }
    report.more.insert("catalogue_import_s".to_owned(), json!(started.elapsed().as_secs_f64()));
    Ok(())
}

/// One line of the file of asks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToResolve {
    library_name: String,
    query: String,
}

/// What to resolve, each with what it is wanted for: as a file says, else titles of the catalogue, else of what was indexed here,
/// some with a typing error.
fn asked(arguments: &Arguments) -> Result<Vec<(String, String)>, String> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
    };
    if let Some(file) = &arguments.asks {
        let line = |line| serde_json::from_str(line).map(|it: ToResolve| (it.library_name, it.query));
        let asked: Result<Vec<_>, _> = read(file)?.lines().map(line).collect();
        return asked.map_err(|error| format!("{}: {error}", file.display()));
    }
    let Some(catalogue) = &arguments.catalogue else {
        let name = |number: usize| {
            if number.is_multiple_of(3) { format!("kilm-{number}") } else { format!("kiln-{number}") }
        };
        return Ok((0..LIBRARIES).map(|number| (name(number), String::new())).collect());
    };
    let text = read(catalogue)?;
    let lines: Vec<&str> = text.lines().collect();
    let step = (lines.len() / 1_000).max(1);
    let title = |line: &&str| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        entry["title"].as_str().map(|title| (title.to_owned(), String::new()))
    };
    Ok(lines.iter().step_by(step).filter_map(title).collect())
}
