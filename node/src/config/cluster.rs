//! Other nodes: the port they are answered at, what is kept of their bundles and where else, and the DNS.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::source::Source;

section! {
    /// Other nodes.
    PeersConfig = "cluster" {
        /// Address and port where other nodes are answered, e.g. `0.0.0.0:7947`; empty for a node alone.
        listen: String = String::new(),
        /// Where other nodes reach this one, as `host:port`; the address of `listen` when empty.
        address: String = String::new(),
        /// Address and port of gossip between nodes (UDP); the port below that of `listen` when empty.
        gossip_listen: String = String::new(),
        /// Files with the secret of gossip; the first one's seals, both open; derived from the cluster's key when empty.
        gossip_secret_files: Vec<PathBuf> = Vec::new(),
        /// Where clients reach this node, e.g. `https://eu.docs.example.com`; told by `/api/route`.
        url: String = String::new(),
        /// What fails together with this node inside its region, e.g. a data centre.
        zone: String = String::new(),
        /// By which addresses clients reach this node, at most one IPv4 and one IPv6: what `[dns]` of any node answers.
        public_addresses: Vec<IpAddr> = Vec::new(),
        /// Where this node is, as `latitude,longitude` in degrees; that of its public address in `dns.geo_file` when empty.
        location: String = String::new(),
        /// File with the token that lets a node without data into a cluster; empty for none.
        join_token_file: PathBuf = PathBuf::new(),
        /// How often a leader says that it is there, in milliseconds: above the time to the farthest voter.
        heartbeat_ms: u64 = 100,
        /// Shortest silence of a leader after which another is elected, in milliseconds.
        election_min_ms: u64 = 400,
        /// Longest such silence, in milliseconds.
        election_max_ms: u64 = 800,
        /// Age of the agreed state above which this node, cut off, refuses at endpoints whose scope can do harm, in milliseconds: a key
        /// that was revoked elsewhere still opens it.
        stale_after_ms: u64 = 60_000,
    }
}

/// Which index bundles a node keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepPolicy {
    /// All of them.
    Everywhere,
    /// Its share of those of its region.
    Region,
    /// Those that were asked about lately.
    OnDemand,
}

section! {
    /// Index bundles on this node and on their way between nodes.
    BundlesConfig = "bundles" {
        /// Which bundles this node keeps: `everywhere` (all), `region` (its share of those that its region keeps) or
        /// `on_demand` (those it was asked about lately).
        keep: KeepPolicy = KeepPolicy::Everywhere,
        /// Copies of each bundle that the nodes of a region which say `region` keep together.
        copies_per_region: u8 = 2,
        /// Bytes above which a node that says `on_demand` lets the bundle go that was asked for longest ago.
        disk_bytes_max: u64 = 10 * 1024 * 1024 * 1024,
        /// Silence of a node after which others keep its share in its place, in milliseconds.
        replace_after_ms: u64 = 600_000,
        /// Time for which a bundle that no version names is left on the disk, in milliseconds.
        garbage_grace_ms: u64 = 3_600_000,
        /// Time between two looks at what is missing here and what may go, in milliseconds.
        look_every_ms: u64 = 10_000,
        /// Bytes a second of bundles fetched from other nodes and from the bucket; 0 for no limit.
        fetch_bytes_per_s_max: u64 = 0,
        /// Bytes a second of bundles sent to other nodes and to the bucket; 0 for no limit.
        send_bytes_per_s_max: u64 = 0,
    }
}

section! {
    /// A bucket of an S3-compatible store, where bundles are kept besides on nodes.
    BucketConfig = "bucket" {
        /// Where the store answers, without the bucket, e.g. `https://s3.eu-central-1.amazonaws.com`; empty for none.
        endpoint: String = String::new(),
        /// Name of the bucket, which has to be there.
        name: String = String::new(),
        /// Region that requests are signed for.
        region: String = "us-east-1".to_owned(),
        /// What names of bundles begin with, e.g. `twinmcp/bundles`; empty for nothing.
        prefix: String = String::new(),
        /// File with the access key; empty for none.
        access_key_file: PathBuf = PathBuf::new(),
        /// Variable with the access key, e.g. `AWS_ACCESS_KEY_ID`; empty for none.
        access_key_variable: String = String::new(),
        /// File with the secret key; empty for none.
        secret_key_file: PathBuf = PathBuf::new(),
        /// Variable with the secret key, e.g. `AWS_SECRET_ACCESS_KEY`; empty for none.
        secret_key_variable: String = String::new(),
        /// Whether the bucket stands in the path of URLs and not in the name of the host.
        path_style: bool = true,
        /// Whether an endpoint on another machine may be spoken to without TLS.
        allow_http: bool = false,
        /// Whether a node may let its copy of a bundle go when the bucket has one.
        counts_as_copy: bool = false,
    }
}

section! {
    /// Answers of the DNS: one name with the addresses of the nodes that are nearest to whoever asks.
    DnsConfig = "dns" {
        /// Addresses and ports to answer on, over UDP and TCP, e.g. `203.0.113.10:53`; none answers nowhere.
        listen: Vec<SocketAddr> = Vec::new(),
        /// The name that clients use, a zone of its own, e.g. `docs.example.com`.
        zone: String = String::new(),
        /// Name servers of the zone, as its parent names them; those inside the zone with their addresses behind them, e.g.
        /// `ns1.docs.example.com 203.0.113.10`.
        name_servers: Vec<String> = Vec::new(),
        /// Mail address of whoever keeps the zone; `hostmaster` in it when empty.
        mailbox: String = String::new(),
        /// How long an answer may be kept, in seconds: so long a client may be sent to a node that is gone.
        ttl_seconds: u32 = 30,
        /// Nodes in one answer, the nearest first. Many resolvers shuffle them.
        answers_max: usize = 2,
        /// Answers a second to one network (/24 of IPv4, /56 of IPv6) over UDP.
        responses_per_second_max: u32 = 200,
        /// File of MaxMind's format with the places of addresses, of the kind City; without it the nodes near this one are given.
        geo_file: PathBuf = PathBuf::new(),
    }
}
