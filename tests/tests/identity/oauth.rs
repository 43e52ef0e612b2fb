//! The authorization server at one node: what it refuses, row by row.

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{NodeSetup, TestNode, eventually};

use super::app::{App, Tokens, basic, decide, decide_device, field, opens, parameter, post_form, signed_in};
use super::{Browser, PASSWORD, form_token, person};

#[tokio::test]
async fn case_001_and_002_a_code_that_comes_twice_ends_what_came_of_it() {
    let node = TestNode::empty().await;
    let (client, app) = (node.client(), App::public(&node).await);
    let mut browser = signed_in(&node, "ada@example.org").await;
    let code = app.code(&mut browser, &[]).await;
    let tokens = Tokens::of(&app.redeem(&client, &code, &[]).await.expect(200));
    assert!(opens(&client, &tokens.access).await);
    assert_eq!(app.redeem(&client, &code, &[]).await.expect(400).code(), "invalid_grant");
    assert!(!opens(&client, &tokens.access).await);
    assert_eq!(app.refresh(&client, &tokens.refresh, &[]).await.expect(400).code(), "invalid_grant");
}

#[tokio::test]
async fn case_005_and_006_a_code_is_for_one_client_and_one_address() {
    let node = TestNode::empty().await;
    let (client, app, other) = (node.client(), App::public(&node).await, App::confidential(&node).await);
    let mut browser = signed_in(&node, "ada@example.org").await;
    let code = app.code(&mut browser, &[]).await;
    let stolen = other.redeem(&client, &code, &[("redirect_uri", &app.redirect_uri)]).await;
    assert_eq!(stolen.expect(400).code(), "invalid_grant");
    assert_eq!(app.redeem(&client, &code, &[]).await.expect(400).code(), "invalid_grant", "it is burnt");
    let code = app.code(&mut browser, &[]).await;
    let elsewhere = app.redeem(&client, &code, &[("redirect_uri", "https://app.example/other")]).await;
    assert_eq!(elsewhere.expect(400).code(), "invalid_grant");
}

#[tokio::test]
async fn case_007_to_010_and_012_nobody_is_sent_where_the_client_did_not_say() {
    let node = TestNode::empty().await;
    let app = App::public(&node).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    for other in [
        "https://app.example/cb/",
        "https://app.example/cb/x",
        "https://app.example/cb?x",
        "https://app.example/cb#f",
        "https://app.example/CB",
        "https://user@app.example/cb",
        "https://evil.example/cb",
        "https://evil.example#https://app.example/cb",
        "https://app.example/%2e%2e/cb",
        "https://app.example\\cb",
        "https://app.example./cb",
        "https://xn--pp-bkc.example/cb",
        "javascript:alert(1)",
        "//evil.example",
    ] {
        let page = browser.get(&app.authorize(&[("redirect_uri", other)])).await.expect(400);
        assert_eq!(page.header("location"), "", "{other}");
        assert!(page.header("content-type").starts_with("text/html"), "{other}");
    }
    let unknown = browser.get(&app.authorize(&[("client_id", "client_nobody")])).await.expect(400);
    assert_eq!(unknown.header("location"), "");

    let metadata = json!({
        "client_name": "Native", "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://127.0.0.1/cb", "http://localhost/cb"],
    });
    let native = App::register(&node, &metadata).await;
    browser.get(&native.authorize(&[("redirect_uri", "")])).await.expect(400);
    for (asked, status) in [
        ("http://127.0.0.1:53682/cb", 200),
        ("http://localhost:53682/cb", 200),
        ("http://[::1]:53682/cb", 400),
        ("http://127.0.0.1:53682/other", 400),
        ("https://127.0.0.1:53682/cb", 400),
    ] {
        browser.get(&native.authorize(&[("redirect_uri", asked)])).await.expect(status);
    }
}

#[tokio::test]
async fn case_011_and_073_a_client_registers_what_is_harmless() {
    let node = TestNode::empty().await;
    let client = node.client().anonymous();
    for uri in [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://app.example/cb",
        "https://app.example/cb#f",
        "https://*.example/cb",
        "https://user:pw@app.example/cb",
    ] {
        let metadata = json!({ "client_name": "x", "redirect_uris": [uri] });
        let refused = client.post("/api/oauth/register", &metadata).await.expect(400);
        assert_eq!(refused.code(), "invalid_redirect_uri", "{uri}");
    }
    for (name, value) in [
        ("grant_types", json!(["password"])),
        ("grant_types", json!(["implicit"])),
        ("response_types", json!(["token"])),
        ("token_endpoint_auth_method", json!("tls_client_auth")),
        ("client_name", json!("x".repeat(300))),
        ("client_name", json!(7)),
        ("client_uri", json!("javascript:alert(1)")),
        ("scope", json!("admin")),
        ("redirect_uris", json!([])),
    ] {
        let mut metadata = json!({ "client_name": "x", "redirect_uris": ["https://app.example/cb"] });
        metadata[name] = value.clone();
        let refused = client.post("/api/oauth/register", &metadata).await.expect(400);
        assert!(!refused.json()["error_description"].as_str().unwrap().is_empty(), "{name}: {value}");
    }
    let metadata = json!({
        "client_name": "<script>alert(1)</script>", "redirect_uris": ["https://app.example/cb"],
        "logo_uri": "http://169.254.169.254/", "jwks_uri": "http://127.0.0.1:1/",
        "token_endpoint_auth_method": "none",
    });
    let app = App::register(&node, &metadata).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let page = browser.get(&app.authorize(&[])).await.expect(200);
    assert!(!page.text.contains("<script>alert") && page.text.contains("&#60;script&#62;"), "{}", page.text);
}

#[tokio::test]
async fn case_013_to_016_and_018_to_023_a_request_is_refused_to_the_client_in_its_own_terms() {
    let node = TestNode::empty().await;
    let (client, app) = (node.client(), App::public(&node).await);
    let mut browser = signed_in(&node, "ada@example.org").await;
    for (changes, error) in [
        (&[("code_challenge", "")][..], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "id_token")], "unsupported_response_type"),
        (&[("response_type", "code id_token")], "unsupported_response_type"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("scope", "fly")], "invalid_scope"),
        (&[("scope", "admin")], "invalid_scope"),
        (&[("resource", "https://other.example/")], "invalid_target"),
        (&[("resource", "relative")], "invalid_target"),
        (&[("prompt", "none")], "consent_required"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("max_age", "soon")], "invalid_request"),
        (&[("request", "a.b.c")], "invalid_request"),
    ] {
        let answer = browser.get(&app.authorize(changes)).await.expect(303);
        let back = answer.header("location");
        assert!(back.starts_with("https://app.example/cb?"), "{changes:?}: {back}");
        assert_eq!(parameter(back, "error").as_deref(), Some(error), "{changes:?}");
        assert_eq!(parameter(back, "state").as_deref(), Some("s"), "{changes:?}");
        assert_eq!(parameter(back, "iss").as_deref(), Some(node.url()), "{changes:?}");
        assert!(!back.contains('#') && parameter(back, "code").is_none());
    }
    for twice in ["client_id", "scope", "state", "redirect_uri", "code_challenge"] {
        let query = format!("{}&{twice}=x", app.authorize(&[]));
        assert_eq!(browser.get(&query).await.expect(400).header("location"), "", "{twice} twice");
    }
    // State comes back as it was, whatever it was.
    let state = format!("\"><script>é\u{1F511}{}", "x".repeat(1_000));
    let back = app.allowed_by(&mut browser, &[("state", &state)]).await;
    assert_eq!(parameter(&back, "state").unwrap(), state);
    assert_eq!(parameter(&back, "iss").unwrap(), node.url());

    for (verifier, error) in [
        ("", "invalid_grant"),
        ("wrongwrongwrongwrongwrongwrongwrongwrongwrong", "invalid_grant"),
        ("short", "invalid_request"),
        (&"x".repeat(42), "invalid_request"),
        (&"x".repeat(129), "invalid_request"),
        (&format!("{}!", "x".repeat(60)), "invalid_request"),
    ] {
        let code = app.code(&mut browser, &[]).await;
        let refused = app.redeem(&client, &code, &[("code_verifier", verifier)]).await.expect(400);
        assert_eq!(refused.code(), error, "{verifier}");
    }
}

#[tokio::test]
async fn case_024_to_030_a_token_request_is_refused_in_the_words_of_the_protocol() {
    let node = TestNode::empty().await;
    let (client, app, web) =
        (node.client().anonymous(), App::public(&node).await, App::confidential(&node).await);
    let refused = client.get("/api/oauth/token?grant_type=client_credentials").await.expect(405);
    assert_eq!(refused.code(), "invalid_request");
    let secret = web.secret.clone().unwrap();
    let path = format!("/api/oauth/token?client_id={}&client_secret={secret}", web.id);
    let in_url = post_form(&client, &path, &[("grant_type", "client_credentials")]).await.expect(400);
    assert_eq!(in_url.code(), "invalid_request");
    assert!(!node.log().contains(&secret), "a secret in a URL is in the log");

    let with_header = async |header: String, fields: &[(&str, &str)]| {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = client.request(Method::POST, "/api/oauth/token").header("authorization", header);
        client
            .answer(request.header("content-type", "application/x-www-form-urlencoded").body(body.join("&")))
            .await
    };
    let right = basic(&web.id, &secret);
    let both = [("grant_type", "client_credentials"), ("client_id", &web.id), ("client_secret", &secret)];
    assert_eq!(with_header(right.clone(), &both).await.expect(400).code(), "invalid_request");
    let unknown = with_header(basic("client_nobody", &secret), &both[..1]).await.expect(401);
    let wrong = with_header(basic(&web.id, "wrong"), &both[..1]).await.expect(401);
    assert_eq!((unknown.code(), &unknown.text), ("invalid_client".to_owned(), &wrong.text));
    assert!(wrong.header("www-authenticate").starts_with("Basic"));
    assert_eq!(wrong.header("cache-control"), "no-store");

    let grant = |grant| app.ask(&client, "/api/oauth/token", grant);
    assert_eq!(
        grant(&[("grant_type", "client_credentials")]).await.expect(400).code(),
        "unauthorized_client"
    );
    let password = [("grant_type", "password"), ("username", "ada"), ("password", PASSWORD)];
    assert_eq!(grant(&password).await.expect(400).code(), "unsupported_grant_type");
    assert_eq!(grant(&[("grant_type", "implicit")]).await.expect(400).code(), "unsupported_grant_type");
    assert_eq!(grant(&[]).await.expect(400).code(), "invalid_request");
    let twice = [("grant_type", "authorization_code"), ("grant_type", "password")];
    assert_eq!(grant(&twice).await.expect(400).code(), "invalid_request");

    let machine =
        json!({ "client_name": "build", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let machine = App::made_by(&node.client(), &machine).await;
    let more = [("grant_type", "client_credentials"), ("scope", "docs:read keys:write")];
    assert_eq!(machine.ask(&client, "/api/oauth/token", &more).await.expect(400).code(), "invalid_scope");
    let given = machine.ask(&client, "/api/oauth/token", &more[..1]).await.expect(200);
    assert_eq!(
        (given.json()["scope"].as_str(), given.header("cache-control")),
        (Some("docs:read"), "no-store")
    );
    assert!(opens(&client, &Tokens::of(&given).access).await);
    let refused = client.with_key(&Tokens::of(&given).access).get("/api/keys").await.expect(403);
    assert_eq!(refused.code(), "insufficient_scope");
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"keys:write\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn case_031_to_035_a_refresh_token_is_good_once_for_its_client_while_it_is_allowed() {
    let node = TestNode::empty().await;
    let (client, app, other) = (node.client(), App::public(&node).await, App::confidential(&node).await);
    let mut browser = signed_in(&node, "ada@example.org").await;
    let first = app.tokens(&client, &mut browser, &[]).await;
    let more = app.refresh(&client, &first.refresh, &[("scope", "docs:read chat")]).await.expect(400);
    assert_eq!(more.code(), "invalid_scope");
    let less = app.refresh(&client, &first.refresh, &[("scope", "docs:read")]).await.expect(200);
    assert_eq!(less.json()["scope"], "docs:read");
    let second = Tokens::of(&less);
    assert_ne!(first.refresh, second.refresh);
    assert_eq!(app.refresh(&client, &first.refresh, &[]).await.expect(400).code(), "invalid_grant");
    assert_eq!(app.refresh(&client, &second.refresh, &[]).await.expect(400).code(), "invalid_grant");
    assert!(!opens(&client, &second.access).await);

    let tokens = app.tokens(&client, &mut browser, &[]).await;
    assert_eq!(other.refresh(&client, &tokens.refresh, &[]).await.expect(400).code(), "invalid_grant");
    assert_eq!(app.refresh(&client, &tokens.refresh, &[]).await.expect(400).code(), "invalid_grant");

    // What takes permission away takes the tokens away.
    let tokens = app.tokens(&client, &mut browser, &[]).await;
    browser.delete(&format!("/api/auth/apps?client_id={}", app.id)).await.expect(204);
    assert!(!opens(&client, &tokens.access).await);
    assert_eq!(app.refresh(&client, &tokens.refresh, &[]).await.expect(400).code(), "invalid_grant");

    let tokens = app.tokens(&client, &mut browser, &[]).await;
    let offline = app.tokens(&client, &mut browser, &[("scope", "docs:read offline_access")]).await;
    browser.post("/api/auth/sign-out", &json!({})).await.expect(204);
    assert!(!opens(&client, &tokens.access).await);
    assert_eq!(app.refresh(&client, &tokens.refresh, &[]).await.expect(400).code(), "invalid_grant");
    let offline = Tokens::of(&app.refresh(&client, &offline.refresh, &[]).await.expect(200));

    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let passwords = json!({ "current": PASSWORD, "new": "another battery staple" });
    browser.post("/api/auth/password", &passwords).await.expect(204);
    assert_eq!(app.refresh(&client, &offline.refresh, &[]).await.expect(400).code(), "invalid_grant");
}

#[tokio::test]
async fn case_035_nothing_of_somebody_who_was_disabled_is_refreshed_now_or_later() {
    let node = TestNode::empty().await;
    let (client, app) = (node.client(), App::confidential(&node).await);
    let ada = person(&client, "ada@example.org").await;
    let mut browser = Browser::at(&node);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let tokens = app.tokens(&client, &mut browser, &[]).await;
    let offline = app.tokens(&client, &mut browser, &[("scope", "docs:read offline_access")]).await;
    let code = app.code(&mut browser, &[]).await;
    let told = async |token: &str| {
        app.ask(&client, "/api/oauth/introspect", &[("token", token)]).await.expect(200).json()
    };
    let all = [&tokens.access, &tokens.refresh, &offline.access, &offline.refresh];
    for token in all {
        assert_eq!(told(token).await["active"], true);
    }

    let path = format!("/api/accounts/{}", ada["id"].as_str().unwrap());
    for disabled in [true, false] {
        client.patch(&path, &json!({ "disabled": disabled })).await.expect(200);
        for given in [&tokens, &offline] {
            let refused = app.refresh(&client, &given.refresh, &[]).await.expect(400);
            assert_eq!(refused.code(), "invalid_grant", "disabled: {disabled}");
            assert!(!opens(&client, &given.access).await, "disabled: {disabled}");
        }
        assert_eq!(app.redeem(&client, &code, &[]).await.expect(400).code(), "invalid_grant");
        for token in all {
            assert_eq!(told(token).await, json!({ "active": false }), "disabled: {disabled}");
        }
    }
    // Who is let in again begins anew.
    browser.get("/api/auth/session").await.expect(401);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let tokens = app.tokens(&client, &mut browser, &[]).await;
    app.refresh(&client, &tokens.refresh, &[]).await.expect(200);
}

#[tokio::test]
async fn case_037_to_039_and_051_to_054_a_token_is_good_where_it_was_asked_for() {
    let node = NodeSetup::default().with("limits", "anonymous_reads", false).start().await;
    let (client, app) = (node.client(), App::public(&node).await);
    let mut browser = signed_in(&node, "ada@example.org").await;
    let mcp = format!("{}/mcp", node.url());
    let code = app.code(&mut browser, &[("resource", &mcp)]).await;
    let other = app.redeem(&client, &code, &[("resource", &format!("{}/api", node.url()))]).await;
    assert_eq!(other.expect(400).code(), "invalid_target");
    // What is asked for wrongly has used nothing up.
    let tokens = Tokens::of(&app.redeem(&client, &code, &[("resource", &mcp)]).await.expect(200));
    assert!(!opens(&client, &tokens.access).await, "a token for /mcp at /api");

    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    let speak = async |token: Option<&str>| {
        let client = token.map_or(client.anonymous(), |token| client.with_key(token));
        let request =
            client.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream");
        client.answer(request.json(&list)).await
    };
    let tools = speak(Some(&tokens.access)).await.expect(200).json();
    assert!(tools["result"]["tools"].as_array().is_some_and(|tools| tools.len() == 2), "{tools}");
    let missing = speak(None).await.expect(401);
    let challenge = missing.header("www-authenticate").to_owned();
    let metadata = challenge.split("resource_metadata=\"").nth(1).and_then(|rest| rest.split('"').next());
    let metadata = metadata.unwrap_or_else(|| panic!("{challenge}"));
    let path = metadata.strip_prefix(node.url()).expect("it is this node's");
    let described = client.anonymous().get(path).await.expect(200).json();
    assert_eq!(described["resource"], mcp);
    assert_eq!(described["authorization_servers"], json!([node.url()]));
    let server = client.anonymous().get("/.well-known/oauth-authorization-server").await.expect(200).json();
    assert_eq!(server["issuer"], node.url());
    assert_eq!(server["code_challenge_methods_supported"], json!(["S256"]));

    let api = app.tokens(&client, &mut browser, &[]).await;
    let in_url = client.anonymous().get(&format!("/api/libraries?access_token={}", api.access)).await;
    in_url.expect(401);
    assert!(opens(&client, &api.access).await);
    let lacking = client.with_key(&api.access).get("/api/keys").await.expect(403);
    assert!(lacking.header("www-authenticate").contains("scope=\"keys:write\""));
}

#[tokio::test]
async fn case_053_a_token_without_the_scope_of_a_tool_is_told_which_one_to_ask_for() {
    let node = TestNode::empty().await;
    let client = node.client();
    let metadata = json!({
        "client_name": "Agent", "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none",
        "scope": "docs:read keys:write openid",
    });
    let app = App::register(&node, &metadata).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let mcp = format!("{}/mcp", node.url());
    let speak = async |token: &str, method: &str, params: &Value| {
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let holder = client.with_key(token);
        let request =
            holder.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream");
        holder.answer(request.json(&message)).await
    };
    let resolve = json!({
        "name": "resolve-library-id", "arguments": { "libraryName": "kiln", "query": "glaze" },
    });
    let query = json!({ "name": "query-docs", "arguments": { "libraryId": "/acme/kiln", "query": "glaze" } });
    let calls = [("tools/list", json!({})), ("tools/call", resolve), ("tools/call", query)];
    let asked = |scope| [("scope", scope), ("resource", mcp.as_str())];
    let lacking = app.tokens(&client, &mut browser, &asked("keys:write openid")).await;
    for (method, params) in &calls {
        let refused = speak(&lacking.access, method, params).await.expect(403);
        assert_eq!(refused.code(), "insufficient_scope", "{method} {params}");
        assert_eq!(refused.json()["jsonrpc"], "2.0", "{}", refused.text);
        let challenge = refused.header("www-authenticate");
        for part in [
            "Bearer ",
            "error=\"insufficient_scope\"",
            "scope=\"docs:read\"",
            &format!("resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"", node.url()),
        ] {
            assert!(challenge.contains(part), "{part}: {challenge}");
        }
    }
    // The same tools without the protocol.
    let lacking = app.tokens(&client, &mut browser, &[("scope", "keys:write openid")]).await;
    let holder = client.with_key(&lacking.access);
    let refused = holder.post("/api/mcp/query-docs", &calls[2].1["arguments"]).await.expect(403);
    assert!(refused.header("www-authenticate").contains("scope=\"docs:read\""), "{}", refused.text);

    // What the challenge says is enough.
    let enough = app.tokens(&client, &mut browser, &asked("docs:read")).await;
    for (method, params) in &calls {
        speak(&enough.access, method, params).await.expect(200);
    }
}

#[tokio::test]
async fn case_055_to_059_a_token_is_told_of_and_ended_by_its_client_alone() {
    let node = TestNode::empty().await;
    let (client, web, other) =
        (node.client(), App::confidential(&node).await, App::confidential(&node).await);
    let public = App::public(&node).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let tokens = web.tokens(&client, &mut browser, &[]).await;
    let told = async |app: &App, token: &str| {
        app.ask(&client, "/api/oauth/introspect", &[("token", token)]).await.expect(200).json()
    };
    let known = told(&web, &tokens.access).await;
    assert_eq!(
        (&known["active"], &known["client_id"], &known["scope"]),
        (&json!(true), &json!(web.id), &json!("docs:read openid"))
    );
    assert_eq!(told(&web, &tokens.refresh).await["active"], true);
    let nothing = json!({ "active": false });
    for token in [tokens.access.as_str(), &tokens.refresh] {
        assert_eq!(told(&other, token).await, nothing);
    }
    for token in ["x", "tmcp_rt_x", "a.b.c", &format!("{}x", tokens.access)] {
        assert_eq!(told(&web, token).await, nothing, "{token}");
    }
    public.ask(&client, "/api/oauth/introspect", &[("token", &tokens.access)]).await.expect(401);
    post_form(&client, "/api/oauth/introspect", &[("token", &tokens.access)]).await.expect(401);

    let revoke = async |app: &App, token: &str| {
        app.ask(&client, "/api/oauth/revoke", &[("token", token)]).await.expect(200);
    };
    revoke(&other, &tokens.access).await;
    revoke(&other, &tokens.refresh).await;
    revoke(&web, "unknown").await;
    assert!(opens(&client, &tokens.access).await);
    let next = Tokens::of(&web.refresh(&client, &tokens.refresh, &[]).await.expect(200));
    revoke(&web, &next.access).await;
    assert!(!opens(&client, &next.access).await && opens(&client, &tokens.access).await, "only that one");
    assert_eq!(told(&web, &next.access).await, nothing);
    revoke(&web, &next.refresh).await;
    assert!(!opens(&client, &tokens.access).await, "the family has ended");
    assert_eq!(told(&web, &next.refresh).await, nothing);
}

#[tokio::test]
async fn case_064_a_pushed_request_is_good_once_for_its_client() {
    let node = TestNode::empty().await;
    let (client, web, other) =
        (node.client(), App::confidential(&node).await, App::confidential(&node).await);
    let mut browser = signed_in(&node, "ada@example.org").await;
    let query = web.authorize(&[]);
    let url = reqwest::Url::parse(&format!("http://x{query}")).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut fields: Vec<(&str, &str)> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.push(("client_secret", web.secret.as_deref().unwrap()));
    let pushed = post_form(&client, "/api/oauth/par", &fields).await.expect(201).json();
    let uri = pushed["request_uri"].as_str().unwrap().to_owned();
    assert!(uri.starts_with("urn:ietf:params:oauth:request_uri:"));

    let path = |app: &App, more: &str| {
        twinmcp_tests::with_parameters(
            "/api/oauth/authorize",
            &[("client_id", &app.id), ("request_uri", &uri)],
        ) + more
    };
    browser.get(&path(&other, "")).await.expect(400);
    // What stands beside it counts for nothing.
    let asked =
        browser.get(&path(&web, "&redirect_uri=https%3A%2F%2Fevil.example&scope=admin")).await.expect(200);
    let back = decide(&mut browser, &asked.text, "allow").await.expect(303).header("location").to_owned();
    assert!(back.starts_with("https://web.example/cb?code="), "{back}");
    web.redeem(&client, &parameter(&back, "code").unwrap(), &[]).await.expect(200);
    assert_eq!(browser.get(&path(&web, "")).await.expect(400).header("location"), "", "used");
    let forged = path(&web, "").replace("request_uri%3A", "request_uri%3Ax");
    browser.get(&forged).await.expect(400);
    let wrong = [("client_id", web.id.as_str()), ("client_secret", "wrong"), ("response_type", "code")];
    post_form(&client, "/api/oauth/par", &wrong).await.expect(401);
}

#[tokio::test]
async fn case_065_to_068_a_device_is_allowed_by_somebody_who_sees_its_code() {
    let node = TestNode::empty().await;
    let client = node.client();
    let metadata = json!({
        "client_name": "Television", "token_endpoint_auth_method": "none",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
    });
    let made = client.anonymous().post("/api/oauth/register", &metadata).await.expect(201).json();
    let app = App::of(&made);
    let start = async || {
        app.ask(&client, "/api/oauth/device_authorization", &[("hostname", "<b>laptop")])
            .await
            .expect(200)
            .json()
    };
    let poll = async |codes: &Value| {
        let code = codes["device_code"].as_str().unwrap().to_owned();
        let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", &code)];
        app.ask(&client, "/api/oauth/token", &fields).await
    };
    let codes = start().await;
    assert_eq!(codes["verification_uri"], format!("{}/device", node.url()));
    assert_eq!(poll(&codes).await.expect(400).code(), "authorization_pending");
    assert_eq!(poll(&codes).await.expect(400).code(), "slow_down");

    let mut browser = signed_in(&node, "ada@example.org").await;
    let link =
        codes["verification_uri_complete"].as_str().unwrap().strip_prefix(node.url()).unwrap().to_owned();
    let asked = browser.get(&link).await.expect(200);
    for shown in ["Television", "&#60;b&#62;laptop", codes["user_code"].as_str().unwrap(), "documentation"] {
        assert!(asked.text.contains(shown), "{shown}: {}", asked.text);
    }
    assert_ne!(poll(&codes).await.status, 200, "a link alone allows nothing");
    let crossed = browser.form("/device", &[("user_code", "x"), ("decision", "allow"), ("form_token", "x")]);
    browser.send(crossed.header("sec-fetch-site", "cross-site")).await.expect(403);
    decide_device(&mut browser, &asked.text, "allow").await.expect(200);
    let tokens = Tokens::of(&poll(&codes).await.expect(200));
    assert!(opens(&client, &tokens.access).await);
    app.refresh(&client, &tokens.refresh, &[]).await.expect(200);
    assert_eq!(poll(&codes).await.expect(400).code(), "invalid_grant");

    let denied = start().await;
    let asked = browser
        .get(&format!("/device?user_code={}", denied["user_code"].as_str().unwrap()))
        .await
        .expect(200);
    decide_device(&mut browser, &asked.text, "deny").await.expect(200);
    assert_eq!(poll(&denied).await.expect(400).code(), "access_denied");
    for guess in 0..10 {
        browser.get(&format!("/device?user_code=BBBB-BBB{}", char::from(b'B' + guess))).await.expect(400);
    }
    let waiting = start().await;
    let right = format!("/device?user_code={}", waiting["user_code"].as_str().unwrap());
    let limited = browser.get(&right).await.expect(400);
    assert!(limited.text.contains("Too many wrong codes"), "{}", limited.text);
}

#[tokio::test]
async fn case_074_a_registration_is_opened_by_its_token_alone() {
    let node = TestNode::empty().await;
    let client = node.client().anonymous();
    let metadata = json!({ "client_name": "One", "redirect_uris": ["https://one.example/cb"] });
    let one = client.post("/api/oauth/register", &metadata).await.expect(201).json();
    let two = client.post("/api/oauth/register", &metadata).await.expect(201).json();
    let path = one["registration_client_uri"].as_str().unwrap().strip_prefix(node.url()).unwrap().to_owned();
    let own = client.with_key(one["registration_access_token"].as_str().unwrap());
    let foreign = client.with_key(two["registration_access_token"].as_str().unwrap());
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for who in [&foreign, &client, &node.client()] {
            who.answer(who.request(method.clone(), &path).json(&metadata)).await.expect(401);
        }
    }
    let shown = own.get(&path).await.expect(200).json();
    assert!(shown["client_secret"].is_null() && shown["client_name"] == "One");
    assert_eq!(shown["registration_client_uri"], one["registration_client_uri"]);
    let mut changed = json!({ "client_name": "Uno", "redirect_uris": ["https://one.example/other"] });
    for named in [json!(null), two["client_id"].clone()] {
        changed["client_id"] = named;
        let refused = own.answer(own.request(Method::PUT, &path).json(&changed)).await.expect(400);
        assert_eq!(refused.code(), "invalid_client_metadata");
    }
    changed["client_id"] = one["client_id"].clone();
    let changed = own.answer(own.request(Method::PUT, &path).json(&changed)).await.expect(200).json();
    assert_eq!(
        (&changed["client_name"], &changed["redirect_uris"][0]),
        (&json!("Uno"), &json!("https://one.example/other"))
    );
    own.delete(&path).await.expect(204);
    own.get(&path).await.expect(401);
}

#[tokio::test]
async fn case_075_and_077_and_078_and_081_to_085_a_question_is_answered_by_whoever_was_asked() {
    let node = TestNode::empty().await;
    let app = App::public(&node).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let page = browser.get(&app.authorize(&[])).await.expect(200);
    for (header, value) in
        [("x-frame-options", "DENY"), ("referrer-policy", "no-referrer"), ("cache-control", "no-store")]
    {
        assert_eq!(page.header(header), value, "{header}");
    }
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("frame-ancestors 'none'")
            && policy.contains("form-action 'self' https://app.example;"),
        "{policy}"
    );
    assert!(!page.text.contains("<script>") && !page.text.contains(" style="), "nothing inline");
    let (token, ticket) = (form_token(&page.text), field(&page.text, "ticket"));

    let send = async |browser: &mut Browser, token: &str, ticket: &str, site: &str| {
        let fields = [("form_token", token), ("ticket", ticket), ("decision", "allow")];
        let request = browser.form("/consent", &fields).header("sec-fetch-site", site);
        browser.send(request).await
    };
    send(&mut browser, &token, &ticket, "cross-site").await.expect(403);
    send(&mut browser, "", &ticket, "same-origin").await.expect(403);
    send(&mut browser, &token, "", "same-origin").await.expect(403);
    let mut eve = signed_in(&node, "eve@example.org").await;
    let eves = eve.get(&app.authorize(&[])).await.expect(200);
    let eves_token = form_token(&eves.text);
    send(&mut eve, &eves_token, &ticket, "same-origin").await.expect(403);
    send(&mut browser, &token, &field(&eves.text, "ticket"), "same-origin").await.expect(403);
    let denied = decide(&mut browser, &page.text, "deny").await.expect(303);
    assert_eq!(parameter(denied.header("location"), "error").unwrap(), "access_denied");
    let done = send(&mut browser, &token, &ticket, "same-origin").await.expect(303);
    assert!(parameter(done.header("location"), "code").is_some());

    // A program of the web was allowed it once; one on this machine may be any program.
    browser.get(&app.authorize(&[("prompt", "none")])).await.expect(303);
    browser.get(&app.authorize(&[("prompt", "consent")])).await.expect(200);
    let metadata = json!({
        "client_name": "Native", "token_endpoint_auth_method": "none", "redirect_uris": ["http://127.0.0.1/cb"],
    });
    let native = App::register(&node, &metadata).await;
    native.code(&mut browser, &[]).await;
    browser.get(&native.authorize(&[])).await.expect(200);
    let silent = browser.get(&native.authorize(&[("prompt", "none")])).await.expect(303);
    assert_eq!(parameter(silent.header("location"), "error").unwrap(), "consent_required");

    let mut stranger = Browser::at(&node);
    let silent = stranger.get(&app.authorize(&[("prompt", "none")])).await.expect(303);
    assert_eq!(parameter(silent.header("location"), "error").unwrap(), "login_required");
    let asked = stranger.get(&app.authorize(&[])).await.expect(303);
    assert!(asked.header("location").starts_with("/signin?return_to="));
    // Somebody who signed in a while ago is asked to do so again, once.
    let again = browser.get(&app.authorize(&[("prompt", "login")])).await.expect(303);
    let location = again.header("location").to_owned();
    assert!(location.starts_with("/signin?return_to="), "{location}");
    let back = parameter(&format!("http://x{location}"), "return_to").unwrap();
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let done = browser.get(&back).await.expect(303);
    assert!(
        done.header("location").starts_with("https://app.example/cb?code="),
        "{}",
        done.header("location")
    );
}

#[tokio::test]
async fn case_110_keys_are_shown_without_their_secrets_and_revoked_at_once() {
    let node = TestNode::empty().await;
    let client = node.client();
    let machine =
        json!({ "client_name": "build", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let machine = App::made_by(&client, &machine).await;
    let token = async || {
        let answer = machine.ask(&client, "/api/oauth/token", &[("grant_type", "client_credentials")]).await;
        Tokens::of(&answer.expect(200)).access
    };
    let old = token().await;
    let keys = client.anonymous().get("/.well-known/jwks.json").await.expect(200);
    assert!(keys.header("cache-control").contains("max-age"));
    let keys = keys.json();
    let key = keys["keys"][0].as_object().unwrap();
    let names: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
    assert!(opens(&client, &old).await);

    let kid = key["kid"].as_str().unwrap();
    client.with_key(&old).delete(&format!("/api/signing-keys/{kid}")).await.expect(403);
    client.delete(&format!("/api/signing-keys/{kid}")).await.expect(204);
    eventually("the key to be forgotten", async || (!opens(&client, &old).await).then_some(())).await;
    let new = token().await;
    assert!(opens(&client, &new).await);
    client.delete(&format!("/api/signing-keys/{kid}")).await.expect(404);
}

#[tokio::test]
async fn an_operator_allows_what_only_operators_may_and_no_longer_than_they_are_one() {
    let node = TestNode::empty().await;
    let client = node.client();
    let metadata = json!({
        "client_name": "Console", "redirect_uris": ["https://console.example/cb"], "scope": "docs:read admin",
    });
    let console = App::made_by(&client, &metadata).await;
    let ask = [("scope", "docs:read admin")];
    let mut ada = signed_in(&node, "ada@example.org").await;
    let refused = ada.get(&console.authorize(&ask)).await.expect(303);
    assert_eq!(parameter(refused.header("location"), "error").unwrap(), "invalid_scope");

    let operator = json!({ "email": "op@example.org", "name": "Op", "password": PASSWORD, "operator": true });
    let made = client.post("/api/accounts", &operator).await.expect(201).json();
    let mut op = Browser::at(&node);
    op.sign_in("op@example.org", PASSWORD).await.expect(200);
    let tokens = console.tokens(&client, &mut op, &ask).await;
    client.with_key(&tokens.access).get("/api/signing-keys").await.expect(200);
    let path = format!("/api/accounts/{}", made["account"]["id"].as_str().unwrap());
    client.patch(&path, &json!({ "operator": false })).await.expect(200);
    client.with_key(&tokens.access).get("/api/signing-keys").await.expect(401);
    assert_eq!(console.refresh(&client, &tokens.refresh, &[]).await.expect(400).code(), "invalid_grant");
}
