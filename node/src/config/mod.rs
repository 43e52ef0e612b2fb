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

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use twinmcp_storage::engine::EngineKind;

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
            const SECTION: &str = $section;
            const KEYS: &[&str] = &[$(stringify!($field),)*];

            fn read(source: &mut Source<'_>) -> Self {
                Self { $($field: source.take(Self::SECTION, stringify!($field)).unwrap_or_else(|| $default),)* }
            }
        }
    };
}

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
        /// Least bytes a second of a body after that; 0 asks for nothing.
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
        /// Time requests in progress get to end when the node stops, in milliseconds.
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
    /// Other nodes.
    PeersConfig = "cluster" {
        /// Address and port where other nodes are answered, e.g. `0.0.0.0:7947`; empty for a node alone.
        listen: String = String::new(),
        /// Where other nodes reach this one, as `host:port`; the address of `listen` when empty.
        address: String = String::new(),
        /// Address and port of gossip between nodes (UDP); the port below that of `listen` when empty.
        gossip_listen: String = String::new(),
        /// Files with the secret of gossip; the first one's seals, both open; derived from the cluster's key when empty.
        gossip_secret_files: Vec<PathBuf> = Vec::new(),
        /// Where clients reach this node, e.g. `https://eu.docs.example.com`; told by `/api/route`.
        url: String = String::new(),
        /// What fails together with this node inside its region, e.g. a data centre.
        zone: String = String::new(),
        /// By which addresses clients reach this node, at most one IPv4 and one IPv6: what `[dns]` of any node answers.
        public_addresses: Vec<IpAddr> = Vec::new(),
        /// Where this node is, as `latitude,longitude` in degrees; that of its public address in `dns.geo_file` when empty.
        location: String = String::new(),
        /// File with the token that lets a node without data into a cluster; empty for none.
        join_token_file: PathBuf = PathBuf::new(),
        /// How often a leader says that it is there, in milliseconds: above the time to the farthest voter.
        heartbeat_ms: u64 = 100,
        /// Shortest silence of a leader after which another is elected, in milliseconds.
        election_min_ms: u64 = 400,
        /// Longest such silence, in milliseconds.
        election_max_ms: u64 = 800,
    }
}

/// Which index bundles a node keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepPolicy {
    /// All of them.
    Everywhere,
    /// Its share of those of its region.
    Region,
    /// Those that were asked about lately.
    OnDemand,
}

section! {
    /// Index bundles on this node and on their way between nodes.
    BundlesConfig = "bundles" {
        /// Which bundles this node keeps: `everywhere` (all), `region` (its share of those that its region keeps) or
        /// `on_demand` (those it was asked about lately).
        keep: KeepPolicy = KeepPolicy::Everywhere,
        /// Copies of each bundle that the nodes of a region which say `region` keep together.
        copies_per_region: u8 = 2,
        /// Bytes above which a node that says `on_demand` lets the bundle go that was asked for longest ago.
        disk_bytes_max: u64 = 10 * 1024 * 1024 * 1024,
        /// Silence of a node after which others keep its share in its place, in milliseconds.
        replace_after_ms: u64 = 600_000,
        /// Time for which a bundle that no version names is left on the disk, in milliseconds.
        garbage_grace_ms: u64 = 3_600_000,
        /// Time between two looks at what is missing here and what may go, in milliseconds.
        look_every_ms: u64 = 10_000,
        /// Bytes a second of bundles fetched from other nodes and from the bucket; 0 for no limit.
        fetch_bytes_per_s_max: u64 = 0,
        /// Bytes a second of bundles sent to other nodes and to the bucket; 0 for no limit.
        send_bytes_per_s_max: u64 = 0,
    }
}

section! {
    /// A bucket of an S3-compatible store, where bundles are kept besides on nodes.
    BucketConfig = "bucket" {
        /// Where the store answers, without the bucket, e.g. `https://s3.eu-central-1.amazonaws.com`; empty for none.
        endpoint: String = String::new(),
        /// Name of the bucket, which has to be there.
        name: String = String::new(),
        /// Region that requests are signed for.
        region: String = "us-east-1".to_owned(),
        /// What names of bundles begin with, e.g. `twinmcp/bundles`; empty for nothing.
        prefix: String = String::new(),
        /// File with the access key; empty for none.
        access_key_file: PathBuf = PathBuf::new(),
        /// Variable with the access key, e.g. `AWS_ACCESS_KEY_ID`; empty for none.
        access_key_variable: String = String::new(),
        /// File with the secret key; empty for none.
        secret_key_file: PathBuf = PathBuf::new(),
        /// Variable with the secret key, e.g. `AWS_SECRET_ACCESS_KEY`; empty for none.
        secret_key_variable: String = String::new(),
        /// Whether the bucket stands in the path of URLs and not in the name of the host.
        path_style: bool = true,
        /// Whether an endpoint on another machine may be spoken to without TLS.
        allow_http: bool = false,
        /// Whether a node may let its copy of a bundle go when the bucket has one.
        counts_as_copy: bool = false,
    }
}

section! {
    /// Answers of the DNS: one name with the addresses of the nodes that are nearest to whoever asks.
    DnsConfig = "dns" {
        /// Addresses and ports to answer on, over UDP and TCP, e.g. `203.0.113.10:53`; none answers nowhere.
        listen: Vec<SocketAddr> = Vec::new(),
        /// The name that clients use, a zone of its own, e.g. `docs.example.com`.
        zone: String = String::new(),
        /// Name servers of the zone, as its parent names them; those inside the zone with their addresses behind them, e.g.
        /// `ns1.docs.example.com 203.0.113.10`.
        name_servers: Vec<String> = Vec::new(),
        /// Mail address of whoever keeps the zone; `hostmaster` in it when empty.
        mailbox: String = String::new(),
        /// How long an answer may be kept, in seconds: so long a client may be sent to a node that is gone.
        ttl_seconds: u32 = 30,
        /// Nodes in one answer, the nearest first. Many resolvers shuffle them.
        answers_max: usize = 2,
        /// Answers a second to one network (/24 of IPv4, /56 of IPv6) over UDP.
        responses_per_second_max: u32 = 200,
        /// File of MaxMind's format with the places of addresses, of the kind City; without it the nodes near this one are given.
        geo_file: PathBuf = PathBuf::new(),
    }
}

section! {
    /// An embedding service beside what is built in; any that speaks OpenAI's `/embeddings`.
    EmbeddingsConfig = "embeddings" {
        /// Where it is, without `/embeddings`, e.g. `https://api.example.com/v1`; empty for none.
        url: String = String::new(),
        /// The model that is asked for.
        model: String = String::new(),
        /// Numbers in a vector of that model.
        dimensions: usize = 0,
        /// File with the key; empty for none.
        key_file: PathBuf = PathBuf::new(),
        /// Variable with the key, e.g. `OPENAI_API_KEY`; empty for none.
        key_variable: String = String::new(),
        /// Texts in one request.
        items_max: usize = 64,
        /// Tokens of all texts in one request; a single text may have more.
        tokens_max: usize = 16_000,
        /// Requests for one batch of documents, the first included.
        attempts_max: u32 = 5,
        /// Time one request for documents may take, in milliseconds.
        timeout_ms: u64 = 30_000,
        /// Time a question waits for its vector, in milliseconds; then words and built-in vectors answer.
        query_timeout_ms: u64 = 400,
        /// What the service's vectors count beside words, 0 to 1.
        weight: f32 = 0.6,
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

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignUpMode {
    /// Everybody whose mail arrives.
    Open,
    /// Whoever an operator gives a link.
    Invite,
    /// Nobody; operators make accounts with a password.
    Closed,
}

section! {
    /// People who sign in.
    AccountsConfig = "accounts" {
        /// Who may make an account: `open` (everybody whose mail arrives), `invite` (whoever an operator gives a link) or `closed`
        /// (nobody; operators make accounts with a password).
        sign_up: SignUpMode = SignUpMode::Invite,
        /// Time without use after which a session ends, in seconds.
        session_idle_seconds: u64 = 7 * 24 * 3600,
        /// Time after which a session ends in any case, in seconds.
        session_life_seconds: u64 = 30 * 24 * 3600,
        /// Wrong passwords for one e-mail address before it is locked, over all nodes.
        lock_after: u32 = 10,
        /// Wrong passwords from one IPv4 address or IPv6 /64 before it is locked, over all nodes.
        address_lock_after: u32 = 50,
        /// The first lock, in seconds; each further wrong password doubles it.
        lock_seconds: u64 = 60,
        /// The longest lock, in seconds.
        lock_seconds_max: u64 = 3600,
        /// Life of a link to another password, in seconds.
        reset_life_seconds: u64 = 3600,
        /// Life of a link that invites, or confirms an e-mail address, in seconds.
        invite_life_seconds: u64 = 3 * 24 * 3600,
        /// Passwords hashed at once; 0 for half of the cores.
        hash_threads: usize = 0,
        /// Passwords that wait for it beyond those; one more is told 429 with `Retry-After`.
        hashes_waiting_max: usize = 64,
    }
}

/// Who has to have a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MfaRequired {
    /// Nobody; people may have one.
    Nobody,
    /// Who runs this service.
    Operators,
    /// Every person.
    Everybody,
}

section! {
    /// Second factors of people who sign in.
    MfaConfig = "mfa" {
        /// Who has to have one: `nobody` (people may), `operators` or `everybody`. Who has none is led to add one after the password, and can do
        /// nothing else before.
        required: MfaRequired = MfaRequired::Nobody,
        /// What the service is called in an authenticator app.
        issuer: String = "TwinMCP".to_owned(),
        /// How long after a sign-in factors may be added and removed, and identities of other providers connected, in seconds; later the
        /// person signs in once more.
        fresh_seconds: u64 = 600,
    }
}

/// What tokens are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningAlgorithm(pub twinmcp_storage::oauth::signing_key::Algorithm);

impl<'de> serde::Deserialize<'de> for SigningAlgorithm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

section! {
    /// The authorization server.
    OauthConfig = "oauth" {
        /// What tokens are signed with, the usual one first: `RS256`, `ES256`, `EdDSA`. The others are for clients that ask for them.
        signing_algorithms: Vec<SigningAlgorithm> = vec![SigningAlgorithm(twinmcp_storage::oauth::signing_key::Algorithm::Rs256)],
        /// Life of an access token, in seconds; an hour at most.
        access_token_seconds: u64 = 600,
        /// Life of an authorization code, in seconds.
        code_seconds: u64 = 60,
        /// Life of a refresh token that is not used, in seconds.
        refresh_idle_seconds: u64 = 30 * 24 * 3600,
        /// Life of all refresh tokens of one sign-in together, in seconds.
        refresh_life_seconds: u64 = 180 * 24 * 3600,
        /// How long a client with credentials may send a used refresh token again because the answer was lost, in seconds; 0 for never.
        refresh_retry_seconds: u64 = 10,
        /// Whether clients may register themselves (RFC 7591).
        registration: bool = true,
        /// How long a key signs before the next one does, in seconds.
        key_seconds: u64 = 90 * 24 * 3600,
        /// How long a key is published before it signs, in seconds.
        key_publish_seconds: u64 = 24 * 3600,
    }
}

section! {
    /// Signing in at other providers.
    UpstreamConfig = "upstream" {
        /// Each as a `[[upstream.providers]]`, the same on all nodes of a cluster.
        providers: Vec<ProviderConfig> = Vec::new(),
    }
}

section! {
    /// Codes by text message, as a second factor.
    SmsConfig = "sms" {
        /// Where a carrier takes messages, by https, or by http on this machine; empty sends none.
        url: String = String::new(),
        /// File with the secret that the carrier knows this service by; empty where a variable has it.
        secret_file: PathBuf = PathBuf::new(),
        /// Variable with that secret; empty where a file has it.
        secret_variable: String = String::new(),
        /// What a message says, with `{code}` in it; `{service}` and `{host}` stand for theirs.
        text: String = "{code} is your code for {service}. Give it to nobody.\n\n@{host} #{code}".to_owned(),
        /// Messages an hour for one account, and to one number.
        per_hour: u32 = 5,
        /// Messages an hour that are asked for from one network.
        network_per_hour: u32 = 20,
    }
}

/// How the mail relay is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// TLS from the first byte.
    Implicit,
    /// TLS after `STARTTLS`, or nothing is sent.
    Starttls,
    /// None, for a relay on this machine.
    None,
}

section! {
    /// Letters to people.
    MailConfig = "mail" {
        /// Host of the relay that letters are handed to by SMTP; empty to write them to `outbox/` in the data directory.
        host: String = String::new(),
        /// Its port; 0 for the usual one (465, with `starttls` 587, with `none` 25).
        port: u16 = 0,
        /// How it is spoken to: `implicit` (TLS from the first byte), `starttls` (TLS or nothing) or `none` (for a relay on this machine).
        tls: MailTls = MailTls::Implicit,
        /// Name to sign in with at the relay; empty for none.
        user: String = String::new(),
        /// File with the password to it; empty for none.
        password_file: PathBuf = PathBuf::new(),
        /// Sender of every letter, e.g. `TwinMCP <no-reply@example.com>`.
        from: String = String::new(),
    }
}

section! {
    /// What the node tells about itself.
    TelemetryConfig = "telemetry" {
        /// Least level of log lines, or a filter such as `info,twinmcp=debug`.
        log: String = "info,openraft=warn".to_owned(),
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

section! {
    /// Index jobs and what is sent to them.
    IngestConfig = "ingest" {
        /// Jobs that run at once; the others wait.
        jobs_running_max: usize = 1,
        /// Largest archive that may be sent, in bytes.
        upload_bytes_max: u64 = 1024 * 1024 * 1024,
        /// Folders on this machine that jobs may read, with everything below them; none allows no folder.
        folders: Vec<PathBuf> = Vec::new(),
        /// Silence of a node after which another takes its jobs over, in milliseconds.
        lease_ms: u64 = 30_000,
        /// Time for which a job waits for nodes that alone may have its archive or folder, in milliseconds; then it fails.
        lost_after_ms: u64 = 3_600_000,
        /// Folder of a sentence transformer, all-MiniLM-L6-v2, that gives published documentation better vectors in
        /// the background; empty for none.
        upgrade_model: PathBuf = PathBuf::new(),
        /// Share of one core that upgrades may use, in percent.
        upgrade_cpu_percent: u8 = 50,
        /// Vectors of upgrades remembered on disk, in bytes.
        upgrade_cache_bytes: u64 = 128 * 1024 * 1024,
    }
}

section! {
    /// Requests to other hosts, made for the node's users.
    OutboundConfig = "outbound" {
        /// Host names that may lead to addresses that are not public.
        allowed_hosts: Vec<String> = Vec::new(),
        /// Networks that are not public and may be asked, e.g. `10.20.0.0/16`.
        allowed_networks: Vec<String> = Vec::new(),
        /// Whether http may be used besides https.
        allow_http: bool = true,
        /// Where sites can reach the people who run this node; told with each request.
        contact_url: String = String::new(),
        /// Time to find an address and connect, in milliseconds.
        connect_timeout_ms: u64 = 10_000,
        /// Time one request may take, in milliseconds.
        request_timeout_ms: u64 = 60_000,
        /// Longest pause within an answer, in milliseconds.
        idle_timeout_ms: u64 = 15_000,
        /// Largest answer in bytes, unpacked.
        body_bytes_max: u64 = 16 * 1024 * 1024,
        /// Redirects that one request follows.
        redirects_max: usize = 5,
    }
}

section! {
    /// Web sites and git repositories that are indexed.
    FetchConfig = "fetch" {
        /// Pages of one web site.
        pages_max: usize = 5_000,
        /// Bytes of all pages of one web site.
        bytes_max: u64 = 1024 * 1024 * 1024,
        /// Links from the first page of a web site to its last.
        depth_max: usize = 20,
        /// Time after which no further page of a web site is begun, in milliseconds.
        timeout_ms: u64 = 3_600_000,
        /// Requests a second to one host.
        requests_per_second: f64 = 5.0,
        /// Requests to one host at once.
        in_flight_max: usize = 2,
        /// Bytes of the pages kept for the next visit.
        cache_bytes_max: u64 = 1024 * 1024 * 1024,
        /// Bytes that a git repository may send, and its files may have together.
        git_bytes_max: u64 = 1024 * 1024 * 1024,
        /// Time to fetch a git repository, in milliseconds.
        git_timeout_ms: u64 = 600_000,
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
