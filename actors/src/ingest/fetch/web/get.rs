//! One request of a walk: allowed by `robots.txt`, at the host's pace, conditional when the page is
//! kept, and tried again when the site asks for a moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use twinmcp_storage::clock::Clock;
use url::Url;

use super::Visit;
use super::cache::{Kept, PageCache};
use super::pace::Hosts;
use super::robots::{Later, Rules};
use super::scope::Scope;
use crate::ingest::fetch::FetchError;
use crate::outbound::{HeaderMap, HeaderValue, Outbound, OutboundError, Request, Response, Trail, header};

/// How often one page is asked for.
const TRIES_MAX: u32 = 3;
/// Pause before the second try; doubles.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A site that asks for a longer pause is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
/// Origins whose rules a visit keeps; those that it asked for longest ago go, and are read again.
const ORIGINS_MAX: usize = 32;
/// Markdown is what the site's own source is; HTML what it is sure to have.
const ACCEPT: &str =
    "text/markdown, text/html;q=0.9, application/xhtml+xml;q=0.9, text/plain;q=0.8, */*;q=0.1";

/// A page as its site has it now.
#[derive(Debug)]
pub(super) struct Got {
    /// Where it really lies, all redirects followed.
    pub(super) url: Url,
    pub(super) content_type: String,
    /// The header `X-Robots-Tag`.
    pub(super) robots: String,
    pub(super) body: Vec<u8>,
}

/// Makes the requests of one visit.
pub(super) struct Getter<'a> {
    outbound: &'a Outbound,
    cache: &'a PageCache,
    hosts: &'a Hosts,
    clock: &'a dyn Clock,
    rules: Mutex<Known>,
    began: Instant,
    /// Time after which the visit asks for nothing more.
    timeout: Duration,
}

/// The rules of the origins that were asked for last, the latest at the end.
#[derive(Default)]
struct Known(Vec<(String, Arc<Rules>)>);

impl Known {
    fn get(&mut self, origin: &str) -> Option<Arc<Rules>> {
        let at = self.0.iter().position(|(known, _)| known == origin)?;
        let entry = self.0.remove(at);
        let rules = Arc::clone(&entry.1);
        self.0.push(entry);
        Some(rules)
    }

    fn put(&mut self, origin: String, rules: Arc<Rules>) {
        if self.0.len() >= ORIGINS_MAX {
            self.0.remove(0);
        }
        self.0.push((origin, rules));
    }
}

/// What one request came to.
enum Answer {
    Page(Got),
    /// Somewhere else.
    Moved(Url),
    /// Not now; the pause that the site asks for, if it does.
    Later(u16, Option<Duration>),
}

impl<'a> Getter<'a> {
    /// For a visit that begins now.
    pub(super) fn new(visit: &Visit<'a>) -> Self {
        let Visit { outbound, cache, hosts, clock, limits, .. } = *visit;
        let (began, timeout) = (Instant::now(), limits.timeout);
        Self { outbound, cache, hosts, clock, rules: Mutex::default(), began, timeout }
    }

    /// How long the visit may still take.
    pub(super) fn time_left(&self) -> Duration {
        self.timeout.saturating_sub(self.began.elapsed())
    }

    /// What may be at `url`, as far as the time of the visit allows to ask for it: half of it is for the pages themselves.
    pub(super) async fn find(&self, url: &Url) -> Option<Result<Got, FetchError>> {
        let left = (self.timeout / 2).saturating_sub(self.began.elapsed());
        if left.is_zero() {
            return None;
        }
        tokio::time::timeout(left, self.get(url, None)).await.ok()
    }

    /// The page at `url`. With a `scope`, a redirect out of it is [`FetchError::Left`].
    pub(super) async fn get(&self, url: &Url, scope: Option<&Scope>) -> Result<Got, FetchError> {
        let mut trail = Trail::new(url.clone(), self.outbound.guard().config().redirects_max);
        let (mut at, mut tries) = (url.clone(), 1);
        loop {
            let rules = self.rules(&at).await?;
            if !rules.allow(&at) {
                return Err(FetchError::Robots { url: at.into() });
            }
            let kept = self.cache.get(&at).await.filter(Kept::has_validator);
            let turn = self.hosts.turn(&at, rules.delay()).await;
            let answer = self.ask(&at, kept, &mut trail).await;
            drop(turn);
            match answer {
                Ok(Answer::Page(got)) => return Ok(got),
                Ok(Answer::Moved(to)) if scope.is_some_and(|scope| !scope.holds(&to)) => {
                    return Err(FetchError::Left { url: url.to_string(), to: to.into() });
                }
                Ok(Answer::Moved(to)) => at = to,
                Ok(Answer::Later(status, pause)) => {
                    let pause = pause.unwrap_or(RETRY_PAUSE * 2_u32.pow(tries));
                    if tries >= TRIES_MAX || pause > RETRY_AFTER_MAX {
                        return Err(FetchError::Busy { url: at.into(), status });
                    }
                    self.hosts.pause(&at, pause);
                    tries += 1;
                }
                Err(FetchError::Outbound(error)) if error.is_passing() && tries < TRIES_MAX => {
                    self.hosts.pause(&at, RETRY_PAUSE * 2_u32.pow(tries - 1));
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The rules of the origin of `url`, read once as long as they are kept.
    pub(super) async fn rules(&self, url: &Url) -> Result<Arc<Rules>, FetchError> {
        let origin = url.origin().ascii_serialization();
        let mut known = self.rules.lock().await;
        if let Some(rules) = known.get(&origin) {
            return Ok(rules);
        }
        let rules = Arc::new(self.read_rules(url).await?);
        known.put(origin, Arc::clone(&rules));
        Ok(rules)
    }

    /// Asks for the rules at the host's pace, and again when it asks for a moment.
    async fn read_rules(&self, url: &Url) -> Result<Rules, FetchError> {
        let mut tries = 1;
        loop {
            let turn = self.hosts.turn(url, None).await;
            let answer = Rules::of(self.outbound, self.clock, url).await?;
            drop(turn);
            let Later { error, pause } = match answer {
                Ok(rules) => return Ok(rules),
                Err(later) => later,
            };
            let pause = pause.unwrap_or(RETRY_PAUSE * 2_u32.pow(tries - 1));
            if tries >= TRIES_MAX || pause > RETRY_AFTER_MAX {
                return Err(error);
            }
            self.hosts.pause(url, pause);
            tries += 1;
        }
    }

    async fn ask(&self, url: &Url, kept: Option<Kept>, trail: &mut Trail) -> Result<Answer, FetchError> {
        let headers = conditions(kept.as_ref());
        let response = self.outbound.send(Request { headers, ..Request::get(url.clone()) }).await?;
        if let Some(to) = trail.next(&response).inspect_err(|error| self.outbound.refused(error))? {
            return Ok(Answer::Moved(to));
        }
        match (response.status.as_u16(), kept) {
            (304, Some(Kept { head, body })) => {
                self.cache.confirm(url).await;
                let (content_type, robots) = (head.content_type, head.robots);
                Ok(Answer::Page(Got { url: url.clone(), content_type, robots, body }))
            }
            (200, _) => self.read(url, response).await.map(Answer::Page).map_err(FetchError::Outbound),
            (429 | 500 | 502..=504, _) => {
                let status = response.status.as_u16();
                Ok(Answer::Later(status, response.retry_after(self.clock)))
            }
            (status, _) => Err(FetchError::Status { url: url.to_string(), status }),
        }
    }

    async fn read(&self, url: &Url, response: Response) -> Result<Got, OutboundError> {
        let text = |name| response.header(name).to_owned();
        let validators = [text(&header::ETAG), text(&header::LAST_MODIFIED)];
        let content_type = text(&header::CONTENT_TYPE);
        let tags = response.headers.get_all("x-robots-tag").iter().filter_map(|tag| tag.to_str().ok());
        let robots = tags.collect::<Vec<_>>().join(",");
        let may_keep = !text(&header::CACHE_CONTROL).to_ascii_lowercase().contains("no-store");
        let body = response.body.read().await?;
        let kept = Kept::new(url, validators, content_type.clone(), robots.clone(), body.clone());
        if may_keep && kept.has_validator() {
            self.cache.put(kept).await;
        }
        Ok(Got { url: url.clone(), content_type, robots, body })
    }
}

fn conditions(kept: Option<&Kept>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
    let Some(Kept { head, .. }) = kept else { return headers };
    for (name, value) in
        [(header::IF_NONE_MATCH, &head.etag), (header::IF_MODIFIED_SINCE, &head.last_modified)]
    {
        if let Ok(value) = HeaderValue::from_str(value)
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use robotxt::AccessResult;

    use super::*;

    #[test]
    fn the_rules_of_so_many_origins_are_kept_and_those_in_use_stay() {
        let mut known = Known::default();
        let rules = Arc::new(Rules::parse(AccessResult::Unavailable));
        for origin in 0..=ORIGINS_MAX {
            known.put(format!("https://{origin}.example"), Arc::clone(&rules));
            assert!(known.get("https://0.example").is_some(), "{origin}");
        }
        assert_eq!(known.0.len(), ORIGINS_MAX);
        assert!(known.get("https://1.example").is_none() && known.get("https://2.example").is_some());
    }
}
