//! What a provider says of itself (OpenID Connect Discovery, 4): fetched when it is needed, kept for a while.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use serde::Deserialize;
use twinmcp_storage::clock::{Clock, Timestamp};

use super::exchange::{ANSWER_BYTES_MAX, ExchangeError};
use crate::outbound::{Outbound, Request, StatusCode};

/// How long it is believed without looking again, in milliseconds.
const KEPT_MS: u64 = 60 * 60 * 1000;
/// How long it is believed on when it could not be looked at again, in milliseconds.
const AGAIN_MS: u64 = 60 * 1000;
/// How long it may take to come.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Providers of which it is kept: more than anybody configures.
const KEPT_MAX: usize = 100;

/// What is needed of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    #[serde(default)]
    pub(super) userinfo_endpoint: Option<String>,
    /// Whether every answer names the provider (RFC 9207, 3).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
    /// `client_secret_basic` alone when absent.
    #[serde(default)]
    pub(super) token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// Metadata by issuer.
pub(super) struct Documents {
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    known: Cache<String, (Timestamp, Arc<Metadata>)>,
}

impl Documents {
    pub(super) fn new(outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        Self { outbound, clock, known: Cache::new(KEPT_MAX) }
    }

    /// The metadata of the provider whose issuer is `issuer`.
    pub(super) async fn of(&self, issuer: &str) -> Result<Arc<Metadata>, ExchangeError> {
        let now = self.clock.now();
        let kept = self.known.get(issuer);
        if let Some((until, metadata)) = &kept
            && now < *until
        {
            return Ok(Arc::clone(metadata));
        }
        match tokio::time::timeout(TIME_MAX, self.fetch(issuer)).await.unwrap_or(Err(ExchangeError::Deadline))
        {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                self.known.insert(issuer.to_owned(), (now.plus_millis(KEPT_MS), Arc::clone(&metadata)));
                Ok(metadata)
            }
            // What was right an hour ago most likely still is, and is asked for again a little later: not by everybody who signs in meanwhile.
            Err(error) => match kept {
                Some((_, metadata)) => {
                    let until = now.plus_millis(AGAIN_MS);
                    self.known.insert(issuer.to_owned(), (until, Arc::clone(&metadata)));
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a provider was not looked at again"
                    );
                    Ok(metadata)
                }
                None => Err(error),
            },
        }
    }

    async fn fetch(&self, issuer: &str) -> Result<Metadata, ExchangeError> {
        // A slash at its end is the issuer's, and is taken away here (Discovery, 4).
        let base = issuer.trim_end_matches('/');
        let url = self.outbound.check(&format!("{base}/.well-known/openid-configuration"))?;
        let request = Request { body_bytes_max: ANSWER_BYTES_MAX, ..Request::get(url) };
        let response = self.outbound.send(request).await?;
        if response.status != StatusCode::OK {
            return Err(ExchangeError::Status { what: "for its metadata", status: response.status.as_u16() });
        }
        Metadata::read(&response.body.read().await?, issuer)
    }
}

impl Metadata {
    /// What the provider answers whose issuer is `issuer`.
    pub(super) fn read(body: &[u8], issuer: &str) -> Result<Self, ExchangeError> {
        let metadata: Self = serde_json::from_slice(body)
            .map_err(|source| ExchangeError::Form { what: "metadata", source })?;
        // Letter by letter: who answers for another name is not who is configured (Discovery, 4.3).
        if metadata.issuer != issuer {
            return Err(ExchangeError::Metadata("it is of another issuer than is configured"));
        }
        if !metadata.is_safe() {
            return Err(ExchangeError::Metadata("it names addresses that are not https"));
        }
        Ok(metadata)
    }

    /// Whether nobody on the way reads along, at no address; where the provider itself is not asked by https, an operator has decided that.
    fn is_safe(&self) -> bool {
        let is_safe = |url: &String| url.starts_with("https://") || self.issuer.starts_with("http://");
        [&self.authorization_endpoint, &self.token_endpoint, &self.jwks_uri]
            .into_iter()
            .chain(&self.userinfo_endpoint)
            .all(is_safe)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::{Value, json};
    use tokio::io::AsyncWriteExt;
    use twinmcp_storage::clock::ManualClock;

    use super::*;
    use crate::outbound::tests::{Server, config, outbound};

    fn metadata(issuer: &str) -> Value {
        let at = |path: &str| format!("{issuer}{path}");
        json!({
            "issuer": issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
            "jwks_uri": at("/keys"), "userinfo_endpoint": at("/userinfo"),
        })
    }

    #[test]
    fn every_address_of_a_provider_that_is_asked_by_https_is_too() {
        let of = |issuer, change: Option<&str>| {
            let mut metadata = metadata(issuer);
            if let Some(name) = change {
                metadata[name] = json!("http://id.example/x");
            }
            serde_json::from_value::<Metadata>(metadata).unwrap().is_safe()
        };
        assert!(of("https://id.example", None));
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            assert!(!of("https://id.example", Some(name)), "{name}");
            assert!(of("http://id.example", Some(name)), "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_known_is_believed_on_for_a_minute_each_time_it_cannot_be_looked_at_again() {
        let is_up = Arc::new(AtomicBool::new(false));
        let up = Arc::clone(&is_up);
        let server = Server::start(move |head, mut stream| {
            let host = head.split_once("host: ").and_then(|(_, rest)| rest.lines().next());
            let body = metadata(&format!("http://{}", host.unwrap_or_default())).to_string();
            let status = if up.load(Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            async move { stream.write_all(answer.as_bytes()).await }
        })
        .await;
        let issuer = server.url("").to_string();
        let issuer = issuer.trim_end_matches('/');
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(KEPT_MS)));
        let documents = Documents::new(outbound(config()), Arc::clone(&clock) as Arc<dyn Clock>);
        // Whether it is known, and how often it was asked for so far.
        let known = async || (documents.of(issuer).await.is_ok(), server.requests());

        assert_eq!((known().await, known().await), ((false, 1), (false, 2)), "nothing is kept of a failure");
        is_up.store(true, Ordering::SeqCst);
        assert_eq!((known().await, known().await), ((true, 3), (true, 3)));
        is_up.store(false, Ordering::SeqCst);
        for asked in [4, 5] {
            clock.advance_millis(if asked == 4 { KEPT_MS } else { AGAIN_MS });
            assert_eq!((known().await, known().await), ((true, asked), (true, asked)));
        }
        is_up.store(true, Ordering::SeqCst);
        clock.advance_millis(AGAIN_MS - 1);
        assert_eq!(known().await, (true, 5));
        clock.advance_millis(1);
        assert_eq!(known().await, (true, 6));
        clock.advance_millis(KEPT_MS - 1);
        assert_eq!(known().await, (true, 6));
    }
}
