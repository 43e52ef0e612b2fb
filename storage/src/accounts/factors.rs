//! Second factors: what somebody shows beside the password, and what of it was shown already.
//!
//! A code is taken once in the whole cluster, because it is spent in the command that begins the session ([`spend`]): a
//! step of the clock only if it is later than the last one (RFC 6238, 5.2), a backup code only if it is there, a challenge to a passkey
//! (`passkeys`) or a code that was sent only if it was not answered. Whoever has a
//! factor gets no session without one, also when it was added while the sign-in was decided.
//!
//! Every change makes a new generation of the person. The first factor ends every other session, and what programs were allowed:
//! all of that began with less. Secrets are sealed by the proposer; here they are bytes.

use serde::{Deserialize, Serialize};

use super::passkeys::{self, Answered, Assertion, PASSKEYS_PER_ACCOUNT_MAX, Passkey};
use super::people::{self, Person, person};
use super::sessions::{self, Method};
use crate::api_keys::SecretHash;
use crate::audit::{Action, Actor};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{AccountId, SessionId};
use crate::oauth::grant;
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Backup codes somebody is given at once.
pub const BACKUP_CODES: usize = 10;

/// What somebody has to show beside the password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factors {
    /// An authenticator app.
    pub totp: Option<Totp>,
    /// Keys of devices, oldest first.
    pub passkeys: Vec<Passkey>,
    /// Challenges to them, and codes that were sent, that were answered.
    pub answered: Vec<Answered>,
    /// Codes on paper that are left; each takes the place of a factor once.
    pub backup_codes: Vec<SecretHash>,
    /// When those were made.
    pub backup_codes_made_at: Option<Timestamp>,
    /// A phone that codes are sent to.
    pub sms: Option<Sms>,
}

impl Record for Factors {
    const NAME: &'static str = "factors of somebody";
    const FORMAT: u8 = 1;
}

impl Factors {
    /// Whether a password alone is not enough.
    pub const fn are_needed(&self) -> bool {
        self.has_stronger_than_sms() || self.sms.is_some()
    }

    /// Whether there is a factor that nobody has by taking over a phone number.
    pub const fn has_stronger_than_sms(&self) -> bool {
        self.totp.is_some() || !self.passkeys.is_empty()
    }
}

/// An authenticator app (RFC 6238).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    /// The secret it shares with us, sealed.
    pub sealed: Vec<u8>,
    /// When it was added.
    pub added_at: Timestamp,
    /// The step of the newest code that was taken: no code of it or an earlier one is.
    pub last_step: u64,
    /// When that was.
    pub used_at: Timestamp,
}

/// A phone that codes are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sms {
    /// Its number, sealed.
    pub sealed: Vec<u8>,
    /// When it was added.
    pub added_at: Timestamp,
    /// When a code that was sent there was last taken.
    pub used_at: Timestamp,
}

/// What was shown beside the password, and is good once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// The code of an authenticator app.
    Totp {
        /// Of this step.
        step: u64,
    },
    /// A backup code.
    BackupCode {
        /// Its hash.
        hash: SecretHash,
    },
    /// What a passkey has signed.
    Passkey(Assertion),
    /// A code that was sent to a phone.
    Sms {
        /// Tells it from every other that was sent.
        number: SecretHash,
        /// From when on the proposers refuse it by themselves.
        expires_at: Timestamp,
    },
}

/// The session that somebody adds a factor in: it goes on under another secret, and has shown the factor too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// Which.
    pub session: SessionId,
    /// Hash of its secret from now on.
    pub secret_hash: SecretHash,
}

/// Which factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhichFactor {
    /// The authenticator app.
    Totp,
    /// A passkey.
    Passkey {
        /// What the device calls it.
        id: Vec<u8>,
    },
    /// The phone that codes are sent to.
    Sms,
}

/// A change to factors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds an authenticator app that has shown a right code. [`Outcome::NotFound`], [`Outcome::AlreadyExists`] when there is one,
    /// [`Outcome::Stale`] when something changed since it was decided.
    AddTotp {
        /// Whose.
        account: AccountId,
        /// The generation it was decided for.
        generation: u32,
        /// The secret, sealed.
        sealed: Vec<u8>,
        /// The step of the code, which is spent.
        step: u64,
        /// The session it happens in.
        renewal: Renewal,
        /// Hashes of backup codes, used if there are none yet.
        backup_codes: Vec<SecretHash>,
    },
    /// Adds a passkey that has signed its first challenge. [`Outcome::NotFound`], [`Outcome::AlreadyExists`] when it is there already, here or with
    /// somebody else, [`Outcome::LimitReached`], [`Outcome::Stale`] when something changed since it was decided.
    AddPasskey {
        /// Whose.
        account: AccountId,
        /// The generation it was decided for.
        generation: u32,
        /// What the device calls it.
        id: Vec<u8>,
        /// What its person calls it.
        name: String,
        /// The public key, in the words of the proposer's library.
        credential: Vec<u8>,
        /// The device's count.
        counter: u32,
        /// The session it happens in.
        renewal: Renewal,
        /// Hashes of backup codes, used if there are none yet.
        backup_codes: Vec<SecretHash>,
    },
    /// Puts other backup codes in place of all there are. [`Outcome::NotFound`] without a factor, [`Outcome::Stale`].
    MakeBackupCodes {
        /// Whose.
        account: AccountId,
        /// The generation it was decided for.
        generation: u32,
        /// Their hashes.
        backup_codes: Vec<SecretHash>,
    },
    /// Removes a factor; with the last one go the backup codes. [`Outcome::NotFound`], [`Outcome::Stale`].
    Remove {
        /// Whose.
        account: AccountId,
        /// The generation it was decided for.
        generation: u32,
        /// Which.
        which: WhichFactor,
    },
    /// Removes every factor, and ends every session and what programs were allowed. [`Outcome::NotFound`] when there is none.
    Reset {
        /// Whose.
        account: AccountId,
    },
    /// Adds a phone whose person has shown the code that was sent there. [`Outcome::NotFound`], [`Outcome::AlreadyExists`] when there is one,
    /// [`Outcome::Stale`] when something changed since it was decided.
    AddSms {
        /// Whose.
        account: AccountId,
        /// The generation it was decided for.
        generation: u32,
        /// The number, sealed.
        sealed: Vec<u8>,
        /// The session it happens in.
        renewal: Renewal,
        /// Hashes of backup codes, used if there are none yet.
        backup_codes: Vec<SecretHash>,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::AddTotp { account, generation, sealed, step, renewal, backup_codes } => {
            let person = match decided(transaction, account, *generation)? {
                Ok(person) => person,
                Err(refused) => return Ok(refused),
            };
            let before = factors(transaction, account)?;
            if before.totp.is_some() {
                return Ok(Outcome::AlreadyExists);
            }
            let totp = Totp { sealed: sealed.clone(), added_at: at, last_step: *step, used_at: at };
            let after = Factors { totp: Some(totp), ..before.clone() };
            let added = people::about(Action::FactorAdded, account).with("factor", "totp");
            transaction.note(added);
            add(transaction, at, person, (before, after), (renewal, Method::OneTimeCode), backup_codes)
        }
        Command::AddPasskey { account, generation, id, name, credential, counter, renewal, backup_codes } => {
            let person = match decided(transaction, account, *generation)? {
                Ok(person) => person,
                Err(refused) => return Ok(refused),
            };
            if passkeys::by_passkey(transaction, id)?.is_some() {
                return Ok(Outcome::AlreadyExists);
            }
            let before = factors(transaction, account)?;
            if before.passkeys.len() >= PASSKEYS_PER_ACCOUNT_MAX {
                return Ok(Outcome::LimitReached);
            }
            let mut after = before.clone();
            after.passkeys.push(Passkey {
                id: id.clone(),
                name: name.clone(),
                credential: credential.clone(),
                counter: *counter,
                added_at: at,
                used_at: at,
            });
            let method = Method::HardwareKey;
            let done = add(transaction, at, person, (before, after), (renewal, method), backup_codes)?;
            if done == Outcome::Done {
                passkeys::take(transaction, id, account);
                let added = people::about(Action::FactorAdded, account).with("factor", "passkey");
                transaction.note(added.with("name", name));
            }
            Ok(done)
        }
        Command::MakeBackupCodes { account, generation, backup_codes } => {
            let person = match decided(transaction, account, *generation)? {
                Ok(person) => person,
                Err(refused) => return Ok(refused),
            };
            let mut factors = factors(transaction, account)?;
            if !factors.are_needed() {
                return Ok(Outcome::NotFound);
            }
            factors.backup_codes = backup_codes.clone();
            factors.backup_codes_made_at = Some(at);
            transaction.note(people::about(Action::BackupCodesMade, account));
            change(transaction, person, &factors)
        }
        Command::Remove { account, generation, which } => {
            let person = match decided(transaction, account, *generation)? {
                Ok(person) => person,
                Err(refused) => return Ok(refused),
            };
            let mut factors = factors(transaction, account)?;
            let was_there = match which {
                WhichFactor::Totp => factors.totp.take().is_some(),
                WhichFactor::Passkey { id } => {
                    let place = factors.passkeys.iter().position(|passkey| passkey.id == *id);
                    let removed = place.map(|place| factors.passkeys.remove(place));
                    removed.map(|passkey| passkeys::free(transaction, &passkey.id)).is_some()
                }
                WhichFactor::Sms => factors.sms.take().is_some(),
            };
            if !was_there {
                return Ok(Outcome::NotFound);
            }
            let factor = match which {
                WhichFactor::Totp => "totp",
                WhichFactor::Passkey { .. } => "passkey",
                WhichFactor::Sms => "sms",
            };
            transaction.note(people::about(Action::FactorRemoved, account).with("factor", factor));
            change(transaction, person, &factors)
        }
        Command::Reset { account } => {
            let Some(person) = person(transaction, account)? else { return Ok(Outcome::NotFound) };
            if factors(transaction, account)? == Factors::default() {
                return Ok(Outcome::NotFound);
            }
            sessions::end_all(transaction, at, account, None)?;
            grant::revoke_all(transaction, at, account, None)?;
            transaction.note(people::about(Action::FactorsReset, account));
            change(transaction, person, &Factors::default())
        }
        Command::AddSms { account, generation, sealed, renewal, backup_codes } => {
            let person = match decided(transaction, account, *generation)? {
                Ok(person) => person,
                Err(refused) => return Ok(refused),
            };
            let before = factors(transaction, account)?;
            if before.sms.is_some() {
                return Ok(Outcome::AlreadyExists);
            }
            let sms = Sms { sealed: sealed.clone(), added_at: at, used_at: at };
            let after = Factors { sms: Some(sms), ..before.clone() };
            transaction.note(people::about(Action::FactorAdded, account).with("factor", "sms"));
            add(transaction, at, person, (before, after), (renewal, Method::Sms), backup_codes)
        }
    }
}

/// The person something was decided for, or why it is refused.
fn decided(
    transaction: &Transaction<'_>,
    account: &AccountId,
    generation: u32,
) -> Result<Result<Person, Outcome>, StorageError> {
    Ok(match person(transaction, account)? {
        None => Err(Outcome::NotFound),
        Some(person) if person.generation != generation || person.disabled_at.is_some() => {
            Err(Outcome::Stale)
        }
        Some(person) => Ok(person),
    })
}

/// Adds a factor, with backup codes for the first.
fn add(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    person: Person,
    (before, mut after): (Factors, Factors),
    (renewal, method): (&Renewal, Method),
    backup_codes: &[SecretHash],
) -> Result<Outcome, StorageError> {
    if !sessions::renew(transaction, at, &person.account, renewal, method)? {
        return Ok(Outcome::Stale);
    }
    if !before.are_needed() {
        after.backup_codes = backup_codes.to_vec();
        after.backup_codes_made_at = Some(at);
        sessions::end_all(transaction, at, &person.account, Some(&renewal.session))?;
        grant::revoke_all(transaction, at, &person.account, None)?;
    }
    change(transaction, person, &after)
}

fn change(
    transaction: &mut Transaction<'_>,
    mut person: Person,
    factors: &Factors,
) -> Result<Outcome, StorageError> {
    people::renew(transaction, &mut person)?;
    people::put(transaction, &person)?;
    if factors.are_needed() {
        put(transaction, &person.account, factors)?;
    } else {
        forget(transaction, &person.account)?;
    }
    Ok(Outcome::Done)
}

/// Whether somebody has shown what they have to: what they show is spent.
pub(super) fn spend(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
    proof: Option<&Proof>,
) -> Result<bool, StorageError> {
    let mut factors = factors(transaction, account)?;
    let is_right = match proof {
        None => return Ok(!factors.are_needed()),
        Some(Proof::Totp { step }) => match &mut factors.totp {
            Some(totp) if *step > totp.last_step => {
                totp.last_step = *step;
                totp.used_at = at;
                true
            }
            _ => false,
        },
        Some(Proof::BackupCode { hash }) => {
            let place = factors.backup_codes.iter().position(|code| code == hash);
            if place.is_some() {
                let used = people::about(Action::BackupCodeUsed, account);
                transaction.note(used.by(Actor::Person(account.clone())));
            }
            place.map(|place| factors.backup_codes.remove(place)).is_some()
        }
        Some(Proof::Passkey(assertion)) => {
            let Factors { passkeys, answered, .. } = &mut factors;
            passkeys::spend(passkeys, answered, at, assertion)
        }
        Some(Proof::Sms { number, expires_at }) => {
            let Factors { sms, answered, .. } = &mut factors;
            let is_right = sms.is_some() && passkeys::answer(answered, at, *number, *expires_at);
            sms.iter_mut().for_each(|sms| sms.used_at = at);
            is_right
        }
    };
    if is_right {
        put(transaction, account, &factors)?;
    }
    Ok(is_right)
}

/// Forgets the factors of an account.
pub(super) fn forget(transaction: &mut Transaction<'_>, account: &AccountId) -> Result<(), StorageError> {
    for passkey in factors(transaction, account)?.passkeys {
        passkeys::free(transaction, &passkey.id);
    }
    transaction.remove(Keyspace::Accounts, key(account));
    Ok(())
}

fn put(
    transaction: &mut Transaction<'_>,
    account: &AccountId,
    factors: &Factors,
) -> Result<(), StorageError> {
    transaction.put(Keyspace::Accounts, key(account), factors)
}

fn key(account: &AccountId) -> Vec<u8> {
    format!("f/{account}").into_bytes()
}

/// What an account has to show beside the password; nothing for most.
pub fn factors(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Factors, StorageError> {
    Ok(transaction::get(reader, Keyspace::Accounts, &key(account))?.unwrap_or_default())
}
