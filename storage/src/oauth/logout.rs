//! Which clients take part in a session, and what they are still to be told of its end (OpenID Back-Channel Logout 1.0).
//!
//! What is to be told is agreed in the same entry that ends the session, so whichever node dies, another tells it.
//!
//! Key layout: `y/<session>/<client>` -> nothing; `o/<session>/<client>` -> [`Notice`].

use serde::{Deserialize, Serialize};

use super::{client, expiry};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::transaction::{self, Change, Transaction};

/// Clients of one session that are told of its end; the next ones are not.
pub const PARTICIPANTS_MAX: usize = 100;
/// Longer than any session lives, in milliseconds: 400 days. So long is it known that a client took part in one that nobody ended.
const PARTICIPANT_MS: u64 = 400 * 24 * 3600 * 1000;

/// A client that is to be told that a session has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whom.
    pub client: String,
    /// Whose session it was.
    pub account: AccountId,
    /// Which.
    pub session: String,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried next.
    pub due_at: Timestamp,
}

impl Record for Notice {
    const NAME: &'static str = "notice of a sign-out";
    const FORMAT: u8 = 1;
}

/// A change to notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A client was told, or could not be. [`Outcome::NotFound`] when there is no such notice.
    Told {
        /// Of which session.
        session: String,
        /// Which client.
        client: String,
        /// After how many milliseconds it is told again; never when absent.
        again_after_ms: Option<u64>,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    let Command::Told { session, client, again_after_ms } = command;
    let key = notice_key(session, client);
    let Some(notice) = transaction::get::<Notice>(transaction, Keyspace::Oauth, &key)? else {
        return Ok(Outcome::NotFound);
    };
    match again_after_ms {
        Some(after_ms) => {
            let (tries, due_at) = (notice.tries.saturating_add(1), at.plus_millis(*after_ms));
            transaction.put(Keyspace::Oauth, key, &Notice { tries, due_at, ..notice })?;
        }
        None => transaction.remove(Keyspace::Oauth, key),
    }
    Ok(Outcome::Done)
}

/// Notes that a client was told who signed in with a session, if it wants to know of its end.
pub(super) fn joined(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    session: &str,
    client: &str,
) -> Result<(), StorageError> {
    let key = [participants(session), client.as_bytes().to_vec()].concat();
    let wants = client::get(transaction, client)?.is_some_and(|client| client.backchannel_logout.is_some());
    if !wants || transaction.get(Keyspace::Oauth, &key)?.is_some() {
        return Ok(());
    }
    if transaction.scan(Keyspace::Oauth, &participants(session), None, PARTICIPANTS_MAX)?.len()
        >= PARTICIPANTS_MAX
    {
        return Ok(());
    }
    transaction.put_bytes(Keyspace::Oauth, key.clone(), Vec::new());
    expiry::note(transaction, at, at.plus_millis(PARTICIPANT_MS), &key)
}

/// Notes that the clients of a session are to be told that it has ended.
pub(crate) fn session_ended(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
    session: &str,
) -> Result<(), StorageError> {
    let prefix = participants(session);
    for (key, _) in transaction.scan(Keyspace::Oauth, &prefix, None, PARTICIPANTS_MAX)? {
        let client = key.get(prefix.len()..).and_then(|client| std::str::from_utf8(client).ok());
        if let Some(client) = client {
            let notice = Notice {
                client: client.to_owned(),
                account: account.clone(),
                session: session.to_owned(),
                ended_at: at,
                tries: 0,
                due_at: at,
            };
            transaction.put(Keyspace::Oauth, notice_key(session, client), &notice)?;
            transaction.changed(Change::Logouts);
        }
        transaction.remove(Keyspace::Oauth, key);
    }
    Ok(())
}

fn participants(session: &str) -> Vec<u8> {
    format!("y/{session}/").into_bytes()
}

fn notice_key(session: &str, client: &str) -> Vec<u8> {
    format!("o/{session}/{client}").into_bytes()
}

/// Up to `limit` notices that nobody was told of yet.
pub fn notices(reader: &(impl Reader + ?Sized), limit: usize) -> Result<Vec<Notice>, StorageError> {
    transaction::scan(reader, Keyspace::Oauth, b"o/", None, limit)
}
