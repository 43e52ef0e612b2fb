//! `mcp`: an MCP server on standard input and output that relays every call to a node. It ends with its input, with
//! SIGTERM, SIGINT and SIGHUP, and with the process that started it, so that no editor leaves one behind; nothing but the
//! protocol is written to its output, and only whole lines.

use std::pin::pin;
use std::time::Duration;

use clap::Args;
use rmcp::ServiceExt;
use rmcp::model::Extensions;
use rustix::process::{Pid, getppid};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::CliError;
use super::client::{ClientArgs, Node};
use crate::mcp::{Answer, Backend, Call, Server};

/// How long a relay outlives the process that started it, at most.
const PARENT_LOOKED_FOR_EVERY: Duration = Duration::from_secs(1);

/// Between two looks for the nearest node: as long as a list of nodes is good.
const LOOK_AROUND_EVERY: Duration = Duration::from_secs(300);

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
    let node = relay.node.clone();
    let looking = tokio::spawn(async move {
        loop {
            node.look_around().await;
            tokio::time::sleep(LOOK_AROUND_EVERY).await;
        }
    });
    let served = serve(relay).await;
    looking.abort();
    served
}

async fn serve(relay: Relay) -> Result<(), CliError> {
    let mut end = End::watch().map_err(|error| CliError::failed(&error))?;
    let service = tokio::select! {
        service = Server::new(relay).serve(rmcp::transport::io::stdio_pipes()) => service,
        () = end.comes() => return Ok(()),
    };
    let service = match service {
        Ok(service) => service,
        // The client went away before it said anything.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(CliError::failed(&error)),
    };
    let stop = service.cancellation_token();
    let mut serving = pin!(service.waiting());
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = end.comes() => {
            // Calls in progress are answered as cancelled; rmcp waits for its output for two seconds.
            stop.cancel();
            serving.await
        }
    };
    ended.map_err(|error| CliError::failed(&error))?;
    Ok(())
}

/// What ends the relay besides the end of its input, which stays open when another child of a client that died has it too.
struct End {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    parent: Option<Pid>,
}

impl End {
    /// From here on signals are noticed instead of ending the process in the middle of a line.
    fn watch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            parent: getppid(),
        })
    }

    async fn comes(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            () = orphaned(self.parent) => {}
        }
    }
}

/// Comes back once `parent` has died, which gives its children another one. The system's own signal for that is none to rely
/// on: it comes also when only the thread has ended that started the child.
async fn orphaned(parent: Option<Pid>) {
    let mut looks = tokio::time::interval(PARENT_LOOKED_FOR_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while getppid() == parent {
        looks.tick().await;
    }
}
