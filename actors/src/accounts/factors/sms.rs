//! Codes by text message: for who has nothing better. Whoever takes a number over has them, so they change nothing that is stronger.
//!
//! A code is sent when somebody asks for it, and travels sealed through their browser until it is shown: it is good there, for a few minutes,
//! once in the whole cluster (`Proof::Sms`). Before a message leaves it was counted, for the account, for the number and for the network.
//!
//! Invariant: a number is kept sealed, and shown by its last two digits; numbers and codes are never logged.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracing::instrument;
use twinmcp_storage::accounts::{
    self, FactorCommand, Factors, Method, TextCommand, TextsAllowed, WhichFactor, Whose, factors, texts,
};
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::{Entropy, EntropyError, Timestamp};
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::AccountId;

use super::super::config::SmsConfig;
use super::super::sign_in::SignedIn;
use super::super::{Accounts, AccountsError, Token, network};
use super::Factor;
use super::challenge::{PENDING_MS, Pending, SIGN_INS};
use super::enrol::{FactorAdded, Offer};
use super::number::Number;

/// How long a code is good, in milliseconds.
const CODE_MS: u64 = PENDING_MS;
/// The time within which messages are counted, in milliseconds.
const WINDOW_MS: u64 = 3_600_000;
const DIGITS: usize = 6;
const OFFERS: &str = "twinmcp 2026-11 offers of a phone";
const NUMBERS: &str = "twinmcp 2026-11 numbers of phones";
const COUNTED: &str = "twinmcp 2026-11 hashes of numbers that messages are counted by";
const OFFERED: &str = "twinmcp 2026-11 hashes of numbers that offers are counted by";

/// Six digits that were, or may have been, sent.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Code(String);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Code {
    pub(super) fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes)?;
        // A million goes into 2^64 so often that no code is likelier than another by anything that counts.
        Ok(Self(format!("{:0DIGITS$}", u64::from_le_bytes(bytes) % 1_000_000)))
    }

    /// What somebody typed, if it can be one. Blanks in it do not matter.
    pub(super) fn typed(text: &str) -> Option<Self> {
        let code: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        (code.len() == DIGITS && code.bytes().all(|byte| byte.is_ascii_digit())).then_some(Self(code))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `typed` is this one; takes as long for any.
    fn is(&self, typed: &str) -> bool {
        Self::typed(typed)
            .is_some_and(|typed| blake3::hash(typed.0.as_bytes()) == blake3::hash(self.0.as_bytes()))
    }
}

/// A code that was sent to go on with a sign-in; sealed in its ticket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SentCode {
    code: Code,
    /// Tells it from every other.
    number: SecretHash,
}

impl SentCode {
    /// What tells it from every other, if it is what somebody typed.
    pub(super) fn shown_by(&self, typed: &str) -> Option<SecretHash> {
        self.code.is(typed).then_some(self.number)
    }
}

/// A message, and where it goes. The two kinds are counted by themselves for a number: whoever offers somebody else's keeps no code of theirs
/// from them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text<'a> {
    /// To a number that somebody says is theirs.
    Offer { to: &'a Number, code: &'a Code },
    /// To a number that has been shown to be.
    SignIn { to: &'a Number, code: &'a Code },
}

/// A phone that may be added.
#[derive(Debug, Clone)]
pub struct SmsOffer {
    /// Its number, masked.
    pub to: String,
    /// Comes back with the code.
    pub ticket: String,
    /// How long it is good, in seconds.
    pub life_s: u64,
}

/// A code that is on its way to go on with a sign-in.
#[derive(Debug, Clone)]
pub struct CodeSent {
    /// The number it went to, masked.
    pub to: String,
    /// Takes the place of the sign-in's ticket.
    pub ticket: String,
    /// How long both are good, in seconds.
    pub life_s: u64,
}

/// What a page says about codes in the second step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsAsked {
    /// The number, masked.
    pub to: String,
    /// Whether one was sent in this sign-in.
    pub is_sent: bool,
}

/// What somebody is told about their phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsView {
    /// Its number, masked.
    pub to: String,
    /// When it was added.
    pub added_at: Timestamp,
    /// When a code was last taken.
    pub used_at: Timestamp,
}

/// A number, and the code that was sent there.
#[derive(Serialize, Deserialize)]
struct Asked {
    to: Number,
    code: Code,
}

impl Accounts {
    /// Whether this service sends text messages.
    pub const fn has_sms(&self) -> bool {
        self.carrier.is_there()
    }

    /// Sends a code to a phone that may be added.
    ///
    /// # Errors
    /// [`AccountsError::NoSmsHere`], [`AccountsError::NotFresh`], [`AccountsError::StrongerNeeded`], [`AccountsError::Number`],
    /// [`AccountsError::FactorThere`], [`AccountsError::TooManyTexts`], [`AccountsError::TextNotSent`].
    #[instrument(name = "accounts.offer_sms", skip_all)]
    pub async fn offer_sms(
        &self,
        signed_in: &SignedIn,
        typed: &str,
        address: IpAddr,
    ) -> Result<SmsOffer, AccountsError> {
        self.carrier.config()?;
        let (person, known) = self.may_add(signed_in).await?;
        let to = Number::parse(typed)?;
        if known.sms.is_some() {
            return Err(AccountsError::FactorThere);
        }
        let asked = Asked { to, code: Code::random(&*self.entropy)? };
        let offer = Offer::new(person, signed_in, asked, self.clock.now().plus_millis(CODE_MS));
        let ticket = self.vault.ticket(OFFERS, &offer, &*self.entropy)?;
        let Asked { to, code } = &offer.what;
        self.text(&offer.account, Text::Offer { to, code }, address).await?;
        Ok(SmsOffer { to: to.masked(), ticket, life_s: CODE_MS / 1_000 })
    }

    /// Adds the phone that a code was sent to, if `code` is that.
    ///
    /// # Errors
    /// [`AccountsError::WrongCode`], [`AccountsError::OfferRefused`], [`AccountsError::Locked`] after too many wrong codes.
    #[instrument(name = "accounts.add_sms", skip_all)]
    pub async fn confirm_sms(
        &self,
        signed_in: &SignedIn,
        ticket: &str,
        code: &str,
        address: IpAddr,
    ) -> Result<FactorAdded, AccountsError> {
        let result = self.try_confirm_sms(signed_in, ticket, code, address).await;
        self.factor_metrics.answered(Factor::Sms, &result);
        result
    }

    async fn try_confirm_sms(
        &self,
        signed_in: &SignedIn,
        ticket: &str,
        code: &str,
        address: IpAddr,
    ) -> Result<FactorAdded, AccountsError> {
        let Offer { account, generation, what: asked, .. } =
            self.offered::<Asked>(OFFERS, signed_in, ticket)?;
        let attempts = self.admit_factor(&account, address)?;
        if !asked.code.is(code) {
            self.failed(&attempts, Some(account), address).await?;
            return Err(AccountsError::WrongCode);
        }
        let sealed = self.vault.sealer(NUMBERS)?.seal(asked.to.as_str().as_bytes(), &*self.entropy)?;
        let add = |renewal, backup_codes| FactorCommand::AddSms {
            account,
            generation,
            sealed,
            renewal,
            backup_codes,
        };
        let added = self.add_factor(signed_in, add).await?;
        attempts.succeeded();
        Ok(added)
    }

    /// Sends a code to whoever goes on with a sign-in, to the phone that they have added.
    ///
    /// # Errors
    /// [`AccountsError::SignInExpired`], [`AccountsError::NoFactor`], [`AccountsError::Locked`], [`AccountsError::NoSmsHere`],
    /// [`AccountsError::TooManyTexts`], [`AccountsError::TextNotSent`].
    #[instrument(name = "accounts.send_code", skip_all)]
    pub async fn send_code(&self, ticket: &str, address: IpAddr) -> Result<CodeSent, AccountsError> {
        self.carrier.config()?;
        let pending = self.pending(ticket)?;
        let person = accounts::person(self.cluster.reader(), &pending.account)?;
        let person = person
            .filter(|person| person.disabled_at.is_none() && person.generation == pending.generation)
            .ok_or(AccountsError::SignInExpired)?;
        let to = self.phone(&person.account)?.ok_or(AccountsError::NoFactor)?;
        // Nothing is sent that would not be taken.
        drop(self.admit_factor(&person.account, address)?);
        let sent =
            SentCode { code: Code::random(&*self.entropy)?, number: Token::random(&*self.entropy)?.hash() };
        self.text(&person.account, Text::SignIn { to: &to, code: &sent.code }, address).await?;
        let expires_at = self.clock.now().plus_millis(CODE_MS);
        let pending = Pending { sms: Some(sent), expires_at, ..pending };
        let ticket = self.vault.ticket(SIGN_INS, &pending, &*self.entropy)?;
        Ok(CodeSent { to: to.masked(), ticket, life_s: CODE_MS / 1_000 })
    }

    /// What a page says about codes to whoever goes on with a sign-in; nothing when none can be sent.
    ///
    /// # Errors
    /// [`AccountsError::SignInExpired`].
    pub fn sms_asked(&self, ticket: &str) -> Result<Option<SmsAsked>, AccountsError> {
        let pending = self.pending(ticket)?;
        if !self.has_sms() {
            return Ok(None);
        }
        let phone = self.phone(&pending.account)?;
        Ok(phone.map(|phone| SmsAsked { to: phone.masked(), is_sent: pending.sms.is_some() }))
    }

    /// Removes the phone.
    ///
    /// # Errors
    /// As [`Self::remove_totp`].
    pub async fn remove_sms(&self, signed_in: &SignedIn) -> Result<(), AccountsError> {
        self.remove_factor(signed_in, WhichFactor::Sms).await
    }

    /// What somebody is told about their phone.
    pub(super) fn sms_view(&self, factors: &Factors) -> Result<Option<SmsView>, AccountsError> {
        let Some(sms) = &factors.sms else { return Ok(None) };
        let to = self.unsealed(&sms.sealed)?.masked();
        Ok(Some(SmsView { to, added_at: sms.added_at, used_at: sms.used_at }))
    }

    fn phone(&self, account: &AccountId) -> Result<Option<Number>, AccountsError> {
        let sms = factors(self.cluster.reader(), account)?.sms;
        sms.map(|sms| self.unsealed(&sms.sealed)).transpose()
    }

    fn unsealed(&self, sealed: &[u8]) -> Result<Number, AccountsError> {
        let opened = self.vault.sealer(NUMBERS)?.open(sealed);
        opened.and_then(Number::from_bytes).ok_or(AccountsError::NotReady)
    }

    /// Sends a code, if not too many were sent.
    async fn text(&self, account: &AccountId, text: Text<'_>, address: IpAddr) -> Result<(), AccountsError> {
        let allowed = self.allowed(account, text, address, self.carrier.config()?)?;
        let (Text::Offer { to, code } | Text::SignIn { to, code }) = text;
        let whose = allowed.iter().map(|allowed| allowed.whose).collect();
        let send =
            TextCommand::Send { account: account.clone(), allowed: allowed.to_vec(), window_ms: WINDOW_MS };
        if self.change(accounts::Command::Text(send)).await? != Outcome::Done {
            self.factor_metrics.text("limited");
            return Err(AccountsError::TooManyTexts { retry_after_s: self.texts_full_for_s(&allowed)? });
        }
        let id = Token::random(&*self.entropy)?;
        let Err(not_taken) = self.carrier.send(&id.reveal()[..32], to, code).await else {
            self.factor_metrics.text("sent");
            return Ok(());
        };
        self.factor_metrics.text("failed");
        tracing::error!(error = &not_taken.error as &dyn std::error::Error, "a code was not sent to a phone");
        if !not_taken.may_have_sent
            && let Err(error) = self.change(accounts::Command::Text(TextCommand::NotSent { whose })).await
        {
            // It counts as sent then, for an hour.
            tracing::warn!(error = &error as &dyn std::error::Error, "a code that was not sent is counted");
        }
        Err(AccountsError::TextNotSent)
    }

    /// Whose messages one counts for, and how many those may be.
    pub(super) fn allowed(
        &self,
        account: &AccountId,
        text: Text<'_>,
        address: IpAddr,
        config: &SmsConfig,
    ) -> Result<[TextsAllowed; 3], AccountsError> {
        let (counted, to) = match text {
            Text::Offer { to, .. } => (OFFERED, to),
            Text::SignIn { to, .. } => (COUNTED, to),
        };
        let hash = blake3::keyed_hash(&self.vault.derive(counted)?, to.as_str().as_bytes());
        let allowed = [
            (Whose::account(account), config.texts_max),
            (Whose::number(hash.into()), config.texts_max),
            (Whose::network(&network(address)), config.network_texts_max),
        ];
        Ok(allowed.map(|(whose, texts_max)| TextsAllowed { whose, texts_max }))
    }

    /// After how many seconds another message may be sent.
    fn texts_full_for_s(&self, allowed: &[TextsAllowed]) -> Result<u64, AccountsError> {
        let (now, mut longest_ms) = (self.clock.now(), 0);
        for TextsAllowed { whose, texts_max } in allowed {
            let known = texts(self.cluster.reader(), whose)?.unwrap_or_default();
            longest_ms = longest_ms.max(known.full_for_ms(now, *texts_max, WINDOW_MS));
        }
        Ok(longest_ms.div_ceil(1_000).max(1))
    }
}

/// Refuses changes by whoever has shown nothing stronger than a code that was sent, where there is something stronger: whoever has taken a
/// number over would else take that away, or add their own.
pub(super) fn shown_enough(signed_in: &SignedIn, factors: &Factors) -> Result<(), AccountsError> {
    let is_strong = |method: &Method| matches!(method, Method::OneTimeCode | Method::HardwareKey);
    let by_sms = signed_in.methods.contains(&Method::Sms) && !signed_in.methods.iter().any(is_strong);
    if by_sms && factors.has_stronger_than_sms() { Err(AccountsError::StrongerNeeded) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use twinmcp_storage::accounts::Totp;
    use twinmcp_storage::clock::SystemEntropy;

    use super::*;

    #[test]
    fn a_code_has_six_digits_and_only_itself_is_right() {
        let codes: BTreeSet<_> =
            (0..100).map(|_| Code::random(&SystemEntropy).unwrap().as_str().to_owned()).collect();
        assert!(codes.len() > 90 && codes.iter().all(|code| code.len() == DIGITS), "{codes:?}");
        let code = Code("042042".to_owned());
        assert!(code.is("042042") && code.is(" 042 042\n"));
        for wrong in ["", "42042", "0042042", "042043", "042-042", "٠٤٢٠٤٢", "042042x", &"0".repeat(10_000)]
        {
            assert!(!code.is(wrong), "{wrong}");
        }
        assert_eq!(format!("{code:?}"), "***");
    }

    #[test]
    fn a_code_that_was_sent_changes_nothing_where_there_is_something_stronger() {
        let at = Timestamp::from_millis(1);
        let sms = Factors {
            sms: Some(accounts::Sms { sealed: Vec::new(), added_at: at, used_at: at }),
            ..Factors::default()
        };
        let totp = Totp { sealed: Vec::new(), added_at: at, last_step: 1, used_at: at };
        let both = Factors { totp: Some(totp), ..sms.clone() };
        let enough = |methods: &[Method], factors: &Factors| {
            let signed_in = SignedIn {
                session: "ses_00000000000000000000000000".parse().unwrap(),
                account: "acct_00000000000000000000000000".parse().unwrap(),
                signed_in_at: at,
                methods: methods.to_vec(),
                lacks_factor: false,
                is_operator: false,
            };
            shown_enough(&signed_in, factors).is_ok()
        };
        use Method::{HardwareKey, OneTimeCode, Password, Sms, Upstream};
        for (methods, is_enough) in [
            ([Password, Sms].as_slice(), false),
            (&[Upstream, Sms], false),
            (&[Password, OneTimeCode], true),
            (&[HardwareKey], true),
            (&[Password, Sms, OneTimeCode], true),
        ] {
            assert_eq!(enough(methods, &both), is_enough, "{methods:?}");
            assert!(enough(methods, &sms), "there is nothing stronger: {methods:?}");
        }
    }
}
