//! `admin client`: OAuth clients from a terminal.

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};

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
    /// Change a client: what is named, and nothing else
    Change {
        /// The client's id, as `list` shows it
        id: String,
        /// What people are told it is called
        #[arg(long)]
        name: Option<String>,
        /// What it may ask for, in place of all that it might before
        #[arg(long = "scope", value_delimiter = ',', value_name = "SCOPE")]
        scopes: Option<Vec<String>>,
        /// Where people are sent back to, in place of all before; may stand several times
        #[arg(long = "redirect-uri", value_name = "URI")]
        redirect_uris: Option<Vec<String>>,
        /// Where people may be sent after they signed out, in place of all before; may stand several times, empty for nowhere
        #[arg(long = "post-logout-redirect-uri", value_name = "URI")]
        post_logout_redirect_uris: Option<Vec<String>>,
        /// How it gets tokens, in place of all ways before: authorization_code, refresh_token, client_credentials
        #[arg(long = "grant", value_delimiter = ',', value_name = "GRANT")]
        grants: Option<Vec<String>>,
        /// What its tokens are signed with: RS256, ES256 or EdDSA; empty for what the service usually signs with
        #[arg(long, value_name = "ALGORITHM")]
        algorithm: Option<String>,
        /// Where it hears that a session has ended; empty for nowhere
        #[arg(long, value_name = "URI")]
        backchannel_logout_uri: Option<String>,
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
        ClientCommand::Change {
            id,
            name,
            scopes,
            redirect_uris,
            post_logout_redirect_uris,
            grants,
            algorithm,
            backchannel_logout_uri,
            json,
            client,
        } => {
            let uris = |uris: Vec<String>| uris.into_iter().filter(|uri| !uri.is_empty()).collect::<Vec<_>>();
            let changes = changes([
                ("client_name", name.map(Value::from)),
                ("scope", scopes.map(|scopes| scopes.join(" ").into())),
                ("redirect_uris", redirect_uris.map(|it| uris(it).into())),
                ("post_logout_redirect_uris", post_logout_redirect_uris.map(|it| uris(it).into())),
                ("grant_types", grants.map(Value::from)),
                ("id_token_signed_response_alg", algorithm.map(Value::from)),
                ("backchannel_logout_uri", backchannel_logout_uri.map(Value::from)),
            ])?;
            let changed: Value = node(&client)?.patch(&path(&id)?, &changes).await?;
            match json {
                true => print(&format!("{changed:#}")),
                false => print(&table(&json!({ "clients": [changed] }))),
            }
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

/// What is to be changed of a client: what was named.
fn changes<const N: usize>(named: [(&str, Option<Value>); N]) -> Result<Value, CliError> {
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let changes: Map<String, Value> = named.collect();
    if changes.is_empty() {
        let message =
            "say what to change, such as `--name` or `--redirect-uri`; `--help` lists what there is";
        return Err(CliError::Usage(message.to_owned()));
    }
    Ok(changes.into())
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
