//! Bundles in a bucket besides on nodes: what is published comes there, what nobody else has comes from there, and a store
//! that is away, wrong or full of garbage costs no answer.

use std::fs;

use twinmcp_tests::{NodeSetup, TestBucket, TestCluster, docs, eventually};

const QUESTION: &str = "glaze colour codes";

/// A node that keeps all, there too, and looks at its bundles often.
fn setup(bucket: &TestBucket, number: usize) -> NodeSetup {
    bucket.used_by(TestCluster::setup(number)).with("bundles", "look_every_ms", 200)
}

async fn index(cluster: &TestCluster, version: &str) {
    let archive = docs::tar(&docs::kiln(version));
    cluster.client(0).index("/acme/kiln", version, "docs.tar", archive).await;
}

/// Names of the bundles on a node's disk.
fn bundles(cluster: &TestCluster, place: usize) -> Vec<String> {
    let files = cluster.nodes[place].files("bundles").into_iter();
    let bundles = files.filter(|path| path.extension().is_some_and(|kind| kind == "bundle"));
    let mut names: Vec<_> = bundles.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

async fn in_bucket(bucket: &TestBucket, count: usize) -> Vec<String> {
    eventually("the bundles in the bucket", async || {
        let there = bucket.bundles();
        (there.len() == count).then_some(there)
    })
    .await
}

async fn on_node(cluster: &TestCluster, place: usize, expected: &[String]) {
    eventually("the bundles on a node", async || (bundles(cluster, place) == expected).then_some(())).await;
}

/// Waits until the node at `place` answers a question about a version, and gives the answer.
async fn answered(cluster: &TestCluster, place: usize, version: &str) -> String {
    eventually("an answer", async || {
        let library = format!("/acme/kiln/{version}");
        let answer = cluster.client(place).context(&library, QUESTION, &[]).await;
        (answer.status == 200).then_some(answer.text)
    })
    .await
}

fn wipe(cluster: &TestCluster, place: usize) {
    fs::remove_dir_all(cluster.nodes[place].data_dir().join("bundles")).expect("the node has bundles");
}

#[tokio::test]
async fn what_is_published_lies_in_the_bucket_once_and_nodes_that_lost_it_get_it_back_from_there() {
    let bucket = TestBucket::start().await;
    let mut cluster = TestCluster::start_as(1, 1, async |number| setup(&bucket, number)).await;
    index(&cluster, "1.0").await;
    // Large enough to be sent in parts.
    let large = docs::tar(&docs::made_up(120, 60));
    cluster.client(0).index("/acme/large", "1.0", "docs.tar", large).await;
    let there = in_bucket(&bucket, 2).await;
    for place in 0..2 {
        on_node(&cluster, place, &there).await;
    }
    let size = |name: &String| bucket.file(name).metadata().map_or(0, |file| file.len());
    assert!(there.iter().map(size).max() > Some(5 << 20), "one of them goes in parts");
    for name in &there {
        assert_eq!(blake3_of(&fs::read(bucket.file(name)).unwrap()), *name, "what lies there is the bundle");
        assert_eq!(bucket.puts(name), 1, "by the node that built it and nobody else");
    }
    let expected = answered(&cluster, 0, "1.0").await;
    for place in 0..2 {
        cluster.nodes[place].kill().await;
        wipe(&cluster, place);
    }
    for place in 0..2 {
        cluster.nodes[place].restart().await;
    }
    for place in 0..2 {
        on_node(&cluster, place, &there).await;
        assert_eq!(answered(&cluster, place, "1.0").await, expected);
    }
    let jobs = cluster.client(0).get("/api/jobs").await.expect(200).json();
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(2), "nothing was indexed again: {jobs}");
    for place in 0..2 {
        assert!(!cluster.nodes[place].log().contains(bucket.secret()));
    }
    let received = metric(&cluster, "twinmcp_bucket_bytes_total").await;
    assert!(received > Some(0.0), "bytes came from the bucket: {received:?}");
}

#[tokio::test]
async fn what_is_wrong_in_the_bucket_is_refused_and_replaced_once_a_peer_gives_the_right_one() {
    let bucket = TestBucket::start().await;
    let mut cluster = TestCluster::start_as(1, 1, async |number| setup(&bucket, number)).await;
    index(&cluster, "1.0").await;
    let there = in_bucket(&bucket, 1).await;
    let expected = answered(&cluster, 0, "1.0").await;
    on_node(&cluster, 1, &there).await;
    for place in 0..2 {
        cluster.nodes[place].kill().await;
    }
    let file = bucket.file(&there[0]);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&file, &bytes).unwrap();
    wipe(&cluster, 1);
    // Alone: the other one has the bundle and is away.
    cluster.nodes[1].restart().await;
    eventually("a word about what came from the bucket", async || {
        cluster.nodes[1].log().contains("what lies in the bucket is not this bundle").then_some(())
    })
    .await;
    let refused = cluster.client(1).context("/acme/kiln/1.0", QUESTION, &[]).await.expect(503);
    assert_eq!(refused.code(), "index_on_its_way", "{refused:?}");
    assert!(bundles(&cluster, 1).is_empty(), "nothing wrong is kept");

    cluster.nodes[0].restart().await;
    assert_eq!(answered(&cluster, 1, "1.0").await, expected);
    eventually("the right one in the bucket", async || {
        let bytes = fs::read(&file).ok()?;
        (blake3_of(&bytes) == there[0]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_holds_up_nothing_and_gets_afterwards_what_it_missed() {
    let mut bucket = TestBucket::start().await;
    bucket.down().await;
    let cluster = TestCluster::start_as(1, 1, async |number| setup(&bucket, number)).await;
    index(&cluster, "1.0").await;
    for place in 0..2 {
        answered(&cluster, place, "1.0").await;
        cluster.client(place).get("/api/health/ready").await.expect(200);
    }
    let warnings = async || {
        let view = cluster.view(0).await;
        let warnings = view["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().any(|text| text.as_str().is_some_and(|text| text.contains("bucket `docs` at http:")))
    };
    eventually("a warning to operators", async || warnings().await.then_some(())).await;
    let health = cluster.client(0).get("/api/health").await.json();
    assert!(health["notices"].to_string().contains("bundles have been on nodes only"), "{health}");
    assert_eq!(metric(&cluster, "twinmcp_bucket_up").await, Some(0.0));
    eventually("what is missing there to be counted", async || {
        (metric(&cluster, "twinmcp_bucket_missing").await == Some(1.0)).then_some(())
    })
    .await;
    assert!(bucket.bundles().is_empty());

    bucket.up().await;
    in_bucket(&bucket, 1).await;
    eventually("no warning any more", async || (!warnings().await).then_some(())).await;
    assert_eq!(metric(&cluster, "twinmcp_bucket_up").await, Some(1.0));
    // Away again, with everything published.
    bucket.down().await;
    index(&cluster, "2.0").await;
    answered(&cluster, 1, "2.0").await;
    bucket.up().await;
    in_bucket(&bucket, 2).await;
}

#[tokio::test]
async fn what_only_a_store_that_stays_away_may_have_is_indexed_again() {
    let mut bucket = TestBucket::start().await;
    let setup = async |number| setup(&bucket, number).with("bundles", "replace_after_ms", 2_000);
    let mut cluster = TestCluster::start_as(1, 0, setup).await;
    index(&cluster, "1.0").await;
    let there = in_bucket(&bucket, 1).await;
    let expected = answered(&cluster, 0, "1.0").await;
    bucket.down().await;
    cluster.nodes[0].kill().await;
    wipe(&cluster, 0);
    // Its archive went with its job: whoever reads the page is told what to do.
    cluster.nodes[0].restart().await;
    let refused = cluster.client(0).context("/acme/kiln/1.0", QUESTION, &[]).await.expect(503);
    assert_eq!(refused.code(), "index_on_its_way", "{refused:?}");
    eventually("the store to be given up", async || {
        let answer = cluster.client(0).context("/acme/kiln/1.0", QUESTION, &[]).await.expect(503);
        (answer.code() == "index_lost").then_some(())
    })
    .await;
    // The same documentation makes the same bundle.
    index(&cluster, "1.0").await;
    assert_eq!(answered(&cluster, 0, "1.0").await, expected);
    on_node(&cluster, 0, &there).await;
}

#[tokio::test]
async fn what_nobody_names_leaves_the_bucket_after_its_time_and_strangers_stay() {
    let bucket = TestBucket::start().await;
    let setup = async |number| setup(&bucket, number).with("bundles", "garbage_grace_ms", 1_000);
    let cluster = TestCluster::start_as(1, 1, setup).await;
    index(&cluster, "1.0").await;
    let stays = in_bucket(&bucket, 1).await;
    index(&cluster, "2.0").await;
    let both = in_bucket(&bucket, 2).await;
    let goes = both.iter().find(|name| !stays.contains(name)).unwrap();
    let strangers = [bucket.prefix().join("notes.txt"), bucket.prefix().join(format!("{goes}.bundle"))];
    for stranger in &strangers {
        fs::write(stranger, "mine").unwrap();
    }
    cluster.client(0).delete("/api/libraries/acme/kiln/versions/2.0").await.expect(204);
    assert_eq!(in_bucket(&bucket, 1).await, stays);
    assert!(strangers.iter().all(|stranger| stranger.is_file()), "what has another name is left alone");
    answered(&cluster, 1, "1.0").await;
    assert!(metric(&cluster, "twinmcp_bucket_removed_total").await >= Some(1.0));
}

#[tokio::test]
async fn keys_that_are_refused_and_a_bucket_that_is_not_there_are_told_with_what_to_do() {
    let bucket = TestBucket::start().await;
    let wrong = tempfile::NamedTempFile::new().unwrap();
    fs::write(wrong.path(), "not-the-secret").unwrap();
    for (section, value, sentence) in [
        (
            "secret_key_file",
            wrong.path().display().to_string(),
            "refused this node's keys (SignatureDoesNotMatch)",
        ),
        ("name", "elsewhere".to_owned(), "`elsewhere` at http://"),
    ] {
        let cluster = TestCluster::start_as(1, 0, async |number| {
            setup(&bucket, number).with("bucket", section, &value)
        })
        .await;
        index(&cluster, "1.0").await;
        answered(&cluster, 0, "1.0").await;
        let log = eventually("a word about the bucket", async || {
            let log = cluster.nodes[0].log();
            log.contains(sentence).then_some(log)
        })
        .await;
        let what_to_do = match section {
            "name" => "is not there: make the bucket, or correct `bucket.name`",
            _ => "check `bucket.access_key_file`, `bucket.secret_key_file`",
        };
        assert!(log.contains(what_to_do), "{log}");
        for secret in [bucket.secret(), "not-the-secret"] {
            assert!(!log.contains(secret), "{log}");
        }
        cluster.client(0).get("/api/health/ready").await.expect(200);
    }
}

#[tokio::test]
async fn a_copy_goes_for_one_in_the_bucket_only_where_that_counts() {
    let bucket = TestBucket::start().await;
    let cluster = TestCluster::start_as(1, 0, async |number| setup(&bucket, number)).await;
    index(&cluster, "1.0").await;
    index(&cluster, "2.0").await;
    let both = in_bucket(&bucket, 2).await;
    let mut expected = Vec::new();
    for version in ["1.0", "2.0"] {
        expected.push(answered(&cluster, 0, version).await);
    }
    // Room for either, not for both.
    let room = both.iter().map(|name| bucket.file(name).metadata().unwrap().len()).max().unwrap() * 3 / 2;
    let mut first = cluster;
    first.nodes[0].kill().await;
    let data_dir = first.nodes[0].data_dir();
    let outpost = |counts: bool| {
        setup(&bucket, 1)
            .on(&data_dir)
            .with("bundles", "keep", "on_demand")
            .with("bundles", "disk_bytes_max", room)
            .with("bucket", "counts_as_copy", counts)
    };
    let held = |folder: &std::path::Path| walk(&folder.join("bundles"));
    let mut node = outpost(false).start().await;
    eventually("several looks at a disk that is too full", async || {
        let metrics = node.client().get("/api/metrics").await.expect(200).text;
        let lists = metrics.lines().find(|line| line.contains("operation=\"list\""));
        lists.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).filter(|count| *count >= 3.0)
    })
    .await;
    assert_eq!(held(&data_dir), 2, "the bucket does not count");
    node.kill().await;

    let node = outpost(true).start().await;
    eventually("one copy to go", async || (held(&data_dir) == 1).then_some(())).await;
    for (version, expected) in ["1.0", "2.0", "1.0", "2.0"].iter().zip(expected.iter().cycle()) {
        let library = format!("/acme/kiln/{version}");
        let answer = eventually("an answer", async || {
            let answer = node.client().context(&library, QUESTION, &[]).await;
            (answer.status == 200).then_some(answer.text)
        })
        .await;
        assert_eq!(answer, *expected, "{version}");
        eventually("one copy to go", async || (held(&data_dir) == 1).then_some(())).await;
    }
    assert_eq!(bucket.bundles(), both);
}

/// How many bundles lie below a folder.
fn walk(folder: &std::path::Path) -> usize {
    let folders = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files.filter(|file| file.path().extension().is_some_and(|kind| kind == "bundle")).count()
}

fn blake3_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// What the first node counts under a name without labels of its own.
async fn metric(cluster: &TestCluster, name: &str) -> Option<f64> {
    let metrics = cluster.client(0).get("/api/metrics").await.expect(200).text;
    let line =
        metrics.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
}
