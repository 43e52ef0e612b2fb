//! Bits that flip and writes that are torn, anywhere in a data directory. Afterwards a node works with nothing
//! acknowledged lost, is not ready and says why, or refuses to start with a sentence that names the place.
//!
//! Flips a kind of file: `TWINMCP_FLIPS`, 1 unless set. Torn copies: `TWINMCP_TEARS`, 4 unless set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::embedding_service::{DIMENSIONS, EmbeddingService, KEY, MODEL};
use twinmcp_tests::site::{Page, Site};
use twinmcp_tests::{Chance, Cli, NodeSetup, TestClient, TestCluster, TestNode, eventually, variable};

use super::{check_keys, check_log, index_kiln, make_keys};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A copy that skips the zeros with which a journal is filled up: they are holes.
fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("it lies below"));
        fs::create_dir_all(target.parent().expect("a file lies in a folder")).expect("folders can be made");
        let bytes = fs::read(&file).expect("a file can be read");
        fs::write(&target, &bytes[..used(&bytes)]).expect("a file can be written");
        let target = fs::File::options().write(true).open(&target).expect("it was just written");
        target.set_len(bytes.len() as u64).expect("a file can be made longer");
    }
}

/// What a file is, whatever number it has: `state/keyspaces/3/tables/7` is of the kind `state/keyspaces/#/tables/#`.
fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Some((_, extension)) = name.rsplit_once('.').filter(|_| name.len() > 30) {
        return format!("bundles/#.{extension}");
    }
    if path.starts_with("uploads") {
        return "uploads/#".to_owned();
    }
    let mut text = String::new();
    for letter in path.to_string_lossy().chars() {
        let shown = if letter.is_ascii_digit() { '#' } else { letter };
        if shown != '#' || !text.ends_with('#') {
            text.push(shown);
        }
    }
    text
}

/// How many bytes come before the zeros at the end.
fn used(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut left = bytes;
    while let Some(shorter) = left.strip_suffix(&ZEROS) {
        left = shorter;
    }
    left.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn flip(path: &Path, chance: &mut Chance) -> Option<usize> {
    let mut bytes = fs::read(path).expect("a file can be read");
    let used = used(&bytes);
    if used == 0 {
        return None;
    }
    let at = usize::try_from(chance.below(used as u64)).expect("it is below a length");
    bytes[at] ^= 1 << chance.below(8);
    fs::write(path, bytes).expect("a file can be written");
    Some(at)
}

/// Codes with which a node says that it cannot answer.
const SAID: &[&str] = &["storage_failed", "read_only", "index_lost", "index_rebuilding"];

/// What became of a node on `data`.
async fn outcome(data: &Path, what: &str, secrets: &[String]) -> &'static str {
    let node = match NodeSetup::default().on(data).try_start().await {
        Ok(node) => node,
        Err(refused) => {
            assert!(!refused.contains("panicked"), "{what}: {refused}");
            assert!(refused.contains(&*data.to_string_lossy()), "{what}: the place is not named: {refused}");
            return "refused";
        }
    };
    let client = node.client();
    let mut is_whole = true;
    for secret in secrets {
        let answer = client.with_key(secret).get("/api/libraries").await;
        let said = answer.status == 200 || SAID.contains(&answer.code().as_str());
        assert!(said, "{what}: an acknowledged key: {} {}", answer.status, answer.text);
        is_whole &= answer.status == 200;
    }
    let answer = client.anonymous().context("/acme/kiln", QUESTIONS[0].text, &[]).await;
    match answer.status {
        200 => assert!(answer.text.contains(QUESTIONS[0].says), "{what}: {}", answer.text),
        _ => assert!(SAID.contains(&answer.code().as_str()), "{what}: {} {}", answer.status, answer.text),
    }
    is_whole &= answer.status == 200;
    check_log(&node);
    if is_whole { "whole" } else { "said" }
}

/// A node that was killed at work after a clean restart: tables, journals behind them, a bundle, an upload.
async fn data_of_a_killed_node() -> (TestNode, Vec<String>) {
    let mut node = TestNode::empty().await;
    index_kiln(&node.client()).await;
    let mut secrets = make_keys(&node.client(), 3).await;
    let stopped = node.stop().await;
    assert!(stopped.success(), "{stopped}");
    let data = node.data_dir();
    // Its folder dies with the first node, which therefore stays.
    let mut second = NodeSetup::default().on(&data).start().await;
    let client = second.client();
    secrets.extend(make_keys(&client, 3).await);
    let upload = client.request(reqwest::Method::POST, "/api/jobs/uploads");
    client
        .answer(upload.header("content-type", "application/octet-stream").body("# Waits\n"))
        .await
        .expect(201);
    second.kill().await;
    (node, secrets)
}

#[tokio::test]
async fn a_flipped_bit_in_any_kind_of_file_is_harmless_or_said() {
    let (node, secrets) = data_of_a_killed_node().await;
    let origin = node.data_dir();
    let mut chance = Chance::new();
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files(&origin) {
        let name = file.strip_prefix(&origin).expect("it lies below").to_owned();
        kinds.entry(kind(&name)).or_default().push(name);
    }
    for needed in [
        "VERSION",
        "quickstart.json",
        "raft/#.jnl",
        "state/#.jnl",
        "bundles/#.bundle",
        "uploads/#",
        "keys/master.key",
        "keys/master.sums",
    ] {
        assert!(kinds.contains_key(needed), "{needed} is not among {:?}", kinds.keys());
    }
    for (kind, names) in &kinds {
        for _ in 0..variable("TWINMCP_FLIPS").unwrap_or(1) {
            let name =
                &names[usize::try_from(chance.below(names.len() as u64)).expect("it is below a length")];
            let folder = tempfile::tempdir().expect("the machine has a temporary folder");
            let data = folder.path().join("data");
            copy(&origin, &data);
            let Some(at) = flip(&data.join(name), &mut chance) else { continue };
            let what = format!("{} at {at}", name.display());
            let became = outcome(&data, &what, &secrets).await;
            println!("{kind}: {what}: {became}");
        }
    }
}

/// Kiln's documentation as a web site that names its pages and says of each what can be kept.
async fn kiln_site() -> Site {
    Site::start(|path, _| {
        let files = docs::kiln("1.0");
        if path == "/llms.txt" {
            let links = files.iter().map(|(path, _)| format!("- [{path}](/{path})\n"));
            return Page::text(&format!("# Kiln\n\n{}", links.collect::<String>()));
        }
        let Some((name, text)) = files.iter().find(|(name, _)| path.strip_prefix('/') == Some(name.as_str()))
        else {
            return Page::status(404);
        };
        let kind = if name.ends_with(".md") { "text/markdown" } else { "text/html" };
        Page::of(kind, text.clone()).with("etag", "\"1\"")
    })
    .await
}

/// Indexes the site and waits until the embedding service has made its vectors.
async fn index_site(node: &TestNode, site: &Site, library: &str) {
    let arguments = ["index", &site.url("/llms.txt"), "--library", library, "--version", "1"];
    node.cli().run(&arguments).await.expect(0);
    let client = node.client();
    eventually("the vectors of the service", async || {
        let library = client.get(&format!("/api/libraries{library}")).await.expect(200).json();
        (library["versions"][0]["search_mode"] == "endpoint").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_flipped_bit_in_what_is_kept_to_save_work_costs_that_work_and_nothing_else() {
    let (site, service) = (kiln_site().await, EmbeddingService::start().await);
    let keys = tempfile::tempdir().expect("the machine has a temporary folder");
    let key_file = keys.path().join("key");
    fs::write(&key_file, KEY).expect("a temporary folder takes files");
    let setup = NodeSetup::default()
        .with("outbound", "allowed_networks", json!(["127.0.0.1"]))
        .with("fetch", "requests_per_second", 1_000)
        .with("embeddings", "url", service.url())
        .with("embeddings", "model", MODEL)
        .with("embeddings", "dimensions", DIMENSIONS)
        .with("embeddings", "key_file", key_file.display());
    let mut first = setup.clone().start().await;
    index_site(&first, &site, "/websites/first").await;
    let stopped = first.stop().await;
    assert!(stopped.success(), "{stopped}");
    let mut chance = Chance::new();
    for folder in ["pages", "upgrades"] {
        let flipped: Vec<PathBuf> =
            first.files(folder).into_iter().filter(|file| flip(file, &mut chance).is_some()).collect();
        assert!(!flipped.is_empty(), "nothing is kept in {folder}");
    }
    site.asked();
    let asked = service.asked().len();

    let second = setup.on(&first.data_dir()).start().await;
    index_site(&second, &site, "/websites/second").await;
    let fetched = site.counts();
    for (path, _) in docs::kiln("1.0") {
        assert_eq!(fetched.get(&format!("/{path}")), Some(&1), "{path} in {fetched:?}");
    }
    assert!(service.asked().len() > asked, "a vector that was not whole was used");
    for question in QUESTIONS {
        let answer = second.client().context("/websites/second", question.text, &[]).await.expect(200);
        assert!(answer.text.contains(question.says), "{}: {}", question.text, answer.text);
    }
    check_log(&second);
}

#[tokio::test]
async fn a_flipped_bit_in_the_keys_of_a_member_changes_nothing_or_is_refused_by_name() {
    let mut cluster = TestCluster::start(1, 0).await;
    let setup = TestCluster::setup(2);
    let place = cluster.join_as(setup.clone()).await;
    let stopped = cluster.nodes[place].stop().await;
    assert!(stopped.success(), "{stopped}");
    let data = cluster.nodes[place].data_dir();
    let identity = async |client: &TestClient| {
        let told = client.get("/api/cluster").await.expect(200).json();
        (told["id"].clone(), told["node"].clone())
    };
    let cluster_id = identity(&cluster.client(0)).await.0;
    let mut begun = 0;
    // Of what the node was given when it was let in: the format, the cluster, the node, the key, the certificate.
    for (name, places) in
        [("admission", [0, 5, 17, 20, 100].as_slice()), ("master.key", &[17]), ("master.sums", &[17])]
    {
        let file = data.join("keys").join(name);
        let whole = fs::read(&file).expect("a member keeps it");
        for at in places {
            let mut flipped = whole.clone();
            flipped[*at] ^= 1;
            fs::write(&file, flipped).expect("a file can be written");
            let what = format!("{name} at {at}");
            match setup.clone().on(&data).try_start().await {
                Ok(mut node) => {
                    let client = TestClient::new(node.url(), Some(cluster.key()));
                    eventually(&format!("{what}: readiness"), async || {
                        let ready = client.get("/api/health/ready").await;
                        (ready.status == 200).then_some(())
                    })
                    .await;
                    client.get("/api/libraries").await.expect(200);
                    assert_eq!(identity(&client).await, (cluster_id.clone(), json!(2)), "{what}");
                    let is_told = node.log().contains("a damaged file is not used");
                    assert_eq!(is_told, name == "admission", "{what}: {}", node.log());
                    begun += 1;
                    check_log(&node);
                    let stopped = node.stop().await;
                    assert!(stopped.success(), "{what}: {stopped}");
                }
                Err(refused) => {
                    assert_ne!(name, "admission", "{what}: the data says who it is: {refused}");
                    assert!(!refused.contains("panicked"), "{what}: {refused}");
                    assert!(refused.contains(&*file.to_string_lossy()), "{what}: {refused}");
                    assert!(refused.contains("from a backup"), "{what}: no way out: {refused}");
                }
            }
            fs::write(&file, &whole).expect("a file can be written");
        }
    }
    assert!(begun > 0, "each was refused: whether it is still itself was never asked");
}

/// Starts a node on `data`, which refuses with a sentence that has all of `said`.
async fn refused(setup: NodeSetup, data: &Path, said: &[&str]) {
    let refused = setup.on(data).try_start().await.map(|_| ()).expect_err("a file is damaged");
    assert!(!refused.contains("panicked"), "{refused}");
    for said in said {
        assert!(refused.contains(said), "{said}: {refused}");
    }
}

/// Lets a member back in that does not run.
async fn join_again(cluster: &TestCluster, place: usize) {
    let node = &cluster.nodes[place];
    let (token, config) = (node.folder().join("token"), node.folder().join("stopped.toml"));
    fs::write(&token, cluster.token(0).await).expect("a temporary folder takes files");
    let text = format!("[node]\ndata_dir = {:?}\n[cluster]\nlisten = \"127.0.0.1:1\"\n", node.data_dir());
    fs::write(&config, text).expect("a temporary folder takes files");
    let cli = Cli::new(cluster.nodes[0].url(), Some(cluster.key()), &node.folder());
    let [token, config] = [token, config].map(|path| path.display().to_string());
    let told = cli.run(&["cluster", "join", &token, "--config", &config]).await.expect(0).stderr;
    assert!(told.contains("as before"), "{told}");
}

#[tokio::test]
async fn a_damaged_renewal_is_refused_by_name_and_another_token_is_the_way_out() {
    let mut cluster = TestCluster::start(1, 0).await;
    let place = cluster.join().await;
    let stopped = cluster.nodes[place].stop().await;
    assert!(stopped.success(), "{stopped}");
    let data = cluster.nodes[place].data_dir();
    let file = data.join("keys/renewal");
    join_again(&cluster, place).await;
    let whole = fs::read(&file).expect("it keeps what it was given");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() - 1]] {
        fs::write(&file, damaged).expect("a file can be written");
        let said = [&*file.to_string_lossy(), "from a backup", "`twinmcp cluster join`"];
        refused(TestCluster::setup(2), &data, &said).await;
    }
    join_again(&cluster, place).await;
    cluster.nodes[place].restart().await;
    eventually("what it was given to be forgotten", async || (!file.exists()).then_some(())).await;
    cluster.client(place).get("/api/libraries").await.expect(200);
    check_log(&cluster.nodes[place]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_keys_of_a_rotation_are_refused_by_name_and_other_nodes_are_the_way_out() {
    let mut cluster = TestCluster::start(3, 0).await;
    let before = fs::read(cluster.nodes[0].data_dir().join("keys/master.key")).expect("a node has a key");
    // It waits for one that does not lead.
    let away = if cluster.leader(0, None).await == 3 { 1 } else { 2 };
    let other = 3 - away;
    cluster.nodes[away].signal("STOP");
    let cli = Cli::new(cluster.nodes[0].url(), Some(cluster.key()), &cluster.nodes[0].folder());
    cli.run(&["cluster", "rotate-key", "--wait", "3"]).await.expect(1);
    let data = cluster.nodes[other].data_dir();
    let file = data.join("keys/master.also");
    eventually("the other node to have both keys", async || file.exists().then_some(())).await;
    let stopped = cluster.nodes[other].stop().await;
    assert!(stopped.success(), "{stopped}");
    let mut damaged = fs::read(&file).expect("it was just there");
    damaged[40] ^= 1;
    for damaged in [&damaged[..], &damaged[..32]] {
        fs::write(&file, damaged).expect("a file can be written");
        let said = [&*file.to_string_lossy(), "from a backup", "remove it", "`twinmcp cluster rotate-key`"];
        refused(TestCluster::setup(other + 1), &data, &said).await;
    }
    fs::remove_file(&file).expect("a file can be removed");
    cluster.nodes[other].restart().await;
    eventually("the other node to have both keys again", async || file.exists().then_some(())).await;
    cluster.nodes[away].signal("CONT");
    eventually("the rotation to end", async || {
        let folders = cluster.nodes.iter().map(|node| node.data_dir().join("keys"));
        let keys: Vec<_> =
            folders.clone().filter_map(|keys| fs::read(keys.join("master.key")).ok()).collect();
        let is_over = folders.clone().all(|keys| !keys.join("master.also").exists());
        (is_over && keys.iter().all(|key| *key == keys[0] && *key != before)).then_some(())
    })
    .await;
    for node in &cluster.nodes {
        check_log(node);
    }
}

#[tokio::test]
async fn a_key_that_an_older_build_replaced_is_refused_until_its_checksum_is_removed() {
    let mut first = TestNode::empty().await;
    let secrets = make_keys(&first.client(), 2).await;
    let data = first.data_dir();
    let [key, sums, also] =
        ["master.key", "master.sums", "master.also"].map(|name| data.join("keys").join(name));
    let before = fs::read(&sums).expect("a node keeps checksums");
    first.cli().run(&["cluster", "rotate-key"]).await.expect(0);
    eventually("the key before to be gone", async || (!also.exists()).then_some(())).await;
    let stopped = first.stop().await;
    assert!(stopped.success(), "{stopped}");
    // A build that knows no checksums leaves those of before; so does whoever copies a key by hand.
    fs::write(&sums, before).expect("a file can be written");
    let way_out = format!("if `{}` is the right one, remove `{}`", key.display(), sums.display());
    refused(NodeSetup::default(), &data, &["older build", &way_out]).await;
    fs::remove_file(&sums).expect("a file can be removed");
    let mut second = NodeSetup::default().on(&data).start().await;
    check_keys(&second.client(), &secrets).await;
    let stopped = second.stop().await;
    assert!(stopped.success(), "{stopped}");
    // From then on it is checked again.
    let mut flipped = fs::read(&key).expect("a node has a key");
    flipped[0] ^= 1;
    fs::write(&key, flipped).expect("a file can be written");
    refused(NodeSetup::default(), &data, &[&*key.to_string_lossy(), "from a backup"]).await;
}

/// Less than one change takes in the log.
const TORN_BYTES_MAX: u64 = 100;

/// Cuts the last journal of `database`: the log's in its last batch, because each was synced before the next; the
/// state's anywhere, because nothing of it need be on disk.
fn tear(data: &Path, database: &str, chance: &mut Chance) -> u64 {
    let mut journals = files(&data.join(database)).into_iter();
    let last = journals.rfind(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    let last = last.expect("a database has a journal");
    let used = used(&fs::read(&last).expect("a file can be read")) as u64;
    let torn = chance.below(if database == "raft" { TORN_BYTES_MAX } else { used } + 1);
    let at = used - torn.min(used);
    fs::File::options().write(true).open(last).and_then(|file| file.set_len(at)).expect("a file can be cut");
    at
}

#[tokio::test]
async fn a_torn_journal_opens_again_and_takes_nothing_with_it_that_the_other_database_has() {
    let node = TestNode::empty().await;
    index_kiln(&node.client()).await;
    let secrets = make_keys(&node.client(), 12).await;
    let mut chance = Chance::new();
    for round in 0..variable("TWINMCP_TEARS").unwrap_or(4) {
        let folder = tempfile::tempdir().expect("the machine has a temporary folder");
        let data = folder.path().join("data");
        node.signal("STOP");
        copy(&node.data_dir(), &data);
        node.signal("CONT");
        let torn = ["state", "raft"][usize::try_from(round % 2).expect("it is 0 or 1")];
        let at = tear(&data, torn, &mut chance);
        let what = format!("the journal of {torn} cut at {at}");
        assert_eq!(outcome(&data, &what, &secrets).await, "whole", "{what}");
    }
}

#[tokio::test]
async fn an_upload_that_the_disk_changed_is_not_indexed() {
    let node = TestNode::empty().await;
    let client = node.client();
    for is_cut in [false, true] {
        let upload = client.request(reqwest::Method::POST, "/api/jobs/uploads");
        let text = format!("# Title\n\nWhat was sent before it was cut: {is_cut}.\n");
        let upload = upload.header("content-type", "application/octet-stream").body(text);
        let hash = client.answer(upload).await.expect(201).json()["hash"].clone();
        let named = |file: &PathBuf| file.ends_with(hash.as_str().unwrap_or_default());
        let file = node.files("uploads").into_iter().find(named).expect("the upload lies on the disk");
        if is_cut {
            let file = fs::File::options().write(true).open(&file);
            file.and_then(|file| file.set_len(20)).expect("a file can be cut");
        } else {
            flip(&file, &mut Chance::new());
        }
        let body = serde_json::json!({
            "library": "/acme/changed", "version": "1", "upload": { "hash": hash, "name": "page.md" },
        });
        let job = client.post("/api/jobs", &body).await.expect(201).json();
        let job = client.ended_job(job["id"].as_str().expect("a job has an id")).await;
        assert_eq!(job["state"], "failed", "{job}");
        assert!(job.to_string().contains("send it again"), "{job}");
    }
}
