//! The authorization server: who is allowed what, and the tokens that say so.
//!
//! [`Oauth`] is the only way in. A request is checked by plain functions (`authorize`, `client`, `redirect`, `resource`);
//! what may happen once is one command, decided in the log; what is signed passes `issue`, a few at a time. Verifying a token
//! reads this node's own state and passes no mailbox. The actor only keeps the signing keys: it adds the next one when it is
//! due and takes in those that others added.
//!
//! Invariant: a code, a token or a secret is shown once and kept as a hash, or sealed with the cluster's key.

mod access_token;
mod admit;
mod apps;
mod assertion;
mod assurance;
mod authorize;
mod backchannel;
mod client;
mod clients;
mod credentials;
mod device;
mod document;
mod dpop;
mod end_session;
mod error;
mod flow;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod hint;
mod introspect;
mod issue;
mod keys;
mod made;
mod metrics;
mod misshown;
mod params;
mod redirect;
mod register;
mod resource;
mod rotation;
mod signing_key;
#[cfg(test)]
mod tests;
mod token;
mod token_text;

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use twinmcp_cluster::{Cluster, ClusterKeys};
use twinmcp_storage::clock::{Clock, Entropy, EntropyError, Timestamp};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::oauth::grant::{ACCESS_MS_MAX, LEEWAY_MS, Limits};
use twinmcp_storage::oauth::signing_key::Algorithm;
use twinmcp_storage::oauth::{self, base_key, signing_key as agreed};
use twinmcp_storage::transaction::Change;

pub use self::access_token::{AccessToken, SignIn, Subject, scope_text};
pub use self::admit::{AdmitError, ShownToken};
pub use self::apps::App;
pub use self::assurance::Assurance;
pub use self::authorize::Person;
pub(crate) use self::backchannel::LOGOUT_EVENT;
pub use self::device::{DeviceCodes, DeviceQuestion};
pub use self::dpop::{ProofError, Proven};
pub use self::end_session::{EndSession, SignOutQuestion};
pub use self::error::{ErrorCode, OauthError, Refused};
pub use self::flow::{Authorization, Question};
pub use self::introspect::Introspection;
pub use self::params::Params;
pub use self::register::Registered;
pub use self::resource::Resources;
pub use self::rotation::RotationConfig;
pub use self::signing_key::KeyError;
pub use self::token::{TokenRequest, Tokens};
pub use self::token_text::looks_like_access_token;

use self::device::Pace;
use self::document::Documents;
use self::dpop::Proofs;
use self::issue::Issuer;
use self::keys::{Keys, Sealers};
use self::metrics::{Metrics, Taken};
use self::misshown::Misshown;
use self::signing_key::PrivateKey;
use crate::accounts::FactorPolicy;
use crate::audit::Audit;
use crate::context::Context;
use crate::jose::KeySets;
use crate::outbound::Outbound;
use crate::supervisor::Child;

/// How often the signing keys are looked through, at most and at least: far more often than one is due.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(200);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);
/// Until a key that could not be added is tried again, at first; twice as long after each failure, up to [`LOOK_EVERY_MAX`].
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// Failures that are nobody's business: at a start no leader is known for a moment.
const QUIET_FAILURES: u32 = 5;
/// Access tokens that were verified a moment ago.
const VERIFIED_MAX: usize = 10_000;

/// How the authorization server runs.
#[derive(Debug, Clone)]
pub struct OauthConfig {
    /// Its name, which is also where it is: an https URL without a slash at its end.
    pub issuer: String,
    /// What tokens are signed with: the first by default, the others for clients that ask for them.
    pub algorithms: Vec<Algorithm>,
    /// Life of an access token.
    pub access: Duration,
    /// Life of an authorization code.
    pub code: Duration,
    /// Life of a refresh token that is not used.
    pub refresh_idle: Duration,
    /// Life of a family of refresh tokens.
    pub refresh_absolute: Duration,
    /// How long a client that shows who it is may send a used refresh token again, because the answer was lost.
    pub refresh_again: Duration,
    /// Whether clients may register themselves.
    pub registration: bool,
    /// How signing keys follow each other.
    pub rotation: RotationConfig,
}

impl Default for OauthConfig {
    /// Of a node alone, at its usual address.
    fn default() -> Self {
        Self::new("http://127.0.0.1:3000")
    }
}

impl OauthConfig {
    /// The usual one of the service called `issuer`.
    pub fn new(issuer: impl Into<String>) -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            issuer: issuer.into(),
            algorithms: vec![Algorithm::Rs256],
            access: Duration::from_secs(600),
            code: Duration::from_secs(60),
            refresh_idle: 30 * day,
            refresh_absolute: 180 * day,
            refresh_again: Duration::from_secs(10),
            registration: true,
            rotation: RotationConfig::default(),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            access_ms: millis(self.access).min(ACCESS_MS_MAX),
            idle_ms: millis(self.refresh_idle),
            absolute_ms: millis(self.refresh_absolute),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The way to the authorization server.
#[derive(Clone)]
pub struct Oauth(Arc<Inner>);

struct Inner {
    config: OauthConfig,
    resources: Resources,
    cluster: Cluster,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    issuer: Issuer,
    documents: Documents,
    outbound: Outbound,
    /// Keys that clients keep at an address.
    key_sets: KeySets,
    pace: Pace,
    proofs: Proofs,
    policy: FactorPolicy,
    /// Of access tokens by the hash of their text: verified, but perhaps expired or revoked since.
    verified: Cache<[u8; 32], Arc<AccessToken>>,
    misshown: Misshown,
    audit: Audit,
    metrics: Metrics,
}

impl Oauth {
    pub(crate) fn child(
        context: &Arc<Context>,
        config: OauthConfig,
        keys: ClusterKeys,
        policy: FactorPolicy,
    ) -> Result<(Child, Self), EntropyError> {
        let oauth = Self(Arc::new(Inner {
            resources: Resources::new(&config.issuer),
            cluster: context.cluster.clone(),
            clock: Arc::clone(&context.clock),
            entropy: Arc::clone(&context.entropy),
            issuer: Issuer::new(Arc::clone(&context.entropy)),
            documents: Documents::new(context.outbound.clone(), Arc::clone(&context.clock)),
            outbound: context.outbound.clone(),
            key_sets: KeySets::new(context.outbound.clone(), Arc::clone(&context.clock)),
            pace: Pace::new(),
            proofs: Proofs::new(&*context.entropy)?,
            policy,
            verified: Cache::new(VERIFIED_MAX),
            misshown: Misshown::default(),
            audit: Audit::new(context.cluster.clone()),
            metrics: Metrics::new(),
            config,
        }));
        metrics::tell_key_ages(&oauth.0);
        let for_actor = oauth.clone();
        let (child, _) = Child::new("oauth", &context.node, move || {
            (KeysActor { oauth: for_actor.clone(), keys: keys.clone() }, ())
        });
        Ok((child, oauth))
    }

    /// The service's name.
    pub fn issuer(&self) -> &str {
        &self.0.config.issuer
    }

    /// What tokens may be signed with, the usual one first.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.0.config.algorithms
    }

    /// Whether clients may register themselves.
    pub fn registers(&self) -> bool {
        self.0.config.registration
    }

    /// Where tokens are good.
    pub fn resources(&self) -> &Resources {
        &self.0.resources
    }

    /// The keys that everybody may verify with, a JWK set. Nothing while there is no key: before the first one of a new cluster, and
    /// from when the only one is revoked until another is made.
    pub fn jwks(&self) -> Option<Arc<str>> {
        self.0.issuer.keys().jwks()
    }

    /// The keys that sign tokens, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn signing_keys(&self) -> Result<Vec<agreed::SigningKey>, OauthError> {
        Ok(agreed::list(self.0.cluster.reader())?)
    }

    /// Nothing that the key called `kid` signed is believed from now on, here once this is answered; the next key signs at once.
    ///
    /// # Errors
    /// When there is no such key.
    pub async fn revoke_key(&self, kid: &str) -> Result<bool, OauthError> {
        let command = agreed::Command::Revoke { kid: kid.to_owned() };
        let is_revoked = self.propose(oauth::Command::SigningKey(command)).await? == Outcome::Done;
        if is_revoked {
            self.0.metrics.revoked(Taken::SigningKey);
            self.0.issuer.until_forgotten(kid, self.now()).await?;
        }
        Ok(is_revoked)
    }

    /// Whether somebody who has shown `methods` has shown less than the policy asks of them.
    fn lacks_factor(&self, account: &AccountId, methods: &[String]) -> Result<bool, StorageError> {
        Ok(Assurance::of(methods) < Assurance::Two && self.0.policy.asks(account)?)
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    async fn propose(&self, command: oauth::Command) -> Result<Outcome, OauthError> {
        Ok(self.0.cluster.propose(Command::Oauth(command)).await?.outcome)
    }
}

enum Message {
    /// Add what is due.
    Look,
    /// Take in what was added or revoked.
    Changed,
}

struct KeysActor {
    oauth: Oauth,
    keys: ClusterKeys,
}

impl Actor for KeysActor {
    type Msg = Message;
    /// Failures since a look succeeded.
    type State = u32;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<u32, ActorProcessingErr> {
        let mut changes = self.oauth.0.cluster.changes();
        self.take_in()?;
        let told = myself.clone();
        tokio::spawn(async move {
            while let Some(changes) = changes.next().await {
                let is_ours = |change: &Change| {
                    matches!(change, Change::SigningKeys | Change::Secrets | Change::Everything)
                };
                if changes.iter().any(is_ours) && told.send_message(Message::Changed).is_err() {
                    return;
                }
            }
        });
        // After the start: a key of RSA takes a tenth of a second.
        myself.send_message(Message::Look)?;
        Ok(0)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        failures: &mut u32,
    ) -> Result<(), ActorProcessingErr> {
        if matches!(message, Message::Changed) {
            self.take_in()?;
        }
        // A key that was revoked has to have a successor at once.
        let added = self.add_due().await;
        *failures = if added.is_ok() { 0 } else { failures.saturating_add(1) };
        if let Err(error) = &added
            && *failures > QUIET_FAILURES
        {
            tracing::warn!(error = error as &dyn std::error::Error, "no signing key was added");
        }
        if matches!(message, Message::Look) {
            let after = match *failures {
                0 => (self.oauth.0.config.rotation.publish / 4).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX),
                failures => (TRY_AGAIN * 2_u32.pow(failures.min(10) - 1)).min(LOOK_EVERY_MAX),
            };
            myself.send_after(after, || Message::Look);
        }
        Ok(())
    }
}

impl KeysActor {
    fn take_in(&self) -> Result<(), StorageError> {
        let inner = &*self.oauth.0;
        let keys = agreed::list(inner.cluster.reader())?;
        let base = base_key::get(inner.cluster.reader())?;
        let sealers = match base.map(|base| self.keys.open_base(&base.sealed)).transpose() {
            Ok(base) => base.map(|base| Sealers::new(&base)),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "this node cannot open the base key of tokens"
                );
                None
            }
        };
        inner.issuer.set_keys(Keys::open(&keys, sealers, inner.clock.now()));
        // One of them may have been verified with a key that is believed no more.
        inner.verified.clear();
        Ok(())
    }

    /// Makes the base key when there is none.
    async fn make_base(&self) -> Result<(), OauthError> {
        let inner = &*self.oauth.0;
        let mut base = [0; 32];
        inner.entropy.fill(&mut base)?;
        let (sealed_with, sealed) = self.keys.seal_base(&base, &*inner.entropy)?;
        let make = base_key::Command::Make { sealed, sealed_with };
        match self.oauth.propose(oauth::Command::BaseKey(make)).await? {
            Outcome::Stale => Err(OauthError::NoKey),
            _ => Ok(self.take_in()?),
        }
    }

    async fn add_due(&self) -> Result<(), OauthError> {
        let inner = &*self.oauth.0;
        if base_key::get(inner.cluster.reader())?.is_none() {
            self.make_base().await?;
        }
        let now = inner.issuer.keys();
        let sealers = now.sealers().ok_or(OauthError::NoKey)?;
        let keys = agreed::list(inner.cluster.reader())?;
        let token_ms = ACCESS_MS_MAX + LEEWAY_MS;
        let config = &inner.config;
        for due in rotation::due(&keys, &config.algorithms, &config.rotation, token_ms, inner.clock.now()) {
            let algorithm = due.algorithm;
            let made = tokio::task::spawn_blocking(move || {
                let key = PrivateKey::generate(algorithm)?;
                Ok::<_, KeyError>((key.public().to_string(), key.to_pkcs8()?))
            });
            let (public, pkcs8) = made.await.map_err(|_| KeyError { algorithm })??;
            let kid =
                format!("{}-{}", inner.clock.now().as_secs(), &blake3::hash(public.as_bytes()).to_hex()[..8]);
            let command = agreed::Command::Add {
                after: due.after,
                kid: kid.clone(),
                algorithm,
                public,
                sealed: sealers.signing.seal(&pkcs8, &*inner.entropy)?,
                signs_after_ms: due.signs_after_ms,
                verifies_ms: due.verifies_ms,
            };
            if self.oauth.propose(oauth::Command::SigningKey(command)).await? == Outcome::Done {
                tracing::info!(kid, %algorithm, "signing key added");
            }
        }
        Ok(())
    }
}
