//! What lies on disk and comes from peers: bundles, records, commands, log entries.

use std::path::Path;
use std::sync::LazyLock;

use twinmcp_storage::accounts::Account;
use twinmcp_storage::api_keys::ApiKey;
use twinmcp_storage::bundle::{Bundle, SnippetIndex, VectorGraph};
use twinmcp_storage::command::Command;
use twinmcp_storage::jobs::Job;
use twinmcp_storage::libraries::{Library, VersionManifest};
use twinmcp_storage::{catalogue, record, refresh, usage};

use crate::archives::file;

/// Opens a bundle of whose sections only the word index is checked against its hash, and reads all of it.
pub(crate) fn bundle(data: &[u8]) {
    let Ok(bundle) = Bundle::open(&file(data)) else { return };
    for index in (0..bundle.meta().snippets.min(64)).map(SnippetIndex) {
        if let Ok(snippet) = bundle.snippet(index) {
            let _ = bundle.page(snippet.page);
        }
        let _ = (bundle.facts(index).is_ok(), bundle.section(index).is_ok(), bundle.vector(index));
    }
    for set in [bundle.first(), bundle.second()].into_iter().flatten() {
        let query = vec![0.1; set.embedder().dimensions as usize];
        let _ = set.nearest(&query, 10);
    }
}

pub(crate) fn graph(data: &[u8]) {
    if let Ok(graph) = VectorGraph::from_bytes(data) {
        let _ = graph.search(&vec![0.1; graph.dimensions()], 10);
    }
}

/// Any question to a sound bundle.
pub(crate) fn question(data: &[u8]) {
    static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../storage/src/bundle/fixtures/format-2.bundle");
        Bundle::open(&path).unwrap_or_else(|error| panic!("{error}"))
    });
    twinmcp_actors::fuzzing::question(&BUNDLE, &String::from_utf8_lossy(data));
}

/// The bytes as every kind of record; the seeds are the golden files, in hexadecimal as they lie there.
pub(crate) fn records(data: &[u8]) {
    let unhexed = std::str::from_utf8(data).ok().and_then(|text| {
        let text = text.trim();
        (0..text.len() / 2)
            .map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok())
            .collect::<Option<Vec<u8>>>()
    });
    for bytes in [Some(data.to_vec()), unhexed].into_iter().flatten() {
        let _ = record::decode::<Account>(&bytes);
        let _ = record::decode::<ApiKey>(&bytes);
        let _ = record::decode::<Library>(&bytes);
        let _ = record::decode::<VersionManifest>(&bytes);
        let _ = record::decode::<Job>(&bytes);
        let _ = record::decode::<Command>(&bytes);
        let _ = record::decode::<catalogue::Known>(&bytes);
        let _ = record::decode::<refresh::Hook>(&bytes);
        let _ = record::decode::<refresh::Origin>(&bytes);
        let _ = record::decode::<refresh::Schedule>(&bytes);
        let _ = record::decode::<usage::DayUse>(&bytes);
    }
}

pub(crate) fn log_entry(data: &[u8]) {
    twinmcp_cluster::fuzzing::log_entry(data);
}
