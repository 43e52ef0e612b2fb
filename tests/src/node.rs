//! A node as a child process: the real program, a data directory of its own, any free port.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::twinmcp;
use crate::cli::Cli;
use crate::client::TestClient;
use crate::collector::Collector;
use crate::overheard;
use crate::secrets;
use crate::wait::{DEADLINE, eventually, eventually_within};

/// How long a node that is dropped may take to stop before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// How its traces are sent: none is left out when it makes many at once, and few die with a node that is killed.
const EXPORT: [(&str, &str); 2] = [("OTEL_BSP_MAX_QUEUE_SIZE", "65536"), ("OTEL_BSP_SCHEDULE_DELAY", "1000")];

/// Where they are sent.
const ENDPOINT: &str = "TWINMCP__TELEMETRY__OTLP_ENDPOINT";

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeSetup {
    variables: BTreeMap<String, String>,
    project: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    under: Vec<String>,
    program: PathBuf,
    /// 0 takes any free one.
    port: u16,
    /// Where it is asked, when that is not where it listens.
    front: Option<String>,
    token: Option<String>,
    start_deadline: Duration,
    is_traced: bool,
}

impl Default for NodeSetup {
    /// Limits of requests so high that no test meets them by accident, a log as services have it, all traces, and nothing to index.
    fn default() -> Self {
        let classes = ["ANONYMOUS", "KEY", "OAUTH"];
        let keys = classes.iter().flat_map(|class| [format!("{class}_PER_MINUTE"), format!("{class}_BURST")]);
        let limits = keys.map(|key| (format!("TWINMCP__LIMITS__{key}"), "1000000".to_owned()));
        let log = ("TWINMCP__TELEMETRY__LOG".to_owned(), "info,openraft=error".to_owned());
        Self {
            variables: limits.chain([log]).collect(),
            project: None,
            data_dir: None,
            under: Vec::new(),
            program: twinmcp(),
            port: 0,
            front: None,
            token: None,
            start_deadline: DEADLINE,
            is_traced: true,
        }
    }
}

impl NodeSetup {
    /// With key `name` of `section` of the configuration set to `value`.
    #[must_use]
    pub fn with(mut self, section: &str, name: &str, value: impl ToString) -> Self {
        let variable = format!("TWINMCP__{}__{}", section.to_uppercase(), name.to_uppercase());
        self.variables.insert(variable, value.to_string());
        self
    }

    /// On the machine of somebody who develops the project that [`crate::docs::cargo_project`] wrote to `folder`.
    #[must_use]
    pub fn in_project(mut self, folder: &Path) -> Self {
        self.project = Some(folder.to_owned());
        self
    }

    /// On a data directory of the test's own, which may hold something.
    #[must_use]
    pub fn on(mut self, data_dir: &Path) -> Self {
        self.data_dir = Some(data_dir.to_owned());
        self
    }

    /// Started by another program, such as `strace`, that becomes it under its own process id.
    #[must_use]
    pub fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// As another build of the program.
    #[must_use]
    pub fn built_as(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// At one free port for all its starts, so that clients find it again.
    ///
    /// It is one that the system gives nobody by itself: a client that tries such a port while nobody listens there may be given
    /// it, and then talks to itself.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn at_one_port(mut self) -> Self {
        self.port = free_port();
        self
    }

    /// At one free port of this machine by its name, which browsers take passkeys for: they take none for a number.
    #[must_use]
    pub fn at_one_port_named(self) -> Self {
        let setup = self.at_one_port();
        let url = format!("http://localhost:{}", setup.port);
        setup.with("http", "public_url", url)
    }

    /// Where browsers find it.
    ///
    /// # Panics
    /// When it was not told to say so, as by [`Self::at_one_port_named`].
    pub fn public_url(&self) -> String {
        self.variables.get("TWINMCP__HTTP__PUBLIC_URL").expect("the node has a public address").clone()
    }

    /// At one free port that the node names to the clients of its cluster.
    #[must_use]
    pub fn at_one_port_told(self) -> Self {
        let setup = self.at_one_port();
        let url = format!("http://127.0.0.1:{}", setup.port);
        setup.with("cluster", "url", url)
    }

    /// With what programs of other people say to it heard on the way, so that their secrets are looked for in its log and its traces too. The
    /// log tells more than services let it.
    ///
    /// Comes after what gives it a port.
    ///
    /// # Panics
    /// When no port is free, or outside of a runtime.
    #[must_use]
    pub fn overheard(self) -> Self {
        let mut setup = if self.port == 0 { self.at_one_port() } else { self };
        let (front, node) = (setup.port, free_port());
        overheard::listen(front, ([127, 0, 0, 1], node).into());
        (setup.port, setup.front) = (node, Some(format!("http://127.0.0.1:{front}")));
        setup = setup.with("telemetry", "log", "debug");
        if setup.variables.contains_key("TWINMCP__HTTP__PUBLIC_URL") {
            return setup;
        }
        let url = setup.front.clone().unwrap_or_default();
        setup.with("http", "public_url", url)
    }

    /// Its port, 0 for any free one.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// With a port for other nodes, the same for all its starts.
    #[must_use]
    pub fn with_peers(self) -> Self {
        let address = || format!("127.0.0.1:{}", free_port());
        self.with("cluster", "listen", address()).with("cluster", "gossip_listen", address())
    }

    /// Where it takes other nodes.
    ///
    /// # Panics
    /// Without [`Self::with_peers`].
    pub fn peers(&self) -> SocketAddr {
        let address = self.variables.get("TWINMCP__CLUSTER__LISTEN").and_then(|address| address.parse().ok());
        address.expect("the node takes peers")
    }

    /// With a port for questions to the DNS, the same for all its starts.
    #[must_use]
    pub fn with_names(self) -> Self {
        let listen = format!("[\"127.0.0.1:{}\"]", free_port());
        self.with("dns", "listen", listen)
    }

    /// Where it answers the DNS.
    ///
    /// # Panics
    /// Without [`Self::with_names`].
    pub fn names(&self) -> SocketAddr {
        let listen = self
            .variables
            .get("TWINMCP__DNS__LISTEN")
            .and_then(|listen| listen.trim_matches(['[', ']', '"']).parse().ok());
        listen.expect("the node answers the DNS")
    }

    /// Let into a cluster by `token` at its first start.
    #[must_use]
    pub fn joining(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// With so long until it takes requests: for measurements of much.
    #[must_use]
    pub fn within(mut self, start_deadline: Duration) -> Self {
        self.start_deadline = start_deadline;
        self
    }

    /// Without traces, that are looked through for secrets otherwise: for measurements and load, and where it cannot reach the test's loopback.
    #[must_use]
    pub fn untraced(mut self) -> Self {
        self.is_traced = false;
        self
    }

    /// Starts the node and waits until it takes requests.
    pub async fn start(self) -> TestNode {
        let mut node = self.made();
        node.start().await;
        node
    }

    /// Starts the node and waits until it can be asked, ready or not.
    ///
    /// # Errors
    /// What it wrote to standard error, when it ended by itself.
    pub async fn try_start(self) -> Result<TestNode, String> {
        let mut node = self.made();
        node.announced().await.map(|()| node)
    }

    fn made(mut self) -> TestNode {
        // A test that looks at traces itself has a collector of its own.
        let traces = (self.is_traced && !self.variables.contains_key(ENDPOINT)).then(Collector::start);
        if let Some(traces) = &traces {
            self.variables.insert(ENDPOINT.to_owned(), traces.endpoint());
        }
        for (name, value) in &self.variables {
            if ["_SECRET", "_PASSWORD", "_TOKEN"].iter().any(|end| name.ends_with(end)) {
                secrets::note(name, value);
            }
        }
        let home = tempfile::tempdir().expect("the machine has a temporary folder");
        TestNode { setup: self, home, process: None, url: String::new(), key: String::new(), traces }
    }
}

/// A port that nobody has, and that the system gives nobody by itself. Each call of a process begins at another one.
pub(crate) fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let given = range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(32_768_u32);
    let (first, count) = (10_000, given.saturating_sub(10_000).max(1));
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let start = std::process::id().wrapping_mul(31).wrapping_add(call.wrapping_mul(7));
    let ports = (0..count).map(|step| first + start.wrapping_add(step) % count);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.filter_map(|port| port.try_into().ok()).find(is_free).expect("some port is free")
}

/// A running node and the folder that dies with it. Dropped, it is told to stop, then killed; then its log and its traces are looked through.
#[derive(Debug)]
pub struct TestNode {
    setup: NodeSetup,
    home: TempDir,
    process: Option<Child>,
    url: String,
    key: String,
    /// Of all its starts. Looks them through when it is dropped, which is after the node has ended.
    traces: Option<Collector>,
}

impl TestNode {
    /// A node that knows nothing yet, with [`NodeSetup::default`].
    pub async fn empty() -> Self {
        NodeSetup::default().start().await
    }

    /// Where it answers, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The owner's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Asks as the owner.
    pub fn client(&self) -> TestClient {
        TestClient::new(&self.url, Some(&self.key))
    }

    /// The owner's command line.
    pub fn cli(&self) -> Cli {
        Cli::new(&self.url, Some(&self.key), self.home.path())
    }

    /// A folder for what a test writes, which dies with the node.
    pub fn folder(&self) -> PathBuf {
        let folder = self.home.path().join("work");
        fs::create_dir_all(&folder).expect("a temporary folder takes folders");
        folder
    }

    /// Where the node keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        self.setup.data_dir.clone().unwrap_or_else(|| self.home.path().join("data"))
    }

    /// Every file the node keeps below `folder` of its data directory.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let (mut waiting, mut files) = (vec![self.data_dir().join(folder)], Vec::new());
        while let Some(path) = waiting.pop() {
            match fs::read_dir(&path) {
                Ok(entries) => waiting.extend(entries.filter_map(Result::ok).map(|entry| entry.path())),
                Err(_) if path.is_file() => files.push(path),
                // Gone since it was listed.
                Err(_) => {}
            }
        }
        files
    }

    /// A file of the node's data directory that holds one of `texts`, if one does.
    ///
    /// Journals are tens of megabytes from their first byte on; an optimised search reads them in a moment, a loop of an unoptimised
    /// test takes minutes.
    pub fn file_with(&self, texts: &[&str]) -> Option<PathBuf> {
        let searched = AhoCorasick::new(texts).expect("a few short texts");
        // A file that is gone since it was listed holds nothing.
        let holds = |file: &PathBuf| fs::read(file).is_ok_and(|bytes| searched.is_match(&bytes));
        self.files("").into_iter().find(holds)
    }

    /// Everything the node has written to its log and to its terminal, of all its starts.
    pub fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.home.path().join(name)).unwrap_or_default();
        read("stdout") + &read("stderr")
    }

    /// What the node printed to its terminal for the person who started it.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.home.path().join("stdout")).unwrap_or_default()
    }

    /// The id of its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the node runs").id()
    }

    /// Ends the node at once, as a power cut would.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child can be killed");
            eventually("the end of a killed node", async || process.try_wait().ok().flatten()).await;
        }
    }

    /// Asks the node to stop and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until the node has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the node runs");
        eventually("the end of a node that was asked to stop", async || process.try_wait().ok().flatten())
            .await
    }

    /// Sends it a signal by name and does not wait.
    pub fn signal(&self, name: &str) {
        send_signal(self.pid(), name);
    }

    /// Starts the node again on what it kept.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start().await;
    }

    /// Stops the node as an operator would, if it runs, and starts it on what it kept as another build of the program.
    pub async fn restart_as(&mut self, program: &Path) {
        if self.process.is_some() {
            self.stop().await;
        }
        program.clone_into(&mut self.setup.program);
        self.start().await;
    }

    async fn announced(&mut self) -> Result<(), String> {
        let announced = self.data_dir().join("quickstart.json");
        let before = self.stderr().len();
        let mut process = self.command().spawn().expect("the program under test starts");
        let pid = process.id();
        let told = eventually_within(self.setup.start_deadline, "the node's announcement", async || {
            if let Ok(Some(_)) = process.try_wait() {
                return Some(None);
            }
            let text = fs::read_to_string(&announced).ok()?;
            let told: Value = serde_json::from_str(&text).ok()?;
            // What an earlier start announced must not be taken for this one's.
            let text = |name: &str| told[name].as_str().map(str::to_owned);
            if told["pid"] == pid { Some(text("url").zip(text("api_key"))) } else { None }
        })
        .await;
        let Some((url, key)) = told else { return Err(self.stderr().split_off(before)) };
        self.process = Some(process);
        secrets::note("operator's key", &key);
        (self.url, self.key) = (self.setup.front.clone().unwrap_or(url), key);
        Ok(())
    }

    fn stderr(&self) -> String {
        let bytes = fs::read(self.home.path().join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn start(&mut self) {
        if let Err(stderr) = self.announced().await {
            panic!("the node ended: {stderr}");
        }
        let client = self.client();
        eventually_within(self.setup.start_deadline, "the node's readiness", async || {
            let answer = client.try_answer(client.request(reqwest::Method::GET, "/api/health/ready")).await;
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        })
        .await;
    }

    fn command(&self) -> Command {
        let home = self.home.path();
        let output = |name| -> File {
            let file = OpenOptions::new().create(true).append(true).open(home.join(name));
            file.expect("a temporary folder takes files")
        };
        let (folder, cargo_home) = match &self.setup.project {
            Some(project) => (project.join("project"), project.join("cargo")),
            None => (self.folder(), home.join("no-cargo")),
        };
        let mut command = match self.setup.under.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.setup.program);
                command
            }
            None => Command::new(&self.setup.program),
        };
        command.arg("quickstart").arg("--data-dir").arg(self.data_dir());
        command.arg("--listen").arg(format!("127.0.0.1:{}", self.setup.port));
        if self.setup.project.is_none() {
            command.args(["--crates-max", "0"]);
        }
        command.current_dir(folder).env("HOME", home).env("CARGO_HOME", cargo_home).env("NO_COLOR", "1");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TWINMCP_")) {
            command.env_remove(name);
        }
        // The previous build knows no limit of the authorization server, and refuses keys that it does not know.
        let is_ours = self.setup.program == twinmcp();
        command.envs(self.setup.variables.iter().filter(|(name, _)| is_ours || !name.contains("__OAUTH_")));
        if self.traces.is_some() {
            command.envs(EXPORT);
        }
        if let Some(token) = &self.setup.token {
            let file = home.join("join-token");
            fs::write(&file, token).expect("a temporary folder takes files");
            command.env("TWINMCP__CLUSTER__JOIN_TOKEN_FILE", file);
        }
        command.stdin(Stdio::null()).stdout(output("stdout")).stderr(output("stderr"));
        command
    }

    /// Waits until it has a key to sign tokens with, which a new cluster makes right behind its start.
    pub async fn can_sign(&self) {
        let client = self.client().anonymous();
        eventually("a key to sign with", async || {
            let keys = client.get("/.well-known/jwks.json").await.expect(200).json();
            keys["keys"].as_array().is_some_and(|keys| !keys.is_empty()).then_some(())
        })
        .await;
    }

    /// How many spans it has sent to the collector that looks them through; the last ones when it stops.
    ///
    /// # Panics
    /// When it is not [traced](NodeSetup::untraced), or by a collector of the test.
    pub fn spans_sent(&self) -> usize {
        self.traces.as_ref().expect("it is traced").spans().len()
    }
}

impl Drop for TestNode {
    /// A node that may stop by itself writes its coverage; one that does not is killed. Then what it wrote is looked through.
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&self.log());
        }
        if let Some(process) = self.process.take() {
            end(process);
        }
        // What is printed on the terminal is for the person who starts the node, who is shown the operator's key there.
        if !std::thread::panicking() {
            secrets::are_not_in("the log", [self.stderr()]);
        }
    }
}

fn end(mut process: Child) {
    let pid = process.id();
    send_signal(pid, "TERM");
    let (ended, end) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let _ = process.wait();
        let _ = ended.send(());
    });
    if end.recv_timeout(STOP_DEADLINE).is_err() {
        send_signal(pid, "KILL");
    }
    let _ = waiting.join();
}

/// Sends a process a signal by name, with the system's own `kill`: the standard library can only send `KILL`.
///
/// # Panics
/// When the machine has no such program.
pub fn send_signal(pid: u32, name: &str) {
    let status =
        Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status();
    status.expect("the machine has the program `kill`");
}

#[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
fn show(log: &str) {
    eprintln!("--- what the node wrote ---\n{log}");
}
