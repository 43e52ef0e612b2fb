//! The authorization server over HTTP: tokens, what they are worth, and clients that register themselves.
//!
//! What a person sees of it is a page: `ui/authorize.rs`. Errors have the shape of RFC 6749, 5.2, and nothing is cached.

mod answer;
mod failure;
mod form;
mod metadata;

use std::sync::Arc;

use poem::Request;
use poem::http::{StatusCode, header};
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use serde_json::Value;
use twinmcp_actors::oauth::{ErrorCode, OauthError, Registered, Subject, TokenRequest};
use twinmcp_actors::{Accounts, Oauth};
use twinmcp_storage::scope::Scope;

use self::answer::{
    DeviceAnswer, Introspected, Pushed, PushedBody, RegisteredAnswer, Removed, Revoked, TokenAnswer,
    UserInfo, device_answer, introspected, token_answer, user_info,
};
use self::form::CREDENTIALS;
pub(super) use self::form::{Field, Fields, Form};
pub(super) use self::metadata::Metadata;
use super::Tag;
use super::error::ApiError;
use crate::http::{Caller, refuse_harm};
use crate::telemetry::Readiness;

pub(crate) struct TokenForm;

impl Fields for TokenForm {
    const NEEDED: &'static [Field] = &[(
        "grant_type",
        "`authorization_code`, `refresh_token`, `client_credentials` or `urn:ietf:params:oauth:grant-type:device_code`.",
        "client_credentials",
    )];
    const OPTIONAL: &'static [Field] = &[
        CREDENTIALS[0],
        CREDENTIALS[1],
        CREDENTIALS[2],
        CREDENTIALS[3],
        ("code", "The code that the person's browser brought.", "…"),
        ("code_verifier", "What `code_challenge` was made from (RFC 7636).", "…"),
        (
            "redirect_uri",
            "Where the code was sent; clients of OAuth 2.1 leave it out.",
            "https://app.example/cb",
        ),
        ("refresh_token", "The newest refresh token of the grant.", "tmcp_rt_…"),
        ("device_code", "What the device was given.", "…"),
        ("scope", "What the token is to be for, of what was allowed; all of it when absent.", "docs:read"),
        (
            "resource",
            "Where the token is to be good (RFC 8707); may stand several times.",
            "https://docs.example/mcp",
        ),
    ];
}

pub(crate) struct IntrospectForm;

impl Fields for IntrospectForm {
    const NEEDED: &'static [Field] = &[("token", "An access token or a refresh token.", "tmcp_at_…")];
    const OPTIONAL: &'static [Field] = &[
        CREDENTIALS[0],
        CREDENTIALS[1],
        CREDENTIALS[2],
        CREDENTIALS[3],
        ("token_type_hint", "Not needed: a token says what it is.", "access_token"),
    ];
}

pub(crate) struct DeviceForm;

impl Fields for DeviceForm {
    const NEEDED: &'static [Field] = &[];
    const OPTIONAL: &'static [Field] = &[
        CREDENTIALS[0],
        CREDENTIALS[1],
        CREDENTIALS[2],
        CREDENTIALS[3],
        ("scope", "What the token is to be for; `docs:read` when absent.", "docs:read"),
        (
            "resource",
            "Where it is to be good (RFC 8707); may stand several times.",
            "https://docs.example/api",
        ),
        ("hostname", "What the device is called, shown to the person.", "laptop"),
    ];
}

pub(crate) struct PushForm;

impl Fields for PushForm {
    const NEEDED: &'static [Field] = &[
        ("response_type", "`code`.", "code"),
        (
            "code_challenge",
            "SHA-256 of the code verifier (RFC 7636).",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
        ("code_challenge_method", "`S256`.", "S256"),
    ];
    const OPTIONAL: &'static [Field] = &[
        CREDENTIALS[0],
        CREDENTIALS[1],
        CREDENTIALS[2],
        CREDENTIALS[3],
        ("redirect_uri", "Where the person is sent back to.", "https://app.example/cb"),
        ("scope", "What the client wants to do.", "docs:read"),
        ("state", "Comes back as it is.", "…"),
        ("resource", "Where the token is to be good (RFC 8707).", "https://docs.example/mcp"),
    ];
}

/// `/api/oauth`.
pub(crate) struct OauthApi {
    pub(crate) oauth: Oauth,
    pub(crate) accounts: Accounts,
    pub(crate) readiness: Arc<Readiness>,
}

#[OpenApi(prefix_path = "/api/oauth", tag = "Tag::Oauth")]
impl OauthApi {
    /// Gives tokens.
    ///
    /// For a code, a refresh token or a client's own credentials (RFC 6749, 4.1.3, 6 and 4.4). A code and a refresh token are good
    /// once, over all nodes; one that comes a second time ends everything that came of it.
    #[oai(path = "/token", method = "post", operation_id = "oauth_token")]
    async fn token(&self, request: &Request, form: Form<TokenForm>) -> Result<TokenAnswer, ApiError> {
        no_secrets_in_url(request)?;
        self.tokens(request, &form.text).await
    }

    /// Asks for a person's consent on another device.
    ///
    /// For programs without a browser (RFC 8628): show the person `user_code` and `verification_uri`, then ask `/api/oauth/token` with the
    /// `device_code` every `interval` seconds.
    #[oai(path = "/device_authorization", method = "post", operation_id = "oauth_device_authorization")]
    async fn device_authorization(
        &self,
        request: &Request,
        form: Form<DeviceForm>,
    ) -> Result<DeviceAnswer, ApiError> {
        self.start_device(request, &form.text).await
    }

    /// Asks for a person's consent on another device, as Context7's command line does.
    ///
    /// The same as `device_authorization`.
    #[oai(path = "/device/code", method = "post", operation_id = "context7_device_code")]
    async fn device_code(&self, request: &Request, form: Form<DeviceForm>) -> Result<DeviceAnswer, ApiError> {
        self.start_device(request, &form.text).await
    }

    /// Gives tokens for a device code, as Context7's command line asks for them.
    ///
    /// The same as `token`.
    #[oai(path = "/device/token", method = "post", operation_id = "context7_device_token")]
    async fn device_token(&self, request: &Request, form: Form<TokenForm>) -> Result<TokenAnswer, ApiError> {
        no_secrets_in_url(request)?;
        self.tokens(request, &form.text).await
    }

    /// Takes an authorization request ahead of its person.
    ///
    /// The parameters of `/api/oauth/authorize`, from the client itself (RFC 9126); the browser brings `client_id` and `request_uri` only.
    #[oai(path = "/par", method = "post", operation_id = "oauth_par")]
    async fn push(&self, request: &Request, form: Form<PushForm>) -> Result<Pushed, ApiError> {
        no_secrets_in_url(request)?;
        let (request_uri, expires_in) = self.oauth.push(token_request(request, &form.text)?).await?;
        Ok(Pushed::Kept(Json(PushedBody { request_uri, expires_in }), "no-store".to_owned()))
    }

    /// Tells what a token is worth.
    ///
    /// To a client with credentials, of its own tokens; with the scope `admin` of everybody's (RFC 7662). Reads this node's own state.
    #[oai(path = "/introspect", method = "post", operation_id = "oauth_introspect")]
    async fn introspect(
        &self,
        request: &Request,
        form: Form<IntrospectForm>,
    ) -> Result<Introspected, ApiError> {
        no_secrets_in_url(request)?;
        let told = self.oauth.introspect(&form.text, authorization(request)).await?;
        Ok(introspected(&told, self.oauth.issuer()))
    }

    /// Makes a token worth nothing.
    ///
    /// A refresh token takes every token of its grant along (RFC 7009). A token that is unknown, or another client's, is answered the
    /// same and left alone. Here once this is answered, on every other node within the replication bound.
    #[oai(path = "/revoke", method = "post", operation_id = "oauth_revoke")]
    async fn revoke(&self, request: &Request, form: Form<IntrospectForm>) -> Result<Revoked, ApiError> {
        no_secrets_in_url(request)?;
        self.oauth.revoke(&form.text, authorization(request)).await?;
        Ok(Revoked::Done("no-store".to_owned()))
    }

    /// Tells who signed in.
    ///
    /// To a client whose access token has the scope `openid`; the name with `profile`, the address with `email` (OpenID Connect Core, 5.3).
    #[oai(path = "/userinfo", method = "get", operation_id = "oauth_userinfo")]
    async fn userinfo(&self, caller: Caller) -> Result<UserInfo, ApiError> {
        self.tell_who(&caller)
    }

    /// Tells who signed in.
    ///
    /// The same as `GET`: needs `openid`.
    #[oai(path = "/userinfo", method = "post", operation_id = "oauth_userinfo_post")]
    async fn userinfo_post(&self, caller: Caller) -> Result<UserInfo, ApiError> {
        self.tell_who(&caller)
    }

    /// Registers a client.
    ///
    /// Takes the client's metadata (RFC 7591) and answers with its `client_id`, its secret if it has one, and a token that opens the
    /// registration later. One that nobody has allowed anything within a day is forgotten.
    #[oai(path = "/register", method = "post", operation_id = "oauth_register")]
    async fn register(&self, metadata: Metadata) -> Result<RegisteredAnswer, ApiError> {
        let registered = self.oauth.register(&metadata.0).await?;
        Ok(RegisteredAnswer::Made(Json(self.registration(&registered)), "no-store".to_owned()))
    }

    /// Shows a registration.
    ///
    /// To whoever has its token (RFC 7592).
    #[oai(path = "/register/:id", method = "get", operation_id = "oauth_get_registration")]
    async fn show(
        &self,
        request: &Request,
        /// The client.
        #[oai(example = "example_id")]
        id: Path<String>,
    ) -> Result<RegisteredAnswer, ApiError> {
        let registered = self.oauth.registration(&id, bearer(request)?)?;
        Ok(RegisteredAnswer::There(Json(self.registration(&registered)), "no-store".to_owned()))
    }

    /// Changes a registration.
    ///
    /// What is sent takes the place of all that was known of the client, but for its secret (RFC 7592).
    #[oai(path = "/register/:id", method = "put", operation_id = "oauth_change_registration")]
    async fn change(
        &self,
        request: &Request,
        /// The client.
        #[oai(example = "example_id")]
        id: Path<String>,
        metadata: Metadata,
    ) -> Result<RegisteredAnswer, ApiError> {
        let registered = self.oauth.change_registration(&id, bearer(request)?, &metadata.0).await?;
        Ok(RegisteredAnswer::There(Json(self.registration(&registered)), "no-store".to_owned()))
    }

    /// Ends a registration.
    ///
    /// Nothing is refreshed for the client any more (RFC 7592).
    #[oai(path = "/register/:id", method = "delete", operation_id = "oauth_end_registration")]
    async fn end(
        &self,
        request: &Request,
        /// The client.
        #[oai(example = "example_id")]
        id: Path<String>,
    ) -> Result<Removed, ApiError> {
        self.oauth.end_registration(&id, bearer(request)?).await?;
        Ok(Removed::Done)
    }
}

impl OauthApi {
    async fn tokens(&self, request: &Request, form: &str) -> Result<TokenAnswer, ApiError> {
        let given = self.oauth.token(token_request(request, form)?).await;
        let tokens = given.map_err(|error| match error {
            // The person refused the client, not this node whoever asks (RFC 6749, 5.2; RFC 8628, 3.5).
            OauthError::Refused(refused) if refused.code == ErrorCode::AccessDenied => {
                ApiError::new(StatusCode::BAD_REQUEST, refused.code.as_str(), refused.description)
            }
            error => error.into(),
        })?;
        // What is used up passes the others. A client that acts for itself uses up nothing, and may have been removed long ago.
        if self.readiness.is_stale() && is_for_itself(form) {
            refuse_harm(&tokens.scopes)?;
        }
        Ok(token_answer(tokens))
    }

    fn tell_who(&self, caller: &Caller) -> Result<UserInfo, ApiError> {
        // Also of an operator: `admin` says what may be done, not who somebody is.
        let has = |scope| caller.scopes().contains(&scope);
        let person = match caller.token().map(|token| &token.subject) {
            Some(Subject::Person(account)) if has(Scope::OpenId) => self.accounts.person(account)?,
            _ => caller.lacks(Scope::OpenId)?,
        };
        let person = person.ok_or_else(|| {
            let message = "The account is not there any more.";
            ApiError::new(StatusCode::UNAUTHORIZED, "invalid_token", message)
        })?;
        Ok(user_info(&person, has(Scope::Profile), has(Scope::Email)))
    }

    async fn start_device(&self, request: &Request, form: &str) -> Result<DeviceAnswer, ApiError> {
        no_secrets_in_url(request)?;
        let codes = self.oauth.start_device(form, authorization(request)).await?;
        Ok(device_answer(codes, self.oauth.issuer()))
    }

    fn registration(&self, registered: &Registered) -> Value {
        let mut metadata = registered.metadata();
        if let Some(token) = &registered.registration_token {
            metadata["registration_access_token"] = token.as_str().into();
            let client = &registered.client.id;
            metadata["registration_client_uri"] =
                format!("{}/api/oauth/register/{client}", self.oauth.issuer()).into();
        }
        metadata
    }
}

fn example_id() -> String {
    CREDENTIALS[0].2.to_owned()
}

/// What a request to an endpoint that issues or binds tokens brings. Of proofs there is one (RFC 9449, 4.3).
fn token_request<'a>(request: &'a Request, form: &'a str) -> Result<TokenRequest<'a>, ApiError> {
    let mut proofs = request.headers().get_all("dpop").iter();
    let proof = proofs.next().map(|proof| proof.to_str().unwrap_or_default());
    if proofs.next().is_some() {
        let message = "The header 'DPoP' may be there once.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_dpop_proof", message));
    }
    Ok(TokenRequest { form, authorization: authorization(request), proof, path: request.uri().path() })
}

fn is_for_itself(form: &str) -> bool {
    form_urlencoded::parse(form.as_bytes())
        .any(|(name, value)| name == "grant_type" && value == "client_credentials")
}

fn authorization(request: &Request) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default())
}

/// The token that opens a registration.
fn bearer(request: &Request) -> Result<&str, ApiError> {
    let token = authorization(request).and_then(|header| header.split_once(' '));
    token
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| {
            let message = "Send the registration's token: `Authorization: Bearer …`.";
            ApiError::new(StatusCode::UNAUTHORIZED, "invalid_token", message)
        })
}

/// Refuses a request whose URL says what no log may hold (RFC 6749, 2.3.1).
fn no_secrets_in_url(request: &Request) -> Result<(), ApiError> {
    if request.uri().query().is_none_or(str::is_empty) {
        return Ok(());
    }
    let message =
        "Send the parameters in the body: nothing in the URL is read here, and URLs are written to logs.";
    Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", message))
}
