//! A walk over the pages of a site: fetches what waits, keeps what is documentation, and, when it is
//! to, goes on along the links.

use std::collections::{HashSet, VecDeque};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use url::Url;

use super::SiteLimits;
use super::content::Content;
use super::get::{Getter, Got};
use super::scope::{Scope, canonical, is_asset, link};
use crate::ingest::fetch::spool::PageSpool;
use crate::ingest::fetch::{FetchError, Report};
use crate::ingest::parse::html::{self, Head};
use crate::jobs::{PROBLEMS_MAX, Progress, Stage};

/// Elements of a page open at once.
pub(super) const DEPTH: usize = 256;
/// Failures one after the other after which the site counts as gone: half a site must not take the
/// place of the whole one that was indexed before.
const FAILURES_IN_A_ROW_MAX: u32 = 20;
/// URLs remembered for each page that may be fetched.
const SEEN_PER_PAGE_MAX: usize = 20;
/// Spellings of one path that differ in their parameters; sites that sort and filter have endless ones.
const QUERIES_PER_PATH_MAX: usize = 20;

/// One walk.
pub(super) struct Walk<'a> {
    getter: &'a Getter<'a>,
    scope: Scope,
    limits: &'a SiteLimits,
    report: &'a Report<'a>,
    spool: PageSpool,
    progress: Progress,
    /// What is wrong with lists of pages; pages are told of first.
    of_lists: Vec<String>,
    waiting: VecDeque<(Url, usize)>,
    seen: HashSet<Url>,
    queries: std::collections::HashMap<String, usize>,
    /// Pages under the address that they have in the index.
    kept: HashSet<Url>,
    follow: bool,
    failures: u32,
    began: Instant,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        getter: &'a Getter<'a>,
        scope: Scope,
        limits: &'a SiteLimits,
        report: &'a Report<'a>,
        spool: PageSpool,
    ) -> Self {
        let progress = Progress { stage: Stage::Fetch, ..Progress::default() };
        Self {
            getter,
            scope,
            limits,
            report,
            spool,
            progress,
            of_lists: Vec::new(),
            waiting: VecDeque::new(),
            seen: HashSet::new(),
            queries: std::collections::HashMap::new(),
            kept: HashSet::new(),
            follow: false,
            failures: 0,
            began: Instant::now(),
        }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Goes on within another scope, before anything was fetched.
    pub(super) fn move_to(&mut self, scope: Scope) {
        self.scope = scope;
    }

    /// The pages so far, and what was said about those that were left out.
    pub(super) fn finish(self) -> (PageSpool, Progress) {
        let progress = self.told();
        (self.spool, progress)
    }

    /// Fetches the pages of a list that is known whole, without following their links.
    pub(super) async fn list(&mut self, pages: Vec<Url>) -> Result<(), FetchError> {
        for page in pages {
            self.enqueue(page, 0);
        }
        self.progress.pages_total = Some(self.waiting.len().min(self.limits.pages_max) as u64);
        self.run().await
    }

    /// Goes on from a page that was fetched already, along the links.
    pub(super) async fn crawl(&mut self, first: Got) -> Result<(), FetchError> {
        self.follow = true;
        self.seen.insert(canonical(&first.url));
        self.take(first, 0).await?;
        self.run().await
    }

    async fn run(&mut self) -> Result<(), FetchError> {
        let (getter, scope) = (self.getter, self.scope.clone());
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < self.limits.in_flight_max && !self.is_full(in_flight.len()) {
                let Some((url, depth)) = self.waiting.pop_front() else { break };
                let scope = &scope;
                in_flight.push(async move {
                    let got = getter.get(&url, Some(scope)).await;
                    (url, depth, got)
                });
            }
            let Some((url, depth, got)) = in_flight.next().await else { break };
            match got {
                Ok(got) => {
                    self.failures = 0;
                    self.take(got, depth).await?;
                }
                Err(error) => self.left_out(&url, error)?,
            }
            self.tell();
        }
        if !self.waiting.is_empty() {
            let left = self.waiting.len();
            self.waiting.clear();
            self.full(&format!("{left} more pages were not fetched"));
        }
        Ok(())
    }

    /// Keeps the pages that the file at `at` is made of, as far as the limits of the site go.
    pub(super) async fn parts(&mut self, at: &Url, pages: Vec<(Url, String)>) -> Result<(), FetchError> {
        for (url, text) in pages {
            // The first is taken in any case, as that of a walk is.
            if self.spool.pages() > 0 && self.is_full(0) {
                let kept = self.spool.pages();
                self.full(&format!("of `{at}` only the first {kept} pages were taken"));
                break;
            }
            self.keep(url, Content::Markdown, text.into_bytes()).await?;
        }
        self.tell();
        Ok(())
    }

    /// Notes what a limit of the site left out.
    fn full(&mut self, what: &str) {
        let SiteLimits { pages_max, bytes_max, timeout, .. } = self.limits;
        let problem = format!(
            "{what}: the limits are {pages_max} pages, {bytes_max} bytes and {timeout:?} (`[fetch]`)"
        );
        noted(&mut self.progress.problems, problem);
    }

    /// Whether a limit of the site is reached, with so many pages on their way.
    fn is_full(&self, in_flight: usize) -> bool {
        self.spool.pages() + in_flight >= self.limits.pages_max
            || self.spool.bytes() >= self.limits.bytes_max
            || self.getter.time_left().is_zero()
    }

    fn enqueue(&mut self, url: Url, depth: usize) {
        let url = canonical(&url);
        if !self.scope.holds(&url) || is_asset(&url) || self.seen.contains(&url) {
            return;
        }
        if self.seen.len() >= self.limits.pages_max.saturating_mul(SEEN_PER_PAGE_MAX) {
            return;
        }
        if url.query().is_some() {
            let queries = self.queries.entry(url.path().to_owned()).or_default();
            *queries += 1;
            if *queries > QUERIES_PER_PATH_MAX {
                return;
            }
        }
        self.seen.insert(url.clone());
        self.waiting.push_back((url, depth));
    }

    /// Keeps a page that is documentation, and queues what it leads to.
    pub(super) async fn take(&mut self, got: Got, depth: usize) -> Result<(), FetchError> {
        let content = Content::of(&got.url, &got.content_type, &got.body);
        let url = canonical(&got.url);
        self.seen.insert(url.clone());
        if content == Content::Other {
            self.progress.skipped += 1;
            return Ok(());
        }
        let head = if content == Content::Html { html::head(&got.body, DEPTH) } else { Head::default() };
        if self.follow && depth < self.limits.depth_max && !head.is_nofollow(&got.robots) {
            for target in &head.links {
                self.enqueue_link(&url, &head, target, depth + 1);
            }
        }
        if let Some(original) = self.original(&url, &head) {
            self.enqueue(original, depth);
            self.progress.skipped += 1;
        } else if head.is_noindex(&got.robots) || !self.kept.insert(url.clone()) {
            self.progress.skipped += 1;
        } else {
            self.keep(url, content, got.body).await?;
        }
        Ok(())
    }

    /// Keeps one document as it is.
    pub(super) async fn keep(&mut self, url: Url, content: Content, body: Vec<u8>) -> Result<(), FetchError> {
        let path = self.scope.path(&url, content.extensions());
        self.spool.add(path, url.into(), body).await.map_err(FetchError::Spool)?;
        self.progress.pages += 1;
        Ok(())
    }

    fn enqueue_link(&mut self, page: &Url, head: &Head, target: &str, depth: usize) {
        if let Some(url) = link(page, head.base.as_deref(), target) {
            self.enqueue(url, depth);
        }
    }

    /// The page that this one is a copy of by its own words. A site that calls every page its first
    /// one is mistaken, and one outside the site is not ours to read.
    fn original(&self, url: &Url, head: &Head) -> Option<Url> {
        let original = link(url, head.base.as_deref(), head.canonical.as_deref()?)?;
        let is_other = original != *url && original != *self.scope.start() && self.scope.holds(&original);
        // Two spellings of one place: with and without the slash at the end.
        let bare = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        (is_other && bare(&original) != bare(url)).then_some(original)
    }

    /// Notes a page that was not fetched; an error when that is the end of the walk.
    fn left_out(&mut self, url: &Url, error: FetchError) -> Result<(), FetchError> {
        match error {
            FetchError::Left { .. } | FetchError::Robots { .. } => {
                self.count(error.reason(), 1);
                self.progress.skipped += 1;
                Ok(())
            }
            FetchError::Spool(_) | FetchError::RobotsUnreachable { .. } => Err(error),
            error => {
                self.failures += u32::from(error.is_passing());
                if self.failures >= FAILURES_IN_A_ROW_MAX {
                    let host = url.authority().to_owned();
                    return Err(FetchError::Gone { host, failures: self.failures, source: Box::new(error) });
                }
                self.count(error.reason(), 1);
                self.progress.failed += 1;
                noted(&mut self.progress.problems, format!("{url}: {error}"));
                Ok(())
            }
        }
    }

    /// Notes a list of pages that could not be read.
    pub(super) fn unread_list(&mut self, url: &Url, error: &FetchError) {
        self.count(error.reason(), 1);
        noted(&mut self.of_lists, format!("{url}: {error}"));
    }

    /// Notes that `pages` of the site map at `url` are left out.
    pub(super) fn with_entities(&mut self, url: &Url, pages: u64) {
        self.count("xml_entities", pages);
        self.progress.skipped += pages;
        let problem = format!(
            "{url}: pages whose addresses hold entities were left out ({pages}); a site map has to spell them out"
        );
        noted(&mut self.of_lists, problem);
    }

    fn count(&mut self, reason: &'static str, files: u64) {
        *self.progress.left_out.entry(reason).or_default() += files;
    }

    fn tell(&mut self) {
        let elapsed = self.began.elapsed().as_secs_f64();
        let progress = &mut self.progress;
        progress.pages_per_second = if elapsed > 0.0 { progress.pages as f64 / elapsed } else { 0.0 };
        let done = progress.pages + progress.skipped + progress.failed;
        let left = progress.pages_total.map(|total| total.saturating_sub(done) as f64);
        progress.seconds_left = left.filter(|_| done > 0).map(|left| left * elapsed / done as f64);
        (self.report)(self.told());
    }

    /// How far it is, with what is wrong with lists.
    fn told(&self) -> Progress {
        let mut progress = self.progress.clone();
        progress.problems.extend_from_slice(&self.of_lists);
        progress.problems.truncate(PROBLEMS_MAX);
        progress
    }
}

/// Keeps the first problems; the counts tell of all.
fn noted(problems: &mut Vec<String>, problem: String) {
    if problems.len() < PROBLEMS_MAX {
        problems.push(problem);
    }
}
