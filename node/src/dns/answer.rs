//! What a question is answered, from bytes to bytes. Pure, but for the turn of equally near nodes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Edns as SentEdns, Message, Metadata, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, Record, RecordType};
use twinmcp_cluster::membership::Location;

use super::geo::{Geo, Place};
use super::nearest::{Server, nearest};
use super::query::{self, Edns, NoQuery, Query};
use super::subnet::Subnet;
use super::zone::{Found, Zone};

/// RFC 1035 section 4.2.1: what a resolver takes that says nothing else.
const DATAGRAM_BYTES: u16 = 512;
/// What is sent in one datagram at most, so that none is cut into fragments (DNS Flag Day 2020), and what resolvers are told
/// that they may send.
const DATAGRAM_BYTES_MAX: u16 = 1_232;
const CLIENT_SUBNET: u16 = 8;
/// Of EDNS.
const VERSION: u8 = 0;

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Udp,
    Tcp,
}

/// What an answer is, for those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Addresses,
    Records,
    NoData,
    NoName,
    Refused,
    Malformed,
    NotImplemented,
    BadVersion,
    Truncated,
    Failed,
}

/// An answer to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

/// Answers questions about the zone.
pub(super) struct Answerer {
    pub(super) zone: Zone,
    pub(super) geo: Option<Arc<Geo>>,
    turn: AtomicUsize,
}

/// What an answer says besides what is copied from its question.
struct Said {
    kind: Kind,
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    /// Leading bits of the client's address that it was chosen by.
    scope: u8,
}

impl Said {
    fn only(kind: Kind, code: ResponseCode) -> Self {
        let none = Vec::new;
        Self { kind, code, answers: none(), authorities: none(), additionals: none(), scope: 0 }
    }
}

impl Answerer {
    pub(super) fn new(zone: Zone, geo: Option<Arc<Geo>>) -> Self {
        Self { zone, geo, turn: AtomicUsize::new(0) }
    }

    /// The answer to what `from` has sent; none to noise.
    pub(super) fn answer(
        &self,
        bytes: &[u8],
        from: IpAddr,
        carrier: Carrier,
        servers: &[Server],
    ) -> Option<Answer> {
        match query::read(bytes) {
            Ok(query) => {
                let said = self.say(&query, from, servers);
                Some(encode(&query.metadata, Some(&query), said, carrier))
            }
            Err(NoQuery::Noise) => None,
            Err(NoQuery::Wrong(metadata, code)) => {
                let kind = if code == ResponseCode::NotImp { Kind::NotImplemented } else { Kind::Malformed };
                Some(encode(&metadata, None, Said::only(kind, code), carrier))
            }
        }
    }

    /// An answer that is no larger than its question and says: ask again, over TCP.
    pub(super) fn truncated(&self, bytes: &[u8]) -> Option<Answer> {
        let query = query::read(bytes).ok()?;
        let mut answer =
            message(&query.metadata, Some(&query), &Said::only(Kind::Truncated, ResponseCode::NoError));
        answer.metadata.truncation = true;
        Some(Answer { kind: Kind::Truncated, bytes: answer.to_vec().ok()? })
    }

    fn say(&self, query: &Query, from: IpAddr, servers: &[Server]) -> Said {
        if query.edns.as_ref().is_some_and(|edns| edns.version > VERSION) {
            return Said::only(Kind::BadVersion, ResponseCode::BADVERS);
        }
        match self.zone.find(&query.question) {
            Found::Nodes(kind) => self.addresses(query, kind, from, servers),
            Found::Records(answers, additionals) => {
                Said { answers, additionals, ..Said::only(Kind::Records, ResponseCode::NoError) }
            }
            Found::NoData => self.nothing(Kind::NoData, ResponseCode::NoError),
            Found::NoName => self.nothing(Kind::NoName, ResponseCode::NXDomain),
            Found::Refused => Said::only(Kind::Refused, ResponseCode::Refused),
        }
    }

    fn nothing(&self, kind: Kind, code: ResponseCode) -> Said {
        Said { authorities: vec![self.zone.nothing()], ..Said::only(kind, code) }
    }

    fn addresses(&self, query: &Query, kind: RecordType, from: IpAddr, servers: &[Server]) -> Said {
        let place = self.place(query.edns.as_ref(), from);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let address = |server: &Server| match kind {
            RecordType::A => server.addresses.v4.map(IpAddr::V4),
            _ => server.addresses.v6.map(IpAddr::V6),
        };
        // Whether any is ready is asked of all: who has two kinds of addresses must not be sent to a node that is not by one.
        let given = nearest(servers, place.location, turn).into_iter().filter_map(address);
        let name: &Name = query.question.name();
        let answers: Vec<Record> =
            given.take(self.zone.answers_max).map(|address| self.zone.address(name, address)).collect();
        match answers.is_empty() {
            true => self.nothing(Kind::NoData, ResponseCode::NoError),
            false => {
                Said { answers, scope: place.prefix, ..Said::only(Kind::Addresses, ResponseCode::NoError) }
            }
        }
    }

    /// Where the client is: by its subnet if the resolver tells it, else as far as the resolver is near it. Nowhere for
    /// one that wants not to be known.
    fn place(&self, edns: Option<&Edns>, from: IpAddr) -> Place {
        let nowhere = Place { location: None::<Location>, prefix: 0 };
        let subnet = edns.and_then(|edns| edns.subnet.as_ref());
        let address = subnet.map_or(Some(from.to_canonical()), Subnet::address);
        self.geo.as_ref().zip(address).map_or(nowhere, |(geo, address)| geo.place(address))
    }
}

fn message(asked: &Metadata, query: Option<&Query>, said: &Said) -> Message {
    let mut answer = Message::response(asked.id, asked.op_code);
    answer.metadata = Metadata::response_from_request(asked);
    answer.metadata.response_code = said.code;
    // Of what is not this zone's, or was not understood, nobody here is an authority.
    answer.metadata.authoritative =
        matches!(said.kind, Kind::Addresses | Kind::Records | Kind::NoData | Kind::NoName);
    let question: Option<&Question> = query.map(|query| &query.question);
    answer.add_queries(question.cloned());
    if let Some(edns) = query.and_then(|query| query.edns.as_ref()) {
        let mut sent = SentEdns::new();
        sent.set_version(VERSION).set_max_payload(DATAGRAM_BYTES_MAX).set_dnssec_ok(edns.dnssec_ok);
        if let Some(subnet) = &edns.subnet {
            sent.options_mut().insert(EdnsOption::Unknown(CLIENT_SUBNET, subnet.answered(said.scope)));
        }
        answer.set_edns(sent);
    }
    answer
}

/// As large as the asker can take. What spares another question is left out first; then the answer says that it is cut.
fn encode(asked: &Metadata, query: Option<&Query>, mut said: Said, carrier: Carrier) -> Answer {
    let edns = query.and_then(|query| query.edns.as_ref());
    let bytes_max = match (carrier, edns) {
        (Carrier::Tcp, _) => u16::MAX,
        (Carrier::Udp, Some(edns)) => edns.payload_bytes_max.min(DATAGRAM_BYTES_MAX),
        (Carrier::Udp, None) => DATAGRAM_BYTES,
    };
    let mut answer = message(asked, query, &said);
    answer.add_answers(std::mem::take(&mut said.answers));
    answer.add_authorities(std::mem::take(&mut said.authorities));
    let bare = answer.clone();
    answer.add_additionals(std::mem::take(&mut said.additionals));
    for (kind, candidate) in
        [(said.kind, answer), (said.kind, bare.clone()), (Kind::Truncated, bare.truncate())]
    {
        if let Ok(bytes) = candidate.to_vec()
            && bytes.len() <= bytes_max.into()
        {
            return Answer { kind, bytes };
        }
    }
    // Not reached: a question alone fits. Its header does in any case.
    let failed = message(asked, None, &Said::only(Kind::Failed, ResponseCode::ServFail));
    Answer { kind: Kind::Failed, bytes: failed.to_vec().unwrap_or_default() }
}

#[cfg(test)]
mod tests;
