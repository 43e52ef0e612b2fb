//! `admin key`: API keys from a terminal.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{ClientArgs, Node};
use super::{CliError, print, tell};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key; its secret is shown once
    Create {
        /// What you call the key
        name: String,
        /// What it may do: docs:read, libraries:write, jobs:write, keys:write, metrics:read, admin
        #[arg(long = "scope", default_value = "docs:read", value_delimiter = ',', value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Refuse the key after so many days
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3650), value_name = "DAYS")]
        expires_in_days: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the keys of your account
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Refuse a key from now on
    Revoke {
        /// The key's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(super) async fn key(command: KeyCommand) -> Result<(), CliError> {
    match command {
        KeyCommand::Create { name, scopes, expires_in_days, json, client } => {
            let expires_in_s = expires_in_days.map(|days| days * 24 * 3600);
            let asked = json!({ "name": name, "scopes": scopes, "expires_in_s": expires_in_s });
            let made: Value = node(&client)?.post("/api/keys", &asked).await?;
            if json {
                return print(&format!("{made:#}"));
            }
            tell("This is the only time the secret is shown:");
            print(made["secret"].as_str().unwrap_or_default())
        }
        KeyCommand::List { json, client } => {
            let list: Value = node(&client)?.get("/api/keys").await?;
            if json { print(&format!("{list:#}")) } else { print(&table(&list)) }
        }
        KeyCommand::Revoke { id, client } => {
            if id.contains(['/', '?', '#', '%']) {
                return Err(CliError::Usage(format!(
                    "`{id}` is no id of a key; `twinmcp admin key list` shows them"
                )));
            }
            node(&client)?.delete(&format!("/api/keys/{id}")).await?;
            tell(&format!("{id} is refused from now on"));
            Ok(())
        }
    }
}

fn node(client: &ClientArgs) -> Result<Node, CliError> {
    Node::new(client, "twinmcp-cli")
}

/// One line a key, in columns.
fn table(list: &Value) -> String {
    let keys = list["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = format!("{:<30}  {:<9}  {:<8}  {:<24}  {}\n", "ID", "STATE", "ENDS IN", "SCOPES", "NAME");
    for key in keys {
        let state = match (key["revoked_at"].is_string(), key["valid"].as_bool()) {
            (true, _) => "revoked",
            (false, Some(true)) => "in force",
            (false, _) => "expired",
        };
        let scopes = key["scopes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let scopes: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
        let field = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
        text += &format!(
            "{:<30}  {state:<9}  …{:<7}  {:<24}  {}\n",
            field("id"),
            field("hint"),
            scopes.join(","),
            field("name")
        );
    }
    text
}
