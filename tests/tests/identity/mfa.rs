//! Second factors at one node: rows 101 to 107 of the negative cases, over HTTP and as pages.

use serde_json::{Value, json};
use twinmcp_tests::{NodeSetup, TestClient, TestNode, eventually};

use super::app::{App, Tokens, decide, decide_device, field, opens, parameter, signed_in};
use super::authenticator::{Authenticator, Enrolled, answer, confirm, enrol};
use super::signer::{now, read};
use super::{Browser, PASSWORD, form_token, letter, person};

/// Signs Ada's password in, in a browser that has nothing yet, up to the second step.
async fn challenged(node: &TestNode) -> Browser {
    let mut browser = Browser::at(node);
    let asked = browser.sign_in("ada@example.org", PASSWORD).await.expect(202);
    assert_eq!(asked.json()["factors"], json!(["totp", "backup_code"]));
    assert_eq!(browser.session(), None, "there is no session yet");
    browser
}

#[tokio::test]
async fn case_101_and_102_a_code_is_taken_once_and_none_before_it() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let before = ada.session().cloned();
    let Enrolled { app, .. } = enrol(&mut ada).await;
    assert_ne!(ada.session().cloned(), before, "the session has another secret (row 89)");
    ada.get("/api/auth/session").await.expect(200);

    let mut browser = challenged(&node).await;
    let used = answer(&mut browser, "totp", &app.now()).await;
    assert_eq!(used.expect(403).code(), "wrong_code", "it confirmed the app");
    let began = answer(&mut browser, "totp", &format!(" {} ", app.next())).await.expect(200).json();
    assert_eq!(began["session"]["methods"], json!(["pwd", "otp", "mfa"]));
    browser.get("/api/auth/session").await.expect(200);
    for code in [app.next(), app.now()] {
        let mut again = challenged(&node).await;
        assert_eq!(answer(&mut again, "totp", &code).await.expect(403).code(), "wrong_code");
        again.get("/api/auth/session").await.expect(401);
    }
    letter(&node, "ada@example.org", "Your second factors were changed").await;
}

#[tokio::test]
async fn case_103_wrong_codes_lock_the_second_step_of_that_account_alone() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let Enrolled { app, backup_codes } = enrol(&mut ada).await;
    let mut eve = signed_in(&node, "eve@example.org").await;
    let eves = enrol(&mut eve).await;
    let mut browser = challenged(&node).await;
    for number in 0..10 {
        let (factor, code) = if number % 2 == 0 {
            ("totp", app.wrong())
        } else {
            ("backup_code", eves.backup_codes[0].clone())
        };
        assert_eq!(answer(&mut browser, factor, &code).await.expect(403).code(), "wrong_code", "{number}");
    }
    for (factor, code) in [("totp", app.next()), ("backup_code", backup_codes[0].clone())] {
        let locked = answer(&mut browser, factor, &code).await.expect(429);
        assert_eq!(locked.code(), "too_many_attempts");
        assert!(locked.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    ada.get("/api/auth/session").await.expect(200);
    let mut browser = Browser::at(&node);
    browser.sign_in("eve@example.org", PASSWORD).await.expect(202);
    answer(&mut browser, "totp", &eves.app.next()).await.expect(200);
    let metrics = node.client().get("/api/metrics").await.expect(200).text;
    for line in [
        r#"twinmcp_mfa_attempts_total{method="totp",outcome="ok"} 3"#,
        r#"twinmcp_mfa_attempts_total{method="totp",outcome="wrong"} 5"#,
        r#"twinmcp_mfa_attempts_total{method="backup_code",outcome="wrong"} 5"#,
        r#"twinmcp_mfa_attempts_total{method="backup_code",outcome="locked"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn case_104_an_app_is_no_factor_before_it_has_shown_a_code_and_its_secret_is_told_once() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    Browser::at(&node).post("/api/auth/mfa/totp", &json!({})).await.expect(401);
    let offer = ada.post("/api/auth/mfa/totp", &json!({})).await.expect(200);
    assert_eq!(offer.header("cache-control"), "no-store");
    let offer = offer.json();
    let secret = offer["secret"].as_str().unwrap().to_owned();
    let app = Authenticator::typed(&secret);
    assert!(offer["uri"].as_str().unwrap().contains(&secret.replace(' ', "")), "{offer}");
    assert!(offer["qr_svg"].as_str().unwrap().starts_with("<svg "), "{offer}");
    // Offered, and no factor.
    Browser::at(&node).sign_in("ada@example.org", PASSWORD).await.expect(200);
    assert_eq!(confirm(&mut ada, &offer, &app.wrong()).await.expect(403).code(), "wrong_code");
    assert!(ada.get("/api/auth/mfa").await.expect(200).json()["totp"].is_null());
    let mut eve = signed_in(&node, "eve@example.org").await;
    let foreign = confirm(&mut eve, &offer, &app.now()).await;
    assert_eq!(foreign.expect(403).code(), "offer_refused", "it was offered to somebody else");
    assert_eq!(
        confirm(&mut ada, &json!({ "ticket": "x" }), &app.now()).await.expect(403).code(),
        "offer_refused"
    );
    let mut other = Browser::at(&node);
    other.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let elsewhere = confirm(&mut other, &offer, &app.now()).await;
    assert_eq!(elsewhere.expect(403).code(), "offer_refused", "in another session");

    confirm(&mut ada, &offer, &app.now()).await.expect(200);
    other.get("/api/auth/session").await.expect(401);
    assert_eq!(ada.post("/api/auth/mfa/totp", &json!({})).await.expect(409).code(), "factor_exists");
    let letters = secret.replace(' ', "");
    for path in ["/api/auth/mfa", "/api/auth/account", "/mfa", "/settings"] {
        let shown = ada.get(path).await.expect(200).text;
        assert!(!shown.contains(&letters) && !shown.contains(&secret), "{path} tells the secret");
    }
}

#[tokio::test]
async fn case_105_a_password_alone_opens_nothing_where_a_second_factor_is_asked() {
    let node = NodeSetup::default().with("mfa", "required", "operators").start().await;
    let client = node.client();
    let id = person(&client, "ada@example.org").await["id"].as_str().unwrap().to_owned();
    let mut ada = Browser::at(&node);
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let metadata = json!({
        "client_name": "Editor", "redirect_uris": ["https://app.example/cb"], "scope": "docs:read keys:write",
    });
    let app = App::made_by(&client, &metadata).await;
    let scope = [("scope", "docs:read keys:write")];
    let tokens = app.tokens(&client, &mut ada, &scope).await;
    let pending = app.code(&mut ada, &scope).await;
    let is_active = async |token: &str| {
        app.ask(&client, "/api/oauth/introspect", &[("token", token)]).await.expect(200).json()["active"]
            .clone()
    };
    assert!(opens(&client, &tokens.access).await);
    for token in [&tokens.access, &tokens.refresh] {
        assert_eq!(is_active(token).await, true);
    }

    // From now on she has to have a second factor. What began with less opens nothing.
    client.patch(&format!("/api/accounts/{id}"), &json!({ "operator": true })).await.expect(200);
    let keys = client.with_key(&tokens.access);
    let refused = keys.post("/api/keys", &json!({ "name": "mine", "scopes": ["docs:read"] })).await;
    assert_eq!(refused.expect(401).code(), "insufficient_user_authentication");
    let challenge = keys.get("/api/keys").await.expect(401).header("www-authenticate").to_owned();
    assert!(
        challenge.contains("error=\"insufficient_user_authentication\", acr_values=\"aal2\""),
        "{challenge}"
    );
    let refresh = app.refresh(&client, &tokens.refresh, &[]).await.expect(400);
    assert_eq!(refresh.code(), "invalid_grant");
    for token in [&tokens.access, &tokens.refresh] {
        assert_eq!(is_active(token).await, false, "what opens nothing is not told to be good");
    }
    let late = Tokens::of(&app.redeem(&client, &pending, &[]).await);
    assert!(late.access.is_empty() || client.with_key(&late.access).get("/api/keys").await.status == 401);
    for path in ["/api/auth/session", "/api/auth/account", "/api/auth/apps"] {
        assert_eq!(ada.get(path).await.expect(403).code(), "second_factor_required", "{path}");
    }
    let asked = ada.get(&app.authorize(&scope)).await.expect(303).header("location").to_owned();
    assert!(asked.starts_with("/signin?return_to="), "{asked}");
    let led = ada.get(&asked).await.expect(303).header("location").to_owned();
    assert!(led.starts_with("/mfa?return_to="), "{led}");
    for path in ["/settings", "/device"] {
        let led = ada.get(path).await.expect(303).header("location").to_owned();
        assert!(ada.get(&led).await.expect(303).header("location").starts_with("/mfa?"), "{path}");
    }
    assert!(ada.get(&led).await.expect(200).text.contains("needs a second factor"));

    let Enrolled { app: phone, .. } = enrol(&mut ada).await;
    ada.get("/api/auth/session").await.expect(200);
    let tokens = app.tokens(&client, &mut ada, &scope).await;
    client.with_key(&tokens.access).get("/api/keys").await.expect(200);
    app.refresh(&client, &tokens.refresh, &[]).await.expect(200);
    assert_eq!(ada.delete("/api/auth/mfa/totp").await.expect(409).code(), "factor_required");
    let mut again = challenged(&node).await;
    answer(&mut again, "totp", &phone.next()).await.expect(200);
}

#[tokio::test]
async fn case_105_what_began_with_a_password_alone_gives_no_code_no_token_no_device_and_no_key() {
    const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
    let node = NodeSetup::default().with("mfa", "required", "operators").start().await;
    let client = node.client();
    let id = person(&client, "ada@example.org").await["id"].as_str().unwrap().to_owned();
    let mut ada = Browser::at(&node);
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let metadata = json!({
        "client_name": "Editor", "redirect_uris": ["https://app.example/cb"], "scope": "docs:read keys:write",
        "grant_types": ["authorization_code", "refresh_token", DEVICE],
    });
    let app = App::made_by(&client, &metadata).await;
    let scope = [("scope", "docs:read keys:write")];
    let start = async || app.ask(&client, "/api/oauth/device_authorization", &scope).await.expect(200).json();
    let poll = async |codes: &Value| {
        let code = codes["device_code"].as_str().unwrap();
        app.ask(&client, "/api/oauth/token", &[("grant_type", DEVICE), ("device_code", code)]).await
    };
    let device = async |browser: &mut Browser, codes: &Value| {
        let path = format!("/device?user_code={}", codes["user_code"].as_str().unwrap());
        browser.get(&path).await
    };
    let key = json!({ "name": "mine", "scopes": ["docs:read"] });

    // Asked, allowed and given while a password is enough.
    let question = ada.get(&app.authorize(&scope)).await.expect(200).text;
    let tokens = app.tokens(&client, &mut ada, &scope).await;
    let code = app.code(&mut ada, &scope).await;
    let (waiting, allowed) = (start().await, start().await);
    let page = device(&mut ada, &allowed).await.expect(200).text;
    decide_device(&mut ada, &page, "allow").await.expect(200);
    let page = device(&mut ada, &waiting).await.expect(200).text;

    client.patch(&format!("/api/accounts/{id}"), &json!({ "operator": true })).await.expect(200);
    // A code: no new one, and none of before becomes tokens.
    let refused = decide(&mut ada, &question, "allow").await.expect(403);
    assert_eq!(refused.header("location"), "");
    let silent = [scope[0], ("prompt", "none")];
    let silent = ada.get(&app.authorize(&silent)).await.expect(303).header("location").to_owned();
    assert_eq!(parameter(&silent, "error").as_deref(), Some("login_required"), "{silent}");
    assert_eq!(app.redeem(&client, &code, &[]).await.expect(400).code(), "invalid_grant");
    // A refresh.
    assert_eq!(app.refresh(&client, &tokens.refresh, &[]).await.expect(400).code(), "invalid_grant");
    // A device: the one that was allowed gets nothing, and no other is allowed.
    assert_eq!(poll(&allowed).await.expect(400).code(), "invalid_grant");
    // The form was made for a session that opens nothing now.
    let refused = decide_device(&mut ada, &page, "allow").await.expect(403);
    assert!(
        refused.header("location").is_empty() && refused.text.contains("form_expired"),
        "{}",
        refused.text
    );
    assert!(device(&mut ada, &waiting).await.expect(303).header("location").starts_with("/signin?"));
    assert_eq!(poll(&waiting).await.expect(400).code(), "authorization_pending");
    // A key: of the session, on its page, and of a token.
    assert_eq!(ada.post("/api/keys", &key).await.expect(403).code(), "second_factor_required");
    let token = form_token(&page);
    let fields =
        [("form_token", token.as_str()), ("name", "mine"), ("scope", "docs:read"), ("life_days", "never")];
    let form = ada.form("/settings/keys", &fields).header("sec-fetch-site", "same-origin");
    assert!(ada.send(form).await.expect(303).header("location").starts_with("/signin?"));
    let refused = client.with_key(&tokens.access).post("/api/keys", &key).await.expect(401);
    assert_eq!(refused.code(), "insufficient_user_authentication");

    // With the second factor each of them is there.
    enrol(&mut ada).await;
    assert_eq!(ada.get("/api/keys").await.expect(200).json()["keys"], json!([]), "none was made");
    ada.post("/api/keys", &key).await.expect(201);
    let tokens = app.tokens(&client, &mut ada, &scope).await;
    app.refresh(&client, &tokens.refresh, &[]).await.expect(200);
    let page = device(&mut ada, &waiting).await.expect(200).text;
    decide_device(&mut ada, &page, "allow").await.expect(200);
    let given = Tokens::of(&poll(&waiting).await.expect(200));
    client.with_key(&given.access).post("/api/keys", &key).await.expect(201);

    // Who has one and has shown the password alone has no session at all.
    let mut half = challenged(&node).await;
    assert!(half.cookies.contains_key("__Host-twinmcp-pending"));
    half.post("/api/keys", &key).await.expect(401);
    for path in [app.authorize(&scope), "/device".to_owned(), "/settings/keys".to_owned()] {
        let led = half.get(&path).await.expect(303).header("location").to_owned();
        assert!(led.starts_with("/signin?"), "{path}: {led}");
    }
}

#[tokio::test]
async fn case_106_the_second_step_belongs_to_the_first_and_opens_nothing_by_itself() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let adas = enrol(&mut ada).await;
    let mut eve = signed_in(&node, "eve@example.org").await;
    let eves = enrol(&mut eve).await;
    let mut browser = Browser::at(&node);
    let alone = answer(&mut browser, "totp", &adas.app.next()).await;
    assert_eq!(alone.expect(401).code(), "sign_in_expired", "without the first step");
    let asked = browser.sign_in("ada@example.org", PASSWORD).await.expect(202);
    let cookie = asked.header("set-cookie").to_owned();
    assert!(
        cookie.starts_with("__Host-twinmcp-pending=") && cookie.contains("; Secure; HttpOnly; SameSite=Lax")
    );
    assert!(!asked.text.contains("ticket"), "{}", asked.text);
    browser.get("/api/auth/session").await.expect(401);
    assert!(browser.get("/settings").await.expect(303).header("location").starts_with("/signin"));
    // Eve's factor does not go with Ada's password.
    for (factor, code) in [("totp", eves.app.next()), ("backup_code", eves.backup_codes[0].clone())] {
        assert_eq!(answer(&mut browser, factor, &code).await.expect(403).code(), "wrong_code");
    }
    let own = browser.cookies["__Host-twinmcp-pending"].clone();
    let mut changed = own.clone().into_bytes();
    changed[30] = if changed[30] == b'A' { b'B' } else { b'A' };
    for ticket in ["", "x", &own[..own.len() - 2], &String::from_utf8(changed).unwrap()] {
        browser.cookies.insert("__Host-twinmcp-pending".to_owned(), ticket.to_owned());
        let refused = answer(&mut browser, "totp", &adas.app.next()).await.expect(401);
        assert_eq!(refused.code(), "sign_in_expired", "{ticket}");
    }
    let unknown = json!({ "factor": "wish", "code": "123456" });
    browser.post("/api/auth/mfa/challenge", &unknown).await.expect(400);
    let crossed = json!({ "factor": "totp", "code": adas.app.next() });
    let crossed = browser.request(reqwest::Method::POST, "/api/auth/mfa/challenge").json(&crossed);
    browser.send(crossed.header("sec-fetch-site", "cross-site")).await.expect(403);

    // What was begun before the password changed is over.
    let mut late = challenged(&node).await;
    let passwords = json!({ "current": PASSWORD, "new": "another battery staple" });
    ada.post("/api/auth/password", &passwords).await.expect(204);
    let refused = answer(&mut late, "totp", &adas.app.next()).await;
    assert_eq!(refused.expect(401).code(), "sign_in_expired");
}

#[tokio::test]
async fn case_107_a_backup_code_takes_the_place_of_a_factor_once_and_is_kept_as_a_hash() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    let Enrolled { backup_codes: codes, .. } = enrol(&mut ada).await;
    assert_eq!(codes.len(), 10);
    let typed = [codes[9].clone(), codes[2].to_uppercase(), codes[5].replace('-', " ")];
    for code in &typed {
        let mut browser = challenged(&node).await;
        answer(&mut browser, "backup_code", code).await.expect(200);
    }
    for code in &typed {
        let mut browser = challenged(&node).await;
        assert_eq!(answer(&mut browser, "backup_code", code).await.expect(403).code(), "wrong_code");
    }
    assert_eq!(ada.get("/api/auth/mfa").await.expect(200).json()["backup_codes_left"], 7);
    let made = ada.post("/api/auth/mfa/backup-codes", &json!({})).await.expect(200).json();
    let new = made["backup_codes"][0].as_str().unwrap().to_owned();
    let mut browser = challenged(&node).await;
    answer(&mut browser, "backup_code", &codes[0]).await.expect(403);
    answer(&mut browser, "backup_code", &new).await.expect(200);
    let as_typed = [&codes[0], &new].map(|code| code.replace('-', ""));
    let readable = [&codes[0], &new, &as_typed[0], &as_typed[1]].map(String::as_str);
    assert_eq!(node.file_with(&readable), None, "a backup code stands there");
    // With the last factor go the codes.
    ada.delete("/api/auth/mfa/totp").await.expect(204);
    assert_eq!(ada.delete("/api/auth/mfa/totp").await.expect(404).code(), "factor_not_found");
    assert_eq!(
        ada.post("/api/auth/mfa/backup-codes", &json!({})).await.expect(404).code(),
        "factor_not_found"
    );
    let mut alone = Browser::at(&node);
    alone.sign_in("ada@example.org", PASSWORD).await.expect(200);
}

/// What the ID token says that a code is redeemed for.
async fn claims_of(app: &App, client: &TestClient, code: &str) -> Value {
    let given = app.redeem(client, code, &[]).await.expect(200).json();
    read(given["id_token"].as_str().expect("openid was asked for")).1
}

#[tokio::test]
async fn case_079_a_client_asks_for_a_second_factor_or_a_fresh_sign_in() {
    let node = TestNode::empty().await;
    let (client, app) = (node.client(), App::public(&node).await);
    let mut ada = signed_in(&node, "ada@example.org").await;
    let claims = async |code: &str| claims_of(&app, &client, code).await;
    let once = claims(&app.code(&mut ada, &[]).await).await;
    assert_eq!((&once["acr"], &once["amr"]), (&json!("aal1"), &json!(["pwd"])));
    // What is enough, and what is no name here, asks nothing.
    for level in ["aal1", "aal2 aal1", "urn:mace:incommon:iap:silver"] {
        app.code(&mut ada, &[("acr_values", level)]).await;
    }
    let stronger = [("acr_values", "aal2")];
    let silent = ada.get(&app.authorize(&[("acr_values", "aal2"), ("prompt", "none")])).await.expect(303);
    assert_eq!(parameter(silent.header("location"), "error").unwrap(), "unmet_authentication_requirements");
    let led = ada.get(&app.authorize(&stronger)).await.expect(303).header("location").to_owned();
    assert!(led.starts_with("/mfa?return_to="), "{led}");
    let back = parameter(&format!("http://x{led}"), "return_to").unwrap();
    assert_eq!(back, app.authorize(&stronger));

    let Enrolled { app: phone, backup_codes } = enrol(&mut ada).await;
    let twice = claims(&app.code(&mut ada, &stronger).await).await;
    assert_eq!((&twice["acr"], &twice["amr"]), (&json!("aal2"), &json!(["pwd", "otp", "mfa"])));
    assert_eq!(twice["auth_time"], once["auth_time"], "adding a factor is no sign-in");
    app.code(&mut ada, &[("acr_values", "aal2"), ("prompt", "none")]).await;

    // Nobody who is not signed in gets past it with the password alone.
    let mut new = Browser::at(&node);
    let asked = new.get(&app.authorize(&stronger)).await.expect(303).header("location").to_owned();
    assert!(asked.starts_with("/signin?return_to="), "{asked}");
    new.sign_in("ada@example.org", PASSWORD).await.expect(202);
    let still = new.get(&app.authorize(&stronger)).await.expect(303).header("location").to_owned();
    assert!(still.starts_with("/signin?return_to="), "{still}");
    answer(&mut new, "totp", &phone.next()).await.expect(200);
    app.code(&mut new, &stronger).await;

    // A sign-in as old as it may be is enough; `max_age=0` asks for a new one, once.
    app.code(&mut ada, &[("max_age", "3600")]).await;
    let asked = ada.get(&app.authorize(&[("max_age", "0")])).await.expect(303).header("location").to_owned();
    assert!(asked.starts_with("/signin?") && asked.ends_with("&again=1"), "{asked}");
    assert!(ada.get(&asked).await.expect(200).text.contains("name=\"password\""));
    let back = parameter(&format!("http://x{asked}"), "return_to").unwrap();
    let still = ada.get(&back).await.expect(303).header("location").to_owned();
    assert!(still.starts_with("/signin?") && still.ends_with("&again=1"), "without signing in: {still}");
    let session = ada.get("/api/auth/session").await.expect(200).json()["session"]["id"].take();
    ada.sign_in("ada@example.org", PASSWORD).await.expect(202);
    answer(&mut ada, "backup_code", &backup_codes[0]).await.expect(200);
    let sent = ada.get(&back).await.expect(303).header("location").to_owned();
    let fresh = claims(&parameter(&sent, "code").unwrap_or_else(|| panic!("{sent}"))).await;
    assert!(fresh["auth_time"].as_u64() >= once["auth_time"].as_u64());
    assert_eq!(fresh["sid"], session, "the session goes on");
    assert_eq!(fresh["acr"], "aal2");
}

#[tokio::test]
async fn case_079_a_sign_in_that_is_too_old_is_made_again_and_the_token_tells_when_and_how() {
    let node = TestNode::empty().await;
    let (client, app) = (node.client(), App::public(&node).await);
    let mut ada = signed_in(&node, "ada@example.org").await;
    let claims = async |code: &str| claims_of(&app, &client, code).await;
    let at = |claims: &Value| claims["auth_time"].as_u64().expect("every ID token tells it");
    let first = claims(&app.code(&mut ada, &[]).await).await;
    eventually("the sign-in to be older than a second", async || {
        let sent = ada.get(&app.authorize(&[("max_age", "1")])).await.expect(303);
        let location = sent.header("location");
        let is_asked = location.starts_with("/signin?") && location.ends_with("&again=1");
        assert!(is_asked || parameter(location, "code").is_some(), "{location}");
        is_asked.then_some(())
    })
    .await;
    let silent = ada.get(&app.authorize(&[("max_age", "1"), ("prompt", "none")])).await.expect(303);
    assert_eq!(parameter(silent.header("location"), "error").as_deref(), Some("login_required"));
    // One that is young enough is not made again, and not made out to be younger.
    let same = claims(&app.code(&mut ada, &[("max_age", "3600"), ("prompt", "none")]).await).await;
    assert_eq!((at(&same), &same["amr"]), (at(&first), &json!(["pwd"])));

    // Made again by the password, and by a code of an app besides.
    let mut last = at(&first);
    for (level, methods) in [("aal1", json!(["pwd"])), ("aal2", json!(["pwd", "otp", "mfa"]))] {
        let phone = if level == "aal2" { Some(enrol(&mut ada).await.app) } else { None };
        let asks = [("max_age", "0"), ("acr_values", level)];
        let asked = ada.get(&app.authorize(&asks)).await.expect(303).header("location").to_owned();
        assert!(asked.starts_with("/signin?") && asked.ends_with("&again=1"), "{asked}");
        let back = parameter(&format!("http://x{asked}"), "return_to").unwrap();
        eventually("a second in which nobody has signed in", async || (now() > last).then_some(())).await;
        let before = now();
        let told = ada.sign_in("ada@example.org", PASSWORD).await;
        match phone {
            None => _ = told.expect(200),
            Some(phone) => {
                told.expect(202);
                answer(&mut ada, "totp", &phone.next()).await.expect(200);
            }
        }
        let after = now();
        let sent = ada.get(&back).await.expect(303).header("location").to_owned();
        let told = claims(&parameter(&sent, "code").unwrap_or_else(|| panic!("{sent}"))).await;
        assert!((before..=after).contains(&at(&told)), "{before}, {after}: {told}");
        assert!(at(&told) > last, "{last}: {told}");
        assert_eq!((&told["acr"], &told["amr"]), (&json!(level), &methods));
        last = at(&told);
    }
}

#[tokio::test]
async fn second_factors_are_added_used_and_removed_by_forms() {
    let node = TestNode::empty().await;
    let mut ada = signed_in(&node, "ada@example.org").await;
    assert!(ada.get("/settings").await.expect(200).text.contains("href=\"/mfa\""));
    assert_eq!(
        Browser::at(&node).get("/mfa").await.expect(303).header("location"),
        "/signin?return_to=%2Fmfa"
    );
    let led = Browser::at(&node).get("/mfa?return_to=/libraries").await.expect(303);
    assert_eq!(led.header("location"), "/signin?return_to=%2Fmfa%3Freturn_to%3D%252Flibraries");
    let shown = ada.get("/mfa/totp?return_to=/libraries").await.expect(200);
    assert!(shown.text.contains("<svg ") && !shown.text.contains(" style="), "{}", shown.text);
    assert_eq!(shown.header("cache-control"), "no-store");
    let action = "action=\"/mfa/totp?return_to=%2Flibraries\"";
    assert!(shown.text.contains(action), "{}", shown.text);
    let letters = shown.text.split_once("<code class=\"secret\">").and_then(|(_, rest)| rest.split_once('<'));
    let app = Authenticator::typed(letters.expect("the page shows the key").0);
    let (token, ticket) = (form_token(&shown.text), field(&shown.text, "ticket"));
    let send = async |browser: &mut Browser, code: &str| {
        let fields = [("form_token", token.as_str()), ("ticket", ticket.as_str()), ("code", code)];
        let request = browser.form("/mfa/totp?return_to=%2Flibraries", &fields);
        let request = request.header("sec-fetch-site", "same-origin");
        browser.send(request).await
    };
    let wrong = send(&mut ada, &app.wrong()).await.expect(403).text;
    assert!(wrong.contains("role=\"alert\"") && wrong.contains("The code is wrong"), "{wrong}");
    assert!(!wrong.contains("<svg "), "the key is shown once");
    assert!(wrong.contains(action) && wrong.contains("href=\"/mfa/totp?return_to=%2Flibraries\""), "{wrong}");
    let added = send(&mut ada, &app.now()).await.expect(200).text;
    assert!(added.contains("href=\"/libraries\"") && added.contains("download="), "{added}");
    let code = |page: &str, number: usize| {
        let code = page.split("<li><code>").nth(number).and_then(|rest| rest.split('<').next());
        code.expect("the page lists codes").to_owned()
    };
    let first = code(&added, 1);
    assert!(ada.get("/mfa").await.expect(200).text.contains("10 of them are left"));
    ada.submit("/settings", "/signout", &[]).await.expect(303);

    let fields = [("email", "ada@example.org"), ("password", PASSWORD), ("return_to", "/libraries")];
    let asked = ada.submit("/signin", "/signin", &fields).await.expect(303);
    assert_eq!(asked.header("location"), "/signin/factor?return_to=%2Flibraries");
    let page = "/signin/factor?return_to=/libraries";
    let to = ("return_to", "/libraries");
    let wrong = ada.submit(page, "/signin/factor", &[to, ("factor", "totp"), ("code", &app.wrong())]).await;
    let wrong = wrong.expect(403).text;
    assert!(wrong.contains("role=\"alert\""), "{wrong}");
    assert!(wrong.contains("href=\"/signin?return_to=%2Flibraries&#38;again=1\""), "{wrong}");
    let began = ada.submit(page, "/signin/factor", &[to, ("factor", "totp"), ("code", &app.next())]).await;
    assert_eq!(began.expect(303).header("location"), "/libraries");
    assert!(!ada.cookies.contains_key("__Host-twinmcp-pending"), "the first step is over");
    let anew = "/signin?return_to=%2Flibraries&again=1";
    assert_eq!(ada.get(page).await.expect(303).header("location"), anew);
    assert!(ada.get(anew).await.expect(200).text.contains("name=\"password\""), "though they are signed in");

    let mut other = Browser::at(&node);
    other.submit("/signin", "/signin", &fields).await.expect(303);
    let by_code = [to, ("factor", "backup_code"), ("code", first.as_str())];
    other.submit(page, "/signin/factor", &by_code).await.expect(303);
    assert!(other.get("/mfa").await.expect(200).text.contains("9 of them are left"));
    let made = other.submit("/mfa", "/mfa/codes", &[]).await.expect(200).text;
    assert_ne!(code(&made, 1), first);
    let crossed = other.form("/mfa/totp/remove", &[("form_token", "x")]);
    other.send(crossed).await.expect(403);
    let page = "/mfa?return_to=/libraries";
    let shown = other.get(page).await.expect(200).text;
    for path in ["/mfa/totp/remove", "/mfa/codes"] {
        assert!(shown.contains(&format!("action=\"{path}?return_to=%2Flibraries\"")), "{shown}");
    }
    assert!(shown.contains("<a href=\"/libraries\">Go on</a>"), "{shown}");
    let removed = other.submit(page, "/mfa/totp/remove?return_to=%2Flibraries", &[]).await.expect(303);
    assert_eq!(removed.header("location"), "/mfa?return_to=%2Flibraries&done=1");
    assert!(other.get("/mfa?done=1").await.expect(200).text.contains("Add an authenticator app"));
    let began = Browser::at(&node).submit("/signin", "/signin", &fields).await.expect(303);
    assert_eq!(began.header("location"), "/libraries");
}

#[tokio::test]
async fn an_operator_takes_the_factors_of_somebody_who_lost_them() {
    let node = TestNode::empty().await;
    let client = node.client();
    let id = person(&client, "ada@example.org").await["id"].as_str().unwrap().to_owned();
    let mut ada = Browser::at(&node);
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    enrol(&mut ada).await;
    let path = format!("/api/accounts/{id}/mfa");
    assert_eq!(ada.delete(&path).await.expect(403).code(), "insufficient_scope");
    let reader = client.post("/api/keys", &json!({ "name": "reader", "scopes": ["docs:read"] })).await;
    let reader = reader.expect(201).json()["secret"].as_str().unwrap().to_owned();
    client.with_key(&reader).delete(&path).await.expect(403);
    let told = node.cli().run(&["admin", "account", "reset-mfa", &id]).await.expect(0);
    assert!(told.stderr.contains("no second factor any more"), "{told:?}");
    ada.get("/api/auth/session").await.expect(401);
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    assert_eq!(client.delete(&path).await.expect(404).code(), "factor_not_found");
    node.cli().run(&["admin", "account", "reset-mfa", "../keys"]).await.expect(2);
    letter(&node, "ada@example.org", "Your second factors were changed").await;
}

#[tokio::test]
async fn case_117_no_log_holds_a_code_or_what_makes_codes() {
    let setup = NodeSetup::default().with("mfa", "required", "everybody");
    let node = setup.with("telemetry", "log", "debug").start().await;
    person(&node.client(), "ada@example.org").await;
    let mut ada = Browser::at(&node);
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let offer = ada.post("/api/auth/mfa/totp", &json!({})).await.expect(200).json();
    let app = Authenticator::typed(offer["secret"].as_str().unwrap());
    let added = confirm(&mut ada, &offer, &app.now()).await.expect(200).json();
    let codes: Vec<_> = added["backup_codes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let mut browser = challenged(&node).await;
    let pending = browser.cookies["__Host-twinmcp-pending"].clone();
    answer(&mut browser, "totp", &app.wrong()).await.expect(403);
    answer(&mut browser, "totp", &app.next()).await.expect(200);
    let mut browser = challenged(&node).await;
    answer(&mut browser, "backup_code", codes[0]).await.expect(200);
    // The letter is written last.
    letter(&node, "ada@example.org", "Your second factors were changed").await;
    let log = node.log();
    assert!(log.contains("/api/auth/mfa/challenge"), "the log tells of the sign-ins");
    let secret = offer["secret"].as_str().unwrap();
    let ticket = offer["ticket"].as_str().unwrap();
    for told in [secret, &secret.replace(' ', ""), ticket, codes[0], codes[1], &pending] {
        assert!(!log.contains(told), "the log holds {told}");
    }
}
