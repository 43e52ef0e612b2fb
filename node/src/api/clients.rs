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
        let shown = |client| Registered { client, secret: None, registration_token: None }.metadata();
        Self { clients: clients.into_iter().map(shown).collect() }
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

    /// Replaces a client's secret.
    ///
    /// The answer has the new one, which is shown this once; the one before is refused from now on. One of your clients; with the scope
    /// `admin` anybody's. 400 for a client without a secret. Needs `keys:write`.
    #[oai(path = "/:id/secret", method = "post", operation_id = "replace_client_secret")]
    async fn replace_secret(
        &self,
        caller: Caller,
        /// The client.
        #[oai(example = "example_id")]
        id: Path<String>,
    ) -> Result<SecretReplaced, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let account = (!caller.has(Scope::Admin)).then(|| caller.account());
        match self.oauth.replace_secret(account, &id).await? {
            Some(client) => Ok(SecretReplaced::Client(Json(client.metadata()), "no-store".to_owned())),
            None => Err(unknown(&id)),
        }
    }

    /// Removes a client.
    ///
    /// One of yours; with the scope `admin` anybody's. Needs `keys:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "remove_client")]
    async fn remove(
        &self,
        caller: Caller,
        /// The client.
        #[oai(example = "example_id")]
        id: Path<String>,
    ) -> Result<ClientRemoved, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let account = (!caller.has(Scope::Admin)).then(|| caller.account());
        if self.oauth.remove_client(account, &id).await? {
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
