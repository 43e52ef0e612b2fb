//! Running other programs, and saying so.

use std::process::{Command, Stdio};

/// A program to run from the folder of the workspace.
pub(crate) struct Step {
    name: &'static str,
    program: &'static str,
    arguments: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Step {
    pub(crate) fn new(name: &'static str, program: &'static str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { name, program, arguments, environment: Vec::new() }
    }

    pub(crate) fn cargo(name: &'static str, arguments: &[&str]) -> Self {
        Self::new(name, "cargo", arguments)
    }

    pub(crate) fn with_env(mut self, key: &'static str, value: &'static str) -> Self {
        self.environment.push((key, value));
        self
    }

    fn command(&self) -> Command {
        say(&format!("== {}: {} {}", self.name, self.program, self.arguments.join(" ")));
        let mut command = Command::new(self.program);
        command.args(&self.arguments).current_dir(crate::root()).envs(self.environment.iter().copied());
        command
    }
}

/// Runs one step.
pub(crate) fn one(step: &Step) -> Result<(), String> {
    let status = step.command().status().map_err(|error| format!("cannot run {}: {error}", step.program))?;
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

/// Tells the person at the terminal.
#[expect(clippy::print_stderr, reason = "this is a program for a terminal")]
pub(crate) fn say(message: &str) {
    eprintln!("{message}");
}
