//! Text messages with codes: how many were sent, for an account, to a number, and from a network.
//!
//! Each costs whoever runs the service money and whoever has the number their peace. It is counted before it leaves, and for all three or
//! for none, so several nodes send no more than one would. What no carrier took is given back.

use serde::{Deserialize, Serialize};

use super::{people, shelf};
use crate::audit::Action;
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Accounts, numbers and networks that are counted at once; the one first seen longest ago is forgotten.
pub const TEXTS_MAX: u64 = 100_000;
/// Most messages that may be allowed of one of them, and are remembered.
pub const TEXTS_EACH_MAX: u32 = 1_000;

/// Whose messages are counted. A hash: the state holds no number and no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Whose([u8; 32]);

impl Whose {
    /// Those for an account.
    pub fn account(account: &AccountId) -> Self {
        Self(blake3::derive_key("twinmcp 2026-11 text messages for an account", account.as_str().as_bytes()))
    }

    /// Those to a number, by a hash that is made with a key of the cluster: without one, every number there is could be tried.
    pub fn number(hash: [u8; 32]) -> Self {
        Self(blake3::derive_key("twinmcp 2026-11 text messages to a number", &hash))
    }

    /// Those that somebody in this network, as text, asked for.
    pub fn network(network: &str) -> Self {
        Self(blake3::derive_key("twinmcp 2026-11 text messages from a network", network.as_bytes()))
    }
}

/// How many messages one of them may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextsAllowed {
    /// Whose.
    pub whose: Whose,
    /// So many within the time of the command.
    pub texts_max: u32,
}

/// Messages of one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// When they were counted, the oldest first; also some that are not any more.
    pub sent: Vec<Timestamp>,
}

impl Record for Texts {
    const NAME: &'static str = "text messages";
    const FORMAT: u8 = 1;
}

impl Texts {
    /// How long no further message is sent, in milliseconds, when `texts_max` are within `window_ms`; zero when one is.
    pub fn full_for_ms(&self, now: Timestamp, texts_max: u32, window_ms: u64) -> u64 {
        let oldest = self.sent.len().checked_sub(texts_max as usize).and_then(|place| self.sent.get(place));
        oldest.map_or(0, |at| at.plus_millis(window_ms).millis_since(now))
    }
}

/// A change to text messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Counts a message that is about to leave. [`Outcome::LimitReached`] when one of those that are allowed has had as many within
    /// `window_ms`: then it is counted for none.
    Send {
        /// The account it is for.
        account: AccountId,
        /// Whose messages it is one of.
        allowed: Vec<TextsAllowed>,
        /// The time within which they are counted, in milliseconds.
        window_ms: u64,
    },
    /// Gives back what did not leave: the newest of each. [`Outcome::NotFound`] when there is none.
    NotSent {
        /// Whose.
        whose: Vec<Whose>,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Send { account, allowed, window_ms } => {
            for TextsAllowed { whose, texts_max } in allowed {
                let known = texts(transaction, whose)?.unwrap_or_default();
                if *texts_max == 0 || known.full_for_ms(at, *texts_max, *window_ms) > 0 {
                    return Ok(Outcome::LimitReached);
                }
            }
            for TextsAllowed { whose, texts_max } in allowed {
                let known = texts(transaction, whose)?;
                if known.is_none() {
                    shelf::put(transaction, "texts", key(whose), TEXTS_MAX)?;
                }
                let mut texts = known.unwrap_or_default();
                texts.sent.push(at);
                let kept = (*texts_max).min(TEXTS_EACH_MAX) as usize;
                texts.sent.drain(..texts.sent.len().saturating_sub(kept));
                transaction.put(Keyspace::Accounts, key(whose), &texts)?;
            }
            transaction.note(people::about(Action::CodeSent, account));
            Ok(Outcome::Done)
        }
        Command::NotSent { whose } => {
            let mut outcome = Outcome::NotFound;
            for whose in whose {
                let mut texts = texts(transaction, whose)?.unwrap_or_default();
                if texts.sent.pop().is_some() {
                    transaction.put(Keyspace::Accounts, key(whose), &texts)?;
                    outcome = Outcome::Done;
                }
            }
            Ok(outcome)
        }
    }
}

fn key(whose: &Whose) -> Vec<u8> {
    [b"x/".as_slice(), &whose.0].concat()
}

/// The messages of one of them, if there were any.
pub fn texts(reader: &(impl Reader + ?Sized), whose: &Whose) -> Result<Option<Texts>, StorageError> {
    transaction::get(reader, Keyspace::Accounts, &key(whose))
}
