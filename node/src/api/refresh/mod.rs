//! Refreshing over HTTP: by hand, as Context7's clients ask for it, and by a signed webhook.

mod hook_body;

use poem::http::StatusCode;
use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use twinmcp_actors::Refresh;
use twinmcp_actors::refresh::{Proof, Pushed, RefreshError, Which};
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::scope::Scope;

use self::hook_body::HookBody;
use super::Tag;
use super::body::JsonBody;
use super::error::ApiError;
use super::failures::parse_id;
use super::jobs::JobRecord;
use super::libraries::{id, name_example, org_example};
use super::problem::Context7Error;
use crate::http::Caller;

/// What is to be read again.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct RefreshRequest {
    /// The version; the one that answers when left out.
    #[oai(default, validator(min_length = 1, max_length = 100))]
    version: Option<String>,
}

impl Example for RefreshRequest {
    fn example() -> Self {
        Self { version: Some("v3.12".to_owned()) }
    }
}

/// What Context7's clients ask for.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct Context7RefreshRequest {
    /// The library: `/org/name`.
    #[oai(validator(min_length = 1, max_length = 500))]
    library_name: String,
    /// The version that came from this branch; the one that answers when left out.
    #[oai(default, validator(min_length = 1, max_length = 200))]
    branch: Option<String>,
    /// Not taken: this node keeps no credentials of other services.
    #[oai(default, validator(max_length = 500))]
    git_token: Option<String>,
}

impl Example for Context7RefreshRequest {
    fn example() -> Self {
        Self { library_name: "/python/cpython".to_owned(), branch: None, git_token: None }
    }
}

/// That it was begun.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct Context7Refresh {
    /// In words.
    message: String,
}

impl Example for Context7Refresh {
    fn example() -> Self {
        Self { message: "Refresh started successfully".to_owned() }
    }
}

/// A webhook that was made.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct NewHook {
    /// Where to send its calls, on this node.
    path: String,
    /// What signs them. Shown this once; making it again makes another one.
    secret: String,
}

impl Example for NewHook {
    fn example() -> Self {
        Self { path: "/api/webhooks/python/cpython".to_owned(), secret: format!("tmwh_{}", "0".repeat(64)) }
    }
}

/// What a call of a webhook set off.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct HookAnswer {
    /// Jobs that were started.
    started: Vec<String>,
    /// Jobs that wait already, and will read what was pushed.
    waiting: Vec<String>,
}

impl From<Pushed> for HookAnswer {
    fn from(Pushed { started, waiting }: Pushed) -> Self {
        let texts = |ids: Vec<twinmcp_storage::ids::JobId>| ids.iter().map(ToString::to_string).collect();
        Self { started: texts(started), waiting: texts(waiting) }
    }
}

impl Example for HookAnswer {
    fn example() -> Self {
        Self { started: vec!["job_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned()], waiting: Vec::new() }
    }
}

#[derive(ApiResponse)]
pub(crate) enum Begun {
    /// The job was made and waits for its turn.
    #[oai(status = 201)]
    Job(Json<JobRecord>),
}

#[derive(ApiResponse)]
pub(crate) enum HookMade {
    /// Its secret, this once.
    #[oai(status = 201)]
    Hook(Json<NewHook>, #[oai(header = "Cache-Control")] String),
}

#[derive(ApiResponse)]
pub(crate) enum HookRemoved {
    /// It is gone.
    #[oai(status = 204)]
    Done,
}

/// Refreshing.
pub(crate) struct RefreshApi {
    pub(crate) refresh: Refresh,
}

#[OpenApi(prefix_path = "/api", tag = "Tag::Libraries")]
impl RefreshApi {
    /// Reads a library's source again, as Context7's clients ask for it.
    ///
    /// Needs `jobs:write` and a library of your own, or `admin`. 429 while it is being read. Compatible with Context7's
    /// `POST /v1/refresh`, without `gitToken`.
    #[oai(path = "/v1/refresh", method = "post", operation_id = "context7_refresh_library")]
    async fn context7(
        &self,
        caller: Caller,
        asked: JsonBody<Context7RefreshRequest>,
    ) -> Result<Json<Context7Refresh>, Context7Error> {
        caller.may(Scope::JobsWrite)?;
        if asked.git_token.is_some() {
            let message = "`gitToken` is not taken: this node keeps no credentials of other services. Send the \
                           documentation of a private repository with `twinmcp index`.";
            return Err(ApiError::bad_request(message).into());
        }
        let library: LibraryId = parse_id(&asked.library_name)?;
        let which = asked.branch.clone().map_or(Which::Current, Which::Branch);
        match self.refresh.start(&caller.owner(), &library, &which).await {
            Ok(_) => Ok(Json(Context7Refresh::example())),
            Err(error @ RefreshError::Open { .. }) => {
                let told = super::error::sentence(&error.to_string());
                Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", told)
                    .retry_after(30)
                    .into())
            }
            Err(error) => Err(ApiError::from(error).into()),
        }
    }

    /// Reads a library's source again.
    ///
    /// An index job from where the version came from: unchanged documents keep their vectors, and a source that has not
    /// changed keeps the version as it is. 409 while it is being read. Needs `jobs:write` and a library of your own, or
    /// `admin`.
    #[oai(path = "/libraries/:org/:name/refresh", method = "post", operation_id = "refresh_library")]
    async fn start(
        &self,
        caller: Caller,
        /// First part of the id.
        #[oai(example = "org_example")]
        org: Path<String>,
        /// The rest of the id.
        #[oai(example = "name_example")]
        name: Path<String>,
        asked: JsonBody<RefreshRequest>,
    ) -> Result<Begun, ApiError> {
        caller.may(Scope::JobsWrite)?;
        let which = match &asked.version {
            Some(version) => Which::Version(parse_id(version)?),
            None => Which::Current,
        };
        let view = self.refresh.start(&caller.owner(), &id(&org, &name)?, &which).await?;
        Ok(Begun::Job(Json(JobRecord::from(&view))))
    }

    /// Makes a library's webhook.
    ///
    /// Who knows its secret may have the library read again by calling `/api/webhooks/…`. The secret is shown this once; a
    /// second call makes another, and the first is worth nothing from then on. Needs `libraries:write` and a library of
    /// your own, or `admin`.
    #[oai(path = "/libraries/:org/:name/webhook", method = "post", operation_id = "make_webhook")]
    async fn make_hook(
        &self,
        caller: Caller,
        /// First part of the id.
        #[oai(example = "org_example")]
        org: Path<String>,
        /// The rest of the id.
        #[oai(example = "name_example")]
        name: Path<String>,
    ) -> Result<HookMade, ApiError> {
        caller.may(Scope::LibrariesWrite)?;
        let id = id(&org, &name)?;
        let secret = self.refresh.make_hook(&caller.owner(), &id).await?.reveal().to_owned();
        let path = format!("/api/webhooks/{}/{}", id.owner(), id.name().replace('/', "%2F"));
        Ok(HookMade::Hook(Json(NewHook { path, secret }), "no-store".to_owned()))
    }

    /// Takes a library's webhook away.
    ///
    /// Needs `libraries:write` and a library of your own, or `admin`.
    #[oai(path = "/libraries/:org/:name/webhook", method = "delete", operation_id = "remove_webhook")]
    async fn remove_hook(
        &self,
        caller: Caller,
        /// First part of the id.
        #[oai(example = "org_example")]
        org: Path<String>,
        /// The rest of the id.
        #[oai(example = "name_example")]
        name: Path<String>,
    ) -> Result<HookRemoved, ApiError> {
        caller.may(Scope::LibrariesWrite)?;
        self.refresh.remove_hook(&caller.owner(), &id(&org, &name)?).await?;
        Ok(HookRemoved::Done)
    }

    /// Takes a call of a library's webhook.
    ///
    /// Signed with its secret: `X-Hub-Signature-256` as GitHub sends it (HMAC-SHA256 of the body), or the secret itself in
    /// `X-Gitlab-Token`. Reads again the versions that came from the branch or tag that `ref` names, or the current
    /// version of a source that has none. The same call again costs at most one more reading. The body may have 1 MiB.
    #[oai(path = "/webhooks/:org/:name", method = "post", operation_id = "call_webhook")]
    async fn push(
        &self,
        /// First part of the library's id.
        #[oai(example = "org_example")]
        org: Path<String>,
        /// The rest of the library's id.
        #[oai(example = "name_example")]
        name: Path<String>,
        /// `sha256=` and HMAC-SHA256 of the body under the secret, in hex.
        #[oai(name = "X-Hub-Signature-256", example = "signature_example")]
        signature: Header<Option<String>>,
        /// The secret.
        #[oai(name = "X-Gitlab-Token", example = "token_example")]
        token: Header<Option<String>>,
        body: HookBody,
    ) -> Result<Json<HookAnswer>, ApiError> {
        let proof = match (&signature.0, &token.0) {
            (Some(signature), _) => Proof::Signature(signature),
            (None, Some(token)) => Proof::Token(token),
            (None, None) => return Err(RefreshError::NotProven.into()),
        };
        Ok(Json(self.refresh.push(&id(&org, &name)?, proof, &body.0).await?.into()))
    }
}

impl From<RefreshError> for ApiError {
    fn from(error: RefreshError) -> Self {
        let told = super::error::sentence(&error.to_string());
        let refused = |status, code| Self::new(status, code, told.clone());
        match error {
            RefreshError::NotFound { .. } => Self::not_found("library_not_found", told),
            RefreshError::VersionNotFound { .. } => Self::not_found("tag_not_found", told),
            RefreshError::Uploaded { .. } | RefreshError::NoOrigin { .. } => {
                refused(StatusCode::CONFLICT, "not_refreshable")
            }
            RefreshError::Open { ref job, .. } => {
                refused(StatusCode::CONFLICT, "job_open").with("job", job.as_str())
            }
            RefreshError::Interval => Self::bad_request(told),
            RefreshError::Body(error) => Self::bad_request(told).caused_by(error),
            // Not 401: no API key would help, and whether there is a hook is nobody's business.
            RefreshError::NotProven => refused(StatusCode::FORBIDDEN, "signature_refused"),
            RefreshError::Jobs(error) => error.into(),
            RefreshError::Replicate(error) => error.into(),
            RefreshError::Storage(error) => error.into(),
            RefreshError::Entropy(error) => Self::internal(error),
            RefreshError::Key(error) => Self::busy(told).caused_by(error),
        }
    }
}

fn signature_example() -> Option<String> {
    Some(format!("sha256={}", "0".repeat(64)))
}

fn token_example() -> Option<String> {
    Some(format!("tmwh_{}", "0".repeat(64)))
}
