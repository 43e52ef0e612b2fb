//! How much of one kind is told in an hour, so that nobody fills the log at will.
//!
//! Each action has a budget for everybody who is not known, and one for each account. What goes beyond is counted, and told in one line
//! when the hour is over. Operators and nodes have none: all they do is told.
//!
//! Key layout, in `Keyspace::Audit`: `b/<hour since 1970, 64 bits big-endian>/<action>/<account, or nothing>` -> [`Spent`].

use serde::{Deserialize, Serialize};

use super::chain::Head;
use super::event::{Action, Actor, By, Event, EventOutcome, Kind};
use crate::accounts;
use crate::clock::Timestamp;
use crate::engine::{Keyspace, Reader as _, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Lines of one action in an hour by those who are not known.
pub const STRANGERS_PER_HOUR_MAX: u32 = 120;
/// Lines of one action in an hour by one account.
pub const ACCOUNT_PER_HOUR_MAX: u32 = 240;
/// Budgets of an hour that is over which are closed with each command.
const CLOSED_WITH_EACH_MAX: usize = 4;
const HOUR_S: u64 = 3600;

/// What was told, and what was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Lines that were written.
    pub(crate) told: u32,
    /// How many events were not.
    pub(crate) untold: u64,
    /// How those ended.
    pub(crate) outcome: EventOutcome,
}

impl Record for Spent {
    const NAME: &'static str = "budget of the audit log";
    const FORMAT: u8 = 1;
}

/// Whether one more line of this kind is to be written; if not, it is counted.
pub(super) fn take(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    by: &By,
    event: &Event,
) -> Result<bool, StorageError> {
    let actor = event.actor.as_ref().unwrap_or(&by.actor);
    let account = match actor {
        Actor::Node(_) => return Ok(true),
        known if known.account().is_some() => known.account().cloned(),
        _ if event.action.is_for_strangers() => None,
        // Only who shows something of the account's causes it: strangers have no part in it.
        _ => event.about(),
    };
    let told_max = match &account {
        None => STRANGERS_PER_HOUR_MAX,
        Some(account) if accounts::may_operate(transaction, account)? => return Ok(true),
        Some(_) => ACCOUNT_PER_HOUR_MAX,
    };
    let key = key(at.as_secs() / HOUR_S, event.action, account.as_ref());
    let spent = transaction::get(transaction, Keyspace::Audit, &key)?;
    let mut spent = spent.unwrap_or(Spent { told: 0, untold: 0, outcome: event.outcome });
    let is_told = spent.told < told_max;
    if is_told {
        spent.told += 1;
    } else {
        spent.untold = spent.untold.saturating_add(event.count.unwrap_or(1));
        spent.outcome = event.outcome;
    }
    transaction.put(Keyspace::Audit, key, &spent)?;
    Ok(is_told)
}

/// Closes some budgets of hours that are over; what they did not tell.
pub(super) fn close(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    head: &mut Head,
) -> Result<Vec<Event>, StorageError> {
    let hour = at.as_secs() / HOUR_S;
    if head.summed_up_to >= hour {
        return Ok(Vec::new());
    }
    // From where the last ones were closed: the engine still steps over what was removed before.
    let from = hour_key(head.summed_up_to);
    let found = transaction.scan(Keyspace::Audit, PREFIX, Some(&from), CLOSED_WITH_EACH_MAX)?;
    let mut summaries = Vec::new();
    let mut is_all = found.len() < CLOSED_WITH_EACH_MAX;
    for (key, _) in found {
        let Some((of_hour, action, account)) = parse(&key) else { continue };
        if of_hour >= hour {
            is_all = true;
            break;
        }
        if let Some(spent) = transaction::get::<Spent>(transaction, Keyspace::Audit, &key)?
            && spent.untold > 0
        {
            let hour = Timestamp::from_millis(of_hour * HOUR_S * 1_000);
            let summary =
                Event::new(action, Kind::Many, account.as_ref().map_or("anybody", AccountId::as_str));
            let summary = Event { outcome: spent.outcome, account, ..summary };
            summaries.push(summary.times(spent.untold).with("hour", hour));
        }
        transaction.remove(Keyspace::Audit, key);
    }
    if is_all {
        head.summed_up_to = hour;
    }
    Ok(summaries)
}

const PREFIX: &[u8] = b"b/";

fn hour_key(hour: u64) -> Vec<u8> {
    [PREFIX, &hour.to_be_bytes()].concat()
}

fn key(hour: u64, action: Action, account: Option<&AccountId>) -> Vec<u8> {
    let account = account.map_or("", AccountId::as_str);
    [hour_key(hour), format!("/{}/{account}", action.as_str()).into_bytes()].concat()
}

fn parse(key: &[u8]) -> Option<(u64, Action, Option<AccountId>)> {
    let (hour, rest) = key.strip_prefix(PREFIX)?.split_first_chunk()?;
    let (action, account) = std::str::from_utf8(rest).ok()?.strip_prefix('/')?.split_once('/')?;
    Some((u64::from_be_bytes(*hour), Action::named(action)?, account.parse().ok()))
}
