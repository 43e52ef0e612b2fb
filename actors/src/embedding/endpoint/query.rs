//! Questions: one vector while somebody waits, or none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use tokio::time::timeout;

use super::{Endpoint, EndpointError, RETRY_AFTER_MAX, TEXT_BYTES_MAX, cut};
use crate::embedding::DocumentEmbedder;
use crate::upgrade::sentence;

/// How long a service that failed is not asked for questions.
const REST: Duration = Duration::from_secs(5);
/// Questions whose vectors are remembered, in each of two generations.
const REMEMBERED_MAX: usize = 512;

/// How a service is, as far as questions have shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointHealth {
    /// What its vectors are called in an index.
    pub id: String,
    /// Why the last question had no vector of it; gone with the next that has one.
    pub trouble: Option<String>,
}

/// What is known from the questions so far.
pub(super) struct Questions {
    state: Mutex<State>,
    asked: Counter<u64>,
}

#[derive(Default)]
struct State {
    /// The vectors of the latest questions, and of those before: the older half goes as a whole.
    recent: HashMap<String, Arc<[f32]>>,
    older: HashMap<String, Arc<[f32]>>,
    rests_until: Option<Instant>,
    trouble: Option<String>,
}

impl Default for Questions {
    fn default() -> Self {
        let asked = global::meter("twinmcp")
            .u64_counter("twinmcp.embeddings.questions")
            .with_description("Questions that wanted a vector of the embedding endpoint, by outcome.")
            .build();
        Self { state: Mutex::default(), asked }
    }
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, outcome: &'static str) {
        self.asked.add(1, &[KeyValue::new("outcome", outcome)]);
    }
}

impl State {
    fn remembered(&mut self, text: &str) -> Option<Arc<[f32]>> {
        if let Some(vector) = self.recent.get(text) {
            return Some(Arc::clone(vector));
        }
        let vector = self.older.remove(text)?;
        self.remember(text, Arc::clone(&vector));
        Some(vector)
    }

    fn remember(&mut self, text: &str, vector: Arc<[f32]>) {
        if self.recent.len() >= REMEMBERED_MAX {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(text.to_owned(), vector);
    }
}

impl Endpoint {
    /// The vector of a question, within the deadline of the configuration; `None` when there is none, and words
    /// and built-in vectors have to answer alone.
    pub async fn query(&self, text: &str) -> Option<Arc<[f32]>> {
        let text = cut(text.trim(), TEXT_BYTES_MAX);
        {
            let mut state = self.questions.lock();
            if let Some(vector) = state.remembered(text) {
                self.questions.count("remembered");
                return Some(vector);
            }
            if state.rests_until.is_some_and(|until| Instant::now() < until) {
                self.questions.count("resting");
                return None;
            }
        }
        let deadline = self.config.query_timeout;
        let asked = timeout(deadline, self.ask(&[text])).await.unwrap_or(Err(EndpointError::Slow(deadline)));
        let mut state = self.questions.lock();
        match asked {
            Ok(vectors) => {
                self.questions.count("embedded");
                (state.trouble, state.rests_until) = (None, None);
                let vector: Arc<[f32]> = vectors.into_iter().next().flatten()?.into();
                state.remember(text, Arc::clone(&vector));
                Some(vector)
            }
            Err(error) => {
                self.questions.count("failed");
                let reason = sentence(&error);
                if state.trouble.is_none() {
                    tracing::warn!(reason, "embedding endpoint: questions are answered without it");
                }
                let rest = error.retry_after().clamp(REST, RETRY_AFTER_MAX);
                (state.trouble, state.rests_until) = (Some(reason), Some(Instant::now() + rest));
                None
            }
        }
    }

    /// How the service is, as far as questions have shown.
    pub fn health(&self) -> EndpointHealth {
        EndpointHealth { id: self.id().to_owned(), trouble: self.questions.lock().trouble.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_questions_are_remembered_and_no_more_than_twice_the_limit() {
        let mut state = State::default();
        for number in 0..3 * REMEMBERED_MAX {
            state.remember(&number.to_string(), Arc::from([number as f32]));
            assert!(state.remembered("0").is_some(), "asked again and again it stays: {number}");
            assert!(state.recent.len() + state.older.len() <= 2 * REMEMBERED_MAX);
        }
        let last = (3 * REMEMBERED_MAX - 1).to_string();
        assert!(state.remembered(&last).is_some() && state.remembered("1").is_none());
    }
}
