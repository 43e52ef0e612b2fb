//! Rotations: the cluster's key and its authority are replaced one step after the other, while every node goes on.
//!
//! ```text
//! Settled --begin--> Spreading --use--> Using --end--> Settled
//! ```
//! While it is *spreading*, nodes get what is new and accept it beside what is in force. While it is in *use*, they seal,
//! sign and show what is new, and still accept what was before. A step is over when every member has confirmed it; the leader
//! sees to that, because who is a member is Raft's own affair.
//!
//! Key layout, in the keyspace of members: `r/k`, `r/a` -> [`Rotation`]; `kn` -> [`KeyNames`]; `ca2` -> the next
//! [`Authority`]; `es` -> [`Succession`]. Invariant: a key of the cluster is never here, only its name.

use serde::{Deserialize, Serialize};

use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::members::{self, Authority};
use crate::oauth::base_key;
use crate::record::Record;
use crate::refresh::{self, WebhookKey};
use crate::transaction::{self, Change, Transaction};

/// Names a key of the cluster, and says nothing about it.
pub type KeyName = [u8; 8];

/// Endorsements that are kept.
pub const ENDORSEMENTS_MAX: usize = 16;
const NAMES_KEY: &[u8] = b"kn";
const SUCCESSION_KEY: &[u8] = b"es";
const NEXT_AUTHORITY_KEY: &[u8] = b"ca2";

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The key that every node has.
    Key,
    /// Whose certificates nodes show each other.
    Authority,
}

impl Subject {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Key, Self::Authority];

    fn key(self) -> Vec<u8> {
        match self {
            Self::Key => b"r/k".to_vec(),
            Self::Authority => b"r/a".to_vec(),
        }
    }
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// None is under way.
    #[default]
    Settled,
    /// Nodes get what is new.
    Spreading,
    /// What is new is in force, what was before is still accepted.
    Using,
}

/// The newest rotation of one subject.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Which one it is, from 1; 0 while there was none.
    pub number: u64,
    /// How far it is.
    pub step: Step,
    /// Nodes that have done this step, by id.
    pub confirmed: Vec<u64>,
    /// Nodes that it goes on without, by id.
    pub left_behind: Vec<u64>,
    /// When it was begun.
    pub begun_at: Timestamp,
}

impl Record for Rotation {
    const NAME: &'static str = "rotation";
    const FORMAT: u8 = 1;
}

/// Which keys of the cluster are accepted; absent before the first rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNames {
    /// What seals.
    pub in_force: KeyName,
    /// The next one while it is spreading, the one before while the next is in use.
    pub other: Option<KeyName>,
}

impl Record for KeyNames {
    const NAME: &'static str = "names of the cluster's keys";
    const FORMAT: u8 = 1;
}

/// How clients that know an earlier key of the cluster come to the one in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// What each key said of the next one when it was replaced, oldest first; a compact JWS each.
    pub endorsements: Vec<String>,
}

impl Record for Succession {
    const NAME: &'static str = "succession of keys";
    const FORMAT: u8 = 1;
}

/// A step of a rotation. Each names the rotation that its proposer saw; [`Outcome::Stale`] when it has moved on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Begins to replace the cluster's key, or begins again with another while the first is spreading.
    /// [`Outcome::Stale`] also while the authority is replaced.
    BeginKey {
        /// The newest rotation of the key.
        after: u64,
        /// The key that seals now.
        in_force: KeyName,
        /// The one that is to.
        next: KeyName,
        /// Who has it.
        node: u64,
    },
    /// Begins to replace the authority. [`Outcome::NotFound`] without one, [`Outcome::Stale`] also while the key is replaced.
    BeginAuthority {
        /// The newest rotation of the authority.
        after: u64,
        /// The next one's certificate, DER.
        certificate: Vec<u8>,
        /// Its private key, sealed.
        sealed_key: Vec<u8>,
    },
    /// A node has done a step.
    Confirm {
        /// What is replaced.
        subject: Subject,
        /// Which rotation.
        number: u64,
        /// Which step.
        step: Step,
        /// Who.
        node: u64,
    },
    /// The rotation goes on without these nodes.
    LeaveBehind {
        /// What is replaced.
        subject: Subject,
        /// Which rotation.
        number: u64,
        /// Who.
        nodes: Vec<u64>,
    },
    /// The next key seals from now on; with all that is secret in agreed state, sealed anew.
    UseKey {
        /// Which rotation.
        number: u64,
        /// The authority's private key; absent in a cluster without one.
        sealed_authority: Option<Vec<u8>>,
        /// What secrets of webhooks were made from before, oldest first. The last is the key that was in force; until when is
        /// stamped.
        webhook_keys: Vec<WebhookKey>,
        /// The base key of the authorization server; absent in a cluster that has none yet.
        sealed_base: Option<Vec<u8>>,
        /// What the key that was in force says of the next one, for clients that know it; a compact JWS.
        endorsement: String,
    },
    /// Certificates are of the next authority from now on.
    UseAuthority {
        /// Which rotation.
        number: u64,
    },
    /// What was before is not accepted any more.
    End {
        /// What is replaced.
        subject: Subject,
        /// Which rotation.
        number: u64,
    },
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::BeginKey { after, in_force, next, node } => {
            let (key, authority) = (get(transaction, Subject::Key)?, get(transaction, Subject::Authority)?);
            let known = key_names(transaction)?.map(|names| names.in_force);
            let is_next = authority.step == Step::Settled
                && key.step != Step::Using
                && key.number == *after
                && known.is_none_or(|known| known == *in_force);
            if !is_next {
                return Ok(Outcome::Stale);
            }
            let names = KeyNames { in_force: *in_force, other: Some(*next) };
            transaction.put(Keyspace::Members, NAMES_KEY.to_vec(), &names)?;
            let begun = Rotation { confirmed: vec![*node], ..begun(*after, at) };
            transaction.note(noted(Action::RotationBegun, Subject::Key));
            put(transaction, Subject::Key, &begun)
        }
        Command::BeginAuthority { after, certificate, sealed_key } => {
            let (key, authority) = (get(transaction, Subject::Key)?, get(transaction, Subject::Authority)?);
            if members::authority(transaction)?.is_none() {
                return Ok(Outcome::NotFound);
            }
            if (key.step, authority.step, authority.number) != (Step::Settled, Step::Settled, *after) {
                return Ok(Outcome::Stale);
            }
            let (certificate, sealed_key) = (certificate.clone(), sealed_key.clone());
            let next = Authority { certificate, sealed_key, made_at: at };
            transaction.put(Keyspace::Members, NEXT_AUTHORITY_KEY.to_vec(), &next)?;
            transaction.note(noted(Action::RotationBegun, Subject::Authority));
            put(transaction, Subject::Authority, &begun(*after, at))
        }
        Command::Confirm { subject, number, step, node } => {
            let mut rotation = get(transaction, *subject)?;
            if (rotation.number, rotation.step) != (*number, *step) {
                return Ok(Outcome::Stale);
            }
            insert(&mut rotation.confirmed, *node);
            put(transaction, *subject, &rotation)
        }
        Command::LeaveBehind { subject, number, nodes } => {
            let mut rotation = get(transaction, *subject)?;
            if rotation.number != *number || rotation.step == Step::Settled {
                return Ok(Outcome::Stale);
            }
            nodes.iter().for_each(|node| insert(&mut rotation.left_behind, *node));
            let names: Vec<_> = nodes.iter().map(ToString::to_string).collect();
            let left = noted(Action::RotationLeftBehind, *subject);
            transaction.note(left.with("nodes", names.join(" ")));
            put(transaction, *subject, &rotation)
        }
        Command::UseKey { number, sealed_authority, webhook_keys, sealed_base, endorsement } => {
            let anew = (sealed_authority.as_ref(), sealed_base.as_ref());
            let used = use_key(transaction, at, *number, anew, webhook_keys)?;
            if used == Outcome::Done {
                let mut succession = succession(transaction)?;
                succession.endorsements.push(endorsement.clone());
                let too_many = succession.endorsements.len().saturating_sub(ENDORSEMENTS_MAX);
                succession.endorsements.drain(..too_many);
                transaction.put(Keyspace::Members, SUCCESSION_KEY.to_vec(), &succession)?;
            }
            Ok(used)
        }
        Command::UseAuthority { number } => moved(transaction, Subject::Authority, *number, Step::Using),
        Command::End { subject, number } => {
            let rotation = get(transaction, *subject)?;
            if (rotation.number, rotation.step) != (*number, Step::Using) {
                return Ok(Outcome::Stale);
            }
            match subject {
                Subject::Key => {
                    if let Some(names) = key_names(transaction)? {
                        let names = KeyNames { other: None, ..names };
                        transaction.put(Keyspace::Members, NAMES_KEY.to_vec(), &names)?;
                    }
                }
                Subject::Authority => {
                    if let Some(next) = next_authority(transaction)? {
                        members::put_authority(transaction, &next)?;
                    }
                    transaction.remove(Keyspace::Members, NEXT_AUTHORITY_KEY.to_vec());
                }
            }
            transaction.note(noted(Action::RotationEnded, *subject));
            let number = rotation.number;
            put(transaction, *subject, &Rotation { number, ..Rotation::default() })
        }
    }
}

fn noted(action: Action, subject: Subject) -> Event {
    let secret = match subject {
        Subject::Key => "cluster_key",
        Subject::Authority => "authority",
    };
    Event::new(action, Kind::Secret, secret)
}

fn begun(after: u64, at: Timestamp) -> Rotation {
    Rotation { number: after + 1, step: Step::Spreading, begun_at: at, ..Rotation::default() }
}

fn use_key(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    number: u64,
    (sealed_authority, sealed_base): (Option<&Vec<u8>>, Option<&Vec<u8>>),
    webhook_keys: &[WebhookKey],
) -> Result<Outcome, StorageError> {
    let rotation = get(transaction, Subject::Key)?;
    let (names, authority) = (key_names(transaction)?, members::authority(transaction)?);
    let Some(KeyNames { in_force, other: Some(next) }) = names else { return Ok(Outcome::Stale) };
    // One of them was made since the leader looked: it has to seal that as well.
    let is_whole = authority.is_some() == sealed_authority.is_some()
        && base_key::get(transaction)?.is_some() == sealed_base.is_some();
    if (rotation.number, rotation.step) != (number, Step::Spreading) || !is_whole {
        return Ok(Outcome::Stale);
    }
    if let (Some(authority), Some(sealed_key)) = (authority, sealed_authority) {
        members::put_authority(transaction, &Authority { sealed_key: sealed_key.clone(), ..authority })?;
    }
    if let Some(sealed_base) = sealed_base {
        base_key::put(transaction, sealed_base.clone())?;
    }
    refresh::put_webhook_keys(transaction, at, webhook_keys)?;
    let names = KeyNames { in_force: next, other: Some(in_force) };
    transaction.put(Keyspace::Members, NAMES_KEY.to_vec(), &names)?;
    moved(transaction, Subject::Key, number, Step::Using)
}

/// The next step, which nobody has done yet.
fn moved(
    transaction: &mut Transaction<'_>,
    subject: Subject,
    number: u64,
    step: Step,
) -> Result<Outcome, StorageError> {
    let rotation = get(transaction, subject)?;
    if (rotation.number, rotation.step) != (number, Step::Spreading) {
        return Ok(Outcome::Stale);
    }
    put(transaction, subject, &Rotation { step, confirmed: Vec::new(), ..rotation })
}

fn put(
    transaction: &mut Transaction<'_>,
    subject: Subject,
    rotation: &Rotation,
) -> Result<Outcome, StorageError> {
    transaction.put(Keyspace::Members, subject.key(), rotation)?;
    transaction.changed(Change::Secrets);
    Ok(Outcome::Done)
}

fn insert(nodes: &mut Vec<u64>, node: u64) {
    if let Err(place) = nodes.binary_search(&node) {
        nodes.insert(place, node);
    }
}

/// The newest rotation of `subject`.
pub fn get(reader: &(impl Reader + ?Sized), subject: Subject) -> Result<Rotation, StorageError> {
    let found: Option<Rotation> = transaction::get(reader, Keyspace::Members, &subject.key())?;
    Ok(found.unwrap_or_default())
}

/// Which keys of the cluster are accepted; nothing before the first rotation.
pub fn key_names(reader: &(impl Reader + ?Sized)) -> Result<Option<KeyNames>, StorageError> {
    transaction::get(reader, Keyspace::Members, NAMES_KEY)
}

/// How clients that know an earlier key come to the one in force.
pub fn succession(reader: &(impl Reader + ?Sized)) -> Result<Succession, StorageError> {
    let found: Option<Succession> = transaction::get(reader, Keyspace::Members, SUCCESSION_KEY)?;
    Ok(found.unwrap_or_default())
}

/// The authority that takes the place of the one in force, while it is replaced.
pub fn next_authority(reader: &(impl Reader + ?Sized)) -> Result<Option<Authority>, StorageError> {
    transaction::get(reader, Keyspace::Members, NEXT_AUTHORITY_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Durability, Engine, MemoryEngine};
    use crate::refresh::webhook_keys;

    const OLD: KeyName = [1; 8];
    const NEW: KeyName = [2; 8];

    fn run(engine: &MemoryEngine, at: u64, command: &Command) -> Outcome {
        let mut transaction = Transaction::new(engine);
        let outcome = apply(&mut transaction, Timestamp::from_millis(at), command).unwrap();
        engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
        outcome
    }

    fn founded() -> MemoryEngine {
        let engine = MemoryEngine::new(Keyspace::STATE);
        let mut transaction = Transaction::new(&engine);
        let certify = members::Command::Certify { certificate: vec![1], sealed_key: vec![1] };
        members::apply(&mut transaction, Timestamp::from_millis(1), &certify).unwrap();
        engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
        engine
    }

    fn begin_key(after: u64, next: KeyName) -> Command {
        Command::BeginKey { after, in_force: OLD, next, node: 1 }
    }

    fn confirm(subject: Subject, step: Step, node: u64) -> Command {
        Command::Confirm { subject, number: 1, step, node }
    }

    fn use_key(number: u64) -> Command {
        let webhook_keys = vec![WebhookKey { until: Timestamp::default(), sealed: vec![9] }];
        let endorsement = format!("of {number}");
        Command::UseKey {
            number,
            sealed_authority: Some(vec![2]),
            webhook_keys,
            sealed_base: None,
            endorsement,
        }
    }

    #[test]
    fn a_key_is_replaced_in_steps_and_none_is_skipped() {
        let engine = founded();
        let end = Command::End { subject: Subject::Key, number: 1 };
        for early in [use_key(0), use_key(1), end.clone(), confirm(Subject::Key, Step::Spreading, 2)] {
            assert_eq!(run(&engine, 2, &early), Outcome::Stale, "{early:?}");
        }
        assert_eq!(run(&engine, 2, &begin_key(0, [7; 8])), Outcome::Done);
        assert_eq!(run(&engine, 2, &begin_key(0, NEW)), Outcome::Stale, "of another's knowledge");
        let begin = Command::BeginAuthority { after: 0, certificate: vec![5], sealed_key: vec![5] };
        assert_eq!(run(&engine, 2, &begin), Outcome::Stale, "one at a time");
        assert_eq!(run(&engine, 2, &end), Outcome::Stale);
        assert_eq!(run(&engine, 2, &confirm(Subject::Key, Step::Spreading, 3)), Outcome::Done);
        assert_eq!(run(&engine, 2, &confirm(Subject::Key, Step::Spreading, 2)), Outcome::Done);
        assert_eq!(get(&engine, Subject::Key).unwrap().confirmed, [1, 2, 3]);
        let rotation = get(&engine, Subject::Key).unwrap();

        assert_eq!(run(&engine, 7, &use_key(rotation.number)), Outcome::Done);
        let names = key_names(&engine).unwrap().unwrap();
        assert_eq!(names, KeyNames { in_force: [7; 8], other: Some(OLD) });
        assert_eq!(members::authority(&engine).unwrap().unwrap().sealed_key, [2], "sealed anew");
        let kept = webhook_keys(&engine).unwrap();
        assert_eq!(kept, [WebhookKey { until: Timestamp::from_millis(7), sealed: vec![9] }]);
        assert_eq!(succession(&engine).unwrap().endorsements, ["of 1"]);
        assert!(get(&engine, Subject::Key).unwrap().confirmed.is_empty(), "nobody has done the new step");
        assert_eq!(run(&engine, 8, &confirm(Subject::Key, Step::Spreading, 2)), Outcome::Stale, "too late");
        assert_eq!(run(&engine, 8, &use_key(1)), Outcome::Stale, "twice");
        assert_eq!(run(&engine, 8, &begin_key(1, NEW)), Outcome::Stale, "it is in use");
        assert_eq!(run(&engine, 8, &end), Outcome::Done);
        assert_eq!(key_names(&engine).unwrap().unwrap().other, None);
        assert_eq!(get(&engine, Subject::Key).unwrap(), Rotation { number: 1, ..Rotation::default() });
        assert_eq!(run(&engine, 9, &begin_key(1, NEW)), Outcome::Stale, "from a key that is not in force");
    }

    #[test]
    fn a_key_that_nobody_can_give_is_begun_again_with_another() {
        let engine = founded();
        run(&engine, 2, &begin_key(0, [7; 8]));
        assert_eq!(run(&engine, 3, &begin_key(1, NEW)), Outcome::Done);
        assert_eq!(key_names(&engine).unwrap().unwrap().other, Some(NEW));
        let rotation = get(&engine, Subject::Key).unwrap();
        assert_eq!((rotation.number, rotation.step), (2, Step::Spreading));
        assert_eq!(run(&engine, 3, &use_key(1)), Outcome::Stale, "of the first");
    }

    #[test]
    fn an_authority_is_replaced_and_the_one_before_stays_until_the_end() {
        let engine = founded();
        let begin = Command::BeginAuthority { after: 0, certificate: vec![5], sealed_key: vec![6] };
        let empty = MemoryEngine::new(Keyspace::STATE);
        assert_eq!(run(&empty, 2, &begin), Outcome::NotFound);
        assert_eq!(run(&engine, 2, &begin), Outcome::Done);
        assert_eq!(run(&engine, 2, &begin_key(0, NEW)), Outcome::Stale, "one at a time");
        let leave = Command::LeaveBehind { subject: Subject::Authority, number: 1, nodes: vec![4, 3, 4] };
        assert_eq!(run(&engine, 2, &leave), Outcome::Done);
        assert_eq!(get(&engine, Subject::Authority).unwrap().left_behind, [3, 4]);
        assert_eq!(run(&engine, 3, &Command::UseAuthority { number: 1 }), Outcome::Done);
        assert_eq!(members::authority(&engine).unwrap().unwrap().certificate, [1]);
        assert_eq!(get(&engine, Subject::Authority).unwrap().left_behind, [3, 4], "they are still away");
        let end = Command::End { subject: Subject::Authority, number: 1 };
        assert_eq!(run(&engine, 4, &end), Outcome::Done);
        let authority = members::authority(&engine).unwrap().unwrap();
        assert_eq!((authority.certificate, authority.made_at), (vec![5], Timestamp::from_millis(2)));
        assert_eq!(next_authority(&engine).unwrap(), None);
        assert_eq!(run(&engine, 5, &leave), Outcome::Stale);
    }

    #[test]
    fn a_base_key_made_meanwhile_is_not_left_sealed_with_the_old_key() {
        let engine = founded();
        run(&engine, 2, &begin_key(0, NEW));
        let mut transaction = Transaction::new(&engine);
        base_key::put(&mut transaction, vec![9]).unwrap();
        engine.commit(transaction.finish().0, Durability::Synced).unwrap();
        assert_eq!(run(&engine, 2, &use_key(1)), Outcome::Stale, "it does not seal the base key");
        let Command::UseKey { number, sealed_authority, webhook_keys, endorsement, .. } = use_key(1) else {
            panic!("not that step")
        };
        let sealed_base = Some(vec![8]);
        let whole = Command::UseKey { number, sealed_authority, webhook_keys, sealed_base, endorsement };
        assert_eq!(run(&engine, 2, &whole), Outcome::Done);
        assert_eq!(base_key::get(&engine).unwrap().unwrap().sealed, [8]);
    }

    #[test]
    fn an_authority_founded_meanwhile_is_not_left_sealed_with_the_old_key() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        run(&engine, 2, &begin_key(0, NEW));
        assert_eq!(run(&engine, 2, &use_key(1)), Outcome::Stale, "there is none to seal");
        let without = Command::UseKey {
            number: 1,
            sealed_authority: None,
            webhook_keys: Vec::new(),
            sealed_base: None,
            endorsement: String::new(),
        };
        let founded = founded();
        run(&founded, 2, &begin_key(0, NEW));
        assert_eq!(run(&founded, 2, &without), Outcome::Stale);
        assert_eq!(run(&engine, 2, &without), Outcome::Done);
    }
}
