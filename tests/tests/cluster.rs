//! Several nodes, one service: what one indexes all answer, any may die, and operators steer them.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::sync::watch;
use twinmcp_tests::{Cli, TestClient, TestCluster, docs, eventually};

/// Keys a writer makes at most: an account has a hundred.
const KEYS_EACH: usize = 30;

pub(crate) const QUESTION: &str = "glaze colour codes";

/// Waits until the node at `place` answers the question about `/acme/kiln`, and gives the answer.
pub(crate) async fn answered(cluster: &TestCluster, place: usize) -> String {
    eventually("an answer", async || {
        let answer = cluster.client(place).context("/acme/kiln", QUESTION, &[]).await;
        (answer.status == 200).then_some(answer.text)
    })
    .await
}

/// Waits until the node at `place` takes a change: it makes a key, whose secret is answered.
pub(crate) async fn changed(cluster: &TestCluster, place: usize) -> String {
    eventually("a change", async || {
        let client = cluster.client(place);
        let body = json!({ "name": "made by a test", "scopes": ["docs:read"] });
        let answer = client.try_answer(client.request(Method::POST, "/api/keys").json(&body)).await.ok()?;
        (answer.status == 201).then(|| answer.json()["secret"].as_str().map(str::to_owned))?
    })
    .await
}

#[tokio::test]
async fn what_one_node_indexes_all_answer_and_the_death_of_the_leader_is_no_loss() {
    let mut cluster = TestCluster::start(3, 1).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let first = answered(&cluster, 0).await;
    for place in 1..4 {
        assert_eq!(answered(&cluster, place).await, first, "node {}", place + 1);
        let bundles = cluster.nodes[place].files("bundles");
        assert_eq!(bundles.len(), 1, "it lies on node {} itself", place + 1);
    }
    let secret = changed(&cluster, 3).await;
    eventually("the key to be known elsewhere", async || {
        let answer = cluster.client(1).with_key(&secret).context("/acme/kiln", QUESTION, &[]).await;
        (answer.status == 200).then_some(())
    })
    .await;

    let leader = cluster.leader(3, None).await;
    let dead = usize::try_from(leader).unwrap() - 1;
    cluster.nodes[dead].kill().await;
    let alive: Vec<usize> = (0..4).filter(|place| *place != dead).collect();
    for &place in &alive {
        assert_eq!(cluster.client(place).context("/acme/kiln", QUESTION, &[]).await.expect(200).text, first);
    }
    // Through a learner, while nobody may lead yet.
    let late = changed(&cluster, 3).await;
    let successor = cluster.leader(3, Some(leader)).await;
    assert_ne!(successor, leader);

    cluster.nodes[dead].restart().await;
    eventually("the one that was away to catch up", async || {
        let answer = cluster.client(dead).with_key(&late).context("/acme/kiln", QUESTION, &[]).await;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(answered(&cluster, dead).await, first);

    // That it was away is told, and not at each of the many tries to reach it.
    let log = cluster.nodes[usize::try_from(successor).unwrap() - 1].log();
    let names = [format!("\"peer\":\"{leader}\""), format!("node {leader} ")];
    let is_told =
        |line: &&str| line.contains("cannot be reached") && names.iter().any(|name| line.contains(name));
    let told = log.lines().filter(is_told).count();
    assert!((1..10).contains(&told), "{told} lines");
    assert!(log.contains("a peer is reached again"));
}

#[tokio::test]
async fn a_node_without_a_majority_reads_on_and_says_503_to_changes() {
    let mut cluster = TestCluster::start(3, 0).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let first = answered(&cluster, 2).await;
    cluster.nodes[0].kill().await;
    cluster.nodes[1].kill().await;
    assert_eq!(cluster.client(2).context("/acme/kiln", QUESTION, &[]).await.expect(200).text, first);
    let body = json!({ "name": "made by a test", "scopes": ["docs:read"] });
    let refused = cluster.client(2).post("/api/keys", &body).await.expect(503);
    assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
    // Started again alone, it still answers what it has.
    cluster.nodes[2].kill().await;
    cluster.nodes[2].restart().await;
    assert_eq!(cluster.client(2).context("/acme/kiln", QUESTION, &[]).await.expect(200).text, first);
    cluster.nodes[0].restart().await;
    changed(&cluster, 2).await;
}

#[tokio::test]
async fn a_token_lets_one_node_in_once_and_a_removed_node_is_out_for_good() {
    let mut cluster = TestCluster::start(1, 0).await;
    let token = cluster.token(0).await;
    let second = TestCluster::setup(2).joining(&token).start().await;
    cluster.nodes.push(second);
    let again = TestCluster::setup(3).joining(&token).try_start().await.unwrap_err();
    assert!(again.contains("has expired or was used"), "{again}");
    let digit = if token.as_bytes()[40] == b'0' { "1" } else { "0" };
    let forged = format!("{}{digit}{}", &token[..40], &token[41..]);
    let refused = TestCluster::setup(3).joining(&forged).try_start().await.unwrap_err();
    assert!(refused.contains("the token is wrong"), "{refused}");
    let mut pin = token.clone();
    let place = token.find('@').unwrap() - 1;
    pin.replace_range(place..=place, if &token[place..=place] == "0" { "1" } else { "0" });
    let stranger = TestCluster::setup(3).joining(&pin).try_start().await.unwrap_err();
    assert!(stranger.contains("failed to reach"), "another authority is not believed: {stranger}");
    assert!(!stranger.contains(&token[6..40]), "no part of a token is told");

    // Restarted, it needs no token.
    cluster.nodes[1].restart().await;
    changed(&cluster, 1).await;
    cluster.client(0).delete("/api/cluster/nodes/2").await.expect(204);
    let view = cluster.view(0).await;
    assert_eq!(view["nodes"].as_array().unwrap().len(), 1, "{view}");
    let body = json!({ "name": "made by a test", "scopes": ["docs:read"] });
    let keys = async || cluster.client(0).get("/api/keys").await.expect(200).json();
    let before = keys().await;
    cluster.client(1).post("/api/keys", &body).await.expect(503);
    assert_eq!(keys().await, before, "what it asks its old peers to change stays as it was");
    // Told of a failure, an operator asks again.
    cluster.client(0).delete("/api/cluster/nodes/2").await.expect(204);
    cluster.client(0).delete("/api/cluster/nodes/9").await.expect(409);
    // Its id is not given to the next one.
    cluster.join().await;
    let view = cluster.view(0).await;
    let ids: Vec<u64> =
        view["nodes"].as_array().unwrap().iter().filter_map(|node| node["id"].as_u64()).collect();
    assert_eq!(ids, [1, 3], "{view}");
}

#[tokio::test]
async fn clients_are_told_the_nodes_and_move_on_when_theirs_dies() {
    let mut cluster = TestCluster::start(3, 0).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    for place in 0..3 {
        answered(&cluster, place).await;
    }
    let listed = eventually("all nodes to be ready as node 2 hears", async || {
        let listed = cluster.client(1).get("/api/route?region=region-3").await.expect(200).json();
        let nodes = listed["route"]["nodes"].as_array().cloned().unwrap_or_default();
        (nodes.len() == 3 && nodes.iter().all(|node| node["ready"] == true)).then_some(listed)
    })
    .await;
    let ids: Vec<_> = listed["route"]["nodes"].as_array().unwrap().iter().map(|node| &node["id"]).collect();
    assert_eq!(ids, [3, 2, 1], "the caller's region, then the asked node's");
    assert_eq!(listed["jws"].as_str().unwrap().split('.').count(), 3);

    let urls = format!("{},{}", cluster.nodes[0].url(), cluster.nodes[1].url());
    let cli = Cli::new(&urls, None, &cluster.nodes[2].folder());
    let before = cli.run(&["query", "/acme/kiln", QUESTION]).await.expect(0).stdout;
    cluster.nodes[0].kill().await;
    assert_eq!(cli.run(&["query", "/acme/kiln", QUESTION]).await.expect(0).stdout, before);
    // A dead node is not sent to, and is the last resort.
    eventually("the dead node to be known as such", async || {
        let listed = cluster.client(1).get("/api/route").await.expect(200).json();
        let last = listed["route"]["nodes"].as_array()?.last()?.clone();
        (last["id"] == 1 && last["ready"] == false).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_backup_of_a_running_cluster_is_restored_into_an_empty_node() {
    let mut cluster = TestCluster::start(3, 0).await;
    cluster.client(1).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let first = answered(&cluster, 2).await;
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let cli = Cli::new(cluster.nodes[2].url(), Some(cluster.key()), home);
    let file = home.join("backup.tar");
    let file = file.to_str().unwrap();
    let told = cli.run(&["backup", file]).await.expect(0).stderr;
    assert!(told.contains("1 bundles"), "{told}");

    let data = home.join("restored");
    let config = home.join("restored.toml");
    std::fs::write(&config, format!("[node]\ndata_dir = {data:?}\n")).unwrap();
    let config = config.to_str().unwrap();
    let bytes = std::fs::read(file).unwrap();
    let cut = home.join("cut.tar");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let refused = cli.run(&["restore", cut.to_str().unwrap(), "--config", config]).await.expect(1).stderr;
    assert!(refused.contains("is no whole backup") && !data.exists(), "{refused}");
    cli.run(&["restore", file, "--config", config]).await.expect(0);
    let twice = cli.run(&["restore", file, "--config", config]).await.expect(1).stderr;
    assert!(twice.contains("not empty"), "{twice}");

    for node in &mut cluster.nodes {
        node.kill().await;
    }
    let restored = TestCluster::setup(1).on(&data).start().await;
    cluster.nodes[0] = restored;
    let view = cluster.view(0).await;
    assert_eq!(view["nodes"].as_array().unwrap().len(), 1, "{view}");
    assert_eq!(answered(&cluster, 0).await, first, "the founder's key works, and the bundle came along");
    cluster.nodes.truncate(1);
    cluster.join().await;
    assert_eq!(answered(&cluster, 1).await, first);
}

/// Makes keys at a node, one after another, until it is told to stop; how many were answered is told as it goes.
async fn write_keys(
    client: TestClient,
    writer: usize,
    answered: watch::Sender<usize>,
    stop: watch::Receiver<bool>,
) {
    for number in 0..KEYS_EACH {
        if *stop.borrow() {
            return;
        }
        let body = json!({ "name": format!("{writer}-{number}"), "scopes": ["docs:read"] });
        client.post("/api/keys", &body).await.expect(201);
        answered.send_replace(number + 1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_backup_under_writes_holds_all_that_was_answered_before_it_and_nothing_after_a_gap() {
    let cluster = TestCluster::start(3, 0).await;
    cluster.client(1).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let (stop, stopped) = watch::channel(false);
    let mut writers = Vec::new();
    for writer in 0..3 {
        let (answered, progress) = watch::channel(0);
        let written = tokio::spawn(write_keys(cluster.client(writer), writer, answered, stopped.clone()));
        writers.push((progress, written));
    }
    for (progress, _) in &mut writers {
        progress.wait_for(|answered| *answered >= 3).await.unwrap();
    }
    let before: Vec<usize> = writers.iter().map(|(progress, _)| *progress.borrow()).collect();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("backup.tar");
    let cli = Cli::new(cluster.nodes[2].url(), Some(cluster.key()), home.path());
    cli.run(&["backup", file.to_str().unwrap()]).await.expect(0);
    stop.send_replace(true);
    for (_, written) in writers {
        written.await.unwrap();
    }

    let data = home.path().join("restored");
    let config = home.path().join("restored.toml");
    std::fs::write(&config, format!("[node]\ndata_dir = {data:?}\n")).unwrap();
    cli.run(&["restore", file.to_str().unwrap(), "--config", config.to_str().unwrap()]).await.expect(0);
    let restored = TestCluster::setup(1).on(&data).start().await;
    let listed =
        TestClient::new(restored.url(), Some(cluster.key())).get("/api/keys").await.expect(200).json();
    let keys = listed["keys"].as_array().unwrap();
    for (writer, before) in before.into_iter().enumerate() {
        let prefix = format!("{writer}-");
        let numbers = keys.iter().filter_map(|key| key["name"].as_str()?.strip_prefix(&prefix)?.parse().ok());
        let mut numbers: Vec<usize> = numbers.collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "writer {writer} has a gap");
        assert!(numbers.len() >= before, "{} of {before} that were answered before", numbers.len());
    }
}

#[tokio::test]
async fn one_voter_that_is_left_goes_on_alone_when_an_operator_says_so() {
    let mut cluster = TestCluster::start(3, 0).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let first = answered(&cluster, 2).await;
    for node in &mut cluster.nodes {
        node.kill().await;
    }
    let home = cluster.nodes[2].folder();
    let config = home.join("survivor.toml");
    let data = cluster.nodes[2].data_dir();
    std::fs::write(&config, format!("[node]\ndata_dir = {data:?}\n")).unwrap();
    let cli = Cli::new(cluster.nodes[2].url(), None, &home);
    let force = ["cluster", "force-alone", "--config", config.to_str().unwrap()];
    let refused = cli.run(&force).await.expect(2).stderr;
    assert!(refused.contains("--the-others-are-lost"), "{refused}");
    let told = cli.run(&[&force[..], &["--the-others-are-lost"]].concat()).await.expect(0).stderr;
    assert!(told.contains("node 3 is the only one"), "{told}");
    cluster.nodes[2].restart().await;
    assert_eq!(answered(&cluster, 2).await, first);
    changed(&cluster, 2).await;
}

#[tokio::test]
async fn operators_see_the_nodes_and_hand_leadership_over() {
    let cluster = TestCluster::start(3, 1).await;
    let home = cluster.nodes[3].folder();
    let cli = Cli::new(cluster.nodes[3].url(), Some(cluster.key()), &home);
    let shown = cli.run(&["cluster", "status"]).await.expect(0).stdout;
    for (number, role) in [(1, "leader"), (2, "voter"), (3, "voter"), (4, "learner")] {
        let line = shown.lines().find(|line| line.contains(&format!("region-{number}"))).unwrap_or_default();
        assert!(line.contains(role) && line.contains("yes") && line.contains(" d "), "{shown}");
    }
    cli.run(&["cluster", "transfer-leader", "2"]).await.expect(0);
    assert_eq!(cluster.leader(0, Some(1)).await, 2);
    let refused = cli.run(&["cluster", "transfer-leader", "4"]).await.expect(1).stderr;
    assert!(refused.contains("does not vote"), "{refused}");
    let refused = cli.run(&["cluster", "promote", "9"]).await.expect(1).stderr;
    assert!(refused.contains("there is no node 9"), "{refused}");

    let leader = Cli::new(cluster.nodes[1].url(), Some(cluster.key()), &home);
    leader.run(&["cluster", "drain"]).await.expect(0);
    let unready = cluster.client(1).get("/api/health/ready").await.expect(503);
    assert!(unready.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    let next = cluster.leader(3, Some(2)).await;
    assert_ne!(next, 2);
    // Whoever leads now hands over to the one that is left, not back.
    let (place, last) = (usize::try_from(next).unwrap() - 1, 4 - next);
    cluster.hears(place, &[2], false).await;
    let leader_now = Cli::new(cluster.nodes[place].url(), Some(cluster.key()), &home);
    leader_now.run(&["cluster", "drain"]).await.expect(0);
    assert_eq!(cluster.leader(3, Some(next)).await, last);
    leader_now.run(&["cluster", "undrain"]).await.expect(0);
    let shown = cli.run(&["cluster", "status"]).await.expect(0).stdout;
    assert!(shown.lines().any(|line| line.contains("region-2") && line.contains("draining")), "{shown}");
    leader.run(&["cluster", "undrain"]).await.expect(0);
    cluster.client(1).get("/api/health/ready").await.expect(200);
    cli.run(&["cluster", "upgrade"]).await.expect(0);
}

#[tokio::test]
async fn voters_fail_apart_unless_an_operator_insists() {
    let place = |number: usize| if number < 4 { "here" } else { "there" };
    let setup = async |number| TestCluster::setup(number).with("node", "region", place(number));
    let cluster = TestCluster::start_as(1, 3, setup).await;
    let cli = Cli::new(cluster.nodes[2].url(), Some(cluster.key()), &cluster.nodes[2].folder());
    let refused = cli.run(&["cluster", "promote", "2"]).await.expect(1).stderr;
    assert!(refused.contains("fail together with `node-1`") && refused.contains("`node-4`"), "{refused}");
    cli.run(&["cluster", "promote", "2", "--force"]).await.expect(0);
    cli.run(&["cluster", "promote", "4"]).await.expect(0);
    // Nobody is left who would fail apart.
    cli.run(&["cluster", "promote", "3"]).await.expect(0);
    cli.run(&["cluster", "demote", "2"]).await.expect(0);
    cli.run(&["cluster", "remove", "2"]).await.expect(0);
    let view = cluster.view(0).await;
    let nodes = view["nodes"].as_array().unwrap().iter();
    let ids: Vec<_> = nodes.clone().filter_map(|node| node["id"].as_u64()).collect();
    assert_eq!(ids, [1, 3, 4], "{view}");
    assert!(nodes.clone().all(|node| node["role"] != "learner"), "{view}");
}

#[tokio::test]
async fn a_node_that_lost_its_disk_comes_back_under_a_new_id() {
    let mut cluster = TestCluster::start(2, 0).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let first = answered(&cluster, 0).await;
    let home = tempfile::tempdir().unwrap();
    let disk = home.path().join("disk");
    let token = cluster.token(0).await;
    let mut third = TestCluster::setup(3).on(&disk).joining(&token).start().await;
    cluster.client(0).post_empty("/api/cluster/nodes/3/promote").await.expect(204);
    third.kill().await;
    std::fs::remove_dir_all(&disk).unwrap();

    // Its vote may have been counted: nobody may give it again under that name.
    let refused = TestCluster::setup(3).on(&disk).joining(&token).try_start().await.map(drop).unwrap_err();
    assert!(refused.contains("token"), "{refused}");
    let place = cluster.join_as(TestCluster::setup(3).on(&disk)).await;
    let cli = Cli::new(cluster.nodes[0].url(), Some(cluster.key()), home.path());
    cli.run(&["cluster", "promote", "4"]).await.expect(0);
    cli.run(&["cluster", "remove", "3"]).await.expect(0);
    let view = cluster.view(place).await;
    let nodes = view["nodes"].as_array().unwrap().iter();
    assert_eq!(nodes.filter_map(|node| node["id"].as_u64()).collect::<Vec<_>>(), [1, 2, 4], "{view}");
    assert_eq!(answered(&cluster, place).await, first);
    // It votes: without it these two would have no majority.
    cluster.nodes[0].kill().await;
    changed(&cluster, place).await;
    changed(&cluster, 1).await;
}

#[tokio::test]
async fn a_node_that_joined_and_ended_before_any_state_came_never_founds_a_cluster_of_its_own() {
    let cluster = TestCluster::start(1, 0).await;
    let home = tempfile::tempdir().unwrap();
    let (data, token, config) =
        (home.path().join("data"), home.path().join("token"), home.path().join("node.toml"));
    let setup = TestCluster::setup(2).on(&data);
    std::fs::write(&token, cluster.token(0).await).unwrap();
    let text = format!("[node]\ndata_dir = {data:?}\n[cluster]\nlisten = \"{}\"\n", setup.peers());
    std::fs::write(&config, text).unwrap();
    let cli = Cli::new(cluster.nodes[0].url(), None, home.path());
    cli.run(&["cluster", "join", token.to_str().unwrap(), "--config", config.to_str().unwrap()])
        .await
        .expect(0);
    cluster.nodes[0].signal("STOP");
    let alone = setup.clone().try_start().await.unwrap_err();
    cluster.nodes[0].signal("CONT");
    assert!(alone.contains("no member has let this node in"), "{alone}");
    let joined = setup.start().await;
    let view =
        TestClient::new(joined.url(), Some(cluster.key())).get("/api/cluster").await.expect(200).json();
    assert_eq!(view["id"], cluster.view(0).await["id"], "{view}");
    assert_eq!(view["nodes"].as_array().unwrap().len(), 2, "{view}");
}
