//! What a resolver asks, read from its bytes. Pure.
//!
//! Read by hand around `hickory-proto`'s header, question and names instead of with its whole `Message`: that one takes an
//! option it cannot read for a message it cannot read, and RFC 7871 wants octets counted that it passes over. Records besides
//! the question are walked over, never read, so nothing in them matters.

use hickory_proto::op::{Header, MessageType, Metadata, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use super::subnet::Subnet;

/// Longest message that is read, in bytes. A question has at most 271, and options come to a few dozen.
pub(super) const QUERY_BYTES_MAX: usize = 4_096;
/// Records besides the question; resolvers send one or two.
const RECORDS_MAX: u16 = 16;
/// RFC 6891 section 6.2.3: less counts as this.
const PAYLOAD_BYTES_MIN: u16 = 512;
/// RFC 7871 section 6.
const CLIENT_SUBNET: u16 = 8;

/// One question.
#[derive(Debug)]
pub(super) struct Query {
    /// Of its header.
    pub(super) metadata: Metadata,
    pub(super) question: Question,
    /// What it says about extensions, if it knows of any.
    pub(super) edns: Option<Edns>,
}

/// RFC 6891.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edns {
    pub(super) version: u8,
    /// Bytes of a datagram that the resolver can take.
    pub(super) payload_bytes_max: u16,
    /// Goes back as it came (RFC 3225).
    pub(super) dnssec_ok: bool,
    pub(super) subnet: Option<Subnet>,
}

/// What is no question.
#[derive(Debug)]
pub(super) enum NoQuery {
    /// Not even a header, or an answer: a word about it could start an endless exchange.
    Noise,
    /// Something to be told what is wrong with it.
    Wrong(Metadata, ResponseCode),
}

pub(super) fn read(bytes: &[u8]) -> Result<Query, NoQuery> {
    let mut decoder = BinDecoder::new(bytes);
    let Ok(Header { metadata, counts, .. }) = Header::read(&mut decoder) else { return Err(NoQuery::Noise) };
    if metadata.message_type != MessageType::Query {
        return Err(NoQuery::Noise);
    }
    if metadata.op_code != OpCode::Query {
        return Err(NoQuery::Wrong(metadata, ResponseCode::NotImp));
    }
    let malformed = || NoQuery::Wrong(metadata, ResponseCode::FormErr);
    let others = counts.answers.saturating_add(counts.authorities).saturating_add(counts.additionals);
    if counts.queries != 1 || others > RECORDS_MAX || bytes.len() > QUERY_BYTES_MAX {
        return Err(malformed());
    }
    let question = Question::read(&mut decoder).map_err(|_| malformed())?;
    let mut edns = None;
    for place in 0..others {
        let record = Record::read(&mut decoder).map_err(|_| malformed())?;
        let is_additional = place >= counts.answers + counts.authorities;
        if record.kind == u16::from(RecordType::OPT) {
            // One, among the additional records (RFC 6891 section 6.1.1).
            if !is_additional || edns.is_some() || !record.is_root {
                return Err(malformed());
            }
            edns = Some(record.edns().ok_or_else(malformed)?);
        }
    }
    Ok(Query { metadata, question, edns })
}

/// A record as it lies in a message.
struct Record<'a> {
    is_root: bool,
    kind: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(decoder: &mut BinDecoder<'a>) -> Result<Self, DecodeError> {
        let is_root = Name::read(decoder)?.is_root();
        let kind = decoder.read_u16()?.unverified();
        let class = decoder.read_u16()?.unverified();
        let ttl = decoder.read_u32()?.unverified();
        let length = decoder.read_u16()?.unverified();
        Ok(Self { is_root, kind, class, ttl, data: decoder.read_slice(length.into())?.unverified() })
    }

    /// What an OPT record says; nothing when its options cannot be read. Those of other kinds are passed over.
    fn edns(&self) -> Option<Edns> {
        let [_, version, flags, _] = self.ttl.to_be_bytes();
        let (mut rest, mut subnet) = (self.data, None);
        while !rest.is_empty() {
            let (head, after) = rest.split_first_chunk::<4>()?;
            let (code, length) =
                (u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]]));
            let (option, after) = after.split_at_checked(length.into())?;
            rest = after;
            if code == CLIENT_SUBNET && subnet.replace(Subnet::read(option)?).is_some() {
                return None;
            }
        }
        Some(Edns {
            version,
            payload_bytes_max: self.class.max(PAYLOAD_BYTES_MIN),
            dnssec_ok: flags & 0x80 != 0,
            subnet,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `header`'s flags and counts, a question for `x. A`, and what follows.
    fn message(flags: [u8; 2], counts: [u8; 4], rest: &[u8]) -> Vec<u8> {
        let counts = counts.iter().flat_map(|count| [0, *count]);
        let question = *b"\x01x\0\0\x01\0\x01";
        [0xab, 0xcd]
            .into_iter()
            .chain(flags)
            .chain(counts)
            .chain(question)
            .chain(rest.iter().copied())
            .collect()
    }

    fn opt(options: &[u8]) -> Vec<u8> {
        let length = u16::try_from(options.len()).unwrap().to_be_bytes();
        [&[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0][..], &length, options].concat()
    }

    fn wrong(bytes: &[u8]) -> Option<ResponseCode> {
        match read(bytes) {
            Err(NoQuery::Wrong(metadata, code)) => {
                assert_eq!(metadata.id, 0xabcd);
                Some(code)
            }
            Err(NoQuery::Noise) => None,
            Ok(query) => panic!("{query:?}"),
        }
    }

    #[test]
    fn a_question_is_read_with_what_it_says_about_extensions() {
        let plain = read(&message([1, 0], [1, 0, 0, 0], &[])).unwrap();
        assert!(plain.edns.is_none() && plain.metadata.recursion_desired);
        assert_eq!(plain.question.name().to_string(), "x.");
        let subnet = [0, 10, 0, 2, 1, 2, 0, 8, 0, 7, 0, 1, 24, 0, 203, 0, 113];
        let asked = read(&message([0, 0], [1, 0, 0, 1], &opt(&subnet))).unwrap().edns.unwrap();
        assert_eq!((asked.version, asked.payload_bytes_max, asked.dnssec_ok), (0, 1232, true));
        assert_eq!(asked.subnet.unwrap().address(), Some("203.0.113.0".parse().unwrap()));
    }

    #[test]
    fn noise_gets_no_word_and_what_is_malformed_is_told_so() {
        for noise in
            [&b""[..], b"x", &message([0x80, 0], [1, 0, 0, 0], &[]), &message([0, 0], [0; 4], &[])[..11]]
        {
            assert_eq!(wrong(noise), None);
        }
        let malformed = Some(ResponseCode::FormErr);
        let (good, twice) = (opt(&[]), [opt(&[]), opt(&[])].concat());
        for (counts, rest) in [
            ([0, 0, 0, 0], &[][..]),
            ([2, 0, 0, 0], &[]),
            ([1, 0, 0, 1], &[]),
            ([1, 0, 0, 200], &[]),
            ([1, 0, 0, 2], &twice),
            ([1, 1, 0, 0], &good),
            ([1, 0, 0, 1], &good[..10]),
            ([1, 0, 0, 1], &opt(&[0, 8, 0, 9, 0, 1])),
            ([1, 0, 0, 1], &opt(&[0, 8, 0, 3, 0, 1, 24])),
            ([1, 0, 0, 1], &opt(&[0, 8, 0, 4, 0, 1, 0, 0, 0, 8, 0, 4, 0, 1, 0, 0])),
        ] {
            assert_eq!(wrong(&message([0, 0], counts, rest)), malformed, "{counts:?} {rest:?}");
        }
        let loops = [0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1];
        assert_eq!(wrong(&loops), malformed);
        let long = [opt(&[0; 0]), vec![0; QUERY_BYTES_MAX]].concat();
        assert_eq!(wrong(&message([0, 0], [1, 0, 0, 1], &long)), malformed);
        assert_eq!(wrong(&message([0x28, 0], [1, 0, 0, 0], &[])), Some(ResponseCode::NotImp), "an update");
    }
}
