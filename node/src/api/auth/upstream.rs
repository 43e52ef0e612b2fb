//! Sign-ins at other providers over HTTP: which there are, and what those tell of sign-outs. People are led by pages: `ui/people/upstream.rs`.

use poem::http::StatusCode;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use twinmcp_actors::Upstream;
use twinmcp_actors::upstream::{LogoutError, UpstreamError};

use super::super::oauth::{Field, Fields, Form};
use crate::api::{ApiError, Tag, sentence};

/// A provider that people sign in with.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ProviderView {
    /// Its name in addresses.
    name: String,
    /// What people call it.
    title: String,
    /// Where a browser is sent to sign in; `return_to` names a page of this service to go on to.
    sign_in: String,
}

impl Example for ProviderView {
    fn example() -> Self {
        Self { name: "github".to_owned(), title: "GitHub".to_owned(), sign_in: "/upstream/github".to_owned() }
    }
}

/// Providers, in the order of the configuration.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ProviderList {
    /// Each.
    providers: Vec<ProviderView>,
}

impl Example for ProviderList {
    fn example() -> Self {
        Self { providers: vec![ProviderView::example()] }
    }
}

#[derive(ApiResponse)]
pub(crate) enum LoggedOut {
    /// What came of that session has ended here, if anything did.
    #[oai(status = 200)]
    Done(
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

pub(crate) struct LogoutForm;

impl Fields for LogoutForm {
    const NEEDED: &'static [Field] = &[("logout_token", "What the provider has signed.", "eyJ…")];
    const OPTIONAL: &'static [Field] = &[];
}

/// `/api/auth/upstream`.
pub(crate) struct UpstreamApi {
    pub(crate) upstream: Upstream,
}

#[OpenApi(prefix_path = "/api/auth/upstream", tag = "Tag::People")]
impl UpstreamApi {
    /// Lists the other providers that people sign in with.
    ///
    /// Anybody may ask: the page of the sign-in shows the same.
    #[oai(path = "/", method = "get", operation_id = "list_providers")]
    async fn list(&self) -> Json<ProviderList> {
        let view = |provider: &twinmcp_actors::upstream::Provider| ProviderView {
            name: provider.name.clone(),
            title: provider.title.clone(),
            sign_in: format!("/upstream/{}", provider.name),
        };
        Json(ProviderList { providers: self.upstream.providers().iter().map(view).collect() })
    }

    /// Hears from a provider that somebody has signed out there.
    ///
    /// With a logout token of the provider's (OpenID Connect Back-Channel Logout, 2.5), once. The sessions that came of it end, here once this
    /// is answered, on every other node within the replication bound.
    #[oai(path = "/:provider/logout", method = "post", operation_id = "upstream_logout")]
    async fn log_out(
        &self,
        /// The provider.
        #[oai(example = "example_name")]
        provider: Path<String>,
        form: Form<LogoutForm>,
    ) -> Result<LoggedOut, ApiError> {
        let mut tokens =
            form_urlencoded::parse(form.text.as_bytes()).filter(|(name, _)| name == "logout_token");
        match (tokens.next(), tokens.next()) {
            (Some((_, token)), None) => self.upstream.log_out(&provider, &token).await?,
            _ => return Err(ApiError::bad_request("Send one 'logout_token', as a form.")),
        }
        Ok(LoggedOut::Done("no-store".to_owned()))
    }
}

fn example_name() -> String {
    "corp".to_owned()
}

impl From<UpstreamError> for ApiError {
    fn from(error: UpstreamError) -> Self {
        let told = sentence(&error.to_string());
        let refused = |status, code| Self::new(status, code, told.clone());
        match error {
            UpstreamError::UnknownProvider(_) => refused(StatusCode::NOT_FOUND, "provider_not_found"),
            UpstreamError::Strange | UpstreamError::Denied(_) | UpstreamError::MixedUp => {
                refused(StatusCode::FORBIDDEN, "upstream_refused")
            }
            UpstreamError::NotVerified | UpstreamError::NoAccount => {
                refused(StatusCode::FORBIDDEN, "no_account")
            }
            UpstreamError::Taken
            | UpstreamError::OtherAddress(_)
            | UpstreamError::TooMany
            | UpstreamError::LastWay => refused(StatusCode::CONFLICT, "upstream_conflict"),
            UpstreamError::Claims(_) => refused(StatusCode::FORBIDDEN, "upstream_refused").caused_by(error),
            UpstreamError::Exchange(_) => {
                refused(StatusCode::BAD_GATEWAY, "upstream_failed").caused_by(error)
            }
            UpstreamError::Accounts(error) => error.into(),
            UpstreamError::Oauth(error) => error.into(),
            error @ UpstreamError::Entropy(_) => Self::internal(error),
        }
    }
}

impl From<LogoutError> for ApiError {
    fn from(error: LogoutError) -> Self {
        let told = sentence(&error.to_string());
        match error {
            LogoutError::UnknownProvider => Self::new(StatusCode::NOT_FOUND, "provider_not_found", told),
            LogoutError::Jwt(_) | LogoutError::Key(_) | LogoutError::Claim(_) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_request", told)
            }
            LogoutError::Upstream(error) => error.into(),
            LogoutError::Accounts(error) => error.into(),
        }
    }
}
