//! Members: the nodes of the cluster, who let them in, and the authority whose certificates they show.
//!
//! Who votes is Raft's own affair; here stands what a node is called and where it is, and that a removed node's id is
//! never used again.
//!
//! Key layout: `ca` -> [`Authority`]; `n/<id, 64 bits big-endian>` -> [`Node`]; `t/<id>` -> [`JoinToken`].

use serde::{Deserialize, Serialize};

use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::record::Record;
use crate::transaction::{self, Transaction};

/// Nodes of a cluster, removed ones too.
pub const NODES_MAX: usize = 2_000;
/// Join tokens that are open at once.
pub const TOKENS_MAX: usize = 100;
/// Longest name, region, zone or address of a node, in bytes.
pub const FACT_BYTES_MAX: usize = 255;
/// Longest life of a join token, in milliseconds: a week.
pub const TOKEN_LIFE_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// How long an ended token is remembered, in milliseconds, so that a second use is told from a wrong token.
const TOKEN_KEPT_MS: u64 = 24 * 3600 * 1000;

/// The cluster's certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, sealed with the cluster's master key.
    pub sealed_key: Vec<u8>,
    /// When it was made.
    pub made_at: Timestamp,
}

impl Record for Authority {
    const NAME: &'static str = "certificate authority";
    const FORMAT: u8 = 1;
}

/// What a node says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// What operators call it.
    pub name: String,
    /// Where it is, e.g. `eu-central`.
    pub region: String,
    /// What fails with it, inside the region, e.g. a data centre.
    pub zone: String,
    /// Where peers reach it, as `host:port`.
    pub address: String,
    /// Where clients reach it; empty when it does not say.
    pub url: String,
    /// Where it gossips, as `host:port`; empty when it does not.
    pub gossip: String,
}

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id; never given to another.
    pub id: u64,
    /// What it says about itself.
    pub facts: NodeFacts,
    /// When it was let in.
    pub joined_at: Timestamp,
    /// Since when it takes no part any more.
    pub removed_at: Option<Timestamp>,
}

impl Record for Node {
    const NAME: &'static str = "node of the cluster";
    const FORMAT: u8 = 1;
}

/// Lets one node in, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Names it; random.
    pub id: [u8; 8],
    /// BLAKE3 of its secret.
    pub secret_hash: [u8; 32],
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// The node it has let in.
    pub used_by: Option<u64>,
}

impl Record for JoinToken {
    const NAME: &'static str = "join token";
    const FORMAT: u8 = 1;
}

/// A change to members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Gives the cluster its authority. [`Outcome::AlreadyExists`] when it has one.
    Certify {
        /// Its certificate, DER.
        certificate: Vec<u8>,
        /// Its private key, sealed.
        sealed_key: Vec<u8>,
    },
    /// Makes a join token. [`Outcome::LimitReached`] with [`TOKENS_MAX`] open ones.
    MakeToken {
        /// Names it.
        id: [u8; 8],
        /// BLAKE3 of its secret.
        secret_hash: [u8; 32],
        /// How long it is good.
        life_ms: u64,
    },
    /// Lets a node in by a token. [`Outcome::NotFound`] for a wrong token, [`Outcome::Stale`] for one that has expired
    /// or let a node in, [`Outcome::AlreadyExists`] for an id that is taken.
    Join {
        /// The token.
        token: [u8; 8],
        /// BLAKE3 of the secret that was shown.
        secret_hash: [u8; 32],
        /// The new node's id.
        node: u64,
        /// What it says about itself.
        facts: NodeFacts,
    },
    /// What a node says about itself now; makes the record of the one that founded the cluster.
    /// [`Outcome::Stale`] for a removed node.
    Describe {
        /// Which node.
        node: u64,
        /// What it says.
        facts: NodeFacts,
    },
    /// Ends a node's part. [`Outcome::NotFound`], [`Outcome::Stale`] when it was ended before.
    Remove {
        /// Which node.
        node: u64,
    },
    /// Spends a token on a member that could not follow a rotation; since version 3 of the cluster. [`Outcome::NotFound`] for a
    /// wrong token or no member, [`Outcome::Stale`] for a token that has expired or was used.
    Renew {
        /// The token.
        token: [u8; 8],
        /// BLAKE3 of the secret that was shown.
        secret_hash: [u8; 32],
        /// Which node.
        node: u64,
    },
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Certify { certificate, sealed_key } => {
            if authority(transaction)?.is_some() {
                return Ok(Outcome::AlreadyExists);
            }
            let (certificate, sealed_key) = (certificate.clone(), sealed_key.clone());
            let record = Authority { certificate, sealed_key, made_at: at };
            transaction.put(Keyspace::Members, b"ca".to_vec(), &record)?;
            Ok(Outcome::Done)
        }
        Command::MakeToken { id, secret_hash, life_ms } => {
            let tokens = tokens(transaction)?;
            if tokens.iter().any(|token| token.id == *id) {
                return Ok(Outcome::AlreadyExists);
            }
            let is_open = |token: &&JoinToken| token.used_by.is_none() && token.expires_at > at;
            if tokens.iter().filter(is_open).count() >= TOKENS_MAX {
                return Ok(Outcome::LimitReached);
            }
            for token in tokens.iter().filter(|token| token.expires_at.plus_millis(TOKEN_KEPT_MS) <= at) {
                transaction.remove(Keyspace::Members, token_key(token.id));
            }
            let expires_at = at.plus_millis((*life_ms).min(TOKEN_LIFE_MS_MAX));
            let token = JoinToken { id: *id, secret_hash: *secret_hash, expires_at, used_by: None };
            transaction.put(Keyspace::Members, token_key(*id), &token)?;
            transaction.note(Event::new(Action::JoinTokenMade, Kind::JoinToken, token_name(*id)));
            Ok(Outcome::Done)
        }
        Command::Join { token, secret_hash, node, facts } => {
            join(transaction, at, (*token, secret_hash), *node, facts)
        }
        Command::Describe { node: id, facts } => {
            let before = node(transaction, *id)?;
            if before.as_ref().is_some_and(|node| node.removed_at.is_some()) {
                return Ok(Outcome::Stale);
            }
            let joined_at = before.map_or(at, |node| node.joined_at);
            put(transaction, &Node { id: *id, facts: facts.clone(), joined_at, removed_at: None })
        }
        Command::Remove { node: id } => match node(transaction, *id)? {
            None => Ok(Outcome::NotFound),
            Some(node) if node.removed_at.is_some() => Ok(Outcome::Stale),
            Some(node) => {
                transaction.note(noted(Action::MemberRemoved, &node.facts, *id));
                put(transaction, &Node { removed_at: Some(at), ..node })
            }
        },
        Command::Renew { token, secret_hash, node: id } => {
            let is_member = node(transaction, *id)?.is_some_and(|node| node.removed_at.is_none());
            match unspent(transaction, at, (*token, secret_hash))? {
                Ok(_) if !is_member => Ok(Outcome::NotFound),
                Ok(token) => {
                    let renewed = Event::new(Action::MemberRenewed, Kind::Member, id);
                    transaction.note(renewed.with("join_token", token_name(token.id)));
                    spend(transaction, token, *id)?;
                    Ok(Outcome::Done)
                }
                Err(outcome) => Ok(outcome),
            }
        }
    }
}

/// A token that lets somebody in now, or why it does not.
fn unspent(
    transaction: &Transaction<'_>,
    at: Timestamp,
    (token, secret_hash): ([u8; 8], &[u8; 32]),
) -> Result<Result<JoinToken, Outcome>, StorageError> {
    let found: Option<JoinToken> = transaction::get(transaction, Keyspace::Members, &token_key(token))?;
    Ok(match found.filter(|token| token.secret_hash == *secret_hash) {
        None => Err(Outcome::NotFound),
        // Also for the node that it has let in: whoever asks again may be somebody else.
        Some(token) if token.used_by.is_some() || token.expires_at <= at => Err(Outcome::Stale),
        Some(token) => Ok(token),
    })
}

fn spend(transaction: &mut Transaction<'_>, token: JoinToken, node: u64) -> Result<(), StorageError> {
    let key = token_key(token.id);
    transaction.put(Keyspace::Members, key, &JoinToken { used_by: Some(node), ..token })
}

/// Puts another authority in the place of the cluster's.
pub(crate) fn put_authority(
    transaction: &mut Transaction<'_>,
    authority: &Authority,
) -> Result<(), StorageError> {
    transaction.put(Keyspace::Members, b"ca".to_vec(), authority)
}

fn join(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    token: ([u8; 8], &[u8; 32]),
    id: u64,
    facts: &NodeFacts,
) -> Result<Outcome, StorageError> {
    let token = match unspent(transaction, at, token)? {
        Ok(token) => token,
        Err(outcome) => return Ok(outcome),
    };
    if id == 0 || node(transaction, id)?.is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    if nodes(transaction)?.len() >= NODES_MAX {
        return Ok(Outcome::LimitReached);
    }
    let joined = noted(Action::MemberJoined, facts, id);
    transaction.note(joined.with("join_token", token_name(token.id)));
    spend(transaction, token, id)?;
    put(transaction, &Node { id, facts: facts.clone(), joined_at: at, removed_at: None })
}

fn put(transaction: &mut Transaction<'_>, node: &Node) -> Result<Outcome, StorageError> {
    transaction.put(Keyspace::Members, node_key(node.id), node)?;
    Ok(Outcome::Done)
}

fn noted(action: Action, facts: &NodeFacts, id: u64) -> Event {
    Event::new(action, Kind::Member, id).with("name", &facts.name)
}

/// The public part of a token, which `cluster tokens` lists it by.
fn token_name(id: [u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(id))
}

fn node_key(id: u64) -> Vec<u8> {
    [b"n/".as_slice(), &id.to_be_bytes()].concat()
}

fn token_key(id: [u8; 8]) -> Vec<u8> {
    [b"t/".as_slice(), &id].concat()
}

/// The cluster's authority, once it has one.
pub fn authority(reader: &(impl Reader + ?Sized)) -> Result<Option<Authority>, StorageError> {
    transaction::get(reader, Keyspace::Members, b"ca")
}

/// One node.
pub fn node(reader: &(impl Reader + ?Sized), id: u64) -> Result<Option<Node>, StorageError> {
    transaction::get(reader, Keyspace::Members, &node_key(id))
}

/// Every node that was ever let in, by id.
pub fn nodes(reader: &(impl Reader + ?Sized)) -> Result<Vec<Node>, StorageError> {
    transaction::scan(reader, Keyspace::Members, b"n/", None, NODES_MAX + 1)
}

/// The open and the lately ended tokens.
pub fn tokens(reader: &(impl Reader + ?Sized)) -> Result<Vec<JoinToken>, StorageError> {
    // Ended ones are removed a day later, so there may be more than are open.
    transaction::scan(reader, Keyspace::Members, b"t/", None, NODES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Durability, Engine, MemoryEngine};

    struct World {
        engine: MemoryEngine,
        at: Timestamp,
    }

    impl World {
        fn new() -> Self {
            Self { engine: MemoryEngine::new(Keyspace::STATE), at: Timestamp::from_millis(1_000) }
        }

        fn apply(&mut self, command: &Command) -> Outcome {
            let mut transaction = Transaction::new(&self.engine);
            let outcome = apply(&mut transaction, self.at, command).unwrap();
            self.engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
            outcome
        }

        fn token(&mut self, id: u8) -> Outcome {
            self.apply(&Command::MakeToken { id: [id; 8], secret_hash: [id; 32], life_ms: 1_000 })
        }

        fn join(&mut self, token: u8, secret: u8, node: u64) -> Outcome {
            let facts = NodeFacts { name: format!("n{node}"), ..NodeFacts::default() };
            self.apply(&Command::Join { token: [token; 8], secret_hash: [secret; 32], node, facts })
        }
    }

    #[test]
    fn a_token_lets_one_node_in_once() {
        let mut world = World::new();
        assert_eq!(world.token(1), Outcome::Done);
        assert_eq!(world.join(1, 9, 2), Outcome::NotFound, "a wrong secret");
        assert_eq!(world.join(2, 2, 2), Outcome::NotFound, "an unknown token");
        assert_eq!(world.join(1, 1, 2), Outcome::Done);
        assert_eq!(world.join(1, 1, 2), Outcome::Stale, "the same node");
        assert_eq!(world.join(1, 1, 3), Outcome::Stale, "a second node");
        assert_eq!(nodes(&world.engine).unwrap().len(), 1);
        world.token(3);
        world.at = world.at.plus_millis(1_000);
        assert_eq!(world.join(3, 3, 4), Outcome::Stale, "expired");
    }

    #[test]
    fn the_id_of_a_removed_node_is_never_given_again() {
        let mut world = World::new();
        world.token(1);
        world.join(1, 1, 2);
        assert_eq!(world.apply(&Command::Remove { node: 2 }), Outcome::Done);
        assert_eq!(world.apply(&Command::Remove { node: 2 }), Outcome::Stale);
        assert_eq!(world.apply(&Command::Remove { node: 3 }), Outcome::NotFound);
        let describe = Command::Describe { node: 2, facts: NodeFacts::default() };
        assert_eq!(world.apply(&describe), Outcome::Stale);
        world.token(2);
        assert_eq!(world.join(2, 2, 2), Outcome::AlreadyExists);
        assert_eq!(world.join(2, 2, 3), Outcome::Done, "the token was not spent by that");
    }

    #[test]
    fn tokens_are_limited_and_old_ones_forgotten() {
        let mut world = World::new();
        let made: Vec<_> = (0..=100).map(|id| world.token(id)).collect();
        assert_eq!(made.iter().filter(|outcome| **outcome == Outcome::Done).count(), TOKENS_MAX);
        assert_eq!(made[100], Outcome::LimitReached);
        world.at = world.at.plus_millis(2 * TOKEN_KEPT_MS);
        assert_eq!(world.token(200), Outcome::Done);
        assert_eq!(tokens(&world.engine).unwrap().len(), 1);
    }

    #[test]
    fn a_cluster_has_one_authority() {
        let mut world = World::new();
        let certify = |byte: u8| Command::Certify { certificate: vec![byte], sealed_key: vec![byte] };
        assert_eq!(world.apply(&certify(1)), Outcome::Done);
        assert_eq!(world.apply(&certify(2)), Outcome::AlreadyExists);
        assert_eq!(authority(&world.engine).unwrap().unwrap().certificate, [1]);
    }
}
