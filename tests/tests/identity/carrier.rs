//! A carrier of text messages, as a test plays it: it takes what a node sends over a real socket, and is the phone too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use twinmcp_tests::service::{Service, Told};
use twinmcp_tests::{Answer, NodeSetup};

use super::Browser;

/// Who the node is there.
pub(super) const SECRET: &str = "secret-of-the-carrier";
/// Ada's phone, as a carrier knows it.
pub(super) const NUMBER: &str = "+436601234567";

/// A carrier, which takes every message until it is told to answer otherwise.
pub(super) struct Carrier {
    service: Service,
    status: Arc<AtomicU16>,
    /// Where the node's secret is kept.
    folder: TempDir,
}

impl Carrier {
    pub(super) async fn start() -> Self {
        let status = Arc::new(AtomicU16::new(202));
        let answered = Arc::clone(&status);
        let service = Service::start(move |_| Told::status(answered.load(Ordering::SeqCst))).await;
        let folder = TempDir::new().expect("a temporary folder can be made");
        Self { service, status, folder }
    }

    /// A node that sends with it.
    pub(super) fn on(&self, setup: NodeSetup) -> NodeSetup {
        let file = self.folder.path().join("secret");
        std::fs::write(&file, format!("{SECRET}\n")).expect("the temporary folder takes a file");
        let setup = setup.with("outbound", "allowed_networks", json!(["127.0.0.1"]));
        setup.with("sms", "url", self.service.url("/sms")).with("sms", "secret_file", file.display())
    }

    /// Answers with a status from now on.
    pub(super) fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// What it was asked to send, the newest last.
    pub(super) fn texts(&self) -> Vec<Value> {
        let asked = self.service.asked().into_iter().map(|asked| {
            assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/sms"));
            assert_eq!(asked.header("authorization"), format!("Bearer {SECRET}"));
            assert_eq!(asked.header("content-type"), "application/json");
            let text: Value = serde_json::from_str(&asked.body).expect("a message is JSON");
            assert_eq!(text["id"], asked.header("idempotency-key"), "the id is that of the message");
            text
        });
        asked.collect()
    }

    /// The code in the newest message.
    pub(super) fn code(&self) -> String {
        let newest = self.texts().pop().expect("a message was sent");
        newest["text"]
            .as_str()
            .and_then(|text| text.get(..6))
            .expect("a text begins with the code")
            .to_owned()
    }

    /// A code that is not the one in the newest message.
    pub(super) fn wrong(&self) -> String {
        if self.code() == "000000" { "000001" } else { "000000" }.to_owned()
    }
}

/// Asks for a code to a phone that may be added.
pub(super) async fn offer(browser: &mut Browser, number: &str) -> Answer {
    browser.post("/api/auth/mfa/sms", &json!({ "number": number })).await
}

/// Adds the phone that a code was sent to.
pub(super) async fn confirm(browser: &mut Browser, offer: &Value, code: &str) -> Answer {
    browser.post("/api/auth/mfa/sms/confirm", &json!({ "ticket": offer["ticket"], "code": code })).await
}

/// Adds Ada's phone to the account that is signed in; its backup codes, if they are new.
pub(super) async fn add_phone(browser: &mut Browser, carrier: &Carrier) -> Vec<String> {
    let offered = offer(browser, NUMBER).await.expect(200).json();
    let added = confirm(browser, &offered, &carrier.code()).await.expect(200).json();
    let codes = added["backup_codes"].as_array().into_iter().flatten();
    codes.filter_map(|code| code.as_str().map(str::to_owned)).collect()
}

/// Asks for a code to go on with a sign-in.
pub(super) async fn send(browser: &mut Browser) -> Answer {
    browser.post("/api/auth/mfa/challenge/sms", &json!({})).await
}
