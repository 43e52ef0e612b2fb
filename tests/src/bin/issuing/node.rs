//! A node of the release build, with a client for each case, and a person who has allowed the one that refreshes.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{Answer, NodeSetup, TestClient, TestNode, docs, with_parameters};

use crate::drive::{Case, Cases, Ending, basic, case};
use crate::process::Process;

pub(crate) const EMAIL: &str = "ada@example.org";
pub(crate) const PASSWORD: &str = "correct horse battery";
/// The library that questions are about.
pub(crate) const LIBRARY: &str = "/load/docs";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Of the verifier (RFC 7636, appendix B).
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The node and its cases.
pub(crate) struct Prepared {
    pub(crate) node: TestNode,
    pub(crate) address: SocketAddr,
    pub(crate) cases: Cases,
    /// From nothing to the first answer.
    pub(crate) start: Duration,
    /// Memory it held then.
    pub(crate) idle_bytes: u64,
}

/// Codes that are redeemed in each of several measurements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes {
    pub(crate) at_once: usize,
    pub(crate) measurements: usize,
}

impl Prepared {
    /// Indexes what questions are about.
    pub(crate) async fn index(&self) {
        let docs = docs::tar(&docs::made_up(300, 8));
        self.node.client().index(LIBRARY, "1", "docs.tar", docs).await;
    }
}

/// Starts it, with a person for each client, who has a refresh token and codes.
pub(crate) async fn prepared(clients: usize, codes: Codes) -> Result<Prepared, String> {
    let started = Instant::now();
    let node = NodeSetup::default()
        .with("telemetry", "log", "error")
        .untraced()
        .with("oauth", "signing_algorithms", r#"["RS256", "ES256"]"#)
        .with("oauth", "code_seconds", 600)
        .start()
        .await;
    let (start, idle_bytes) = (started.elapsed(), Process::of(node.pid()).rss());
    let client = node.client();
    let address = node.url().trim_start_matches("http://").parse::<SocketAddr>();
    let address = address.map_err(|error| error.to_string())?;

    let machine = |more: Value| {
        let mut metadata =
            json!({ "client_name": "b", "grant_types": ["client_credentials"], "scope": "docs:read" });
        if let (Some(metadata), Value::Object(more)) = (metadata.as_object_mut(), more) {
            metadata.extend(more);
        }
        metadata
    };
    let mut cases = Cases::new();
    let (pid, token) = (node.pid(), "/api/oauth/token");
    let grant = "grant_type=client_credentials&scope=docs%3Aread";
    let rs256 = made(&client, &machine(json!({}))).await;
    cases.insert("client credentials, RS256", case(address, pid, token, &rs256.1, grant));
    let es256 = made(&client, &machine(json!({ "id_token_signed_response_alg": "ES256" }))).await;
    cases.insert("client credentials, ES256", case(address, pid, token, &es256.1, grant));
    let opaque = made(&client, &machine(json!({ "access_token_format": "opaque" }))).await;
    for (name, (_, authorization)) in [("introspection, opaque", &opaque), ("introspection, JWT", &rs256)] {
        let given = form(&client, token, authorization, grant).await.expect(200).json();
        let shown = format!("token={}", given["access_token"].as_str().unwrap_or_default());
        cases.insert(name, case(address, pid, "/api/oauth/introspect", authorization, &shown));
    }

    let web = json!({
        "client_name": "Web", "redirect_uris": ["https://web.example/cb"], "access_token_format": "opaque",
        "grant_types": ["authorization_code", "refresh_token"], "scope": "openid docs:read offline_access",
    });
    let web = made(&client, &web).await;
    let redeem = redeeming();
    let (mut refresh, mut left, mut access) = (Vec::new(), Vec::new(), String::new());
    for person in 0..clients {
        let email = if person == 0 { EMAIL.to_owned() } else { format!("person-{person}@example.org") };
        let body = json!({ "email": email, "name": "Ada", "password": PASSWORD });
        client.post("/api/accounts", &body).await.expect(201);
        let cookie = sign_in(&node, &email).await;
        let first = code(&client, &web.0, &cookie).await?;
        let given = form(&client, token, &web.1, &format!("{redeem}&code={first}")).await.expect(200).json();
        refresh.push(given["refresh_token"].as_str().unwrap_or_default().to_owned());
        given["access_token"].as_str().unwrap_or_default().clone_into(&mut access);
        for _ in 0..(codes.at_once * codes.measurements).div_ceil(clients) {
            left.push(code(&client, &web.0, &cookie).await?);
        }
    }
    let mut ending_with = |name, form: &str, ending| {
        let case = Case { ending: Mutex::new(ending), ..case(address, pid, token, &web.1, form) };
        cases.insert(name, case);
    };
    ending_with("refresh, rotated", "grant_type=refresh_token", Ending::Refresh(refresh));
    ending_with("code", &redeem, Ending::Codes(left, codes.at_once));
    let bearer = format!("Bearer {access}");
    cases.insert("userinfo", case(address, pid, "/api/oauth/userinfo", &bearer, ""));
    Ok(Prepared { node, address, cases, start, idle_bytes })
}

/// The form that redeems a code, without it.
pub(crate) fn redeeming() -> String {
    format!(
        "grant_type=authorization_code&code_verifier={VERIFIER}&redirect_uri=https%3A%2F%2Fweb.example%2Fcb"
    )
}

/// Id and header of a new client.
async fn made(client: &TestClient, metadata: &Value) -> (String, String) {
    let made = client.post("/api/clients", metadata).await.expect(201).json();
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let id = text("client_id");
    (id.clone(), basic(&id, &text("client_secret")))
}

async fn form(client: &TestClient, path: &str, authorization: &str, form: &str) -> Answer {
    let request = client.anonymous().request(Method::POST, path).header("authorization", authorization);
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
    client.answer(request).await
}

/// The cookie of somebody who has signed in.
async fn sign_in(node: &TestNode, email: &str) -> String {
    let client = node.client().anonymous();
    let signed_in = client.post("/api/auth/sign-in", &json!({ "email": email, "password": PASSWORD })).await;
    let cookie = signed_in.expect(200).header("set-cookie").to_owned();
    cookie.split(';').next().unwrap_or_default().to_owned()
}

/// A code for the client: the person allows it the first time, and is not asked again.
async fn code(client: &TestClient, id: &str, cookie: &str) -> Result<String, String> {
    let parameters = [
        ("response_type", "code"),
        ("client_id", id),
        ("redirect_uri", "https://web.example/cb"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("scope", "openid docs:read offline_access"),
    ];
    let browser = client.anonymous().without_redirects();
    let visit = browser.request(Method::GET, &with_parameters("/api/oauth/authorize", &parameters));
    let mut answer = browser.answer(visit.header("cookie", cookie)).await;
    if answer.status == 200 {
        let field = |name: &str| {
            let rest = answer.text.split_once(&format!("name=\"{name}\" value=\"")).map(|(_, rest)| rest);
            rest.and_then(|rest| rest.split_once('"')).map(|(value, _)| value.to_owned()).unwrap_or_default()
        };
        let (form_token, ticket) = (field("form_token"), field("ticket"));
        let fields = [("form_token", &*form_token), ("ticket", &*ticket), ("decision", "allow")];
        let body = with_parameters("", &fields).trim_start_matches("/?").to_owned();
        let decide = browser.request(Method::POST, "/consent").header("cookie", cookie);
        let decide = decide.header("content-type", "application/x-www-form-urlencoded");
        // The form's own cookie came with the page.
        let own = answer
            .headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|line| line.to_str().ok()?.split(';').next());
        let own: Vec<&str> = own.collect();
        let cookies = [&[cookie], &*own].concat().join("; ");
        answer = browser
            .answer(decide.header("sec-fetch-site", "same-origin").header("cookie", cookies).body(body))
            .await;
    }
    let location = answer.header("location").to_owned();
    let code = location.split_once("code=").and_then(|(_, rest)| rest.split('&').next()).map(str::to_owned);
    code.ok_or_else(|| format!("no code came: {} {location}", answer.status))
}
