//! A bucket, as the operator names it.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 1_024;

/// Where bundles are kept besides on nodes, by the protocol of S3.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// Where the store answers, without the bucket, e.g. `https://s3.eu-central-1.amazonaws.com`.
    pub endpoint: Url,
    /// The bucket, which has to be there.
    pub name: String,
    /// The region that requests are signed for.
    pub region: String,
    /// What names of bundles begin with, without `/` at either end; empty for nothing.
    pub prefix: String,
    /// Who asks.
    pub access_key: BucketKey,
    /// What requests are signed with.
    pub secret_key: BucketKey,
    /// Whether the bucket stands in the path and not in the name of the host.
    pub path_style: bool,
    /// Whether an endpoint besides those of this machine may be spoken to without TLS.
    pub allow_http: bool,
    /// Whether a node may let its copy of a bundle go when it lies in the bucket.
    pub counts_as_copy: bool,
}

impl BucketConfig {
    /// Whether what is sent to `endpoint` stays on this machine.
    pub fn is_loopback(endpoint: &Url) -> bool {
        match endpoint.host() {
            Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }
}

/// A key of the store. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketKey(String);

impl BucketKey {
    /// The key in `text`: printable characters without blanks, blanks around them aside; `None` when it is none.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_key =
            (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_key.then(|| Self(text.to_owned()))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BucketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_and_is_never_shown() {
        let key = BucketKey::new("  GK31c2f218a2e44f485b94239e\n").unwrap();
        assert_eq!((key.reveal(), format!("{key:?}")), ("GK31c2f218a2e44f485b94239e", "***".to_owned()));
        for none in ["", " \n", "two words", "na\u{ef}ve", &"a".repeat(KEY_BYTES_MAX + 1)] {
            assert!(BucketKey::new(none).is_none(), "{none}");
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:3900", true),
            ("http://[::1]:3900", true),
            ("http://localhost:3900", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(BucketConfig::is_loopback(&endpoint.parse().unwrap()), expected, "{endpoint}");
        }
    }
}
