//! What a webhook says was pushed, and which versions that concerns.

use serde::Deserialize;
use twinmcp_storage::jobs::{Revision, Source};
use twinmcp_storage::refresh::Origin;

/// What of a push is read, as GitHub and GitLab write it; the rest says nothing here.
#[derive(Debug, Default, Deserialize)]
struct Written {
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    #[serde(default)]
    repository: Option<Repository>,
    #[serde(default)]
    project: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    #[serde(default)]
    default_branch: Option<String>,
}

/// What was pushed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Push {
    branch: Option<String>,
    tag: Option<String>,
    /// The branch that the repository shows by default, if the call says.
    default_branch: Option<String>,
}

impl Push {
    /// Reads the body of a call; an empty one, and one that names nothing, says that something changed.
    pub(super) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let written =
            if body.trim_ascii().is_empty() { Written::default() } else { serde_json::from_slice(body)? };
        let repository = written.repository.into_iter().chain(written.project);
        let mut push = Self {
            default_branch: repository.filter_map(|repository| repository.default_branch).next(),
            ..Self::default()
        };
        let reference = written.reference.unwrap_or_default();
        if let Some(branch) = reference.strip_prefix("refs/heads/") {
            push.branch = Some(branch.to_owned());
        } else if let Some(tag) = reference.strip_prefix("refs/tags/") {
            push.tag = Some(tag.to_owned());
        }
        Ok(push)
    }

    /// Whether a version that came from `origin` may be another one now.
    pub(super) fn concerns(&self, origin: &Origin, is_current: bool) -> bool {
        match &origin.source {
            Source::Git { revision, .. } => match revision {
                Revision::Branch(branch) => self.branch.as_ref() == Some(branch),
                Revision::Tag(tag) => self.tag.as_ref() == Some(tag),
                Revision::Head => {
                    self.branch.is_some()
                        && (self.default_branch.is_none() || self.branch == self.default_branch)
                }
                Revision::Commit(_) => false,
            },
            // What it was built from knows no branches.
            Source::Web { .. } | Source::Folder { .. } => is_current,
            Source::Upload { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::Timestamp;

    use super::*;

    fn origin(source: Source) -> Origin {
        Origin {
            library: "/acme/kiln".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            account: "acct_01hzy3k8w0abcdefghjkmnpqrs".parse().unwrap(),
            source,
            base_url: None,
            built: "ab".repeat(32),
            checked_at: Timestamp::from_millis(1),
        }
    }

    fn git(revision: Revision) -> Origin {
        origin(Source::Git { url: "https://example.org/kiln.git".to_owned(), revision })
    }

    #[test]
    fn a_push_concerns_the_branch_or_tag_it_names() {
        let github = |reference: &str| {
            let body =
                format!(r#"{{"ref":"{reference}","repository":{{"default_branch":"main","name":"x"}}}}"#);
            Push::read(body.as_bytes()).unwrap()
        };
        let gitlab = Push::read(
            br#"{"object_kind":"push","ref":"refs/heads/main","project":{"default_branch":"main"}}"#,
        );
        assert_eq!(gitlab.unwrap(), github("refs/heads/main"));
        let branch = |name: &str| git(Revision::Branch(name.to_owned()));
        for (push, origin, is_concerned) in [
            (github("refs/heads/main"), git(Revision::Head), true),
            (github("refs/heads/topic"), git(Revision::Head), false),
            (github("refs/heads/main"), branch("main"), true),
            (github("refs/heads/main"), branch("main2"), false),
            (github("refs/heads/feature/x"), branch("feature/x"), true),
            (github("refs/tags/v1"), git(Revision::Tag("v1".to_owned())), true),
            (github("refs/heads/v1"), git(Revision::Tag("v1".to_owned())), false),
            (github("refs/heads/main"), git(Revision::Commit("a".repeat(40))), false),
            (github(""), git(Revision::Head), false),
        ] {
            assert_eq!(push.concerns(&origin, true), is_concerned, "{push:?} {origin:?}");
        }
    }

    #[test]
    fn a_source_without_branches_is_read_again_for_the_current_version() {
        let web = origin(Source::Web { url: "https://example.org/docs/".to_owned() });
        let ping = Push::read(b"").unwrap();
        assert!(ping.concerns(&web, true) && !ping.concerns(&web, false));
        let upload = origin(Source::Upload { hash: "cd".repeat(32), name: "docs.tar".to_owned() });
        assert!(!ping.concerns(&upload, true));
        assert!(Push::read(b"payload=%7B%7D").is_err());
    }
}
