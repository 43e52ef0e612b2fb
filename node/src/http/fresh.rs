//! Reading what was just written, on whichever node is asked next.
//!
//! An answer to a change says how far the log is on this node, in [`LOG_INDEX`], and to a browser in a cookie. A request that
//! carries it waits until this node has applied as much; one that asks for a linearizable read ([`CONSISTENCY`]) until this
//! node has all that any node had answered for.
//!
//! Invariants: the wait comes before anything is looked up for the request, its sender's key included; it has an end
//! ([`WAIT_MAX`]); and who waits takes no place from requests that do not.

use std::time::Duration;

use futures_util::future::BoxFuture;
use poem::Response;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout_at};
use twinmcp_cluster::ClusterError;

use super::session;
use crate::api::{ApiError, Shape};

/// A log index, in decimal: of an answer, the newest entry that this node had applied, and with it what the request changed; of a
/// request, what this node has to have applied.
pub(crate) static LOG_INDEX: HeaderName = HeaderName::from_static("twinmcp-log-index");
/// How new the state has to be that a request is answered from.
static CONSISTENCY: HeaderName = HeaderName::from_static("twinmcp-consistency");
/// The one thing that can be asked for there.
const LINEARIZABLE: &str = "linearizable";
/// How long a request waits; a node that is not cut off gets there in a fraction of a second.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Requests that wait at once. They have shown no key yet, so there may be many from one who makes up an index.
const WAITING_MAX: usize = 256;

/// Waits for the agreed state on this node, up to a time.
type Waiting = BoxFuture<'static, Result<(), ClusterError>>;

/// What is asked of the agreed state on this node.
pub(crate) struct AgreedState {
    /// The newest log entry that is applied; 0 before the first.
    pub(crate) applied: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Waits until an entry is applied.
    pub(crate) reach: Box<dyn Fn(u64, Duration) -> Waiting + Send + Sync>,
    /// Waits until all is applied that any node had answered for.
    pub(crate) linearize: Box<dyn Fn(Duration) -> Waiting + Send + Sync>,
}

/// How much of the agreed state a request has to find here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    log_index: u64,
    is_linearizable: bool,
    /// A page that nobody asked this of goes on with what is here.
    is_demanded: bool,
}

impl Wanted {
    /// What a request says; nothing for most.
    ///
    /// # Errors
    /// 400 for a header that is not understood. A cookie is no fault of the person's, and is left alone then.
    pub(super) fn of(headers: &HeaderMap, shape: Shape) -> Result<Option<Self>, ApiError> {
        let carried = match headers.get(&LOG_INDEX) {
            Some(value) => Some(value.to_str().ok().and_then(parse).ok_or_else(|| {
                ApiError::bad_request(
                    "`TwinMCP-Log-Index` takes the number of an answer's `TwinMCP-Log-Index`.",
                )
            })?),
            None => None,
        };
        let is_linearizable = match headers.get(&CONSISTENCY) {
            Some(value) if value == LINEARIZABLE => true,
            Some(_) => {
                let message = "`TwinMCP-Consistency` takes `linearizable`, or is left out.";
                return Err(ApiError::bad_request(message));
            }
            None => false,
        };
        let kept = session::log_index(headers).and_then(parse);
        let Some(log_index) = carried.max(kept).or(is_linearizable.then_some(0)) else { return Ok(None) };
        let is_demanded = carried.is_some() || is_linearizable || shape != Shape::Page;
        Ok(Some(Self { log_index, is_linearizable, is_demanded }))
    }
}

/// Digits alone: `u64` would take a sign.
fn parse(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether an answer may have come with a change. `/mcp` and the tools below it only ask, by POST; and a GET that changes
/// something (a code is given, somebody comes back from another provider) sends the browser on.
pub(super) fn may_have_changed(method: &Method, path: &str, status: StatusCode) -> bool {
    if path == "/mcp" || path.starts_with("/api/mcp/") {
        return false;
    }
    let sends_on = matches!(status, StatusCode::FOUND | StatusCode::SEE_OTHER);
    sends_on || !method.is_safe() && status.is_success()
}

/// Keeps requests waiting until this node has what they want, and tells answers how far it is.
pub(crate) struct Fresh {
    state: AgreedState,
    places: Semaphore,
    /// When the last look at how far the log is was begun, of those that succeeded.
    looked: Mutex<Option<Instant>>,
}

impl Fresh {
    pub(crate) fn new(state: AgreedState) -> Self {
        Self { state, places: Semaphore::new(WAITING_MAX), looked: Mutex::default() }
    }

    /// Returns once this node has what is wanted, for [`WAIT_MAX`] at most.
    ///
    /// # Errors
    /// 503 `behind` when it does not get there or too many wait already, 503 `busy` when no leader can be asked.
    pub(super) async fn wait(&self, wanted: Wanted) -> Result<(), ApiError> {
        let applied = (self.state.applied)();
        if !wanted.is_linearizable && wanted.log_index <= applied {
            return Ok(());
        }
        let waited = match self.places.try_acquire() {
            Ok(_place) => self.reach(wanted).await,
            Err(_) => Err(ClusterError::Behind { wanted: wanted.log_index, applied }),
        };
        match waited {
            Err(error) if wanted.is_demanded => Err(refusal(error)),
            _ => Ok(()),
        }
    }

    async fn reach(&self, wanted: Wanted) -> Result<(), ClusterError> {
        let until = Instant::now() + WAIT_MAX;
        if wanted.is_linearizable {
            self.linearize(until).await?;
        }
        (self.state.reach)(wanted.log_index, until.saturating_duration_since(Instant::now())).await
    }

    /// One request asks the leader at a time; what it learns is true for all that came before it asked.
    async fn linearize(&self, until: Instant) -> Result<(), ClusterError> {
        let came = Instant::now();
        let Ok(mut looked) = timeout_at(until, self.looked.lock()).await else {
            return Err(ClusterError::NoLeader);
        };
        if looked.is_some_and(|looked| looked > came) {
            return Ok(());
        }
        let begun = Instant::now();
        (self.state.linearize)(until.saturating_duration_since(begun)).await?;
        *looked = Some(begun);
        Ok(())
    }

    /// Tells how far this node is; it has applied what it changed before it answers, so that is far enough. A browser brings it
    /// back by itself.
    pub(super) fn tell(&self, response: &mut Response, in_browser: bool) {
        let index = (self.state.applied)();
        let headers = response.headers_mut();
        headers.insert(LOG_INDEX.clone(), HeaderValue::from(index));
        // One who signs in has no session before.
        if (in_browser || headers.contains_key(header::SET_COOKIE))
            && let Ok(cookie) = HeaderValue::try_from(session::keep_log_index(index))
        {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

/// What is refused here is a read as often as a change.
fn refusal(error: ClusterError) -> ApiError {
    match error {
        ClusterError::NoLeader => {
            let message = "No leader can be asked for the newest state right now. Try again in a second, or ask without \
                           `TwinMCP-Consistency`.";
            ApiError::busy(message).caused_by(error)
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::watch;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(pair).collect()
    }

    /// A node whose log is where `applied` says, and how often it has asked a leader, which answers at once if there is one.
    fn node(applied: &watch::Sender<u64>, has_leader: bool) -> (Fresh, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let (here, moving, counted) = (applied.subscribe(), applied.subscribe(), Arc::clone(&asked));
        let fresh = Fresh::new(AgreedState {
            applied: Box::new(move || *here.borrow()),
            reach: Box::new(move |wanted, time| {
                let mut moving = moving.clone();
                Box::pin(async move {
                    let reached = moving.wait_for(|applied| *applied >= wanted);
                    let reached = tokio::time::timeout(time, reached).await.is_ok();
                    let applied = *moving.borrow();
                    reached.then_some(()).ok_or(ClusterError::Behind { wanted, applied })
                })
            }),
            linearize: Box::new(move |time| {
                counted.fetch_add(1, Ordering::SeqCst);
                Box::pin(async move {
                    // A round trip, or all the time there is.
                    tokio::time::sleep(if has_leader { Duration::from_millis(50) } else { time }).await;
                    if has_leader { Ok(()) } else { Err(ClusterError::NoLeader) }
                })
            }),
        });
        (fresh, asked)
    }

    fn carried(log_index: u64) -> Wanted {
        Wanted { log_index, is_linearizable: false, is_demanded: true }
    }

    /// Whether so much has passed since then; timers of a clock that is paused end a millisecond late.
    fn took(began: Instant, time: Duration) -> bool {
        (time..time + Duration::from_millis(10)).contains(&began.elapsed())
    }

    const NEWEST: Wanted = Wanted { log_index: 0, is_linearizable: true, is_demanded: true };

    #[test]
    fn a_log_index_is_digits_and_nothing_else() {
        for (text, right) in [
            ("0", Some(0)),
            ("1234", Some(1_234)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("1, 2", None),
            ("0x10", None),
            ("1.0", None),
        ] {
            assert_eq!(parse(text), right, "{text:?}");
        }
    }

    #[test]
    fn headers_that_are_not_understood_are_refused_and_cookies_left_alone() {
        let wanted = |fields: &[(&'static str, &str)], shape| Wanted::of(&headers(fields), shape);
        assert_eq!(wanted(&[], Shape::Problem).unwrap(), None);
        assert_eq!(wanted(&[("twinmcp-log-index", "7")], Shape::Page).unwrap(), Some(carried(7)));
        assert_eq!(wanted(&[("twinmcp-consistency", "linearizable")], Shape::Page).unwrap(), Some(NEWEST));
        for field in
            [("twinmcp-log-index", "seven"), ("twinmcp-log-index", ""), ("twinmcp-consistency", "eventual")]
        {
            let refused = wanted(&[field], Shape::Problem).unwrap_err();
            assert_eq!((refused.status().as_u16(), refused.code()), (400, "validation_error"), "{field:?}");
        }

        let cookie = |index: &str| format!("a=b; __Host-twinmcp-log-index={index}");
        let kept = wanted(&[("cookie", &cookie("9"))], Shape::Page).unwrap();
        assert_eq!(kept, Some(Wanted { is_demanded: false, ..carried(9) }));
        assert_eq!(wanted(&[("cookie", &cookie("9"))], Shape::Problem).unwrap(), Some(carried(9)));
        let both = [("cookie", &*cookie("9")), ("twinmcp-log-index", "7")];
        assert_eq!(wanted(&both, Shape::Page).unwrap(), Some(carried(9)));
        assert_eq!(wanted(&[("cookie", &cookie("nine"))], Shape::Problem).unwrap(), None);
        assert!(session::keep_log_index(9).starts_with("__Host-twinmcp-log-index=9; "));
    }

    #[test]
    fn answers_that_may_have_come_with_a_change_are_told_by_method_and_status() {
        for (method, path, status, right) in [
            (Method::POST, "/api/keys", 201, true),
            (Method::DELETE, "/api/keys/key_1", 204, true),
            (Method::POST, "/signin", 303, true),
            (Method::GET, "/api/oauth/authorize", 303, true),
            (Method::GET, "/api/keys", 200, false),
            (Method::GET, "/libraries", 304, false),
            (Method::POST, "/api/keys", 403, false),
            (Method::POST, "/api/keys", 503, false),
            (Method::POST, "/mcp", 200, false),
            (Method::POST, "/api/mcp/query-docs", 200, false),
            (Method::HEAD, "/api/keys", 200, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(may_have_changed(&method, path, status), right, "{method} {path} {status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_what_it_carries_and_not_for_ever() {
        let applied = watch::Sender::new(5);
        let (fresh, asked) = node(&applied, true);
        let began = Instant::now();
        fresh.wait(carried(5)).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);

        let refused = fresh.wait(carried(u64::MAX)).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (503, "behind"));
        assert_eq!(refused.retry_after_s(), Some(1));
        assert!(took(began, WAIT_MAX));
        let began = Instant::now();
        fresh.wait(Wanted { is_demanded: false, ..carried(6) }).await.unwrap();
        assert!(took(began, WAIT_MAX), "a page goes on with what is there");

        let began = Instant::now();
        let applies = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            applied.send_replace(6);
        };
        let (waited, ()) = tokio::join!(fresh.wait(carried(6)), applies);
        waited.unwrap();
        assert!(took(began, Duration::from_millis(300)));
        assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody asked for the newest state");
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_wait_for_nothing_are_turned_away_and_keep_nobody_from_what_is_there() {
        let applied = watch::Sender::new(5);
        let (fresh, _) = node(&applied, true);
        let began = Instant::now();
        let waits = join_all((0..WAITING_MAX).map(|_| fresh.wait(carried(u64::MAX))));
        let others = async {
            while fresh.places.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(fresh.wait(carried(6)).await.unwrap_err().code(), "behind");
            fresh.wait(carried(5)).await.unwrap();
            assert_eq!(began.elapsed(), Duration::ZERO);
        };
        let (waited, ()) = tokio::join!(waits, others);
        assert!(waited.iter().all(Result::is_err));
        assert!(took(began, WAIT_MAX));
        assert_eq!(fresh.places.available_permits(), WAITING_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_want_the_newest_state_at_the_same_time_ask_the_leader_together() {
        let applied = watch::Sender::new(5);
        let (fresh, asked) = node(&applied, true);
        let waited = join_all((0..100).map(|_| fresh.wait(NEWEST))).await;
        assert!(waited.iter().all(Result::is_ok));
        // The first, and one for all that came while it was under way; the clock of this test stands still as they come.
        let so_far = asked.load(Ordering::SeqCst);
        assert_eq!(so_far, 2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        fresh.wait(NEWEST).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), so_far + 1, "what was true a second ago is not good enough");

        let (alone, _) = node(&applied, false);
        let began = Instant::now();
        for refused in join_all((0..3).map(|_| alone.wait(NEWEST))).await {
            let refused = refused.unwrap_err();
            assert_eq!((refused.status().as_u16(), refused.code()), (503, "busy"));
        }
        assert!(took(began, WAIT_MAX));
    }
}
