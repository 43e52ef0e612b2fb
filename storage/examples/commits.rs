//! Synced commits of one engine, to count what they ask of the disk:
//!
//! `strace -f -c -e trace=fsync,fdatasync,sync_file_range target/debug/examples/commits sled 200 /some/folder`

use std::error::Error;
use std::path::Path;

use twinmcp_storage::engine::{Batch, Durability, EngineKind, FjallOptions, Keyspace};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, commits, folder] = &arguments[..] else {
        return Err("usage: commits fjall|sled COMMITS FOLDER".into());
    };
    let (kind, commits): (EngineKind, u32) = (kind.parse()?, commits.parse()?);
    let engine = kind.open(Path::new(folder), Keyspace::STATE, &FjallOptions::default())?;
    for number in 0..commits {
        let mut batch = Batch::new();
        batch.put(Keyspace::Jobs, format!("key {number}"), vec![7; 200]);
        engine.commit(batch, Durability::Synced)?;
    }
    // Without a close: the count is of the commits, and of opening.
    std::process::exit(0)
}
