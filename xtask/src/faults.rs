//! The long form of the tests that kill nodes, spoil disks and simulate clusters. Each prints its seed; `TWINMCP_SEED` repeats a run, and
//! a variable of the table overrides its number.

use crate::run::{self, Step};

/// How often, a variable a test reads.
const ROUNDS: &[(&str, &str)] = &[
    ("TWINMCP_KILL_ROUNDS", "200"),
    ("TWINMCP_CRASH_ROUNDS", "200"),
    ("TWINMCP_FLIPS", "20"),
    ("TWINMCP_TEARS", "60"),
    // Seconds of each fault of a cluster.
    ("TWINMCP_FAULT_S", "30"),
    ("TWINMCP_SIMULATIONS", "1000"),
];

/// Which tests, a crate each.
const TESTS: &[(&str, &str)] = &[
    ("twinmcp-storage", "test(engine::damage)"),
    ("twinmcp-cluster", "test(tests::kill::) | test(tests::simulation::)"),
    ("twinmcp-tests", "test(disks::) | test(crash::) | test(faults::)"),
];

/// Runs all of them, one after the other, and stops at the first that fails.
pub(crate) fn run() -> Result<(), String> {
    run::one(&Step::cargo("the program under test", &["build", "-p", "twinmcp"]))?;
    for (name, filter) in TESTS {
        let arguments = [
            "nextest",
            "run",
            "--profile",
            "faults",
            "-p",
            name,
            "-E",
            filter,
            "--success-output",
            "immediate",
        ];
        let mut step = Step::cargo("faults", &arguments);
        for (variable, rounds) in ROUNDS.iter().filter(|(variable, _)| std::env::var_os(variable).is_none()) {
            step = step.with_env(variable, *rounds);
        }
        run::one(&step)?;
    }
    Ok(())
}
