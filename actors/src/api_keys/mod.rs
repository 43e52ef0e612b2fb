//! API keys: who may call this node, and for what.
//!
//! [`ApiKeys`] is the only way in. A change becomes a replicated command and is answered once a
//! quorum holds it. Checking a key reads the local store and does not pass through the mailbox.
//!
//! Invariant: the secret is shown once, at creation; it is never stored, logged or sent to a peer.

mod secret;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::instrument;
use twinmcp_cluster::{Behalf, Cluster, ClusterError};
use twinmcp_storage::accounts;
use twinmcp_storage::api_keys::{self, ApiKey, KEYS_PER_ACCOUNT_MAX, NAME_BYTES_MAX, NewKey};
use twinmcp_storage::clock::{Clock, EntropyError, Timestamp};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::{AccountId, ApiKeyId};
use twinmcp_storage::scope::Scope;

pub use secret::Secret;
pub(crate) use secret::checksum;

use crate::context::Context;
use crate::slot::{REPLY_DEADLINE, Slot, Unanswered, answer_when_done};
use crate::supervisor::Child;

/// Why a key could not be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeysError {
    /// No such key, or another account's.
    #[error("no API key `{id}`")]
    NotFound {
        /// The id asked for.
        id: ApiKeyId,
    },
    /// No such team, or one that whoever asks is not in.
    #[error("there is no such team")]
    TeamNotFound,
    /// Their role in the team does not give these scopes.
    #[error("your role in the team does not allow a key with these scopes")]
    Forbidden,
    /// The account has as many keys as it may.
    #[error("an account has at most {KEYS_PER_ACCOUNT_MAX} keys in force; revoke one first")]
    LimitReached,
    /// A name outside its limits.
    #[error("a key's name has 1 to {NAME_BYTES_MAX} bytes")]
    NameLength,
    /// A key that may do nothing.
    #[error("a key needs at least one scope")]
    NoScopes,
    /// The actor gave no answer.
    #[error("API keys are busy")]
    Busy(#[from] Unanswered),
    /// The change did not reach a quorum in time.
    #[error("failed to replicate the change")]
    Replicate(#[from] ClusterError),
    /// The store could not be read.
    #[error("failed to read API keys")]
    Storage(#[from] StorageError),
    /// No secret could be made.
    #[error("failed to make a secret")]
    Entropy(#[from] EntropyError),
}

/// Why a secret opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be a secret of this service: a typo, or something else altogether.
    #[error("this is not an API key: a key starts with `tmcp_`; check that it was copied whole")]
    Malformed,
    /// Unknown, revoked or expired: which of them is nobody's business.
    #[error("this API key is unknown, revoked or expired")]
    Refused,
    /// The store could not be read.
    #[error("failed to read API keys")]
    Storage(#[from] StorageError),
}

/// A key as its owner is shown it once.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The key.
    pub key: ApiKey,
    /// What opens the door; not kept.
    pub secret: Secret,
}

/// The way to API keys.
#[derive(Clone)]
pub struct ApiKeys {
    slot: Slot<Message>,
    cluster: Cluster,
    clock: Arc<dyn Clock>,
}

impl ApiKeys {
    pub(crate) fn child(context: &Arc<Context>) -> (Child, Self) {
        let for_actor = Arc::clone(context);
        let (child, slot) = Child::new("api_keys", &context.node, move || {
            (ApiKeysActor { context: Arc::clone(&for_actor) }, ())
        });
        let (cluster, clock) = (context.cluster.clone(), Arc::clone(&context.clock));
        (child, Self { slot, cluster, clock })
    }

    /// Makes a key; the secret in the answer is shown nowhere else.
    pub async fn create(
        &self,
        account: &AccountId,
        name: &str,
        scopes: Vec<Scope>,
        expires_at: Option<Timestamp>,
    ) -> Result<NewApiKey, ApiKeysError> {
        self.make(Wanted { account: account.clone(), by: None, name: name.to_owned(), scopes, expires_at })
            .await
    }

    /// Makes a key of a team, in which `by` has a role that gives its scopes. It ends with their membership.
    ///
    /// # Errors
    /// [`ApiKeysError::TeamNotFound`], [`ApiKeysError::Forbidden`], [`ApiKeysError::LimitReached`].
    pub async fn create_for(
        &self,
        by: &AccountId,
        team: &AccountId,
        name: &str,
        scopes: Vec<Scope>,
        expires_at: Option<Timestamp>,
    ) -> Result<NewApiKey, ApiKeysError> {
        let (account, by) = (team.clone(), Some(by.clone()));
        self.make(Wanted { account, by, name: name.to_owned(), scopes, expires_at }).await
    }

    async fn make(&self, wanted: Wanted) -> Result<NewApiKey, ApiKeysError> {
        if wanted.name.is_empty() || wanted.name.len() > NAME_BYTES_MAX {
            return Err(ApiKeysError::NameLength);
        }
        if wanted.scopes.is_empty() {
            return Err(ApiKeysError::NoScopes);
        }
        let behalf = Behalf::current();
        self.slot.call(REPLY_DEADLINE, |reply| Message::Create { wanted, behalf, reply }).await?
    }

    /// The account's keys, oldest first: all in force, and the newest of those that have ended.
    pub fn list(&self, account: &AccountId) -> Result<Vec<ApiKey>, ApiKeysError> {
        Ok(api_keys::list(self.cluster.reader(), account)?)
    }

    /// Revokes a key; this node refuses it once this returns, every other within the replication bound.
    pub async fn revoke(&self, account: &AccountId, id: &ApiKeyId) -> Result<(), ApiKeysError> {
        let (account, id) = (account.clone(), id.clone());
        self.end(account, None, id).await
    }

    /// Revokes a key of a team that `by` made, or any as an admin of it.
    ///
    /// # Errors
    /// [`ApiKeysError::NotFound`].
    pub async fn revoke_for(
        &self,
        by: &AccountId,
        team: &AccountId,
        id: &ApiKeyId,
    ) -> Result<(), ApiKeysError> {
        let (account, by, id) = (team.clone(), Some(by.clone()), id.clone());
        self.end(account, by, id).await
    }

    async fn end(&self, account: AccountId, by: Option<AccountId>, id: ApiKeyId) -> Result<(), ApiKeysError> {
        let behalf = Behalf::current();
        self.slot.call(REPLY_DEADLINE, |reply| Message::Revoke { account, by, id, behalf, reply }).await?
    }

    /// The key that `secret` belongs to, if it opens anything now, with the scopes that count: those for operators only while the
    /// person it belongs to is one.
    pub fn verify(&self, secret: &str) -> Result<ApiKey, VerifyError> {
        let secret = Secret::parse(secret).ok_or(VerifyError::Malformed)?;
        let reader = self.cluster.reader();
        let key = api_keys::find(reader, &secret.hash())?;
        let mut key = key.filter(|key| key.is_valid(self.clock.now())).ok_or(VerifyError::Refused)?;
        accounts::keep_what_counts(reader, &key.account, &mut key.scopes)?;
        Ok(key)
    }
}

struct Wanted {
    account: AccountId,
    /// Who makes it for a team, whose account it is.
    by: Option<AccountId>,
    name: String,
    scopes: Vec<Scope>,
    expires_at: Option<Timestamp>,
}

/// One variant per thing the actor can be asked; the reply port comes last.
enum Message {
    Create {
        wanted: Wanted,
        behalf: Behalf,
        reply: RpcReplyPort<Result<NewApiKey, ApiKeysError>>,
    },
    Revoke {
        account: AccountId,
        by: Option<AccountId>,
        id: ApiKeyId,
        behalf: Behalf,
        reply: RpcReplyPort<Result<(), ApiKeysError>>,
    },
}

#[derive(Clone)]
struct ApiKeysActor {
    context: Arc<Context>,
}

impl Actor for ApiKeysActor {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let actor = self.clone();
        match message {
            Message::Create { wanted, behalf, reply } => {
                answer_when_done(reply, behalf.scope(async move { actor.create(wanted).await }))
            }
            Message::Revoke { account, by, id, behalf, reply } => {
                answer_when_done(reply, behalf.scope(async move { actor.revoke(account, by, id).await }))
            }
        }
        Ok(())
    }
}

impl ApiKeysActor {
    #[instrument(name = "api_keys.create", skip_all)]
    async fn create(&self, wanted: Wanted) -> Result<NewApiKey, ApiKeysError> {
        let context = &self.context;
        let secret = Secret::random(&*context.entropy)?;
        let id = ApiKeyId::random(context.clock.now(), &*context.entropy)?;
        let Wanted { account, by, name, scopes, expires_at } = wanted;
        let (secret_hash, hint) = (secret.hash(), secret.hint());
        let key =
            NewKey { id: id.clone(), account: account.clone(), name, scopes, secret_hash, hint, expires_at };
        let command = match by {
            Some(by) => api_keys::Command::CreateFor { by, key },
            // As nodes of the build before read it.
            None => {
                let NewKey { id, account, name, scopes, secret_hash, hint, expires_at } = key;
                api_keys::Command::Create { id, account, name, scopes, secret_hash, hint, expires_at }
            }
        };
        match context.cluster.propose(Command::ApiKeys(command)).await?.outcome {
            Outcome::LimitReached => return Err(ApiKeysError::LimitReached),
            Outcome::Forbidden => return Err(ApiKeysError::Forbidden),
            Outcome::NotFound => return Err(ApiKeysError::TeamNotFound),
            _ => {}
        }
        let key = api_keys::get(context.cluster.reader(), &account, &id)?;
        key.map(|key| NewApiKey { key, secret }).ok_or(ApiKeysError::NotFound { id })
    }

    #[instrument(name = "api_keys.revoke", skip_all, fields(api_key_id = %id))]
    async fn revoke(
        &self,
        account: AccountId,
        by: Option<AccountId>,
        id: ApiKeyId,
    ) -> Result<(), ApiKeysError> {
        let command = match by {
            Some(by) => api_keys::Command::RevokeFor { by, team: account, id: id.clone() },
            None => api_keys::Command::Revoke { account, id: id.clone() },
        };
        match self.context.cluster.propose(Command::ApiKeys(command)).await?.outcome {
            Outcome::Done => Ok(()),
            _ => Err(ApiKeysError::NotFound { id }),
        }
    }
}

/// Reads text as the secret of a key: see [`crate::fuzzing::key`].
#[cfg(fuzzing)]
pub(crate) fn fuzz_key(text: &str) {
    if let Some(secret) = secret::Secret::parse(text) {
        assert_eq!(secret.reveal(), text);
    }
}
