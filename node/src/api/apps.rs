//! What a person has allowed programs, and taking it back.

use poem::http::StatusCode;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use twinmcp_actors::Oauth;
use twinmcp_actors::oauth::App;

use super::Tag;
use super::error::ApiError;
use crate::http::Session;

/// A program that was allowed something.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct AppView {
    /// Its name in the protocol.
    client_id: String,
    /// What it is called, as far as that is known.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// What it may do.
    scopes: Vec<String>,
    /// When that was allowed, the last time, RFC 3339.
    allowed_at: String,
    /// Sign-ins of it that are in force.
    grants: u32,
}

impl From<App> for AppView {
    fn from(app: App) -> Self {
        Self {
            client_id: app.client,
            name: app.name,
            scopes: app.scopes.iter().map(ToString::to_string).collect(),
            allowed_at: app.allowed_at.to_string(),
            grants: app.grants,
        }
    }
}

impl Example for AppView {
    fn example() -> Self {
        Self {
            client_id: "client_4bWdN1YpS0qfQmXzT7aJ2w".to_owned(),
            name: Some("Editor".to_owned()),
            scopes: vec!["docs:read".to_owned()],
            allowed_at: "2026-11-23T12:46:10.123Z".to_owned(),
            grants: 1,
        }
    }
}

/// Programs that you have allowed something.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct AppList {
    /// The programs.
    apps: Vec<AppView>,
}

impl Example for AppList {
    fn example() -> Self {
        Self { apps: vec![AppView::example()] }
    }
}

#[derive(ApiResponse)]
pub(crate) enum Withdrawn {
    /// It may do nothing any more.
    #[oai(status = 204)]
    Done,
}

/// `/api/auth/apps`.
pub(crate) struct AppsApi {
    pub(crate) oauth: Oauth,
}

#[OpenApi(prefix_path = "/api/auth/apps", tag = "Tag::People")]
impl AppsApi {
    /// Lists the programs that you have allowed something.
    ///
    /// Reads this node's own state.
    #[oai(path = "/", method = "get", operation_id = "list_apps")]
    async fn list(&self, person: Session) -> Result<Json<AppList>, ApiError> {
        let apps = self.oauth.apps(&person.0.account)?;
        Ok(Json(AppList { apps: apps.into_iter().map(AppView::from).collect() }))
    }

    /// Takes back what you have allowed a program.
    ///
    /// All of its tokens are refused: here at once, on every other node within the replication bound.
    #[oai(path = "/", method = "delete", operation_id = "withdraw_app")]
    async fn withdraw(
        &self,
        person: Session,
        /// The program's name in the protocol; one may be a URL.
        #[oai(example = "example_id", validator(max_length = 512))]
        client_id: Query<String>,
    ) -> Result<Withdrawn, ApiError> {
        if self.oauth.withdraw(&person.0.account, &client_id).await? {
            return Ok(Withdrawn::Done);
        }
        let message = "You have allowed no such program anything.";
        Err(ApiError::new(StatusCode::NOT_FOUND, "app_not_found", message))
    }
}

fn example_id() -> String {
    AppView::example().client_id
}
