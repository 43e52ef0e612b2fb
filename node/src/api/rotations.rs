//! Rotations over HTTP: the cluster's key and its authority are replaced while every node goes on.

use std::sync::Arc;

use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use twinmcp_cluster::{Cluster, ClusterKeys, NodeId, RotationError, RotationStatus};
use twinmcp_storage::clock::Entropy;
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::rotation::{Step, Subject};
use twinmcp_storage::scope::Scope;

use super::Tag;
use super::error::{ApiError, sentence};
use crate::http::Caller;

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub(crate) enum Secret {
    /// The key that every node has, with which secrets are sealed.
    Key,
    /// The authority whose certificates nodes show each other.
    Authority,
}

impl From<Secret> for Subject {
    fn from(secret: Secret) -> Self {
        match secret {
            Secret::Key => Self::Key,
            Secret::Authority => Self::Authority,
        }
    }
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub(crate) enum RotationStep {
    /// None is under way.
    Settled,
    /// Nodes get what is new and accept it.
    Spreading,
    /// What is new is in force, and what was before is still accepted.
    Using,
}

/// The newest rotation of one secret.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct RotationRecord {
    /// What is replaced.
    secret: Secret,
    /// Which rotation of it, from 1; 0 when there was none.
    number: u64,
    /// How far it is.
    step: RotationStep,
    /// When it was begun, RFC 3339; absent when none is under way.
    #[oai(skip_serializing_if_is_none)]
    begun_at: Option<String>,
    /// Ids of nodes that have yet to do this step: it is over when none is left.
    waits_for: Vec<u64>,
    /// Ids of nodes that the rotation goes on without.
    left_behind: Vec<u64>,
}

impl RotationRecord {
    /// Of both secrets.
    pub(super) fn all(cluster: &Cluster) -> Result<Vec<Self>, StorageError> {
        Subject::ALL.into_iter().map(|subject| Ok(cluster.rotation(subject)?.into())).collect()
    }
}

impl From<RotationStatus> for RotationRecord {
    fn from(status: RotationStatus) -> Self {
        let ids = |nodes: Vec<NodeId>| nodes.into_iter().map(|node| node.0).collect();
        Self {
            secret: match status.subject {
                Subject::Key => Secret::Key,
                Subject::Authority => Secret::Authority,
            },
            number: status.number,
            step: match status.step {
                Step::Settled => RotationStep::Settled,
                Step::Spreading => RotationStep::Spreading,
                Step::Using => RotationStep::Using,
            },
            begun_at: (status.step != Step::Settled).then(|| status.begun_at.to_string()),
            waits_for: ids(status.waits_for),
            left_behind: ids(status.left_behind),
        }
    }
}

impl Example for RotationRecord {
    fn example() -> Self {
        Self {
            secret: Secret::Key,
            number: 1,
            step: RotationStep::Spreading,
            begun_at: Some("2026-11-23T12:46:10.123Z".to_owned()),
            waits_for: vec![3],
            left_behind: Vec::new(),
        }
    }
}

#[derive(ApiResponse)]
pub(crate) enum Rotating {
    /// It is under way, and goes on by itself.
    #[oai(status = 200)]
    Begun(Json<RotationRecord>),
}

/// `/api/cluster/rotations`.
pub(crate) struct RotationsApi {
    pub(crate) cluster: Cluster,
    pub(crate) keys: ClusterKeys,
    pub(crate) entropy: Arc<dyn Entropy>,
}

#[OpenApi(prefix_path = "/api/cluster/rotations", tag = "Tag::Cluster")]
impl RotationsApi {
    /// Replaces the cluster's key or its authority.
    ///
    /// Begins it, or answers how far it is when it is under way; it goes on by itself, and is over when `GET /api/cluster` shows
    /// `settled`. Every node goes on meanwhile. While a member is away it waits for that one, or with `leave_behind` goes on
    /// without those that do not answer. One is replaced at a time: 409 `rotation_refused` otherwise. For operators (`admin`).
    #[oai(path = "/:secret", method = "post", operation_id = "rotate_secret")]
    async fn rotate(
        &self,
        caller: Caller,
        /// What is replaced.
        #[oai(example = "secret_example")]
        secret: Path<Secret>,
        /// Whether it goes on without members that do not answer now.
        #[oai(default, example = "leave_example")]
        leave_behind: Query<Option<bool>>,
    ) -> Result<Rotating, ApiError> {
        caller.may(Scope::Admin)?;
        match secret.0 {
            Secret::Key => self.cluster.rotate_key(&self.keys, &*self.entropy).await?,
            Secret::Authority => self.cluster.rotate_authority(&self.keys, &*self.entropy).await?,
        }
        if leave_behind.0 == Some(true) {
            self.cluster.leave_behind(secret.0.into()).await?;
        }
        Ok(Rotating::Begun(Json(self.cluster.rotation(secret.0.into())?.into())))
    }
}

impl From<RotationError> for ApiError {
    fn from(error: RotationError) -> Self {
        let told = sentence(&error.to_string());
        match error {
            RotationError::Version { .. } | RotationError::UnderWay | RotationError::NoAuthority => {
                Self::new(StatusCode::CONFLICT, "rotation_refused", told)
            }
            RotationError::KeyAway => Self::busy(told),
            RotationError::Propose(error) => error.into(),
            RotationError::Storage(error) => error.into(),
            error @ (RotationError::Files(_) | RotationError::Authority(_) | RotationError::Entropy(_)) => {
                Self::internal(error)
            }
        }
    }
}

fn secret_example() -> Secret {
    Secret::Key
}

fn leave_example() -> Option<bool> {
    Some(false)
}
