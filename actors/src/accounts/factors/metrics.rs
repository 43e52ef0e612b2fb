//! What second factors tell about themselves.

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use super::super::AccountsError;
use super::Factor;

/// Counts what was shown.
#[derive(Clone)]
pub(crate) struct FactorMetrics(Counter<u64>);

impl FactorMetrics {
    pub(crate) fn new() -> Self {
        let attempts = global::meter("twinmcp")
            .u64_counter("twinmcp.mfa.attempts")
            .with_description("Second factors that were shown, by what became of it.")
            .build();
        Self(attempts)
    }

    pub(super) fn answered<T>(&self, factor: Factor, result: &Result<T, AccountsError>) {
        let outcome = match result {
            Ok(_) => "ok",
            Err(AccountsError::WrongCode | AccountsError::WrongPasskey) => "wrong",
            Err(AccountsError::Locked { .. }) => "locked",
            Err(AccountsError::SignInExpired | AccountsError::OfferRefused) => "expired",
            Err(_) => "failed",
        };
        self.0.add(1, &[KeyValue::new("method", factor.as_str()), KeyValue::new("outcome", outcome)]);
    }
}
