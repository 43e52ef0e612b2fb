//! Refusals in the words of the protocol.

use twinmcp_cluster::{AuthorityError, ClusterError};
use twinmcp_storage::clock::EntropyError;
use twinmcp_storage::engine::StorageError;

use super::signing_key::KeyError;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What programs are told of a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// The code as the protocol spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A parameter is missing, stands twice or is malformed (RFC 6749, 5.2).
    InvalidRequest = "invalid_request",
    /// The client is unknown or did not show who it is (RFC 6749, 5.2).
    InvalidClient = "invalid_client",
    /// The code or refresh token is good for nothing, or not for this client (RFC 6749, 5.2).
    InvalidGrant = "invalid_grant",
    /// The client may not do it this way (RFC 6749, 5.2).
    UnauthorizedClient = "unauthorized_client",
    /// There is no such way to get tokens here (RFC 6749, 5.2).
    UnsupportedGrantType = "unsupported_grant_type",
    /// Only codes are given out (RFC 6749, 4.1.2.1).
    UnsupportedResponseType = "unsupported_response_type",
    /// A scope that does not exist, or that the client or person may not give (RFC 6749, 5.2).
    InvalidScope = "invalid_scope",
    /// A resource that is not here, or was not allowed (RFC 8707, 2).
    InvalidTarget = "invalid_target",
    /// The person said no (RFC 6749, 4.1.2.1).
    AccessDenied = "access_denied",
    /// The person has to sign in, and may not be asked (OpenID Connect Core, 3.1.2.6).
    LoginRequired = "login_required",
    /// The person has to be asked, and may not be (OpenID Connect Core, 3.1.2.6).
    ConsentRequired = "consent_required",
    /// The person has not shown as much as is asked, and cannot (RFC 9470, 5).
    UnmetAuthenticationRequirements = "unmet_authentication_requirements",
    /// The pushed request is unknown, was used or has expired (RFC 9126, 2.2).
    InvalidRequestUri = "invalid_request_uri",
    /// A redirect URI that no client may have (RFC 7591, 3.2.2).
    InvalidRedirectUri = "invalid_redirect_uri",
    /// Facts of a client that cannot be (RFC 7591, 3.2.2).
    InvalidClientMetadata = "invalid_client_metadata",
    /// The proof that came with it is none, or of something else (RFC 9449, 5).
    InvalidDpopProof = "invalid_dpop_proof",
    /// The proof carries no nonce of this node (RFC 9449, 8).
    UseDpopNonce = "use_dpop_nonce",
    /// The person has not decided yet (RFC 8628, 3.5).
    AuthorizationPending = "authorization_pending",
    /// The device asks too often (RFC 8628, 3.5).
    SlowDown = "slow_down",
    /// Nobody decided in time (RFC 8628, 3.5).
    ExpiredToken = "expired_token",
    /// The access token opens nothing (RFC 6750, 3.1).
    InvalidToken = "invalid_token",
    /// The node cannot agree on it with the others now (RFC 6749, 4.1.2.1).
    TemporarilyUnavailable = "temporarily_unavailable",
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct Refused {
    /// For programs.
    pub code: ErrorCode,
    /// For their developers: a sentence that says what to do, of printable ASCII without quotes (RFC 6749, 5.2).
    pub description: String,
}

impl Refused {
    pub(super) fn new(code: ErrorCode, description: impl Into<String>) -> Self {
        let plain = |letter: char| match letter {
            '"' => '\'',
            ' '..='~' if letter != '\\' => letter,
            _ => '?',
        };
        Self { code, description: description.into().chars().map(plain).collect() }
    }

    pub(super) fn request(description: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    pub(super) fn grant(description: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidGrant, description)
    }

    /// One sentence for a client that is not known and for one that shows the wrong secret.
    pub(super) fn client() -> Self {
        let description = "The client is unknown, or its credentials are wrong.";
        Self::new(ErrorCode::InvalidClient, description)
    }
}

/// Why the authorization server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    /// The request is at fault.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The proof carries no nonce of this node; this one is good.
    #[error("the proof has to carry the nonce of the answer's header 'DPoP-Nonce'")]
    Nonce(String),
    /// As many tokens are being signed as may be.
    #[error("too many tokens are being issued; try again in a moment")]
    Busy,
    /// The client was changed by somebody else, again and again.
    #[error("the client has changed meanwhile; look at what it is now, and try again")]
    Changed,
    /// The change did not reach a quorum in time.
    #[error("failed to replicate the change")]
    Replicate(#[from] ClusterError),
    /// The store could not be read.
    #[error("failed to read the authorization server's state")]
    Storage(#[from] StorageError),
    /// No secret could be made.
    #[error("failed to make a secret")]
    Entropy(#[from] EntropyError),
    /// No key could sign.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What secrets are made from could not be sealed.
    #[error("failed to seal the base key")]
    Seal(#[from] AuthorityError),
    /// There is no key for an algorithm yet.
    #[error("there is no key to sign with yet")]
    NoKey,
}
