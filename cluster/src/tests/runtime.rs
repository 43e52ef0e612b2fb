//! What `openraft` runs on in tests: Tokio, whose dice a simulation seeds.
//!
//! `openraft` rolls them for election timeouts. A simulation runs on one thread, and so do its dice; without a seed they
//! are the thread's own.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

type Tokio = openraft::impls::TokioRuntime;

thread_local! {
    static DICE: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// Seeds what `openraft` draws on this thread, until the answer is dropped.
pub(crate) fn seed_this_thread(seed: u64) -> Seeded {
    DICE.set(Some(SmallRng::seed_from_u64(seed)));
    Seeded(())
}

pub(crate) struct Seeded(());

impl Drop for Seeded {
    fn drop(&mut self) {
        DICE.set(None);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SeededTokio(Tokio);

impl AsyncRuntime for SeededTokio {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = <Tokio as AsyncRuntime>::Watch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Tokio::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        DICE.with_borrow_mut(|dice| match dice {
            Some(dice) => SmallRng::seed_from_u64(dice.random()),
            None => SmallRng::seed_from_u64(rand::rng().random()),
        })
    }

    fn new(threads: usize) -> Self {
        Self(Tokio::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
