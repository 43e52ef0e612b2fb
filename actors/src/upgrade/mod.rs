//! Upgrades: better vectors for documentation that is published already, made in the background.
//!
//! A version is indexed with the built-in table and answers at once. When the operator names a model,
//! an actor takes one published version after the other: a thread of least priority embeds its snippets,
//! remembers each vector in a file (`cache`), writes the bundle once more with them, and one command
//! makes the version answer from it. Until then, and whatever goes wrong, the bundle before answers.
//!
//! [`Upgrades`] tells how far it is. Invariant: a bundle never changes; the upgrade of a version that was
//! published anew meanwhile is thrown away.

mod cache;
mod find;
mod metrics;
mod pace;
mod run;
#[cfg(test)]
mod tests;
mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinmcp_storage::bundle::Replace;
use twinmcp_storage::ids::{LibraryId, Version};

use crate::context::Context;
use crate::embedding::{DocumentEmbedder, Endpoint, EndpointHealth, Upgraded};
use crate::supervisor::Child;
pub(crate) use pace::Activity;
use worker::Worker;

/// How published documentation is upgraded.
#[derive(Debug, Clone)]
pub struct UpgradeConfig {
    /// Folder of the model (see [`Transformer`](crate::embedding::Transformer)); none upgrades nothing.
    pub model: Option<PathBuf>,
    /// The share of one core that is used at most, in percent, 1 to 100.
    pub cpu_percent: u8,
    /// Vectors remembered on disk, in bytes.
    pub cache_bytes_max: u64,
}

impl Default for UpgradeConfig {
    fn default() -> Self {
        Self { model: None, cpu_percent: 50, cache_bytes_max: 128 * 1024 * 1024 }
    }
}

/// What the upgrader is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UpgradeState {
    /// No model is named.
    #[default]
    Off,
    /// The model is being read.
    Starting,
    /// Nothing is left to upgrade.
    Idle,
    /// A version is being upgraded.
    Working,
    /// The model cannot be used; the sentence says why. Answers go on without it.
    Unusable(String),
}

/// A version that is being upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeProgress {
    /// The library.
    pub library: LibraryId,
    /// The version.
    pub version: Version,
    /// Snippets that have their new vector.
    pub done: u32,
    /// Snippets in all.
    pub total: u32,
}

impl UpgradeProgress {
    /// How far it is, in whole percent; 100 only when it is done.
    pub fn percent(&self) -> u8 {
        let share = u64::from(self.done) * 100 / u64::from(self.total.max(1));
        u8::try_from(share).unwrap_or(100)
    }
}

/// How far upgrades are, as this node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpgradeStatus {
    /// What the upgrader is doing.
    pub state: UpgradeState,
    /// The embedder versions are upgraded to, once it is known.
    pub embedder: Option<String>,
    /// The version that is being upgraded.
    pub current: Option<UpgradeProgress>,
    /// Versions that wait.
    pub waiting: usize,
    /// Why the last upgrade that failed did; gone when one succeeds.
    pub trouble: Option<String>,
}

/// The way to upgrades: tells how far they are.
#[derive(Clone, Default)]
pub struct Upgrades(Arc<Mutex<UpgradeStatus>>);

impl Upgrades {
    /// The handle, and the actor when a model is named.
    pub(crate) fn child(context: &Arc<Context>, config: &UpgradeConfig) -> (Option<Child>, Self) {
        let upgrades = Self::default();
        let Some(folder) = config.model.clone() else { return (None, upgrades) };
        let load: worker::Load = Arc::new(move || match Upgraded::load(&folder) {
            Ok(embedder) => Ok(Arc::new(embedder) as Arc<dyn DocumentEmbedder>),
            Err(error) => Err(sentence(&error)),
        });
        (Some(upgrades.worker("upgrade", context, config.clone(), Replace::First, load)), upgrades)
    }

    fn worker(
        &self,
        name: &'static str,
        context: &Arc<Context>,
        config: UpgradeConfig,
        replace: Replace,
        load: worker::Load,
    ) -> Child {
        let (for_actor, status) = (Arc::clone(context), self.clone());
        let (child, _) = Child::new(name, &context.node, move || {
            let worker = Worker {
                context: Arc::clone(&for_actor),
                config: config.clone(),
                status: status.clone(),
                replace,
                load: Arc::clone(&load),
            };
            (worker, ())
        });
        child
    }

    /// How far upgrades are.
    pub fn status(&self) -> UpgradeStatus {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, UpgradeStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the embedding service: how it is, and how far documentation has its vectors.
#[derive(Clone)]
pub struct EndpointUpgrades {
    endpoint: Arc<Endpoint>,
    upgrades: Upgrades,
}

impl EndpointUpgrades {
    /// The handle and the actor, when a service is configured.
    pub(crate) fn child(context: &Arc<Context>, config: &UpgradeConfig) -> (Option<Child>, Option<Self>) {
        let Some(endpoint) = context.endpoint.clone() else { return (None, None) };
        let upgrades = Upgrades::default();
        let embedder = Arc::clone(&endpoint);
        let load: worker::Load = Arc::new(move || Ok(Arc::clone(&embedder) as Arc<dyn DocumentEmbedder>));
        // The work is done elsewhere: this core has no share to keep.
        let config = UpgradeConfig { cpu_percent: 100, ..config.clone() };
        let child = upgrades.worker("endpoint", context, config, Replace::Second, load);
        (Some(child), Some(Self { endpoint, upgrades }))
    }

    /// What the service's vectors are called in an index.
    pub fn id(&self) -> &str {
        self.endpoint.id()
    }

    /// How far documentation has vectors of the service.
    pub fn status(&self) -> UpgradeStatus {
        self.upgrades.status()
    }

    /// How the service is, as far as questions have shown.
    pub fn health(&self) -> EndpointHealth {
        self.endpoint.health()
    }
}

/// An error with its causes in one line.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
