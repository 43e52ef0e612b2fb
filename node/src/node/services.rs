//! What answers under `/api`, each with the handles it needs.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use twinmcp_actors::Actors;
use twinmcp_actors::embedding::{Embedder, StaticTable};
use twinmcp_cluster::Cluster;
use twinmcp_storage::clock::Clock;

use crate::api::{
    AccountsApi, AddApi, ApiKeysApi, Apis, AppsApi, AuditApi, AuthApi, CatalogueApi, ClientsApi, ClusterApi,
    Context7Api, FORMS_AT_ONCE_MAX, Health, HealthApi, JobsApi, LibrariesApi, MfaApi, OauthApi, PasskeysApi,
    RefreshApi, RotationsApi, RouteApi, SigningKeysApi, SmsApi, TeamBelongingsApi, TeamsApi, Tools, ToolsApi,
    UpstreamApi, UsageApi,
};
use crate::config::Config;
use crate::telemetry::Readiness;

pub(super) fn apis(
    config: &Config,
    actors: &Actors,
    cluster: &Cluster,
    readiness: &Arc<Readiness>,
    clock: &Arc<dyn Clock>,
    (streams, stop): (&Arc<Semaphore>, &CancellationToken),
    (cluster_api, rotations_api, route_api): (ClusterApi, RotationsApi, RouteApi),
) -> Apis {
    let tools = Tools::new(actors.search.clone(), actors.usage.clone(), config.search.clone());
    let health = Health {
        node: config.node.name.clone(),
        region: config.node.region.clone(),
        cluster: cluster.clone(),
        supervisor: actors.supervisor.clone(),
        mending: actors.mending.clone(),
        distribution: actors.distribution.clone(),
        readiness: Arc::clone(readiness),
        embedder: StaticTable::builtin().id().to_owned(),
        upgrades: actors.upgrades.clone(),
        endpoint: actors.endpoint.clone(),
        libraries: actors.libraries.clone(),
    };
    (
        Context7Api { tools: tools.clone() },
        AddApi {
            jobs: actors.jobs.clone(),
            libraries: actors.libraries.clone(),
            forms: Semaphore::new(FORMS_AT_ONCE_MAX),
        },
        ToolsApi { tools },
        LibrariesApi {
            teams: actors.teams.clone(),
            search: actors.search.clone(),
            libraries: actors.libraries.clone(),
            catalogue: actors.catalogue.clone(),
            refresh: actors.refresh.clone(),
            upgrades: actors.upgrades.clone(),
            endpoint: actors.endpoint.clone(),
        },
        CatalogueApi { catalogue: actors.catalogue.clone() },
        RefreshApi { refresh: actors.refresh.clone() },
        UsageApi { usage: actors.usage.clone(), clock: Arc::clone(clock) },
        JobsApi {
            jobs: actors.jobs.clone(),
            teams: actors.teams.clone(),
            streams: Arc::clone(streams),
            stop: stop.clone(),
        },
        ApiKeysApi { api_keys: actors.api_keys.clone(), clock: Arc::clone(clock) },
        cluster_api,
        rotations_api,
        route_api,
        HealthApi { health },
        (
            AuthApi { accounts: actors.accounts.clone() },
            MfaApi { accounts: actors.accounts.clone() },
            PasskeysApi { accounts: actors.accounts.clone() },
            AccountsApi { accounts: actors.accounts.clone() },
            AppsApi { oauth: actors.oauth.clone() },
            OauthApi {
                oauth: actors.oauth.clone(),
                accounts: actors.accounts.clone(),
                readiness: Arc::clone(readiness),
            },
            ClientsApi { oauth: actors.oauth.clone() },
            SigningKeysApi { oauth: actors.oauth.clone() },
            TeamsApi { teams: actors.teams.clone() },
            TeamBelongingsApi {
                teams: actors.teams.clone(),
                api_keys: actors.api_keys.clone(),
                oauth: actors.oauth.clone(),
                clock: Arc::clone(clock),
            },
            AuditApi { audit: actors.audit.clone() },
            UpstreamApi { upstream: actors.upstream.clone() },
            SmsApi { accounts: actors.accounts.clone() },
        ),
    )
}
