//! Wrong passwords: how many there were, and until when no more are taken.
//!
//! What is counted is a name that somebody typed or an address somebody came from, never an account: an e-mail that nobody
//! has is locked like one that somebody has, so a lock does not tell which it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::email::Email;
use super::shelf;
use super::upstream::Subject;
use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Names and addresses that are counted at once; the one first seen longest ago is forgotten.
pub const TRIES_MAX: u64 = 100_000;
/// Time after the last wrong try when it all begins anew, in milliseconds: a day.
const FORGOTTEN_AFTER_MS: u64 = 24 * 3600 * 1000;
/// Most doublings of the first lock.
const DOUBLINGS_MAX: u32 = 20;

/// Whose tries are counted: a hash, so that the state holds no address of somebody who only mistyped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Who([u8; 32]);

impl Who {
    /// Whoever tries to be the one with this e-mail.
    pub fn email(email: &Email) -> Self {
        Self(blake3::derive_key("twinmcp 2026-11 tries of an e-mail", email.as_str().as_bytes()))
    }

    /// Whoever shows a second factor of this account, which only happens after the password was right.
    pub fn factor(account: &AccountId) -> Self {
        Self(blake3::derive_key("twinmcp 2026-11 tries of a second factor", account.as_str().as_bytes()))
    }

    /// Whoever another provider says it is: of them no tries are counted, since there is nothing to guess.
    pub fn elsewhere(subject: &Subject) -> Self {
        Self(blake3::derive_key("twinmcp 2026-11 tries of an identity elsewhere", subject.id().as_bytes()))
    }

    /// Whoever comes from this network, as text.
    pub fn network(network: &str) -> Self {
        Self(blake3::derive_key("twinmcp 2026-11 tries of a network", network.as_bytes()))
    }
}

/// Enough of it to tell it from others in the audit log.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex()[..16])
    }
}

/// Wrong tries of one name or network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// How many, since the last right one.
    pub count: u32,
    /// When the newest was reported; of a network, since when none was forgiven.
    pub last_at: Timestamp,
    /// Until when none is taken.
    pub locked_until: Option<Timestamp>,
}

impl Record for Tries {
    const NAME: &'static str = "tries";
    const FORMAT: u8 = 1;
}

impl Tries {
    /// How long nothing is taken, in milliseconds; zero when it is.
    pub fn locked_for_ms(&self, now: Timestamp) -> u64 {
        self.locked_until.map_or(0, |until| until.millis_since(now))
    }

    /// Those of a network that are not forgiven at `at`: the more the longer nothing was wrong, in a day as many as lock it. Behind one
    /// address are many people, and no right password of one of them makes good what others had wrong.
    #[must_use]
    pub fn forgiven(self, at: Timestamp, lock_after: u32) -> Self {
        let each_ms = (FORGOTTEN_AFTER_MS / u64::from(lock_after.max(1))).max(1);
        let forgiven = at.millis_since(self.last_at) / each_ms;
        let left = u64::from(self.count).saturating_sub(forgiven);
        // What is left of the time counts for the next.
        let last_at = if left == 0 { at } else { self.last_at.plus_millis(forgiven * each_ms) };
        Self { count: u32::try_from(left).unwrap_or(u32::MAX), last_at, ..self }
    }
}

/// Whose tries they were, for the audit log: nothing is counted by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tried {
    /// Somebody who has an account.
    Account(AccountId),
    /// A name that nobody has.
    Nobody,
    /// A network, as text.
    Network(String),
}

/// A change to tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds wrong tries. From the `lock_after`th on nothing is taken for `lock_ms`, and for twice as long with each further try.
    Failed {
        /// Whose.
        who: Who,
        /// Who that is.
        tried: Tried,
        /// How many.
        count: u32,
        /// So many may be wrong.
        lock_after: u32,
        /// The first lock, in milliseconds.
        lock_ms: u64,
        /// The longest, in milliseconds.
        lock_ms_max: u64,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    let Command::Failed { who, tried, count, lock_after, lock_ms, lock_ms_max } = command;
    let (failed, locked) = match tried {
        Tried::Account(account) if *who == Who::factor(account) => {
            (Action::FactorFailed, Action::FactorLocked)
        }
        _ => (Action::SignInFailed, Action::SignInLocked),
    };
    let noted = |action| {
        let event = match tried {
            Tried::Account(account) => Event::new(action, Kind::Account, account),
            Tried::Nobody => Event::new(action, Kind::Name, who),
            Tried::Network(network) => Event::new(action, Kind::Network, network),
        };
        event.refused()
    };
    transaction.note(noted(failed).times((*count).into()));
    let before = tries(transaction, who)?;
    if before.is_none() {
        shelf::put(transaction, "tries", key(who), TRIES_MAX)?;
    }
    let before = before.filter(|tries| at.millis_since(tries.last_at) < FORGOTTEN_AFTER_MS);
    let mut tries = before.unwrap_or(Tries { count: 0, last_at: at, locked_until: None });
    match tried {
        Tried::Network(_) => tries = tries.forgiven(at, *lock_after),
        Tried::Account(_) | Tried::Nobody => tries.last_at = at,
    }
    tries.count = tries.count.saturating_add(*count);
    if tries.count >= *lock_after {
        let doublings = (tries.count - lock_after).min(DOUBLINGS_MAX);
        let locked_ms = lock_ms.saturating_mul(1 << doublings).min(*lock_ms_max);
        let until = at.plus_millis(locked_ms);
        tries.locked_until = tries.locked_until.max(Some(until));
        transaction.note(noted(locked).with("seconds", locked_ms / 1_000));
    }
    transaction.put(Keyspace::Accounts, key(who), &tries)?;
    Ok(Outcome::Done)
}

/// Begins anew after a right try. The record stays where it is, so that it stands on the shelf once.
pub(super) fn forget(transaction: &mut Transaction<'_>, who: &Who) -> Result<(), StorageError> {
    match tries(transaction, who)? {
        Some(tries) if tries.count > 0 => {
            let none = Tries { count: 0, locked_until: None, ..tries };
            transaction.put(Keyspace::Accounts, key(who), &none)
        }
        _ => Ok(()),
    }
}

fn key(who: &Who) -> Vec<u8> {
    [b"t/".as_slice(), &who.0].concat()
}

/// The wrong tries of somebody, if there were any.
pub fn tries(reader: &(impl Reader + ?Sized), who: &Who) -> Result<Option<Tries>, StorageError> {
    transaction::get(reader, Keyspace::Accounts, &key(who))
}
