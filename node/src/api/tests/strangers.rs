//! Two accounts on one node: what is one's answers the other as if it were not there, on every endpoint that names something.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use twinmcp_actors::accounts::{NewPerson, PersonMade};
use twinmcp_storage::scope::Scope;

use super::{TestNode, document, operations};

/// Every scope but that of operators, who act on everybody's things.
const SCOPES: [Scope; 7] = [
    Scope::DocsRead,
    Scope::LibrariesWrite,
    Scope::JobsWrite,
    Scope::KeysWrite,
    Scope::MetricsRead,
    Scope::Account,
    Scope::AnalyticsRead,
];

/// Operations that name something in their path and are not tried as a stranger, each with a reason.
const EXCEPTIONS: [&[&str]; 4] = [OPEN, OPERATORS, REGISTRATIONS, PEOPLE];

/// Operations on a path that names something, which whoever shows the webhook's own secret, or what a provider has signed, may call.
const OPEN: &[&str] = &["call_webhook", "upstream_logout"];

/// Operations on nodes of the cluster, which belong to nobody but operators.
const OPERATORS: &[&str] = &[
    "promote_node",
    "demote_node",
    "transfer_leader",
    "remove_node",
    "manage_account",
    "reset_factors",
    "revoke_signing_key",
    "rotate_secret",
];

/// Operations of a client that registered itself, which its own token opens and no key.
const REGISTRATIONS: &[&str] =
    &["oauth_get_registration", "oauth_change_registration", "oauth_end_registration"];

/// Operations of people who are signed in, which a key does not open; what one sees of another is a story of its own.
const PEOPLE: &[&str] = &["end_session", "remove_passkey"];

/// Makes a person with a key: the key's id and its secret.
async fn account(node: &TestNode, name: &str) -> (String, String) {
    let actors = node.node.actors();
    let email = format!("{name}@example.org");
    let password = Some("correct horse battery");
    let new = NewPerson { email: &email, name, password, is_operator: false, send: false };
    let PersonMade::Person(made) = actors.accounts.add_person(new).await.unwrap() else {
        panic!("a person with a password is made at once")
    };
    let account = &made.person.account;
    let key = actors.api_keys.create(account, name, SCOPES.to_vec(), None).await.unwrap();
    (key.key.id.to_string(), key.secret.reveal().to_owned())
}

/// An answer without what is different in each: the request's id.
async fn ask(
    node: &TestNode,
    key: &str,
    method: &Method,
    path: &str,
    body: Option<&Value>,
) -> (StatusCode, Value) {
    let mut request = node.request(method.clone(), path).bearer_auth(key);
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let mut body: Value = response.json().await.unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    (status, body)
}

/// What belongs to somebody.
struct Things {
    org: &'static str,
    name: &'static str,
    version: &'static str,
    job: String,
    key: String,
    upload: String,
    client: String,
    team: String,
    member: String,
    team_key: String,
    team_client: String,
}

impl Things {
    fn library(&self) -> String {
        format!("/{}/{}", self.org, self.name)
    }

    /// Every call that names one of them: operation, method, path, body.
    fn calls(&self) -> Vec<(&'static str, Method, String, Option<Value>)> {
        let Self { org, name, version, job, key, upload, client, .. } = self;
        let library = format!("/api/libraries/{org}/{name}");
        let upload = json!({
            "library": "/mine/own", "version": "1", "upload": { "hash": upload, "name": "docs.tar" },
        });
        let mut calls = self.team_calls();
        calls.extend([
            ("get_library", Method::GET, library.clone(), None),
            ("get_job", Method::GET, format!("/api/jobs/{job}"), None),
            ("follow_job", Method::GET, format!("/api/jobs/{job}/events"), None),
            ("cancel_job", Method::POST, format!("/api/jobs/{job}/cancel"), None),
            ("revoke_api_key", Method::DELETE, format!("/api/keys/{key}"), None),
            ("replace_client_secret", Method::POST, format!("/api/clients/{client}/secret"), None),
            (
                "change_client",
                Method::PATCH,
                format!("/api/clients/{client}"),
                Some(json!({ "client_name": "Mine now" })),
            ),
            ("remove_client", Method::DELETE, format!("/api/clients/{client}"), None),
            ("update_library", Method::PATCH, library.clone(), Some(json!({ "title": "Mine now" }))),
            ("refresh_library", Method::POST, format!("{library}/refresh"), Some(json!({}))),
            ("make_webhook", Method::POST, format!("{library}/webhook"), None),
            ("remove_webhook", Method::DELETE, format!("{library}/webhook"), None),
            ("remove_library_version", Method::DELETE, format!("{library}/versions/{version}"), None),
            ("remove_library", Method::DELETE, library, None),
            (
                "context7_get_metrics",
                Method::GET,
                format!("/api/v2/libs/metrics?libraryId={}", self.library()),
                None,
            ),
            (
                "context7_refresh_library",
                Method::POST,
                "/api/v1/refresh".to_owned(),
                Some(json!({ "libraryName": self.library() })),
            ),
            ("start_job", Method::POST, "/api/jobs".to_owned(), Some(upload)),
        ]);
        calls
    }

    /// Those of the team.
    fn team_calls(&self) -> Vec<(&'static str, Method, String, Option<Value>)> {
        let Self { team, member, team_key, team_client, .. } = self;
        let path = format!("/api/teams/{team}");
        let member = format!("{path}/members/{member}");
        let (keys, clients) = (format!("{path}/keys"), format!("{path}/clients"));
        let invitation = json!({ "email": "bob@example.org", "role": "owner" });
        let machine =
            json!({ "client_name": "m", "grant_types": ["client_credentials"], "scope": "docs:read" });
        let claim = json!({ "id": "/mine/own", "team": team, "visibility": "private" });
        let git = json!({ "url": "https://git.example/a.git", "tag": "v1" });
        let index = json!({ "library": "/mine/own", "team": team, "git": git });
        vec![
            ("get_team", Method::GET, path.clone(), None),
            ("rename_team", Method::PATCH, path.clone(), Some(json!({ "name": "Mine now" }))),
            ("invite_to_team", Method::POST, format!("{path}/invitations"), Some(invitation)),
            (
                "withdraw_invitation",
                Method::DELETE,
                format!("{path}/invitations?email=carol%40example.org"),
                None,
            ),
            ("change_team_role", Method::PATCH, member.clone(), Some(json!({ "role": "developer" }))),
            ("remove_team_member", Method::DELETE, member, None),
            ("list_team_keys", Method::GET, keys.clone(), None),
            (
                "create_team_key",
                Method::POST,
                keys.clone(),
                Some(json!({ "name": "mine", "scopes": ["docs:read"] })),
            ),
            ("revoke_team_key", Method::DELETE, format!("{keys}/{team_key}"), None),
            ("list_team_clients", Method::GET, clients.clone(), None),
            ("create_team_client", Method::POST, clients.clone(), Some(machine)),
            ("remove_team_client", Method::DELETE, format!("{clients}/{team_client}"), None),
            ("claim_library", Method::POST, "/api/libraries".to_owned(), Some(claim)),
            ("start_job of a team", Method::POST, "/api/jobs".to_owned(), Some(index)),
            ("upload_archive", Method::POST, format!("/api/jobs/uploads?team={team}"), None),
            ("delete_team", Method::DELETE, path, None),
        ]
    }

    /// The same with the names of something else, to compare what is told of both.
    fn renamed(&self, text: &str, other: &Self) -> String {
        let pairs = [
            (&self.job, &other.job),
            (&self.key, &other.key),
            (&self.upload, &other.upload),
            (&self.client, &other.client),
            (&self.team, &other.team),
            (&self.member, &other.member),
            (&self.team_key, &other.team_key),
            (&self.team_client, &other.team_client),
            (&self.library(), &other.library()),
        ];
        pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(*from, to))
    }
}

#[tokio::test]
async fn case_116_what_belongs_to_another_account_or_team_answers_like_what_is_not_there() {
    let mut node = TestNode::start().await;
    let operator = node.key.clone();
    let (alice_key_id, alice) = account(&node, "alice").await;
    let (_, bob) = account(&node, "bob").await;
    node.key.clone_from(&alice);
    let claim = json!({ "id": "/acme/frob", "visibility": "private" });
    let claimed = node.owner(Method::POST, "/api/libraries", Some(claim)).await;
    assert_eq!(claimed.0, StatusCode::CREATED, "{}", claimed.1);
    node.index("/acme/frob", "1.2.0").await;
    let hook = node.owner(Method::POST, "/api/libraries/acme/frob/webhook", None).await;
    assert_eq!(hook.0, StatusCode::CREATED, "{}", hook.1);
    let upload = node.request(Method::POST, "/api/jobs/uploads").bearer_auth(&alice).body("# Alice's own");
    let upload: Value = upload.send().await.unwrap().json().await.unwrap();
    let jobs = node.owner(Method::GET, "/api/jobs", None).await.1;
    let machine =
        json!({ "client_name": "build", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let (status, client) = ask(&node, &alice, &Method::POST, "/api/clients", Some(&machine)).await;
    assert_eq!(status, StatusCode::CREATED, "{client}");
    let (status, team) =
        ask(&node, &alice, &Method::POST, "/api/teams", Some(&json!({ "name": "Frobs" }))).await;
    assert_eq!(status, StatusCode::CREATED, "{team}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let team_path = format!("/api/teams/{}", text(&team["id"]));
    let mut made = Vec::new();
    for (path, asked) in [
        ("keys", json!({ "name": "build", "scopes": ["docs:read"] })),
        ("clients", machine),
        ("invitations", json!({ "email": "carol@example.org", "role": "admin" })),
    ] {
        let (status, told) =
            ask(&node, &alice, &Method::POST, &format!("{team_path}/{path}"), Some(&asked)).await;
        assert!(status.is_success(), "{told}");
        made.push(told);
    }
    let alices = Things {
        team: text(&team["id"]),
        member: text(&team["members"][0]["account"]),
        team_key: text(&made[0]["key"]["id"]),
        team_client: text(&made[1]["client_id"]),
        org: "acme",
        name: "frob",
        version: "1.2.0",
        job: jobs["jobs"][0]["id"].as_str().unwrap().to_owned(),
        key: alice_key_id,
        upload: upload["hash"].as_str().unwrap().to_owned(),
        client: text(&client["client_id"]),
    };
    let nobodys = Things {
        org: "acme",
        name: "none",
        version: "1.2.0",
        job: format!("job_{}", "0".repeat(26)),
        key: format!("key_{}", "0".repeat(26)),
        upload: "0".repeat(64),
        client: format!("client_{}", "0".repeat(22)),
        team: format!("acct_{}", "0".repeat(26)),
        member: format!("acct_{}", "1".repeat(26)),
        team_key: format!("key_{}", "1".repeat(26)),
        team_client: format!("client_{}", "1".repeat(22)),
    };

    // Every operation whose path names something is among the calls.
    let calls = alices.calls();
    let called: BTreeSet<&str> = calls.iter().map(|(operation, ..)| *operation).collect();
    let mut untried = BTreeSet::new();
    for (path, method, operation) in operations(&document()) {
        let id = operation["operationId"].as_str().unwrap();
        if path.starts_with("/api/cluster") {
            let method: Method = method.to_uppercase().parse().unwrap();
            let (status, told) = ask(
                &node,
                &bob,
                &method,
                &path.replace("{id}", "1").replace("{secret}", "key"),
                Some(&json!({})),
            )
            .await;
            assert_eq!(
                (status, &told["code"]),
                (StatusCode::FORBIDDEN, &json!("insufficient_scope")),
                "{id}: {told}"
            );
        }
        if path.contains('{') && !called.contains(id) {
            untried.insert(id.to_owned());
        }
        let ways = operation["security"].as_array().into_iter().flatten().filter_map(Value::as_object);
        let takes_keys = ways.flat_map(serde_json::Map::keys).any(|way| way == "bearer");
        let is_right = match EXCEPTIONS.iter().find(|known| known.contains(&id)) {
            // Only operators: a stranger's key is refused for what it may not do, whatever is named.
            Some(&known) if known == OPERATORS => {
                let method: Method = method.to_uppercase().parse().unwrap();
                let path = path.replace("{id}", "1").replace("{kid}", "1").replace("{secret}", "key");
                let (status, told) = ask(&node, &bob, &method, &path, Some(&json!({}))).await;
                takes_keys && status == StatusCode::FORBIDDEN && told["code"] == "insufficient_scope"
            }
            // No key opens the others.
            Some(_) => !takes_keys,
            None => true,
        };
        assert!(is_right, "{id} is no exception of its kind");
    }
    let excepted: BTreeSet<String> = EXCEPTIONS.concat().iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(
        untried, excepted,
        "what names something is tried as a stranger, or is an exception, and only that"
    );
    for ((operation, method, path, body), (_, _, missing_path, missing_body)) in
        calls.iter().zip(nobodys.calls())
    {
        let (status, told) = ask(&node, &bob, method, path, body.as_ref()).await;
        let missing = ask(&node, &bob, method, &missing_path, missing_body.as_ref()).await;
        let expected = if *operation == "start_job" { missing.0 } else { StatusCode::NOT_FOUND };
        assert_eq!(missing.0, expected, "{operation}: {}", missing.1);
        let renamed: Value = serde_json::from_str(&alices.renamed(&told.to_string(), &nobodys)).unwrap();
        assert_eq!((status, renamed), missing, "{operation}: {told}");
        assert!(!told.to_string().to_lowercase().contains("alice"), "{operation}: {told}");
    }

    // Lists show one's own, and nothing of what was tried was done.
    for (path, list) in [("/api/jobs", "jobs"), ("/api/keys", "keys"), ("/api/teams", "teams")] {
        let (_, bobs) = ask(&node, &bob, &Method::GET, path, None).await;
        let ids: Vec<_> = bobs[list].as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
        let hidden = [&alices.job, &alices.key, &alices.team];
        assert!(!hidden.iter().any(|hidden| ids.contains(&json!(hidden))), "{path}: {bobs}");
    }
    let (_, libraries) = ask(&node, &bob, &Method::GET, "/api/libraries", None).await;
    assert_eq!(libraries["libraries"], json!([]));
    let (_, team) = ask(&node, &alice, &Method::GET, &team_path, None).await;
    let is_as_it_was = team["name"] == "Frobs" && team["members"][0]["role"] == "owner";
    assert!(is_as_it_was && team["invitations"].as_array().is_some_and(|open| open.len() == 1), "{team}");
    for (path, list) in [("keys", "keys"), ("clients", "clients")] {
        let (_, told) = ask(&node, &alice, &Method::GET, &format!("{team_path}/{path}"), None).await;
        assert_eq!(told[list].as_array().map(Vec::len), Some(1), "{told}");
    }
    assert_eq!(node.owner(Method::GET, &format!("/api/jobs/{}", alices.job), None).await.0, StatusCode::OK);
    let (status, library) = node.owner(Method::GET, "/api/libraries/acme/frob", None).await;
    assert_eq!((status, library["current_version"].as_str()), (StatusCode::OK, Some("1.2.0")), "{library}");
    assert_ne!(library["title"], "Mine now");
    let removed = node.owner(Method::DELETE, "/api/libraries/acme/frob/webhook", None).await;
    assert_eq!(removed.0, StatusCode::NO_CONTENT, "the webhook is still there");

    // An operator acts on everybody's.
    let job = format!("/api/jobs/{}", alices.job);
    assert_eq!(ask(&node, &operator, &Method::GET, &job, None).await.0, StatusCode::OK);
    node.node.stop().await.unwrap();
}

#[tokio::test]
async fn the_tools_tell_a_stranger_what_they_tell_anybody() {
    let mut node = TestNode::start().await;
    let (_, alice) = account(&node, "alice").await;
    let (_, bob) = account(&node, "bob").await;
    node.key.clone_from(&alice);
    node.index("/acme/frob", "1.2.0").await;
    let asked = json!({ "libraryId": "/acme/frob", "query": "install the frobnicator" });
    let resolved = json!({ "libraryName": "frob", "query": "install" });
    let resolve = "/api/mcp/resolve-library-id";
    // Names are learnt a moment after a library is published.
    while ask(&node, &alice, &Method::POST, resolve, Some(&resolved)).await.1["libraries"] == json!([]) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (path, body) in [("/api/mcp/query-docs", &asked), (resolve, &resolved)] {
        let one = ask(&node, &alice, &Method::POST, path, Some(body)).await;
        assert_eq!(one.0, StatusCode::OK, "{}", one.1);
        assert_eq!(ask(&node, &bob, &Method::POST, path, Some(body)).await, one, "{path}");
    }
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "query-docs", "arguments": asked },
    });
    let mut told = Vec::new();
    for key in [&alice, &bob] {
        let request = node.request(Method::POST, "/mcp").bearer_auth(key).json(&call);
        let request = request.header("accept", "application/json, text/event-stream");
        let answer = request.header("mcp-protocol-version", "2025-11-25").send().await.unwrap();
        told.push(answer.text().await.unwrap());
    }
    assert!(told[0].contains("frob install") && told[0] == told[1], "{told:?}");
    node.node.stop().await.unwrap();
}
