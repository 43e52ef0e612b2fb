//! How fast several nodes agree on this machine, beside etcd on the same disk in the same run: durable writes of 1, 16 and
//! 64 clients, the silence after the leader is killed, and how soon what one node knows is known to all. Asserts nothing.
//!
//! `cargo build --release -p twinmcp && cargo run --release -p twinmcp-tests --bin agreement`
//!
//! Needs the programs `etcd` (Debian: `apt-get install etcd-server`); without them only our own figures are taken. Compare
//! the ratios of one run: the disk is shared, and swings.

mod drive;
mod etcd;
mod library;
mod service;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use drive::{Run, median, millis};

/// Clients at once.
const CLIENTS: &[usize] = &[1, 16, 64];
/// Bytes of what is written.
const VALUE_BYTES: usize = 200;

#[derive(Debug, Parser)]
#[command(about = "Measures agreement between nodes, beside etcd", disable_version_flag = true)]
struct Arguments {
    /// Seconds of each measurement of writes
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Times a leader is killed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=50))]
    rounds: u64,
    /// Pages of the documentation whose bundle is sent to all nodes; the default makes about 50 MB of bundle
    #[arg(long, value_name = "N", default_value_t = 18_000, value_parser = clap::value_parser!(u64).range(0..=50_000))]
    pages: u64,
    /// Only writes through the library, for looking where their time goes
    #[arg(long)]
    library_only: bool,
    /// Entries that the library forms at once, instead of what a node does
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    entries_eager: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Nobody else has installed one yet.
    let _ = rustls::crypto::ring::default_provider().install_default();
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
    let time = Duration::from_secs(arguments.seconds);
    let syncs = drive::syncs(Duration::from_secs(3)).await?;
    say(&format!("{}", Line("one file, append and fdatasync", 1, &syncs)));
    let ours = library::Nodes::start(arguments.entries_eager).await?;
    if arguments.library_only {
        for &clients in CLIENTS {
            say(&format!("{}", Line("Cluster::propose", clients, &ours.writes(clients, time).await?)));
        }
        return ours.stop().await;
    }
    let theirs = etcd::Nodes::start().await;
    if let Err(reason) = &theirs {
        say(&format!("NOT RUN: etcd: {reason}"));
    }
    // In turn, so that both meet the same neighbours.
    for &clients in CLIENTS {
        let own = ours.writes(clients, time).await?;
        say(&format!("{}", Line("Cluster::propose", clients, &own)));
        if let Ok(theirs) = &theirs {
            let their = theirs.writes(clients, time).await?;
            say(&format!("{}", Line("etcd put", clients, &their)));
            say(&format!("    ours / etcd: {:.2} x writes", own.per_second / their.per_second));
        }
    }
    ours.stop().await?;
    if let Ok(mut theirs) = theirs {
        let mut gaps = Vec::new();
        for _ in 0..arguments.rounds {
            gaps.push(theirs.failover().await?);
        }
        tell_gaps("etcd", gaps);
    }
    let mut nodes = service::Nodes::start().await;
    for &clients in CLIENTS {
        say(&format!("{}", Line("POST and DELETE /api/keys", clients, &nodes.writes(clients, time).await?)));
    }
    let mut gaps = Vec::new();
    for _ in 0..arguments.rounds {
        gaps.push(nodes.failover().await?);
    }
    tell_gaps("TwinMCP", gaps);
    let known = nodes.propagation().await?;
    say(&format!("{}", Line("a write is known to all 5 nodes", 1, &known)));
    if arguments.pages > 0 {
        let sent = nodes.bundle(usize::try_from(arguments.pages).map_err(|error| error.to_string())?).await?;
        say(&sent);
    }
    let syncs = drive::syncs(Duration::from_secs(3)).await?;
    say(&format!("{}", Line("one file, append and fdatasync", 1, &syncs)));
    Ok(())
}

fn tell_gaps(who: &str, mut gaps: Vec<Duration>) {
    let all: Vec<String> = gaps.iter().map(|gap| format!("{:.0}", millis(*gap))).collect();
    if let Some(median) = median(&mut gaps) {
        let (all, median) = (all.join(", "), millis(median));
        say(&format!(
            "{who}: longest gap of writes after the leader is killed: median {median:.0} ms ({all})"
        ));
    }
}

/// What, of how many clients, and how it went.
struct Line<'a>(&'a str, usize, &'a Run);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(what, clients, run) = self;
        let (p50, p99) = (millis(run.p50), millis(run.p99));
        write!(
            f,
            "{what:<32} {clients:>3} clients {:>8.0}/s  p50 {p50:>7.2} ms  p99 {p99:>7.2} ms",
            run.per_second
        )
    }
}
