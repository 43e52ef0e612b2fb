//! `robots.txt` (RFC 9309): what a site lets this program read, and how fast.

use std::time::Duration;

use robotxt::{AccessResult, BYTE_LIMIT, Robots};
use twinmcp_storage::clock::Clock;
use url::Url;

use crate::ingest::fetch::FetchError;
use crate::outbound::{Outbound, OutboundError, PRODUCT, Request, Response};

/// A longer delay between two requests is not waited for: such a site is read this slowly instead.
const CRAWL_DELAY_MAX: Duration = Duration::from_secs(30);

/// The rules of one origin.
pub(super) struct Rules(Robots);

/// Rules that cannot be read now.
pub(super) struct Later {
    pub(super) error: FetchError,
    /// The pause that the site asks for, if it does.
    pub(super) pause: Option<Duration>,
}

impl Rules {
    /// Asks once for the rules of the origin of `url`.
    ///
    /// # Errors
    /// When they cannot be read, now or at all, in which case nothing of the site may be (RFC 9309 2.3.1.4).
    pub(super) async fn of(
        outbound: &Outbound,
        clock: &dyn Clock,
        url: &Url,
    ) -> Result<Result<Self, Later>, FetchError> {
        let later = |source, pause| {
            let error = FetchError::RobotsUnreachable { host: url.authority().to_owned(), source };
            Ok(Err(Later { error, pause }))
        };
        let mut file = url.clone();
        file.set_path("/robots.txt");
        file.set_query(None);
        let request = Request { body_bytes_max: u64::MAX, ..Request::get(file) };
        let response = match outbound.follow(request).await {
            Ok(response) => response,
            // A site that sends on in circles has no rules to tell.
            Err(OutboundError::Redirects { .. } | OutboundError::RedirectNowhere { .. }) => {
                return Ok(Ok(Self::parse(AccessResult::TooManyRedirects)));
            }
            Err(error) if error.is_passing() => return later(Some(error), None),
            Err(error) => return Err(error.into()),
        };
        match response.status.as_u16() {
            200..=299 => match beginning(response).await {
                Ok(text) => Ok(Ok(Self::parse(AccessResult::Successful(&text)))),
                Err(error) => later(Some(error), None),
            },
            429 | 500..=599 => later(None, response.retry_after(clock)),
            _ => Ok(Ok(Self::parse(AccessResult::Unavailable))),
        }
    }

    pub(super) fn parse(access: AccessResult<'_>) -> Self {
        Self(Robots::from_access(access, PRODUCT))
    }

    /// Whether this program may read `url`.
    pub(super) fn allow(&self, url: &Url) -> bool {
        self.0.is_url_allowed(url)
    }

    /// The pause between two requests that the site asks for.
    pub(super) fn delay(&self) -> Option<Duration> {
        self.0.crawl_delay().map(|delay| delay.min(CRAWL_DELAY_MAX))
    }

    /// The site maps that the site names.
    pub(super) fn sitemaps(&self) -> &[Url] {
        self.0.sitemaps()
    }
}

/// As much of a file as is read of it.
async fn beginning(mut response: Response) -> Result<Vec<u8>, OutboundError> {
    let mut text = Vec::new();
    while text.len() <= BYTE_LIMIT {
        match response.body.piece().await? {
            Some(piece) => text.extend_from_slice(&piece),
            None => break,
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_those_for_this_program() {
        let file =
            b"User-agent: *\nDisallow: /\n\nUser-agent: twinmcp\nDisallow: /private/\nAllow: /private/open\n\
            Crawl-delay: 90\n\nSitemap: https://a.example/map.xml\n";
        let rules = Rules::parse(AccessResult::Successful(file));
        for (path, allowed) in
            [("/", true), ("/private/x", false), ("/private/open", true), ("/x?private/", true)]
        {
            let url = format!("https://a.example{path}").parse().unwrap();
            assert_eq!(rules.allow(&url), allowed, "{path}");
        }
        assert_eq!(rules.delay(), Some(CRAWL_DELAY_MAX));
        assert_eq!(rules.sitemaps().len(), 1);
        let none = Rules::parse(AccessResult::Unavailable);
        assert!(none.allow(&"https://a.example/private/".parse().unwrap()));
        assert_eq!(none.delay(), None);
    }
}
