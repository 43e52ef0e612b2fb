//! Records of libraries, and their words for people: versions, what they were read from, how often.

use std::collections::BTreeMap;

use poem::http::StatusCode;
use poem_openapi::Object;
use poem_openapi::types::Example;
use twinmcp_actors::libraries::LibraryView;
use twinmcp_storage::catalogue::Known;
use twinmcp_storage::jobs::{Revision, Source};
use twinmcp_storage::libraries::{VersionManifest, Visibility};

use super::super::error::ApiError;
use super::super::upgrade::Vectors;

/// One published version.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct VersionRecord {
    /// Its name.
    pub(super) version: String,
    /// Pages in it.
    pub(super) pages: u32,
    /// Snippets in it.
    pub(super) snippets: u32,
    /// Tokens of all snippets.
    pub(super) tokens: u64,
    /// BLAKE3 of the bundle it is answered from.
    pub(super) bundle: String,
    /// Size of that bundle, in bytes.
    pub(super) bundle_bytes: u64,
    /// The embedder its vectors come from.
    pub(super) embedder: String,
    /// Which vectors it is searched by: `static`, `upgraded`, `endpoint` (vectors of the embedding
    /// service), or `upgrading 63 %` while this node makes better ones.
    pub(super) search_mode: String,
    /// The job that built it.
    pub(super) job: String,
    /// When it was published, RFC 3339.
    pub(super) indexed_at: String,
    /// When its source was last read, RFC 3339; later than `indexed_at` when nothing had changed.
    #[oai(skip_serializing_if_is_none)]
    pub(super) checked_at: Option<String>,
    /// What it was read from.
    #[oai(skip_serializing_if_is_none)]
    pub(super) source: Option<String>,
}

impl VersionRecord {
    pub(super) fn of(manifest: &VersionManifest, vectors: &Vectors) -> Self {
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
    pub(super) id: String,
    /// Name for people.
    pub(super) title: String,
    /// One or two sentences.
    pub(super) description: String,
    /// Other names people use for it.
    pub(super) aliases: Vec<String>,
    /// Where its source lives.
    #[oai(skip_serializing_if_is_none)]
    pub(super) source_url: Option<String>,
    /// Hints for agents.
    pub(super) rules: Vec<String>,
    /// How far the operator trusts the source, 0 to 10.
    #[oai(skip_serializing_if_is_none)]
    pub(super) trust: Option<f64>,
    /// The version that answers when none is named.
    #[oai(skip_serializing_if_is_none)]
    pub(super) current_version: Option<String>,
    /// Published versions, the newest first; none while it is only known by name.
    pub(super) versions: Vec<VersionRecord>,
    /// The registry the catalogue has it from.
    #[oai(skip_serializing_if_is_none)]
    pub(super) ecosystem: Option<String>,
    /// How many use it, 0 to 100, by the catalogue.
    #[oai(skip_serializing_if_is_none)]
    pub(super) popularity: Option<u8>,
    /// Versions its registry has, by the catalogue.
    #[oai(skip_serializing_if_is_none)]
    pub(super) known_versions: Option<Vec<String>>,
    /// How often its source is read again, e.g. `7d`; absent = only when somebody asks.
    #[oai(skip_serializing_if_is_none)]
    pub(super) refresh_every: Option<String>,
    /// How many snippets of the current version the scan for text aimed at models labelled, for each label; not in lists.
    #[oai(skip_serializing_if_is_none)]
    pub(super) labelled: Option<BTreeMap<String, u32>>,
    /// `public`, or `private`: shown to its owner alone, a person or the members of a team.
    pub(super) visibility: String,
    /// Whose it is, an account; of a private library.
    #[oai(skip_serializing_if_is_none)]
    pub(super) owner: Option<String>,
    /// When it was made, RFC 3339.
    pub(super) created_at: String,
    /// When it last changed, RFC 3339.
    pub(super) updated_at: String,
}

impl LibraryRecord {
    /// What is known by name, where nothing is published.
    pub(super) fn of_known(known: &Known) -> Self {
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
            visibility: words(Visibility::Public).to_owned(),
            owner: None,
            created_at: known.updated_at.to_string(),
            updated_at: known.updated_at.to_string(),
        };
        record.with_known(Some(known))
    }

    /// With what the catalogue says beside the library itself.
    pub(super) fn with_known(mut self, known: Option<&Known>) -> Self {
        let Some(entry) = known.map(|known| &known.entry) else { return self };
        self.ecosystem = Some(entry.ecosystem.clone()).filter(|ecosystem| !ecosystem.is_empty());
        self.popularity = entry.popularity;
        let versions: Vec<String> = entry.versions.iter().map(ToString::to_string).collect();
        self.known_versions = Some(versions).filter(|versions| !versions.is_empty());
        self
    }

    pub(super) fn of(view: &LibraryView, vectors: &Vectors) -> Self {
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
            visibility: words(library.visibility).to_owned(),
            owner: (library.visibility == Visibility::Private).then(|| library.owner.to_string()),
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
            visibility: "public".to_owned(),
            owner: None,
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
    pub(super) libraries: Vec<LibraryRecord>,
    /// What to send as `after` for the next page; absent on the last.
    #[oai(skip_serializing_if_is_none)]
    pub(super) next: Option<String>,
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
    pub(super) title: Option<String>,
    /// One or two sentences, up to 2,000 bytes.
    #[oai(default, validator(max_length = 2000))]
    pub(super) description: Option<String>,
    /// Other names people use for it, up to 50.
    #[oai(default, validator(max_items = 50))]
    pub(super) aliases: Option<Vec<String>>,
    /// Where its source lives.
    #[oai(default, validator(max_length = 2000))]
    pub(super) source_url: Option<String>,
    /// Hints for agents, up to 50.
    #[oai(default, validator(max_items = 50))]
    pub(super) rules: Option<Vec<String>>,
    /// How far the operator trusts the source, 0 to 10. Needs `admin`.
    #[oai(default, validator(minimum(value = "0"), maximum(value = "10")))]
    pub(super) trust: Option<f64>,
    /// How often its source is to be read again: `1h` to `365d`, or `never`.
    #[oai(default, validator(max_length = 10))]
    pub(super) refresh_every: Option<String>,
    /// `public`, or `private`: shown to its owner alone.
    #[oai(default, validator(max_length = 10))]
    pub(super) visibility: Option<String>,
    /// The account it is given to: your own, or a team's that you manage.
    #[oai(default, validator(max_length = 100))]
    pub(super) owner: Option<String>,
}

/// A library to be made before anything of it is indexed.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct LibraryClaim {
    /// Its id: `/org/name`.
    #[oai(validator(min_length = 1, max_length = 240))]
    pub(super) id: String,
    /// The team that owns it, one that you manage; yourself when absent.
    #[oai(default, validator(max_length = 100))]
    pub(super) team: Option<String>,
    /// `public`, or `private`: shown to its owner alone.
    #[oai(validator(max_length = 10))]
    pub(super) visibility: String,
}

impl Example for LibraryClaim {
    fn example() -> Self {
        let team = Some("acct_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned());
        Self { id: "/acme/internal".to_owned(), team, visibility: "private".to_owned() }
    }
}

const fn words(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Private => "private",
    }
}

/// The visibility of this name.
pub(super) fn visibility(text: &str) -> Result<Visibility, ApiError> {
    let known = [Visibility::Public, Visibility::Private].into_iter().find(|known| words(*known) == text);
    known.ok_or_else(|| {
        ApiError::bad_request("`visibility` must be `public` or `private`.").with("field", "visibility")
    })
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
            visibility: None,
            owner: None,
        }
    }
}

/// What a version was read from, for people.
pub(super) fn source_words(source: &Source) -> String {
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
pub(super) fn seconds(every: &str) -> Result<Option<u64>, ApiError> {
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
pub(super) fn every_words(every_s: u64) -> String {
    if every_s.is_multiple_of(86_400) {
        format!("{}d", every_s / 86_400)
    } else {
        format!("{}h", every_s / 3_600)
    }
}

/// Tenths of a point, 0 to 100.
pub(super) fn tenths(trust: f64) -> Result<u8, ApiError> {
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
