//! Keys and clients of teams over HTTP. Each ends with the membership of whoever made it.

use std::sync::Arc;

use poem::http::StatusCode;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use twinmcp_actors::{ApiKeys, Oauth, Owner, Teams};
use twinmcp_storage::clock::Clock;
use twinmcp_storage::scope::Scope;
use twinmcp_storage::teams::Role;

use super::super::Tag;
use super::super::api_keys::{self, Created, KeyList, KeyRequest, Revoked};
use super::super::body::JsonBody;
use super::super::clients::{self, ClientList, ClientMade, ClientRemoved};
use super::super::error::ApiError;
use super::super::failures::parse_id;
use super::super::oauth::Metadata;
use super::shapes::team_example;
use crate::http::Caller;

/// `/api/teams/:id/keys` and `/api/teams/:id/clients`.
pub(crate) struct TeamBelongingsApi {
    pub(crate) teams: Teams,
    pub(crate) api_keys: ApiKeys,
    pub(crate) oauth: Oauth,
    pub(crate) clock: Arc<dyn Clock>,
}

#[OpenApi(prefix_path = "/api/teams", tag = "Tag::Teams")]
impl TeamBelongingsApi {
    /// Makes an API key of a team.
    ///
    /// It acts as the team, and ends when you leave it. A developer gives `docs:read`; owners and admins `chat`, `libraries:write`,
    /// `jobs:write` and `analytics:read` as well; nobody a scope that they lack themselves. Needs `keys:write`.
    #[oai(path = "/:id/keys", method = "post", operation_id = "create_team_key")]
    async fn create_key(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
        asked: JsonBody<KeyRequest>,
    ) -> Result<Created, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let team = parse_id(&id)?;
        self.teams.admitted(&caller.owner(), &team, Role::Developer)?;
        let scopes = asked.scopes(&caller)?;
        let expires_at = asked.expires_at(&*self.clock);
        let new = self.api_keys.create_for(caller.account(), &team, asked.name(), scopes, expires_at).await?;
        Ok(Created::new(&new, self.clock.now()))
    }

    /// Lists the API keys of a team.
    ///
    /// All of them for its owners and admins, those you made yourself otherwise; secrets never. Needs `keys:write`.
    #[oai(path = "/:id/keys", method = "get", operation_id = "list_team_keys")]
    async fn list_keys(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
    ) -> Result<Json<KeyList>, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let keys = self.teams.keys(&caller.owner(), &parse_id(&id)?)?;
        Ok(Json(KeyList::of(keys.iter().map(|it| &it.key), self.clock.now())))
    }

    /// Revokes an API key of a team.
    ///
    /// Your own, or any as an owner or admin. Needs `keys:write`.
    #[oai(path = "/:id/keys/:key", method = "delete", operation_id = "revoke_team_key")]
    async fn revoke_key(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
        /// The key's id.
        #[oai(example = "key_example")]
        key: Path<String>,
    ) -> Result<Revoked, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let (team, key) = (parse_id(&id)?, parse_id(&key)?);
        self.teams.admitted(&caller.owner(), &team, Role::Developer)?;
        match caller.owner() {
            Owner::Operator => self.api_keys.revoke(&team, &key).await?,
            Owner::Account(by) => self.api_keys.revoke_for(&by, &team, &key).await?,
        }
        Ok(Revoked::Done)
    }

    /// Makes a client of a team.
    ///
    /// Takes its metadata (RFC 7591), as `/api/clients` does. What it does for itself, it does in the team's name; it ends when you
    /// leave the team. For owners and admins. Needs `keys:write`.
    #[oai(path = "/:id/clients", method = "post", operation_id = "create_team_client")]
    async fn create_client(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
        metadata: Metadata,
    ) -> Result<ClientMade, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let team = parse_id(&id)?;
        self.teams.admitted(&caller.owner(), &team, Role::Admin)?;
        let may = clients::given(&caller);
        match self.oauth.make_team_client(caller.account(), &team, &metadata.0, &may).await? {
            Some(made) => Ok(ClientMade::new(&made)),
            None => Err(twinmcp_actors::teams::TeamsError::NotFound.into()),
        }
    }

    /// Lists the clients of a team.
    ///
    /// For owners and admins. Needs `keys:write`.
    #[oai(path = "/:id/clients", method = "get", operation_id = "list_team_clients")]
    async fn list_clients(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
    ) -> Result<Json<ClientList>, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let team = parse_id(&id)?;
        self.teams.admitted(&caller.owner(), &team, Role::Admin)?;
        Ok(Json(ClientList::of(self.oauth.clients_of(Some(&team))?)))
    }

    /// Removes a client of a team.
    ///
    /// It gets no tokens any more; those it has live until they expire. For owners and admins. Needs `keys:write`.
    #[oai(path = "/:id/clients/:client", method = "delete", operation_id = "remove_team_client")]
    async fn remove_client(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
        /// The client.
        #[oai(example = "client_example")]
        client: Path<String>,
    ) -> Result<ClientRemoved, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let team = parse_id(&id)?;
        self.teams.admitted(&caller.owner(), &team, Role::Admin)?;
        if self.oauth.remove_client(&Owner::Account(team), &client).await? {
            return Ok(ClientRemoved::Done);
        }
        let message = format!("The team has no client `{}`.", client.0);
        Err(ApiError::new(StatusCode::NOT_FOUND, "client_not_found", message))
    }
}

fn key_example() -> String {
    api_keys::id_example()
}

fn client_example() -> String {
    clients::example_id()
}
