//! One library as search results show it, and as `resolve` ranks it: from what is published of it here
//! and from what the catalogue knows of it.

use twinmcp_storage::catalogue::{self, Known};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::{LibraryId, Version};
use twinmcp_storage::libraries::{self, Library, compare_versions};

use super::resolve::Entry;

/// A library as search results show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibrarySummary {
    /// Its id.
    pub id: LibraryId,
    /// Name for people.
    pub title: String,
    /// One or two sentences.
    pub description: String,
    /// Where its source lives.
    pub source_url: Option<String>,
    /// How far the operator trusts it, in tenths of a point.
    pub trust_tenths: Option<u8>,
    /// The version answered when none is asked for.
    pub current: Option<Version>,
    /// Published versions, the greatest first; of a library that is not indexed, those it is known to have.
    pub versions: Vec<Version>,
    /// Pages of the current version.
    pub pages: u32,
    /// Snippets of the current version.
    pub snippets: u32,
    /// Tokens of the current version.
    pub tokens: u64,
    /// When its facts or versions last changed.
    pub updated_at: Timestamp,
}

impl LibrarySummary {
    /// The library as it is published.
    pub(super) fn read(reader: &dyn Reader, library: &Library) -> Result<Self, StorageError> {
        let mut manifests = libraries::versions(reader, &library.id)?;
        manifests.sort_by(|one, other| compare_versions(&other.version, &one.version));
        let current = manifests.iter().find(|manifest| Some(&manifest.version) == library.current.as_ref());
        Ok(Self {
            id: library.id.clone(),
            title: library.facts.title.clone(),
            description: library.facts.description.clone(),
            source_url: library.facts.source_url.clone(),
            trust_tenths: library.trust_tenths,
            current: library.current.clone(),
            pages: current.map_or(0, |current| current.pages),
            snippets: current.map_or(0, |current| current.snippets),
            tokens: current.map_or(0, |current| current.tokens),
            versions: manifests.into_iter().map(|manifest| manifest.version).collect(),
            updated_at: library.updated_at,
        })
    }

    /// A library that is known by name, and not indexed.
    pub(super) fn known(known: Known) -> Self {
        let Known { entry, updated_at } = known;
        Self {
            id: entry.id,
            title: entry.title,
            description: entry.description,
            source_url: None,
            trust_tenths: None,
            current: None,
            versions: entry.versions,
            pages: 0,
            snippets: 0,
            tokens: 0,
            updated_at,
        }
    }
}

/// The library as `resolve` ranks it: what its source says, with what its registry says beside it.
pub(super) fn published_entry(
    library: &Library,
    summary: &LibrarySummary,
    known: Option<&catalogue::Entry>,
) -> Entry {
    let (owner, ecosystem) = (library.id.owner(), known.map(|known| known.ecosystem.clone()));
    let mut aliases = library.facts.aliases.clone();
    let more = known.map(|known| known.aliases.as_slice()).unwrap_or_default();
    aliases.extend(more.iter().filter(|alias| !library.facts.aliases.contains(alias)).cloned());
    // `/python/cpython` is what somebody means who types `python`.
    if !ECOSYSTEMS.contains(&owner) && !aliases.iter().any(|alias| alias == owner) {
        aliases.push(owner.to_owned());
    }
    Entry {
        id: library.id.clone(),
        title: summary.title.clone(),
        description: summary.description.clone(),
        aliases,
        ecosystem: ecosystem.filter(|name| !name.is_empty()).unwrap_or_else(|| owner.to_owned()),
        popularity: known.and_then(|known| known.popularity),
        trust_tenths: library.trust_tenths,
        snippets: u64::from(summary.snippets),
    }
}

/// A library that is known by name, as `resolve` ranks it; public for `examples/resolve_eval`.
pub fn known_entry(entry: catalogue::Entry) -> Entry {
    Entry {
        id: entry.id,
        title: entry.title,
        description: entry.description,
        aliases: entry.aliases,
        ecosystem: entry.ecosystem,
        popularity: entry.popularity,
        trust_tenths: None,
        snippets: 0,
    }
}

/// Owners that say where a library comes from, not whose it is.
const ECOSYSTEMS: &[&str] = &["crates", "npm", "pypi", "packages", "docs", "websites", "llmstxt"];
