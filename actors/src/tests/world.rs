//! A node without its outside: cluster and actors over engines in memory, bundles in a folder.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use twinmcp_cluster::{Cluster, ClusterConfig, ClusterKey, ClusterKeys};
use twinmcp_storage::accounts::Account;
use twinmcp_storage::bundle::BundleStore;
use twinmcp_storage::clock::{Clock, SystemClock, SystemEntropy, Timestamp};
use twinmcp_storage::engine::{Keyspace, MemoryEngine};
use twinmcp_storage::ids::{JobId, LibraryRef};
use twinmcp_storage::jobs::{JobState, Source};

use crate::accounts::{AccountsConfig, NewPerson, PersonMade, SignInRequest, SignInStep, SignUp, SignedIn};
use crate::embedding::EndpointConfig;
use crate::jobs::{JobView, JobsError, Submission};
use crate::outbound::OutboundConfig;
use crate::search::{Docs, DocsQuery, SearchError};
use crate::{Actors, ActorsConfig, JobsConfig, Owner, SupervisionConfig, UpgradeConfig};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) actors: Actors,
    pub(crate) account: Account,
    pub(crate) node: String,
    pub(crate) cluster: Cluster,
    /// What the node takes for the time.
    pub(crate) clock: Arc<LaterClock>,
    bundles: Arc<BundleStore>,
    upgrade: UpgradeConfig,
    disk: Disk,
}

/// The machine's clock, and as much later as a test says.
#[derive(Default)]
pub(crate) struct LaterClock(AtomicU64);

impl LaterClock {
    /// Lets so much time pass.
    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for LaterClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What outlives the actors of a node.
#[derive(Clone)]
struct Disk {
    folder: Arc<TempDir>,
    state: MemoryEngine,
    raft: MemoryEngine,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_upgrades(|_| UpgradeConfig::default()).await
    }

    /// A node that is told of a model; `upgrades` gets the folder that the node's data lies in.
    pub(crate) async fn with_upgrades(upgrades: impl FnOnce(&Path) -> UpgradeConfig) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path().join("sources")).unwrap();
        let (state, raft) = (MemoryEngine::new(Keyspace::STATE), MemoryEngine::new(Keyspace::RAFT));
        let upgrades = upgrades(folder.path());
        Self::on(Disk { folder, state, raft }, upgrades, None).await
    }

    /// Makes a person, and signs them in.
    pub(crate) async fn person(&self) -> SignedIn {
        let accounts = &self.actors.accounts;
        let new =
            NewPerson { email: EMAIL, name: "", password: Some(PASSWORD), is_operator: false, send: false };
        let made = accounts.add_person(new).await.unwrap();
        assert!(matches!(made, PersonMade::Person(_)));
        let SignInStep::Session(new) = self.sign_in_again().await else {
            panic!("no second factor was added")
        };
        accounts.signed_in(new.secret.reveal()).unwrap().unwrap()
    }

    /// Signs in who was made by [`Self::person`].
    pub(crate) async fn sign_in_again(&self) -> SignInStep {
        let (address, client) = (IpAddr::from([192, 0, 2, 1]), "test/1");
        let request = SignInRequest { email: EMAIL, password: PASSWORD, address, client, replaces: None };
        self.actors.accounts.sign_in(request).await.unwrap()
    }

    /// The same node, started again with an embedding service.
    pub(crate) async fn restart_with_endpoint(self, endpoint: EndpointConfig) -> Self {
        let Self { actors, cluster, disk, upgrade, .. } = self;
        actors.stop().await;
        cluster.shutdown().await.unwrap();
        Self::on(disk, upgrade, Some(endpoint)).await
    }

    async fn on(disk: Disk, upgrade: UpgradeConfig, endpoint: Option<EndpointConfig>) -> Self {
        static NODES: AtomicUsize = AtomicUsize::new(0);
        let node = format!("test-{}", NODES.fetch_add(1, Ordering::SeqCst));
        let (state, raft) = (Arc::new(disk.state.clone()), Arc::new(disk.raft.clone()));
        let clock = Arc::new(LaterClock::default());
        let cluster = Cluster::start(ClusterConfig::default(), state, raft, clock.clone(), &SystemEntropy)
            .await
            .unwrap();
        let bundles = disk.folder.path().join("bundles");
        let bundles = Arc::new(BundleStore::open_dir(bundles, 10.try_into().unwrap()).unwrap());
        let config = ActorsConfig {
            providers: Vec::new(),
            node: node.clone(),
            data_dir: disk.folder.path().to_owned(),
            accounts: AccountsConfig { sign_up: SignUp::Open, ..AccountsConfig::default() },
            outbound: OutboundConfig::default(),
            jobs: JobsConfig { folders: vec![disk.folder.path().join("sources")], ..JobsConfig::default() },
            upgrade: upgrade.clone(),
            bundles: crate::BundlesConfig::default(),
            endpoint,
            supervision: SupervisionConfig {
                backoff_min: Duration::from_millis(1),
                ..SupervisionConfig::default()
            },
            oauth: crate::OauthConfig::new("https://node.example"),
            keys: ClusterKeys::unkept(ClusterKey::new([7; 32])),
        };
        let actors = Actors::start(
            config,
            cluster.clone(),
            Arc::clone(&bundles),
            clock.clone(),
            Arc::new(SystemEntropy),
        )
        .await
        .unwrap();
        let account = match actors.accounts.first().unwrap() {
            Some(account) => account,
            None => actors.accounts.create("owner").await.unwrap(),
        };
        Self { actors, account, node, cluster, clock, bundles, upgrade, disk }
    }

    /// Where letters are written.
    pub(crate) fn outbox(&self) -> PathBuf {
        self.disk.folder.path().join("outbox")
    }

    /// Ends everything at once and starts a node on what the disk kept.
    pub(crate) async fn crash_and_restart(self) -> Self {
        let upgrade = self.upgrade.clone();
        self.crash_and_restart_with(|_| upgrade).await
    }

    /// The same, with another configuration of upgrades.
    pub(crate) async fn crash_and_restart_with(self, upgrades: impl FnOnce(&Path) -> UpgradeConfig) -> Self {
        let Self { actors, cluster, disk, .. } = self;
        actors.stop().await;
        cluster.shutdown().await.unwrap();
        disk.state.crash();
        disk.raft.crash();
        let upgrades = upgrades(disk.folder.path());
        Self::on(disk, upgrades, None).await
    }

    pub(crate) fn bundles(&self) -> &BundleStore {
        &self.bundles
    }

    /// Takes every bundle away from under the node.
    pub(crate) fn lose_bundles(&self) {
        for folder in std::fs::read_dir(self.disk.folder.path().join("bundles")).unwrap() {
            std::fs::remove_dir_all(folder.unwrap().path()).unwrap();
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.disk.folder.path().join("sources")
    }

    /// Writes a source and names its folder.
    pub(crate) fn source(&self, name: &str, pages: &[(&str, &str)]) -> Source {
        let folder = self.folder().join(name);
        for (path, text) in pages {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        as_source(&folder)
    }

    pub(crate) fn submission(&self, library: &str, version: &str, source: Source) -> Submission {
        Submission {
            account: self.account.id.clone(),
            library: library.parse().unwrap(),
            version: version.parse().unwrap(),
            source,
            base_url: Some("https://docs.example.org/".into()),
        }
    }

    pub(crate) async fn submit(
        &self,
        library: &str,
        version: &str,
        source: Source,
    ) -> Result<JobView, JobsError> {
        self.actors.jobs.submit(self.submission(library, version, source)).await
    }

    /// Follows a job to its end.
    pub(crate) async fn ended(&self, id: &JobId) -> JobView {
        let mut view = self.actors.jobs.watch(&Owner::Operator, id).unwrap();
        let ended = view.wait_for(|view| view.job.state.is_ended());
        tokio::time::timeout(PATIENCE, ended).await.expect("the job ends").unwrap().clone()
    }

    /// Indexes a version and expects that to work.
    pub(crate) async fn index(&self, library: &str, version: &str, source: Source) -> JobView {
        let job = self.submit(library, version, source).await.unwrap();
        let view = self.ended(&job.job.id).await;
        assert_eq!(view.job.state, JobState::Done);
        view
    }

    pub(crate) async fn docs(&self, library: &str, text: &str) -> Result<Docs, SearchError> {
        let library: LibraryRef = library.parse().unwrap();
        self.actors
            .search
            .docs(DocsQuery {
                viewer: None,
                library: &library,
                text,
                tokens_max: 5_000,
                snippets_max: 10,
                marks: |_| 0,
            })
            .await
    }

    /// Ends one of the node's actors as a crash would.
    pub(crate) fn kill(&self, actor: &str) {
        let name = format!("{}/{actor}", self.node);
        ractor::registry::where_is(name).expect("the actor is there").kill();
    }

    /// Waits until something is true.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let reached = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{what}"));
    }
}

fn as_source(folder: &Path) -> Source {
    Source::Folder { path: folder.to_str().unwrap().to_owned() }
}
