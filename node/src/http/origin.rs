//! Which `Host` and `Origin` a request may name: the guard against pages that reach a node through
//! somebody's browser (DNS rebinding, cross-site requests).
//!
//! A literal address cannot be rebound to another machine, so it is always allowed as a host;
//! loopback names and origins always are; names beyond those come from the configuration.

use std::net::IpAddr;

use poem::http::{HeaderMap, header};

use super::names;

/// A web origin: scheme, host and port, as RFC 6454 compares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
    exact: bool,
}

impl Origin {
    /// Parses `scheme://host` or `scheme://host:port`; `None` for anything else, `null` too.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let exact = !authority.contains(['/', '?', '#', '@']);
        let authority = authority.split(['/', '?', '#']).next()?;
        let (host, port) = split_authority(authority)?;
        let scheme = scheme.to_ascii_lowercase();
        let known = matches!(scheme.as_str(), "http" | "https");
        known.then(|| Self { port: port.or(default_port(&scheme)), scheme, host, exact })
    }

    /// Whether the text held nothing but the origin.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Host in lower case and port of `host`, `host:port` or `[v6]:port`.
fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    (!host.is_empty()).then(|| (host.trim_end_matches('.').to_ascii_lowercase(), port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What the configuration allows beyond loopback.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    hosts: Vec<String>,
    any_host: bool,
    origins: Vec<Origin>,
    any_origin: bool,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    Host,
    Origin,
}

impl Allowed {
    pub(crate) fn new(hosts: &[String], origins: &[String]) -> Self {
        Self {
            any_host: hosts.iter().any(|host| host == "*"),
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            any_origin: origins.iter().any(|origin| origin == "*"),
            origins: origins.iter().filter_map(|origin| Origin::parse(origin)).collect(),
        }
    }

    /// Checks the `Host` (or the authority of an HTTP/2 request) and the `Origin`, both if present.
    pub(crate) fn check(&self, authority: Option<&str>, headers: &HeaderMap) -> Result<(), Foreign> {
        let host = match headers.get(header::HOST) {
            Some(host) => Some(host.to_str().map_err(|_| Foreign::Host)?),
            None => authority,
        };
        if host.is_some_and(|host| !self.allows_host(host)) {
            return Err(Foreign::Host);
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let origin = origin.to_str().map_err(|_| Foreign::Origin)?;
        // A form of a page of ours, whose origin the browser may not tell because the page has no referrer (Fetch, 3.2). No
        // page can send this header by itself.
        let is_own_form = headers.get(&names::SITE).is_some_and(|site| site == "same-origin");
        if origin == "null" && is_own_form {
            return Ok(());
        }
        if self.allows_origin(origin, host) { Ok(()) } else { Err(Foreign::Origin) }
    }

    fn allows_host(&self, host: &str) -> bool {
        let Some((host, _)) = split_authority(host) else {
            return false;
        };
        self.any_host || is_loopback(&host) || host.parse::<IpAddr>().is_ok() || self.hosts.contains(&host)
    }

    /// `host` is the one the request names: a page of the node itself may call it.
    fn allows_origin(&self, origin: &str, host: Option<&str>) -> bool {
        if self.any_origin {
            return true;
        }
        let Some(origin) = Origin::parse(origin) else {
            return false;
        };
        let same_host = || {
            let (host, port) = host.and_then(split_authority)?;
            Some(host == origin.host && port.or(default_port(&origin.scheme)) == origin.port)
        };
        is_loopback(&origin.host)
            || same_host().unwrap_or(false)
            || self.origins.iter().any(|allowed| {
                (&allowed.scheme, &allowed.host, allowed.port) == (&origin.scheme, &origin.host, origin.port)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &Allowed, host: &str, origin: Option<&str>) -> Result<(), Foreign> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        allowed.check(None, &headers)
    }

    #[test]
    fn loopback_names_and_literal_addresses_are_allowed_as_hosts_and_other_names_are_not() {
        let allowed = Allowed::new(&["Docs.Example.com".to_owned()], &[]);
        for (host, right) in [
            ("localhost:3000", true),
            ("127.0.0.1:3000", true),
            ("[::1]:3000", true),
            ("10.1.2.3:3000", true),
            ("docs.example.com", true),
            ("docs.example.com.:443", true),
            ("evil.example.com", false),
            ("localhost.evil.com", false),
            ("127.0.0.1.evil.com:3000", false),
            ("", false),
        ] {
            assert_eq!(check(&allowed, host, None).is_ok(), right, "{host}");
        }
    }

    #[test]
    fn only_loopback_own_and_configured_origins_may_call() {
        let allowed = Allowed::new(&["docs.example.com".to_owned()], &["https://app.example.com".to_owned()]);
        for (origin, right) in [
            ("http://localhost:5173", true),
            ("http://127.0.0.1:3000", true),
            ("https://app.example.com", true),
            ("https://app.example.com:443", true),
            ("http://docs.example.com:3000", true),
            ("https://app.example.com:8443", false),
            ("http://app.example.com", false),
            ("http://docs.example.com", false),
            ("https://evil.example.com", false),
            ("null", false),
            ("", false),
        ] {
            let verdict = check(&allowed, "docs.example.com:3000", Some(origin));
            assert_eq!(verdict.is_ok(), right, "{origin}");
        }
    }

    #[test]
    fn an_origin_that_the_browser_may_not_tell_is_taken_from_a_form_of_ours_alone() {
        let allowed = Allowed::new(&[], &[]);
        for (site, right) in [
            (Some("same-origin"), true),
            (Some("same-site"), false),
            (Some("cross-site"), false),
            (None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:3000".parse().unwrap());
            headers.insert(header::ORIGIN, "null".parse().unwrap());
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            assert_eq!(allowed.check(None, &headers).is_ok(), right, "{site:?}");
        }
    }

    #[test]
    fn a_star_allows_every_name_and_origin() {
        let allowed = Allowed::new(&["*".to_owned()], &["*".to_owned()]);
        assert_eq!(check(&allowed, "anything.example", Some("null")), Ok(()));
    }
}
