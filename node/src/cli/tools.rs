//! `resolve` and `query`: the two tools from a terminal.

use clap::Args;
use serde_json::{Value, json};

use super::client::{ClientArgs, Node};
use super::{CliError, print};

#[derive(Debug, Args)]
#[command(after_help = "Example: twinmcp resolve tokio")]
pub(super) struct ResolveArgs {
    /// Name to look for
    name: String,
    /// What you need the library for; helps to choose among equals
    #[arg(long, default_value = "", value_name = "TEXT")]
    query: String,
    /// Print JSON, with scores and reasons
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: twinmcp query /crates/tokio how do I spawn a blocking task")]
pub(super) struct QueryArgs {
    /// Library ID, with or without a version: /org/name, /org/name/1.2
    id: String,
    /// The question
    #[arg(required = true, num_args = 1..)]
    question: Vec<String>,
    /// Most tokens the answer may have
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    tokens: Option<u32>,
    /// Print JSON, with scores, links and anchors
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn resolve(args: ResolveArgs) -> Result<(), CliError> {
    let node = Node::new(&args.client, "twinmcp-cli")?;
    node.choose().await;
    let asked = json!({ "libraryName": args.name, "query": args.query });
    show(&node.post("/api/mcp/resolve-library-id", &asked).await?, args.json)
}

pub(super) async fn query(args: QueryArgs) -> Result<(), CliError> {
    let node = Node::new(&args.client, "twinmcp-cli")?;
    node.choose().await;
    let asked = json!({ "libraryId": args.id, "query": args.question.join(" "), "tokens": args.tokens });
    show(&node.post("/api/mcp/query-docs", &asked).await?, args.json)
}

fn show(answer: &Value, as_json: bool) -> Result<(), CliError> {
    if as_json {
        return print(&format!("{answer:#}"));
    }
    print(answer["text"].as_str().unwrap_or_default())
}
