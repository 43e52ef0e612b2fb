//! A program that signs people in, written by hand: what it sends is what a test says.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use twinmcp_tests::{Answer, TestClient, TestNode, with_parameters};

use super::{Browser, PASSWORD, form_token, person};

/// A code verifier, and its challenge (RFC 7636, appendix B).
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// `BASE64URL` without padding (RFC 4648, 5).
pub(super) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What `BASE64URL` without padding stands for.
pub(super) fn from_base64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("it is base64url")
}

/// `Basic` credentials of a client (RFC 6749, 2.3.1).
pub(super) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

pub(super) fn challenge() -> String {
    base64url(digest(&SHA256, VERIFIER.as_bytes()).as_ref())
}

/// The parameter of a URL.
pub(super) fn parameter(url: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).ok()?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A program, as its client is registered.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) id: String,
    pub(super) secret: Option<String>,
    pub(super) redirect_uri: String,
}

impl App {
    /// Registers a client with `metadata`, whose first redirect URI it uses.
    pub(super) async fn register(node: &TestNode, metadata: &Value) -> Self {
        let made = node.client().anonymous().post("/api/oauth/register", metadata).await.expect(201).json();
        Self::of(&made)
    }

    /// The client that somebody made, with `metadata`.
    pub(super) async fn made_by(client: &TestClient, metadata: &Value) -> Self {
        Self::of(&client.post("/api/clients", metadata).await.expect(201).json())
    }

    /// The client that `made` tells of, the answer to who made it.
    pub(super) fn of(made: &Value) -> Self {
        Self {
            id: made["client_id"].as_str().expect("a client has an id").to_owned(),
            secret: made["client_secret"].as_str().map(str::to_owned),
            redirect_uri: made["redirect_uris"][0].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// A program on the web without a secret: a person is asked once.
    pub(super) async fn public(node: &TestNode) -> Self {
        let metadata = json!({
            "client_name": "Editor", "redirect_uris": ["https://app.example/cb"],
            "token_endpoint_auth_method": "none",
        });
        Self::register(node, &metadata).await
    }

    /// A program on the web with a secret.
    pub(super) async fn confidential(node: &TestNode) -> Self {
        let metadata = json!({ "client_name": "Web", "redirect_uris": ["https://web.example/cb"] });
        Self::register(node, &metadata).await
    }

    /// The path that a person is sent to, with `changes`: a parameter with no value is left out.
    pub(super) fn authorize(&self, changes: &[(&str, &str)]) -> String {
        let challenge = challenge();
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", self.id.as_str()),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("state", "s"),
            ("scope", "docs:read openid"),
        ];
        parameters.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        parameters.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        with_parameters("/api/oauth/authorize", &parameters)
    }

    /// Has somebody who is signed in allow it, and returns where they are sent.
    pub(super) async fn allowed_by(&self, browser: &mut Browser, changes: &[(&str, &str)]) -> String {
        let asked = browser.get(&self.authorize(changes)).await;
        if asked.status == 303 {
            return asked.header("location").to_owned();
        }
        let asked = asked.expect(200);
        decide(browser, &asked.text, "allow").await.expect(303).header("location").to_owned()
    }

    pub(super) async fn code(&self, browser: &mut Browser, changes: &[(&str, &str)]) -> String {
        let back = self.allowed_by(browser, changes).await;
        parameter(&back, "code").unwrap_or_else(|| panic!("no code in {back}"))
    }

    /// Asks for tokens at `client`'s node, with this program's own credentials and `fields`.
    pub(super) async fn ask(&self, client: &TestClient, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        if !fields.iter().any(|(name, _)| *name == "client_id") {
            fields.push(("client_id", &self.id));
            fields.extend(self.secret.as_deref().map(|secret| ("client_secret", secret)));
        }
        post_form(client, path, &fields).await
    }

    pub(super) async fn redeem(&self, client: &TestClient, code: &str, changes: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", self.redirect_uri.as_str()),
        ];
        fields.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        fields.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        self.ask(client, "/api/oauth/token", &fields).await
    }

    pub(super) async fn refresh(&self, client: &TestClient, token: &str, more: &[(&str, &str)]) -> Answer {
        let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        fields.extend(more);
        self.ask(client, "/api/oauth/token", &fields).await
    }

    /// Tokens of somebody who is signed in.
    pub(super) async fn tokens(
        &self,
        client: &TestClient,
        browser: &mut Browser,
        changes: &[(&str, &str)],
    ) -> Tokens {
        let code = self.code(browser, changes).await;
        Tokens::of(&self.redeem(client, &code, &[]).await.expect(200))
    }
}

/// What a program was given.
#[derive(Debug, Clone)]
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
}

impl Tokens {
    pub(super) fn of(answer: &Answer) -> Self {
        let body = answer.json();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

/// Sends a form without any key.
pub(super) async fn post_form(client: &TestClient, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = with_parameters("", fields).trim_start_matches("/?").trim_start_matches('?').to_owned();
    let client = client.anonymous();
    let request = client.request(Method::POST, path);
    client.answer(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

/// Answers the question on a page.
pub(super) async fn decide(browser: &mut Browser, page: &str, decision: &str) -> Answer {
    let token = form_token(page);
    let ticket = field(page, "ticket");
    let fields = [("form_token", token.as_str()), ("ticket", ticket.as_str()), ("decision", decision)];
    let request = browser.form("/consent", &fields).header("sec-fetch-site", "same-origin");
    browser.send(request).await
}

/// Answers the question of a device, on the page that shows its code.
pub(super) async fn decide_device(browser: &mut Browser, page: &str, decision: &str) -> Answer {
    let (token, code) = (form_token(page), field(page, "user_code"));
    let fields = [("form_token", token.as_str()), ("user_code", code.as_str()), ("decision", decision)];
    let request = browser.form("/device", &fields).header("sec-fetch-site", "same-origin");
    browser.send(request).await
}

/// The value of a hidden field.
pub(super) fn field(page: &str, name: &str) -> String {
    let rest = page.split_once(&format!("name=\"{name}\" value=\"")).map(|(_, rest)| rest);
    let value = rest.and_then(|rest| rest.split_once('"')).map(|(value, _)| value);
    value.unwrap_or_else(|| panic!("no field `{name}` in {page}")).to_owned()
}

/// Somebody who is signed in at `node`.
pub(super) async fn signed_in(node: &TestNode, email: &str) -> Browser {
    person(&node.client(), email).await;
    let mut browser = Browser::at(node);
    browser.sign_in(email, PASSWORD).await.expect(200);
    browser
}

/// Whether an access token opens a node's tools.
pub(super) async fn opens(client: &TestClient, token: &str) -> bool {
    let holder = client.with_key(token);
    match holder.get("/api/libraries").await.status {
        200 => true,
        401 => false,
        other => panic!("status {other}"),
    }
}
