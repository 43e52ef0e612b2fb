//! Every operation that a key or a token opens, called with a key that may nothing of it: each demands its scope, the one that its
//! description names.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use twinmcp_storage::scope::Scope;

use super::{TestNode, document, operations};

/// Operations that show whoever has any key their own things, which a key cannot do without.
const ANY_KEY: &[&str] = &["list_jobs", "get_job", "follow_job"];

/// The first example that the document gives for a body, with its type.
fn body<'a>(document: &'a Value, operation: &'a Value) -> Option<(&'a str, &'a Value)> {
    let (kind, content) = operation["requestBody"]["content"].as_object()?.iter().next()?;
    let named = content["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next());
    let schema = named.map_or(&content["schema"], |name| &document["components"]["schemas"][name]);
    let examples = [&content["example"], &schema["example"]];
    Some((kind, examples.into_iter().find(|example| !example.is_null()).unwrap_or(&Value::Null)))
}

/// The path with the document's examples in it, and in its query.
fn filled(path: &str, operation: &Value) -> String {
    let mut path = path.to_owned();
    let mut query = BTreeMap::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let example = &parameter["schema"]["example"];
        let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        let example: String = form_urlencoded::byte_serialize(example.as_bytes()).collect();
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), &example),
            Some("query") if parameter["required"] == true => {
                query.insert(name.to_owned(), example);
            }
            _ => {}
        }
    }
    for (number, (name, value)) in query.iter().enumerate() {
        path.push_str(&format!("{}{name}={value}", if number == 0 { '?' } else { '&' }));
    }
    path
}

#[tokio::test]
async fn every_operation_demands_the_scope_that_its_description_names() {
    let node = TestNode::start().await;
    let actors = node.node.actors();
    let account = actors.accounts.create("chatter").await.unwrap();
    let key = actors.api_keys.create(&account.id, "chatter", vec![Scope::Chat], None).await.unwrap();
    let document = document();
    let (mut asked, mut untold, mut without) = (0, Vec::new(), Vec::new());
    for (path, method, operation) in operations(&document) {
        let ways = operation["security"].as_array().into_iter().flatten();
        let takes_keys = ways.filter_map(Value::as_object).any(|way| way.contains_key("bearer"));
        let id = operation["operationId"].as_str().unwrap();
        if !takes_keys {
            continue;
        }
        asked += 1;
        let method: Method = method.to_uppercase().parse().unwrap();
        let request = node.request(method, &filled(&path, &operation)).bearer_auth(key.secret.reveal());
        let request = match body(&document, &operation) {
            Some((kind, example)) if kind.contains("json") => request.json(example),
            // A form without a boundary is none, whoever sends it.
            Some((kind, _)) if kind.starts_with("multipart/") => {
                request.header("content-type", format!("{kind}; boundary=x")).body("--x--")
            }
            Some((kind, _)) => request.header("content-type", kind).body("x"),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let challenge = answer.headers().get("www-authenticate").cloned();
        let told: Value = answer.json().await.unwrap_or_default();
        // As problem details, as Context7 tells it, and as JSON-RPC.
        let codes = [&told["code"], &told["error"], &told["error"]["data"]["code"]];
        let code = codes.into_iter().find(|code| code.is_string()).unwrap_or(&Value::Null);
        if ANY_KEY.contains(&id) && code != "insufficient_scope" {
            without.push(id.to_owned());
            continue;
        }
        assert_eq!((status, code), (StatusCode::FORBIDDEN, &json!("insufficient_scope")), "{id}: {told}");
        let challenge = challenge.unwrap_or_else(|| panic!("{id} challenges nobody"));
        let challenge = challenge.to_str().unwrap();
        let scope = challenge.split("scope=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let description = operation["description"].as_str().unwrap();
        // Everybody may read documentation who has any business here; that is said once, in front.
        let is_told = scope == "docs:read" || description.contains(&format!("`{scope}`"));
        if !is_told {
            untold.push(format!("{id} demands `{scope}` and does not say so: {description}"));
        }
    }
    assert_eq!(untold, Vec::<String>::new());
    without.sort();
    let mut any_key = ANY_KEY.to_vec();
    any_key.sort_unstable();
    assert_eq!(without, any_key, "each exception is one");
    assert!(asked >= 60, "{asked}");
    node.node.stop().await.unwrap();
}
