//! Nothing that opens something is written anywhere: a run through the flows with the log at its most talkative, and then a search for
//! what was shown, given out or typed, in log, traces, metrics, audit log and some answers that refuse.
//!
//! The flows are the functions below. Not among them are passkeys and what clients sign; codes of an app and of text messages are too short
//! to be looked for by themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::collector::Collector;
use twinmcp_tests::{Answer, TestClient, TestNode};

use super::app::{App, Tokens, VERIFIER, decide, decide_device, field, parameter, post_form, signed_in};
use super::authenticator::{Authenticator, answer, confirm};
use super::carrier::{self, Carrier};
use super::provider::{CODE, Provider, SECRET};
use super::signer::Signer;
use super::teams::{confirmed, invited, team};
use super::{Browser, PASSWORD, form_token, letter, link};

const NEXT_PASSWORD: &str = "another good password 42";
const WRONG_PASSWORD: &str = "not the right one 4711";
const STATE: &str = "state-that-only-the-program-knows";

/// What opens something, by what it is.
#[derive(Default)]
struct Secrets(BTreeMap<&'static str, Vec<String>>);

impl Secrets {
    fn note(&mut self, what: &'static str, secret: &str) -> String {
        assert!(secret.len() >= 8, "{what} is too short to be looked for: {secret:?}");
        self.0.entry(what).or_default().push(secret.to_owned());
        secret.to_owned()
    }

    fn of(&mut self, what: &'static str, body: &Value, name: &str) -> String {
        let secret = body[name].as_str().unwrap_or_else(|| panic!("no {name} in an answer"));
        self.note(what, secret)
    }

    fn tokens(&mut self, answer: &Answer) -> Tokens {
        let tokens = Tokens::of(answer);
        self.note("access token", &tokens.access);
        self.note("refresh token", &tokens.refresh);
        if let Some(id_token) = answer.json()["id_token"].as_str() {
            self.note("ID token", id_token);
        }
        tokens
    }

    /// Panics with what of it stands in `text`, and where, but not with the secret.
    #[track_caller]
    fn are_not_in(&self, place: &str, text: &str) {
        for (what, secrets) in &self.0 {
            for secret in secrets {
                if let Some(at) = text.find(secret.as_str()) {
                    let line = text[..at].rsplit('\n').next().unwrap_or_default();
                    panic!("{place} holds the {what} behind: {line}");
                }
            }
        }
    }
}

/// Letters, sign-ups, sessions and passwords of somebody.
async fn people(node: &TestNode, secrets: &mut Secrets) -> Browser {
    let email = "ada@example.org";
    for (what, password) in
        [("password", PASSWORD), ("next password", NEXT_PASSWORD), ("wrong password", WRONG_PASSWORD)]
    {
        secrets.note(what, password);
    }
    let mut browser = Browser::at(node);
    browser.submit("/signup", "/signup", &[("email", email), ("name", "Ada")]).await.expect(200);
    let token = secrets.note("link", &link(&letter(node, email, "Confirm").await).1);
    let page = format!("/verify?token={token}");
    browser.submit(&page, &page, &[("password", "short")]).await.expect(400);
    browser.submit(&page, &page, &[("password", PASSWORD)]).await.expect(200);
    browser.get(&page).await.expect(403);
    browser.submit("/signin", "/signin", &[("email", email), ("password", WRONG_PASSWORD)]).await.expect(401);
    browser.submit("/signin", "/signin", &[("email", email), ("password", PASSWORD)]).await.expect(303);
    let session = browser.session().expect("a session began").clone();
    secrets.note("session", &session);
    secrets.note("form token", &form_token(&browser.get("/settings").await.expect(200).text));
    let change = [("current", WRONG_PASSWORD), ("new", NEXT_PASSWORD)];
    browser.submit("/settings", "/settings/password", &change).await.expect(403);
    let change = [("current", PASSWORD), ("new", NEXT_PASSWORD)];
    browser.submit("/settings", "/settings/password", &change).await.expect(303);
    browser.submit("/reset", "/reset", &[("email", email)]).await.expect(200);
    let token = secrets.note("link", &link(&letter(node, email, "Choose another password").await).1);
    let page = format!("/reset?token={token}");
    browser.submit(&page, &page, &[("password", PASSWORD)]).await.expect(200);
    browser.sign_in(email, PASSWORD).await.expect(200);
    let session = browser.session().expect("a session began").clone();
    secrets.note("session", &session);
    browser
}

/// Codes, tokens and what comes of them when they are used twice, by the wrong one, or in the wrong place.
async fn programs(node: &TestNode, browser: &mut Browser, secrets: &mut Secrets) {
    let client = node.client();
    let metadata = json!({ "client_name": "Web", "redirect_uris": ["https://web.example/cb"] });
    let made = client.anonymous().post("/api/oauth/register", &metadata).await.expect(201).json();
    secrets.of("client secret", &made, "client_secret");
    secrets.of("registration token", &made, "registration_access_token");
    let web = App::of(&made);
    secrets.note("code verifier", VERIFIER);
    secrets.note("state", STATE);
    let code = secrets.note("code", &web.code(browser, &[("state", STATE)]).await);
    let tokens = secrets.tokens(&web.redeem(&client, &code, &[]).await.expect(200));
    let next = secrets.tokens(&web.refresh(&client, &tokens.refresh, &[]).await.expect(200));
    for token in [&next.access, &next.refresh] {
        web.ask(&client, "/api/oauth/introspect", &[("token", token)]).await.expect(200);
    }
    let holder = client.with_key(&next.access);
    holder.get("/api/libraries").await.expect(200);
    holder.get("/api/oauth/userinfo").await.expect(200);
    holder.post("/api/keys", &json!({ "name": "x", "scopes": ["docs:read"] })).await.expect(403);
    web.ask(&client, "/api/oauth/revoke", &[("token", &next.access)]).await.expect(200);
    holder.get("/api/libraries").await.expect(401);
    // What is used up comes back, and what is sent to the wrong place is refused.
    web.redeem(&client, &code, &[]).await.expect(400);
    web.refresh(&client, &next.refresh, &[]).await.expect(400);
    let in_url = format!("/api/oauth/token?code={code}");
    let refused = post_form(&client, &in_url, &[("grant_type", "authorization_code")]).await.expect(400);
    secrets.are_not_in("a refusal", &refused.text);
    let lost = secrets.note("code", &web.code(browser, &[]).await);
    web.redeem(&client, &lost, &[("code_verifier", &"v".repeat(64))]).await.expect(400);

    let fields = [
        ("response_type", "code"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("redirect_uri", "https://web.example/cb"),
        ("state", STATE),
        ("prompt", "consent"),
    ];
    let pushed = web.ask(&client, "/api/oauth/par", &fields).await.expect(201).json();
    let uri = secrets.of("pushed request", &pushed, "request_uri");
    let way = twinmcp_tests::with_parameters(
        "/api/oauth/authorize",
        &[("client_id", web.id.as_str()), ("request_uri", uri.as_str())],
    );
    let asked = browser.get(&way).await.expect(200);
    secrets.note("ticket", &field(&asked.text, "ticket"));
    let back = decide(browser, &asked.text, "allow").await.expect(303);
    secrets.note("code", &parameter(back.header("location"), "code").expect("a code"));

    let machine =
        json!({ "client_name": "Nightly", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let made = client.post("/api/clients", &machine).await.expect(201).json();
    let id = made["client_id"].as_str().expect("an id").to_owned();
    let secret = secrets.of("client secret", &made, "client_secret");
    let credentials = |secret: &str| {
        let fields = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", secret)];
        fields.map(|(name, value)| (name, value.to_owned()))
    };
    let ask = async |secret: &str| {
        let fields = credentials(secret);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        post_form(&client, "/api/oauth/token", &fields).await
    };
    secrets.of("access token", &ask(&secret).await.expect(200).json(), "access_token");
    let replaced = client.post(&format!("/api/clients/{id}/secret"), &json!({})).await.expect(200).json();
    let replaced = secrets.of("client secret", &replaced, "client_secret");
    ask(&secret).await.expect(401);
    secrets.of("access token", &ask(&replaced).await.expect(200).json(), "access_token");
}

/// A program without a browser.
async fn device(node: &TestNode, browser: &mut Browser, secrets: &mut Secrets) {
    let client = node.client();
    let metadata = json!({
        "client_name": "Television", "token_endpoint_auth_method": "none",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
    });
    let made = client.anonymous().post("/api/oauth/register", &metadata).await.expect(201).json();
    let app = App::of(&made);
    let codes = app.ask(&client, "/api/oauth/device_authorization", &[]).await.expect(200).json();
    let code = secrets.of("device code", &codes, "device_code");
    let user_code = secrets.of("user code", &codes, "user_code");
    let asked = browser.get(&format!("/device?user_code={user_code}")).await.expect(200);
    decide_device(browser, &asked.text, "allow").await.expect(200);
    let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", &code)];
    secrets.tokens(&app.ask(&client, "/api/oauth/token", &fields).await.expect(200));
    app.ask(&client, "/api/oauth/token", &fields).await.expect(400);
}

/// An authenticator app and codes on paper.
async fn factors(node: &TestNode, secrets: &mut Secrets) {
    let email = "grace@example.org";
    let mut browser = signed_in(node, email).await;
    let offer = browser.post("/api/auth/mfa/totp", &json!({})).await.expect(200).json();
    let secret = secrets.of("secret of an app", &offer, "secret");
    secrets.note("secret of an app", &secret.replace(' ', ""));
    secrets.of("offer", &offer, "ticket");
    let app = Authenticator::typed(&secret);
    confirm(&mut browser, &offer, &app.wrong()).await.expect(403);
    let added = confirm(&mut browser, &offer, &app.now()).await.expect(200).json();
    let codes = added["backup_codes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let codes: Vec<_> = codes.map(|code| secrets.note("backup code", code)).collect();
    for (factor, right, wrong) in
        [("totp", app.next(), app.wrong()), ("backup_code", codes[0].clone(), codes[0].clone())]
    {
        let mut browser = Browser::at(node);
        browser.sign_in(email, PASSWORD).await.expect(202);
        secrets.note("sign-in under way", &browser.cookies["__Host-twinmcp-pending"]);
        answer(&mut browser, factor, &right).await.expect(200);
        let session = browser.session().expect("a session began").clone();
        secrets.note("session", &session);
        browser.sign_in(email, PASSWORD).await.expect(202);
        answer(&mut browser, factor, &wrong).await.expect(403);
    }
}

/// An invitation that the wrong one shows, the right one, and the right one again; and a key of the team.
async fn teams(node: &TestNode, secrets: &mut Secrets) {
    let mut mary = confirmed(node, "mary@example.org").await;
    let team = team(&mut mary).await;
    let token = invited(node, &mut mary, &team, "joan@example.org", "developer").await;
    let join = json!({ "token": secrets.note("invitation", &token) });
    let mut joan = confirmed(node, "joan@example.org").await;
    joan.get(&format!("/join?token={token}")).await.expect(200);
    let refused = mary.post("/api/teams/join", &join).await.expect(403);
    secrets.are_not_in("a refusal", &refused.text);
    joan.post("/api/teams/join", &join).await.expect(200);
    joan.post("/api/teams/join", &join).await.expect(403);
    let key = json!({ "name": "build", "scopes": ["docs:read"] });
    let made = joan.post(&format!("{team}/keys"), &key).await.expect(201).json();
    let key = secrets.of("API key", &made, "secret");
    node.client().with_key(&key).get("/api/libraries").await.expect(200);
}

/// A phone that is sent codes, and a carrier that fails.
async fn phone(node: &TestNode, carrier: &Carrier, secrets: &mut Secrets) {
    let email = "ruth@example.org";
    secrets.note("secret of a carrier", carrier::SECRET);
    secrets.note("number of a phone", carrier::NUMBER.trim_start_matches('+'));
    let mut browser = signed_in(node, email).await;
    carrier.answers(500);
    let refused = carrier::offer(&mut browser, carrier::NUMBER).await.expect(503);
    secrets.are_not_in("a refusal", &refused.text);
    carrier.answers(202);
    let offer = carrier::offer(&mut browser, carrier::NUMBER).await.expect(200).json();
    secrets.of("offer", &offer, "ticket");
    carrier::confirm(&mut browser, &offer, &carrier.wrong()).await.expect(403);
    carrier::confirm(&mut browser, &offer, &carrier.code()).await.expect(200);
    let mut browser = Browser::at(node);
    browser.sign_in(email, PASSWORD).await.expect(202);
    carrier::send(&mut browser).await.expect(200);
    secrets.note("sign-in under way", &browser.cookies["__Host-twinmcp-pending"]);
    answer(&mut browser, "sms", &carrier.wrong()).await.expect(403);
    // With the words around it, since six digits alone stand in many a number.
    secrets.note("text message", &format!("{} is your code", carrier.code()));
    answer(&mut browser, "sms", &carrier.code()).await.expect(200);
}

/// Another provider, whose answer is used, comes back, and is refused.
async fn elsewhere(node: &TestNode, corp: &Provider, secrets: &mut Secrets) {
    secrets.note("secret at a provider", SECRET);
    secrets.note("code of a provider", CODE);
    corp.play().claims = vec![("email", json!("hedy@example.org"))];
    let mut browser = Browser::at(node);
    let sent = async |browser: &mut Browser, secrets: &mut Secrets| {
        let sent = browser.get("/upstream/corp").await.expect(303).header("location").to_owned();
        for name in ["state", "nonce"] {
            secrets.note("a question to a provider", &parameter(&sent, name).expect("it is asked"));
        }
        secrets.note("sign-in elsewhere under way", &browser.cookies["__Host-twinmcp-upstream"]);
        sent
    };
    let back = corp.back(&sent(&mut browser, secrets).await, &[]);
    browser.get(&back).await.expect(303);
    let session = browser.session().expect("a session began").clone();
    secrets.note("session", &session);
    browser.get(&back).await.expect(403);
    let made: Arc<Mutex<String>> = Arc::default();
    let (signer, kept) = (Signer::new("k1"), Arc::clone(&made));
    corp.play().forge = Some(Box::new(move |claims| {
        let token = signer.sign(claims);
        kept.lock().expect("nobody panicked").clone_from(&token);
        token
    }));
    let back = corp.back(&sent(&mut browser, secrets).await, &[]);
    let refused = browser.get(&back).await;
    assert!(matches!(refused.status, 403 | 502), "{}", refused.text);
    secrets.note("ID token of a provider", &made.lock().expect("nobody panicked"));
    secrets.are_not_in("a refusal", &refused.text);
}

/// What operators and machines are given.
async fn operators(client: &TestClient, secrets: &mut Secrets) {
    let made = client.post("/api/keys", &json!({ "name": "build", "scopes": ["docs:read"] })).await;
    let key = secrets.of("API key", &made.expect(201).json(), "secret");
    client.with_key(&key).get("/api/libraries").await.expect(200);
    client.with_key(&key).get("/api/audit").await.expect(403);
    let last = if key.ends_with('x') { 'y' } else { 'x' };
    let wrong = secrets.note("wrong API key", &format!("{}{last}", &key[..key.len() - 1]));
    let refused = client.with_key(&wrong).get("/api/libraries").await.expect(401);
    secrets.are_not_in("a refusal", &refused.text);
    let header = client.anonymous().request(Method::GET, "/api/libraries").header("x-api-key", &wrong);
    client.answer(header).await.expect(401);
    let token = client.post("/api/cluster/tokens", &json!({})).await.expect(201).json();
    secrets.of("join token", &token, "token");
    let invited = json!({ "email": "eve@example.org", "send": true });
    let invited = client.post("/api/accounts", &invited).await.expect(201).json();
    let invited = invited["link"].as_str().and_then(|link| link.split_once("token=")).expect("a link");
    secrets.note("link", invited.1);
}

#[tokio::test]
async fn case_117_no_log_trace_metric_or_refusal_holds_what_opens_something() {
    let (collector, corp) = (Collector::start(), Provider::start().await);
    let carrier = Carrier::start().await;
    let setup = carrier.on(corp.setup("openid", ", sign_up = true")).with("accounts", "sign_up", "open");
    let setup = setup.with("telemetry", "log", "trace");
    let mut node = setup.with("telemetry", "otlp_endpoint", collector.endpoint()).with_peers().start().await;
    let (client, mut secrets) = (node.client(), Secrets::default());
    secrets.note("operator's key", node.key());
    let mut browser = people(&node, &mut secrets).await;
    programs(&node, &mut browser, &mut secrets).await;
    device(&node, &mut browser, &mut secrets).await;
    factors(&node, &mut secrets).await;
    teams(&node, &mut secrets).await;
    phone(&node, &carrier, &mut secrets).await;
    elsewhere(&node, &corp, &mut secrets).await;
    operators(&client, &mut secrets).await;
    assert!(secrets.0.len() >= 29, "a flow is missing: {:?}", secrets.0.keys());

    secrets.are_not_in("the metrics", &client.get("/api/metrics").await.expect(200).text);
    let audit = client.get("/api/audit/export").await.expect(200).text;
    for action in [
        "token.reused",
        "session.begun",
        "client.credentials_replaced",
        "consent.given",
        "second_factor.added",
        "second_factor.code_sent",
        "backup_code.used",
    ] {
        assert!(audit.contains(&format!("\"action\":\"{action}\"")), "the audit log tells of {action}");
    }
    secrets.are_not_in("the audit log", &audit);
    node.stop().await;
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.name == "oauth.redeem"), "the traces tell of the flows");
    collector.texts().for_each(|text| secrets.are_not_in("a trace", &text));
    let log = node.log();
    assert!(
        log.contains("\"level\":\"trace\"") && log.contains("shown twice"),
        "the log is at its most talkative"
    );
    // What the program prints once for the person who starts it is not the log.
    let printed = node.printed();
    let log = log.strip_prefix(printed.as_str()).unwrap_or(&log);
    secrets.are_not_in("the log", log);
}
