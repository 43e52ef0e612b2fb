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
        let body = response.body.read().await?;
        let metadata: Metadata = serde_json::from_slice(&body)
            .map_err(|source| ExchangeError::Form { what: "metadata", source })?;
        // Letter by letter: who answers for another name is not who is configured (Discovery, 4.3).
        if metadata.issuer != issuer {
            return Err(ExchangeError::Metadata("it is of another issuer than is configured"));
        }
        let is_safe = |url: &String| url.starts_with("https://") || issuer.starts_with("http://");
        if ![&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri]
            .into_iter()
            .chain(&metadata.userinfo_endpoint)
            .all(is_safe)
        {
            return Err(ExchangeError::Metadata("it names addresses that are not https"));
        }
        Ok(metadata)
    }
}
