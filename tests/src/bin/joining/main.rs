//! What a new node costs a cluster that has much: three voters with a catalogue of a million names and a hundred index bundles are
//! asked and changed all the while, and a fourth node joins. Asserts nothing.
//!
//! `cargo build --release -p twinmcp && cargo run --release -p twinmcp-tests --bin joining`
//!
//! With `--entries 12000` the log is cut before, and the state comes as a snapshot. Says how long the new node took until it is ready
//! and until it has the last bundle, and the times of answers at the others before and meanwhile. All nodes share this machine: compare
//! the two within one run.

mod watch;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;
use twinmcp_tests::{TestCluster, docs};

use watch::{Times, Watching};

/// Between two looks at the new node.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What a node logs that was given a snapshot.
const BY_SNAPSHOT: &str = "a snapshot of the leader's took the place of the state";
/// Longest time it is waited for.
const PATIENCE: Duration = Duration::from_secs(1_800);

#[derive(Debug, Parser)]
#[command(about = "Lets a node join a cluster that has much", disable_version_flag = true)]
struct Arguments {
    /// Names in the catalogue, one record each
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    records: u64,
    /// Index bundles
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    bundles: u64,
    /// Log entries written before the node joins; a snapshot is made after 5,000
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    entries: u64,
    /// Seconds that are watched before the node joins
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say(&format!("error: {reason}"));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

async fn run(arguments: &Arguments) -> Result<(), String> {
    let mut cluster = TestCluster::start_as(3, 0, async |number| TestCluster::setup(number).untraced()).await;
    let begun = Instant::now();
    import(&cluster, arguments.records).await?;
    say(&format!("{} names were imported in {:.1} s", arguments.records, begun.elapsed().as_secs_f64()));
    let begun = Instant::now();
    for number in 0..arguments.bundles {
        // Another text each, so that no two have the same bundle.
        let mut pages = docs::kiln("1.0");
        pages.push((
            format!("number-{number}.md"),
            format!("# Kiln {number}\n\nThis is kiln {number}.\n").into_bytes(),
        ));
        let library = library(number);
        cluster.client(0).index(&library, "1.0", "docs.tar", docs::tar(&pages)).await;
    }
    say(&format!("{} libraries were indexed in {:.1} s", arguments.bundles, begun.elapsed().as_secs_f64()));
    everywhere(&cluster, arguments.bundles).await?;
    let begun = Instant::now();
    write(&cluster, arguments.entries).await?;
    say(&format!("{} log entries were written in {:.1} s", arguments.entries, begun.elapsed().as_secs_f64()));

    let watching = Watching::start(&cluster);
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    let before = watching.end().await;
    let watching = Watching::start(&cluster);
    let begun = Instant::now();
    let setup = TestCluster::setup(4).untraced().within(PATIENCE);
    let setup = setup.with("telemetry", "log", "error,twinmcp_cluster=info");
    let place = cluster.join_as(setup).await;
    let ready = begun.elapsed();
    let whole = loop {
        if cluster.nodes[place].files("bundles").len() as u64 >= arguments.bundles {
            break begun.elapsed();
        }
        if begun.elapsed() > PATIENCE {
            return Err("the new node did not get all bundles".to_owned());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let meanwhile = watching.end().await;
    let answer = cluster.client(place).context(&library(0), docs::QUESTIONS[0].text, &[]).await;
    say(&format!(
        "the new node was ready after {:.1} s, its first answer is {}",
        ready.as_secs_f64(),
        answer.status
    ));
    let came = if cluster.nodes[place].log().contains(BY_SNAPSHOT) { "a snapshot" } else { "the log" };
    say(&format!("the state came by {came}"));
    say(&format!("it had all {} bundles after {:.1} s", arguments.bundles, whole.as_secs_f64()));
    say(&table(&before, &meanwhile));
    Ok(())
}

fn library(number: u64) -> String {
    format!("/load/kiln-{number}")
}

/// Imports made-up names with the operators' command.
async fn import(cluster: &TestCluster, records: u64) -> Result<(), String> {
    let node = &cluster.nodes[0];
    let file = node.folder().join("names.jsonl");
    let mut lines = String::new();
    for number in 0..records {
        let entry = json!({
            "id": format!("/made-up/library-{number}"),
            "title": format!("Library {number}"),
            "description": format!("Made-up library number {number}, for measuring how a node joins a cluster that has much."),
            "ecosystem": "made-up",
            "popularity": number % 100,
        });
        let _ = writeln!(lines, "{entry}");
    }
    fs::write(&file, lines).map_err(|error| error.to_string())?;
    let file = file.display().to_string();
    let mut command = node.cli().command(&["admin", "library", "import", &file]);
    let ended = command.kill_on_drop(true).output().await.map_err(|error| error.to_string())?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(format!("the import failed: {}", String::from_utf8_lossy(&ended.stderr))),
    }
}

/// Changes something until the log has grown by so many entries.
async fn write(cluster: &TestCluster, entries: u64) -> Result<(), String> {
    let applied = async || cluster.view(0).await["nodes"][0]["applied_index"].as_u64().unwrap_or_default();
    let (begun, until) = (Instant::now(), applied().await + entries);
    let changing = Watching::start(cluster);
    while applied().await < until {
        if begun.elapsed() > PATIENCE {
            return Err("the log does not grow".to_owned());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    changing.end().await;
    Ok(())
}

/// Waits until every node has all bundles.
async fn everywhere(cluster: &TestCluster, bundles: u64) -> Result<(), String> {
    let begun = Instant::now();
    while cluster.nodes.iter().any(|node| (node.files("bundles").len() as u64) < bundles) {
        if begun.elapsed() > PATIENCE {
            return Err("the bundles do not get everywhere".to_owned());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn table(before: &Times, meanwhile: &Times) -> String {
    let mut table = "| at the other nodes | before (p50 / p99 ms) | while it joins (p50 / p99 ms) | failed |\n|---|---|---|---|".to_owned();
    for (name, before, meanwhile) in [
        ("questions", &before.questions, &meanwhile.questions),
        ("changes", &before.changes, &meanwhile.changes),
    ] {
        let _ = write!(
            table,
            "\n| {name} | {} of {} | {} of {} | {} |",
            before.figures(),
            before.count(),
            meanwhile.figures(),
            meanwhile.count(),
            before.failed + meanwhile.failed,
        );
    }
    table
}
