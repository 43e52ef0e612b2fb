//! When a signing key gets a successor: a plain function of the keys there are.
//!
//! The first key of an algorithm signs at once, because nobody has cached anything yet; each later one is shown for
//! [`RotationConfig::publish_ms`] before it signs.

use std::time::Duration;

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::oauth::signing_key::{Algorithm, SigningKey, newest};

/// How signing keys follow each other.
#[derive(Debug, Clone, Copy)]
pub struct RotationConfig {
    /// How long a key signs before the next one does.
    pub sign: Duration,
    /// How long a key is shown before it signs.
    pub publish: Duration,
}

impl Default for RotationConfig {
    /// Ninety days, and one day.
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { sign: 90 * day, publish: day }
    }
}

/// A key that is to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) algorithm: Algorithm,
    /// The newest key that there is.
    pub(super) after: Option<String>,
    pub(super) signs_after_ms: u64,
    pub(super) verifies_ms: u64,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The keys to be added at `now`, of `algorithms`, whose tokens live `token_ms` at most.
pub(super) fn due(
    keys: &[SigningKey],
    algorithms: &[Algorithm],
    config: &RotationConfig,
    token_ms: u64,
    now: Timestamp,
) -> Vec<Due> {
    let (sign_ms, publish_ms) = (millis(config.sign), millis(config.publish));
    let due = |algorithm: &Algorithm| {
        let before = newest(keys, *algorithm);
        let signs_after_ms = match before {
            // Until its successor signs, the last one has to be told from one that will.
            Some(before) if now.plus_millis(publish_ms) < before.signs_from.plus_millis(sign_ms) => {
                return None;
            }
            Some(_) => publish_ms,
            None => 0,
        };
        // Longer than it should sign: a cluster that is down while its key is due goes on with it.
        let verifies_ms = signs_after_ms.saturating_add(sign_ms.saturating_mul(2)).saturating_add(token_ms);
        let after = before.map(|key| key.kid.clone());
        Some(Due { algorithm: *algorithm, after, signs_after_ms, verifies_ms })
    };
    algorithms.iter().filter_map(due).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: RotationConfig =
        RotationConfig { sign: Duration::from_secs(1_000), publish: Duration::from_secs(100) };

    fn key(kid: &str, signs_from_s: u64) -> SigningKey {
        SigningKey {
            kid: kid.to_owned(),
            algorithm: Algorithm::Rs256,
            public: String::new(),
            sealed: Vec::new(),
            signs_from: Timestamp::from_millis(signs_from_s * 1000),
            verifies_until: Timestamp::from_millis(u64::MAX),
            revoked_at: None,
        }
    }

    fn due_at(keys: &[SigningKey], now_s: u64) -> Vec<Due> {
        due(keys, &[Algorithm::Rs256], &CONFIG, 600_000, Timestamp::from_millis(now_s * 1000))
    }

    #[test]
    fn the_first_key_signs_at_once_and_a_later_one_is_shown_before() {
        let first = due_at(&[], 5);
        assert_eq!((first[0].signs_after_ms, first[0].after.as_deref()), (0, None));
        let keys = [key("a", 10)];
        assert_eq!(due_at(&keys, 909), [], "its successor signs at 1,010 and is shown from 910");
        let next = due_at(&keys, 910);
        assert_eq!((next[0].signs_after_ms, next[0].after.as_deref()), (100_000, Some("a")));
        assert_eq!(due_at(&[key("a", 10), key("b", 1_010)], 911), [], "one is shown already");
    }

    #[test]
    fn a_revoked_key_is_replaced_at_once() {
        let revoked = SigningKey { revoked_at: Some(Timestamp::from_millis(1)), ..key("a", 10) };
        let next = due_at(&[revoked], 20);
        assert_eq!((next[0].signs_after_ms, next[0].after.as_deref()), (0, None));
    }

    #[test]
    fn a_key_verifies_as_long_as_its_tokens_live() {
        let first = &due_at(&[], 5)[0];
        let last_signed_ms = first.signs_after_ms + 1_000_000;
        assert!(first.verifies_ms >= last_signed_ms + 600_000);
    }

    #[test]
    fn every_algorithm_has_keys_of_its_own() {
        let now = Timestamp::from_millis(20_000);
        let due = due(&[key("a", 10)], &[Algorithm::Rs256, Algorithm::Es256], &CONFIG, 1, now);
        assert_eq!(due.iter().map(|due| due.algorithm).collect::<Vec<_>>(), [Algorithm::Es256]);
    }
}
