//! Fetching: what lies elsewhere comes to this node before it is read.
//!
//! `Fetcher::fetch` fills a [`Spool`], a folder of the job's own in the data directory, with the pages
//! of a web site or the files of a git repository; the spool then is a [`Material`] like an archive
//! that was sent. Fetching waits for others and is async; what comes after computes, and has its thread.
//!
//! Invariants: every request passes [`Outbound`]; a spool goes with its job; memory holds one page at a
//! time for each request in flight.

mod git;
mod spool;
mod web;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;
use tracing::info_span;
use twinmcp_storage::clock::{Clock, Entropy};
use twinmcp_storage::ids::JobId;
use twinmcp_storage::jobs::{Revision, Source};

pub use git::GitError;
#[cfg(fuzzing)]
pub(crate) use git::fuzz_forge;
pub use spool::Spool;
#[cfg(fuzzing)]
pub(crate) use web::fuzzing as fuzz_web;

use super::Material;
use crate::jobs::Progress;
use crate::outbound::{Outbound, OutboundError, Url};
use git::{Git, GitLimits, Repository};
use web::{Hosts, PageCache, SiteLimits, Visit};

/// Told how far fetching is.
pub(crate) type Report<'a> = dyn Fn(Progress) + Send + Sync + 'a;

/// What fetching may cost.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// Pages of one web site.
    pub pages_max: usize,
    /// Bytes of all pages of one web site.
    pub bytes_max: u64,
    /// Links from the first page of a web site to its last.
    pub depth_max: usize,
    /// Time after which no further page of a web site is begun.
    pub timeout: Duration,
    /// Requests a second to one host.
    pub requests_per_second: f64,
    /// Requests to one host at once.
    pub in_flight_max: usize,
    /// Bytes of the pages kept for the next visit.
    pub cache_bytes_max: u64,
    /// Bytes that a git repository may send, and its files may have together.
    pub git_bytes_max: u64,
    /// Time to fetch a git repository.
    pub git_timeout: Duration,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            pages_max: 5_000,
            bytes_max: 1 << 30,
            depth_max: 20,
            timeout: Duration::from_secs(3_600),
            requests_per_second: 5.0,
            in_flight_max: 2,
            cache_bytes_max: 1 << 30,
            git_bytes_max: 1 << 30,
            git_timeout: Duration::from_secs(600),
        }
    }
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A request failed, or was refused.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// An answer that is no page.
    #[error("`{url}` answers with status {status}; {}", way_out(*status))]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// A site that has too much to do.
    #[error("`{url}` still answers with status {status} after several tries; try again later")]
    Busy {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// A page that this program may not read.
    #[error(
        "the site's robots.txt does not let this program read `{url}`; ask its owner, or send an archive"
    )]
    Robots {
        /// The page.
        url: String,
    },
    /// Whether the site may be read is not known, so it may not.
    #[error("the robots.txt of `{host}` cannot be read now, so its pages may not be; try again later")]
    RobotsUnreachable {
        /// The site.
        host: String,
        /// What the connection said, when it was not the server that failed.
        source: Option<OutboundError>,
    },
    /// A page that is elsewhere.
    #[error("`{url}` is now at `{to}`, outside the site; name that address if it is what you want")]
    Left {
        /// What was asked for.
        url: String,
        /// Where it is.
        to: String,
    },
    /// A site that stopped answering in the middle.
    #[error(
        "`{host}` failed {failures} times one after the other; what was there before is kept: try again later"
    )]
    Gone {
        /// The site.
        host: String,
        /// How often.
        failures: u32,
        /// The last failure.
        source: Box<FetchError>,
    },
    /// A site without a page to read.
    #[error("found no page to read at `{url}`: {skipped} were left out and {failed} failed. {problem}")]
    Nothing {
        /// Where it was looked for.
        url: String,
        /// Pages left out.
        skipped: u64,
        /// Pages that failed.
        failed: u64,
        /// The first failure, or nothing.
        problem: String,
    },
    /// The spool cannot be written.
    #[error("failed to keep what was fetched")]
    Spool(#[source] std::io::Error),
    /// A git repository was not fetched.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A source that is here already.
    #[error("the source is not a web site or a git repository")]
    Local,
}

/// What whoever asked for a page can do about its status.
fn way_out(status: u16) -> &'static str {
    match status {
        401 | 403 | 407 => "pages behind a sign-in are not read: send an archive of them",
        404 | 410 => "look at the address in a browser",
        _ => "ask its owner, or try again later",
    }
}

impl FetchError {
    /// A name of the reason from a closed list, for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Outbound(error) => error.reason(),
            Self::Status { .. } => "status",
            Self::Busy { .. } => "busy",
            Self::Robots { .. } => "robots",
            Self::RobotsUnreachable { .. } => "robots_unreachable",
            Self::Left { .. } => "left",
            Self::Gone { .. } => "gone",
            Self::Nothing { .. } => "no_page",
            Self::Spool(_) => "spool",
            Self::Git(error) => error.reason(),
            Self::Local => "local",
        }
    }

    /// Whether the same request may well succeed a little later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Outbound(error) => error.is_passing(),
            Self::Busy { .. } | Self::RobotsUnreachable { .. } => true,
            _ => false,
        }
    }
}

/// What was fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) material: Material,
    /// What was said about pages that were left out or failed.
    pub(crate) progress: Progress,
}

/// Fetches what jobs are to read.
pub(crate) struct Fetcher {
    outbound: Outbound,
    cache: PageCache,
    hosts: Hosts,
    git: Git,
    site: SiteLimits,
    spools: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Fetcher {
    /// Keeps spools and pages below `data_dir`.
    pub(crate) fn new(
        config: &FetchConfig,
        outbound: Outbound,
        data_dir: &std::path::Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let page_bytes_max = outbound.guard().config().body_bytes_max;
        let cache = PageCache::new(
            data_dir.join("pages"),
            config.cache_bytes_max,
            page_bytes_max,
            Arc::clone(&clock),
        );
        let site = SiteLimits {
            pages_max: config.pages_max,
            bytes_max: config.bytes_max,
            depth_max: config.depth_max,
            timeout: config.timeout,
            in_flight_max: config.in_flight_max,
        };
        let git = GitLimits { bytes_max: config.git_bytes_max, timeout: config.git_timeout };
        Self {
            git: Git::new(outbound.clone(), entropy, git),
            hosts: Hosts::new(config.in_flight_max, config.requests_per_second),
            spools: data_dir.join("spool"),
            outbound,
            cache,
            site,
            clock,
        }
    }

    /// Checks what can be told of a source's URL without asking anybody.
    pub(crate) fn check(&self, source: &Source) -> Result<(), FetchError> {
        match source {
            Source::Web { url } => self.outbound.check(url).map(drop)?,
            Source::Git { url, revision } => self.git.check(url, revision).map(drop)?,
            Source::Upload { .. } | Source::Folder { .. } => return Err(FetchError::Local),
        }
        Ok(())
    }

    /// Fetches the source of the job `id`. Dropped, it stops and leaves nothing behind.
    pub(crate) async fn fetch(
        &self,
        id: &JobId,
        source: &Source,
        report: &Report<'_>,
    ) -> Result<Fetched, FetchError> {
        match source {
            Source::Web { url } => {
                self.site(id, url, report).instrument(info_span!("ingest.fetch.web")).await
            }
            Source::Git { url, revision } => {
                self.repository(id, url, revision, report).instrument(info_span!("ingest.fetch.git")).await
            }
            Source::Upload { .. } | Source::Folder { .. } => Err(FetchError::Local),
        }
    }

    async fn site(&self, id: &JobId, url: &str, report: &Report<'_>) -> Result<Fetched, FetchError> {
        let start: Url = self.outbound.check(url)?;
        report(Progress { stage: crate::jobs::Stage::Fetch, ..Progress::default() });
        let Self { outbound, cache, hosts, site: limits, clock, .. } = self;
        let visit = Visit { outbound, cache, hosts, clock: &**clock, limits, report };
        let (spool, progress) = visit.run(&start, self.spool(id)?).await?;
        let material = Material::Pages { spool: Arc::new(spool), site: start.into() };
        Ok(Fetched { material, progress })
    }

    async fn repository(
        &self,
        id: &JobId,
        url: &str,
        revision: &Revision,
        report: &Report<'_>,
    ) -> Result<Fetched, FetchError> {
        report(Progress { stage: crate::jobs::Stage::Fetch, ..Progress::default() });
        let spool = self.spool(id)?;
        let Repository { archive, url, pages_at } = self.git.fetch(url, revision, &spool).await?;
        let material = Material::Repository { spool: Arc::new(spool), archive, url, pages_at };
        Ok(Fetched { material, progress: Progress::default() })
    }

    fn spool(&self, id: &JobId) -> Result<Spool, FetchError> {
        Spool::create(self.spools.join(id.as_str())).map_err(FetchError::Spool)
    }

    /// Deletes spools that a crash left behind, and pages beyond the limit of those that are kept.
    pub(crate) fn sweep(&self, is_open: impl Fn(&str) -> bool) {
        for entry in fs::read_dir(&self.spools).into_iter().flatten().flatten() {
            if !is_open(&entry.file_name().to_string_lossy()) {
                // One that cannot be deleted now is tried again at the next sweep.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        self.cache.sweep();
    }
}
