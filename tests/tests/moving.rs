//! `twinmcp mcp` in a cluster: it asks a node that takes requests, and loses no call when that one dies.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use twinmcp_tests::{Cli, TestCluster, docs, eventually};

use super::cluster::{QUESTION, answered};
use super::stdio::{call, handshake};

/// Calls that are under way when the node dies, and after it.
const CALLS: u64 = 60;

/// Whether the node at `place` was asked by a relay: nobody else asks in this way.
async fn asked(cluster: &TestCluster, place: usize) -> bool {
    let metrics = cluster.client(place).get("/api/metrics").await.expect(200).text;
    let is_count = |line: &&str| line.starts_with("http_server_request_duration_seconds_count");
    metrics.lines().filter(is_count).any(|line| line.contains("/api/mcp/query-docs"))
}

#[tokio::test]
async fn a_relay_leaves_a_node_that_drains_and_loses_no_call_when_the_next_one_dies() {
    let mut cluster = TestCluster::start(3, 0).await;
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let mut expected = String::new();
    for place in 0..3 {
        expected = answered(&cluster, place).await;
    }
    cluster.client(0).post_empty("/api/cluster/drain").await.expect(204);
    eventually("the drained node to be the last resort", async || {
        let listed = cluster.client(0).get("/api/route").await.expect(200).json();
        let ready = |id: u64| {
            let nodes = listed["route"]["nodes"].as_array()?;
            nodes.iter().find(|node| node["id"] == id).map(|node| node["ready"] == true)
        };
        ([1, 2, 3].map(ready) == [Some(false), Some(true), Some(true)]).then_some(())
    })
    .await;

    let cli = Cli::new(cluster.nodes[0].url(), None, &cluster.nodes[0].folder());
    let mut command = cli.command(&["mcp"]);
    let mut relay = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut input = relay.stdin.take().unwrap();
    let mut output = BufReader::new(relay.stdout.take().unwrap()).lines();
    let question = json!({ "libraryId": "/acme/kiln", "query": QUESTION });
    let mut say = async |message: Value| input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    let mut hear = async || {
        let line =
            tokio::time::timeout(twinmcp_tests::DEADLINE, output.next_line()).await.expect("an answer");
        serde_json::from_str::<Value>(&line.unwrap().unwrap()).unwrap()
    };
    for message in handshake() {
        say(message).await;
    }
    hear().await;
    // It begins with the node it was told, until it has looked around.
    let mut number = 1;
    let near = eventually("the relay to have left the drained node", async || {
        number += 1;
        say(call(number, "query-docs", &question)).await;
        hear().await;
        match (asked(&cluster, 1).await, asked(&cluster, 2).await) {
            (true, _) => Some(1),
            (_, true) => Some(2),
            _ => None,
        }
    })
    .await;

    let first = number + 1;
    for number in first..first + CALLS {
        if number == first + CALLS / 2 {
            cluster.nodes[near].kill().await;
        }
        say(call(number, "query-docs", &question)).await;
    }
    let mut heard = Vec::new();
    for _ in 0..CALLS {
        let answer = hear().await;
        assert_eq!(answer["result"]["content"][0]["text"], expected, "{answer}");
        heard.push(answer["id"].as_u64().unwrap());
    }
    heard.sort_unstable();
    assert_eq!(heard, (first..first + CALLS).collect::<Vec<_>>());
}
