//! Where on Earth a node is, and by which addresses clients reach it: what an answer of the DNS is made from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Mean radius of the Earth, in kilometres.
const EARTH_KM: f64 = 6_371.0;
/// Of an IPv4 address, an IPv6 address, a place: whether it is told.
const BITS: [u8; 3] = [1, 2, 4];
/// A digit, and 24 bytes as base64.
const VALUE_BYTES_MAX: usize = 33;

/// A place to about a kilometre: hundredths of a degree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    latitude: i16,
    longitude: i16,
}

/// Text that is no place, or that does not name addresses as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlace {
    /// No two numbers, or one that is out of its range.
    #[error(
        "a location is a latitude of -90 to 90 and a longitude of -180 to 180 degrees, e.g. `50.11,8.68`"
    )]
    Location,
    /// Not at most one address of each kind that somebody can be reached at.
    #[error(
        "public addresses are at most one IPv4 and one IPv6 address, no multicast one and not 0.0.0.0 or ::"
    )]
    Addresses,
}

impl Location {
    /// Absent when a number is out of its range.
    pub fn of_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        let is_there = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        #[expect(clippy::cast_possible_truncation, reason = "at most 18,000")]
        let hundredths = |degrees: f64| (degrees * 100.0).round() as i16;
        is_there.then(|| Self { latitude: hundredths(latitude), longitude: hundredths(longitude) })
    }

    /// Along the surface, in kilometres (haversine formula; the Earth as a sphere is wrong by 0.5 %).
    pub fn kilometres_to(self, other: Self) -> f64 {
        let radians = |hundredths: i16| (f64::from(hundredths) / 100.0).to_radians();
        let (here, there) = (radians(self.latitude), radians(other.latitude));
        let half = |from: f64, to: f64| ((to - from) / 2.0).sin().powi(2);
        let east = half(radians(self.longitude), radians(other.longitude));
        let chord = half(here, there) + here.cos() * there.cos() * east;
        2.0 * EARTH_KM * chord.sqrt().min(1.0).asin()
    }
}

/// `latitude,longitude` in degrees.
impl FromStr for Location {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (latitude, longitude) = text.split_once(',').ok_or(InvalidPlace::Location)?;
        let degrees = |text: &str| text.trim().parse::<f64>().map_err(|_| InvalidPlace::Location);
        Self::of_degrees(degrees(latitude)?, degrees(longitude)?).ok_or(InvalidPlace::Location)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", f64::from(self.latitude) / 100.0, f64::from(self.longitude) / 100.0)
    }
}

/// At most one IPv4 and one IPv6 address by which clients reach a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublicAddresses {
    /// The IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

impl PublicAddresses {
    /// # Errors
    /// [`InvalidPlace::Addresses`] for a second address of a kind, and for one that nobody can be reached at.
    pub fn of(addresses: &[IpAddr]) -> Result<Self, InvalidPlace> {
        let mut public = Self::default();
        for address in addresses {
            let is_second = match *address {
                _ if address.is_unspecified() || address.is_multicast() => true,
                IpAddr::V4(v4) => public.v4.replace(v4).is_some(),
                IpAddr::V6(v6) => public.v6.replace(v6).is_some(),
            };
            if is_second {
                return Err(InvalidPlace::Addresses);
            }
        }
        Ok(public)
    }

    /// Each, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }
}

/// Both as one short value, because every node keeps that of all others: which of the three are told, as a digit, then their
/// bytes as base64; nothing for nothing.
pub(super) fn to_value(addresses: PublicAddresses, location: Option<Location>) -> String {
    let PublicAddresses { v4, v6 } = addresses;
    let v4 = v4.map(|address| address.octets().to_vec());
    let v6 = v6.map(|address| address.octets().to_vec());
    let location = location.map(|at| [at.latitude.to_be_bytes(), at.longitude.to_be_bytes()].concat());
    let parts = [v4, v6, location];
    let told: u8 = parts.iter().zip(BITS).filter(|(part, _)| part.is_some()).map(|(_, bit)| bit).sum();
    let bytes: Vec<u8> = parts.into_iter().flatten().flatten().collect();
    if told == 0 { String::new() } else { format!("{told}{}", STANDARD_NO_PAD.encode(bytes)) }
}

/// What [`to_value`] has written; nothing of a value that is anything else.
pub(super) fn parse(value: &str) -> (PublicAddresses, Option<Location>) {
    unpack(value).unwrap_or_default()
}

fn unpack(value: &str) -> Option<(PublicAddresses, Option<Location>)> {
    if value.len() > VALUE_BYTES_MAX {
        return None;
    }
    let (told, packed) = value.split_at_checked(1)?;
    let told: u8 = told.parse().ok().filter(|told| *told < 8)?;
    let bytes = STANDARD_NO_PAD.decode(packed).ok()?;
    let mut rest = &bytes[..];
    let v4 = taken(&mut rest, told & BITS[0] != 0)?.map(|octets: [u8; 4]| IpAddr::from(octets));
    let v6 = taken(&mut rest, told & BITS[1] != 0)?.map(|octets: [u8; 16]| IpAddr::from(octets));
    let location = match taken(&mut rest, told & BITS[2] != 0)? {
        Some([a, b, c, d]) => {
            let degrees = |bytes| f64::from(i16::from_be_bytes(bytes)) / 100.0;
            Some(Location::of_degrees(degrees([a, b]), degrees([c, d]))?)
        }
        None => None,
    };
    let addresses: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
    rest.is_empty().then_some((PublicAddresses::of(&addresses).ok()?, location))
}

/// The next bytes, if they are told; nothing when they are and there are too few.
fn taken<const BYTES: usize>(rest: &mut &[u8], is_told: bool) -> Option<Option<[u8; BYTES]>> {
    if !is_told {
        return Some(None);
    }
    let (bytes, after) = rest.split_first_chunk::<BYTES>()?;
    *rest = after;
    Some(Some(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(text: &str) -> Location {
        text.parse().unwrap()
    }

    fn addresses(text: &str) -> Result<PublicAddresses, InvalidPlace> {
        PublicAddresses::of(
            &text.split_whitespace().map(|address| address.parse().unwrap()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn distances_are_those_of_an_atlas() {
        for (from, to, kilometres) in [
            ("50.11,8.68", "50.11,8.68", 0.0),
            ("50.11,8.68", "40.71,-74.01", 6_200.0),
            ("50.11,8.68", "-33.87,151.21", 16_500.0),
            ("0,179.9", "0,-179.9", 22.0),
            ("90,0", "-90,180", 20_015.0),
        ] {
            let (there, back) = (place(from).kilometres_to(place(to)), place(to).kilometres_to(place(from)));
            assert!((there - kilometres).abs() <= kilometres * 0.01 + 1.0, "{from} {to}: {there}");
            assert!((there - back).abs() < 1e-6);
        }
    }

    #[test]
    fn a_place_is_shown_as_it_is_read_and_wrong_ones_are_refused() {
        for text in ["50.11,8.68", "-33.87,151.21", "0,-180", "90,180"] {
            assert_eq!(place(text).to_string(), text);
        }
        for wrong in ["", "50", "50,", "91,0", "0,181", "NaN,0", "inf,0", "1,2,3", "north,east"] {
            assert_eq!(wrong.parse::<Location>(), Err(InvalidPlace::Location), "{wrong}");
        }
    }

    #[test]
    fn a_node_has_one_address_of_each_kind_that_somebody_can_be_reached_at() {
        for text in ["", "203.0.113.1", "2001:db8::1", "203.0.113.1 2001:db8::1"] {
            let read = addresses(text).unwrap().iter().map(|address| address.to_string()).collect::<Vec<_>>();
            assert_eq!(read.join(" "), text);
        }
        for wrong in
            ["203.0.113.1 203.0.113.2", "2001:db8::1 2001:db8::2", "0.0.0.0", "::", "224.0.0.1", "ff02::1"]
        {
            assert_eq!(addresses(wrong), Err(InvalidPlace::Addresses), "{wrong}");
        }
    }

    #[test]
    fn what_is_told_is_what_is_read_and_what_cannot_be_is_nothing() {
        for text in ["", "203.0.113.1", "2001:db8::1", "203.0.113.1 2001:db8::1"] {
            for location in [None, Some(place("-33.87,151.21")), Some(place("90,-180"))] {
                let told = (addresses(text).unwrap(), location);
                let value = to_value(told.0, told.1);
                assert!(value.len() <= VALUE_BYTES_MAX && parse(&value) == told, "{value}");
            }
        }
        for wrong in ["x", "1", "1AAAA", "8", "1ywBxAQA", "1AAAAAA", "4f/8AAA", "1ywBxA=", "é", "7AAAA"] {
            assert_eq!(parse(wrong), Default::default(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_too_strange(value in "[0-9][A-Za-z0-9+/]{0,40}|.{0,40}") {
            let (addresses, location) = parse(&value);
            prop_assert_eq!(parse(&to_value(addresses, location)), (addresses, location));
        }
    }
}
