//! What reads bytes of the network, for the fuzz targets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use twinmcp_storage::clock::Timestamp;

use super::config::ClusterSecret;
use super::fragment::{Reassembly, split};
use super::member::{Liveness, MemberState};
use super::seal::{FRAGMENT_BYTES_MAX, Fragment, KeyRing, Opener, Sealer, Sender};
use super::transport;
use crate::status::NodeId;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SENDER: Sender = Sender { node: 1, generation: 1, boot: [1; 16] };
const RECEIVER: Sender = Sender { node: 2, generation: 1, boot: [2; 16] };

static RING: LazyLock<Arc<ArcSwap<KeyRing>>> = LazyLock::new(|| {
    let secrets = ClusterSecret::new([1; 32]).and_then(|secret| KeyRing::new("cluster", &[secret]));
    Arc::new(ArcSwap::from_pointee(secrets.unwrap_or_else(|error| panic!("{error}"))))
});

/// The bytes as a datagram, as what is sealed in one, and as a whole message.
pub(crate) fn datagram(bytes: &[u8]) {
    let mut opener = Opener::new(RECEIVER, Arc::clone(&RING), 60_000);
    // Some seeds are sealed with this very key.
    let _ = opener.open(&mut bytes.to_vec(), NOW);

    let mut sealer = Sealer::new(SENDER, Arc::clone(&RING));
    let mut sealed = Vec::new();
    let mut reassembly = Reassembly::default();
    if let [place, count, rest @ ..] = bytes {
        for piece in rest.chunks(FRAGMENT_BYTES_MAX) {
            let fragment = Fragment { place: *place, count: *count, bytes: piece };
            if sealer.seal(fragment, NOW, &mut sealed).is_ok()
                && let Ok(opened) = opener.open(&mut sealed, NOW)
            {
                let _ = reassembly.add(&opened, NOW, |_| ());
            }
        }
    }
    let Ok(fragments) = split(bytes) else { return };
    let mut whole = None;
    for fragment in fragments {
        let is_sealed = sealer.seal(fragment, NOW, &mut sealed).is_ok();
        let opened = opener.open(&mut sealed, NOW);
        assert!(is_sealed && opened.is_ok());
        whole = opened.and_then(|opened| reassembly.add(&opened, NOW, |_| ())).ok().flatten();
    }
    assert!(bytes.is_empty() || whole.as_deref() == Some(bytes));
    let _ = transport::read(bytes);
}

/// The bytes as what a node tells: `key=value` in lines.
pub(crate) fn member(bytes: &[u8]) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7946));
    let mut member = MemberState::new(NodeId(1), 1, address, Liveness::Alive, NOW);
    let text = String::from_utf8_lossy(bytes);
    member.read(text.lines().filter_map(|line| line.split_once('=')));
    member.may_have(&[7; 32]);
    for text in [&member.region, &member.zone, &member.http_url, &member.peer_address, &member.build] {
        assert!(text.as_ref().is_none_or(|text| text.len() <= 96 && !text.contains(char::is_control)));
    }
}
