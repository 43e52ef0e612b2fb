//! Git repositories: one revision, without its history, by the program `git` behind the guard.
//!
//! The program and not a library: it is what servers are tested with, and it needs no second way to
//! the network, because all it says goes through a [`Tunnel`]. It is told to read no configuration of
//! the machine, to run no hook and no helper, to ask nobody, to fetch no submodule; and nothing is ever
//! checked out: `git archive` writes the files as a tar, which is then read like one that was sent, so
//! links, filters and hostile names have no place to act.
//!
//! Repositories that need a password are not read: a secret would have to live in the job's record,
//! which every node keeps.

mod command;
mod error;
mod forge;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use twinmcp_storage::clock::Entropy;
use twinmcp_storage::jobs::{REVISION_BYTES_MAX, Revision};
use url::Url;

use super::{FetchError, Spool};
use crate::outbound::{Outbound, Tunnel};
use command::Command;
pub use error::GitError;

/// The fetched revision's name in the repository of the job.
const FETCHED: &str = "refs/twinmcp/fetched";
/// The folder that wraps the files in the archive; whoever reads it takes it away again.
const WRAPPING: &str = "repository/";
/// Stronger than what the repository's own files say: the archive is the files, all and as they are.
const ATTRIBUTES: &str = "* -export-ignore -export-subst -text -ident -filter -working-tree-encoding\n";

/// What one repository may cost.
#[derive(Debug, Clone)]
pub(super) struct GitLimits {
    pub(super) bytes_max: u64,
    pub(super) timeout: Duration,
}

/// Fetches repositories.
pub(super) struct Git {
    outbound: Outbound,
    entropy: Arc<dyn Entropy>,
    limits: GitLimits,
}

/// A fetched revision.
#[derive(Debug)]
pub(super) struct Repository {
    /// Its files, as a tar archive in the spool.
    pub(super) archive: PathBuf,
    /// The repository, as a person opens it.
    pub(super) url: String,
    /// Where its files can be opened, on hosts that are known.
    pub(super) pages_at: Option<String>,
}

impl Git {
    pub(super) fn new(outbound: Outbound, entropy: Arc<dyn Entropy>, limits: GitLimits) -> Self {
        Self { outbound, entropy, limits }
    }

    /// The URL, when it and the revision can be fetched as far as can be told without asking anybody.
    pub(super) fn check(&self, url: &str, revision: &Revision) -> Result<Url, FetchError> {
        let url = self.outbound.check(url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(GitError::NotARepository { url: url.into() }.into());
        }
        reference(revision)?;
        Ok(url)
    }

    /// Fetches one revision into `spool`. Dropped, it ends the program and its connections.
    pub(super) async fn fetch(
        &self,
        url: &str,
        revision: &Revision,
        spool: &Spool,
    ) -> Result<Repository, FetchError> {
        let url = self.check(url, revision)?;
        let late = |_| GitError::Deadline { after: self.limits.timeout };
        let archive = tokio::time::timeout(self.limits.timeout, self.archive(&url, revision, spool));
        let archive = archive.await.map_err(late)??;
        Ok(Repository { archive, pages_at: forge::files_at(&url, revision), url: forge::page(&url) })
    }

    async fn archive(&self, url: &Url, revision: &Revision, spool: &Spool) -> Result<PathBuf, FetchError> {
        let password = self.password()?;
        let tunnel = Tunnel::open(self.outbound.clone(), password, self.limits.bytes_max).await;
        let tunnel = tunnel.map_err(FetchError::Spool)?;
        let repository = spool.folder().join("repository");
        let git = Command { folder: spool.folder(), proxy: tunnel.url(), scheme: url.scheme() };
        git.run(&["init", "--quiet", "--bare", "--template=", &repository.to_string_lossy()]).await?;
        let attributes = repository.join("info/attributes");
        tokio::fs::create_dir_all(repository.join("info")).await.map_err(FetchError::Spool)?;
        tokio::fs::write(attributes, ATTRIBUTES).await.map_err(FetchError::Spool)?;

        let git = Command { folder: &repository, ..git };
        let refspec = format!("+{}:{FETCHED}", reference(revision)?);
        let fetch = [
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            "--",
            url.as_str(),
            &refspec,
        ];
        if let Err(error) = git.run(&fetch).await {
            return Err(match tunnel.refusal() {
                Some(refusal) => refusal.into(),
                None => error.about(url, revision).into(),
            });
        }
        let archive = spool.folder().join("files.tar");
        write_files(&git, &archive, self.limits.bytes_max).await?;
        tokio::fs::remove_dir_all(repository).await.map_err(FetchError::Spool)?;
        Ok(archive)
    }

    fn password(&self) -> Result<String, FetchError> {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes).map_err(|error| FetchError::Spool(std::io::Error::other(error)))?;
        Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
    }
}

/// Writes the files of the fetched revision to `archive`.
async fn write_files(git: &Command<'_>, archive: &Path, bytes_max: u64) -> Result<(), GitError> {
    let prefix = format!("--prefix={WRAPPING}");
    // Where there is no work tree no attributes are read from one. It is told so that it goes from folder to folder:
    // else it would first make an index of all the files there are, which for little to fetch can be millions.
    let arguments = ["archive", "--format=tar", "--worktree-attributes", &prefix, FETCHED];
    git.write(&arguments, archive, bytes_max).await
}

/// What a server calls a revision.
fn reference(revision: &Revision) -> Result<String, GitError> {
    let named = |folder: &str, name: &String| match is_name(name) {
        true => Ok(format!("refs/{folder}/{name}")),
        false => Err(GitError::Name { name: name.chars().filter(|c| !c.is_control()).take(100).collect() }),
    };
    match revision {
        Revision::Head => Ok("HEAD".to_owned()),
        Revision::Tag(name) => named("tags", name),
        Revision::Branch(name) => named("heads", name),
        Revision::Commit(id) => {
            let whole = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            if whole { Ok(id.to_ascii_lowercase()) } else { Err(GitError::Commit) }
        }
    }
}

/// The rules of `git check-ref-format`.
fn is_name(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    (1..=REVISION_BYTES_MAX).contains(&name.len())
        && name.split('/').all(part)
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && name != "@"
        && !name.contains(|character: char| character.is_control() || " ~^:?*[\\".contains(character))
}

/// Where the files of a repository could be opened: see [`crate::fuzzing::url`].
#[cfg(fuzzing)]
pub(crate) fn fuzz_forge(url: &Url) {
    let _ = (forge::page(url), forge::files_at(url, &Revision::Head));
}

#[cfg(test)]
mod tests;
