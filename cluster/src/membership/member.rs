//! What a node tells about itself, and what others make of it.
//!
//! Each fact is one short key with a value in text. A key that is not known comes from a later build and is passed
//! over; a value that does not parse makes that one fact absent. Nobody takes more from a value than its limit.
//!
//! Invariant: everything a node tells is below 1,024 bytes, whatever it tells, because every node
//! keeps and passes on that of all others.

use std::net::SocketAddr;

use twinmcp_storage::clock::Timestamp;

use super::error::MembershipError;
use super::inventory::BundleDigest;
use super::keep::Keep;
use super::place::{self, Location, PublicAddresses};
use crate::status::NodeId;

const REGION_BYTES_MAX: usize = 32;
const ZONE_BYTES_MAX: usize = 32;
const URL_BYTES_MAX: usize = 96;
const PEER_BYTES_MAX: usize = 64;
const BUILD_BYTES_MAX: usize = 32;
const LOAD_PERCENT_MAX: u8 = 100;

/// Keys are short because each of them stands in each node's memory and messages for each node.
mod key {
    pub(super) const REGION: &str = "r";
    pub(super) const ZONE: &str = "z";
    pub(super) const URL: &str = "u";
    pub(super) const PEER: &str = "p";
    pub(super) const BUILD: &str = "v";
    pub(super) const FORMAT: &str = "f";
    pub(super) const LOAD: &str = "l";
    pub(super) const APPLIED: &str = "a";
    pub(super) const STATE: &str = "s";
    pub(super) const BUNDLES: &str = "b";
    pub(super) const CERTIFICATE: &str = "c";
    pub(super) const PLACE: &str = "d";
}

/// Letters of [`key::STATE`]; those of later builds are passed over.
const READY: char = 'r';
const DRAINING: char = 'd';
const LEFT: char = 'x';

/// What this node tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalState {
    /// Its region, as the operator calls it; at most 32 bytes.
    pub region: String,
    /// Its failure domain inside the region; at most 32 bytes.
    pub zone: String,
    /// Where clients reach it, e.g. `https://node-1.example`; at most 96 bytes.
    pub http_url: String,
    /// Where peers reach it over mutual TLS, as `host:port`; at most 64 bytes.
    pub peer_address: String,
    /// The version of the program; at most 32 bytes.
    pub build: String,
    /// The newest format of commands and records that it can read.
    pub format: u32,
    /// How much of what it can do it does, 0 to 100.
    pub load_percent: u8,
    /// The newest log entry its state contains; absent while it does not know.
    pub applied_index: Option<u64>,
    /// Whether it answers clients.
    pub is_ready: bool,
    /// Whether it is about to go and wants no new work.
    pub is_draining: bool,
    /// The bundles it can give to others.
    pub bundles: BundleDigest,
    /// When its certificate expires, in seconds since 1970.
    pub certificate_expires_at: Option<u64>,
    /// By which addresses clients reach it.
    pub public_addresses: PublicAddresses,
    /// Where it is.
    pub location: Option<Location>,
    /// Which bundles it keeps.
    pub keep: Keep,
}

/// A node that tells nothing yet.
impl Default for LocalState {
    fn default() -> Self {
        Self {
            region: String::new(),
            zone: String::new(),
            http_url: String::new(),
            peer_address: String::new(),
            build: String::new(),
            format: 0,
            load_percent: 0,
            applied_index: None,
            is_ready: false,
            is_draining: false,
            bundles: BundleDigest::empty(),
            certificate_expires_at: None,
            public_addresses: PublicAddresses::default(),
            location: None,
            keep: Keep::Everywhere,
        }
    }
}

impl LocalState {
    /// Says what is too long to be told.
    ///
    /// # Errors
    /// [`MembershipError::TooLong`] with the first one.
    pub fn check(&self) -> Result<(), MembershipError> {
        for (field, value, bytes_max) in [
            ("region", &self.region, REGION_BYTES_MAX),
            ("zone", &self.zone, ZONE_BYTES_MAX),
            ("http_url", &self.http_url, URL_BYTES_MAX),
            ("peer_address", &self.peer_address, PEER_BYTES_MAX),
            ("build", &self.build, BUILD_BYTES_MAX),
        ] {
            if value.len() > bytes_max {
                return Err(MembershipError::TooLong { field, bytes: value.len(), bytes_max });
            }
        }
        Ok(())
    }

    /// Keys and values. One that is not known is told as nothing, which does not parse; so no key is ever deleted.
    pub(super) fn to_values(&self) -> [(&'static str, String); 12] {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let state = [(self.is_ready, READY), (self.is_draining, DRAINING)];
        let letters: String = state.into_iter().filter_map(|(is, letter)| is.then_some(letter)).collect();
        [
            (key::REGION, self.region.clone()),
            (key::ZONE, self.zone.clone()),
            (key::URL, self.http_url.clone()),
            (key::PEER, self.peer_address.clone()),
            (key::BUILD, self.build.clone()),
            (key::FORMAT, self.format.to_string()),
            (key::LOAD, self.load_percent.min(LOAD_PERCENT_MAX).to_string()),
            (key::APPLIED, number(self.applied_index)),
            // Not a key of its own, which would take 15 bytes more.
            (key::STATE, letters + &self.keep.to_letters()),
            (key::BUNDLES, self.bundles.to_value()),
            (key::CERTIFICATE, number(self.certificate_expires_at)),
            (key::PLACE, place::to_value(self.public_addresses, self.location)),
        ]
    }
}

/// The key and value by which a node says that it goes.
pub(super) fn farewell() -> (&'static str, String) {
    (key::STATE, LEFT.to_string())
}

/// How this node sees another; never more than an opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// Heard of, but not yet heard from more than once: it may have died long ago.
    Unproven,
    /// Heard from lately, itself or through others.
    Alive,
    /// Was alive, and has been silent for longer than it should.
    Dead,
    /// Said that it goes.
    Left,
}

impl Liveness {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Unproven, Self::Alive, Self::Dead, Self::Left];

    /// Its name for people, programs and metrics, e.g. `alive`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

/// One node, as this node knows it. What it does not tell, or tells in a way this build cannot read, is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// Which node.
    pub node_id: NodeId,
    /// Which boot of it: the milliseconds since 1970 at its start, by its own clock.
    pub generation: u64,
    /// Where it gossips.
    pub gossip_address: SocketAddr,
    /// How this node sees it.
    pub liveness: Liveness,
    /// Since when, by this node's clock.
    pub liveness_since: Timestamp,
    /// Its region.
    pub region: Option<String>,
    /// Its failure domain inside the region.
    pub zone: Option<String>,
    /// Where clients reach it.
    pub http_url: Option<String>,
    /// Where peers reach it over mutual TLS, as `host:port`.
    pub peer_address: Option<String>,
    /// The version of the program it runs.
    pub build: Option<String>,
    /// The newest format of commands and records that it can read.
    pub format: Option<u32>,
    /// How much of what it can do it does, 0 to 100.
    pub load_percent: Option<u8>,
    /// The newest log entry its state contains.
    pub applied_index: Option<u64>,
    /// Whether it answers clients. One that is not alive may still say so.
    pub is_ready: bool,
    /// Whether it wants no new work.
    pub is_draining: bool,
    /// Which bundles it may have.
    pub bundles: Option<BundleDigest>,
    /// When its certificate expires, in seconds since 1970.
    pub certificate_expires_at: Option<u64>,
    /// By which addresses clients reach it.
    pub public_addresses: PublicAddresses,
    /// Where it is, if it says so.
    pub location: Option<Location>,
    /// Which bundles it keeps; the first builds say nothing, and keep all.
    pub keep: Option<Keep>,
}

impl MemberState {
    /// A node that has told nothing.
    pub(super) fn new(
        node_id: NodeId,
        generation: u64,
        gossip_address: SocketAddr,
        liveness: Liveness,
        liveness_since: Timestamp,
    ) -> Self {
        Self {
            node_id,
            generation,
            gossip_address,
            liveness,
            liveness_since,
            region: None,
            zone: None,
            http_url: None,
            peer_address: None,
            build: None,
            format: None,
            load_percent: None,
            applied_index: None,
            is_ready: false,
            is_draining: false,
            bundles: None,
            certificate_expires_at: None,
            public_addresses: PublicAddresses::default(),
            location: None,
            keep: None,
        }
    }

    /// Takes what the node tells in place of what it told before. Whether it said that it goes.
    pub(super) fn read<'a>(&mut self, values: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
        let Self { node_id, generation, gossip_address, liveness, liveness_since, .. } = *self;
        *self = Self::new(node_id, generation, gossip_address, liveness, liveness_since);
        let mut has_left = false;
        for (key, value) in values {
            match key {
                key::REGION => self.region = text(value, REGION_BYTES_MAX),
                key::ZONE => self.zone = text(value, ZONE_BYTES_MAX),
                key::URL => self.http_url = text(value, URL_BYTES_MAX),
                key::PEER => self.peer_address = text(value, PEER_BYTES_MAX),
                key::BUILD => self.build = text(value, BUILD_BYTES_MAX),
                key::FORMAT => self.format = value.parse().ok(),
                key::LOAD => self.load_percent = value.parse().ok().filter(|load| *load <= LOAD_PERCENT_MAX),
                key::APPLIED => self.applied_index = value.parse().ok(),
                key::STATE => {
                    self.is_ready = value.contains(READY);
                    self.is_draining = value.contains(DRAINING);
                    has_left = value.contains(LEFT);
                    self.keep = Some(Keep::of_letters(value));
                }
                key::BUNDLES => self.bundles = BundleDigest::parse(value),
                key::CERTIFICATE => self.certificate_expires_at = value.parse().ok(),
                key::PLACE => (self.public_addresses, self.location) = place::parse(value),
                _ => {}
            }
        }
        has_left
    }

    /// Whether the node may have the bundle. `false` is certain as of what it last told; `true` may be wrong
    /// (how often: [`BundleDigest`]), and is also said of a node that does not tell.
    pub fn may_have(&self, bundle: &[u8; 32]) -> bool {
        self.bundles.as_ref().is_none_or(|bundles| bundles.may_have(bundle))
    }
}

/// Text of others comes to logs and to tables of operators, so it has no control characters.
fn text(value: &str, bytes_max: usize) -> Option<String> {
    let is_sound = !value.is_empty() && value.len() <= bytes_max && !value.contains(char::is_control);
    is_sound.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nobody() -> MemberState {
        let address = "10.0.0.1:7946".parse().unwrap();
        MemberState::new(NodeId(1), 7, address, Liveness::Alive, Timestamp::from_millis(1))
    }

    fn public() -> PublicAddresses {
        PublicAddresses::of(&["203.0.113.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]).unwrap()
    }

    fn told() -> LocalState {
        LocalState {
            region: "eu-west".into(),
            zone: "a".into(),
            http_url: "https://node-1.example".into(),
            peer_address: "10.0.0.1:7947".into(),
            build: "0.1.0".into(),
            format: 1,
            load_percent: 37,
            applied_index: Some(u64::MAX),
            is_ready: true,
            is_draining: true,
            bundles: BundleDigest::of(&[[1; 32], [2; 32]]),
            certificate_expires_at: Some(1_800_000_000),
            public_addresses: public(),
            location: "-33.87,151.21".parse().ok(),
            keep: Keep::Region { copies: 2 },
        }
    }

    fn read(values: &[(&str, String)]) -> MemberState {
        let mut member = nobody();
        assert!(!member.read(values.iter().map(|(key, value)| (*key, value.as_str()))));
        member
    }

    #[test]
    fn what_is_told_is_what_is_read() {
        let (told, member) = (told(), read(&told().to_values()));
        assert_eq!(member.region.as_deref(), Some("eu-west"));
        assert_eq!(member.zone.as_deref(), Some("a"));
        assert_eq!(member.http_url, Some(told.http_url));
        assert_eq!(member.peer_address, Some(told.peer_address));
        assert_eq!(member.build, Some(told.build));
        assert_eq!((member.format, member.load_percent), (Some(1), Some(37)));
        assert_eq!(member.applied_index, Some(u64::MAX));
        assert!(member.is_ready && member.is_draining);
        assert!(member.may_have(&[1; 32]) && !member.may_have(&[3; 32]));
        assert_eq!(member.certificate_expires_at, Some(1_800_000_000));
        assert_eq!((member.public_addresses, member.location), (told.public_addresses, told.location));
        assert_eq!(member.keep, Some(Keep::Region { copies: 2 }));
    }

    #[test]
    fn what_is_not_told_is_absent_and_asks_for_nothing() {
        let member = read(&LocalState::default().to_values());
        let mut expected = nobody();
        (expected.format, expected.load_percent) = (Some(0), Some(0));
        expected.bundles = Some(BundleDigest::empty());
        expected.keep = Some(Keep::Everywhere);
        assert_eq!(member, expected);
        assert!(nobody().may_have(&[1; 32]), "a node that tells nothing may have everything");
    }

    #[test]
    fn a_later_build_can_say_more_and_a_wrong_value_costs_only_itself() {
        let mut values = told().to_values().to_vec();
        values.push(("new", "something".into()));
        for (key, value) in &mut values {
            match *key {
                "s" => *value = "qrd".into(),
                "l" => *value = "101".into(),
                "f" => *value = "4294967296".into(),
                "z" => *value = "a\u{1b}[31m".into(),
                "r" => *value = "r".repeat(33),
                "d" => *value = "9AAAA".into(),
                _ => {}
            }
        }
        let member = read(&values);
        assert!(member.is_ready && member.is_draining);
        assert_eq!(
            (member.load_percent, member.format, member.zone, member.region),
            (None, None, None, None)
        );
        assert_eq!((member.public_addresses, member.location), (PublicAddresses::default(), None));
        assert_eq!(member.applied_index, Some(u64::MAX));
    }

    /// What builds before told: a node of one of them must be understood during a rollout.
    #[test]
    fn what_earlier_builds_told_is_still_understood() {
        let goldens = [include_str!("fixtures/state-1.txt"), include_str!("fixtures/state-2.txt")];
        let told = LocalState {
            region: "eu-west-1".into(),
            zone: "eu-west-1b".into(),
            http_url: "https://node-1.example".into(),
            peer_address: "10.0.0.1:7947".into(),
            build: "0.1.0".into(),
            format: 12,
            load_percent: 42,
            applied_index: Some(1_234_567_890),
            is_ready: true,
            is_draining: true,
            bundles: BundleDigest::of(&[*blake3::hash(b"a bundle").as_bytes()]),
            certificate_expires_at: Some(1_800_000_000),
            public_addresses: public(),
            location: "50.11,8.68".parse().ok(),
            keep: Keep::Region { copies: 3 },
        };
        let lines: String = told.to_values().iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        assert_eq!(lines, goldens[1]);
        for golden in goldens {
            let mut member = nobody();
            assert!(!member.read(golden.lines().filter_map(|line| line.split_once('='))));
            assert_eq!(
                (member.region.as_ref(), member.zone.as_ref()),
                (Some(&told.region), Some(&told.zone))
            );
            assert_eq!((member.format, member.applied_index), (Some(12), told.applied_index));
            assert_eq!(member.bundles.as_ref(), Some(&told.bundles));
            let is_newest = golden == goldens[1];
            assert_eq!(
                (member.location.is_some(), member.public_addresses.is_empty()),
                (is_newest, !is_newest)
            );
            assert_eq!(member.keep, Some(if is_newest { told.keep } else { Keep::Everywhere }));
        }
    }

    #[test]
    fn a_node_that_goes_is_not_ready() {
        let mut member = read(&told().to_values());
        let (key, value) = farewell();
        assert!(member.read([(key, value.as_str())]));
        assert!(!member.is_ready);
    }

    #[test]
    fn what_is_too_long_is_refused_by_name() {
        type Spoil = fn(&mut LocalState);
        let spoil: [(&str, Spoil); 5] = [
            ("region", |state| state.region = "r".repeat(33)),
            ("zone", |state| state.zone = "z".repeat(33)),
            ("http_url", |state| state.http_url = "u".repeat(97)),
            ("peer_address", |state| state.peer_address = "p".repeat(65)),
            ("build", |state| state.build = "b".repeat(33)),
        ];
        told().check().unwrap();
        for (field, spoil) in spoil {
            let mut state = told();
            spoil(&mut state);
            assert!(state.check().unwrap_err().to_string().contains(field), "{field}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_too_strange(values in prop::collection::vec(("[rzupvflasbcd]|.{0,3}", ".{0,200}"), 0..20)) {
            let mut member = nobody();
            member.read(values.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        }
    }
}
