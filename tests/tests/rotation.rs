//! The cluster's key and its authority are replaced: under load without a failed request, and without the nodes that are away.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use twinmcp_tests::{Answer, Cli, TestClient, TestCluster, TestNode, docs, eventually, with_parameters};

use crate::cluster::{QUESTION, answered, changed};

/// Requests of one caller, all of which were answered.
async fn call(client: TestClient, until: watch::Receiver<bool>) -> usize {
    let question = with_parameters("/api/v2/context", &[("libraryId", "/acme/kiln"), ("query", QUESTION)]);
    let mut answered = 0;
    while !*until.borrow() {
        client.answer(client.request(Method::GET, &question)).await.expect(200);
        let (id, _) = client.create_key(&["docs:read"]).await;
        client.delete(&format!("/api/keys/{id}")).await.expect(204);
        answered += 3;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answered
}

fn key_of(node: &TestNode) -> Vec<u8> {
    fs::read(node.data_dir().join("keys/master.key")).expect("a node has the cluster's key")
}

/// The one key that all nodes have, and no other.
fn key_of_all(cluster: &TestCluster) -> Vec<u8> {
    let keys: BTreeSet<Vec<u8>> = cluster.nodes.iter().map(key_of).collect();
    assert_eq!(keys.len(), 1, "nodes have different keys");
    for node in &cluster.nodes {
        assert!(!node.data_dir().join("keys/master.also").exists(), "a key of before is kept");
    }
    keys.into_iter().next().expect("a cluster has nodes")
}

fn cli(cluster: &TestCluster, place: usize) -> Cli {
    Cli::new(cluster.nodes[place].url(), Some(cluster.key()), &cluster.nodes[place].folder())
}

fn rotation(view: &Value, secret: &str) -> Value {
    let mut rotations = view["rotations"].as_array().into_iter().flatten();
    rotations.find(|rotation| rotation["secret"] == secret).cloned().unwrap_or_default()
}

/// Calls the webhook of the library with its secret.
async fn push(client: &TestClient, secret: &str) -> Answer {
    let request = client.anonymous().request(Method::POST, "/api/webhooks/acme/kiln");
    let request = request.header("x-gitlab-token", secret).header("content-type", "application/json");
    client.answer(request.body(r#"{ "ref": "refs/heads/main" }"#)).await
}

async fn webhook(client: &TestClient) -> String {
    let made = client.post("/api/libraries/acme/kiln/webhook", &json!({})).await.expect(201).json();
    made["secret"].as_str().unwrap_or_default().to_owned()
}

/// Waits until a key that was made on one node opens the door of the other.
async fn follows(cluster: &TestCluster, from: usize, to: usize) {
    let secret = changed(cluster, from).await;
    eventually("a change to arrive", async || {
        let answer = cluster.client(to).with_key(&secret).context("/acme/kiln", QUESTION, &[]).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// A configuration file for what is done to a node while it does not run.
fn configuration(node: &TestNode) -> String {
    let file = node.folder().join("stopped.toml");
    let text = format!("[node]\ndata_dir = {:?}\n[cluster]\nlisten = \"127.0.0.1:1\"\n", node.data_dir());
    fs::write(&file, text).expect("a temporary folder takes files");
    file.display().to_string()
}

async fn restored(backup: &Path, key: &Path, home: &Path) -> TestNode {
    let (data, config) = (home.join("data"), home.join("restored.toml"));
    fs::create_dir_all(home).expect("a temporary folder takes folders");
    let text = format!("[node]\ndata_dir = {data:?}\n");
    fs::write(&config, text).expect("a temporary folder takes files");
    let cli = Cli::new("http://127.0.0.1:1", None, home);
    let [backup, key, config] = [backup, key, &config].map(|path| path.to_str().unwrap_or_default());
    cli.run(&["restore", backup, "--config", config, "--master-key", key]).await.expect(0);
    TestCluster::setup(1).on(&data).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_replaced_under_load_and_no_request_fails() {
    let mut cluster = TestCluster::start(3, 0).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    for place in 0..3 {
        answered(&cluster, place).await;
    }
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (old_key, secret) = (key_of_all(&cluster), webhook(&cluster.client(0)).await);
    let kid = cluster.client(1).get("/api/route").await.expect(200).json()["jws"].clone();
    let (before, kept_key) = (home.join("before.tar"), home.join("before.key"));
    cli(&cluster, 0).run(&["backup", before.to_str().unwrap()]).await.expect(0);
    fs::write(&kept_key, &old_key).unwrap();

    let (stop, until) = watch::channel(false);
    let mut callers = JoinSet::new();
    for place in (0..3).chain(0..3) {
        callers.spawn(call(cluster.client(place), until.clone()));
    }
    // From a node that leads and from one that does not; the second time what was kept for webhooks is sealed anew as well.
    for (place, verb) in [(0, "rotate-key"), (1, "rotate-ca"), (2, "rotate-key")] {
        let told = cli(&cluster, place).run(&["cluster", verb]).await.expect(0).stderr;
        assert!(told.contains("was replaced on every node"), "{verb}: {told}");
    }
    stop.send_replace(true);
    let calls: usize = callers.join_all().await.iter().sum();
    assert!(calls > 100, "{calls} calls");

    let new_key = eventually("every node to drop the key before", async || {
        let is_over = cluster.nodes.iter().all(|node| !node.data_dir().join("keys/master.also").exists());
        is_over.then(|| key_of_all(&cluster))
    })
    .await;
    assert_ne!(new_key, old_key);
    for place in 0..3 {
        push(&cluster.client(place), &secret).await.expect(200);
        let listed = cluster.client(place).get("/api/route").await.expect(200).json();
        assert_ne!(
            listed["jws"].as_str().unwrap().split('.').next(),
            kid.as_str().unwrap().split('.').next()
        );
        assert_eq!(listed["succession"].as_array().unwrap().len(), 2, "{listed}");
    }
    // All at once, on what they kept; then a new one joins.
    for node in &mut cluster.nodes {
        node.kill().await;
    }
    let (first, rest) = cluster.nodes.split_first_mut().unwrap();
    let (second, third) = rest.split_first_mut().unwrap();
    tokio::join!(first.restart(), second.restart(), third[0].restart());
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        follows(&cluster, from, to).await;
    }
    push(&cluster.client(2), &secret).await.expect(200);
    let newer = webhook(&cluster.client(1)).await;
    push(&cluster.client(1), &newer).await.expect(200);
    push(&cluster.client(1), &secret).await.expect(403);
    let joined = cluster.join().await;
    follows(&cluster, 0, joined).await;
    assert_eq!(key_of_all(&cluster), new_key);

    // A backup is opened by the key of its time.
    let (after, new_kept) = (home.join("after.tar"), home.join("after.key"));
    cli(&cluster, 1).run(&["backup", after.to_str().unwrap()]).await.expect(0);
    fs::write(&new_kept, &new_key).unwrap();
    for (backup, key, secret, place) in
        [(&before, &kept_key, &secret, "old"), (&after, &new_kept, &newer, "new")]
    {
        let node = restored(backup, key, &home.join(place)).await;
        let client = TestClient::new(node.url(), Some(cluster.key()));
        client.context("/acme/kiln", QUESTION, &[]).await.expect(200);
        push(&client, secret).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_waits_for_a_node_that_is_away_and_one_that_is_left_behind_comes_back() {
    let mut cluster = TestCluster::start(3, 0).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    for place in 0..3 {
        answered(&cluster, place).await;
    }
    let rotate = async |verb: &str, more: &[&str]| -> twinmcp_tests::Finished {
        cli(&cluster, 0).run(&[&["cluster", verb], more].concat()).await
    };
    cluster.nodes[2].signal("STOP");
    let told = rotate("rotate-key", &["--wait", "3"]).await.expect(1).stderr;
    assert!(told.contains("waits for node 3") && told.contains("--leave-behind"), "{told}");
    let refused = rotate("rotate-ca", &["--wait", "3"]).await.expect(1).stderr;
    assert!(refused.contains("Another rotation is under way"), "{refused}");
    let shown = cli(&cluster, 1).run(&["cluster", "status"]).await.expect(0).stdout;
    assert!(
        shown.contains("the cluster's key is being replaced: nodes get the new one; waits for node 3"),
        "{shown}"
    );
    cluster.nodes[2].signal("CONT");
    rotate("rotate-key", &[]).await.expect(0);
    eventually("all to have one key", async || {
        let is_over = cluster.nodes.iter().all(|node| !node.data_dir().join("keys/master.also").exists());
        is_over.then(|| key_of_all(&cluster))
    })
    .await;

    // Left behind by a rotation of the key, it gets the new one by itself.
    cluster.nodes[2].kill().await;
    let behind = key_of(&cluster.nodes[2]);
    let told = cli(&cluster, 0).run(&["cluster", "rotate-key", "--leave-behind"]).await.expect(0).stderr;
    assert!(told.contains("goes on without node 3"), "{told}");
    let key = key_of(&cluster.nodes[0]);
    assert_ne!(key, behind);
    cluster.nodes[2].restart().await;
    follows(&cluster, 0, 2).await;
    eventually("the node that was away to have the key", async || {
        (key_of(&cluster.nodes[2]) == key).then_some(())
    })
    .await;
    follows(&cluster, 2, 1).await;

    // Left behind by a rotation of the authority it is a stranger, which it says; a token lets it back in, though its state is
    // sealed with a key that is gone.
    cluster.nodes[2].kill().await;
    for verb in ["rotate-key", "rotate-ca"] {
        cli(&cluster, 0).run(&["cluster", verb, "--leave-behind"]).await.expect(0);
    }
    cluster.nodes[2].restart().await;
    cluster.client(2).context("/acme/kiln", QUESTION, &[]).await.expect(200);
    eventually("it to say that it missed a rotation", async || {
        let warnings = cluster.view(2).await["warnings"].to_string();
        warnings.contains("no authority in common").then_some(())
    })
    .await;
    assert!(cluster.nodes[2].log().contains("twinmcp cluster join"), "{}", cluster.nodes[2].log());
    cluster.nodes[2].stop().await;
    let token = cluster.nodes[2].folder().join("token");
    fs::write(&token, cluster.token(1).await).unwrap();
    let config = configuration(&cluster.nodes[2]);
    let join = ["cluster", "join", token.to_str().unwrap(), "--config", &config];
    let told = cli(&cluster, 2).run(&join).await.expect(0).stderr;
    assert!(told.contains("this is node 3 of cluster") && told.contains("as before"), "{told}");
    let again = cli(&cluster, 2).run(&join).await.expect(1).stderr;
    assert!(again.contains("has expired or was used"), "{again}");
    cluster.nodes[2].restart().await;
    follows(&cluster, 0, 2).await;
    follows(&cluster, 2, 1).await;
    eventually("what it was given to be forgotten", async || {
        (!cluster.nodes[2].data_dir().join("keys/renewal").exists()).then_some(())
    })
    .await;
    cluster.nodes[2].restart().await;
    follows(&cluster, 0, 2).await;
    assert_eq!(rotation(&cluster.view(2).await, "authority")["step"], "settled");
}

#[tokio::test]
async fn a_node_alone_replaces_its_key_and_has_no_authority_to_replace() {
    let mut node = TestNode::empty().await;
    let before = key_of(&node);
    node.client().index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let secret = webhook(&node.client()).await;
    node.cli().run(&["cluster", "rotate-key"]).await.expect(0);
    let refused = node.cli().run(&["cluster", "rotate-ca"]).await.expect(1).stderr;
    assert!(refused.contains("has no authority"), "{refused}");
    node.client().anonymous().post_empty("/api/cluster/rotations/key").await.expect(401);
    node.client().post_empty("/api/cluster/rotations/everything").await.expect(400);
    node.restart().await;
    assert_ne!(key_of(&node), before);
    push(&node.client(), &secret).await.expect(200);
}

#[tokio::test]
async fn the_authority_waits_its_turn_while_the_key_is_replaced() {
    let node = TestNode::empty().await;
    for _ in 0..10 {
        node.client().post_empty("/api/cluster/rotations/key").await.expect(200);
        // At every moment of it, also when the next key is agreed on and this node has yet to take it up.
        eventually("the key to be replaced", async || {
            let refused = node.client().post_empty("/api/cluster/rotations/authority").await.expect(409);
            assert_eq!(refused.code(), "rotation_refused");
            (rotation(&node.client().get("/api/cluster").await.expect(200).json(), "key")["step"]
                == "settled")
                .then_some(())
        })
        .await;
    }
}
