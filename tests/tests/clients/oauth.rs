//! The official SDKs of the Model Context Protocol as programs that have never heard of a node: they find the authorization server,
//! register, send a person there, and call the tools. Their tokens are verified by `jose` and PyJWT.

use serde_json::{Value, json};
use twinmcp_tests::{NodeSetup, TestNode};

use super::Clients;

const PASSWORD: &str = "correct horse battery";

async fn node_with_a_person() -> TestNode {
    let node = NodeSetup::default().with("limits", "anonymous_reads", false).overheard().start().await;
    let person = json!({ "email": "ada@example.org", "name": "Ada", "password": PASSWORD });
    node.client().post("/api/accounts", &person).await.expect(201);
    node
}

fn asked(node: &TestNode) -> Value {
    json!({ "url": format!("{}/mcp", node.url()), "email": "ada@example.org", "password": PASSWORD })
}

#[tokio::test]
async fn the_typescript_sdk_signs_a_person_in_by_itself_and_refreshes() {
    let (clients, node) = (Clients::installed(), node_with_a_person().await);
    let told = clients.script("oauth_sdk.mjs", &asked(&node)).await;
    assert_eq!(told["events"], json!(["registered", "redirect", "tokens", "tokens"]), "{told}");
    assert_eq!((&told["resource"], &told["iss"]), (&asked(&node)["url"], &json!(node.url())), "{told}");
    assert_eq!(
        (&told["state"], &told["alg"], &told["question"]),
        (&json!("the-state"), &json!("RS256"), &json!(true))
    );
    assert_eq!(told["tools"], json!(["query-docs", "resolve-library-id"]), "{told}");
    // The node has no library, and says so to whoever may ask.
    assert_eq!(told["called"], "No libraries found matching the provided name.", "{told}");
    assert_eq!((&told["again"], &told["rotated"]), (&json!(2), &json!(true)), "{told}");
}

#[tokio::test]
async fn the_python_sdk_signs_a_person_in_by_itself() {
    let (clients, node) = (Clients::installed(), node_with_a_person().await);
    let told = clients.script("oauth_python.py", &asked(&node)).await;
    assert_eq!(told["tools"], json!(["query-docs", "resolve-library-id"]), "{told}");
    assert_eq!((&told["iss"], &told["client"]), (&json!(node.url()), &json!(true)), "{told}");
    assert!(told["scope"].as_str().is_some_and(|scope| scope.contains("docs:read")), "{told}");
}
