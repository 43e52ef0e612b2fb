//! One request of a walk: allowed by `robots.txt`, at the host's pace, conditional when the page is
//! kept, and tried again when the site asks for a moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use twinmcp_storage::clock::Clock;
use url::Url;

use super::cache::{Kept, PageCache};
use super::pace::Hosts;
use super::robots::Rules;
use super::scope::Scope;
use crate::ingest::fetch::FetchError;
use crate::outbound::{HeaderMap, HeaderValue, Outbound, OutboundError, Request, Response, Trail, header};

/// How often one page is asked for.
const TRIES_MAX: u32 = 3;
/// Pause before the second try; doubles.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A site that asks for a longer pause is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
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

/// Makes the requests of one walk.
pub(super) struct Getter<'a> {
    pub(super) outbound: &'a Outbound,
    pub(super) cache: &'a PageCache,
    pub(super) hosts: &'a Hosts,
    pub(super) clock: &'a dyn Clock,
    pub(super) rules: Mutex<HashMap<String, Arc<Rules>>>,
}

/// What one request came to.
enum Answer {
    Page(Got),
    /// Somewhere else.
    Moved(Url),
    /// Not now; the pause that the site asks for, if it does.
    Later(u16, Option<Duration>),
}

impl Getter<'_> {
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

    /// The rules of the origin of `url`, read once a walk.
    pub(super) async fn rules(&self, url: &Url) -> Result<Arc<Rules>, FetchError> {
        let origin = url.origin().ascii_serialization();
        let mut known = self.rules.lock().await;
        if let Some(rules) = known.get(&origin) {
            return Ok(Arc::clone(rules));
        }
        let rules = Arc::new(Rules::of(self.outbound, url).await?);
        known.insert(origin, Arc::clone(&rules));
        Ok(rules)
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
