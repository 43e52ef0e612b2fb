//! The document against the code, and a whole node against the document.

mod readiness;
mod scopes;
mod strangers;
mod trace;

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use twinmcp_storage::scope::Scope;

use crate::config::Config;
use crate::node::Node;

const WRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/twinmcp.json");
/// A job of two pages ends long before.
const DEADLINE: Duration = Duration::from_secs(60);

fn document() -> Value {
    serde_json::from_str(&super::openapi_document()).unwrap()
}

/// Path, method and operation of every endpoint.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap();
        item.iter().map(|(method, operation)| (path.clone(), method.clone(), operation.clone()))
    });
    operations.collect()
}

#[test]
fn the_written_document_is_the_one_of_the_code() {
    let written = std::fs::read_to_string(WRITTEN).unwrap_or_default();
    let same = written == super::openapi_document();
    assert!(same, "openapi/twinmcp.json is not what the code says; run `cargo xtask openapi`");
}

#[test]
fn the_document_tells_title_version_and_licence_and_names_each_operation_once() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.0."));
    assert_eq!(document["info"]["license"]["name"], "Apache-2.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut ids: Vec<String> =
        operations(&document).iter().map(|(.., it)| it["operationId"].as_str().unwrap().to_owned()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert!(all >= 22, "{ids:?}");
}

#[test]
fn every_operation_has_words_examples_and_documented_failures() {
    let document = document();
    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        for field in ["operationId", "summary", "description"] {
            assert!(operation[field].as_str().is_some_and(|text| !text.is_empty()), "{at} has no {field}");
        }
        assert!(operation["tags"].as_array().is_some_and(|tags| !tags.is_empty()), "{at} has no tag");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{at}: {} has no description", parameter["name"]);
            assert!(!parameter["schema"]["example"].is_null(), "{at}: {} has no example", parameter["name"]);
        }
        let responses = operation["responses"].as_object().unwrap();
        let fails = responses.keys().any(|status| status.starts_with(['4', '5']));
        let cannot_fail =
            path.starts_with("/api/health") || path.starts_with("/api/docs") || path == "/api/openapi.json";
        assert!(fails || cannot_fail, "{at} documents no failure");
        let protected = operation["security"].is_array();
        assert!(!protected || responses.contains_key("401"), "{at} is protected and documents no 401");
        let answers = responses.values().chain(operation.get("requestBody"));
        for (kind, content) in answers.flat_map(|it| it["content"].as_object().into_iter().flatten()) {
            if kind == "application/json" || kind == "application/problem+json" {
                assert!(has_example(&document, content), "{at}: a body of type {kind} has no example");
            }
        }
    }
}

#[test]
fn an_answer_202_is_documented_where_there_is_one_and_says_when_to_come_again_where_one_should() {
    let document = document();
    let mut found: Vec<(String, bool)> = operations(&document)
        .iter()
        .filter_map(|(.., it)| {
            let answer = it["responses"].get("202")?;
            let id = it["operationId"].as_str()?.to_owned();
            Some((id, answer["headers"]["Retry-After"].is_object()))
        })
        .collect();
    found.sort();
    let expected = [("context7_get_context", true), ("mcp", false), ("sign_in", false)];
    assert_eq!(found, expected.map(|(id, comes_again)| (id.to_owned(), comes_again)));
    let challenge = &document["paths"]["/api/auth/sign-in"]["post"]["responses"]["202"];
    let schema = &challenge["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/ChallengeRecord");
}

fn has_example(document: &Value, content: &Value) -> bool {
    let named = content["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next());
    let schema = named.map_or(&content["schema"], |name| &document["components"]["schemas"][name]);
    !content["example"].is_null() || !schema["example"].is_null()
}

/// A node in a folder of its own, and an owner's key.
struct TestNode {
    node: Node,
    client: Client,
    key: String,
    _folder: TempDir,
}

impl TestNode {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.data_dir = folder.path().join("data");
        config.http.listen.set_port(0);
        config.limits.anonymous_burst = 1_000;
        config.limits.key_burst = 10_000;
        let node = Box::pin(Node::start(config)).await.unwrap();
        let actors = node.actors();
        let owner = actors.accounts.create("owner").await.unwrap();
        let key = actors.api_keys.create(&owner.id, "owner", vec![Scope::Admin], None).await.unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        Self { node, client, key: key.secret.reveal().to_owned(), _folder: folder }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.node.url()))
    }

    async fn owner(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.request(method, path).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, response.json().await.unwrap_or_default())
    }

    /// Sends two pages as an archive and waits for its job.
    async fn index(&self, library: &str, version: &str) {
        let archive = archive(&[
            (
                "guide/start.md",
                "# Getting started\n\nInstall the frobnicator with one command.\n\n```sh\nfrob install\n```\n",
            ),
            (
                "errors.md",
                "# Errors\n\n## Timeouts\n\nA frobnication that takes longer than ten seconds is given up.\n",
            ),
        ]);
        let request = self.request(Method::POST, "/api/jobs/uploads").bearer_auth(&self.key);
        let upload: Value = request.body(archive).send().await.unwrap().json().await.unwrap();
        let asked = json!({
            "library": library, "version": version, "base_url": "https://docs.example.com/",
            "upload": { "hash": upload["hash"], "name": "docs.tar" },
        });
        let (status, job) = self.owner(Method::POST, "/api/jobs", Some(asked)).await;
        assert_eq!(status, StatusCode::CREATED, "{job}");
        let path = format!("/api/jobs/{}/events", job["id"].as_str().unwrap());
        let events = self.request(Method::GET, &path).bearer_auth(&self.key).send();
        let events = tokio::time::timeout(DEADLINE, async { events.await.unwrap().text().await.unwrap() });
        let events = events.await.unwrap();
        let last = events.lines().rev().find_map(|line| line.strip_prefix("data:")).unwrap();
        let job: Value = serde_json::from_str(last.trim()).unwrap();
        assert_eq!(job["state"], "done", "{job}");
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

#[tokio::test]
async fn every_protected_operation_answers_401_without_credentials() {
    let node = TestNode::start().await;
    let mut protected = 0;
    for (path, method, operation) in operations(&document()) {
        let Some(security) = operation["security"].as_array() else {
            continue;
        };
        if security.iter().any(|way| way.as_object().is_some_and(serde_json::Map::is_empty)) {
            continue;
        }
        protected += 1;
        let path = path.replace("{id}", "job_01jdcq0vz3k8w6m5r2t9y4x7ab").replace("{version}", "v1");
        let path = path.replace("{org}", "python").replace("{name}", "cpython");
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let response = node.request(method.clone(), &path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        assert!(response.headers().contains_key("x-request-id"));
    }
    assert!(protected >= 11, "{protected}");
    node.node.stop().await.unwrap();
}

#[tokio::test]
async fn an_archive_becomes_answers_in_every_shape() {
    let node = TestNode::start().await;
    node.index("/acme/frob", "1.2.0").await;

    // Context7's REST, anonymous.
    let get = |path: &'static str| async { node.request(Method::GET, path).send().await.unwrap() };
    // The index of names follows the catalogue a moment later.
    let found = tokio::time::timeout(DEADLINE, async {
        loop {
            let found: Value = get("/api/v2/libs/search?libraryName=frob").await.json().await.unwrap();
            if found["results"][0]["id"] == "/acme/frob" {
                return found;
            }
        }
    });
    let found = found.await.unwrap();
    assert_eq!(found["searchFilterApplied"], false);
    let response = get("/api/v2/context?libraryId=/acme/frob&query=install+the+frobnicator").await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["x-twinmcp-version"], "1.2.0");
    assert!(response.headers().contains_key("x-twinmcp-indexed-at"));
    let text = response.text().await.unwrap();
    assert!(text.starts_with("### Getting started"), "{text}");
    assert!(text.contains("Source: https://docs.example.com/guide/start.md"), "{text}");
    assert!(text.contains("```bash\nfrob install\n```"), "{text}");
    assert!(text.contains("\n\nVersion: 1.2.0 of /acme/frob · indexed "), "{text}");
    let response =
        get("/api/v2/context?libraryId=/acme/frob@1.2.0&query=install+the+frobnicator&type=json").await;
    let docs: Value = response.json().await.unwrap();
    assert_eq!(docs["codeSnippets"][0]["codeList"][0]["language"], "bash", "{docs}");
    assert!(docs["infoSnippets"].is_array());

    // The same tools as typed JSON and over MCP.
    let asked = json!({ "libraryId": "/acme/frob", "query": "install the frobnicator" });
    let (status, answer) = node.owner(Method::POST, "/api/mcp/query-docs", Some(asked.clone())).await;
    assert_eq!((status, answer["text"].as_str()), (StatusCode::OK, Some(text.as_str())), "{answer}");
    assert_eq!(answer["snippets"][0]["pagePath"], "guide/start.md");
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "query-docs", "arguments": asked }
    });
    let request = node.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream");
    let answer: Value = request
        .header("mcp-protocol-version", "2025-06-18")
        .json(&call)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], text.as_str(), "{answer}");

    // Metrics have seen all of it.
    let metrics = get("/api/metrics").await.text().await.unwrap();
    for family in [
        "http_server_request_duration_seconds_bucket",
        "mcp_server_operation_duration_seconds_count",
        "twinmcp_usage_ratelimit_decisions_total",
        "twinmcp_mcp_response_tokens",
        "twinmcp_storage_",
        "twinmcp_ready 1",
        "twinmcp_build_info",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(family), "{family} is not measured:\n{metrics}");
    }
    assert!(metrics.contains("http_route=\"/api/v2/context\""), "{metrics}");
    node.node.stop().await.unwrap();
}

#[tokio::test]
async fn failures_have_context7s_codes_and_help_by_their_words() {
    let node = TestNode::start().await;
    node.index("/acme/frob", "1.2.0").await;
    for (path, status, code, words) in [
        ("/api/v2/libs/search", 400, "validation_error", "Library name is required"),
        ("/api/v2/context?query=q", 400, "validation_error", "Library id is required"),
        ("/api/v2/context?libraryId=frob&query=q", 400, "invalid_library_id", "/org/name"),
        ("/api/v2/context?libraryId=/acme/frob", 400, "validation_error", "Query is required"),
        ("/api/v2/context?libraryId=/acme/frob&query=q&type=xml", 400, "validation_error", "`json`"),
        ("/api/v2/context?libraryId=/acme/frob&query=q&tokens=many", 400, "validation_error", "tokens"),
        ("/api/v2/context?libraryId=/acme/none&query=q", 404, "library_not_found", "resolve-library-id"),
        ("/api/v2/context?libraryId=/acme/frob/9.9&query=q", 404, "tag_not_found", "Available tags: 1.2.0"),
    ] {
        let response = node.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(response.headers().contains_key("ratelimit-remaining"), "{path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"], code, "{path}: {body}");
        assert!(body["message"].as_str().unwrap().contains(words), "{path}: {body}");
    }
    node.node.stop().await.unwrap();
}

#[tokio::test]
async fn keys_are_made_listed_and_refused_once_revoked() {
    let node = TestNode::start().await;
    let asked = json!({ "name": "editor", "scopes": ["docs:read"] });
    let (status, made) = node.owner(Method::POST, "/api/keys", Some(asked)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let secret = made["secret"].as_str().unwrap().to_owned();
    let uses = |path: &'static str| {
        let request = node.request(Method::GET, path).bearer_auth(&secret);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(uses("/api/libraries").await, 200);
    assert_eq!(uses("/api/keys").await, 403);
    let (_, list) = node.owner(Method::GET, "/api/keys", None).await;
    assert_eq!(list["keys"].as_array().unwrap().len(), 2, "{list}");
    assert!(!list.to_string().contains(&secret));
    let path = format!("/api/keys/{}", made["key"]["id"].as_str().unwrap());
    assert_eq!(node.owner(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(uses("/api/libraries").await, 401);
    let (status, body) = node.owner(Method::DELETE, &path, None).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::NOT_FOUND, Some("api_key_not_found")));
    node.node.stop().await.unwrap();
}

#[tokio::test]
async fn a_library_is_shown_changed_and_removed() {
    let node = TestNode::start().await;
    node.index("/acme/frob", "1.2.0").await;
    node.index("/acme/frob", "1.3.0").await;
    let change = json!({ "description": "Frobnicates.", "trust": 7.5 });
    let (status, library) = node.owner(Method::PATCH, "/api/libraries/acme/frob", Some(change)).await;
    assert_eq!(status, StatusCode::OK, "{library}");
    assert_eq!(
        (library["description"].as_str(), library["trust"].as_f64()),
        (Some("Frobnicates."), Some(7.5))
    );
    assert_eq!(library["current_version"], "1.3.0");
    let removed = node.owner(Method::DELETE, "/api/libraries/acme/frob/versions/1.3.0", None).await.0;
    assert_eq!(removed, StatusCode::NO_CONTENT);
    let (_, page) = node.owner(Method::GET, "/api/libraries?limit=1", None).await;
    assert_eq!(page["libraries"][0]["current_version"], "1.2.0", "{page}");
    assert!(page.get("next").is_none());
    assert_eq!(node.owner(Method::DELETE, "/api/libraries/acme/frob", None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(node.owner(Method::GET, "/api/libraries/acme/frob", None).await.0, StatusCode::NOT_FOUND);
    node.node.stop().await.unwrap();
}

#[tokio::test]
async fn a_node_that_started_again_answers_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.node.data_dir = folder.path().join("data");
    config.http.listen.set_port(0);
    let node = Node::start(config.clone()).await.unwrap();
    let owner = node.actors().accounts.create("owner").await.unwrap();
    let key = node.actors().api_keys.create(&owner.id, "owner", vec![Scope::Admin], None).await.unwrap();
    node.stop().await.unwrap();
    let node = Node::start(config).await.unwrap();
    assert!(node.actors().api_keys.verify(key.secret.reveal()).is_ok());
    let health: Value =
        reqwest::get(format!("{}/api/health", node.url())).await.unwrap().json().await.unwrap();
    assert_eq!(health["status"], "ok", "{health}");
    let ready = reqwest::get(format!("{}/api/health/ready", node.url())).await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn pages_and_paths_that_are_not_there() {
    let node = TestNode::start().await;
    let page = node.request(Method::GET, "/api/docs").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("SwaggerUIBundle") && page.contains("context7_get_context"));
    let written: Value =
        node.request(Method::GET, "/api/openapi.json").send().await.unwrap().json().await.unwrap();
    assert_eq!(written, document());
    for path in ["/nowhere", "/api", "/api/nowhere", "/api/v3/search"] {
        let response = node.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        assert!(response.headers().get("x-context7-auth-prompt").is_none());
    }
    node.node.stop().await.unwrap();
}
