//! A node behind a proxy: whose address a request has, for limits, for what is only for this machine, and in the audit log.

use reqwest::Method;
use serde_json::json;
use twinmcp_tests::{Answer, NodeSetup, TestClient};

const SEARCH: &str = "/api/v2/libs/search?libraryName=kiln";

/// Two requests without a key from an address, then one a minute.
fn limited() -> NodeSetup {
    NodeSetup::default().with("limits", "anonymous_burst", 2).with("limits", "anonymous_per_minute", 1)
}

/// What is answered when a proxy says that it was asked from there.
async fn asked(client: &TestClient, path: &str, forwarded_for: &str) -> Answer {
    client.answer(client.request(Method::GET, path).header("x-forwarded-for", forwarded_for)).await
}

#[tokio::test]
async fn clients_of_a_trusted_proxy_are_told_apart_by_limits_and_by_the_audit_log() {
    let node = limited().with("http", "trusted_proxies", json!(["127.0.0.1"])).start().await;
    let (owner, anonymous) = (node.client(), node.client().anonymous());
    asked(&anonymous, SEARCH, "203.0.113.9").await.expect(200);
    asked(&anonymous, SEARCH, "203.0.113.9:4711").await.expect(200);
    asked(&anonymous, SEARCH, "203.0.113.9").await.expect(429);
    // What the client itself has sent stands before what the proxy has seen.
    asked(&anonymous, SEARCH, "198.51.100.1, 203.0.113.9").await.expect(429);
    asked(&anonymous, SEARCH, "203.0.113.10").await.expect(200);
    // Without the header it is the proxy, or somebody else on this machine, who asks.
    anonymous.get(SEARCH).await.expect(200);

    // The proxy is on this machine, whoever it asks for is not, also when they say so.
    anonymous.get("/api/metrics").await.expect(200);
    for stranger in ["203.0.113.11", "127.0.0.1, 203.0.113.11", "127.0.0.1"] {
        asked(&anonymous, "/api/metrics", stranger).await.expect(404);
    }

    let key = json!({ "name": "build", "scopes": ["docs:read"] });
    let making =
        owner.request(Method::POST, "/api/keys").header("x-forwarded-for", "203.0.113.12").json(&key);
    let made = owner.answer(making).await.expect(201).json();
    let id = made["key"]["id"].as_str().expect("a key has an id");
    let told = owner.get_with("/api/audit", &[("object", id)]).await.expect(200).json();
    assert_eq!(told["events"][0]["address"], "203.0.113.12", "{told}");
}

#[tokio::test]
async fn case_086_from_a_peer_that_is_not_trusted_the_header_changes_nothing() {
    for setup in [limited(), limited().with("http", "trusted_proxies", json!(["10.0.0.0/8"]))] {
        let node = setup.start().await;
        let anonymous = node.client().anonymous();
        asked(&anonymous, SEARCH, "203.0.113.9").await.expect(200);
        asked(&anonymous, SEARCH, "203.0.113.10").await.expect(200);
        asked(&anonymous, SEARCH, "203.0.113.11").await.expect(429);
        anonymous.get(SEARCH).await.expect(429);
    }
}
