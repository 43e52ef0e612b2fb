//! The audit log: what happened to accounts, keys, clients, members and secrets, who did it, and from where.
//!
//! A noun says what it did where it does it: `transaction.note(Event::new(Action::KeyMade, Kind::ApiKey, &id))`, one line in
//! its `apply`. Who it was travels with the command ([`Audited`]) and is put there by `Cluster::propose`, for every command that
//! [`Command::is_audited`](crate::command::Command::is_audited). To add an event is to add an [`Action`] at the end and that line.
//!
//! Key layout, in `Keyspace::Audit`: `e/<number, 64 bits big-endian>` -> [`Line`]; `h` -> [`Head`]; `b/…` -> what was spent of each budget (`budget`).
//!
//! Invariants: an event is in the log if and only if its change is in the state, because both are writes of one command; a refused
//! command leaves nothing. Each line holds the SHA-256 of the line before, so lines are never changed, and the oldest go
//! only behind an anchor. What is done without end is summed up ([`STRANGERS_PER_HOUR_MAX`], [`ACCOUNT_PER_HOUR_MAX`]), so that
//! a flood can neither fill the log nor push out what matters.

mod budget;
mod chain;
mod entry;
mod event;
mod read;
#[cfg(test)]
mod tests;
mod verify;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::command::{self, Outcome};
use crate::engine::StorageError;
use crate::transaction::Transaction;

#[cfg(test)]
pub(crate) use self::budget::Spent;
pub use self::budget::{ACCOUNT_PER_HOUR_MAX, STRANGERS_PER_HOUR_MAX};
pub use self::chain::{Head, Keep, Line};
pub use self::entry::{Entry, Subject};
pub use self::event::{Action, Actor, By, Event, EventOutcome, Kind};
pub use self::read::{Export, Filter, PAGE_ITEMS_MAX, Page, export, head, page};
pub use self::verify::{Fault, Verified, VerifyError, verify, verify_holding};

/// A command with who is behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// What is to happen.
    pub command: command::Command,
    /// Who wants it.
    pub by: By,
    /// The node they asked.
    pub node: u64,
    /// How much of the log is kept, as that node is configured.
    pub keep: Keep,
}

/// A change to the log alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Something happened that changes no state, as when an account is exported.
    Note(Event),
}

pub(crate) fn apply(transaction: &mut Transaction<'_>, command: &Command) -> Outcome {
    let Command::Note(event) = command;
    transaction.note(event.clone());
    Outcome::Done
}

/// Applies a command, and writes down what it noted unless it was refused.
pub(crate) fn attributed(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    audited: &Audited,
) -> Result<Outcome, StorageError> {
    // Of a command that nobody is behind.
    transaction.take_noted();
    let outcome = command::apply(transaction, at, &audited.command)?;
    let noted = transaction.take_noted();
    if matches!(outcome, Outcome::Done | Outcome::Burnt) && !noted.is_empty() {
        chain::append(transaction, at, audited, noted)?;
    }
    Ok(outcome)
}
