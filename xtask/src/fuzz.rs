//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/`, each with its seeds, for a time.
//!
//! Needs `cargo-fuzz` and Linux. The stable compiler is enough: without a sanitizer the coverage that libFuzzer needs
//! comes from flags that only want to be allowed (`RUSTC_BOOTSTRAP`).

use std::fmt;
use std::path::{Path, PathBuf};

use crate::run::{self, Step};

/// The one program with all targets.
const PROGRAM: &str = "twinmcp";
/// How long each target runs when nothing else is said.
const SECONDS: u32 = 60;
/// Longest input, in bytes: long enough for every construct, short enough for thousands of runs a second.
const INPUT_BYTES_MAX: &str = "-max_len=16384";
/// A single input that takes longer is a finding.
const TIMEOUT_SECONDS: &str = "-timeout=20";
const MEMORY_MIB_MAX: &str = "-rss_limit_mb=2048";

/// Targets, and where their seeds lie beside `fuzz/seeds/<target>`.
const TARGETS: &[(&str, &[&str])] = &[
    ("html", &[]),
    ("markdown", &[]),
    ("mdx", &[]),
    ("text", &[]),
    ("rst", &[]),
    ("asciidoc", &[]),
    ("notebook", &[]),
    ("openapi", &[]),
    ("page", &[]),
    ("context7_json", &[]),
    ("rust", &[]),
    ("typescript", &[]),
    ("python", &[]),
    ("archive", &[]),
    ("tar", &[]),
    ("zip", &[]),
    ("cargo_lock", &["actors/src/ingest/source/fixtures"]),
    ("npm_lock", &[]),
    ("python_lock", &[]),
    ("manifests", &[]),
    ("robots", &[]),
    ("sitemap", &[]),
    ("llms", &[]),
    ("content", &[]),
    ("page_head", &[]),
    ("provider", &[]),
    ("webhook", &[]),
    ("embeddings", &[]),
    ("catalogue", &[]),
    ("url", &[]),
    ("bundle", &["storage/src/bundle/fixtures"]),
    ("graph", &[]),
    ("question", &[]),
    ("records", &["storage/fixtures"]),
    ("log_entry", &[]),
    ("gossip_datagram", &[]),
    ("gossip_member", &[]),
    ("access_token", &[]),
    ("dpop_proof", &[]),
    ("client_assertion", &[]),
    ("client_metadata", &[]),
    ("redirect_uri", &[]),
    ("token_form", &[]),
    ("authorize_query", &[]),
    ("ids", &[]),
    ("http_headers", &[]),
    ("trace_context", &[]),
    ("mcp_call", &[]),
    ("config", &[]),
    ("dns_question", &[]),
    ("rendered", &[]),
];

/// Compiles what the crates keep for the targets alone, so that it goes on compiling where nobody fuzzes.
pub(crate) fn check() -> Result<(), String> {
    for package in ["twinmcp-cluster", "twinmcp-actors", "twinmcp"] {
        let arguments =
            ["rustc", "--package", package, "--lib", "--profile", "check", "--", "--cfg", "fuzzing"];
        run::one(&Step::cargo("what is fuzzed", &arguments))?;
    }
    Ok(())
}

/// `[--seconds N] [TARGET]`, or `--build` to compile only. Prints a table of what was run and found.
pub(crate) fn fuzz(arguments: &[&str]) -> Result<(), String> {
    let root = crate::root();
    // The versions that are fuzzed are those that are built.
    std::fs::copy(root.join("Cargo.lock"), root.join("fuzz/Cargo.lock"))
        .map_err(|error| format!("cannot copy Cargo.lock: {error}"))?;
    let build = ["fuzz", "build", "--sanitizer", "none", PROGRAM];
    let build = Step::cargo("build", &build).with_env("RUSTC_BOOTSTRAP", "1");
    if arguments == ["--build"] {
        return run::one(&build);
    }
    let (seconds, target) = parse(arguments)?;
    run::one(&build)?;
    let program = program(&root)?;
    let chosen = TARGETS.iter().filter(|(name, _)| target.is_none_or(|wanted| wanted == *name));
    let runs = chosen
        .map(|(name, seeds)| one(&root, &program, name, seeds, seconds))
        .collect::<Result<Vec<Run>, _>>()?;
    run::say(
        "| target | inputs | a second | edges | corpus | findings |\n| --- | ---: | ---: | ---: | ---: | ---: |",
    );
    runs.iter().for_each(|run| run::say(&run.to_string()));
    match runs.iter().filter(|run| run.failed || run.findings > 0).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} targets found something: see fuzz/artifacts")),
    }
}

fn parse<'a>(arguments: &[&'a str]) -> Result<(u32, Option<&'a str>), String> {
    let (mut seconds, mut target) = (SECONDS, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if *argument == "--seconds" {
            let value = rest.next().and_then(|value| value.parse().ok()).filter(|value| *value > 0);
            seconds = value.ok_or("--seconds wants a whole number above 0")?;
        } else if TARGETS.iter().any(|(name, _)| name == argument) && target.is_none() {
            target = Some(*argument);
        } else {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            return Err(format!("no fuzz target `{argument}`; there are {}", names.join(", ")));
        }
    }
    Ok((seconds, target))
}

/// What came of one target: a row of the table.
struct Run {
    name: &'static str,
    seconds: u32,
    inputs: u64,
    edges: u64,
    corpus: usize,
    findings: usize,
    failed: bool,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seconds, inputs, edges, corpus, findings, failed } = self;
        let a_second = inputs / u64::from(*seconds);
        let failed = if *failed { " (broke off)" } else { "" };
        write!(f, "| `{name}` | {inputs} | {a_second} | {edges} | {corpus} | {findings}{failed} |")
    }
}

/// Runs one target. What it finds lies in `fuzz/artifacts/<target>/`, what it learned in `fuzz/corpus/<target>/`.
fn one(root: &Path, program: &str, name: &'static str, seeds: &[&str], seconds: u32) -> Result<Run, String> {
    let folder = |kind: &str| format!("fuzz/{kind}/{name}");
    for kind in ["corpus", "artifacts"] {
        let path = root.join(folder(kind));
        std::fs::create_dir_all(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    }
    let own = folder("seeds");
    let seeds =
        std::iter::once(own.as_str()).chain(seeds.iter().copied()).filter(|seeds| root.join(seeds).is_dir());
    let (corpus, time) = (folder("corpus"), format!("-max_total_time={seconds}"));
    let prefix = format!("-artifact_prefix={}/", folder("artifacts"));
    let mut arguments = vec![corpus.as_str()];
    arguments.extend(seeds);
    arguments.extend([
        &time,
        &prefix,
        INPUT_BYTES_MAX,
        TIMEOUT_SECONDS,
        MEMORY_MIB_MAX,
        "-print_final_stats=1",
    ]);
    let (mut inputs, mut edges) = (0, 0);
    let number = |text: Option<&str>| text.and_then(|text| text.trim().parse().ok());
    let step = Step::new("fuzz", program, &arguments).with_env("TWINMCP_FUZZ_TARGET", name);
    let succeeded = run::watch(&step, |line| {
        inputs = number(line.strip_prefix("stat::number_of_executed_units:")).unwrap_or(inputs);
        let covered = line.split_once(" cov: ").and_then(|(_, rest)| rest.split(' ').next());
        edges = number(covered).unwrap_or(edges);
    })?;
    let files = |kind| std::fs::read_dir(root.join(folder(kind))).map_or(0, Iterator::count);
    let (corpus, findings) = (files("corpus"), files("artifacts"));
    Ok(Run { name, seconds, inputs, edges, corpus, findings, failed: !succeeded })
}

/// Where `cargo fuzz` puts the program.
fn program(root: &Path) -> Result<String, String> {
    let version = run::output_of(&Step::new("the compiler's own target", "rustc", &["-vV"]))?;
    let version = String::from_utf8_lossy(&version);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("fuzz/target"), PathBuf::from);
    Ok(folder.join(host).join("release").join(PROGRAM).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_the_program_can_be_run_and_has_seeds() {
        let root = crate::root();
        let source = std::fs::read_to_string(root.join("fuzz/src/main.rs")).unwrap();
        let table = source.split_once("const TARGETS").unwrap().1.split_once("];").unwrap().0;
        let there: Vec<&str> =
            table.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next()).collect();
        let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        assert_eq!(there, known);
        for (name, seeds) in TARGETS {
            let own = root.join("fuzz/seeds").join(name);
            assert!(own.is_dir() || !seeds.is_empty(), "{name} has no seeds");
            assert!(seeds.iter().all(|seeds| root.join(seeds).is_dir()), "{name}");
        }
    }

    #[test]
    fn the_documentation_tells_what_every_target_reaches() {
        let docs = std::fs::read_to_string(crate::root().join("docs/fuzzing.md")).unwrap();
        let section = docs.split_once("## What reaches what").unwrap().1.split_once("\n## ").unwrap().0;
        let told: Vec<&str> = section.lines().filter_map(|line| line.split('|').nth(1)).collect();
        for (name, _) in TARGETS {
            assert!(told.iter().any(|cell| cell.contains(&format!("`{name}`"))), "{name} has no row");
        }
    }

    #[test]
    fn arguments_name_a_time_and_a_target() {
        assert_eq!(parse(&[]), Ok((60, None)));
        assert_eq!(parse(&["--seconds", "5", "html"]), Ok((5, Some("html"))));
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["gone"], &["html", "text"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
