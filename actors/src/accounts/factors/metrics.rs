//! What second factors tell about themselves.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use super::super::AccountsError;
use super::Factor;

/// Counts what was shown, and what was sent.
#[derive(Clone)]
pub(crate) struct FactorMetrics {
    attempts: Counter<u64>,
    texts: Counter<u64>,
}

impl FactorMetrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("twinmcp");
        let attempts = meter
            .u64_counter("twinmcp.mfa.attempts")
            .with_description("Second factors that were shown, by what became of it.")
            .build();
        let texts = meter
            .u64_counter("twinmcp.mfa.texts")
            .with_description("Codes for phones, by what became of the message.")
            .build();
        Self { attempts, texts }
    }

    /// What became of a message, by a word of a closed list.
    pub(super) fn text(&self, outcome: &'static str) {
        self.texts.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(super) fn answered<T>(&self, factor: Factor, result: &Result<T, AccountsError>) {
        let outcome = match result {
            Ok(_) => "ok",
            Err(AccountsError::WrongCode | AccountsError::WrongPasskey) => "wrong",
            Err(AccountsError::Locked { .. }) => "locked",
            Err(AccountsError::SignInExpired | AccountsError::OfferRefused) => "expired",
            Err(_) => "failed",
        };
        self.attempts.add(1, &[KeyValue::new("method", factor.as_str()), KeyValue::new("outcome", outcome)]);
    }
}
