//! From what went wrong inside to what is answered: one exhaustive match an error type.

use std::str::FromStr;

use poem::http::StatusCode;
use twinmcp_actors::Unanswered;
use twinmcp_actors::api_keys::ApiKeysError;
use twinmcp_actors::jobs::{JobsError, UploadError};
use twinmcp_actors::libraries::LibrariesError;
use twinmcp_cluster::ClusterError;
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::ids::InvalidId;

use super::error::ApiError;

/// Seconds until it is worth asking a node again that waits for an operator.
const OPERATOR_RETRY_S: u64 = 30;

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Engine { .. } | StorageError::Damaged { .. } | StorageError::Halted => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_failed",
                "The node cannot read its data; `/api/health` says what failed. Ask another node, or mend this one \
                 and restart it.",
            )
            .retry_after(OPERATOR_RETRY_S)
            .caused_by(error),
            error => Self::internal(error),
        }
    }
}

impl From<Unanswered> for ApiError {
    fn from(error: Unanswered) -> Self {
        Self::busy("The node has too much to do right now. Try again in a second.").caused_by(error)
    }
}

impl From<ClusterError> for ApiError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Deadline | ClusterError::LeaderChanged | ClusterError::Stopped { .. } => {
                let message = "Whether the change was made is not known. Look before you try again.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown", message)
                    .retry_after(1)
                    .caused_by(error)
            }
            ClusterError::Behind { .. } => {
                let message = "This node does not know yet all that was changed on others; nothing was done. Try again in a \
                               second, or ask another node.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "behind", message).retry_after(1).caused_by(error)
            }
            ClusterError::Busy | ClusterError::NoLeader => Self::busy(
                "The cluster takes no changes right now; nothing was changed. Try again in a second.",
            )
            .caused_by(error),
            ClusterError::Failed { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "read_only",
                "The node takes no changes since its disk or its data failed; nothing was changed, and reads go on. \
                 `/api/health` says what failed: mend it and restart the node.",
            )
            .retry_after(OPERATOR_RETRY_S)
            .caused_by(error),
            ClusterError::Members { ref reason } => {
                let message = super::error::sentence(&format!("the members were not changed: {reason}"));
                Self::new(StatusCode::CONFLICT, "members_unchanged", message).caused_by(error)
            }
            ClusterError::TooOld { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "cluster_upgrade_needed",
                "Nodes of an older build may be in the cluster, which could not read this. When every node runs the new \
                 build, `twinmcp cluster upgrade` allows it.",
            )
            .retry_after(OPERATOR_RETRY_S)
            .caused_by(error),
            ClusterError::TooLarge { bytes_max, .. } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("The change is larger than the {bytes_max} bytes a change may have."),
            ),
            error => Self::internal(error),
        }
    }
}

/// `no job x; try again` becomes `No job x; try again.`
fn told(error: &impl std::error::Error) -> String {
    super::error::sentence(&error.to_string())
}

impl From<ApiKeysError> for ApiError {
    fn from(error: ApiKeysError) -> Self {
        match error {
            ApiKeysError::NotFound { .. } => Self::not_found("api_key_not_found", told(&error)),
            ApiKeysError::TeamNotFound => Self::not_found("team_not_found", told(&error)),
            ApiKeysError::Forbidden => Self::new(StatusCode::FORBIDDEN, "role_insufficient", told(&error)),
            ApiKeysError::LimitReached => {
                Self::new(StatusCode::CONFLICT, "api_key_limit_reached", told(&error))
            }
            ApiKeysError::NameLength | ApiKeysError::NoScopes => Self::bad_request(told(&error)),
            ApiKeysError::Busy(error) => error.into(),
            ApiKeysError::Replicate(error) => error.into(),
            ApiKeysError::Storage(error) => error.into(),
            ApiKeysError::Entropy(error) => Self::internal(error),
        }
    }
}

impl From<LibrariesError> for ApiError {
    fn from(error: LibrariesError) -> Self {
        match error {
            LibrariesError::NotFound { .. } => Self::not_found("library_not_found", told(&error)),
            LibrariesError::VersionNotFound { .. } => Self::not_found("tag_not_found", told(&error)),
            LibrariesError::Taken { .. } => Self::new(StatusCode::CONFLICT, "library_taken", told(&error)),
            LibrariesError::OwnerNotFound => Self::not_found("team_not_found", told(&error)),
            LibrariesError::FactsTooLong { .. } | LibrariesError::TrustRange => {
                Self::bad_request(told(&error))
            }
            LibrariesError::Busy(error) => error.into(),
            LibrariesError::Replicate(error) => error.into(),
            LibrariesError::Storage(error) => error.into(),
        }
    }
}

impl From<JobsError> for ApiError {
    fn from(error: JobsError) -> Self {
        match error {
            JobsError::NotFound { .. } => Self::not_found("job_not_found", told(&error)),
            JobsError::Ended { .. } => Self::new(StatusCode::CONFLICT, "job_ended", told(&error)),
            JobsError::LimitReached => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "jobs_full", told(&error)).retry_after(60)
            }
            JobsError::AccountLimitReached => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_jobs", told(&error)).retry_after(60)
            }
            JobsError::Draining => Self::new(StatusCode::SERVICE_UNAVAILABLE, "node_draining", told(&error))
                .retry_after(OPERATOR_RETRY_S),
            JobsError::UploadNotFound { .. } => {
                Self::new(StatusCode::CONFLICT, "upload_not_found", told(&error))
            }
            JobsError::FolderNotAllowed { .. } => {
                Self::new(StatusCode::FORBIDDEN, "folder_not_allowed", told(&error))
            }
            JobsError::OtherOwner { .. } => Self::new(StatusCode::CONFLICT, "library_taken", told(&error)),
            JobsError::BaseUrl => Self::bad_request(told(&error)),
            JobsError::Fetch(_) => Self::new(StatusCode::BAD_REQUEST, "url_refused", told(&error)),
            JobsError::Busy(error) => error.into(),
            JobsError::Replicate(error) => error.into(),
            JobsError::Storage(error) => error.into(),
            JobsError::Entropy(error) => Self::internal(error),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", told(&error))
            }
            UploadError::Waiting { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", told(&error)).retry_after(3_600)
            }
            UploadError::Empty => Self::bad_request(told(&error)),
            UploadError::Write(error) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "upload_not_written",
                "The node's disk did not take the upload; nothing was kept. Look whether it is full or read-only.",
            )
            .retry_after(OPERATOR_RETRY_S)
            .caused_by(error),
            UploadError::Entropy(error) => Self::internal(error),
        }
    }
}

/// An id of a path, a query or a body.
///
/// # Errors
/// 400 `invalid_id` for what cannot be one.
pub(super) fn parse_id<T: FromStr<Err = InvalidId>>(text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|error: InvalidId| ApiError::new(StatusCode::BAD_REQUEST, "invalid_id", told(&error)))
}
