//! EDNS client subnet (RFC 7871): where the one who asks a resolver is, as far as the resolver tells. Pure.
//!
//! ```text
//! option = family 2 | source prefix length 1 | scope prefix length 1 | address, as many octets as the prefix needs
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address families of IANA. Some tools say 0 when they tell nothing.
const NONE: u16 = 0;
const IPV4: u16 = 1;
const IPV6: u16 = 2;

/// The option of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subnet {
    family: u16,
    source_prefix: u8,
    octets: Vec<u8>,
}

impl Subnet {
    /// Nothing for an option that is malformed (section 7.1.2): a scope, an unknown family, octets that are missing or too many,
    /// bits behind the prefix.
    pub(super) fn read(option: &[u8]) -> Option<Self> {
        let (&[high, low, source_prefix, scope], octets) = option.split_first_chunk::<4>()?;
        let family = u16::from_be_bytes([high, low]);
        let bits_max = match family {
            NONE => 0,
            IPV4 => 32,
            IPV6 => 128,
            _ => return None,
        };
        let is_sound = scope == 0 && source_prefix <= bits_max;
        let unused = (8 - source_prefix % 8) % 8;
        let behind = octets.last().map_or(0, |last| last & !(u8::MAX << unused));
        let is_whole = octets.len() == usize::from(source_prefix.div_ceil(8)) && behind == 0;
        (is_sound && is_whole).then(|| Self { family, source_prefix, octets: octets.to_vec() })
    }

    /// Where the client is; nothing when it does not want that to be known (a source prefix of 0).
    pub(super) fn address(&self) -> Option<IpAddr> {
        fn padded<const LENGTH: usize>(octets: &[u8]) -> Option<[u8; LENGTH]> {
            let mut padded = [0; LENGTH];
            padded.get_mut(..octets.len())?.copy_from_slice(octets);
            Some(padded)
        }
        match self.family {
            _ if self.source_prefix == 0 => None,
            IPV4 => padded(&self.octets).map(|octets| Ipv4Addr::from(octets).into()),
            _ => padded(&self.octets).map(|octets| Ipv6Addr::from(octets).into()),
        }
    }

    /// The option of an answer that is good for all whose first `scope_prefix` bits are these (section 7.2.1).
    pub(super) fn answered(&self, scope_prefix: u8) -> Vec<u8> {
        let scope_prefix = if self.source_prefix == 0 { 0 } else { scope_prefix };
        let [high, low] = self.family.to_be_bytes();
        [&[high, low, self.source_prefix, scope_prefix], &self.octets[..]].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_far_as_it_is_told_and_goes_back_with_a_scope() {
        let (v4, v6): (&[u8], &[u8]) =
            (&[0, 1, 20, 0, 203, 0, 0x70], &[0, 2, 56, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 1]);
        for (option, address) in [(v4, "203.0.112.0"), (v6, "2001:db8:0:100::")] {
            let subnet = Subnet::read(option).unwrap();
            assert_eq!(subnet.address(), Some(address.parse().unwrap()));
            let answered = subnet.answered(18);
            assert_eq!(answered[..3], option[..3]);
            assert_eq!((answered[3], &answered[4..]), (18, &option[4..]));
        }
        let whole = Subnet::read(&[0, 1, 32, 0, 203, 0, 113, 255]).unwrap();
        assert_eq!(whole.address(), Some("203.0.113.255".parse().unwrap()));
    }

    #[test]
    fn a_client_that_wants_not_to_be_known_is_not_and_gets_no_scope() {
        for family in [NONE, IPV4, IPV6] {
            let [high, low] = family.to_be_bytes();
            let subnet = Subnet::read(&[high, low, 0, 0]).unwrap();
            assert_eq!(subnet.address(), None);
            assert_eq!(subnet.answered(24), [high, low, 0, 0]);
        }
    }

    #[test]
    fn malformed_options_are_refused() {
        let malformed: [&[u8]; 9] = [
            &[],
            &[0, 1, 24],
            &[0, 3, 24, 0, 1, 2, 3],
            &[0, 1, 33, 0, 1, 2, 3, 4, 5],
            &[0, 1, 24, 0, 1, 2],
            &[0, 1, 24, 0, 1, 2, 3, 4],
            &[0, 1, 24, 24, 1, 2, 3],
            &[0, 1, 20, 0, 203, 0, 0x71],
            &[0, 0, 8, 0, 10],
        ];
        for option in malformed {
            assert_eq!(Subnet::read(option), None, "{option:?}");
        }
    }
}
