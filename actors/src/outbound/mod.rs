//! Requests that a node makes for somebody: one guard that all of them pass.
//!
//! [`Outbound`] is the only way in, and the only place of this crate that names `reqwest`. It speaks
//! http and https to public addresses, and to what the operator allows besides; asks no proxy of the
//! system; follows no redirect by itself ([`Trail`] does, hop by hop); and ends an answer that is too
//! large, too slow, or unpacks too far. Programs that speak for themselves, such as git, go through
//! `Tunnel`, which connects by the same rules.
//!
//! Invariant: an address is checked where it is used. The connector asks `Guard` for addresses and
//! connects to what it gives, so a name that means something else a moment later (DNS rebinding)
//! changes nothing. Literal addresses, in whatever spelling, are checked before a request is made.

mod address;
mod body;
mod error;
mod guard;
mod limits;
mod metrics;
mod redirect;
mod resolver;
#[cfg(test)]
pub(crate) mod tests;
mod tunnel;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
pub use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, StatusCode};
use tokio::time::Instant;
use twinmcp_storage::clock::Clock;
pub use url::Url;

pub use address::{Class, class_of};
pub use body::Body;
pub use error::{LookupError, OutboundError};
pub(crate) use guard::Guard;
pub use guard::Network;
pub use limits::OutboundConfig;
pub use redirect::Trail;
pub use resolver::{Resolver, SystemResolver};
pub(crate) use tunnel::Tunnel;

use metrics::Metrics;

/// The name that sites know this program by, in logs and in `robots.txt`.
pub const PRODUCT: &str = "TwinMCP";

/// Lines of a response's head: far more than servers send, so that bytes are what is counted.
const HEADERS_MAX: usize = 4_096;
/// Connections to one host kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// One request; what is not said has the limits of the configuration.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is done there.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// Headers besides those that every request has.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Bytes,
    /// Most bytes of the answer, unpacked; at most [`OutboundConfig::body_bytes_max`].
    pub body_bytes_max: u64,
}

impl Request {
    /// Asks for what lies at `url`.
    pub fn get(url: Url) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method: Method::GET, url, headers, body, body_bytes_max: u64::MAX }
    }
}

/// One answer, of which the body is still to be read.
#[derive(Debug)]
pub struct Response {
    /// Where it came from.
    pub url: Url,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// What follows the head.
    pub body: Body,
}

impl Response {
    /// The value of a header; empty when it is absent or not text.
    pub fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// How long the server wants to be left alone: `Retry-After`, in seconds or as a date (RFC 9110 10.2.3).
    pub fn retry_after(&self, clock: &dyn Clock) -> Option<Duration> {
        let value = self.header(&header::RETRY_AFTER).trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(value).ok()?;
        let now = UNIX_EPOCH + Duration::from_millis(clock.now().as_millis());
        Some(at.duration_since(now).unwrap_or_default())
    }
}

/// The way out of the node.
#[derive(Clone)]
pub struct Outbound(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    guard: Guard,
    metrics: Metrics,
}

impl Outbound {
    /// A way out by `config` that finds addresses with `resolver`.
    ///
    /// # Errors
    /// When the machine has no certificates to trust.
    pub fn new(config: OutboundConfig, resolver: Arc<dyn Resolver>) -> Result<Self, OutboundError> {
        // A second call finds the first one's provider, which is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let guard = Guard::new(config, resolver);
        let http = reqwest::Client::builder()
            .user_agent(guard.config().user_agent())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // Its limits of heads are those that are set here; for others `reqwest` could speak HTTP/2.
            .http1_only()
            .http1_max_headers(HEADERS_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .connect_timeout(guard.config().connect_timeout)
            .dns_resolver(Arc::new(guard.clone()))
            .build()
            .map_err(OutboundError::Client)?;
        Ok(Self(Arc::new(Inner { http, guard, metrics: Metrics::new() })))
    }

    /// The rules.
    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Checks what can be told of a URL without asking anybody: scheme, credentials, literal addresses. Who is refused here
    /// does not ask, so that it is counted here.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn check(&self, url: &str) -> Result<Url, OutboundError> {
        self.0.guard.parse(url).inspect_err(|error| self.refused(error))
    }

    /// Makes one request and waits for the head of its answer. A redirect is an answer like others.
    ///
    /// # Errors
    /// When a rule forbids it, or no answer came in time.
    pub async fn send(&self, request: Request) -> Result<Response, OutboundError> {
        let result = self.answered(request).await;
        if let Err(error) = &result {
            self.refused(error);
        }
        result
    }

    /// Counts a refusal that somebody else found.
    pub(crate) fn refused(&self, error: &OutboundError) {
        self.0.metrics.refused(error.reason());
    }

    async fn answered(&self, request: Request) -> Result<Response, OutboundError> {
        let Inner { http, guard, .. } = &*self.0;
        let config = guard.config();
        let Request { method, url, headers, body, body_bytes_max } = request;
        guard.check(&url)?;
        let deadline = Instant::now() + config.request_timeout;
        // Only what `Body` unpacks is asked for.
        let asked = http
            .request(method, url.clone())
            .header(header::ACCEPT_ENCODING, "gzip")
            .headers(headers)
            .body(body);
        let response = match tokio::time::timeout_at(deadline, asked.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(OutboundError::of(&url, error, config.header_bytes_max)),
            Err(_) => return Err(OutboundError::Deadline { url: url.into(), after: config.request_timeout }),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if bytes > config.header_bytes_max {
            let limit = config.header_bytes_max;
            return Err(OutboundError::HeaderTooLarge { url: url.into(), limit });
        }
        let body = Body::new(self.clone(), response, deadline, body_bytes_max)?;
        Ok(Response { url, status, headers, body })
    }
}
