//! Upgrades of vectors as health and libraries show them.

use poem_openapi::Object;
use poem_openapi::types::Example;
use twinmcp_actors::embedding::{first_of, second_of, space};
use twinmcp_actors::upgrade::{UpgradeState, UpgradeStatus};
use twinmcp_actors::{EndpointUpgrades, Upgrades};
use twinmcp_storage::libraries::VersionManifest;

/// How far the documentation has better vectors.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct UpgradeRecord {
    /// `off` (no model is named), `starting`, `idle`, `working`, or `unusable` with `reason`.
    state: String,
    /// Why the model cannot be used, or why the last upgrade failed.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
    /// The embedder documentation is upgraded to.
    #[oai(skip_serializing_if_is_none)]
    embedder: Option<String>,
    /// The library that is being upgraded.
    #[oai(skip_serializing_if_is_none)]
    library: Option<String>,
    /// Its version.
    #[oai(skip_serializing_if_is_none)]
    version: Option<String>,
    /// How far that version is.
    #[oai(skip_serializing_if_is_none)]
    percent: Option<u8>,
    /// Versions that wait.
    waiting: u64,
}

impl From<UpgradeStatus> for UpgradeRecord {
    fn from(status: UpgradeStatus) -> Self {
        let (state, reason) = match status.state {
            UpgradeState::Off => ("off", None),
            UpgradeState::Starting => ("starting", None),
            UpgradeState::Idle => ("idle", None),
            UpgradeState::Working => ("working", None),
            UpgradeState::Unusable(reason) => ("unusable", Some(reason)),
        };
        let percent = status.current.as_ref().map(|current| current.percent());
        let (library, version) =
            status.current.map(|current| (current.library.to_string(), current.version.to_string())).unzip();
        Self {
            state: state.to_owned(),
            reason: reason.or(status.trouble),
            embedder: status.embedder,
            library,
            version,
            percent,
            waiting: status.waiting as u64,
        }
    }
}

impl Example for UpgradeRecord {
    fn example() -> Self {
        Self {
            state: "working".to_owned(),
            reason: None,
            embedder: Some("twinmcp-static-128-v1+transformer-v2-6a1f0c93b2d7".to_owned()),
            library: Some("/python/cpython".to_owned()),
            version: Some("v3.12".to_owned()),
            percent: Some(63),
            waiting: 2,
        }
    }
}

/// The embedding service of the configuration.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct EmbeddingsRecord {
    /// What its vectors are called in an index.
    id: String,
    /// `ok`, or `failing`: questions are answered by words and built-in vectors until it answers again.
    status: String,
    /// Why the last question had no vector of it.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
    /// How far documentation has its vectors.
    upgrade: UpgradeRecord,
}

impl EmbeddingsRecord {
    pub(super) fn new(endpoint: &EndpointUpgrades, status: UpgradeStatus) -> Self {
        let health = endpoint.health();
        Self {
            id: health.id,
            status: if health.trouble.is_none() { "ok" } else { "failing" }.to_owned(),
            reason: health.trouble,
            upgrade: status.into(),
        }
    }
}

impl Example for EmbeddingsRecord {
    fn example() -> Self {
        Self {
            id: "endpoint/text-embedding-3-small/1536".to_owned(),
            status: "ok".to_owned(),
            reason: None,
            upgrade: UpgradeRecord::example(),
        }
    }
}

/// What this node knows of vectors, read once for one answer.
pub(super) struct Vectors {
    table: UpgradeStatus,
    /// What the embedding service's vectors are called, and how far they are.
    service: Option<(String, UpgradeStatus)>,
}

impl Vectors {
    pub(super) fn of(upgrades: &Upgrades, endpoint: Option<&EndpointUpgrades>) -> Self {
        let service = endpoint.map(|endpoint| (endpoint.id().to_owned(), endpoint.status()));
        Self { table: upgrades.status(), service }
    }

    /// Which vectors a version is searched by, for people.
    pub(super) fn search_mode(&self, manifest: &VersionManifest) -> String {
        let service = self.service.as_ref();
        let statuses = std::iter::once(&self.table).chain(service.map(|(_, status)| status));
        let mut running = statuses.filter_map(|status| status.current.as_ref());
        let running = running.find(|one| one.library == manifest.library && one.version == manifest.version);
        let first = first_of(&manifest.embedder);
        let by_service =
            second_of(&manifest.embedder).zip(service).is_some_and(|(second, (id, _))| second == id);
        match running {
            Some(progress) => format!("upgrading {} %", progress.percent()),
            // Vectors of a service that is not asked any more are not looked at.
            None if by_service => "endpoint".to_owned(),
            None if space(first) != first => "upgraded".to_owned(),
            None => "static".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_actors::upgrade::UpgradeProgress;
    use twinmcp_storage::clock::Timestamp;

    use super::*;

    fn manifest(version: &str, embedder: &str) -> VersionManifest {
        VersionManifest {
            library: "/a/b".parse().unwrap(),
            version: version.parse().unwrap(),
            bundle: String::new(),
            bundle_bytes: 0,
            pages: 0,
            snippets: 0,
            tokens: 0,
            embedder: embedder.to_owned(),
            job: "job_01hzy3k8w0abcdefghjkmnpqrs".parse().unwrap(),
            indexed_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn a_version_shows_the_vectors_it_is_searched_by() {
        let current = UpgradeProgress {
            library: "/a/b".parse().unwrap(),
            version: "2".parse().unwrap(),
            done: 63,
            total: 100,
        };
        let table = UpgradeStatus { current: Some(current.clone()), ..UpgradeStatus::default() };
        let current = UpgradeProgress { version: "3".parse().unwrap(), done: 7, ..current };
        let service = UpgradeStatus { current: Some(current), ..UpgradeStatus::default() };
        let vectors = Vectors { table, service: Some(("service".to_owned(), service)) };
        for (version, embedder, mode) in [
            ("1", "table", "static"),
            ("1", "table+model", "upgraded"),
            ("2", "table", "upgrading 63 %"),
            ("1", "table & service", "endpoint"),
            ("1", "table+model & service", "endpoint"),
            ("1", "table & the service before", "static"),
            ("3", "table", "upgrading 7 %"),
        ] {
            assert_eq!(vectors.search_mode(&manifest(version, embedder)), mode, "{version} {embedder}");
        }
        let without = Vectors { service: None, ..vectors };
        assert_eq!(without.search_mode(&manifest("1", "table & service")), "static");
    }

    #[test]
    fn a_model_that_cannot_be_used_is_told_with_its_reason() {
        let state = UpgradeState::Unusable("`/m/config.json` is missing".to_owned());
        let record = UpgradeRecord::from(UpgradeStatus { state, ..UpgradeStatus::default() });
        assert_eq!(
            (record.state.as_str(), record.reason.as_deref()),
            ("unusable", Some("`/m/config.json` is missing"))
        );
        assert_eq!(UpgradeRecord::from(UpgradeStatus::default()).state, "off");
    }
}
