//! Libraries over HTTP: what is documented here, what is told about it, and how it goes away.

use std::collections::BTreeMap;

use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use twinmcp_actors::catalogue::CatalogueError;
use twinmcp_actors::libraries::{LibrariesError, LibraryView};
use twinmcp_actors::{Catalogue, EndpointUpgrades, Libraries, Refresh, Search, Upgrades};
use twinmcp_storage::api_keys::Scope;
use twinmcp_storage::catalogue::Known;
use twinmcp_storage::ids::{LibraryId, LibraryRef};
use twinmcp_storage::jobs::{Revision, Source};
use twinmcp_storage::libraries::VersionManifest;

use super::Tag;
use super::body::JsonBody;
use super::error::ApiError;
use super::failures::invalid_id;
use super::upgrade::Vectors;
use crate::http::{Caller, Reader};

/// Libraries of one answer, at most.
const PAGE_ITEMS_MAX: usize = 100;

/// One published version.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct VersionRecord {
    /// Its name.
    version: String,
    /// Pages in it.
    pages: u32,
    /// Snippets in it.
    snippets: u32,
    /// Tokens of all snippets.
    tokens: u64,
    /// BLAKE3 of the bundle it is answered from.
    bundle: String,
    /// Size of that bundle, in bytes.
    bundle_bytes: u64,
    /// The embedder its vectors come from.
    embedder: String,
    /// Which vectors it is searched by: `static`, `upgraded`, `endpoint` (vectors of the embedding
    /// service), or `upgrading 63 %` while this node makes better ones.
    search_mode: String,
    /// The job that built it.
    job: String,
    /// When it was published, RFC 3339.
    indexed_at: String,
    /// When its source was last read, RFC 3339; later than `indexed_at` when nothing had changed.
    #[oai(skip_serializing_if_is_none)]
    checked_at: Option<String>,
    /// What it was read from.
    #[oai(skip_serializing_if_is_none)]
    source: Option<String>,
}

impl VersionRecord {
    fn of(manifest: &VersionManifest, vectors: &Vectors) -> Self {
        Self {
            version: manifest.version.to_string(),
            pages: manifest.pages,
            snippets: manifest.snippets,
            tokens: manifest.tokens,
            bundle: manifest.bundle.clone(),
            bundle_bytes: manifest.bundle_bytes,
            embedder: manifest.embedder.clone(),
            search_mode: vectors.search_mode(manifest),
            job: manifest.job.to_string(),
            indexed_at: manifest.indexed_at.to_string(),
            checked_at: None,
            source: None,
        }
    }
}

impl Example for VersionRecord {
    fn example() -> Self {
        Self {
            version: "v3.12".to_owned(),
            pages: 493,
            snippets: 6_621,
            tokens: 1_204_331,
            bundle: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".to_owned(),
            bundle_bytes: 18_350_080,
            embedder: "twinmcp-static-128-v1".to_owned(),
            search_mode: "upgrading 63 %".to_owned(),
            job: "job_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned(),
            indexed_at: "2026-11-23T12:46:10.123Z".to_owned(),
            checked_at: Some("2026-11-24T12:46:10.123Z".to_owned()),
            source: Some("an archive that was sent: docs.tar.zst".to_owned()),
        }
    }
}

/// One library.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct LibraryRecord {
    /// Its id.
    id: String,
    /// Name for people.
    title: String,
    /// One or two sentences.
    description: String,
    /// Other names people use for it.
    aliases: Vec<String>,
    /// Where its source lives.
    #[oai(skip_serializing_if_is_none)]
    source_url: Option<String>,
    /// Hints for agents.
    rules: Vec<String>,
    /// How far the operator trusts the source, 0 to 10.
    #[oai(skip_serializing_if_is_none)]
    trust: Option<f64>,
    /// The version that answers when none is named.
    #[oai(skip_serializing_if_is_none)]
    current_version: Option<String>,
    /// Published versions, the newest first; none while it is only known by name.
    versions: Vec<VersionRecord>,
    /// The registry the catalogue has it from.
    #[oai(skip_serializing_if_is_none)]
    ecosystem: Option<String>,
    /// How many use it, 0 to 100, by the catalogue.
    #[oai(skip_serializing_if_is_none)]
    popularity: Option<u8>,
    /// Versions its registry has, by the catalogue.
    #[oai(skip_serializing_if_is_none)]
    known_versions: Option<Vec<String>>,
    /// How often its source is read again, e.g. `7d`; absent = only when somebody asks.
    #[oai(skip_serializing_if_is_none)]
    refresh_every: Option<String>,
    /// How many snippets of the current version the scan for text aimed at models labelled, for each label; not in lists.
    #[oai(skip_serializing_if_is_none)]
    labelled: Option<BTreeMap<String, u32>>,
    /// When it was made, RFC 3339.
    created_at: String,
    /// When it last changed, RFC 3339.
    updated_at: String,
}

impl LibraryRecord {
    /// What is known by name, where nothing is published.
    fn of_known(known: &Known) -> Self {
        let entry = &known.entry;
        let record = Self {
            id: entry.id.to_string(),
            title: entry.title.clone(),
            description: entry.description.clone(),
            aliases: entry.aliases.clone(),
            source_url: None,
            rules: Vec::new(),
            trust: None,
            current_version: None,
            versions: Vec::new(),
            ecosystem: None,
            popularity: None,
            known_versions: None,
            refresh_every: None,
            labelled: None,
            created_at: known.updated_at.to_string(),
            updated_at: known.updated_at.to_string(),
        };
        record.with_known(Some(known))
    }

    /// With what the catalogue says beside the library itself.
    fn with_known(mut self, known: Option<&Known>) -> Self {
        let Some(entry) = known.map(|known| &known.entry) else { return self };
        self.ecosystem = Some(entry.ecosystem.clone()).filter(|ecosystem| !ecosystem.is_empty());
        self.popularity = entry.popularity;
        let versions: Vec<String> = entry.versions.iter().map(ToString::to_string).collect();
        self.known_versions = Some(versions).filter(|versions| !versions.is_empty());
        self
    }

    fn of(view: &LibraryView, vectors: &Vectors) -> Self {
        let library = &view.library;
        Self {
            id: library.id.to_string(),
            title: library.facts.title.clone(),
            description: library.facts.description.clone(),
            aliases: library.facts.aliases.clone(),
            source_url: library.facts.source_url.clone(),
            rules: library.facts.rules.clone(),
            trust: library.trust_tenths.map(|tenths| f64::from(tenths) / 10.0),
            current_version: library.current.as_ref().map(ToString::to_string),
            versions: view.versions.iter().map(|manifest| VersionRecord::of(manifest, vectors)).collect(),
            ecosystem: None,
            popularity: None,
            known_versions: None,
            refresh_every: None,
            labelled: None,
            created_at: library.created_at.to_string(),
            updated_at: library.updated_at.to_string(),
        }
    }
}

impl Example for LibraryRecord {
    fn example() -> Self {
        Self {
            id: "/python/cpython".to_owned(),
            title: "Python".to_owned(),
            description: "The Python programming language and its standard library.".to_owned(),
            aliases: vec!["python3".to_owned()],
            source_url: Some("https://github.com/python/cpython".to_owned()),
            rules: Vec::new(),
            trust: Some(9.0),
            current_version: Some("v3.12".to_owned()),
            versions: vec![VersionRecord::example()],
            ecosystem: Some("pypi".to_owned()),
            popularity: Some(99),
            known_versions: Some(vec!["v3.14".to_owned(), "v3.12".to_owned()]),
            refresh_every: Some("7d".to_owned()),
            labelled: Some(BTreeMap::from([("hidden_text".to_owned(), 2)])),
            created_at: "2026-11-20T08:00:00.000Z".to_owned(),
            updated_at: "2026-11-23T12:46:10.123Z".to_owned(),
        }
    }
}

/// Libraries by id.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct LibraryPage {
    /// The libraries of this page.
    libraries: Vec<LibraryRecord>,
    /// What to send as `after` for the next page; absent on the last.
    #[oai(skip_serializing_if_is_none)]
    next: Option<String>,
}

impl Example for LibraryPage {
    fn example() -> Self {
        Self { libraries: vec![LibraryRecord::example()], next: Some("/python/cpython".to_owned()) }
    }
}

/// What is to be told about a library; absent fields stay as they are.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct LibraryChange {
    /// Name for people, up to 200 bytes.
    #[oai(default, validator(min_length = 1, max_length = 200))]
    title: Option<String>,
    /// One or two sentences, up to 2,000 bytes.
    #[oai(default, validator(max_length = 2000))]
    description: Option<String>,
    /// Other names people use for it, up to 50.
    #[oai(default, validator(max_items = 50))]
    aliases: Option<Vec<String>>,
    /// Where its source lives.
    #[oai(default, validator(max_length = 2000))]
    source_url: Option<String>,
    /// Hints for agents, up to 50.
    #[oai(default, validator(max_items = 50))]
    rules: Option<Vec<String>>,
    /// How far the operator trusts the source, 0 to 10. Needs `admin`.
    #[oai(default, validator(minimum(value = "0"), maximum(value = "10")))]
    trust: Option<f64>,
    /// How often its source is to be read again: `1h` to `365d`, or `never`.
    #[oai(default, validator(max_length = 10))]
    refresh_every: Option<String>,
}

impl Example for LibraryChange {
    fn example() -> Self {
        Self {
            title: Some("Python".to_owned()),
            description: None,
            aliases: Some(vec!["python3".to_owned()]),
            source_url: None,
            rules: None,
            trust: Some(9.0),
            refresh_every: Some("7d".to_owned()),
        }
    }
}

#[derive(ApiResponse)]
pub(crate) enum Removed {
    /// It is gone.
    #[oai(status = 204)]
    Done,
}

/// `/api/libraries`.
pub(crate) struct LibrariesApi {
    pub(crate) search: Search,
    pub(crate) libraries: Libraries,
    pub(crate) upgrades: Upgrades,
    pub(crate) endpoint: Option<EndpointUpgrades>,
    pub(crate) catalogue: Catalogue,
    pub(crate) refresh: Refresh,
}

#[OpenApi(prefix_path = "/api/libraries", tag = "Tag::Libraries")]
impl LibrariesApi {
    /// Lists libraries by id.
    ///
    /// Up to 100 a page; `next` of one page is `after` of the next.
    #[oai(path = "/", method = "get", operation_id = "list_libraries")]
    async fn list(
        &self,
        _reader: Reader,
        /// Only libraries after this id.
        #[oai(example = "after_example")]
        after: Query<Option<String>>,
        /// Libraries a page, 1 to 100.
        #[oai(example = "limit_example", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<LibraryPage>, ApiError> {
        let after = after.0.as_deref().map(parse).transpose()?;
        let limit = limit.0.map_or(PAGE_ITEMS_MAX, |limit| limit as usize).min(PAGE_ITEMS_MAX);
        // One more than shown tells whether there is a next page.
        let views = self.libraries.list(after.as_ref(), limit + 1)?;
        let vectors = self.vectors();
        let shown = views.iter().take(limit).map(|view| LibraryRecord::of(view, &vectors));
        let libraries: Vec<LibraryRecord> = shown.collect();
        let next =
            (views.len() > limit).then(|| libraries.last().map(|library| library.id.clone())).flatten();
        Ok(Json(LibraryPage { libraries, next }))
    }

    /// Shows one library with its versions.
    ///
    /// One that is only known by name, from the catalogue, has no `versions` and no `current_version`.
    /// A name with a slash (`/npm/@scope/name`) is sent percent-encoded: `@scope%2Fname`.
    #[oai(path = "/:org/:name", method = "get", operation_id = "get_library")]
    async fn get(
        &self,
        _reader: Reader,
        /// First part of the id.
        #[oai(example = "org_example")]
        org: Path<String>,
        /// The rest of the id.
        #[oai(example = "name_example")]
        name: Path<String>,
    ) -> Result<Json<LibraryRecord>, ApiError> {
        let id = id(&org, &name)?;
        match (self.libraries.get(&id)?, self.catalogue.get(&id)?) {
            (Some(view), _) => Ok(Json(self.whole(&view).await?)),
            (None, Some(known)) => Ok(Json(LibraryRecord::of_known(&known))),
            (None, None) => Err(missing(&id)),
        }
    }

    /// Changes what is told about a library.
    ///
    /// Absent fields stay as they are. Needs `libraries:write` and a library of your own, or `admin`;
    /// `trust` needs `admin`.
    #[oai(path = "/:org/:name", method = "patch", operation_id = "update_library")]
    async fn update(
        &self,
        caller: Caller,
        /// First part of the id.
        #[oai(example = "org_example")]
        org: Path<String>,
        /// The rest of the id.
        #[oai(example = "name_example")]
        name: Path<String>,
        change: JsonBody<LibraryChange>,
    ) -> Result<Json<LibraryRecord>, ApiError> {
        caller.may(Scope::LibrariesWrite)?;
        if change.trust.is_some() {
            caller.may(Scope::Admin)?;
        }
        let id = id(&org, &name)?;
        let known = self.found(&id)?.library;
        let change = change.0;
        let every_s = change.refresh_every.as_deref().map(seconds).transpose()?;
        let mut facts = known.facts;
        facts.title = change.title.unwrap_or(facts.title);
        facts.description = change.description.unwrap_or(facts.description);
        facts.aliases = change.aliases.unwrap_or(facts.aliases);
        facts.source_url = change.source_url.or(facts.source_url);
        facts.rules = change.rules.unwrap_or(facts.rules);
        let trust_tenths = match change.trust {
            Some(trust) => Some(tenths(trust)?),
            None => known.trust_tenths,
        };
        let view = self.libraries.describe(caller.owner(), &id, facts, trust_tenths).await?;
        if let Some(every_s) = every_s {
            self.refresh.plan(&caller.owner(), &id, every_s).await?;
        }
        Ok(Json(self.whole(&view).await?))
    }

    /// Removes a library with all its versions.
    ///
    /// Needs `libraries:write` and a library of your own, or `admin`. What the catalogue knows of it stays; of a
    /// library that is only known by name, the entry is removed (`admin`).
    #[oai(path = "/:org/:name", method = "delete", operation_id = "remove_library")]
    async fn remove(
        &self,
        caller: Caller,
        /// First part of the id.
        #[oai(example = "org_example")]
        org: Path<String>,
        /// The rest of the id.
        #[oai(example = "name_example")]
        name: Path<String>,
    ) -> Result<Removed, ApiError> {
        caller.may(Scope::LibrariesWrite)?;
        let id = id(&org, &name)?;
        match self.libraries.remove(caller.owner(), &id).await {
            Ok(()) => Ok(Removed::Done),
            Err(LibrariesError::NotFound { .. }) if caller.has(Scope::Admin) => {
                match self.catalogue.forget(&id).await {
                    Ok(()) => Ok(Removed::Done),
                    Err(CatalogueError::NotFound { .. }) => Err(missing(&id)),
                    Err(error) => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes one version of a library.
    ///
    /// The greatest of the others answers from then on. Needs `libraries:write` and a library of your own, or `admin`.
    #[oai(path = "/:org/:name/versions/:version", method = "delete", operation_id = "remove_library_version")]
    async fn remove_version(
        &self,
        caller: Caller,
        /// First part of the id.
        #[oai(example = "org_example")]
        org: Path<String>,
        /// The rest of the id.
        #[oai(example = "name_example")]
        name: Path<String>,
        /// The version's name.
        #[oai(example = "version_example")]
        version: Path<String>,
    ) -> Result<Removed, ApiError> {
        caller.may(Scope::LibrariesWrite)?;
        let version = version.parse().map_err(|error| invalid_id(&error))?;
        self.libraries.remove_version(caller.owner(), &id(&org, &name)?, &version).await?;
        Ok(Removed::Done)
    }
}

impl LibrariesApi {
    fn vectors(&self) -> Vectors {
        Vectors::of(&self.upgrades, self.endpoint.as_ref())
    }

    fn found(&self, id: &LibraryId) -> Result<LibraryView, ApiError> {
        self.libraries.get(id)?.ok_or_else(|| missing(id))
    }

    /// A library with all that is known of it.
    async fn whole(&self, view: &LibraryView) -> Result<LibraryRecord, ApiError> {
        let id = &view.library.id;
        let known = self.catalogue.get(id)?;
        let mut record = LibraryRecord::of(view, &self.vectors()).with_known(known.as_ref());
        for origin in self.refresh.origins(id)? {
            let version = record.versions.iter_mut().find(|record| record.version == origin.version.as_str());
            if let Some(version) = version {
                version.checked_at = Some(origin.checked_at.to_string());
                version.source = Some(source_words(&origin.source));
            }
        }
        if view.library.current.is_some() {
            let current = LibraryRef { library: id.clone(), version: None };
            // A bundle that cannot be read is told by questions; the rest of the record is right all the same.
            let counts = self.search.labels(&current).await.ok();
            record.labelled = counts.map(|counts| {
                counts.into_iter().map(|(label, snippets)| (label.name().to_owned(), snippets)).collect()
            });
        }
        record.refresh_every = self.refresh.schedule(id)?.map(|schedule| every_words(schedule.every_s));
        Ok(record)
    }
}

/// What a version was read from, for people.
fn source_words(source: &Source) -> String {
    match source {
        Source::Upload { name, .. } => format!("an archive that was sent: {name}"),
        Source::Folder { .. } => "a folder of the node".to_owned(),
        Source::Web { url } => url.clone(),
        Source::Git { url, revision } => match revision {
            Revision::Head => url.clone(),
            Revision::Tag(tag) => format!("{url} at tag {tag}"),
            Revision::Branch(branch) => format!("{url} at branch {branch}"),
            Revision::Commit(commit) => format!("{url} at {commit}"),
        },
    }
}

/// `24h`, `7d` in seconds; none for `never`.
fn seconds(every: &str) -> Result<Option<u64>, ApiError> {
    let wrong = || ApiError::bad_request("`refresh_every` must be `1h` to `365d`, or `never`.");
    if every == "never" {
        return Ok(None);
    }
    let (number, unit) = every.split_at_checked(every.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_s = match unit {
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    Ok(Some(number.checked_mul(unit_s).ok_or_else(wrong)?))
}

/// Seconds as [`seconds`] reads them.
fn every_words(every_s: u64) -> String {
    if every_s.is_multiple_of(86_400) {
        format!("{}d", every_s / 86_400)
    } else {
        format!("{}h", every_s / 3_600)
    }
}

fn missing(id: &LibraryId) -> ApiError {
    ApiError::not_found("library_not_found", format!("No library `{id}`."))
}

fn id(org: &str, name: &str) -> Result<LibraryId, ApiError> {
    parse(&format!("/{org}/{name}"))
}

fn parse(text: &str) -> Result<LibraryId, ApiError> {
    text.parse().map_err(|error| invalid_id(&error))
}

/// Tenths of a point, 0 to 100.
fn tenths(trust: f64) -> Result<u8, ApiError> {
    if !(0.0..=10.0).contains(&trust) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "validation_error", "`trust` must be 0 to 10."));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 100 after the check above"
    )]
    let tenths = (trust * 10.0).round() as u8;
    Ok(tenths)
}

fn after_example() -> Option<String> {
    Some("/python/cpython".to_owned())
}

fn limit_example() -> Option<u32> {
    Some(20)
}

fn org_example() -> String {
    "python".to_owned()
}

fn name_example() -> String {
    "cpython".to_owned()
}

fn version_example() -> String {
    "v3.11".to_owned()
}
