//! Rate limits: so many requests a minute for each address or key, with room for a burst.
//!
//! The generic cell rate algorithm, by `governor`: one number a caller, no timer. Counting is this
//! node's own.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// How much a caller may ask.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Requests a minute from one address without a key; 0 refuses all of them.
    pub anonymous_per_minute: u32,
    /// Requests at once from one address without a key.
    pub anonymous_burst: u32,
    /// Requests a minute with one key.
    pub key_per_minute: u32,
    /// Requests at once with one key.
    pub key_burst: u32,
    /// Requests a minute from one address to where programs show credentials of their own.
    pub oauth_per_minute: u32,
    /// Such requests at once from one address.
    pub oauth_burst: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            anonymous_per_minute: 60,
            anonymous_burst: 30,
            key_per_minute: 6_000,
            key_burst: 1_000,
            oauth_per_minute: 6_000,
            oauth_burst: 1_000,
        }
    }
}

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// Somebody without a key: an IPv4 address, or the /64 an IPv6 host may choose from.
    Address(IpAddr),
    /// The holder of a key, by its id, or of a token, by its client and whose name it is used in.
    Key(String),
    /// Programs that get tokens or ask what one is worth, by their address: many of them may share one.
    Oauth(IpAddr),
}

/// What a caller may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether this request may go on.
    pub allowed: bool,
    /// Requests that may be made at once.
    pub limit: u32,
    /// How many of them are left.
    pub remaining: u32,
    /// Until all of them are left again.
    pub reset: Duration,
    /// Until the next request may go on, for one that may not.
    pub retry_after: Option<Duration>,
}

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// Counts requests.
pub struct Limits {
    clock: DefaultClock,
    addresses: Option<Class<IpAddr>>,
    keys: Class<String>,
    oauth: Class<IpAddr>,
}

struct Class<K: std::hash::Hash + Eq + Clone> {
    limiter: Limiter<K>,
    checks: AtomicU32,
    burst: NonZeroU32,
    /// Time after which one more request is allowed.
    interval: Duration,
}

/// Callers whose count is kept before those with a full allowance are forgotten.
const CALLERS_MAX: usize = 100_000;
const LENGTH_CHECKED_EVERY: u32 = 4_096;

impl Limits {
    /// Limits as configured; a key, and an address at the authorization server, always gets at least one request a minute.
    pub fn new(config: &LimitsConfig) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let anonymous = NonZeroU32::new(config.anonymous_per_minute);
        Self {
            clock: DefaultClock::default(),
            addresses: anonymous.map(|rate| Class::new(rate, at_least_one(config.anonymous_burst))),
            keys: Class::new(at_least_one(config.key_per_minute), at_least_one(config.key_burst)),
            oauth: Class::new(at_least_one(config.oauth_per_minute), at_least_one(config.oauth_burst)),
        }
    }

    /// Counts one request.
    pub fn check(&self, who: &LimitKey) -> Decision {
        match (who, &self.addresses) {
            (LimitKey::Key(id), _) => self.keys.check(&self.clock, id),
            (LimitKey::Oauth(address), _) => self.oauth.check(&self.clock, &network_of(*address)),
            (LimitKey::Address(address), Some(addresses)) => {
                addresses.check(&self.clock, &network_of(*address))
            }
            (LimitKey::Address(_), None) => {
                let minute = Duration::from_secs(60);
                Decision { allowed: false, limit: 0, remaining: 0, reset: minute, retry_after: Some(minute) }
            }
        }
    }
}

impl<K: std::hash::Hash + Eq + Clone> Class<K> {
    fn new(per_minute: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        let limiter = RateLimiter::dashmap(quota).with_middleware::<StateInformationMiddleware>();
        Self { limiter, checks: AtomicU32::new(0), burst, interval: quota.replenish_interval() }
    }

    fn check(&self, clock: &DefaultClock, key: &K) -> Decision {
        // Asking for the length takes every shard's lock, so it is asked now and then.
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        if checks.is_multiple_of(LENGTH_CHECKED_EVERY) && self.limiter.len() > CALLERS_MAX {
            self.limiter.retain_recent();
        }
        let limit = self.burst.get();
        let until_full = |remaining: u32| self.interval.saturating_mul(limit.saturating_sub(remaining));
        match self.limiter.check_key(key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Decision { allowed: true, limit, remaining, reset: until_full(remaining), retry_after: None }
            }
            Err(refused) => {
                let wait = refused.wait_time_from(clock.now());
                Decision {
                    allowed: false,
                    limit,
                    remaining: 0,
                    reset: until_full(0),
                    retry_after: Some(wait),
                }
            }
        }
    }
}

/// One subscriber's IPv6 network is a /64 at least: counting single addresses would count nobody.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from_be_bytes(address.octets()) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(anonymous_per_minute: u32) -> Limits {
        Limits::new(&LimitsConfig {
            anonymous_per_minute,
            anonymous_burst: 3,
            key_per_minute: 60,
            key_burst: 5,
            oauth_per_minute: 60,
            oauth_burst: 4,
        })
    }

    fn address(text: &str) -> LimitKey {
        LimitKey::Address(text.parse().unwrap())
    }

    #[test]
    fn a_burst_is_allowed_and_the_next_request_is_told_when_to_come_back() {
        let limits = limits(1);
        let who = address("192.0.2.1");
        let left: Vec<_> = (0..3).map(|_| limits.check(&who).remaining).collect();
        assert_eq!(left, [2, 1, 0]);
        let refused = limits.check(&who);
        assert!(!refused.allowed);
        let wait = refused.retry_after.unwrap();
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
        assert!(limits.check(&address("192.0.2.2")).allowed, "another address has its own count");
    }

    #[test]
    fn what_an_address_asks_the_authorization_server_is_counted_apart() {
        let limits = limits(1);
        let who = "192.0.2.1".parse().unwrap();
        while limits.check(&LimitKey::Address(who)).allowed {}
        let left: Vec<_> = (0..4).map(|_| limits.check(&LimitKey::Oauth(who)).remaining).collect();
        assert_eq!(left, [3, 2, 1, 0]);
        assert!(!limits.check(&LimitKey::Oauth(who)).allowed);
        assert!(limits.check(&LimitKey::Oauth("192.0.2.2".parse().unwrap())).allowed);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_count() {
        let limits = limits(1);
        for host in 1..=3 {
            assert!(limits.check(&address(&format!("2001:db8::{host}"))).allowed);
        }
        assert!(!limits.check(&address("2001:db8::ffff")).allowed);
        assert!(limits.check(&address("2001:db8:0:1::1")).allowed);
        assert!(limits.check(&address("::ffff:192.0.2.1")).allowed, "mapped IPv4 counts as IPv4");
    }

    #[test]
    fn with_anonymous_reads_off_only_keys_are_let_through() {
        let limits = limits(0);
        assert!(!limits.check(&address("192.0.2.1")).allowed);
        let id = "key_00000000000000000000000000".parse().unwrap();
        assert_eq!(limits.check(&LimitKey::Key(id)).limit, 5);
    }
}
