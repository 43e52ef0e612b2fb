//! Who is there, as gossip has it: which peer to ask, which node to send a client to. Empty without gossip.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::membership::{Liveness, MemberState, Members, Membership};
use crate::status::NodeId;

/// What this node hears of others. Clones share it; reading takes no lock.
#[derive(Clone, Default)]
pub struct Directory {
    gossip: Arc<ArcSwapOption<Membership>>,
}

impl Directory {
    /// Hears of others through `gossip` from now on.
    pub fn listen(&self, gossip: Membership) {
        self.gossip.store(Some(Arc::new(gossip)));
    }

    /// Every node heard of, this one included.
    pub fn members(&self) -> Members {
        self.gossip.load().as_ref().map_or_else(|| Members::from([]), |gossip| gossip.members())
    }

    /// What is heard of one node.
    pub fn member(&self, node: NodeId) -> Option<MemberState> {
        self.members().iter().find(|member| member.node_id == node).cloned()
    }

    /// Whether a node should be asked after the others: it is silent, or says that it does not have this bundle.
    pub fn is_unlikely(&self, node: NodeId, bundle: &[u8; 32]) -> bool {
        self.member(node).is_some_and(|member| {
            matches!(member.liveness, Liveness::Dead | Liveness::Left) || !member.may_have(bundle)
        })
    }
}
