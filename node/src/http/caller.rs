//! Who a request comes from, and what they may do: the one place that decides.
//!
//! The front puts an [`Identity`] into every request; endpoints ask for a [`Caller`] when they need a key, an access token or
//! a session and for a [`Reader`] when documentation may be read without one.

use std::sync::Arc;

use poem::http::StatusCode;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use twinmcp_actors::accounts::{Owner, SignedIn};
use twinmcp_actors::oauth::AccessToken;
use twinmcp_actors::usage::Asker;
use twinmcp_storage::api_keys::ApiKey;
use twinmcp_storage::audit::Actor;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::scope::Scope;

use super::{asker, session};
use crate::api::ApiError;

/// What the front found out about a request's sender.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Absent for an anonymous request.
    pub(crate) caller: Option<Caller>,
    /// Why somebody's cookie, which came with it, makes nobody its caller.
    pub(crate) withheld: Option<Withheld>,
    /// Whether documentation may be read without a key.
    pub(crate) anonymous_reads: bool,
    /// Who asks, for usage.
    pub(crate) asker: Asker,
}

/// What a session may do: everything of its person's, and nothing of the service's.
const PERSONS: &[Scope] = &[
    Scope::DocsRead,
    Scope::Chat,
    Scope::LibrariesWrite,
    Scope::JobsWrite,
    Scope::KeysWrite,
    Scope::Account,
    Scope::AnalyticsRead,
];

/// What the session of an operator may do.
const OPERATORS: &[Scope] = &[
    Scope::DocsRead,
    Scope::Chat,
    Scope::LibrariesWrite,
    Scope::JobsWrite,
    Scope::KeysWrite,
    Scope::Account,
    Scope::AnalyticsRead,
    Scope::MetricsRead,
    Scope::Admin,
];

/// Whether a key that was revoked must not have it for longer than the node may be cut off. Reading documentation and talking with
/// it go on everywhere.
fn can_do_harm(scope: Scope) -> bool {
    match scope {
        Scope::LibrariesWrite
        | Scope::JobsWrite
        | Scope::KeysWrite
        | Scope::Account
        | Scope::AnalyticsRead
        | Scope::Admin => true,
        Scope::DocsRead
        | Scope::MetricsRead
        | Scope::Chat
        | Scope::OpenId
        | Scope::Profile
        | Scope::Email
        | Scope::OfflineAccess => false,
    }
}

/// Refuses, at a node that has been cut off for too long, what gives any of `scopes` that could do harm.
pub(crate) fn refuse_harm(scopes: &[Scope]) -> Result<(), ApiError> {
    if scopes.iter().copied().any(can_do_harm) { Err(stale()) } else { Ok(()) }
}

/// The refusal of somebody who may have lost the right elsewhere without this node knowing.
pub(super) fn stale() -> ApiError {
    let message = "This node has been cut off from the others for too long to know whether you may still do this. Ask another \
                   node, or try again when it is back.";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "state_too_old", message).retry_after(5)
}

/// Why a session is no caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// A page of another site has sent it.
    Foreign,
    /// The person still has to add a second factor.
    LacksFactor,
}

impl Withheld {
    pub(super) fn of(request: &Request, signed_in: &SignedIn) -> Option<Self> {
        match session::makes_caller(request) {
            false => Some(Self::Foreign),
            true => signed_in.lacks_factor.then_some(Self::LacksFactor),
        }
    }

    fn refusal(self) -> ApiError {
        match self {
            Self::Foreign => session::cross_site(),
            Self::LacksFactor => session::lacks_factor(),
        }
    }
}

/// Somebody with a key or a token, or who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    shown: Shown,
    /// Whether what was shown may have been revoked long ago, because the node is cut off.
    is_stale: bool,
}

/// What opened the door.
#[derive(Debug, Clone)]
enum Shown {
    Key(Arc<ApiKey>),
    Token(Arc<AccessToken>),
    Session(Arc<SignedIn>),
}

impl Caller {
    pub(crate) fn new(key: ApiKey) -> Self {
        Self { shown: Shown::Key(Arc::new(key)), is_stale: false }
    }

    /// Who shows an access token that is good here.
    pub(crate) fn with_token(token: Arc<AccessToken>) -> Self {
        Self { shown: Shown::Token(token), is_stale: false }
    }

    /// Who is signed in.
    pub(crate) fn with_session(signed_in: SignedIn) -> Self {
        Self { shown: Shown::Session(Arc::new(signed_in)), is_stale: false }
    }

    /// What tells this caller from others, for limits and usage: the key's id, client and account, or the account.
    pub(crate) fn id(&self) -> String {
        match &self.shown {
            Shown::Key(key) => key.id.to_string(),
            Shown::Token(token) => format!("{} {}", token.client, token.account()),
            Shown::Session(signed_in) => signed_in.account.to_string(),
        }
    }

    /// The access token that was shown, if it was one.
    pub(crate) fn token(&self) -> Option<&AccessToken> {
        match &self.shown {
            Shown::Key(_) | Shown::Session(_) => None,
            Shown::Token(token) => Some(token),
        }
    }

    /// In whose name the caller acts.
    pub(crate) fn account(&self) -> &AccountId {
        match &self.shown {
            Shown::Key(key) => &key.account,
            Shown::Token(token) => token.account(),
            Shown::Session(signed_in) => &signed_in.account,
        }
    }

    /// Who it is, for the audit log.
    pub(crate) fn actor(&self) -> Actor {
        match &self.shown {
            Shown::Key(key) => Actor::Key { id: key.id.clone(), account: key.account.clone() },
            Shown::Session(signed_in) => Actor::Person(signed_in.account.clone()),
            Shown::Token(token) => {
                Actor::Client { id: token.client.clone(), account: Some(token.account().clone()) }
            }
        }
    }

    /// Whose things the caller may change: everybody's with scope `admin`.
    pub(crate) fn owner(&self) -> Owner {
        if self.has(Scope::Admin) { Owner::Operator } else { Owner::Account(self.account().clone()) }
    }

    /// What the caller may do, as the key or the token says it, or as people may.
    pub(crate) fn scopes(&self) -> &[Scope] {
        match &self.shown {
            Shown::Key(key) => &key.scopes,
            Shown::Token(token) => &token.scopes,
            Shown::Session(signed_in) if signed_in.is_operator => OPERATORS,
            Shown::Session(_) => PERSONS,
        }
    }

    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.scopes().contains(&scope) || self.scopes().contains(&Scope::Admin)
    }

    /// The same caller at a node whose agreed state is older than [`stale_after_ms`](crate::config::ClusterConfig).
    pub(crate) fn at_stale_node(self) -> Self {
        Self { is_stale: true, ..self }
    }

    /// Refuses a caller who lacks `scope`; and one who has it where that may not be true any more, and could do harm.
    pub(crate) fn may(&self, scope: Scope) -> Result<(), ApiError> {
        self.may_look(scope)?;
        match self.is_stale && can_do_harm(scope) {
            true => Err(stale()),
            false => Ok(()),
        }
    }

    /// As [`Self::may`], for what nobody is harmed by: how the cluster is, which operators need to know where it is cut most of all.
    pub(crate) fn may_look(&self, scope: Scope) -> Result<(), ApiError> {
        if self.has(scope) {
            return Ok(());
        }
        self.lacks(scope)
    }

    /// The refusal of a caller who lacks `scope`.
    pub(crate) fn lacks<T>(&self, scope: Scope) -> Result<T, ApiError> {
        let message = match self.shown {
            Shown::Key(_) => format!("This API key lacks the scope `{scope}`; use a key that has it."),
            Shown::Token(_) => format!("This access token lacks the scope `{scope}`; ask the person for it."),
            Shown::Session(_) => {
                format!("Your session does not have the scope `{scope}`; ask somebody who runs this service.")
            }
        };
        Err(ApiError::new(StatusCode::FORBIDDEN, "insufficient_scope", message).with("scope", scope.as_str()))
    }
}

/// Somebody who may read documentation: with a key that may, or anonymous where the node allows that.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    /// Who reads, for usage.
    pub(crate) asker: Asker,
    /// Who reads, where that is known.
    caller: Option<Caller>,
}

impl Reader {
    /// In whose name documentation is read: private libraries answer their own people, operators or not.
    pub(crate) fn viewer(&self) -> Option<&AccountId> {
        self.caller.as_ref().map(Caller::account)
    }

    /// Whose libraries are listed: operators manage everybody's.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.caller.as_ref().map(Caller::owner)
    }

    /// The same reader, counted as `asker`.
    pub(crate) fn counted_as(self, asker: Asker) -> Self {
        Self { asker, ..self }
    }
}

impl Identity {
    /// The caller, who must have a key or a token, or be signed in.
    pub(crate) fn require(&self) -> Result<Caller, ApiError> {
        self.caller.clone().ok_or_else(|| {
            if let Some(withheld) = self.withheld {
                return withheld.refusal();
            }
            let message = "An API key or an access token is needed: send `Authorization: Bearer …`. Somebody with a key makes \
                           one with `twinmcp admin key create`, who is signed in at `/settings/keys`; a client that signs \
                           people in gets a token.";
            ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
        })
    }

    /// Refuses whoever lacks `scope`; documentation is read by anybody where the node allows that, and with no key that may not.
    pub(crate) fn may(&self, scope: Scope) -> Result<(), ApiError> {
        if scope == Scope::DocsRead && self.anonymous_reads && self.caller.is_none() {
            return Ok(());
        }
        self.require()?.may(scope)
    }

    /// Whether documentation may be read.
    pub(crate) fn reader(&self) -> Result<Reader, ApiError> {
        self.may(Scope::DocsRead)?;
        Ok(Reader { asker: self.asker, caller: self.caller.clone() })
    }

    /// As the front left it; a request that did not come through the front has no rights at all.
    pub(crate) fn of(extensions: &poem::http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(Self::nobody)
    }

    /// Somebody without any rights.
    pub(crate) fn nobody() -> Self {
        Self { caller: None, withheld: None, anonymous_reads: false, asker: asker::nobody() }
    }
}

/// Names of the ways to send a key, as the document states them.
const SCHEMES: &[&str] = &["bearer", "api_key", session::SCHEME];

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
    session::register_scheme(registry);
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
    fn a_session_may_what_its_person_may_and_an_operators_everything() {
        for is_operator in [false, true] {
            let now = Timestamp::from_millis(1);
            let caller = Caller::with_session(SignedIn {
                session: twinmcp_storage::ids::SessionId::random(now, &SystemEntropy).unwrap(),
                account: AccountId::random(now, &SystemEntropy).unwrap(),
                signed_in_at: now,
                methods: Vec::new(),
                lacks_factor: false,
                is_operator,
            });
            for scope in Scope::ALL.iter().filter(|scope| scope.is_permission()) {
                let is_services = matches!(scope, Scope::Admin | Scope::MetricsRead);
                assert_eq!(caller.may(*scope).is_ok(), is_operator || !is_services, "{scope}");
                assert_eq!(caller.scopes().contains(scope), is_operator || !is_services, "{scope}");
            }
        }
        for (withheld, code) in
            [(Withheld::Foreign, "cross_site"), (Withheld::LacksFactor, "second_factor_required")]
        {
            let withheld = Identity { withheld: Some(withheld), ..Identity::nobody() };
            assert_eq!(withheld.require().unwrap_err().code(), code);
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
