//! What sign-ins and letters tell about themselves.

use std::sync::Arc;

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use super::AccountsError;
use super::SignInStep;
use super::hashing::HashingError;

#[derive(Clone)]
pub(super) struct Metrics(Arc<Instruments>);

struct Instruments {
    sign_ins: Counter<u64>,
    letters: Counter<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self(Arc::new(Instruments {
            sign_ins: meter
                .u64_counter("twinmcp.accounts.sign_ins")
                .with_description("Passwords that were shown to sign in, by what became of it.")
                .build(),
            letters: meter
                .u64_counter("twinmcp.accounts.letters")
                .with_description("Letters, by whether they left.")
                .build(),
        }))
    }

    pub(super) fn signed_in(&self, result: &Result<SignInStep, AccountsError>) {
        let outcome = match result {
            Ok(SignInStep::Session(_)) => "ok",
            Ok(SignInStep::Challenge(_)) => "challenged",
            Err(AccountsError::WrongCredentials) => "wrong",
            Err(AccountsError::Locked { .. }) => "locked",
            Err(AccountsError::Hashing(HashingError::Full)) => "overload",
            Err(AccountsError::Email(_) | AccountsError::Password(_)) => "malformed",
            Err(_) => "failed",
        };
        self.0.sign_ins.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(super) fn letter(&self, is_sent: bool) {
        self.0.letters.add(1, &[KeyValue::new("outcome", if is_sent { "sent" } else { "failed" })]);
    }
}
