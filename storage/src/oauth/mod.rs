//! The authorization server's agreed state: who asks, what was allowed, what tokens came of it and which keys sign them.
//!
//! Every single use (of a code, of a refresh token, of a pushed request) is a compare-and-set in `apply`: whichever node
//! is asked, the log decides who was first.
//!
//! Key layout, a module each:
//!
//! - `b` -> [`base_key::BaseKey`]
//! - `c/<id>` -> [`client::Client`]; `i/<account>/<id>` -> nothing, of a client of that account
//! - `k/<kid>` -> [`signing_key::SigningKey`]
//! - `g/<hash>` -> [`code::Code`]; `p/<hash>` -> [`pushed::Pushed`]
//! - `d/<hash>` -> [`device::Device`]; `u/<user code>` -> its hash
//! - `f/<id>` -> [`grant::Grant`]; `a/<account>` -> [`grant::Grants`]; `r/<id>` -> nothing, of what was revoked
//! - `w/<account>/<hash of client>` -> [`consent::Consent`]
//! - `j/<hash>` -> nothing, of an `assertion` that was used
//! - `y/<session>/<client>` -> nothing; `o/<session>/<client>` -> [`logout::Notice`]
//! - `x/<time><key>`, `z`: see `expiry`
//!
//! Invariant: no code, token or secret is here, only hashes of 256 random bits; the base key is sealed with the cluster's key,
//! private keys with one made from the base key.

pub mod assertion;
pub mod base_key;
pub mod client;
pub mod code;
pub mod consent;
pub mod device;
mod expiry;
pub mod grant;
pub mod logout;
pub mod pushed;
pub mod signing_key;
#[cfg(test)]
pub(crate) mod tests;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::StorageError;
use crate::transaction::Transaction;

/// A change to the authorization server's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// To clients.
    Client(client::Command),
    /// To the keys that sign tokens.
    SigningKey(signing_key::Command),
    /// To authorization codes.
    Code(code::Command),
    /// To grants and their refresh tokens.
    Grant(grant::Command),
    /// To what people have allowed.
    Consent(consent::Command),
    /// To requests that clients sent ahead.
    Pushed(pushed::Command),
    /// To requests of programs without a browser.
    Device(device::Command),
    /// To the key that secrets are made from.
    BaseKey(base_key::Command),
    /// To assertions that clients have shown.
    Assertion(assertion::Command),
    /// To what clients are told of sign-outs.
    Logout(logout::Command),
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Client(command) => client::apply(transaction, at, command),
        Command::SigningKey(command) => signing_key::apply(transaction, at, command),
        Command::Code(command) => code::apply(transaction, at, command),
        Command::Grant(command) => grant::apply(transaction, at, command),
        Command::Consent(command) => consent::apply(transaction, at, command),
        Command::Pushed(command) => pushed::apply(transaction, at, command),
        Command::Device(command) => device::apply(transaction, at, command),
        Command::BaseKey(command) => base_key::apply(transaction, command),
        Command::Assertion(command) => assertion::apply(transaction, at, command),
        Command::Logout(command) => logout::apply(transaction, at, command),
    }
}
