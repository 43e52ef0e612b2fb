//! Clients that somebody made, and what becomes of them: changed by their owners, by operators, and by the team they belong to.

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{Answer, TestClient, TestCluster, TestNode, eventually};

use super::app::{App, Tokens, decide, opens, parameter, post_form, signed_in};
use super::client_keys::{ask, claims, issuer, machine};
use super::signer::{Signer, hs256};
use super::teams::{confirmed, member, team};
use super::{Browser, PASSWORD, form_token};

const OLD: &str = "https://old.example/cb";
const NEW: &str = "https://new.example/cb";

fn text(value: &Value) -> String {
    value.as_str().expect("it is there").to_owned()
}

fn path(id: &str) -> String {
    format!("/api/clients/{id}")
}

/// A client that acts for itself, made at `path` by whoever sits at `browser`: its id and secret.
async fn made(browser: &mut Browser, path: &str, scope: &str) -> (String, String) {
    let metadata = json!({ "client_name": "nightly", "grant_types": ["client_credentials"], "scope": scope });
    let made = browser.post(path, &metadata).await.expect(201).json();
    (text(&made["client_id"]), text(&made["client_secret"]))
}

/// What a client that acts for itself is told, with `more`.
async fn token(client: &TestClient, id: &str, secret: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    fields.extend(more);
    post_form(client, "/api/oauth/token", &fields).await
}

/// The facts of a client, as its owner's list tells them.
async fn listed(browser: &mut Browser, id: &str) -> Value {
    let all = browser.get("/api/clients").await.expect(200).json();
    let clients = all["clients"].as_array().expect("it is a list");
    clients.iter().find(|client| client["client_id"] == id).cloned().unwrap_or_default()
}

/// Three nodes of one service, which may be asked for much without a key.
async fn cluster() -> TestCluster {
    TestCluster::start_as(3, 0, async |number| {
        let setup = TestCluster::setup(number).with("http", "public_url", "http://localhost:3000");
        setup.with("limits", "anonymous_per_minute", 6_000).with("limits", "anonymous_burst", 1_000)
    })
    .await
}

/// Waits until people are sent to the new address of a client, and to the old one no more, at every node; at the one at `place`, where it
/// was changed, they are at once.
async fn moves_everywhere(cluster: &TestCluster, place: usize, old: &App) {
    let new = App { redirect_uri: NEW.to_owned(), ..old.clone() };
    let has_moved = async |place: usize| {
        let mut anybody = Browser::at(&cluster.nodes[place]);
        let refused = anybody.get(&old.authorize(&[])).await;
        let taken = anybody.get(&new.authorize(&[])).await;
        (refused.status, refused.header("location"), taken.status) == (400, "", 303)
    };
    assert!(has_moved(place).await, "at once where it was changed");
    for place in 0..cluster.nodes.len() {
        eventually("the change at every node", async || has_moved(place).await.then_some(())).await;
    }
}

/// An answer without what differs in each: the request's id, and the client's.
fn anonymous(answer: &Answer, id: &str) -> (u16, Value) {
    let mut body: Value = serde_json::from_str(&answer.text.replace(id, "ID")).expect("it is JSON");
    body.as_object_mut().expect("it is an object").remove("request_id");
    (answer.status, body)
}

#[tokio::test]
async fn an_owner_changes_what_is_named_and_nothing_else() {
    let node = TestNode::empty().await;
    let mut ada = confirmed(&node, "ada@example.org").await;
    let metadata = json!({
        "client_name": "Web", "redirect_uris": [OLD], "scope": "docs:read openid", "access_token_format": "opaque",
        "client_uri": "https://old.example", "post_logout_redirect_uris": ["https://old.example/bye"],
        "id_token_signed_response_alg": "RS256", "backchannel_logout_uri": "https://old.example/out",
        "backchannel_logout_session_required": true,
    });
    let made = ada.post("/api/clients", &metadata).await.expect(201).json();
    let id = text(&made["client_id"]);
    let mut expected = listed(&mut ada, &id).await;
    for (name, value) in metadata.as_object().expect("it is an object") {
        assert_eq!(&expected[name], value, "{name}");
    }
    // Many programs write `null` for what they leave out.
    for (changes, gone) in [
        (json!({ "client_name": "Shop", "scope": null, "backchannel_logout_uri": null }), &[][..]),
        (json!({ "redirect_uris": [NEW, "https://new.example/cb2"], "scope": "docs:read chat openid" }), &[]),
        (json!({ "grant_types": ["authorization_code"], "access_token_format": "jwt" }), &[]),
        (json!({ "backchannel_logout_uri": "https://new.example/out" }), &[]),
        (
            json!({ "id_token_signed_response_alg": "", "client_uri": "", "post_logout_redirect_uris": [] }),
            &["id_token_signed_response_alg", "client_uri", "post_logout_redirect_uris"],
        ),
        (
            json!({ "backchannel_logout_uri": "" }),
            &["backchannel_logout_uri", "backchannel_logout_session_required"],
        ),
    ] {
        let changed = ada.patch(&path(&id), &changes).await.expect(200).json();
        for (name, value) in changes.as_object().expect("it is an object") {
            if !value.is_null() {
                expected[name] = value.clone();
            }
        }
        for name in gone {
            expected.as_object_mut().expect("it is an object").remove(*name);
        }
        assert_eq!(changed, expected, "{changes}");
        assert_eq!(listed(&mut ada, &id).await, expected, "{changes}");
    }
    // Its secret is what it was.
    let app = App { redirect_uri: NEW.to_owned(), ..App::of(&made) };
    let told = app.ask(&node.client(), "/api/oauth/introspect", &[("token", "x")]).await.expect(200).json();
    assert_eq!(told["active"], false);
    let log = node.client().get(&format!("/api/audit?object={id}")).await.expect(200).json();
    let actions: Vec<&Value> =
        log["events"].as_array().expect("it is a list").iter().map(|it| &it["action"]).collect();
    assert_eq!(actions.iter().filter(|action| **action == "client.changed").count(), 6, "{log}");
    assert!(!actions.iter().any(|action| *action == "client.credentials_replaced"), "{log}");
}

#[tokio::test]
async fn another_accounts_client_answers_like_none() {
    const NOBODYS: &str = "client_0000000000000000000000";
    let node = TestNode::empty().await;
    let operator = node.client();
    let mut ada = confirmed(&node, "ada@example.org").await;
    let mut bob = confirmed(&node, "bob@example.org").await;
    let team = team(&mut ada).await;
    let (own, secret) = made(&mut ada, "/api/clients", "docs:read").await;
    let (teams, _) = made(&mut ada, &format!("{team}/clients"), "docs:read").await;
    let before = listed(&mut ada, &own).await;
    let changes = json!({ "client_name": "Mine now" });
    let calls = |id: &str| {
        [
            (Method::PATCH, path(id), changes.clone()),
            (Method::PATCH, path(id), json!({ "redirect_uris": "wrong" })),
            (Method::POST, format!("{}/secret", path(id)), json!({})),
            (Method::DELETE, path(id), json!({})),
        ]
    };
    for id in [&own, &teams] {
        for ((method, there, body), (_, nowhere, _)) in calls(id).into_iter().zip(calls(NOBODYS)) {
            let request = bob.request(method.clone(), &there).json(&body);
            let found = bob.send(request).await.expect(404);
            let request = bob.request(method.clone(), &nowhere).json(&body);
            let missing = bob.send(request).await.expect(404);
            assert_eq!(anonymous(&found, id), anonymous(&missing, NOBODYS), "{method} {there}");
        }
    }
    assert_eq!(listed(&mut ada, &own).await, before);
    token(&operator, &own, &secret, &[]).await.expect(200);
    operator.anonymous().patch(&path(&own), &changes).await.expect(401);
    let (_, reads) = operator.create_key(&["docs:read"]).await;
    let lacking = operator.with_key(&reads).patch(&path(&own), &changes).await.expect(403);
    assert_eq!(lacking.code(), "insufficient_scope");
    // An operator changes anybody's, also what registered itself.
    let changed = operator.patch(&path(&own), &json!({ "client_name": "Theirs" })).await.expect(200).json();
    assert_eq!((&changed["client_name"], &changed["scope"]), (&json!("Theirs"), &json!("docs:read")));
    let registered = App::confidential(&node).await;
    ada.patch(&path(&registered.id), &changes).await.expect(404);
    let asked = json!({ "scope": "docs:read admin" });
    let changed = operator.patch(&path(&registered.id), &asked).await.expect(200).json();
    assert_eq!(changed["scope"], "docs:read", "nobody answers for it");
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_name_and_nothing_is_changed() {
    let node = TestNode::empty().await;
    let mut ada = confirmed(&node, "ada@example.org").await;
    let metadata = json!({ "client_name": "Web", "redirect_uris": [OLD], "scope": "docs:read openid" });
    let id = text(&ada.post("/api/clients", &metadata).await.expect(201).json()["client_id"]);
    let before = listed(&mut ada, &id).await;
    let many: Vec<String> = (0..21).map(|number| format!("{NEW}{number}")).collect();
    for (name, value) in [
        ("client_name", json!("")),
        ("client_name", json!("x".repeat(201))),
        ("client_name", json!(7)),
        ("redirect_uris", json!([])),
        ("redirect_uris", json!(NEW)),
        ("redirect_uris", json!(["http://new.example/cb"])),
        ("redirect_uris", json!(["javascript:alert(1)"])),
        ("redirect_uris", json!([format!("https://new.example/{}", "x".repeat(1_024))])),
        ("redirect_uris", json!(many)),
        ("post_logout_redirect_uris", json!(["https://new.example/#bye"])),
        ("scope", json!("everything")),
        ("scope", json!(["docs:read"])),
        ("grant_types", json!([])),
        ("grant_types", json!(["password"])),
        ("response_types", json!(["token"])),
        ("token_endpoint_auth_method", json!("none")),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
        ("id_token_signed_response_alg", json!("HS256")),
        ("access_token_format", json!("xml")),
        ("client_uri", json!("http://new.example")),
        ("backchannel_logout_uri", json!("http://new.example/out")),
        ("backchannel_logout_uri", json!("https://10.0.0.1/out")),
        ("client_id", json!("client_other")),
        ("client_secret", json!("guess")),
    ] {
        let changes = json!({ name: value, "access_token_format": "opaque" });
        let changes = if name == "access_token_format" { json!({ name: value }) } else { changes };
        let refused = ada.patch(&path(&id), &changes).await.expect(400);
        assert!(refused.code().starts_with("invalid_"), "{changes}: {}", refused.text);
        let why = text(&refused.json()["detail"]);
        // The way a client shows who it is has a member of its own for keys.
        let names_it = why.contains(name) || name == "token_endpoint_auth_method" && why.contains("'jwks'");
        assert!(names_it, "{changes}: {why}");
    }
    ada.patch(&path(&id), &json!([])).await.expect(400);
    let request = ada.request(Method::PATCH, &path(&id)).header("content-type", "application/json").body("{");
    ada.send(request).await.expect(400);
    assert_eq!(listed(&mut ada, &id).await, before);
}

#[tokio::test]
async fn people_are_sent_to_the_new_address_and_nothing_is_left_of_the_old_one() {
    let node = TestNode::empty().await;
    let client = node.client();
    let mut ada = confirmed(&node, "ada@example.org").await;
    let mut eve = signed_in(&node, "eve@example.org").await;
    let metadata = json!({ "client_name": "Web", "redirect_uris": [OLD], "scope": "docs:read openid" });
    let old = App::of(&ada.post("/api/clients", &metadata).await.expect(201).json());
    let tokens = old.tokens(&client, &mut eve, &[]).await;
    // On their way: a code, and two questions.
    let code = old.code(&mut eve, &[]).await;
    let asked = [("prompt", "consent")];
    let questions = [eve.get(&old.authorize(&asked)).await, eve.get(&old.authorize(&asked)).await];
    ada.patch(&path(&old.id), &json!({ "redirect_uris": [NEW] })).await.expect(200);

    let refused = eve.get(&old.authorize(&[])).await.expect(400);
    assert_eq!(refused.header("location"), "");
    assert_eq!(old.redeem(&client, &code, &[]).await.expect(400).code(), "invalid_grant");
    for (question, answer) in questions.into_iter().zip(["allow", "deny"]) {
        let answered = decide(&mut eve, &question.expect(200).text, answer).await.expect(400);
        assert_eq!(answered.header("location"), "", "{answer}");
    }
    assert!(opens(&client, &tokens.access).await, "what is out lives on");
    // Neither another address nor another name asks anybody again.
    ada.patch(&path(&old.id), &json!({ "client_name": "Web 2" })).await.expect(200);
    let new = App { redirect_uri: NEW.to_owned(), ..old.clone() };
    let back = eve.get(&new.authorize(&[])).await.expect(303).header("location").to_owned();
    assert!(back.starts_with(NEW), "{back}");
    let code = parameter(&back, "code").expect("there is a code");
    let tokens_there = Tokens::of(&new.redeem(&client, &code, &[]).await.expect(200));
    assert!(opens(&client, &tokens_there.access).await);
    // What people have allowed the client goes on.
    new.refresh(&client, &tokens.refresh, &[]).await.expect(200);
}

#[tokio::test]
async fn a_scope_that_was_taken_away_is_given_to_nobody_any_more() {
    let node = TestNode::empty().await;
    let client = node.client();
    let mut ada = confirmed(&node, "ada@example.org").await;
    let mut eve = signed_in(&node, "eve@example.org").await;
    let (id, secret) = made(&mut ada, "/api/clients", "docs:read chat").await;
    let chat = [("scope", "chat")];
    token(&client, &id, &secret, &chat).await.expect(200);
    ada.patch(&path(&id), &json!({ "scope": "docs:read" })).await.expect(200);
    assert_eq!(token(&client, &id, &secret, &chat).await.expect(400).code(), "invalid_scope");
    assert_eq!(token(&client, &id, &secret, &[]).await.expect(200).json()["scope"], "docs:read");

    // A person had allowed it, and a code is on its way.
    let metadata = json!({ "client_name": "Web", "redirect_uris": [OLD], "scope": "docs:read chat openid" });
    let app = App::of(&ada.post("/api/clients", &metadata).await.expect(201).json());
    let all = [("scope", "docs:read chat openid")];
    let tokens = app.tokens(&client, &mut eve, &all).await;
    let code = app.code(&mut eve, &all).await;
    ada.patch(&path(&app.id), &json!({ "scope": "docs:read openid" })).await.expect(200);
    let redeemed = app.redeem(&client, &code, &[]).await.expect(200).json();
    assert_eq!(redeemed["scope"], "docs:read openid");
    assert_eq!(app.refresh(&client, &tokens.refresh, &chat).await.expect(400).code(), "invalid_scope");
    let refreshed = app.refresh(&client, &tokens.refresh, &[]).await.expect(200);
    assert_eq!(refreshed.json()["scope"], "docs:read openid");
    let back = eve.get(&app.authorize(&all)).await.expect(303).header("location").to_owned();
    assert_eq!(parameter(&back, "error").as_deref(), Some("invalid_scope"), "{back}");
    ada.patch(&path(&app.id), &json!({ "scope": "profile" })).await.expect(200);
    let next = Tokens::of(&refreshed).refresh;
    assert_eq!(app.refresh(&client, &next, &[]).await.expect(400).code(), "invalid_grant");
    // It may do so again: nothing was used up.
    ada.patch(&path(&app.id), &json!({ "scope": "docs:read" })).await.expect(200);
    assert_eq!(app.refresh(&client, &next, &[]).await.expect(200).json()["scope"], "docs:read");
}

#[tokio::test]
async fn nobody_makes_a_client_do_what_they_may_not_or_learns_its_secret() {
    let node = TestNode::empty().await;
    let operator = node.client();
    let metadata = json!({
        "client_name": "console", "grant_types": ["client_credentials"], "scope": "docs:read admin",
    });
    let console = App::made_by(&operator, &metadata).await;
    let (_, key) = operator.create_key(&["keys:write", "docs:read"]).await;
    let lesser = operator.with_key(&key);
    let secret_at = format!("{}/secret", path(&console.id));
    let renamed = lesser.patch(&path(&console.id), &json!({ "client_name": "mine" })).await.expect(403);
    assert!(renamed.text.contains("'admin'"), "{}", renamed.text);
    assert_eq!(lesser.post(&secret_at, &json!({})).await.expect(403).code(), "access_denied");
    let asked = json!({ "scope": "docs:read admin" });
    let less = lesser.patch(&path(&console.id), &asked).await.expect(200).json();
    assert_eq!(less["scope"], "docs:read", "what the key lacks is left out, and so told");
    let secret = text(&lesser.post(&secret_at, &json!({})).await.expect(200).json()["client_secret"]);
    let given = token(&operator, &console.id, &secret, &[]).await.expect(200).json();
    assert_eq!(given["scope"], "docs:read");
    let more = operator.patch(&path(&console.id), &asked).await.expect(200).json();
    assert_eq!(more["scope"], "docs:read admin");
    // A person is no operator, and gives nothing of theirs.
    let mut ada = confirmed(&node, "ada@example.org").await;
    let (id, _) = made(&mut ada, "/api/clients", "docs:read").await;
    let asked = json!({ "scope": "docs:read admin metrics:read", "trusted": true });
    let changed = ada.patch(&path(&id), &asked).await.expect(200).json();
    assert_eq!((&changed["scope"], &changed["trusted"]), (&json!("docs:read"), &Value::Null));
}

#[tokio::test]
async fn a_team_changes_its_clients_and_whoever_made_one_replaces_what_opens_it() {
    let node = TestNode::empty().await;
    let operator = node.client();
    let mut ada = confirmed(&node, "ada@example.org").await;
    let team = team(&mut ada).await;
    let clients = format!("{team}/clients");
    let mut bob = member(&node, &mut ada, &team, "bob@example.org", "admin").await;
    let mut eve = member(&node, &mut ada, &team, "eve@example.org", "developer").await;
    let (id, first) = made(&mut bob, &clients, "docs:read jobs:write").await;
    let secret_at = format!("{}/secret", path(&id));
    token(&operator, &id, &first, &[]).await.expect(200);
    let second = text(&bob.post(&secret_at, &json!({})).await.expect(200).json()["client_secret"]);
    assert_eq!(token(&operator, &id, &first, &[]).await.expect(401).code(), "invalid_client");
    token(&operator, &id, &second, &[]).await.expect(200);

    // Admins and owners say what it may do, with what a team gives; who has not made it does not see its secret.
    let asked = json!({ "client_name": "weekly", "scope": "docs:read chat keys:write account admin" });
    let changed = ada.patch(&path(&id), &asked).await.expect(200).json();
    assert_eq!(
        (&changed["client_name"], &changed["scope"]),
        (&json!("weekly"), &json!("docs:read chat")),
        "{changed}"
    );
    assert_eq!(ada.get(&clients).await.expect(200).json()["clients"][0]["client_name"], "weekly");
    let refused = ada.post(&secret_at, &json!({})).await.expect(403);
    assert!(refused.code() == "access_denied" && refused.text.contains("made"), "{}", refused.text);
    eve.patch(&path(&id), &asked).await.expect(404);
    eve.post(&secret_at, &json!({})).await.expect(404);
    token(&operator, &id, &second, &[]).await.expect(200);
    let third = text(&operator.post(&secret_at, &json!({})).await.expect(200).json()["client_secret"]);
    token(&operator, &id, &second, &[]).await.expect(401);
    token(&operator, &id, &third, &[]).await.expect(200);

    // Keys are what opens it, too.
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let metadata = json!({
        "client_name": "signer", "grant_types": ["client_credentials"], "scope": "docs:read",
        "token_endpoint_auth_method": "private_key_jwt", "jwks": old.jwks(),
    });
    let signer = App::of(&bob.post(&clients, &metadata).await.expect(201).json());
    let issuer = issuer(&operator).await;
    let is_taken =
        async |by: &Signer| ask(&operator, &by.sign(&claims(&signer, &issuer, &[])), &[]).await.status == 200;
    assert!(is_taken(&old).await && !is_taken(&new).await);
    let keys = json!({ "jwks": new.jwks() });
    ada.patch(&path(&signer.id), &keys).await.expect(403);
    assert!(is_taken(&old).await && !is_taken(&new).await);
    ada.patch(&path(&signer.id), &json!({ "client_name": "seal" })).await.expect(200);
    let private = json!({ "jwks": { "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] } });
    assert!(bob.patch(&path(&signer.id), &private).await.expect(400).text.contains("'jwks'"));
    bob.patch(&path(&signer.id), &keys).await.expect(200);
    assert!(!is_taken(&old).await && is_taken(&new).await);
    bob.post(&format!("{}/secret", path(&signer.id)), &json!({})).await.expect(400);
    let elsewhere = json!({ "jwks_uri": "https://new.example/jwks" });
    let moved = bob.patch(&path(&signer.id), &elsewhere).await.expect(200).json();
    assert_eq!((&moved["jwks"], &moved["jwks_uri"]), (&Value::Null, &elsewhere["jwks_uri"]));
    let log = operator.get(&format!("/api/audit?object={}", signer.id)).await.expect(200).text;
    assert!(log.contains("client.credentials_replaced") && log.contains("client.changed"), "{log}");

    // What bob has seen ends with his membership.
    let members = ada.get(&team).await.expect(200).json()["members"].take();
    let bobs = members.as_array().and_then(|all| all.iter().find(|it| it["email"] == "bob@example.org"));
    let bobs = text(&bobs.expect("he is there")["account"]);
    ada.delete(&format!("{team}/members/{bobs}")).await.expect(204);
    token(&operator, &id, &third, &[]).await.expect(401);
    let (own, _) = made(&mut ada, &clients, "docs:read").await;
    bob.patch(&path(&own), &asked).await.expect(404);
    ada.delete(&path(&own)).await.expect(204);
    assert_eq!(ada.get(&clients).await.expect(200).json()["clients"], json!([]));
}

#[tokio::test]
async fn a_secret_that_a_client_signs_with_is_replaced_too() {
    let node = TestNode::empty().await;
    let client = node.client();
    let app = machine(&client, &json!({ "token_endpoint_auth_method": "client_secret_jwt" })).await;
    let issuer = issuer(&client).await;
    let first = app.secret.clone().expect("it is there");
    let signed = |secret: &str| hs256(secret.as_bytes(), &claims(&app, &issuer, &[]));
    ask(&client, &signed(&first), &[]).await.expect(200);
    let replaced = client.post(&format!("{}/secret", path(&app.id)), &json!({})).await.expect(200).json();
    let second = text(&replaced["client_secret"]);
    ask(&client, &signed(&first), &[]).await.expect(401);
    ask(&client, &signed(&second), &[]).await.expect(200);
}

#[tokio::test]
async fn a_secret_that_was_replaced_at_one_node_does_not_come_back_by_a_change_at_another() {
    let cluster = cluster().await;
    let clients = [cluster.client(0), cluster.client(1), cluster.client(2)];
    let app = machine(&clients[0], &json!({ "token_endpoint_auth_method": "client_secret_basic" })).await;
    let mut secret = app.secret.clone().expect("it is there");
    for client in &clients {
        eventually("the client at every node", async || {
            (token(client, &app.id, &secret, &[]).await.status == 200).then_some(())
        })
        .await;
    }
    for round in 0..20 {
        let (here, there) = (&clients[round % 3], &clients[(round + 1) % 3]);
        let replaced = here.post(&format!("{}/secret", path(&app.id)), &json!({})).await.expect(200).json();
        let changes = json!({ "client_name": format!("round {round}") });
        there.patch(&path(&app.id), &changes).await.expect(200);
        token(there, &app.id, &secret, &[]).await.expect(401);
        secret = text(&replaced["client_secret"]);
        token(there, &app.id, &secret, &[]).await.expect(200);
    }
}

#[tokio::test]
async fn a_change_at_one_node_holds_there_at_once_and_then_at_every_other() {
    let cluster = cluster().await;
    let metadata = json!({ "client_name": "Web", "redirect_uris": [OLD], "scope": "docs:read chat openid" });
    let old = App::made_by(&cluster.client(0), &metadata).await;
    let mut eve = signed_in(&cluster.nodes[0], "eve@example.org").await;
    let all = [("scope", "docs:read chat openid")];
    let code = old.code(&mut eve, &all).await;
    let changes = json!({ "redirect_uris": [NEW], "scope": "docs:read openid" });
    eventually("the client at another node", async || {
        (cluster.client(1).patch(&path(&old.id), &changes).await.status == 200).then_some(())
    })
    .await;
    moves_everywhere(&cluster, 1, &old).await;
    // Sent to the old address before.
    assert_eq!(old.redeem(&cluster.client(2), &code, &[]).await.expect(400).code(), "invalid_grant");
    let new = App { redirect_uri: NEW.to_owned(), ..old };
    let back = eve.get(&new.authorize(&all)).await.expect(303).header("location").to_owned();
    assert_eq!(parameter(&back, "error").as_deref(), Some("invalid_scope"), "{back}");
    let code = new.code(&mut eve, &[]).await;
    new.redeem(&cluster.client(2), &code, &[]).await.expect(200);
}

#[tokio::test]
async fn a_client_that_registered_itself_changes_at_any_node_and_brings_no_secret_back() {
    let cluster = cluster().await;
    let metadata = json!({ "client_name": "Web", "redirect_uris": [OLD], "scope": "docs:read openid" });
    let anybody = cluster.client(0).anonymous();
    let made = anybody.post("/api/oauth/register", &metadata).await.expect(201).json();
    let old = App::of(&made);
    let registration = format!("/api/oauth/register/{}", old.id);
    let token = text(&made["registration_access_token"]);
    let own = [0, 1, 2].map(|place| cluster.client(place).with_key(&token));
    for own in &own {
        eventually("the client at every node", async || {
            (own.get(&registration).await.status == 200).then_some(())
        })
        .await;
    }
    let change = async |place: usize, name: &str| {
        let changed = json!({
            "client_id": old.id, "client_name": name, "redirect_uris": [NEW], "scope": "docs:read openid",
        });
        let own: &TestClient = &own[place];
        own.answer(own.request(Method::PUT, &registration).json(&changed)).await.expect(200).json()
    };
    assert_eq!(change(1, "Moved").await["redirect_uris"], json!([NEW]));
    moves_everywhere(&cluster, 1, &old).await;

    // In the moment in which an operator replaces its secret at another node.
    let is_taken = async |place: usize, secret: &str| {
        let app = App { secret: Some(secret.to_owned()), ..old.clone() };
        let told = app.ask(&cluster.client(place), "/api/oauth/introspect", &[("token", "x")]).await;
        told.status == 200
    };
    let secret_at = format!("{}/secret", path(&old.id));
    let mut secret = old.secret.clone().expect("it is there");
    for round in 0..10 {
        let (here, there) = (round % 3, (round + 1) % 3);
        let (operator, nothing, name) = (cluster.client(here), json!({}), format!("round {round}"));
        let replace = operator.post(&secret_at, &nothing);
        let (replaced, changed) = tokio::join!(replace, change(there, &name));
        assert_eq!(changed["client_name"], name);
        let next = text(&replaced.expect(200).json()["client_secret"]);
        for (place, own) in own.iter().enumerate() {
            eventually("the new secret at every node", async || is_taken(place, &next).await.then_some(()))
                .await;
            assert!(!is_taken(place, &secret).await, "the one before is refused");
            eventually("the new name at every node", async || {
                let told = own.get(&registration).await.expect(200).json();
                (told["client_name"] == name).then_some(())
            })
            .await;
            assert!(is_taken(place, &next).await, "the change has not brought the one before back");
        }
        secret = next;
    }
}

#[tokio::test]
async fn the_command_line_changes_a_client() {
    let node = TestNode::empty().await;
    let cli = node.cli();
    let create = [
        "admin",
        "client",
        "create",
        "Web",
        "--kind",
        "app",
        "--redirect-uri",
        OLD,
        "--scope",
        "docs:read,openid",
        "--json",
    ];
    let made = cli.run(&create).await.expect(0).json();
    let id = text(&made["client_id"]);
    let change = async |more: &[&str]| {
        let command = [&["admin", "client", "change", id.as_str()][..], more].concat();
        cli.run(&command).await
    };
    let told = change(&["--name", "Shop"]).await.expect(0).stdout;
    assert!(told.contains(&id) && told.contains("Shop") && told.contains("docs:read openid"), "{told}");
    let more = [
        "--redirect-uri",
        NEW,
        "--redirect-uri",
        "http://127.0.0.1/cb",
        "--scope",
        "docs:read,chat",
        "--post-logout-redirect-uri",
        "https://new.example/bye",
        "--grant",
        "authorization_code",
        "--algorithm",
        "RS256",
        "--backchannel-logout-uri",
        "https://new.example/out",
        "--json",
    ];
    let changed = change(&more).await.expect(0).json();
    for (name, value) in [
        ("client_name", json!("Shop")),
        ("redirect_uris", json!([NEW, "http://127.0.0.1/cb"])),
        ("scope", json!("docs:read chat")),
        ("post_logout_redirect_uris", json!(["https://new.example/bye"])),
        ("grant_types", json!(["authorization_code"])),
        ("id_token_signed_response_alg", json!("RS256")),
        ("backchannel_logout_uri", json!("https://new.example/out")),
        ("client_secret", Value::Null),
    ] {
        assert_eq!(changed[name], value, "{name}");
    }
    let less =
        ["--post-logout-redirect-uri", "", "--backchannel-logout-uri", "", "--algorithm", "", "--json"];
    let changed = change(&less).await.expect(0).json();
    for name in ["post_logout_redirect_uris", "backchannel_logout_uri", "id_token_signed_response_alg"] {
        assert_eq!(changed[name], Value::Null, "{name}");
    }
    assert_eq!(changed["redirect_uris"], json!([NEW, "http://127.0.0.1/cb"]));
    let wrong = change(&["--redirect-uri", "http://new.example/cb"]).await.expect(1);
    assert!(wrong.stdout.is_empty() && wrong.stderr.contains("redirect_uris"), "{wrong:?}");
    let nothing = change(&[]).await.expect(2);
    assert!(nothing.stderr.contains("--name"), "{nothing:?}");
    for (other, code) in [("client_of_nobody", 1), ("a/b", 2)] {
        cli.run(&["admin", "client", "change", other, "--name", "x"]).await.expect(code);
    }
}

#[tokio::test]
async fn operators_change_a_client_by_a_form() {
    const PAGE: &str = "/admin/clients";
    const CHANGE: &str = "/admin/clients/change";
    let node = TestNode::empty().await;
    let asked = json!({ "email": "op@example.org", "name": "Grace", "password": PASSWORD, "operator": true });
    node.client().post("/api/accounts", &asked).await.expect(201);
    let mut op = Browser::at(&node);
    op.sign_in("op@example.org", PASSWORD).await.expect(200);
    let mut ada = confirmed(&node, "ada@example.org").await;
    let metadata = json!({ "client_name": "Web", "redirect_uris": [OLD], "scope": "docs:read openid" });
    let id = text(&ada.post("/api/clients", &metadata).await.expect(201).json()["client_id"]);
    let before = listed(&mut ada, &id).await;
    let registered = App::public(&node).await.id;
    let page = op.get(PAGE).await.expect(200).text;
    assert_eq!(page.matches("action=\"/admin/clients/change\"").count(), 1, "{page}");
    assert!(page.contains(&registered) && page.contains(&format!("id=\"called-{id}\"")), "{page}");
    assert!(!page.contains("<details open"), "{page}");

    let fields = [
        ("id", id.as_str()),
        ("called", "Shop <b>"),
        ("redirect_uris", "https://new.example/cb\r\nhttp://127.0.0.1/cb"),
        ("post_logout_redirect_uris", "https://new.example/bye"),
        ("scope", "docs:read openid"),
    ];
    // Wrong: told at the form, which has what was typed.
    let mut wrong = fields;
    wrong[2].1 = "javascript:alert(1)";
    let refused = op.submit(PAGE, CHANGE, &wrong).await.expect(400).text;
    let (above, form) = refused.split_once("<details open>").expect("the form is open");
    let (form, _) = form.split_once("</details>").expect("it ends");
    assert!(above.contains(&id) && !above.contains("role=\"alert\""), "{above}");
    for shown in
        ["role=\"alert\"", "&#39;redirect_uris&#39;", "Shop &#60;b&#62;", ">javascript:alert(1)</textarea>"]
    {
        assert!(form.contains(shown), "{shown}: {form}");
    }
    assert_eq!(refused.matches("role=\"alert\"").count(), 1, "it is told once");
    // Forged, from elsewhere, by somebody else.
    let forged = op.form(CHANGE, &[&fields[..], &[("form_token", "x")]].concat());
    op.send(forged.header("sec-fetch-site", "same-origin")).await.expect(403);
    let own = form_token(&op.get(PAGE).await.text);
    let crossed = op.form(CHANGE, &[&fields[..], &[("form_token", &own)]].concat());
    op.send(crossed.header("sec-fetch-site", "cross-site")).await.expect(403);
    ada.submit("/settings", CHANGE, &fields).await.expect(403);
    assert_eq!(listed(&mut ada, &id).await, before);

    let done = op.submit(PAGE, CHANGE, &fields).await.expect(303);
    assert_eq!(done.header("location"), "/admin/clients?done=change");
    assert!(op.get(done.header("location")).await.expect(200).text.contains("The client was changed."));
    let changed = listed(&mut ada, &id).await;
    assert_eq!(changed["client_name"], "Shop <b>");
    assert_eq!(changed["redirect_uris"], json!(["https://new.example/cb", "http://127.0.0.1/cb"]));
    assert_eq!(changed["post_logout_redirect_uris"], json!(["https://new.example/bye"]));
    assert_eq!(changed["grant_types"], before["grant_types"]);
    // A form with one field changes one fact, one with an empty field takes away.
    op.submit(PAGE, CHANGE, &[("id", &id), ("post_logout_redirect_uris", " ")]).await.expect(303);
    let less = listed(&mut ada, &id).await;
    assert_eq!(less["post_logout_redirect_uris"], Value::Null);
    assert_eq!(
        (&less["redirect_uris"], &less["client_name"]),
        (&changed["redirect_uris"], &changed["client_name"])
    );
    let gone = op.submit(PAGE, CHANGE, &[("id", "client_of_nobody"), ("called", "x")]).await.expect(404);
    assert!(gone.text.contains("role=\"alert\"") && !gone.text.contains("<details open"), "{}", gone.text);
}
