//! Where the program under test lies.

use std::env::consts::EXE_SUFFIX;
use std::path::PathBuf;

/// The program `twinmcp` of the same profile as this one, or the one that `TWINMCP_BIN` names.
///
/// Cargo builds it into the folder above the tests' own (`target/debug/deps`), also under coverage.
///
/// # Panics
/// When it has not been built.
pub fn twinmcp() -> PathBuf {
    if let Some(named) = std::env::var_os("TWINMCP_BIN") {
        return PathBuf::from(named);
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(format!("twinmcp{EXE_SUFFIX}")));
    let found = found.into_iter().find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "the program under test is not built: run `cargo build -p twinmcp{}` first",
            if cfg!(debug_assertions) { "" } else { " --release" }
        )
    })
}
