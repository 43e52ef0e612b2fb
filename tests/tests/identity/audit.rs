//! The audit log: who did what, told on every node, and nothing that was changed in it goes unnoticed.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{TestClient, TestCluster, TestNode, eventually, run};

use super::app::{App, decide, signed_in};
use super::authenticator::{Enrolled, answer, enrol};
use super::{Browser, PASSWORD, person};

/// The events that a query finds, the newest first.
async fn events(client: &TestClient, parameters: &[(&str, &str)]) -> Vec<Value> {
    let mut page = client.get_with("/api/audit", parameters).await.expect(200).json();
    serde_json::from_value(page["events"].take()).expect("a page has events")
}

fn actions(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["action"].as_str()).collect()
}

#[tokio::test]
async fn every_event_says_who_did_what_to_whom_from_where_and_by_which_request() {
    let node = TestNode::empty().await;
    let operator = node.client();
    let ada = person(&operator, "ada@example.org").await;
    let ada = ada["id"].as_str().expect("an account has an id");
    let made = json!({ "name": "build", "scopes": ["docs:read", "jobs:write"] });
    let made = operator.post("/api/keys", &made).await.expect(201);
    let (key, request) = (made.json(), made.header("x-request-id"));
    let key = key["key"]["id"].as_str().expect("a key has an id");
    operator.delete(&format!("/api/keys/{key}")).await.expect(204);
    operator.delete(&format!("/api/keys/{key}")).await.expect(404);

    let of_key = events(&operator, &[("object", key)]).await;
    assert_eq!(actions(&of_key), ["api_key.revoked", "api_key.made"], "a refused change is none");
    let event = &of_key[1];
    assert_eq!((event["outcome"].as_str(), event["request"].as_str()), (Some("done"), Some(request)));
    assert_eq!((event["address"].as_str(), event["node"].as_u64()), (Some("127.0.0.1"), Some(1)));
    assert_eq!(event["actor"]["kind"], "api_key");
    assert_eq!(event["actor"]["account"], event["object"]["account"], "the operator's own key");
    assert_ne!(event["actor"]["id"], key);
    assert_eq!(event["detail"]["scopes"], "docs:read jobs:write");

    let mut browser = Browser::at(&node);
    for _ in 0..2 {
        browser.sign_in("ada@example.org", "not mine at all").await.expect(401);
    }
    browser.sign_in("nobody@example.org", "not mine at all").await.expect(401);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    browser.get("/api/auth/account").await.expect(200);
    let sessions = events(&operator, &[("object", ada), ("action", "session.")]).await;
    assert_eq!(actions(&sessions), ["session.begun"]);
    assert_eq!(
        sessions[0]["actor"],
        json!({ "kind": "person", "id": ada }),
        "who signed in, though nobody asked"
    );
    assert_eq!(sessions[0]["detail"]["methods"], "pwd");
    let failed = events(&operator, &[("object", ada), ("action", "sign_in.failed")]).await;
    assert_eq!((failed[0]["outcome"].as_str(), failed[0]["count"].as_u64()), (Some("refused"), Some(2)));
    assert_eq!(failed[0]["actor"]["kind"], "nobody");
    let exported = events(&operator, &[("actor", ada), ("action", "account.exported")]).await;
    assert_eq!(exported.len(), 1, "reading out everything is told although it changes nothing");
    browser.post("/api/auth/sign-out", &json!({})).await.expect(204);
    operator
        .patch(&format!("/api/accounts/{ada}"), &json!({ "disabled": true, "operator": true }))
        .await
        .expect(200);
    let managed = events(&operator, &[("object", ada), ("limit", "3")]).await;
    assert_eq!(actions(&managed), ["operator.made", "account.disabled", "session.ended"]);

    // Pages, one behind the other, are the whole log in its order.
    let (mut numbers, mut before) = (Vec::new(), None::<String>);
    loop {
        let mut parameters = vec![("limit", "4")];
        parameters.extend(before.as_deref().map(|before| ("before", before)));
        let page = operator.get_with("/api/audit", &parameters).await.expect(200).json();
        let events = page["events"].as_array().into_iter().flatten();
        numbers.extend(events.filter_map(|event| event["number"].as_u64()));
        match page["before"].as_u64() {
            Some(number) => before = Some(number.to_string()),
            None => break,
        }
    }
    let newest = numbers.first().copied().unwrap_or_default();
    assert_eq!(numbers, (1..=newest).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_tried_asked_for_and_denied_is_told_and_by_whom() {
    let node = TestNode::empty().await;
    let operator = node.client();
    let mut ada = signed_in(&node, "ada@example.org").await;
    let account = ada.get("/api/auth/account").await.expect(200).json()["account"]["id"].clone();
    let told = async |action: &str| {
        eventually("an event", async || events(&operator, &[("action", action)]).await.into_iter().next())
            .await
    };

    // One wrong password, too few to be counted by the cluster, and the right one.
    let mut browser = Browser::at(&node);
    browser.sign_in("ada@example.org", "not mine at all").await.expect(401);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let event = told("sign_in.failed").await;
    assert_eq!((&event["object"]["id"], &event["count"]), (&account, &json!(1)), "{event}");

    let mut stranger = Browser::at(&node);
    stranger.post("/api/auth/reset/request", &json!({ "email": "ada@example.org" })).await.expect(204);
    let event = told("password.reset_requested").await;
    assert_eq!((&event["object"]["id"], &event["actor"]["kind"]), (&account, &json!("nobody")), "{event}");

    let metadata = json!({ "client_name": "Web", "redirect_uris": ["https://web.example/cb"] });
    let app = App::made_by(&operator, &metadata).await;
    let wrong = App { secret: Some("guessed".to_owned()), ..app.clone() };
    for _ in 0..5 {
        assert_eq!(wrong.refresh(&operator, "nothing", &[]).await.expect(401).code(), "invalid_client");
    }
    let event = told("client.refused").await;
    assert_eq!((&event["object"]["id"], &event["outcome"]), (&json!(app.id), &json!("refused")), "{event}");
    assert_eq!((&event["count"], &event["address"]), (&json!(1), &json!("127.0.0.1")), "{event}");

    let page = ada.get(&app.authorize(&[])).await.expect(200).text;
    decide(&mut ada, &page, "deny").await.expect(303);
    let event = told("consent.denied").await;
    let who = json!({ "kind": "person", "id": account });
    assert_eq!((&event["object"]["id"], &event["actor"]), (&json!(app.id), &who), "{event}");

    app.tokens(&operator, &mut ada, &[]).await;
    let event = told("grant.made").await;
    assert_eq!(
        (&event["object"]["account"], &event["detail"]["client"]),
        (&account, &json!(app.id)),
        "{event}"
    );
    assert_eq!(event["actor"]["id"], json!(app.id));

    // A wrong second factor is told at once: whoever shows it knows the password.
    let Enrolled { app: phone, .. } = enrol(&mut ada).await;
    browser = Browser::at(&node);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(202);
    answer(&mut browser, "totp", &phone.wrong()).await.expect(403);
    let event = told("second_factor.failed").await;
    assert_eq!((&event["object"]["id"], &event["count"]), (&account, &json!(1)), "{event}");
    let told_of = events(&operator, &[("action", "client.refused")]).await;
    // The first at once; the others together, should this have taken longer than a minute.
    assert!(told_of.len() <= 2, "guesses cost no write each: {told_of:?}");
    // Nothing that opens anything is in the log.
    let log = operator.answer(operator.request(Method::GET, "/api/audit/export")).await.expect(200).text;
    let secret = app.secret.expect("it has one");
    assert!(![secret.as_str(), "guessed", PASSWORD, "not mine"].iter().any(|secret| log.contains(secret)));
}

#[tokio::test]
async fn the_log_is_for_operators_and_a_wrong_question_is_answered_with_what_to_do() {
    let node = TestNode::empty().await;
    let operator = node.client();
    let (_, secret) =
        operator.create_key(&["docs:read", "keys:write", "libraries:write", "jobs:write"]).await;
    for path in ["/api/audit", "/api/audit/export"] {
        operator.anonymous().get(path).await.expect(401);
        let refused = operator.with_key(&secret).get(path).await.expect(403);
        assert_eq!(
            (refused.code().as_str(), refused.json()["scope"].as_str()),
            ("insufficient_scope", Some("admin"))
        );
    }
    for (name, value) in [
        ("since", "yesterday"),
        ("until", "2026-02-30"),
        ("limit", "0"),
        ("limit", "101"),
        ("before", "-1"),
        ("actor", &"a".repeat(513)),
    ] {
        let refused = operator.get_with("/api/audit", &[(name, value)]).await.expect(400);
        assert!(refused.text.contains(name), "{name}={value}: {}", refused.text);
    }
    for (parameters, count) in [
        (&[("until", "2020-01-01")][..], 0),
        (&[("since", "9999-12-31")], 0),
        (&[("action", "nothing.like_it")], 0),
        (&[("since", "2020-01-01"), ("action", "api_key.made"), ("actor", "")], 1),
    ] {
        let found = events(&operator, parameters).await;
        assert!(found.len() >= count && (count > 0 || found.is_empty()), "{parameters:?}: {found:?}");
    }
}

/// Runs `admin audit verify` on these bytes.
async fn verified(node: &TestNode, export: &str, more: &[&str]) -> Option<i32> {
    let mut arguments = vec!["admin", "audit", "verify", "-"];
    arguments.extend(more);
    run(node.cli().command(&arguments), export).await.code
}

#[tokio::test]
async fn an_export_tells_what_was_changed_removed_or_moved_with_no_node_at_hand() {
    let node = TestNode::empty().await;
    let operator = node.client();
    for number in 0..4 {
        let made = json!({ "name": format!("key {number}"), "scopes": ["docs:read"] });
        operator.post("/api/keys", &made).await.expect(201);
    }
    let (cli, file) = (node.cli(), node.folder().join("audit.jsonl"));
    let path = file.display().to_string();
    let exported = cli.run(&["admin", "audit", "export", &path]).await.expect(0);
    let hash = exported.stdout.trim().to_owned();
    assert!(hash.len() == 64 && exported.stderr.contains("whole"), "{exported:?}");
    let again = cli.run(&["admin", "audit", "verify", &path, "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(again.code, Some(2), "verifying asks no node, so it takes none");
    assert_eq!(cli.run(&["admin", "audit", "verify", &path]).await.expect(0).stdout.trim(), hash);

    let whole = read(&file);
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines.len() >= 5, "{whole}");
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    assert_eq!(verified(&node, &joined(&lines), &["--holds", &hash]).await, Some(0));
    assert_eq!(verified(&node, &joined(&lines), &["--holds", &"0f".repeat(32)]).await, Some(1));
    // Of the keys that were made behind what a start writes, the first: others follow.
    let made = lines.iter().position(|line| line.contains("docs:read")).expect("keys were made");
    let changed = lines[made].replace("api_key.made", "api_key.gone");
    assert_ne!(changed, lines[made]);
    let mut one = lines.clone();
    one[made] = &changed;
    let mut removed = lines.clone();
    removed.remove(made);
    let mut moved = lines.clone();
    moved.swap(made, made + 1);
    let cut_off = &lines[..lines.len() - 1];
    for (what, lines) in [
        ("changed", &one[..]),
        ("removed", &removed),
        ("moved", &moved),
        ("cut off", cut_off),
        ("empty", &[]),
    ] {
        assert_eq!(verified(&node, &joined(lines), &[]).await, Some(1), "{what}");
    }
    assert_eq!(cli.run(&["admin", "audit", "verify", "/no/such/file"]).await.code, Some(1));

    let listed = cli.run(&["admin", "audit", "list", "--action", "api_key.", "--limit", "3"]).await.expect(0);
    assert_eq!(
        listed.stdout.lines().filter(|line| line.contains("api_key.made")).count(),
        3,
        "{}",
        listed.stdout
    );
    let json = cli.run(&["admin", "audit", "list", "--json"]).await.expect(0).json();
    assert!(json["events"].as_array().is_some_and(|events| events.len() >= 5), "{json}");
    let refused = cli.run(&["admin", "audit", "list", "--since", "soon"]).await.expect(1);
    assert!(refused.stderr.contains("`since` is a day"), "{}", refused.stderr);
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).expect("the export is there")
}

#[tokio::test]
async fn the_log_is_one_on_all_nodes_and_says_which_of_them_was_asked() {
    let cluster = TestCluster::start(3, 0).await;
    let nodes: Vec<_> = futures_util::future::join_all((0..3).map(|place| cluster.view(place))).await;
    let mut keys = BTreeSet::new();
    for (place, view) in nodes.iter().enumerate() {
        let client = cluster.client(place);
        let made = json!({ "name": "asked here", "scopes": ["docs:read"] });
        let made = client.post("/api/keys", &made).await.expect(201).json();
        let key = made["key"]["id"].as_str().expect("a key has an id").to_owned();
        // The log of another node tells it, and who was asked.
        let other = cluster.client((place + 1) % 3);
        let event = eventually("an event on another node", async || {
            events(&other, &[("object", &key)]).await.into_iter().next()
        })
        .await;
        assert_eq!((&event["node"], event["action"].as_str()), (&view["node"], Some("api_key.made")));
        keys.insert(key);
    }
    let export = async |place: usize| {
        let client = cluster.client(place);
        let answer = client.answer(client.request(Method::GET, "/api/audit/export")).await.expect(200);
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.text
    };
    let whole = eventually("logs that are the same", async || {
        let logs = [export(0).await, export(1).await, export(2).await];
        logs.iter().all(|log| *log == logs[0]).then(|| logs[0].clone())
    })
    .await;
    assert!(keys.iter().all(|key| whole.contains(key)), "{whole}");
    assert_eq!(whole.matches("\"action\":\"member.joined\"").count(), 2, "{whole}");
    assert_eq!(verified(&cluster.nodes[0], &whole, &[]).await, Some(0));
}
