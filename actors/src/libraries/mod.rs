//! Libraries: what is documented here, and what is told about it.
//!
//! [`Libraries`] is the only way in. A change becomes a replicated command and is answered once a
//! quorum holds it; reading passes no mailbox. Versions are published by the jobs that build them.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::instrument;
use twinmcp_cluster::{Cluster, ClusterError};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::{LibraryId, Version};
use twinmcp_storage::libraries::{
    self, DESCRIPTION_BYTES_MAX, Facts, LIST_ITEMS_MAX, Library, TITLE_BYTES_MAX, VersionManifest,
    compare_versions,
};

use crate::accounts::Owner;
use crate::context::Context;
use crate::slot::{REPLY_DEADLINE, Slot, Unanswered, answer_when_done};
use crate::supervisor::Child;

/// Why a library could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum LibrariesError {
    /// No such library, or another account's.
    #[error("no library `{id}`")]
    NotFound {
        /// The id asked for.
        id: LibraryId,
    },
    /// The library has no such version.
    #[error("library `{id}` has no version `{version}`")]
    VersionNotFound {
        /// The library.
        id: LibraryId,
        /// The version asked for.
        version: Version,
    },
    /// A text or list over its limit.
    #[error("`{field}` is too long: at most {max} are allowed")]
    FactsTooLong {
        /// Which field.
        field: &'static str,
        /// Bytes of a text, items of a list.
        max: usize,
    },
    /// Trust outside 0 to 10.
    #[error("trust is a number from 0 to 10")]
    TrustRange,
    /// The actor gave no answer.
    #[error("libraries are busy")]
    Busy(#[from] Unanswered),
    /// The change did not reach a quorum in time.
    #[error("failed to replicate the change")]
    Replicate(#[from] ClusterError),
    /// The store could not be read.
    #[error("failed to read libraries")]
    Storage(#[from] StorageError),
}

/// A library with its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryView {
    /// The library.
    pub library: Library,
    /// What is published of it, the greatest version first.
    pub versions: Vec<VersionManifest>,
}

/// The way to libraries.
#[derive(Clone)]
pub struct Libraries {
    slot: Slot<Message>,
    cluster: Cluster,
}

impl Libraries {
    pub(crate) fn child(context: &Arc<Context>) -> (Child, Self) {
        let for_actor = Arc::clone(context);
        let (child, slot) = Child::new("libraries", &context.node, move || {
            (LibrariesActor { context: Arc::clone(&for_actor) }, ())
        });
        (child, Self { slot, cluster: context.cluster.clone() })
    }

    /// The library with this id.
    pub fn get(&self, id: &LibraryId) -> Result<Option<LibraryView>, LibrariesError> {
        let reader = self.cluster.reader();
        libraries::get(reader, id)?.map(|library| view(reader, library)).transpose().map_err(Into::into)
    }

    /// Up to `limit` libraries after the library `after`, by id.
    pub fn list(&self, after: Option<&LibraryId>, limit: usize) -> Result<Vec<LibraryView>, LibrariesError> {
        let reader = self.cluster.reader();
        let libraries = libraries::list(reader, after, limit)?;
        let views: Result<_, StorageError> =
            libraries.into_iter().map(|library| view(reader, library)).collect();
        Ok(views?)
    }

    /// Replaces what is told about a library, and how far it is trusted (tenths of a point, 0 to 100).
    pub async fn describe(
        &self,
        owner: Owner,
        id: &LibraryId,
        facts: Facts,
        trust_tenths: Option<u8>,
    ) -> Result<LibraryView, LibrariesError> {
        check_facts(&facts)?;
        if trust_tenths.is_some_and(|tenths| tenths > 100) {
            return Err(LibrariesError::TrustRange);
        }
        let command =
            libraries::Command::Describe { id: id.clone(), account: owner.account(), facts, trust_tenths };
        self.change(id, command).await?;
        self.get(id)?.ok_or_else(|| LibrariesError::NotFound { id: id.clone() })
    }

    /// Removes a library with all its versions.
    pub async fn remove(&self, owner: Owner, id: &LibraryId) -> Result<(), LibrariesError> {
        let command = libraries::Command::Remove { id: id.clone(), account: owner.account() };
        self.change(id, command).await
    }

    /// Removes one version; the greatest of the others is answered from then on.
    pub async fn remove_version(
        &self,
        owner: Owner,
        id: &LibraryId,
        version: &Version,
    ) -> Result<(), LibrariesError> {
        let account = owner.account();
        let command = libraries::Command::RemoveVersion { id: id.clone(), version: version.clone(), account };
        match self.change(id, command).await {
            // Only whoever may change a library is told which of its versions is not there.
            Err(LibrariesError::NotFound { .. })
                if self.get(id)?.is_some_and(|view| owner.may_see(&view.library.owner)) =>
            {
                Err(LibrariesError::VersionNotFound { id: id.clone(), version: version.clone() })
            }
            changed => changed,
        }
    }

    async fn change(&self, id: &LibraryId, command: libraries::Command) -> Result<(), LibrariesError> {
        match self.slot.call(REPLY_DEADLINE, |reply| Message::Change { command, reply }).await?? {
            Outcome::Done => Ok(()),
            _ => Err(LibrariesError::NotFound { id: id.clone() }),
        }
    }
}

/// Refuses texts and lists over their limits.
pub(crate) fn check_facts(facts: &Facts) -> Result<(), LibrariesError> {
    let texts = [
        ("title", facts.title.len(), TITLE_BYTES_MAX),
        ("description", facts.description.len(), DESCRIPTION_BYTES_MAX),
        ("source_url", facts.source_url.as_ref().map_or(0, String::len), DESCRIPTION_BYTES_MAX),
        ("aliases", facts.aliases.len(), LIST_ITEMS_MAX),
        ("aliases", facts.aliases.iter().map(String::len).max().unwrap_or(0), TITLE_BYTES_MAX),
        ("rules", facts.rules.len(), LIST_ITEMS_MAX),
        ("rules", facts.rules.iter().map(String::len).max().unwrap_or(0), DESCRIPTION_BYTES_MAX),
    ];
    match texts.into_iter().find(|(_, length, max)| length > max) {
        Some((field, _, max)) => Err(LibrariesError::FactsTooLong { field, max }),
        None => Ok(()),
    }
}

fn view(reader: &dyn Reader, library: Library) -> Result<LibraryView, StorageError> {
    let mut versions = libraries::versions(reader, &library.id)?;
    versions.sort_by(|one, other| compare_versions(&other.version, &one.version));
    Ok(LibraryView { library, versions })
}

enum Message {
    Change { command: libraries::Command, reply: RpcReplyPort<Result<Outcome, ClusterError>> },
}

#[derive(Clone)]
struct LibrariesActor {
    context: Arc<Context>,
}

impl Actor for LibrariesActor {
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
            Message::Change { command, reply } => {
                answer_when_done(reply, async move { actor.change(command).await })
            }
        }
        Ok(())
    }
}

impl LibrariesActor {
    #[instrument(name = "libraries.change", skip_all)]
    async fn change(&self, command: libraries::Command) -> Result<Outcome, ClusterError> {
        Ok(self.context.cluster.propose(Command::Libraries(command)).await?.outcome)
    }
}
