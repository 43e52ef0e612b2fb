//! The OpenAPI document: valid, complete, and asked for its own coverage.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value};
use twinmcp_tests::{TestClient, TestNode, docs, form, with_parameters};

/// One operation of the document.
struct Operation {
    method: Method,
    path: String,
    about: Map<String, Value>,
}

impl Operation {
    fn name(&self) -> &str {
        self.about["operationId"].as_str().unwrap_or_default()
    }

    /// Whether a client shows its own credentials there, and no key.
    fn is_of_clients(&self) -> bool {
        self.path.starts_with("/api/oauth/") && self.path != "/api/oauth/userinfo"
    }

    /// Whether anybody may call it without credentials.
    fn is_open(&self) -> bool {
        let ways = self.about.get("security").and_then(Value::as_array).cloned().unwrap_or_default();
        ways.is_empty() || ways.iter().any(|way| way.as_object().is_some_and(Map::is_empty))
    }

    /// Whether a person who is signed in calls it; a key does not open it.
    fn is_persons(&self) -> bool {
        let mut ways = self.about.get("security").and_then(Value::as_array).into_iter().flatten().peekable();
        ways.peek().is_some() && ways.all(|way| way.get("session").is_some())
    }

    fn parameters(&self) -> Vec<&Value> {
        self.about.get("parameters").and_then(Value::as_array).into_iter().flatten().collect()
    }

    /// The call that the document's own examples make.
    fn example(&self, document: &Value, client: &TestClient) -> RequestBuilder {
        let mut path = self.path.clone();
        let mut query = Vec::new();
        for parameter in self.parameters() {
            let name = parameter["name"].as_str().unwrap_or_default();
            let example =
                [&parameter["example"], &parameter["schema"]["example"]].into_iter().find(|it| !it.is_null());
            let Some(example) = example else {
                assert_ne!(parameter["required"], true, "{} {name} has no example", self.name());
                continue;
            };
            let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            match parameter["in"].as_str() {
                Some("path") => path = path.replace(&format!("{{{name}}}"), &text),
                Some("query") => query.push((name, text)),
                _ => {}
            }
        }
        let query: Vec<(&str, &str)> = query.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let request = client.request(self.method.clone(), &with_parameters(&path, &query));
        let request = request.header("accept", "application/json, text/event-stream, */*");
        let content = self.about.get("requestBody").and_then(|body| body["content"].as_object());
        let Some((kind, content)) = content.and_then(|content| content.iter().next()) else { return request };
        if kind == "multipart/form-data" {
            let properties = content["schema"]["properties"].as_object().expect("a form has fields");
            let fields = properties.iter().map(|(name, field)| {
                let example = field["example"].as_str().unwrap_or_else(|| panic!("{name} has no example"));
                match field["format"].as_str() {
                    // What stands there is shortened.
                    Some("binary") => (name.as_str(), Some("openapi.json"), docs::OPENAPI),
                    _ => (name.as_str(), None, example),
                }
            });
            let (kind, body) = form(&fields.collect::<Vec<_>>());
            return request.header("content-type", kind).body(body);
        }
        let request = request.header("content-type", kind.as_str());
        if kind == "application/x-www-form-urlencoded" {
            let properties = content["schema"]["properties"].as_object().expect("a form has fields");
            let example = |(name, field): (&String, &Value)| {
                format!("{name}={}", field["example"].as_str().unwrap_or_default())
            };
            return request.body(properties.iter().map(example).collect::<Vec<_>>().join("&"));
        }
        if !kind.contains("json") {
            return request.body("# A page\n\nWith some text.\n");
        }
        let schema = resolve(document, &content["schema"]);
        let example =
            [&content["example"], &schema["example"]].into_iter().find(|example| !example.is_null());
        let example = example.unwrap_or_else(|| panic!("the body of {} has no example", self.name()));
        request.body(example.to_string())
    }
}

/// What a schema stands for, references followed.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    match reference {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("references stay inside the document");
            document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => schema,
    }
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("a document has paths") {
        for (method, about) in methods.as_object().expect("a path has methods") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let about = about.as_object().expect("an operation").clone();
            operations.push(Operation { method, path: path.clone(), about });
        }
    }
    operations
}

/// Calls `visit` with every value below `value`.
fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        _ => {}
    }
}

#[tokio::test]
async fn every_operation_is_described_named_once_and_refers_to_what_is_there() {
    let node = TestNode::empty().await;
    let document = node.client().anonymous().get("/api/openapi.json").await.expect(200).json();
    let version = document["openapi"].as_str().unwrap_or_default();
    assert!(version.starts_with("3.0."), "{version}");
    let mut names = BTreeSet::new();
    for operation in operations(&document) {
        let at = format!("{} {}", operation.method, operation.path);
        assert!(names.insert(operation.name().to_owned()), "{at}: a name of its own");
        assert!(!operation.name().is_empty(), "{at}: a name");
        for field in ["summary", "description"] {
            assert!(operation.about.get(field).is_some_and(|text| text != ""), "{at}: {field}");
        }
        assert_eq!(operation.about["tags"].as_array().map(Vec::len), Some(1), "{at}: one chapter");
        let placeholders = operation.path.matches('{').count();
        let in_path = operation.parameters().into_iter().filter(|parameter| parameter["in"] == "path");
        assert_eq!(in_path.filter(|parameter| parameter["required"] == true).count(), placeholders, "{at}");
        for parameter in operation.parameters() {
            assert!(
                parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{at}: {parameter}"
            );
        }
        let responses = operation.about["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{at}: a success");
        if !operation.is_open() {
            assert!(responses.contains_key("401"), "{at}: 401 of a protected operation");
        }
    }
    assert!(names.len() >= 15, "{names:?}");
    walk(&document, &mut |value| {
        resolve(&document, value);
    });
    let schemes = document["components"]["securitySchemes"].as_object().expect("ways to send a key");
    assert!(schemes.values().any(|scheme| scheme["scheme"] == "bearer"), "{schemes:?}");
}

#[tokio::test]
async fn every_protected_operation_refuses_callers_without_credentials_and_keys_without_the_scope() {
    let node = TestNode::empty().await;
    let owner = node.client();
    let document = owner.get("/api/openapi.json").await.expect(200).json();
    let (_, useless) = owner.create_key(&["metrics:read"]).await;
    let (anonymous, useless) = (owner.anonymous(), owner.with_key(&useless));
    let mut protected = 0;
    for operation in operations(&document) {
        let at = format!("{} {}", operation.method, operation.path);
        let answer = anonymous.answer(operation.example(&document, &anonymous)).await;
        if operation.is_open() {
            // Nobody has the password of the example, and no client its secret.
            let is_a_sign_in = matches!(operation.name(), "sign_in" | "answer_challenge" | "answer_passkey");
            let refused = if is_a_sign_in || operation.is_of_clients() { 500 } else { 401 };
            assert_ne!(answer.status, refused, "{at} is open by the document: {}", answer.text);
            continue;
        }
        protected += 1;
        assert_eq!(answer.status, 401, "{at}: {}", answer.text);
        assert_eq!(answer.code(), "unauthenticated", "{at}");
        let bad = anonymous.with_key("tmcp_0000");
        assert_eq!(bad.answer(operation.example(&document, &bad)).await.code(), "invalid_api_key", "{at}");

        let answer = useless.answer(operation.example(&document, &useless)).await;
        // What a key may only see of its own account is empty, not forbidden.
        let is_own = matches!(operation.name(), "list_jobs" | "get_job" | "follow_job");
        let right = match (is_own, operation.is_persons()) {
            (true, _) => matches!(answer.status, 200 | 404),
            (false, is_persons) => answer.status == if is_persons { 401 } else { 403 },
        };
        assert!(right, "{at} with a key that may nothing: {} {}", answer.status, answer.text);
    }
    assert!(protected >= 10, "{protected} operations are protected");
}

#[tokio::test]
async fn a_key_that_is_refused_is_told_so_everywhere_and_the_document_says_it() {
    let node = TestNode::empty().await;
    let client = node.client().with_key("tmcp_0000");
    let document = node.client().get("/api/openapi.json").await.expect(200).json();
    for operation in operations(&document).iter().filter(|operation| !operation.is_of_clients()) {
        let at = format!("{} {}", operation.method, operation.path);
        let answer = client.answer(operation.example(&document, &client)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "invalid_api_key"),
            "{at}: {}",
            answer.text
        );
        let told = &operation.about["responses"]["401"]["content"];
        let kind = answer.header("content-type");
        assert!(told.get(kind).is_some(), "{at} answers {kind}, the document tells of {told}");
    }
}

#[tokio::test]
async fn the_examples_of_the_document_are_calls_the_node_understands() {
    let node = TestNode::empty().await;
    let owner = node.client();
    let document = owner.get("/api/openapi.json").await.expect(200).json();
    // What the examples would add is here already: nothing is fetched from anywhere.
    for library in [
        "/acme/kiln",
        "/openapi/api_example_com_openapi_json",
        "/llmstxt/docs_example_com_llms_txt",
        "/websites/docs_example_com_guide",
    ] {
        owner.index(library, "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    }
    for operation in operations(&document) {
        let answer = owner.answer(operation.example(&document, &owner)).await;
        let at = format!("{} {}: {} {}", operation.method, operation.path, answer.status, answer.text);
        // There is no such client as in the examples.
        let is_refused = answer.status == 400 && operation.is_of_clients();
        assert!(is_refused || !matches!(answer.status, 400 | 405 | 415 | 422 | 500..), "{at}");
        if operation.about["operationId"] == "drain_node" {
            // Or it would not be ready for the next.
            owner.delete("/api/cluster/drain").await.expect(204);
        }
        let told = &operation.about["responses"];
        assert!(
            told.get(answer.status.to_string()).is_some(),
            "an answer the document does not tell of: {at}"
        );
    }
}

#[tokio::test]
async fn the_program_under_test_is_built_from_these_sources() {
    let node = TestNode::empty().await;
    let served = node.client().anonymous().get("/api/openapi.json").await.expect(200).text;
    assert!(
        served == twinmcp::openapi_document(),
        "the program is older than its sources: `cargo build -p twinmcp`"
    );
}

#[tokio::test]
async fn the_page_for_people_is_served_and_needs_nothing_from_elsewhere() {
    let node = TestNode::empty().await;
    let page = node.client().anonymous().get("/api/docs").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    for foreign in ["src=\"http", "href=\"http", "//unpkg", "//cdn"] {
        assert!(!page.text.contains(foreign), "the page loads {foreign}");
    }
}
