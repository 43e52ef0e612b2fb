//! What a request may cost, and what the operator allows.

use std::time::Duration;

use super::Network;

/// The rules and limits of requests to other hosts.
#[derive(Debug, Clone)]
pub struct OutboundConfig {
    /// Where the people who run this node can be reached, for sites that want to complain; may be empty.
    pub contact_url: String,
    /// Host names that may lead to addresses that are not public.
    pub allowed_hosts: Vec<String>,
    /// Networks that are not public and may be asked all the same.
    pub allowed_networks: Vec<Network>,
    /// Whether http may be used; https always may.
    pub allow_http: bool,
    /// Time to find an address and connect.
    pub connect_timeout: Duration,
    /// Time from the first byte sent to the last one read.
    pub request_timeout: Duration,
    /// Longest time between two pieces of a body.
    pub idle_timeout: Duration,
    /// Bytes a second that a body must come in, on average and once [`Self::slow_grace`] is over.
    pub bytes_per_second_min: u64,
    /// How long a body may come in at any rate.
    pub slow_grace: Duration,
    /// Bytes of a response's headers.
    pub header_bytes_max: usize,
    /// Bytes of a body, unpacked.
    pub body_bytes_max: u64,
    /// How many times its size a body may unpack to, once it is past [`Self::RATIO_FREE_BYTES`].
    pub unpacked_ratio_max: u64,
    /// Redirects from one request on.
    pub redirects_max: usize,
}

impl OutboundConfig {
    /// Unpacked bytes up to which no ratio is asked: tables and change logs compress well.
    pub const RATIO_FREE_BYTES: u64 = 1 << 20;

    /// What this node calls itself: `TwinMCP/0.1.0 (+https://docs.example.com/bot)`.
    pub fn user_agent(&self) -> String {
        let name = format!("{}/{}", super::PRODUCT, env!("CARGO_PKG_VERSION"));
        if self.contact_url.is_empty() { name } else { format!("{name} (+{})", self.contact_url) }
    }
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            contact_url: String::new(),
            allowed_hosts: Vec::new(),
            allowed_networks: Vec::new(),
            allow_http: true,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(15),
            bytes_per_second_min: 1_024,
            slow_grace: Duration::from_secs(10),
            header_bytes_max: 64 << 10,
            body_bytes_max: 16 << 20,
            unpacked_ratio_max: 200,
            redirects_max: 5,
        }
    }
}
