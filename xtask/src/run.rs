//! Running other programs, and saying so.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A program to run from the folder of the workspace.
pub(crate) struct Step {
    name: &'static str,
    program: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Step {
    pub(crate) fn new(name: &'static str, program: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { name, program: program.to_owned(), arguments, environment: Vec::new() }
    }

    pub(crate) fn cargo(name: &'static str, arguments: &[&str]) -> Self {
        Self::new(name, "cargo", arguments)
    }

    pub(crate) fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub(crate) fn with_env(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((key, value.into()));
        self
    }

    fn command(&self) -> Command {
        say(&format!("== {}: {} {}", self.name, self.program, self.arguments.join(" ")));
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(crate::root()).envs(self.environment.iter().cloned());
        command
    }
}

/// Runs one step, and says how long it took: what makes continuous integration slow is seen in its output.
pub(crate) fn one(step: &Step) -> Result<(), String> {
    let started = Instant::now();
    let status = step.command().status().map_err(|error| format!("cannot run {}: {error}", step.program))?;
    say(&format!("== {}: {} s", step.name, started.elapsed().as_secs()));
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", step.name)) }
}

/// Runs one step and gives what it printed.
pub(crate) fn output_of(step: &Step) -> Result<Vec<u8>, String> {
    let output = step.command().stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", step.program))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{} failed ({})", step.name, output.status))
    }
}

/// Runs one step, shows `each` line of its standard error and prints it; whether it succeeded.
pub(crate) fn watch(step: &Step, mut each: impl FnMut(&str)) -> Result<bool, String> {
    let cannot = |error: std::io::Error| format!("cannot run {}: {error}", step.program);
    let mut child = step.command().stderr(Stdio::piped()).spawn().map_err(cannot)?;
    if let Some(lines) = child.stderr.take() {
        for line in BufReader::new(lines).split(b'\n') {
            let line = line.map_err(cannot)?;
            let line = String::from_utf8_lossy(&line);
            each(&line);
            say(&line);
        }
    }
    Ok(child.wait().map_err(cannot)?.success())
}

/// Tells the person at the terminal.
#[expect(clippy::print_stderr, reason = "this is a program for a terminal")]
pub(crate) fn say(message: &str) {
    eprintln!("{message}");
}
