//! Errors: a stable code, a sentence that says what to do, and the shape the path promises.

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{Answer, TestClient, TestNode};

fn assert_problem(answer: &Answer, code: &str) {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
    let body = answer.json();
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["type"], format!("urn:twinmcp:error:{code}"), "{body}");
    assert_eq!(body["status"], answer.status, "{body}");
    assert_eq!(body["request_id"], answer.header("x-request-id"), "{body}");
    let sentence = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
    assert!(sentence("title") && sentence("detail"), "{body}");
}

fn assert_context7(answer: &Answer, code: &str) {
    assert!(answer.header("content-type").starts_with("application/json"), "{answer:?}");
    let body = answer.json();
    assert_eq!(body["error"], code, "{body}");
    assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
}

#[tokio::test]
async fn what_is_not_there_or_not_valid_is_a_problem_with_a_code() {
    let node = TestNode::empty().await;
    let client = node.client();
    let json = "application/json";
    for (method, path, body, status, code) in [
        (Method::GET, "/api/nothing", "", 404, "not_found"),
        (Method::GET, "/nothing", "", 404, "not_found"),
        (Method::PUT, "/api/keys", "", 405, "method_not_allowed"),
        (Method::GET, "/api/libraries/no/such", "", 404, "library_not_found"),
        (Method::GET, "/api/libraries?limit=0", "", 400, "validation_error"),
        (Method::GET, "/api/libraries?limit=many", "", 400, "validation_error"),
        (Method::GET, "/api/libraries?after=bad", "", 400, "invalid_id"),
        (Method::GET, "/api/jobs/job_00000000000000000000000000", "", 404, "job_not_found"),
        (Method::GET, "/api/jobs/bad", "", 400, "invalid_id"),
        (Method::DELETE, "/api/keys/key_00000000000000000000000000", "", 404, "api_key_not_found"),
        (Method::POST, "/api/keys", "{", 400, "validation_error"),
        (Method::POST, "/api/keys", "[]", 400, "validation_error"),
        (Method::POST, "/api/keys", r#"{"name":"","scopes":["docs:read"]}"#, 400, "validation_error"),
        (Method::POST, "/api/keys", r#"{"name":"a","scopes":[]}"#, 400, "validation_error"),
        (Method::POST, "/api/keys", r#"{"name":"a","scopes":["fly"]}"#, 400, "validation_error"),
        (Method::POST, "/api/jobs", r#"{"library":"/a/b","version":"1"}"#, 400, "validation_error"),
        (Method::POST, "/api/jobs", r#"{"library":"b","version":"1","folder":"/x"}"#, 400, "invalid_id"),
        (
            Method::POST,
            "/api/jobs",
            r#"{"library":"/a/b","version":"1","folder":"/x"}"#,
            403,
            "folder_not_allowed",
        ),
        (Method::POST, "/api/mcp/query-docs", "{}", 400, "validation_error"),
        (Method::POST, "/api/mcp/query-docs", r#"{"libraryId":"x","query":"y"}"#, 400, "invalid_library_id"),
        (
            Method::POST,
            "/api/mcp/query-docs",
            r#"{"libraryId":"/x/y","query":"z"}"#,
            404,
            "library_not_found",
        ),
    ] {
        let request = client.request(method.clone(), path);
        let request = if body.is_empty() { request } else { request.header("content-type", json).body(body) };
        let answer = client.answer(request).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text);
        assert_problem(&answer, code);
    }
    for (method, path, allowed) in [
        (Method::PUT, "/api/keys", "GET, HEAD, POST"),
        (Method::TRACE, "/api/docs", "GET, HEAD"),
        (Method::POST, "/api/jobs/job_00000000000000000000000000", "GET, HEAD"),
        (Method::GET, "/mcp", "POST"),
    ] {
        let answer = client.answer(client.request(method, path)).await.expect(405);
        assert_eq!(answer.header("allow"), allowed, "{path}");
    }
    let typed = client.request(Method::POST, "/api/keys").header("content-type", "text/plain").body("name");
    let answer = client.answer(typed).await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"), "{}", answer.text);
}

#[tokio::test]
async fn a_body_of_the_wrong_types_is_refused_and_the_field_is_named() {
    let node = TestNode::empty().await;
    let client = node.client();
    for (path, body, field) in [
        ("/api/keys", json!({ "name": false, "scopes": ["docs:read"] }), "name"),
        ("/api/keys", json!({ "name": "a", "scopes": ["docs:read", 7] }), "scopes[1]"),
        ("/api/keys", json!({ "name": "a" }), "scopes"),
        ("/api/mcp/resolve-library-id", json!({ "libraryName": "a", "query": null }), "query"),
        ("/api/mcp/query-docs", json!({ "libraryId": 7, "query": "a" }), "libraryId"),
        ("/api/mcp/query-docs", json!({ "libraryId": "/a/b", "query": "a", "tokens": "900" }), "tokens"),
        ("/api/jobs", json!({ "library": "/a/b", "upload": { "hash": 1, "name": "a.tar" } }), "upload.hash"),
        ("/api/jobs", json!({ "library": "/a/b", "git": [] }), "git"),
    ] {
        let answer = client.post(path, &body).await.expect(400);
        assert_problem(&answer, "validation_error");
        assert_eq!(answer.json()["field"], field, "{path} {body}: {}", answer.text);
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(&format!("`{field}`")), "{detail}");
    }
    let answer = client.post("/api/keys", &json!(["docs:read"])).await.expect(400);
    assert!(answer.json()["detail"].as_str().unwrap_or_default().starts_with("The body must be an object"));
    // Context7's clients read `message` alone.
    let answer = client.post("/api/v2/add/repo/github", &json!({ "docsRepoUrl": true })).await.expect(400);
    assert_context7(&answer, "validation_error");
    assert!(answer.json()["message"].as_str().unwrap_or_default().contains("`docsRepoUrl`"), "{answer:?}");
    // What may be left out may be `null`, as many programs write it.
    let key = json!({ "name": "a", "scopes": ["docs:read"], "expires_in_s": null });
    client.post("/api/keys", &key).await.expect(201);
    let empty = client
        .request(Method::POST, "/api/libraries/import")
        .header("content-type", "application/octet-stream");
    assert_problem(&client.answer(empty).await.expect(400), "validation_error");
}

#[tokio::test]
async fn the_two_compatible_paths_answer_errors_in_context7s_shape() {
    let node = TestNode::empty().await;
    let client = node.client().anonymous();
    let long = "x".repeat(501);
    for (path, parameters, status, code) in [
        ("/api/v2/libs/search", vec![], 400, "validation_error"),
        ("/api/v2/libs/search", vec![("libraryName", "")], 400, "validation_error"),
        ("/api/v2/libs/search", vec![("libraryName", long.as_str())], 400, "validation_error"),
        ("/api/v2/libs/search", vec![("libraryName", "a"), ("query", &long)], 400, "validation_error"),
        ("/api/v2/libs/search", vec![("libraryName", "a"), ("fast", "maybe")], 400, "validation_error"),
        ("/api/v2/context", vec![], 400, "validation_error"),
        ("/api/v2/context", vec![("libraryId", "/a/b")], 400, "validation_error"),
        ("/api/v2/context", vec![("libraryId", "a"), ("query", "b")], 400, "invalid_library_id"),
        ("/api/v2/context", vec![("libraryId", "/a/../b"), ("query", "b")], 400, "invalid_library_id"),
        ("/api/v2/context", vec![("libraryId", "/a/b"), ("query", "c")], 404, "library_not_found"),
        (
            "/api/v2/context",
            vec![("libraryId", "/a/b"), ("query", "c"), ("type", "xml")],
            400,
            "validation_error",
        ),
        (
            "/api/v2/context",
            vec![("libraryId", "/a/b"), ("query", "c"), ("tokens", "-1")],
            400,
            "validation_error",
        ),
        ("/api/v2/skills", vec![], 404, "not_found"),
    ] {
        let answer = client.get_with(path, &parameters).await;
        assert_eq!(answer.status, status, "{path} {parameters:?}: {}", answer.text);
        assert_context7(&answer, code);
        // It would make a client of theirs urge people to sign in somewhere else.
        assert_eq!(answer.header("x-context7-auth-prompt"), "");
    }
    // Their command line leaves `query` out when the user gave none.
    client.get("/api/v2/libs/search?libraryName=react").await.expect(200);
}

#[tokio::test]
async fn the_protocols_path_answers_every_error_as_json_rpc() {
    let node = TestNode::empty().await;
    let client = node.client();
    let post_as = |client: &TestClient| {
        let request = client.request(Method::POST, "/mcp").header("content-type", "application/json");
        request.header("accept", "application/json, text/event-stream")
    };
    let post = || post_as(&client);
    for (case, request, status) in [
        ("no JSON", post().body("{"), 400),
        ("GET", client.request(Method::GET, "/mcp"), 405),
        ("DELETE", client.request(Method::DELETE, "/mcp"), 405),
        ("a foreign origin", post().header("origin", "https://evil.example").body("{}"), 403),
        ("a foreign host", post().header("host", "evil.example").body("{}"), 403),
        ("a bad key", post_as(&client.with_key("tmcp_0000")).body("{}"), 401),
    ] {
        let answer = client.answer(request).await;
        assert_eq!(answer.status, status, "{case}: {}", answer.text);
        let body = answer.json();
        assert_eq!(body["jsonrpc"], "2.0", "{case}: {body}");
        assert!(body["error"]["code"].is_i64(), "{case}: {body}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{case}: {body}");
    }
}

#[tokio::test]
async fn every_answer_carries_an_id_that_a_caller_may_bring_along_as_a_trace() {
    let node = TestNode::empty().await;
    let client = node.client();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let brought = client.request(Method::GET, "/api/libraries/no/such");
    let brought = brought.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    let answer = client.answer(brought).await.expect(404);
    assert_eq!(answer.header("x-request-id"), trace);
    assert_eq!(answer.json()["request_id"], trace);
    let own: Vec<Value> = vec![
        json!(client.get("/api/libraries").await.header("x-request-id")),
        json!(client.get("/api/libraries").await.header("x-request-id")),
    ];
    assert_ne!(own[0], own[1]);
    assert!(own[0].as_str().is_some_and(|id| id.len() == 32), "{own:?}");
}
