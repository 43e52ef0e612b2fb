//! The libraries of this cluster as `resolve` sees them: summaries and an index over them, in memory,
//! swapped whole. An actor follows the agreed state and makes the next one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use opentelemetry::global;
use opentelemetry::metrics::Gauge;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use twinmcp_storage::bundle::VectorGraph;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::{AccountId, LibraryId};
use twinmcp_storage::libraries::Visibility;
use twinmcp_storage::transaction::Change;
use twinmcp_storage::{catalogue, libraries};

use super::LibraryMatch;
use super::resolve::{Catalogue, Entry};
use super::summary::{LibrarySummary, known_entry, published_entry};
use crate::background;
use crate::context::Context;
use crate::embedding::Embedder;
use crate::supervisor::Child;
use crate::teams::Sight;

/// What `resolve` reads, shared with the actor that replaces it.
#[derive(Clone)]
pub(super) struct SharedCatalogue(Arc<ArcSwap<Known>>);

struct Known {
    /// Those that are published here. What else the index knows lies in the store, and is read for
    /// the few that are shown: a hundred thousand summaries would be most of a node's memory.
    libraries: HashMap<LibraryId, Arc<LibrarySummary>>,
    /// What everybody may know. Private libraries are no part of it: not by a name, nor by how rare their words are.
    index: Catalogue,
    /// The same with all private libraries, if there are any.
    whole: Option<Catalogue>,
    private: Private,
}

/// Libraries that are shown to their own people alone.
#[derive(Clone, Default)]
struct Private {
    libraries: HashMap<LibraryId, (AccountId, Entry)>,
    owners: HashSet<AccountId>,
}

impl Private {
    fn new(libraries: HashMap<LibraryId, (AccountId, Entry)>) -> Self {
        let owners = libraries.values().map(|(owner, _)| owner.clone()).collect();
        Self { libraries, owners }
    }
}

impl Known {
    fn new(libraries: HashMap<LibraryId, Arc<LibrarySummary>>, private: Private, index: Catalogue) -> Known {
        let entries = private.libraries.values().map(|(_, entry)| entry.clone());
        let whole = (!private.owners.is_empty()).then(|| index.with_changes(entries, &[]));
        Self { libraries, index, private, whole }
    }
}

impl SharedCatalogue {
    pub(super) fn empty(embedder: &'static dyn Embedder) -> Self {
        let index = Catalogue::build(Vec::new(), embedder);
        Self(Arc::new(ArcSwap::from_pointee(Known::new(HashMap::new(), Private::default(), index))))
    }

    /// The libraries that `viewer` may mean, best first.
    pub(super) fn resolve(
        &self,
        reader: &dyn Reader,
        viewer: Option<&AccountId>,
        name: &str,
        query: &str,
        limit: usize,
    ) -> Result<Vec<LibraryMatch>, StorageError> {
        let known = self.0.load();
        let sight = known.sight(reader, viewer)?;
        let is_hidden = |id: &LibraryId| {
            let private = known.private.libraries.get(id);
            private.is_some_and(|(owner, _)| sight.as_ref().is_none_or(|sight| !sight.sees(owner)))
        };
        let found = match (&known.whole, &sight) {
            (Some(whole), Some(_)) => whole.resolve_but(name, query, limit, &is_hidden),
            _ => known.index.resolve(name, query, limit),
        };
        let mut matches = Vec::with_capacity(limit);
        for found in found {
            let library = match known.libraries.get(&found.id) {
                Some(library) if !is_hidden(&found.id) => Some(Arc::clone(library)),
                _ => catalogue::get(reader, &found.id)?.map(|known| Arc::new(LibrarySummary::known(known))),
            };
            // Forgotten a moment ago: the next index does not know it either.
            let Some(library) = library else { continue };
            matches.push(LibraryMatch { library, score: found.score, reasons: found.reasons });
        }
        Ok(matches)
    }
}

impl Known {
    /// Whose private libraries `viewer` is shown; nothing where there are none for them.
    fn sight(&self, reader: &dyn Reader, viewer: Option<&AccountId>) -> Result<Option<Sight>, StorageError> {
        let Some(viewer) = viewer.filter(|_| !self.private.owners.is_empty()) else { return Ok(None) };
        let sight = Sight::of(reader, viewer)?;
        Ok(sight.any(&self.private.owners).then_some(sight))
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
/// An import comes in many commands, and each would have the index built anew: it is built once none
/// has come for this time.
const IMPORT_QUIET: Duration = Duration::from_millis(300);
/// An import that goes on for longer than this is taken in as far as it is.
const IMPORT_WAIT_MAX: Duration = Duration::from_secs(5);
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
    /// Building the graph over the vectors of build number `.0` has ended; nothing when it failed.
    Graph(u64, Option<Arc<VectorGraph>>),
}

struct CatalogueActor {
    context: Arc<Context>,
    catalogue: SharedCatalogue,
}

struct State {
    /// What changed since the last catalogue; nothing in it means nothing is planned.
    pending: Pending,
    /// When the first and the last part of an import came that is not taken in yet.
    import: Option<(Instant, Instant)>,
    /// How often the catalogue was built anew: a graph belongs to one build.
    builds: u64,
    /// Whether a graph is being built: one at a time, whatever was built anew meanwhile.
    is_graph_building: bool,
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
            (_, Change::Everything | Change::Catalogue) => *self = Self::Everything,
            (Self::Everything, Change::Library(_))
            | (
                _,
                Change::ApiKey(_) | Change::Job(_) | Change::SigningKeys | Change::Logouts | Change::Secrets,
            ) => {}
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
        self.libraries.record(known.index.len() as u64, &[]);
        self.documents.record(libraries.clone().map(|library| u64::from(library.pages)).sum(), &[]);
        self.snippets.record(libraries.map(|library| u64::from(library.snippets)).sum(), &[]);
        let whole = known.whole.as_ref().map_or(0, Catalogue::changes_bytes);
        self.memory.record((known.index.memory_bytes() + whole) as u64, &[]);
    }
}

impl Actor for CatalogueActor {
    type Msg = Message;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<State, ActorProcessingErr> {
        // Subscribed before the first reading, so that nothing falls between.
        let mut changes = self.context.cluster.changes();
        let mut state = State {
            pending: Pending::Everything,
            import: None,
            builds: 0,
            is_graph_building: false,
            gauges: Gauges::new(),
        };
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
                if changes.contains(&Change::Catalogue) {
                    let now = Instant::now();
                    state.import = Some((state.import.map_or(now, |(first, _)| first), now));
                }
                if was_nothing && !state.pending.is_nothing() {
                    myself.send_after(GATHER, || Message::Refresh);
                }
            }
            Message::Refresh if is_importing(state.import) => {
                myself.send_after(IMPORT_QUIET, || Message::Refresh);
            }
            Message::Refresh => self.refresh(&myself, state).await?,
            Message::Graph(build, graph) => {
                state.is_graph_building = false;
                match graph {
                    Some(graph) if build == state.builds => self.use_graph(graph).await?,
                    _ if build == state.builds => {}
                    _ => self.build_graph(&myself, state),
                }
            }
        }
        Ok(())
    }
}

/// Whether more of an import is likely to come.
fn is_importing(import: Option<(Instant, Instant)>) -> bool {
    import.is_some_and(|(first, last)| last.elapsed() < IMPORT_QUIET && first.elapsed() < IMPORT_WAIT_MAX)
}

impl CatalogueActor {
    /// Takes what changed into the next catalogue, and swaps it in.
    async fn refresh(&self, myself: &ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.import = None;
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
        let known = known.await??;
        state.gauges.record(&known);
        self.catalogue.0.store(Arc::new(known));
        if is_built_anew {
            state.builds += 1;
            self.build_graph(myself, state);
        }
        Ok(())
    }

    /// Builds the graph of a large catalogue in the background, of what the processors have left; until it is there the
    /// vectors are scanned.
    fn build_graph(&self, myself: &ActorRef<Message>, state: &mut State) {
        let known = self.catalogue.0.load();
        let rows = known.index.vectors().filter(|rows| rows.len() >= GRAPH_MIN).cloned();
        let Some(rows) = rows.filter(|_| !state.is_graph_building) else { return };
        let (myself, build) = (myself.clone(), state.builds);
        state.is_graph_building = true;
        tokio::spawn(async move {
            let building = background::run("catalogue-graph", move || {
                VectorGraph::build(&rows, GRAPH_SEED, NonZeroUsize::MIN)
            });
            let graph = match building.await {
                Ok(built) => built.map(Arc::new).inspect_err(|error| no_graph(error)).ok(),
                Err(error) => {
                    no_graph(&error);
                    None
                }
            };
            // An actor that ended has no use for it; the next one builds its own.
            let _ = myself.send_message(Message::Graph(build, graph));
        });
    }

    async fn use_graph(&self, graph: Arc<VectorGraph>) -> Result<(), ActorProcessingErr> {
        let known = self.catalogue.0.load_full();
        let with_graph = tokio::task::spawn_blocking(move || {
            let index = known.index.with_graph(graph)?;
            Some(Known::new(known.libraries.clone(), known.private.clone(), index))
        });
        if let Some(known) = with_graph.await? {
            self.catalogue.0.store(Arc::new(known));
        }
        Ok(())
    }
}

fn no_graph(error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(error, "the catalogue's graph could not be built; its vectors are scanned");
}

fn all_libraries(context: &Context) -> Result<Known, StorageError> {
    let view = context.cluster.view();
    let (mut found, mut private) = (HashMap::new(), HashMap::new());
    let mut entries = Vec::new();
    let mut after: Option<LibraryId> = None;
    loop {
        let page = libraries::list(&*view, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for library in page {
            let summary = LibrarySummary::read(&*view, &library)?;
            let known = catalogue::get(&*view, &library.id)?;
            let entry = published_entry(&library, &summary, known.as_ref().map(|known| &known.entry));
            match library.visibility {
                Visibility::Public => entries.push(entry),
                Visibility::Private => {
                    entries.extend(known.map(|known| known_entry(known.entry)));
                    private.insert(library.id.clone(), (library.owner.clone(), entry));
                }
            }
            found.insert(library.id, Arc::new(summary));
        }
    }
    after = None;
    loop {
        let page = catalogue::list(&*view, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { break };
        after = Some(last.entry.id.clone());
        let only_known = page.into_iter().filter(|known| !found.contains_key(&known.entry.id));
        entries.extend(only_known.map(|known| known_entry(known.entry)));
    }
    Ok(Known::new(found, Private::new(private), Catalogue::build(entries, context.embedder)))
}

fn changed_libraries(
    context: &Context,
    before: &Known,
    ids: BTreeSet<LibraryId>,
) -> Result<Known, StorageError> {
    let view = context.cluster.view();
    let (mut found, mut private) = (before.libraries.clone(), before.private.libraries.clone());
    let (mut entries, mut removed) = (Vec::new(), Vec::new());
    for id in ids {
        let known = catalogue::get(&*view, &id)?.map(|known| known.entry);
        let library = libraries::get(&*view, &id)?;
        found.remove(&id);
        private.remove(&id);
        // What everybody may know of it.
        let mut open = known.clone().map(known_entry);
        if let Some(library) = library {
            let summary = LibrarySummary::read(&*view, &library)?;
            let entry = published_entry(&library, &summary, known.as_ref());
            found.insert(id.clone(), Arc::new(summary));
            match library.visibility {
                Visibility::Public => open = Some(entry),
                Visibility::Private => {
                    private.insert(id.clone(), (library.owner, entry));
                }
            }
        }
        match open {
            Some(entry) => entries.push(entry),
            None => removed.push(id),
        }
    }
    Ok(Known::new(found, Private::new(private), before.index.with_changes(entries, &removed)))
}
