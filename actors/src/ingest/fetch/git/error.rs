//! Why a repository was not fetched.

use std::io;
use std::time::Duration;

use twinmcp_storage::jobs::{REVISION_BYTES_MAX, Revision};
use url::Url;

/// Why a repository was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The URL names something inside a page, not a repository.
    #[error("`{url}` is not the URL of a repository; give what `git clone` takes")]
    NotARepository {
        /// What was given.
        url: String,
    },
    /// A tag or branch by a name that git does not take.
    #[error(
        "`{name}` cannot be a tag or branch; names have 1 to {REVISION_BYTES_MAX} characters and no spaces"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// Half a commit id.
    #[error("a commit is named by its whole id, 40 hex digits")]
    Commit,
    /// No program to do it.
    #[error("this node has no git to fetch repositories with; install it, or send an archive")]
    NoProgram(#[source] io::Error),
    /// The server has no such tag, branch or commit.
    #[error("`{url}` has no {revision}; check its spelling, or name a branch")]
    NoRevision {
        /// The repository.
        url: String,
        /// What was asked for.
        revision: String,
    },
    /// Not there, or not for everybody.
    #[error(
        "`{url}` is not there, or wants a password; repositories that are not public are sent as archives"
    )]
    NotPublic {
        /// The repository.
        url: String,
    },
    /// Too slow or too large.
    #[error("the repository was not fetched within {after:?} (`fetch.git_timeout_ms`)")]
    Deadline {
        /// The limit.
        after: Duration,
    },
    /// More files than may be.
    #[error("the repository's files have more than {limit} bytes (`fetch.git_bytes_max`)")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Anything else, in git's words.
    #[error("git said: {message}")]
    Failed {
        /// The last line of its complaint.
        message: String,
    },
    /// The program could not be run or read.
    #[error("failed to run git")]
    Run(#[source] io::Error),
}

impl GitError {
    /// A name of the reason from a closed list, for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotARepository { .. } => "no_repository",
            Self::Name { .. } | Self::Commit | Self::NoRevision { .. } => "no_revision",
            Self::NoProgram(_) => "no_git",
            Self::NotPublic { .. } => "not_public",
            Self::Deadline { .. } => "deadline",
            Self::TooLarge { .. } => "too_large",
            Self::Failed { .. } | Self::Run(_) => "git",
        }
    }

    /// The same with what was asked for, where git's words tell what it is.
    pub(super) fn about(self, url: &Url, revision: &Revision) -> Self {
        let Self::Failed { message } = self else { return self };
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let url = url.to_string();
        if says(&["find remote ref", "not our ref", "no such remote ref", "unadvertised object"]) {
            let revision = match revision {
                Revision::Head => "commits".to_owned(),
                Revision::Tag(name) => format!("tag `{name}`"),
                Revision::Branch(name) => format!("branch `{name}`"),
                Revision::Commit(id) => format!("commit `{id}`"),
            };
            return Self::NoRevision { url, revision };
        }
        if says(&[
            "could not read Username",
            "could not read Password",
            "not found",
            "Authentication failed",
            "error: 403",
        ]) {
            return Self::NotPublic { url };
        }
        Self::Failed { message }
    }
}
