//! How many are signed in, for whoever scrapes: counted from the agreed state, not more often than every [`COUNT_EVERY_MS`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use opentelemetry::{KeyValue, global};
use twinmcp_cluster::Cluster;
use twinmcp_storage::accounts::{Method, Session, every_session};
use twinmcp_storage::clock::{Clock, Timestamp};
use twinmcp_storage::engine::StorageError;

/// How old a count may be, in milliseconds.
const COUNT_EVERY_MS: u64 = 30_000;
/// Sessions looked at for one count; beyond it the gauge stands still.
const COUNTED_MAX: usize = 200_000;

/// Counts sessions.
pub(super) struct Census {
    cluster: Cluster,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(Timestamp, Counts)>>,
}

/// Sessions by what was shown to begin them.
type Counts = BTreeMap<&'static str, u64>;

/// Every kind is told, so that one that falls to nothing does not stay in a graph.
const KINDS: [&str; 5] = ["password", "passkey", "upstream", "two_factor", "other"];

impl Census {
    /// Tells the gauge as long as what is returned is held.
    pub(super) fn start(cluster: Cluster, clock: Arc<dyn Clock>) -> Arc<Self> {
        let census = Arc::new(Self { cluster, clock, last: Mutex::new(None) });
        // The meter outlives a node.
        let held: Weak<Self> = Arc::downgrade(&census);
        global::meter("twinmcp")
            .u64_observable_gauge("twinmcp.accounts.sessions")
            .with_description("Sessions of people that have not ended, by what was shown to begin them.")
            .with_callback(move |gauge| {
                let Some(counts) = held.upgrade().and_then(|census| census.counts()) else { return };
                for (kind, count) in counts {
                    gauge.observe(count, &[KeyValue::new("kind", kind)]);
                }
            })
            .build();
        census
    }

    /// The count of a moment ago; nothing when the store cannot be read, which others tell.
    fn counts(&self) -> Option<Counts> {
        let now = self.clock.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, counts)) = &*last
            && now.millis_since(*at) < COUNT_EVERY_MS
        {
            return Some(counts.clone());
        }
        let counts = self.count(now).ok()?;
        *last = Some((now, counts.clone()));
        Some(counts)
    }

    fn count(&self, now: Timestamp) -> Result<Counts, StorageError> {
        let mut counts: Counts = KINDS.iter().map(|kind| (*kind, 0)).collect();
        every_session(self.cluster.reader(), COUNTED_MAX, |session| {
            if session.is_valid(now) {
                *counts.entry(kind(&session)).or_default() += 1;
            }
        })?;
        Ok(counts)
    }
}

/// What somebody showed to begin a session, in one word.
fn kind(session: &Session) -> &'static str {
    match session.methods.as_slice() {
        [Method::Password] => "password",
        [Method::HardwareKey] => "passkey",
        [Method::Upstream] => "upstream",
        [_, _, ..] => "two_factor",
        _ => "other",
    }
}
