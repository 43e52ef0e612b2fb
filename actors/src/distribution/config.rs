//! What a node keeps of the cluster's bundles, and at what pace they travel.

use std::time::Duration;

use twinmcp_cluster::membership::Keep;

use super::bucket::BucketConfig;

/// How bundles are kept and sent.
#[derive(Debug, Clone)]
pub struct BundlesConfig {
    /// Which bundles this node keeps.
    pub keep: Keep,
    /// Bytes above which a node that keeps what is asked for lets the oldest go.
    pub disk_bytes_max: u64,
    /// How long a node may be silent before others keep its share in its place.
    pub replace_after: Duration,
    /// How long a bundle that nobody names is left where it lies.
    pub garbage_grace: Duration,
    /// Between two looks at what lies here, what is missing and what may go.
    pub look_every: Duration,
    /// Bytes a second that are fetched from peers and the bucket; 0 sets no limit.
    pub fetch_bytes_per_s_max: u64,
    /// Bytes a second that are sent to peers and the bucket; 0 sets no limit.
    pub send_bytes_per_s_max: u64,
    /// Where bundles are kept besides on nodes.
    pub bucket: Option<BucketConfig>,
}

impl Default for BundlesConfig {
    fn default() -> Self {
        Self {
            keep: Keep::Everywhere,
            disk_bytes_max: 10 * 1024 * 1024 * 1024,
            replace_after: Duration::from_mins(10),
            garbage_grace: Duration::from_hours(1),
            look_every: Duration::from_secs(10),
            fetch_bytes_per_s_max: 0,
            send_bytes_per_s_max: 0,
            bucket: None,
        }
    }
}
