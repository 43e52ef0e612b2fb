//! `backup` and `restore`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use twinmcp_storage::clock::SystemEntropy;

use super::client::{ClientArgs, Node};
use super::{CliError, serve, tell};
use crate::backup;
use crate::data_dir::DataDir;

#[derive(Debug, Args)]
#[command(
    after_help = "The cluster's key is not in the backup: keep `keys/master.key` of a node apart, and safe."
)]
pub(super) struct BackupArgs {
    /// The file to write
    file: PathBuf,
    /// Leave the index bundles out: a restored cluster indexes its libraries again
    #[arg(long)]
    without_bundles: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Configuration of the node to be; its data directory must be empty
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The `keys/master.key` of the cluster that was backed up, so that webhooks go on
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

pub(super) async fn backup(args: BackupArgs) -> Result<(), CliError> {
    let node = Node::new(&args.client, "twinmcp-cli")?;
    let path = format!("/api/cluster/backup?bundles={}", !args.without_bundles);
    let check = |file: &Path| backup::check(file).map_err(|error| CliError::failed(&error));
    let (bytes, bundles) = node.download(&path, &args.file, check).await?;
    tell(&format!("{}: {bytes} bytes, the agreed state and {bundles} bundles", args.file.display()));
    Ok(())
}

pub(super) fn restore(args: &RestoreArgs) -> Result<(), CliError> {
    let config = serve::load(&args.config)?;
    let failed = |error: &(dyn std::error::Error + 'static)| CliError::failed(error);
    let key = args.master_key.as_deref().map(read_key).transpose()?;
    // Before the directory is made.
    backup::check(&args.file).map_err(|error| failed(&error))?;
    let data = DataDir::open(&config.node.data_dir, &config.storage, config.search.bundles_open_max)
        .map_err(|error| failed(&error))?;
    let restored = backup::restore(&args.file, &data, &SystemEntropy).map_err(|error| failed(&error))?;
    if let Some(key) = key {
        let folder = data.keys().map_err(|error| failed(&error))?;
        folder.keep_master_key(&key, false).map_err(|error| failed(&error))?;
    }
    data.close().map_err(|error| failed(&error))?;
    tell(&format!(
        "cluster {} has one node and {} bundles; start it with `twinmcp serve`, and let others join",
        restored.cluster, restored.bundles
    ));
    Ok(())
}

fn read_key(path: &Path) -> Result<[u8; twinmcp_cluster::CLUSTER_KEY_BYTES], CliError> {
    let bytes = fs::read(path).map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
    bytes.try_into().map_err(|_| CliError::Usage(format!("{} is no master key", path.display())))
}
