//! `admin audit`: the audit log from a terminal.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Url;
use serde_json::{Value, json};
use twinmcp_storage::audit;

use super::client::{ClientArgs, Node};
use super::{CliError, print, tell};

/// Pages that are asked for in a row before `list` gives up on what is rare: the whole of a log of five million lines.
const PAGES_MAX: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// List events, the newest first
    List(ListArgs),
    /// Write all of it to a file, as JSON lines, and check it
    #[command(
        after_help = "Keep the printed hash apart from the file: a log that was written anew has another."
    )]
    Export {
        /// The file to write
        file: PathBuf,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Tell whether an export is as the nodes wrote it: nothing changed, removed, put in or moved
    Verify {
        /// The export; `-` reads standard input
        file: PathBuf,
        /// The hash that an export told before: that line must still be in the file, or be the one before its first
        #[arg(long, value_name = "SHA256")]
        holds: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Done by the one with this id, or by what is its
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Done to the one with this id, or to what is its
    #[arg(long, value_name = "ID")]
    object: Option<String>,
    /// This action, or every action of a noun: `api_key.`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Not before this day or moment (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this day or moment
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Events at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "COUNT")]
    limit: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn audit(command: AuditCommand) -> Result<(), CliError> {
    match command {
        AuditCommand::List(args) => list(args).await,
        AuditCommand::Export { file, client } => export(&file, &client).await,
        AuditCommand::Verify { file, holds } => verify(&file, holds.as_deref()),
    }
}

async fn list(args: ListArgs) -> Result<(), CliError> {
    let node = Node::new(&args.client, "twinmcp-cli")?;
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (mut events, mut before) = (Vec::<Value>::new(), None);
    for _ in 0..PAGES_MAX {
        let page: Value = node.get(&path(&args, wanted - events.len(), before)).await?;
        events.extend(page["events"].as_array().into_iter().flatten().cloned());
        before = page["before"].as_u64();
        if before.is_none() || events.len() >= wanted {
            break;
        }
    }
    if args.json { print(&format!("{:#}", json!({ "events": events }))) } else { print(&table(&events)) }
}

/// Where a page is, with what is looked for written as a query has to be.
fn path(args: &ListArgs, limit: usize, before: Option<u64>) -> String {
    let limit = limit.min(audit::PAGE_ITEMS_MAX).to_string();
    let before = before.map(|before| before.to_string());
    let asked = [
        ("actor", args.actor.as_ref()),
        ("object", args.object.as_ref()),
        ("action", args.action.as_ref()),
        ("since", args.since.as_ref()),
        ("until", args.until.as_ref()),
        ("limit", Some(&limit)),
        ("before", before.as_ref()),
    ];
    let pairs = asked.into_iter().filter_map(|(name, value)| Some((name, value?.as_str())));
    // The host is of no matter: only the query is taken from it.
    let query = Url::parse_with_params("http://localhost", pairs).ok();
    let query = query.as_ref().and_then(Url::query).unwrap_or_default();
    format!("/api/audit?{query}")
}

async fn export(target: &Path, client: &ClientArgs) -> Result<(), CliError> {
    let node = Node::new(client, "twinmcp-cli")?;
    let (_, verified) = node.download("/api/audit/export", target, check).await?;
    told(target, &verified)
}

fn check(file: &Path) -> Result<audit::Verified, CliError> {
    let opened =
        File::open(file).map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))?;
    audit::verify(BufReader::new(opened)).map_err(|error| CliError::failed(&error))
}

fn verify(file: &Path, holds: Option<&str>) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", file.display()));
    let input: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(File::open(file).map_err(failed)?),
    };
    let verified = audit::verify_holding(BufReader::new(input), holds);
    let verified = verified.map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))?;
    told(file, &verified)
}

/// Says what was found whole, and prints the hash that stands for all of it.
fn told(file: &Path, verified: &audit::Verified) -> Result<(), CliError> {
    let audit::Verified { first, last, hash } = verified;
    tell(&match last {
        0 => format!("{}: whole, and without any event", file.display()),
        _ => format!("{}: whole, events {first} to {last}; the last line's SHA-256 is", file.display()),
    });
    print(hash)
}

/// One line an event, in columns.
fn table(events: &[Value]) -> String {
    let mut text =
        format!("{:<24}  {:<22}  {:<7}  {:<34}  {:<34}  {}\n", "AT", "ACTION", "OUTCOME", "BY", "TO", "FROM");
    for event in events {
        let field = |name: &str| event[name].as_str().unwrap_or_default();
        let subject = |name: &str| event[name]["id"].as_str().or(event[name]["kind"].as_str()).unwrap_or("-");
        let action = match event["count"].as_u64() {
            Some(count) => format!("{} ×{count}", field("action")),
            None => field("action").to_owned(),
        };
        let from = event["address"].as_str().unwrap_or("-");
        let (at, outcome, by, to) = (field("at"), field("outcome"), subject("actor"), subject("object"));
        text += &format!("{at:<24}  {action:<22}  {outcome:<7}  {by:<34}  {to:<34}  {from}\n");
    }
    text
}
