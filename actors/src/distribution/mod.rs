//! Distribution: which index bundles lie on this node, and how they come from its peers and from the bucket.
//!
//! The actor follows what is published and fetches what this node is to keep, a few bundles at once; a question that
//! comes first is answered by a peer meanwhile ([`Distribution::ask`]). Each bundle is fetched once at a time, in ranges
//! (`fetch`), and is looked at before anybody sees it. Who keeps what, every node computes for itself (`placement`);
//! now and then it looks at what it has (`look`) and lets go what others keep (`evict`) and what nobody names. A store of
//! the operator's may keep all of them besides (`bucket`).
//!
//! Invariants: what is put into the folder has the hash that agreed state names; the last copy of a bundle that is
//! named is never taken away.

mod ask;
mod bucket;
mod config;
mod evict;
mod fetch;
mod look;
mod metrics;
mod near;
mod pace;
mod placement;
mod plan;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Semaphore, watch};
use twinmcp_cluster::NodeId;
use twinmcp_cluster::membership::Keep;
use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::libraries::{self, VersionManifest};
use twinmcp_storage::transaction::Change;

pub(crate) use self::ask::Asked;
use self::bucket::Bucket;
pub use self::bucket::{BucketConfig, BucketError, BucketKey};
pub use self::config::BundlesConfig;
use self::fetch::Fetch;
use self::look::{Names, each_version};
use self::metrics::Metrics;
use self::near::{Holder, near_first};
use self::pace::Pace;
use self::placement::Placement;
use self::plan::Garbage;
use crate::context::Context;
use crate::supervisor::Child;

/// Bundles fetched at once.
const FETCHES_MAX: usize = 4;
/// A node alone and without a bucket has nothing to fetch and nobody to rely on: it looks less often.
const ALONE_LOOKS_LESS: u32 = 6;

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The bundle is here.
    Here,
    /// Every peer was asked, and the bucket, and none has it.
    Nowhere,
    /// A peer or a bucket that may have it did not give it; it is tried again.
    Later,
}

/// A fetch under way, which goes on whether somebody waits for it or not.
#[derive(Clone)]
pub(crate) struct Fetching(watch::Receiver<Option<Fetched>>);

impl Fetching {
    /// Resolves when it has ended.
    pub(crate) async fn ended(mut self) -> Fetched {
        let ended = self.0.wait_for(Option::is_some).await;
        ended.ok().and_then(|ended| *ended).unwrap_or(Fetched::Later)
    }
}

/// The way to bundles of peers.
#[derive(Clone)]
pub struct Distribution {
    context: Arc<Context>,
    shared: Arc<Shared>,
}

struct Shared {
    config: BundlesConfig,
    started_at: Timestamp,
    fetches: Mutex<HashMap<BundleHash, watch::Receiver<Option<Fetched>>>>,
    places: Semaphore,
    fetch_pace: Pace,
    send_pace: Pace,
    /// What agreed state named at the last look.
    names: tokio::sync::Mutex<Option<Arc<Names>>>,
    /// Taken for the time of a look.
    garbage: tokio::sync::Mutex<Garbage>,
    /// Copies that this node is about to let go.
    leaving: Mutex<HashSet<BundleHash>>,
    bucket: Option<Arc<Bucket>>,
    metrics: Metrics,
}

impl Distribution {
    pub(crate) fn child(context: &Arc<Context>, config: BundlesConfig) -> Result<(Child, Self), BucketError> {
        let replace_after = config.replace_after;
        let bucket = |config| Bucket::new(config, replace_after, Arc::clone(&context.clock)).map(Arc::new);
        let shared = Shared {
            started_at: context.clock.now(),
            fetches: Mutex::default(),
            places: Semaphore::new(FETCHES_MAX),
            fetch_pace: Pace::new(config.fetch_bytes_per_s_max),
            send_pace: Pace::new(config.send_bytes_per_s_max),
            names: tokio::sync::Mutex::default(),
            garbage: tokio::sync::Mutex::default(),
            leaving: Mutex::default(),
            bucket: config.bucket.as_ref().map(bucket).transpose()?,
            metrics: Metrics::new(),
            config,
        };
        let distribution = Self { context: Arc::clone(context), shared: Arc::new(shared) };
        let for_actor = distribution.clone();
        let (child, _) = Child::new("distribution", &context.node, move || {
            (DistributionActor { distribution: for_actor.clone() }, ())
        });
        Ok((child, distribution))
    }

    /// Returns once so many more bytes of bundles may be sent to peers, and counts them.
    pub async fn sending(&self, bytes: usize) {
        self.shared.send_pace.take(bytes).await;
        self.shared.metrics.sent(bytes);
    }

    /// Which bundles this node keeps, as the others are told.
    pub fn keep(&self) -> Keep {
        self.shared.config.keep
    }

    /// Whether a bundle that is not here could come from elsewhere: from a peer, or from the bucket.
    pub(crate) fn has_sources(&self) -> bool {
        self.shared.bucket.is_some() || !self.peers().is_empty()
    }

    /// What is wrong with the bucket, for an operator.
    pub fn bucket_warning(&self) -> Option<String> {
        self.shared.bucket.as_ref()?.warning()
    }

    fn peers(&self) -> Vec<NodeId> {
        let status = self.context.cluster.status();
        let others = status.members.into_iter().filter(|member| member.node_id != status.node_id);
        others.map(|member| member.node_id).collect()
    }

    /// Fetches a bundle that was asked about, if this node is to have it. Nobody has to wait for it.
    pub(crate) fn wanted(&self, manifest: &VersionManifest, hash: BundleHash) -> Option<Fetching> {
        let config = &self.shared.config;
        let is_wanted = match config.keep {
            Keep::Everywhere => true,
            Keep::Region { .. } => self.is_kept_here(self.placement().as_ref(), hash),
            // One that is too large is asked through peers; where there are none, it comes and goes.
            Keep::OnDemand => manifest.bundle_bytes <= config.disk_bytes_max || self.peers().is_empty(),
        };
        is_wanted.then(|| self.fetch(hash, manifest.bundle_bytes))
    }

    /// Whether this node is to keep the bundle. One that keeps all needs to know of nobody for that.
    fn is_kept_here(&self, placement: Option<&Placement>, hash: BundleHash) -> bool {
        self.shared.config.keep == Keep::Everywhere
            || placement.is_some_and(|placement| placement.is_kept_here(hash))
    }

    /// Fetches a bundle, unless that is under way already.
    fn fetch(&self, hash: BundleHash, bytes: u64) -> Fetching {
        let mut fetches = self.shared.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        let running = fetches.entry(hash).or_insert_with(|| {
            let (ended, receiver) = watch::channel(None);
            tokio::spawn(self.clone().run(hash, bytes, ended));
            receiver
        });
        Fetching(running.clone())
    }

    async fn run(self, hash: BundleHash, bytes: u64, ended: watch::Sender<Option<Fetched>>) {
        let fetched = match self.shared.places.acquire().await {
            _ if self.context.bundles.contains(hash) => Fetched::Here,
            Ok(_place) => {
                let fetch = Fetch { context: &self.context, pace: &self.shared.fetch_pace, hash, bytes };
                let fetched = fetch.from(&self.near_first(hash), self.shared.bucket.as_deref()).await;
                self.shared.metrics.fetch_ended(fetched, bytes);
                fetched
            }
            Err(_) => Fetched::Later,
        };
        self.shared.fetches.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        let is_on_demand = self.shared.config.keep == Keep::OnDemand && fetched == Fetched::Here;
        if is_on_demand {
            self.context.bundles.touch(hash);
        }
        ended.send_replace(Some(fetched));
        if is_on_demand {
            // Others may have to make room.
            self.look_now().await;
        }
    }

    /// Other members, in the order in which they should be asked for a bundle.
    fn near_first(&self, hash: BundleHash) -> Vec<NodeId> {
        let cluster = &self.context.cluster;
        let region = |node: NodeId| {
            let node = twinmcp_storage::members::node(cluster.reader(), node.0).ok().flatten();
            node.map(|node| node.facts.region)
        };
        let here = region(cluster.status().node_id);
        let (directory, placement) = (cluster.directory(), self.placement());
        let holder = |node: NodeId| Holder {
            node,
            is_unlikely: directory.is_unlikely(node, hash.as_bytes()),
            is_elsewhere: region(node) != here,
            round_trip: cluster.round_trips().to(node),
            is_keeper: placement.as_ref().is_some_and(|placement| placement.is_keeper(node, hash)),
        };
        near_first(self.peers().into_iter().map(holder).collect(), hash)
    }

    /// Fetches what these libraries have anew and this node is to keep. What is here already was built here, and goes to
    /// the bucket; whether there is any.
    async fn follow(&self, changed: Vec<LibraryId>) -> Result<bool, ActorProcessingErr> {
        let this = self.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let placement = this.placement();
            let changed: HashSet<_> = changed.into_iter().collect();
            let (mut missing, mut built) = (Vec::new(), Vec::new());
            for library in &changed {
                for manifest in libraries::versions(this.context.cluster.reader(), library)? {
                    let Ok(hash) = manifest.bundle.parse() else { continue };
                    if this.context.bundles.contains(hash) {
                        built.push(hash);
                    } else if this.is_kept_here(placement.as_ref(), hash) {
                        missing.push((hash, manifest.bundle_bytes));
                    }
                }
            }
            Ok::<_, StorageError>((missing, built))
        });
        let (missing, built) = looking.await??;
        for (hash, bytes) in missing {
            drop(self.fetch(hash, bytes));
        }
        let Some(bucket) = &self.shared.bucket else { return Ok(false) };
        let is_new = built.into_iter().filter(|hash| bucket.built(*hash)).count() > 0;
        Ok(is_new)
    }
}

enum Message {
    /// These libraries may have something new.
    Follow(Vec<LibraryId>),
    /// Anything may be new.
    Look,
    /// It is time for a look.
    Tick,
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
        myself.send_message(Message::Tick)?;
        // Ends with the cluster, or with the actor.
        tokio::spawn(async move {
            while let Some(changes) = changes.next().await {
                let libraries = changes.iter().filter_map(|change| match change {
                    Change::Library(library) => Some(library.clone()),
                    _ => None,
                });
                let libraries: Vec<_> = libraries.collect();
                let message = match changes.contains(&Change::Everything) {
                    true => Message::Look,
                    false if libraries.is_empty() => continue,
                    false => Message::Follow(libraries),
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
        let has_sources = self.distribution.has_sources();
        match message {
            Message::Follow(libraries) if has_sources => {
                if self.distribution.follow(libraries).await? {
                    self.look_apart();
                }
            }
            Message::Follow(_) => {}
            Message::Look => self.look_apart(),
            Message::Tick => {
                let every = self.distribution.shared.config.look_every;
                let pause = if has_sources { every } else { every * ALONE_LOOKS_LESS };
                // The next one comes whatever becomes of this one.
                myself.send_after(pause, || Message::Tick);
                self.look_apart();
            }
        }
        Ok(())
    }
}

impl DistributionActor {
    /// Looks beside the mailbox, because other nodes are waited for.
    fn look_apart(&self) {
        let distribution = self.distribution.clone();
        tokio::spawn(async move { distribution.look_now().await });
    }
}

/// Versions whose bundle is not in the folder.
pub(crate) fn missing(context: &Context) -> Result<Vec<(VersionManifest, BundleHash)>, StorageError> {
    let mut found = Vec::new();
    each_version(&*context.cluster.view(), |manifest| {
        let hash = manifest.bundle.parse().ok().filter(|hash| !context.bundles.contains(*hash));
        found.extend(hash.map(|hash| (manifest, hash)));
    })?;
    Ok(found)
}
