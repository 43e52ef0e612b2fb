//! Why a request was not made, or its answer not read.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::Class;

/// Why a host has no address that may be connected to. Passes through the connector, hence `Clone`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// An address that is not public, and that no operator allowed.
    #[error(
        "`{host}` leads to {address}, {class}: a node fetches from public addresses only; for your own network, \
         the operator can add it to `outbound.allowed_hosts` or `outbound.allowed_networks`"
    )]
    Forbidden {
        /// The name, or the literal address.
        host: String,
        /// Where it leads.
        address: IpAddr,
        /// Why that is forbidden.
        class: Class,
    },
    /// Nobody knows the name.
    #[error("no address is known for `{host}`; check its spelling")]
    Unknown {
        /// The name.
        host: String,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
}

/// Why a request was not made, or its answer not read.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The client could not be built.
    #[error("failed to prepare requests to other hosts")]
    Client(#[source] reqwest::Error),
    /// Not a URL.
    #[error("`{url}` is not a URL; it should begin with https://")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// A URL longer than any page has.
    #[error("a URL may have at most {limit} bytes")]
    UrlTooLong {
        /// The limit.
        limit: usize,
    },
    /// Neither http nor https.
    #[error("URLs with `{scheme}:` are not fetched; use https")]
    Scheme {
        /// The scheme asked for.
        scheme: String,
    },
    /// http where only https may be used.
    #[error("`{host}` is asked for by http, which this node does not use (`outbound.allow_http`); use https")]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// A name or password in the URL.
    #[error("the URL of `{host}` holds a user name or password; leave it out")]
    UserInfo {
        /// The host.
        host: String,
    },
    /// No address, or a forbidden one.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A redirect from https to http.
    #[error("`{from}` redirects from https to http, which is not followed; name the https address")]
    Downgrade {
        /// Who redirected.
        from: String,
    },
    /// A redirect to where this request has been, or one too many.
    #[error("`{from}` redirects in a circle, or more than {limit} times; name the address it ends at")]
    Redirects {
        /// Where it began.
        from: String,
        /// The limit.
        limit: usize,
    },
    /// A redirect without a place.
    #[error("`{from}` redirects to no address")]
    RedirectNowhere {
        /// Who redirected.
        from: String,
    },
    /// Nobody answers there.
    #[error("failed to connect to `{host}`")]
    Connect {
        /// The host.
        host: String,
        /// What the connection said.
        source: reqwest::Error,
    },
    /// Nobody answers there, as a tunnel found.
    #[error("failed to connect to `{host}`")]
    Unreachable {
        /// The host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke off, or what came was no HTTP.
    #[error("`{url}` did not answer as a web server does")]
    Broken {
        /// What was asked for.
        url: String,
        /// What the connection said.
        source: reqwest::Error,
    },
    /// No answer, or no end of it, in time.
    #[error("`{url}` took longer than {after:?}; try again, or raise `outbound.request_timeout_ms`")]
    Deadline {
        /// What was asked for.
        url: String,
        /// The limit.
        after: Duration,
    },
    /// An answer that trickles.
    #[error("`{url}` sends too slowly to be read; try again later")]
    Slow {
        /// What was asked for.
        url: String,
    },
    /// A head larger than any server needs.
    #[error(
        "the headers of `{url}` have more than {limit} bytes or {lines} lines, the most that are read; whoever runs it has \
         to send fewer",
        lines = super::HEADERS_MAX
    )]
    HeaderTooLarge {
        /// What was asked for.
        url: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A body larger than a document may be.
    #[error("`{url}` has more than {limit} bytes, the most that are read; {way_out}")]
    BodyTooLarge {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: u64,
        /// What can be done, which depends on whose limit it is.
        way_out: &'static str,
    },
    /// A decompression bomb.
    #[error(
        "`{url}` unpacks to more than {ratio_max} times its size, which no document does; whoever runs it has to send it \
         unpacked"
    )]
    UnpacksTooFar {
        /// What was asked for.
        url: String,
        /// The limit.
        ratio_max: u64,
    },
    /// Compressed otherwise than asked for.
    #[error(
        "`{url}` is sent as `{encoding}`, which was not asked for; whoever runs it has to send it as gzip or unpacked"
    )]
    Encoding {
        /// What was asked for.
        url: String,
        /// The encoding used.
        encoding: String,
    },
    /// Compressed data that is none.
    #[error("the compressed body of `{url}` is damaged; try again, or tell whoever runs it")]
    Damaged {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        source: io::Error,
    },
}

impl OutboundError {
    /// What the connection said about `url`, in our words; heads may have `header_bytes_max`.
    pub(super) fn of(url: &Url, error: reqwest::Error, header_bytes_max: usize) -> Self {
        let causes = || causes(&error);
        if let Some(lookup) = causes().find_map(|cause| cause.downcast_ref::<LookupError>()) {
            return Self::Lookup(lookup.clone());
        }
        // `is_parse_too_large` exists for servers only.
        let too_large = |cause: &hyper::Error| cause.is_parse() && cause.to_string().contains("too large");
        if causes().any(|cause| cause.downcast_ref().is_some_and(too_large)) {
            return Self::HeaderTooLarge { url: url.to_string(), limit: header_bytes_max };
        }
        // The URL stands in our message.
        let source = error.without_url();
        if source.is_connect() {
            return Self::Connect { host: super::guard::host_of(url).to_owned(), source };
        }
        Self::Broken { url: url.to_string(), source }
    }

    /// A name of the reason from a closed list, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Url { .. } | Self::UrlTooLong { .. } => "url",
            Self::Scheme { .. } => "scheme",
            Self::PlainHttp { .. } => "plain_http",
            Self::UserInfo { .. } => "userinfo",
            Self::Lookup(LookupError::Forbidden { .. }) => "address",
            Self::Lookup(LookupError::Unknown { .. }) => "unknown_host",
            Self::Downgrade { .. } => "downgrade",
            Self::Redirects { .. } | Self::RedirectNowhere { .. } => "redirects",
            Self::Connect { .. } | Self::Unreachable { .. } => "connect",
            Self::Broken { .. } => "broken",
            Self::Deadline { .. } => "deadline",
            Self::Slow { .. } => "slow",
            Self::HeaderTooLarge { .. } => "header_bytes",
            Self::BodyTooLarge { .. } => "body_bytes",
            Self::UnpacksTooFar { .. } => "unpacked_ratio",
            Self::Encoding { .. } => "encoding",
            Self::Damaged { .. } => "damaged",
        }
    }

    /// Whether the same request may well succeed a little later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Unreachable { .. }
                | Self::Broken { .. }
                | Self::Deadline { .. }
                | Self::Slow { .. }
        )
    }
}

/// Everything below an error, the nearest first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (**cause).source())
}
