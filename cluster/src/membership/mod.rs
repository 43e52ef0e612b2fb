//! Who is there: nodes tell one another where they are and how they do, by gossip over sealed datagrams.
//!
//! [`Membership::start`] is the way in, [`Membership::members`] what this node knows of all, [`Membership::update`] what
//! it tells, [`Membership::shutdown`] takes leave. What goes over the wire is sealed with the cluster's
//! secret (`seal`); what is told is small and soft (`member`).
//!
//! Invariants: `chitchat` is named only here, and nothing of it is public; what gossip says is each node's own opinion,
//! good for choosing whom to ask and never for deciding who may do what; readers take no lock and pass no
//! mailbox; nothing is believed that was not sealed with the secret.

mod config;
mod driver;
mod error;
mod fragment;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod inventory;
mod keep;
mod member;
mod network;
mod place;
mod replay;
mod seal;
#[cfg(test)]
mod tests;
mod traffic;
mod transport;
mod view;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chitchat::{ChitchatConfig, ChitchatId, FailureDetectorConfig};
use tokio::sync::{mpsc, watch};
use twinmcp_storage::clock::{Clock, Entropy};

pub use self::config::{ClusterSecret, MembershipConfig};
pub use self::error::MembershipError;
pub use self::inventory::BundleDigest;
pub use self::keep::Keep;
pub use self::member::{Liveness, LocalState, MemberState};
pub use self::network::{Datagrams, Network, UdpNetwork};
pub use self::place::{InvalidPlace, Location, PublicAddresses};
pub use self::traffic::{Dropped, Volume};

use self::driver::Driver;
use self::seal::{KeyRing, Opener, Sealer, Sender};
use self::traffic::Traffic;
use self::transport::SealedTransport;
use self::view::View;
use crate::status::StopReason;

/// Every node this one knows, itself included, by id.
pub type Members = Arc<[MemberState]>;

/// Greetings that may wait.
const CONTACTS_MAX: usize = 64;
/// Times between signs of life of one node that are remembered.
const INTERVALS_MAX: usize = 100;

/// This node's part in gossip. Clones are cheap and share it; when the last is dropped, gossip ends without leave, as
/// in a crash.
#[derive(Clone)]
pub struct Membership {
    inner: Arc<Inner>,
}

struct Inner {
    address: SocketAddr,
    cluster_id: String,
    ring: Arc<ArcSwap<KeyRing>>,
    local: watch::Sender<LocalState>,
    contacts: mpsc::Sender<SocketAddr>,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<Option<StopReason>>,
    members: Arc<ArcSwap<Members>>,
    changes: watch::Receiver<Members>,
    traffic: Arc<Traffic>,
}

impl Membership {
    /// Listens, and begins to tell `local` and to hear of others in the background.
    ///
    /// # Errors
    /// [`MembershipError::Config`], [`MembershipError::TooLong`], [`MembershipError::Bind`],
    /// [`MembershipError::Entropy`].
    pub async fn start(
        config: MembershipConfig,
        local: LocalState,
        network: &dyn Network,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Self, MembershipError> {
        config.check()?;
        local.check()?;
        let ring = KeyRing::new(&config.cluster_id, &config.secrets)?;
        let ring = Arc::new(ArcSwap::from_pointee(ring));
        let mut boot = [0; 16];
        entropy.fill(&mut boot).map_err(MembershipError::Entropy)?;
        let sender = Sender { node: config.node_id.0, generation: clock.now().as_millis(), boot };
        let bind = |source| MembershipError::Bind { listen: config.listen, source };
        let socket = network.bind(config.listen).await.map_err(bind)?;
        let mut address = config.advertise;
        if address.port() == 0 {
            address.set_port(socket.local_addr().map_err(bind)?.port());
        }

        let traffic = Arc::new(Traffic::new());
        let sealer = Sealer::new(sender, Arc::clone(&ring));
        let opener = Opener::new(sender, Arc::clone(&ring), config.clock_skew_max_ms);
        let (transport, socket) =
            SealedTransport::start(socket, sealer, opener, Arc::clone(&clock), Arc::clone(&traffic));
        let (local, local_told) = watch::channel(local);
        let (contacts, to_contact) = mpsc::channel(CONTACTS_MAX);
        let (stop, stopping) = watch::channel(false);
        let (end, ended) = watch::channel(None);
        let members = Arc::new(ArcSwap::from_pointee(Members::from([])));
        let (change, changes) = watch::channel(Members::from([]));
        let driver = Driver {
            local: local_told,
            contacts: to_contact,
            stop: stopping,
            ended: end,
            members: Arc::clone(&members),
            changes: change,
            socket,
            clock,
            traffic: Arc::clone(&traffic),
            view: View::default(),
        };
        tokio::spawn(driver.run(chitchat_config(&config, sender.generation, address), transport));
        let cluster_id = config.cluster_id;
        let inner =
            Inner { address, cluster_id, ring, local, contacts, stop, ended, members, changes, traffic };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where the others reach this node's gossip.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Every node this one knows now, itself included, by id; empty for a moment after the start.
    pub fn members(&self) -> Members {
        Arc::clone(&self.inner.members.load())
    }

    /// The same list, for whoever waits for it to change, which may be several times a second. Closed once gossip
    /// has ended.
    pub fn changes(&self) -> watch::Receiver<Members> {
        self.inner.changes.clone()
    }

    /// Tells the others how this node is from now on. Only what differs from before is sent; all of them know it
    /// after a few gossip intervals.
    ///
    /// # Errors
    /// [`MembershipError::TooLong`]; [`MembershipError::Stopped`] once gossip has ended.
    pub fn update(&self, local: LocalState) -> Result<(), MembershipError> {
        local.check()?;
        self.inner.local.send(local).map_err(|_| MembershipError::Stopped)
    }

    /// Speaks to whoever listens at `address`, as to a seed, once. With addresses from the agreed list of
    /// members it joins what a long cut has made strangers. More than 64 that wait are passed over.
    pub fn contact(&self, address: SocketAddr) {
        // Whoever calls does so again as long as the node is not seen.
        let _ = self.inner.contacts.try_send(address);
    }

    /// Replaces the secrets: the first seals from now on, both open. To replace one without losing sight, every node
    /// gets `[old, new]`, then every node `[new, old]`, then every node `[new]`.
    ///
    /// # Errors
    /// [`MembershipError::Config`]; the ones before stay in force.
    pub fn rotate(&self, secrets: &[ClusterSecret]) -> Result<(), MembershipError> {
        let ring = KeyRing::new(&self.inner.cluster_id, secrets)?;
        self.inner.ring.store(Arc::new(ring));
        Ok(())
    }

    /// What was sent since the start.
    pub fn sent(&self) -> Volume {
        self.inner.traffic.sent_total()
    }

    /// What was received since the start, dropped or not.
    pub fn received(&self) -> Volume {
        self.inner.traffic.received_total()
    }

    /// How often something was dropped for `reason` since the start.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.inner.traffic.dropped_total(reason)
    }

    /// Resolves once gossip has ended, and says why; at once if it already has. A supervisor waits for it:
    /// after [`StopReason::Failed`] gossip has to be started again.
    pub fn stopped(&self) -> impl Future<Output = StopReason> + Send + 'static {
        let mut ended = self.inner.ended.clone();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or(StopReason::Shutdown),
                Err(_) => StopReason::Failed { message: "the task that runs gossip has ended".to_owned() },
            }
        }
    }

    /// Tells the others that this node goes and ends, after a second or two at most; the port is free then. A second
    /// call waits for the first.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        self.stopped().await;
    }
}

fn chitchat_config(config: &MembershipConfig, generation: u64, address: SocketAddr) -> ChitchatConfig {
    let interval = Duration::from_millis(config.gossip_interval_ms);
    let dead_grace = Duration::from_millis(config.dead_grace_ms);
    ChitchatConfig {
        chitchat_id: ChitchatId::new(config.node_id.to_string(), generation, address),
        cluster_id: config.cluster_id.clone(),
        gossip_interval: interval,
        listen_addr: config.listen,
        seed_nodes: config.seeds.clone(),
        failure_detector_config: FailureDetectorConfig::new(
            config.phi_threshold,
            INTERVALS_MAX,
            interval * 10,
            interval,
            dead_grace,
        ),
        // Keys are never deleted, see `LocalState::to_values`.
        marked_for_deletion_grace_period: dead_grace,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}
