//! How a factor is added: offered first, and one only once it has shown that it works.
//!
//! Between the two nothing is kept: the offer travels through the browser, sealed together with the session and the generation it was
//! made for, so it is good for this person, now, once.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use twinmcp_storage::accounts::{self, FactorCommand, Renewal, Who, factors};
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::{AccountId, SessionId};

use super::super::letters;
use super::super::sign_in::SignedIn;
use super::super::{Accounts, AccountsError, Token};
use super::sms::shown_enough;
use super::totp::Secret;
use super::{Factor, backup_code};

/// How long somebody has to set an app up, in milliseconds.
const OFFER_MS: u64 = 10 * 60 * 1_000;
pub(super) const OFFERS: &str = "twinmcp 2026-11 offers of a second factor";
pub(super) const SECRETS: &str = "twinmcp 2026-11 secrets of authenticator apps";
pub(super) const BACKUP_CODES: &str = "twinmcp 2026-11 hashes of backup codes";

/// An authenticator app that may be added. Shown once.
#[derive(Debug, Clone)]
pub struct TotpOffer {
    /// The secret, for people to type.
    pub secret: String,
    /// The same for apps: an `otpauth` URI.
    pub uri: String,
    /// Comes back with the first code.
    pub ticket: String,
    /// How long it is good, in seconds.
    pub life_s: u64,
}

/// A factor that was added.
#[derive(Debug, Clone)]
pub struct FactorAdded {
    /// The session's secret from now on, for the browser's cookie.
    pub secret: Token,
    /// Backup codes, with the first factor. Shown once.
    pub backup_codes: Option<Vec<String>>,
}

/// What is sealed in an offer.
#[derive(Serialize, Deserialize)]
pub(super) struct Offer {
    account: AccountId,
    pub(super) session: SessionId,
    generation: u32,
    pub(super) secret: Secret,
    pub(super) expires_at: Timestamp,
}

impl Accounts {
    /// Offers an authenticator app.
    ///
    /// # Errors
    /// [`AccountsError::NotFresh`], [`AccountsError::StrongerNeeded`], [`AccountsError::FactorThere`].
    pub async fn offer_totp(&self, signed_in: &SignedIn) -> Result<TotpOffer, AccountsError> {
        self.fresh(signed_in)?;
        self.vault.ready().await?;
        let person = accounts::person(self.cluster.reader(), &signed_in.account)?;
        let person = person.ok_or(AccountsError::NotFound)?;
        let known = factors(self.cluster.reader(), &person.account)?;
        shown_enough(signed_in, &known)?;
        if known.totp.is_some() {
            return Err(AccountsError::FactorThere);
        }
        let secret = Secret::random(&*self.entropy)?;
        let (text, uri) = (secret.text(), secret.uri(&self.config.mfa.issuer, person.email.as_str()));
        let offer = Offer {
            account: person.account,
            session: signed_in.session.clone(),
            generation: person.generation,
            secret,
            expires_at: self.clock.now().plus_millis(OFFER_MS),
        };
        Ok(TotpOffer {
            secret: text,
            uri: uri.ok_or(AccountsError::Changed)?,
            ticket: self.vault.ticket(OFFERS, &offer, &*self.entropy)?,
            life_s: OFFER_MS / 1_000,
        })
    }

    /// Adds the app that was offered, if `code` is its.
    ///
    /// # Errors
    /// [`AccountsError::WrongCode`], [`AccountsError::OfferRefused`], [`AccountsError::Locked`] after too many wrong codes.
    #[tracing::instrument(name = "accounts.add_totp", skip_all)]
    pub async fn confirm_totp(
        &self,
        signed_in: &SignedIn,
        ticket: &str,
        code: &str,
        address: IpAddr,
    ) -> Result<FactorAdded, AccountsError> {
        let result = self.try_confirm(signed_in, ticket, code, address).await;
        self.factor_metrics.answered(Factor::Totp, &result);
        result
    }

    async fn try_confirm(
        &self,
        signed_in: &SignedIn,
        ticket: &str,
        code: &str,
        address: IpAddr,
    ) -> Result<FactorAdded, AccountsError> {
        let right = |offer: &Offer| {
            (&offer.account, &offer.session) == (&signed_in.account, &signed_in.session)
                && self.clock.now() < offer.expires_at
        };
        let offer: Option<Offer> = self.vault.read_ticket(OFFERS, ticket)?;
        let offer = offer.filter(right).ok_or(AccountsError::OfferRefused)?;
        let attempts = self.admit(Who::factor(&offer.account), address)?;
        let Some(step) = offer.secret.step_of(code, self.clock.now()) else {
            self.failed(&attempts, Some(offer.account), address).await?;
            return Err(AccountsError::WrongCode);
        };
        let secret = Token::random(&*self.entropy)?;
        let backup_codes = backup_code::make(&*self.entropy)?;
        let add = FactorCommand::AddTotp {
            account: offer.account.clone(),
            generation: offer.generation,
            sealed: self.vault.sealer(SECRETS)?.seal(offer.secret.as_bytes(), &*self.entropy)?,
            step,
            renewal: Renewal { session: signed_in.session.clone(), secret_hash: secret.hash() },
            backup_codes: self.hashes(&offer.account, &backup_codes)?,
        };
        self.change_factors(add).await?;
        attempts.succeeded();
        self.added(&offer.account, secret, backup_codes)
    }

    /// What somebody is told who has added a factor: backup codes, if they were taken because there were none before.
    pub(super) fn added(
        &self,
        account: &AccountId,
        secret: Token,
        backup_codes: Vec<String>,
    ) -> Result<FactorAdded, AccountsError> {
        self.tell_of_factors(account)?;
        let kept = factors(self.cluster.reader(), account)?.backup_codes;
        let are_new = kept == self.hashes(account, &backup_codes)?;
        Ok(FactorAdded { secret, backup_codes: are_new.then_some(backup_codes) })
    }

    /// Makes backup codes in place of all there are.
    ///
    /// # Errors
    /// [`AccountsError::NotFresh`], [`AccountsError::StrongerNeeded`], [`AccountsError::NoFactor`].
    #[tracing::instrument(name = "accounts.make_backup_codes", skip_all)]
    pub async fn make_backup_codes(&self, signed_in: &SignedIn) -> Result<Vec<String>, AccountsError> {
        self.fresh(signed_in)?;
        let person = accounts::person(self.cluster.reader(), &signed_in.account)?;
        let person = person.ok_or(AccountsError::NotFound)?;
        shown_enough(signed_in, &factors(self.cluster.reader(), &person.account)?)?;
        let codes = backup_code::make(&*self.entropy)?;
        let backup_codes = self.hashes(&person.account, &codes)?;
        let (account, generation) = (person.account.clone(), person.generation);
        self.change_factors(FactorCommand::MakeBackupCodes { account, generation, backup_codes }).await?;
        self.tell_of_factors(&person.account)?;
        Ok(codes)
    }

    pub(super) fn hashes(
        &self,
        account: &AccountId,
        codes: &[String],
    ) -> Result<Vec<SecretHash>, AccountsError> {
        let key = self.vault.derive(BACKUP_CODES)?;
        Ok(codes.iter().filter_map(|code| backup_code::hash(&key, account, code)).collect())
    }

    fn tell_of_factors(&self, account: &AccountId) -> Result<(), AccountsError> {
        if let Some(person) = accounts::person(self.cluster.reader(), account)? {
            self.tell(person.email, letters::factors_changed(&self.config.public_url));
        }
        Ok(())
    }
}
