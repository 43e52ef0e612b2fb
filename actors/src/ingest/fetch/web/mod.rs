//! Web sites: found by what they say about themselves, else walked link by link.
//!
//! In this order: `llms-full.txt` (the whole documentation), `llms.txt` (a list of its pages), the site
//! map, the links. What a person names outright, a list or a single document, is taken as that.
//!
//! Invariants: nothing is fetched that `robots.txt` forbids, nor faster than the host's pace; nothing
//! outside the site's folder is read; the same site gives the same pages in the same order.

mod cache;
mod content;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod get;
mod llms;
mod pace;
mod robots;
mod scope;
mod sitemap;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use twinmcp_storage::clock::Clock;
use url::Url;

use super::spool::{PageSpool, Spool};
use super::{FetchError, Report};
use crate::jobs::Progress;
use crate::outbound::Outbound;
pub(super) use cache::PageCache;
pub(super) use pace::Hosts;

use content::Content;
use get::{Getter, Got};
use scope::{Scope, listed};
use sitemap::Sitemap;
use walk::Walk;

/// Site maps that `robots.txt` may name, and those that are read below one of them.
const SITEMAPS_MAX: usize = 50;
/// Site maps asked for in one visit, whatever names them.
const VISIT_SITEMAPS_MAX: usize = 100;

/// What one site may cost.
#[derive(Debug, Clone)]
pub(super) struct SiteLimits {
    pub(super) pages_max: usize,
    pub(super) bytes_max: u64,
    pub(super) depth_max: usize,
    pub(super) timeout: Duration,
    pub(super) in_flight_max: usize,
}

/// One visit to a site.
pub(super) struct Visit<'a> {
    pub(super) outbound: &'a Outbound,
    pub(super) cache: &'a PageCache,
    pub(super) hosts: &'a Hosts,
    pub(super) clock: &'a dyn Clock,
    pub(super) limits: &'a SiteLimits,
    pub(super) report: &'a Report<'a>,
}

impl Visit<'_> {
    /// Fetches the site that begins at `start` into `spool`.
    pub(super) async fn run(&self, start: &Url, spool: Spool) -> Result<(Spool, Progress), FetchError> {
        let Visit { limits, report, .. } = *self;
        let getter = Getter::new(self);
        let first = getter.get(start, None).await?;
        // A site that sends its visitors on begins where they arrive.
        let mut walk = Walk::new(&getter, Scope::of(&first.url), limits, report, PageSpool::new(spool));
        let content = Content::of(&first.url, &first.content_type, &first.body);
        let map = if content == Content::Html { None } else { self.read_map(&mut walk, &first)? };
        match map {
            _ if content == Content::Html => self.site(&getter, &mut walk, first).await?,
            Some(map) => {
                walk.move_to(Scope::origin_of(&first.url));
                let mut left = VISIT_SITEMAPS_MAX;
                let pages = self.mapped(&getter, &mut walk, (first.url, map), &mut left).await;
                walk.list(pages).await?;
            }
            None if llms::is_list(&first.url) => {
                let pages = llms::links(&first.url, &String::from_utf8_lossy(&first.body));
                let scope = Scope::origin_of(&first.url);
                let pages: Vec<Url> = pages.into_iter().filter(|page| scope.holds(page)).collect();
                if pages.is_empty() {
                    walk.keep(first.url, content, first.body).await?;
                } else {
                    walk.move_to(scope);
                    walk.list(pages).await?;
                }
            }
            None => self.document(&mut walk, first, content).await?,
        }
        let (pages, progress) = walk.finish();
        if pages.pages() == 0 {
            let Progress { skipped, failed, .. } = progress;
            let problem = progress.problems.into_iter().next().unwrap_or_default();
            return Err(FetchError::Nothing { url: start.to_string(), skipped, failed, problem });
        }
        let spool = pages.finish().await.map_err(FetchError::Spool)?;
        Ok((spool, progress))
    }

    /// One document that somebody named; a `llms-full.txt` is the pages it is made of.
    async fn document(&self, walk: &mut Walk<'_>, got: Got, content: Content) -> Result<(), FetchError> {
        if got.url.path().ends_with("/llms-full.txt") && content != Content::Other {
            return self.full(walk, &got).await;
        }
        walk.keep(got.url, content, got.body).await
    }

    async fn full(&self, walk: &mut Walk<'_>, got: &Got) -> Result<(), FetchError> {
        // One more than is kept, so that it is seen that there are more.
        let pages_max = self.limits.pages_max.saturating_add(1);
        let pages = llms::full_pages(&got.url, &String::from_utf8_lossy(&got.body), pages_max);
        let address = |page: llms::FullPage| (page.url.unwrap_or_else(|| got.url.clone()), page.text);
        walk.parts(&got.url, pages.into_iter().map(address).collect()).await
    }

    /// A site by its first page.
    async fn site(&self, getter: &Getter<'_>, walk: &mut Walk<'_>, first: Got) -> Result<(), FetchError> {
        let scope = walk.scope().clone();
        // What lies at the root of a larger site is about all of it.
        if let Some(full) = self.text(getter, walk, scope.file("llms-full.txt")).await
            && llms::is_full(&String::from_utf8_lossy(&full.body))
        {
            return self.full(walk, &full).await;
        }
        for list in [scope.file("llms.txt"), scope.root_file("llms.txt")] {
            let Some(list) = self.text(getter, walk, list).await else { continue };
            let pages = llms::links(&list.url, &String::from_utf8_lossy(&list.body));
            let pages: Vec<Url> = pages.into_iter().filter(|page| scope.holds(page)).collect();
            if !pages.is_empty() {
                return walk.list(pages).await;
            }
        }
        let rules = getter.rules(scope.start()).await?;
        let mut maps: Vec<Url> = rules.sitemaps().iter().take(SITEMAPS_MAX).cloned().collect();
        maps.extend(scope.file("sitemap.xml"));
        maps.extend(scope.root_file("sitemap.xml"));
        let mut asked = HashSet::new();
        maps.retain(|map| asked.insert(map.clone()));
        let mut left = VISIT_SITEMAPS_MAX;
        for map in maps {
            let Some(found) = self.map(getter, walk, &map, &mut left).await else { continue };
            let pages = self.mapped(getter, walk, (map, found), &mut left).await;
            if !pages.is_empty() {
                return walk.list(pages).await;
            }
        }
        walk.crawl(first).await
    }

    /// A text file that a site may have; a page of HTML in its place is none.
    async fn text(&self, getter: &Getter<'_>, walk: &mut Walk<'_>, url: Option<Url>) -> Option<Got> {
        let got = self.found(getter, walk, &url?).await?;
        let content = Content::of(&got.url, &got.content_type, &got.body);
        matches!(content, Content::Markdown | Content::Text).then_some(got)
    }

    /// What a site may have at `url`. That it has nothing there is not worth a word; that it is refused is.
    async fn found(&self, getter: &Getter<'_>, walk: &mut Walk<'_>, url: &Url) -> Option<Got> {
        match getter.find(url).await? {
            Ok(got) => Some(got),
            Err(FetchError::Outbound(error)) if !error.is_passing() => {
                walk.unread_list(url, &error.into());
                None
            }
            Err(_) => None,
        }
    }

    /// The site map at `url`, when there is one and `left` of them may still be asked for.
    async fn map(
        &self,
        getter: &Getter<'_>,
        walk: &mut Walk<'_>,
        url: &Url,
        left: &mut usize,
    ) -> Option<Sitemap> {
        *left = left.checked_sub(1)?;
        let got = self.found(getter, walk, url).await?;
        self.read_map(walk, &got).unwrap_or_else(|error| {
            walk.unread_list(url, &error);
            None
        })
    }

    /// The site map that was fetched, if it is one.
    fn read_map(&self, walk: &mut Walk<'_>, got: &Got) -> Result<Option<Sitemap>, FetchError> {
        let ratio_max = self.outbound.guard().config().unpacked_ratio_max;
        let map = Sitemap::parse(&got.url, &got.body, ratio_max);
        let map = map.inspect_err(|error| self.outbound.refused(error))?;
        if let Some(Sitemap { with_entities: pages @ 1.., .. }) = map {
            walk.with_entities(&got.url, pages);
        }
        Ok(map)
    }

    /// The pages of the site in the list at hand and in those that it names.
    async fn mapped(
        &self,
        getter: &Getter<'_>,
        walk: &mut Walk<'_>,
        map: (Url, Sitemap),
        left: &mut usize,
    ) -> Vec<Url> {
        let scope = walk.scope().clone();
        let (mut waiting, mut maps) = (VecDeque::new(), VecDeque::from([map]));
        let (mut pages, mut read) = (Vec::new(), 0);
        loop {
            if let Some((at, map)) = maps.pop_front() {
                let room = SITEMAPS_MAX.saturating_sub(read + waiting.len());
                let found = map.pages.iter().filter_map(|page| listed(&at, page).ok());
                pages.extend(found.filter(|page| scope.holds(page)));
                waiting.extend(map.lists.iter().filter_map(|list| listed(&at, list).ok()).take(room));
            }
            let enough = pages.len() >= self.limits.pages_max || read >= SITEMAPS_MAX;
            let Some(list) = waiting.pop_front().filter(|_| !enough) else { return pages };
            read += 1;
            if let Some(map) = self.map(getter, walk, &list, left).await {
                maps.push_back((list, map));
            }
        }
    }
}
