//! Passkeys: keys of people's devices (WebAuthn, Level 3), beside a password or in its place.
//!
//! `webauthn-rs` verifies what devices sign. Between question and answer its state travels through the browser, sealed, so any node takes the
//! answer; that each question is answered once is decided in the log (`Proof::Passkey`).
//!
//! Invariant: no passkey is taken whose device has not made sure who holds it, so one is two factors by itself.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use twinmcp_storage::accounts::{self, Assertion, FactorCommand, Method, Proof, by_passkey, factors};
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::AccountId;
use url::Url;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Uuid, Webauthn, WebauthnBuilder, WebauthnError,
};

use super::super::sign_in::{Arrival, NewSession, SignedIn};
use super::super::{Accounts, AccountsError, Token};
use super::Factor;
use super::enrol::{FactorAdded, Offer};

/// How long somebody has to use their device, in milliseconds.
const QUESTION_MS: u64 = 5 * 60 * 1_000;
/// Longest name of a passkey, in bytes.
pub const PASSKEY_NAME_BYTES_MAX: usize = 64;
const OFFERS: &str = "twinmcp 2026-11 offers of a passkey";
const QUESTIONS: &str = "twinmcp 2026-11 questions to a passkey";
const HANDLE: &str = "twinmcp 2026-11 what devices call an account";

/// What verifies passkeys; nothing where the service has no name that devices know it by.
#[derive(Clone)]
pub(crate) struct Passkeys(Option<Arc<Webauthn>>);

impl Passkeys {
    /// For the service at `public_url`. A number is no name (WebAuthn, 5.1.2, effective domain), so there are no passkeys at `http://127.0.0.1`.
    pub(crate) fn new(public_url: &str, name: &str) -> Self {
        let origin = Url::parse(public_url).ok();
        let builder = origin.as_ref().and_then(|origin| WebauthnBuilder::new(origin.domain()?, origin).ok());
        Self(builder.and_then(|builder| builder.rp_name(name).build().ok()).map(Arc::new))
    }

    pub(super) const fn are_there(&self) -> bool {
        self.0.is_some()
    }

    fn get(&self) -> Result<&Webauthn, AccountsError> {
        self.0.as_deref().ok_or(AccountsError::NoPasskeysHere)
    }
}

/// A question to a device.
#[derive(Debug, Clone)]
pub struct PasskeyQuestion {
    /// For `navigator.credentials`: its options, with bytes as base64url.
    pub options: Value,
    /// Comes back with the answer.
    pub ticket: String,
    /// How long it is good, in seconds.
    pub life_s: u64,
}

/// What a device answered.
#[derive(Debug, Clone)]
pub struct PasskeyAnswer<'a> {
    /// Of the [`PasskeyQuestion`].
    pub ticket: &'a str,
    /// The first step of the sign-in, when this is the second.
    pub pending: Option<&'a str>,
    /// What `navigator.credentials.get` returned, with bytes as base64url.
    pub credential: Value,
    /// Where they come from.
    pub address: IpAddr,
    /// The program they use, in its own words.
    pub client: &'a str,
    /// The secret of a session that their browser has already; it ends.
    pub replaces: Option<&'a str>,
}

/// What is sealed in a question.
#[derive(Serialize, Deserialize)]
struct Question {
    whom: Whom,
    /// Tells it from every other.
    number: SecretHash,
    expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
enum Whom {
    /// Somebody who has shown the password.
    Account(AccountId, PasskeyAuthentication),
    /// Whoever has a passkey of this service.
    Anybody(DiscoverableAuthentication),
}

impl Accounts {
    /// Offers to add a passkey.
    ///
    /// # Errors
    /// [`AccountsError::NotFresh`], [`AccountsError::StrongerNeeded`], [`AccountsError::NoPasskeysHere`].
    pub async fn offer_passkey(&self, signed_in: &SignedIn) -> Result<PasskeyQuestion, AccountsError> {
        let (person, known) = self.may_add(signed_in).await?;
        let webauthn = self.passkeys.get()?;
        let known = known.passkeys.into_iter().map(|passkey| passkey.id).collect();
        let (handle, email) = (handle(&person.account), person.email.as_str());
        let (options, state) = webauthn
            .start_passkey_registration(handle, email, email, Some(known))
            .map_err(|_| AccountsError::NoPasskeysHere)?;
        let mut options = serde_json::to_value(options).unwrap_or_default();
        // One that the device finds by itself signs somebody in who has typed nothing.
        options["publicKey"]["authenticatorSelection"]["residentKey"] = "preferred".into();
        let expires_at = self.clock.now().plus_millis(QUESTION_MS);
        self.question(options, OFFERS, &Offer::new(person, signed_in, state, expires_at))
    }

    /// Adds the passkey that a device has made.
    ///
    /// # Errors
    /// [`AccountsError::WrongPasskey`], [`AccountsError::OfferRefused`], [`AccountsError::FactorThere`] also when it is somebody else's,
    /// [`AccountsError::TooManyFactors`].
    #[tracing::instrument(name = "accounts.add_passkey", skip_all)]
    pub async fn confirm_passkey(
        &self,
        signed_in: &SignedIn,
        ticket: &str,
        name: &str,
        credential: Value,
    ) -> Result<FactorAdded, AccountsError> {
        let Offer { account, generation, what: state, .. } =
            self.offered::<PasskeyRegistration>(OFFERS, signed_in, ticket)?;
        let name = name.trim();
        if name.is_empty() || name.len() > PASSKEY_NAME_BYTES_MAX || name.contains(char::is_control) {
            return Err(AccountsError::PasskeyName);
        }
        let made: RegisterPublicKeyCredential =
            serde_json::from_value(credential).map_err(|_| AccountsError::WrongPasskey)?;
        let (known, id): (_, &[u8]) = (factors(self.cluster.reader(), &account)?.passkeys, &made.raw_id);
        if known.iter().any(|passkey| passkey.id == id) {
            return Err(AccountsError::FactorThere);
        }
        let passkey = self.passkeys.get()?.finish_passkey_registration(&made, &state);
        let passkey = passkey.map_err(|error| refused(&error))?;
        let add = |renewal, backup_codes| FactorCommand::AddPasskey {
            account,
            generation,
            id: passkey.cred_id().to_vec(),
            name: name.to_owned(),
            credential: serde_json::to_vec(&passkey).unwrap_or_default(),
            // What the device has counted so far is in the credential, and compared with it by the library.
            counter: 0,
            renewal,
            backup_codes,
        };
        self.add_factor(signed_in, add).await
    }

    /// Asks whoever has a passkey of this service to show it: a sign-in without a password. Says nothing about who has one.
    ///
    /// # Errors
    /// [`AccountsError::NoPasskeysHere`].
    pub async fn ask_anybody(&self) -> Result<PasskeyQuestion, AccountsError> {
        let webauthn = self.passkeys.get()?;
        self.vault.ready().await?;
        let (options, state) =
            webauthn.start_discoverable_authentication().map_err(|_| AccountsError::NoPasskeysHere)?;
        self.ask(options, Whom::Anybody(state))
    }

    /// Asks for a passkey of whoever has shown the password.
    ///
    /// # Errors
    /// [`AccountsError::SignInExpired`], [`AccountsError::NoFactor`] when they have none.
    pub fn ask_passkey(&self, pending: &str) -> Result<PasskeyQuestion, AccountsError> {
        let webauthn = self.passkeys.get()?;
        let account = self.pending(pending)?.account;
        let known = factors(self.cluster.reader(), &account)?.passkeys;
        let known: Vec<Passkey> = known.iter().filter_map(|passkey| read(&passkey.credential)).collect();
        if known.is_empty() {
            return Err(AccountsError::NoFactor);
        }
        let (options, state) =
            webauthn.start_passkey_authentication(&known).map_err(|_| AccountsError::NoFactor)?;
        self.ask(options, Whom::Account(account, state))
    }

    /// Signs somebody in who has used their device.
    ///
    /// # Errors
    /// [`AccountsError::WrongPasskey`] also for an answer that was given before; [`AccountsError::SignInExpired`];
    /// [`AccountsError::Locked`].
    #[tracing::instrument(name = "accounts.answer_passkey", skip_all)]
    pub async fn answer_passkey(&self, answer: PasskeyAnswer<'_>) -> Result<NewSession, AccountsError> {
        let result = self.try_passkey(answer).await;
        self.factor_metrics.answered(Factor::Passkey, &result);
        result
    }

    async fn try_passkey(&self, answer: PasskeyAnswer<'_>) -> Result<NewSession, AccountsError> {
        let webauthn = self.passkeys.get()?;
        let question: Option<Question> = self.vault.read_ticket(QUESTIONS, answer.ticket)?;
        let question = question.filter(|question| self.clock.now() < question.expires_at);
        let question = question.ok_or(AccountsError::SignInExpired)?;
        let shown: PublicKeyCredential =
            serde_json::from_value(answer.credential).map_err(|_| AccountsError::WrongPasskey)?;
        let now = |account: &AccountId| accounts::person(self.cluster.reader(), account);
        let (person, mut methods, rehashed, upstream) = match &question.whom {
            Whom::Account(account, _) => {
                let pending = self.pending(answer.pending.unwrap_or_default())?;
                let person = now(account)?
                    .filter(|person| (&pending.account, pending.generation) == (account, person.generation));
                let person = person.ok_or(AccountsError::SignInExpired)?;
                (person, pending.methods, pending.rehashed, pending.upstream)
            }
            Whom::Anybody(_) => {
                let account = by_passkey(self.cluster.reader(), &shown.raw_id)?;
                let is_its = |account: &AccountId| {
                    shown.get_user_unique_id() == Some(handle(account).as_bytes().as_slice())
                };
                let account = account.filter(is_its).ok_or(AccountsError::WrongPasskey)?;
                (now(&account)?.ok_or(AccountsError::WrongPasskey)?, Vec::new(), None, None)
            }
        };
        let attempts = self.admit_passkey(&person.account, answer.address)?;
        let verified = match question.whom {
            Whom::Account(_, state) => webauthn.finish_passkey_authentication(&shown, &state),
            Whom::Anybody(state) => {
                let known = factors(self.cluster.reader(), &person.account)?.passkeys;
                let known = known.iter().find(|passkey| passkey.id.as_slice() == shown.get_credential_id());
                let known: Option<Passkey> = known.and_then(|passkey| read(&passkey.credential));
                let known = known.ok_or(AccountsError::WrongPasskey)?;
                webauthn.finish_discoverable_authentication_v2(&shown, state, &known)
            }
        };
        let verified = match verified.map_err(|error| refused(&error)) {
            Ok(verified) if verified.user_verified() => verified,
            not => {
                self.failed(&attempts, Some(person.account.clone()), answer.address).await?;
                return Err(not.err().unwrap_or(AccountsError::WrongPasskey));
            }
        };
        methods.push(Method::HardwareKey);
        let proof = Proof::Passkey(Assertion {
            id: verified.cred_id().to_vec(),
            counter: verified.counter(),
            challenge: question.number,
            expires_at: question.expires_at,
        });
        let arrival = Arrival {
            person: &person,
            methods,
            rehashed,
            proof: Some(proof),
            upstream,
            address: answer.address,
            client: answer.client,
            replaces: answer.replaces,
        };
        self.arrive(arrival, &attempts, AccountsError::WrongPasskey).await
    }

    fn ask(&self, options: impl Serialize, whom: Whom) -> Result<PasskeyQuestion, AccountsError> {
        let number = Token::random(&*self.entropy)?.hash();
        let question = Question { whom, number, expires_at: self.clock.now().plus_millis(QUESTION_MS) };
        self.question(serde_json::to_value(options).unwrap_or_default(), QUESTIONS, &question)
    }

    fn question(
        &self,
        mut options: Value,
        purpose: &str,
        content: &impl Serialize,
    ) -> Result<PasskeyQuestion, AccountsError> {
        Ok(PasskeyQuestion {
            options: options["publicKey"].take(),
            ticket: self.vault.ticket(purpose, content, &*self.entropy)?,
            life_s: QUESTION_MS / 1_000,
        })
    }
}

/// What devices call an account: it tells nobody who it is (WebAuthn, 14.6.1).
fn handle(account: &AccountId) -> Uuid {
    let hash = blake3::derive_key(HANDLE, account.as_str().as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Uuid::from_bytes(bytes)
}

fn read(credential: &[u8]) -> Option<Passkey> {
    serde_json::from_slice(credential).ok()
}

fn refused(error: &WebauthnError) -> AccountsError {
    tracing::debug!(error = error as &dyn std::error::Error, "a passkey was refused");
    AccountsError::WrongPasskey
}
