//! Second factors: added, shown and taken away.
//!
//! A sign-in with a factor has two steps ([`challenge`]); what was shown in the first travels sealed through the browser, so any node
//! takes the second. A passkey ([`passkey`]) is both steps at once; a code by text message ([`sms`]) is sent when it is asked for. What is added is offered first, sealed too, and becomes a factor only with a right code ([`enrol`]).
//!
//! Invariants: a secret is shown once, and kept sealed with the cluster's base key; a code is tried only after its tries were counted,
//! and is spent by the command that begins the session; what changes factors needs a session that has just begun.

pub(super) mod backup_code;
pub(super) mod carrier;
pub(super) mod challenge;
pub(super) mod enrol;
pub(super) mod metrics;
pub(super) mod number;
pub(crate) mod passkey;
pub(crate) mod policy;
pub(super) mod sms;
#[cfg(test)]
mod tests;
pub(super) mod totp;

use twinmcp_storage::accounts::{self, FactorCommand, Factors, Method, Passkey, WhichFactor, factors};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::AccountId;

pub use self::policy::Required;
use self::sms::{SmsView, shown_enough};
use super::config::SmsConfig;
use super::letters;
use super::sign_in::SignedIn;
use super::{Accounts, AccountsError};

/// How second factors are dealt with.
#[derive(Debug, Clone)]
pub struct MfaConfig {
    /// Who has to have one.
    pub required: Required,
    /// What the service is called in an authenticator app.
    pub issuer: String,
    /// How long after a sign-in factors may be changed, and what else asks for the password be done without one, in milliseconds.
    pub fresh_ms: u64,
    /// How codes are sent to phones; nothing where they are not.
    pub sms: Option<SmsConfig>,
}

impl Default for MfaConfig {
    fn default() -> Self {
        Self { required: Required::default(), issuer: "TwinMCP".to_owned(), fresh_ms: 600_000, sms: None }
    }
}

/// A kind of factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// An authenticator app.
    Totp,
    /// A backup code.
    BackupCode,
    /// A passkey.
    Passkey,
    /// A code that is sent to a phone.
    Sms,
}

impl Factor {
    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::BackupCode => "backup_code",
            Self::Passkey => "passkey",
            Self::Sms => "sms",
        }
    }
}

/// What somebody is told about their factors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorsView {
    /// Whether the policy asks for one.
    pub is_required: bool,
    /// The authenticator app: when it was added, and when it was last used.
    pub totp: Option<(Timestamp, Timestamp)>,
    /// Passkeys, oldest first.
    pub passkeys: Vec<PasskeyView>,
    /// Whether passkeys can be added here.
    pub passkeys_are_there: bool,
    /// The phone that codes are sent to.
    pub sms: Option<SmsView>,
    /// Whether one can be added here.
    pub sms_is_there: bool,
    /// Backup codes that are left.
    pub backup_codes_left: usize,
    /// When they were made.
    pub backup_codes_made_at: Option<Timestamp>,
}

/// What somebody is told about a passkey of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyView {
    /// Names it here.
    pub id: String,
    /// What they call it.
    pub name: String,
    /// When it was added.
    pub added_at: Timestamp,
    /// When it was last used.
    pub used_at: Timestamp,
}

impl From<&Passkey> for PasskeyView {
    fn from(passkey: &Passkey) -> Self {
        let Passkey { name, added_at, used_at, .. } = passkey;
        Self { id: passkey_id(passkey), name: name.clone(), added_at: *added_at, used_at: *used_at }
    }
}

/// A short name: what devices call theirs may have a thousand bytes.
fn passkey_id(passkey: &Passkey) -> String {
    let hash = blake3::hash(&passkey.id).to_hex();
    hash.get(..16).unwrap_or_default().to_owned()
}

impl Accounts {
    /// What an account has besides a password.
    pub fn factors(&self, account: &AccountId) -> Result<FactorsView, AccountsError> {
        let factors = factors(self.cluster.reader(), account)?;
        Ok(FactorsView {
            is_required: self.needs_factor(account)?,
            totp: factors.totp.as_ref().map(|totp| (totp.added_at, totp.used_at)),
            passkeys: factors.passkeys.iter().map(PasskeyView::from).collect(),
            passkeys_are_there: self.passkeys.are_there(),
            sms: self.sms_view(&factors)?,
            sms_is_there: self.carrier.is_there(),
            backup_codes_left: factors.backup_codes.len(),
            backup_codes_made_at: factors.backup_codes_made_at,
        })
    }

    /// Whether this service can be signed in to with passkeys.
    pub const fn has_passkeys(&self) -> bool {
        self.passkeys.are_there()
    }

    /// Whether the policy asks a second factor of an account.
    pub fn needs_factor(&self, account: &AccountId) -> Result<bool, AccountsError> {
        Ok(self.policy.asks(account)?)
    }

    /// Whether somebody who has shown this has shown less than the policy asks of them.
    pub fn lacks_factor(&self, account: &AccountId, methods: &[Method]) -> Result<bool, AccountsError> {
        Ok(!Method::are_two_factors(methods) && self.needs_factor(account)?)
    }

    /// Removes the authenticator app.
    ///
    /// # Errors
    /// [`AccountsError::NotFresh`], [`AccountsError::StrongerNeeded`], [`AccountsError::FactorRequired`], [`AccountsError::NoFactor`].
    pub async fn remove_totp(&self, signed_in: &SignedIn) -> Result<(), AccountsError> {
        self.remove_factor(signed_in, WhichFactor::Totp).await
    }

    /// Removes a passkey by what it is called here.
    ///
    /// # Errors
    /// As [`Self::remove_totp`].
    pub async fn remove_passkey(&self, signed_in: &SignedIn, id: &str) -> Result<(), AccountsError> {
        let factors = factors(self.cluster.reader(), &signed_in.account)?;
        let found = factors.passkeys.into_iter().find(|passkey| passkey_id(passkey) == id);
        let id = found.ok_or(AccountsError::NoFactor)?.id;
        self.remove_factor(signed_in, WhichFactor::Passkey { id }).await
    }

    #[tracing::instrument(name = "accounts.remove_factor", skip_all)]
    pub(super) async fn remove_factor(
        &self,
        signed_in: &SignedIn,
        which: WhichFactor,
    ) -> Result<(), AccountsError> {
        self.fresh(signed_in)?;
        let factors = factors(self.cluster.reader(), &signed_in.account)?;
        if which != WhichFactor::Sms {
            shown_enough(signed_in, &factors)?;
        }
        if self.is_last(&factors, &which) && self.needs_factor(&signed_in.account)? {
            return Err(AccountsError::FactorRequired);
        }
        let person = accounts::person(self.cluster.reader(), &signed_in.account)?;
        let person = person.ok_or(AccountsError::NotFound)?;
        let (account, generation) = (person.account.clone(), person.generation);
        self.change_factors(FactorCommand::Remove { account, generation, which }).await?;
        self.tell(person.email, letters::factors_changed(&self.config.public_url));
        Ok(())
    }

    /// Whether nothing is left to be shown without this one.
    fn is_last(&self, factors: &Factors, which: &WhichFactor) -> bool {
        let totp = factors.totp.is_some() && *which != WhichFactor::Totp;
        // To a phone that nothing is sent to any more, nobody signs in.
        let sms = factors.sms.is_some() && self.carrier.is_there() && *which != WhichFactor::Sms;
        let is_other = |passkey: &Passkey| !matches!(which, WhichFactor::Passkey { id } if *id == passkey.id);
        !totp && !sms && !factors.passkeys.iter().any(is_other)
    }

    /// Removes every factor of somebody and ends their sessions, as an operator.
    ///
    /// # Errors
    /// [`AccountsError::NoFactor`].
    #[tracing::instrument(name = "accounts.reset_factors", skip_all)]
    pub async fn reset_factors(&self, account: &AccountId) -> Result<(), AccountsError> {
        let person = accounts::person(self.cluster.reader(), account)?.ok_or(AccountsError::NotFound)?;
        self.change_factors(FactorCommand::Reset { account: account.clone() }).await?;
        self.tell(person.email, letters::factors_changed(&self.config.public_url));
        Ok(())
    }

    /// Refuses who signed in too long ago to change what opens the account.
    pub(crate) fn fresh(&self, signed_in: &SignedIn) -> Result<(), AccountsError> {
        let fresh_ms = self.config.mfa.fresh_ms;
        if self.clock.now().millis_since(signed_in.signed_in_at) <= fresh_ms {
            return Ok(());
        }
        Err(AccountsError::NotFresh { max_age_s: fresh_ms / 1_000 })
    }

    pub(super) async fn change_factors(&self, command: FactorCommand) -> Result<(), AccountsError> {
        match self.change(accounts::Command::Factor(command)).await? {
            Outcome::Done => Ok(()),
            Outcome::NotFound => Err(AccountsError::NoFactor),
            Outcome::AlreadyExists => Err(AccountsError::FactorThere),
            Outcome::LimitReached => Err(AccountsError::TooManyFactors),
            _ => Err(AccountsError::Changed),
        }
    }
}
