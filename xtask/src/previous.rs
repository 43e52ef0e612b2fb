//! The oldest build that this one runs beside, made from the repository's history, for tests that start a cluster of both.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{self, Step};

/// Names its commit with the first word.
const NAMED_BY: &str = "tests/previous-build";

/// Where its program lies, built if it was not; none where the history does not go back so far.
pub(crate) fn program() -> Result<Option<PathBuf>, String> {
    let named = crate::root().join(NAMED_BY);
    let named = fs::read_to_string(&named).map_err(|error| format!("cannot read {NAMED_BY}: {error}"))?;
    let commit = named.split_whitespace().next().unwrap_or_default();
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    let folder = target.join("previous");
    let program = folder.join(format!("twinmcp-{commit}"));
    if program.is_file() {
        return Ok(Some(program));
    }
    let source = folder.join("source");
    if let Err(reason) = unpack(commit, &source) {
        run::say(&format!("NOT RUN: nodes of two builds in one cluster: {reason}"));
        return Ok(None);
    }
    let (manifest, built) = (source.join("Cargo.toml"), folder.join("target"));
    let arguments =
        ["build", "--locked", "-p", "twinmcp", "--manifest-path", &text(&manifest), "--target-dir"];
    let build = Step::cargo("the previous build", &[&arguments[..], &[&text(&built)]].concat());
    run::one(&build.with_env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    let cannot = |error: std::io::Error| format!("cannot keep the previous build: {error}");
    fs::rename(built.join("debug/twinmcp"), &program).map_err(cannot)?;
    fs::remove_dir_all(&built).map_err(cannot)?;
    fs::remove_dir_all(&source).map_err(cannot)?;
    Ok(Some(program))
}

/// Writes the tree of `commit` to the empty folder `source`.
fn unpack(commit: &str, source: &Path) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot write {}: {error}", source.display());
    if source.exists() {
        fs::remove_dir_all(source).map_err(cannot)?;
    }
    fs::create_dir_all(source).map_err(cannot)?;
    let archive = source.join("source.tar");
    run::one(&Step::new("its source", "git", &["archive", "--output", &text(&archive), commit]))?;
    run::one(&Step::new("its source", "tar", &["-xf", &text(&archive), "-C", &text(source)]))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
