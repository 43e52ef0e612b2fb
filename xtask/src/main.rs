//! The project's own commands: `cargo xtask <command>`.

mod cases;
mod coverage;
mod faults;
mod fuzz;
mod previous;
mod run;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use run::Step;

const HELP: &str = "\
cargo xtask check             everything that must pass: format, lints, dependency rules, tests, documentation; writes nothing
cargo xtask check --coverage  the same, and the tests must run 80 % of the lines, 85 % of those of storage, ingest, search
                              and consensus (needs cargo-llvm-cov)
cargo xtask fix               formats the code and writes openapi/twinmcp.json
cargo xtask faults            the long form of the tests that kill nodes, spoil disks and simulate clusters: hundreds of rounds
cargo xtask tidy              only the dependency rules, and that every row of docs/negative-cases.md is tested or says why not
cargo xtask openapi           writes openapi/twinmcp.json
cargo xtask previous          builds the oldest build that this one runs beside, for TWINMCP_PREVIOUS
cargo xtask fuzz [--seconds N] [TARGET]
                              fuzzes the parsers of outside input, each for N seconds (60); --build only compiles them";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["check"] => check(test_step()),
        ["check", "--coverage"] => check(coverage::step()).and_then(|()| coverage::check()),
        ["fix"] => run::one(&Step::cargo("format", &["fmt", "--all"])).and_then(|()| openapi()),
        ["faults"] => faults::run(),
        ["tidy"] => tidy(),
        ["openapi"] => openapi(),
        ["previous"] => previous::program().map(|program| {
            program.inspect(|program| run::say(&format!("TWINMCP_PREVIOUS={}", program.display())));
        }),
        ["fuzz", ref rest @ ..] => fuzz::fuzz(rest),
        _ => Err(HELP.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            run::say(&message);
            ExitCode::FAILURE
        }
    }
}

fn check(mut tests: Step) -> Result<(), String> {
    run::one(&Step::cargo("format", &["fmt", "--all", "--check"]))?;
    tidy()?;
    run::one(&Step::cargo("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    fuzz::check()?;
    let documentation = Step::cargo("documentation", &["doc", "--workspace", "--no-deps"]);
    run::one(&documentation.with_env("RUSTDOCFLAGS", "-D warnings"))?;
    run::one(&Step::new("outside clients", "bash", &["tests/clients/install"]))?;
    tests = match previous::program()? {
        Some(program) => tests.with_env("TWINMCP_PREVIOUS", program.display().to_string()),
        // What was not run has not passed.
        None => tests.with_arguments(&["-E", "not test(/^skew::/)"]),
    };
    run::one(&tests)
}

fn test_step() -> Step {
    Step::cargo("tests", &["nextest", "run", "--workspace"])
}

fn openapi() -> Result<(), String> {
    let step = Step::cargo("OpenAPI document", &["run", "--quiet", "--package", "twinmcp", "--", "openapi"]);
    let document = run::output_of(&step)?;
    let path = root().join("openapi/twinmcp.json");
    std::fs::write(&path, document).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn tidy() -> Result<(), String> {
    run::say("== dependency rules");
    let mut problems = tidy::check(&root())?;
    run::say("== rows of negative cases");
    problems.extend(cases::check(&root())?);
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// The folder of the workspace: `cargo xtask` runs anywhere below it.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}
