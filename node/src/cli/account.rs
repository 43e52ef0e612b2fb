//! `admin account`: people from a terminal.

use std::io::Read as _;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{ClientArgs, Node};
use super::{CliError, print, tell};

/// Longest password that is read, in bytes, with the end of its line.
const PASSWORD_BYTES_MAX: u64 = 1_026;

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Let somebody in: prints a link with which they choose a password, or sets the one on standard input
    Create {
        /// Where mail reaches them
        #[arg(long, value_name = "ADDRESS")]
        email: String,
        /// What people call them; they choose when absent
        #[arg(long, default_value = "")]
        name: String,
        /// They run this service
        #[arg(long)]
        admin: bool,
        /// Read the password from standard input (its first line) instead of making a link
        #[arg(long)]
        password_stdin: bool,
        /// Send them the link too
        #[arg(long, conflicts_with = "password_stdin")]
        send: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List people, the oldest accounts first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Keep somebody out and end their sessions
    Disable {
        /// The account's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take somebody's second factors away, for whoever has lost them, and end their sessions
    ResetMfa {
        /// The account's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let somebody in again
    Enable {
        /// The account's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(super) async fn account(command: AccountCommand) -> Result<(), CliError> {
    match command {
        AccountCommand::Create { email, name, admin, password_stdin, send, json, client } => {
            let password = if password_stdin { Some(password()?) } else { None };
            let asked = json!({
                "email": email, "name": name, "operator": admin, "password": password, "send": send,
            });
            let made: Value = node(&client)?.post("/api/accounts", &asked).await?;
            if json {
                return print(&format!("{made:#}"));
            }
            match made["link"].as_str() {
                Some(link) => {
                    tell("This is the only time the link is shown; it works once:");
                    print(link)
                }
                None => print(made["account"]["id"].as_str().unwrap_or_default()),
            }
        }
        AccountCommand::List { json, client } => {
            let (node, mut people, mut path) = (node(&client)?, Vec::new(), "/api/accounts".to_owned());
            loop {
                let mut page: Value = node.get(&path).await?;
                people.extend(page["people"].as_array_mut().map(std::mem::take).unwrap_or_default());
                match page["next"].as_str() {
                    Some(next) => path = format!("/api/accounts?after={next}"),
                    None => break,
                }
            }
            if json { print(&format!("{:#}", json!({ "people": people }))) } else { print(&table(&people)) }
        }
        AccountCommand::Disable { id, client } => manage(&client, &id, true).await,
        AccountCommand::Enable { id, client } => manage(&client, &id, false).await,
        AccountCommand::ResetMfa { id, client } => {
            node(&client)?.delete(&format!("/api/accounts/{}/mfa", checked(&id)?)).await?;
            tell(&format!("{id} has no second factor any more, and every session has ended"));
            Ok(())
        }
    }
}

async fn manage(client: &ClientArgs, id: &str, disabled: bool) -> Result<(), CliError> {
    let id = checked(id)?;
    let changed = json!({ "disabled": disabled });
    let _: Value = node(client)?.patch(&format!("/api/accounts/{id}"), &changed).await?;
    tell(&format!(
        "{id} {}",
        if disabled { "is kept out, and every session has ended" } else { "may sign in" }
    ));
    Ok(())
}

/// An id that stays one part of a path.
fn checked(id: &str) -> Result<&str, CliError> {
    if id.contains(['/', '?', '#', '%']) {
        let message = format!("`{id}` is no id of an account; `twinmcp admin account list` shows them");
        return Err(CliError::Usage(message));
    }
    Ok(id)
}

fn node(client: &ClientArgs) -> Result<Node, CliError> {
    Node::new(client, "twinmcp-cli")
}

/// The first line of standard input.
fn password() -> Result<String, CliError> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(PASSWORD_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| CliError::Usage(format!("the password could not be read: {error}")))?;
    let line = text.lines().next().unwrap_or_default().to_owned();
    if line.is_empty() {
        Err(CliError::Usage("no password came on standard input".to_owned()))
    } else {
        Ok(line)
    }
}

/// One line a person, in columns.
fn table(people: &[Value]) -> String {
    let mut text = format!("{:<31}  {:<9}  {:<8}  {:<32}  {}\n", "ID", "STATE", "ROLE", "E-MAIL", "NAME");
    for person in people {
        let field = |name: &str| person[name].as_str().unwrap_or_default();
        let state = if person["disabled"] == true { "kept out" } else { "let in" };
        let role = if person["operator"] == true { "operator" } else { "person" };
        let (id, email, name) = (field("id"), field("email"), field("name"));
        text += &format!("{id:<31}  {state:<9}  {role:<8}  {email:<32}  {name}\n");
    }
    text
}
