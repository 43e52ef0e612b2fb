//! Sessions: sign-ins that have not ended. The secret is in a browser's cookie; here is its hash.

use serde::{Deserialize, Serialize};

use super::factors::{self, Proof, Renewal};
use super::people::{self, PasswordHash, person};
use super::tries::{self, Who};
use super::upstream::{self, UpstreamSession};
use crate::api_keys::SecretHash;
use crate::audit::{Action, Actor, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{AccountId, SessionId};
use crate::oauth::{grant, logout};
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Sessions read from the engine at once.
const SESSIONS_READ: usize = 256;
/// Sessions one account may have; one more ends the oldest.
pub const SESSIONS_PER_ACCOUNT_MAX: usize = 20;

/// What somebody has shown to be who they are (RFC 8176). Variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Method {
    /// A password.
    Password,
    /// A code that lives for one use.
    OneTimeCode,
    /// A key that cannot leave its device.
    HardwareKey,
    /// A code that came as a text message.
    Sms,
    /// What another provider says.
    Upstream,
}

impl Method {
    /// Its name in `amr` (RFC 8176, section 2).
    pub const fn amr(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::OneTimeCode => "otp",
            Self::HardwareKey => "hwk",
            Self::Sms => "sms",
            // Not in RFC 8176, which has none for it; other providers call it so.
            Self::Upstream => "fed",
        }
    }

    /// Whether these are two factors of different kinds: something known, and something had. A passkey is both by itself, because none is taken
    /// whose device has not made sure who holds it.
    pub fn are_two_factors(methods: &[Self]) -> bool {
        let is_known = |method: &Self| matches!(method, Self::Password | Self::Upstream);
        methods.contains(&Self::HardwareKey)
            || methods.iter().any(is_known) && methods.iter().any(|method| !is_known(method))
    }

    /// `amr` of somebody who has shown these: each by its name, and `mfa` for two factors.
    pub fn amr_of(methods: &[Self]) -> Vec<String> {
        let mfa = Self::are_two_factors(methods).then_some("mfa");
        methods.iter().map(|method| method.amr()).chain(mfa).map(str::to_owned).collect()
    }
}

/// One sign-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its public name.
    pub id: SessionId,
    /// Who signed in.
    pub account: AccountId,
    /// Finds it by its secret.
    pub secret_hash: SecretHash,
    /// When they signed in.
    pub signed_in_at: Timestamp,
    /// When it was last seen in use, within a share of `idle_ms`.
    pub seen_at: Timestamp,
    /// Time without use after which it has ended, in milliseconds.
    pub idle_ms: u64,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    /// What they have shown.
    pub methods: Vec<Method>,
    /// The program they used, in its own words.
    pub client: String,
    /// The address they came from.
    pub address: String,
    /// The session at another provider that it came of.
    pub upstream: Option<UpstreamSession>,
}

impl Record for Session {
    const NAME: &'static str = "session";
    const FORMAT: u8 = 1;
}

impl Session {
    /// Whether it is still one at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now < self.expires_at && now < self.seen_at.plus_millis(self.idle_ms)
    }
}

/// Which sessions an account has, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    pub(crate) sessions: Vec<(SessionId, SecretHash)>,
}

impl Record for Ring {
    const NAME: &'static str = "ring of sessions";
    const FORMAT: u8 = 1;
}

/// A sign-in that was found right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// Who.
    pub account: AccountId,
    /// The person's generation that the password was compared with.
    pub generation: u32,
    /// The new session's public name.
    pub id: SessionId,
    /// Hash of its secret.
    pub secret_hash: SecretHash,
    /// What they have shown.
    pub methods: Vec<Method>,
    /// Time without use after which it ends, in milliseconds.
    pub idle_ms: u64,
    /// Time after which it ends in any case, in milliseconds.
    pub life_ms: u64,
    /// The program they use, in its own words.
    pub client: String,
    /// The address they come from.
    pub address: String,
    /// The session that this browser had before, which ends.
    pub replaces: Option<SecretHash>,
    /// Whose wrong tries are forgotten; while they are locked nothing is let in.
    pub who: Who,
    /// A stronger hash of the same password.
    pub rehashed: Option<PasswordHash>,
    /// What they have shown beside it; needed of whoever has a factor.
    pub proof: Option<Proof>,
    /// The session at another provider that it comes of.
    pub upstream: Option<UpstreamSession>,
}

/// Which sessions of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// This one.
    One(SessionId),
    /// Every other than this one.
    AllBut(SessionId),
    /// Every one.
    All,
}

/// A change to sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Begins a session, or begins the one of this browser and person anew, which keeps its name. [`Outcome::NotFound`] for somebody
    /// who is not there or disabled, [`Outcome::Stale`] when what was compared has changed since or tries are locked,
    /// [`Outcome::AlreadyExists`] when the secret is taken, [`Outcome::Burnt`] when a second factor is needed and the proof is
    /// none, or was used.
    Begin(Box<SignIn>),
    /// Notes that a session is in use. [`Outcome::NotFound`], [`Outcome::Stale`] when it has ended.
    Seen {
        /// Hash of its secret.
        secret_hash: SecretHash,
    },
    /// Ends sessions. [`Outcome::NotFound`] when there is none such.
    End {
        /// Whose.
        account: AccountId,
        /// Which of them.
        which: Which,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Begin(sign_in) => begin(transaction, at, sign_in),
        Command::Seen { secret_hash } => match session(transaction, secret_hash)? {
            None => Ok(Outcome::NotFound),
            Some(session) if !session.is_valid(at) => Ok(Outcome::Stale),
            Some(session) => {
                transaction.put(Keyspace::Accounts, key(secret_hash), &Session { seen_at: at, ..session })?;
                Ok(Outcome::Done)
            }
        },
        Command::End { account, which } => {
            let ended = match which {
                Which::One(id) => end(transaction, at, account, |session| session == id)?,
                Which::AllBut(id) => end(transaction, at, account, |session| session != id)?,
                Which::All => end(transaction, at, account, |_| true)?,
            };
            Ok(if ended > 0 { Outcome::Done } else { Outcome::NotFound })
        }
    }
}

fn begin(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    sign_in: &SignIn,
) -> Result<Outcome, StorageError> {
    let person = person(transaction, &sign_in.account)?.filter(|person| person.disabled_at.is_none());
    let Some(person) = person else { return Ok(Outcome::NotFound) };
    let factor = Who::factor(&sign_in.account);
    if is_locked(transaction, at, &sign_in.who)?
        || (sign_in.proof.is_some() && is_locked(transaction, at, &factor)?)
        || person.generation != sign_in.generation
    {
        return Ok(Outcome::Stale);
    }
    if session(transaction, &sign_in.secret_hash)?.is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    if !factors::spend(transaction, at, &sign_in.account, sign_in.proof.as_ref())? {
        return Ok(Outcome::Burnt);
    }
    let before = sign_in.replaces.as_ref().map(|hash| session(transaction, hash)).transpose()?.flatten();
    let before = before.filter(|session| session.is_valid(at));
    let id = match before {
        // The same person shows once more who they are: what they allowed in this session stays.
        Some(before) if before.account == sign_in.account => {
            transaction.remove(Keyspace::Accounts, key(&before.secret_hash));
            if let Some(upstream) = &before.upstream {
                upstream::ended(transaction, upstream, &before.account)?;
            }
            before.id
        }
        Some(before) => {
            end(transaction, at, &before.account, |id| *id == before.id)?;
            sign_in.id.clone()
        }
        None => sign_in.id.clone(),
    };
    let methods: Vec<_> = sign_in.methods.iter().map(|method| method.amr()).collect();
    let begun = Event::new(Action::SessionBegun, Kind::Session, &id).of(&sign_in.account);
    let begun = begun.by(Actor::Person(sign_in.account.clone()));
    transaction.note(begun.with("methods", methods.join(" ")));
    let known = ring(transaction, &sign_in.account)?.sessions.into_iter().map(|(known, _)| known);
    let others: Vec<_> = known.filter(|known| *known != id).collect();
    let over = (others.len() + 1).saturating_sub(SESSIONS_PER_ACCOUNT_MAX);
    end(transaction, at, &sign_in.account, |other| others[..over].contains(other))?;
    let mut ring = ring(transaction, &sign_in.account)?;
    ring.sessions.retain(|(other, _)| *other != id);
    ring.sessions.push((id.clone(), sign_in.secret_hash));
    transaction.put(Keyspace::Accounts, ring_key(&sign_in.account), &ring)?;
    let session = Session {
        id,
        account: sign_in.account.clone(),
        secret_hash: sign_in.secret_hash,
        signed_in_at: at,
        seen_at: at,
        idle_ms: sign_in.idle_ms,
        expires_at: at.plus_millis(sign_in.life_ms),
        methods: sign_in.methods.clone(),
        client: sign_in.client.clone(),
        address: sign_in.address.clone(),
        upstream: sign_in.upstream.clone(),
    };
    transaction.put(Keyspace::Accounts, key(&sign_in.secret_hash), &session)?;
    tries::forget(transaction, &sign_in.who)?;
    tries::forget(transaction, &factor)?;
    if let Some(upstream) = &sign_in.upstream {
        upstream::began(transaction, upstream, &sign_in.account)?;
    }
    if let Some(password) = &sign_in.rehashed {
        people::rehash(transaction, person, password.clone())?;
    }
    Ok(Outcome::Done)
}

fn is_locked(transaction: &Transaction<'_>, at: Timestamp, who: &Who) -> Result<bool, StorageError> {
    Ok(tries::tries(transaction, who)?.is_some_and(|tries| tries.locked_for_ms(at) > 0))
}

/// Gives a session another secret and notes what its person has shown in it; whether there is such a session.
pub(super) fn renew(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
    renewal: &Renewal,
    method: Method,
) -> Result<bool, StorageError> {
    let mut ring = ring(transaction, account)?;
    let Some(entry) = ring.sessions.iter_mut().find(|(id, _)| *id == renewal.session) else {
        return Ok(false);
    };
    let before = session(transaction, &entry.1)?.filter(|session| session.is_valid(at));
    let Some(mut renewed) = before else { return Ok(false) };
    if session(transaction, &renewal.secret_hash)?.is_some() {
        return Ok(false);
    }
    transaction.remove(Keyspace::Accounts, key(&entry.1));
    entry.1 = renewal.secret_hash;
    renewed.secret_hash = renewal.secret_hash;
    renewed.seen_at = at;
    if !renewed.methods.contains(&method) {
        renewed.methods.push(method);
    }
    transaction.put(Keyspace::Accounts, ring_key(account), &ring)?;
    transaction.put(Keyspace::Accounts, key(&renewal.secret_hash), &renewed)?;
    Ok(true)
}

/// Ends every session of an account but `keep`.
pub(super) fn end_all(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
    keep: Option<&SessionId>,
) -> Result<(), StorageError> {
    end(transaction, at, account, |id| Some(id) != keep).map(|_| ())
}

/// Ends the sessions that `is_one` picks, with what clients were allowed in them; how many those were.
pub(super) fn end(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
    is_one: impl Fn(&SessionId) -> bool,
) -> Result<usize, StorageError> {
    let mut ring = ring(transaction, account)?;
    let ended: Vec<_> = ring.sessions.extract_if(.., |(id, _)| is_one(id)).collect();
    if ended.is_empty() {
        return Ok(0);
    }
    let mut elsewhere = Vec::new();
    for (id, hash) in &ended {
        elsewhere.extend(session(transaction, hash)?.and_then(|session| session.upstream));
        transaction.remove(Keyspace::Accounts, key(hash));
        logout::session_ended(transaction, at, account, id.as_str())?;
    }
    for upstream in &elsewhere {
        upstream::ended(transaction, upstream, account)?;
    }
    let noted = match ended.as_slice() {
        [(id, _)] => Event::new(Action::SessionEnded, Kind::Session, id).of(account),
        all => people::about(Action::SessionEnded, account).times(all.len() as u64),
    };
    transaction.note(noted);
    let is_ended = |session: &str| ended.iter().any(|(id, _)| id.as_str() == session);
    grant::end_with_sessions(transaction, at, account, is_ended)?;
    if ring.sessions.is_empty() {
        transaction.remove(Keyspace::Accounts, ring_key(account));
    } else {
        transaction.put(Keyspace::Accounts, ring_key(account), &ring)?;
    }
    Ok(ended.len())
}

fn ring(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Ring, StorageError> {
    Ok(transaction::get(reader, Keyspace::Accounts, &ring_key(account))?.unwrap_or_default())
}

fn ring_key(account: &AccountId) -> Vec<u8> {
    format!("r/{account}").into_bytes()
}

fn key(hash: &SecretHash) -> Vec<u8> {
    [b"s/".as_slice(), hash.as_bytes()].concat()
}

/// The session whose secret has this hash, also one that has expired.
pub fn session(
    reader: &(impl Reader + ?Sized),
    secret_hash: &SecretHash,
) -> Result<Option<Session>, StorageError> {
    transaction::get(reader, Keyspace::Accounts, &key(secret_hash))
}

/// Shows every session to `see`, also those that have expired; `limit` at most.
pub fn every_session(
    reader: &(impl Reader + ?Sized),
    limit: usize,
    mut see: impl FnMut(Session),
) -> Result<(), StorageError> {
    let (mut after, mut left): (Option<Vec<u8>>, usize) = (None, limit);
    while left > 0 {
        let count = left.min(SESSIONS_READ);
        let read: Vec<Session> =
            transaction::scan(reader, Keyspace::Accounts, b"s/", after.as_deref(), count)?;
        let is_last = read.len() < count;
        left -= read.len();
        after = read.last().map(|session| key(&session.secret_hash));
        read.into_iter().for_each(&mut see);
        if is_last {
            break;
        }
    }
    Ok(())
}

/// Whether the session of an account that is called `id` goes on.
pub(crate) fn goes_on(
    reader: &(impl Reader + ?Sized),
    at: Timestamp,
    account: &AccountId,
    id: &str,
) -> Result<bool, StorageError> {
    let ring = ring(reader, account)?;
    let Some((_, hash)) = ring.sessions.iter().find(|(known, _)| known.as_str() == id) else {
        return Ok(false);
    };
    Ok(session(reader, hash)?.is_some_and(|session| session.is_valid(at)))
}

/// The account's sessions, oldest first, also those that have expired.
pub fn sessions(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Vec<Session>, StorageError> {
    let ring = ring(reader, account)?;
    ring.sessions.iter().filter_map(|(_, hash)| session(reader, hash).transpose()).collect()
}
