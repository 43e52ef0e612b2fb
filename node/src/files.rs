//! How many files this process may open: every connection is one.
//!
//! Systems start processes with a small soft limit, for the sake of programs that use `select`, and
//! a large hard one. A node uses what it may.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are no connections: stores, bundles, uploads, logs, calls to other machines.
const RESERVED: u64 = 512;
/// A node that may open hardly any file still answers somebody.
const CONNECTIONS_MIN: u64 = 16;

/// Raises the soft limit of open files to the hard one; the connections there may be, at most `wanted`.
pub(crate) fn connections(wanted: usize) -> usize {
    let files_max = raise();
    let possible = files_max.map(|files| files.saturating_sub(RESERVED).max(CONNECTIONS_MIN));
    let possible = possible.and_then(|connections| usize::try_from(connections).ok()).unwrap_or(usize::MAX);
    if possible < wanted {
        tracing::warn!(
            files_max,
            connections_max = possible,
            "fewer connections than `http.connections_max`: raise the limit of open files (`LimitNOFILE`, `ulimit -n`)"
        );
    }
    wanted.min(possible)
}

/// The limit in force afterwards; nothing stands for no limit.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(error = %error, "the limit of open files stays as it is");
            limit.current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(connections(3), 3);
        let files_max = getrlimit(Resource::Nofile);
        assert_eq!(files_max.current, files_max.maximum, "the soft limit was raised");
        if let Some(files_max) = files_max.current {
            assert_eq!(
                connections(usize::MAX) as u64,
                files_max.saturating_sub(RESERVED).max(CONNECTIONS_MIN)
            );
        }
    }
}
