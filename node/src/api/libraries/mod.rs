//! Libraries over HTTP: what is documented here, what is told about it, and how it goes away.

mod shapes;

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use twinmcp_actors::catalogue::CatalogueError;
use twinmcp_actors::libraries::{LibrariesError, LibraryView};
use twinmcp_actors::{Catalogue, EndpointUpgrades, Libraries, Owner, Refresh, Search, Teams, Upgrades};
use twinmcp_storage::ids::{LibraryId, LibraryRef};
use twinmcp_storage::scope::Scope;

use self::shapes::{
    LibraryChange, LibraryClaim, LibraryPage, LibraryRecord, every_words, seconds, source_words, tenths,
    visibility,
};
use super::Tag;
use super::body::JsonBody;
use super::error::ApiError;
use super::failures::parse_id;
use super::teams::acting;
use super::upgrade::Vectors;
use crate::http::{Caller, Reader};

/// Libraries of one answer, at most.
const PAGE_ITEMS_MAX: usize = 100;

#[derive(ApiResponse)]
pub(crate) enum Removed {
    /// It is gone.
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
pub(crate) enum Claimed {
    /// The library was made; nothing of it is indexed yet.
    #[oai(status = 201)]
    Library(Json<LibraryRecord>),
}

/// `/api/libraries`.
pub(crate) struct LibrariesApi {
    pub(crate) teams: Teams,
    pub(crate) search: Search,
    pub(crate) libraries: Libraries,
    pub(crate) upgrades: Upgrades,
    pub(crate) endpoint: Option<EndpointUpgrades>,
    pub(crate) catalogue: Catalogue,
    pub(crate) refresh: Refresh,
}

#[OpenApi(prefix_path = "/api/libraries", tag = "Tag::Libraries")]
impl LibrariesApi {
    /// Makes a library before anything of it is indexed.
    ///
    /// So that a private one is never seen by others: index into it afterwards. Needs `libraries:write`; 409 `library_taken` for a name
    /// that somebody has.
    #[oai(path = "/", method = "post", operation_id = "claim_library")]
    async fn claim(&self, caller: Caller, asked: JsonBody<LibraryClaim>) -> Result<Claimed, ApiError> {
        caller.may(Scope::LibrariesWrite)?;
        let (id, visibility) = (parse_id(&asked.id)?, visibility(&asked.visibility)?);
        let account = acting(&self.teams, &caller, asked.team.as_deref())?;
        let view = self.libraries.claim(&caller.owner(), &account, &id, visibility).await?;
        Ok(Claimed::Library(Json(self.whole(&view).await?)))
    }

    /// Lists libraries by id.
    ///
    /// Up to 100 a page; `next` of one page is `after` of the next. Private ones are listed for their own people alone.
    #[oai(path = "/", method = "get", operation_id = "list_libraries")]
    async fn list(
        &self,
        reader: Reader,
        /// Only libraries after this id.
        #[oai(example = "after_example")]
        after: Query<Option<String>>,
        /// Libraries a page, 1 to 100.
        #[oai(example = "limit_example", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
    ) -> Result<Json<LibraryPage>, ApiError> {
        let after = after.0.as_deref().map(parse_id).transpose()?;
        let limit = limit.0.map_or(PAGE_ITEMS_MAX, |limit| limit as usize).min(PAGE_ITEMS_MAX);
        // One more than shown tells whether there is a next page.
        let views = self.libraries.list(reader.owner().as_ref(), after.as_ref(), limit + 1)?;
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
        reader: Reader,
        /// First part of the id.
        #[oai(example = "org_example")]
        org: Path<String>,
        /// The rest of the id.
        #[oai(example = "name_example")]
        name: Path<String>,
    ) -> Result<Json<LibraryRecord>, ApiError> {
        let id = id(&org, &name)?;
        let viewer = reader.owner();
        match (self.libraries.get(viewer.as_ref(), &id)?, self.catalogue.get(&id)?) {
            (Some(view), _) => Ok(Json(self.whole(&view).await?)),
            (None, Some(known)) => Ok(Json(LibraryRecord::of_known(&known))),
            (None, None) => Err(missing(&id)),
        }
    }

    /// Changes what is told about a library.
    ///
    /// Absent fields stay as they are. Needs `libraries:write` and a library of your own or of a team that you manage, or `admin`;
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
        let who = caller.owner();
        let known = self.found(&who, &id)?.library;
        let change = change.0;
        let visibility = change.visibility.as_deref().map(visibility).transpose()?;
        let owner = change.owner.as_deref().map(parse_id).transpose()?;
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
        let mut view = self.libraries.describe(who.clone(), &id, facts, trust_tenths).await?;
        if let Some(every_s) = every_s {
            self.refresh.plan(&who, &id, every_s).await?;
        }
        if let Some(visibility) = visibility {
            view = self.libraries.show(&who, &id, visibility).await?;
        }
        if let Some(owner) = owner {
            view = self.libraries.give(&who, &id, &owner).await?;
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
        let version = parse_id(&version)?;
        self.libraries.remove_version(caller.owner(), &id(&org, &name)?, &version).await?;
        Ok(Removed::Done)
    }
}

impl LibrariesApi {
    fn vectors(&self) -> Vectors {
        Vectors::of(&self.upgrades, self.endpoint.as_ref())
    }

    fn found(&self, who: &Owner, id: &LibraryId) -> Result<LibraryView, ApiError> {
        self.libraries.get(Some(who), id)?.ok_or_else(|| missing(id))
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
            let counts = self.search.labels(Some(&view.library.owner), &current).await.ok();
            record.labelled = counts.map(|counts| {
                counts.into_iter().map(|(label, snippets)| (label.name().to_owned(), snippets)).collect()
            });
        }
        record.refresh_every = self.refresh.schedule(id)?.map(|schedule| every_words(schedule.every_s));
        Ok(record)
    }
}

fn missing(id: &LibraryId) -> ApiError {
    ApiError::not_found("library_not_found", format!("No library `{id}`."))
}

/// The library of two parts of a path.
pub(super) fn id(org: &str, name: &str) -> Result<LibraryId, ApiError> {
    parse_id(&format!("/{org}/{name}"))
}

fn after_example() -> Option<String> {
    Some("/python/cpython".to_owned())
}

fn limit_example() -> Option<u32> {
    Some(20)
}

pub(super) fn org_example() -> String {
    "python".to_owned()
}

pub(super) fn name_example() -> String {
    "cpython".to_owned()
}

fn version_example() -> String {
    "v3.11".to_owned()
}
