//! `quickstart`: one node with development defaults, from nothing to the first answer.
//!
//! It serves at once and indexes beside; a second start keeps everything and indexes what is missing.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use twinmcp_actors::Actors;
use twinmcp_actors::accounts::Owner;
use twinmcp_actors::ingest::source::cargo_home::CargoHome;
use twinmcp_actors::ingest::source::locked::PackageSource;
use twinmcp_actors::jobs::{JobView, Submission};
use twinmcp_storage::accounts::Account;
use twinmcp_storage::ids::{LibraryId, Version};
use twinmcp_storage::jobs::{JobState, Source};
use twinmcp_storage::scope::Scope;

use super::local::Crates;
use super::progress::Bar;
use super::{CliError, local, print, serve, stop_signal, tell};
use crate::config::Config;
use crate::node::Node;
use crate::telemetry::Telemetry;

/// Kept in the data directory for programs, and for the next start.
const FILE: &str = "quickstart.json";
/// What differs from a node for production: quiet logs, and room for somebody who tries things out.
const DEFAULTS: &str =
    "[telemetry]\nlog = \"warn\"\n\n[limits]\nanonymous_per_minute = 600\nanonymous_burst = 300\n";
/// Open jobs that are looked at, so that none is started twice.
const OPEN_JOBS_SEEN: usize = 1_000;

#[derive(Debug, Args)]
#[command(
    after_help = "The data directory keeps the key in quickstart.json, readable by you alone. Variables override \
                        defaults: TWINMCP__LIMITS__KEY_PER_MINUTE=60000.\n\nTo be reached from other machines: \
                        --listen 0.0.0.0:3000, and --allowed-host NAME for each name (addresses need none)."
)]
pub(super) struct QuickstartArgs {
    /// Where to keep everything
    #[arg(long, default_value = "twinmcp-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Most crates to index; 0 indexes nothing
    #[arg(long, default_value_t = 100, value_name = "N")]
    crates_max: usize,
    /// A host name clients may use besides loopback names and addresses; may be repeated
    #[arg(long = "allowed-host", value_name = "NAME")]
    allowed_hosts: Vec<String>,
}

/// What programs need to use the node.
#[derive(Debug, Serialize, Deserialize)]
struct Quickstart {
    url: String,
    mcp_url: String,
    api_key: String,
    owner: String,
    pid: u32,
}

pub(super) async fn run(args: QuickstartArgs) -> Result<(), CliError> {
    let mut config = Config::parse(DEFAULTS, std::env::vars())
        .map_err(|problems| CliError::Usage(format!("the configuration is wrong:\n{problems}")))?;
    config.node.data_dir.clone_from(&args.data_dir);
    config.http.listen = args.listen;
    config.http.allowed_hosts.extend(args.allowed_hosts.iter().cloned());
    let registry = registry();
    // Unpacked crates are read where they lie.
    config.ingest.folders.extend(registry.as_ref().map(|registry| registry.join("src")));

    let telemetry = Telemetry::start(&config).map_err(|error| CliError::failed(&error))?;
    let node = Node::start(config).await.map_err(|error| CliError::failed(&error))?;
    let actors = node.actors().clone();
    let owner = owner(&actors).await?;
    let file = args.data_dir.join(FILE);
    let (told, is_new) = remember(&node, &actors, &owner, &file).await?;
    let crates = match registry {
        Some(registry) if args.crates_max > 0 => Some(find(registry, args.crates_max).await?),
        _ => None,
    };
    let example = crates.as_ref().and_then(|crates| crates.packages.first()).map(PackageSource::library_id);
    print(&words(&told, is_new, &file, example.as_deref()))?;

    let indexing = async {
        match crates {
            Some(crates) => index(&actors, &owner, crates).await?,
            None => {
                tell("nothing to index was found here; `twinmcp index --help` says how to add documentation")
            }
        }
        std::future::pending::<Result<(), CliError>>().await
    };
    tokio::select! {
        result = indexing => result?,
        result = stop_signal() => result?,
    }
    serve::stop(node).await?;
    telemetry.shut_down();
    Ok(())
}

/// Where Cargo keeps the sources of published crates.
fn registry() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("CARGO_HOME").or_else(|| Some(set("HOME")?.join(".cargo")))?;
    Some(home.join("registry")).filter(|registry| registry.is_dir())
}

async fn owner(actors: &Actors) -> Result<Account, CliError> {
    match actors.accounts.first().map_err(|error| CliError::failed(&error))? {
        Some(owner) => Ok(owner),
        None => actors.accounts.create("owner").await.map_err(|error| CliError::failed(&error)),
    }
}

/// Keeps the key of an earlier start if it still opens, else makes one; writes the file anew.
async fn remember(
    node: &Node,
    actors: &Actors,
    owner: &Account,
    file: &Path,
) -> Result<(Quickstart, bool), CliError> {
    let kept =
        std::fs::read_to_string(file).ok().and_then(|text| serde_json::from_str::<Quickstart>(&text).ok());
    let kept = kept.map(|kept| kept.api_key).filter(|key| actors.api_keys.verify(key).is_ok());
    let (api_key, is_new) = match kept {
        Some(key) => (key, false),
        None => {
            let new = actors.api_keys.create(&owner.id, "quickstart", vec![Scope::Admin], None).await;
            (new.map_err(|error| CliError::failed(&error))?.secret.reveal().to_owned(), true)
        }
    };
    let url = node.url();
    let told = Quickstart {
        mcp_url: format!("{url}/mcp"),
        url,
        api_key,
        owner: owner.id.to_string(),
        pid: std::process::id(),
    };
    write_private(file, &told)
        .map_err(|error| CliError::Failed(format!("cannot write {}: {error}", file.display())))?;
    Ok((told, is_new))
}

/// Readable by its owner alone, and there whole or not at all.
fn write_private(file: &Path, told: &Quickstart) -> io::Result<()> {
    let partial = file.with_extension("partial");
    // Left behind by a start that was killed.
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut open = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&partial)?;
    let mut text = serde_json::to_string_pretty(told)?;
    text.push('\n');
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    std::fs::rename(partial, file)
}

/// What to do with the node, ready to be copied.
fn words(told: &Quickstart, is_new: bool, file: &Path, example: Option<&str>) -> String {
    let Quickstart { url, mcp_url, api_key, .. } = told;
    let file = file.display();
    let key = if is_new {
        format!("{api_key}\n               (shown this once; kept in {file})")
    } else {
        format!("as before, kept in {file}")
    };
    let shown = if is_new { api_key.as_str() } else { "tmcp_…" };
    let library = example.unwrap_or("/org/name");
    let question = if library == "/crates/tokio" { "spawn+a+blocking+task" } else { "how+do+I+begin" };
    format!(
        "TwinMCP answers.\n\n  \
           API        {url}/api\n  \
           MCP        {mcp_url}\n  \
           API docs   {url}/api/docs\n  \
           API key    {key}\n\n\
         Ask it:\n\n  \
           curl '{url}/api/v2/context?libraryId={library}&query={question}'\n\n\
         Claude Code:\n\n  \
           claude mcp add --transport http twinmcp {mcp_url} --header 'Authorization: Bearer {shown}'\n\n\
         Cursor (~/.cursor/mcp.json):\n\n  \
           {{ \"mcpServers\": {{ \"twinmcp\": {{ \"url\": \"{mcp_url}\", \
         \"headers\": {{ \"Authorization\": \"Bearer {shown}\" }} }} }} }}\n\n\
         Ctrl-C stops it; the next start keeps everything.\n"
    )
}

/// What is found on this machine, from the current folder upwards and then from the program's.
async fn find(registry: PathBuf, crates_max: usize) -> Result<Crates, CliError> {
    let home = CargoHome::from_environment();
    let home = home.ok_or_else(|| CliError::Failed("neither CARGO_HOME nor HOME is set".to_owned()))?;
    let home = home.map_err(|error| CliError::failed(&error))?;
    let folder_of = |path: io::Result<PathBuf>| path.ok().and_then(|path| path.parent().map(Path::to_owned));
    let here = std::env::current_dir().ok();
    let starts: Vec<PathBuf> = here.into_iter().chain(folder_of(std::env::current_exe())).collect();
    let found = tokio::task::spawn_blocking(move || local::find(&home, &registry, &starts, crates_max)).await;
    found.map_err(|error| CliError::failed(&error))
}

/// Indexes what is not there yet, one crate after the other.
async fn index(actors: &Actors, owner: &Account, crates: Crates) -> Result<(), CliError> {
    let mut missing = Vec::new();
    for package in crates.packages {
        match is_known(actors, owner, &package) {
            Some(true) | None => {}
            Some(false) => missing.push(package),
        }
    }
    if missing.is_empty() {
        tell("every crate found here is indexed");
        return Ok(());
    }
    let total = missing.len();
    let left_out = match crates.left_out {
        0 => String::new(),
        more => format!(" ({more} more are left out, see --crates-max)"),
    };
    tell(&format!("indexing {total} crates of {}{left_out}", crates.origin));
    let bar = Bar::new("indexing");
    let mut failed = 0_usize;
    for (index, package) in missing.iter().enumerate() {
        bar.say(format!("{}/{total}  {} {}", index + 1, package.name, package.version));
        match index_one(actors, owner, package).await {
            Ok(view) if matches!(view.job.state, JobState::Done | JobState::Unchanged) => {}
            Ok(view) => {
                failed += 1;
                tracing::warn!(package = package.name, state = ?view.job.state, "crate was not indexed");
            }
            Err(error) => {
                failed += 1;
                tracing::warn!(package = package.name, error = %error, "crate was not indexed");
            }
        }
    }
    bar.finish();
    tell(&format!("indexed {} of {total} crates", total - failed));
    Ok(())
}

/// Whether the version is indexed or being indexed; nothing for a name that can be no library.
fn is_known(actors: &Actors, owner: &Account, package: &PackageSource) -> Option<bool> {
    let id: LibraryId = package.library_id().parse().ok()?;
    let version: Version = package.version.parse().ok()?;
    let view = actors.libraries.get(Some(&Owner::Operator), &id).ok().flatten();
    let published = view.is_some_and(|view| view.versions.iter().any(|manifest| manifest.version == version));
    let jobs = actors.jobs.list(&Owner::Account(owner.id.clone()), None, OPEN_JOBS_SEEN).unwrap_or_default();
    let is_open =
        |view: &JobView| !view.job.state.is_ended() && view.job.library == id && view.job.version == version;
    Some(published || jobs.iter().any(is_open))
}

async fn index_one(actors: &Actors, owner: &Account, package: &PackageSource) -> Result<JobView, CliError> {
    let failed = |error: &(dyn std::error::Error + 'static)| CliError::failed(error);
    let source = if package.path.is_dir() {
        Source::Folder { path: package.path.to_string_lossy().into_owned() }
    } else {
        let bytes = tokio::fs::read(&package.path).await.map_err(|error| failed(&error))?;
        let mut upload = actors.jobs.uploads().begin(&owner.id).await.map_err(|error| failed(&error))?;
        upload.write(bytes.into()).await.map_err(|error| failed(&error))?;
        let upload = upload.finish().await.map_err(|error| failed(&error))?;
        Source::Upload { hash: upload.hash, name: format!("{}-{}.crate", package.name, package.version) }
    };
    let submission = Submission {
        account: owner.id.clone(),
        library: package.library_id().parse().map_err(|error| failed(&error))?,
        version: package.version.parse().map_err(|error| failed(&error))?,
        source,
        base_url: None,
    };
    let view = actors.jobs.submit(submission).await.map_err(|error| failed(&error))?;
    let who = Owner::Account(owner.id.clone());
    let mut receiver = actors.jobs.watch(&who, &view.job.id).map_err(|error| failed(&error))?;
    while !receiver.borrow_and_update().job.state.is_ended() {
        if receiver.changed().await.is_err() {
            break;
        }
    }
    actors.jobs.get(&who, &view.job.id).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn told() -> Quickstart {
        Quickstart {
            url: "http://127.0.0.1:3000".to_owned(),
            mcp_url: "http://127.0.0.1:3000/mcp".to_owned(),
            api_key: "tmcp_secret".to_owned(),
            owner: "acct_1".to_owned(),
            pid: 7,
        }
    }

    #[test]
    fn the_file_is_for_its_owner_alone_also_when_it_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        std::fs::write(file.with_extension("partial"), "left behind").unwrap();
        for _ in 0..2 {
            write_private(&file, &told()).unwrap();
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let kept: Quickstart = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!((kept.api_key.as_str(), kept.pid), ("tmcp_secret", 7));
    }

    #[test]
    fn the_key_is_printed_at_the_first_start_only() {
        let file = Path::new("data/quickstart.json");
        assert!(words(&told(), true, file, None).contains("Bearer tmcp_secret"));
        let again = words(&told(), false, file, Some("/crates/tokio"));
        assert!(!again.contains("tmcp_secret"));
        assert!(again.contains("libraryId=/crates/tokio&query="), "{again}");
    }
}
