//! schemathesis walks the whole OpenAPI document of a running node, with valid and with wrong data: no
//! failure of the node, no answer and no shape of one that the document does not tell of.
//!
//! `TWINMCP_API_EXAMPLES` is the number of examples an operation; `tests/README.md` says how to run for long.

use tokio::process::Command;
use twinmcp_tests::{Finished, TestNode, run};

use super::Clients;

/// Examples of each operation, where the environment names no number.
const EXAMPLES: &str = "15";

/// What is checked. Not that everything the document calls valid is accepted: an id of the right shape may be taken or gone.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,unsupported_method,\
    allow_header_conformance";

async fn walk(clients: &Clients, node: &TestNode, more: &[&str]) -> Finished {
    let examples = std::env::var("TWINMCP_API_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    let document = format!("{}/api/openapi.json", node.url());
    let mut command = Command::new(clients.folder.join("venv/bin/schemathesis"));
    command.args(["run", &document, "--checks", CHECKS, "--max-examples", &examples, "--no-color"]);
    // The same examples each time.
    command.args(["--seed", "1", "--generation-database", "none", "--continue-on-failure", "--no-shrink"]);
    // One worker: Python 3.11 fails now and then when two threads parse at once (CPython gh-106905).
    command.args(["--phases", "examples,coverage,fuzzing", "--workers", "1", "--request-timeout", "30"]);
    command.args(more).env_clear().envs(clients.variables()).current_dir(clients.home.path());
    run(command, "").await
}

#[tokio::test]
async fn the_whole_document_holds_for_somebody_who_may_everything() {
    let clients = Clients::installed();
    let node = TestNode::empty().await;
    let key = format!("Authorization: Bearer {}", node.key());
    // It finds ids in answers and uses them, so that it would soon revoke the key it asks with; and a node that was
    // drained is not ready.
    for chosen in ["--exclude-operation-id", "--include-operation-id"] {
        let more = ["--header", &key, chosen, "drain_node", chosen, "revoke_api_key"];
        let walked = walk(&clients, &node, &more).await;
        assert_eq!(walked.code, Some(0), "{}\n{}", walked.stdout, walked.stderr);
    }
    // It has drained the node on its way.
    node.client().delete("/api/cluster/drain").await.expect(204);
    node.client().get("/api/health/ready").await.expect(200);
}

#[tokio::test]
async fn the_whole_document_holds_for_somebody_without_a_key() {
    let clients = Clients::installed();
    let node = TestNode::empty().await;
    let walked = walk(&clients, &node, &[]).await;
    assert_eq!(walked.code, Some(0), "{}\n{}", walked.stdout, walked.stderr);
    node.client().get("/api/health/ready").await.expect(200);
}
