//! Adding a library as Context7's clients do: a URL in, an id and a job out.

mod form;
mod id;
mod pack;

use poem::http::StatusCode;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use tokio::sync::Semaphore;
use twinmcp_actors::jobs::{JobsError, Submission};
use twinmcp_actors::{Jobs, Libraries, Owner};
use twinmcp_storage::ids::{LibraryId, Version};
use twinmcp_storage::jobs::{Revision, Source};
use twinmcp_storage::scope::Scope;

use self::form::OpenApiForm;
use self::id::AddedUrl;
use super::Tag;
use super::body::JsonBody;
use super::error::ApiError;
use super::problem::Context7Error;
use crate::http::Caller;

/// The version of what is added by a URL alone.
const VERSION: &str = "latest";
/// Documents that are read from forms at once: each is in memory whole, and some more while it is parsed.
pub(crate) const FORMS_AT_ONCE_MAX: usize = 4;

/// A git repository to be added.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct AddRepo {
    /// The repository's URL, https.
    #[oai(validator(min_length = 1, max_length = 2000))]
    docs_repo_url: String,
    /// Not taken: this node keeps no credentials of other services.
    #[oai(default, validator(max_length = 500))]
    git_token: Option<String>,
    /// Must not be true: what needs credentials is sent with `twinmcp index`.
    #[oai(default)]
    private: Option<bool>,
    /// Accepted for compatibility; versions are indexed when asked for.
    #[oai(default)]
    skip_version_filtering: Option<bool>,
    /// Must not be true: documentation is read, not written.
    #[oai(default)]
    generate_docs: Option<bool>,
}

impl Example for AddRepo {
    fn example() -> Self {
        Self {
            docs_repo_url: "https://github.com/acme/kiln".to_owned(),
            git_token: None,
            private: None,
            skip_version_filtering: None,
            generate_docs: None,
        }
    }
}

/// An OpenAPI document to be added.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct AddOpenApi {
    /// Where it is published.
    #[oai(validator(min_length = 1, max_length = 2000))]
    open_api_url: String,
}

impl Example for AddOpenApi {
    fn example() -> Self {
        Self { open_api_url: "https://api.example.com/openapi.json".to_owned() }
    }
}

/// An `llms.txt` to be added.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct AddLlmsTxt {
    /// Where it is published.
    #[oai(validator(min_length = 1, max_length = 2000))]
    llmstxt_url: String,
}

impl Example for AddLlmsTxt {
    fn example() -> Self {
        Self { llmstxt_url: "https://docs.example.com/llms.txt".to_owned() }
    }
}

/// A web site to be added.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct AddWebsite {
    /// The page to begin with; nothing above its folder is read.
    #[oai(validator(min_length = 1, max_length = 2000))]
    website_url: String,
    /// Only pages below this URL are read; `websiteUrl` must be one of them.
    #[oai(default, validator(min_length = 1, max_length = 2000))]
    website_base_url: Option<String>,
}

impl Example for AddWebsite {
    fn example() -> Self {
        Self { website_url: "https://docs.example.com/guide/".to_owned(), website_base_url: None }
    }
}

/// Something that is read nowhere here.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct AddOther {
    /// Its name.
    #[oai(default, validator(max_length = 200))]
    title: Option<String>,
}

impl Example for AddOther {
    fn example() -> Self {
        Self { title: Some("Product docs".to_owned()) }
    }
}

/// A library that is being indexed.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct Added {
    /// Its id.
    library_name: String,
    /// What happens now.
    message: String,
    /// The job that indexes it. Our extension.
    job_id: String,
}

impl Example for Added {
    fn example() -> Self {
        Self {
            library_name: "/acme/kiln".to_owned(),
            message: "Library /acme/kiln is being indexed.".to_owned(),
            job_id: "job_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned(),
        }
    }
}

/// Context7's `/v2/add`.
pub(crate) struct AddApi {
    pub(crate) jobs: Jobs,
    pub(crate) libraries: Libraries,
    /// Forms that may be read at once, [`FORMS_AT_ONCE_MAX`].
    pub(crate) forms: Semaphore,
}

#[OpenApi(prefix_path = "/api/v2/add", tag = "Tag::Context7")]
impl AddApi {
    /// Adds a repository of GitHub.
    ///
    /// It becomes `/owner/name`, version `latest`, of its default branch. Needs `jobs:write`; 409 `duplicate_repo` when it is
    /// here already (`POST /api/v1/refresh` reads it again).
    #[oai(path = "/repo/github", method = "post", operation_id = "context7_add_github")]
    async fn github(&self, caller: Caller, asked: JsonBody<AddRepo>) -> Result<Json<Added>, Context7Error> {
        self.repo(&caller, &asked, Some("github.com")).await
    }

    /// Adds a repository of GitLab, on gitlab.com or a host of your own.
    ///
    /// As for GitHub. Needs `jobs:write`.
    #[oai(path = "/repo/gitlab", method = "post", operation_id = "context7_add_gitlab")]
    async fn gitlab(&self, caller: Caller, asked: JsonBody<AddRepo>) -> Result<Json<Added>, Context7Error> {
        self.repo(&caller, &asked, None).await
    }

    /// Adds a repository of Bitbucket, on bitbucket.org or a host of your own.
    ///
    /// As for GitHub. Needs `jobs:write`.
    #[oai(path = "/repo/bitbucket", method = "post", operation_id = "context7_add_bitbucket")]
    async fn bitbucket(
        &self,
        caller: Caller,
        asked: JsonBody<AddRepo>,
    ) -> Result<Json<Added>, Context7Error> {
        self.repo(&caller, &asked, None).await
    }

    /// Adds a git repository of any host.
    ///
    /// As for GitHub. Needs `jobs:write`.
    #[oai(path = "/repo/git", method = "post", operation_id = "context7_add_git")]
    async fn git(&self, caller: Caller, asked: JsonBody<AddRepo>) -> Result<Json<Added>, Context7Error> {
        self.repo(&caller, &asked, None).await
    }

    /// Adds an OpenAPI document.
    ///
    /// It becomes `/openapi/…`, named after its URL. Needs `jobs:write`.
    #[oai(path = "/openapi", method = "post", operation_id = "context7_add_openapi")]
    async fn openapi(
        &self,
        caller: Caller,
        asked: JsonBody<AddOpenApi>,
    ) -> Result<Json<Added>, Context7Error> {
        self.page(&caller, "openapi", &asked.open_api_url, None).await
    }

    /// Adds an OpenAPI document that is sent.
    ///
    /// A form, `multipart/form-data`. The library becomes `/docs/…`, named after its title. 409 `duplicate_repo` when it is here
    /// already, unless `force` is `true` and it is yours. Needs `jobs:write`.
    #[oai(path = "/openapi-upload", method = "post", operation_id = "context7_add_openapi_upload")]
    async fn openapi_upload(&self, caller: Caller, form: OpenApiForm) -> Result<Json<Added>, Context7Error> {
        caller.may(Scope::JobsWrite)?;
        let Ok(_turn) = self.forms.try_acquire() else {
            return Err(
                ApiError::busy("The node reads as many forms as it takes. Try again in a second.").into()
            );
        };
        let sent = form.read().await?;
        let force = sent.force;
        let packed = tokio::task::spawn_blocking(move || pack::pack(sent)).await;
        let packed = packed.map_err(ApiError::internal)??;
        let mut writer = self.jobs.uploads().begin(caller.account()).await.map_err(ApiError::from)?;
        writer.write(packed.archive).await.map_err(ApiError::from)?;
        let hash = writer.finish().await.map_err(ApiError::from)?.hash;
        let source = Source::Upload { hash, name: pack::ARCHIVE_NAME.to_owned() };
        Ok(self.add(&caller, packed.library, source, force).await?)
    }

    /// Adds an `llms.txt` with what it links to.
    ///
    /// It becomes `/llmstxt/…`, named after its URL. Needs `jobs:write`.
    #[oai(path = "/llmstxt", method = "post", operation_id = "context7_add_llmstxt")]
    async fn llmstxt(
        &self,
        caller: Caller,
        asked: JsonBody<AddLlmsTxt>,
    ) -> Result<Json<Added>, Context7Error> {
        self.page(&caller, "llmstxt", &asked.llmstxt_url, None).await
    }

    /// Adds a web site.
    ///
    /// It becomes `/websites/…`, named after its URL. Needs `jobs:write`.
    #[oai(path = "/website", method = "post", operation_id = "context7_add_website")]
    async fn website(
        &self,
        caller: Caller,
        asked: JsonBody<AddWebsite>,
    ) -> Result<Json<Added>, Context7Error> {
        self.page(&caller, "websites", &asked.website_url, asked.website_base_url.as_deref()).await
    }

    /// Says why a Confluence space is not taken.
    ///
    /// Always 403 `source_not_supported`: export the space and send it with `twinmcp index`. Needs `jobs:write`.
    #[oai(path = "/confluence", method = "post", operation_id = "context7_add_confluence")]
    async fn confluence(
        &self,
        caller: Caller,
        _asked: JsonBody<AddOther>,
    ) -> Result<Json<Added>, Context7Error> {
        not_supported(&caller, "Confluence", "space")
    }

    /// Says why Notion pages are not taken.
    ///
    /// Always 403 `source_not_supported`: export the pages and send them with `twinmcp index`. Needs `jobs:write`.
    #[oai(path = "/notion", method = "post", operation_id = "context7_add_notion")]
    async fn notion(&self, caller: Caller, _asked: JsonBody<AddOther>) -> Result<Json<Added>, Context7Error> {
        not_supported(&caller, "Notion", "pages")
    }
}

impl AddApi {
    async fn repo(
        &self,
        caller: &Caller,
        asked: &AddRepo,
        host: Option<&str>,
    ) -> Result<Json<Added>, Context7Error> {
        caller.may(Scope::JobsWrite)?;
        if asked.git_token.is_some() || asked.private == Some(true) {
            let message = "Private repositories are not fetched: this node keeps no credentials of other services. Send \
                           the documentation with `twinmcp index`.";
            return Err(refused("private_not_supported", message).into());
        }
        if asked.generate_docs == Some(true) {
            let message = "`generateDocs` is not done: documentation is read here, not written.";
            return Err(refused("source_not_supported", message).into());
        }
        let url = AddedUrl::parse("docsRepoUrl", &asked.docs_repo_url)?;
        if let Some(host) = host.filter(|host| *host != url.host()) {
            return Err(
                ApiError::bad_request(format!("`docsRepoUrl` must be a repository on {host}.")).into()
            );
        }
        let library = url.repository()?;
        let source = Source::Git { url: asked.docs_repo_url.clone(), revision: Revision::Head };
        Ok(self.add(caller, library, source, false).await?)
    }

    async fn page(
        &self,
        caller: &Caller,
        owner: &'static str,
        url: &str,
        base: Option<&str>,
    ) -> Result<Json<Added>, Context7Error> {
        caller.may(Scope::JobsWrite)?;
        if base.is_some_and(|base| !url.starts_with(base)) {
            return Err(ApiError::bad_request("`websiteUrl` must begin with `websiteBaseUrl`.").into());
        }
        let start = base.unwrap_or(url);
        let library = AddedUrl::parse("url", start)?.document(owner)?;
        Ok(self.add(caller, library, Source::Web { url: start.to_owned() }, false).await?)
    }

    async fn add(
        &self,
        caller: &Caller,
        library: LibraryId,
        source: Source,
        force: bool,
    ) -> Result<Json<Added>, ApiError> {
        let duplicate = || {
            let message =
                format!("Library {library} is here already. `POST /api/v1/refresh` has it read again.");
            ApiError::new(StatusCode::CONFLICT, "duplicate_repo", message)
        };
        // A name is taken whoever is shown what has it.
        let is_here = self.libraries.get(Some(&Owner::Operator), &library)?.is_some();
        if (is_here && !force) || self.jobs.is_open(&library) {
            return Err(duplicate());
        }
        let version: Version = super::failures::parse_id(VERSION)?;
        let account = caller.account().clone();
        let submission = Submission { account, library: library.clone(), version, source, base_url: None };
        match self.jobs.submit(submission).await {
            Ok(view) => Ok(Json(Added {
                message: format!("Library {library} is being indexed."),
                library_name: library.to_string(),
                job_id: view.job.id.to_string(),
            })),
            Err(JobsError::OtherOwner { .. }) => Err(duplicate()),
            Err(JobsError::LimitReached) => {
                let message = "Too many jobs wait already. Try again in a minute.";
                Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
                    .retry_after(60))
            }
            Err(error @ JobsError::AccountLimitReached) => {
                let message = super::error::sentence(&error.to_string());
                Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
                    .retry_after(60))
            }
            // The URL is one; it is this node that asks nothing there.
            Err(error @ JobsError::Fetch(_)) => {
                Err(refused("access_denied", super::error::sentence(&error.to_string())))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn refused(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, message)
}

fn not_supported(caller: &Caller, service: &str, what: &str) -> Result<Json<Added>, Context7Error> {
    caller.may(Scope::JobsWrite)?;
    let message = format!(
        "{service} is not read here. Export the {what} and send them with `twinmcp index FOLDER --library /org/name`."
    );
    Err(refused("source_not_supported", message).into())
}

/// Reads text as a URL that somebody adds: see [`crate::fuzzing::url`].
#[cfg(fuzzing)]
pub(crate) fn fuzz_added(text: &str) {
    if let Ok(url) = AddedUrl::parse("url", text) {
        let _ = (url.host(), url.repository().is_ok(), url.document("websites").is_ok());
    }
}
