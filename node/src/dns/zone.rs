//! What is in the zone: one name with the addresses of nodes, its name servers, and nothing else. Pure.
//!
//! [`Zone::new`] checks the section `dns` of the configuration; [`Zone::find`] says what a question is about.

use std::net::IpAddr;

use hickory_proto::op::Query as Question;
use hickory_proto::rr::rdata::{A, AAAA, HINFO, NS, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::config::DnsConfig;

/// Name servers that may be named; with addresses they fit one datagram.
const NAME_SERVERS_MAX: usize = 8;
/// Addresses of one name server.
const GLUE_MAX: usize = 4;
/// RFC 1035 section 2.3.4, without the dot at the end.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
const ANSWERS_MAX: usize = 16;
const TTL_SECONDS_MAX: u32 = 86_400;
/// Nobody transfers the zone, and no two nodes count alike: so the number never changes.
const SERIAL: u32 = 1;
/// What others would do who transferred it, in seconds.
const REFRESH: i32 = 3_600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 604_800;

/// A zone of one name.
#[derive(Debug)]
pub(crate) struct Zone {
    apex: Name,
    name_servers: Vec<NameServer>,
    mailbox: Name,
    ttl: u32,
    /// Nodes in one answer.
    pub(super) answers_max: usize,
}

#[derive(Debug)]
struct NameServer {
    name: Name,
    /// Where it is; none for one outside the zone, whose addresses others tell.
    addresses: Vec<IpAddr>,
}

/// What is wrong with the section `dns`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrongZone {
    pub(crate) key: &'static str,
    pub(crate) message: &'static str,
}

/// What a question is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The nodes' addresses of one kind.
    Nodes(RecordType),
    /// These records, and some that spare the asker another question.
    Records(Vec<Record>, Vec<Record>),
    /// The name is there, and has nothing of that type.
    NoData,
    /// There is no such name.
    NoName,
    /// Another's zone, or a type or class that is not answered.
    Refused,
}

impl Zone {
    /// # Errors
    /// The first key that is wrong.
    pub(crate) fn new(config: &DnsConfig) -> Result<Self, WrongZone> {
        let wrong = |key, message| WrongZone { key, message };
        let zone = "must be a domain name, e.g. `docs.example.com`";
        let apex = domain(&config.zone).ok_or_else(|| wrong("zone", zone))?;
        let (servers, many) = (&config.name_servers, "must name 1 to 8 name servers of the zone");
        if !(1..=NAME_SERVERS_MAX).contains(&servers.len()) {
            return Err(wrong("name_servers", many));
        }
        let name_servers = servers.iter().map(|text| NameServer::read(text, &apex));
        let name_servers =
            name_servers.collect::<Result<_, _>>().map_err(|message| wrong("name_servers", message))?;
        let message = "must be empty or a mail address, e.g. `hostmaster@example.com`";
        let mailbox = match config.mailbox.as_str() {
            "" => apex.prepend_label("hostmaster").ok(),
            text => mailbox(text),
        };
        let mailbox = mailbox.ok_or_else(|| wrong("mailbox", message))?;
        if !(1..=TTL_SECONDS_MAX).contains(&config.ttl_seconds) {
            return Err(wrong("ttl_seconds", "must be 1 to 86400 seconds"));
        }
        if !(1..=ANSWERS_MAX).contains(&config.answers_max) {
            return Err(wrong("answers_max", "must be 1 to 16"));
        }
        Ok(Self { apex, name_servers, mailbox, ttl: config.ttl_seconds, answers_max: config.answers_max })
    }

    pub(super) fn find(&self, question: &Question) -> Found {
        let (name, kind) = (question.name(), question.query_type());
        let is_here = self.apex.zone_of(name) && question.query_class() == DNSClass::IN;
        // Nobody transfers it (AXFR, IXFR), and nothing can be changed.
        let is_transfer = matches!(kind, RecordType::AXFR | RecordType::IXFR);
        if !is_here || is_transfer {
            return Found::Refused;
        }
        let is_apex = *name == self.apex;
        let servers: Vec<_> = self.name_servers.iter().filter(|server| server.name == *name).collect();
        let is_above = || self.name_servers.iter().any(|server| name.zone_of(&server.name));
        match kind {
            // A name between the zone's and that of a server exists, and is empty (RFC 8020).
            _ if !is_apex && servers.is_empty() => {
                if is_above() {
                    Found::NoData
                } else {
                    Found::NoName
                }
            }
            // A subset is enough, and one that is of no use to a sender of forged questions (RFC 8482 section 4.2).
            RecordType::ANY => {
                let hint = HINFO::new("RFC8482".to_owned(), String::new());
                Found::Records(vec![self.record(name, RData::HINFO(hint))], Vec::new())
            }
            RecordType::A | RecordType::AAAA if is_apex => Found::Nodes(kind),
            RecordType::SOA if is_apex => Found::Records(vec![self.soa(name)], Vec::new()),
            RecordType::NS if is_apex => {
                let names = self.name_servers.iter().map(|server| RData::NS(NS(server.name.clone())));
                let names = names.map(|data| self.record(name, data)).collect();
                Found::Records(names, self.name_servers.iter().flat_map(|server| self.glue(server)).collect())
            }
            _ => {
                let glue = servers.into_iter().flat_map(|server| self.glue(server));
                let mut found: Vec<_> = glue.filter(|record| record.record_type() == kind).collect();
                // The name as it was asked (draft-vixie-dnsext-dns0x20).
                found.iter_mut().for_each(|record| record.name = name.clone());
                if found.is_empty() { Found::NoData } else { Found::Records(found, Vec::new()) }
            }
        }
    }

    /// An address of a node.
    pub(super) fn address(&self, name: &Name, address: IpAddr) -> Record {
        self.record(name, data(address))
    }

    /// What goes with an answer that there is nothing: its time to live is that of the nothing (RFC 2308 section 3).
    pub(super) fn nothing(&self) -> Record {
        self.soa(&self.apex)
    }

    fn soa(&self, name: &Name) -> Record {
        // The first name server stands for the one that changes come from.
        let first = self.name_servers.first().map_or_else(|| self.apex.clone(), |server| server.name.clone());
        let soa = SOA::new(first, self.mailbox.clone(), SERIAL, REFRESH, RETRY, EXPIRE, self.ttl);
        self.record(name, RData::SOA(soa))
    }

    fn glue(&self, server: &NameServer) -> impl Iterator<Item = Record> {
        server.addresses.iter().map(|address| self.record(&server.name, data(*address)))
    }

    fn record(&self, name: &Name, data: RData) -> Record {
        Record::from_rdata(name.clone(), self.ttl, data)
    }
}

impl NameServer {
    /// A name, and for one in the zone its addresses, with blanks between them.
    fn read(text: &str, apex: &Name) -> Result<Self, &'static str> {
        let mut parts = text.split_whitespace();
        let name = parts.next().and_then(domain).ok_or("must be names like `ns1.example.com`")?;
        let addresses = parts.take(GLUE_MAX + 1).map(str::parse).collect::<Result<Vec<IpAddr>, _>>();
        let addresses = addresses
            .map_err(|_| "must have addresses behind a name, e.g. `ns1.docs.example.com 203.0.113.10`")?;
        match (apex.zone_of(&name), addresses.len()) {
            _ if name == *apex => Err("must not name the zone itself: its addresses are those of nodes"),
            (true, 1..=GLUE_MAX) | (false, 0) => Ok(Self { name, addresses }),
            (true, _) => Err(
                "must have 1 to 4 addresses behind a name in the zone, e.g. `ns1.docs.example.com 203.0.113.10`",
            ),
            (false, _) => Err("must have no address behind a name outside the zone: others tell it"),
        }
    }
}

fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// A name of letters, digits and `-_`, with or without a dot at its end.
fn domain(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_name = text.len() <= NAME_BYTES_MAX && text.split('.').all(is_label);
    is_name.then(|| Name::from_ascii(format!("{text}.")).ok()).flatten()
}

/// RFC 1035 section 8: what stands before the `@` is one label.
fn mailbox(text: &str) -> Option<Name> {
    let (who, at) = text.split_once('@')?;
    let is_sound =
        (1..=LABEL_BYTES_MAX).contains(&who.len()) && who.bytes().all(|byte| byte.is_ascii_graphic());
    is_sound.then(|| domain(at)?.prepend_label(who.as_bytes()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DnsConfig {
        DnsConfig {
            zone: "docs.example.com".to_owned(),
            name_servers: vec![
                "ns1.docs.example.com 203.0.113.10 2001:db8::10".to_owned(),
                "a.b.docs.example.com. 203.0.113.11".to_owned(),
                "ns.example.net".to_owned(),
            ],
            ..DnsConfig::default()
        }
    }

    fn find(name: &str, kind: RecordType) -> Found {
        let question = Question::query(Name::from_ascii(name).unwrap(), kind);
        Zone::new(&config()).unwrap().find(&question)
    }

    fn answers(found: Found) -> Vec<String> {
        match found {
            Found::Records(records, _) => records.iter().map(|record| record.data.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_zone_has_nodes_name_servers_and_nothing_else() {
        use RecordType::{A, AAAA, ANY, AXFR, IXFR, MX, NS, SOA, TXT};
        assert_eq!(find("docs.example.com.", A), Found::Nodes(A));
        assert_eq!(find("DOCS.example.COM.", AAAA), Found::Nodes(AAAA));
        let servers = answers(find("docs.example.com.", NS));
        assert_eq!(servers, ["ns1.docs.example.com.", "a.b.docs.example.com.", "ns.example.net."]);
        assert_eq!(answers(find("ns1.docs.example.com.", A)), ["203.0.113.10"]);
        assert_eq!(answers(find("ns1.docs.example.com.", AAAA)), ["2001:db8::10"]);
        let soa = "ns1.docs.example.com. hostmaster.docs.example.com. 1 3600 600 604800 30";
        assert_eq!(answers(find("docs.example.com.", SOA)), [soa]);
        assert_eq!(answers(find("docs.example.com.", ANY)), ["RFC8482 "]);
        for (name, kind) in [
            ("docs.example.com.", MX),
            ("docs.example.com.", TXT),
            ("a.b.docs.example.com.", AAAA),
            ("ns1.docs.example.com.", NS),
            ("b.docs.example.com.", A),
            ("b.docs.example.com.", ANY),
        ] {
            assert_eq!(find(name, kind), Found::NoData, "{name} {kind}");
        }
        for name in ["www.docs.example.com.", "x.ns1.docs.example.com.", "x.b.docs.example.com."] {
            assert_eq!(find(name, A), Found::NoName, "{name}");
            assert_eq!(find(name, ANY), Found::NoName, "{name}");
        }
        for (name, kind) in [
            ("example.com.", A),
            ("xdocs.example.com.", A),
            (".", NS),
            ("ns.example.net.", A),
            ("docs.example.com.", AXFR),
            ("docs.example.com.", IXFR),
        ] {
            assert_eq!(find(name, kind), Found::Refused, "{name} {kind}");
        }
        let mut chaos = Question::query(Name::from_ascii("docs.example.com.").unwrap(), TXT);
        chaos.set_query_class(DNSClass::CH);
        assert_eq!(Zone::new(&config()).unwrap().find(&chaos), Found::Refused);
    }

    #[test]
    fn name_servers_come_with_their_addresses() {
        let Found::Records(_, more) = find("docs.example.com.", RecordType::NS) else { panic!("no records") };
        let more: Vec<_> = more.iter().map(|record| format!("{} {}", record.name, record.data)).collect();
        let expected = [
            "ns1.docs.example.com. 203.0.113.10",
            "ns1.docs.example.com. 2001:db8::10",
            "a.b.docs.example.com. 203.0.113.11",
        ];
        assert_eq!(more, expected);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_key() {
        type Spoil = fn(&mut DnsConfig);
        let spoil: [(&str, Spoil); 15] = [
            ("zone", |dns| dns.zone = String::new()),
            ("zone", |dns| dns.zone = ".".to_owned()),
            ("zone", |dns| dns.zone = "docs..example.com".to_owned()),
            ("zone", |dns| dns.zone = "*.example.com".to_owned()),
            ("zone", |dns| dns.zone = "a.".repeat(128)),
            ("name_servers", |dns| dns.name_servers.clear()),
            ("name_servers", |dns| dns.name_servers = vec!["ns.example.net".to_owned(); 9]),
            ("name_servers", |dns| dns.name_servers = vec!["ns1.docs.example.com".to_owned()]),
            ("name_servers", |dns| dns.name_servers = vec!["docs.example.com 203.0.113.1".to_owned()]),
            ("name_servers", |dns| dns.name_servers = vec!["ns.example.net 203.0.113.1".to_owned()]),
            ("name_servers", |dns| dns.name_servers = vec!["ns1.docs.example.com here".to_owned()]),
            ("mailbox", |dns| dns.mailbox = "hostmaster".to_owned()),
            ("ttl_seconds", |dns| dns.ttl_seconds = 0),
            ("answers_max", |dns| dns.answers_max = 0),
            ("answers_max", |dns| dns.answers_max = 17),
        ];
        for (key, spoil) in spoil {
            let mut dns = config();
            spoil(&mut dns);
            assert_eq!(Zone::new(&dns).err().map(|wrong| wrong.key), Some(key), "{dns:?}");
        }
        let mailbox = "first.last@example.com".to_owned();
        let zone = Zone::new(&DnsConfig { mailbox, ..config() }).unwrap();
        assert_eq!(zone.mailbox.to_string(), "first\\.last.example.com.");
    }
}
