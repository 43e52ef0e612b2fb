//! The configuration of a node: one struct a section, read from a TOML file and from variables,
//! checked whole before anything starts.
//!
//! [`Config::load`] is the way in; it reports every problem at once, each by key and line. Every key
//! stands with its default in `twinmcp.sample.toml`, which a test compares with this file.

mod check;
mod provider;
mod sms;
mod source;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use twinmcp_storage::engine::EngineKind;

pub(crate) use self::cluster::{BucketConfig, BundlesConfig, KeepPolicy};
pub use self::cluster::{DnsConfig, PeersConfig};
pub use self::identity::{
    AccountsConfig, MailConfig, MailTls, MfaConfig, MfaRequired, SignUpMode, SmsConfig,
};
pub(crate) use self::identity::{OauthConfig, UpstreamConfig};
pub use self::ingest::{EmbeddingsConfig, IngestConfig};
pub(crate) use self::ingest::{FetchConfig, OutboundConfig};
pub(crate) use self::provider::{ProviderConfig, ProviderKind};
use self::source::Source;
pub use self::source::{Problem, Problems};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident = $section:literal {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            pub(in crate::config) const SECTION: &str = $section;
            pub(in crate::config) const KEYS: &[&str] = &[$(stringify!($field),)*];

            pub(in crate::config) fn read(source: &mut Source<'_>) -> Self {
                Self { $($field: source.take(Self::SECTION, stringify!($field)).unwrap_or_else(|| $default),)* }
            }
        }
    };
}

// After the macro that they are written with.
mod cluster;
mod identity;
mod ingest;

section! {
    /// Who this node is and where it keeps its data.
    NodeConfig = "node" {
        /// Name of the node, in logs and in the names of its actors.
        name: String = "node-1".to_owned(),
        /// Region of the node, in logs.
        region: String = "local".to_owned(),
        /// Directory of everything the node keeps; made when it is missing.
        data_dir: PathBuf = PathBuf::from("twinmcp-data"),
    }
}

section! {
    /// The public listener.
    HttpConfig = "http" {
        /// Address and port to listen on; port 0 takes any free one.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 3000)),
        /// Host names clients may ask for besides loopback names and literal addresses; `*` allows all.
        allowed_hosts: Vec<String> = Vec::new(),
        /// Origins whose pages may call besides loopback ones, e.g. `https://app.example.com`; `*` allows all.
        allowed_origins: Vec<String> = Vec::new(),
        /// Networks of the proxies in front, e.g. `10.0.0.0/8`, or their addresses: `X-Forwarded-For` of theirs tells whose address a
        /// request has; anybody else's is ignored.
        trusted_proxies: Vec<String> = Vec::new(),
        /// Where people and programs reach the service, e.g. `https://docs.example.com`: what links in letters begin with. https, unless it
        /// is this machine; the node's own address on this machine when empty.
        public_url: String = String::new(),
        /// Connections open at once; one more is told 503 and closed, and idle ones are closed to make room. Fewer
        /// when the process may not open so many files.
        connections_max: usize = 16_384,
        /// Requests in progress beyond which new ones get 503 with `Retry-After`.
        in_flight_max: usize = 1024,
        /// Event streams (job progress) open at once.
        event_streams_max: usize = 256,
        /// Longest URL in bytes, without scheme and host.
        url_bytes_max: usize = 8 * 1024,
        /// All headers of a request, in bytes.
        head_bytes_max: usize = 32 * 1024,
        /// Time from the first byte of a request's head to its last, in milliseconds.
        head_timeout_ms: u64 = 10_000,
        /// Time a connection may be open without a request, in milliseconds. Longer than a load balancer's, so that
        /// it is the balancer who closes.
        idle_timeout_ms: u64 = 120_000,
        /// Time a client may take no byte of an answer, in milliseconds.
        send_timeout_ms: u64 = 30_000,
        /// Time a body may take for its first bytes, in milliseconds.
        body_grace_ms: u64 = 10_000,
        /// Least bytes a second of a body after that, and of an answer after `send_timeout_ms`; 0 asks for nothing.
        body_bytes_per_s_min: u64 = 1024,
        /// Largest request body in bytes, uploads aside.
        body_bytes_max: usize = 1024 * 1024,
        /// Time one request may take, in milliseconds, uploads aside.
        request_timeout_ms: u64 = 30_000,
        /// Time one upload may take, in milliseconds.
        upload_timeout_ms: u64 = 600_000,
        /// Time between turning not ready and refusing connections when the node stops, in milliseconds: as long as
        /// a load balancer needs to notice.
        stop_grace_ms: u64 = 500,
        /// Time requests in progress get to end when the node stops, and running index jobs when it is drained, in
        /// milliseconds.
        drain_timeout_ms: u64 = 10_000,
    }
}

section! {
    /// The storage engine.
    StorageConfig = "storage" {
        /// `fjall`, or `sled` for caches and development. Data written by one is refused by the other.
        engine: EngineKind = EngineKind::Fjall,
        /// Cache of blocks read, in bytes.
        cache_bytes: u64 = 16 * 1024 * 1024,
        /// Writes each keyspace keeps in memory before they become a file, in bytes.
        memtable_bytes: u64 = 4 * 1024 * 1024,
    }
}

section! {
    /// What a caller may ask of a search.
    SearchConfig = "search" {
        /// Tokens of an answer when the caller names no number.
        tokens_default: u32 = 5_000,
        /// Most tokens an answer may have.
        tokens_max: u32 = 50_000,
        /// Most snippets of an answer.
        snippets_max: usize = 40,
        /// Most libraries in the answer to a name.
        libraries_max: usize = 10,
        /// Index bundles kept open at once; the one used longest ago is closed first.
        bundles_open_max: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255),
    }
}

section! {
    /// How often a caller may call.
    LimitsConfig = "limits" {
        /// Whether documentation may be read without an API key.
        anonymous_reads: bool = true,
        /// Requests a minute from one address without a key.
        anonymous_per_minute: u32 = 60,
        /// Requests one address without a key may make at once after a pause.
        anonymous_burst: u32 = 30,
        /// Requests a minute with one key.
        key_per_minute: u32 = 6_000,
        /// Requests one key may make at once after a pause.
        key_burst: u32 = 1_000,
        /// Requests a minute from one address to where programs show credentials of their own (tokens, introspection, revocation,
        /// pushed requests): many machines may be behind it.
        oauth_per_minute: u32 = 6_000,
        /// Such requests one address may make at once after a pause.
        oauth_burst: u32 = 1_000,
    }
}

section! {
    /// What the node tells about itself.
    TelemetryConfig = "telemetry" {
        /// Least level of log lines, or a filter such as `info,twinmcp=debug`.
        log: String = "info,openraft=error".to_owned(),
        /// Where traces are sent by OTLP over HTTP, e.g. `http://127.0.0.1:4318/v1/traces`; empty sends none.
        otlp_endpoint: String = String::new(),
        /// Share of requests whose trace is sent, 0 to 1.
        otlp_share: f64 = 1.0,
    }
}

macro_rules! config {
    ($($(#[$doc:meta])* $field:ident: $type:ident,)*) => {
        /// Everything a node is told.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Config {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Config {
            /// Every section with its keys, in the order of the sample file.
            const SECTIONS: &[(&str, &[&str])] = &[$(($type::SECTION, $type::KEYS),)*];

            fn read(source: &mut Source<'_>) -> Self {
                Self { $($field: $type::read(source),)* }
            }
        }
    };
}

config! {
    /// Section `node`.
    node: NodeConfig,
    /// Section `http`.
    http: HttpConfig,
    /// Section `storage`.
    storage: StorageConfig,
    /// Section `cluster`.
    cluster: PeersConfig,
    /// Section `dns`.
    dns: DnsConfig,
    /// Section `bundles`.
    bundles: BundlesConfig,
    /// Section `bucket`.
    bucket: BucketConfig,
    /// Section `ingest`.
    ingest: IngestConfig,
    /// Section `outbound`.
    outbound: OutboundConfig,
    /// Section `fetch`.
    fetch: FetchConfig,
    /// Section `embeddings`.
    embeddings: EmbeddingsConfig,
    /// Section `search`.
    search: SearchConfig,
    /// Section `limits`.
    limits: LimitsConfig,
    /// Section `accounts`.
    accounts: AccountsConfig,
    /// Section `mfa`.
    mfa: MfaConfig,
    /// Section `sms`.
    sms: SmsConfig,
    /// Section `mail`.
    mail: MailConfig,
    /// Section `oauth`.
    oauth: OauthConfig,
    /// Section `audit`.
    audit: AuditConfig,
    /// Section `upstream`.
    upstream: UpstreamConfig,
    /// Section `telemetry`.
    telemetry: TelemetryConfig,
}

section! {
    /// How much of the audit log is kept. It is agreed state, so every node has all of it.
    AuditConfig = "audit" {
        /// Events; each takes about 400 bytes. One more lets the oldest go.
        entries_max: u64 = 100_000,
        /// Days after which an event goes.
        days_max: u64 = 400,
    }
}

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

impl Config {
    /// Reads `file` (defaults alone when absent), overrides it by this process's `TWINMCP__SECTION__KEY`
    /// variables, and checks the whole.
    ///
    /// # Errors
    /// Every problem found, or one that says why the file could not be read.
    pub fn load(file: Option<&Path>) -> Result<Self, Problems> {
        let text = match file {
            Some(file) => read_file(file).map_err(|message| Problems::of_file(file, message))?,
            None => String::new(),
        };
        Self::parse(&text, std::env::vars()).map_err(|problems| problems.in_file(file))
    }

    /// As [`Config::load`], from a text and from variables at hand.
    ///
    /// # Errors
    /// Every problem found.
    pub fn parse(text: &str, variables: impl Iterator<Item = (String, String)>) -> Result<Self, Problems> {
        let mut source = Source::new(text, variables, Self::SECTIONS);
        let config = Self::read(&mut source);
        config.check(&mut source);
        source.finish(config)
    }
}

fn read_file(file: &Path) -> Result<String, String> {
    let length = std::fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("has {length} bytes; at most {FILE_BYTES_MAX} are read"));
    }
    std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))
}
