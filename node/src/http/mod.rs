//! The front: what every request passes before an endpoint sees it, and every answer on its way out.
//!
//! [`Front`] wraps the routes in one endpoint whose `call` reads top-down: a span and an id, whose address it has, the
//! host and origin, what has to be known here first, a place among the requests in progress, the caller, the rate limit, the body,
//! a deadline; then the shape of errors, headers, metrics and the log line.
//!
//! Invariants: a key that is sent but not valid is answered 401, never served as anonymous; a cookie that a page of another
//! site has sent along, with a change or to the API, makes nobody a caller; whose address a request has is decided once, and
//! [`address_of`] is how everybody reads it.

mod asker;
mod caller;
mod challenge;
mod cors;
mod credentials;
mod forwarded;
mod fresh;
mod metrics;
mod names;
mod origin;
mod pace;
mod rate;
mod server;
pub(crate) mod session;
#[cfg(test)]
mod tests;
mod trace;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream, TryStreamExt};
use poem::http::{HeaderValue, Method, StatusCode, Version, header};

use poem::{Body, Endpoint, IntoResponse, PathPattern, Request, Response};
use tokio::sync::Semaphore;
use tracing::Instrument;
use twinmcp_actors::accounts::{AccountsError, SignedIn};
use twinmcp_actors::api_keys::VerifyError;
use twinmcp_actors::oauth::{AccessToken, AdmitError, Assurance, ShownToken, looks_like_access_token};
use twinmcp_actors::usage::{Decision, LimitKey, Limits};
use twinmcp_cluster::Behalf;
use twinmcp_storage::api_keys::ApiKey;
use twinmcp_storage::audit::Actor;
use twinmcp_storage::clock::{Clock, Entropy};

use self::caller::Withheld;
#[cfg(test)]
pub(crate) use self::caller::tests::key as test_key;
pub(crate) use self::caller::{Caller, Identity, Reader, refuse_harm};
use self::credentials::Credentials;
use self::forwarded::{ClientAddress, TrustedProxies};
use self::fresh::Wanted;
pub(crate) use self::fresh::{AgreedState, Fresh, LOG_INDEX};
use self::metrics::{Metrics, Rejected};
pub(crate) use self::origin::Origin;
use self::origin::{Allowed, Foreign};
use self::pace::Pace;
pub(crate) use self::server::Server;
pub(crate) use self::session::{Enrolling, Session};
use self::trace::Trace;
use crate::api::{ApiError, Shape};
use crate::config::HttpConfig;
use crate::telemetry::Readiness;

/// Reads what a request says about hosts, origins and keys: for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn fuzz_headers(headers: &poem::http::HeaderMap) {
    let known = ["docs.example".to_owned()];
    let allowed = Allowed::new(&known, &["https://docs.example".to_owned()]);
    let _ = allowed.check(None, headers);
    let _ = Credentials::of(headers);
    let _ = session::secret(headers);
    let _ = Wanted::of(headers, Shape::Page);
    let proxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"].map(str::to_owned);
    let _ = TrustedProxies::new(&proxies).client(Ipv4Addr::LOCALHOST.into(), headers);
}

/// Reads text as an origin: see [`crate::fuzzing::url`].
#[cfg(fuzzing)]
pub(crate) fn fuzz_origin(text: &str) {
    let _ = origin::Origin::parse(text).is_some_and(|origin| origin.is_exact());
    let path = session::local_path(Some(text));
    assert!(path.starts_with('/') && !path.starts_with("//") && !path.contains('\\'), "{path}");
}

/// Checks an API key's secret.
pub(crate) type Verify = Box<dyn Fn(&str) -> Result<ApiKey, VerifyError> + Send + Sync>;

/// Checks access tokens.
pub(crate) type Admit = Box<dyn Fn(ShownToken<'_>) -> Result<Arc<AccessToken>, AdmitError> + Send + Sync>;

/// Tells who is signed in by the secret of a session.
pub(crate) type TellSignedIn = Box<dyn Fn(&str) -> Result<Option<SignedIn>, AccountsError> + Send + Sync>;

/// What the front needs to know.
pub(crate) struct FrontConfig {
    pub(crate) http: HttpConfig,
    pub(crate) anonymous_reads: bool,
    pub(crate) limits: Limits,
    pub(crate) verify: Verify,
    pub(crate) admit: Admit,
    /// The service's name, where clients learn how to get tokens.
    pub(crate) issuer: String,
    pub(crate) signed_in: TellSignedIn,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// A node that is not ready asks clients to take their next request elsewhere.
    pub(crate) readiness: Arc<Readiness>,
    /// What a request wants to find here that was written elsewhere.
    pub(crate) fresh: Fresh,
    /// Places for requests in progress.
    pub(crate) in_flight: Arc<Semaphore>,
}

/// The endpoint around all routes.
pub(crate) struct Front<E> {
    inner: E,
    config: FrontConfig,
    allowed: Allowed,
    proxies: TrustedProxies,
    metrics: Metrics,
}

/// Paths that take files.
const UPLOADS: &[&str] = &["/api/jobs/uploads", "/api/libraries/import", "/api/v2/add/openapi-upload"];

/// What is asked of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    /// Counted by the rate limits.
    limited: bool,
    /// Answered also when the node is full and whatever the host is called: probes and scrapes.
    probe: bool,
    /// Its body is a file, which the endpoint takes in pieces.
    upload: bool,
    /// Who asks shows what only the endpoint can check: a client's own credentials.
    own_credentials: bool,
}

impl Class {
    fn of(path: &str) -> Self {
        let probe = path.starts_with("/api/health") || path == "/api/metrics";
        let fixed = path == "/api/openapi.json"
            || path == "/api/docs"
            || path.starts_with("/api/docs/")
            || crate::ui::is_asset(path);
        let limited = !probe && !fixed;
        let own_credentials = path.starts_with("/api/oauth/") && path != "/api/oauth/userinfo";
        Self { limited, probe, upload: UPLOADS.contains(&path), own_credentials }
    }
}

/// An answer on its way out, and the limit it was counted against.
struct Outcome {
    result: Result<Response, ApiError>,
    decision: Option<Decision>,
}

impl From<ApiError> for Outcome {
    fn from(error: ApiError) -> Self {
        Self { result: Err(error), decision: None }
    }
}

/// Who has sent a request.
struct Sender {
    caller: Option<Caller>,
    withheld: Option<Withheld>,
    signed_in: Option<SignedIn>,
}

impl Sender {
    /// A key or a token goes before the cookie, which says nothing where clients show their own credentials.
    fn of(request: &Request, class: Class, shown: Option<Caller>, signed_in: Option<SignedIn>) -> Self {
        let withheld = signed_in.as_ref().and_then(|signed_in| Withheld::of(request, signed_in));
        let by_cookie = signed_in.as_ref().filter(|_| !class.own_credentials && withheld.is_none());
        let caller = shown.or_else(|| by_cookie.cloned().map(Caller::with_session));
        Self { caller, withheld, signed_in }
    }
}

impl<E: Endpoint> Front<E> {
    pub(crate) fn new(inner: E, config: FrontConfig) -> Self {
        Self {
            inner,
            allowed: Allowed::new(&config.http.allowed_hosts, &config.http.allowed_origins),
            proxies: TrustedProxies::new(&config.http.trusted_proxies),
            metrics: Metrics::new(),
            config,
        }
    }

    /// Everything that may refuse a request, then the request itself.
    async fn admit(&self, request: Request, (class, shape): (Class, Shape), id: &str) -> Outcome {
        if let Err(refused) = self.check_head(&request) {
            return refused.into();
        }
        let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
        if !class.probe
            && let Err(foreign) = self.allowed.check(authority.as_deref(), request.headers())
            // Whose form it is does not matter there: see `ui::takes_foreign_forms`.
            && !(matches!(foreign, Foreign::Origin) && crate::ui::takes_foreign_forms(request.uri().path()))
        {
            return self.refuse_foreign(foreign).into();
        }
        if cors::is_preflight(request.method(), request.headers()) {
            return Outcome { result: Ok(cors::preflight()), decision: None };
        }
        // What is not limited is the same whatever was written.
        if class.limited {
            // Before the sender is looked up, who may have been made by that very change.
            let waited = match Wanted::of(request.headers(), shape) {
                Ok(None) => Ok(()),
                Ok(Some(wanted)) => self.config.fresh.wait(wanted).await,
                Err(error) => Err(error),
            };
            if let Err(error) = waited {
                return error.into();
            }
        }
        let Ok(_in_flight) =
            (if class.probe { Ok(None) } else { self.config.in_flight.try_acquire().map(Some) })
        else {
            self.metrics.rejected(Rejected::Overload);
            let message = "The node has as many requests in progress as it takes. Try again in a second.";
            return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overload", message).retry_after(1).into();
        };
        let address = address_of(&request);
        let shown = if class.own_credentials { Ok(None) } else { self.authenticate(&request) };
        let caller = match shown {
            Ok(caller) => caller,
            // Counted too, so that nobody can try keys faster than an address may ask.
            Err(error) => {
                let decision = self.count(&LimitKey::Address(address));
                return match decision {
                    Ok(decision) => Outcome { result: Err(error), decision: Some(decision) },
                    Err((error, decision)) => Outcome { result: Err(error), decision: Some(decision) },
                };
            }
        };
        // Only a request with the cookie costs a look, and none for what is the same for everybody.
        let secret = session::secret(request.headers()).filter(|_| class.limited || class.probe);
        let signed_in = match secret.map(&self.config.signed_in).transpose() {
            Ok(signed_in) => signed_in.flatten(),
            Err(error) => return ApiError::from(error).into(),
        };
        let sender = Sender::of(&request, class, caller, signed_in);
        let mut decision = None;
        if class.limited {
            self.metrics.client(request.headers());
            match self.count(&rate::counted(request.uri().path(), sender.caller.as_ref(), address)) {
                Ok(counted) => decision = Some(counted),
                Err((error, counted)) => {
                    return Outcome { result: Err(error), decision: Some(counted) };
                }
            }
        }
        let result = self.forward(request, (class, id), sender, &mut decision).await;
        Outcome { result, decision }
    }

    /// Refuses what hyper has read but is longer than anybody needs.
    fn check_head(&self, request: &Request) -> Result<(), ApiError> {
        let http = &self.config.http;
        let url_bytes = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
        if url_bytes > http.url_bytes_max {
            self.metrics.rejected(Rejected::UrlTooLong);
            let message = format!("The URL may have {} bytes.", http.url_bytes_max);
            return Err(ApiError::new(StatusCode::URI_TOO_LONG, "url_too_long", message));
        }
        let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
        if fields.sum::<usize>() > http.head_bytes_max {
            self.metrics.rejected(Rejected::HeadTooLarge);
            let message = format!("The headers may have {} bytes.", http.head_bytes_max);
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(ApiError::new(status, "headers_too_large", message));
        }
        Ok(())
    }

    fn refuse_foreign(&self, foreign: Foreign) -> ApiError {
        match foreign {
            Foreign::Host => {
                self.metrics.rejected(Rejected::Host);
                let message = "This node does not answer to this host name; add it to `http.allowed_hosts`.";
                ApiError::new(StatusCode::FORBIDDEN, "host_not_allowed", message)
            }
            Foreign::Origin => {
                self.metrics.rejected(Rejected::Origin);
                let message =
                    "Pages of this origin may not call this node; add it to `http.allowed_origins`.";
                ApiError::new(StatusCode::FORBIDDEN, "origin_not_allowed", message)
            }
        }
    }

    fn authenticate(&self, request: &Request) -> Result<Option<Caller>, ApiError> {
        let refused = |message: String| ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message);
        match Credentials::of(request.headers()) {
            Credentials::None => Ok(None),
            Credentials::Unusable => Err(refused(
                "The request carries credentials that are no API key. Send `Authorization: Bearer tmcp_…`, \
                 or nothing to be anonymous."
                    .to_owned(),
            )),
            Credentials::Secret(token) if looks_like_access_token(token) => {
                self.admit_token(token, false, request).map(Some)
            }
            Credentials::Bound(token) => self.admit_token(token, true, request).map(Some),
            Credentials::Secret(secret) => match (self.config.verify)(secret) {
                Ok(key) => Ok(Some(Caller::new(key))),
                Err(VerifyError::Storage(cause)) => Err(cause.into()),
                Err(error) => Err(refused(format!(
                    "The API key was refused: {error}. `twinmcp admin key list` shows the keys in force."
                ))),
            },
        }
    }

    /// The holder of an access token that is good here.
    fn admit_token(&self, text: &str, is_bound: bool, request: &Request) -> Result<Caller, ApiError> {
        let proof = request.headers().get(&names::DPOP).and_then(|proof| proof.to_str().ok());
        let (method, path) = (request.method().as_str(), request.uri().path());
        let refused = |code, message: String| ApiError::new(StatusCode::UNAUTHORIZED, code, message);
        match (self.config.admit)(ShownToken { text, is_bound, proof, method, path }) {
            Ok(token) => Ok(Caller::with_token(token)),
            Err(AdmitError::Storage(cause)) => Err(cause.into()),
            Err(error @ AdmitError::Refused) => {
                let message = crate::api::sentence(&format!("{error}: refresh it, or sign in again"));
                Err(refused("invalid_token", message))
            }
            Err(error @ AdmitError::Weak) => {
                let message = crate::api::sentence(&format!("{error}: send them to sign in again"));
                let error = refused("insufficient_user_authentication", message);
                Err(error.with("acr_values", Assurance::Two.as_str()))
            }
            Err(error @ AdmitError::Proof(_)) => {
                Err(refused("invalid_dpop_proof", crate::api::sentence(&error.to_string())))
            }
            Err(AdmitError::Nonce(nonce)) => Err(ApiError::dpop_nonce(StatusCode::UNAUTHORIZED, &nonce)),
        }
    }

    /// Counts a request; a refusal comes with the decision, which the answer's headers tell.
    fn count(&self, who: &LimitKey) -> Result<Decision, (ApiError, Decision)> {
        let decision = self.config.limits.check(who);
        let scope = match who {
            LimitKey::Address(_) => "address",
            LimitKey::Key(_) => "key",
            LimitKey::Oauth(_) => "oauth",
        };
        self.metrics.decided(scope, decision.allowed);
        if decision.allowed {
            return Ok(decision);
        }
        self.metrics.rejected(Rejected::RateLimit);
        Err((rate::refusal(who, &decision), decision))
    }

    /// Hands the request to its endpoint, with its caller, a bounded body and a deadline.
    async fn forward(
        &self,
        mut request: Request,
        (class, id): (Class, &str),
        Sender { caller, withheld, signed_in }: Sender,
        decision: &mut Option<Decision>,
    ) -> Result<Response, ApiError> {
        let http = &self.config.http;
        let asker = asker::of(request.uri().path(), request.headers(), caller.as_ref(), address_of(&request));
        let mut actor = caller.as_ref().map(Caller::actor);
        let anonymous_reads = self.config.anonymous_reads;
        let is_stale = self.config.readiness.is_stale();
        let caller = if is_stale { caller.map(Caller::at_stale_node) } else { caller };
        request.extensions_mut().insert(Identity { caller, withheld, anonymous_reads, asker });
        if let Some(signed_in) = signed_in {
            actor.get_or_insert_with(|| Actor::Person(signed_in.account.clone()));
            Session::put(&mut request, signed_in, is_stale);
        }
        let behalf = Behalf::of(actor.unwrap_or(Actor::Nobody), address_of(&request), id);
        // hyper leaves the body out of an answer to HEAD.
        if request.method() == Method::HEAD {
            request.set_method(Method::GET);
        }
        // A file is bytes, whatever the client says or does not say it is (RFC 9110, 8.3).
        if class.upload && !request.headers().contains_key(header::CONTENT_TYPE) {
            let bytes = HeaderValue::from_static("application/octet-stream");
            request.headers_mut().insert(header::CONTENT_TYPE, bytes);
        }
        let deadline_ms = if class.upload { http.upload_timeout_ms } else { http.request_timeout_ms };
        let work = async {
            self.take_body(&mut request, class, decision).await?;
            self.inner.call(request).await.map(IntoResponse::into_response)
        };
        let caught = AssertUnwindSafe(behalf.scope(work)).catch_unwind();
        match tokio::time::timeout(Duration::from_millis(deadline_ms), caught).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(error))) => {
                let error = keep_route(error);
                let is_slow = std::error::Error::source(&error).is_some_and(pace::is_too_slow);
                Err(if is_slow { self.too_slow(&error) } else { error })
            }
            Ok(Err(panic)) => Err(ApiError::internal(Panicked::from(panic))),
            Err(_) => {
                let message =
                    format!("The request took longer than {deadline_ms} ms. Try again with less, or later.");
                Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message))
            }
        }
    }

    /// Whoever sends a body has to keep up a pace. What is short is read here, so that no endpoint meets a body over the limit; where
    /// it says more of its sender than the head did, the request is counted by that.
    async fn take_body(
        &self,
        request: &mut Request,
        class: Class,
        decision: &mut Option<Decision>,
    ) -> Result<(), ApiError> {
        let body = request.take_body();
        if body.is_empty() {
            return Ok(());
        }
        let http = &self.config.http;
        let grace = Duration::from_millis(http.body_grace_ms);
        let pieces = Pace { grace, bytes_per_s_min: http.body_bytes_per_s_min }.keep(body);
        if class.upload {
            request.set_body(Body::from_bytes_stream(pieces));
            return Ok(());
        }
        let declared = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let body = self.read_body(pieces, declared).await?;
        if rate::is_strangers(request.uri().path(), request.headers(), &body) {
            let counted = self.count(&LimitKey::Address(address_of(request)));
            *decision = Some(match &counted {
                Ok(counted) | Err((_, counted)) => *counted,
            });
            counted.map_err(|(refused, _)| refused)?;
        }
        request.set_body(body);
        Ok(())
    }

    async fn read_body(
        &self,
        mut pieces: impl Stream<Item = io::Result<Bytes>> + Unpin,
        declared: Option<usize>,
    ) -> Result<Bytes, ApiError> {
        let limit = self.config.http.body_bytes_max;
        let too_large = || {
            self.metrics.rejected(Rejected::BodyTooLarge);
            let message = format!("The body may have {limit} bytes.");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
        };
        if declared.is_some_and(|bytes| bytes > limit) {
            return Err(too_large());
        }
        let unreadable = |error| ApiError::bad_request("The body could not be read.").caused_by(error);
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.try_next().await.map_err(unreadable)? {
            if whole.len() + piece.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The refusal of a body that fell behind, whichever endpoint was reading it.
    fn too_slow(&self, broken_off: &ApiError) -> ApiError {
        self.metrics.rejected(Rejected::BodyTooSlow);
        let http = &self.config.http;
        let message = format!(
            "The body came too slowly: after {} ms it has to have come at {} bytes a second.",
            http.body_grace_ms, http.body_bytes_per_s_min
        );
        let refused = ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message);
        match broken_off.route() {
            Some(route) => refused.on_route(route),
            None => refused,
        }
    }
}

/// Takes the route along when poem's error becomes ours.
fn keep_route(error: poem::Error) -> ApiError {
    let route = error.data::<PathPattern>().cloned();
    let error = ApiError::from_poem(error);
    match route {
        Some(route) => error.on_route(route.0.as_ref()),
        None => error,
    }
}

impl<E: Endpoint> Endpoint for Front<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let method = request.method().clone();
        let active = self.metrics.begin(&method);
        let Trace { span, id } = Trace::begin(request.headers(), method.as_str(), &*self.config.entropy);
        let address = self.proxies.client(peer_of(&request), request.headers());
        request.extensions_mut().insert(ClientAddress(address));
        let path = request.uri().path().to_owned();
        let (shape, class) = (Shape::of(&path, request.headers()), Class::of(&path));
        let origin = request.headers().get(header::ORIGIN).cloned();
        let is_http1 = request.version() <= Version::HTTP_11;
        let in_browser = session::secret(request.headers()).is_some();

        let Outcome { result, decision } =
            self.admit(request, (class, shape), &id).instrument(span.clone()).await;
        let _entered = span.enter();
        let mut error = None;
        let mut foreign = false;
        let (route, mut response) = match result {
            Ok(response) => {
                let route = response.data::<PathPattern>().map(|pattern| pattern.0.to_string());
                (route, response)
            }
            Err(refused) => {
                error = Some(refused.code());
                foreign = matches!(refused.code(), "origin_not_allowed" | "host_not_allowed");
                let challenge = challenge::challenge(&refused, &path, &self.config.issuer);
                let route = refused.route().map(str::to_owned);
                let mut response = refused.respond(shape, &id);
                if let Some(challenge) = challenge {
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                }
                (route, response)
            }
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            tell_methods(&mut response, &path);
        }
        if let Some(decision) = &decision {
            rate::tell(&mut response, decision, self.config.clock.now());
        }
        if fresh::may_have_changed(&method, &path, response.status()) {
            self.config.fresh.tell(&mut response, in_browser);
        }
        if let Some(origin) = origin.filter(|_| !foreign && cors::may_be_read(&path)) {
            cors::allow(&mut response, &origin);
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(names::REQUEST_ID.clone(), id);
        }
        // What is left of a body that was not read would be taken for the next request (RFC 9112, 9.6).
        let is_unread = matches!(error, Some("body_too_large" | "body_too_slow"));
        if is_http1 && (is_unread || !self.config.readiness.is_ready()) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

        let status = response.status().as_u16();
        let route = route.as_deref().unwrap_or("unmatched");
        span.record("http.route", route);
        span.record("http.response.status_code", status);
        let seconds = active.end(route, status, error);
        let code = error.unwrap_or_default();
        match status {
            500.. => tracing::warn!(method = %method, route, status, seconds, code, "request answered"),
            400.. => tracing::info!(method = %method, route, status, seconds, code, "request answered"),
            _ => tracing::debug!(method = %method, route, status, seconds, "request answered"),
        }
        Ok(response)
    }
}

/// `Allow`, which an answer 405 has to carry (RFC 9110, 15.5.6).
fn tell_methods(response: &mut Response, path: &str) {
    let methods = crate::api::allowed_methods(path).and_then(|methods| HeaderValue::try_from(methods).ok());
    if let Some(methods) = methods {
        response.headers_mut().insert(header::ALLOW, methods);
    }
}

/// Whose address a request has: the peer's, or behind a proxy of `http.trusted_proxies` the one that it was asked from.
pub(crate) fn address_of(request: &Request) -> IpAddr {
    // Only in a test a request comes to an endpoint without the front.
    request.extensions().get::<ClientAddress>().map_or_else(|| peer_of(request), |client| client.0)
}

/// The peer's address; a request that came over no socket (a test) counts as loopback.
fn peer_of(request: &Request) -> IpAddr {
    let address = request.remote_addr().as_socket_addr();
    address.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip().to_canonical())
}

/// A panic in an endpoint, which ends that request and nothing else.
#[derive(Debug, thiserror::Error)]
#[error("an endpoint panicked: {message}")]
struct Panicked {
    message: String,
}

impl From<Box<dyn std::any::Any + Send>> for Panicked {
    fn from(panic: Box<dyn std::any::Any + Send>) -> Self {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Self { message }
    }
}
