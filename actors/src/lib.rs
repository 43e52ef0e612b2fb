//! Live state and decisions: what a node does between a request and the agreed state.
//!
//! One handle a noun, each `Clone` and cheap: [`Accounts`], [`Teams`], [`ApiKeys`], [`Audit`], [`Libraries`], [`Catalogue`], [`Jobs`],
//! [`Search`], [`Mending`], [`Distribution`], [`Oauth`], [`Upstream`]. Behind a handle that changes things stands a supervised actor; reads pass no mailbox.
//!
//! Invariants: `ractor` is named in this crate only; an error that belongs to a caller travels in the
//! reply; every wait of a caller has a deadline.

pub mod accounts;
pub mod api_keys;
pub mod audit;
mod background;
pub mod catalogue;
mod checksum;
mod context;
mod distribution;
pub mod embedding;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod ingest;
pub mod jobs;
mod jose;
pub mod libraries;
pub mod mending;
pub mod oauth;
pub mod outbound;
pub mod refresh;
mod seal;
pub mod search;
mod slot;
pub mod supervisor;
pub mod teams;
pub mod upgrade;
pub mod upstream;
pub mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, SpawnErr};
use twinmcp_cluster::{Cluster, ClusterKeys};
use twinmcp_storage::bundle::BundleStore;
use twinmcp_storage::clock::{Clock, Entropy, EntropyError};

pub use accounts::{Accounts, AccountsConfig, Owner};
pub use api_keys::ApiKeys;
pub use audit::Audit;
pub use catalogue::Catalogue;
pub use distribution::{BucketConfig, BucketError, BucketKey, BundlesConfig, Distribution};
pub use jobs::{Jobs, JobsConfig};
pub use libraries::Libraries;
pub use mending::Mending;
pub use oauth::{Oauth, OauthConfig};
pub use refresh::Refresh;
pub use search::Search;
pub use slot::Unanswered;
pub use supervisor::{SupervisionConfig, Supervisor};
pub use teams::Teams;
pub use upgrade::{EndpointUpgrades, UpgradeConfig, Upgrades};
pub use upstream::Upstream;
pub use usage::Usage;

use context::Context;
use embedding::{Endpoint, EndpointConfig, EndpointError, StaticTable};
use outbound::{Outbound, OutboundConfig, OutboundError, SystemResolver};

/// How the actors of a node run.
#[derive(Debug, Clone)]
pub struct ActorsConfig {
    /// The node's name, unique in the process.
    pub node: String,
    /// Where uploads and fetched pages are kept.
    pub data_dir: PathBuf,
    /// How people sign up and in.
    pub accounts: AccountsConfig,
    /// What may be asked of other hosts.
    pub outbound: OutboundConfig,
    /// How index jobs run.
    pub jobs: JobsConfig,
    /// How published documentation gets better vectors.
    pub upgrade: UpgradeConfig,
    /// An embedding service beside what is built in.
    pub endpoint: Option<EndpointConfig>,
    /// How bundles are kept and sent.
    pub bundles: BundlesConfig,
    /// When a dead actor is started again.
    pub supervision: SupervisionConfig,
    /// What secrets are made from.
    pub keys: ClusterKeys,
    /// How tokens are given out.
    pub oauth: OauthConfig,
    /// Other providers that people sign in with.
    pub providers: Vec<upstream::Provider>,
}

/// The actors could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An actor ended while it started.
    #[error("failed to start the actors")]
    Spawn(#[source] ActorProcessingErr),
    /// Other hosts cannot be asked.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The system has no random bytes.
    #[error("failed to make a secret")]
    Entropy(#[from] EntropyError),
    /// Mail can never be sent as it is configured.
    #[error("letters cannot be sent")]
    Mail(#[from] accounts::MailError),
    /// The embedding service can never be asked as it is configured.
    #[error("the embedding endpoint in `embeddings.url` cannot be used")]
    Endpoint(#[from] EndpointError),
    /// The bucket can never be asked as it is configured.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl From<SpawnErr> for StartError {
    /// The cause itself: `ractor` says of an error in a start, once a level of supervision, that the actor panicked.
    fn from(error: SpawnErr) -> Self {
        match error {
            SpawnErr::StartupFailed(cause) => match cause.downcast::<SpawnErr>() {
                Ok(nested) => Self::from(*nested),
                Err(cause) => Self::Spawn(cause),
            },
            error => Self::Spawn(error.into()),
        }
    }
}

/// Everything that lives in a node, by noun.
#[derive(Clone)]
pub struct Actors {
    /// Who owns things.
    pub accounts: Accounts,
    /// Who acts for an account that several share.
    pub teams: Teams,
    /// Who may call.
    pub api_keys: ApiKeys,
    /// What happened.
    pub audit: Audit,
    /// What is documented here.
    pub libraries: Libraries,
    /// What is known by name.
    pub catalogue: Catalogue,
    /// What is being indexed.
    pub jobs: Jobs,
    /// What the documentation says.
    pub search: Search,
    /// Which documentation gets better vectors.
    pub upgrades: Upgrades,
    /// The embedding service, if one is configured, and how far documentation has its vectors.
    pub endpoint: Option<EndpointUpgrades>,
    /// How often it was asked.
    pub usage: Usage,
    /// How libraries are read again.
    pub refresh: Refresh,
    /// Who is allowed what.
    pub oauth: Oauth,
    /// Who somebody is elsewhere.
    pub upstream: Upstream,
    /// What is lost on this node, and what is done about it.
    pub mending: Mending,
    /// Which bundles lie on this node.
    pub distribution: Distribution,
    /// How the actors are.
    pub supervisor: Supervisor,
}

/// Time the actors get to end.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

impl Actors {
    /// Starts every actor under one supervisor. Jobs that were open go on.
    ///
    /// # Errors
    /// When an actor does not start.
    pub async fn start(
        config: ActorsConfig,
        cluster: Cluster,
        bundles: Arc<BundleStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StartError> {
        let node = config.node.clone();
        let context = Arc::new(Context {
            node: node.clone(),
            data_dir: config.data_dir,
            cluster,
            bundles,
            outbound: Outbound::new(config.outbound, Arc::new(SystemResolver))?,
            embedder: StaticTable::builtin(),
            endpoint: config.endpoint.map(|config| Endpoint::new(config, Arc::clone(&clock))).transpose()?,
            activity: Arc::default(),
            clock,
            entropy,
        });
        let catalogue = Catalogue::new(context.cluster.clone());
        let audit = Audit::new(context.cluster.clone());
        let (accounts_child, accounts) = Accounts::child(&context, config.accounts, config.keys.clone())?;
        let (teams_child, teams) = Teams::child(&context, &accounts);
        let (api_keys_child, api_keys) = ApiKeys::child(&context);
        let (usage_child, usage) = Usage::child(&context);
        let (libraries_child, libraries) = Libraries::child(&context);
        let (jobs_child, jobs) = Jobs::child(&context, &config.jobs);
        let (oauth_child, oauth) =
            Oauth::child(&context, config.oauth, config.keys.clone(), accounts.factor_policy())?;
        let upstream = Upstream::new(&context, config.providers, &accounts, config.keys.clone());
        let (refresh_child, refresh) = Refresh::child(&context, &jobs, config.keys);
        let (distribution_child, distribution) = Distribution::child(&context, config.bundles)?;
        let (mending_child, mending) = Mending::child(&context, &jobs, &distribution);
        let (search_child, search) = Search::child(&context, &jobs, &mending, &distribution);
        let (upgrade_child, upgrades) = Upgrades::child(&context, &config.upgrade);
        let (endpoint_child, endpoint) = EndpointUpgrades::child(&context, &config.upgrade);
        let mut children = vec![
            accounts_child,
            teams_child,
            api_keys_child,
            usage_child,
            libraries_child,
            search_child,
            jobs_child,
            refresh_child,
            mending_child,
            distribution_child,
            oauth_child,
            oauth.teller(&context),
        ];
        children.extend(upgrade_child.into_iter().chain(endpoint_child));
        let supervisor =
            Supervisor::start(format!("{node}/supervisor"), children, config.supervision).await?;
        Ok(Self {
            accounts,
            teams,
            api_keys,
            audit,
            libraries,
            catalogue,
            jobs,
            search,
            upgrades,
            endpoint,
            usage,
            refresh,
            oauth,
            upstream,
            mending,
            distribution,
            supervisor,
        })
    }

    /// Ends every actor. A job that runs is interrupted, and goes on at the next start.
    pub async fn stop(&self) {
        self.supervisor.stop(STOP_DEADLINE).await;
    }
}

#[cfg(test)]
mod tests;
