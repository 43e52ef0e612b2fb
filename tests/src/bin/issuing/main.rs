//! What tokens cost: CPU and time of a request to the authorization server, beside `oidc-provider` (JavaScript, one process, its records in a `Map`)
//! on the same machine in the same run, beside bare signatures, and what a flood of sign-ins does to questions. Asserts nothing.
//!
//! `cargo build --release -p twinmcp && cargo run --release -p twinmcp-tests --bin issuing > figures.json`
//!
//! Needs what `tests/clients/install` installs. Both take turns, so that what else the machine does meets both; compare the CPU of a request, and
//! ratios of one run. It reads `/proc`, so it needs Linux.

mod drive;
mod flood;
#[path = "../load/http.rs"]
mod http;
mod node;
mod peer;
#[path = "../load/process.rs"]
#[expect(dead_code, reason = "peaks of memory are measured by the other harness")]
mod process;
mod run;
mod signing;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};

use drive::Case;
use node::Codes;
use process::Process;
use run::Run;

/// Clients at once, each on a connection of its own.
const CLIENTS: usize = 32;
/// Codes that are redeemed in a turn.
const CODES: usize = 1_000;
/// So that nobody has more grants than a node keeps of an account (200).
const ROUNDS_MAX: u64 = 5;

#[derive(Debug, Parser)]
#[command(about = "Measures what tokens cost on this machine", disable_version_flag = true)]
struct Arguments {
    /// Seconds of each measurement
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How often both take their turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=ROUNDS_MAX))]
    rounds: u64,
    /// Only cases with this in their name; `flood` is one
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(figures) => {
            let _ = writeln!(std::io::stdout(), "{figures:#}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            say(&format!("error: {reason}"));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

async fn run(arguments: &Arguments) -> Result<Value, String> {
    let time = Duration::from_secs(arguments.seconds);
    let mut figures = json!({});
    say(
        "| case | whose | CPU of a request, µs | p50, ms | p99, ms | a second |\n| --- | --- | ---: | ---: | ---: | ---: |",
    );
    for (name, per_second) in signing::rates(time)? {
        say(&format!(
            "| signatures, {name} | aws-lc-rs, one thread | {:.0} | | | {per_second:.0} |",
            1e6 / per_second
        ));
        figures["signatures"][name] = per_second.into();
    }
    let measurements = usize::try_from(arguments.rounds).map_err(|error| error.to_string())? + 1;
    let codes = Codes { at_once: CODES, measurements };
    let node = node::prepared(CLIENTS, codes).await?;
    let peer = peer::prepared(CLIENTS, codes).await?;
    for name in [
        "code",
        "client credentials, RS256",
        "client credentials, ES256",
        "introspection, opaque",
        "introspection, JWT",
        "userinfo",
        "refresh, rotated",
    ] {
        if !name.contains(&arguments.only) {
            continue;
        }
        let mut sides: Vec<(&str, &Case, Vec<Run>)> = Vec::new();
        sides.extend(node.cases.get(name).map(|case| ("node", case, Vec::new())));
        sides.extend(peer.cases.get(name).map(|case| ("oidc-provider", case, Vec::new())));
        // A warm-up for each: the first seconds of JavaScript cost several times the rest.
        for (_, case, _) in &sides {
            case.measure(CLIENTS, time).await?;
        }
        for _ in 0..arguments.rounds {
            for (_, case, runs) in &mut sides {
                runs.push(case.measure(CLIENTS, time).await?);
            }
        }
        for (whose, _, runs) in sides {
            let told = Run::median(runs);
            say(&format!("| {name} | {whose} | {told} |"));
            figures[name][whose] = told.json();
        }
    }
    for (whose, pid, start, idle_bytes) in [
        ("node", node.node.pid(), node.start, node.idle_bytes),
        ("oidc-provider", peer.pid, peer.start, peer.idle_bytes),
    ] {
        let (start_ms, mib) = (start.as_secs_f64() * 1e3, |bytes: u64| bytes / (1 << 20));
        let (idle, worked) = (mib(idle_bytes), mib(Process::of(pid).rss()));
        say(&format!(
            "| start {start_ms:.0} ms, memory {idle} MiB, afterwards {worked} MiB | {whose} | | | | |"
        ));
        figures["process"][whose] =
            json!({ "start_ms": start_ms, "idle_mib": idle, "afterwards_mib": worked });
    }
    drop(peer);
    if "flood".contains(&arguments.only) {
        node.index().await;
        figures["flood"] = flood::measure(&node, time).await?;
    }
    Ok(figures)
}
