//! `serve` and `config check`: a node from a configuration file.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{CliError, block_on, print, stop_signal, tell};
use crate::config::{Config, Problems};
use crate::node::Node;
use crate::telemetry::Telemetry;

#[derive(Debug, Args)]
#[command(
    after_help = "Every key stands with its default in `twinmcp.sample.toml`. Variables override keys: \
                        TWINMCP__HTTP__LISTEN=0.0.0.0:3000"
)]
pub(super) struct ServeArgs {
    /// The configuration file; defaults and variables alone when left out
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn serve(args: &ServeArgs) -> Result<(), CliError> {
    let config = Config::load(args.config.as_deref()).map_err(|problems| wrong(&problems))?;
    block_on(async move {
        let telemetry = Telemetry::start(&config).map_err(|error| CliError::failed(&error))?;
        let node = Node::start(config).await.map_err(|error| CliError::failed(&error))?;
        tell(&format!("TwinMCP answers at {}", node.url()));
        stop_signal().await?;
        stop(node).await?;
        telemetry.shut_down();
        Ok(())
    })
}

/// Drains the node; a second signal ends the process at once.
pub(super) async fn stop(node: Node) -> Result<(), CliError> {
    tell("stopping; once more to stop at once");
    tokio::select! {
        result = node.stop() => result.map_err(|error| CliError::failed(&error)),
        result = stop_signal() => {
            result?;
            Err(CliError::Failed("stopped without waiting for requests in progress".to_owned()))
        }
    }
}

pub(super) fn check(file: &Path) -> Result<(), CliError> {
    Config::load(Some(file)).map_err(|problems| CliError::Failed(problems.to_string()))?;
    print(&format!("{} is right", file.display()))
}

/// The configuration in `file`.
pub(super) fn load(file: &Path) -> Result<Config, CliError> {
    Config::load(Some(file)).map_err(|problems| wrong(&problems))
}

fn wrong(problems: &Problems) -> CliError {
    CliError::Usage(format!("the configuration is wrong:\n{problems}"))
}
