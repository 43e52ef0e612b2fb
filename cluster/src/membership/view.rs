//! What `chitchat` knows, as a list of members.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chitchat::{Chitchat, ChitchatId, NodeState, Version};
use twinmcp_storage::clock::Timestamp;

use super::member::{Liveness, MemberState};
use crate::status::NodeId;

/// Every boot of every node that is remembered.
#[derive(Default)]
pub(super) struct View {
    boots: BTreeMap<ChitchatId, Boot>,
}

struct Boot {
    /// Of what it told when it was read last.
    version: Version,
    has_left: bool,
    member: MemberState,
}

impl View {
    /// Takes over what has changed. Whether anything has.
    pub(super) fn refresh(&mut self, chitchat: &Chitchat, now: Timestamp) -> bool {
        let before = self.boots.len();
        self.boots.retain(|id, _| chitchat.node_state(id).is_some());
        let mut has_changed = self.boots.len() != before;
        let alive: HashSet<&ChitchatId> = chitchat.live_nodes().collect();
        for (id, state) in chitchat.node_states() {
            let is_alive = alive.contains(id);
            has_changed |= match self.boots.entry(id.clone()) {
                Entry::Occupied(mut boot) => boot.get_mut().refresh(state, is_alive, now),
                Entry::Vacant(place) => match Boot::new(id, state, is_alive, now) {
                    Some(boot) => {
                        place.insert(boot);
                        true
                    }
                    None => false,
                },
            };
        }
        has_changed
    }

    /// One entry a node, by its id: of several boots the one that is alive, else the newest.
    pub(super) fn members(&self) -> Arc<[MemberState]> {
        let mut members: BTreeMap<NodeId, &MemberState> = BTreeMap::new();
        for member in self.boots.values().map(|boot| &boot.member) {
            let rank = |member: &MemberState| (member.liveness == Liveness::Alive, member.generation);
            let best = members.entry(member.node_id).or_insert(member);
            if rank(member) > rank(best) {
                *best = member;
            }
        }
        members.into_values().cloned().collect()
    }
}

impl Boot {
    /// Absent while nothing was told, and for ids that are not ours.
    fn new(id: &ChitchatId, state: &NodeState, is_alive: bool, now: Timestamp) -> Option<Self> {
        let node_id = NodeId(id.node_id.parse().ok()?);
        state.key_values().next()?;
        let (generation, address) = (id.generation_id, id.gossip_advertise_addr);
        let member = MemberState::new(node_id, generation, address, Liveness::Unproven, now);
        let mut boot = Self { version: 0, has_left: false, member };
        boot.refresh(state, is_alive, now);
        Some(boot)
    }

    fn refresh(&mut self, state: &NodeState, is_alive: bool, now: Timestamp) -> bool {
        let is_told = self.version != state.max_version();
        if is_told {
            self.version = state.max_version();
            self.has_left = self.member.read(state.key_values());
        }
        let liveness = match self.member.liveness {
            _ if self.has_left => Liveness::Left,
            _ if is_alive => Liveness::Alive,
            Liveness::Unproven => Liveness::Unproven,
            _ => Liveness::Dead,
        };
        let is_turned = liveness != self.member.liveness;
        if is_turned {
            (self.member.liveness, self.member.liveness_since) = (liveness, now);
        }
        is_told || is_turned
    }
}
