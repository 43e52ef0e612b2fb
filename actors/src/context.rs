//! What every actor is handed: the cluster, the bundles, and the seams.

use std::path::PathBuf;
use std::sync::Arc;

use twinmcp_cluster::Cluster;
use twinmcp_storage::bundle::BundleStore;
use twinmcp_storage::clock::{Clock, Entropy};

use crate::embedding::{Embedder, Endpoint};
use crate::outbound::Outbound;
use crate::upgrade::Activity;

/// What every actor is handed.
pub(crate) struct Context {
    /// Makes actors' names unique in the process.
    pub(crate) node: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) cluster: Cluster,
    pub(crate) bundles: Arc<BundleStore>,
    /// The only way to other hosts.
    pub(crate) outbound: Outbound,
    /// Lives as long as the process: a table in the binary, or a client of a service.
    pub(crate) embedder: &'static dyn Embedder,
    /// The embedding service of the operator's choice, if there is one.
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    /// Counts the questions asked.
    pub(crate) activity: Arc<Activity>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}
