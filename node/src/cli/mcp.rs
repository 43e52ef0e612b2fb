//! `mcp`: an MCP server on standard input and output that relays every call to a node. It ends with
//! its input, so that no editor leaves one behind; nothing but the protocol is written to its output.

use clap::Args;
use rmcp::ServiceExt;
use rmcp::model::Extensions;
use serde_json::{Value, json};

use super::CliError;
use super::client::{ClientArgs, Node};
use crate::mcp::{Answer, Backend, Call, Server};

#[derive(Debug, Args)]
#[command(
    after_help = "Example for a client's configuration: {\"command\": \"twinmcp\", \"args\": [\"mcp\"]}"
)]
pub(super) struct McpArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Answers that another node gives.
#[derive(Clone)]
struct Relay {
    node: Node,
}

impl Backend for Relay {
    async fn call(&self, call: Call, extensions: &Extensions) -> Answer {
        let (path, asked) = match call {
            Call::Resolve { name, query } => {
                ("/api/mcp/resolve-library-id", json!({ "libraryName": name, "query": query }))
            }
            Call::Query { library, query, tokens } => {
                ("/api/mcp/query-docs", json!({ "libraryId": library, "query": query, "tokens": tokens }))
            }
        };
        // The relay is no part of the trace: it hands on where its client is.
        match self.node.post_in::<Value>(extensions.get(), path, &asked).await {
            Ok(answer) => {
                Answer { text: answer["text"].as_str().unwrap_or_default().to_owned(), error: None }
            }
            Err(error) => Answer { text: error.to_string(), error: Some("relay_failed") },
        }
    }
}

pub(super) async fn run(args: McpArgs) -> Result<(), CliError> {
    let relay = Relay { node: Node::new(&args.client, "twinmcp-mcp")? };
    let service = match Server::new(relay).serve(rmcp::transport::io::stdio_pipes()).await {
        Ok(service) => service,
        // The client went away before it said anything.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(CliError::failed(&error)),
    };
    service.waiting().await.map_err(|error| CliError::failed(&error))?;
    Ok(())
}
