//! How many answers one network gets: a sender of questions with a forged address must not make this node flood somebody.
//!
//! Response rate limiting as resolvers know it: past the limit one question in two gets an answer that says only "ask over
//! TCP", which nobody can with a forged address; the other one gets none. No answer is much larger than its question anyway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use twinmcp_actors::usage::{LimitKey, Limits, LimitsConfig};

/// What counts as one asker, in leading bits: what one host may send from.
const IPV4_BITS: u32 = 24;
const IPV6_BITS: u32 = 56;

/// What a question may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    Answer,
    Truncation,
    Nothing,
}

/// Counts answers to each network.
pub(super) struct ResponseLimit {
    limits: Limits,
    past: AtomicUsize,
}

impl ResponseLimit {
    /// So many a second, and as many at once.
    pub(super) fn new(per_second: u32) -> Self {
        let limits = LimitsConfig {
            anonymous_per_minute: per_second.saturating_mul(60),
            anonymous_burst: per_second,
            ..LimitsConfig::default()
        };
        Self { limits: Limits::new(&limits), past: AtomicUsize::new(0) }
    }

    pub(super) fn count(&self, from: IpAddr) -> Allowed {
        if self.limits.check(&LimitKey::Address(network_of(from))).allowed {
            return Allowed::Answer;
        }
        let is_even = self.past.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if is_even { Allowed::Truncation } else { Allowed::Nothing }
    }
}

/// The first address of the network.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) & (u32::MAX << (32 - IPV4_BITS))).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & (u128::MAX << (128 - IPV6_BITS))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_past_its_limit_is_sent_to_tcp_every_other_time_and_others_are_not_touched() {
        let limit = ResponseLimit::new(3);
        let ask = |address: &str| limit.count(address.parse().unwrap());
        for host in 1..=3 {
            assert_eq!(ask(&format!("203.0.113.{host}")), Allowed::Answer);
        }
        let past: Vec<_> = (0..4).map(|_| ask("::ffff:203.0.113.9")).collect();
        assert!(past.contains(&Allowed::Truncation) && past.contains(&Allowed::Nothing), "{past:?}");
        assert_eq!(ask("203.0.114.1"), Allowed::Answer);
        assert_eq!(ask("2001:db8:0:1::1"), Allowed::Answer);
        assert_eq!(
            network_of("2001:db8:0:1ff::1".parse().unwrap()),
            network_of("2001:db8:0:100::".parse().unwrap())
        );
    }
}
