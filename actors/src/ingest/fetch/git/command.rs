//! The program `git`, with an environment of our own and nothing else.

use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use super::GitError;

/// Bytes of a complaint that are read.
const COMPLAINT_BYTES_MAX: u64 = 8 << 10;
const BUFFER_BYTES: usize = 64 << 10;

/// Variables that the program inherits: where programs and certificates lie.
const INHERITED: &[&str] = &["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Configuration that the program is given by variables, so that no secret stands among its arguments,
/// which every user of the machine can read.
const CONFIGURATION: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "false"),
    // Larger files are streamed, not held.
    ("core.bigFileThreshold", "8m"),
    // Memory for what deltas are made from, and for parts of packs.
    ("core.deltaBaseCacheLimit", "16m"),
    ("core.packedGitWindowSize", "16m"),
    ("core.packedGitLimit", "128m"),
    ("credential.helper", ""),
    ("fetch.unpackLimit", "1"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("submodule.recurse", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "30"),
];

/// Variables by which the library that speaks HTTP finds its proxy. A git before 2.31 does not know of the configuration
/// above: without them it would go to the network past the guard.
const PROXY: &[&str] = &["http_proxy", "https_proxy", "all_proxy"];

/// How the program is started.
#[derive(Clone)]
pub(super) struct Command<'a> {
    /// Where it runs.
    pub(super) folder: &'a Path,
    /// Its only way to the network.
    pub(super) proxy: String,
    /// The scheme it begins with; it never goes from https to http.
    pub(super) scheme: &'a str,
}

impl Command<'_> {
    /// Runs it to its end.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<(), GitError> {
        let mut family = self.start(arguments, Stdio::null())?;
        let complaint = complaint(family.git.stderr.take()).await;
        ended(family, complaint).await
    }

    /// Runs it to its end and keeps what it writes, at most `bytes_max` bytes, in `file`.
    pub(super) async fn write(
        &self,
        arguments: &[&str],
        file: &Path,
        bytes_max: u64,
    ) -> Result<(), GitError> {
        let mut family = self.start(arguments, Stdio::piped())?;
        let (stdout, stderr) = (family.git.stdout.take(), family.git.stderr.take());
        let (written, complaint) = tokio::join!(copy(stdout, file, bytes_max), complaint(stderr));
        written?;
        ended(family, complaint).await
    }

    fn start(&self, arguments: &[&str], stdout: Stdio) -> Result<Family, GitError> {
        let started = self.prepared(arguments, stdout).spawn();
        started.map(|git| Family { git }).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => GitError::NoProgram(error),
            _ => GitError::Run(error),
        })
    }

    fn prepared(&self, arguments: &[&str], stdout: Stdio) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("git");
        command.args(arguments).current_dir(self.folder).env_clear();
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", self.folder)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_ALLOW_PROTOCOL", if self.scheme == "http" { "http:https" } else { "https" });
        for name in PROXY {
            command.env(name, &self.proxy);
        }
        command.env("no_proxy", "");
        let configuration = CONFIGURATION.iter().copied().chain([("http.proxy", self.proxy.as_str())]);
        let mut count = 0;
        for (name, value) in configuration {
            command.env(format!("GIT_CONFIG_KEY_{count}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        command.env("GIT_CONFIG_COUNT", count.to_string());
        command
    }
}

/// The program and the programs that it starts, which are a process group. Dropped before its end, all of it is killed.
struct Family {
    git: Child,
}

impl Drop for Family {
    fn drop(&mut self) {
        // Nothing once it was waited for: its number may be another's by then.
        let group = self.git.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            // Of those that have ended there is none left to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn ended(mut family: Family, complaint: String) -> Result<(), GitError> {
    let status = family.git.wait().await.map_err(GitError::Run)?;
    if status.success() { Ok(()) } else { Err(GitError::Failed { message: complaint }) }
}

async fn copy(from: Option<impl AsyncRead + Unpin>, file: &Path, bytes_max: u64) -> Result<(), GitError> {
    let Some(mut from) = from else { return Ok(()) };
    let mut file = tokio::fs::File::create(file).await.map_err(GitError::Run)?;
    let (mut buffer, mut total) = (vec![0; BUFFER_BYTES], 0_u64);
    loop {
        let read = from.read(&mut buffer).await.map_err(GitError::Run)?;
        if read == 0 {
            return file.flush().await.map_err(GitError::Run);
        }
        total += read as u64;
        if total > bytes_max {
            return Err(GitError::TooLarge { limit: bytes_max });
        }
        file.write_all(buffer.get(..read).unwrap_or_default()).await.map_err(GitError::Run)?;
    }
}

/// The last line of what the program complained about, as it may be shown to a stranger.
async fn complaint(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut text = Vec::new();
    // What could not be read is not told.
    let _ = (&mut from).take(COMPLAINT_BYTES_MAX).read_to_end(&mut text).await;
    // The rest is thrown away, so that the program does not wait for a reader.
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rfind(|line| line.starts_with("fatal:") || line.starts_with("error:"));
    let line = line.or(text.lines().last()).unwrap_or("nothing");
    line.chars().filter(|character| !character.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_git_that_knows_no_configuration_by_variables_goes_through_the_proxy_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        for scheme in ["http", "https"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let proxy = format!("socks5h://guard:password@{}", listener.local_addr().unwrap());
            let git = Command { folder: folder.path(), proxy, scheme };
            let url = format!("{scheme}://host.invalid/kiln.git");
            let mut old = git.prepared(&["ls-remote", "--", &url], Stdio::null());
            let mut old = old.env_remove("GIT_CONFIG_COUNT").spawn().unwrap();
            let is_asked = tokio::select! {
                accepted = listener.accept() => accepted.is_ok(),
                _ = old.wait() => false,
            };
            assert!(is_asked, "{scheme}: it went another way");
        }
    }

    #[tokio::test]
    async fn what_git_has_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let git = Command { folder: folder.path(), proxy: String::new(), scheme: "https" };
        // An alias that begins so is a program, which here starts another one.
        let arguments = ["-c", "alias.linger=!echo begun; sleep 60; true", "linger"];
        let mut family = git.start(&arguments, Stdio::piped()).unwrap();
        let mut stdout = family.git.stdout.take().unwrap();
        let mut begun = [0; 6];
        stdout.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"begun\n");
        drop(family);
        // The other end is open as long as one of them runs.
        let read = tokio::time::timeout(PATIENCE, stdout.read_to_end(&mut Vec::new())).await;
        assert_eq!(read.expect("all have ended").unwrap(), 0);
    }
}
