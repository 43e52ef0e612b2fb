//! Where passwords are hashed: so many at once, so many waiting, and the next one is told to come again.
//!
//! A hash costs 20 ms of one core and 19 MiB, so whoever may ask for one without a limit may stop the node.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry::global;
use opentelemetry::metrics::Histogram;
use tokio::sync::Semaphore;
use twinmcp_storage::accounts::PasswordHash;

use super::password::{Compared, Password};

/// Bounds of the duration histogram, in seconds.
const DURATION_BOUNDS_S: &[f64] = &[0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0];

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// As many as may wait wait already.
    #[error("too many sign-ins are waiting")]
    Full,
    /// The thread ended early.
    #[error("hashing was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
    /// The library refused.
    #[error("failed to hash a password")]
    Failed(#[source] argon2::password_hash::Error),
}

/// A bounded pool.
#[derive(Debug, Clone)]
pub(super) struct Hashing {
    /// Everybody who was let in.
    admitted: Arc<Semaphore>,
    /// Those whose turn it is.
    working: Arc<Semaphore>,
    /// How long one takes once it is its turn.
    durations: Histogram<f64>,
}

impl Hashing {
    /// `threads` at once (0 for half of the cores: the rest is for those who ask), `waiting_max` more waiting.
    pub(super) fn new(threads: usize, waiting_max: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores.div_ceil(2) } else { threads };
        Self {
            admitted: Arc::new(Semaphore::new(threads.saturating_add(waiting_max))),
            working: Arc::new(Semaphore::new(threads)),
            durations: global::meter("twinmcp")
                .f64_histogram("twinmcp.accounts.password_hash.duration")
                .with_unit("s")
                .with_description("How long it takes to hash or compare a password once it is its turn.")
                .with_boundaries(DURATION_BOUNDS_S.to_vec())
                .build(),
        }
    }

    /// Compares a password with what is kept.
    pub(super) async fn compare(
        &self,
        password: Arc<Password>,
        kept: Option<PasswordHash>,
    ) -> Result<Compared, HashingError> {
        self.run(move || password.compare(kept.as_ref())).await
    }

    /// Hashes a password.
    pub(super) async fn hash(&self, password: Arc<Password>) -> Result<PasswordHash, HashingError> {
        self.run(move || password.hash()).await?.map_err(HashingError::Failed)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| HashingError::Full)?;
        let working = Arc::clone(&self.working).acquire_owned().await.map_err(|_| HashingError::Full)?;
        // The places are held by the thread: a caller that goes away does not make room before there is any.
        let durations = self.durations.clone();
        let work = move || {
            let _held = (admitted, working);
            let began = Instant::now();
            let worked = work();
            durations.record(began.elapsed().as_secs_f64(), &[]);
            worked
        };
        tokio::task::spawn_blocking(work).await.map_err(HashingError::Interrupted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn case_098_so_many_hash_so_many_wait_and_the_next_is_told_to_come_again() {
        let hashing = Hashing::new(1, 1);
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let hashing = hashing.clone();
            async move { hashing.run(move || gate.recv()).await }
        });
        while hashing.working.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let hashing = hashing.clone();
            async move { hashing.run(|| 2).await }
        });
        while hashing.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(hashing.run(|| 3).await, Err(HashingError::Full)));
        open.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), Ok(()));
        assert_eq!(second.await.unwrap().unwrap(), 2);
        assert_eq!(hashing.run(|| 4).await.unwrap(), 4, "there is room again");
    }
}
