//! Waiting for a condition: it is looked at often, and a deadline ends the wait with a sentence.

use std::time::Duration;

/// How long a condition may take on a busy machine. No test passes or fails by a shorter time.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The first value that `look` gives.
///
/// # Panics
/// When there was none before the [`DEADLINE`]; `what` says what was waited for.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, look).await
}

/// As [`eventually`], for what a measurement makes large.
///
/// # Panics
/// When there was none before `deadline`.
pub(crate) async fn eventually_within<T>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(deadline, found).await {
        Ok(found) => found,
        Err(_) => panic!("{what} did not happen within {} s", deadline.as_secs()),
    }
}
