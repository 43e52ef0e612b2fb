//! Sets of public keys that others keep at an address: fetched when they are needed, kept for a while.
//!
//! A token with a key that is not known makes one look, and a flood of such tokens makes no more than one a minute
//! (RFC 8725, 3.10): whoever makes tokens up cannot have a node ask somebody else over and over.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, Semaphore};
use twinmcp_storage::clock::{Clock, Timestamp};

use super::{KeySet, KeySetError};
use crate::outbound::{Outbound, OutboundError, Request, StatusCode, header};

/// Largest set, in bytes.
const SET_BYTES_MAX: u64 = 64 * 1024;
/// How long one may take to come.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Between two looks at one address, in milliseconds, whatever became of the first.
const LOOK_EVERY_MS: u64 = 60 * 1000;
/// How long a set is used without looking again, in milliseconds. One that cannot be looked at again is used on.
const FRESH_MS: u64 = 10 * 60 * 1000;
/// Sets that a node fetches at once.
const FETCHES_MAX: usize = 8;
/// Addresses of which a node keeps the sets.
const SETS_MAX: usize = 1_000;

/// Why there is no key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeySetsError {
    /// The set could not be fetched.
    #[error("the keys could not be fetched")]
    Fetch(#[source] Arc<OutboundError>),
    /// It did not come in time.
    #[error("the keys did not come within {} seconds", TIME_MAX.as_secs())]
    Deadline,
    /// It was answered with another status.
    #[error("the keys were answered with status {0}, not 200")]
    Status(u16),
    /// What was fetched is no set of keys.
    #[error("what lies at the address of the keys is not usable: {0}")]
    Set(#[source] KeySetError),
    /// As many are being fetched as may be.
    #[error("the keys of too many others are being fetched")]
    Busy,
    /// It was looked at a moment ago, in vain.
    #[error("the keys could not be fetched a moment ago; they are asked for once a minute")]
    AMomentAgo,
    /// There is no such key.
    #[error("there is no one key of this name and algorithm")]
    Unknown,
}

/// Sets by their addresses.
pub(crate) struct KeySets {
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    known: Cache<String, Arc<Mutex<Known>>>,
    fetches: Semaphore,
}

/// What is known of one address; locked while somebody looks, so that the others wait for the same answer.
#[derive(Default)]
struct Known {
    set: Option<(Timestamp, KeySet)>,
    looked_at: Option<Timestamp>,
}

impl KeySets {
    pub(crate) fn new(outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        Self { outbound, clock, known: Cache::new(SETS_MAX), fetches: Semaphore::new(FETCHES_MAX) }
    }

    /// The key called `kid` of the set at `url` that signs with `algorithm`.
    pub(crate) async fn find(
        &self,
        url: &str,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, KeySetsError> {
        let known = self
            .known
            .get_or_insert_with(url, || Ok::<_, PoisonError<()>>(Arc::default()))
            .map_err(|_| KeySetsError::Unknown)?;
        let mut known = known.lock().await;
        let now = self.clock.now();
        let is_due = match &known.set {
            Some((at, set)) => now.millis_since(*at) >= FRESH_MS || !set.has(kid),
            None => true,
        };
        if is_due {
            if known.looked_at.is_none_or(|at| now.millis_since(at) >= LOOK_EVERY_MS) {
                match self.look(url, &mut known, now).await {
                    Ok(()) => {}
                    Err(error) if known.set.is_none() => return Err(error),
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "keys were not looked at again"
                        )
                    }
                }
            } else if known.set.is_none() {
                return Err(KeySetsError::AMomentAgo);
            }
        }
        let found = known.set.as_ref().and_then(|(_, set)| set.find(kid, algorithm));
        found.cloned().ok_or(KeySetsError::Unknown)
    }

    async fn look(&self, url: &str, known: &mut Known, now: Timestamp) -> Result<(), KeySetsError> {
        // Who finds every place taken has not looked, and may a moment later.
        let _place = self.fetches.try_acquire().map_err(|_| KeySetsError::Busy)?;
        known.looked_at = Some(now);
        known.set = Some((now, self.fetch(url).await?));
        Ok(())
    }

    async fn fetch(&self, url: &str) -> Result<KeySet, KeySetsError> {
        let failed = |error| KeySetsError::Fetch(Arc::new(error));
        let url = self.outbound.check(url).map_err(failed)?;
        let mut request = Request { body_bytes_max: SET_BYTES_MAX, ..Request::get(url) };
        let kinds = header::HeaderValue::from_static("application/jwk-set+json, application/json");
        request.headers.insert(header::ACCEPT, kinds);
        let fetching = async {
            // No redirect is followed: who chooses the address chooses where it leads.
            let response = self.outbound.send(request).await.map_err(failed)?;
            if response.status != StatusCode::OK {
                return Err(KeySetsError::Status(response.status.as_u16()));
            }
            response.body.read().await.map_err(failed)
        };
        let body = tokio::time::timeout(TIME_MAX, fetching).await.map_err(|_| KeySetsError::Deadline)??;
        let set = serde_json::from_slice(&body).map_err(|_| KeySetsError::Set(KeySetError::Malformed))?;
        KeySet::parse(&set).map_err(KeySetsError::Set)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::AsyncWriteExt;
    use twinmcp_storage::clock::ManualClock;

    use super::*;
    use crate::outbound::tests::{Server, config, outbound};

    #[tokio::test]
    async fn who_finds_every_place_taken_has_not_looked_and_may_a_moment_later() {
        // RFC 7515, A.3.
        let set = json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }] });
        let body = set.to_string();
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        let server = Server::start(move |_, mut stream| {
            let (gate, answer) = (Arc::clone(&opened), answer.clone());
            async move {
                let _open = gate.acquire().await.map_err(std::io::Error::other)?;
                stream.write_all(answer.as_bytes()).await
            }
        })
        .await;
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000)));
        let sets = Arc::new(KeySets::new(outbound(config()), clock));
        let find = |number: usize| {
            let (sets, url) = (Arc::clone(&sets), server.url(&format!("/{number}")));
            async move { sets.find(url.as_str(), Some("k"), Algorithm::ES256).await.map(drop) }
        };
        let waiting: Vec<_> = (0..FETCHES_MAX).map(|number| tokio::spawn(find(number))).collect();
        while server.requests() < FETCHES_MAX {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(matches!(find(FETCHES_MAX).await, Err(KeySetsError::Busy)));
        gate.add_permits(1_000);
        for waiting in waiting {
            waiting.await.unwrap().unwrap();
        }
        find(FETCHES_MAX).await.unwrap();
        assert_eq!(server.requests(), FETCHES_MAX + 1);
    }
}
