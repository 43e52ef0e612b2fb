//! Mending: a version whose index bundle is damaged or missing on this node is indexed again from where it came.
//!
//! `Mending::lost` is told by a search that could not open a bundle; a start looks for missing ones by itself.
//! The bad file is moved aside, and a job reads the recorded source again; until the job ends the version's
//! questions are answered with what is going on, and everything else goes on as before. Where the source cannot
//! be read again, the loss says so, for the person who can.
//!
//! Invariant: the node starts one job for one lost bundle in the life of the process, so that a disk that damages
//! whatever is written to it does not keep the node indexing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::{error, warn};
use twinmcp_cluster::Cluster;
use twinmcp_storage::bundle::{BundleHash, BundleStore};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::{JobId, LibraryId, Version};
use twinmcp_storage::jobs::{self, JobState};
use twinmcp_storage::libraries::{self, VersionManifest};

use crate::context::Context;
use crate::distribution::{Distribution, missing};
use crate::jobs::{Jobs, JobsError, Submission};
use crate::slot::{REPLY_DEADLINE, Slot, answer};
use crate::supervisor::Child;

/// A version that cannot answer on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The library.
    pub library: LibraryId,
    /// The version.
    pub version: Version,
    /// What is done about it.
    pub remedy: Remedy,
}

/// What is done about a lost bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// This job builds it again.
    Job(JobId),
    /// It comes from a peer.
    Peer,
    /// The node cannot: why, in a clause.
    Nothing(String),
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { library, version, remedy } = self;
        match remedy {
            Remedy::Job(job) => {
                write!(f, "the index of {library} {version} is lost on this node; job {job} builds it again")
            }
            Remedy::Peer => {
                write!(
                    f,
                    "the index of {library} {version} is on its way to this node; ask again in a moment"
                )
            }
            Remedy::Nothing(reason) => write!(
                f,
                "the index of {library} {version} is lost on this node and cannot be built again by itself: {reason}; \
                 index the version again (`twinmcp index SOURCE --library {library} --version {version}`)"
            ),
        }
    }
}

/// Lost bundles, shared with the actor that finds remedies.
#[derive(Clone, Default)]
struct Losses(Arc<Mutex<BTreeMap<BundleHash, Loss>>>);

impl Losses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BundleHash, Loss>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to mending.
#[derive(Clone)]
pub struct Mending {
    slot: Slot<Message>,
    cluster: Cluster,
    bundles: Arc<BundleStore>,
    losses: Losses,
}

impl Mending {
    pub(crate) fn child(context: &Arc<Context>, jobs: &Jobs, distribution: &Distribution) -> (Child, Self) {
        let losses = Losses::default();
        let for_distribution = distribution.clone();
        let (for_actor, for_jobs, for_losses) = (Arc::clone(context), jobs.clone(), losses.clone());
        let (child, slot) = Child::new("mending", &context.node, move || {
            let (context, jobs) = (Arc::clone(&for_actor), for_jobs.clone());
            let (losses, distribution) = (for_losses.clone(), for_distribution.clone());
            (MendingActor { context, jobs, losses, distribution }, ())
        });
        let (cluster, bundles) = (context.cluster.clone(), Arc::clone(&context.bundles));
        (child, Self { slot, cluster, bundles, losses })
    }

    /// A version's bundle comes from a peer: nothing is lost, and nothing to be done.
    pub(crate) fn on_its_way(manifest: &VersionManifest) -> Loss {
        Loss { remedy: Remedy::Peer, ..unknown(manifest, "") }
    }

    /// A version's bundle could not be opened; answers what is done about it.
    pub(crate) async fn lost(&self, manifest: &VersionManifest, hash: BundleHash) -> Loss {
        if let Some(known) = self.losses.lock().get(&hash).cloned() {
            return self.now(known).unwrap_or_else(|_| unknown(manifest, "its jobs cannot be read"));
        }
        let manifest_for_actor = manifest.clone();
        let told = |reply| Message::Lost { manifest: manifest_for_actor, hash, reply };
        match self.slot.call(REPLY_DEADLINE, told).await {
            Ok(loss) => loss,
            Err(unanswered) => unknown(manifest, &unanswered.to_string()),
        }
    }

    /// What is lost on this node now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn losses(&self) -> Result<Vec<Loss>, StorageError> {
        let known = self.losses.lock().clone();
        let mut losses = Vec::with_capacity(known.len());
        for (hash, loss) in known {
            let manifest = libraries::manifest(self.cluster.reader(), &loss.library, &loss.version)?;
            let is_named = manifest.is_some_and(|manifest| manifest.bundle == hash.to_string());
            if is_named && !self.bundles.contains(hash) {
                losses.push(self.now(loss)?);
            }
        }
        Ok(losses)
    }

    /// The loss, with what became of its job.
    fn now(&self, loss: Loss) -> Result<Loss, StorageError> {
        let Remedy::Job(id) = &loss.remedy else { return Ok(loss) };
        let reason = match jobs::get(self.cluster.reader(), id)?.map(|job| job.state) {
            Some(JobState::Failed { message }) => format!("job {id} failed with: {message}"),
            Some(JobState::Cancelled) => format!("job {id} was cancelled"),
            Some(JobState::Done | JobState::Unchanged) => {
                format!("job {id} built it again, and it was lost again: look after the disk")
            }
            _ => return Ok(loss),
        };
        Ok(Loss { remedy: Remedy::Nothing(reason), ..loss })
    }
}

fn unknown(manifest: &VersionManifest, reason: &str) -> Loss {
    let (library, version) = (manifest.library.clone(), manifest.version.clone());
    Loss { library, version, remedy: Remedy::Nothing(reason.to_owned()) }
}

enum Message {
    Lost { manifest: VersionManifest, hash: BundleHash, reply: RpcReplyPort<Loss> },
}

struct MendingActor {
    context: Arc<Context>,
    jobs: Jobs,
    losses: Losses,
    distribution: Distribution,
}

impl Actor for MendingActor {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    /// Looks for bundles that are missing, so that they are there again before anybody asks. A node with peers gets them
    /// from there.
    async fn post_start(&self, _: ActorRef<Message>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        if self.distribution.has_sources() {
            return Ok(());
        }
        let context = Arc::clone(&self.context);
        for (manifest, hash) in tokio::task::spawn_blocking(move || missing(&context)).await?? {
            self.mend(&manifest, hash).await;
        }
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Lost { manifest, hash, reply } => answer(reply, self.mend(&manifest, hash).await),
        }
        Ok(())
    }
}

impl MendingActor {
    async fn mend(&self, manifest: &VersionManifest, hash: BundleHash) -> Loss {
        if let Some(known) = self.losses.lock().get(&hash) {
            return known.clone();
        }
        let (remedy, is_final) = match self.try_to_mend(manifest, hash).await {
            Ok(job) => (Remedy::Job(job), true),
            Err(refused) => (Remedy::Nothing(refused.to_string()), refused.is_final()),
        };
        let loss = Loss { remedy, ..unknown(manifest, "") };
        match &loss.remedy {
            Remedy::Job(_) | Remedy::Peer => warn!("{loss}"),
            Remedy::Nothing(_) => error!("{loss}"),
        }
        if is_final {
            self.losses.lock().insert(hash, loss.clone());
        }
        loss
    }

    async fn try_to_mend(&self, manifest: &VersionManifest, hash: BundleHash) -> Result<JobId, Refused> {
        let reader = self.context.cluster.reader();
        let now = libraries::manifest(reader, &manifest.library, &manifest.version)?;
        if now.is_none_or(|now| now.bundle != manifest.bundle) {
            return Err(Refused::Replaced);
        }
        let bundles = Arc::clone(&self.context.bundles);
        match tokio::task::spawn_blocking(move || bundles.set_aside(hash)).await {
            Ok(Ok(Some(aside))) => warn!(path = %aside.display(), "a damaged index bundle was moved aside"),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                warn!(error = &error as &dyn std::error::Error, "a damaged bundle stays in place")
            }
            Err(error) => warn!(%error, "a damaged bundle stays in place"),
        }
        let built_by = jobs::get(self.context.cluster.reader(), &manifest.job)?.ok_or(Refused::Forgotten)?;
        // Whoever it belongs to now: it may have been given away since.
        let known = libraries::get(self.context.cluster.reader(), &manifest.library)?;
        let submission = Submission {
            account: known.map_or(built_by.account, |known| known.owner),
            library: manifest.library.clone(),
            version: manifest.version.clone(),
            source: built_by.source,
            base_url: built_by.base_url,
        };
        Ok(self.jobs.submit(submission).await?.job.id)
    }
}

/// Why no job builds a bundle again.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the job that indexed it is not remembered any more, so its source is not known")]
    Forgotten,
    #[error("another one took its place a moment ago: ask again")]
    Replaced,
    #[error("{0}")]
    Jobs(#[from] JobsError),
    #[error("{0}")]
    Storage(#[from] StorageError),
}

impl Refused {
    /// Whether trying again could not help.
    fn is_final(&self) -> bool {
        match self {
            Self::Forgotten => true,
            Self::Jobs(error) => !matches!(
                error,
                JobsError::Busy(_)
                    | JobsError::Replicate(_)
                    | JobsError::LimitReached
                    | JobsError::AccountLimitReached
                    | JobsError::Draining
                    | JobsError::Storage(_)
            ),
            Self::Replaced | Self::Storage(_) => false,
        }
    }
}
