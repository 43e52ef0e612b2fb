//! The second step of a sign-in: who has shown the password shows a factor.
//!
//! What was shown in the first step travels sealed through the browser. It opens nothing by itself, it is good for the person it
//! was sealed for, as they were then, and for a few minutes; and the command that begins the session decides once more.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracing::instrument;
use twinmcp_storage::accounts::{
    self, Factors, Method, PasswordHash, Person, Proof, UpstreamSession, factors,
};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::AccountId;

use super::super::sign_in::{Arrival, Attempts, NewSession};
use super::super::{Accounts, AccountsError};
use super::enrol::{BACKUP_CODES, SECRETS};
use super::sms::SentCode;
use super::totp::Secret;
use super::{Factor, backup_code};

/// How long somebody has to find their phone, in milliseconds.
pub(super) const PENDING_MS: u64 = 5 * 60 * 1_000;
pub(super) const SIGN_INS: &str = "twinmcp 2026-11 sign-ins that wait for a second factor";

/// What is asked of somebody whose password was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Comes back with the factor. It says nothing to anybody but this cluster.
    pub ticket: String,
    /// What may be shown, the usual one first.
    pub factors: Vec<Factor>,
    /// How long there is, in seconds.
    pub life_s: u64,
}

/// What somebody shows in the second step.
#[derive(Debug, Clone, Copy)]
pub struct ChallengeAnswer<'a> {
    /// Of the [`Challenge`].
    pub ticket: &'a str,
    /// What kind of factor.
    pub factor: Factor,
    /// What they typed.
    pub code: &'a str,
    /// Where they come from.
    pub address: IpAddr,
    /// The program they use, in its own words.
    pub client: &'a str,
    /// The secret of a session that their browser has already; it ends.
    pub replaces: Option<&'a str>,
}

/// What was shown in the first step.
pub(in super::super) struct Shown {
    pub(in super::super) methods: Vec<Method>,
    /// A stronger hash of the password.
    pub(in super::super) rehashed: Option<PasswordHash>,
    /// The session at another provider, for who signs in there.
    pub(in super::super) upstream: Option<UpstreamSession>,
}

/// What is sealed in a ticket.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) account: AccountId,
    pub(super) generation: u32,
    pub(super) methods: Vec<Method>,
    pub(super) rehashed: Option<PasswordHash>,
    pub(super) upstream: Option<UpstreamSession>,
    pub(super) expires_at: Timestamp,
    /// The code that was sent last, when one was asked for.
    pub(super) sms: Option<SentCode>,
}

impl Accounts {
    /// What to ask of somebody who has shown this much.
    pub(in super::super) fn challenge(
        &self,
        person: &Person,
        shown: Shown,
        factors: &Factors,
    ) -> Result<Challenge, AccountsError> {
        let pending = Pending {
            account: person.account.clone(),
            generation: person.generation,
            methods: shown.methods,
            rehashed: shown.rehashed,
            upstream: shown.upstream,
            expires_at: self.clock.now().plus_millis(PENDING_MS),
            sms: None,
        };
        Ok(Challenge {
            ticket: self.vault.ticket(SIGN_INS, &pending, &*self.entropy)?,
            factors: self.asked(factors),
            life_s: PENDING_MS / 1_000,
        })
    }

    /// What may be shown to go on with a sign-in; for a page that asks.
    ///
    /// # Errors
    /// [`AccountsError::SignInExpired`].
    pub fn challenged(&self, ticket: &str) -> Result<Vec<Factor>, AccountsError> {
        let pending = self.pending(ticket)?;
        Ok(self.asked(&factors(self.cluster.reader(), &pending.account)?))
    }

    /// Goes on with a sign-in.
    ///
    /// # Errors
    /// [`AccountsError::WrongCode`] also for one that was used; [`AccountsError::SignInExpired`] for a ticket that is none, is too old or
    /// of somebody who has changed since; [`AccountsError::Locked`] after too many wrong codes, also for the right one.
    #[instrument(name = "accounts.answer_challenge", skip_all)]
    pub async fn answer_challenge(&self, answer: ChallengeAnswer<'_>) -> Result<NewSession, AccountsError> {
        let result = self.try_answer(answer).await;
        self.factor_metrics.answered(answer.factor, &result);
        result
    }

    async fn try_answer(&self, answer: ChallengeAnswer<'_>) -> Result<NewSession, AccountsError> {
        let pending = self.pending(answer.ticket)?;
        let person = accounts::person(self.cluster.reader(), &pending.account)?;
        let person = person.filter(|person| person.disabled_at.is_none());
        let person = person.ok_or(AccountsError::SignInExpired)?;
        let attempts = self.admit_factor(&pending.account, answer.address)?;
        let factors = factors(self.cluster.reader(), &pending.account)?;
        let Some(proof) = self.proof(&pending, &factors, answer)? else {
            self.failed(&attempts, Some(pending.account.clone()), answer.address).await?;
            return Err(AccountsError::WrongCode);
        };
        let mut methods = pending.methods;
        methods.push(if answer.factor == Factor::Sms { Method::Sms } else { Method::OneTimeCode });
        let arrival = Arrival {
            person: &Person { generation: pending.generation, ..person },
            methods,
            rehashed: pending.rehashed,
            proof: Some(proof),
            upstream: pending.upstream,
            address: answer.address,
            client: answer.client,
            replaces: answer.replaces,
        };
        self.arrive(arrival, &attempts, AccountsError::WrongCode).await
    }

    /// Begins the session of somebody whose factor is right as far as this node knows; `used` when the others know better.
    pub(super) async fn arrive(
        &self,
        arrival: Arrival<'_>,
        attempts: &Attempts,
        used: AccountsError,
    ) -> Result<NewSession, AccountsError> {
        let (account, address) = (arrival.person.account.clone(), arrival.address);
        match self.begin(arrival).await? {
            (Outcome::Done, Some(new)) => {
                attempts.succeeded();
                Ok(new)
            }
            (Outcome::Burnt, _) => {
                self.failed(attempts, Some(account), address).await?;
                Err(used)
            }
            _ => Err(AccountsError::SignInExpired),
        }
    }

    pub(super) fn pending(&self, ticket: &str) -> Result<Pending, AccountsError> {
        let pending: Option<Pending> = self.vault.read_ticket(SIGN_INS, ticket)?;
        let is_good = |pending: &Pending| self.clock.now() < pending.expires_at;
        pending.filter(is_good).ok_or(AccountsError::SignInExpired)
    }

    /// What is spent for what somebody typed, if it is right as far as this node knows.
    fn proof(
        &self,
        pending: &Pending,
        factors: &Factors,
        answer: ChallengeAnswer<'_>,
    ) -> Result<Option<Proof>, AccountsError> {
        match answer.factor {
            Factor::Totp => {
                let Some(totp) = &factors.totp else { return Ok(None) };
                let secret = self.vault.sealer(SECRETS)?.open(&totp.sealed).ok_or(AccountsError::NotReady)?;
                let step = Secret::from_bytes(secret).step_of(answer.code, self.clock.now());
                Ok(step.filter(|step| *step > totp.last_step).map(|step| Proof::Totp { step }))
            }
            Factor::BackupCode => {
                let hash =
                    backup_code::hash(&self.vault.derive(BACKUP_CODES)?, &pending.account, answer.code);
                Ok(hash
                    .filter(|hash| factors.backup_codes.contains(hash))
                    .map(|hash| Proof::BackupCode { hash }))
            }
            // It signs, and has no code.
            Factor::Passkey => Ok(None),
            Factor::Sms => {
                let number = pending.sms.as_ref().and_then(|sent| sent.shown_by(answer.code));
                let expires_at = pending.expires_at;
                Ok(number.map(|number| Proof::Sms { number, expires_at }))
            }
        }
    }

    fn asked(&self, factors: &Factors) -> Vec<Factor> {
        let has_passkey = !factors.passkeys.is_empty() && self.passkeys.are_there();
        let passkey = has_passkey.then_some(Factor::Passkey);
        let totp = factors.totp.is_some().then_some(Factor::Totp);
        let backup_code = (!factors.backup_codes.is_empty()).then_some(Factor::BackupCode);
        let sms = (factors.sms.is_some() && self.carrier.is_there()).then_some(Factor::Sms);
        passkey.into_iter().chain(totp).chain(sms).chain(backup_code).collect()
    }
}
