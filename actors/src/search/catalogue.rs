//! The libraries of this cluster as `resolve` sees them: summaries and an index over them, in memory,
//! swapped whole. An actor follows the agreed state and makes the next one.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use opentelemetry::global;
use opentelemetry::metrics::Gauge;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use twinmcp_storage::bundle::VectorGraph;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::{LibraryId, Version};
use twinmcp_storage::libraries::{self, Library, compare_versions};
use twinmcp_storage::transaction::Change;

use super::LibraryMatch;
use super::resolve::{Catalogue, Entry};
use crate::context::Context;
use crate::embedding::Embedder;
use crate::supervisor::Child;

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
    /// Published versions, the greatest first.
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
    fn read(reader: &dyn Reader, library: &Library) -> Result<Self, StorageError> {
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
}

/// What `resolve` reads, shared with the actor that replaces it.
#[derive(Clone)]
pub(super) struct SharedCatalogue(Arc<ArcSwap<Known>>);

struct Known {
    libraries: HashMap<LibraryId, Arc<LibrarySummary>>,
    index: Catalogue,
}

impl SharedCatalogue {
    pub(super) fn empty(embedder: &'static dyn Embedder) -> Self {
        let index = Catalogue::build(Vec::new(), embedder);
        Self(Arc::new(ArcSwap::from_pointee(Known { libraries: HashMap::new(), index })))
    }

    /// The libraries that may be meant, best first.
    pub(super) fn resolve(&self, name: &str, query: &str, limit: usize) -> Vec<LibraryMatch> {
        let known = self.0.load();
        let matches = known.index.resolve(name, query, limit);
        let found = matches.into_iter().filter_map(|found| {
            let library = Arc::clone(known.libraries.get(&found.id)?);
            Some(LibraryMatch { library, score: found.score, reasons: found.reasons })
        });
        found.collect()
    }
}

/// The actor that keeps `catalogue` up to date.
pub(super) fn child(context: &Arc<Context>, catalogue: SharedCatalogue) -> Child {
    let for_actor = Arc::clone(context);
    let (child, _) = Child::new("search", &context.node, move || {
        (CatalogueActor { context: Arc::clone(&for_actor), catalogue: catalogue.clone() }, ())
    });
    child
}

/// Changes that come within this time of each other are taken together: a lockfile's worth of
/// libraries published one after the other makes a few catalogues, not hundreds.
const GATHER: Duration = Duration::from_millis(50);
/// Libraries read from the store at a time.
const PAGE: usize = 1_000;
/// Libraries from which a graph over their vectors is worth its minutes of building.
const GRAPH_MIN: usize = 200_000;
/// Where the graph's random choices start: the same on every node.
const GRAPH_SEED: u64 = 1;

enum Message {
    /// The agreed state changed.
    Changed(Arc<[Change]>),
    /// Time to make the next catalogue.
    Refresh,
    /// The graph over the vectors of build number `.0` is ready.
    Graph(u64, Arc<VectorGraph>),
}

struct CatalogueActor {
    context: Arc<Context>,
    catalogue: SharedCatalogue,
}

struct State {
    /// What changed since the last catalogue; nothing in it means nothing is planned.
    pending: Pending,
    /// How often the catalogue was built anew: a graph belongs to one build.
    builds: u64,
    gauges: Gauges,
}

enum Pending {
    Libraries(BTreeSet<LibraryId>),
    Everything,
}

impl Pending {
    fn nothing() -> Self {
        Self::Libraries(BTreeSet::new())
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Self::Libraries(ids) if ids.is_empty())
    }

    fn add(&mut self, change: &Change) {
        match (&mut *self, change) {
            (Self::Libraries(ids), Change::Library(id)) => {
                ids.insert(id.clone());
            }
            (_, Change::Everything) => *self = Self::Everything,
            (Self::Everything, Change::Library(_)) | (_, Change::ApiKey(_) | Change::Job(_)) => {}
        }
    }
}

struct Gauges {
    libraries: Gauge<u64>,
    documents: Gauge<u64>,
    snippets: Gauge<u64>,
    memory: Gauge<u64>,
}

impl Gauges {
    fn new() -> Self {
        let meter = global::meter("twinmcp");
        let gauge = |name, description| meter.u64_gauge(name).with_description(description).build();
        Self {
            libraries: gauge("twinmcp.search.libraries", "Libraries that can be resolved."),
            documents: gauge("twinmcp.search.documents", "Pages of all libraries' current versions."),
            snippets: gauge("twinmcp.search.snippets", "Snippets of all libraries' current versions."),
            memory: meter
                .u64_gauge("twinmcp.search.memory")
                .with_unit("By")
                .with_description("Memory of the resolve index.")
                .build(),
        }
    }

    fn record(&self, known: &Known) {
        let libraries = known.libraries.values();
        self.libraries.record(known.libraries.len() as u64, &[]);
        self.documents.record(libraries.clone().map(|library| u64::from(library.pages)).sum(), &[]);
        self.snippets.record(libraries.map(|library| u64::from(library.snippets)).sum(), &[]);
        self.memory.record(known.index.memory_bytes() as u64, &[]);
    }
}

impl Actor for CatalogueActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        // Subscribed before the first reading, so that nothing falls between.
        let mut changes = self.context.cluster.changes();
        let mut state = State { pending: Pending::Everything, builds: 0, gauges: Gauges::new() };
        self.refresh(&myself, &mut state).await?;
        tokio::spawn(async move {
            while let Some(changed) = changes.next().await {
                if myself.send_message(Message::Changed(changed)).is_err() {
                    break; // The actor ended; the next one subscribes anew.
                }
            }
        });
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Changed(changes) => {
                let was_nothing = state.pending.is_nothing();
                changes.iter().for_each(|change| state.pending.add(change));
                if was_nothing && !state.pending.is_nothing() {
                    myself.send_after(GATHER, || Message::Refresh);
                }
            }
            Message::Refresh => self.refresh(&myself, state).await?,
            Message::Graph(build, graph) if build == state.builds => self.use_graph(graph),
            Message::Graph(..) => {}
        }
        Ok(())
    }
}

impl CatalogueActor {
    /// Takes what changed into the next catalogue, and swaps it in.
    async fn refresh(&self, myself: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let changed = match std::mem::replace(&mut state.pending, Pending::nothing()) {
            Pending::Libraries(ids) if !self.catalogue.0.load().index.wants_rebuild() => Some(ids),
            Pending::Libraries(_) | Pending::Everything => None,
        };
        let is_built_anew = changed.is_none();
        let (context, before) = (Arc::clone(&self.context), self.catalogue.0.load_full());
        let known = tokio::task::spawn_blocking(move || match changed {
            Some(ids) => changed_libraries(&context, &before, ids),
            None => all_libraries(&context),
        });
        let known = Arc::new(known.await??);
        state.gauges.record(&known);
        self.catalogue.0.store(Arc::clone(&known));
        if is_built_anew {
            state.builds += 1;
            build_graph(myself, state.builds, known);
        }
        Ok(())
    }

    fn use_graph(&self, graph: Arc<VectorGraph>) {
        let known = self.catalogue.0.load_full();
        if let Some(index) = known.index.with_graph(graph) {
            self.catalogue.0.store(Arc::new(Known { libraries: known.libraries.clone(), index }));
        }
    }
}

/// Builds the graph of a large catalogue in the background; until it is there the vectors are scanned.
fn build_graph(myself: &ActorRef<Message>, build: u64, known: Arc<Known>) {
    let Some(rows) = known.index.vectors().filter(|rows| rows.len() >= GRAPH_MIN) else { return };
    let (rows, myself) = (rows.clone(), myself.clone());
    tokio::task::spawn_blocking(move || match VectorGraph::build(&rows, GRAPH_SEED, NonZeroUsize::MIN) {
        Ok(graph) => {
            // An actor that ended has no use for it; the next one builds its own.
            let _ = myself.send_message(Message::Graph(build, Arc::new(graph)));
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the catalogue's graph could not be built; its vectors are scanned"
        ),
    });
}

fn all_libraries(context: &Context) -> Result<Known, StorageError> {
    let view = context.cluster.view();
    let mut found = HashMap::new();
    let mut entries = Vec::new();
    let mut after: Option<LibraryId> = None;
    loop {
        let page = libraries::list(&*view, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for library in page {
            let summary = LibrarySummary::read(&*view, &library)?;
            entries.push(entry(&library, &summary));
            found.insert(library.id, Arc::new(summary));
        }
    }
    Ok(Known { libraries: found, index: Catalogue::build(entries, context.embedder) })
}

fn changed_libraries(
    context: &Context,
    before: &Known,
    ids: BTreeSet<LibraryId>,
) -> Result<Known, StorageError> {
    let view = context.cluster.view();
    let mut found = before.libraries.clone();
    let (mut entries, mut removed) = (Vec::new(), Vec::new());
    for id in ids {
        match libraries::get(&*view, &id)? {
            Some(library) => {
                let summary = LibrarySummary::read(&*view, &library)?;
                entries.push(entry(&library, &summary));
                found.insert(id, Arc::new(summary));
            }
            None => {
                found.remove(&id);
                removed.push(id);
            }
        }
    }
    Ok(Known { libraries: found, index: before.index.with_changes(entries, &removed) })
}

/// Owners that say where a library comes from, not whose it is.
const ECOSYSTEMS: &[&str] = &["crates", "npm", "pypi", "packages", "docs", "websites", "llmstxt"];

fn entry(library: &Library, summary: &LibrarySummary) -> Entry {
    let mut aliases = library.facts.aliases.clone();
    // `/python/cpython` is what somebody means who types `python`.
    let owner = library.id.owner();
    if !ECOSYSTEMS.contains(&owner) && !aliases.iter().any(|alias| alias == owner) {
        aliases.push(owner.to_owned());
    }
    Entry {
        id: library.id.clone(),
        title: summary.title.clone(),
        description: summary.description.clone(),
        aliases,
        ecosystem: owner.to_owned(),
        popularity: None,
        trust_tenths: library.trust_tenths,
        snippets: u64::from(summary.snippets),
    }
}
