//! Distribution: index bundles come to this node from the nearest peer that has them.
//!
//! The actor follows what is published and fetches what is missing here, a few bundles at once; a question that comes
//! first waits for its bundle a moment. Each bundle is fetched once at a time, goes on at the next peer where one broke
//! off, and is looked at before anybody sees it.
//!
//! Invariant: what is put into the folder has the hash that agreed state names.

mod fetch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Semaphore, watch};
use twinmcp_cluster::NodeId;
use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::libraries::{self, VersionManifest};
use twinmcp_storage::transaction::Change;

use self::fetch::Fetch;
use crate::context::Context;
use crate::supervisor::Child;

/// Bundles fetched at once.
const FETCHES_MAX: usize = 4;
/// Between two looks for what is missing still.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Libraries read from the store at a time.
const PAGE: usize = 1_000;

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The bundle is here.
    Here,
    /// Every peer was asked, and none has it.
    Nowhere,
    /// A peer that may have it did not give it; it is tried again.
    Later,
}

type Fetches = Arc<Mutex<HashMap<BundleHash, watch::Receiver<Option<Fetched>>>>>;

/// The way to bundles of peers.
#[derive(Clone)]
pub(crate) struct Distribution {
    context: Arc<Context>,
    fetches: Fetches,
    places: Arc<Semaphore>,
}

impl Distribution {
    pub(crate) fn child(context: &Arc<Context>) -> (Child, Self) {
        let distribution = Self {
            context: Arc::clone(context),
            fetches: Fetches::default(),
            places: Arc::new(Semaphore::new(FETCHES_MAX)),
        };
        let for_actor = distribution.clone();
        let (child, _) = Child::new("distribution", &context.node, move || {
            (DistributionActor { distribution: for_actor.clone() }, ())
        });
        (child, distribution)
    }

    /// Whether somebody else could have a bundle.
    pub(crate) fn has_peers(&self) -> bool {
        !self.peers().is_empty()
    }

    /// Other members, those of this region first; each bundle begins at another one, so that they share the work.
    fn peers(&self) -> Vec<NodeId> {
        let status = self.context.cluster.status();
        let others = status.members.into_iter().filter(|member| member.node_id != status.node_id);
        others.map(|member| member.node_id).collect()
    }

    /// Fetches a bundle, or waits for whoever does already.
    pub(crate) async fn fetch(&self, manifest: &VersionManifest, hash: BundleHash) -> Fetched {
        if self.context.bundles.contains(hash) {
            return Fetched::Here;
        }
        let mut ended = {
            let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
            match fetches.get(&hash) {
                Some(running) => running.clone(),
                None => {
                    let (ended, receiver) = watch::channel(None);
                    fetches.insert(hash, receiver.clone());
                    tokio::spawn(self.clone().run(manifest.clone(), hash, ended));
                    receiver
                }
            }
        };
        let ended = ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|ended| *ended).unwrap_or(Fetched::Later)
    }

    async fn run(self, manifest: VersionManifest, hash: BundleHash, ended: watch::Sender<Option<Fetched>>) {
        let fetched = match self.places.acquire().await {
            Ok(_place) => {
                let fetch = Fetch { context: &self.context, hash, bytes: manifest.bundle_bytes };
                fetch.from(&self.near_first(hash)).await
            }
            Err(_) => Fetched::Later,
        };
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        ended.send_replace(Some(fetched));
    }

    fn near_first(&self, hash: BundleHash) -> Vec<NodeId> {
        let cluster = &self.context.cluster;
        let region = |node: NodeId| {
            let node = twinmcp_storage::members::node(cluster.reader(), node.0).ok().flatten();
            node.map(|node| node.facts.region)
        };
        let here = region(cluster.status().node_id);
        let mut peers = self.peers();
        if !peers.is_empty() {
            let first = usize::from(hash.as_bytes()[0]) % peers.len();
            peers.rotate_left(first);
        }
        let directory = cluster.directory();
        peers.sort_by_key(|peer| (directory.is_unlikely(*peer, hash.as_bytes()), region(*peer) != here));
        peers
    }
}

enum Message {
    /// These libraries, or any, may have something new.
    Look(Vec<LibraryId>),
    LookAtAll,
}

struct DistributionActor {
    distribution: Distribution,
}

impl Actor for DistributionActor {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        let mut changes = self.distribution.context.cluster.changes();
        myself.send_message(Message::LookAtAll)?;
        // Ends with the cluster, or with the actor.
        tokio::spawn(async move {
            while let Some(changes) = changes.next().await {
                let libraries = changes.iter().filter_map(|change| match change {
                    Change::Library(library) => Some(library.clone()),
                    _ => None,
                });
                let libraries: Vec<_> = libraries.collect();
                let message = match changes.contains(&Change::Everything) {
                    true => Message::LookAtAll,
                    false if libraries.is_empty() => continue,
                    false => Message::Look(libraries),
                };
                if myself.send_message(message).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let is_regular = matches!(message, Message::LookAtAll);
        if self.distribution.has_peers() {
            let context = Arc::clone(&self.distribution.context);
            let missing = tokio::task::spawn_blocking(move || match message {
                Message::Look(libraries) => missing_of(&context, &libraries),
                Message::LookAtAll => missing(&context),
            });
            for (manifest, hash) in missing.await?? {
                let distribution = self.distribution.clone();
                // As many as there are missing wait for a place; each is a few hundred bytes.
                tokio::spawn(async move { distribution.fetch(&manifest, hash).await });
            }
        }
        if is_regular {
            myself.send_after(LOOK_EVERY, || Message::LookAtAll);
        }
        Ok(())
    }
}

type Missing = Vec<(VersionManifest, BundleHash)>;

/// Versions whose bundle is not in the folder.
pub(crate) fn missing(context: &Context) -> Result<Missing, StorageError> {
    let view = context.cluster.view();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = libraries::list(&*view, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.id.clone());
        for library in &page {
            found.extend(missing_in(context, &*view, &library.id)?);
        }
    }
}

fn missing_of(context: &Context, libraries: &[LibraryId]) -> Result<Missing, StorageError> {
    let view = context.cluster.view();
    let libraries: HashSet<_> = libraries.iter().collect();
    let mut found = Vec::new();
    for library in libraries {
        found.extend(missing_in(context, &*view, library)?);
    }
    Ok(found)
}

fn missing_in(context: &Context, view: &dyn Reader, library: &LibraryId) -> Result<Missing, StorageError> {
    let versions = libraries::versions(view, library)?.into_iter();
    let named = versions.filter_map(|manifest| {
        let hash: BundleHash = manifest.bundle.parse().ok()?;
        Some((manifest, hash))
    });
    Ok(named.filter(|(_, hash)| !context.bundles.contains(*hash)).collect())
}
