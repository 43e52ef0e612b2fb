//! The pages of operators, as a browser without JavaScript sends them. What they look like is told by
//! [`clients::browser`](crate::clients).

use reqwest::Method;
use serde_json::json;
use twinmcp_tests::{TestClient, TestNode};

use super::app::{field, post_form};
use super::teams::{confirmed, team};
use super::{Browser, PASSWORD, form_token, letter, link, person};

const PAGES: [&str; 4] = ["/admin/people", "/admin/teams", "/admin/clients", "/admin/audit"];

async fn operator(node: &TestNode) -> Browser {
    let asked = json!({ "email": "op@example.org", "name": "Grace", "password": PASSWORD, "operator": true });
    node.client().post("/api/accounts", &asked).await.expect(201);
    let mut browser = Browser::at(node);
    browser.sign_in("op@example.org", PASSWORD).await.expect(200);
    browser
}

/// What stands behind `name` in a page's credentials.
fn shown(page: &str, name: &str) -> String {
    let rest = page.split_once(&format!("{name} ")).map(|(_, rest)| rest.trim_start());
    let value: Option<String> = rest
        .map(|rest| rest.chars().take_while(|letter| !letter.is_whitespace() && *letter != '<').collect());
    value.filter(|value| !value.is_empty()).unwrap_or_else(|| panic!("no {name} in {page}"))
}

#[tokio::test]
async fn pages_of_operators_are_for_operators_and_as_strict_as_all_others() {
    let node = TestNode::empty().await;
    person(&node.client(), "ada@example.org").await;
    let (mut nobody, mut ada, mut op) = (Browser::at(&node), Browser::at(&node), operator(&node).await);
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    assert_eq!(op.get("/admin").await.expect(303).header("location"), "/admin/people");
    assert!(op.get("/settings").await.expect(200).text.contains("href=\"/admin\""));
    assert!(!ada.get("/settings").await.expect(200).text.contains("href=\"/admin\""));
    for path in PAGES {
        assert_eq!(
            nobody.get(path).await.expect(303).header("location"),
            "/signin?return_to=/admin",
            "{path}"
        );
        let refused = ada.get(path).await.expect(403);
        assert!(refused.text.contains("not_operator") && !refused.text.contains("op@example.org"), "{path}");
        let page = op.get(path).await.expect(200);
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in
            [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")]
        {
            assert_eq!(page.header(name), value, "{path}: {name}");
        }
        for inline in ["<style", " style=", "onclick=", "javascript:", "src=\"http"] {
            assert!(!page.text.contains(inline), "{path} has {inline}");
        }
    }
    // A form needs its token, an operator, and this site.
    let id = &json!(node.client().get("/api/accounts").await.json()["people"][0]["id"]);
    let id = id.as_str().expect("an account has an id");
    let team = format!("/admin/teams/{id}/delete");
    for path in ["/admin/people/keep-out", "/admin/clients/remove", &team] {
        let forged =
            op.form(path, &[("id", id), ("form_token", "x")]).header("sec-fetch-site", "same-origin");
        op.send(forged).await.expect(403);
        let token = form_token(&op.get("/admin/people").await.text);
        let crossed =
            op.form(path, &[("id", id), ("form_token", &token)]).header("sec-fetch-site", "cross-site");
        op.send(crossed).await.expect(403);
        let token = form_token(&ada.get("/settings").await.text);
        let sent =
            ada.form(path, &[("id", id), ("form_token", &token)]).header("sec-fetch-site", "same-origin");
        ada.send(sent).await.expect(403);
    }
    // Who is one no more sees nothing more, though the session goes on.
    let people = node.client().get("/api/accounts").await.json();
    let all = people["people"].as_array().cloned().unwrap_or_default();
    let own = all.iter().find(|person| person["email"] == "op@example.org").expect("they are listed");
    let path = format!("/api/accounts/{}", own["id"].as_str().expect("an id"));
    node.client().patch(&path, &json!({ "operator": false })).await.expect(200);
    op.get("/admin/people").await.expect(403);
    op.get("/settings").await.expect(200);
}

#[tokio::test]
async fn an_operator_lets_people_in_keeps_them_out_and_never_themselves() {
    let node = TestNode::empty().await;
    let mut op = operator(&node).await;
    let ada = person(&node.client(), "ada@example.org").await["id"].as_str().expect("an id").to_owned();
    let mut browser = Browser::at(&node);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);

    let fields = [("email", "eve@example.org"), ("name", "Eve <b>")];
    let invited = op.submit("/admin/people", "/admin/people/invite", &fields).await.expect(200);
    let link = invited.text.split_once("/verify?token=").map(|(_, rest)| rest[..64].to_owned());
    let page = format!("/verify?token={}", link.expect("the page shows the link"));
    let mut eve = Browser::at(&node);
    eve.submit(&page, &page, &[("password", PASSWORD)]).await.expect(200);
    eve.sign_in("eve@example.org", PASSWORD).await.expect(200);
    let listed = op.get("/admin/people").await.expect(200).text;
    assert!(listed.contains("Eve &#60;b&#62;") && listed.contains("ada@example.org"), "{listed}");
    assert!(!listed.contains("/verify?token="), "a link is shown once");
    let taken = op.submit("/admin/people", "/admin/people/invite", &fields).await.expect(409);
    assert!(taken.text.contains("role=\"alert\""), "{}", taken.text);
    op.submit("/admin/people", "/admin/people/invite", &[("email", "no address")]).await.expect(400);

    let act = async |op: &mut Browser, what: &str, id: &str| {
        op.submit("/admin/people", &format!("/admin/people/{what}"), &[("id", id)]).await
    };
    let kept_out = act(&mut op, "keep-out", &ada).await.expect(303);
    assert_eq!(kept_out.header("location"), "/admin/people?done=keep-out");
    assert!(op.get("/admin/people?done=keep-out").await.text.contains("their sessions have ended"));
    browser.get("/settings").await.expect(303);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(401);
    act(&mut op, "let-in", &ada).await.expect(303);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    act(&mut op, "make-operator", &ada).await.expect(303);
    browser.get("/admin/people").await.expect(200);
    act(&mut op, "unmake-operator", &ada).await.expect(303);
    browser.get("/admin/people").await.expect(403);

    let own = node.client().get("/api/accounts").await.json()["people"]
        .as_array()
        .and_then(|people| people.iter().find(|person| person["email"] == "op@example.org").cloned());
    let own = own.as_ref().and_then(|person| person["id"].as_str()).expect("an operator has an id");
    for what in ["keep-out", "unmake-operator"] {
        assert!(act(&mut op, what, own).await.expect(409).text.contains("Another operator"), "{what}");
    }
    act(&mut op, "keep-out", "acct_00000000000000000000000000").await.expect(404);
    act(&mut op, "keep-out", "nobody").await.expect(404);
    act(&mut op, "fly", &ada).await.expect(404);

    let told = op.get(&format!("/admin/audit?object={ada}&action=account.")).await.expect(200).text;
    for action in ["account.disabled", "account.enabled", "account.made"] {
        assert!(told.contains(action), "{action}: {told}");
    }
    assert!(told.contains(own), "and by whom");
}

/// Whether a client gets a token with this secret.
async fn is_taken(client: &TestClient, id: &str, secret: &str) -> bool {
    let fields = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    match post_form(client, "/api/oauth/token", &fields).await.status {
        200 => true,
        401 => false,
        other => panic!("status {other}"),
    }
}

#[tokio::test]
async fn clients_are_made_replaced_and_removed_on_the_page_and_the_command_line() {
    let node = TestNode::empty().await;
    let (client, mut op) = (node.client(), operator(&node).await);
    let fields = [("name", "Nightly <i>"), ("kind", "machine"), ("scope", "docs:read jobs:write")];
    let made = op.submit("/admin/clients", "/admin/clients/create", &fields).await.expect(200).text;
    let (id, secret) = (shown(&made, "client_id"), shown(&made, "client_secret"));
    assert!(is_taken(&client, &id, &secret).await);
    let listed = op.get("/admin/clients").await.expect(200).text;
    assert!(listed.contains("Nightly &#60;i&#62;") && listed.contains(&id), "{listed}");
    assert!(!listed.contains(&secret), "a secret is shown once");
    let replaced =
        op.submit("/admin/clients", "/admin/clients/secret", &[("id", &id)]).await.expect(200).text;
    let next = shown(&replaced, "client_secret");
    assert!(next != secret && !is_taken(&client, &id, &secret).await && is_taken(&client, &id, &next).await);

    let public = [
        ("name", "Editor"),
        ("kind", "public"),
        ("scope", "docs:read openid"),
        ("redirect_uris", "https://app.example/cb\r\nhttp://127.0.0.1/cb"),
    ];
    let made = op.submit("/admin/clients", "/admin/clients/create", &public).await.expect(200).text;
    assert!(!made.contains("client_secret"), "{made}");
    let public = shown(&made, "client_id");
    op.submit("/admin/clients", "/admin/clients/secret", &[("id", &public)]).await.expect(400);
    let wrong =
        [("name", "Bad"), ("kind", "app"), ("scope", "docs:read"), ("redirect_uris", "javascript:alert(1)")];
    let wrong = op.submit("/admin/clients", "/admin/clients/create", &wrong).await.expect(400);
    assert!(wrong.text.contains("role=\"alert\""), "{}", wrong.text);
    op.submit("/admin/clients", "/admin/clients/remove", &[("id", &id)]).await.expect(303);
    assert!(!is_taken(&client, &id, &next).await);
    op.submit("/admin/clients", "/admin/clients/remove", &[("id", &id)]).await.expect(404);
    op.submit("/admin/clients", "/admin/clients/secret", &[("id", "client_of_nobody")]).await.expect(404);

    let cli = node.cli();
    let create = ["admin", "client", "create", "build", "--scope", "docs:read,jobs:write"];
    let made = cli.run(&create).await.expect(0).stdout;
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    };
    let (id, secret) = (value(&made, "client_id"), value(&made, "client_secret"));
    assert!(is_taken(&client, &id, &secret).await);
    let next = cli.run(&["admin", "client", "rotate-secret", &id]).await.expect(0).stdout;
    let next = value(&next, "client_secret");
    assert!(!is_taken(&client, &id, &secret).await && is_taken(&client, &id, &next).await);
    let listed = cli.run(&["admin", "client", "list"]).await.expect(0).stdout;
    assert!(listed.contains(&id) && !listed.contains(&next), "{listed}");
    let uri = ["admin", "client", "create", "x", "--kind", "app"];
    assert_eq!(cli.run(&uri).await.code, Some(2), "a program that signs people in has an address");
    let app = [&uri[..], &["--redirect-uri", "https://app.example/cb", "--json"]].concat();
    let app = cli.run(&app).await.expect(0).json();
    assert_eq!(app["redirect_uris"], json!(["https://app.example/cb"]));
    cli.run(&["admin", "client", "delete", &id]).await.expect(0);
    cli.run(&["admin", "client", "delete", &id]).await.expect(1);
    assert_eq!(cli.run(&["admin", "client", "delete", "a/b"]).await.code, Some(2));

    // Another account's client is one that is not there.
    let (_, other) = client.create_key(&["keys:write"]).await;
    let ada = json!({ "email": "ada@example.org", "password": PASSWORD });
    client.post("/api/accounts", &ada).await.expect(201);
    let own =
        client.with_key(&other).post(&format!("/api/clients/{public}/secret"), &json!({})).await.expect(404);
    let none = client.with_key(&other).post("/api/clients/client_x/secret", &json!({})).await.expect(404);
    assert_eq!((own.code(), none.code()), ("client_not_found".to_owned(), "client_not_found".to_owned()));
    client.anonymous().post(&format!("/api/clients/{public}/secret"), &json!({})).await.expect(401);
    let log = client.get("/api/audit?action=client.").await.expect(200).text;
    for action in ["client.made", "client.credentials_replaced", "client.removed"] {
        assert!(log.contains(action), "{action}: {log}");
    }
}

#[tokio::test]
async fn the_log_is_looked_through_page_by_page_and_taken_as_a_file() {
    let node = TestNode::empty().await;
    let (client, mut op) = (node.client(), operator(&node).await);
    for number in 0..55 {
        let made = json!({ "name": format!("key {number}"), "scopes": ["docs:read"] });
        client.post("/api/keys", &made).await.expect(201);
    }
    let first = op.get("/admin/audit?action=api_key.made").await.expect(200).text;
    assert_eq!(first.matches("<strong>api_key.made</strong>").count(), 50);
    let older = first.split_once("href=\"/admin/audit?action=api_key.made").map(|(_, rest)| rest);
    let older = older
        .and_then(|rest| rest.split_once('"'))
        .map(|(query, _)| query.replace("&#38;", "&").replace("&amp;", "&"));
    let older = format!("/admin/audit?action=api_key.made{}", older.expect("there is an older page"));
    let second = op.get(&older).await.expect(200).text;
    let rest = second.matches("<strong>api_key.made</strong>").count();
    assert!((5..50).contains(&rest) && !second.contains("Older events"), "{rest}: {second}");
    let nothing = op.get("/admin/audit?action=nothing.like_it").await.expect(200).text;
    assert!(nothing.contains("Nothing of that kind is in the log"), "{nothing}");
    let wrong = op.get("/admin/audit?since=yesterday&actor=%3Cscript%3E").await.expect(400).text;
    assert!(wrong.contains("role=\"alert\"") && wrong.contains("&#60;script&#62;"), "{wrong}");

    // The file is that of the API, for who is signed in and comes from the page.
    let link = "href=\"/api/audit/export\" download=\"audit.jsonl\"";
    assert!(op.get("/admin/audit").await.expect(200).text.contains(link));
    let export = op.request(Method::GET, "/api/audit/export").header("sec-fetch-site", "same-origin");
    let file = op.send(export).await.expect(200);
    assert_eq!(file.header("content-type"), "application/x-ndjson");
    let kept = node.folder().join("page.jsonl");
    std::fs::write(&kept, &file.text).expect("a temporary folder takes files");
    node.cli().run(&["admin", "audit", "verify", &kept.display().to_string()]).await.expect(0);
}

#[tokio::test]
async fn an_operator_sees_every_team_and_does_in_it_what_its_owners_may() {
    let node = TestNode::empty().await;
    let mut op = operator(&node).await;
    assert!(op.get("/admin/teams").await.expect(200).text.contains("There are none."));
    let (mut ada, mut bob) =
        (confirmed(&node, "ada@example.org").await, confirmed(&node, "bob@example.org").await);
    let api = team(&mut ada).await;
    let page = api.replace("/api", "/admin");
    let listed = op.get("/admin/teams").await.expect(200).text;
    assert!(
        listed.contains(&format!("href=\"{page}\"")) && listed.contains("owner ada@example.org"),
        "{listed}"
    );
    let shown = op.get(&page).await.expect(200).text;
    assert!(!shown.contains("You are") && !shown.contains("Leave the team"), "{shown}");
    assert!(!shown.contains("Make a key"), "keys end with what their maker is in the team: {shown}");
    op.get(&page.replace("/admin", "/settings")).await.expect(404);

    let key = json!({ "name": "build", "scopes": ["docs:read"] });
    let key = ada.post(&format!("{api}/keys"), &key).await.expect(201).json();
    let opens = async |expected| {
        let client = node.client().with_key(key["secret"].as_str().expect("a secret"));
        client.get("/api/v2/libs/search?libraryName=x&query=x").await.expect(expected);
    };
    opens(200).await;
    for (what, fields) in
        [("keys", &[("name", "mine"), ("scope", "docs:read"), ("life_days", "90")][..]), ("nothing", &[])]
    {
        op.submit(&page, &format!("{page}/{what}"), fields).await.expect(404);
    }
    let shown = op.get(&page).await.expect(200).text;
    let id = shown.split_once("/revoke\"").map(|(_, rest)| field(rest, "id")).expect("it is listed");
    op.submit(&page, &format!("{page}/revoke"), &[("id", &id)]).await.expect(303);
    opens(401).await;
    let renamed = op.submit(&page, &format!("{page}/name"), &[("name", "Potters")]).await.expect(303);
    assert_eq!(renamed.header("location"), format!("{page}?done=name"));
    let invitation = [("email", "bob@example.org"), ("role", "owner")];
    op.submit(&page, &format!("{page}/invite"), &invitation).await.expect(303);
    let (_, token) = link(&letter(&node, "bob@example.org", "You are invited to a team").await);
    let join = format!("/join?token={token}");
    bob.submit(&join, &join, &[("decision", "join")]).await.expect(303);
    let members = ada.get(&api).await.expect(200).json();
    assert_eq!((&members["name"], &members["members"][1]["role"]), (&json!("Potters"), &json!("owner")));
    let adas = members["members"][0]["account"].as_str().expect("an id").to_owned();
    op.submit(&page, &format!("{page}/remove"), &[("account", &adas)]).await.expect(303);
    ada.get(&api).await.expect(404);
    let bobs = members["members"][1]["account"].as_str().expect("an id").to_owned();
    let last = op.submit(&page, &format!("{page}/remove"), &[("account", &bobs)]).await.expect(409);
    assert!(last.text.contains("needs an owner"), "{}", last.text);
    let events = node.client().get("/api/audit?action=team.&limit=1").await.expect(200).json();
    assert_eq!(events["events"][0]["action"], "team.left");
    let deleted = op.submit(&page, &format!("{page}/delete"), &[]).await.expect(303);
    assert_eq!(deleted.header("location"), "/admin/teams?done=deleted");
    op.get(&page).await.expect(404);
    op.get("/admin/teams?after=x").await.expect(404);

    // Fifty a page.
    for (owner, teams) in [("zoe@example.org", 20), ("kim@example.org", 20), ("sam@example.org", 11)] {
        let mut owner = confirmed(&node, owner).await;
        for _ in 0..teams {
            team(&mut owner).await;
        }
    }
    let first = op.get("/admin/teams").await.expect(200).text;
    let next = first.split_once("href=\"/admin/teams?after=").and_then(|(_, rest)| rest.split_once('"'));
    let next = format!("/admin/teams?after={}", next.expect("a next page").0);
    let second = op.get(&next).await.expect(200).text;
    assert_eq!([&first, &second].map(|page| page.matches("1 member ").count()), [50, 1]);
    assert!(!second.contains("Next page"));
}
