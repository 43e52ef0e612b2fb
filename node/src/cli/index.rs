//! `index`: packs documentation and sends it to a node, or names a URL that the node fetches, and shows
//! the job until it ends.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_actors::ingest::source::locked::{Lockfile, PackageSource};
use twinmcp_actors::ingest::source::{Location, locate};
use twinmcp_storage::clock::{Clock, SystemClock};
use twinmcp_storage::ids::{LibraryId, Version};

use super::client::{ClientArgs, Node};
use super::pack::{PackError, Packed, pack, pack_package};
use super::progress::Bar;
use super::{CliError, print, stop_signal, tell};

/// Between two looks at a job whose event stream broke off.
const POLL_PAUSE: Duration = Duration::from_secs(1);
/// Longest event that is read, in bytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  twinmcp index ./docs --library /acme/handbook --version 2.1\n  \
                        twinmcp index Cargo.lock\n  twinmcp index package-lock.json\n  twinmcp index requirements.txt\n  \
                        twinmcp index https://docs.example/ --library /websites/example\n  \
                        twinmcp index https://host.example/org/name.git --version v1.2\n\nCtrl-C cancels the job.")]
pub(super) struct IndexArgs {
    /// A folder, an archive (.zip, .whl, .tar, .tar.gz, .tar.zst, .tar.xz, .crate), one document, a lockfile
    /// (Cargo.lock, package-lock.json, requirements.txt, uv.lock, poetry.lock), or the URL of a web site, an llms.txt
    /// or a git repository (git+https://… when it does not look like one)
    source: String,
    /// Library ID: /org/name. A lockfile makes one library for each package: /crates/name, /npm/name, /pypi/name; a git
    /// repository is called as its URL ends
    #[arg(long, value_name = "/ORG/NAME")]
    library: Option<LibraryId>,
    /// Version; today's date when left out. Of a git repository, the tag
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// Tag of a git repository; the version when that is left out
    #[arg(long, value_name = "TAG", conflicts_with_all = ["branch", "commit"])]
    tag: Option<String>,
    /// Branch of a git repository
    #[arg(long, value_name = "BRANCH", conflicts_with = "commit")]
    branch: Option<String>,
    /// Commit of a git repository, by its whole id
    #[arg(long, value_name = "ID")]
    commit: Option<String>,
    /// Where the pages are published, so that answers link to them
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Index packages of a lockfile again that are there already
    #[arg(long)]
    again: bool,
    /// Print the ended job as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// One thing to index.
struct Item {
    what: What,
    library: String,
    version: String,
    base_url: Option<String>,
}

/// Where its documents are.
enum What {
    /// On this machine: packed and sent.
    Documents(PathBuf),
    /// A package on this machine.
    Package(PackageSource),
    /// Elsewhere: the node fetches what this field of the job names.
    Elsewhere { field: &'static str, value: Value },
}

impl IndexArgs {
    fn names_a_revision(&self) -> bool {
        self.tag.is_some() || self.branch.is_some() || self.commit.is_some()
    }

    /// The version asked for, or today.
    fn version(&self) -> String {
        let today = || SystemClock.now().to_string().chars().take(10).collect();
        self.version.as_ref().map_or_else(today, ToString::to_string)
    }

    /// The library asked for.
    fn library(&self) -> Result<String, CliError> {
        let unnamed = || CliError::Usage("name the library: --library /org/name".to_owned());
        self.library.as_ref().map(ToString::to_string).ok_or_else(unnamed)
    }

    /// A repository's revision, and the library and version that it stands for.
    fn repository(&self, url: String) -> Result<Item, CliError> {
        let version = self.version.as_ref().map(ToString::to_string);
        // A version alone is the tag of that name.
        let tag = self.tag.clone().or_else(|| version.clone().filter(|_| !self.names_a_revision()));
        let library = match &self.library {
            Some(library) => library.to_string(),
            None => library_of(&url).map_or_else(|| self.library(), Ok)?,
        };
        let version = version.or_else(|| tag.clone()).unwrap_or_else(|| self.version());
        let value = json!({ "url": url, "tag": tag, "branch": self.branch, "commit": self.commit });
        let what = What::Elsewhere { field: "git", value };
        Ok(Item { what, library, version, base_url: self.base_url.clone() })
    }
}

/// `https://host/org/name.git` is the library `/org/name`.
fn library_of(url: &str) -> Option<String> {
    let path = reqwest::Url::parse(url).ok()?.path().trim_matches('/').trim_end_matches(".git").to_owned();
    let mut names = path.rsplit('/');
    let (name, org) = (names.next()?, names.next()?);
    format!("/{org}/{name}").parse::<LibraryId>().ok().map(|library| library.to_string())
}

pub(super) async fn run(args: IndexArgs) -> Result<(), CliError> {
    let location = locate(&args.source).map_err(|error| CliError::Usage(whole(&error)))?;
    let location = match location {
        Location::Web(url) if args.names_a_revision() => Location::Git(url),
        location => location,
    };
    if args.names_a_revision() && !matches!(location, Location::Git(_)) {
        return Err(CliError::Usage("only a git repository has tags, branches and commits".to_owned()));
    }
    let node = Node::new(&args.client, "twinmcp-cli")?;
    // One that is drained takes no jobs, and says that it is not ready.
    node.choose().await;
    match location {
        Location::Documents(path) => {
            let what = What::Documents(path);
            let (library, base_url) = (args.library()?, args.base_url.clone());
            let item = Item { what, library, version: args.version(), base_url };
            let job = index(&node, item).await?;
            report(&job, args.json)
        }
        Location::Web(url) => {
            let what = What::Elsewhere { field: "website", value: Value::String(url) };
            let (library, base_url) = (args.library()?, args.base_url.clone());
            let item = Item { what, library, version: args.version(), base_url };
            let job = index(&node, item).await?;
            report(&job, args.json)
        }
        Location::Git(url) => {
            let job = index(&node, args.repository(url)?).await?;
            report(&job, args.json)
        }
        Location::Lockfile(kind, path) => {
            if args.library.is_some() || args.version.is_some() || args.base_url.is_some() {
                let message = "a lockfile names its libraries and versions itself: leave out --library, --version \
                               and --base-url";
                return Err(CliError::Usage(message.to_owned()));
            }
            lockfile(&node, kind, path, args.again, args.json).await
        }
    }
}

/// Indexes each locked package that is on this machine and not on the node.
async fn lockfile(
    node: &Node,
    kind: Lockfile,
    path: PathBuf,
    again: bool,
    as_json: bool,
) -> Result<(), CliError> {
    let sources = tokio::task::spawn_blocking(move || kind.sources(&path)).await;
    let sources = sources.map_err(|error| CliError::failed(&error))?;
    let sources = sources.map_err(|error| CliError::Failed(whole(&error)))?;
    if let Some(way_out) = sources.way_out() {
        tell(&way_out);
    }
    let mut failed = 0_usize;
    let mut jobs = Vec::new();
    for package in &sources.found {
        if !again && is_indexed(node, package).await? {
            continue;
        }
        let item = Item {
            what: What::Package(package.clone()),
            library: package.library_id(),
            version: package.version.clone(),
            base_url: None,
        };
        match index(node, item).await {
            Ok(job) if as_json => jobs.push(job),
            Ok(job) => report(&job, false).unwrap_or_else(|error| {
                failed += 1;
                tell(&format!("{} {}: {error}", package.name, package.version));
            }),
            Err(CliError::Failed(reason)) if reason != CANCELLED => {
                failed += 1;
                tell(&format!("{} {}: {reason}", package.name, package.version));
            }
            Err(error) => return Err(error),
        }
    }
    if as_json {
        print(&format!("{:#}", Value::Array(jobs)))?;
    }
    if failed > 0 {
        return Err(CliError::Failed(format!("{failed} packages were not indexed")));
    }
    Ok(())
}

async fn is_indexed(node: &Node, package: &PackageSource) -> Result<bool, CliError> {
    let id = package.library_id();
    let Some((owner, name)) = id.trim_start_matches('/').split_once('/') else { return Ok(false) };
    // `@scope/name` is one part of the path.
    let path = format!("/api/libraries/{owner}/{}", name.replace('/', "%2F"));
    match node.get::<Value>(&path).await {
        Ok(library) => {
            let versions = library["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
            Ok(versions.iter().any(|version| version["version"] == package.version.as_str()))
        }
        Err(CliError::Failed(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

const CANCELLED: &str = "cancelled";

/// Starts the job of one source and follows it to the end.
async fn index(node: &Node, item: Item) -> Result<Value, CliError> {
    let bar = Bar::new(&format!("{} {}", item.library, item.version));
    let (field, value) = match item.what {
        What::Documents(path) => ("upload", sent(node, &bar, move || pack(&path)).await?),
        What::Package(package) => ("upload", sent(node, &bar, move || pack_package(&package)).await?),
        What::Elsewhere { field, value } => (field, value),
    };
    let asked = json!({
        "library": item.library, "version": item.version, "base_url": item.base_url, field: value,
    });
    let job: Value = node.post("/api/jobs", &asked).await?;
    let id = job["id"].as_str().unwrap_or_default().to_owned();
    let job = tokio::select! {
        job = follow(node, &id, &bar) => job?,
        result = stop_signal() => {
            result?;
            bar.say("cancelling");
            let _: Value = node.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await?;
            return Err(CliError::Failed(CANCELLED.to_owned()));
        }
    };
    bar.finish();
    Ok(job)
}

/// Packs and sends what is on this machine; what a job names it by.
async fn sent(
    node: &Node,
    bar: &Bar,
    pack: impl FnOnce() -> Result<Packed, PackError> + Send + 'static,
) -> Result<Value, CliError> {
    bar.say("packing");
    let packed = tokio::task::spawn_blocking(pack).await;
    let packed = packed.map_err(|error| CliError::failed(&error))?;
    let packed = packed.map_err(|error| CliError::Failed(whole(&error)))?;
    bar.say("sending");
    let upload = send(node, &packed).await?;
    Ok(json!({ "hash": upload["hash"], "name": packed.name }))
}

async fn send(node: &Node, packed: &Packed) -> Result<Value, CliError> {
    let file = tokio::fs::File::open(&packed.path).await.map_err(|error| CliError::failed(&error))?;
    let length = file.metadata().await.map_err(|error| CliError::failed(&error))?.len();
    let request = node
        .request(Method::POST, "/api/jobs/uploads")?
        .header("content-type", "application/octet-stream")
        .header("content-length", length)
        .body(reqwest::Body::from(file));
    node.read(request).await
}

/// The job when it has ended. Falls back to asking when the event stream breaks off.
async fn follow(node: &Node, id: &str, bar: &Bar) -> Result<Value, CliError> {
    loop {
        let request = node.request(Method::GET, &format!("/api/jobs/{id}/events"))?;
        if let Ok(response) = node.send(request).await {
            let mut pieces = response.bytes_stream();
            let mut text = Vec::new();
            while let Some(Ok(piece)) = pieces.next().await {
                text.extend_from_slice(&piece);
                while let Some(job) = next_event(&mut text) {
                    bar.show(&job);
                    if is_ended(&job) {
                        return Ok(job);
                    }
                }
                if text.len() > EVENT_BYTES_MAX {
                    break;
                }
            }
        }
        tokio::time::sleep(POLL_PAUSE).await;
        let job: Value = node.get(&format!("/api/jobs/{id}")).await?;
        bar.show(&job);
        if is_ended(&job) {
            return Ok(job);
        }
    }
}

/// Takes the first whole event out of `text` and gives its data.
fn next_event(text: &mut Vec<u8>) -> Option<Value> {
    loop {
        let end = text.windows(2).position(|two| two == b"\n\n")?;
        let event: Vec<u8> = text.drain(..end + 2).collect();
        let event = String::from_utf8_lossy(&event);
        let data = event.lines().find_map(|line| line.strip_prefix("data:"));
        // A comment keeps the connection open and says nothing.
        if let Some(job) = data.and_then(|data| serde_json::from_str(data.trim()).ok()) {
            return Some(job);
        }
    }
}

fn is_ended(job: &Value) -> bool {
    matches!(job["state"].as_str(), Some("done" | "failed" | "cancelled"))
}

/// Says how the job ended, and which pages were left out.
fn report(job: &Value, as_json: bool) -> Result<(), CliError> {
    let progress = &job["progress"];
    if as_json {
        print(&format!("{job:#}"))?;
    } else {
        for problem in progress["problems"].as_array().map(Vec::as_slice).unwrap_or_default() {
            tell(&format!("left out: {}", problem.as_str().unwrap_or_default()));
        }
    }
    if let Some(labelled) =
        progress["labelled"].as_object().filter(|labelled| !labelled.is_empty() && !as_json)
    {
        let counts: Vec<String> = labelled.iter().map(|(label, count)| format!("{count} {label}")).collect();
        tell(&format!(
            "passages that seem to speak to a model are labelled in answers: {}",
            counts.join(", ")
        ));
    }
    let name = format!("{} {}", text(job, "library"), text(job, "version"));
    match job["state"].as_str() {
        Some("done") if as_json => Ok(()),
        Some("done") => print(&format!(
            "indexed {name}: {} pages, {} snippets, {} files left out",
            progress["pages"], progress["snippets"], progress["skipped"]
        )),
        Some("failed") => Err(CliError::Failed(format!("{name} was not indexed: {}", text(job, "message")))),
        _ => Err(CliError::Failed(format!("{name} was not indexed: the job was cancelled"))),
    }
}

fn text<'a>(job: &'a Value, field: &str) -> &'a str {
    job[field].as_str().unwrap_or_default()
}

/// An error with its causes in one line.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    CliError::failed(error).to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        index: IndexArgs,
    }

    fn repository(arguments: &[&str]) -> (String, String, Value) {
        let line = Line::try_parse_from([&["twinmcp", "url"], arguments].concat()).unwrap();
        let item = line.index.repository("https://host.example/group/acme/kiln.git".to_owned()).unwrap();
        let What::Elsewhere { field: "git", value } = item.what else { panic!("a repository") };
        (item.library, item.version, value)
    }

    #[test]
    fn a_repository_tells_its_library_and_a_tag_its_version() {
        let (library, version, git) = repository(&["--version", "v1"]);
        assert_eq!((library.as_str(), version.as_str(), &git["tag"]), ("/acme/kiln", "v1", &json!("v1")));
        let (_, version, git) = repository(&["--tag", "v2"]);
        assert_eq!((version.as_str(), &git["tag"]), ("v2", &json!("v2")));
        let (library, version, git) =
            repository(&["--library", "/o/r", "--version", "next", "--branch", "main"]);
        assert_eq!((library.as_str(), version.as_str()), ("/o/r", "next"));
        assert_eq!((&git["tag"], &git["branch"]), (&Value::Null, &json!("main")));
        let (_, version, git) = repository(&[]);
        assert_eq!((version.len(), &git["tag"]), ("2026-01-01".len(), &Value::Null));
        assert!(Line::try_parse_from(["twinmcp", "url", "--tag", "a", "--branch", "b"]).is_err());
        assert_eq!(library_of("https://host.example/name"), None);
    }

    #[test]
    fn events_are_read_whole_and_comments_are_passed_over() {
        let mut text =
            b":\n\nevent: progress\ndata: {\"state\":\"running\"}\n\nevent: progress\ndata: {\"st".to_vec();
        assert_eq!(next_event(&mut text).unwrap()["state"], "running");
        assert!(next_event(&mut text).is_none());
        text.extend_from_slice(b"ate\":\"done\"}\n\n");
        assert!(is_ended(&next_event(&mut text).unwrap()));
        assert!(text.is_empty());
    }
}
