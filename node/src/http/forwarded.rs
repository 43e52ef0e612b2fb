//! Whose address a request has when a proxy passes it on.
//!
//! [`TrustedProxies::client`] is asked once a request, by [`Front`](super::Front), and everything else reads what it found.
//!
//! Invariant: what a header says counts only as far as trusted proxies have written it. Each appends the address that it was asked from, so
//! `X-Forwarded-For` is read from its end, and what stands left of the first address that is not trusted may be anybody's invention.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use poem::http::{HeaderMap, HeaderName};
use twinmcp_actors::outbound::Network;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Entries that are looked at: far more proxies than stand one behind the other.
const HOPS_MAX: usize = 32;

/// Whom a request comes from, in its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub(super) IpAddr);

/// The proxies whose word is taken for whom a request comes from.
pub(super) struct TrustedProxies {
    networks: Vec<Network>,
}

impl TrustedProxies {
    /// Of networks that the configuration was checked for.
    pub(super) fn new(networks: &[String]) -> Self {
        Self { networks: networks.iter().filter_map(|network| network.parse().ok()).collect() }
    }

    /// The first address, going back from the peer, that is not a trusted proxy's; the last trusted one where the way back ends.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        // Several lines are one list (RFC 9110, 5.3).
        let lines = headers.get_all(&FORWARDED_FOR).iter().rev();
        let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).take(HOPS_MAX);
        while self.trusts(client)
            && let Some(hop) = hops.next().and_then(address_in)
        {
            client = hop;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        // A network of IPv4 may also be written as IPv6 has it (RFC 4291, 2.5.5.2).
        let mapped = match address {
            IpAddr::V4(address) => Some(IpAddr::V6(address.to_ipv6_mapped())),
            IpAddr::V6(_) => None,
        };
        let holds =
            |network: &Network| network.contains(address) || mapped.is_some_and(|it| network.contains(it));
        self.networks.iter().any(holds)
    }
}

/// The address of one entry, which some proxies write with the port.
fn address_in(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_ascii();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(address), _) => address,
        (_, Ok(address)) => address.ip(),
        _ => bracketed()?.into(),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom a request comes from that `peer` sends with these lines of `X-Forwarded-For`.
    fn client(trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let trusted: Vec<String> = trusted.iter().map(|network| (*network).to_owned()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&FORWARDED_FOR, line.parse().unwrap());
        }
        TrustedProxies::new(&trusted).client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn case_086_a_peer_that_is_not_trusted_cannot_choose_its_address() {
        for trusted in [&[][..], &["10.0.0.0/8"], &["2001:db8::/32"]] {
            for line in ["198.51.100.1", "127.0.0.1", "10.0.0.1, 10.0.0.2"] {
                assert_eq!(client(trusted, "203.0.113.9", &[line]), "203.0.113.9", "{trusted:?} {line}");
            }
        }
    }

    #[test]
    fn a_trusted_peer_tells_who_asked_it_and_is_the_client_when_it_does_not() {
        for (lines, right) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&[], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            // Whoever asks from inside is no stranger, and has no address but the last one.
            (&["10.0.0.7"], "10.0.0.7"),
        ] {
            assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", lines), right, "{lines:?}");
        }
    }

    #[test]
    fn what_a_client_has_written_before_its_proxy_did_is_not_looked_at() {
        for lines in [
            &["127.0.0.1, 203.0.113.9"][..],
            &["198.51.100.1, 10.0.0.7, 203.0.113.9"],
            &["no address, 203.0.113.9"],
            &["127.0.0.1", "203.0.113.9"],
        ] {
            assert_eq!(client(&["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", lines), "203.0.113.9", "{lines:?}");
        }
    }

    #[test]
    fn trusted_proxies_one_behind_the_other_are_passed_over() {
        let trusted = ["127.0.0.1", "10.0.0.0/8"];
        for lines in [&["203.0.113.9, 10.0.0.7"][..], &["203.0.113.9", "10.0.0.7"], &["203.0.113.9,10.0.0.7"]]
        {
            assert_eq!(client(&trusted, "127.0.0.1", lines), "203.0.113.9", "{lines:?}");
        }
        // The outer one is not known, so its word does not count.
        assert_eq!(client(&["127.0.0.1"], "127.0.0.1", &["203.0.113.9, 10.0.0.7"]), "10.0.0.7");
    }

    #[test]
    fn the_way_back_ends_at_an_entry_that_is_no_address_and_after_so_many() {
        let trusted = ["127.0.0.1", "10.0.0.0/8"];
        for (line, right) in [
            ("203.0.113.9, unknown, 10.0.0.7", "10.0.0.7"),
            ("203.0.113.9, , 10.0.0.7", "10.0.0.7"),
            ("203.0.113.9, proxy.example:80", "127.0.0.1"),
            ("203.0.113.9, 10.0.0.1.2", "127.0.0.1"),
            ("203.0.113.9, [10.0.0.7]", "127.0.0.1"),
            ("203.0.113.9, 10.0.0.7:99999", "127.0.0.1"),
            ("203.0.113.9 10.0.0.7", "127.0.0.1"),
            ("203.0.113.9,", "127.0.0.1"),
        ] {
            assert_eq!(client(&trusted, "127.0.0.1", &[line]), right, "{line}");
        }
        let mut headers = HeaderMap::new();
        headers.append(&FORWARDED_FOR, poem::http::HeaderValue::from_bytes(b"203.0.113.9, \xff").unwrap());
        let proxies = TrustedProxies::new(&["127.0.0.1".to_owned()]);
        assert_eq!(proxies.client(IpAddr::from([127, 0, 0, 1]), &headers), IpAddr::from([127, 0, 0, 1]));

        let long = |hops: usize| format!("203.0.113.9{}", ", 10.0.0.7".repeat(hops));
        assert_eq!(client(&trusted, "127.0.0.1", &[&long(HOPS_MAX - 1)]), "203.0.113.9");
        assert_eq!(client(&trusted, "127.0.0.1", &[&long(HOPS_MAX)]), "10.0.0.7");
    }

    #[test]
    fn addresses_come_with_ports_as_ipv6_and_as_ipv4_in_ipv6() {
        for (entry, right) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::9", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("[2001:db8::9]:4711", "2001:db8::9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:4711", "203.0.113.9"),
            ("\t203.0.113.9 ", "203.0.113.9"),
            ("203.0.113.9, [fd00::7]:4711", "203.0.113.9"),
            ("203.0.113.9, ::ffff:10.0.0.7", "203.0.113.9"),
        ] {
            for peer in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"] {
                assert_eq!(client(&["10.0.0.0/8", "fd00::/8"], peer, &[entry]), right, "{peer} {entry}");
            }
        }
    }

    #[test]
    fn a_network_is_what_its_first_bits_say() {
        for (network, inside, outside) in [
            ("10.1.2.3/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.0/31", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "192.0.2.1", "2001:db8::1"),
        ] {
            assert_eq!(
                client(&[network], inside, &["198.51.100.9"]),
                "198.51.100.9",
                "{inside} in {network}"
            );
            assert_eq!(client(&[network], outside, &["198.51.100.9"]), outside, "{outside} not in {network}");
        }
    }
}
