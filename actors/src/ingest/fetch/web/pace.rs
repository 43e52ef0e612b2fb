//! Politeness: how many requests one host gets at once and in a second, from all jobs together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

/// Hosts remembered before those that nobody asks are forgotten.
const HOSTS_MAX: usize = 1_000;

/// The pace of every host that is asked.
#[derive(Clone)]
pub(in crate::ingest::fetch) struct Hosts {
    hosts: Arc<Mutex<HashMap<String, Arc<Host>>>>,
    in_flight_max: usize,
    interval: Duration,
}

struct Host {
    in_flight: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

/// When a host may be asked next.
struct Pace {
    next: Instant,
}

impl Pace {
    /// When somebody who comes at `now` may ask; the one after waits for `interval` more.
    fn turn(&mut self, now: Instant, interval: Duration) -> Instant {
        let at = self.next.max(now);
        self.next = at + interval;
        at
    }

    fn pause(&mut self, now: Instant, pause: Duration) {
        self.next = self.next.max(now + pause);
    }
}

impl Host {
    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hosts {
    /// At most `in_flight_max` requests at once and `per_second` a second for each host.
    pub(in crate::ingest::fetch) fn new(in_flight_max: usize, per_second: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::from_secs(1));
        Self { hosts: Arc::default(), in_flight_max: in_flight_max.max(1), interval }
    }

    /// Waits until the host of `url` may be asked; it counts as asked until the permit is dropped.
    /// `delay` is what the host itself wants between two requests.
    pub(super) async fn turn(&self, url: &Url, delay: Option<Duration>) -> Option<OwnedSemaphorePermit> {
        let host = self.host(url);
        let permit = Arc::clone(&host.in_flight).acquire_owned().await.ok();
        let interval = delay.unwrap_or_default().max(self.interval);
        let at = host.lock().turn(Instant::now(), interval);
        tokio::time::sleep_until(at).await;
        permit
    }

    /// Leaves the host of `url` alone for a while, as it asked.
    pub(super) fn pause(&self, url: &Url, pause: Duration) {
        self.host(url).lock().pause(Instant::now(), pause);
    }

    fn host(&self, url: &Url) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= HOSTS_MAX {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let name = url.origin().ascii_serialization();
        let new = || Host {
            in_flight: Arc::new(Semaphore::new(self.in_flight_max)),
            pace: Mutex::new(Pace { next: Instant::now() }),
        };
        Arc::clone(hosts.entry(name).or_insert_with(|| Arc::new(new())))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn turns_follow_one_another_at_the_interval_and_after_a_pause() {
        let now = Instant::now();
        let mut pace = Pace { next: now };
        assert_eq!(pace.turn(now, SECOND), now);
        assert_eq!(pace.turn(now, SECOND), now + SECOND);
        assert_eq!(pace.turn(now, 5 * SECOND), now + 2 * SECOND);
        assert_eq!(pace.turn(now, SECOND), now + 7 * SECOND);
        pace.pause(now, 60 * SECOND);
        assert_eq!(pace.turn(now, SECOND), now + 60 * SECOND);
        // A host that was left alone owes nothing.
        assert_eq!(pace.turn(now + 100 * SECOND, SECOND), now + 100 * SECOND);
    }

    #[tokio::test]
    async fn a_host_gets_so_many_requests_at_once_and_others_are_not_held_up() {
        let hosts = Hosts::new(2, 1_000.0);
        let url: Url = "https://one.example/a".parse().unwrap();
        let _first = hosts.turn(&url, None).await.unwrap();
        let second = hosts.turn(&url, None).await.unwrap();
        let mut third = std::pin::pin!(hosts.turn(&url, None));
        assert!(third.as_mut().now_or_never().is_none(), "a third request was let through");
        drop(hosts.turn(&"https://other.example/".parse().unwrap(), None).await.unwrap());
        drop(second);
        drop(third.await.unwrap());
    }
}
