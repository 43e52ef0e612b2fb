//! Accounts: who owns keys, libraries and jobs.
//!
//! [`Accounts`] is the only way in. A change becomes a replicated command and is answered once a
//! quorum holds it; reading passes no mailbox.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::instrument;
use twinmcp_cluster::{Cluster, ClusterError};
use twinmcp_storage::accounts::{self, Account, NAME_BYTES_MAX};
use twinmcp_storage::clock::EntropyError;
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::AccountId;

use crate::context::Context;
use crate::slot::{REPLY_DEADLINE, Slot, Unanswered, answer_when_done};
use crate::supervisor::Child;

/// Who acts on a library or job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// An account, on what belongs to it.
    Account(AccountId),
    /// Somebody who may act on everybody's.
    Operator,
}

impl Owner {
    /// The account a command is limited to; none for an operator.
    pub(crate) fn account(&self) -> Option<AccountId> {
        match self {
            Self::Account(account) => Some(account.clone()),
            Self::Operator => None,
        }
    }

    /// Whether what belongs to `account` is shown to this owner.
    pub(crate) fn may_see(&self, account: &AccountId) -> bool {
        match self {
            Self::Account(own) => own == account,
            Self::Operator => true,
        }
    }
}

/// Why an account could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// A name outside its limits.
    #[error("an account's name has 1 to {NAME_BYTES_MAX} bytes")]
    NameLength,
    /// The actor gave no answer.
    #[error("accounts are busy")]
    Busy(#[from] Unanswered),
    /// The change did not reach a quorum in time.
    #[error("failed to replicate the change")]
    Replicate(#[from] ClusterError),
    /// The store could not be read.
    #[error("failed to read accounts")]
    Storage(#[from] StorageError),
    /// No id could be made.
    #[error("failed to make an id")]
    Entropy(#[from] EntropyError),
}

/// The way to accounts.
#[derive(Clone)]
pub struct Accounts {
    slot: Slot<Message>,
    cluster: Cluster,
}

impl Accounts {
    pub(crate) fn child(context: &Arc<Context>) -> (Child, Self) {
        let for_actor = Arc::clone(context);
        let (child, slot) = Child::new("accounts", &context.node, move || {
            (AccountsActor { context: Arc::clone(&for_actor) }, ())
        });
        (child, Self { slot, cluster: context.cluster.clone() })
    }

    /// Makes an account that people call `name`.
    pub async fn create(&self, name: &str) -> Result<Account, AccountsError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(AccountsError::NameLength);
        }
        let name = name.to_owned();
        self.slot.call(REPLY_DEADLINE, |reply| Message::Create { name, reply }).await?
    }

    /// The account with this id.
    pub fn get(&self, id: &AccountId) -> Result<Option<Account>, AccountsError> {
        Ok(accounts::get(self.cluster.reader(), id)?)
    }

    /// The oldest account: on a node that one person runs, its owner.
    pub fn first(&self) -> Result<Option<Account>, AccountsError> {
        Ok(accounts::list(self.cluster.reader(), 1)?.pop())
    }
}

enum Message {
    Create { name: String, reply: RpcReplyPort<Result<Account, AccountsError>> },
}

#[derive(Clone)]
struct AccountsActor {
    context: Arc<Context>,
}

impl Actor for AccountsActor {
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
            Message::Create { name, reply } => {
                answer_when_done(reply, async move { actor.create(name).await })
            }
        }
        Ok(())
    }
}

impl AccountsActor {
    #[instrument(name = "accounts.create", skip_all)]
    async fn create(&self, name: String) -> Result<Account, AccountsError> {
        let context = &self.context;
        let id = AccountId::random(context.clock.now(), &*context.entropy)?;
        let command = accounts::Command::Create { id: id.clone(), name };
        context.cluster.propose(Command::Accounts(command)).await?;
        // Ids are random: one that is taken already belongs to an account that nobody can be given.
        accounts::get(context.cluster.reader(), &id)?.ok_or(AccountsError::Busy(Unanswered::Interrupted))
    }
}
