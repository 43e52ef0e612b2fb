//! An embedding service of the operator's choice: any that speaks `POST {base}/embeddings` as OpenAI does.
//!
//! [`Endpoint`] makes vectors of documents in the background ([`DocumentEmbedder`]; an index can be searched by words
//! and built-in vectors from the start, the service's stand beside them) and of questions while somebody
//! waits ([`Endpoint::query`]). A question waits no longer than its deadline, and a service that failed is left
//! alone for a while: then words and built-in vectors answer alone.
//!
//! Invariants: the service is asked through the outbound guard, and only at the host the operator named; the key is
//! in no error, log or id, and what the service says is in the log alone, because it may repeat what was asked; vectors of
//! another model or dimension never meet, because both are in the id.

mod answer;
mod query;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use twinmcp_storage::clock::Clock;

use super::{Batch, DocumentEmbedder, DocumentText, EmbedError};
use crate::outbound::{
    HeaderMap, HeaderValue, Method, Outbound, OutboundConfig, OutboundError, Request, StatusCode,
    SystemResolver, Url, header,
};
pub use query::EndpointHealth;
use query::Questions;

/// Bytes of one text that are sent; the rest is left out. Services take 8,192 tokens or fewer.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// A text that is refused at this length is not refused for its length.
const TEXT_BYTES_MIN: usize = 256;
/// Bytes of one number in an answer; the longest way to write an `f64` takes 24, and there is a comma.
const NUMBER_BYTES_MAX: usize = 32;
/// Bytes of an answer around its vectors, and of a refusal.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Bytes around the numbers of one vector.
const ENTRY_BYTES_MAX: usize = 1024;
/// The longest wait within an upgrade; a service that wants more is left alone until the next try.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// The pause after the first failure doubles so often.
const RETRY_DOUBLINGS_MAX: u32 = 6;

/// The key of a service. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct EndpointKey(String);

impl EndpointKey {
    /// A key as it is sent, blanks around it left out; `None` when it is empty or cannot stand in a header.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which service, and what it may cost.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Where it is, without `/embeddings`, e.g. `https://api.example.com/v1`.
    pub url: String,
    /// The model that is asked for.
    pub model: String,
    /// Numbers of a vector: what the service must send.
    pub dimensions: usize,
    /// Sent as a bearer token.
    pub key: Option<EndpointKey>,
    /// Texts in one request.
    pub items_max: usize,
    /// Tokens of all texts in one request, by the built-in tokenizer; a single text may have more.
    pub tokens_max: usize,
    /// Requests for one batch, the first included.
    pub attempts_max: u32,
    /// The pause after a request that failed and may be made again; it doubles.
    pub retry_pause: Duration,
    /// Time one request for documents may take.
    pub timeout: Duration,
    /// Time a question waits for its vector.
    pub query_timeout: Duration,
    /// The share of the cosine in the fused score, as in [`Embedder::fusion_weight`](super::Embedder::fusion_weight).
    pub fusion_weight: f32,
}

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The service could not be asked.
    #[error("failed to ask the embedding endpoint")]
    Ask(#[source] OutboundError),
    /// It said no.
    #[error("the embedding endpoint answered {status}{}", advice(*status))]
    Refused {
        /// The status of its answer.
        status: StatusCode,
        /// What it says, cut short; for the log.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// Its answer is not what the protocol says.
    #[error("the embedding endpoint's answer cannot be read: {0}")]
    Answer(String),
    /// Another model than the one that was meant.
    #[error(
        "the embedding endpoint sent vectors of {found} dimensions, `embeddings.dimensions` says {expected}: name the \
         right model, or change the key"
    )]
    Dimensions {
        /// What the configuration says.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// It took too long for a batch of documents.
    #[error(
        "the embedding endpoint did not answer within {} ms: raise `embeddings.timeout_ms`, or lower \
         `embeddings.items_max`", .0.as_millis()
    )]
    Late(Duration),
    /// It took too long for somebody who waits.
    #[error("the embedding endpoint did not answer a question within {} ms", .0.as_millis())]
    Slow(Duration),
}

/// What to do about a refusal.
fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": check its key (`embeddings.key_file`)",
        StatusCode::NOT_FOUND => ": check `embeddings.url` and `embeddings.model`",
        status if status.is_redirection() => ": redirects are not followed, name the place itself",
        _ => "",
    }
}

impl EndpointError {
    /// Whether the same request may well succeed a little later, and how long to wait at least.
    fn retry(&self) -> Option<Duration> {
        match self {
            Self::Late(_) => Some(Duration::ZERO),
            Self::Ask(error) if error.is_passing() => Some(Duration::ZERO),
            Self::Refused { status, .. }
                if *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() =>
            {
                Some(self.retry_after()).filter(|wait| *wait <= RETRY_AFTER_MAX)
            }
            _ => None,
        }
    }

    /// What the service said, for the log.
    fn said(&self) -> &str {
        match self {
            Self::Refused { message, .. } => message,
            _ => "",
        }
    }

    /// How long the service asked to be left alone.
    fn retry_after(&self) -> Duration {
        match self {
            Self::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }

    /// Whether fewer or shorter texts may be taken. Services have no common way to say so.
    fn is_of_texts(&self) -> bool {
        let statuses =
            [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY];
        matches!(self, Self::Refused { status, .. } if statuses.contains(status))
    }
}

impl From<OutboundError> for EndpointError {
    fn from(error: OutboundError) -> Self {
        match error {
            // What it says of a key of the configuration is true of other requests.
            OutboundError::Deadline { after, .. } => Self::Late(after),
            error => Self::Ask(error),
        }
    }
}

/// A service that embeds.
pub struct Endpoint {
    config: EndpointConfig,
    id: String,
    url: Url,
    headers: HeaderMap,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    /// What background threads, which are none of the runtime's, wait with.
    runtime: Handle,
    questions: Questions,
}

#[derive(Serialize)]
struct Asked<'a> {
    model: &'a str,
    input: &'a [&'a str],
    encoding_format: &'static str,
}

impl Endpoint {
    /// A client of the service in `config`. Asks nothing yet. To be called within the runtime.
    ///
    /// # Errors
    /// When the URL is none that may be asked.
    pub fn new(config: EndpointConfig, clock: Arc<dyn Clock>) -> Result<Arc<Self>, EndpointError> {
        let text = format!("{}/embeddings", config.url.trim_end_matches('/'));
        let host = Url::parse(&text).ok().and_then(|url| url.host_str().map(str::to_owned));
        // The operator named the host, so it may be on a private network, and answer without TLS there.
        let limits = OutboundConfig {
            allowed_hosts: host.into_iter().collect(),
            request_timeout: config.timeout,
            connect_timeout: config.timeout.min(Duration::from_secs(10)),
            idle_timeout: config.timeout,
            body_bytes_max: answer_bytes_max(config.items_max, config.dimensions),
            redirects_max: 0,
            ..OutboundConfig::default()
        };
        let outbound = Outbound::new(limits, Arc::new(SystemResolver))?;
        let url = outbound.check(&text)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(EndpointKey(key)) = &config.key
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {key}"))
        {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let id = format!("endpoint/{}/{}", config.model, config.dimensions);
        let (runtime, questions) = (Handle::current(), Questions::default());
        Ok(Arc::new(Self { config, id, url, headers, outbound, clock, runtime, questions }))
    }

    /// The share of the cosine in the fused score.
    pub fn fusion_weight(&self) -> f32 {
        self.config.fusion_weight
    }

    /// One request.
    async fn ask(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EndpointError> {
        let asked = Asked { model: &self.config.model, input: texts, encoding_format: "float" };
        let body = serde_json::to_vec(&asked).map_err(|error| EndpointError::Answer(error.to_string()))?;
        let response = self
            .outbound
            .send(Request {
                method: Method::POST,
                headers: self.headers.clone(),
                body: body.into(),
                body_bytes_max: answer_bytes_max(texts.len(), self.config.dimensions),
                ..Request::get(self.url.clone())
            })
            .await?;
        let (status, retry_after) = (response.status, response.retry_after(&*self.clock));
        let body = response.body.read().await?;
        if !status.is_success() {
            let key = self.config.key.as_ref().map(|EndpointKey(key)| key.as_str());
            return Err(EndpointError::Refused { status, message: answer::message(&body, key), retry_after });
        }
        answer::vectors(&body, texts.len(), self.config.dimensions)
    }

    /// Vectors of documents. A service tells of a batch or a text that is too large for it by a refusal alone: then
    /// half of it is sent, down to one text, and of that half.
    async fn documents(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EndpointError> {
        let mut texts = texts.to_vec();
        let (mut made, mut at_once) = (Vec::with_capacity(texts.len()), texts.len());
        while let Some(rest) = texts.get_mut(made.len()..).filter(|rest| !rest.is_empty()) {
            let batch = rest.len().min(at_once);
            match (self.batch_of(&rest[..batch]).await, rest.first_mut()) {
                (Ok(vectors), _) => {
                    made.extend(vectors);
                    at_once = batch * 2;
                }
                (Err(error), _) if error.is_of_texts() && batch > 1 => at_once = batch.div_ceil(2),
                (Err(error), Some(text)) if error.is_of_texts() && text.len() > TEXT_BYTES_MIN => {
                    *text = cut(text, text.len() / 2);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(made)
    }

    /// One batch, asked for again while that may help.
    async fn batch_of(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EndpointError> {
        let mut attempt = 1;
        loop {
            let error = match self.ask(texts).await {
                Ok(vectors) => return Ok(vectors),
                Err(error) => error,
            };
            let wait = error.retry().filter(|_| attempt < self.config.attempts_max);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                said = error.said(),
                attempt,
                texts = texts.len(),
                again = wait.is_some(),
                "embedding endpoint failed"
            );
            let Some(wait) = wait else { return Err(error) };
            let pause = self.config.retry_pause * (1 << (attempt - 1).min(RETRY_DOUBLINGS_MAX));
            tokio::time::sleep(wait.max(pause)).await;
            attempt += 1;
        }
    }
}

impl DocumentEmbedder for Endpoint {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.config.dimensions
    }

    fn batch(&self) -> Batch {
        Batch { items_max: self.config.items_max, tokens_max: self.config.tokens_max }
    }

    fn embed(&self, documents: &[DocumentText]) -> Result<Vec<Option<Vec<f32>>>, EmbedError> {
        let joined: Vec<String> = documents.iter().map(DocumentText::joined).collect();
        // Services refuse an empty text.
        let texts: Vec<&str> = joined.iter().map(|text| cut(text.trim(), TEXT_BYTES_MAX)).collect();
        let asked: Vec<&str> = texts.iter().copied().filter(|text| !text.is_empty()).collect();
        if asked.is_empty() {
            return Ok(vec![None; documents.len()]);
        }
        let made = self.runtime.block_on(self.documents(&asked));
        let made = made.map_err(|error| EmbedError {
            reason: crate::upgrade::sentence(&error),
            // The next texts will fare no better than these.
            rest: (!error.is_of_texts()).then(|| error.retry_after()),
        });
        let mut made = made?.into_iter();
        Ok(texts.iter().map(|text| if text.is_empty() { None } else { made.next().flatten() }).collect())
    }
}

/// The start of a text in whole characters, at most `bytes_max` long.
fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

/// Bytes that an answer about `items` texts may have.
fn answer_bytes_max(items: usize, dimensions: usize) -> u64 {
    let vector = dimensions.saturating_mul(NUMBER_BYTES_MAX).saturating_add(ENTRY_BYTES_MAX);
    items.saturating_mul(vector).saturating_add(FRAME_BYTES_MAX) as u64
}

/// Reads bytes as a service's answer: see [`crate::fuzzing::embeddings`].
#[cfg(fuzzing)]
pub(crate) fn fuzz_answer(data: &[u8]) {
    if let Ok(vectors) = answer::vectors(data, 2, 3) {
        assert_eq!(vectors.len(), 2);
        let numbers = vectors.iter().flatten();
        assert!(numbers.clone().all(|vector| vector.len() == 3));
        assert!(numbers.flatten().all(|number| number.abs() <= 1.001), "{vectors:?}");
    }
    assert!(!answer::message(data, Some("sk-secret")).contains("sk-secret"));
}
