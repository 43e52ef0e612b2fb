//! Clients that people make over HTTP: programs that act for themselves, or sign others in. Clients that make themselves are
//! registered at `/api/oauth/register`.

use poem::http::StatusCode;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::Value;
use twinmcp_actors::Oauth;
use twinmcp_actors::oauth::Registered;
use twinmcp_storage::oauth::client::Client;
use twinmcp_storage::scope::Scope;

use super::Tag;
use super::error::ApiError;
use super::oauth::Metadata;
use crate::http::Caller;

/// Clients: those that people made, then those that registered themselves.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ClientList {
    /// Each with its metadata (RFC 7591), secrets never.
    clients: Vec<Value>,
}

impl ClientList {
    pub(super) fn of(clients: Vec<Client>) -> Self {
        Self { clients: clients.into_iter().map(|client| Registered::told(client).metadata()).collect() }
    }
}

impl Example for ClientList {
    fn example() -> Self {
        let client = serde_json::json!({
            "client_id": "client_4bWdN1YpS0qfQmXzT7aJ2w",
            "client_name": "nightly build",
            "grant_types": ["client_credentials"],
            "scope": "docs:read",
        });
        Self { clients: vec![client] }
    }
}

#[derive(ApiResponse)]
pub(crate) enum ClientMade {
    /// The client, with its secret, which is shown this once.
    #[oai(status = 201)]
    Client(
        Json<Value>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl ClientMade {
    /// A client that was made a moment ago.
    pub(super) fn new(made: &Registered) -> Self {
        Self::Client(Json(made.metadata()), "no-store".to_owned())
    }
}

#[derive(ApiResponse)]
pub(crate) enum ClientChanged {
    /// The client as it is now.
    #[oai(status = 200)]
    Client(Json<Value>),
}

#[derive(ApiResponse)]
pub(crate) enum SecretReplaced {
    /// The client, with its new secret, which is shown this once.
    #[oai(status = 200)]
    Client(
        Json<Value>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(crate) enum ClientRemoved {
    /// It gets no tokens any more; those it has live until they expire.
    #[oai(status = 204)]
    Done,
}

/// `/api/clients`.
pub(crate) struct ClientsApi {
    pub(crate) oauth: Oauth,
}

#[OpenApi(prefix_path = "/api/clients", tag = "Tag::Oauth")]
impl ClientsApi {
    /// Makes a client.
    ///
    /// Takes its metadata (RFC 7591): `client_name`, `grant_types`, `redirect_uris`, `scope`, `token_endpoint_auth_method`, and
    /// `access_token_format` (`jwt` or `opaque`). What it does for itself, it does in your account's name. Needs `keys:write`; a client
    /// gets no scope that you lack. An account has 100 at most.
    #[oai(path = "/", method = "post", operation_id = "create_client")]
    async fn create(&self, caller: Caller, metadata: Metadata) -> Result<ClientMade, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let made = self.oauth.make_client(caller.account(), &metadata.0, &given(&caller)).await?;
        Ok(ClientMade::new(&made))
    }

    /// Lists your clients.
    ///
    /// With the scope `admin` everybody's, those that people made first; a thousand at most. Needs `keys:write`.
    #[oai(path = "/", method = "get", operation_id = "list_clients")]
    async fn list(&self, caller: Caller) -> Result<Json<ClientList>, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let account = (!caller.has(Scope::Admin)).then(|| caller.account());
        Ok(Json(ClientList::of(self.oauth.clients_of(account)?)))
    }

    /// Changes a client.
    ///
    /// What is named is from now on what it says, by the rules for making one; what is absent, or `null`, stays. `[]` takes a list away,
    /// and empty text `client_uri`, `backchannel_logout_uri` and `id_token_signed_response_alg`. Its secret is replaced at
    /// `/api/clients/{id}/secret`, and how it shows who it is stays: make another client for that. At an address, or with a scope, that
    /// was taken away nothing is given any more, whatever people have allowed; access tokens that are out live until they expire. One of
    /// your clients, or of a team as its owner or admin; with the scope `admin` anybody's. 403 where the client may then have a scope that
    /// you lack, and for the keys of a team's client that somebody else made. Needs `keys:write`.
    #[oai(path = "/:id", method = "patch", operation_id = "change_client")]
    async fn change(
        &self,
        caller: Caller,
        /// The client.
        #[oai(example = "example_id")]
        id: Path<String>,
        changes: Metadata,
    ) -> Result<ClientChanged, ApiError> {
        caller.may(Scope::KeysWrite)?;
        match self.oauth.change_client(&caller.owner(), &id, &changes.0, &given(&caller)).await? {
            Some(client) => Ok(ClientChanged::Client(Json(client.metadata()))),
            None => Err(unknown(&id)),
        }
    }

    /// Replaces a client's secret.
    ///
    /// The answer has the new one, which is shown this once; the one before is refused from now on. One of your clients, or one that you
    /// made for a team as its owner or admin; with the scope `admin` anybody's. 400 for a client without a secret, 403 for one that may
    /// have a scope that you lack, and for a team's that somebody else made: it ends with whoever has seen its secret. Needs `keys:write`.
    #[oai(path = "/:id/secret", method = "post", operation_id = "replace_client_secret")]
    async fn replace_secret(
        &self,
        caller: Caller,
        /// The client.
        #[oai(example = "example_id")]
        id: Path<String>,
    ) -> Result<SecretReplaced, ApiError> {
        caller.may(Scope::KeysWrite)?;
        match self.oauth.replace_secret(&caller.owner(), &id, &given(&caller)).await? {
            Some(client) => Ok(SecretReplaced::Client(Json(client.metadata()), "no-store".to_owned())),
            None => Err(unknown(&id)),
        }
    }

    /// Removes a client.
    ///
    /// One of yours, or of a team as its owner or admin; with the scope `admin` anybody's. Needs `keys:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "remove_client")]
    async fn remove(
        &self,
        caller: Caller,
        /// The client.
        #[oai(example = "example_id")]
        id: Path<String>,
    ) -> Result<ClientRemoved, ApiError> {
        caller.may(Scope::KeysWrite)?;
        if self.oauth.remove_client(&caller.owner(), &id).await? {
            return Ok(ClientRemoved::Done);
        }
        Err(unknown(&id))
    }
}

/// The scopes that a caller's client may have: none that the caller lacks, and whatever people allow it.
pub(super) fn given(caller: &Caller) -> Vec<Scope> {
    Scope::ALL.iter().copied().filter(|scope| !scope.is_permission() || caller.has(*scope)).collect()
}

fn unknown(id: &str) -> ApiError {
    let message = format!("There is no client `{id}` of yours.");
    ApiError::new(StatusCode::NOT_FOUND, "client_not_found", message)
}

pub(super) fn example_id() -> String {
    "client_4bWdN1YpS0qfQmXzT7aJ2w".to_owned()
}
