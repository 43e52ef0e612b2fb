//! Who a request comes from, and what they may do: the one place that decides.
//!
//! The front puts an [`Identity`] into every request; endpoints ask for a [`Caller`] when they need
//! a key or an access token and for a [`Reader`] when documentation may be read without one.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use twinmcp_actors::accounts::Owner;
use twinmcp_actors::oauth::AccessToken;
use twinmcp_actors::usage::Asker;
use twinmcp_storage::api_keys::ApiKey;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::scope::Scope;

use super::asker;
use crate::api::ApiError;

/// What the front found out about a request's sender.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Absent for an anonymous request.
    pub(crate) caller: Option<Caller>,
    /// Whether documentation may be read without a key.
    pub(crate) anonymous_reads: bool,
    /// Who asks, for usage.
    pub(crate) asker: Asker,
}

/// Somebody with a key or a token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    shown: Shown,
}

/// What opened the door.
#[derive(Debug, Clone)]
enum Shown {
    Key(Arc<ApiKey>),
    Token(Arc<AccessToken>),
}

impl Caller {
    pub(crate) fn new(key: ApiKey) -> Self {
        Self { shown: Shown::Key(Arc::new(key)) }
    }

    /// Who shows an access token that is good here.
    pub(crate) fn with_token(token: Arc<AccessToken>) -> Self {
        Self { shown: Shown::Token(token) }
    }

    /// What tells this caller from others, for limits and usage: the key's id, or client and account.
    pub(crate) fn id(&self) -> String {
        match &self.shown {
            Shown::Key(key) => key.id.to_string(),
            Shown::Token(token) => format!("{} {}", token.client, token.account()),
        }
    }

    /// The access token that was shown, if it was one.
    pub(crate) fn token(&self) -> Option<&AccessToken> {
        match &self.shown {
            Shown::Key(_) => None,
            Shown::Token(token) => Some(token),
        }
    }

    /// In whose name the caller acts.
    pub(crate) fn account(&self) -> &AccountId {
        match &self.shown {
            Shown::Key(key) => &key.account,
            Shown::Token(token) => token.account(),
        }
    }

    /// Whose things the caller may change: everybody's with scope `admin`.
    pub(crate) fn owner(&self) -> Owner {
        if self.has(Scope::Admin) { Owner::Operator } else { Owner::Account(self.account().clone()) }
    }

    /// What the caller may do, as the key or the token says it.
    pub(crate) fn scopes(&self) -> &[Scope] {
        match &self.shown {
            Shown::Key(key) => &key.scopes,
            Shown::Token(token) => &token.scopes,
        }
    }

    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.scopes().contains(&scope) || self.scopes().contains(&Scope::Admin)
    }

    /// Refuses a caller whose key or token lacks `scope`.
    pub(crate) fn may(&self, scope: Scope) -> Result<(), ApiError> {
        if self.has(scope) {
            return Ok(());
        }
        self.lacks(scope)
    }

    /// The refusal of a caller whose key or token lacks `scope`.
    pub(crate) fn lacks<T>(&self, scope: Scope) -> Result<T, ApiError> {
        let message = match self.shown {
            Shown::Key(_) => format!("This API key lacks the scope `{scope}`; use a key that has it."),
            Shown::Token(_) => format!("This access token lacks the scope `{scope}`; ask the person for it."),
        };
        Err(ApiError::new(StatusCode::FORBIDDEN, "insufficient_scope", message).with("scope", scope.as_str()))
    }
}

/// Somebody who may read documentation: with a key that may, or anonymous where the node allows that.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    /// Who reads, for usage.
    pub(crate) asker: Asker,
}

impl Identity {
    /// The caller, who must have a key or a token.
    pub(crate) fn require(&self) -> Result<Caller, ApiError> {
        self.caller.clone().ok_or_else(|| {
            let message = "An API key or an access token is needed: send `Authorization: Bearer …`. Somebody with a key makes \
                           one with `twinmcp admin key create`; a client that signs people in gets a token.";
            ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
        })
    }

    /// Whether documentation may be read.
    pub(crate) fn reader(&self) -> Result<Reader, ApiError> {
        if self.caller.is_some() || !self.anonymous_reads {
            self.require()?.may(Scope::DocsRead)?;
        }
        Ok(Reader { asker: self.asker })
    }

    /// As the front left it; a request that did not come through the front has no rights at all.
    pub(crate) fn of(extensions: &poem::http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(Self::nobody)
    }

    /// Somebody without any rights.
    pub(crate) fn nobody() -> Self {
        Self { caller: None, anonymous_reads: false, asker: asker::nobody() }
    }
}

/// Names of the ways to send a key, as the document states them.
const SCHEMES: &[&str] = &["bearer", "api_key"];

fn register_schemes(registry: &mut Registry) {
    let scheme = MetaSecurityScheme {
        ty: "http",
        description: Some(
            "An API key `tmcp_…`, or an access token of `/api/oauth/token`, as a bearer token (RFC 6750).",
        ),
        name: None,
        key_in: None,
        scheme: Some("bearer"),
        bearer_format: Some("tmcp_… or JWT"),
        flows: None,
        openid_connect_url: None,
    };
    registry.create_security_scheme("bearer", scheme);
    let scheme = MetaSecurityScheme {
        ty: "apiKey",
        description: Some(
            "The same key in a header of its own, with or without the word `Bearer`; \
             `Context7-API-Key`, `X-Context7-API-Key`, `CONTEXT7_API_KEY` and `X_API_KEY` do as well.",
        ),
        name: Some("X-API-Key"),
        key_in: Some("header"),
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    };
    registry.create_security_scheme("api_key", scheme);
}

macro_rules! extractor {
    ($name:ident, $anonymous:literal, $take:expr) => {
        impl<'a> ApiExtractor<'a> for $name {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                register_schemes(registry);
            }

            fn security_schemes() -> Vec<&'static str> {
                SCHEMES.to_vec()
            }

            fn has_security_fallback() -> bool {
                $anonymous
            }

            async fn from_request(
                request: &'a Request,
                _: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                let take: fn(&Identity) -> Result<Self, ApiError> = $take;
                Ok(take(&Identity::of(request.extensions()))?)
            }
        }
    };
}

extractor!(Caller, false, Identity::require);
extractor!(Reader, true, Identity::reader);

#[cfg(test)]
pub(crate) mod tests {
    use twinmcp_storage::api_keys::SecretHash;
    use twinmcp_storage::clock::{SystemEntropy, Timestamp};
    use twinmcp_storage::ids::ApiKeyId;

    use super::*;

    /// A key record as the store would hold it.
    pub(crate) fn key(scopes: &[Scope]) -> ApiKey {
        let now = Timestamp::from_millis(1);
        ApiKey {
            id: ApiKeyId::random(now, &SystemEntropy).unwrap(),
            account: AccountId::random(now, &SystemEntropy).unwrap(),
            name: "test".to_owned(),
            scopes: scopes.to_vec(),
            hint: "abcd".to_owned(),
            secret_hash: SecretHash::of("tmcp_test"),
            created_at: now,
            expires_at: None,
            revoked_at: None,
        }
    }

    fn identity(scopes: Option<&[Scope]>, anonymous_reads: bool) -> Identity {
        let caller = scopes.map(|scopes| Caller::new(key(scopes)));
        Identity { caller, anonymous_reads, ..Identity::nobody() }
    }

    #[test]
    fn documentation_is_read_with_a_key_that_may_or_anonymously_where_allowed() {
        for (scopes, anonymous_reads, code) in [
            (None, true, None),
            (None, false, Some("unauthenticated")),
            (Some([Scope::DocsRead].as_slice()), false, None),
            (Some([Scope::Admin].as_slice()), false, None),
            (Some([Scope::MetricsRead].as_slice()), true, Some("insufficient_scope")),
        ] {
            let verdict = identity(scopes, anonymous_reads).reader();
            assert_eq!(verdict.err().map(|error| error.code()), code, "{scopes:?} {anonymous_reads}");
        }
    }

    #[test]
    fn admin_may_everything_and_acts_on_everybodys_things() {
        let caller = Caller::new(key(&[Scope::Admin]));
        assert!(Scope::ALL.iter().all(|scope| caller.may(*scope).is_ok()));
        assert!(matches!(caller.owner(), Owner::Operator));
        let caller = Caller::new(key(&[Scope::DocsRead]));
        assert!(matches!(caller.owner(), Owner::Account(_)));
        assert_eq!(caller.may(Scope::KeysWrite).unwrap_err().code(), "insufficient_scope");
    }
}
