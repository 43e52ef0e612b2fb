//! Nodes of two builds in one cluster: the oldest that is supported, and this one. `cargo xtask check` builds the other,
//! `cargo xtask previous` does nothing else.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::sync::watch;
use twinmcp_tests::{NodeSetup, TestClient, TestCluster, docs, eventually, twinmcp, with_parameters};

use crate::cluster::{QUESTION, answered, changed};

/// The program of the previous build.
fn previous() -> PathBuf {
    let named = std::env::var_os("TWINMCP_PREVIOUS").map(PathBuf::from);
    named.expect("TWINMCP_PREVIOUS names the program of the previous build; `cargo xtask previous` builds it")
}

/// Waits until every node opens its door to each of the keys that were made.
async fn known_everywhere(cluster: &TestCluster, secrets: &[String]) {
    for place in 0..cluster.nodes.len() {
        for secret in secrets {
            eventually("a key to be known", async || {
                let client = cluster.client(place).with_key(secret);
                (client.context("/acme/kiln", QUESTION, &[]).await.status == 200).then_some(())
            })
            .await;
        }
    }
}

/// Asks one question after the other of whichever node answers until told to stop; how many were answered.
///
/// # Panics
/// When no node answered one.
async fn ask(clients: Vec<TestClient>, until: watch::Receiver<bool>) -> usize {
    let question = with_parameters("/api/v2/context", &[("libraryId", "/acme/kiln"), ("query", QUESTION)]);
    let mut answered = 0;
    while !*until.borrow() {
        let mut failures = Vec::new();
        // Beginning at another node each time, and moving on as clients do.
        for at in 0..clients.len() {
            let client = &clients[(answered + at) % clients.len()];
            match client.try_answer(client.request(Method::GET, &question)).await {
                Ok(answer) if answer.status == 200 => break,
                other => failures.push(format!("{other:?}")),
            }
        }
        assert!(failures.len() < clients.len(), "no node answered: {failures:?}");
        answered += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    answered
}

/// Hands leadership to a node, and waits until it leads.
async fn led_by(cluster: &TestCluster, leader: u64) {
    eventually("leadership to be handed over", async || {
        let client = cluster.client(0);
        let lead = client.request(Method::POST, &format!("/api/cluster/nodes/{leader}/lead"));
        // Refused while it leads already, or is just being elected.
        let _ = client.try_answer(lead).await;
        (cluster.view(0).await["leader"] == leader).then_some(())
    })
    .await;
}

/// Indexes a library on node 1, and waits until every node answers for it.
async fn indexed(cluster: &TestCluster, library: &str) {
    cluster.client(0).index(library, "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    for place in 0..cluster.nodes.len() {
        eventually("an answer of what was indexed meanwhile", async || {
            let answer = cluster.client(place).context(library, QUESTION, &[]).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_upgraded_one_by_one_and_one_goes_back_without_losing_anything() {
    let previous = previous();
    let old = async |number| TestCluster::setup(number).built_as(&previous);
    let mut cluster = TestCluster::start_as(3, 1, old).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let first = answered(&cluster, 0).await;
    let mut secrets = vec![changed(&cluster, 3).await];
    known_everywhere(&cluster, &secrets).await;

    let (stop, until) = watch::channel(false);
    let asking = tokio::spawn(ask((0..4).map(|place| cluster.client(place)).collect(), until));
    // A learner first, then voters, of which one goes back, as after a bad first impression.
    // Each build leads the other: node 1 is a new one among old ones, then node 3 an old one among new ones.
    // Whoever asks for more than the oldest of them can read is given that.
    let oldest = cluster.view(0).await["version"].clone();
    let steps = [
        (3, twinmcp(), None),
        (0, twinmcp(), Some(1)),
        (0, previous.clone(), None),
        (0, twinmcp(), None),
        (1, twinmcp(), Some(3)),
        (2, twinmcp(), None),
    ];
    for (place, program, leader) in steps {
        cluster.client(place).post_empty("/api/cluster/upgrade").await.expect(204);
        assert_eq!(cluster.view(0).await["version"], oldest);
        cluster.nodes[place].restart_as(&program).await;
        for place in 0..4 {
            secrets.push(changed(&cluster, place).await);
            assert_eq!(answered(&cluster, place).await, first, "node {}", place + 1);
        }
        known_everywhere(&cluster, &secrets).await;
        if let Some(leader) = leader {
            led_by(&cluster, leader).await;
            for place in 0..4 {
                secrets.push(changed(&cluster, place).await);
            }
            known_everywhere(&cluster, &secrets).await;
            indexed(&cluster, &format!("/acme/kiln-{leader}")).await;
        }
    }
    // What the previous build could not read waits for the operator's word.
    let person = json!({ "email": "ada@example.org", "password": "correct horse battery" });
    let refused = cluster.client(0).post("/api/accounts", &person).await.expect(503);
    assert_eq!(refused.code(), "cluster_upgrade_needed");
    stop.send_replace(true);
    assert!(asking.await.expect("every question was answered") > 0);
    let home = cluster.nodes[3].folder();
    let cli = twinmcp_tests::Cli::new(cluster.nodes[3].url(), Some(cluster.key()), &home);
    for verb in ["rotate-key", "rotate-ca"] {
        let refused = cli.run(&["cluster", verb]).await.expect(1).stderr;
        assert!(refused.contains("twinmcp cluster upgrade"), "{refused}");
    }
    // A leader of the previous build could not tell whether voters fail apart.
    let refused = cli.run(&["cluster", "promote", "4"]).await.expect(1).stderr;
    assert!(refused.contains("twinmcp cluster upgrade"), "{refused}");
    cli.run(&["cluster", "promote", "4", "--force"]).await.expect(0);
    cli.run(&["cluster", "demote", "4"]).await.expect(0);
    cli.run(&["cluster", "upgrade"]).await.expect(0);
    for verb in ["rotate-key", "rotate-ca"] {
        cli.run(&["cluster", verb]).await.expect(0);
    }
    cli.run(&["cluster", "promote", "4"]).await.expect(0);
    cluster.client(0).post("/api/accounts", &person).await.expect(201);
    secrets.push(changed(&cluster, 2).await);
    known_everywhere(&cluster, &secrets).await;
}

#[tokio::test]
async fn what_the_previous_build_wrote_opens_also_after_a_crash() {
    let previous = previous();
    for crashes in [false, true] {
        let mut node = NodeSetup::default().built_as(&previous).start().await;
        node.client().index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
        let ask =
            async |client: TestClient| client.context("/acme/kiln", QUESTION, &[]).await.expect(200).text;
        let before = ask(node.client()).await;
        let keys = node.client().get("/api/keys").await.expect(200).text;
        if crashes {
            node.kill().await;
        }
        node.restart_as(&twinmcp()).await;
        assert_eq!(ask(node.client()).await, before);
        assert_eq!(node.client().get("/api/keys").await.expect(200).text, keys);
    }
}
