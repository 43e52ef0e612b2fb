//! What went wrong for good, in a sentence; the first thing counts.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use tracing::error;

/// Shared by everything that can end a node's part in agreement.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    failure: Arc<OnceLock<String>>,
}

impl Health {
    /// Notes what ended it, unless something did before.
    pub(super) fn fail(&self, error: &dyn std::error::Error) {
        let message = sentence(error);
        if self.failure.set(message.clone()).is_ok() {
            error!(error = message, "consensus cannot go on");
        }
    }

    /// What ended it.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }
}

/// An error with its causes.
pub(super) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
