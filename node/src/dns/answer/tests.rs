//! Questions as resolvers send them, and what they get.

use std::time::Duration;

use hickory_proto::op::{MessageType, OpCode};
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode};
use proptest::prelude::*;
use twinmcp_cluster::NodeId;
use twinmcp_cluster::membership::PublicAddresses;

use super::super::geo_fixture::{GeoFile, write};
use super::*;
use crate::config::DnsConfig;

const APEX: &str = "docs.example.com.";
const FRANKFURT: (f64, f64) = (50.11, 8.68);
const SYDNEY: (f64, f64) = (-33.87, 151.21);
const RESOLVER: &str = "192.0.2.53";
const FROM_FRANKFURT: &str = "203.0.113.0";
const FROM_SYDNEY: &str = "198.51.100.0";

fn config() -> DnsConfig {
    DnsConfig {
        zone: "docs.example.com".to_owned(),
        name_servers: vec![
            "ns1.docs.example.com 203.0.113.10 2001:db8::10".to_owned(),
            "ns.example.net".to_owned(),
        ],
        ..DnsConfig::default()
    }
}

fn answerer(answers_max: usize) -> Answerer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.mmdb");
    let file = GeoFile::new([
        ("203.0.113.0/24", Some(FRANKFURT)),
        ("198.51.100.0/25", Some(SYDNEY)),
        ("2001:db8:5::/48", Some(SYDNEY)),
        ("192.0.2.0/24", Some(FRANKFURT)),
    ]);
    write(&path, &file.bytes());
    let geo = Geo::open(&path).unwrap();
    Answerer::new(Zone::new(&DnsConfig { answers_max, ..config() }).unwrap(), Some(Arc::new(geo)))
}

fn server(node: u64, location: (f64, f64), addresses: &str) -> Server {
    Server {
        node: NodeId(node),
        addresses: PublicAddresses::of(
            &addresses.split(' ').map(|text| text.parse().unwrap()).collect::<Vec<_>>(),
        )
        .unwrap(),
        is_in_region: node == 1,
        location: Location::of_degrees(location.0, location.1),
        round_trip: (node == 1).then_some(Duration::ZERO),
        load_percent: 0,
        is_ready: true,
    }
}

/// Node 1 answers and is in Frankfurt.
fn servers() -> Vec<Server> {
    vec![server(1, FRANKFURT, "10.0.0.1 fd00::1"), server(2, SYDNEY, "10.0.0.2")]
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Question::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_subnet(mut message: Message, address: &str, source_prefix: u8) -> Message {
    let mut edns = SentEdns::new();
    edns.set_max_payload(4_096);
    let subnet = ClientSubnet::new(address.parse().unwrap(), source_prefix, 0);
    edns.options_mut().insert(EdnsOption::Subnet(subnet));
    message.set_edns(edns);
    message
}

fn ask_over(carrier: Carrier, answerer: &Answerer, message: &Message, servers: &[Server]) -> Message {
    let bytes = message.to_vec().unwrap();
    let answer = answerer.answer(&bytes, RESOLVER.parse().unwrap(), carrier, servers).unwrap();
    let answer = Message::from_vec(&answer.bytes).unwrap();
    assert_eq!((answer.id, answer.message_type), (7, MessageType::Response));
    assert!(!answer.recursion_available);
    answer
}

fn ask(message: &Message) -> Message {
    ask_over(Carrier::Udp, &answerer(2), message, &servers())
}

fn data(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.data.to_string()).collect()
}

fn subnet_of(answer: &Message) -> Option<(u8, u8)> {
    match answer.edns.as_ref()?.option(EdnsCode::Subnet)? {
        EdnsOption::Subnet(subnet) => Some((subnet.source_prefix(), subnet.scope_prefix())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_gets_the_nodes_near_it_and_the_resolver_the_scope_of_that() {
    let addresses = || question(APEX, RecordType::A);
    for (asked, expected, subnet) in [
        (with_subnet(addresses(), FROM_FRANKFURT, 24), ["10.0.0.1", "10.0.0.2"], Some((24, 24))),
        (with_subnet(addresses(), FROM_SYDNEY, 24), ["10.0.0.2", "10.0.0.1"], Some((24, 25))),
        (with_subnet(addresses(), "2001:db8:5::", 56), ["10.0.0.2", "10.0.0.1"], Some((56, 48))),
        // The resolver itself is near Frankfurt.
        (addresses(), ["10.0.0.1", "10.0.0.2"], None),
        // Not to be known: what is near the node that answers.
        (with_subnet(addresses(), "0.0.0.0", 0), ["10.0.0.1", "10.0.0.2"], Some((0, 0))),
    ] {
        let answer = ask(&asked);
        assert_eq!(data(&answer.answers), expected, "{asked}");
        assert!(answer.authoritative && answer.response_code == ResponseCode::NoError);
        assert!(answer.answers.iter().all(|record| record.ttl == 30));
        assert_eq!(subnet_of(&answer), subnet, "{asked}");
    }
    let first_of_one =
        ask_over(Carrier::Udp, &answerer(1), &with_subnet(addresses(), FROM_SYDNEY, 24), &servers());
    assert_eq!(data(&first_of_one.answers), ["10.0.0.2"]);
    let six = ask(&question(APEX, RecordType::AAAA));
    assert_eq!(data(&six.answers), ["fd00::1"]);
}

#[test]
fn without_a_file_of_places_the_node_that_answers_is_the_measure_and_answers_are_for_all() {
    let answerer = Answerer::new(Zone::new(&config()).unwrap(), None);
    let asked = with_subnet(question(APEX, RecordType::A), FROM_SYDNEY, 24);
    let answer = ask_over(Carrier::Udp, &answerer, &asked, &servers());
    assert_eq!(data(&answer.answers), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(subnet_of(&answer), Some((24, 0)));
}

#[test]
fn nodes_that_are_not_ready_are_given_only_when_none_is_whatever_the_kind_of_address() {
    let mut servers = servers();
    servers[0].is_ready = false;
    let six = question(APEX, RecordType::AAAA);
    let nothing = ask_over(Carrier::Udp, &answerer(2), &six, &servers);
    assert!(nothing.answers.is_empty(), "no way to a node that is not ready while another is");
    servers[1].is_ready = false;
    assert_eq!(data(&ask_over(Carrier::Udp, &answerer(2), &six, &servers).answers), ["fd00::1"]);
    let none = ask_over(Carrier::Udp, &answerer(2), &six, &[]);
    assert!(none.answers.is_empty() && none.response_code == ResponseCode::NoError);
}

#[test]
fn what_is_not_there_is_told_with_how_long_that_may_be_believed() {
    for (name, kind, code) in [
        (APEX, RecordType::MX, ResponseCode::NoError),
        ("www.docs.example.com.", RecordType::A, ResponseCode::NXDomain),
    ] {
        let answer = ask(&with_subnet(question(name, kind), FROM_SYDNEY, 24));
        assert_eq!(answer.response_code, code);
        assert!(answer.answers.is_empty() && answer.authoritative);
        let [soa] = &answer.authorities[..] else { panic!("{answer}") };
        assert_eq!((soa.name.to_string().as_str(), soa.ttl, soa.record_type()), (APEX, 30, RecordType::SOA));
        assert_eq!(subnet_of(&answer), Some((24, 0)), "it is the same for all");
    }
}

#[test]
fn name_servers_come_with_their_addresses_and_the_case_of_a_name_comes_back() {
    let answer = ask(&question("dOcS.eXaMpLe.CoM.", RecordType::NS));
    assert_eq!(data(&answer.answers), ["ns1.docs.example.com.", "ns.example.net."]);
    assert_eq!(data(&answer.additionals), ["203.0.113.10", "2001:db8::10"]);
    assert_eq!(answer.queries[0].name().to_ascii(), "dOcS.eXaMpLe.CoM.");
    assert_eq!(answer.answers[0].name.to_ascii(), "dOcS.eXaMpLe.CoM.");
}

#[test]
fn what_is_not_this_zones_is_refused() {
    let mut chaos = question(APEX, RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    for asked in [
        question("example.com.", RecordType::A),
        question(APEX, RecordType::AXFR),
        question(APEX, RecordType::IXFR),
        chaos,
    ] {
        for carrier in [Carrier::Udp, Carrier::Tcp] {
            let answer = ask_over(carrier, &answerer(2), &asked, &servers());
            assert_eq!(answer.response_code, ResponseCode::Refused, "{asked}");
            assert!(answer.answers.is_empty() && answer.authorities.is_empty() && !answer.authoritative);
        }
    }
    let any = ask(&question(APEX, RecordType::ANY));
    assert_eq!(data(&any.answers), ["RFC8482 "]);
    let mut update = question(APEX, RecordType::SOA);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(ask(&update).response_code, ResponseCode::NotImp);
}

#[test]
fn extensions_of_a_later_version_are_refused_and_flags_come_back() {
    let mut later = question(APEX, RecordType::A);
    let mut edns = SentEdns::new();
    edns.set_version(1);
    later.set_edns(edns.clone());
    let answer = ask(&later);
    // BADVERS; the library takes the number for BADSIG, which is the same.
    assert_eq!((u16::from(answer.response_code), answer.version()), (16, 0));
    assert!(answer.answers.is_empty());
    edns.set_version(0).set_dnssec_ok(true);
    later.set_edns(edns);
    later.metadata.recursion_desired = true;
    let answer = ask(&later);
    assert!(answer.edns.as_ref().unwrap().flags().dnssec_ok && answer.recursion_desired);
    assert_eq!(answer.edns.unwrap().max_payload(), 1_232);
    assert!(ask(&question(APEX, RecordType::A)).edns.is_none(), "only who knows of extensions gets them");
}

#[test]
fn an_answer_is_as_large_as_the_asker_takes_and_else_says_that_it_is_cut() {
    let many: Vec<Server> =
        (1..=16).map(|node| server(node, FRANKFURT, &format!("fd00::{node:x}"))).collect();
    let zone = format!("{}.example.com", "d".repeat(63));
    let name_servers = vec!["ns.example.net".to_owned()];
    let asked = question(&format!("{zone}."), RecordType::AAAA);
    let zone = Zone::new(&DnsConfig { zone, name_servers, answers_max: 16, ..config() }).unwrap();
    let answerer = Answerer::new(zone, None);
    let bytes = |carrier, asked: &Message| {
        answerer.answer(&asked.to_vec().unwrap(), RESOLVER.parse().unwrap(), carrier, &many).unwrap().bytes
    };
    let cut = bytes(Carrier::Udp, &asked);
    let answer = Message::from_vec(&cut).unwrap();
    assert!(cut.len() <= 512 && answer.truncation && answer.answers.is_empty(), "{answer}");
    assert_eq!(answer.queries, asked.queries);
    let whole = Message::from_vec(&bytes(Carrier::Tcp, &asked)).unwrap();
    assert!(!whole.truncation && whole.answers.len() == 16);
    let roomy = Message::from_vec(&bytes(Carrier::Udp, &with_subnet(asked, FROM_SYDNEY, 24))).unwrap();
    assert!(!roomy.truncation && roomy.answers.len() == 16);
}

#[test]
fn who_is_past_the_limit_gets_no_more_bytes_than_he_sent() {
    let asked = with_subnet(question(APEX, RecordType::A), FROM_SYDNEY, 24).to_vec().unwrap();
    let sent = answerer(16).truncated(&asked).unwrap();
    let answer = Message::from_vec(&sent.bytes).unwrap();
    assert!(answer.truncation && answer.answers.is_empty() && sent.bytes.len() <= asked.len());
    assert!(answerer(16).truncated(b"noise").is_none());
}

proptest! {
    #[test]
    fn whatever_comes_gets_a_sound_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0_usize..80, bit in 0_u32..8) {
        let answerer = Answerer::new(Zone::new(&config()).unwrap(), None);
        let mut spoiled = with_subnet(question(APEX, RecordType::A), FROM_SYDNEY, 24).to_vec().unwrap();
        if let Some(byte) = spoiled.get_mut(at) {
            *byte ^= 1_u8 << bit;
        }
        for bytes in [&bytes, &spoiled] {
            if let Some(answer) = answerer.answer(bytes, RESOLVER.parse().unwrap(), Carrier::Udp, &servers()) {
                prop_assert!(answer.bytes.len() <= 1_232 && answer.kind != Kind::Failed);
                prop_assert!(Message::from_vec(&answer.bytes).is_ok());
                prop_assert_eq!(&answer.bytes[..2], &bytes[..2]);
            }
        }
    }
}
