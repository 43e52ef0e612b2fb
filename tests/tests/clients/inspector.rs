//! The protocol's own Inspector as a gate: it lists and calls the tools in both eras, and refuses schemas
//! that some vendor's models would.

use serde_json::json;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{NodeSetup, run};

use super::Clients;

#[tokio::test]
async fn the_inspector_finds_every_schema_portable_and_calls_the_tools_in_both_eras() {
    let clients = Clients::installed();
    let node = NodeSetup::default().overheard().start().await;
    node.client().index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let program = clients.module("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    let url = format!("{}/mcp", node.url());
    let arguments = json!({ "libraryId": "/acme/kiln", "query": QUESTIONS[0].text }).to_string();
    for era in ["modern", "legacy"] {
        let inspect = async |asked: &[&str]| {
            let server = ["--cli", "--server-url", &url, "--transport", "http", "--protocol-era", era];
            let format = ["--format", "json"];
            let command = clients.program(&program, &[&server[..], &format, asked].concat());
            run(command, "").await.expect(0)
        };
        let listed = inspect(&["--method", "tools/list", "--strict"]).await.stdout;
        for name in ["query-docs", "resolve-library-id"] {
            assert!(listed.contains(&format!("\"{name}\"")), "{era}: {listed}");
        }
        let call = ["--method", "tools/call", "--tool-name", "query-docs", "--tool-args-json", &arguments];
        let called = inspect(&call).await.stdout;
        assert!(called.contains(QUESTIONS[0].says), "{era}: {called}");
    }
}
