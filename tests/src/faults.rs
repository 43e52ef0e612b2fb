//! Bad disks for a real node: system calls that fail or take long (`strace`), a file system that is small or turns
//! read-only (`mount`), and chance that a seed repeats.
//!
//! Both need rights that a container may lack: then nothing is made, and a line on standard error says so.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::wait::eventually;

/// A whole number from the environment.
pub fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Numbers that look random and that `TWINMCP_SEED` repeats (xorshift64*, Vigna 2016).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins at the seed of the environment, or at one of its own, and tells which.
    #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
    pub fn new() -> Self {
        let seed = variable("TWINMCP_SEED").unwrap_or_else(|| u64::from(std::process::id()) | 1 << 40);
        eprintln!("TWINMCP_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit.max(1)
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells whoever reads the run that a part of it was not run, and why.
#[expect(clippy::print_stderr, reason = "somebody who reads the run has to see what it left out")]
pub fn left_out(why: &str) {
    eprintln!("NOT RUN: {why}");
}

/// System calls of one process that go wrong for as long as this lives.
#[derive(Debug)]
pub struct Fault {
    strace: Child,
}

impl Fault {
    /// Makes `calls` (comma-separated) of process `pid` on `files` do `what`, e.g. `error=EIO`. Nothing when processes
    /// may not be traced here.
    pub async fn inject(pid: u32, calls: &str, what: &str, files: &[PathBuf]) -> Option<Self> {
        let told = tempfile::NamedTempFile::new().expect("the machine has a temporary folder");
        let errors = File::options().append(true).open(told.path()).expect("a temporary file can be written");
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &pid.to_string(), "-o", "/dev/null"]);
        for file in files {
            command.arg("-P").arg(file);
        }
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{what}")]);
        let strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        let Ok(mut strace) = strace else {
            left_out("the program `strace` is not installed");
            return None;
        };
        let attached = eventually("strace to attach to the node", async || {
            let text = fs::read_to_string(told.path()).unwrap_or_default();
            let ended = strace.try_wait().ok().flatten().is_some();
            if text.contains("attached") { Some(true) } else { ended.then_some(false) }
        })
        .await;
        if !attached {
            left_out(&format!(
                "processes may not be traced here: {}",
                fs::read_to_string(told.path()).unwrap_or_default()
            ));
            return None;
        }
        Some(Self { strace })
    }

    /// A command that starts a program whose `calls` on `files` do `what` from its beginning. Nothing when processes
    /// may not be traced here.
    pub fn from_the_start(calls: &str, what: &str, files: &[PathBuf]) -> Option<Vec<String>> {
        let works = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
        if !works.is_ok_and(|status| status.success()) {
            left_out("processes may not be traced here, or `strace` is not installed");
            return None;
        }
        let mut command: Vec<String> = ["strace", "-D", "-f", "-o", "/dev/null"].map(str::to_owned).into();
        for file in files {
            command.extend(["-P".to_owned(), file.display().to_string()]);
        }
        command.extend([
            "-e".to_owned(),
            format!("trace={calls}"),
            "-e".to_owned(),
            format!("inject={calls}:{what}"),
        ]);
        Some(command)
    }

    /// Everything works again.
    pub async fn mend(mut self) {
        self.detach();
        eventually("strace to let go of the node", async || self.strace.try_wait().ok().flatten()).await;
    }

    fn detach(&self) {
        let _ = Command::new("kill").args(["-INT", &self.strace.id().to_string()]).status();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            self.detach();
            let _ = self.strace.wait();
        }
    }
}

/// A file system of a few megabytes in memory, gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one of `megabytes`. Nothing when file systems may not be mounted here.
    pub fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("the machine has a temporary folder");
        let size = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).stderr(Stdio::null());
        let mounted = mount.status();
        if !mounted.is_ok_and(|status| status.success()) {
            left_out("file systems may not be mounted here");
            return None;
        }
        Some(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut ballast =
            File::options().create(true).append(true).open(self.ballast()).expect("there is room for a name");
        let mut size = 1 << 20;
        while size > 0 {
            if ballast.write_all(&vec![7; size]).is_err() {
                size /= 2;
            }
        }
    }

    /// Makes room again.
    pub fn empty(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is there");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes no writes any more, or takes them again; no file may be open for writing.
    pub fn set_read_only(&self, is_read_only: bool) {
        let options = if is_read_only { "remount,ro" } else { "remount,rw" };
        let status = Command::new("mount").args(["-o", options]).arg(self.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "{options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
