//! The protocol as both eras of clients speak it, over a backend that says who called.

use std::time::Duration;

use poem::Route;
use poem::http::StatusCode;
use poem::test::{TestClient, TestResponse};
use rmcp::model::Extensions;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use twinmcp_storage::scope::Scope;

use super::local::identity;
use super::*;
use crate::config::Config;
use crate::http::{Caller, test_key};
use crate::node::Node;

/// Answers with the name of the caller's key, or fails like a node that does not know the library.
#[derive(Clone)]
struct Mirror;

impl Backend for Mirror {
    async fn call(&self, call: Call, extensions: &Extensions) -> Answer {
        let caller = identity(extensions).caller;
        let name = caller.map_or("anonymous", |_| "test");
        match call {
            Call::Resolve { name: library, .. } => {
                Answer { text: format!("{name} resolves {library}"), error: None }
            }
            Call::Query { library, .. } => {
                Answer { text: format!("Library \"{library}\" not found."), error: Some("library_not_found") }
            }
        }
    }
}

/// `/mcp` behind a stand-in for the front: what it knows of the caller lies in the request.
fn client(caller: Option<Caller>, anonymous_reads: bool) -> TestClient<impl Endpoint> {
    client_where(caller, anonymous_reads, tool::scope_of)
}

/// As [`client`], where tools need what `scope_of` says.
fn client_where(
    caller: Option<Caller>,
    anonymous_reads: bool,
    scope_of: fn(&str) -> Option<Scope>,
) -> TestClient<impl Endpoint> {
    let identity = Identity { caller, anonymous_reads, ..Identity::nobody() };
    let mcp = endpoint_of(Server::new(Mirror), 64 * 1024, scope_of).before(move |mut request: Request| {
        request.extensions_mut().insert(identity.clone());
        async move { Ok(request) }
    });
    let shaped = mcp.catch_all_error(|error| async move {
        ApiError::from_poem(error).respond(crate::api::Shape::JsonRpc, "id")
    });
    TestClient::new(Route::new().at("/mcp", shaped))
}

fn legacy(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// A request of 2026-07-28, which carries in `_meta` what a handshake once told.
fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    legacy(method, params)
}

async fn send(client: &TestClient<impl Endpoint>, version: &str, body: &Value) -> TestResponse {
    let mut request = client
        .post("/mcp")
        .header("host", "localhost")
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json");
    if body["method"] != "initialize" {
        request = request.header("mcp-protocol-version", version);
    }
    if version == "2026-07-28" {
        request = request.header("mcp-method", body["method"].as_str().unwrap_or_default());
        if let Some(name) = body["params"]["name"].as_str() {
            request = request.header("mcp-name", name);
        }
    }
    request.body(body.to_string()).send().await
}

async fn json(response: TestResponse) -> Value {
    let kind = response.0.content_type().unwrap_or_default().to_owned();
    let text = response.0.into_body().into_string().await.unwrap();
    assert!(kind.starts_with("application/json"), "{kind}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

#[tokio::test]
async fn the_caller_of_the_http_request_reaches_the_tool() {
    let arguments = json!({ "libraryName": "tokio", "query": "q" });
    let params = json!({ "name": "resolve-library-id", "arguments": arguments });
    let keyed = client(Some(Caller::new(test_key(&[Scope::DocsRead]))), false);
    let answer = json(send(&keyed, "2025-06-18", &legacy("tools/call", params.clone())).await).await;
    assert_eq!(text(&answer), "test resolves tokio");
    let answer = json(send(&keyed, "2026-07-28", &modern("tools/call", params.clone())).await).await;
    assert_eq!(text(&answer), "test resolves tokio");
    let anonymous = client(None, true);
    let answer = json(send(&anonymous, "2025-11-25", &legacy("tools/call", params)).await).await;
    assert_eq!(text(&answer), "anonymous resolves tokio");
}

#[tokio::test]
async fn somebody_who_may_not_read_gets_401_or_403_as_json_rpc_errors() {
    for (caller, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(Caller::new(test_key(&[Scope::MetricsRead]))), StatusCode::FORBIDDEN),
    ] {
        let response = send(&client(caller, false), "2025-06-18", &legacy("tools/list", json!({}))).await;
        response.assert_status(status);
        assert_eq!(json(response).await["jsonrpc"], "2.0");
    }
}

#[tokio::test]
async fn each_tool_needs_the_scope_of_its_own_definition() {
    for tool in tool::list() {
        assert_eq!(tool::scope_of(&tool.name), Some(Scope::DocsRead), "{}: it only reads", tool.name);
    }
    assert_eq!((tool::scope_of("get-library-docs"), tool::scope_of("fly")), (Some(Scope::DocsRead), None));

    let writes = |name: &str| (name == "resolve-library-id").then_some(Scope::LibrariesWrite);
    let call = |name: &str| {
        let arguments = json!({ "libraryId": "/a/b", "libraryName": "b", "query": "q" });
        json!({ "name": name, "arguments": arguments })
    };
    let reads = |anonymous: bool| {
        let caller = (!anonymous).then(|| Caller::new(test_key(&[Scope::DocsRead])));
        client_where(caller, true, writes)
    };
    for version in ["2025-06-18", "2026-07-28"] {
        let message = |method: &str, params| match version {
            "2026-07-28" => modern(method, params),
            _ => legacy(method, params),
        };
        let needs_more = message("tools/call", call("resolve-library-id"));
        let refused = send(&reads(false), version, &needs_more).await;
        refused.assert_status(StatusCode::FORBIDDEN);
        let error = json(refused).await["error"].take();
        assert_eq!(error["data"]["code"], "insufficient_scope", "{error}");
        assert_eq!(error["data"]["scope"], "libraries:write", "{error}");
        // Who may read without a key may not do this.
        send(&reads(true), version, &needs_more).await.assert_status(StatusCode::UNAUTHORIZED);
        for (method, params) in [("tools/call", call("query-docs")), ("tools/list", json!({}))] {
            for anonymous in [true, false] {
                send(&reads(anonymous), version, &message(method, params.clone()))
                    .await
                    .assert_status_is_ok();
            }
        }
        let writer = Caller::new(test_key(&[Scope::LibrariesWrite]));
        let writer = client_where(Some(writer), true, writes);
        let answer = json(send(&writer, version, &needs_more).await).await;
        assert_eq!(text(&answer), "test resolves b");
        send(&writer, version, &message("tools/call", call("query-docs")))
            .await
            .assert_status(StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn the_old_handshake_and_the_new_discovery_are_both_answered_without_a_session() {
    let client = client(None, true);
    let params = json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" }
    });
    let response = send(&client, "2025-06-18", &legacy("initialize", params)).await;
    response.assert_status_is_ok();
    assert!(response.0.header("mcp-session-id").is_none());
    let result = json(response).await["result"].clone();
    assert_eq!(result["protocolVersion"], "2025-06-18");
    assert_eq!(result["serverInfo"]["name"], "twinmcp");
    assert!(result["instructions"].as_str().unwrap().contains("query-docs"));
    for capability in ["tools", "prompts", "resources"] {
        assert!(result["capabilities"][capability].is_object(), "{capability}");
    }

    let result =
        json(send(&client, "2026-07-28", &modern("server/discover", json!({}))).await).await["result"]
            .clone();
    assert_eq!(result["supportedVersions"], json!(["2025-06-18", "2025-11-25", "2026-07-28"]));
    assert_eq!(result["cacheScope"], "public");
}

#[tokio::test]
async fn the_list_of_tools_is_the_same_each_time_and_lists_that_are_empty_are_answered() {
    let client = client(None, true);
    let list = modern("tools/list", json!({}));
    let one = json(send(&client, "2026-07-28", &list).await).await;
    let other = json(send(&client, "2026-07-28", &list).await).await;
    assert_eq!(one.to_string(), other.to_string());
    let tools = one["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["query-docs", "resolve-library-id"]);
    assert!(one["result"]["ttlMs"].as_u64().unwrap() > 0);
    for (method, field) in [("prompts/list", "prompts"), ("resources/list", "resources")] {
        let answer = json(send(&client, "2025-06-18", &legacy(method, json!({}))).await).await;
        assert_eq!(answer["result"][field], json!([]), "{answer}");
        assert!(answer["result"].get("ttlMs").is_none());
    }
}

#[tokio::test]
async fn a_tool_that_fails_answers_text_wrong_arguments_are_named_and_an_unknown_tool_is_an_error() {
    let client = client(None, true);
    let call =
        |name: &str, arguments: Value| legacy("tools/call", json!({ "name": name, "arguments": arguments }));
    let asked = call("get-library-docs", json!({ "context7CompatibleLibraryID": "/a/b", "topic": "hooks" }));
    let answer = json(send(&client, "2025-06-18", &asked).await).await;
    assert_eq!(text(&answer), "Library \"/a/b\" not found.");
    assert!(answer["result"].get("isError").is_none(), "{answer}");
    let answer = json(send(&client, "2025-06-18", &call("query-docs", json!({ "query": "q" }))).await).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(text(&answer).contains("`libraryId`"), "{answer}");
    let answer = json(send(&client, "2025-06-18", &call("fly", json!({}))).await).await;
    assert_eq!(answer["error"]["code"], -32_602);
}

#[tokio::test]
async fn get_and_delete_answer_405_as_json_rpc_errors() {
    let client = client(None, true);
    for request in [client.get("/mcp"), client.delete("/mcp")] {
        let response = request.header("host", "localhost").header("accept", "text/event-stream").send().await;
        response.assert_status(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(json(response).await["jsonrpc"], "2.0");
    }
}

#[tokio::test]
async fn what_is_no_message_gets_a_json_rpc_error_and_never_a_hanging_stream() {
    let client = client(None, true);
    let batch =
        json!([legacy("tools/list", json!({})), { "jsonrpc": "2.0", "method": "notifications/cancelled" }]);
    for (body, accept, code) in [
        ("not json".to_owned(), "application/json, text/event-stream", -32_700),
        (batch.to_string(), "application/json, text/event-stream", -32_600),
        (legacy("tools/list", json!({})).to_string(), "text/html", -32_000),
    ] {
        let response = client
            .post("/mcp")
            .header("host", "localhost")
            .header("accept", accept)
            .header("content-type", "application/json")
            .body(body.clone())
            .send()
            .await;
        assert!(response.0.status().is_client_error(), "{body}");
        assert_eq!(json(response).await["error"]["code"], code, "{body}");
    }
}

#[tokio::test]
async fn a_method_that_is_unknown_to_the_new_protocol_answers_404() {
    let response = send(&client(None, true), "2026-07-28", &modern("tools/fly", json!({}))).await;
    response.assert_status(StatusCode::NOT_FOUND);
    assert_eq!(json(response).await["error"]["code"], -32_601);
}

/// Never answers; says when a call begins, and when it is given up.
#[derive(Clone)]
struct Endless(mpsc::UnboundedSender<&'static str>);

/// Says so when it is dropped.
struct Work(mpsc::UnboundedSender<&'static str>);

impl Drop for Work {
    fn drop(&mut self) {
        let _ = self.0.send("given up");
    }
}

impl Backend for Endless {
    async fn call(&self, _: Call, _: &Extensions) -> Answer {
        let _work = Work(self.0.clone());
        let _ = self.0.send("begun");
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_call_whose_connection_is_closed_stops_working() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.node.data_dir = folder.path().join("data");
    config.http.listen.set_port(0);
    let (tell, mut told) = mpsc::unbounded_channel();
    let node = Node::start_with(config, Server::new(Endless(tell))).await.unwrap();
    let params = json!({ "name": "query-docs", "arguments": { "libraryId": "/a/b", "query": "q" } });
    for (version, body, more) in [
        ("2025-11-25", legacy("tools/call", params.clone()), ""),
        ("2026-07-28", modern("tools/call", params), "mcp-method: tools/call\r\nmcp-name: query-docs\r\n"),
    ] {
        let body = body.to_string();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\naccept: application/json, text/event-stream\r\n\
             content-type: application/json\r\nmcp-protocol-version: {version}\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = TcpStream::connect(node.address()).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut next = async || tokio::time::timeout(Duration::from_secs(60), told.recv()).await.unwrap();
        assert_eq!(next().await, Some("begun"), "{version}");
        drop(connection);
        assert_eq!(next().await, Some("given up"), "{version}");
    }
    node.stop().await.unwrap();
}
