//! One name for many nodes: clients are given those that are near, and none that is gone.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use twinmcp_tests::{NodeSetup, Resolver, TestCluster, addresses, eventually, for_client, question, scope};

use crate::geo_file::{GeoFile, write};

const ZONE: &str = "docs.example.com";
const APEX: &str = "docs.example.com.";
const FRANKFURT: (f64, f64) = (50.11, 8.68);
const SYDNEY: (f64, f64) = (-33.87, 151.21);
/// Where node 3 says that it is: its address is in no file.
const NEW_YORK: &str = "40.71,-74.01";

/// Clients, by what is near.
const NEAR_1: &str = "100.64.1.0/24";
const NEAR_2: &str = "100.64.2.0/24";
const NEAR_3: &str = "100.64.3.0/24";

fn places(near_1_prefix: u8) -> Vec<u8> {
    let near_1 = format!("100.64.1.0/{near_1_prefix}");
    let networks = [
        ("203.0.113.0/24", FRANKFURT),
        ("198.51.100.0/24", SYDNEY),
        (near_1.as_str(), (52.5, 13.4)),
        (NEAR_2, (-36.9, 174.8)),
        (NEAR_3, (42.4, -71.1)),
    ];
    GeoFile::new(networks.map(|(network, place)| (network, Some(place)))).bytes()
}

/// A node that answers for the zone.
fn answering(setup: NodeSetup, geo: Option<&Path>) -> (NodeSetup, SocketAddr) {
    let setup = setup
        .with("dns", "zone", ZONE)
        .with("dns", "name_servers", r#"["ns1.docs.example.com 203.0.113.1"]"#)
        .with("dns", "answers_max", 3)
        .with_names();
    let at = setup.names();
    let setup = match geo {
        Some(path) => setup.with("dns", "geo_file", path.display()),
        None => setup,
    };
    (setup, at)
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

fn near(network: &str) -> Message {
    for_client(question(APEX, RecordType::A), network)
}

async fn asked(resolver: Resolver, message: &Message) -> Message {
    eventually("an answer", async || resolver.ask(message).await.ok()).await
}

async fn until_given(what: &str, resolver: Resolver, message: &Message, expected: &[&str]) {
    let expected = ips(expected);
    eventually(what, async || {
        let answer = resolver.ask(message).await.ok()?;
        (addresses(&answer) == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn clients_are_given_the_nodes_near_them_and_none_that_is_drained_or_dead() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("city.mmdb");
    write(&file, &places(24));
    let names = std::sync::Mutex::new(Vec::new());
    let setup = async |number| {
        let (setup, at) = answering(TestCluster::setup(number), Some(&file));
        names.lock().unwrap().push(Resolver::new(at));
        match number {
            1 => setup.with("cluster", "public_addresses", r#"["203.0.113.1"]"#),
            2 => setup.with("cluster", "public_addresses", r#"["198.51.100.2"]"#),
            _ => setup
                .with("cluster", "public_addresses", r#"["192.0.2.3", "2001:db8::3"]"#)
                .with("cluster", "location", NEW_YORK),
        }
    };
    let mut cluster = TestCluster::start_as(3, 0, setup).await;
    let names = names.into_inner().unwrap();
    let (one, two, three) = ("203.0.113.1", "198.51.100.2", "192.0.2.3");
    for resolver in &names {
        until_given("those near the first", *resolver, &near(NEAR_1), &[one, three, two]).await;
        until_given("those near the second", *resolver, &near(NEAR_2), &[two, three, one]).await;
        until_given("those near the third", *resolver, &near(NEAR_3), &[three, one, two]).await;
        let six = for_client(question(APEX, RecordType::AAAA), NEAR_1);
        until_given("the only one with such an address", *resolver, &six, &["2001:db8::3"]).await;
        let over_tcp = resolver.ask_over_tcp(&[near(NEAR_2), near(NEAR_1)]).await.unwrap();
        assert_eq!(addresses(&over_tcp[0]), ips(&[two, three, one]));
        assert_eq!((addresses(&over_tcp[1])[0], scope(&over_tcp[1])), (ips(&[one])[0], Some(24)));
    }

    cluster.client(1).post_empty("/api/cluster/drain").await.expect(204);
    for resolver in &names {
        until_given("the drained one to be gone", *resolver, &near(NEAR_2), &[three, one]).await;
    }
    cluster.client(1).delete("/api/cluster/drain").await.expect(204);
    until_given("it to be back", names[0], &near(NEAR_2), &[two, three, one]).await;
    cluster.nodes[2].kill().await;
    for resolver in &names[..2] {
        until_given("the dead one to be gone", *resolver, &near(NEAR_3), &[one, two]).await;
        let six = asked(*resolver, &question(APEX, RecordType::AAAA)).await;
        assert!(six.answers.is_empty() && six.response_code == ResponseCode::NoError, "{six}");
    }
    // All that are left are drained: they are alive, which is better than no such name.
    for place in [0, 1] {
        cluster.client(place).post_empty("/api/cluster/drain").await.expect(204);
        cluster.client(place).get("/api/health/ready").await.expect(503);
    }
    until_given("those that are alive", names[0], &near(NEAR_2), &[two, one]).await;
    for node in &cluster.nodes[..2] {
        assert!(!node.log().contains("100.64."), "clients are in no log");
    }
}

#[tokio::test]
async fn a_node_answers_for_its_zone_alone_and_survives_whatever_comes() {
    let (setup, at) = answering(NodeSetup::default(), None);
    let node = setup.with("cluster", "public_addresses", r#"["203.0.113.1"]"#).start().await;
    let resolver = Resolver::new(at);
    let answer = asked(resolver, &near(NEAR_1)).await;
    assert_eq!(
        (addresses(&answer), scope(&answer)),
        (ips(&["203.0.113.1"]), Some(0)),
        "without places, for all"
    );
    assert!(answer.authoritative && !answer.recursion_available);
    let noise: [&[u8]; 5] =
        [b"", b"?", &[0xff; 11], &[0xff; 4_000], b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01"];
    for (bytes, is_answered) in noise.into_iter().zip([false, false, false, false, true]) {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(bytes, at).await.unwrap();
        if is_answered {
            let answer = Message::from_vec(&resolver.exchange(bytes).await.unwrap()).unwrap();
            assert_eq!((answer.id, answer.response_code), (0x1234, ResponseCode::FormErr));
        }
    }
    for (name, kind, code) in [
        (APEX, RecordType::TXT, ResponseCode::NoError),
        ("nobody.docs.example.com.", RecordType::A, ResponseCode::NXDomain),
        ("example.com.", RecordType::A, ResponseCode::Refused),
        (APEX, RecordType::AXFR, ResponseCode::Refused),
    ] {
        let asked = question(name, kind);
        let over_tcp = resolver.ask_over_tcp(std::slice::from_ref(&asked)).await.unwrap();
        for answer in [self::asked(resolver, &asked).await, over_tcp[0].clone()] {
            assert_eq!(answer.response_code, code, "{name} {kind}");
            assert_eq!(answer.authorities.len(), usize::from(code != ResponseCode::Refused), "{answer}");
            assert!(answer.answers.is_empty());
        }
    }
    let servers = asked(resolver, &question(APEX, RecordType::NS)).await;
    assert_eq!(servers.answers[0].data.to_string(), "ns1.docs.example.com.");
    assert_eq!(servers.additionals[0].data.to_string(), "203.0.113.1");
    let metrics = node.client().get("/api/metrics").await.expect(200).text;
    for line in [
        "twinmcp_dns_answers_total{answer=\"addresses\",carrier=\"udp\"} ",
        "twinmcp_dns_answers_total{answer=\"no_name\",carrier=\"tcp\"} ",
        "twinmcp_dns_answers_total{answer=\"malformed\",carrier=\"udp\"} ",
        "twinmcp_dns_dropped_total{reason=\"noise\"} ",
    ] {
        assert!(metrics.lines().any(|told| told.starts_with(line)), "{line}: {metrics}");
    }
    assert!(!metrics.contains("100.64.") && !node.log().contains("100.64."), "{metrics}");
}

#[tokio::test]
async fn a_network_that_asks_too_often_is_sent_to_tcp() {
    let (setup, at) = answering(NodeSetup::default(), None);
    let setup = setup.with("dns", "responses_per_second_max", 1);
    let node = setup.with("cluster", "public_addresses", r#"["203.0.113.1"]"#).start().await;
    let resolver = Resolver::new(at);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let bytes = near(NEAR_1).to_vec().unwrap();
    let cut = eventually("an answer that says to use TCP", async || {
        for _ in 0..20 {
            socket.send_to(&bytes, at).await.ok()?;
        }
        let mut answer = [0; 1_232];
        loop {
            let length = socket.try_recv(&mut answer).ok()?;
            let answer = Message::from_vec(&answer[..length]).unwrap();
            if answer.truncation {
                return Some((answer, length));
            }
        }
    })
    .await;
    assert!(cut.0.answers.is_empty() && cut.1 <= bytes.len(), "{cut:?}");
    let whole = resolver.ask_over_tcp(&[near(NEAR_1)]).await.unwrap();
    assert_eq!(addresses(&whole[0]), ips(&["203.0.113.1"]));
    let metrics = node.client().get("/api/metrics").await.expect(200).text;
    assert!(metrics.contains("twinmcp_dns_dropped_total{reason=\"limit\"}"), "{metrics}");
}

#[tokio::test]
async fn a_new_file_of_places_is_taken_over_while_the_node_runs() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("city.mmdb");
    write(&file, &places(24));
    let (setup, at) = answering(NodeSetup::default(), Some(&file));
    let node = setup.with("cluster", "public_addresses", r#"["203.0.113.1"]"#).start().await;
    let resolver = Resolver::new(at);
    assert_eq!(scope(&asked(resolver, &near(NEAR_1)).await), Some(24));
    write(&file, b"half of a file");
    eventually("the damaged file to be told", async || {
        node.log().contains("the one before stays in force").then_some(())
    })
    .await;
    assert_eq!(scope(&asked(resolver, &near(NEAR_1)).await), Some(24));
    write(&file, &places(26));
    eventually("the new places", async || {
        let answer = resolver.ask(&near(NEAR_1)).await.ok()?;
        (scope(&answer) == Some(26)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_port_that_is_taken_and_a_file_that_is_not_there_end_a_start_with_a_sentence() {
    let taken = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let listen = format!("[\"{}\"]", taken.local_addr().unwrap());
    let (setup, _) = answering(NodeSetup::default(), None);
    let refused = setup.with("dns", "listen", listen).try_start().await.unwrap_err();
    assert!(refused.contains("CAP_NET_BIND_SERVICE") && refused.contains("`dns.listen`"), "{refused}");
    let (setup, _) = answering(NodeSetup::default(), Some(Path::new("/nowhere/city.mmdb")));
    let refused = setup.try_start().await.unwrap_err();
    assert!(refused.contains("`/nowhere/city.mmdb`") && refused.contains("`dns.geo_file`"), "{refused}");
}
