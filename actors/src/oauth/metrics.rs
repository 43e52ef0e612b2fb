//! What the authorization server tells about itself: requests by endpoint, tokens given and taken back, the age of its keys.
//!
//! Invariant: no label has anything that a client chose; grants and outcomes are closed lists.

use std::sync::{Arc, Weak};
use std::time::Instant;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};
use twinmcp_storage::oauth::client::GrantType;
use twinmcp_storage::oauth::signing_key as agreed;

use super::error::{ErrorCode, OauthError};
use super::token::Tokens;
use super::{Inner, clients};

/// Bounds of the duration histogram, in seconds.
const DURATION_BOUNDS_S: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Why tokens are good for nothing any more.
#[derive(Debug, Clone, Copy)]
pub(super) enum Taken {
    /// The client gave them back (RFC 7009).
    Client,
    /// The person took back what they had allowed.
    Person,
    /// A refresh token came back.
    RefreshReuse,
    /// A code was shown twice or wrongly.
    CodeReuse,
    /// The key that signed them is believed no more.
    SigningKey,
}

impl Taken {
    fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Person => "person",
            Self::RefreshReuse => "refresh_reuse",
            Self::CodeReuse => "code_reuse",
            Self::SigningKey => "signing_key",
        }
    }
}

pub(super) struct Metrics {
    requests: Counter<u64>,
    durations: Histogram<f64>,
    issued: Counter<u64>,
    revoked: Counter<u64>,
    reused: Counter<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self {
            requests: meter
                .u64_counter("twinmcp.oauth.requests")
                .with_description("Requests to the authorization server, by endpoint, grant and what became of it.")
                .build(),
            durations: meter
                .f64_histogram("twinmcp.oauth.request.duration")
                .with_unit("s")
                .with_description("How long they took.")
                .with_boundaries(DURATION_BOUNDS_S.to_vec())
                .build(),
            issued: meter
                .u64_counter("twinmcp.oauth.tokens_issued")
                .with_description("Tokens that were given out, by type and grant.")
                .build(),
            revoked: meter
                .u64_counter("twinmcp.oauth.tokens_revoked")
                .with_description("Times that tokens were taken back on this node, each with all that came of the same grant.")
                .build(),
            reused: meter
                .u64_counter("twinmcp.oauth.refresh_reuse")
                .with_description("Refresh tokens that came back after they were used.")
                .build(),
        }
    }

    /// Begins to time a request to `endpoint`.
    pub(super) fn begin(&self, endpoint: &'static str) -> Call<'_> {
        Call { metrics: self, endpoint, grant: "none", began: Instant::now() }
    }

    /// Times `work`, a request to `endpoint` that is about no grant.
    pub(super) async fn timed<T>(
        &self,
        endpoint: &'static str,
        work: impl Future<Output = Result<T, OauthError>>,
    ) -> Result<T, OauthError> {
        let call = self.begin(endpoint);
        let result = work.await;
        call.end(&result);
        result
    }

    pub(super) fn revoked(&self, why: Taken) {
        self.revoked.add(1, &[KeyValue::new("reason", why.label())]);
        if matches!(why, Taken::RefreshReuse) {
            self.reused.add(1, &[]);
        }
    }
}

/// A request that is being answered.
pub(super) struct Call<'a> {
    metrics: &'a Metrics,
    endpoint: &'static str,
    grant: &'static str,
    began: Instant,
}

impl Call<'_> {
    /// It is about this grant.
    pub(super) fn about(&mut self, grant: GrantType) {
        self.grant = clients::name(grant);
    }

    /// These tokens were given out.
    pub(super) fn issued(&self, tokens: &Tokens) {
        let types = [
            ("access", true),
            ("refresh", tokens.refresh_token.is_some()),
            ("id", tokens.id_token.is_some()),
        ];
        for (kind, _) in types.into_iter().filter(|(_, is_given)| *is_given) {
            let labels = [KeyValue::new("type", kind), KeyValue::new("grant", self.grant)];
            self.metrics.issued.add(1, &labels);
        }
    }

    /// It was answered.
    pub(super) fn end<T>(self, result: &Result<T, OauthError>) {
        let outcome = match result {
            Ok(_) => "ok",
            Err(OauthError::Refused(refused)) => refused.code.as_str(),
            Err(OauthError::Nonce(_)) => ErrorCode::UseDpopNonce.as_str(),
            Err(OauthError::Busy) => "overload",
            Err(_) => "failed",
        };
        let endpoint = KeyValue::new("endpoint", self.endpoint);
        self.metrics.durations.record(self.began.elapsed().as_secs_f64(), std::slice::from_ref(&endpoint));
        let grant = KeyValue::new("grant_type", self.grant);
        self.metrics.requests.add(1, &[endpoint, grant, KeyValue::new("outcome", outcome)]);
    }
}

/// Tells how long the keys that sign, or verify yet, have signed: the oldest of each state. One that is published ahead has not begun, so it
/// has no age. Tells nothing once the node has stopped.
pub(super) fn tell_key_ages(oauth: &Arc<Inner>) {
    let held: Weak<Inner> = Arc::downgrade(oauth);
    global::meter("twinmcp")
        .f64_observable_gauge("twinmcp.oauth.signing_key.age")
        .with_unit("s")
        .with_description("How long the oldest key of each state has signed.")
        .with_callback(move |gauge| {
            let Some(oauth) = held.upgrade() else { return };
            let (now, agreed) = (oauth.clock.now(), agreed::list(oauth.cluster.reader()));
            let Ok(keys) = agreed else { return };
            let mut oldest = [("next", None), ("current", None), ("retired", None)];
            for key in keys.iter().filter(|key| key.revoked_at.is_none() && now < key.verifies_until) {
                let is_followed = keys.iter().any(|other| {
                    let follows = other.algorithm == key.algorithm && other.signs_from > key.signs_from;
                    other.revoked_at.is_none() && follows && other.signs_from <= now
                });
                let state = match (key.signs_from <= now, is_followed) {
                    (false, _) => 0,
                    (true, false) => 1,
                    (true, true) => 2,
                };
                let age_ms = now.millis_since(key.signs_from);
                oldest[state].1 = oldest[state].1.max(Some(age_ms));
            }
            for (state, age_ms) in oldest {
                if let Some(age_ms) = age_ms {
                    gauge.observe(age_ms as f64 / 1_000.0, &[KeyValue::new("kid_state", state)]);
                }
            }
        })
        .build();
}
