//! Letting a node in: an operator makes a token on any node, the new node shows it on the peer port, and gets what a
//! member needs.
//!
//! ```text
//! token = tmcpj_ | id 8 | secret 32 | pin 32 (hex) | @ | host:port of the node that made it
//! ```
//! The pin is BLAKE3 of the authority's certificate: the new node believes nobody else, so that neither the token nor
//! the cluster's key reaches a stranger. The secret is kept as a hash, and lets one node in, once, by a compare-and-set.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http2;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use twinmcp_storage::clock::{Entropy, EntropyError};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::members::{self, NodeFacts};
use twinmcp_storage::record::{self, Record};
use twinmcp_storage::rotation::{self, Step, Subject};

use crate::authority::{CLUSTER_KEY_BYTES, pin};
use crate::error::ClusterError;
use crate::handle::Cluster;
use crate::keys::ClusterKeys;
use crate::peer::{bytes_body, dial_to_join};
use crate::rotation::Trust;
use crate::status::{ClusterId, NodeId};

/// Where the peer port lets nodes in.
pub(crate) const JOIN_PATH: &str = "/join";
const PREFIX: &str = "tmcpj_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
const PIN_BYTES: usize = 32;
/// Bytes of a request to join, and of its answer.
pub(crate) const JOIN_BYTES_MAX: usize = 64 * 1024;
/// How long a node that joins waits for its answer.
const JOIN_DEADLINE: Duration = Duration::from_secs(30);
/// How long a node waits until it knows every token that was made.
const FRESH_DEADLINE: Duration = Duration::from_secs(2);
/// Ids tried before giving up: another node may take one first.
const ID_TRIES_MAX: usize = 16;
/// What a node is told whose token is none.
pub(crate) const TOKEN_WRONG: &str = "the token is wrong";
/// What a node is told whose token has ended.
pub(crate) const TOKEN_SPENT: &str =
    "the token has expired or was used; make another with `twinmcp cluster token`";

/// Lets one node in. Secret: it is shown to the operator once.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: [u8; ID_BYTES],
    secret: [u8; SECRET_BYTES],
    pin: [u8; PIN_BYTES],
    address: String,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken(*** for {})", self.address)
    }
}

impl JoinToken {
    /// The token as it is shown to the operator, this once.
    pub fn reveal(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("{PREFIX}{}{}{}@{}", hex(&self.id), hex(&self.secret), hex(&self.pin), self.address)
    }

    /// Its id and its secret.
    pub(crate) fn parts(&self) -> ([u8; ID_BYTES], [u8; SECRET_BYTES]) {
        (self.id, self.secret)
    }

    pub(crate) fn unreachable(&self, source: Box<dyn std::error::Error + Send + Sync>) -> JoinError {
        JoinError::Unreachable { address: self.address.clone(), source }
    }

    pub(crate) fn refused(&self, reason: &[u8]) -> JoinError {
        let reason = String::from_utf8_lossy(reason).into_owned();
        JoinError::Refused { address: self.address.clone(), reason }
    }
}

/// Not a join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no join token: it begins with `{PREFIX}` and ends with `@host:port`; make one with `twinmcp cluster token`"
)]
pub struct InvalidJoinToken;

impl FromStr for JoinToken {
    type Err = InvalidJoinToken;

    fn from_str(text: &str) -> Result<Self, InvalidJoinToken> {
        let rest = text.trim().strip_prefix(PREFIX).ok_or(InvalidJoinToken)?;
        let (hex, address) = rest.split_once('@').ok_or(InvalidJoinToken)?;
        let is_address = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && host.len() <= members::FACT_BYTES_MAX && port.parse::<u16>().is_ok()
        });
        let digits = hex.as_bytes();
        if digits.len() != 2 * (ID_BYTES + SECRET_BYTES + PIN_BYTES) || !is_address {
            return Err(InvalidJoinToken);
        }
        let mut bytes = [0; ID_BYTES + SECRET_BYTES + PIN_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidJoinToken)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidJoinToken)?;
        }
        let (id, rest) = bytes.split_first_chunk().ok_or(InvalidJoinToken)?;
        let (secret, rest) = rest.split_first_chunk().ok_or(InvalidJoinToken)?;
        let pin = rest.try_into().map_err(|_| InvalidJoinToken)?;
        Ok(Self { id: *id, secret: *secret, pin, address: address.to_owned() })
    }
}

/// What a new node shows.
#[derive(Serialize, Deserialize)]
struct JoinRequest {
    token: [u8; ID_BYTES],
    secret: [u8; SECRET_BYTES],
    facts: NodeFacts,
}

impl Record for JoinRequest {
    const NAME: &'static str = "request to join";
    const FORMAT: u8 = 1;
}

/// What a member needs. Secret: whoever has it can be any node of the cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    cluster: [u8; 16],
    node: u64,
    key: [u8; CLUSTER_KEY_BYTES],
    certificate: Vec<u8>,
    sealed_key: Vec<u8>,
}

impl Record for Admission {
    const NAME: &'static str = "admission";
    const FORMAT: u8 = 1;
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admission(*** of node {})", self.node)
    }
}

impl Admission {
    /// Which cluster has let the node in.
    pub fn cluster(&self) -> ClusterId {
        ClusterId(self.cluster)
    }

    /// Which node it is from now on.
    pub fn node(&self) -> NodeId {
        NodeId(self.node)
    }

    /// The bytes of the cluster's key, for the file that keeps it.
    pub fn key(&self) -> &[u8; CLUSTER_KEY_BYTES] {
        &self.key
    }

    /// The cluster's authority, as agreed state keeps it.
    pub fn authority(&self) -> members::Authority {
        let (certificate, sealed_key) = (self.certificate.clone(), self.sealed_key.clone());
        members::Authority { certificate, sealed_key, made_at: twinmcp_storage::clock::Timestamp::default() }
    }
}

/// Why a node was not let in.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The node that made the token did not answer, or is not of its cluster.
    #[error("failed to reach {address}, which the token names")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused.
    #[error("{address} did not let this node in: {reason}")]
    Refused {
        /// Who.
        address: String,
        /// Its sentence.
        reason: String,
    },
}

/// Asks the node that made `token` to let this node in, as what `facts` say.
///
/// # Errors
/// [`JoinError`]; what was refused is not tried again by itself.
pub async fn join(token: &JoinToken, facts: NodeFacts) -> Result<Admission, JoinError> {
    let wanted = JoinRequest { token: token.id, secret: token.secret, facts };
    let wanted = record::encode(&wanted).map_err(|error| token.unreachable(error.into()))?;
    match show(token, JOIN_PATH, wanted).await? {
        (StatusCode::OK, body) => record::decode(&body).map_err(|error| token.unreachable(error.into())),
        (_, body) => Err(token.refused(&body)),
    }
}

/// Shows a token to the node that made it.
pub(crate) async fn show(
    token: &JoinToken,
    path: &str,
    wanted: Vec<u8>,
) -> Result<(StatusCode, bytes::Bytes), JoinError> {
    let asked = tokio::time::timeout(JOIN_DEADLINE, ask(token, path, wanted)).await;
    asked.map_err(|late| token.unreachable(late.into()))?.map_err(|error| token.unreachable(error))
}

async fn ask(
    token: &JoinToken,
    path: &str,
    wanted: Vec<u8>,
) -> Result<(StatusCode, bytes::Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let io = dial_to_join(&token.address, token.pin).await?;
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    let driving = tokio::spawn(driver);
    let request = Request::post(format!("http://join{path}")).body(bytes_body(wanted))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), JOIN_BYTES_MAX).collect().await?.to_bytes();
    driving.abort();
    Ok((status, body))
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Too many tokens are open.
    #[error("{} join tokens are open; use one, or wait until some have expired", members::TOKENS_MAX)]
    LimitReached,
    /// The cluster has no authority: its node listens for no peers.
    #[error("this node takes no peers: set `cluster.listen` and `cluster.address`, and restart it")]
    NoAuthority,
    /// What the token would be checked with is about to change.
    #[error(
        "the cluster's authority is being replaced; make the token when `cluster status` shows no rotation"
    )]
    Rotating,
    /// No random bytes.
    #[error("no random bytes")]
    Entropy(#[from] EntropyError),
    /// It could not be agreed on.
    #[error("failed to agree on the token")]
    Propose(#[from] ClusterError),
    /// The state could not be read.
    #[error("failed to read the agreed state")]
    Storage(#[from] StorageError),
}

impl Cluster {
    /// Makes a token that lets one node in within `life`, by asking at `address`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn join_token(
        &self,
        address: &str,
        life: Duration,
        entropy: &dyn Entropy,
    ) -> Result<JoinToken, TokenError> {
        let authority = Trust::agreed(self.reader())?.ok_or(TokenError::NoAuthority)?.issuing;
        if rotation::get(self.reader(), Subject::Authority)?.step == Step::Spreading {
            return Err(TokenError::Rotating);
        }
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        entropy.fill(&mut id)?;
        entropy.fill(&mut secret)?;
        let make = members::Command::MakeToken {
            id,
            secret_hash: *blake3::hash(&secret).as_bytes(),
            life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
        };
        match self.propose(Command::Members(make)).await?.outcome {
            Outcome::LimitReached => Err(TokenError::LimitReached),
            _ => Ok(JoinToken { id, secret, pin: pin(&authority.certificate), address: address.to_owned() }),
        }
    }

    /// Lets in who shows a good token: agrees on its id, and begins to send it what is agreed on. The sentence of an
    /// error is for the operator of the new node.
    pub(crate) async fn let_in(&self, asked: &[u8], keys: &ClusterKeys) -> Result<Vec<u8>, String> {
        let JoinRequest { token, secret, facts } =
            record::decode(asked).map_err(|error| error.to_string())?;
        check(&facts)?;
        let unread = |error: StorageError| error.to_string();
        let trust = Trust::agreed(self.reader()).map_err(unread)?.ok_or("this cluster takes no peers")?;
        // A node that knows only one authority would believe half of the members.
        if rotation::get(self.reader(), Subject::Authority).map_err(unread)?.step == Step::Spreading {
            return Err("the cluster's authority is being replaced; try again when that is over".to_owned());
        }
        let (authority, secret_hash) = (trust.issuing, *blake3::hash(&secret).as_bytes());
        if !self.knows_token(token, &secret_hash).await? {
            return Err(TOKEN_WRONG.to_owned());
        }
        let known = members::nodes(self.reader()).map_err(unread)?;
        let members = self.status().members;
        let taken = known.iter().map(|node| node.id).chain(members.iter().map(|node| node.node_id.0));
        let mut node = taken.max().unwrap_or(0) + 1;
        for _ in 0..ID_TRIES_MAX {
            let join = members::Command::Join { token, secret_hash, node, facts: facts.clone() };
            let joined = self.propose(Command::Members(join)).await.map_err(|error| error.to_string())?;
            match joined.outcome {
                Outcome::Done => {
                    self.admit(NodeId(node), &facts.address).await.map_err(|error| error.to_string())?;
                    let admission = Admission {
                        cluster: self.status().cluster_id.0,
                        node,
                        key: *keys.sealing().bytes(),
                        certificate: authority.certificate,
                        sealed_key: authority.sealed_key,
                    };
                    tracing::info!(node, name = facts.name, region = facts.region, "a node has joined");
                    return record::encode(&admission).map_err(unread);
                }
                Outcome::AlreadyExists => node += 1,
                Outcome::NotFound => return Err(TOKEN_WRONG.to_owned()),
                Outcome::Stale => return Err(TOKEN_SPENT.to_owned()),
                // Nothing is burnt or forbidden by joining.
                Outcome::LimitReached | Outcome::Burnt | Outcome::Forbidden => {
                    return Err(format!("the cluster has had {} nodes, its most", members::NODES_MAX));
                }
            }
        }
        Err("too many nodes join at once; try again".to_owned())
    }

    /// Whether such a token was ever made. A stranger may ask as often as it likes: nothing is proposed for a token that is none.
    pub(crate) async fn knows_token(
        &self,
        token: [u8; ID_BYTES],
        secret_hash: &[u8; 32],
    ) -> Result<bool, String> {
        let is_known = || -> Result<bool, String> {
            let tokens = members::tokens(self.reader()).map_err(|error| error.to_string())?;
            Ok(tokens.iter().any(|known| known.id == token && known.secret_hash == *secret_hash))
        };
        if is_known()? {
            return Ok(true);
        }
        // Made elsewhere a moment ago, perhaps.
        self.linearize(FRESH_DEADLINE).await.map_err(|error| error.to_string())?;
        is_known()
    }
}

fn check(facts: &NodeFacts) -> Result<(), String> {
    let NodeFacts { name, region, zone, address, url, gossip } = facts;
    for (what, fact) in [
        ("name", name),
        ("region", region),
        ("zone", zone),
        ("address", address),
        ("url", url),
        ("gossip", gossip),
    ] {
        if fact.len() > members::FACT_BYTES_MAX {
            return Err(format!("the node's {what} has more than {} bytes", members::FACT_BYTES_MAX));
        }
    }
    match address.is_empty() {
        true => Err("the node does not say where peers reach it: set `cluster.address`".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_shown_and_nothing_else_is_one() {
        let token = JoinToken { id: [1; 8], secret: [2; 32], pin: [3; 32], address: "a.example:7947".into() };
        let shown = token.reveal();
        assert_eq!(shown.parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!(" {shown}\n").parse::<JoinToken>().unwrap(), token, "pasted with spaces");
        assert!(!format!("{token:?}").contains("0202"));
        for wrong in ["", "tmcpj_@a:1", &shown[1..], &shown.replace("02", "0g"), &shown.replace(":7947", "")]
        {
            assert_eq!(wrong.parse::<JoinToken>(), Err(InvalidJoinToken), "{wrong}");
        }
        for length in 0..shown.len() - ":7947".len() {
            assert!(shown[..length].parse::<JoinToken>().is_err());
        }
    }

    #[test]
    fn facts_have_limits() {
        let facts = NodeFacts { address: "a:1".into(), ..NodeFacts::default() };
        assert_eq!(check(&facts), Ok(()));
        assert!(check(&NodeFacts::default()).unwrap_err().contains("cluster.address"));
        let long = NodeFacts { region: "r".repeat(256), ..facts };
        assert!(check(&long).unwrap_err().contains("region"));
    }
}
