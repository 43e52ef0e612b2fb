//! Real repositories behind `git http-backend`, fetched by the real program through the tunnel.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use twinmcp_storage::clock::SystemEntropy;
use twinmcp_storage::jobs::Revision;

use super::{Command, FETCHED, Git, GitError, GitLimits, write_files};
use crate::ingest::fetch::{FetchError, Spool};
use crate::ingest::source::{Source, SourceLimits};
use crate::outbound::{Outbound, OutboundConfig, SystemResolver};
use crate::tests::git::{GitServer, Repository};
use crate::tests::site::{Page, Site};

struct Forge {
    repository: Repository,
    server: GitServer,
    folder: TempDir,
}

impl Forge {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::create(&folder.path().join("served/acme/kiln"));
        let server = GitServer::start(&folder.path().join("served")).await;
        Self { repository, server, folder }
    }

    fn url(&self) -> String {
        self.server.url("acme/kiln")
    }

    /// Path and text of each document of a revision.
    async fn files(&self, git: &Git, revision: Revision) -> Result<Vec<(String, String)>, FetchError> {
        let spool = Spool::create(self.folder.path().join("spool")).unwrap();
        let fetched = git.fetch(&self.url(), &revision, &spool).await?;
        assert_eq!(fetched.url, self.url());
        let source = Source::open(&fetched.archive, SourceLimits::default()).unwrap();
        let mut files: Vec<(String, String)> = source
            .map(|file| file.unwrap())
            .map(|file| (file.path, String::from_utf8(file.bytes).unwrap()))
            .collect();
        files.sort();
        Ok(files)
    }

    async fn sentence(&self, git: &Git, revision: Revision) -> String {
        match self.files(git, revision).await {
            Ok(files) => panic!("fetched {files:?}"),
            Err(error) => error.to_string(),
        }
    }
}

fn git_with(limits: GitLimits, allowed: &[&str]) -> Git {
    let networks = allowed.iter().map(|network| network.parse().unwrap()).collect();
    let outbound = OutboundConfig { allowed_networks: networks, ..OutboundConfig::default() };
    let outbound = Outbound::new(outbound, Arc::new(SystemResolver)).unwrap();
    Git::new(outbound, Arc::new(SystemEntropy), limits)
}

fn git() -> Git {
    git_with(GitLimits { bytes_max: 64 << 20, timeout: Duration::from_secs(60) }, &["127.0.0.1"])
}

fn file(path: &str, text: &str) -> (String, String) {
    (path.to_owned(), text.to_owned())
}

#[tokio::test]
async fn each_kind_of_revision_is_fetched() {
    let forge = Forge::start().await;
    forge.repository.commit(&[("guide/a.md", "first")]);
    forge.repository.git(&["tag", "v1"]);
    let second = forge.repository.commit(&[("guide/a.md", "second")]);
    forge.repository.git(&["tag", "--annotate", "--message=m", "v2"]);
    forge.repository.git(&["branch", "feature/x"]);
    forge.repository.commit(&[("guide/a.md", "third")]);
    for (revision, text) in [
        (Revision::Head, "third"),
        (Revision::Tag("v1".into()), "first"),
        (Revision::Tag("v2".into()), "second"),
        (Revision::Branch("feature/x".into()), "second"),
        (Revision::Commit(second), "second"),
    ] {
        let files = forge.files(&git(), revision.clone()).await.unwrap();
        assert_eq!(files, [file("guide/a.md", text)], "{revision:?}");
    }
}

#[tokio::test]
async fn the_files_are_those_of_the_repository_whatever_it_says_of_itself() {
    let forge = Forge::start().await;
    forge.repository.commit(&[
        (".gitattributes", "docs export-ignore\n*.md export-subst text eol=crlf\n"),
        (".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = http://127.0.0.2:1/x\n"),
        ("docs/a.md", "$Format:%H$\n"),
        ("README.md", "read me\n"),
    ]);
    std::os::unix::fs::symlink("/etc/passwd", forge.repository.folder().join("docs/link.md")).unwrap();
    std::os::unix::fs::symlink("/etc", forge.repository.folder().join("etc")).unwrap();
    forge.repository.commit(&[]);
    let files = forge.files(&git(), Revision::Head).await.unwrap();
    assert_eq!(files, [file("README.md", "read me\n"), file("docs/a.md", "$Format:%H$\n")]);
}

#[tokio::test]
async fn files_are_written_folder_by_folder_before_the_last_one_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::create(&folder.path().join("work"));
    repository.commit(&[("a.md", &"documentation ".repeat(10_000)), ("z/z.md", "text")]);
    repository.git(&["clone", "--quiet", "--bare", "--no-local", ".", "../bare"]);
    let bare = folder.path().join("bare");
    repository.git(&["--git-dir=../bare", "update-ref", FETCHED, "HEAD"]);
    // Loose objects, one of which can be taken away: whoever reads all folders first writes nothing.
    let packs = bare.join("objects/pack");
    for pack in std::fs::read_dir(&packs).unwrap() {
        std::fs::remove_file(pack.unwrap().path()).unwrap();
    }
    for object in repository.git(&["rev-parse", "HEAD", "HEAD:", "HEAD:a.md", "HEAD:z/z.md"]).lines() {
        let (from, name) = object.split_at(2);
        std::fs::create_dir_all(bare.join("objects").join(from)).unwrap();
        let path = format!("objects/{from}/{name}");
        std::fs::copy(repository.folder().join(".git").join(&path), bare.join(&path)).unwrap();
    }
    let git = Command { folder: &bare, proxy: String::new(), scheme: "https" };
    let archive = folder.path().join("files.tar");
    let error = write_files(&git, &archive, 1 << 20).await.unwrap_err();
    assert!(matches!(error, GitError::Failed { .. }), "{error}");
    assert!(archive.metadata().unwrap().len() > 100_000, "the first file is there");
}

#[tokio::test]
async fn what_is_not_there_is_told_in_a_sentence() {
    let forge = Forge::start().await;
    forge.repository.commit(&[("a.md", "text")]);
    let sentence = forge.sentence(&git(), Revision::Tag("v9".into())).await;
    assert!(sentence.ends_with("has no tag `v9`; check its spelling, or name a branch"), "{sentence}");
    let sentence = forge.sentence(&git(), Revision::Commit("ab".repeat(20))).await;
    assert!(sentence.contains("has no commit `abab"), "{sentence}");
    let spool = Spool::create(forge.folder.path().join("spool")).unwrap();
    let missing = forge.server.url("acme/other");
    let error = git().fetch(&missing, &Revision::Head, &spool).await.unwrap_err().to_string();
    assert!(error.contains("is not there, or wants a password"), "{error}");
}

#[tokio::test]
async fn git_goes_where_the_guard_lets_it_and_nowhere_else() {
    let forge = Forge::start().await;
    forge.repository.commit(&[("a.md", "text")]);
    let limits = GitLimits { bytes_max: 64 << 20, timeout: Duration::from_secs(60) };
    // The name is allowed as a URL and leads to loopback, which is not.
    let outside = git_with(limits, &["10.0.0.0/8"]);
    let spool = Spool::create(forge.folder.path().join("spool")).unwrap();
    for url in [forge.url(), forge.url().replace("127.0.0.1", "localhost")] {
        let error = outside.fetch(&url, &Revision::Head, &spool).await.unwrap_err().to_string();
        assert!(error.contains("an address of the machine itself"), "{url}: {error}");
    }
    assert_eq!(forge.server.requests(), 0);
}

#[tokio::test]
async fn a_server_that_sends_git_on_sends_it_no_further_than_the_guard_lets_it() {
    let forge = Forge::start().await;
    forge.repository.commit(&[("a.md", "text")]);
    // Loopback too, and not the address that is allowed.
    let hidden = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    hidden.set_nonblocking(true).unwrap();
    let spool = Spool::create(forge.folder.path().join("spool")).unwrap();
    let fetched = async |to: String| {
        let site =
            Site::start(move |path, _| Page::status(302).with("location", &format!("{to}{path}"))).await;
        let fetched = git().fetch(&site.url("/acme/kiln"), &Revision::Head, &spool).await;
        (fetched, site.asked())
    };
    for (to, says) in [
        (format!("http://{}", hidden.local_addr().unwrap()), "an address of the machine itself"),
        ("http://10.0.0.1".to_owned(), "an address of a private network"),
        ("http://169.254.169.254".to_owned(), "a link-local address"),
    ] {
        let (refused, asked) = fetched(to.clone()).await;
        let sentence = refused.unwrap_err().to_string();
        assert!(sentence.contains(says), "{to}: {sentence}");
        assert_eq!(asked, ["/acme/kiln/info/refs?service=git-upload-pack"], "{to}");
    }
    assert!(hidden.accept().is_err(), "git went where it must not");
    // It does follow where it may.
    let (fetched, _) = fetched(forge.server.url("").trim_end_matches('/').to_owned()).await;
    assert!(fetched.unwrap().archive.is_file());
}

#[tokio::test]
async fn a_repository_ends_at_its_limits() {
    let forge = Forge::start().await;
    // Compresses to nothing: only its files are too large.
    forge.repository.commit(&[("large.md", &"documentation ".repeat(100_000))]);
    let limits = |bytes_max, timeout| git_with(GitLimits { bytes_max, timeout }, &["127.0.0.1"]);
    let minute = Duration::from_secs(60);
    let sentence = forge.sentence(&limits(100_000, minute), Revision::Head).await;
    assert!(sentence.contains("have more than 100000 bytes"), "{sentence}");
    let sentence = forge.sentence(&limits(500, minute), Revision::Head).await;
    assert!(sentence.contains("more than 500 bytes"), "{sentence}");
    let sentence = forge.sentence(&limits(1 << 20, Duration::from_millis(1)), Revision::Head).await;
    assert!(sentence.contains("not fetched within 1ms"), "{sentence}");
}

#[test]
fn urls_and_names_are_checked_before_anybody_is_asked() {
    let git = git();
    let tag = |name: &str| Revision::Tag(name.to_owned());
    for (url, revision, says) in [
        ("ssh://git@host.example/r.git", Revision::Head, "`ssh:` are not fetched"),
        ("ext::sh -c id", Revision::Head, "`ext:` are not fetched"),
        ("--upload-pack=id", Revision::Head, "is not a URL"),
        ("https://me:secret@host.example/r.git", Revision::Head, "leave it out"),
        ("https://10.0.0.1/r.git", Revision::Head, "a private network"),
        ("https://host.example/r.git?x", Revision::Head, "not the URL of a repository"),
        ("https://host.example/r.git", tag("--upload-pack=id"), "cannot be a tag"),
        ("https://host.example/r.git", tag("a b"), "cannot be a tag"),
        ("https://host.example/r.git", tag("a..b"), "cannot be a tag"),
        ("https://host.example/r.git", tag("a:b"), "cannot be a tag"),
        ("https://host.example/r.git", tag(".a/b"), "cannot be a tag"),
        ("https://host.example/r.git", tag("a.lock"), "cannot be a tag"),
        ("https://host.example/r.git", tag(""), "cannot be a tag"),
        ("https://host.example/r.git", Revision::Commit("abc".into()), "whole id"),
    ] {
        let error = git.check(url, &revision).unwrap_err().to_string();
        assert!(error.contains(says), "{url} {revision:?}: {error}");
    }
    for revision in
        [tag("v1.2.3-rc.1"), Revision::Branch("feature/x_y".into()), Revision::Commit("AB".repeat(20))]
    {
        git.check("https://host.example/o/r.git", &revision).unwrap();
    }
}
