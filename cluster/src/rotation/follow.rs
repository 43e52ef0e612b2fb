//! What each node does in a rotation: gets what is new, accepts it, uses it, and says so.

use std::time::Duration;

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::members::{self, Authority};
use twinmcp_storage::record;
use twinmcp_storage::rotation::{self, KeyName, Rotation, Step, Subject};

use super::{FRESH_DEADLINE, RotationError};
use crate::authority::{AuthorityError, CertificateAuthority, ClusterKey, Credentials, pin};
use crate::handle::Cluster;
use crate::keys::{ClusterKeys, KEY_PATH, KeyAnswer, KeyQuestion};
use crate::status::{ClusterId, NodeId};

/// How long one member is waited for when it is asked for a key.
const KEY_DEADLINE: Duration = Duration::from_secs(2);

impl Cluster {
    /// Has the keys that agreed state names and no others, and confirms it. What this node lacks it gets from another.
    ///
    /// # Errors
    /// [`RotationError`]; it is tried again later.
    pub async fn keep_keys(&self, keys: &ClusterKeys) -> Result<(), RotationError> {
        let _held = keys.hold().await;
        let view = self.view();
        let (names, rotation) = (rotation::key_names(&*view)?, rotation::get(&*view, Subject::Key)?);
        drop(view);
        let mut wanted = match names {
            Some(names) => vec![self.key_named(keys, names.in_force, &rotation).await?],
            None => vec![keys.sealing()],
        };
        if let Some(other) = names.and_then(|names| names.other) {
            match self.key_named(keys, other, &rotation).await {
                Ok(key) => wanted.push(key),
                // The one before: whoever joined since does without.
                Err(RotationError::KeyAway) if rotation.step == Step::Using => {}
                Err(error) => return Err(error),
            }
        }
        if keys.all().len() > wanted.len() {
            // Not on the word of a state that is behind; and one that a power cut takes back must not need what is dropped.
            self.linearize(FRESH_DEADLINE).await?;
            if rotation::key_names(self.reader())? != names {
                return Err(RotationError::UnderWay);
            }
            self.persist().await.map_err(RotationError::Files)?;
        }
        keys.set(wanted).await.map_err(RotationError::Files)?;
        self.confirm(Subject::Key, &rotation).await
    }

    /// Says that this node has done the step of `rotation`, unless it has said so.
    pub(super) async fn confirm(&self, subject: Subject, rotation: &Rotation) -> Result<(), RotationError> {
        let node = self.status().node_id.0;
        if rotation.step == Step::Settled || rotation.confirmed.contains(&node) {
            return Ok(());
        }
        let (number, step) = (rotation.number, rotation.step);
        match self.step(rotation::Command::Confirm { subject, number, step, node }).await {
            // It has moved on meanwhile.
            Err(RotationError::UnderWay) => Ok(()),
            confirmed => confirmed,
        }
    }

    /// Says that this node believes and shows what `trust` says, if a rotation of the authority waits for that.
    ///
    /// # Errors
    /// [`RotationError`]; it is tried again later.
    pub async fn confirm_trust(&self, trust: &Trust) -> Result<(), RotationError> {
        let rotation = rotation::get(self.reader(), Subject::Authority)?;
        match Trust::agreed(self.reader())? {
            Some(agreed) if agreed.names() == trust.names() => {
                self.confirm(Subject::Authority, &rotation).await
            }
            _ => Ok(()),
        }
    }

    /// A key by its name: this node's, or that of a member that has it, first of those that have said so.
    pub(super) async fn key_named(
        &self,
        keys: &ClusterKeys,
        name: KeyName,
        rotation: &Rotation,
    ) -> Result<ClusterKey, RotationError> {
        if let Some(key) = keys.named(name) {
            return Ok(key);
        }
        let status = self.status();
        let mut members: Vec<NodeId> = status.members.iter().map(|member| member.node_id).collect();
        members.retain(|member| *member != status.node_id);
        members.sort_by_key(|member| !rotation.confirmed.contains(&member.0));
        let question = record::encode(&KeyQuestion { name })?;
        for member in members {
            let asked = self.ask(member, KEY_PATH, question.clone());
            match tokio::time::timeout(KEY_DEADLINE, asked).await {
                Ok(Ok(answer)) => {
                    if let Some(key) = KeyAnswer::read(&answer, name) {
                        return Ok(key);
                    }
                }
                Ok(Err(error)) => tracing::debug!(%member, %error, "a member gave no key"),
                Err(_) => tracing::debug!(%member, "a member that was asked for a key does not answer"),
            }
        }
        Err(RotationError::KeyAway)
    }
}

/// Which authorities a node believes, and whose certificate it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Signs this node's certificate.
    pub(crate) issuing: Authority,
    /// Believed as well.
    pub(crate) also: Option<Authority>,
}

impl Trust {
    /// What is agreed on; nothing while the cluster has no authority.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn agreed(state: &dyn Reader) -> Result<Option<Self>, StorageError> {
        let Some(in_force) = members::authority(state)? else { return Ok(None) };
        Ok(Some(match (rotation::get(state, Subject::Authority)?.step, rotation::next_authority(state)?) {
            (Step::Using, Some(next)) => Self { issuing: next, also: Some(in_force) },
            (_, next) => Self { issuing: in_force, also: next },
        }))
    }

    /// Only this authority.
    pub fn only(authority: Authority) -> Self {
        Self { issuing: authority, also: None }
    }

    /// When the newest authority of them was made.
    pub fn made_at(&self) -> Timestamp {
        self.also.as_ref().map_or(self.issuing.made_at, |also| also.made_at.max(self.issuing.made_at))
    }

    /// BLAKE3 of the certificates, the one that signs first: two that are equal believe and show the same.
    pub fn names(&self) -> Vec<[u8; 32]> {
        [Some(&self.issuing), self.also.as_ref()]
            .into_iter()
            .flatten()
            .map(|authority| pin(&authority.certificate))
            .collect()
    }

    /// Whether one of the keys opens the authority that signs.
    pub fn opens_with(&self, keys: &ClusterKeys) -> bool {
        self.authority(keys).is_ok()
    }

    fn authority(&self, keys: &ClusterKeys) -> Result<CertificateAuthority, AuthorityError> {
        let keys = keys.all();
        let mut opened = keys.iter().map(|key| CertificateAuthority::open(&self.issuing, key));
        opened.find(Result::is_ok).unwrap_or(Err(AuthorityError::Sealed))
    }

    /// A certificate for `node`, good from a minute before `now` for `life_ms`.
    ///
    /// # Errors
    /// [`AuthorityError::Sealed`] when none of the keys opens the authority.
    pub fn credentials(
        &self,
        keys: &ClusterKeys,
        (cluster, node): (ClusterId, NodeId),
        now: Timestamp,
        life_ms: u64,
    ) -> Result<Credentials, AuthorityError> {
        let mut credentials = self.authority(keys)?.issue(cluster, node, now, life_ms)?;
        credentials.roots.extend(self.also.iter().map(|also| also.certificate.clone().into()));
        Ok(credentials)
    }
}
