//! `index`: packs documentation, sends it to a node, and shows the job until it ends.

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
use super::pack::{Packed, pack, pack_package};
use super::progress::Bar;
use super::{CliError, print, stop_signal, tell};

/// Between two looks at a job whose event stream broke off.
const POLL_PAUSE: Duration = Duration::from_secs(1);
/// Longest event that is read, in bytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  twinmcp index ./docs --library /acme/handbook --version 2.1\n  \
                        twinmcp index Cargo.lock\n  twinmcp index package-lock.json\n  twinmcp index requirements.txt\n\nCtrl-C cancels the job.")]
pub(super) struct IndexArgs {
    /// A folder, an archive (.zip, .whl, .tar, .tar.gz, .tar.zst, .tar.xz, .crate), one document, or a lockfile
    /// (Cargo.lock, package-lock.json, requirements.txt, uv.lock, poetry.lock)
    source: String,
    /// Library ID: /org/name. A lockfile makes one library for each package: /crates/name, /npm/name, /pypi/name
    #[arg(long, value_name = "/ORG/NAME")]
    library: Option<LibraryId>,
    /// Version; today's date when left out
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
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
    Documents(PathBuf),
    Package(PackageSource),
}

pub(super) async fn run(args: IndexArgs) -> Result<(), CliError> {
    let location = locate(&args.source).map_err(|error| CliError::Usage(whole(&error)))?;
    let node = Node::new(&args.client, "twinmcp-cli")?;
    match location {
        Location::Documents(path) => {
            let Some(library) = &args.library else {
                return Err(CliError::Usage("name the library: --library /org/name".to_owned()));
            };
            let today = || SystemClock.now().to_string().chars().take(10).collect();
            let version = args.version.as_ref().map_or_else(today, ToString::to_string);
            let base_url = args.base_url.clone();
            let item = Item { what: What::Documents(path), library: library.to_string(), version, base_url };
            let job = index(&node, item).await?;
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

/// Sends one source and follows its job to the end.
async fn index(node: &Node, item: Item) -> Result<Value, CliError> {
    let bar = Bar::new(&format!("{} {}", item.library, item.version));
    bar.say("packing");
    let what = item.what;
    let packed = tokio::task::spawn_blocking(move || match what {
        What::Documents(path) => pack(&path),
        What::Package(package) => pack_package(&package),
    });
    let packed = packed.await;
    let packed = packed.map_err(|error| CliError::failed(&error))?;
    let packed = packed.map_err(|error| CliError::Failed(whole(&error)))?;
    bar.say("sending");
    let upload = send(node, &packed).await?;
    let asked = json!({
        "library": item.library,
        "version": item.version,
        "upload": { "hash": upload["hash"], "name": packed.name },
        "base_url": item.base_url,
    });
    let job: Value = node.post("/api/jobs", &asked).await?;
    drop(packed);
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
    use super::*;

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
