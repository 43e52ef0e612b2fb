//! The HTTP API: one file a noun, shapes of its own, errors in one place.
//!
//! Endpoints translate: they parse, ask who the caller is, call one handle and shape the answer.
//! Doc comments of endpoints are the public documentation, `operation_id`s the public names.

mod accounts;
mod add;
mod answer;
mod api_keys;
mod apps;
pub(crate) mod audit;
mod auth;
mod body;
mod catalogue;
mod clients;
mod cluster;
mod document;
mod error;
mod failures;
mod health;
mod jobs;
mod libraries;
mod oauth;
mod problem;
mod refresh;
mod rotations;
mod route;
mod search;
mod signing_keys;
mod teams;
#[cfg(test)]
mod tests;
mod tools;
mod upgrade;
mod usage;
mod well_known;

use poem::http::Method;
use poem::{Endpoint, EndpointExt, IntoResponse, Route};
use poem_openapi::registry::{MetaApi, Registry};
use poem_openapi::{OpenApi, OpenApiService, Tags};

pub(crate) use self::accounts::AccountsApi;
#[cfg(fuzzing)]
pub(crate) use self::add::fuzz_added;
pub(crate) use self::add::{AddApi, FORMS_AT_ONCE_MAX};
pub(crate) use self::answer::{docs_text, libraries_text, marks};
pub(crate) use self::api_keys::{ApiKeysApi, scopes_of_key};
pub(crate) use self::apps::AppsApi;
pub(crate) use self::audit::AuditApi;
pub(crate) use self::auth::{AuthApi, MfaApi, PasskeysApi, SmsApi, TEXT_NOT_SENT, UpstreamApi};
pub(crate) use self::catalogue::CatalogueApi;
pub(crate) use self::clients::ClientsApi;
pub(crate) use self::cluster::ClusterApi;
pub(crate) use self::document::allowed_methods;
pub use self::document::openapi_document;
pub(crate) use self::error::{ApiError, Shape, sentence};
pub(crate) use self::health::{Health, HealthApi};
pub(crate) use self::jobs::JobsApi;
pub(crate) use self::libraries::LibrariesApi;
pub(crate) use self::oauth::OauthApi;
pub(crate) use self::refresh::RefreshApi;
pub(crate) use self::rotations::RotationsApi;
pub(crate) use self::route::RouteApi;
pub(crate) use self::search::{Context7Api, ToolsApi};
pub(crate) use self::signing_keys::SigningKeysApi;
pub(crate) use self::teams::{TeamBelongingsApi, TeamsApi};
pub(crate) use self::tools::Tools;
pub(crate) use self::usage::UsageApi;
pub(crate) use self::well_known::resource_metadata_path;

/// Chapters of the document.
#[derive(Tags)]
pub(crate) enum Tag {
    /// The two tools as Context7's clients call them.
    Context7,
    /// The two tools as typed JSON.
    Tools,
    /// What is documented here.
    Libraries,
    /// Index jobs and their progress.
    Jobs,
    /// Who may call, and for what.
    #[oai(rename = "API keys")]
    ApiKeys,
    /// Tokens, and the clients that get them.
    #[oai(rename = "OAuth 2.0")]
    Oauth,
    /// People: sign-up, sign-in, sessions, and who is let in.
    People,
    /// Accounts that several people share.
    Teams,
    /// What happened, and who did it.
    #[oai(rename = "Audit log")]
    Audit,
    /// Who takes part, and the operators' verbs.
    Cluster,
    /// How the node is.
    Health,
}

/// Endpoints about who somebody is, and what they are allowed.
pub(crate) type IdentityApis = (
    AuthApi,
    MfaApi,
    PasskeysApi,
    AccountsApi,
    AppsApi,
    OauthApi,
    ClientsApi,
    SigningKeysApi,
    TeamsApi,
    TeamBelongingsApi,
    AuditApi,
    UpstreamApi,
    SmsApi,
);

/// Every endpoint of the document.
pub(crate) type Apis = (
    Context7Api,
    AddApi,
    ToolsApi,
    LibrariesApi,
    CatalogueApi,
    RefreshApi,
    UsageApi,
    JobsApi,
    ApiKeysApi,
    ClusterApi,
    RotationsApi,
    RouteApi,
    HealthApi,
    IdentityApis,
);

/// The endpoints, or only what is documented about them: the document needs no running node.
struct Described(Option<Apis>);

impl OpenApi for Described {
    fn meta() -> Vec<MetaApi> {
        Apis::meta()
    }

    fn register(registry: &mut Registry) {
        Apis::register(registry);
    }

    fn add_routes(
        self,
        table: &mut std::collections::HashMap<
            String,
            std::collections::HashMap<Method, poem::endpoint::BoxEndpoint<'static>>,
        >,
    ) {
        if let Some(apis) = self.0 {
            apis.add_routes(table);
        }
    }
}

fn service(apis: Option<Apis>) -> OpenApiService<Described, ()> {
    document::describe(OpenApiService::new(Described(apis), "TwinMCP", env!("CARGO_PKG_VERSION")))
}

/// All routes of the API, its document and its pages.
pub(crate) fn routes(
    apis: Apis,
    mcp: impl Endpoint + 'static,
    (authorize, end_session): (impl Endpoint + 'static, impl Endpoint + 'static),
    pages: Route,
) -> Route {
    let (.., (_, _, _, _, _, OauthApi { oauth, .. }, ..)) = &apis;
    let oauth = oauth.clone();
    well_known::add(Route::new(), &oauth)
        .at("/mcp", mcp)
        .at(crate::ui::AUTHORIZE, authorize)
        .at(crate::ui::END_SESSION, end_session)
        .at("/api/openapi.json", fixed("application/json", || document::DOCUMENT.into()))
        .at("/api/docs", fixed("text/html; charset=utf-8", document::swagger_page))
        .nest_no_strip("/api", service(Some(apis)))
        .nest_no_strip("/", pages)
}

/// An endpoint that answers GET with the same bytes each time.
fn fixed(content_type: &'static str, body: fn() -> bytes::Bytes) -> impl Endpoint {
    poem::get(poem::endpoint::make_sync(move |_| body().with_content_type(content_type).into_response()))
        .map_to_response()
}
