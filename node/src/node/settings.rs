//! What the configuration means to the actors.

use std::net::SocketAddr;
use std::time::Duration;

use twinmcp_actors::ingest::fetch::FetchConfig;
use twinmcp_actors::oauth::RotationConfig;
use twinmcp_actors::outbound::OutboundConfig;
use twinmcp_actors::usage::{self, Limits};
use twinmcp_actors::{
    AccountsConfig, ActorsConfig, BundlesConfig, JobsConfig, OauthConfig, SupervisionConfig, UpgradeConfig,
};
use twinmcp_cluster::ClusterKeys;
use twinmcp_cluster::membership::Keep;

use crate::config::{Config, KeepPolicy};
use crate::public_url;

/// Names of actors are global to the process, which may run several nodes: the port tells them apart.
pub(super) fn actors_config(config: &Config, address: SocketAddr, keys: ClusterKeys) -> ActorsConfig {
    ActorsConfig {
        node: format!("{}:{}", config.node.name, address.port()),
        data_dir: config.node.data_dir.clone(),
        jobs: JobsConfig {
            workers: config.ingest.jobs_running_max,
            folders: config.ingest.folders.clone(),
            upload_bytes_max: config.ingest.upload_bytes_max,
            fetch: fetch_config(config),
            lease: Duration::from_millis(config.ingest.lease_ms),
            lost_after: Duration::from_millis(config.ingest.lost_after_ms),
            finish: Duration::from_millis(config.http.drain_timeout_ms),
            ..JobsConfig::default()
        },
        upgrade: UpgradeConfig {
            model: Some(config.ingest.upgrade_model.clone()).filter(|folder| !folder.as_os_str().is_empty()),
            cpu_percent: config.ingest.upgrade_cpu_percent,
            cache_bytes_max: config.ingest.upgrade_cache_bytes,
        },
        accounts: AccountsConfig::default(),
        outbound: outbound_config(config),
        endpoint: None,
        bundles: BundlesConfig::default(),
        supervision: SupervisionConfig::default(),
        oauth: oauth_config(config, address),
        providers: Vec::new(),
        keys,
    }
}

fn oauth_config(config: &Config, address: SocketAddr) -> OauthConfig {
    let oauth = &config.oauth;
    let seconds = Duration::from_secs;
    OauthConfig {
        algorithms: oauth.signing_algorithms.iter().map(|named| named.0).collect(),
        access: seconds(oauth.access_token_seconds),
        code: seconds(oauth.code_seconds),
        refresh_idle: seconds(oauth.refresh_idle_seconds),
        refresh_absolute: seconds(oauth.refresh_life_seconds),
        refresh_again: seconds(oauth.refresh_retry_seconds),
        registration: oauth.registration,
        rotation: RotationConfig {
            sign: seconds(oauth.key_seconds),
            publish: seconds(oauth.key_publish_seconds),
        },
        ..OauthConfig::new(public_url::of(&config.http.public_url, address))
    }
}

pub(super) fn bundles_config(config: &Config) -> BundlesConfig {
    let bundles = &config.bundles;
    BundlesConfig {
        keep: match bundles.keep {
            KeepPolicy::Everywhere => Keep::Everywhere,
            KeepPolicy::Region => Keep::Region { copies: bundles.copies_per_region },
            KeepPolicy::OnDemand => Keep::OnDemand,
        },
        disk_bytes_max: bundles.disk_bytes_max,
        replace_after: Duration::from_millis(bundles.replace_after_ms),
        garbage_grace: Duration::from_millis(bundles.garbage_grace_ms),
        look_every: Duration::from_millis(bundles.look_every_ms),
        fetch_bytes_per_s_max: bundles.fetch_bytes_per_s_max,
        send_bytes_per_s_max: bundles.send_bytes_per_s_max,
        bucket: None,
    }
}

fn outbound_config(config: &Config) -> OutboundConfig {
    let outbound = &config.outbound;
    // Checked with the configuration: each of them is a network.
    let networks = outbound.allowed_networks.iter().filter_map(|network| network.parse().ok());
    OutboundConfig {
        contact_url: outbound.contact_url.clone(),
        allowed_hosts: outbound.allowed_hosts.clone(),
        allowed_networks: networks.collect(),
        allow_http: outbound.allow_http,
        connect_timeout: Duration::from_millis(outbound.connect_timeout_ms),
        request_timeout: Duration::from_millis(outbound.request_timeout_ms),
        idle_timeout: Duration::from_millis(outbound.idle_timeout_ms),
        body_bytes_max: outbound.body_bytes_max,
        redirects_max: outbound.redirects_max,
        ..OutboundConfig::default()
    }
}

fn fetch_config(config: &Config) -> FetchConfig {
    let fetch = &config.fetch;
    FetchConfig {
        pages_max: fetch.pages_max,
        bytes_max: fetch.bytes_max,
        depth_max: fetch.depth_max,
        timeout: Duration::from_millis(fetch.timeout_ms),
        requests_per_second: fetch.requests_per_second,
        in_flight_max: fetch.in_flight_max,
        cache_bytes_max: fetch.cache_bytes_max,
        git_bytes_max: fetch.git_bytes_max,
        git_timeout: Duration::from_millis(fetch.git_timeout_ms),
    }
}

pub(super) fn limits(config: &Config) -> Limits {
    Limits::new(&usage::LimitsConfig {
        anonymous_per_minute: config.limits.anonymous_per_minute,
        anonymous_burst: config.limits.anonymous_burst,
        key_per_minute: config.limits.key_per_minute,
        key_burst: config.limits.key_burst,
        oauth_per_minute: config.limits.oauth_per_minute,
        oauth_burst: config.limits.oauth_burst,
    })
}
