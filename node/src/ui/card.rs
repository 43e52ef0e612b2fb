//! A library in a list.

use twinmcp_actors::libraries::LibraryView;
use twinmcp_actors::search::LibraryMatch;
use twinmcp_storage::ids::LibraryId;

use super::grouped;

/// What a list shows of a library.
pub(super) struct Card {
    pub(super) href: String,
    pub(super) id: String,
    pub(super) title: String,
    pub(super) description: String,
    /// Short facts: version, size, why it is in the answer.
    pub(super) facts: Vec<String>,
}

/// The page of a library.
pub(super) fn href(id: &LibraryId) -> String {
    // An id's characters need no escaping in a path.
    format!("/libraries{id}")
}

impl From<&LibraryView> for Card {
    fn from(view: &LibraryView) -> Self {
        let library = &view.library;
        let current = view.versions.iter().find(|version| Some(&version.version) == library.current.as_ref());
        let facts = current.map(|current| {
            [
                format!("version {}", current.version),
                counted(view.versions.len(), "version"),
                counted(current.snippets, "snippet"),
            ]
        });
        Self {
            href: href(&library.id),
            id: library.id.to_string(),
            title: library.facts.title.clone(),
            description: library.facts.description.clone(),
            facts: facts.into_iter().flatten().collect(),
        }
    }
}

impl From<&LibraryMatch> for Card {
    fn from(found: &LibraryMatch) -> Self {
        let library = &found.library;
        let version = library.current.as_ref().map(|version| format!("version {version}"));
        Self {
            href: href(&library.id),
            id: library.id.to_string(),
            title: library.title.clone(),
            description: library.description.clone(),
            facts: version.into_iter().chain(found.reasons.iter().map(ToString::to_string)).collect(),
        }
    }
}

/// `1 page`, `1,200 pages`.
pub(super) fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}
