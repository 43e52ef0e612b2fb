//! Where bundles lie: a node answers what it does not have, keeps what is its own, and lets nothing go that others lack.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use twinmcp_tests::{NodeSetup, TestClient, TestCluster, docs, eventually};

const QUESTION: &str = "glaze colour codes";
/// Looks of a test, in a row, at which a bundle lies where it did: several of a node's.
const STAYS_LOOKS: usize = 40;
/// The least that a limit of bytes a second may be.
const MIB: u32 = 1024 * 1024;

/// A node of a region with others, which looks at its bundles often.
fn setup(number: usize, keep: &str) -> NodeSetup {
    TestCluster::setup(number).with("node", "region", "eu").with("bundles", "keep", keep).with(
        "bundles",
        "look_every_ms",
        200,
    )
}

/// A node that keeps its share of so many copies.
fn sharing(number: usize, copies: u8) -> NodeSetup {
    setup(number, "region").with("bundles", "copies_per_region", copies)
}

/// Names of the bundles on a node's disk.
fn bundles(cluster: &TestCluster, place: usize) -> Vec<String> {
    let files = cluster.nodes[place].files("bundles");
    let is_bundle = |path: &&std::path::PathBuf| path.extension().is_some_and(|kind| kind == "bundle");
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut names: Vec<_> = files.iter().filter(is_bundle).map(|path| name(path)).collect();
    names.sort();
    names
}

/// On how many of these nodes each bundle lies, by name.
fn copies(cluster: &TestCluster, places: &[usize]) -> Vec<(String, usize)> {
    let mut names: Vec<String> = places.iter().flat_map(|place| bundles(cluster, *place)).collect();
    names.sort();
    let counts = names.chunk_by(|one, next| one == next);
    counts.map(|same| (same[0].clone(), same.len())).collect()
}

async fn index(cluster: &TestCluster, place: usize, version: &str) {
    let archive = docs::tar(&docs::kiln(version));
    cluster.client(place).index("/acme/kiln", version, "docs.tar", archive).await;
}

/// Waits until the node at `place` answers the question about a version, and gives the answer.
async fn answered(cluster: &TestCluster, place: usize, version: &str) -> String {
    let library = format!("/acme/kiln/{version}");
    eventually("an answer", async || {
        let answer = cluster.client(place).context(&library, QUESTION, &[]).await;
        (answer.status == 200).then_some(answer.text)
    })
    .await
}

#[tokio::test]
async fn what_is_not_here_is_answered_through_a_peer_with_the_same_bytes() {
    let mut cluster = TestCluster::start_as(3, 0, async |number| sharing(number, 1)).await;
    let all = [0, 1, 2];
    for place in all {
        cluster.hears_all(place).await;
    }
    index(&cluster, 0, "1.0").await;
    // The node that built it has it first: whoever has it alone for several looks is to keep it.
    let mut seen = Vec::new();
    let owner = eventually("one copy, where it stays", async || {
        seen.push(all.into_iter().filter(|place| !bundles(&cluster, *place).is_empty()).collect::<Vec<_>>());
        let last = seen.last().filter(|owners| owners.len() == 1)?;
        let since = seen.iter().rev().take_while(|owners| *owners == last).count();
        (since >= STAYS_LOOKS).then(|| last[0])
    })
    .await;
    let ask = json!({ "libraryId": "/acme/kiln/1.0", "query": QUESTION });
    let list = [("type", "json")];
    let mut expected = Vec::new();
    for place in [owner, (owner + 1) % 3, (owner + 2) % 3] {
        answered(&cluster, place, "1.0").await;
        let client = cluster.client(place);
        let page = client.get("/libraries/acme/kiln?version=1.0&from=0").await.expect(200).text;
        let told = vec![
            client.context("/acme/kiln/1.0", QUESTION, &[]).await.expect(200).text,
            client.context("/acme/kiln/1.0", QUESTION, &list).await.expect(200).text,
            client.post("/api/mcp/query-docs", &ask).await.expect(200).text,
        ];
        if expected.is_empty() {
            expected.clone_from(&told);
        }
        assert_eq!(told, expected, "node {}", place + 1);
        assert!(page.contains("celadon"), "a library's page shows its passages: {page}");
        assert_eq!(bundles(&cluster, place).is_empty(), place != owner, "it lies where it did");
    }
    assert!(expected[0].contains("celadon"), "{}", expected[0]);
    let other = (owner + 1) % 3;
    let metrics = cluster.client(other).get("/api/metrics").await.expect(200).text;
    let counted = metrics.lines().find(|line| line.starts_with("twinmcp_search_through_peer_total"));
    assert!(counted.is_some_and(|line| line.contains("outcome=\"answered\"")), "{counted:?}");
    // What its own disk would refuse, the peer refuses.
    let nothing = cluster.client(other).context("/acme/kiln/9.9", QUESTION, &[]).await.expect(404);
    assert_eq!(nothing.code(), "tag_not_found", "{nothing:?}");

    cluster.nodes[owner].kill().await;
    let refused = cluster.client(other).context("/acme/kiln/1.0", QUESTION, &[]).await.expect(503);
    assert_eq!(refused.code(), "index_on_its_way", "{refused:?}");
    assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
    cluster.nodes[owner].restart().await;
    assert_eq!(answered(&cluster, other, "1.0").await, expected[0]);
}

#[tokio::test]
async fn a_region_keeps_two_copies_of_each_bundle_and_makes_up_for_a_node_that_dies() {
    let setup = async |number| sharing(number, 2).with("bundles", "replace_after_ms", 2_000);
    let mut cluster = TestCluster::start_as(3, 1, setup).await;
    let versions = ["1.0", "2.0", "3.0", "4.0"];
    for (place, version) in versions.iter().enumerate() {
        index(&cluster, place, version).await;
    }
    let all = [0, 1, 2, 3];
    let settled = async |cluster: &TestCluster, places: &[usize]| {
        eventually("two copies of each bundle", async || {
            let copies = copies(cluster, places);
            (copies.len() == versions.len() && copies.iter().all(|(_, count)| *count == 2)).then_some(())
        })
        .await;
    };
    settled(&cluster, &all).await;
    let mut expected = Vec::new();
    for version in versions {
        let first = answered(&cluster, 0, version).await;
        for place in all {
            assert_eq!(answered(&cluster, place, version).await, first, "{version} of node {}", place + 1);
        }
        expected.push(first);
    }
    settled(&cluster, &all).await;

    let dead = all.into_iter().find(|place| !bundles(&cluster, *place).is_empty()).unwrap();
    cluster.nodes[dead].kill().await;
    let alive: Vec<_> = all.into_iter().filter(|place| *place != dead).collect();
    for (version, expected) in versions.iter().zip(&expected) {
        for &place in &alive {
            assert_eq!(&answered(&cluster, place, version).await, expected, "while it is away");
        }
    }
    settled(&cluster, &alive).await;
    // Back again, it takes its share and the others let it go.
    cluster.nodes[dead].restart().await;
    settled(&cluster, &all).await;
    for (version, expected) in versions.iter().zip(&expected) {
        for place in all {
            assert_eq!(&answered(&cluster, place, version).await, expected);
        }
    }
}

#[tokio::test]
async fn the_last_copy_stays_until_somebody_keeps_it() {
    let full = |number| setup(number, "on_demand").with("bundles", "disk_bytes_max", 1);
    let mut cluster = TestCluster::start_as(1, 1, async |number| full(number)).await;
    index(&cluster, 0, "1.0").await;
    index(&cluster, 0, "2.0").await;
    let first = answered(&cluster, 1, "1.0").await;
    eventually("several looks at a disk that is too full", async || {
        let told = cluster.nodes[0].log().matches("more than `bundles.disk_bytes_max`").count();
        (told >= 5).then_some(())
    })
    .await;
    assert_eq!(bundles(&cluster, 0).len(), 2, "nobody else keeps them");
    assert!(bundles(&cluster, 1).is_empty(), "too large for what may lie there");

    cluster.join_as(setup(3, "everywhere")).await;
    eventually("the copies to go from where they are too many", async || {
        (bundles(&cluster, 2).len() == 2 && bundles(&cluster, 0).is_empty()).then_some(())
    })
    .await;
    for place in 0..3 {
        assert_eq!(answered(&cluster, place, "1.0").await, first);
    }
}

#[tokio::test]
async fn what_is_asked_for_comes_and_what_was_not_asked_for_longest_goes() {
    let mut cluster = TestCluster::start_as(1, 0, async |number| setup(number, "everywhere")).await;
    index(&cluster, 0, "1.0").await;
    index(&cluster, 0, "2.0").await;
    let sizes = cluster.nodes[0].files("bundles").into_iter().map(|path| path.metadata().unwrap().len());
    // Room for either, not for both.
    let room = sizes.max().unwrap() * 3 / 2;
    let place = cluster.join_as(setup(2, "on_demand").with("bundles", "disk_bytes_max", room)).await;
    let mut before = Vec::new();
    for version in ["1.0", "2.0", "1.0"] {
        let expected = answered(&cluster, 0, version).await;
        assert_eq!(answered(&cluster, place, version).await, expected);
        before = eventually("the one asked for in place of the other", async || {
            let held = bundles(&cluster, place);
            (held.len() == 1 && held != before).then_some(held)
        })
        .await;
        assert_eq!(answered(&cluster, place, version).await, expected, "from its own disk");
    }
    assert_eq!(bundles(&cluster, 0).len(), 2, "the one that keeps all has all");
}

#[tokio::test]
async fn bundles_that_nobody_names_go_from_every_node_and_nothing_else_does() {
    let setup = async |number| setup(number, "everywhere").with("bundles", "garbage_grace_ms", 1_000);
    let cluster = TestCluster::start_as(1, 1, setup).await;
    index(&cluster, 0, "1.0").await;
    index(&cluster, 0, "2.0").await;
    for place in 0..2 {
        answered(&cluster, place, "1.0").await;
        answered(&cluster, place, "2.0").await;
    }
    let before = eventually("both bundles on both nodes", async || {
        let copies = copies(&cluster, &[0, 1]);
        (copies.len() == 2 && copies.iter().all(|(_, count)| *count == 2)).then_some(copies)
    })
    .await;
    let notes = cluster.nodes[1].data_dir().join("bundles/notes.txt");
    std::fs::write(&notes, "mine").unwrap();
    // Version 1.0 has other pages now; 2.0 stays.
    let archive = docs::tar(&docs::kiln("1.1"));
    cluster.client(0).index("/acme/kiln", "1.0", "docs.tar", archive).await;
    let after = eventually("the old bundle to go", async || {
        let copies = copies(&cluster, &[0, 1]);
        (copies.len() == 2 && copies != before && copies.iter().all(|(_, count)| *count == 2))
            .then_some(copies)
    })
    .await;
    let stayed = before.iter().filter(|bundle| after.contains(bundle)).count();
    assert_eq!(stayed, 1, "{before:?} {after:?}");
    for place in 0..2 {
        answered(&cluster, place, "1.0").await;
        answered(&cluster, place, "2.0").await;
    }
    assert!(notes.is_file(), "a stranger's file is left alone");
    cluster.client(0).delete("/api/libraries/acme/kiln/versions/2.0").await.expect(204);
    eventually("the bundle of a removed version to go", async || {
        let left = copies(&cluster, &[0, 1]);
        (left.len() == 1 && left[0].1 == 2 && after.contains(&left[0])).then_some(())
    })
    .await;
}

/// A voter and two learners that have the bundle of so many pages, and its bytes.
async fn three_with_a_bundle(pages: usize) -> (TestCluster, u64) {
    let cluster = TestCluster::start_as(1, 2, async |number| setup(number, "everywhere")).await;
    let archive = docs::tar(&docs::made_up(pages, 50));
    cluster.client(0).index("/acme/large", "1.0", "docs.tar", archive).await;
    eventually("the bundle on the first three nodes", async || {
        (0..3).all(|place| bundles(&cluster, place).len() == 1).then_some(())
    })
    .await;
    let bytes =
        cluster.nodes[0].files("bundles")[0].metadata().expect("a bundle that is there has a length").len();
    (cluster, bytes)
}

#[tokio::test]
async fn a_large_bundle_comes_from_several_peers_at_once() {
    let (mut cluster, bytes) = three_with_a_bundle(60).await;
    let mut before = Vec::new();
    for place in 0..3 {
        before.push(counter(&cluster, place, "twinmcp_bundles_sent_bytes_total").await);
    }
    let place =
        cluster.join_as(setup(4, "everywhere").with("bundles", "fetch_bytes_per_s_max", 8 << 20)).await;
    eventually("the bundle on the fourth", async || (bundles(&cluster, place).len() == 1).then_some(()))
        .await;
    eventually("the fetch to be counted", async || {
        (counter(&cluster, place, "twinmcp_bundles_fetched_bytes_total").await == bytes).then_some(())
    })
    .await;
    let (mut givers, mut sum) = (0, 0);
    for (giver, before) in before.into_iter().enumerate() {
        let sent = counter(&cluster, giver, "twinmcp_bundles_sent_bytes_total").await - before;
        givers += usize::from(sent > 0);
        sum += sent;
    }
    assert!(givers >= 2, "{bytes} bytes from {givers} nodes");
    assert!((bytes..2 * bytes).contains(&sum), "parts and not the whole from each: {sum} of {bytes} bytes");
}

#[tokio::test]
async fn a_bundle_comes_no_faster_than_allowed_and_goes_on_elsewhere_when_a_giver_dies() {
    let (mut cluster, bytes) = three_with_a_bundle(90).await;
    let sent = async |client: &TestClient| counted(client, "twinmcp_bundles_sent_bytes_total").await;
    let clients = [cluster.client(1), cluster.client(2)];
    let before = [sent(&clients[0]).await, sent(&clients[1]).await];
    let mut givers = cluster.nodes.split_off(1);
    // What the first second brings is a burst.
    let least = Duration::from_secs_f64((bytes as f64 / f64::from(MIB)) - 1.0);
    assert!(least > Duration::from_secs(2), "{bytes} bytes are too few to tell");
    let slow = setup(4, "everywhere").with("bundles", "fetch_bytes_per_s_max", MIB);
    let begun = Instant::now();
    let dies = async {
        let at_it = eventually("one of the two to be at it", async || {
            let now = [sent(&clients[0]).await, sent(&clients[1]).await];
            (0..2).find(|at| now[*at] > before[*at])
        })
        .await;
        givers[at_it].kill().await;
    };
    let (place, ()) = tokio::join!(cluster.join_as(slow), dies);
    eventually("the bundle on the fourth", async || (bundles(&cluster, place).len() == 1).then_some(()))
        .await;
    let took = begun.elapsed();
    assert!(took > least, "{bytes} bytes in {took:?}");
    // One fetch: what broke off went on.
    let metrics = cluster.client(place).get("/api/metrics").await.expect(200).text;
    let fetches: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("twinmcp_bundles_fetches_total")).collect();
    assert!(
        matches!(fetches[..], [here] if here.contains("outcome=\"here\"") && here.ends_with(" 1")),
        "{fetches:?}"
    );
}

/// What a node counts under a name without labels; 0 before it has counted anything.
async fn counter(cluster: &TestCluster, place: usize, name: &str) -> u64 {
    counted(&cluster.client(place), name).await
}

async fn counted(client: &TestClient, name: &str) -> u64 {
    let metrics = client.get("/api/metrics").await.expect(200).text;
    let line =
        metrics.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default() as u64
}
