//! Making tokens: a bounded number of signatures at a time, so that a flood of them leaves a processor for questions.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use twinmcp_storage::clock::{Entropy, EntropyError, Timestamp};
use twinmcp_storage::ids::GrantId;
use twinmcp_storage::oauth::client::TokenFormat;
use twinmcp_storage::oauth::signing_key::Algorithm;

use super::access_token::AccessToken;
use super::error::OauthError;
use super::keys::{Keys, Purpose, Sealers};
use super::token_text::{self, Kind};
use crate::seal::Sealer;

/// Requests for tokens that are answered at a time; what they wait for a signature is bounded by it.
pub(super) const PLACES_MAX: usize = 512;
/// How long a key to sign with is waited for at most.
const WAIT: Duration = Duration::from_secs(5);

/// Makes tokens, and reads those that only this cluster can.
pub(super) struct Issuer {
    keys: watch::Sender<Arc<Keys>>,
    entropy: Arc<dyn Entropy>,
    turns: Semaphore,
    places: Semaphore,
}

/// What is sealed in a refresh token.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct RefreshToken {
    pub(super) grant: GrantId,
    random: [u8; 16],
}

impl Issuer {
    pub(super) fn new(entropy: Arc<dyn Entropy>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            keys: watch::Sender::default(),
            entropy,
            turns: Semaphore::new(cores.saturating_sub(1).max(1)),
            places: Semaphore::new(PLACES_MAX),
        }
    }

    /// The keys of this moment.
    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.borrow())
    }

    /// Puts other keys in force.
    pub(super) fn set_keys(&self, keys: Keys) {
        self.keys.send_replace(Arc::new(keys));
    }

    /// Waits for a key to sign with, which a new cluster makes in the moment after its start: before anything is used up for tokens
    /// that could not be signed.
    pub(super) async fn ready(&self, algorithm: Algorithm) -> Result<(), OauthError> {
        let mut keys = self.keys.subscribe();
        let there = keys.wait_for(|keys| keys.has(algorithm));
        match tokio::time::timeout(WAIT, there).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(OauthError::NoKey),
        }
    }

    /// Waits until what the key called `kid` signed is not believed here any more.
    pub(super) async fn until_forgotten(&self, kid: &str, now: Timestamp) -> Result<(), OauthError> {
        let mut keys = self.keys.subscribe();
        let gone = keys.wait_for(|keys| keys.verifier(kid, now).is_none());
        gone.await.map(drop).map_err(|_| OauthError::NoKey)
    }

    /// The text of an access token.
    pub(super) async fn access(
        &self,
        token: &AccessToken,
        issuer: &str,
        (format, algorithm): (TokenFormat, Algorithm),
    ) -> Result<String, OauthError> {
        match format {
            TokenFormat::Jwt => {
                self.sign(Purpose::Access, algorithm, &token.claims(issuer), token.issued_at).await
            }
            TokenFormat::Opaque => {
                Ok(token_text::write(Kind::Access, &self.seal(|sealers| &sealers.access, token)?))
            }
        }
    }

    /// What an opaque access token says, expired or not.
    pub(super) fn read_opaque(&self, text: &str) -> Option<AccessToken> {
        self.open(|sealers| &sealers.access, &token_text::read(Kind::Access, text)?)
    }

    /// A place for a request that tokens are signed for, free again once it is dropped; or the refusal of one too many, before
    /// anything is used up for it.
    pub(super) fn place(&self) -> Result<SemaphorePermit<'_>, OauthError> {
        self.places.try_acquire().map_err(|_| OauthError::Busy)
    }

    /// A signed token with these claims. Waits its turn for as long as that takes: requests have a [place](Self::place), and notices
    /// that somebody signed out are few at a time.
    pub(super) async fn sign(
        &self,
        purpose: Purpose,
        algorithm: Algorithm,
        claims: &[u8],
        now: Timestamp,
    ) -> Result<String, OauthError> {
        let _turn = self.turns.acquire().await.map_err(|_| OauthError::Busy)?;
        let keys = self.keys();
        let signer = keys.signer(algorithm, now).ok_or(OauthError::NoKey)?;
        Ok(signer.sign(purpose, claims)?)
    }

    /// A new refresh token of a grant.
    pub(super) fn refresh(&self, grant: &GrantId) -> Result<String, OauthError> {
        let mut random = [0; 16];
        self.entropy.fill(&mut random)?;
        let token = RefreshToken { grant: grant.clone(), random };
        Ok(token_text::write(Kind::Refresh, &self.seal(|sealers| &sealers.refresh, &token)?))
    }

    /// What is in a refresh token that this cluster made.
    pub(super) fn read_refresh(&self, text: &str) -> Option<RefreshToken> {
        self.open(|sealers| &sealers.refresh, &token_text::read(Kind::Refresh, text)?)
    }

    /// A refresh token, sealed for whoever did not get the answer.
    pub(super) fn keep_refresh(&self, text: &str) -> Result<Vec<u8>, OauthError> {
        self.seal(|sealers| &sealers.refresh, &text)
    }

    /// What [`Self::keep_refresh`] kept.
    pub(super) fn kept_refresh(&self, kept: &[u8]) -> Option<String> {
        self.open(|sealers| &sealers.refresh, kept)
    }

    /// A client's secret, sealed: what is signed with it is verified with the secret itself.
    pub(super) fn keep_client_secret(&self, secret: &str) -> Result<Vec<u8>, OauthError> {
        self.seal(|sealers| &sealers.client, &secret)
    }

    /// What [`Self::keep_client_secret`] kept.
    pub(super) fn kept_client_secret(&self, kept: &[u8]) -> Option<String> {
        self.open(|sealers| &sealers.client, kept)
    }

    /// What a person is asked, sealed, so that their browser can carry it and nobody can change it.
    pub(super) fn ticket(&self, content: &impl Serialize) -> Result<String, OauthError> {
        Ok(URL_SAFE_NO_PAD.encode(self.seal(|sealers| &sealers.ticket, content)?))
    }

    /// What [`Self::ticket`] sealed.
    pub(super) fn read_ticket<T: DeserializeOwned>(&self, text: &str) -> Option<T> {
        self.open(|sealers| &sealers.ticket, &URL_SAFE_NO_PAD.decode(text).ok()?)
    }

    /// 256 random bits as text.
    pub(super) fn random(&self) -> Result<String, EntropyError> {
        let mut random = [0; 32];
        self.entropy.fill(&mut random)?;
        Ok(URL_SAFE_NO_PAD.encode(random))
    }

    fn seal(
        &self,
        which: impl Fn(&Sealers) -> &Sealer,
        content: &impl Serialize,
    ) -> Result<Vec<u8>, OauthError> {
        let keys = self.keys();
        let sealers = keys.sealers().ok_or(OauthError::NoKey)?;
        // JSON, because tokens of one build are read by the next.
        let content = serde_json::to_vec(content).unwrap_or_default();
        Ok(which(sealers).seal(&content, &*self.entropy)?)
    }

    fn open<T: DeserializeOwned>(&self, which: impl Fn(&Sealers) -> &Sealer, sealed: &[u8]) -> Option<T> {
        let keys = self.keys();
        serde_json::from_slice(&which(keys.sealers()?).open(sealed)?).ok()
    }
}
