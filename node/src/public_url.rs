//! Where the service is from outside: what links in letters begin with, and what this node is called as an issuer.
//!
//! It is configured, never taken from a request: whoever sends a request says what `Host` they like.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;

/// `https://docs.example.org`, or `http` on this machine; `None` for anything else. An issuer off loopback is https
/// (RFC 8414, 2), and so is whatever a password or a session travels over.
pub(crate) fn parse(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']).to_ascii_lowercase();
    let is_loopback = host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    let is_plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback;
    (is_plain && is_safe && text.len() <= 255).then_some(url)
}

/// The configured URL without a slash at the end; without one the node's own address on this machine.
pub(crate) fn of(configured: &str, listen: SocketAddr) -> String {
    if let Some(url) = parse(configured) {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let mut address = listen;
    match address.ip() {
        IpAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_088_https_or_this_machine_and_nothing_but_an_origin() {
        for (text, right) in [
            ("https://docs.example.org", true),
            ("https://docs.example.org:8443/", true),
            ("http://localhost:3000", true),
            ("http://127.0.0.1:3000", true),
            ("http://[::1]:3000", true),
            ("http://docs.example.org", false),
            ("http://10.1.2.3:3000", false),
            ("http://localhost.evil.example", false),
            ("https://docs.example.org/path", false),
            ("https://docs.example.org/?q", false),
            ("https://docs.example.org/#f", false),
            ("https://user@docs.example.org", false),
            ("ftp://docs.example.org", false),
            ("docs.example.org", false),
            ("", false),
        ] {
            assert_eq!(parse(text).is_some(), right, "{text}");
        }
        let listen = SocketAddr::from(([0, 0, 0, 0], 3000));
        assert_eq!(of("https://docs.example.org/", listen), "https://docs.example.org");
        assert_eq!(of("", listen), "http://127.0.0.1:3000");
    }
}
