//! `cluster`: the operators' verbs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_cluster::JoinToken;

use super::client::{ClientArgs, Node};
use super::rotate::{self, RotateArgs};
use super::{CliError, print, tell};
use crate::peers;

/// How long `transfer-leader` waits until the other leads.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(10);
const HAND_OVER_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Show the nodes: role, version, lag, load, readiness, round trip, bundles, certificate
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a token that lets one node in; it is shown once
    Token {
        /// Refuse the token after so many minutes
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080), value_name = "MINUTES")]
        expires_in_minutes: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let the node of a configuration file into a cluster, before it is started for the first time
    #[command(
        after_help = "The token stands in a file, or in `-` for standard input, so that it is in no list of processes. \
                      Then start the node: `twinmcp serve --config FILE`"
    )]
    Join {
        /// File with the token; `-` reads it from standard input
        token: PathBuf,
        /// The node's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Let the asked node take no new work: it turns not ready, hands over leadership and waiting jobs, and finishes what runs
    Drain(ClientArgs),
    /// Let the asked node take work again
    Undrain(ClientArgs),
    /// Let a learner vote
    Promote {
        #[command(flatten)]
        node: NodeArgs,
        /// Although it fails together with another voter
        #[arg(long)]
        force: bool,
    },
    /// Let a voter only follow
    Demote(NodeArgs),
    /// End a node's part for good
    Remove(NodeArgs),
    /// Let a voter lead
    TransferLeader(NodeArgs),
    /// Make a node that does not run the only one of its cluster: when a majority is lost for ever
    #[command(
        after_help = "Run it on the node whose log goes farthest. What the lost majority had agreed on and this node never \
                      received is lost. The cluster gets a new id: all other nodes join anew, with empty data directories."
    )]
    ForceAlone {
        /// The node's configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Yes, the others are lost for ever
        #[arg(long)]
        the_others_are_lost: bool,
    },
    /// Raise what every node can read, once all run the new build
    Upgrade(ClientArgs),
    /// Replace the key that every node has, with which secrets are sealed
    RotateKey(RotateArgs),
    /// Replace the authority whose certificates nodes show each other
    RotateCa(RotateArgs),
}

#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// The node's id, as `cluster status` shows it
    id: u64,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(command: ClusterCommand) -> Result<(), CliError> {
    match command {
        ClusterCommand::Status { json, client } => {
            let view: Value = node(&client)?.get("/api/cluster").await?;
            if json { print(&format!("{view:#}")) } else { print(&table(&view)) }
        }
        ClusterCommand::Token { expires_in_minutes, json, client } => {
            let asked = json!({ "expires_in_s": expires_in_minutes * 60 });
            let made: Value = node(&client)?.post("/api/cluster/tokens", &asked).await?;
            if json {
                return print(&format!("{made:#}"));
            }
            tell(&format!(
                "This is the only time the token is shown. It lets one node in, within {expires_in_minutes} minutes:\n\
                 put it into a file on the new node, and there run `twinmcp cluster join FILE --config twinmcp.toml`"
            ));
            print(made["token"].as_str().unwrap_or_default())
        }
        ClusterCommand::Join { token, config } => join(&token, &config).await,
        ClusterCommand::Drain(client) => {
            send(&client, Method::POST, "/api/cluster/drain").await?;
            tell("the node takes no new work and does not lead; jobs that no other node can do stay on it");
            Ok(())
        }
        ClusterCommand::Undrain(client) => {
            send(&client, Method::DELETE, "/api/cluster/drain").await?;
            tell("the node takes work again");
            Ok(())
        }
        ClusterCommand::Promote { node, force } => {
            let path = format!("/api/cluster/nodes/{}/promote?force={force}", node.id);
            send(&node.client, Method::POST, &path).await?;
            tell(&format!("node {} votes", node.id));
            Ok(())
        }
        ClusterCommand::Demote(node) => {
            send(&node.client, Method::POST, &format!("/api/cluster/nodes/{}/demote", node.id)).await?;
            tell(&format!("node {} follows without a vote", node.id));
            Ok(())
        }
        ClusterCommand::Remove(node) => {
            send(&node.client, Method::DELETE, &format!("/api/cluster/nodes/{}", node.id)).await?;
            tell(&format!("node {} takes no part any more; its id is never used again", node.id));
            Ok(())
        }
        ClusterCommand::TransferLeader(node) => transfer(&node).await,
        ClusterCommand::ForceAlone { config, the_others_are_lost } => {
            if !the_others_are_lost {
                let message = "this ends the cluster as the other nodes know it; if they are lost for ever, say \
                               `--the-others-are-lost`";
                return Err(CliError::Usage(message.to_owned()));
            }
            let survivor = peers::force_alone(&super::serve::load(&config)?)
                .map_err(|error| CliError::failed(&error))?;
            tell(&format!(
                "node {} is the only one of cluster {} and counts on its log up to entry {}; start it with `twinmcp serve`",
                survivor.node, survivor.cluster, survivor.last_log_index
            ));
            Ok(())
        }
        ClusterCommand::RotateKey(args) => rotate::run("key", &args).await,
        ClusterCommand::RotateCa(args) => rotate::run("authority", &args).await,
        ClusterCommand::Upgrade(client) => {
            send(&client, Method::POST, "/api/cluster/upgrade").await?;
            let view: Value = self::node(&client)?.get("/api/cluster").await?;
            tell(&format!("the cluster has version {}", view["version"]));
            Ok(())
        }
    }
}

async fn join(token: &std::path::Path, config: &std::path::Path) -> Result<(), CliError> {
    let text = if token.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin().lock())
    } else {
        std::fs::read_to_string(token)
    };
    let text = text.map_err(|error| CliError::Usage(format!("{}: {error}", token.display())))?;
    let token: JoinToken = text.parse().map_err(|error| CliError::Usage(format!("{error}")))?;
    let config = super::serve::load(config)?;
    if config.cluster.listen.is_empty() {
        let message =
            "the configuration names no address for peers: set `cluster.listen` and `cluster.address`";
        return Err(CliError::Usage(message.to_owned()));
    }
    let joined = peers::join_now(&config, &token).await.map_err(|error| CliError::failed(&error))?;
    tell(&format!("{joined}; start it with `twinmcp serve`"));
    Ok(())
}

async fn transfer(to: &NodeArgs) -> Result<(), CliError> {
    send(&to.client, Method::POST, &format!("/api/cluster/nodes/{}/lead", to.id)).await?;
    let until = tokio::time::Instant::now() + HAND_OVER_DEADLINE;
    while tokio::time::Instant::now() < until {
        let view: Value = node(&to.client)?.get("/api/cluster").await?;
        if view["leader"] == to.id {
            tell(&format!("node {} leads", to.id));
            return Ok(());
        }
        tokio::time::sleep(HAND_OVER_PAUSE).await;
    }
    Err(CliError::Failed(format!("node {} was asked to lead, and does not yet; see `cluster status`", to.id)))
}

fn node(client: &ClientArgs) -> Result<Node, CliError> {
    Node::new(client, "twinmcp-cli")
}

async fn send(client: &ClientArgs, method: Method, path: &str) -> Result<(), CliError> {
    let node = node(client)?;
    node.send(node.request(method, path)?.timeout(Duration::from_secs(30))).await.map(drop)
}

/// One line a node, in columns.
fn table(view: &Value) -> String {
    let nodes = view["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut rows = vec![
        [
            "NODE", "NAME", "REGION", "ROLE", "VERSION", "APPLIED", "LAG", "LOAD", "READY", "RTT", "BUNDLES",
            "CERT", "ADDRESS",
        ]
        .map(str::to_owned),
    ];
    for node in nodes {
        let text = |name: &str| match &node[name] {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        let region = match node["zone"].as_str() {
            Some(zone) if !zone.is_empty() => format!("{}/{zone}", text("region")),
            _ => text("region"),
        };
        let ready = match (node["reachable"].as_bool(), node["draining"].as_bool(), node["ready"].as_bool()) {
            (Some(false) | None, ..) => "unreachable",
            (_, Some(true), _) => "draining",
            (_, _, Some(true)) => "yes",
            _ => "no",
        };
        let days = node["certificate_days"].as_u64().map_or("-".to_owned(), |days| format!("{days} d"));
        rows.push([
            text("id"),
            text("name"),
            region,
            text("role"),
            text("version"),
            text("applied_index"),
            text("lag"),
            text("load"),
            ready.to_owned(),
            node["round_trip_ms"].as_f64().map_or("-".to_owned(), |time| format!("{time:.1} ms")),
            text("bundles"),
            days,
            text("address"),
        ]);
    }
    let mut widths = [0; 13];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    let leader =
        view["leader"].as_u64().map_or("nobody leads".to_owned(), |leader| format!("node {leader} leads"));
    let id = view["id"].as_str().unwrap_or_default();
    let heading = format!("cluster {id}, version {}, {leader} in term {}", view["version"], view["term"]);
    let warnings = view["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rotations = view["rotations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rotations = rotations.iter().map(rotate::stand).filter(|stand| !stand.is_empty());
    let warnings = warnings.iter().filter_map(Value::as_str).map(str::to_owned);
    let warnings: Vec<_> = rotations.chain(warnings).map(|text| format!("\n{text}\n")).collect();
    format!("{heading}\n\n{}\n{}", lines.collect::<Vec<_>>().join("\n"), warnings.concat())
}
