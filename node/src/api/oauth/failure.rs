//! Refusals of the authorization server as answers.

use poem::http::StatusCode;
use twinmcp_actors::oauth::{ErrorCode, OauthError, Refused};

use crate::api::ApiError;

impl From<OauthError> for ApiError {
    fn from(error: OauthError) -> Self {
        match error {
            OauthError::Refused(refused) => refused.into(),
            OauthError::Nonce(nonce) => Self::dpop_nonce(StatusCode::BAD_REQUEST, &nonce),
            OauthError::Busy => Self::busy(
                "As many requests for tokens are being answered as may be at once. Try again in a second.",
            ),
            OauthError::NoKey => {
                Self::busy("The cluster has no key to sign with yet. Try again in a second.").caused_by(error)
            }
            OauthError::Changed => Self::new(
                StatusCode::CONFLICT,
                "changed_meanwhile",
                "The client was changed by somebody else at the same moment. Look at what it is now, and try again.",
            ),
            OauthError::Replicate(error) => error.into(),
            OauthError::Storage(error) => error.into(),
            error @ (OauthError::Entropy(_) | OauthError::Key(_) | OauthError::Seal(_)) => {
                Self::internal(error)
            }
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let status = match refused.code {
            ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
            ErrorCode::AccessDenied => StatusCode::FORBIDDEN,
            ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        let error = Self::new(status, refused.code.as_str(), refused.description);
        if status == StatusCode::SERVICE_UNAVAILABLE { error.retry_after(60) } else { error }
    }
}
