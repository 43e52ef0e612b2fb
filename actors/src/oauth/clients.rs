//! Finding a client, and knowing it for the one it says it is.

use std::sync::Arc;

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::oauth::client::{self as agreed, Authentication, Client, GrantType, Owner, TokenFormat};
use twinmcp_storage::scope::Scope;

use super::assertion;
use super::client::Shown;
use super::document;
use super::error::{ErrorCode, OauthError, Refused};
use super::{Oauth, Params};

/// The client of Context7's command line, which names itself by this constant and signs in as a device (`ctx7 login`).
const CTX7_ID: &str = "2veBSofhicRBguUT";

pub(super) fn ctx7() -> Client {
    Client {
        id: CTX7_ID.to_owned(),
        name: "ctx7, the command line of Context7".to_owned(),
        owner: Owner::Program,
        authentication: Authentication::None,
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: vec![GrantType::DeviceCode, GrantType::RefreshToken],
        scopes: vec![Scope::DocsRead, Scope::OfflineAccess],
        token_format: TokenFormat::Jwt,
        algorithm: None,
        uri: None,
        trusted: false,
        backchannel_logout: None,
        created_at: Timestamp::default(),
    }
}

impl Oauth {
    /// The client called `id`: one that is kept, one that this build knows, or one whose document says what it is.
    pub(super) async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, OauthError> {
        if document::is_url(id) {
            // Rare, and much larger than everything else that is awaited here.
            return Ok(Some(Box::pin(self.0.documents.client(id)).await?));
        }
        if id == CTX7_ID {
            return Ok(Some(Arc::new(ctx7())));
        }
        Ok(agreed::get(self.0.cluster.reader(), id)?.map(Arc::new))
    }

    /// The client that a request shows itself as.
    pub(super) async fn authenticated(
        &self,
        params: &Params,
        authorization: Option<&str>,
    ) -> Result<Arc<Client>, OauthError> {
        let shown = Shown::of(params, authorization)?;
        let client = self.client(shown.id()).await?;
        let taken = match (&shown, &client) {
            (Shown::Assertion { text, .. }, Some(client)) => {
                Box::pin(self.take_assertion(client, text)).await
            }
            _ if shown.fits(client.as_deref()) => Ok(()),
            _ => Err(Refused::client().into()),
        };
        // Not where its keys could not be read: nobody has shown anything wrong then.
        if let (Err(OauthError::Refused(refused)), Some(client)) = (&taken, &client)
            && *refused != assertion::unread_keys()
        {
            self.0.misshown.note(client, &self.0.audit);
        }
        taken?;
        client.ok_or_else(|| Refused::client().into())
    }
}

/// Whether an account, or this build, answers for the client: anybody can register one, or publish its document.
pub(super) fn is_vouched_for(client: &Client) -> bool {
    matches!(client.owner, Owner::Account(_) | Owner::Program)
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
pub(super) const GRANT_TYPES: &[GrantType] = &[
    GrantType::AuthorizationCode,
    GrantType::RefreshToken,
    GrantType::ClientCredentials,
    GrantType::DeviceCode,
];
