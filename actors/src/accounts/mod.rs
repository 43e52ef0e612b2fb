//! Accounts: who owns keys, libraries and jobs, and how people sign in.
//!
//! [`Accounts`] is the only way in; its methods stand by meaning in `sign_in`, `sign_up`, `people` and `factors`. A change becomes a
//! replicated command and is answered once a quorum holds it; reading, and telling who is signed in, pass no mailbox.
//!
//! Invariants: a password is compared only after its tries were counted (`guard`) and in the bounded pool
//! (`hashing`); whether somebody exists is told by no answer, and by no work that an answer waits for; links in
//! letters begin with the configured address, whatever a request says it was sent to.

mod census;
mod config;
mod elsewhere;
mod error;
mod factors;
mod guard;
mod hashing;
mod letters;
mod metrics;
mod password;
mod people;
mod post;
mod sign_in;
mod sign_up;
#[cfg(test)]
mod tests;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::instrument;
use twinmcp_cluster::{Behalf, Cluster, ClusterKeys};
use twinmcp_storage::accounts::{self, Account, Email, NAME_BYTES_MAX};
use twinmcp_storage::clock::{Clock, Entropy};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::ids::AccountId;

pub use self::config::{AccountsConfig, CarrierSecret, MailConfig, SignUp, SmsConfig, SmtpPassword, SmtpTls};
pub use self::error::AccountsError;
pub use self::factors::challenge::{Challenge, ChallengeAnswer};
pub use self::factors::enrol::{FactorAdded, TotpOffer};
pub use self::factors::number::InvalidNumber;
use self::factors::passkey::Passkeys;
pub use self::factors::passkey::{PASSKEY_NAME_BYTES_MAX, PasskeyAnswer, PasskeyQuestion};
pub use self::factors::sms::{CodeSent, SmsAsked, SmsOffer, SmsView};
pub use self::factors::{Factor, FactorsView, MfaConfig, PasskeyView, Required};
pub use self::hashing::HashingError;
pub use self::password::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PasswordError};
pub use self::people::{AccountExport, NewPerson, PersonMade, PersonView};
pub use self::post::MailError;
pub use self::sign_in::{NewSession, SignInRequest, SignInStep, SignedIn};
pub use self::sign_up::{LinkUse, OpenLink};
pub use self::token::Token;
pub use twinmcp_storage::accounts::Method;

use self::census::Census;
use self::factors::carrier::Carrier;
use self::factors::metrics::FactorMetrics;
pub(crate) use self::factors::policy::FactorPolicy;
use self::guard::Guard;
use self::hashing::Hashing;
use self::metrics::Metrics;
use self::post::Post;
use self::sign_up::Letterbox;
use crate::audit::Audit;
use crate::context::Context;
use crate::seal::Vault;
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
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Account(account) => Some(account.clone()),
            Self::Operator => None,
        }
    }
}

/// The way to accounts.
#[derive(Clone)]
pub struct Accounts {
    slot: Slot<Message>,
    cluster: Cluster,
    audit: Audit,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    config: Arc<AccountsConfig>,
    guard: Guard,
    hashing: Hashing,
    post: Post,
    letterbox: Letterbox,
    vault: Vault,
    policy: FactorPolicy,
    passkeys: Passkeys,
    carrier: Carrier,
    metrics: Metrics,
    factor_metrics: FactorMetrics,
    /// Tells how many are signed in for as long as it is held.
    _census: Arc<Census>,
}

impl Accounts {
    pub(crate) fn child(
        context: &Arc<Context>,
        mut config: AccountsConfig,
        keys: ClusterKeys,
    ) -> Result<(Child, Self), MailError> {
        if config.mail.outbox.as_os_str().is_empty() {
            config.mail.outbox = context.data_dir.join("outbox");
        }
        let for_actor = Arc::clone(context);
        let (child, slot) = Child::new("accounts", &context.node, move || {
            (AccountsActor { context: Arc::clone(&for_actor) }, ())
        });
        let (clock, entropy) = (Arc::clone(&context.clock), Arc::clone(&context.entropy));
        let metrics = Metrics::new();
        let post = Post::new(&config.mail, Arc::clone(&clock), Arc::clone(&entropy), metrics.clone())?;
        let hashing = Hashing::new(config.hash_threads, config.hashes_waiting_max);
        let passkeys = Passkeys::new(&config.public_url, &config.mfa.issuer);
        let carrier =
            Carrier::new(config.mfa.sms.clone(), &context.outbound, &config.mfa.issuer, &config.public_url);
        let policy = FactorPolicy::new(context.cluster.clone(), config.mfa.required);
        let census = Census::start(context.cluster.clone(), Arc::clone(&clock));
        let accounts = Self {
            slot,
            cluster: context.cluster.clone(),
            audit: Audit::new(context.cluster.clone()),
            clock,
            entropy,
            config: Arc::new(config),
            guard: Guard::default(),
            hashing,
            post,
            letterbox: Letterbox::default(),
            vault: Vault::new(context.cluster.clone(), keys),
            policy,
            passkeys,
            carrier,
            metrics,
            factor_metrics: FactorMetrics::new(),
            _census: census,
        };
        Ok((child, accounts))
    }

    /// Who has to have a second factor.
    pub(crate) fn factor_policy(&self) -> FactorPolicy {
        self.policy.clone()
    }

    /// Makes an account that people call `name`: a machine's, until somebody can sign in to it.
    pub async fn create(&self, name: &str) -> Result<Account, AccountsError> {
        check_name(name)?;
        let id = AccountId::random(self.clock.now(), &*self.entropy)?;
        self.change(accounts::Command::Create { id: id.clone(), name: name.to_owned() }).await?;
        // Ids are random: one that is taken already belongs to an account that nobody can be given.
        self.get(&id)?.ok_or(AccountsError::Busy(Unanswered::Interrupted))
    }

    /// The account with this id.
    pub fn get(&self, id: &AccountId) -> Result<Option<Account>, AccountsError> {
        Ok(accounts::get(self.cluster.reader(), id)?)
    }

    /// The oldest account: on a node that one person runs, its owner.
    pub fn first(&self) -> Result<Option<Account>, AccountsError> {
        Ok(accounts::list(self.cluster.reader(), 1)?.pop())
    }

    /// How people sign up and in here.
    pub fn config(&self) -> &AccountsConfig {
        &self.config
    }

    async fn change(&self, command: accounts::Command) -> Result<Outcome, AccountsError> {
        let behalf = Behalf::current();
        self.slot.call(REPLY_DEADLINE, |reply| Message::Change { command, behalf, reply }).await?
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), AccountsError> {
    let fits = !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(AccountsError::NameLength) }
}

/// What addresses are counted by: an IPv4 address, or the /64 that an IPv6 host chooses from.
fn network(address: IpAddr) -> String {
    crate::usage::network_of(address).to_string()
}

/// `ada@example.org`, or why it is none.
fn email(text: &str) -> Result<Email, AccountsError> {
    Ok(text.parse()?)
}

enum Message {
    Change { command: accounts::Command, behalf: Behalf, reply: RpcReplyPort<Result<Outcome, AccountsError>> },
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
            Message::Change { command, behalf, reply } => {
                answer_when_done(reply, behalf.scope(async move { actor.change(command).await }))
            }
        }
        Ok(())
    }
}

impl AccountsActor {
    #[instrument(name = "accounts.change", skip_all)]
    async fn change(&self, command: accounts::Command) -> Result<Outcome, AccountsError> {
        Ok(self.context.cluster.propose(Command::Accounts(command)).await?.outcome)
    }
}
