//! Libraries: what is documented here, and what is told about it.
//!
//! [`Libraries`] is the only way in. A change becomes a replicated command and is answered once a
//! quorum holds it; reading passes no mailbox. Versions are published by the jobs that build them.
//!
//! Invariant: a private library is told of to its owner, to members of the team that owns it, and to operators. Whoever else asks is
//! answered as if it were not there.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::instrument;
use twinmcp_cluster::{Behalf, Cluster, ClusterError};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::{AccountId, LibraryId, Version};
use twinmcp_storage::libraries::{
    self, DESCRIPTION_BYTES_MAX, Facts, LIST_ITEMS_MAX, Library, TITLE_BYTES_MAX, VersionManifest,
    Visibility, compare_versions,
};

use crate::accounts::Owner;
use crate::context::Context;
use crate::slot::{REPLY_DEADLINE, Slot, Unanswered, answer_when_done};
use crate::supervisor::Child;

/// Libraries that are read at once while others' private ones are passed over.
const READ_AT_ONCE: usize = 1_000;

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
    /// The name belongs to another library, which whoever asks may not be shown.
    #[error("library `{id}` belongs to somebody; choose another id")]
    Taken {
        /// The id.
        id: LibraryId,
    },
    /// No account that could own it, or none that whoever asks manages.
    #[error("there is no such team that you manage")]
    OwnerNotFound,
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

    /// The library with this id, if `viewer` is shown it; nobody is shown what is public.
    pub fn get(&self, viewer: Option<&Owner>, id: &LibraryId) -> Result<Option<LibraryView>, LibrariesError> {
        let reader = self.cluster.reader();
        let Some(library) = libraries::get(reader, id)? else { return Ok(None) };
        Ok(if self.shows(viewer, &library)? { Some(view(reader, library)?) } else { None })
    }

    fn shows(&self, viewer: Option<&Owner>, library: &libraries::Library) -> Result<bool, LibrariesError> {
        let account = match viewer {
            Some(Owner::Operator) => return Ok(true),
            Some(Owner::Account(account)) => Some(account),
            None => None,
        };
        Ok(library.is_shown_to(self.cluster.reader(), account)?)
    }

    /// Whether there is a library of this id that `viewer` is not shown.
    pub fn hides(&self, viewer: Option<&Owner>, id: &LibraryId) -> Result<bool, LibrariesError> {
        match libraries::get(self.cluster.reader(), id)? {
            Some(library) => Ok(!self.shows(viewer, &library)?),
            None => Ok(false),
        }
    }

    /// Up to `limit` libraries after the library `after` that `viewer` is shown, by id.
    pub fn list(
        &self,
        viewer: Option<&Owner>,
        after: Option<&LibraryId>,
        limit: usize,
    ) -> Result<Vec<LibraryView>, LibrariesError> {
        let reader = self.cluster.reader();
        let sight = viewer.map(|viewer| viewer.sight(reader)).transpose()?;
        let (mut after, mut shown, mut wanted) = (after.cloned(), Vec::new(), limit);
        loop {
            let page = libraries::list(reader, after.as_ref(), wanted)?;
            let is_last = page.len() < wanted;
            after = page.last().map(|last| last.id.clone());
            for library in page {
                if shown.len() == limit {
                    return Ok(shown);
                }
                let is_shown = library.visibility == Visibility::Public
                    || sight.as_ref().is_some_and(|sight| sight.sees(&library.owner));
                if is_shown {
                    shown.push(view(reader, library)?);
                }
            }
            if is_last || shown.len() == limit {
                return Ok(shown);
            }
            // However many others' there are in between, they are few reads.
            wanted = READ_AT_ONCE;
        }
    }

    /// Makes a library of `account` that nothing is published of yet, so that a private one is never seen by others.
    ///
    /// # Errors
    /// [`LibrariesError::Taken`], [`LibrariesError::OwnerNotFound`] for an account that `who` does not manage.
    pub async fn claim(
        &self,
        who: &Owner,
        account: &AccountId,
        id: &LibraryId,
        visibility: Visibility,
    ) -> Result<LibraryView, LibrariesError> {
        if !who.manages(self.cluster.reader(), account)? {
            return Err(LibrariesError::OwnerNotFound);
        }
        let claim = libraries::Command::Claim { id: id.clone(), owner: account.clone(), visibility };
        match self.decided(claim).await? {
            Outcome::Done => self.changed(id),
            Outcome::AlreadyExists => Err(LibrariesError::Taken { id: id.clone() }),
            _ => Err(LibrariesError::OwnerNotFound),
        }
    }

    /// Shows a library to everybody, or to its owner alone.
    pub async fn show(
        &self,
        who: &Owner,
        id: &LibraryId,
        visibility: Visibility,
    ) -> Result<LibraryView, LibrariesError> {
        self.change(id, libraries::Command::Show { id: id.clone(), account: who.account(), visibility })
            .await?;
        self.changed(id)
    }

    /// Gives a library to another account: one's own, or that of a team one manages.
    ///
    /// # Errors
    /// [`LibrariesError::NotFound`], [`LibrariesError::OwnerNotFound`].
    pub async fn give(
        &self,
        who: &Owner,
        id: &LibraryId,
        to: &AccountId,
    ) -> Result<LibraryView, LibrariesError> {
        let give = libraries::Command::Move { id: id.clone(), account: who.account(), to: to.clone() };
        match self.decided(give).await? {
            Outcome::Done => self.changed(id),
            Outcome::Forbidden => Err(LibrariesError::OwnerNotFound),
            _ => Err(LibrariesError::NotFound { id: id.clone() }),
        }
    }

    /// A library that was changed a moment ago, by somebody who may.
    fn changed(&self, id: &LibraryId) -> Result<LibraryView, LibrariesError> {
        self.get(Some(&Owner::Operator), id)?.ok_or_else(|| LibrariesError::NotFound { id: id.clone() })
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
        self.changed(id)
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
        let changed = self.change(id, command).await;
        if let Err(LibrariesError::NotFound { .. }) = changed {
            // Only whoever may change a library is told which of its versions is not there.
            let reader = self.cluster.reader();
            let known = libraries::get(reader, id)?;
            if let Some(known) = known
                && owner.manages(reader, &known.owner)?
            {
                return Err(LibrariesError::VersionNotFound { id: id.clone(), version: version.clone() });
            }
        }
        changed
    }

    async fn change(&self, id: &LibraryId, command: libraries::Command) -> Result<(), LibrariesError> {
        match self.decided(command).await? {
            Outcome::Done => Ok(()),
            _ => Err(LibrariesError::NotFound { id: id.clone() }),
        }
    }

    async fn decided(&self, command: libraries::Command) -> Result<Outcome, LibrariesError> {
        let behalf = Behalf::current();
        Ok(self.slot.call(REPLY_DEADLINE, |reply| Message::Change { command, behalf, reply }).await??)
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
    Change { command: libraries::Command, behalf: Behalf, reply: RpcReplyPort<Result<Outcome, ClusterError>> },
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
            Message::Change { command, behalf, reply } => {
                answer_when_done(reply, behalf.scope(async move { actor.change(command).await }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::World;

    #[tokio::test]
    async fn pages_are_full_however_many_private_libraries_lie_between() {
        let world = World::new().await;
        let (libraries, owner) = (&world.actors.libraries, world.account.id.clone());
        let visibilities = "+--+-----+-".chars().map(|sign| match sign {
            '+' => Visibility::Public,
            _ => Visibility::Private,
        });
        let (mut public, mut all) = (Vec::new(), Vec::new());
        for (number, visibility) in visibilities.enumerate() {
            let id: LibraryId = format!("/acme/{number:02}").parse().unwrap();
            libraries.claim(&Owner::Operator, &owner, &id, visibility).await.unwrap();
            if visibility == Visibility::Public {
                public.push(id.clone());
            }
            all.push(id);
        }
        for limit in 1..=4 {
            for (viewer, shown) in [(None, &public), (Some(&Owner::Account(owner.clone())), &all)] {
                let mut after = None;
                for expected in shown.chunks(limit).chain([[].as_slice()]) {
                    let page = libraries.list(viewer, after.as_ref(), limit).unwrap();
                    let ids: Vec<_> = page.into_iter().map(|view| view.library.id).collect();
                    assert_eq!(ids, expected, "{limit} after {after:?}");
                    after = ids.last().cloned().or(after);
                }
            }
        }
    }
}
