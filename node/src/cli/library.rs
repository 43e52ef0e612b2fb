//! `admin library`: the catalogue and the libraries of a node from a terminal.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use reqwest::{Body, Method};
use serde_json::{Map, Value, json};
use twinmcp_actors::catalogue::unpacked;
use twinmcp_storage::ids::{LibraryId, Version};

use super::client::{ClientArgs, Node};
use super::progress::Bar;
use super::{CliError, print, tell};

/// Bytes sent at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for the network.
const PIECES_WAITING_MAX: usize = 4;
/// Libraries of one page.
const PAGE_ITEMS: usize = 100;

#[derive(Debug, Subcommand)]
pub(super) enum LibraryCommand {
    /// Load catalogue entries in bulk, so that libraries are resolved before they are indexed
    #[command(
        after_help = "Each line is one entry as JSON: `id` (/org/name), and where known `title`, `description`, \
                            `ecosystem`, `popularity` (0 to 100), `versions`, `aliases`. The same file again changes \
                            nothing.\n\nExample:\n  twinmcp admin library import catalogue.jsonl.xz"
    )]
    Import {
        /// JSON lines, as they are or packed (gzip, zstd, xz); `-` for standard input
        file: PathBuf,
        /// Only check the lines, and tell what an import would do
        #[arg(long)]
        dry_run: bool,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List what is indexed
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Change what is told about a library; prints it
    Describe(DescribeArgs),
    /// Remove a library, or one version of it; of one that is only known by name, its entry
    Remove {
        /// Library ID: /org/name
        id: LibraryId,
        /// Only this version
        #[arg(long, value_name = "VERSION")]
        version: Option<Version>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// Library ID: /org/name
    id: LibraryId,
    /// Name for people
    #[arg(long)]
    title: Option<String>,
    /// One or two sentences
    #[arg(long)]
    description: Option<String>,
    /// Another name people use for it, in place of those it has; may be given several times
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// Where its source lives
    #[arg(long, value_name = "URL")]
    source_url: Option<String>,
    /// A hint for agents, in place of those it has; may be given several times
    #[arg(long = "rule", value_name = "TEXT")]
    rules: Vec<String>,
    /// How far you trust its source, 0 to 10
    #[arg(long, value_name = "0-10")]
    trust: Option<f64>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn library(command: LibraryCommand) -> Result<(), CliError> {
    match command {
        LibraryCommand::Import { file, dry_run, json, client } => {
            import(&node(&client)?, &file, dry_run, json).await
        }
        LibraryCommand::List { json, client } => {
            let libraries = list(&node(&client)?).await?;
            if json {
                print(&format!("{:#}", json!({ "libraries": libraries })))
            } else {
                print(&table(&libraries))
            }
        }
        LibraryCommand::Describe(args) => describe(args).await,
        LibraryCommand::Remove { id, version, client } => {
            let version = version.map(|version| format!("/versions/{version}")).unwrap_or_default();
            node(&client)?.delete(&format!("{}{version}", path(&id))).await?;
            tell(&format!("{id}{version} is removed"));
            Ok(())
        }
    }
}

fn node(client: &ClientArgs) -> Result<Node, CliError> {
    Node::new(client, "twinmcp-cli")
}

/// The library's path; a name with a slash is one part of it.
fn path(id: &LibraryId) -> String {
    format!("/api/libraries/{}/{}", id.owner(), id.name().replace('/', "%2F"))
}

async fn import(node: &Node, file: &Path, dry_run: bool, as_json: bool) -> Result<(), CliError> {
    let unreadable = |error: &io::Error| CliError::Usage(format!("cannot read {}: {error}", file.display()));
    let bar = Bar::of_bytes("importing", length(file).map_err(|error| unreadable(&error))?);
    let packed: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(bar.counting(io::stdin()))
    } else {
        Box::new(bar.counting(File::open(file).map_err(|error| unreadable(&error))?))
    };
    let (sender, pieces) = tokio::sync::mpsc::channel(PIECES_WAITING_MAX);
    let reading = tokio::task::spawn_blocking(move || send_all(packed, &sender));
    let request = node
        .request(Method::POST, &format!("/api/libraries/import?dry_run={dry_run}"))?
        .header("content-type", "application/octet-stream")
        .body(Body::wrap_stream(futures_util::stream::unfold(pieces, |mut pieces| async move {
            pieces.recv().await.map(|piece: io::Result<Bytes>| (piece, pieces))
        })));
    let answer = node.read::<Value>(request).await;
    // What keeps the file from being read ends the request too, and says more.
    if let Ok(Err(error)) = reading.await {
        return Err(CliError::Failed(format!("cannot read {}: {error}", file.display())));
    }
    bar.finish();
    report(&answer?, as_json)
}

/// How many bytes the file has; none for standard input.
fn length(file: &Path) -> io::Result<Option<u64>> {
    if file == Path::new("-") {
        return Ok(None);
    }
    let about = std::fs::metadata(file)?;
    if about.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Ok(Some(about.len()))
}

/// Sends the unpacked stream in pieces, until nobody takes more.
fn send_all(
    packed: Box<dyn Read + Send>,
    sender: &tokio::sync::mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let send = || -> io::Result<()> {
        let mut lines = unpacked(BufReader::new(packed))?;
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            lines.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
            if piece.is_empty() || sender.blocking_send(Ok(piece.into())).is_err() {
                return Ok(());
            }
        }
    };
    let sent = send();
    if let Err(error) = &sent {
        // The request must not look complete.
        let _ = sender.blocking_send(Err(io::Error::other(error.to_string())));
    }
    sent
}

/// Says what was done, and which lines were not taken.
fn report(report: &Value, as_json: bool) -> Result<(), CliError> {
    let count = |name: &str| report[name].as_u64().unwrap_or_default();
    if as_json {
        print(&format!("{report:#}"))?;
    } else {
        let would = if report["dry_run"] == true { "would be " } else { "" };
        print(&format!(
            "{} lines: {} {would}added, {} {would}changed, {} known already",
            count("lines"),
            count("added"),
            count("changed"),
            count("unchanged")
        ))?;
    }
    let problems = report["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    for problem in problems {
        tell(&format!("line {}: {}", problem["line"], problem["reason"].as_str().unwrap_or_default()));
    }
    match count("failed") {
        0 => Ok(()),
        failed => Err(CliError::Failed(format!("{failed} lines were not taken"))),
    }
}

async fn list(node: &Node) -> Result<Vec<Value>, CliError> {
    let mut libraries = Vec::new();
    let mut after = String::new();
    loop {
        let mut page: Value = node.get(&format!("/api/libraries?limit={PAGE_ITEMS}{after}")).await?;
        if let Some(found) = page["libraries"].as_array_mut() {
            libraries.append(found);
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", next.replace('+', "%2B")),
            None => return Ok(libraries),
        }
    }
}

/// One line a library, in columns.
fn table(libraries: &[Value]) -> String {
    let mut text =
        format!("{:<40}  {:<16}  {:>8}  {:>8}  {}\n", "ID", "VERSION", "VERSIONS", "SNIPPETS", "TITLE");
    for library in libraries {
        let versions = library["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let current = versions.iter().find(|version| version["version"] == library["current_version"]);
        let snippets = current.and_then(|current| current["snippets"].as_u64()).unwrap_or_default();
        let field = |name: &str| library[name].as_str().unwrap_or_default().to_owned();
        text += &format!(
            "{:<40}  {:<16}  {:>8}  {snippets:>8}  {}\n",
            field("id"),
            field("current_version"),
            versions.len(),
            field("title")
        );
    }
    text
}

async fn describe(args: DescribeArgs) -> Result<(), CliError> {
    let node = node(&args.client)?;
    let texts = [("title", args.title), ("description", args.description), ("source_url", args.source_url)];
    let lists = [("aliases", args.aliases), ("rules", args.rules)];
    let mut change = Map::new();
    change.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))));
    change.extend(
        lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| (name.to_owned(), json!(list))),
    );
    change.extend(args.trust.map(|trust| ("trust".to_owned(), json!(trust))));
    let library: Value = if change.is_empty() {
        node.get(&path(&args.id)).await?
    } else {
        node.patch(&path(&args.id), &Value::Object(change)).await?
    };
    print(&format!("{library:#}"))
}
