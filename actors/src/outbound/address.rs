//! Which addresses are public: the registries of IANA as a table.
//!
//! Sources: "IANA IPv4 Special-Purpose Address Registry", "IANA IPv6 Special-Purpose Address Registry"
//! (RFC 6890 and its updates), RFC 4291, RFC 6052, RFC 3056, RFC 4380.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not one of the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The machine itself.
    Loopback,
    /// No address yet; most systems take it for the machine itself.
    Unspecified,
    /// A private network (RFC 1918, RFC 4193), or what came before it (site-local).
    Private,
    /// This link only; on clouds also the service that hands out credentials.
    LinkLocal,
    /// Between a provider and its customers (RFC 6598).
    Shared,
    /// Many receivers.
    Multicast,
    /// For examples in texts (RFC 5737, RFC 3849, RFC 9637).
    Documentation,
    /// An IPv4 address inside an IPv6 one, by a mechanism whose gateway is not ours to trust.
    Embedding,
    /// For protocols, for measurements, or for later.
    Reserved,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "an address of the machine itself",
            Self::Unspecified => "an unspecified address",
            Self::Private => "an address of a private network",
            Self::LinkLocal => "a link-local address",
            Self::Shared => "an address of a provider's inner network",
            Self::Multicast => "a multicast address",
            Self::Documentation => "an address for examples",
            Self::Embedding => "an IPv4 address inside an IPv6 address",
            Self::Reserved => "a reserved address",
        })
    }
}

/// What lies in the first `prefix` bits of an address.
const V4: &[(Ipv4Addr, u32, Class)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, Class::Unspecified),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Class::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Class::Shared),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Class::Loopback),
    // A public address by the registry, and the host of every virtual machine of one large cloud.
    (Ipv4Addr::new(168, 63, 129, 16), 32, Class::LinkLocal),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Class::LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Class::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Class::Reserved),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Class::Documentation),
    (Ipv4Addr::new(192, 31, 196, 0), 24, Class::Reserved),
    (Ipv4Addr::new(192, 52, 193, 0), 24, Class::Reserved),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Class::Reserved),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Class::Private),
    (Ipv4Addr::new(192, 175, 48, 0), 24, Class::Reserved),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Class::Reserved),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Class::Documentation),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Class::Documentation),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Class::Multicast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Class::Reserved),
];

/// The first match counts: what is narrower stands before what is wider.
const V6: &[(Ipv6Addr, u32, Class)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, Class::Unspecified),
    (Ipv6Addr::LOCALHOST, 128, Class::Loopback),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96, Class::Embedding), // IPv4-compatible, RFC 4291 2.5.5.1
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Class::Embedding), // local NAT64, RFC 8215
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, Class::Embedding), // Teredo
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Class::Reserved),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Class::Documentation),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Class::Embedding), // 6to4
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, Class::Reserved),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Class::Documentation),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Class::Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Class::LinkLocal),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Class::Private),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Class::Multicast),
];

/// Why `address` is not public; nothing when it is.
pub fn class_of(address: IpAddr) -> Option<Class> {
    match plain(address) {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            let matches = |base: Ipv4Addr, prefix: u32| (bits ^ base.to_bits()).leading_zeros() >= prefix;
            V4.iter().find(|(base, prefix, _)| matches(*base, *prefix)).map(|(_, _, class)| *class)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let matches = |base: Ipv6Addr, prefix: u32| (bits ^ base.to_bits()).leading_zeros() >= prefix;
            let known = V6.iter().find(|(base, prefix, _)| matches(*base, *prefix));
            // Only 2000::/3 is given out for use on the internet (RFC 4291 2.4 and its registry).
            let global = bits >> 125 == 0b001;
            known.map(|(_, _, class)| *class).or((!global).then_some(Class::Reserved))
        }
    }
}

/// The IPv4 address that an IPv6 one stands for where that is all it says: mapped ones (RFC 4291
/// 2.5.5.2), which the system itself turns into IPv4, and the well-known NAT64 prefix (RFC 6052), by
/// which a network without IPv4 reaches every IPv4 site.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_address_that_is_not_public_is_told() {
        use Class::*;
        for (address, class) in [
            ("127.0.0.1", Some(Loopback)),
            ("127.255.255.255", Some(Loopback)),
            ("::1", Some(Loopback)),
            ("0.0.0.0", Some(Unspecified)),
            ("0.1.2.3", Some(Unspecified)),
            ("::", Some(Unspecified)),
            ("10.0.0.1", Some(Private)),
            ("172.16.0.1", Some(Private)),
            ("172.31.255.255", Some(Private)),
            ("192.168.1.1", Some(Private)),
            ("fc00::1", Some(Private)),
            ("fd00:ec2::254", Some(Private)),
            ("fec0::1", Some(Private)),
            ("169.254.169.254", Some(LinkLocal)),
            ("168.63.129.16", Some(LinkLocal)),
            ("fe80::1", Some(LinkLocal)),
            ("febf::1", Some(LinkLocal)),
            ("100.64.0.1", Some(Shared)),
            ("100.127.255.255", Some(Shared)),
            ("224.0.0.1", Some(Multicast)),
            ("239.255.255.255", Some(Multicast)),
            ("ff02::1", Some(Multicast)),
            ("192.0.2.1", Some(Documentation)),
            ("198.51.100.7", Some(Documentation)),
            ("203.0.113.9", Some(Documentation)),
            ("2001:db8::1", Some(Documentation)),
            ("3fff:fff::1", Some(Documentation)),
            ("192.0.0.8", Some(Reserved)),
            ("192.88.99.1", Some(Reserved)),
            ("198.19.255.255", Some(Reserved)),
            ("240.0.0.1", Some(Reserved)),
            ("255.255.255.255", Some(Reserved)),
            ("2001:2::1", Some(Reserved)),
            ("100::1", Some(Reserved)),
            ("4000::1", Some(Reserved)),
            ("5f00::1", Some(Reserved)),
            // IPv4 inside IPv6.
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("::ffff:10.0.0.1", Some(Private)),
            ("::ffff:169.254.169.254", Some(LinkLocal)),
            ("64:ff9b::127.0.0.1", Some(Loopback)),
            ("64:ff9b::192.168.0.1", Some(Private)),
            ("64:ff9b:1::8.8.8.8", Some(Embedding)),
            ("::127.0.0.1", Some(Embedding)),
            ("::8.8.8.8", Some(Embedding)),
            ("2002:7f00:1::1", Some(Embedding)),
            ("2002:808:808::1", Some(Embedding)),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Some(Embedding)),
            // Public.
            ("8.8.8.8", None),
            ("11.0.0.1", None),
            ("100.63.255.255", None),
            ("100.128.0.0", None),
            ("126.255.255.255", None),
            ("128.0.0.1", None),
            ("172.15.255.255", None),
            ("172.32.0.1", None),
            ("192.0.1.1", None),
            ("198.17.255.255", None),
            ("198.20.0.0", None),
            ("223.255.255.255", None),
            ("2606:4700::1111", None),
            ("2001:4860:4860::8888", None),
            ("2003::1", None),
            ("::ffff:8.8.8.8", None),
            ("64:ff9b::8.8.8.8", None),
        ] {
            assert_eq!(class_of(address.parse().unwrap()), class, "{address}");
        }
    }
}
