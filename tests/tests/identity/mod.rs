//! Who somebody is, and what their programs may do: stories, and the negative cases of `docs/negative-cases.md` that can be tried over HTTP, in tests
//! that have their numbers.

mod admin_pages;
mod app;
mod audit;
mod authenticator;
mod carrier;
mod client_keys;
mod clients_changed;
mod crates;
mod device;
mod front;
mod holders;
mod hygiene;
mod logout;
mod metrics;
mod mfa;
mod mfa_cluster;
mod oauth;
mod oauth_cluster;
mod oauth_faults;
mod passkeys;
mod people;
mod people_pages;
mod provider;
mod session;
mod signer;
mod sms;
mod sms_cluster;
mod teams;
mod teams_pages;
mod upstream;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{Answer, NodeSetup, TestClient, TestNode, eventually};

/// A password of somebody who does not reuse it.
const PASSWORD: &str = "correct horse battery";

/// Somebody's browser at one node: it keeps cookies, and says where it comes from.
#[derive(Debug, Clone)]
struct Browser {
    client: TestClient,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn at(node: &TestNode) -> Self {
        Self { client: TestClient::new(node.url(), None).without_redirects(), cookies: BTreeMap::new() }
    }

    /// The same browser, cookies and all, at another node.
    fn moved_to(&self, node: &TestNode) -> Self {
        Self { client: TestClient::new(node.url(), None).without_redirects(), cookies: self.cookies.clone() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.request(method, path).header("accept", "text/html,application/json");
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let answer = self.client.answer(request).await;
        for line in answer.headers.get_all("set-cookie") {
            let pair = line.to_str().ok().and_then(|line| line.split(';').next()?.split_once('='));
            let (name, value) = pair.expect("a cookie has a name and a value");
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    async fn post(&mut self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).json(body);
        self.send(request).await
    }

    async fn patch(&mut self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PATCH, path).json(body);
        self.send(request).await
    }

    async fn delete(&mut self, path: &str) -> Answer {
        let request = self.request(Method::DELETE, path);
        self.send(request).await
    }

    /// Sends a form of the page at `page` to `path`, with the page's own token.
    async fn submit(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let shown = self.get(page).await;
        let token = form_token(&shown.text);
        let mut fields = fields.to_vec();
        fields.push(("form_token", &token));
        let request =
            self.form(path, &fields).header("sec-fetch-site", "same-origin").header("origin", "null");
        self.send(request).await
    }

    fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        self.request(Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(twinmcp_tests::with_parameters("", fields).trim_start_matches("/?").to_owned())
    }

    async fn sign_in(&mut self, email: &str, password: &str) -> Answer {
        self.post("/api/auth/sign-in", &json!({ "email": email, "password": password })).await
    }

    fn session(&self) -> Option<&String> {
        self.cookies.get("__Host-twinmcp")
    }
}

/// The token in a page's form.
fn form_token(page: &str) -> String {
    let rest = page.split_once("name=\"form_token\" value=\"").map(|(_, rest)| rest);
    let token = rest.and_then(|rest| rest.split_once('"')).map(|(token, _)| token);
    token.expect("the page has a form").to_owned()
}

/// An account with [`PASSWORD`], made by the operator of the node.
async fn person(client: &TestClient, email: &str) -> Value {
    let asked = json!({ "email": email, "name": "Ada", "password": PASSWORD });
    client.post("/api/accounts", &asked).await.expect(201).json()["account"].take()
}

/// The newest letter to somebody about something, once it is there.
async fn letter(node: &TestNode, to: &str, subject: &str) -> String {
    eventually("a letter", async || {
        let mut files = node.files("outbox");
        files.sort();
        let letters = files.iter().rev().filter(|file| file.extension().is_some_and(|name| name == "eml"));
        let mut texts = letters.filter_map(|file| std::fs::read_to_string(file).ok());
        texts
            .find(|text| text.contains(&format!("To: {to}")) && text.contains(&format!("Subject: {subject}")))
    })
    .await
}

/// The link in a letter: what stands before its secret, and the secret.
fn link(letter: &str) -> (String, String) {
    // Long lines of a letter are folded.
    let letter = letter.replace("=\r\n", "").replace("token=3D", "token=");
    let link = letter.lines().find_map(|line| line.split_once("token="));
    let (before, token) = link.expect("the letter has a link");
    (before.to_owned(), token[..64].to_owned())
}

fn open() -> NodeSetup {
    NodeSetup::default().with("accounts", "sign_up", "open")
}
