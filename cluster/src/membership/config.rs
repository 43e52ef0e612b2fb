//! What can be set about gossip, and its limits.

use std::fmt;
use std::net::SocketAddr;

use super::error::MembershipError;
use super::seal::KeyRing;
use crate::status::NodeId;

/// Names a cluster may have, in bytes.
const CLUSTER_ID_BYTES_MAX: usize = 64;
/// Seeds that may be named.
const SEEDS_MAX: usize = 64;
/// A fully qualified name has 253 bytes (RFC 1035 section 2.3.4), a port 6 with its colon.
const SEED_BYTES_MAX: usize = 259;
const SECRET_BYTES_MIN: usize = 32;
const SECRET_BYTES_MAX: usize = 1024;

/// How this node gossips.
#[derive(Debug, Clone)]
pub struct MembershipConfig {
    /// Which node this is.
    pub node_id: NodeId,
    /// Which cluster. Datagrams of others are dropped, also when they are sealed with the same secret.
    pub cluster_id: String,
    /// What datagrams are sealed with: the first seals, both open. Two only while a secret is replaced.
    pub secrets: Vec<ClusterSecret>,
    /// Where to listen (UDP). Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where the others reach this node. Port 0 stands for the one that is listened on.
    pub advertise: SocketAddr,
    /// Nodes to ask first, as `host:port`; names are resolved again every minute. With nodes in several
    /// regions name one of each: they are also what joins two halves again after a cut that was longer
    /// than [`Self::dead_grace_ms`].
    pub seeds: Vec<String>,
    /// How often this node speaks to three others, in milliseconds.
    pub gossip_interval_ms: u64,
    /// How many times longer than usual a node must be silent to count as dead.
    pub phi_threshold: f64,
    /// How long a dead node is remembered, in milliseconds. For half of it every restart of every node
    /// stands as an entry of about 60 bytes in every message, and 1,000 entries are the end of what fits.
    pub dead_grace_ms: u64,
    /// How far apart the clocks of two nodes may be, in milliseconds. A datagram that was sent longer
    /// ago is dropped, so that one that was recorded is of no use to anybody later.
    pub clock_skew_max_ms: u64,
}

impl MembershipConfig {
    /// A configuration with the usual times, without seeds.
    pub fn new(
        node_id: NodeId,
        cluster_id: impl Into<String>,
        secret: ClusterSecret,
        listen: SocketAddr,
        advertise: SocketAddr,
    ) -> Self {
        Self {
            node_id,
            cluster_id: cluster_id.into(),
            secrets: vec![secret],
            listen,
            advertise,
            seeds: Vec::new(),
            gossip_interval_ms: 1_000,
            phi_threshold: 8.0,
            dead_grace_ms: 4 * 60 * 60 * 1_000,
            clock_skew_max_ms: 60_000,
        }
    }

    /// Says what cannot work.
    ///
    /// # Errors
    /// [`MembershipError::Config`] with the first key that is out of its range.
    pub fn check(&self) -> Result<(), MembershipError> {
        require(self.node_id.0 > 0, "`node_id` must be above 0")?;
        require(
            (1..=CLUSTER_ID_BYTES_MAX).contains(&self.cluster_id.len()),
            "`cluster_id` must have 1 to 64 bytes",
        )?;
        require(
            !self.advertise.ip().is_unspecified(),
            "`advertise` must be an address that the other nodes can send to, not 0.0.0.0 or ::",
        )?;
        require(
            self.advertise.is_ipv4() == self.listen.is_ipv4() || self.listen.ip().is_unspecified(),
            "`advertise` and `listen` must both be IPv4 or both IPv6",
        )?;
        require(self.seeds.len() <= SEEDS_MAX, "`seeds` may name 64 nodes")?;
        for seed in &self.seeds {
            require(
                is_seed(seed),
                &format!("`seeds` must be like `host:port`, `{}` is not", shortened(seed)),
            )?;
        }
        require(
            (20..=60_000).contains(&self.gossip_interval_ms),
            "`gossip_interval_ms` must be 20 to 60,000 ms",
        )?;
        require((2.0..=64.0).contains(&self.phi_threshold), "`phi_threshold` must be 2 to 64")?;
        require(
            (60_000..=7 * 24 * 60 * 60 * 1_000).contains(&self.dead_grace_ms),
            "`dead_grace_ms` must be one minute to seven days",
        )?;
        require(
            (1_000..=60 * 60 * 1_000).contains(&self.clock_skew_max_ms),
            "`clock_skew_max_ms` must be one second to one hour",
        )?;
        KeyRing::new(&self.cluster_id, &self.secrets).map(|_| ())
    }
}

/// What the nodes of a cluster know and nobody else does: whoever has it may speak as any node.
#[derive(Clone)]
pub struct ClusterSecret(Box<[u8]>);

impl ClusterSecret {
    /// From 32 to 1,024 bytes that nobody can guess, as a generator of random bytes gives them.
    ///
    /// # Errors
    /// [`MembershipError::Config`] when there are fewer or more.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, MembershipError> {
        let bytes = bytes.into();
        require(
            (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()),
            "the cluster's secret must have 32 to 1,024 bytes",
        )?;
        Ok(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Never what it is.
impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn is_seed(seed: &str) -> bool {
    let Some((host, port)) = seed.rsplit_once(':') else { return false };
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
    seed.len() <= SEED_BYTES_MAX && is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Enough of a wrong value to find it.
fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

pub(super) fn require(holds: bool, message: &str) -> Result<(), MembershipError> {
    if holds { Ok(()) } else { Err(MembershipError::Config { message: message.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut MembershipConfig);

    fn secret(byte: u8) -> ClusterSecret {
        ClusterSecret::new([byte; 32]).unwrap()
    }

    fn config() -> MembershipConfig {
        let address = "10.0.0.1:7946".parse().unwrap();
        MembershipConfig::new(NodeId(1), "c", secret(1), "0.0.0.0:7946".parse().unwrap(), address)
    }

    #[test]
    fn the_usual_configuration_works_and_values_out_of_range_are_refused() {
        let mut good = config();
        good.seeds = vec!["node-2.example:7946".into(), "10.0.0.2:7946".into(), "[fd00::2]:7946".into()];
        good.secrets.push(secret(2));
        good.check().unwrap();
        let spoil: [(&str, Spoil); 15] = [
            ("node_id", |config| config.node_id = NodeId(0)),
            ("cluster_id", |config| config.cluster_id = String::new()),
            ("cluster_id", |config| config.cluster_id = "c".repeat(65)),
            ("advertise", |config| config.advertise = "0.0.0.0:7946".parse().unwrap()),
            ("advertise", |config| {
                config.listen = "[::1]:7946".parse().unwrap();
            }),
            ("seeds", |config| config.seeds = vec!["node-2".into()]),
            ("seeds", |config| config.seeds = vec!["node-2:0".into()]),
            ("seeds", |config| config.seeds = vec!["a:1".into(); 65]),
            ("gossip_interval_ms", |config| config.gossip_interval_ms = 10),
            ("phi_threshold", |config| config.phi_threshold = f64::NAN),
            ("dead_grace_ms", |config| config.dead_grace_ms = 1_000),
            ("clock_skew_max_ms", |config| config.clock_skew_max_ms = 0),
            ("secrets", |config| config.secrets.clear()),
            ("secrets", |config| config.secrets = vec![secret(1), secret(2), secret(3)]),
            ("secrets", |config| config.secrets = vec![secret(1), secret(1)]),
        ];
        for (key, spoil) in spoil {
            let mut config = config();
            spoil(&mut config);
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}`")), "{key}: {message}");
        }
    }

    #[test]
    fn a_secret_is_long_enough_and_never_shown() {
        assert!(ClusterSecret::new([7; 31]).is_err());
        assert!(ClusterSecret::new(vec![7; 1025]).is_err());
        assert_eq!(format!("{:?}", secret(7)), "***");
        assert!(!format!("{:?}", config()).contains("1, 1"));
    }
}
