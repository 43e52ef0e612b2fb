//! How a factor is added: offered first, and one only once it has shown that it works.
//!
//! Between the two nothing is kept: the offer travels through the browser, sealed together with the session and the generation it was
//! made for, so it is good for this person, now, once.

use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use twinmcp_storage::accounts::{self, FactorCommand, Factors, Person, Renewal, factors};
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

/// What is sealed in an offer of a factor; `what` shows that it works.
#[derive(Serialize, Deserialize)]
pub(super) struct Offer<T> {
    pub(super) account: AccountId,
    pub(super) session: SessionId,
    pub(super) generation: u32,
    pub(super) what: T,
    pub(super) expires_at: Timestamp,
}

impl<T> Offer<T> {
    pub(super) fn new(person: Person, signed_in: &SignedIn, what: T, expires_at: Timestamp) -> Self {
        let session = signed_in.session.clone();
        Self { account: person.account, session, generation: person.generation, what, expires_at }
    }
}

impl Accounts {
    /// Who adds a factor, as they are now, and those they have.
    ///
    /// # Errors
    /// [`AccountsError::NotFresh`], [`AccountsError::StrongerNeeded`].
    pub(super) async fn may_add(&self, signed_in: &SignedIn) -> Result<(Person, Factors), AccountsError> {
        self.fresh(signed_in)?;
        self.vault.ready().await?;
        let person = accounts::person(self.cluster.reader(), &signed_in.account)?;
        let person = person.ok_or(AccountsError::NotFound)?;
        let known = factors(self.cluster.reader(), &person.account)?;
        shown_enough(signed_in, &known)?;
        Ok((person, known))
    }

    /// What was offered to whoever is signed in, in this session, and not too long ago.
    ///
    /// # Errors
    /// [`AccountsError::OfferRefused`].
    pub(super) fn offered<T: DeserializeOwned>(
        &self,
        purpose: &str,
        signed_in: &SignedIn,
        ticket: &str,
    ) -> Result<Offer<T>, AccountsError> {
        let right = |offer: &Offer<T>| {
            (&offer.account, &offer.session) == (&signed_in.account, &signed_in.session)
                && self.clock.now() < offer.expires_at
        };
        let offer: Option<Offer<T>> = self.vault.read_ticket(purpose, ticket)?;
        offer.filter(right).ok_or(AccountsError::OfferRefused)
    }

    /// Adds a factor that has shown that it works. `command` is given the session's renewal and the hashes of backup codes, which are
    /// taken when there are none.
    pub(super) async fn add_factor(
        &self,
        signed_in: &SignedIn,
        command: impl FnOnce(Renewal, Vec<SecretHash>) -> FactorCommand,
    ) -> Result<FactorAdded, AccountsError> {
        let (account, secret) = (&signed_in.account, Token::random(&*self.entropy)?);
        let backup_codes = backup_code::make(&*self.entropy)?;
        let hashes = self.hashes(account, &backup_codes)?;
        let renewal = Renewal { session: signed_in.session.clone(), secret_hash: secret.hash() };
        self.change_factors(command(renewal, hashes.clone())).await?;
        self.tell_of_factors(account)?;
        let are_new = factors(self.cluster.reader(), account)?.backup_codes == hashes;
        Ok(FactorAdded { secret, backup_codes: are_new.then_some(backup_codes) })
    }

    /// Offers an authenticator app.
    ///
    /// # Errors
    /// [`AccountsError::NotFresh`], [`AccountsError::StrongerNeeded`], [`AccountsError::FactorThere`].
    pub async fn offer_totp(&self, signed_in: &SignedIn) -> Result<TotpOffer, AccountsError> {
        let (person, known) = self.may_add(signed_in).await?;
        if known.totp.is_some() {
            return Err(AccountsError::FactorThere);
        }
        let secret = Secret::random(&*self.entropy)?;
        let (text, uri) = (secret.text(), secret.uri(&self.config.mfa.issuer, person.email.as_str()));
        let offer = Offer::new(person, signed_in, secret, self.clock.now().plus_millis(OFFER_MS));
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
        let Offer { account, generation, what: app, .. } =
            self.offered::<Secret>(OFFERS, signed_in, ticket)?;
        let attempts = self.admit_factor(&account, address)?;
        let Some(step) = app.step_of(code, self.clock.now()) else {
            self.failed(&attempts, Some(account), address).await?;
            return Err(AccountsError::WrongCode);
        };
        let sealed = self.vault.sealer(SECRETS)?.seal(app.as_bytes(), &*self.entropy)?;
        let add = |renewal, backup_codes| FactorCommand::AddTotp {
            account,
            generation,
            sealed,
            step,
            renewal,
            backup_codes,
        };
        let added = self.add_factor(signed_in, add).await?;
        attempts.succeeded();
        Ok(added)
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
