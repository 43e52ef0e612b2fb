//! `admin client`: OAuth clients from a terminal.

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ClientArgs, Node};
use super::{CliError, print, tell};

#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Make a client; its secret is shown once
    Create {
        /// What people are told it is called
        name: String,
        /// What it is
        #[arg(long, value_enum, default_value_t = Kind::Machine)]
        kind: Kind,
        /// What it may ask for
        #[arg(long = "scope", default_value = "docs:read", value_delimiter = ',', value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Where people are sent back to; may stand several times
        #[arg(long = "redirect-uri", value_name = "URI", required_if_eq_any([("kind", "app"), ("kind", "public")]))]
        redirect_uris: Vec<String>,
        /// Give it access tokens that only this service reads, in place of JWTs
        #[arg(long)]
        opaque: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the clients of your account; with an operator's key everybody's
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Replace a client's secret; the one before is refused from now on
    RotateSecret {
        /// The client's id, as `list` shows it
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Remove a client: it gets no tokens any more
    Delete {
        /// The client's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// What a client is: how it gets tokens, and whether it can keep a secret.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Kind {
    /// Acts for itself, with a secret (client credentials)
    Machine,
    /// Signs people in, on a server that keeps a secret (authorization code)
    App,
    /// Signs people in, on their own machine or in their browser: no secret
    Public,
}

pub(super) async fn client(command: ClientCommand) -> Result<(), CliError> {
    match command {
        ClientCommand::Create { name, kind, scopes, redirect_uris, opaque, json, client } => {
            let grants: &[&str] = match kind {
                Kind::Machine => &["client_credentials"],
                Kind::App | Kind::Public => &["authorization_code", "refresh_token"],
            };
            let method = if matches!(kind, Kind::Public) { "none" } else { "client_secret_basic" };
            let metadata = json!({
                "client_name": name,
                "grant_types": grants,
                "token_endpoint_auth_method": method,
                "redirect_uris": redirect_uris,
                "scope": scopes.join(" "),
                "access_token_format": if opaque { "opaque" } else { "jwt" },
            });
            shown(&node(&client)?.post("/api/clients", &metadata).await?, json)
        }
        ClientCommand::List { json, client } => {
            let list: Value = node(&client)?.get("/api/clients").await?;
            if json { print(&format!("{list:#}")) } else { print(&table(&list)) }
        }
        ClientCommand::RotateSecret { id, json, client } => {
            let node = node(&client)?;
            let request = node.request(Method::POST, &format!("{}/secret", path(&id)?))?;
            shown(&node.read(request).await?, json)
        }
        ClientCommand::Delete { id, client } => {
            node(&client)?.delete(&path(&id)?).await?;
            tell(&format!("{id} gets no tokens any more; those it has end within minutes"));
            Ok(())
        }
    }
}

fn node(client: &ClientArgs) -> Result<Node, CliError> {
    Node::new(client, "twinmcp-cli")
}

fn path(id: &str) -> Result<String, CliError> {
    if id.is_empty() || id.contains(['/', '?', '#', '%']) {
        let message = format!("`{id}` is no id of a client; `twinmcp admin client list` shows them");
        return Err(CliError::Usage(message));
    }
    Ok(format!("/api/clients/{id}"))
}

/// The client's id and, this once, its secret: a line each, for a script as for a person.
fn shown(made: &Value, as_json: bool) -> Result<(), CliError> {
    if as_json {
        return print(&format!("{made:#}"));
    }
    let id = made["client_id"].as_str().unwrap_or_default();
    match made["client_secret"].as_str() {
        Some(secret) => {
            tell("This is the only time the secret is shown:");
            print(&format!("client_id={id}\nclient_secret={secret}"))
        }
        None => print(&format!("client_id={id}")),
    }
}

/// One line a client, in columns.
fn table(list: &Value) -> String {
    let clients = list["clients"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = format!("{:<30}  {:<20}  {:<32}  {}\n", "ID", "SHOWS", "SCOPES", "NAME");
    for client in clients {
        let field = |name: &str| client[name].as_str().unwrap_or_default();
        let (id, shows) = (field("client_id"), field("token_endpoint_auth_method"));
        text += &format!("{id:<30}  {shows:<20}  {:<32}  {}\n", field("scope"), field("client_name"));
    }
    text
}
