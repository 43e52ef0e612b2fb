//! What sign-ins and letters tell about themselves.

use std::sync::Arc;

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use twinmcp_storage::accounts::Tried;

use super::AccountsError;
use super::SignInStep;
use super::hashing::HashingError;

#[derive(Clone)]
pub(super) struct Metrics(Arc<Instruments>);

struct Instruments {
    logins: Counter<u64>,
    lockouts: Counter<u64>,
    letters: Counter<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self(Arc::new(Instruments {
            logins: meter
                .u64_counter("twinmcp.accounts.login_attempts")
                .with_description("Attempts to sign in, by what was shown and what became of it.")
                .build(),
            lockouts: meter
                .u64_counter("twinmcp.accounts.lockouts")
                .with_description(
                    "Locks after too many wrong passwords that this node reported, by what is locked.",
                )
                .build(),
            letters: meter
                .u64_counter("twinmcp.accounts.letters")
                .with_description("Letters, by whether they left.")
                .build(),
        }))
    }

    /// Somebody tried to sign in with `method`, a word of a closed list.
    pub(super) fn signed_in(&self, method: &'static str, result: &Result<SignInStep, AccountsError>) {
        let outcome = match result {
            Ok(SignInStep::Session(_)) => "ok",
            Ok(SignInStep::Challenge(_)) => "challenged",
            Err(AccountsError::WrongCredentials) => "wrong",
            Err(AccountsError::Locked { .. }) => "locked",
            Err(AccountsError::Hashing(HashingError::Full)) => "overload",
            Err(AccountsError::Email(_) | AccountsError::Password(_)) => "malformed",
            Err(_) => "failed",
        };
        self.0.logins.add(1, &[KeyValue::new("method", method), KeyValue::new("outcome", outcome)]);
    }

    /// What somebody tried is locked now: an e-mail's name, or a network.
    pub(super) fn locked_out(&self, tried: &Tried) {
        let reason = match tried {
            Tried::Account(_) | Tried::Nobody => "name",
            Tried::Network(_) => "network",
        };
        self.0.lockouts.add(1, &[KeyValue::new("reason", reason)]);
    }

    pub(super) fn letter(&self, is_sent: bool) {
        self.0.letters.add(1, &[KeyValue::new("outcome", if is_sent { "sent" } else { "failed" })]);
    }
}
