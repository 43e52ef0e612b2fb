//! What reads bytes of the network, for the fuzz targets.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use hickory_proto::op::Message;
use twinmcp_cluster::NodeId;
use twinmcp_cluster::membership::{Location, PublicAddresses};

use super::answer::{Answerer, Carrier, Kind};
use super::nearest::Server;
use super::zone::Zone;
use crate::config::DnsConfig;

static ANSWERER: LazyLock<Answerer> = LazyLock::new(|| {
    let config = DnsConfig {
        zone: "docs.example.com".to_owned(),
        name_servers: vec!["ns1.a.docs.example.com 203.0.113.10 2001:db8::10".to_owned()],
        answers_max: 16,
        ..DnsConfig::default()
    };
    let zone = Zone::new(&config).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    Answerer::new(zone, None)
});

static SERVERS: LazyLock<Vec<Server>> = LazyLock::new(|| {
    let addresses = |node: u16| PublicAddresses {
        v4: Some(Ipv4Addr::from([10, 0, 0, node.to_be_bytes()[1]])),
        v6: Some([0xfd00, 0, 0, 0, 0, 0, 0, node].into()),
    };
    let server = |node: u16| Server {
        node: NodeId(node.into()),
        addresses: addresses(node),
        is_in_region: node == 1,
        location: Location::of_degrees(f64::from(node), f64::from(node)),
        round_trip: None,
        load_percent: 0,
        is_ready: node > 1,
    };
    (1..=16).map(server).collect()
});

/// The bytes as a question over either carrier, and as one past the limit.
pub(crate) fn question(bytes: &[u8]) {
    let from = IpAddr::from([192, 0, 2, 53]);
    for (carrier, bytes_max) in [(Carrier::Udp, 1_232), (Carrier::Tcp, 65_535)] {
        let Some(answer) = ANSWERER.answer(bytes, from, carrier, &SERVERS) else { continue };
        assert!(answer.bytes.len() <= bytes_max && answer.kind != Kind::Failed);
        assert_eq!(answer.bytes[..2], bytes[..2], "the id comes back");
        assert_eq!(answer.bytes[3] & 0x80, 0, "recursion is not available");
        // What the library does not read and goes back as it came (a client subnet of no family) makes both unreadable to it.
        assert!(Message::from_vec(bytes).is_err() || Message::from_vec(&answer.bytes).is_ok());
    }
    if let Some(answer) = ANSWERER.truncated(bytes) {
        // A name may point into the header, and is longer without that.
        assert!(answer.bytes.len() <= bytes.len() + 12 && answer.bytes[2] & 2 != 0);
    }
}
