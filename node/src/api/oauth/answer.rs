//! What the authorization server's endpoints answer, in the shapes of the protocol.

use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object};
use serde_json::Value;
use twinmcp_actors::accounts::PersonView;
use twinmcp_actors::oauth::{AccessToken, Assurance, DeviceCodes, Introspection, Tokens, scope_text};

/// Tokens (RFC 6749, 5.1).
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct TokenBody {
    /// What to send as the bearer token.
    access_token: String,
    /// `Bearer`.
    token_type: String,
    /// Its life, in seconds.
    expires_in: u64,
    /// What may be done with it.
    scope: String,
    /// What gets the next one, once.
    #[oai(skip_serializing_if_is_none)]
    refresh_token: Option<String>,
    /// Who signed in (OpenID Connect).
    #[oai(skip_serializing_if_is_none)]
    id_token: Option<String>,
}

impl Example for TokenBody {
    fn example() -> Self {
        Self {
            access_token: "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.…".to_owned(),
            token_type: "Bearer".to_owned(),
            expires_in: 600,
            scope: "docs:read".to_owned(),
            refresh_token: Some("tmcp_rt_…".to_owned()),
            id_token: None,
        }
    }
}

#[derive(ApiResponse)]
pub(crate) enum TokenAnswer {
    /// The tokens.
    #[oai(status = 200)]
    Tokens(
        Json<TokenBody>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

pub(super) fn token_answer(tokens: Tokens) -> TokenAnswer {
    let body = TokenBody {
        access_token: tokens.access_token,
        token_type: tokens.token_type.to_owned(),
        expires_in: tokens.expires_in_s,
        scope: scope_text(&tokens.scopes),
        refresh_token: tokens.refresh_token,
        id_token: tokens.id_token,
    };
    TokenAnswer::Tokens(Json(body), "no-store".to_owned())
}

/// What a token is worth (RFC 7662, 2.2). Of one that is worth nothing, `active` alone is told.
#[derive(Debug, Clone, Default, Object)]
#[oai(example, skip_serializing_if_is_none)]
pub(crate) struct IntrospectionBody {
    /// Whether it opens anything.
    active: bool,
    /// What may be done with it.
    scope: Option<String>,
    /// Whose it is.
    client_id: Option<String>,
    /// `Bearer`; absent for a refresh token.
    token_type: Option<String>,
    /// Who acts.
    sub: Option<String>,
    /// Where it is good.
    aud: Option<Vec<String>>,
    /// Who made it.
    iss: Option<String>,
    /// From when on it is refused, Unix time.
    exp: Option<u64>,
    /// When it was made, Unix time.
    iat: Option<u64>,
    /// Its name.
    jti: Option<String>,
    /// When the person signed in, Unix time (RFC 9470, 6.2).
    auth_time: Option<u64>,
    /// How surely they were known: `aal1`, or `aal2` with a second factor.
    acr: Option<String>,
    /// The key that it is bound to (RFC 9449, 6.2).
    cnf: Option<Confirmation>,
}

/// A key that a token is bound to (RFC 7800, 3).
#[derive(Debug, Clone, Object)]
pub(crate) struct Confirmation {
    /// The key's SHA-256 thumbprint (RFC 7638), base64url.
    jkt: String,
}

impl Example for IntrospectionBody {
    fn example() -> Self {
        Self {
            active: true,
            scope: Some("docs:read".to_owned()),
            client_id: Some("client_4bWdN1YpS0qfQmXzT7aJ2w".to_owned()),
            token_type: Some("Bearer".to_owned()),
            sub: Some("acct_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned()),
            aud: Some(vec!["https://docs.example/mcp".to_owned()]),
            iss: Some("https://docs.example".to_owned()),
            exp: Some(1_795_438_570),
            iat: Some(1_795_437_970),
            jti: Some("m3w…".to_owned()),
            auth_time: Some(1_795_437_900),
            acr: Some("aal1".to_owned()),
            cnf: None,
        }
    }
}

#[derive(ApiResponse)]
pub(crate) enum Introspected {
    /// What it is worth.
    #[oai(status = 200)]
    Told(
        Json<IntrospectionBody>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

pub(super) fn introspected(told: &Introspection, issuer: &str) -> Introspected {
    let body = match told {
        Introspection::Inactive => IntrospectionBody::default(),
        Introspection::Access(token) => access(token, issuer),
        Introspection::Refresh(grant) => IntrospectionBody {
            active: true,
            scope: Some(scope_text(&grant.allowed.scopes)),
            client_id: Some(grant.client.clone()),
            sub: Some(grant.allowed.account.to_string()),
            iss: Some(issuer.to_owned()),
            iat: Some(grant.used_at.as_secs()),
            exp: grant
                .refresh
                .as_ref()
                .map(|refresh| refresh.idle_until.min(refresh.absolute_until).as_secs()),
            auth_time: Some(grant.allowed.signed_in_at.as_secs()),
            acr: Some(acr(&grant.allowed.methods)),
            ..IntrospectionBody::default()
        },
    };
    Introspected::Told(Json(body), "no-store".to_owned())
}

fn access(token: &AccessToken, issuer: &str) -> IntrospectionBody {
    IntrospectionBody {
        active: true,
        scope: Some(scope_text(&token.scopes)),
        client_id: Some(token.client.clone()),
        token_type: Some(if token.dpop_jkt.is_some() { "DPoP" } else { "Bearer" }.to_owned()),
        sub: Some(token.sub().to_owned()),
        aud: Some(token.resources.clone()),
        iss: Some(issuer.to_owned()),
        exp: Some(token.expires_at.as_secs()),
        iat: Some(token.issued_at.as_secs()),
        jti: Some(token.id.clone()),
        auth_time: token.signed_in.as_ref().map(|signed_in| signed_in.at.as_secs()),
        acr: token.signed_in.as_ref().map(|signed_in| acr(&signed_in.methods)),
        cnf: token.thumbprint().map(|jkt| Confirmation { jkt }),
    }
}

fn acr(methods: &[String]) -> String {
    Assurance::of(methods).as_str().to_owned()
}

#[derive(ApiResponse)]
pub(crate) enum Revoked {
    /// It is worth nothing, as far as it was the client's.
    #[oai(status = 200)]
    Done(
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(crate) enum RegisteredAnswer {
    /// The client is registered.
    #[oai(status = 201)]
    Made(
        Json<Value>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// The registration.
    #[oai(status = 200)]
    There(
        Json<Value>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(crate) enum Removed {
    /// The registration has ended.
    #[oai(status = 204)]
    Done,
}

/// What a device shows its person (RFC 8628, 3.2).
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct DeviceBody {
    /// What the device asks with.
    device_code: String,
    /// What the person types.
    user_code: String,
    /// Where.
    verification_uri: String,
    /// The same with the code in it.
    verification_uri_complete: String,
    /// Life of both codes, in seconds.
    expires_in: u64,
    /// Between two questions, in seconds.
    interval: u64,
}

impl Example for DeviceBody {
    fn example() -> Self {
        Self {
            device_code: "…".to_owned(),
            user_code: "BCDF-GHJK".to_owned(),
            verification_uri: "https://docs.example/device".to_owned(),
            verification_uri_complete: "https://docs.example/device?user_code=BCDF-GHJK".to_owned(),
            expires_in: 600,
            interval: 5,
        }
    }
}

#[derive(ApiResponse)]
pub(crate) enum DeviceAnswer {
    /// The codes.
    #[oai(status = 200)]
    Codes(
        Json<DeviceBody>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

pub(super) fn device_answer(codes: DeviceCodes, issuer: &str) -> DeviceAnswer {
    let body = DeviceBody {
        verification_uri: format!("{issuer}/device"),
        verification_uri_complete: format!("{issuer}/device?user_code={}", codes.user_code),
        device_code: codes.device_code,
        user_code: codes.user_code,
        expires_in: codes.expires_in_s,
        interval: codes.interval_s,
    };
    DeviceAnswer::Codes(Json(body), "no-store".to_owned())
}

/// A pushed request (RFC 9126, 2.2).
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct PushedBody {
    /// What the browser brings in place of the parameters.
    pub(super) request_uri: String,
    /// Its life, in seconds.
    pub(super) expires_in: u64,
}

impl Example for PushedBody {
    fn example() -> Self {
        Self { request_uri: "urn:ietf:params:oauth:request_uri:…".to_owned(), expires_in: 600 }
    }
}

#[derive(ApiResponse)]
pub(crate) enum Pushed {
    /// It is kept.
    #[oai(status = 201)]
    Kept(
        Json<PushedBody>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// Who signed in (OpenID Connect Core, 5.1).
#[derive(Debug, Clone, Object)]
#[oai(example, skip_serializing_if_is_none)]
pub(crate) struct UserInfoBody {
    /// The account.
    sub: String,
    /// What people call them.
    name: Option<String>,
    /// Where mail reaches them.
    email: Option<String>,
    /// Whether they have shown that it is theirs.
    email_verified: Option<bool>,
}

impl Example for UserInfoBody {
    fn example() -> Self {
        Self {
            sub: "acct_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned(),
            name: Some("Ada".to_owned()),
            email: Some("ada@example.org".to_owned()),
            email_verified: Some(true),
        }
    }
}

#[derive(ApiResponse)]
pub(crate) enum UserInfo {
    /// Who they are.
    #[oai(status = 200)]
    Told(
        Json<UserInfoBody>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

pub(super) fn user_info(person: &PersonView, with_name: bool, with_email: bool) -> UserInfo {
    let body = UserInfoBody {
        sub: person.person.account.to_string(),
        name: with_name.then(|| person.name.clone()),
        email: with_email.then(|| person.person.email.to_string()),
        email_verified: with_email.then_some(person.person.verified_at.is_some()),
    };
    UserInfo::Told(Json(body), "no-store".to_owned())
}
