//! The commands of `twinmcp`, and other programs, run to their end under a deadline.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::binary::twinmcp;

/// How long a program may run; the slowest foreign one needs a tenth on an idle machine.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(240);

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; nothing when a signal ended it.
    pub code: Option<i32>,
    /// Its results.
    pub stdout: String,
    /// Its words to the person.
    pub stderr: String,
}

impl Finished {
    /// This end, which must have exit code `code`.
    ///
    /// # Panics
    /// When it has another; what the program wrote is told.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The results as JSON.
    ///
    /// # Panics
    /// When they are not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(json) => json,
            Err(error) => panic!("{error} in {}\nstderr: {}", self.stdout, self.stderr),
        }
    }
}

/// Runs `command` to its end, feeding it `input`.
///
/// # Panics
/// When it cannot be started or does not end in time.
pub async fn run(command: Command, input: &str) -> Finished {
    run_within(command, input, PROGRAM_DEADLINE).await
}

/// As [`run`], for a program that may take as long as `deadline`.
///
/// # Panics
/// When it cannot be started or does not end in time.
pub async fn run_within(mut command: Command, input: &str, deadline: Duration) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let feed = async move {
        // A program that does not read its input may close it.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let ended = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(deadline, ended).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} did not end within {deadline:?}"));
    let output = output.unwrap_or_else(|error| panic!("cannot wait for {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Finished { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// The command line of one person: a node, a key, and a home of their own.
#[derive(Debug, Clone)]
pub struct Cli {
    variables: Vec<(&'static str, String)>,
}

impl Cli {
    /// Asks the node at `url` with `key`; what the commands keep goes below `home`.
    pub fn new(url: &str, key: Option<&str>, home: &Path) -> Self {
        let home = home.display().to_string();
        let mut variables = vec![
            ("TWINMCP_URL", url.to_owned()),
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", format!("{home}/.config")),
            ("NO_COLOR", "1".to_owned()),
        ];
        variables.extend(key.map(|key| ("TWINMCP_API_KEY", key.to_owned())));
        Self { variables }
    }

    /// The command `twinmcp arguments…`, not yet started.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(twinmcp());
        command.args(arguments);
        for inherited in ["TWINMCP_URL", "TWINMCP_API_KEY"] {
            command.env_remove(inherited);
        }
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command
    }

    /// Runs `twinmcp arguments…` to its end.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Finished {
        run(self.command(arguments), "").await
    }
}
