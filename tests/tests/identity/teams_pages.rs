//! The pages of teams, as a browser without JavaScript sends them.

use serde_json::json;
use twinmcp_tests::TestNode;

use super::Browser;
use super::app::field;
use super::teams::{confirmed, invited, team};

#[tokio::test]
async fn people_make_a_team_and_manage_it_by_forms() {
    let node = TestNode::empty().await;
    let mut ada = confirmed(&node, "ada@example.org").await;
    assert!(ada.get("/settings/teams").await.expect(200).text.contains("You are in no team yet."));
    let long = "x".repeat(201);
    let refused = ada.submit("/settings/teams", "/settings/teams", &[("name", &long)]).await.expect(400);
    assert!(refused.text.contains("role=\"alert\"") && refused.text.contains(&long));
    let fields = [("name", "Kiln <b>works</b>")];
    let made = ada.submit("/settings/teams", "/settings/teams", &fields).await.expect(303);
    let page = made.header("location").to_owned();
    let shown = ada.get(&page).await.expect(200).text;
    assert!(shown.contains("Kiln &#60;b&#62;works") && shown.contains("You are owner"), "{shown}");

    // Invited, looked at, joined.
    let path = format!("{page}/invite");
    let wrong = ada.submit(&page, &path, &[("email", "nowhere"), ("role", "developer")]).await.expect(400);
    assert!(wrong.text.contains("role=\"alert\"") && wrong.text.contains("value=\"nowhere\""));
    let api = page.replace("/settings", "/api");
    let token = invited(&node, &mut ada, &api, "bob@example.org", "developer").await;
    let join = format!("/join?token={token}");
    let mut bob = Browser::at(&node);
    let asked = bob.get(&join).await.expect(200);
    assert!(
        asked.text.contains("Sign in to join") && asked.text.contains("bob@example.org"),
        "{}",
        asked.text
    );
    assert_eq!(asked.header("referrer-policy"), "no-referrer");
    let mut eve = confirmed(&node, "eve@example.org").await;
    let other = eve.submit(&join, &join, &[("decision", "join")]).await.expect(403);
    assert!(other.text.contains("for another address"), "{}", other.text);
    let mut bob = confirmed(&node, "bob@example.org").await;
    let joined = bob.submit(&join, &join, &[("decision", "join")]).await.expect(303);
    assert_eq!(joined.header("location"), format!("{page}?done=joined"));
    assert!(bob.get(&format!("{page}?done=joined")).await.expect(200).text.contains("You are in the team."));
    bob.get(&join).await.expect(403);
    eve.get(&page).await.expect(404);

    // A developer is offered what a developer may.
    let shown = bob.get(&page).await.expect(200).text;
    for hidden in ["Invitations", "Delete the team", "Save the name", "jobs:write"] {
        assert!(!shown.contains(hidden), "{hidden}: {shown}");
    }
    let rename = bob.submit(&page, &format!("{page}/name"), &[("name", "Mine")]).await.expect(403);
    assert!(rename.text.contains("role in the team"), "{}", rename.text);
    let key = [("name", "build"), ("scope", "docs:read"), ("life_days", "90")];
    let made = bob.submit(&page, &format!("{page}/keys"), &key).await.expect(201);
    assert!(made.text.contains("tmcp_"), "{}", made.text);
    bob.submit(
        &page,
        &format!("{page}/keys"),
        &[("name", "x"), ("scope", "jobs:write"), ("life_days", "90")],
    )
    .await
    .expect(403);

    // The owner sees who made it, changes the role and takes the key and the member away.
    let shown = ada.get(&page).await.expect(200).text;
    assert!(shown.contains("bob@example.org") && shown.contains("by Ada"), "{shown}");
    let key = shown.split_once("/revoke\"").map(|(_, rest)| field(rest, "id")).unwrap();
    ada.submit(&page, &format!("{page}/revoke"), &[("id", &key)]).await.expect(303);
    let members = ada.get(&api).await.expect(200).json();
    let bobs = members["members"][1]["account"].as_str().unwrap().to_owned();
    let role = [("account", bobs.as_str()), ("role", "admin")];
    ada.submit(&page, &format!("{page}/role"), &role).await.expect(303);
    assert!(bob.get(&page).await.expect(200).text.contains("You are admin"));
    let adas = members["members"][0]["account"].as_str().unwrap().to_owned();
    let last = ada.submit(&page, &format!("{page}/remove"), &[("account", &adas)]).await.expect(409);
    assert!(last.text.contains("needs an owner"), "{}", last.text);
    let left = bob.submit(&page, &format!("{page}/remove"), &[("account", &bobs)]).await.expect(303);
    assert_eq!(left.header("location"), "/settings/teams?done=left");
    bob.get(&page).await.expect(404);

    // Declined, taken back, deleted.
    let token = invited(&node, &mut ada, &api, "eve@example.org", "developer").await;
    let join = format!("/join?token={token}");
    assert!(eve.submit(&join, &join, &[("decision", "decline")]).await.expect(200).text.contains("declined"));
    eve.get(&join).await.expect(403);
    ada.submit(&page, &path, &[("email", "zoe@example.org"), ("role", "developer")]).await.expect(303);
    assert!(ada.get(&page).await.expect(200).text.contains("zoe@example.org"));
    ada.submit(&page, &format!("{page}/withdraw"), &[("email", "zoe@example.org")]).await.expect(303);
    assert!(!ada.get(&page).await.expect(200).text.contains("zoe@example.org"));
    let deleted = ada.submit(&page, &format!("{page}/delete"), &[]).await.expect(303);
    assert_eq!(deleted.header("location"), "/settings/teams?done=deleted");
    ada.get(&page).await.expect(404);
}

#[tokio::test]
async fn case_075_and_081_to_084_pages_of_keys_and_teams_are_guarded_like_every_other() {
    let node = TestNode::empty().await;
    let mut ada = confirmed(&node, "ada@example.org").await;
    let api = team(&mut ada).await;
    let page = api.replace("/api", "/settings");
    let token = invited(&node, &mut ada, &api, "bob@example.org", "developer").await;
    for path in
        ["/settings/keys", "/settings/teams", &*page, &format!("/join?token={token}"), "/join?token=x"]
    {
        let shown = ada.get(path).await;
        let policy = shown.header("content-security-policy");
        for part in
            ["default-src 'none'", "frame-ancestors 'none'", "script-src 'self'", "form-action 'self'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        for (name, value) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer")] {
            assert_eq!(shown.header(name), value, "{path}: {name}");
        }
        for inline in ["<style", " style=", "onclick=", "javascript:", "src=\"http", "href=\"http"] {
            assert!(!shown.text.contains(inline), "{path} has {inline}");
        }
    }
    for (path, fields) in [
        ("/settings/keys", vec![("name", "k"), ("scope", "docs:read"), ("life_days", "90")]),
        ("/settings/teams", vec![("name", "t")]),
        (&*format!("{page}/delete"), vec![]),
        (&*format!("{page}/invite"), vec![("email", "eve@example.org"), ("role", "owner")]),
    ] {
        let without = ada.form(path, &fields);
        ada.send(without).await.expect(403);
        let mut with_token = fields.clone();
        let own = super::form_token(&ada.get("/settings/keys").await.text);
        with_token.push(("form_token", &own));
        let elsewhere = ada.form(path, &with_token).header("sec-fetch-site", "cross-site");
        ada.send(elsewhere).await.expect(403);
    }
    let told = ada.get(&api).await.expect(200).json();
    assert_eq!(told["invitations"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(ada.get("/api/keys").await.expect(200).json()["keys"], json!([]));
}
