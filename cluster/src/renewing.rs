//! Letting a member back in that was away while the cluster's authority, or its key, was replaced: it shows a join token, as a
//! new node does, keeps its id and its data, and gets what it missed.
//!
//! Whoever has a token may become any member that takes part. That is no more than a token gives anyway: the cluster's key.

use std::fmt;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::members::{self, Authority};
use twinmcp_storage::record::{self, Record};

use crate::authority::{CLUSTER_KEY_BYTES, ClusterKey};
use crate::handle::Cluster;
use crate::joining::{JoinError, JoinToken, TOKEN_SPENT, TOKEN_WRONG, show};
use crate::keys::ClusterKeys;
use crate::rotation::Trust;
use crate::status::{ClusterId, NodeId};

/// Where the peer port lets members back in.
pub(crate) const RENEW_PATH: &str = "/renew";

/// What a member shows.
#[derive(Serialize, Deserialize)]
struct RenewRequest {
    token: [u8; 8],
    secret: [u8; 32],
    cluster: [u8; 16],
    node: u64,
}

impl Record for RenewRequest {
    const NAME: &'static str = "request to be let back in";
    const FORMAT: u8 = 1;
}

/// What a member missed. Secret: whoever has it can be any node of the cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    keys: Vec<[u8; CLUSTER_KEY_BYTES]>,
    issuing: Authority,
    also: Option<Authority>,
}

impl Record for Renewal {
    const NAME: &'static str = "renewal";
    const FORMAT: u8 = 1;
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal(***)")
    }
}

impl Renewal {
    /// The cluster's keys, the one that seals first.
    pub fn keys(&self) -> Vec<ClusterKey> {
        self.keys.iter().map(|key| ClusterKey::new(*key)).collect()
    }

    /// Which authorities are believed.
    pub fn trust(&self) -> Trust {
        Trust { issuing: self.issuing.clone(), also: self.also.clone() }
    }
}

/// Asks the node that made `token` for what `node` of `cluster` missed.
///
/// # Errors
/// [`JoinError`]; what was refused is not tried again by itself.
pub async fn renew(token: &JoinToken, cluster: ClusterId, node: NodeId) -> Result<Renewal, JoinError> {
    let (id, secret) = token.parts();
    let wanted = RenewRequest { token: id, secret, cluster: cluster.0, node: node.0 };
    let wanted = record::encode(&wanted).map_err(|error| token.unreachable(error.into()))?;
    match show(token, RENEW_PATH, wanted).await? {
        (StatusCode::OK, body) => record::decode(&body).map_err(|error| token.unreachable(error.into())),
        (_, body) => Err(token.refused(&body)),
    }
}

impl Cluster {
    /// Answers a member that shows a good token. The sentence of an error is for its operator.
    pub(crate) async fn renew(&self, asked: &[u8], keys: &ClusterKeys) -> Result<Vec<u8>, String> {
        let RenewRequest { token, secret, cluster, node } =
            record::decode(asked).map_err(|error| error.to_string())?;
        let unread = |error: StorageError| error.to_string();
        let secret_hash = *blake3::hash(&secret).as_bytes();
        if !self.knows_token(token, &secret_hash).await? {
            return Err(TOKEN_WRONG.to_owned());
        }
        if self.status().cluster_id.0 != cluster {
            return Err("the data is of another cluster: join with an empty data directory".to_owned());
        }
        let known = members::node(self.reader(), node).map_err(unread)?;
        if known.is_none_or(|known| known.removed_at.is_some()) {
            return Err(format!(
                "node {node} takes no part in the cluster any more: join with an empty data directory"
            ));
        }
        let renew = members::Command::Renew { token, secret_hash, node };
        match self.propose(Command::Members(renew)).await.map_err(|error| error.to_string())?.outcome {
            Outcome::Done => {}
            Outcome::Stale => return Err(TOKEN_SPENT.to_owned()),
            _ => return Err(TOKEN_WRONG.to_owned()),
        }
        let trust = Trust::agreed(self.reader()).map_err(unread)?.ok_or("this cluster takes no peers")?;
        let keys = keys.all().iter().map(|key| *key.bytes()).collect();
        tracing::info!(node, "a member that was away was given what it missed");
        record::encode(&Renewal { keys, issuing: trust.issuing, also: trust.also }).map_err(unread)
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::Timestamp;

    use super::*;

    #[test]
    fn renewals_are_written_as_they_always_were_and_never_shown() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let wanted = RenewRequest { token: [1; 8], secret: [2; 32], cluster: [3; 16], node: 4 };
        let golden = format!("01{}{}{}04", "01".repeat(8), "02".repeat(32), "03".repeat(16));
        assert_eq!(hex(record::encode(&wanted).unwrap()), golden);
        let authority = |byte| Authority {
            certificate: vec![byte],
            sealed_key: vec![byte; 2],
            made_at: Timestamp::from_millis(5),
        };
        let renewal = Renewal { keys: vec![[7; 32]], issuing: authority(8), also: Some(authority(9)) };
        let bytes = record::encode(&renewal).unwrap();
        assert_eq!(record::decode::<Renewal>(&bytes).unwrap(), renewal);
        let golden = format!("0101{}0108020808050101090209{}", "07".repeat(32), "0905");
        assert_eq!(hex(bytes), golden);
        assert_eq!(format!("{renewal:?}"), "Renewal(***)");
    }
}
