//! Teams: who is let in, what a role allows, and that what belongs to one is not there for anybody else.

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{TestClient, TestCluster, TestNode, docs, eventually};

use super::app::{basic, opens};
use super::{Browser, PASSWORD, letter, link};

/// Somebody who has shown their address, signed in at `node`.
pub(super) async fn confirmed(node: &TestNode, email: &str) -> Browser {
    let asked = json!({ "email": email, "name": "Ada" });
    let made = node.client().post("/api/accounts", &asked).await.expect(201).json();
    let (_, token) = link(made["link"].as_str().expect("a link"));
    let mut browser = Browser::at(node);
    browser.post("/api/auth/verify", &json!({ "token": token, "password": PASSWORD })).await.expect(204);
    browser.sign_in(email, PASSWORD).await.expect(200);
    browser
}

async fn account(browser: &mut Browser) -> String {
    let told = browser.get("/api/auth/session").await.expect(200).json();
    told["account"]["id"].as_str().expect("it is there").to_owned()
}

/// A team of somebody: the path it has in the API.
pub(super) async fn team(owner: &mut Browser) -> String {
    let made = owner.post("/api/teams", &json!({ "name": "Kiln works" })).await.expect(201).json();
    format!("/api/teams/{}", made["id"].as_str().expect("it is there"))
}

fn id(team: &str) -> &str {
    team.trim_start_matches("/api/teams/")
}

/// The secret of the invitation that was sent to somebody.
pub(super) async fn invited(
    node: &TestNode,
    by: &mut Browser,
    team: &str,
    email: &str,
    role: &str,
) -> String {
    let asked = json!({ "email": email, "role": role });
    by.post(&format!("{team}/invitations"), &asked).await.expect(204);
    link(&letter(node, email, "You are invited to a team").await).1
}

/// Somebody who joined a team.
pub(super) async fn member(
    node: &TestNode,
    by: &mut Browser,
    team: &str,
    email: &str,
    role: &str,
) -> Browser {
    let token = invited(node, by, team, email, role).await;
    let mut joined = confirmed(node, email).await;
    joined.post("/api/teams/join", &json!({ "token": token })).await.expect(200);
    joined
}

async fn team_key(browser: &mut Browser, team: &str, scopes: &[&str]) -> (String, String) {
    let asked = json!({ "name": "build", "scopes": scopes });
    let made = browser.post(&format!("{team}/keys"), &asked).await.expect(201).json();
    let text = |value: &Value| value.as_str().expect("it is there").to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

#[tokio::test]
async fn an_invitation_lets_one_person_in_once() {
    let node = TestNode::empty().await;
    let mut ada = confirmed(&node, "ada@example.org").await;
    let team = team(&mut ada).await;
    // The same is told whether anybody has the address or not.
    let token = invited(&node, &mut ada, &team, "bob@example.org", "developer").await;
    let mut bob = confirmed(&node, "bob@example.org").await;
    let mut eve = confirmed(&node, "eve@example.org").await;
    bob.get(&team).await.expect(404);
    let join = json!({ "token": token });
    assert_eq!(eve.post("/api/teams/join", &join).await.expect(403).code(), "other_address");
    let joined = bob.post("/api/teams/join", &join).await.expect(200).json();
    assert_eq!((&joined["role"], &joined["invitations"]), (&json!("developer"), &json!([])), "{joined}");
    assert_eq!(bob.post("/api/teams/join", &join).await.expect(403).code(), "invitation_refused");
    let twice = json!({ "email": "bob@example.org", "role": "admin" });
    assert_eq!(ada.post(&format!("{team}/invitations"), &twice).await.expect(409).code(), "already_member");

    // One that was replaced, and one that was taken back, are good for nothing.
    let first = invited(&node, &mut ada, &team, "eve@example.org", "developer").await;
    let again = json!({ "email": "eve@example.org", "role": "admin" });
    ada.post(&format!("{team}/invitations"), &again).await.expect(204);
    let second = eventually("another letter", async || {
        let token = link(&letter(&node, "eve@example.org", "You are invited to a team").await).1;
        (token != first).then_some(token)
    })
    .await;
    assert_eq!(
        eve.post("/api/teams/join", &json!({ "token": first })).await.expect(403).code(),
        "invitation_refused"
    );
    let withdrawn = format!("{team}/invitations?email=eve%40example.org");
    assert_eq!(bob.delete(&withdrawn).await.expect(403).code(), "role_insufficient");
    eve.delete(&withdrawn).await.expect(404);
    ada.delete(&withdrawn).await.expect(204);
    assert_eq!(ada.delete(&withdrawn).await.expect(404).code(), "invitation_not_found");
    eve.post("/api/teams/join", &json!({ "token": second })).await.expect(403);
    eve.post("/api/teams/join", &json!({ "token": "x" })).await.expect(403);

    // Who has not shown that the address is theirs is not let in by it.
    let token = invited(&node, &mut ada, &team, "zoe@example.org", "developer").await;
    let mut zoe = super::app::signed_in(&node, "zoe@example.org").await;
    assert_eq!(
        zoe.post("/api/teams/join", &json!({ "token": token })).await.expect(403).code(),
        "other_address"
    );
}

#[tokio::test]
async fn a_role_allows_what_it_says_and_the_last_owner_stays() {
    let node = TestNode::empty().await;
    let mut ada = confirmed(&node, "ada@example.org").await;
    let team = team(&mut ada).await;
    let mut bob = member(&node, &mut ada, &team, "bob@example.org", "admin").await;
    let mut eve = member(&node, &mut ada, &team, "eve@example.org", "developer").await;
    let (adas, bobs, eves) = (account(&mut ada).await, account(&mut bob).await, account(&mut eve).await);
    let of = |account: &str| format!("{team}/members/{account}");
    let invitation = json!({ "email": "zoe@example.org", "role": "owner" });
    for (method, path, body) in [
        (Method::PATCH, team.clone(), json!({ "name": "Mine" })),
        (Method::DELETE, team.clone(), json!({})),
        (Method::PATCH, of(&eves), json!({ "role": "admin" })),
        (Method::DELETE, of(&bobs), json!({})),
        (Method::POST, format!("{team}/invitations"), invitation.clone()),
        (Method::GET, format!("{team}/clients"), json!({})),
    ] {
        let request = eve.request(method.clone(), &path).json(&body);
        assert_eq!(eve.send(request).await.expect(403).code(), "role_insufficient", "{method} {path}");
    }
    for (method, path, body) in [
        (Method::DELETE, team.clone(), json!({})),
        (Method::PATCH, of(&adas), json!({ "role": "developer" })),
        (Method::PATCH, of(&eves), json!({ "role": "owner" })),
        (Method::DELETE, of(&adas), json!({})),
        (Method::POST, format!("{team}/invitations"), invitation),
    ] {
        let request = bob.request(method.clone(), &path).json(&body);
        assert_eq!(bob.send(request).await.expect(403).code(), "role_insufficient", "{method} {path}");
    }
    bob.patch(&team, &json!({ "name": "Kiln & Co" })).await.expect(200);
    bob.patch(&of(&eves), &json!({ "role": "admin" })).await.expect(200);
    let wrong = bob.patch(&of(&eves), &json!({ "role": "king" })).await.expect(400).json();
    assert_eq!(wrong["field"], "role");

    for change in ["leave", "lower", "delete the account"] {
        let answer = match change {
            "leave" => ada.delete(&of(&adas)).await,
            "lower" => ada.patch(&of(&adas), &json!({ "role": "admin" })).await,
            _ => ada.post("/api/auth/account/delete", &json!({ "password": PASSWORD })).await,
        };
        assert_eq!(answer.expect(409).code(), "last_owner", "{change}");
    }
    ada.patch(&of(&bobs), &json!({ "role": "owner" })).await.expect(200);
    ada.delete(&of(&adas)).await.expect(204);
    ada.get(&team).await.expect(404);
    let left = ada.get("/api/teams").await.expect(200).json();
    assert_eq!(left["teams"], json!([]));
    assert_eq!(ada.get("/api/auth/account").await.expect(200).json()["teams"], json!([]));
    let export = bob.get("/api/auth/account").await.expect(200).json();
    assert_eq!(export["teams"][0]["role"], "owner", "{export}");

    // An operator acts on every team, and sees them all.
    let all = node.client().get("/api/teams").await.expect(200).json();
    assert_eq!(all["teams"][0]["name"], "Kiln & Co", "{all}");
    node.client().delete(&of(&eves)).await.expect(204);
    eve.get(&team).await.expect(404);
    // A machine is in no team.
    assert_eq!(
        node.client().post("/api/teams", &json!({ "name": "Bots" })).await.expect(403).code(),
        "not_a_person"
    );
}

#[tokio::test]
async fn what_somebody_made_for_a_team_ends_with_their_membership() {
    let node = TestNode::empty().await;
    let mut ada = confirmed(&node, "ada@example.org").await;
    let team = team(&mut ada).await;
    let mut bob = member(&node, &mut ada, &team, "bob@example.org", "admin").await;
    let mut eve = member(&node, &mut ada, &team, "eve@example.org", "developer").await;
    let (_, adas) = team_key(&mut ada, &team, &["docs:read"]).await;
    let (_, bobs) = team_key(&mut bob, &team, &["docs:read", "jobs:write"]).await;
    let (eves_id, eves) = team_key(&mut eve, &team, &["docs:read"]).await;
    for (scopes, code) in [(["jobs:write"], "role_insufficient"), (["admin"], "insufficient_scope")] {
        let asked = json!({ "name": "more", "scopes": scopes });
        assert_eq!(eve.post(&format!("{team}/keys"), &asked).await.expect(403).code(), code);
    }
    // A developer sees and ends keys of their own.
    let seen = eve.get(&format!("{team}/keys")).await.expect(200).json();
    assert_eq!(seen["keys"].as_array().expect("it is there").len(), 1, "{seen}");
    assert_eq!(
        bob.get(&format!("{team}/keys")).await.expect(200).json()["keys"]
            .as_array()
            .expect("it is there")
            .len(),
        3
    );

    let machine =
        json!({ "client_name": "nightly", "grant_types": ["client_credentials"], "scope": "docs:read" });
    eve.post(&format!("{team}/clients"), &machine).await.expect(403);
    let client = bob.post(&format!("{team}/clients"), &machine).await.expect(201).json();
    let (name, secret) = (
        client["client_id"].as_str().expect("it is there"),
        client["client_secret"].as_str().expect("it is there"),
    );
    let token = async || {
        let client = node.client().anonymous();
        let request =
            client.request(Method::POST, "/api/oauth/token").header("authorization", basic(name, secret));
        let form = "grant_type=client_credentials";
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        client.answer(request).await
    };
    let access = token().await.expect(200).json()["access_token"].take();
    let listed = node.client().with_key(access.as_str().expect("it is there")).get("/api/libraries").await;
    listed.expect(200);

    // Lowered: what the lower role does not give has ended.
    let bobs_account = account(&mut bob).await;
    let of_bob = format!("{team}/members/{bobs_account}");
    ada.patch(&of_bob, &json!({ "role": "developer" })).await.expect(200);
    assert_eq!(
        [
            opens(&node.client(), &adas).await,
            opens(&node.client(), &bobs).await,
            opens(&node.client(), &eves).await
        ],
        [true, false, true]
    );
    assert_eq!(token().await.expect(401).code(), "invalid_client");
    // Kept out by an operator: until they are let in again.
    let eves_account = account(&mut eve).await;
    let path = format!("/api/accounts/{eves_account}");
    node.client().patch(&path, &json!({ "disabled": true })).await.expect(200);
    assert!(!opens(&node.client(), &eves).await);
    node.client().patch(&path, &json!({ "disabled": false })).await.expect(200);
    assert!(opens(&node.client(), &eves).await);
    ada.delete(&format!("{team}/members/{eves_account}")).await.expect(204);
    assert!(!opens(&node.client(), &eves).await);
    assert_eq!(
        ada.delete(&format!("{team}/keys/{eves_id}")).await.expect(404).code(),
        "api_key_not_found",
        "it has ended"
    );
    ada.delete(&team).await.expect(204);
    assert!(!opens(&node.client(), &adas).await);
    bob.get(&team).await.expect(404);
}

/// What a caller is told of a library, every way there is to ask. Lists are looked at by themselves.
async fn told(client: &TestClient, name: &str) -> Vec<(u16, String)> {
    let org_and_name = name.trim_start_matches('/');
    let query = json!({ "libraryId": name, "query": "glaze colour codes" });
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "query-docs", "arguments": query },
    });
    let mcp = client.request(Method::POST, "/mcp").json(&call);
    let mcp = mcp
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25");
    let of_kind = |kind: &str| {
        client.request(Method::GET, &format!("/libraries{name}")).header("accept", kind.to_owned())
    };
    let search = [("libraryName", org_and_name), ("query", "glaze")];
    let answers = [
        client.context(name, "glaze colour codes", &[]).await,
        client.context(name, "glaze colour codes", &[("type", "json")]).await,
        client.get_with("/api/v2/libs/search", &search).await,
        client.post("/api/mcp/query-docs", &query).await,
        client
            .post("/api/mcp/resolve-library-id", &json!({ "libraryName": org_and_name, "query": "glaze" }))
            .await,
        client.answer(mcp).await,
        client.get(&format!("/api/libraries/{org_and_name}")).await,
        client.answer(of_kind("text/html")).await,
        client.context(&format!("{name}/9.9"), "glaze", &[]).await,
        client.answer(of_kind("text/event-stream")).await,
    ];
    answers.into_iter().map(|answer| (answer.status, without_request_ids(&answer.text))).collect()
}

/// A text without runs of 32 hexadecimal digits, which are another in every answer.
fn without_request_ids(text: &str) -> String {
    let words = text.split_inclusive(|letter: char| !letter.is_ascii_hexdigit());
    words
        .filter(|word| word.trim_end_matches(|letter: char| !letter.is_ascii_hexdigit()).len() != 32)
        .collect()
}

#[tokio::test]
async fn case_116_a_teams_private_library_is_not_there_for_anybody_else() {
    const SECRET: &str = "/kilnworks/secret";
    let node = TestNode::empty().await;
    node.client().index("/acme/open", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    node.client().until_resolved("open", "/acme/open").await;
    let mut stranger = confirmed(&node, "zoe@example.org").await;
    let reads = json!({ "name": "k", "scopes": ["docs:read"] });
    let key = stranger.post("/api/keys", &reads).await.expect(201).json();
    let strangers = [
        node.client().anonymous(),
        node.client().with_key(key["secret"].as_str().expect("it is there")),
        node.client(),
    ];
    let mut before = Vec::new();
    for client in &strangers {
        before.push(told(client, SECRET).await);
    }

    let mut ada = confirmed(&node, "ada@example.org").await;
    let team = team(&mut ada).await;
    let mut eve = member(&node, &mut ada, &team, "eve@example.org", "developer").await;
    let claim = json!({ "id": SECRET, "team": id(&team), "visibility": "private" });
    assert_eq!(eve.post("/api/libraries", &claim).await.expect(403).code(), "role_insufficient");
    assert_eq!(stranger.post("/api/libraries", &claim).await.expect(404).code(), "team_not_found");
    let made = ada.post("/api/libraries", &claim).await.expect(201).json();
    assert_eq!((made["visibility"].as_str(), made["owner"].as_str()), (Some("private"), Some(id(&team))));
    let (_, builder) = team_key(&mut ada, &team, &["docs:read", "jobs:write", "libraries:write"]).await;
    let builder = node.client().with_key(&builder);
    builder.index(SECRET, "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    builder.until_resolved("secret", SECRET).await;

    // Its people find it and read it: by session, by key of their own, by key of the team.
    let own = ada.post("/api/keys", &reads).await.expect(201).json();
    let (_, eves) = team_key(&mut eve, &team, &["docs:read"]).await;
    let own = node.client().with_key(own["secret"].as_str().expect("it is there"));
    for client in [&own, &builder, &node.client().with_key(&eves)] {
        for (place, (status, text)) in told(client, SECRET).await.iter().enumerate() {
            let is_read = *status == 200 && (place > 7 || text.contains("glaze") || text.contains(SECRET));
            assert!(
                is_read || place == 8 && *status == 404 && text.contains("1.0"),
                "{place}: {status} {text}"
            );
        }
        assert!(client.get("/api/libraries").await.expect(200).text.contains(SECRET));
    }
    let page = eve.get("/libraries/kilnworks/secret?q=glaze+colour+codes").await.expect(200).text;
    assert!(page.contains("passage"), "{page}");
    for path in ["/", "/libraries", "/libraries?q=secret", "/llms.txt"] {
        assert!(eve.get(path).await.expect(200).text.contains(SECRET), "{path}");
    }
    let jobs = eve.get("/api/jobs").await.expect(200).json();
    assert_eq!(jobs["jobs"][0]["library"], SECRET, "{jobs}");
    let job = format!("/api/jobs/{}", jobs["jobs"][0]["id"].as_str().expect("it is there"));

    // To everybody else nothing has changed, to the byte: anonymous, with a key, and to operators, who manage it but do not read it.
    for (who, (client, before)) in strangers.iter().zip(&before).enumerate() {
        for (place, (now, before)) in told(client, SECRET).await.iter().zip(before).enumerate() {
            let is_managed = who == 2 && matches!(place, 6 | 7 | 9);
            assert!(is_managed || now == before, "{who} {place}: {now:?} {before:?}");
        }
        if who < 2 {
            assert!(!client.get("/api/libraries").await.expect(200).text.contains(SECRET), "{who}");
            assert!(!client.get("/llms.txt").await.expect(200).text.contains(SECRET), "{who}");
        }
    }
    for path in ["/", "/libraries", "/libraries?q=secret"] {
        let page = stranger.get(path).await.expect(200).text;
        assert!(!page.contains(SECRET), "{path}: {page}");
    }
    stranger.get("/libraries/kilnworks/secret").await.expect(404);
    assert_eq!(stranger.get(&job).await.expect(404).code(), "job_not_found");

    // Out of the team, out of its library: at once.
    assert!(opens(&node.client(), &eves).await);
    let eves_account = account(&mut eve).await;
    ada.delete(&format!("{team}/members/{eves_account}")).await.expect(204);
    assert!(!opens(&node.client(), &eves).await);
    eve.get(&job).await.expect(404);
    eve.get("/libraries/kilnworks/secret").await.expect(404);
    eve.post("/api/mcp/query-docs", &json!({ "libraryId": "/kilnworks/secret", "query": "glaze" }))
        .await
        .expect(404);
    // A team that owns something is not deleted; what is shown to everybody is there for everybody.
    assert_eq!(ada.delete(&team).await.expect(409).code(), "owns_libraries");
    builder.patch("/api/libraries/kilnworks/secret", &json!({ "visibility": "public" })).await.expect(200);
    node.client().anonymous().context("/kilnworks/secret", "glaze colour codes", &[]).await.expect(200);
    let adas = account(&mut ada).await;
    let given = json!({ "owner": adas, "visibility": "private" });
    assert_eq!(
        stranger.patch("/api/libraries/kilnworks/secret", &given).await.expect(404).code(),
        "library_not_found"
    );
    ada.patch("/api/libraries/kilnworks/secret", &given).await.expect(200);
    ada.delete(&team).await.expect(204);
    ada.get("/api/libraries/kilnworks/secret").await.expect(200);
    stranger.get("/api/libraries/kilnworks/secret").await.expect(404);
}

#[tokio::test]
async fn an_invitation_shown_to_three_nodes_at_once_lets_one_in() {
    let cluster = TestCluster::start(3, 0).await;
    let mut ada = confirmed(&cluster.nodes[0], "ada@example.org").await;
    let team = team(&mut ada).await;
    let token = invited(&cluster.nodes[0], &mut ada, &team, "bob@example.org", "developer").await;
    let bob = confirmed(&cluster.nodes[0], "bob@example.org").await;
    let join = json!({ "token": token });
    let tries = cluster.nodes.iter().map(|node| {
        let mut there = bob.moved_to(node);
        let join = join.clone();
        async move {
            // The node may be a moment behind with session and invitation.
            there.post("/api/teams/join", &join).await.status
        }
    });
    eventually("every node to know the invitation", async || {
        for node in &cluster.nodes {
            let page = Browser::at(node).get(&format!("/join?token={token}")).await;
            let session = bob.moved_to(node).get("/api/auth/session").await;
            if page.status != 200 || session.status != 200 {
                return None;
            }
        }
        Some(())
    })
    .await;
    let statuses = futures_util::future::join_all(tries).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    let told = ada.get(&team).await.expect(200).json();
    assert_eq!(told["members"].as_array().expect("it is there").len(), 2, "{told}");
    // Removed on one node, out on every node.
    let mut bob = bob;
    let bobs = account(&mut bob).await;
    ada.moved_to(&cluster.nodes[1]).delete(&format!("{team}/members/{bobs}")).await.expect(204);
    eventually("every node to know that the member left", async || {
        for node in &cluster.nodes {
            if bob.moved_to(node).get(&team).await.status != 404 {
                return None;
            }
        }
        Some(())
    })
    .await;
}
