//! Runs `chitchat`: tells it what this node has to say, publishes what it hears, takes leave at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chitchat::{ChitchatConfig, ChitchatHandle, spawn_chitchat};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, error};
use twinmcp_storage::clock::Clock;

use super::Members;
use super::member::{Liveness, LocalState, farewell};
use super::traffic::Traffic;
use super::transport::{SealedTransport, Watch};
use super::view::View;
use crate::status::StopReason;

/// Nodes that are told directly that this one goes; they pass it on.
const FAREWELL_NODES_MAX: usize = 8;
/// How long that may take.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

/// How long the socket may take to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// Owns `chitchat` for the life of [`Membership`](super::Membership).
pub(super) struct Driver {
    pub(super) local: watch::Receiver<LocalState>,
    pub(super) contacts: mpsc::Receiver<SocketAddr>,
    /// True when this node goes; closed when its last handle was dropped, which is an end without leave.
    pub(super) stop: watch::Receiver<bool>,
    pub(super) ended: watch::Sender<Option<StopReason>>,
    pub(super) members: Arc<ArcSwap<Members>>,
    pub(super) changes: watch::Sender<Members>,
    pub(super) socket: Watch,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) view: View,
}

impl Driver {
    pub(super) async fn run(mut self, config: ChitchatConfig, transport: SealedTransport) {
        let period = config.gossip_interval;
        let values = self.local.borrow_and_update().to_values();
        let values = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let reason = tokio::select! {
            // Names of seeds are resolved first, which takes long where no name server answers.
            started = spawn_chitchat(config, values, &transport) => match started {
                Ok(handle) => self.drive(handle, period).await,
                Err(error) => StopReason::Failed { message: error.to_string() },
            },
            _ = self.stop.changed() => StopReason::Shutdown,
        };
        if let StopReason::Failed { message } = &reason {
            error!(reason = message, "gossip has ended");
        }
        // Whoever hears of the end may start again at the same port.
        drop(transport);
        if timeout(CLOSE_DEADLINE, self.socket.open.recv()).await.is_err() {
            debug!("the socket of gossip is still open");
        }
        self.ended.send_replace(Some(reason));
    }

    async fn drive(&mut self, handle: ChitchatHandle, period: Duration) -> StopReason {
        let mut heard = handle.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
        let ended = handle.termination_watcher();
        tokio::pin!(ended);
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.local.changed() => match changed {
                    Ok(()) => self.tell(&handle).await,
                    Err(_) => return StopReason::Shutdown,
                },
                Ok(()) = heard.changed() => {
                    heard.mark_unchanged();
                    self.publish(&handle).await;
                }
                // Nodes that are not alive come and go without notice.
                _ = tick.tick() => self.publish(&handle).await,
                Some(address) = self.contacts.recv() => self.greet(&handle, address),
                changed = self.stop.changed() => {
                    if changed.is_ok() {
                        self.leave(handle).await;
                    }
                    return StopReason::Shutdown;
                }
                result = &mut ended => {
                    let message = result.err().map_or_else(|| "it stopped".to_owned(), |error| error.to_string());
                    return StopReason::Failed { message };
                }
            }
        }
    }

    /// `chitchat` passes on only keys whose values have changed.
    async fn tell(&mut self, handle: &ChitchatHandle) {
        let values = self.local.borrow_and_update().to_values();
        handle
            .with_chitchat(|chitchat| {
                let state = chitchat.self_node_state();
                values.iter().for_each(|(key, value)| state.set(key, value));
            })
            .await;
        self.publish(handle).await;
    }

    async fn publish(&mut self, handle: &ChitchatHandle) {
        let (view, now) = (&mut self.view, self.clock.now());
        if !handle.with_chitchat(|chitchat| view.refresh(chitchat, now)).await {
            return;
        }
        let members = self.view.members();
        for liveness in Liveness::ALL {
            let count = members.iter().filter(|member| member.liveness == liveness).count();
            self.traffic.members(liveness, count);
        }
        self.members.store(Arc::new(Arc::clone(&members)));
        self.changes.send_replace(members);
    }

    fn greet(&self, handle: &ChitchatHandle, address: SocketAddr) {
        // It fails only when `chitchat` has ended, which `drive` sees by itself.
        if handle.gossip(address).is_err() {
            debug!("a node was not greeted: gossip has ended");
        }
    }

    /// Tells some nodes that this one goes, waits until that is sent, and ends.
    async fn leave(&mut self, handle: ChitchatHandle) {
        let nodes = handle
            .with_chitchat(|chitchat| {
                let (key, value) = farewell();
                chitchat.self_node_state().set(key, value);
                let own = chitchat.self_chitchat_id();
                let others = chitchat.live_nodes().filter(|id| *id != own);
                others.map(|id| id.gossip_advertise_addr).take(FAREWELL_NODES_MAX).collect::<Vec<_>>()
            })
            .await;
        let enough = *self.socket.answered.borrow() + nodes.len() as u64;
        nodes.into_iter().for_each(|node| self.greet(&handle, node));
        let told = self.socket.answered.wait_for(|answered| *answered >= enough);
        if timeout(FAREWELL_DEADLINE, told).await.is_err() {
            debug!("not all nodes answered the farewell; the others will see it by silence");
        }
        if let Err(error) = handle.shutdown().await {
            debug!(error = %error, "gossip did not end well");
        }
    }
}
