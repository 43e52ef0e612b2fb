//! The dependency rules of `ARCHITECTURE.md`, checked from the manifests: which of our crates may
//! depend on which, and which crate alone may name a library. Tests may name more.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Table;

/// One way down; `tests` drives whole nodes.
const EDGES: &[(&str, &[&str])] = &[
    ("storage", &[]),
    ("cluster", &["storage"]),
    ("actors", &["storage", "cluster"]),
    ("node", &["storage", "cluster", "actors"]),
    // One program measures agreement alone, beside etcd.
    ("tests", &["node", "cluster", "storage"]),
    ("xtask", &[]),
    // In place of one that `openraft` names.
    ("compat/base2histogram", &[]),
];

/// Libraries that belong to one crate (two, where the reason stands beside it).
const OWNERS: &[(&str, &[&str])] = &[
    ("fjall", &["storage"]),
    ("sled", &["storage"]),
    ("xxhash-rust", &["storage"]),
    // The chain of the audit log: SHA-256, because everybody has a program for it.
    ("sha2", &["storage"]),
    ("tantivy", &["storage"]),
    ("instant-distance", &["storage"]),
    ("memmap2", &["storage"]),
    ("multiversion", &["storage", "actors"]),
    ("openraft", &["cluster"]),
    ("chitchat", &["cluster"]),
    // The types that `chitchat` asks of a transport.
    ("async-trait", &["cluster"]),
    ("anyhow", &["cluster"]),
    ("ractor", &["actors"]),
    ("governor", &["actors"]),
    // Documentation is read in `actors` and shown by the pages of `node`.
    ("pulldown-cmark", &["actors", "node"]),
    ("tokio-rustls", &["cluster"]),
    ("rustls-webpki", &["cluster"]),
    ("rcgen", &["cluster"]),
    // Signatures of webhooks; what the cluster keeps sealed; seals of gossip.
    ("ring", &["actors", "cluster", "tests"]),
    // Tokens, credentials and what lies in them, written and read.
    ("base64", &["actors", "cluster", "tests"]),
    ("rustc-hash", &["actors"]),
    ("syn", &["actors"]),
    ("tree-sitter", &["actors"]),
    ("tree-sitter-python", &["actors"]),
    ("tree-sitter-typescript", &["actors"]),
    ("ndarray", &["actors"]),
    ("matrixmultiply", &["actors"]),
    ("safetensors", &["actors"]),
    ("saphyr-parser", &["actors"]),
    // Priorities of threads, and the limit of open files.
    ("rustix", &["actors", "node", "tests"]),
    ("poem", &["node"]),
    ("poem-openapi", &["node"]),
    // The tools that the conformance suite calls by name.
    ("rmcp", &["node", "tests"]),
    // The listener, what goes out to web sites, requests between nodes, and clients that are told byte by byte what to send.
    ("hyper", &["node", "actors", "cluster", "tests"]),
    ("hyper-util", &["node", "cluster", "tests"]),
    ("askama", &["node"]),
    // The responder, and the resolvers that the tests are to it.
    ("hickory-proto", &["node", "tests"]),
    ("maxminddb", &["node"]),
    // The load harness in `tests` is a program too.
    ("clap", &["node", "tests"]),
    ("opentelemetry_sdk", &["node"]),
    ("opentelemetry-proto", &["tests"]),
    ("tracing-subscriber", &["node"]),
    // The command line is a client of a node, and the tests are; what is fetched for others passes
    // the guard in `actors/src/outbound`.
    ("reqwest", &["node", "actors", "tests"]),
    ("ipnet", &["actors"]),
    ("robotxt", &["actors"]),
    ("quick-xml", &["actors"]),
    ("argon2", &["actors"]),
    ("totp-rs", &["actors"]),
    ("webauthn-rs", &["actors"]),
    ("qrcode", &["node"]),
    ("lettre", &["actors"]),
    // Signing and verifying of tokens; and bare signatures, beside which the harness measures them.
    ("aws-lc-rs", &["actors", "tests"]),
    ("jsonwebtoken", &["actors"]),
    // Signing in at other providers; and other people's clients of ours.
    ("oauth2", &["actors", "tests"]),
    ("quick_cache", &["actors"]),
    ("openidconnect", &["tests"]),
    // The bucket of bundles, and the store that it is in tests.
    ("object_store", &["actors"]),
    ("s3s", &["tests"]),
    ("s3s-fs", &["tests"]),
];

/// Libraries that only the tests of one crate name.
const TEST_OWNERS: &[(&str, &str)] = &[
    // Simulated networks, and the dice that a simulation seeds.
    ("turmoil", "cluster"),
    ("rand", "cluster"),
];

/// Every rule that is broken, as a sentence.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    let workspace = read(&root.join("Cargo.toml"))?;
    let known: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    for member in members(&workspace) {
        if !known.contains(member.as_str()) {
            problems.push(format!("`{member}` is a member without rules: add it to xtask/src/tidy.rs"));
        }
    }
    for (name, allowed) in EDGES {
        let manifest = read(&root.join(name).join("Cargo.toml"))?;
        problems.extend(edges(name, allowed, &manifest));
        problems.extend(owners(name, &manifest));
        problems.extend(test_owners(name, &manifest));
        problems.extend(inherited(name, &manifest));
    }
    Ok(problems)
}

fn edges(name: &str, allowed: &[&str], manifest: &Table) -> Vec<String> {
    let ours =
        dependencies(manifest, "dependencies").into_iter().filter_map(|dependency| our_crate(&dependency));
    ours.filter(|dependency| !allowed.contains(dependency))
        .map(|dependency| {
            format!("`{name}` may not depend on `{dependency}`: node -> actors -> cluster -> storage")
        })
        .collect()
}

fn our_crate(dependency: &str) -> Option<&'static str> {
    let short = if dependency == "twinmcp" { "node" } else { dependency.strip_prefix("twinmcp-")? };
    EDGES.iter().map(|(name, _)| *name).find(|name| *name == short)
}

fn owners(name: &str, manifest: &Table) -> Vec<String> {
    let used = dependencies(manifest, "dependencies");
    OWNERS
        .iter()
        .filter(|(library, owners)| used.contains(*library) && !owners.contains(&name))
        .map(|(library, owners)| format!("`{name}` may not name `{library}`: it belongs to {owners:?}"))
        .collect()
}

fn test_owners(name: &str, manifest: &Table) -> Vec<String> {
    let (used, tested) = (dependencies(manifest, "dependencies"), dependencies(manifest, "dev-dependencies"));
    let broken = TEST_OWNERS
        .iter()
        .filter(|(library, owner)| used.contains(*library) || tested.contains(*library) && *owner != name);
    broken
        .map(|(library, owner)| format!("`{name}` may not name `{library}`: the tests of `{owner}` do"))
        .collect()
}

/// Versions stand once, in the workspace.
fn inherited(name: &str, manifest: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
        for (library, value) in table {
            let from_workspace = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
            if !from_workspace {
                problems
                    .push(format!("`{name}` gives `{library}` a version of its own: use `workspace = true`"));
            }
        }
    }
    problems
}

fn dependencies(manifest: &Table, section: &str) -> BTreeSet<String> {
    let table = manifest.get(section).and_then(toml::Value::as_table);
    table.into_iter().flat_map(Table::keys).cloned().collect()
}

fn members(workspace: &Table) -> Vec<String> {
    let members = workspace.get("workspace").and_then(|workspace| workspace.get("members"));
    let members = members.and_then(toml::Value::as_array).into_iter().flatten();
    members.filter_map(toml::Value::as_str).map(str::to_owned).collect()
}

fn read(path: &Path) -> Result<Table, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    text.parse().map_err(|error| format!("{} is not TOML: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_keeps_its_rules() {
        assert_eq!(check(&crate::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_that_points_up_is_found() {
        let manifest: Table = "[dependencies]\ntwinmcp-actors.workspace = true".parse().unwrap();
        assert_eq!(edges("storage", &[], &manifest).len(), 1);
        assert_eq!(edges("node", &["actors"], &manifest).len(), 0);
    }

    #[test]
    fn a_library_named_outside_its_crate_is_found() {
        let manifest: Table = "[dependencies]\npoem.workspace = true".parse().unwrap();
        assert_eq!(owners("actors", &manifest).len(), 1);
        assert_eq!(owners("node", &manifest).len(), 0);
    }

    #[test]
    fn a_library_of_tests_that_is_built_in_is_found() {
        let manifest: Table = "[dependencies]\nturmoil.workspace = true".parse().unwrap();
        assert_eq!(test_owners("cluster", &manifest).len(), 1);
        let manifest: Table = "[dev-dependencies]\nturmoil.workspace = true".parse().unwrap();
        assert_eq!(test_owners("cluster", &manifest).len(), 0);
        assert_eq!(test_owners("node", &manifest).len(), 1);
    }

    #[test]
    fn a_version_outside_the_workspace_is_found() {
        let manifest: Table = "[dev-dependencies]\ntempfile = \"3\"".parse().unwrap();
        assert_eq!(inherited("storage", &manifest).len(), 1);
    }
}
