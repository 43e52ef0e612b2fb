//! The command line: what each command is called, what it takes, and what it exits with.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 the
//! request failed, 2 wrong usage, 3 the node could not be reached.

mod account;
mod admin;
mod audit;
mod backup;
mod bases;
mod client;
mod clients;
mod cluster;
mod index;
mod library;
mod local;
mod mcp;
mod pack;
mod progress;
mod quickstart;
mod rotate;
mod serve;
mod tools;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Real documentation for AI agents: indexed on your machine, in the exact versions you use.
#[derive(Debug, Parser)]
#[command(
    name = "twinmcp",
    version,
    arg_required_else_help = true,
    after_help = "Begin with `twinmcp quickstart`: it indexes documentation found on this machine, serves it and prints \
                  how to ask.\n\nExit codes: 0 done, 1 the request failed, 2 wrong usage, 3 the node could not be reached."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node with development defaults: makes data, owner and key, indexes, prints how to ask
    Quickstart(quickstart::QuickstartArgs),
    /// Start a node from a configuration file
    Serve(serve::ServeArgs),
    /// Work with configuration files
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigCommand),
    /// Index documentation: a folder, an archive, one document, or the packages of a Cargo.lock
    Index(index::IndexArgs),
    /// Find libraries by name
    Resolve(tools::ResolveArgs),
    /// Ask a library's documentation
    Query(tools::QueryArgs),
    /// Speak MCP over standard input and output, for clients without HTTP; relays to a node
    Mcp(mcp::McpArgs),
    /// Operate a cluster: its nodes, who votes, who leads
    #[command(subcommand, arg_required_else_help = true)]
    Cluster(cluster::ClusterCommand),
    /// Write a backup of a running cluster to a file
    Backup(backup::BackupArgs),
    /// Make a new cluster of one node from a backup, in an empty data directory
    Restore(backup::RestoreArgs),
    /// Administer a node
    #[command(subcommand, arg_required_else_help = true)]
    Admin(AdminCommand),
    /// Print the OpenAPI document
    Openapi,
    /// Print a completion script for a shell
    #[command(
        after_help = "For bash: `twinmcp completions bash > ~/.local/share/bash-completion/completions/twinmcp`"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say everything that is wrong with a file, by key and line
    Check {
        /// The file to check
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Let people in, list them and keep them out
    #[command(subcommand, arg_required_else_help = true)]
    Account(account::AccountCommand),
    /// Make, list and remove OAuth clients; replace their secrets
    #[command(subcommand, arg_required_else_help = true)]
    Client(clients::ClientCommand),
    /// Make, list and revoke API keys
    #[command(subcommand, arg_required_else_help = true)]
    Key(admin::KeyCommand),
    /// Read, export and verify the audit log
    #[command(subcommand, arg_required_else_help = true)]
    Audit(audit::AuditCommand),
    /// Load the catalogue; list, describe and remove libraries
    #[command(subcommand, arg_required_else_help = true)]
    Library(library::LibraryCommand),
}

/// Why a command did not do what it was asked; the kind decides the exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Usage(String),
    #[error(
        "could not reach the node at {url}: {reason}. Is it running? Start one with `twinmcp quickstart`, or name another with --url or TWINMCP_URL"
    )]
    Unreachable { url: String, reason: String },
}

impl CliError {
    fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
        // Some messages tell their cause already.
        texts.dedup_by(|cause, told| told.contains(cause.as_str()));
        Self::Failed(texts.join(": "))
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Unreachable { .. } => ExitCode::from(3),
        }
    }
}

/// Runs one command to its end and says what to exit with.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and say so by their code.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            error.exit_code()
        }
    }
}

fn dispatch(command: Command) -> Result<(), CliError> {
    match command {
        Command::Quickstart(args) => block_on(quickstart::run(args)),
        Command::Serve(args) => serve::serve(&args),
        Command::Config(ConfigCommand::Check { file }) => serve::check(&file),
        Command::Index(args) => block_on(index::run(args)),
        Command::Resolve(args) => block_on(tools::resolve(args)),
        Command::Query(args) => block_on(tools::query(args)),
        Command::Mcp(args) => block_on(mcp::run(args)),
        Command::Admin(AdminCommand::Account(command)) => block_on(account::account(command)),
        Command::Admin(AdminCommand::Key(command)) => block_on(admin::key(command)),
        Command::Admin(AdminCommand::Audit(command)) => block_on(audit::audit(command)),
        Command::Admin(AdminCommand::Client(command)) => block_on(clients::client(command)),
        Command::Admin(AdminCommand::Library(command)) => block_on(library::library(command)),
        Command::Backup(args) => block_on(backup::backup(args)),
        Command::Restore(args) => backup::restore(&args),
        Command::Cluster(command) => block_on(cluster::run(command)),
        Command::Openapi => print(&crate::openapi_document()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "twinmcp", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// Runs a command on a runtime of its own.
fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    crate::tls::install();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed(&error))?;
    let result = runtime.block_on(work);
    // A read of standard input cannot be cancelled; nobody waits for it.
    runtime.shutdown_background();
    result
}

/// Writes a result. A reader that has gone away (`| head`) is no failure.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::failed(&error)),
        _ => Ok(()),
    }
}

/// Tells the person something that is no result.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Waits until somebody wants the process to end.
async fn stop_signal() -> Result<(), CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| CliError::failed(&error))?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map_err(|error| CliError::failed(&error)),
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_part_has_help() {
        Cli::command().debug_assert();
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {} has no help",
                    command.get_name(),
                    argument.get_id()
                );
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn wrong_usage_exits_with_2_and_help_with_0() {
        let code = |arguments: &[&str]| {
            let arguments = arguments.iter().map(|argument| OsString::from(*argument));
            Cli::try_parse_from(arguments).map_err(|error| error.exit_code()).err()
        };
        assert_eq!(code(&["twinmcp", "fly"]), Some(2));
        assert_eq!(code(&["twinmcp", "query"]), Some(2));
        assert_eq!(code(&["twinmcp", "--help"]), Some(0));
        assert_eq!(code(&["twinmcp", "openapi"]), None);
    }

    #[test]
    fn every_shell_gets_a_completion_script() {
        for shell in <clap_complete::Shell as clap::ValueEnum>::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "twinmcp", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("quickstart"), "{shell}");
        }
    }
}
