//! Finding a client, and knowing it for the one it says it is.

use std::sync::Arc;

use twinmcp_storage::engine::StorageError;
use twinmcp_storage::oauth::client::{self as agreed, Client, GrantType};

use super::client::Shown;
use super::error::{ErrorCode, OauthError, Refused};
use super::{Oauth, Params};

impl Oauth {
    /// The client called `id`.
    pub(super) fn client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        Ok(agreed::get(self.0.cluster.reader(), id)?.map(Arc::new))
    }

    /// The client that a request shows itself as.
    pub(super) fn authenticated(
        &self,
        params: &Params,
        authorization: Option<&str>,
    ) -> Result<Arc<Client>, OauthError> {
        let shown = Shown::of(params, authorization)?;
        let client = self.client(shown.id())?;
        if !shown.fits(client.as_deref()) {
            return Err(Refused::client().into());
        }
        client.ok_or_else(|| Refused::client().into())
    }
}

/// Refuses a client that may not get tokens this way.
pub(super) fn may(client: &Client, grant: GrantType) -> Result<(), Refused> {
    if client.grants.contains(&grant) {
        return Ok(());
    }
    let description = format!("The client is not registered for the grant type {}.", name(grant));
    Err(Refused::new(ErrorCode::UnauthorizedClient, description))
}

/// The grant type as the protocol spells it.
pub(super) const fn name(grant: GrantType) -> &'static str {
    match grant {
        GrantType::AuthorizationCode => "authorization_code",
        GrantType::RefreshToken => "refresh_token",
        GrantType::ClientCredentials => "client_credentials",
        GrantType::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
    }
}

/// Grant types that tokens are given for.
pub(super) const GRANT_TYPES: &[GrantType] =
    &[GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials];
