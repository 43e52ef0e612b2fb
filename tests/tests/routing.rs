//! How far nodes are from one another: operators see it, and clients are sent by it.

use std::time::Duration;

use serde_json::Value;
use twinmcp_tests::{Cli, Links, TestCluster, eventually};

/// Each way between nodes 1 and 2; a round trip is longer than heartbeats are apart.
const FAR: Duration = Duration::from_millis(60);
const WARNING: &str = "the round trip to voter 2 is ";

#[tokio::test]
async fn clients_are_sent_to_what_is_near_the_asked_node_and_operators_told_of_far_voters() {
    let links = Links::default();
    links.delay_between(1, 2, FAR);
    let setup = async |number| {
        let setup = TestCluster::setup(number);
        let address = links.before(number, setup.peers()).await;
        setup.with("cluster", "address", address)
    };
    let cluster = TestCluster::start_as(3, 0, setup).await;
    let route = async |query: &str| {
        let listed = cluster.client(0).get(&format!("/api/route{query}")).await.expect(200).json();
        listed["route"]["nodes"].as_array().cloned().unwrap_or_default()
    };
    let ids = |nodes: &[Value]| nodes.iter().filter_map(|node| node["id"].as_u64()).collect::<Vec<_>>();
    let listed = eventually("node 1 to know how far the others are", async || {
        let nodes = route("").await;
        let is_known = |node: &Value| node["ready"] == true && node["round_trip_ms"].as_f64().is_some();
        (nodes.len() == 3 && nodes.iter().all(is_known)).then_some(nodes)
    })
    .await;
    assert_eq!(ids(&listed), [1, 3, 2], "by distance, not by id");
    let far = listed[2]["round_trip_ms"].as_f64().unwrap();
    assert!(far >= 2.0 * 60.0 && listed[0]["round_trip_ms"] == 0.0, "{listed:?}");
    assert_eq!(ids(&route("?region=region-1").await), [1, 3, 2], "the asked node's region");
    assert_eq!(ids(&route("?region=region-2").await), [2, 1, 3], "of another region, only that is known");

    let cli = Cli::new(cluster.nodes[0].url(), Some(cluster.key()), &cluster.nodes[0].folder());
    let shown = cli.run(&["cluster", "status"]).await.expect(0).stdout;
    let line = |region: &str| shown.lines().find(|line| line.contains(region)).unwrap_or_default();
    assert!(line("region-2").contains(" ms ") && !line("region-1").contains(" ms "), "{shown}");
    assert!(shown.contains(WARNING) && shown.contains("`cluster.heartbeat_ms` (100)"), "{shown}");
    assert!(!shown.contains("voter 3 is"), "{shown}");
    let view = cluster.view(0).await;
    assert!(view["nodes"][1]["round_trip_ms"].as_f64().is_some_and(|time| time >= 120.0), "{view}");
    let told = eventually("the log to tell it", async || {
        let told = cluster.nodes[0].log().matches(WARNING).count();
        (told > 0).then_some(told)
    })
    .await;
    assert_eq!(told, 1);
    let metrics = cluster.client(0).get("/api/metrics").await.expect(200).text;
    let count =
        metrics.lines().find(|line| line.starts_with("twinmcp_peer_round_trip_seconds_count{peer=\"2\""));
    assert!(count.is_some(), "{metrics}");
}
