//! Replacing what is secret while every node goes on: the cluster's key, and the authority whose certificates nodes show.
//!
//! [`Cluster::rotate_key`] and [`Cluster::rotate_authority`] begin; each node follows ([`Cluster::keep_keys`], [`Trust`]) and
//! confirms what it has done (`follow.rs`); the leader moves a rotation on once every member has ([`Cluster::advance`],
//! `advance.rs`). The steps and what may follow on what are agreed state: [`twinmcp_storage::rotation`].
//!
//! Invariants: nothing new is used before every member accepts it, and nothing old is dropped before every member uses what is
//! new, but for those that an operator leaves behind; a new key travels only between members, inside TLS.

mod advance;
mod follow;

use std::io;
use std::time::Duration;

use twinmcp_storage::clock::{Entropy, EntropyError, Timestamp};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::rotation::{self, Rotation, Step, Subject};

pub use self::follow::Trust;
use crate::authority::{AuthorityError, CLUSTER_KEY_BYTES, CertificateAuthority, ClusterKey};
use crate::consensus::ROTATION_VERSION;
use crate::error::ClusterError;
use crate::handle::Cluster;
use crate::keys::ClusterKeys;
use crate::status::NodeId;

/// How long whoever begins waits until its node knows what was agreed on before.
const FRESH_DEADLINE: Duration = Duration::from_secs(5);
/// How long a node is waited for before it counts as away.
const AWAY_AFTER: Duration = Duration::from_secs(2);

/// Why a rotation was not begun, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Not every node could read it.
    #[error(
        "the cluster has version {version}, and secrets are replaced since version {ROTATION_VERSION}: run `twinmcp cluster \
         upgrade` once all nodes run this build"
    )]
    Version {
        /// What the cluster agreed on.
        version: u32,
    },
    /// The other secret is being replaced, or somebody was faster.
    #[error("another rotation is under way: `twinmcp cluster status` shows it; begin when it is over")]
    UnderWay,
    /// The cluster has no authority: its node listens for no peers.
    #[error(
        "this cluster has no authority: set `cluster.listen` and `cluster.address`, and restart the node"
    )]
    NoAuthority,
    /// Nobody has the key, or nobody that has it answers.
    #[error("no node that answers has the cluster's key that this one lacks")]
    KeyAway,
    /// The keys could not be kept.
    #[error("failed to keep the cluster's keys in the folder `keys`")]
    Files(#[source] io::Error),
    /// Something secret could not be sealed or opened.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No random bytes.
    #[error("no random bytes")]
    Entropy(#[from] EntropyError),
    /// It could not be agreed on.
    #[error("failed to agree on the rotation")]
    Propose(#[from] ClusterError),
    /// The state could not be read.
    #[error("failed to read the agreed state")]
    Storage(#[from] StorageError),
}

/// How far a rotation is, as one node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationStatus {
    /// What is replaced.
    pub subject: Subject,
    /// Which rotation of it, from 1; 0 when there was none.
    pub number: u64,
    /// How far it is.
    pub step: Step,
    /// When it was begun; the beginning of time when none is under way.
    pub begun_at: Timestamp,
    /// Members that have yet to do this step.
    pub waits_for: Vec<NodeId>,
    /// Members that it goes on without.
    pub left_behind: Vec<NodeId>,
}

impl Cluster {
    /// Begins to replace the cluster's key, or answers at once when that is under way.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn rotate_key(&self, keys: &ClusterKeys, entropy: &dyn Entropy) -> Result<(), RotationError> {
        self.may_rotate().await?;
        // Whoever follows must not drop the new key before it is agreed on.
        let _held = keys.hold().await;
        let rotation = rotation::get(self.reader(), Subject::Key)?;
        let is_under_way = match rotation.step {
            Step::Settled => false,
            Step::Using => true,
            // Whoever made it may have died with it.
            Step::Spreading => match rotation::key_names(self.reader())?.and_then(|names| names.other) {
                Some(next) => self.key_named(keys, next, &rotation).await.is_ok(),
                None => false,
            },
        };
        if is_under_way {
            return Ok(());
        }
        let mut bytes = [0; CLUSTER_KEY_BYTES];
        entropy.fill(&mut bytes)?;
        let (in_force, next) = (keys.sealing(), ClusterKey::new(bytes));
        keys.set(vec![in_force.clone(), next.clone()]).await.map_err(RotationError::Files)?;
        let node = self.status().node_id.0;
        self.step(rotation::Command::BeginKey {
            after: rotation.number,
            in_force: in_force.name(),
            next: next.name(),
            node,
        })
        .await
    }

    /// Begins to replace the cluster's authority, or answers at once when that is under way.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn rotate_authority(
        &self,
        keys: &ClusterKeys,
        entropy: &dyn Entropy,
    ) -> Result<(), RotationError> {
        self.may_rotate().await?;
        let rotation = rotation::get(self.reader(), Subject::Authority)?;
        if rotation.step != Step::Settled {
            return Ok(());
        }
        // While the key is replaced this node may be about to take up the next one: that is no lack of it.
        if rotation::get(self.reader(), Subject::Key)?.step != Step::Settled {
            return Err(RotationError::UnderWay);
        }
        let sealing = keys.sealing();
        let in_force = rotation::key_names(self.reader())?.map(|names| names.in_force);
        if in_force.is_some_and(|in_force| in_force != sealing.name()) {
            return Err(RotationError::KeyAway);
        }
        let (certificate, sealed_key) = CertificateAuthority::make()?.seal(&sealing, entropy)?;
        self.step(rotation::Command::BeginAuthority { after: rotation.number, certificate, sealed_key }).await
    }

    /// Lets a rotation go on without the members that have yet to do its step and do not answer. A rotation that is not under
    /// way is left alone.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn leave_behind(&self, subject: Subject) -> Result<(), RotationError> {
        self.may_rotate().await?;
        let RotationStatus { number, step, waits_for, .. } = self.rotation(subject)?;
        if step == Step::Settled {
            return Ok(());
        }
        let me = self.status().node_id;
        let others = waits_for.into_iter().filter(|node| *node != me);
        let asked = others.map(async |node| {
            let report = tokio::time::timeout(AWAY_AFTER, self.report_of(node)).await;
            (!matches!(report, Ok(Ok(_)))).then_some(node.0)
        });
        let nodes: Vec<u64> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        match nodes.is_empty() {
            true => Ok(()),
            false => self.step(rotation::Command::LeaveBehind { subject, number, nodes }).await,
        }
    }

    /// How far the newest rotation of `subject` is.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn rotation(&self, subject: Subject) -> Result<RotationStatus, StorageError> {
        let rotation = rotation::get(self.reader(), subject)?;
        Ok(RotationStatus {
            subject,
            number: rotation.number,
            step: rotation.step,
            begun_at: rotation.begun_at,
            waits_for: self.waits_for(&rotation),
            left_behind: rotation.left_behind.into_iter().map(NodeId).collect(),
        })
    }

    fn waits_for(&self, rotation: &Rotation) -> Vec<NodeId> {
        if rotation.step == Step::Settled {
            return Vec::new();
        }
        let is_done = |node: u64| rotation.confirmed.contains(&node) || rotation.left_behind.contains(&node);
        let members = self.status().members.into_iter().map(|member| member.node_id);
        members.filter(|node| !is_done(node.0)).collect()
    }

    async fn may_rotate(&self) -> Result<(), RotationError> {
        self.linearize(FRESH_DEADLINE).await?;
        match self.status().version {
            version if version < ROTATION_VERSION => Err(RotationError::Version { version }),
            _ => Ok(()),
        }
    }

    async fn step(&self, step: rotation::Command) -> Result<(), RotationError> {
        match self.propose(Command::Rotation(step)).await?.outcome {
            Outcome::Done => Ok(()),
            Outcome::NotFound => Err(RotationError::NoAuthority),
            _ => Err(RotationError::UnderWay),
        }
    }
}
