//! Reading what was just written: whoever carries the log index of a change finds it on every node, or is told to come again; whoever asks
//! for the newest state gets that.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{Answer, Links, TestClient, TestCluster, eventually};

const LOG_INDEX: &str = "twinmcp-log-index";
const CONSISTENCY: &str = "twinmcp-consistency";
/// Each way to a node that is far; less than heartbeats and connections are waited for.
pub(crate) const FAR: Duration = Duration::from_millis(150);
/// How long a node lets a request wait.
const BOUND: Duration = Duration::from_secs(2);

/// Three voters whose links a test can cut and stretch without an election.
pub(crate) async fn cluster(links: &Links) -> TestCluster {
    TestCluster::start_as(3, 0, async |number| {
        let setup = TestCluster::setup(number);
        let address = links.before(number, setup.peers()).await;
        let setup = setup.with("cluster", "address", address);
        setup.with("cluster", "election_min_ms", 2_000).with("cluster", "election_max_ms", 4_000)
    })
    .await
}

/// Makes a key; the answer, the key's id and its secret.
async fn make_key(client: &TestClient) -> (Answer, String, String) {
    let made = client.post("/api/keys", &json!({ "name": "new", "scopes": ["admin"] })).await.expect(201);
    let body = made.json();
    let text = |value: &Value| value.as_str().expect("a new key has an id and a secret").to_owned();
    (made, text(&body["key"]["id"]), text(&body["secret"]))
}

/// Looks at the keys with a header besides.
async fn look(client: &TestClient, name: &str, value: &str) -> Answer {
    client.answer(client.request(Method::GET, "/api/keys").header(name, value)).await
}

#[tokio::test]
async fn a_key_made_on_one_node_opens_every_other_at_once_for_whoever_carries_its_log_index() {
    let links = Links::default();
    let cluster = cluster(&links).await;
    links.delay_between(1, 3, FAR);
    links.delay_between(2, 3, FAR);
    let mut before = 0;
    for _ in 0..3 {
        let (made, _, secret) = make_key(&cluster.client(0)).await;
        let index: u64 = made.header(LOG_INDEX).parse().expect("a change tells its log index");
        assert!(index > before, "{index} after {before}");
        before = index;
        for place in [2, 1, 0] {
            let answer = look(&cluster.client(place).with_key(&secret), LOG_INDEX, &index.to_string()).await;
            assert_eq!(answer.status, 200, "node {}: {}", place + 1, answer.text);
            assert_eq!(answer.header(LOG_INDEX), "", "nothing was changed by looking");
        }
    }
    for (name, value) in [(LOG_INDEX, "soon"), (LOG_INDEX, "-1"), (LOG_INDEX, ""), (CONSISTENCY, "strong")] {
        let refused = look(&cluster.client(0), name, value).await.expect(400);
        assert_eq!(refused.code(), "validation_error", "{name}: {value}");
    }
    // Nobody gave that one out.
    let refused = look(&cluster.client(0), LOG_INDEX, &u64::MAX.to_string()).await.expect(503);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("behind", "1"));
}

#[tokio::test]
async fn a_node_that_is_cut_off_says_that_it_is_behind_instead_of_what_it_does_not_know() {
    let links = Links::default();
    let cluster = cluster(&links).await;
    links.cut(3, &[1, 2]);
    let (made, _, secret) = make_key(&cluster.client(0)).await;
    let index = made.header(LOG_INDEX).to_owned();
    let behind = cluster.client(2).with_key(&secret);
    behind.get("/api/keys").await.expect(401);
    let began = Instant::now();
    let refused = look(&behind, LOG_INDEX, &index).await.expect(503);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("behind", "1"));
    assert!(began.elapsed() >= BOUND, "it waited for {:?}", began.elapsed());
    // Whom it knows it still answers, from what it has, but not as if that were the newest.
    let known = cluster.client(2);
    known.get("/api/keys").await.expect(200);
    let refused = look(&known, CONSISTENCY, "linearizable").await.expect(503);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("busy", "1"));
    look(&cluster.client(1).with_key(&secret), LOG_INDEX, &index).await.expect(200);

    // From now on it is a matter of time, and never a wrong answer.
    let heals = async {
        tokio::time::sleep(FAR).await;
        links.heal();
    };
    let answers = eventually("the node to have the key", async || {
        let answer = look(&behind, LOG_INDEX, &index).await;
        match answer.status {
            200 => Some(()),
            _ => {
                assert_eq!((answer.status, answer.code().as_str()), (503, "behind"));
                None
            }
        }
    });
    tokio::join!(heals, answers);
    // By now without.
    behind.get("/api/keys").await.expect(200);
}

#[tokio::test]
async fn a_linearizable_read_of_a_follower_sees_the_newest_change_of_any_node() {
    let links = Links::default();
    let cluster = cluster(&links).await;
    links.delay_between(1, 3, FAR);
    links.delay_between(2, 3, FAR);
    for place in [0, 1, 0, 1] {
        let (_, id, secret) = make_key(&cluster.client(place)).await;
        let newest = look(&cluster.client(2), CONSISTENCY, "linearizable").await.expect(200);
        assert!(newest.text.contains(&id), "{id} is not in {}", newest.text);
        // So does one with a key that is as new.
        let (_, id, _) = make_key(&cluster.client(place).with_key(&secret)).await;
        let newest =
            look(&cluster.client(2).with_key(&secret), CONSISTENCY, "linearizable").await.expect(200);
        assert!(newest.text.contains(&id), "{id} is not in {}", newest.text);
    }
}
