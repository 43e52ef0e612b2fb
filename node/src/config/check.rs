//! What no type of a key says: ranges, and keys that have to fit one another.

use std::net::SocketAddr;

use twinmcp_actors::ingest::source::ARCHIVE_BYTES_MAX;
use twinmcp_actors::{BucketConfig, outbound};
use twinmcp_cluster::membership::{Location, PublicAddresses};

use super::Config;
use super::source::Source;
use crate::dns::Zone;

/// Seconds of a long year.
const YEAR_S: u64 = 366 * 24 * 3600;

impl Config {
    /// Refuses what is wrong, each with the key to change.
    pub(super) fn check(&self, source: &mut Source<'_>) {
        let mut require = |holds: bool, section: &str, key: &str, message: &str| {
            if !holds {
                source.refuse(section, key, message);
            }
        };
        let is_name = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let one_to_64 = "must have 1 to 64 letters, digits or `-_.`";
        require(is_name(&self.node.name), "node", "name", one_to_64);
        require(is_name(&self.node.region), "node", "region", one_to_64);
        require(!self.node.data_dir.as_os_str().is_empty(), "node", "data_dir", "must not be empty");

        let http = &self.http;
        let is_origin = |origin: &String| {
            origin == "*" || crate::http::Origin::parse(origin).is_some_and(|parsed| parsed.is_exact())
        };
        let origin =
            "must be `*` or origins such as `https://app.example.com` or `http://app.example.com:8080`";
        require(http.allowed_origins.iter().all(is_origin), "http", "allowed_origins", origin);
        let is_host = |host: &String| !host.is_empty() && !host.contains(['/', ':', ' ', '@']);
        let host = "must be `*` or host names without scheme and port, such as `docs.example.com`";
        require(http.allowed_hosts.iter().all(is_host), "http", "allowed_hosts", host);
        let are_networks =
            http.trusted_proxies.iter().all(|network| network.parse::<outbound::Network>().is_ok());
        let message = "must be networks such as `10.0.0.0/8`, or addresses, without port";
        require(are_networks, "http", "trusted_proxies", message);
        require(
            (1..=1_000_000).contains(&http.in_flight_max),
            "http",
            "in_flight_max",
            "must be 1 to 1000000",
        );
        let connections = (1..=1_000_000).contains(&http.connections_max);
        require(connections, "http", "connections_max", "must be 1 to 1000000");
        let url = (256..=65_534).contains(&http.url_bytes_max);
        require(url, "http", "url_bytes_max", "must be 256 to 65534 bytes");
        let head = (4096..=1024 * 1024).contains(&http.head_bytes_max);
        require(head, "http", "head_bytes_max", "must be 4096 to 1048576 bytes");
        let pace = http.body_bytes_per_s_min <= 1024 * 1024 * 1024;
        require(pace, "http", "body_bytes_per_s_min", "must be 0 to 1073741824 bytes a second");
        let streams = (1..=100_000).contains(&http.event_streams_max);
        require(streams, "http", "event_streams_max", "must be 1 to 100000");
        let bytes = (1024..=64 * 1024 * 1024).contains(&http.body_bytes_max);
        require(bytes, "http", "body_bytes_max", "must be 1024 to 67108864 bytes");
        for (key, value) in [
            ("head_timeout_ms", http.head_timeout_ms),
            ("idle_timeout_ms", http.idle_timeout_ms),
            ("send_timeout_ms", http.send_timeout_ms),
            ("body_grace_ms", http.body_grace_ms),
            ("request_timeout_ms", http.request_timeout_ms),
            ("upload_timeout_ms", http.upload_timeout_ms),
            ("drain_timeout_ms", http.drain_timeout_ms),
        ] {
            let message = "must be 100 to 86400000 milliseconds";
            require((100..=86_400_000).contains(&value), "http", key, message);
        }

        let message = "must be 0 to 300000 milliseconds";
        require(http.stop_grace_ms <= 300_000, "http", "stop_grace_ms", message);

        let public = http.public_url.is_empty() || crate::public_url::parse(&http.public_url).is_some();
        let message = "must be `https://` and a host, e.g. `https://docs.example.com`, without a path; `http://` is taken for this \
                       machine alone, because passwords and sessions travel over it";
        require(public, "http", "public_url", message);

        let cluster = &self.cluster;
        let listen = cluster.listen.is_empty() || cluster.listen.parse::<SocketAddr>().is_ok();
        require(listen, "cluster", "listen", "must be empty or an address with a port, e.g. `0.0.0.0:7947`");
        let gossip = cluster.gossip_listen.is_empty() || cluster.gossip_listen.parse::<SocketAddr>().is_ok();
        require(gossip, "cluster", "gossip_listen", "must be empty or an address with a port");
        let secrets = cluster.gossip_secret_files.len() <= 2;
        require(secrets, "cluster", "gossip_secret_files", "must name at most two files");
        let is_wild = cluster.listen.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified());
        let address = match cluster.address.rsplit_once(':') {
            Some((host, port)) => {
                !host.is_empty() && cluster.address.len() <= 64 && port.parse::<u16>().is_ok()
            }
            None => cluster.address.is_empty() && !is_wild,
        };
        let message = "must be `host:port`, as other nodes reach this one, of at most 64 bytes";
        require(address, "cluster", "address", message);
        let url = cluster.url.is_empty()
            || reqwest::Url::parse(&cluster.url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        let url = url && cluster.url.len() <= 96;
        require(url, "cluster", "url", "must be empty or an http or https URL of at most 96 bytes");
        // What is gossiped is short.
        let is_short = |name: &str| is_name(name) && name.len() <= 32;
        let short = "must have 1 to 32 letters, digits or `-_.`";
        require(cluster.zone.is_empty() || is_short(&cluster.zone), "cluster", "zone", short);
        let region = cluster.listen.is_empty() || is_short(&self.node.region);
        require(region, "node", "region", "must have at most 32 bytes in a cluster");
        let public = PublicAddresses::of(&cluster.public_addresses);
        let message =
            "must be at most one IPv4 and one IPv6 address, no multicast one and not `0.0.0.0` or `::`";
        require(public.is_ok(), "cluster", "public_addresses", message);
        let located = cluster.location.is_empty() || cluster.location.parse::<Location>().is_ok();
        let message = "must be empty or a latitude and a longitude in degrees, e.g. `50.11,8.68`";
        require(located, "cluster", "location", message);
        let joins = cluster.join_token_file.as_os_str().is_empty() || !cluster.listen.is_empty();
        require(joins, "cluster", "join_token_file", "needs `cluster.listen`");
        let heartbeat = (10..=60_000).contains(&cluster.heartbeat_ms);
        require(heartbeat, "cluster", "heartbeat_ms", "must be 10 to 60000 milliseconds");
        let shortest = (2 * cluster.heartbeat_ms.min(60_000)..=600_000).contains(&cluster.election_min_ms);
        require(
            shortest,
            "cluster",
            "election_min_ms",
            "must be twice `heartbeat_ms` to 600000 milliseconds",
        );
        let longest =
            cluster.election_max_ms > cluster.election_min_ms && cluster.election_max_ms <= 1_200_000;
        let message = "must be above `election_min_ms`, 1200000 milliseconds at most";
        require(longest, "cluster", "election_max_ms", message);
        let stale = (1_000..=86_400_000).contains(&cluster.stale_after_ms);
        require(stale, "cluster", "stale_after_ms", "must be 1000 to 86400000 milliseconds");

        let dns = &self.dns;
        require(dns.listen.len() <= 8, "dns", "listen", "must name at most 8 addresses");
        if !dns.listen.is_empty()
            && let Err(wrong) = Zone::new(dns)
        {
            require(false, "dns", wrong.key, wrong.message);
        }
        let limit = (1..=1_000_000).contains(&dns.responses_per_second_max);
        require(limit, "dns", "responses_per_second_max", "must be 1 to 1000000");

        let mebibyte = 1024 * 1024;
        let bundles = &self.bundles;
        let copies = (1..=100).contains(&bundles.copies_per_region);
        require(copies, "bundles", "copies_per_region", "must be 1 to 100");
        require(bundles.disk_bytes_max > 0, "bundles", "disk_bytes_max", "must be 1 byte or more");
        for (key, value, least) in [
            ("replace_after_ms", bundles.replace_after_ms, 1_000),
            ("garbage_grace_ms", bundles.garbage_grace_ms, 1_000),
            ("look_every_ms", bundles.look_every_ms, 100),
        ] {
            let message = format!("must be {least} to 2592000000 milliseconds (30 days)");
            require((least..=2_592_000_000).contains(&value), "bundles", key, &message);
        }
        for (key, value) in [
            ("fetch_bytes_per_s_max", bundles.fetch_bytes_per_s_max),
            ("send_bytes_per_s_max", bundles.send_bytes_per_s_max),
        ] {
            let pace = value == 0 || (mebibyte..=1024 * 1024 * mebibyte).contains(&value);
            require(pace, "bundles", key, "must be 0, or 1048576 bytes (1 MiB) to 1 TiB a second");
        }

        let bucket = &self.bucket;
        if !bucket.endpoint.is_empty() {
            let url = reqwest::Url::parse(&bucket.endpoint).ok().filter(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.path() == "/"
                    && url.query().is_none()
                    && url.fragment().is_none()
            });
            let message = "must be empty or an http or https URL of a host, without credentials and path";
            require(url.is_some(), "bucket", "endpoint", message);
            let is_safe = url.as_ref().is_none_or(|url| {
                url.scheme() == "https" || bucket.allow_http || BucketConfig::is_loopback(url)
            });
            let message = "must begin with https, or set `bucket.allow_http`: anybody on the way could read what is sent";
            require(is_safe, "bucket", "endpoint", message);
            let is_host = |url: reqwest::Url| url.domain().is_some();
            let style = bucket.path_style || url.is_none_or(is_host);
            require(
                style,
                "bucket",
                "path_style",
                "must be true when the endpoint is an address and no name",
            );
            let is_word = |letter: u8, more: &[u8]| letter.is_ascii_alphanumeric() || more.contains(&letter);
            let name =
                (3..=63).contains(&bucket.name.len()) && bucket.name.bytes().all(|byte| is_word(byte, b"-."));
            require(name, "bucket", "name", "must have 3 to 63 letters, digits or `-.`");
            let region = (1..=64).contains(&bucket.region.len())
                && bucket.region.bytes().all(|byte| is_word(byte, b"-_"));
            require(region, "bucket", "region", "must have 1 to 64 letters, digits or `-_`");
            let is_part = |part: &str| {
                !part.is_empty()
                    && !matches!(part, "." | "..")
                    && part.bytes().all(|byte| is_word(byte, b"-_."))
            };
            let prefix = bucket.prefix.is_empty()
                || bucket.prefix.len() <= 200 && bucket.prefix.split('/').all(is_part);
            let message =
                "must be empty or parts of letters, digits or `-_.` with `/` between them, 200 bytes in all";
            require(prefix, "bucket", "prefix", message);
            for (key, file, variable) in [
                ("access_key_file", &bucket.access_key_file, &bucket.access_key_variable),
                ("secret_key_file", &bucket.secret_key_file, &bucket.secret_key_variable),
            ] {
                let one = file.as_os_str().is_empty() != variable.is_empty();
                require(one, "bucket", key, "must name a file, or the key below it a variable: one of both");
            }
        }

        let memory = (mebibyte..=1024 * 1024 * mebibyte, "must be 1048576 bytes (1 MiB) to 1 TiB");
        require(memory.0.contains(&self.storage.cache_bytes), "storage", "cache_bytes", memory.1);
        require(memory.0.contains(&self.storage.memtable_bytes), "storage", "memtable_bytes", memory.1);

        let ingest = &self.ingest;
        require((1..=64).contains(&ingest.jobs_running_max), "ingest", "jobs_running_max", "must be 1 to 64");
        let lease = (1_000..=600_000).contains(&ingest.lease_ms);
        require(lease, "ingest", "lease_ms", "must be 1000 to 600000 milliseconds (10 minutes)");
        let lost_after = (1_000..=2_592_000_000).contains(&ingest.lost_after_ms);
        require(lost_after, "ingest", "lost_after_ms", "must be 1000 to 2592000000 milliseconds (30 days)");
        // What is sent has to be read afterwards.
        let upload = (1024..=ARCHIVE_BYTES_MAX).contains(&ingest.upload_bytes_max);
        let message = "must be 1024 to 1073741824 bytes (1 GiB), the most an archive may have";
        require(upload, "ingest", "upload_bytes_max", message);
        let absolute = ingest.folders.iter().all(|folder| folder.is_absolute());
        require(absolute, "ingest", "folders", "must be absolute paths");

        let share = (1..=100).contains(&ingest.upgrade_cpu_percent);
        require(share, "ingest", "upgrade_cpu_percent", "must be 1 to 100");
        let cache = (mebibyte..=1024 * 1024 * mebibyte).contains(&ingest.upgrade_cache_bytes);
        require(cache, "ingest", "upgrade_cache_bytes", "must be 1048576 bytes (1 MiB) to 1 TiB");

        let outbound = &self.outbound;
        require(
            outbound.allowed_hosts.iter().all(is_host),
            "outbound",
            "allowed_hosts",
            "must be host names",
        );
        let networks =
            outbound.allowed_networks.iter().all(|network| network.parse::<outbound::Network>().is_ok());
        let message = "must be networks such as `10.20.0.0/16`, or addresses";
        require(networks, "outbound", "allowed_networks", message);
        let contact = outbound.contact_url.is_empty()
            || outbound::Url::parse(&outbound.contact_url)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "mailto"));
        require(contact, "outbound", "contact_url", "must be empty or an http, https or mailto URL");
        for (key, value) in [
            ("connect_timeout_ms", outbound.connect_timeout_ms),
            ("request_timeout_ms", outbound.request_timeout_ms),
            ("idle_timeout_ms", outbound.idle_timeout_ms),
        ] {
            require(
                (100..=3_600_000).contains(&value),
                "outbound",
                key,
                "must be 100 to 3600000 milliseconds",
            );
        }
        let body = (1024..=1024 * mebibyte).contains(&outbound.body_bytes_max);
        require(body, "outbound", "body_bytes_max", "must be 1024 bytes to 1 GiB");
        require(outbound.redirects_max <= 20, "outbound", "redirects_max", "must be 0 to 20");

        let fetch = &self.fetch;
        require((1..=50_000).contains(&fetch.pages_max), "fetch", "pages_max", "must be 1 to 50000");
        require((0..=1_000).contains(&fetch.depth_max), "fetch", "depth_max", "must be 0 to 1000");
        for (key, value) in [
            ("bytes_max", fetch.bytes_max),
            ("cache_bytes_max", fetch.cache_bytes_max),
            ("git_bytes_max", fetch.git_bytes_max),
        ] {
            let bytes = (1024..=1024 * 1024 * mebibyte).contains(&value);
            require(bytes, "fetch", key, "must be 1024 bytes to 1 TiB");
        }
        for (key, value) in [("timeout_ms", fetch.timeout_ms), ("git_timeout_ms", fetch.git_timeout_ms)] {
            let message = "must be 1000 to 86400000 milliseconds";
            require((1_000..=86_400_000).contains(&value), "fetch", key, message);
        }
        let rate = (0.01..=10_000.0).contains(&fetch.requests_per_second);
        require(rate, "fetch", "requests_per_second", "must be 0.01 to 10000");
        require((1..=64).contains(&fetch.in_flight_max), "fetch", "in_flight_max", "must be 1 to 64");

        let embeddings = &self.embeddings;
        if !embeddings.url.is_empty() {
            let url = reqwest::Url::parse(&embeddings.url);
            let url = url.is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.query().is_none()
                    && url.fragment().is_none()
            });
            let message = "must be empty or an http or https URL without credentials, `?` and `#`";
            require(url, "embeddings", "url", message);
            let model = (1..=200).contains(&embeddings.model.len())
                && embeddings.model.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'&');
            require(
                model,
                "embeddings",
                "model",
                "must name a model in 1 to 200 characters without blanks and `&`",
            );
            let dimensions = (1..=4_096).contains(&embeddings.dimensions);
            require(
                dimensions,
                "embeddings",
                "dimensions",
                "must be 1 to 4096: what the model's vectors have",
            );
            let one_key = embeddings.key_file.as_os_str().is_empty() || embeddings.key_variable.is_empty();
            require(one_key, "embeddings", "key_variable", "must be empty when `embeddings.key_file` is set");
        }
        let items = (1..=256).contains(&embeddings.items_max);
        require(items, "embeddings", "items_max", "must be 1 to 256");
        let tokens = (1..=1_000_000).contains(&embeddings.tokens_max);
        require(tokens, "embeddings", "tokens_max", "must be 1 to 1000000");
        require((1..=10).contains(&embeddings.attempts_max), "embeddings", "attempts_max", "must be 1 to 10");
        for (key, value) in
            [("timeout_ms", embeddings.timeout_ms), ("query_timeout_ms", embeddings.query_timeout_ms)]
        {
            let message = "must be 10 to 600000 milliseconds";
            require((10..=600_000).contains(&value), "embeddings", key, message);
        }
        require((0.0..=1.0).contains(&embeddings.weight), "embeddings", "weight", "must be 0 to 1");

        let search = &self.search;
        let tokens_max = (100..=1_000_000).contains(&search.tokens_max);
        require(tokens_max, "search", "tokens_max", "must be 100 to 1000000");
        let tokens_default = (100..=search.tokens_max).contains(&search.tokens_default);
        require(tokens_default, "search", "tokens_default", "must be 100 to `search.tokens_max`");
        require((1..=200).contains(&search.snippets_max), "search", "snippets_max", "must be 1 to 200");
        require((1..=100).contains(&search.libraries_max), "search", "libraries_max", "must be 1 to 100");
        let bundles = search.bundles_open_max.get() <= 100_000;
        require(bundles, "search", "bundles_open_max", "must be 1 to 100000");

        for (key, value) in [
            ("anonymous_per_minute", self.limits.anonymous_per_minute),
            ("anonymous_burst", self.limits.anonymous_burst),
            ("key_per_minute", self.limits.key_per_minute),
            ("key_burst", self.limits.key_burst),
            ("oauth_per_minute", self.limits.oauth_per_minute),
            ("oauth_burst", self.limits.oauth_burst),
        ] {
            require((1..=100_000_000).contains(&value), "limits", key, "must be 1 to 100000000");
        }

        let accounts = &self.accounts;
        for (key, value) in [
            ("session_idle_seconds", accounts.session_idle_seconds),
            ("session_life_seconds", accounts.session_life_seconds),
            ("reset_life_seconds", accounts.reset_life_seconds),
            ("invite_life_seconds", accounts.invite_life_seconds),
        ] {
            require((60..=31_622_400).contains(&value), "accounts", key, "must be 60 to 31622400 seconds");
        }
        for (key, value) in
            [("lock_after", accounts.lock_after), ("address_lock_after", accounts.address_lock_after)]
        {
            require((1..=100_000).contains(&value), "accounts", key, "must be 1 to 100000");
        }
        for (key, value) in
            [("lock_seconds", accounts.lock_seconds), ("lock_seconds_max", accounts.lock_seconds_max)]
        {
            require((1..=86_400).contains(&value), "accounts", key, "must be 1 to 86400 seconds");
        }
        require(accounts.hash_threads <= 1_024, "accounts", "hash_threads", "must be 0 to 1024");
        let waiting = accounts.hashes_waiting_max <= 100_000;
        require(waiting, "accounts", "hashes_waiting_max", "must be 0 to 100000");

        let mfa = &self.mfa;
        let fresh = (60..=86_400).contains(&mfa.fresh_seconds);
        require(fresh, "mfa", "fresh_seconds", "must be 60 to 86400 seconds");
        let issuer = (1..=64).contains(&mfa.issuer.len())
            && !mfa.issuer.contains(|letter: char| letter == ':' || letter.is_control());
        require(issuer, "mfa", "issuer", "must have 1 to 64 bytes and no colon");

        let oauth = &self.oauth;
        let algorithms = &oauth.signing_algorithms;
        let distinct = algorithms.iter().enumerate().all(|(at, one)| !algorithms[..at].contains(one));
        let message = "must name one or more of RS256, ES256 and EdDSA, each once";
        require(!algorithms.is_empty() && distinct, "oauth", "signing_algorithms", message);
        for (name, seconds, min, max) in [
            ("access_token_seconds", oauth.access_token_seconds, 30, 3600),
            ("code_seconds", oauth.code_seconds, 1, 600),
            ("refresh_idle_seconds", oauth.refresh_idle_seconds, 60, YEAR_S),
            ("refresh_life_seconds", oauth.refresh_life_seconds, 60, 10 * YEAR_S),
            ("refresh_retry_seconds", oauth.refresh_retry_seconds, 0, 60),
            ("key_seconds", oauth.key_seconds, 2, YEAR_S),
            ("key_publish_seconds", oauth.key_publish_seconds, 1, oauth.key_seconds),
        ] {
            let message = format!("must be between {min} and {max}");
            require((min..=max).contains(&seconds), "oauth", name, &message);
        }
        if let Some(message) = super::provider::wrong(&self.upstream.providers) {
            require(false, "upstream", "providers", &message);
        }
        for (key, message) in self.sms.wrong() {
            require(false, "sms", key, message);
        }
        let mail = &self.mail;
        let host = mail.host.len() <= 255
            && mail.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte));
        require(host, "mail", "host", "must be empty or the name or address of a host");
        let is_local = matches!(mail.host.as_str(), "" | "localhost" | "127.0.0.1" | "::1");
        let safe = mail.tls != super::MailTls::None || is_local;
        require(
            safe,
            "mail",
            "tls",
            "must be `implicit` or `starttls`: letters hold secrets, and the relay is not on this machine",
        );
        let from = mail.from.contains('@') || mail.from.is_empty() && mail.host.is_empty();
        require(from, "mail", "from", "must be an address, e.g. `TwinMCP <no-reply@example.com>`");
        let password = mail.user.is_empty() == mail.password_file.as_os_str().is_empty();
        require(password, "mail", "password_file", "must be set together with `mail.user`");

        let audit = &self.audit;
        let entries = (1_000..=10_000_000).contains(&audit.entries_max);
        require(entries, "audit", "entries_max", "must be 1000 to 10000000");
        require((1..=36_600).contains(&audit.days_max), "audit", "days_max", "must be 1 to 36600 days");

        let telemetry = &self.telemetry;
        let filter = tracing_subscriber::EnvFilter::try_new(&telemetry.log).is_ok();
        require(filter, "telemetry", "log", "must be a level (error, warn, info, debug, trace) or a filter");
        let endpoint = &telemetry.otlp_endpoint;
        let url = endpoint.is_empty()
            || reqwest::Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        require(url, "telemetry", "otlp_endpoint", "must be empty or an http or https URL");
        let share = (0.0..=1.0).contains(&telemetry.otlp_share);
        require(share, "telemetry", "otlp_share", "must be 0 to 1");
    }
}
