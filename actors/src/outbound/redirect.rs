//! Redirects, followed by hand so that each hop is checked like a first request.

use reqwest::header::LOCATION;

use url::Url;

use super::{Outbound, OutboundError, Request, Response};

/// Where one request has been sent on.
#[derive(Debug)]
pub struct Trail {
    visited: Vec<Url>,
    redirects_max: usize,
}

impl Trail {
    /// Begins at `from`.
    pub fn new(from: Url, redirects_max: usize) -> Self {
        Self { visited: vec![from], redirects_max }
    }

    /// Where `response` sends the request on; nothing when it is an answer.
    ///
    /// # Errors
    /// When that is nowhere, here again, one time too many, or from https to http.
    pub fn next(&mut self, response: &Response) -> Result<Option<Url>, OutboundError> {
        if !matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        self.step(&response.url, response.header(&LOCATION)).map(Some)
    }

    fn step(&mut self, from: &Url, location: &str) -> Result<Url, OutboundError> {
        let joined = if location.is_empty() { None } else { from.join(location).ok() };
        let mut to = joined.ok_or_else(|| OutboundError::RedirectNowhere { from: from.to_string() })?;
        to.set_fragment(None);
        if from.scheme() == "https" && to.scheme() == "http" {
            return Err(OutboundError::Downgrade { from: from.to_string() });
        }
        if self.visited.contains(&to) || self.visited.len() > self.redirects_max {
            let first = self.visited.first().unwrap_or(from).to_string();
            return Err(OutboundError::Redirects { from: first, limit: self.redirects_max });
        }
        self.visited.push(to.clone());
        Ok(to)
    }
}

impl Outbound {
    /// Makes a `GET` and follows where it is sent on, each hop by all rules; the answer it ends at.
    ///
    /// # Errors
    /// As [`Outbound::send`] and [`Trail::next`].
    pub async fn follow(&self, request: Request) -> Result<Response, OutboundError> {
        let mut trail = Trail::new(request.url.clone(), self.guard().config().redirects_max);
        let mut request = request;
        loop {
            let response = self.send(request.clone()).await?;
            match trail.next(&response).inspect_err(|error| self.refused(error))? {
                Some(url) => request.url = url,
                None => return Ok(response),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_relative_to_the_one_before_and_never_leaves_https() {
        let url = |text: &str| Url::parse(text).unwrap();
        for (from, location, to) in [
            ("https://a.example/x/y", "z", Ok("https://a.example/x/z")),
            ("https://a.example/x/y", "/z#part", Ok("https://a.example/z")),
            ("https://a.example/", "//b.example/", Ok("https://b.example/")),
            ("http://a.example/", "https://a.example/", Ok("https://a.example/")),
            ("https://a.example/", "http://a.example/", Err("downgrade")),
            ("https://a.example/", "HTTP://b.example/", Err("downgrade")),
            ("https://a.example/", "", Err("redirects")),
            ("https://a.example/", "https://", Err("redirects")),
            ("https://a.example/x", "x", Err("redirects")),
        ] {
            let mut trail = Trail::new(url(from), 5);
            let next = trail.step(&url(from), location);
            let told = next.as_ref().map(Url::as_str).map_err(OutboundError::reason);
            assert_eq!(told, to, "{from} -> {location}");
        }
    }

    #[test]
    fn redirects_end_at_their_limit() {
        let mut at = Url::parse("https://a.example/0").unwrap();
        let mut trail = Trail::new(at.clone(), 3);
        for hop in 1..=3 {
            at = trail.step(&at, &format!("/{hop}")).unwrap();
        }
        assert_eq!(trail.step(&at, "/4").unwrap_err().reason(), "redirects");
    }
}
